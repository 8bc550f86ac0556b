//! `parlour demo`: Alice and Bob talk over this machine's loopback, and every message that leaves either is shown.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use parlour_proto::config::{Account, Proxy};
use parlour_proto::event::{Progress, What};
use parlour_proto::io::{Service, Transport};
use parlour_proto::text;
use tokio::sync::mpsc::Sender;

use crate::Fault;
use crate::agent::{Agent, Controls, Hearer, Setup, StartFault, Told};
use crate::command::{Asked, Command};
use crate::config::Settings;
use crate::line::{end, who};
use crate::log;
use crate::net::{Listen, Tap};
use crate::run::runtime;
use crate::shown::shown;
use crate::store::Store;

/// The conversation takes well below a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Octets of the long message: several chunks, since one takes 12 KiB.
const LONG: usize = 40 * 1024;
/// Characters of a message's first line that the ladder shows.
const WIDTH: usize = 64;

/// Plays the conversation; the exit code says whether it went as it should.
pub(crate) fn demo() -> Result<ExitCode, Fault> {
    let dir = Directory::new()?;
    runtime()?.block_on(async {
        let start = Instant::now();
        let (alice, alice_controls) = player("alice", &dir, start)?;
        let (bob, bob_controls) = player("bob", &dir, start)?;
        let bob_at = bob_controls.listening.first().copied().ok_or("Bob listens nowhere")?;
        print("Alice and Bob are two clients with sockets of their own on 127.0.0.1. Every line is a message that left.");
        let story = tokio::time::timeout(PATIENCE, async {
            let stops = [alice_controls.stop.clone(), bob_controls.stop.clone()];
            let outcome = tokio::try_join!(
                call(alice_controls.commands, alice_controls.told, bob_at),
                answer(bob_controls.commands, bob_controls.told)
            );
            stops.iter().for_each(|stop| stop.notify_one());
            outcome
        });
        let ((), (), outcome) = tokio::join!(alice.run(), bob.run(), async {
            let outcome = story.await;
            // Both agents end by themselves when their front ends have said so; a story that hangs ends the program.
            if outcome.is_err() {
                log::say(&format!("parlour: the demo did not end within {} s", PATIENCE.as_secs()));
                dir.remove();
                std::process::exit(1);
            }
            outcome
        });
        match outcome {
            Ok(Ok(((), ()))) => {
                print(&format!("Done in {} ms: said, acknowledged, stored, parted.", start.elapsed().as_millis()));
                Ok(ExitCode::SUCCESS)
            }
            Ok(Err(why)) => Err(format!("the demo failed: {why}").into()),
            Err(_) => Err("the demo did not end".into()),
        }
    })
}

/// Alice's part: invites, says something short and something long, leaves.
#[expect(clippy::wildcard_enum_match_arm, reason = "the story needs only these events")]
async fn call(commands: Sender<Asked>, mut told: Hearer, bob: SocketAddr) -> Result<(), String> {
    let ask = |command| commands.send(Asked { id: None, command });
    let via = Proxy { host: bob.ip().to_string(), port: Some(bob.port()), transport: Transport::Udp };
    let _ = ask(Command::Invite {
        account: None,
        to: "sip:bob@127.0.0.1".into(),
        via: Some(via),
        large: false,
        first: None,
    })
    .await;
    let mut acknowledged = 0;
    while let Some(told) = told.hear().await {
        let Some(what) = narrate("Alice", told)? else { continue };
        match what {
            What::Established { .. } => {
                for text in ["Hello Bob! Here comes a long one.".to_owned(), long_text()] {
                    let (content_type, body) = ("text/plain".into(), text.into_bytes());
                    let _ =
                        ask(Command::Say { session: None, to: None, message_id: None, content_type, body })
                            .await;
                }
            }
            What::Progress { progress: Progress::Acknowledged, .. } => acknowledged += 1,
            What::Progress { progress: Progress::Failed { why }, .. } => return Err(why),
            // Bob answers when he has both.
            What::Message(_) if acknowledged == 2 => {
                let _ = ask(Command::Leave { session: None }).await;
            }
            What::Message(_) => return Err("Bob answered before he had acknowledged both messages".into()),
            What::Ended(_) => return Ok(()),
            _ => {}
        }
    }
    Err("Alice's agent ended early".into())
}

