//! A soak: invitations that are refused and sessions that are accepted, bound, talked in and left, for as long as it takes
//! to see whether anything fails or is left behind.

pub mod call;
pub mod caller;
pub mod floor;
pub mod held;
pub mod large;
pub mod lines;
pub mod tally;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::Outcome;
use crate::calls::measure::parlour;
use crate::process::{Server, ourselves};
use crate::report::{HEAD, Row, Target};
use caller::Plan;
use held::Held;
use tally::Tally;

/// The most that set-up may take for 99 of 100 sessions, ms.
const SET_UP: f64 = 250.0;
/// A caller is good enough if it adds no more than a tenth of that.
const OWN_PART: f64 = SET_UP / 10.0;
/// The part of a rate that counts as having held it.
const HELD: f64 = 0.98;
/// How much memory may grow, as a factor.
const GROWTH: f64 = 1.05;
/// Growth for each call that a quick run lets pass besides, octets: caches still fill then.
const QUICK_GROWTH: u64 = 2_000;
/// How long leaving may take.
const END: Duration = Duration::from_secs(10);

/// What is to be soaked. Times at the default rates: four minutes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  parlour-bench soak
  parlour-bench soak --quick
  parlour-bench soak --large
  parlour-bench soak --connections 0 --rate 200 --refused-rate 400 --sessions 40000

Exit codes:
  0  nothing failed and nothing was left behind; what the table says of times is for reading
  1  something did, or the bare loop showed that this machine cannot place the calls (not with --quick)")]
pub struct Options {
    /// Sessions altogether, the warm-up included
    #[arg(long, value_name = "N", default_value_t = 200_000, default_value_if("quick", "true", "6000"))]
    sessions: u32,
    /// Sessions of the warm-up: memory afterwards is what memory at the end is compared with
    #[arg(long, value_name = "N", default_value_t = 20_000, default_value_if("quick", "true", "2000"))]
    warm: u32,
    /// Sessions a second
    #[arg(long, value_name = "RATE", default_value_t = 1_500.0, default_value_if("quick", "true", "400"))]
    rate: f64,
    /// Invitations a second that are refused, half with 486, half with 488
    #[arg(long, value_name = "RATE", default_value_t = 3_000.0, default_value_if("quick", "true", "800"))]
    refused_rate: f64,
    /// MSRP connections that the sessions share; 0: one each, at a rate that the ports allow
    #[arg(long, value_name = "N", default_value_t = 100)]
    connections: u32,
    /// How long a session is kept after both messages, ms
    #[arg(long, value_name = "MS", default_value_t = 100)]
    hold: u64,
    /// Keep no events and messages: parlour runs without its store
    #[arg(long)]
    no_store: bool,
    /// Some ten seconds of calls at low rates, and the time for tables to empty: one and a half minutes
    #[arg(long)]
    quick: bool,
    /// Instead of calls: one message of so many megabytes, which must not take memory
    #[arg(long, value_name = "MB", num_args = 0..=1, default_missing_value = "10000")]
    pub large: Option<u64>,
    /// Where the store of the measured program lies: a directory on a real disk
    #[arg(long, value_name = "DIR", default_value = "target")]
    pub disk: PathBuf,
    /// Do not build the measured program first
    #[arg(long)]
    pub built: bool,
}

impl Options {
    fn plan(&self, sessions: u32) -> Plan {
        let Options { rate, refused_rate, connections, hold, .. } = *self;
        Plan { sessions, rate, refused_rate, connections, hold: Duration::from_millis(hold) }
    }
}

/// What the measured program was like at one time.
struct Sight {
    resident: u64,
    left: Held,
}

/// Resident memory while sessions are placed: how many had ended, and octets.
#[derive(Debug, Default)]
struct Course(Vec<(u32, u64)>);

impl Course {
    /// Octets when half of the sessions had ended, and at the end. None if nobody looked by then.
    fn half_and_end(&self, sessions: u32) -> Option<(u64, u64)> {
        let half = self.0.iter().rfind(|(done, _)| *done <= sessions / 2)?;
        Some((half.1, self.0.last()?.1))
    }
}

fn sight(server: &Server, when: &str) -> Outcome<Sight> {
    eprintln!("{when}: waiting for the tables to become empty");
    let left = held::settle(server)?;
    let resident = server.resident();
    eprintln!("{when}: {:.1} MB resident, left: {left:?}", megabytes(resident));
    Ok(Sight { resident, left })
}

