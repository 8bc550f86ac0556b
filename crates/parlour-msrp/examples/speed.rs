//! How fast frames are read and messages are taken, on one core and without sockets:
//! `cargo run --release -p parlour-msrp --example speed`.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures and tells"
)]

use std::hint::black_box;
use std::time::Instant as Clock;

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::frame::{FrameReader, Piece};
use parlour_msrp::random::Random;
use parlour_msrp::time::Instant;
use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    ConnectionId, Endpoint, Event, Input, Limits, Outgoing, Output, Role, SessionSpec, Source, Verdict,
};

const LOCAL: &str = "msrp://192.0.2.2:8888/9di4eae923wzd9di4eae923;tcp";
const PEER: &str = "msrp://192.0.2.1:7777/iau39soe2843ziau39soe284;tcp";
const READ: usize = 64 * 1024;

fn main() {
    let small: String = (0..20_000).map(|n| send(n, "1-40/40", &"x".repeat(40))).collect();
    rate("small frames read", 20_000, || frames(small.as_bytes()));
    let large = send(0, "1-*/*", &"0123456789abcde\n".repeat(4_000_000));
    bandwidth("a large frame read", large.len(), || frames(large.as_bytes()));
    rate("small messages taken, each with its 200", 20_000, || messages(small.as_bytes(), 1));
    rate("the same beside 199 idle sessions", 20_000, || messages(small.as_bytes(), 200));
    rate("small messages sent, acknowledged and settled", 20_000, || exchange(20_000));
    println!("memory per idle session, 100 on a connection: {} octets", idle());
    bandwidth("a large message taken and spooled", large.len(), || messages(large.as_bytes(), 1));
}

fn send(n: usize, range: &str, body: &str) -> String {
    format!(
        "MSRP d93kswow{n:05} SEND\r\nTo-Path: {LOCAL}\r\nFrom-Path: {PEER}\r\nMessage-ID: 12339sdqwer{n:05}\r\n\
         Byte-Range: {range}\r\nContent-Type: text/plain\r\n\r\n{body}\r\n-------d93kswow{n:05}$\r\n"
    )
}

fn frames(stream: &[u8]) {
    let mut reader = FrameReader::new(16 * 1024);
    for mut input in stream.chunks(READ) {
        while let Some(piece) = reader.next(&mut input) {
            assert!(!matches!(piece, Piece::Fault(_)));
            black_box(&piece);
        }
    }
}

fn messages(stream: &[u8], connections: u64) {
    let now = Instant::ZERO;
    let mut endpoint =
        Endpoint::new(Limits::default().with(|limits| limits.unsettled = usize::MAX), Random::new([1; 32]));
    endpoint.open(
        now,
        SessionSpec::new(
            MsrpUri::parse(LOCAL).expect("a URI"),
            MsrpPath::parse(PEER).expect("a path"),
            Role::Passive,
            AcceptTypes::parse("text/plain message/cpim", None),
        )
        .with(|spec| spec.max_size = u64::MAX),
    );
    // The others have a session and a connection each, and stand idle.
    for n in 1..connections {
        endpoint.open(
            now,
            SessionSpec::new(
                MsrpUri::parse(&format!("msrp://192.0.2.2:8888/other{n};tcp")).expect("a URI"),
                MsrpPath::parse(&format!("msrp://192.0.2.1:7777/other{n};tcp")).expect("a path"),
                Role::Passive,
                AcceptTypes::parse("text/plain message/cpim", None),
            )
            .with(|spec| spec.max_size = u64::MAX),
        );
    }
    for n in 1..=connections {
        let connection = ConnectionId(n);
        endpoint.handle(now, Input::Connected { connection, peer: ([192, 0, 2, 1], 7).into(), tls: None });
    }
    let connection = ConnectionId(1);
    for bytes in stream.chunks(READ) {
        endpoint.handle(now, Input::Writable { connection, room: 1 << 20 });
        endpoint.handle(now, Input::Received { connection, bytes });
        loop {
            match endpoint.poll() {
                Output::Idle(_) => break,
                Output::Event(Event::Message { receipt, .. }) => {
                    endpoint.settle(now, receipt, Verdict::Accepted)
                }
                Output::Spool { spool, offset, bytes } => {
                    let upto = offset + bytes.len() as u64;
                    endpoint.handle(now, Input::Spooled { spool, upto });
                }
                Output::Close { .. } => panic!("the connection is closed"),
                output => drop(black_box(output)),
            }
        }
    }
}