/// Bob's part: accepts, and answers when he has both messages.
#[expect(clippy::wildcard_enum_match_arm, reason = "the story needs only these events")]
async fn answer(commands: Sender<Asked>, mut told: Hearer) -> Result<(), String> {
    let ask = |command| commands.send(Asked { id: None, command });
    let mut received = 0;
    while let Some(told) = told.hear().await {
        let Some(what) = narrate("Bob", told)? else { continue };
        match what {
            What::Invited { .. } => {
                let _ = ask(Command::Accept { session: None, files: None }).await;
            }
            What::Message(_) => {
                received += 1;
                if received == 2 {
                    let (content_type, body) = ("text/plain".into(), b"Got both. Bye, Alice!".to_vec());
                    let _ =
                        ask(Command::Say { session: None, to: None, message_id: None, content_type, body })
                            .await;
                }
            }
            What::Ended(_) if received == 2 => return Ok(()),
            What::Ended(why) => return Err(format!("the session ended early for Bob: {}", end(&why))),
            _ => {}
        }
    }
    Err("Bob's agent ended early".into())
}

/// Prints what a person would see.
#[expect(clippy::wildcard_enum_match_arm, reason = "the story needs only these events")]
fn narrate(name: &str, told: Told) -> Result<Option<What>, String> {
    match told {
        Told::Outcome(outcome) => outcome.what.map(|_| None),
        Told::Trouble(what) => Err(what),
        Told::Said { .. } | Told::Paged { .. } | Told::Missed { .. } => Ok(None),
        Told::Event(happening) => {
            let sees = match &happening.event.what {
                What::Invited { peer, .. } => Some(format!("{} invites you", who(peer))),
                What::Established { .. } => Some("the session stands".to_owned()),
                What::Message(message) => {
                    let text = shown(message, happening.file.as_deref(), happening.time);
                    let length = text.chars().count();
                    let note = if length > WIDTH { format!(" ({length} characters)") } else { String::new() };
                    Some(format!("{}: {}{note}", who(&message.from), text::neutral_within(&text, WIDTH)))
                }
                What::Progress { progress: Progress::Acknowledged, .. } => Some("delivered".to_owned()),
                What::Ended(why) => Some(end(why)),
                _ => None,
            };
            if let Some(sees) = sees {
                print(&format!("            {name} sees: {sees}"));
            }
            Ok(Some(happening.event.what))
        }
    }
}

/// One of the two, with a store of its own.
fn player(name: &'static str, dir: &Directory, start: Instant) -> Result<(Agent, Controls), Fault> {
    let mut settings = Settings::new();
    settings.proto.accounts.push(Account { address: format!("sip:{name}@127.0.0.1"), ..Account::default() });
    let free = |service, transport| Listen { service, transport, host: "127.0.0.1".into(), port: 0 };
    let setup = Setup {
        settings,
        listen: vec![free(Service::Sip, Transport::Udp), free(Service::Msrp, Transport::Tcp)],
        store: Store::open(&dir.0.join(name))?,
        tap: Some(ladder(name == "alice", start)),
        echo: false,
        shows: false,
        resumes: false,
        explain: false,
    };
    Agent::start(setup).map_err(|fault: StartFault| fault.into())
}

/// Prints an arrow for each message that leaves.
fn ladder(from_alice: bool, start: Instant) -> Tap {
    Box::new(move |service, _: SocketAddr, _: SocketAddr, octets| {
        for line in first_lines(service, octets) {
            let line = text::neutral_within(&line, WIDTH);
            let shaft = "─".repeat(WIDTH.saturating_sub(line.chars().count()));
            let arrow = if from_alice {
                format!("── {line} {shaft}▶")
            } else {
                format!("◀{shaft} {line} ──")
            };
            let millis = start.elapsed().as_micros() / 100;
            print(&format!("{:>6}.{} ms  Alice {arrow} Bob", millis / 10, millis % 10));
        }
    })
}

/// The first lines of the messages in these octets; for MSRP with the range of the chunk.
fn first_lines(service: Service, octets: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(octets);
    match service {
        Service::Sip => text.lines().next().map(str::to_owned).into_iter().collect(),
        Service::Msrp => {
            let mut frames: Vec<String> = Vec::new();
            for line in text.split("\r\n") {
                if line.starts_with("MSRP ") {
                    frames.push(line.to_owned());
                } else if let (true, Some(last)) = (line.starts_with("Byte-Range: "), frames.last_mut()) {
                    last.push_str(" (");
                    last.push_str(line);
                    last.push(')');
                }
            }
            frames
        }
    }
}

fn long_text() -> String {
    "Parlour cuts what is long into chunks. ".chars().cycle().take(LONG).collect()
}

fn print(line: &str) {
    // A reader that is gone is no reason to stop.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A directory that goes when the demo ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Directory, Fault> {
        let mut bits = [0; 8];
        getrandom::fill(&mut bits).map_err(|error| format!("no randomness: {error}"))?;
        Ok(Directory(std::env::temp_dir().join(format!("parlour-demo-{:016x}", u64::from_ne_bytes(bits)))))
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the demo's directory stays behind");
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.remove();
    }
}