/// Soaks, and prints the table.
///
/// # Errors
///
/// Something failed or was left behind, or nothing could be found out.
pub fn soak(options: &Options) -> Outcome<()> {
    if !options.rate.is_normal()
        || options.rate < 0.0
        || !options.refused_rate.is_finite()
        || options.refused_rate < 0.0
    {
        return Err("--rate has to be above 0, --refused-rate 0 or more".into());
    }
    if options.warm == 0 || options.sessions <= options.warm {
        return Err("--sessions has to be more than --warm, and that above 0".into());
    }
    let disk = tempfile::tempdir_in(&options.disk)?;
    let bare = qualify(options)?;
    let is_void = !holds(&bare, options) || bare.set_up.at(990) > OWN_PART;
    if is_void {
        eprintln!("VOID: the caller cannot hold these rates against a bare loop on this machine now");
        if !options.quick {
            return Err("the run is void: lower the rates, or wait until nothing else runs".into());
        }
    }

    let config = disk.path().join("soak.toml");
    let blocked = format!("blocked = [\"{}\"]\nblocked_answer = 486\n", wire::BLOCKED);
    std::fs::write(&config, format!("{blocked}store = {}\n", !options.no_store))?;
    let (server, peer, _) = parlour(disk.path(), &["--config", &config.to_string_lossy(), "--echo"])?;
    let warm = caller::run(peer, 1, options.plan(options.warm), &mut |tally| glance(&server, tally))?;
    tell("warm-up", &warm);
    let before = sight(&server, "after the warm-up")?;
    let cpu = server.cpu();
    let mut course = Course::default();
    let main = caller::run(peer, 2, options.plan(options.sessions - options.warm), &mut |tally| {
        glance(&server, tally);
        course.0.push((tally.sessions.1, server.resident()));
    })?;
    let cpu = server.cpu().saturating_sub(cpu);
    tell("parlour", &main);
    let after = sight(&server, "at the end")?;
    let peak = server.peak();
    let said = server.said();
    let ended = server.end(END)?;

    let failed = warm.failed() + main.failed();
    let left: u64 = before.left.iter().chain(&after.left).map(|(_, number)| number).sum();
    println!("{HEAD}");
    for row in rows(options, &main, &bare, cpu) {
        println!("{}", row.line());
    }
    let none = Target::AtMost(0.0);
    let settled = megabytes(before.resident);
    let mut kept = vec![
        Row::new("calls failed, all kinds, the warm-up included", f64::from(failed), "").target(none),
        Row::new("left in tables 64*T1 and more after the last call", left as f64, "").target(none),
        Row::new(
            format!("resident memory after {} sessions", options.sessions),
            megabytes(after.resident),
            "MB",
        )
        .target(Target::AtMost(settled * GROWTH))
        .beside(format!("after {}", options.warm), settled)
        .beside("at most, ever", megabytes(peak)),
    ];
    if let Some((half, end)) = course.half_and_end(main.sessions.0) {
        kept.push(
            Row::new("- while the last sessions were placed", megabytes(end), "MB")
                .target(Target::AtMost(megabytes(half) * GROWTH))
                .beside("half-way", megabytes(half)),
        );
    }
    kept.iter().for_each(|row| println!("{}", row.line()));
    if is_void {
        println!("\nVoid as to times: the caller did not hold the rates against the bare loop.");
    }
    let mut wrong: Vec<String> = warm.reasons().into_iter().chain(main.reasons()).collect();
    wrong.extend((left > 0).then(|| format!("left in tables: {:?}, {:?}", before.left, after.left)));
    let calls = u64::from(main.sessions.0 + main.refused.0);
    let steady = if options.quick { None } else { course.half_and_end(main.sessions.0) };
    wrong.extend(grown(&before, &after, steady, calls));
    wrong.extend((!ended).then(|| format!("parlour did not end well within {END:?}")));
    if wrong.is_empty() {
        return Ok(());
    }
    let last: Vec<&str> = said.lines().rev().filter(|line| !line.starts_with(held::MARK)).take(20).collect();
    for line in last.iter().rev() {
        eprintln!("parlour's log: {line}");
    }
    Err(wrong.join("; ").into())
}

/// The same calls against the bare loop, for ten seconds.
fn qualify(options: &Options) -> Outcome<Tally> {
    let server = Server::start(ourselves()?, &["serve-soak-floor"])?;
    let peer = server.address.ok_or("it does not say where it listens")?;
    let seconds = if options.quick { 3.0 } else { 10.0 };
    let sessions = ((options.rate * seconds) as u32).clamp(1, options.sessions);
    let bare = caller::run(peer, 0, options.plan(sessions), &mut |_| {})?;
    tell("bare loop", &bare);
    Ok(bare)
}

fn holds(tally: &Tally, options: &Options) -> bool {
    let whole = tally.sessions.0 == tally.sessions.1 && tally.failed() == 0;
    whole
        && tally.session_rate() >= options.rate * HELD
        && tally.refusal_rate() >= options.refused_rate * HELD
}

