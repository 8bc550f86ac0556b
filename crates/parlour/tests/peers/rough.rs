//! Two real ends with a bad wire between them: it delays, cuts octets into other segments, and breaks connections.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, Setup};
use crate::harness::Folder;

const WAIT: Duration = Duration::from_secs(30);

/// How many messages each side sends.
const MESSAGES: usize = 200;

/// How often the wire breaks, in turn by a close and by a reset: as often in a row as a session is mended.
const BREAKS: u64 = 3;

/// Octets after which it breaks; each message takes some 500.
const UNTIL_BREAK: u64 = 20_000;

/// Carries connections to `to` over segments of changing sizes, late, and breaks the first few.
struct Wire {
    breaks: AtomicU64,
}

impl Wire {
    /// Serves as long as the test's process lives.
    fn start(at: (&str, u16), to: (&str, u16), breaks: u64) -> Arc<Wire> {
        let wire = Arc::new(Wire { breaks: AtomicU64::new(breaks) });
        let listener = TcpListener::bind(at).expect("a second address of loopback");
        let (to, shared) = ((to.0.to_owned(), to.1), Arc::clone(&wire));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect((&*to.0, to.1)) else { continue };
                let carried = Arc::new(AtomicU64::new(0));
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let (wire, carried) = (Arc::clone(&shared), Arc::clone(&carried));
                    thread::spawn(move || wire.carry(from, to, &carried));
                }
            }
        });
        wire
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, carried: &AtomicU64) {
        to.set_nodelay(true).expect("an option of sockets");
        let mut buffer = [0; 4096];
        let mut size = 1;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                // Segments of 1, 8, 57, 400, 2801 octets and again: end-lines are cut in all places.
                let (piece, later) = rest.split_at(size.min(rest.len()));
                (rest, size) = (later, if size > 2000 { 1 } else { size * 7 + 1 });
                if to.write_all(piece).is_err() {
                    return;
                }
                let carried = carried.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
                let breaks = |left: u64| left.checked_sub(1);
                if carried > UNTIL_BREAK
                    && let Ok(left) = self.breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, breaks)
                {
                    // In the middle of a frame; octets that nobody has read make it a reset.
                    let both = if left % 2 == 0 { Shutdown::Both } else { Shutdown::Write };
                    _ = from.shutdown(both);
                    _ = to.shutdown(both);
                    return;
                }
                thread::sleep(Duration::from_micros(300));
            }
        }
        _ = to.shutdown(Shutdown::Write);
    }
}

/// What one side said and heard.
#[derive(Default)]
struct Side {
    acknowledged: BTreeSet<String>,
    heard: BTreeMap<String, usize>,
    order: Vec<String>,
}

impl Side {
    fn read(&mut self, event: &Value) {
        let id = event["message_id"].as_str().unwrap_or_default().to_owned();
        match (event["type"].as_str(), event["state"].as_str(), event["direction"].as_str()) {
            (Some("progress"), Some("acknowledged"), _) => {
                self.acknowledged.insert(id);
            }
            (Some("progress"), Some("failed"), _) => panic!("{event}"),
            (Some("message"), _, Some("in")) => {
                let text = event["text"].as_str().expect("a text").to_owned();
                *self.heard.entry(text.clone()).or_default() += 1;
                self.order.push(text);
            }
            (Some("ended"), ..) => panic!("the session is over: {event}"),
            _ => {}
        }
    }
}

fn say(agent: &mut Agent, session: &Value, who: &str) {
    for number in 0..MESSAGES {
        let text = format!("{who} {number}: {}", "\r\n-------".repeat(number % 40));
        let id = format!("{who}{number:04}");
        agent.tell(&json!({"do": "say", "session": session, "message_id": id, "text": text}));
    }
}

//= IM M-2 test
//= IM D-52 test
//= IM X-23 test
#[test]
#[ignore = "breaks the wire between two real ends again and again, 30 s: run ./check"]
fn nothing_is_lost_or_shown_twice_over_a_wire_that_cuts_and_breaks() {
    let folder = Folder::new("rough");
    let mut setup = Setup::new(&folder, "bob", "all");
    // Bob says that he is at the wire's address, where it listens at the same ports.
    let config = folder.join("bob.toml");
    std::fs::write(&config, "advertised_address = \"127.0.0.2\"\n").expect("a file");
    setup.more = vec!["--config".into(), config.to_string_lossy().into_owned()];
    let _sip = Wire::start(("127.0.0.2", setup.sip), ("127.0.0.1", setup.sip), 0);
    let media = Wire::start(("127.0.0.2", setup.msrp), ("127.0.0.1", setup.msrp), BREAKS);
    let mut bob = setup.start(&folder, "bob");
    let mut alice = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
    let via = format!("tcp:127.0.0.2:{}", setup.sip);
    alice.tell(&json!({"do": "invite", "to": setup.address, "via": via}));
    let here = alice.await_event("connected", WAIT)["session"].clone();
    let there = bob.await_event("connected", WAIT)["session"].clone();
    say(&mut alice, &here, "alice");
    say(&mut bob, &there, "bob");
    let (mut of_alice, mut of_bob) = (Side::default(), Side::default());
    let until = Instant::now() + Duration::from_secs(90);
    let done = |side: &Side| side.acknowledged.len() == MESSAGES && side.order.len() >= MESSAGES;
    while !(done(&of_alice) && done(&of_bob)) {
        assert!(
            Instant::now() < until,
            "{} and {} are acknowledged",
            of_alice.acknowledged.len(),
            of_bob.acknowledged.len()
        );
        for (agent, side) in [(&mut alice, &mut of_alice), (&mut bob, &mut of_bob)] {
            while let Some(event) = agent.next(Duration::from_millis(20)) {
                side.read(&event);
            }
        }
    }
    assert_eq!(media.breaks.load(Ordering::Relaxed), 0, "the wire broke as often as it was to");
    // What comes late would come now.
    for (agent, side) in [(&mut alice, &mut of_alice), (&mut bob, &mut of_bob)] {
        while let Some(event) = agent.next(Duration::from_secs(2)) {
            side.read(&event);
        }
    }
    for (side, other) in [(&of_alice, "bob"), (&of_bob, "alice")] {
        assert!(side.heard.values().all(|times| *times == 1), "{:?}", side.heard);
        let numbers: Vec<_> =
            side.order.iter().map(|text| text.split([' ', ':']).nth(1).unwrap_or_default()).collect();
        let expected: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "what {other} said, in order");
    }
}
