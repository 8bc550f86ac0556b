//! Rows about MSRP.

use std::path::Path;

use super::{answerer, floors, meeting, sender, tls};
use crate::calls::measure::parlour;
use crate::process::{Server, ourselves};
use crate::report::{Row, Target, median};
use crate::{Effort, Outcome};

const SESSIONS: u32 = 200;
/// Octets of a small message.
const SMALL: usize = 100;
/// Unanswered messages in a session.
const WINDOW: u32 = 32;
const MIB: f64 = 1e6;

/// Messages a second, and microseconds of the receiver's CPU for each.
struct Speed {
    rate: f64,
    cpu: f64,
}

/// Small messages over 200 sessions.
pub fn small(effort: Effort, data: &Path) -> Outcome<Vec<Row>> {
    let count = if effort.quick { 250 } else { 1_000 };
    let total = f64::from(count * SESSIONS);
    let many = |start: &dyn Fn(u32) -> Outcome<(Server, Vec<sender::Session>)>| -> Outcome<Speed> {
        let (mut rates, mut cpu) = (Vec::new(), Vec::new());
        for run in 0..effort.runs as u32 {
            let (server, sessions) = start(run)?;
            let before = server.cpu();
            let took = sender::flood(&sessions, run, count, SMALL, WINDOW)?;
            rates.push(total / took.as_secs_f64());
            cpu.push(server.cpu().saturating_sub(before).as_secs_f64() * 1e6 / total);
        }
        Ok(Speed { rate: median(rates), cpu: median(cpu) })
    };
    let own = |argument: &'static str| {
        move |_| -> Outcome<(Server, Vec<sender::Session>)> {
            let server = Server::start(ourselves()?, &[argument])?;
            let to = server.address.ok_or("no address")?;
            Ok((server, (0..SESSIONS).map(|number| answerer::session(to, number)).collect()))
        }
    };
    let floor = many(&own("serve-msrp-floor"))?;
    let endpoint = many(&own("serve-msrp"))?;
    let mut rows = vec![
        Row::new(
            "MSRP 100-octet messages over 200 sessions, endpoint and sockets alone",
            endpoint.rate,
            "/s",
        )
        .target(Target::AtLeast(100_000.0))
        .beside("end-line floor", floor.rate),
        Row::new("- receiver's CPU for each", endpoint.cpu, "us").beside("end-line floor", floor.cpu),
    ];
    let program = |config: &str| -> Outcome<Speed> {
        let file = data.join("small.toml");
        std::fs::write(&file, config)?;
        let file = file.to_string_lossy().into_owned();
        many(&|run| {
            let (server, sip, _) = parlour(data, &["--config", &file])?;
            let sessions = meeting::agree(sip, run, SESSIONS)?;
            Ok((server, sessions))
        })
    };
    let received = program("ack = \"received\"\nstore = false\n")?;
    rows.push(
        Row::new("the same, parlour run without a store", received.rate, "/s")
            .target(Target::AtLeast(100_000.0))
            .beside("end-line floor", floor.rate),
    );
    rows.push(Row::new("- receiver's CPU for each", received.cpu, "us"));
    let stored = program("")?;
    let mut raw = Vec::new();
    for _ in 0..effort.runs {
        let directory = tempfile::tempdir_in(data)?;
        raw.push(floors::sqlite(directory.path(), count * SESSIONS, SESSIONS * WINDOW)?);
    }
    rows.push(
        Row::new("the same, each durable before its 200 (parlour run)", stored.rate, "/s")
            .target(Target::AtLeast(30_000.0))
            .beside(format!("SQLite, {} in a transaction", SESSIONS * WINDOW), median(raw)),
    );
    rows.push(Row::new("- receiver's CPU for each, store included", stored.cpu, "us"));
    Ok(rows)
}

/// One large message in one session.
pub fn large(effort: Effort, data: &Path) -> Outcome<Vec<Row>> {
    let size: u64 = if effort.quick { 256 << 20 } else { 1 << 30 };
    let runs = |one: &dyn Fn(u32) -> Outcome<f64>| -> Outcome<f64> {
        Ok(median((0..effort.runs as u32).map(one).collect::<Outcome<Vec<f64>>>()?))
    };
    let endpoint = |chunk: u64| {
        runs(&|run| {
            let server = Server::start(ourselves()?, &["serve-msrp"])?;
            let session = answerer::session(server.address.ok_or("no address")?, 0);
            Ok(size as f64 / MIB / sender::large(&session, run, size, chunk)?.as_secs_f64())
        })
    };
    let program = |config: &str, chunk: u64| {
        let file = data.join("large.toml");
        std::fs::write(&file, format!("max_size = {}\n{config}", u64::MAX / 4))?;
        let file = file.to_string_lossy().into_owned();
        runs(&|run| {
            let (_server, sip, _) = parlour(data, &["--config", &file])?;
            let session = meeting::agree(sip, run, 1)?.pop().ok_or("no session")?;
            Ok(size as f64 / MIB / sender::large(&session, run, size, chunk)?.as_secs_f64())
        })
    };
    let tcp = runs(&|_| Ok(floors::tcp(size)? / MIB))?;
    let raw_tls = runs(&|_| Ok(tls::raw(size)? / MIB))?;
    let over_tls = |chunk: u64| runs(&|_| Ok(tls::endpoint(size, chunk)? / MIB));
    let disk = runs(&|_| Ok(floors::disk(data, size)? / MIB))?;
    let whole = size;
    let row = |what: &str, value| Row::new(what, value, "MB/s");
    Ok(vec![
        row("MSRP, one large message to a sink, one chunk: endpoint and sockets alone", endpoint(whole)?)
            .target(Target::AtLeast(500.0))
            .beside("raw TCP", tcp),
        row("the same in chunks of 12 KiB", endpoint(12 << 10)?)
            .target(Target::AtLeast(500.0))
            .beside("raw TCP", tcp),
        row("one large message over TLS to a sink, one chunk: endpoint and sockets alone", over_tls(whole)?)
            .target(Target::PartOfFirst(0.5))
            .beside("raw rustls", raw_tls),
        row("the same in chunks of 12 KiB", over_tls(12 << 10)?)
            .target(Target::PartOfFirst(0.5))
            .beside("raw rustls", raw_tls),
        row("one large message to disk, one chunk: parlour run", program("", whole)?)
            .target(Target::PartOfFirst(0.6))
            .beside("raw write + fsync", disk),
        row("the same in chunks of 12 KiB", program("", 12 << 10)?)
            .target(Target::PartOfFirst(0.6))
            .beside("raw write + fsync", disk),
    ])
}
