//! Times functions side by side: all contenders in turn, in short batches of CPU time, so that a noisy neighbour hurts
//! little, and all alike.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::parse::{self, Contender};
use crate::report::{Row, Target, median};
use crate::{Effort, frames};

/// Long enough for the clock, short enough to run undisturbed.
const BATCH: Duration = Duration::from_millis(2);

/// Parsing, typed reading and writing; `allocations` are those counted by the other program, in the same order.
pub fn rows(effort: Effort, allocations: &[Vec<f64>]) -> Vec<Row> {
    let tables = [
        ("parse a 1 kB INVITE (index the headers)", parse::index(), 0.4, 2.0),
        ("parse it and read nine headers typed", parse::typed(), 0.9, 3.0),
        ("write it again", parse::write(), 0.1, 1.0),
        ("build it row by row", parse::build(), f64::INFINITY, 1.0),
    ];
    let mut rows = Vec::new();
    for (at, (what, mut contenders, time, count)) in tables.into_iter().enumerate() {
        let times = race(&mut contenders, if effort.quick { 41 } else { 301 });
        let mut names = contenders.iter().map(|contender| contender.name);
        names.next();
        rows.extend(row(what, &times, names.clone(), "us", time));
        if let Some(counts) = allocations.get(at) {
            rows.extend(row("- allocations", counts, names, "allocs", count));
        }
    }
    for (what, body) in
        [("read an MSRP frame of 100 octets", 100), ("read an MSRP frame of 12 KiB", 12 * 1024)]
    {
        let times = race(&mut frames::read(body), if effort.quick { 41 } else { 301 });
        let [ours, floor] = times[..] else { continue };
        let each = |time: f64| time / frames::TOGETHER as f64;
        rows.push(
            Row::new(what, each(ours), "us")
                .beside("memchr of its line ends", each(floor))
                .target(Target::AtMost(2.0 * each(floor))),
        );
    }
    rows
}

fn row<'n>(
    what: &str,
    values: &[f64],
    names: impl Iterator<Item = &'n str>,
    unit: &'static str,
    most: f64,
) -> Option<Row> {
    let (ours, theirs) = values.split_first()?;
    let mut row = Row::new(what, *ours, unit);
    row.target = most.is_finite().then_some(Target::AtMost(most));
    row.beside = names.map(str::to_owned).zip(theirs.iter().copied()).collect();
    Some(row)
}

/// Microseconds for one call of each: the median batch.
fn race(contenders: &mut [Contender], batches: usize) -> Vec<f64> {
    let repeats: Vec<u32> = contenders.iter_mut().map(|contender| calibrate(&mut contender.work)).collect();
    let mut samples = vec![Vec::with_capacity(batches); contenders.len()];
    for _ in 0..batches {
        for ((contender, repeats), samples) in contenders.iter_mut().zip(&repeats).zip(&mut samples) {
            let took = time(&mut contender.work, *repeats);
            samples.push(took.as_secs_f64() * 1e6 / f64::from(*repeats));
        }
    }
    samples.into_iter().map(median).collect()
}

fn calibrate(work: &mut dyn FnMut()) -> u32 {
    let mut repeats = 16;
    while time(work, repeats) < BATCH && repeats < 1 << 24 {
        repeats *= 2;
    }
    repeats
}

fn time(work: &mut dyn FnMut(), repeats: u32) -> Duration {
    let start = used();
    for _ in 0..repeats {
        work();
    }
    used().saturating_sub(start)
}

/// The CPU time that this thread has used.
pub fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}
