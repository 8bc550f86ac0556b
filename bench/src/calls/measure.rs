//! CPU for a call, and the highest rate at which every call is clean: ours beside the floor and a peer.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::caller::{self, Tally};
use crate::process::{Server, ourselves, sibling};
use crate::report::{Row, Target, median};
use crate::{Effort, Outcome};

/// Calls a second while CPU time is taken: busy, but below what the peer can do.
const RATE: f64 = 4_000.0;

/// Somebody who answers.
pub struct Answerer {
    /// For the table.
    pub name: &'static str,
    /// Starts it and says where it answers.
    pub start: Box<dyn Fn() -> Outcome<(Server, SocketAddr)>>,
}

/// Ourselves without a store, as the others have none; the floor; the peer; ourselves as we are.
pub fn answerers(data: PathBuf) -> Outcome<Vec<Answerer>> {
    let config = data.join("no-store.toml");
    std::fs::write(&config, "store = false\n")?;
    let config = config.to_string_lossy().into_owned();
    let directory = data.clone();
    Ok(vec![
        Answerer {
            name: "parlour run, store off",
            start: Box::new(move || {
                parlour(&directory, &["--config", &config]).map(|(server, sip, _)| (server, sip))
            }),
        },
        Answerer {
            name: "bare recv/send loop",
            start: Box::new(|| with_address(Server::start(ourselves()?, &["serve-floor"])?)),
        },
        Answerer {
            name: "rsipstack",
            start: Box::new(|| with_address(Server::start(sibling("examples/rsipstack_uas")?, &[])?)),
        },
        Answerer {
            name: "parlour run, every event durable",
            start: Box::new(move || parlour(&data, &[]).map(|(server, sip, _)| (server, sip))),
        },
    ])
}

fn with_address(server: Server) -> Outcome<(Server, SocketAddr)> {
    let address = server.address.ok_or("it does not say where it listens")?;
    Ok((server, address))
}

/// Starts `parlour run` in direct mode, accepting all; says where SIP and MSRP are.
pub fn parlour(data: &std::path::Path, more: &[&str]) -> Outcome<(Server, SocketAddr, SocketAddr)> {
    let (sip, msrp) = (free_port()?, free_port()?);
    let directory = tempfile::tempdir_in(data)?.keep();
    let (sip_text, msrp_text) = (format!("udp:{sip}"), msrp.to_string());
    let mut arguments = vec!["run", "--address", "sip:bob@127.0.0.1", "--accept", "all", "--sip", &sip_text];
    let directory_text = directory.to_string_lossy().into_owned();
    arguments.extend(["--msrp", &msrp_text, "--data", &directory_text]);
    arguments.extend(more);
    let mut server = Server::quiet(sibling("parlour")?, &arguments, &directory.join("log"))?;
    let limit = Instant::now() + Duration::from_secs(20);
    while !answers(sip)? {
        if !server.is_alive() || Instant::now() > limit {
            return Err(format!("parlour {arguments:?} does not answer: {}", server.said()).into());
        }
    }
    Ok((server, sip, msrp))
}

/// Whether an OPTIONS gets an answer.
fn answers(peer: SocketAddr) -> Outcome<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let local = socket.local_addr()?;
    let options = format!(
        "OPTIONS sip:bob@{peer} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKprobe{}\r\nMax-Forwards: 70\r\n\
         From: <sip:probe@127.0.0.1>;tag=p\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: probe{}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        local.port(),
        local.port()
    );
    socket.send_to(options.as_bytes(), peer)?;
    let heard = socket.recv(&mut [0; 2048]).is_ok();
    if !heard {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(heard)
}

fn free_port() -> Outcome<SocketAddr> {
    // One that is free for both protocols now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    UdpSocket::bind(address)?;
    Ok(address)
}

/// All rows about calls.
pub fn rows(effort: Effort, data: PathBuf) -> Outcome<Vec<Row>> {
    let (count, rate) = if effort.quick { (5_000, RATE) } else { (20_000, RATE) };
    let mut cpu = Vec::new();
    let mut clean = Vec::new();
    let mut kept = None;
    for answerer in answerers(data)? {
        let mut samples = Vec::new();
        let mut grown = Vec::new();
        for run in 0..effort.runs {
            let (server, peer) = match (answerer.start)() {
                Ok(started) => started,
                Err(error) => {
                    eprintln!("{}: {error}", answerer.name);
                    break;
                }
            };
            // Warm: pages are mapped, tables have grown.
            caller::place(peer, "bob", 1000 + run as u32, 500, rate)?;
            let (before, resident) = (server.cpu(), server.resident());
            let tally = caller::place(peer, "bob", run as u32, count, rate)?;
            let used = server.cpu().saturating_sub(before);
            grown.push(server.resident().saturating_sub(resident) as f64 / f64::from(count));
            note(answerer.name, rate, &tally);
            if tally.failed * 100 > tally.placed {
                return Err(format!("{}: too many calls failed to tell anything", answerer.name).into());
            }
            samples.push(used.as_secs_f64() * 1e6 / f64::from(tally.done.max(1)));
        }
        if samples.is_empty() {
            continue;
        }
        if answerer.name == "parlour run, store off" {
            kept = Some(median(grown.clone()));
        }
        cpu.push((answerer.name.to_owned(), median(samples)));
        clean.push((answerer.name.to_owned(), clean_rate(&answerer, effort)?));
    }
    let row = |what: &str, unit, values: Vec<(String, f64)>, target| {
        let mut values = values.into_iter();
        values.next().map(|(name, value)| {
            let mut row = Row::new(format!("{what}: {name}"), value, unit).target(target);
            row.beside = values.collect();
            row
        })
    };
    let mut rows = Vec::new();
    rows.extend(row("CPU for a call over UDP, INVITE/200/ACK/BYE/200", "us", cpu, Target::AtMost(40.0)));
    let alone = crate::memory::client_alone(if effort.quick { 5_000 } else { 20_000 })?;
    rows.push(Row::new("- the client alone, no sockets, the caller's own part included", alone, "us"));
    rows.extend(row("highest clean rate", "calls/s", clean, Target::AtLeast(8_000.0)));
    if let Some(kept) = kept {
        rows.push(Row::new(
            "resident memory that parlour run grew by a finished call, timers running",
            kept,
            "octets",
        ));
    }
    Ok(rows)
}

/// The highest of the stepped rates at which a run is clean in two of three tries.
fn clean_rate(answerer: &Answerer, effort: Effort) -> Outcome<f64> {
    let steps: &[f64] = if effort.quick {
        &[2_000.0, 4_000.0, 8_000.0]
    } else {
        &[2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0]
    };
    let seconds = if effort.quick { 1.0 } else { 2.0 };
    let mut best = 0.0;
    for rate in steps {
        let mut good = 0;
        for attempt in 0..3 {
            let (_server, peer) = (answerer.start)()?;
            caller::place(peer, "bob", 99, 200, 1_000.0)?;
            let tally = caller::place(peer, "bob", attempt, (rate * seconds) as u32, *rate)?;
            note(answerer.name, *rate, &tally);
            good += u32::from(tally.is_clean());
            if good == 2 {
                break;
            }
        }
        if good < 2 {
            break;
        }
        best = *rate;
    }
    Ok(best)
}

fn note(name: &str, rate: f64, tally: &Tally) {
    eprintln!(
        "{name} at {rate:.0}/s: {} of {} calls right, {} failed, {} requests resent, {} responses repeated{}",
        tally.done,
        tally.placed,
        tally.failed,
        tally.resent,
        tally.repeated,
        tally.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default()
    );
}
