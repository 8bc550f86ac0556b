//! One huge message to `parlour run`: memory must not follow its size.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Outcome;
use crate::calls::measure::parlour;
use crate::msrp::{meeting, sender};
use crate::report::{HEAD, Row, Target};

/// The most that resident memory may grow over that of the idle program, octets.
const GROWTH: f64 = 16.0 * 1024.0 * 1024.0;

/// The chunks of the message.
const CHUNK: u64 = 12 * 1024;

/// Sends one message of so many megabytes, and fails if memory grows by more than 16 MiB.
pub fn soak(megabytes: u64, disk: &std::path::Path) -> Outcome<()> {
    let data = tempfile::tempdir_in(disk)?;
    let config = data.path().join("large.toml");
    std::fs::write(&config, format!("max_size = {}\n", u64::MAX / 4))?;
    let (server, sip, _) = parlour(data.path(), &["--config", &config.to_string_lossy()])?;
    let session = meeting::agree(sip, 0, 2)?;
    let [warm, session] = &session[..] else { return Err("no sessions".into()) };
    // The program has done once what it does in the run: its code, its store's cache and its buffers are there.
    sender::large(warm, 1, 1 << 20, CHUNK)?;
    let idle = server.resident();
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(idle));
    let size = megabytes * 1_000_000;
    let took = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(server.resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let took = sender::large(session, 0, size, CHUNK);
        over.store(true, Ordering::Relaxed);
        took
    })?;
    let grown = most.into_inner().saturating_sub(idle) as f64;
    let rows = [
        Row::new(
            format!("resident memory above idle while a message of {megabytes} MB comes, to disk"),
            grown / 1e6,
            "MB",
        )
        .beside("idle", idle as f64 / 1e6)
        .target(Target::AtMost(GROWTH / 1e6)),
        Row::new("- its speed", size as f64 / 1e6 / took.as_secs_f64(), "MB/s"),
    ];
    println!("{HEAD}");
    rows.iter().for_each(|row| println!("{}", row.line()));
    if grown > GROWTH { Err("memory follows the size of the message".into()) } else { Ok(()) }
}
