//! whatever a peer sends, what is kept of it is counted, and has a bound.

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{Event, Input, Limits, Output, Receipt, Role, Verdict};

use crate::script::{ALICE, BOB, Bob, PEER, chunk, frames, send, spec};

fn statuses(bob: &mut Bob) -> Vec<String> {
    frames(&bob.take_text(PEER)).into_iter().map(|(_, rest)| rest[..3].to_owned()).collect()
}

/// One connection with many sessions.
fn crowd(bob: &mut Bob, sessions: usize) {
    bob.connect(PEER);
    for n in 0..sessions {
        let (local, peer) =
            (BOB.replace("9di4e", &format!("s{n}s")), ALICE.replace("iau39", &format!("s{n}s")));
        bob.open(spec(Role::Passive).with(|spec| {
            spec.local = MsrpUri::parse(&local).expect("a URI");
            spec.remote.path = MsrpPath::parse(&peer).expect("a path");
        }));
        bob.receive(&of(n, send("bind", &["Message-ID: hello"], None, '$')));
    }
    bob.take_text(PEER);
    bob.outputs.clear();
}

fn of(session: usize, stream: String) -> String {
    stream.replace("9di4e", &format!("s{session}s")).replace("iau39", &format!("s{session}s"))
}

//= IM X-20 test
#[test]
fn x_20_open_messages_are_bounded_for_a_connection_too() {
    let mut bob = Bob::new();
    crowd(&mut bob, 20);
    for session in 0..20 {
        for n in 0..32 {
            bob.receive(&of(session, chunk("tid1", &format!("open{n}"), "1-*/*", "x", '+')));
            assert!(bob.endpoint.load().incoming <= 8 * 32 + 1);
        }
    }
    let codes = statuses(&mut bob);
    let taken = codes.iter().filter(|code| *code == "200").count();
    assert_eq!((taken, codes.len()), (8 * 32, 20 * 32));
    // Each one that ends makes place for another.
    bob.receive(&of(0, chunk("tid2", "open0", "2-*/*", "", '#')));
    bob.receive(&of(19, chunk("tid3", "fresh", "1-*/*", "x", '+')));
    assert_eq!(statuses(&mut bob), ["200", "200"]);
}

//= IM X-20 test
#[test]
fn x_20_labels_are_counted_and_bounded() {
    let (mut bob, _) = Bob::bound();
    // As long as they may be, in as many messages as may be open.
    let long = "x".repeat(1000);
    let frame = |id: &str, content_type: &str, disposition: &str, flag: char| {
        send(
            "tid1",
            &[&format!("Message-ID: {id}"), &format!("Content-Disposition: {disposition}")],
            Some("a"),
            flag,
        )
        .replace("text/plain", content_type)
    };
    let relays = format!("msrp://{}.example.com:9/r;tcp ", "h".repeat(1800)).repeat(2);
    for n in 0..100 {
        let id = format!("{:0>128}", n);
        let stream = frame(&id, &format!("text/plain;x={long}"), &long, '+');
        bob.receive(&stream.replace(ALICE, &format!("{relays}{ALICE}")));
        let octets = bob.endpoint.load().octets;
        assert!(
            octets >= 5000 * (n + 1).min(32) && octets <= 33 * 6 * 1024,
            "{octets} octets of {n} messages"
        );
    }
    bob.take_text(PEER);
    // Longer ones are refused before anything is kept.
    let (mut bob, _) = Bob::bound();
    for (content_type, disposition, from) in [
        (format!("text/plain;x={}", "x".repeat(1100)), "render".to_owned(), ALICE.to_owned()),
        ("text/plain".to_owned(), "x".repeat(1100), ALICE.to_owned()),
        ("text/plain".to_owned(), "render".to_owned(), format!("{relays}{relays}{ALICE}")),
    ] {
        bob.receive(&frame("m1m1", &content_type, &disposition, '+').replace(ALICE, &from));
        assert_eq!(statuses(&mut bob), ["400"]);
        assert_eq!((bob.endpoint.load().octets, bob.endpoint.load().incoming), (0, 0));
    }
}

//= IM X-20 test
#[test]
fn x_20_holes_are_counted() {
    let (mut bob, _) = Bob::bound();
    let before = bob.endpoint.load().octets;
    for n in 0..200 {
        bob.receive(&chunk("tid1", "holes", &format!("{}-*/*", 2 * n + 1), "x", '+'));
    }
    let octets = bob.endpoint.load().octets - before;
    assert!((200 * 16 + 399..8 * 1024).contains(&octets), "{octets}");
}

//= IM X-20 test
#[test]
fn x_20_messages_without_a_verdict_are_counted_with_their_labels() {
    let (mut bob, _) = Bob::bound();
    let relays = format!("msrp://{}.example.com:9/r;tcp ", "h".repeat(1800)).repeat(2);
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut held = false;
    while !held && receipts.len() < 1024 {
        let id = format!("Message-ID: m{:06}", receipts.len());
        let stream = send("tid1", &[&id, "Success-Report: yes"], Some("x"), '$');
        bob.receive(&stream.replace(ALICE, &format!("{relays}{ALICE}")));
        for output in std::mem::take(&mut bob.outputs) {
            match output {
                Output::Event(Event::Message { receipt, .. }) => receipts.push(receipt),
                Output::Hold { .. } => held = true,
                _ => {}
            }
        }
    }
    // Reading stops by what they weigh, not only by how many they are.
    assert!(held && receipts.len() < 100, "{}", receipts.len());
    let load = bob.endpoint.load();
    assert!(load.octets > 256 * 1024 && load.octets < 280 * 1024, "{load:?}");
    receipts.into_iter().for_each(|receipt| bob.settle(receipt, Verdict::Accepted));
    assert!(bob.outputs.iter().any(|output| matches!(output, Output::Resume { .. })));
    assert_eq!(bob.endpoint.load().octets, 0);
}

//= IM X-24 test
#[test]
fn x_24_a_peer_that_never_reads_and_always_asks_is_not_read() {
    let (mut bob, _) = Bob::bound_with(Limits::default().with(|limits| limits.pending_replies = 10_000));
    bob.input(Input::Writable { connection: PEER, room: 0 });
    let mut answered = 0;
    let ask = send("tid1", &["Message-ID: m1m1", "Byte-Range: 1-0/0"], None, '$');
    for _ in 0..1000 {
        if bob.outputs.iter().any(|output| matches!(output, Output::Hold { .. })) {
            break;
        }
        bob.receive(&ask);
        answered += bob.take_text(PEER).len();
    }
    assert!(answered > 10_000 && answered < 11_000, "{answered}");
    assert_eq!(bob.endpoint.load().octets, 0);
}