/// Whether memory leaks. It may be more than after the warm-up, since caches and the allocator's heap grow to a bound; a
/// leak goes on growing in the second half of a run (`steady`), or by much for each call where that is too short.
fn grown(before: &Sight, after: &Sight, steady: Option<(u64, u64)>, calls: u64) -> Option<String> {
    let factor = |octets: u64| (octets as f64 * GROWTH) as u64;
    let flat = match steady {
        Some((half, end)) => end <= factor(half),
        None => after.resident <= factor(before.resident) + calls * QUICK_GROWTH,
    };
    let told = |octets| format!("{:.1} MB", megabytes(octets));
    (after.resident > factor(before.resident) && !flat).then(|| {
        let half = steady.map(|(half, end)| format!(", under load from {} to {}", told(half), told(end)));
        format!(
            "memory grew from {} to {}{}",
            told(before.resident),
            told(after.resident),
            half.unwrap_or_default()
        )
    })
}

fn rows(options: &Options, main: &Tally, bare: &Tally, cpu: Duration) -> Vec<Row> {
    let shared = match options.connections {
        0 => "a connection each".to_owned(),
        count => format!("{count} shared connections"),
    };
    let calls = f64::from(main.sessions.1 + main.refused.1).max(1.0);
    let ms = |what: &str, ours: f64, floor: f64| Row::new(what, ours, "ms").beside("bare loop", floor);
    vec![
        Row::new(
            format!("sessions with bind, a message each way and BYE, {shared}"),
            main.session_rate(),
            "/s",
        )
        .target(Target::AtLeast(options.rate * HELD))
        .beside("bare loop", bare.session_rate()),
        Row::new("refused with 486 or 488 meanwhile", main.refusal_rate(), "/s")
            .target(Target::AtLeast(options.refused_rate * HELD))
            .beside("bare loop", bare.refusal_rate()),
        ms("set-up, INVITE to 2xx: median", main.set_up.at(500), bare.set_up.at(500)),
        ms("- 99 of 100 take at most", main.set_up.at(990), bare.set_up.at(990))
            .target(Target::AtMost(SET_UP)),
        ms("- longest", main.set_up.at(1000), bare.set_up.at(1000)),
        ms("refusal, INVITE to 486 or 488: median", main.refusal.at(500), bare.refusal.at(500)),
        ms("- 99 of 100 take at most", main.refusal.at(990), bare.refusal.at(990)),
        Row::new("requests that the caller sent again", f64::from(main.resent), ""),
        Row::new("responses and messages that came again", f64::from(main.repeated), ""),
        Row::new("CPU for a call of this mix", cpu.as_secs_f64() * 1e6 / calls, "us"),
    ]
}

fn glance(server: &Server, tally: &Tally) {
    eprintln!(
        "  {} of {} sessions, {} of {} refused, {} failed, {:.1} MB",
        tally.sessions.1,
        tally.sessions.0,
        tally.refused.1,
        tally.refused.0,
        tally.failed(),
        megabytes(server.resident())
    );
}

fn tell(name: &str, tally: &Tally) {
    eprintln!(
        "{name}: {} of {} sessions at {:.0}/s over {} connections, {} of {} refused at {:.0}/s, set-up p50 {:.1} p99 \
         {:.1} max {:.1} ms, refused p99 {:.1} ms, placed late p99 {:.1} max {:.1} ms, {} failed, {} sent again, {} \
         repeated",
        tally.sessions.1,
        tally.sessions.0,
        tally.session_rate(),
        tally.opened,
        tally.refused.1,
        tally.refused.0,
        tally.refusal_rate(),
        tally.set_up.at(500),
        tally.set_up.at(990),
        tally.set_up.at(1000),
        tally.refusal.at(990),
        tally.lateness.at(990),
        tally.lateness.at(1000),
        tally.failed(),
        tally.resent,
        tally.repeated
    );
    tally.reasons().iter().for_each(|reason| eprintln!("  {reason}"));
}

fn megabytes(octets: u64) -> f64 {
    octets as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_goes_on_growing() {
        let sight = |resident| Sight { resident, left: Held::new() };
        let grown = |after, steady, calls| grown(&sight(100_000_000), &sight(after), steady, calls).is_some();
        assert!(!grown(105_000_000, Some((50_000_000, 200_000_000)), 0), "no more than after the warm-up");
        assert!(!grown(150_000_000, Some((160_000_000, 168_000_000)), 0), "a cache that is full");
        assert!(grown(150_000_000, Some((160_000_000, 169_000_000)), 0));
        assert!(!grown(107_000_000, None, 1_000));
        assert!(grown(107_000_001, None, 1_000));
    }

    #[test]
    fn the_second_half_begins_where_half_of_the_sessions_have_ended() {
        let course = Course(vec![(100, 1), (490, 2), (510, 3), (900, 4)]);
        assert_eq!(course.half_and_end(1000), Some((2, 4)));
        assert_eq!(course.half_and_end(100), None);
        assert_eq!(Course::default().half_and_end(1000), None);
    }
}