/// Two endpoints, one of which sends.
fn exchange(count: usize) {
    let now = Instant::ZERO;
    let end = |local: &str, peer: &str, role| {
        let mut endpoint = Endpoint::new(Limits::default(), Random::new([1; 32]));
        let spec = SessionSpec::new(
            MsrpUri::parse(local).expect("a URI"),
            MsrpPath::parse(peer).expect("a path"),
            role,
            AcceptTypes::parse("text/plain", None),
        )
        .with(|spec| spec.max_size = 1 << 20);
        let session = endpoint.open(now, spec);
        (endpoint, session)
    };
    let (mut bob, _) = end(LOCAL, PEER, Role::Passive);
    let (mut alice, session) = end(PEER, LOCAL, Role::Active);
    let Output::Connect { connection: ours, .. } = alice.poll() else { panic!("an active session connects") };
    let theirs = ConnectionId(1);
    for (endpoint, connection) in [(&mut alice, ours), (&mut bob, theirs)] {
        endpoint.handle(now, Input::Connected { connection, peer: ([192, 0, 2, 1], 7).into(), tls: None });
    }
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < count {
        while sent < count {
            let outgoing = Outgoing::new(
                format!("12339sdqwer{sent:05}"),
                "text/plain".to_owned(),
                Source::Inline(vec![b'x'; 40]),
            );
            if alice.send(now, session, outgoing).is_err() {
                break;
            }
            sent += 1;
        }
        alice.handle(now, Input::Writable { connection: ours, room: 256 * 1024 });
        loop {
            match alice.poll() {
                Output::Idle(_) => break,
                Output::Send { bytes, .. } => {
                    bob.handle(now, Input::Writable { connection: theirs, room: 256 * 1024 });
                    bob.handle(now, Input::Received { connection: theirs, bytes: &bytes });
                }
                Output::Event(Event::Acknowledged { .. }) => acknowledged += 1,
                _ => {}
            }
        }
        loop {
            match bob.poll() {
                Output::Idle(_) => break,
                Output::Send { bytes, .. } => {
                    alice.handle(now, Input::Received { connection: ours, bytes: &bytes })
                }
                Output::Event(Event::Message { receipt, .. }) => bob.settle(now, receipt, Verdict::Accepted),
                _ => {}
            }
        }
    }
}

/// Octets of memory that an idle session takes.
fn idle() -> usize {
    const SESSIONS: usize = 100_000;
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
    };
    let before = resident();
    let now = Instant::ZERO;
    let mut endpoint = Endpoint::new(Limits::default(), Random::new([1; 32]));
    for n in 0..SESSIONS {
        let connection = ConnectionId((n / 100) as u64);
        let (local, peer) =
            (format!("msrp://192.0.2.2:8888/{n:021};tcp"), format!("msrp://192.0.2.1:7777/{n:021};tcp"));
        if n % 100 == 0 {
            endpoint
                .handle(now, Input::Connected { connection, peer: ([192, 0, 2, 1], 7).into(), tls: None });
        }
        endpoint.open(
            now,
            SessionSpec::new(
                MsrpUri::parse(&local).expect("a URI"),
                MsrpPath::parse(&peer).expect("a path"),
                Role::Passive,
                AcceptTypes::parse("message/cpim text/plain", Some("text/html message/imdn+xml")),
            )
            .with(|spec| spec.max_size = u64::MAX),
        );
        let text = send(n, "1-40/40", "xxxx").replace(LOCAL, &local).replace(PEER, &peer);
        endpoint.handle(now, Input::Received { connection, bytes: text.as_bytes() });
        loop {
            match endpoint.poll() {
                Output::Idle(_) => break,
                Output::Event(Event::Message { receipt, .. }) => {
                    endpoint.settle(now, receipt, Verdict::Accepted)
                }
                output => drop(output),
            }
        }
    }
    assert_eq!((endpoint.sessions(), endpoint.load().receipts), (SESSIONS, 0));
    resident().saturating_sub(before) / SESSIONS
}

fn best(work: impl Fn()) -> f64 {
    let times = (0..7).map(|_| {
        let start = Clock::now();
        work();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::MAX, f64::min)
}

fn rate(what: &str, count: u32, work: impl Fn()) {
    println!("{what}: {:.0}/s", f64::from(count) / best(work));
}

fn bandwidth(what: &str, octets: usize, work: impl Fn()) {
    println!("{what}: {:.0} MB/s", octets as f64 / best(work) / 1e6);
}
