//! The driver on tokio, over pipes in paused time where that will do.

#![expect(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]
#![expect(clippy::disallowed_methods, reason = "tests look into files")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::tokio::{Connected, Connecting, Driver, Files, Storage};
use parlour_msrp::{
    Body, Event, Incomplete, Limits, Outgoing, Role, SendFailure, SessionFailure, SessionId, SessionSpec,
    Source, SourceId, SpoolId, Trust, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

const ALICE: &str = "msrp://192.0.2.1:7777/iau39soe2843z;tcp";
const BOB: &str = "msrp://192.0.2.2:8888/9di4eae923wzd;tcp";

fn spec(role: Role) -> SessionSpec {
    let (local, peer) = match role {
        Role::Active => (ALICE, BOB),
        Role::Passive => (BOB, ALICE),
    };
    let listed = AcceptTypes::parse("text/plain", None);
    SessionSpec::new(local.parse().expect("a URI"), peer.parse().expect("a path"), role, listed)
}

fn place() -> SocketAddr {
    "192.0.2.1:7777".parse().expect("an address")
}

/// Connects to the other end of one pipe, once.
fn by_pipe(pipe: DuplexStream) -> impl FnMut(parlour_msrp::uri::MsrpUri) -> Connecting + Send {
    let mut pipe = Some(pipe);
    move |_| {
        let pipe = pipe.take();
        Box::pin(async move { Ok(Connected::plain(pipe.ok_or(io::ErrorKind::ConnectionRefused)?, place())) })
    }
}

/// Two drivers with a pipe of that many octets between them.
fn pair(pipe: usize, bob: Driver) -> (Driver, SessionId, Driver) {
    let (one, two) = tokio::io::duplex(pipe);
    let mut alice = Driver::new(Limits::default(), [1; 32]).connector(by_pipe(one));
    let session = alice.open(spec(Role::Active));
    let mut bob = bob;
    bob.open(spec(Role::Passive));
    bob.attach(two, place(), None);
    (alice, session, bob)
}

/// The next event but progress and explanations.
async fn news(driver: &mut Driver) -> Event {
    loop {
        match driver.next().await {
            Event::Explain { .. } | Event::Progress { .. } | Event::Receiving { .. } => {}
            event => return event,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_not_read_while_nobody_asks_for_events() {
    let (mut alice, session, mut bob) = pair(1024, Driver::new(Limits::default(), [2; 32]));
    assert_eq!(news(&mut alice).await, Event::Bound { session });
    for number in 0..700 {
        let message = Outgoing::new(format!("text{number}"), "text/plain", "x".repeat(10_000).as_str());
        alice
            .send(session, message.with(|message| message.failure_report = parlour_msrp::FailureReport::No))
            .expect("it is taken");
    }
    let mut sent = 0;
    // Bob does nothing, so what leaves is what fits the pipe and the room.
    while let Ok(event) = timeout(Duration::from_secs(5), alice.next()).await {
        sent += usize::from(matches!(event, Event::Sent { .. }));
    }
    assert!((1..40).contains(&sent), "{sent} messages left");
    // Then he listens, and all come, in order.
    let bob = tokio::spawn(async move {
        let mut next = 0;
        while next < 700 {
            if let Event::Message { receipt, message_id, .. } = news(&mut bob).await {
                assert_eq!(message_id, format!("text{next}"));
                bob.settle(receipt, Verdict::Accepted);
                next += 1;
            }
        }
    });
    while sent < 700 {
        sent += usize::from(matches!(alice.next().await, Event::Sent { .. }));
    }
    // What was given to the line is written before the driver ends.
    alice.shutdown().await;
    bob.await.expect("Bob hears all");
}

#[tokio::test(start_paused = true)]
async fn without_storage_a_large_message_is_refused_and_a_small_one_is_not() {
    let (mut alice, session, mut bob) = pair(1 << 20, Driver::new(Limits::default(), [2; 32]));
    let bob = tokio::spawn(async move {
        loop {
            if let Event::Message { receipt, .. } = news(&mut bob).await {
                bob.settle(receipt, Verdict::Accepted);
            }
        }
    });
    assert_eq!(news(&mut alice).await, Event::Bound { session });
    alice
        .send(session, Outgoing::new("large", "text/plain", "x".repeat(65_537).as_str()))
        .expect("it is taken");
    alice
        .send(session, Outgoing::new("small", "text/plain", "x".repeat(65_536).as_str()))
        .expect("it is taken");
    let mut ends = Vec::new();
    while ends.len() < 2 {
        match news(&mut alice).await {
            Event::Failed { message_id, why: SendFailure::Refused { status, .. }, .. } => {
                ends.push((message_id, status))
            }
            Event::Acknowledged { message_id, .. } => ends.push((message_id, 200)),
            _ => {}
        }
    }
    assert_eq!(ends, [("large".to_owned(), 413), ("small".to_owned(), 200)]);
    bob.abort();
}

/// Storage whose disk is full after so many octets.
struct Full(u64);

impl Storage for Full {
    fn write(&mut self, _: SpoolId, offset: u64, octets: &[u8]) -> io::Result<()> {
        if offset + octets.len() as u64 > self.0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn finish(&mut self, _: SpoolId) -> io::Result<()> {
        Ok(())
    }
    fn discard(&mut self, _: SpoolId) {}
    fn read(&mut self, _: SourceId, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_written_is_refused_and_never_shown() {
    let bob = Driver::with_storage(Limits::default(), [2; 32], Full(100_000));
    let (mut alice, session, mut bob) = pair(1 << 16, bob);
    let bob = tokio::spawn(async move {
        loop {
            match news(&mut bob).await {
                Event::Message { message_id, receipt, .. } if message_id == "good" => {
                    bob.settle(receipt, Verdict::Accepted);
                }
                Event::Message { message_id, .. } => panic!("{message_id} is shown"),
                _ => {}
            }
        }
    });
    assert_eq!(news(&mut alice).await, Event::Bound { session });
    for (id, size) in [("much", 200_000), ("good", 90_000)] {
        let octets = vec![b'x'; size];
        alice.send(session, Outgoing::new(id, "text/plain", octets)).expect("it is taken");
    }
    let mut ends = Vec::new();
    while ends.len() < 2 {
        match news(&mut alice).await {
            Event::Failed { message_id, why: SendFailure::Refused { status: 413, .. }, .. } => {
                ends.push(message_id)
            }
            Event::Acknowledged { message_id, .. } => ends.push(message_id),
            _ => {}
        }
    }
    assert_eq!(ends, ["much", "good"]);
    bob.abort();
}

#[tokio::test]
async fn a_source_that_cannot_be_read_fails_its_message_alone() {
    let (mut alice, session, mut bob) = pair(1 << 16, Driver::new(Limits::default(), [2; 32]));
    let bob = tokio::spawn(async move {
        loop {
            if let Event::Message { receipt, .. } = news(&mut bob).await {
                bob.settle(receipt, Verdict::Accepted);
            }
        }
    });
    assert_eq!(news(&mut alice).await, Event::Bound { session });
    let nothing = Source::Fetched { source: SourceId(7), size: 50_000, head: Vec::new() };
    alice.send(session, Outgoing::new("none", "text/plain", nothing)).expect("it is taken");
    alice.send(session, Outgoing::new("some", "text/plain", "Hi")).expect("it is taken");
    let why = SendFailure::Unreadable;
    assert_eq!(news(&mut alice).await, Event::Failed { session, message_id: "none".into(), why });
    assert_eq!(news(&mut alice).await, Event::Sent { session, message_id: "some".into() });
    assert_eq!(news(&mut alice).await, Event::Acknowledged { session, message_id: "some".into() });
    bob.abort();
}

#[tokio::test(start_paused = true)]
async fn failures_of_connections_end_sessions() {
    // Nobody answers for ten seconds.
    let mut alice = Driver::new(Limits::default(), [1; 32]).connector(|_| Box::pin(std::future::pending()));
    let session = alice.open(spec(Role::Active));
    let failed = |why| Event::SessionFailed { session, why, unsent: Vec::new() };
    assert_eq!(news(&mut alice).await, failed(SessionFailure::ConnectFailed));
    // TLS is not made up for.
    let mut alice = Driver::new(Limits::default(), [1; 32]);
    let secure = BOB.replace("msrp:", "msrps:").parse().expect("a path");
    let session = alice.open(spec(Role::Active).with(|spec| spec.remote.path = secure));
    assert_eq!(news(&mut alice).await, failed(SessionFailure::ConnectFailed));
    assert_eq!(alice.endpoint().sessions(), 0);
    drop(alice);
    // The peer goes away.
    let (one, two) = tokio::io::duplex(1024);
    let mut alice = Driver::new(Limits::default(), [1; 32]).connector(by_pipe(one));
    assert_eq!(alice.open(spec(Role::Active)), session);
    assert_eq!(news(&mut alice).await, Event::Bound { session });
    drop(two);
    assert_eq!(news(&mut alice).await, failed(SessionFailure::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_shown_the_door_in_time() {
    let mut bob = Driver::new(Limits::default(), [2; 32]);
    let (mut stranger, pipe) = tokio::io::duplex(1024);
    bob.attach(pipe, place(), None);
    let bob = tokio::spawn(async move { bob.next().await });
    let mut octets = Vec::new();
    let read = timeout(Duration::from_secs(11), stranger.read_to_end(&mut octets)).await;
    assert_eq!((read.expect("the connection is closed").ok(), octets.len()), (Some(0), 0));
    assert!(matches!(bob.await.expect("an event"), Event::Explain { clause: "X-21", .. }));
}

#[tokio::test]
async fn an_abandoned_spool_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bob = Driver::with_storage(Limits::default(), [2; 32], Files::new(folder.path()));
    bob.open(spec(Role::Passive));
    let (mut alice, pipe) = tokio::io::duplex(1 << 20);
    bob.attach(pipe, place(), None);
    let rows = format!("To-Path: {BOB}\r\nFrom-Path: {ALICE}\r\nMessage-ID: m1m1\r\nByte-Range: 1-*/*\r\n");
    let text = format!(
        "MSRP abcd SEND\r\n{rows}Content-Type: text/plain\r\n\r\n{}\r\n-------abcd#\r\n",
        "x".repeat(90_000)
    );
    alice.write_all(text.as_bytes()).await.expect("it is written");
    loop {
        match news(&mut bob).await {
            Event::Bound { .. } => {}
            Event::Incomplete { received: 90_000, why: Incomplete::Aborted, .. } => break,
            other => panic!("{other:?}"),
        }
    }
    bob.shutdown().await;
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}

#[tokio::test]
async fn what_lies_in_a_spool_is_the_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let bob = Driver::with_storage(Limits::default(), [2; 32], Files::new(folder.path()));
    let (mut alice, session, mut bob) = pair(1 << 14, bob);
    let octets: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    alice.send(session, Outgoing::new("large", "text/plain", octets.clone())).expect("it is taken");
    let alice =
        tokio::spawn(async move { while !matches!(alice.next().await, Event::Acknowledged { .. }) {} });
    let (receipt, spool) = loop {
        if let Event::Message { receipt, body: Body::Spooled { spool, size: 300_000, .. }, .. } =
            news(&mut bob).await
        {
            break (receipt, spool);
        }
    };
    bob.settle(receipt, Verdict::Accepted);
    assert!(std::fs::read(Files::path(folder.path(), spool)).expect("a file") == octets);
    bob.shutdown().await;
    alice.await.expect("it is acknowledged");
}

/// How many files in a folder this process has open.
#[cfg(target_os = "linux")]
fn open_files(folder: &std::path::Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("a list of open files");
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|to| to.starts_with(folder))
        .count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_message_that_was_told_keeps_no_file_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let bob = Driver::with_storage(Limits::default(), [2; 32], Files::new(folder.path()));
    let (mut alice, session, mut bob) = pair(1 << 20, bob);
    let alice = tokio::spawn(async move {
        for number in 0..100 {
            let message = Outgoing::new(format!("large{number}"), "text/plain", vec![b'x'; 100_000]);
            alice.send(session, message).expect("it is taken");
            while !matches!(alice.next().await, Event::Acknowledged { .. }) {}
        }
    });
    for number in 0..100 {
        let receipt = loop {
            match news(&mut bob).await {
                Event::Message { receipt, body: Body::Spooled { .. }, .. } => break receipt,
                Event::Bound { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(open_files(folder.path()), 0, "at message {number}");
        bob.settle(receipt, Verdict::Accepted);
    }
    bob.shutdown().await;
    alice.await.expect("all are acknowledged");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 100);
}

#[tokio::test]
async fn files_are_named_and_sent_while_the_driver_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::new(folder.path());
    let sources = files.sources();
    let (one, two) = tokio::io::duplex(1 << 20);
    let mut alice = Driver::with_storage(Limits::default(), [1; 32], files).connector(by_pipe(one));
    let session = alice.open(spec(Role::Active));
    let mut bob = Driver::with_storage(Limits::default(), [2; 32], Files::new(folder.path()));
    bob.open(spec(Role::Passive));
    bob.attach(two, place(), None);
    let spools = folder.path().to_owned();
    let bob = tokio::spawn(async move {
        let mut came = Vec::new();
        while came.len() < 2 {
            if let Event::Message { receipt, body: Body::Spooled { spool, .. }, .. } = news(&mut bob).await {
                came.push(std::fs::read(Files::path(&spools, spool)).expect("a file"));
                bob.settle(receipt, Verdict::Accepted);
            }
        }
        bob.shutdown().await;
        came
    });
    let mut sent = Vec::new();
    for number in 1..=2_u8 {
        let (path, source) = (folder.path().join(format!("file{number}")), SourceId(number.into()));
        std::fs::write(&path, vec![number; 100_000]).expect("it is written");
        let size = sources.add(source, &path).expect("it is there");
        let body = Source::Fetched { source, size, head: Vec::new() };
        alice.send(session, Outgoing::new(format!("file{number}"), "text/plain", body)).expect("it is taken");
        while !matches!(alice.next().await, Event::Acknowledged { .. }) {}
        sources.remove(source);
        sent.push(vec![number; 100_000]);
    }
    assert!(bob.await.expect("both come") == sent);
    alice.shutdown().await;
}

/// Storage that cannot close what it has written.
struct Lossy;

impl Storage for Lossy {
    fn write(&mut self, _: SpoolId, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: SpoolId) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn discard(&mut self, _: SpoolId) {}

    fn read(&mut self, _: SourceId, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_closed_is_refused() {
    let bob = Driver::with_storage(Limits::default(), [2; 32], Lossy);
    let (mut alice, session, mut bob) = pair(1 << 20, bob);
    let bob = tokio::spawn(async move {
        loop {
            assert!(!matches!(news(&mut bob).await, Event::Message { .. }));
        }
    });
    alice.send(session, Outgoing::new("large", "text/plain", vec![b'x'; 100_000])).expect("it is taken");
    loop {
        match news(&mut alice).await {
            Event::Failed { why: SendFailure::Refused { status, .. }, .. } => break assert_eq!(status, 413),
            Event::Acknowledged { .. } => panic!("it is not kept"),
            _ => {}
        }
    }
    bob.abort();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_connects_before_its_answer_is_here_is_taken() {
    let (one, two) = tokio::io::duplex(4096);
    let mut alice = Driver::new(Limits::default(), [1; 32]).connector(by_pipe(one));
    // Bob has offered to be connected to, and does not know yet by whom.
    let mut bob = Driver::new(Limits::default(), [2; 32]);
    let nobody = spec(Role::Passive).with(|spec| spec.remote.path = spec.local.clone().into());
    let session = bob.expect(nobody);
    bob.attach(two, place(), None);
    let hers = alice.open(spec(Role::Active));
    let hello = Outgoing::new("m1m1", "text/plain", "hello");
    alice.send(hers, hello).expect("it is taken");
    let (_, came) = tokio::join!(news(&mut alice), news(&mut bob));
    assert_eq!(came, Event::Bound { session });
    bob.agree(session, spec(Role::Passive).remote);
    let Event::Message { receipt, body, .. } = news(&mut bob).await else { panic!("a message") };
    assert_eq!(body, Body::Inline(b"hello".to_vec()));
    bob.settle(receipt, Verdict::Accepted);
    bob.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_connector_tells_whom_it_has_reached() {
    let securely = |uri: &str| uri.replace("msrp:", "msrps:");
    let secure = |trusted: &str| {
        let trust = Trust::OneOf(vec![trusted.into()]);
        spec(Role::Active).with(|spec| {
            spec.local = securely(ALICE).parse().expect("a URI");
            spec.remote.path = securely(BOB).parse().expect("a path");
            spec.remote.trust = trust;
        })
    };
    for (shown, bound) in [(Some("sha-256 AB"), true), (Some("sha-256 CD"), false), (None, false)] {
        let connector = move |_| -> Connecting {
            Box::pin(async move {
                let (pipe, _) = tokio::io::duplex(1024);
                Ok(match shown {
                    Some(name) => Connected::secure(pipe, place(), vec![name.into()]),
                    None => Connected::plain(pipe, place()),
                })
            })
        };
        let mut alice = Driver::new(Limits::default(), [1; 32]).connector(connector);
        let session = alice.open(secure("sha-256 AB"));
        let told = news(&mut alice).await;
        assert_eq!(told == Event::Bound { session }, bound, "{shown:?}: {told:?}");
        assert_eq!(matches!(told, Event::Untrusted { .. }), !bound, "{shown:?}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up() {
    let (mut alice, session, bob) = pair(64, Driver::new(Limits::default(), [2; 32]));
    assert_eq!(news(&mut alice).await, Event::Bound { session });
    // Nobody asks Bob for anything, so he reads nothing. Nothing that waits for a response is in the way.
    let silent = Outgoing::new("m1m1", "text/plain", "x".repeat(5000).as_str())
        .with(|message| message.failure_report = parlour_msrp::FailureReport::No);
    alice.send(session, silent).expect("it is taken");
    assert!(matches!(news(&mut alice).await, Event::Sent { .. }));
    let failed = timeout(Duration::from_secs(31), news(&mut alice)).await.expect("30 s are enough");
    assert!(matches!(failed, Event::SessionFailed { .. }), "{failed:?}");
    drop(bob);
}
