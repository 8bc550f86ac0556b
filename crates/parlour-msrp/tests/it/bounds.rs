//! whatever a peer sends, what is kept of it is counted, and has a bound.

use std::time::Duration;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    ConnectionId, Event, Input, Limits, Output, Receipt, Role, SendError, SessionId, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, answer, chunk, frames, send, spec, text};

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
    assert!((200 * 16 + 200..10 * 1024).contains(&octets), "{octets}");
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

//= IM X-20 test
#[test]
fn x_20_holes_take_neither_memory_nor_files() {
    let mut bob = Bob::new();
    crowd(&mut bob, 8);
    for session in 0..8 {
        for n in 0..30 {
            let range = if n % 2 == 0 { "65000-65000/65500" } else { "70000-70000/70500" };
            bob.receive(&of(session, chunk("tid1", &format!("open{n}"), range, "x", '+')));
        }
    }
    assert_eq!(bob.endpoint.load().incoming, 8 * 30);
    let octets = bob.endpoint.load().octets;
    assert!(octets < 240 * 200, "{octets} octets of 240");
    assert!(!bob.outputs.iter().any(|output| matches!(output, Output::Spool { .. })), "no file");
}

//= IM X-20 test
#[test]
fn x_20_all_sessions_together_are_bounded_and_who_has_most_gives_way() {
    let limits = Limits::default().with(|limits| limits.reassembly = 200 * 1024);
    let mut bob = Bob::with(limits);
    crowd(&mut bob, 10);
    // A peer that behaves: one message, of which a part is here.
    bob.receive(&of(0, chunk("tid1", "good", "1-*/8", "abcd", '+')));
    // Others open all that each of them may, and more than they may together.
    let mut most = 0;
    for n in 0..28 {
        for session in 1..10 {
            bob.receive(&of(session, chunk("tid1", &format!("evil{n}"), "5-*/*", "x", '+')));
            most = most.max(bob.endpoint.load().incoming);
        }
    }
    assert!(most <= 201, "{most} messages of 1 KiB at least in 200 KiB");
    let given_up = bob.take_explained();
    assert!(given_up.iter().all(|clause| *clause == "X-20") && given_up.len() >= 50, "{}", given_up.len());
    let lost = bob.take_events();
    let of_good =
        |event: &Event| matches!(event, Event::Incomplete { message_id, .. } if message_id == "good");
    assert!(!lost.iter().any(of_good), "whoever has little keeps it");
    bob.take_text(PEER);
    // Those that were given up are not acknowledged in their rest; the good one is whole.
    bob.receive(&of(1, chunk("tid3", "evil0", "6-*/*", "abcd", '$')));
    assert_eq!(statuses(&mut bob), ["413"]);
    bob.take_explained();
    bob.receive(&of(0, chunk("tid4", "good", "5-8/8", "efgh", '$')));
    assert_eq!(bob.take_message().1, "abcdefgh");
}

/// Whether a message of 600 octets comes through in three chunks in this session, on this connection, while others do what
/// they do between them.
fn comes_through(
    bob: &mut Bob,
    on: ConnectionId,
    session: usize,
    mut meanwhile: impl FnMut(&mut Bob),
) -> bool {
    bob.take_text(on);
    for (range, flag) in [("1-200/600", '+'), ("201-400/600", '+'), ("401-600/600", '$')] {
        let body = "y".repeat(200);
        bob.receive_on(on, &of(session, chunk("tid9", "good", range, &body, flag)));
        bob.now = bob.now + Duration::from_millis(500);
        meanwhile(bob);
    }
    let answers = frames(&bob.take_text(on));
    answers.iter().filter(|(tid, rest)| tid == "tid9" && rest.starts_with("200")).count() >= 2
}

//= IM X-20 test
#[test]
fn x_20_what_moves_goes_on_whatever_lies_idle_beside_it() {
    let limits = Limits::default().with(|limits| {
        limits.inline_body = 100;
        limits.reassembly = 1 << 20;
    });
    let mut bob = Bob::with(limits);
    crowd(&mut bob, 16);
    // Each stays just below what an honest message takes, and all together leave no room for another.
    let octets = "x".repeat(101);
    for session in 1..16 {
        bob.receive(&of(session, chunk("tid1", "evil", "20000-20100/90000", &octets, '+')));
        bob.now = bob.now + Duration::from_millis(1);
    }
    assert!(comes_through(&mut bob, PEER, 0, |_| ()));
    let lost = |event: &Event| matches!(event, Event::Incomplete { .. });
    assert!(bob.take_events().iter().any(lost), "room was made");
}

//= IM X-20 test
#[test]
fn x_20_one_host_takes_no_room_from_another() {
    let limits = Limits::default().with(|limits| limits.reassembly = 100 * 1024);
    let mut bob = Bob::with(limits);
    crowd(&mut bob, 12);
    // A session from elsewhere, whose message has less octets than any of theirs, and is slow.
    let elsewhere = ConnectionId(2);
    let peer = "198.51.100.7:7777".parse().expect("an address");
    bob.input(Input::Connected { connection: elsewhere, peer, tls: None });
    bob.input(Input::Writable { connection: elsewhere, room: 1 << 20 });
    let (local, path) = (BOB.replace("9di4e", "s50s"), ALICE.replace("iau39", "s50s"));
    bob.open(spec(Role::Passive).with(|spec| {
        spec.local = MsrpUri::parse(&local).expect("a URI");
        spec.remote.path = MsrpPath::parse(&path).expect("a path");
    }));
    bob.receive_on(elsewhere, &of(50, send("bind", &["Message-ID: hello"], None, '$')));
    let mut n = 0;
    let refresh = |bob: &mut Bob| {
        for session in 0..12 {
            n += 1;
            let body = "x".repeat(9000);
            bob.receive(&of(session, chunk("tid1", &format!("evil{n}"), "1-*/*", &body, '+')));
        }
    };
    assert!(comes_through(&mut bob, elsewhere, 50, refresh), "they only drive out each other");
}

//= IM X-20 test
#[test]
fn x_20_open_files_are_bounded() {
    let limits = Limits::default().with(|limits| {
        limits.inline_body = 100;
        limits.reassembly = 2 << 20;
    });
    let mut bob = Bob::with(limits);
    crowd(&mut bob, 5);
    let (mut made, mut discarded, mut open) = (std::collections::BTreeSet::new(), 0, 0);
    for n in 0..20 {
        for session in 0..5 {
            let body = "x".repeat(101);
            bob.receive(&of(session, chunk("tid1", &format!("open{n}"), "1-*/*", &body, '+')));
            for output in std::mem::take(&mut bob.outputs) {
                match output {
                    Output::Spool { spool, .. } => drop(made.insert(spool)),
                    Output::Discard { .. } => discarded += 1,
                    _ => {}
                }
            }
            open = open.max(made.len() - discarded);
        }
    }
    assert_eq!((made.len(), open), (100, 31), "of 65 KiB each in 2 MiB");
}

//= IM X-24 test
//= IM M-17 test
#[test]
fn x_24_what_waits_for_a_peer_that_never_answers_is_bounded_by_octets() {
    let limits = Limits::default().with(|limits| {
        limits.queued_octets = 300_000;
        limits.queued_octets_of_all = 700_000;
    });
    let mut bob = Bob::with(limits);
    crowd(&mut bob, 0);
    let sessions: Vec<SessionId> = (0..6)
        .map(|n| {
            let local = BOB.replace("9di4e", &format!("s{n}s"));
            bob.open(spec(Role::Passive).with(|spec| spec.local = MsrpUri::parse(&local).expect("a URI")))
        })
        .collect();
    let body = "x".repeat(60_000);
    let mut taken = vec![0; 6];
    for n in 0..10 {
        for (session, taken) in sessions.iter().zip(&mut taken) {
            match bob.endpoint.send(bob.now, *session, text(&format!("m{n:03}"), &body)) {
                Ok(()) => *taken += 1,
                Err(why) => assert_eq!(why, SendError::QueueFull),
            }
        }
    }
    // Eleven in all, and no more than five of one session; the first of each is its own affair.
    assert_eq!(taken.iter().sum::<usize>(), 11, "{taken:?}");
    assert!(taken.iter().all(|taken| (1..=5).contains(taken)), "{taken:?}");
    let load = bob.endpoint.load();
    assert!(load.octets < 700_000, "{load:?}");
    // What is over makes room, whichever way it ends.
    bob.endpoint.close(bob.now, sessions[0]);
    bob.endpoint.withdraw(bob.now, sessions[1]);
    bob.endpoint.abort(bob.now, sessions[2], "m000");
    bob.drain();
    for n in 0..10 {
        for session in &sessions[3..] {
            _ = bob.endpoint.send(bob.now, *session, text(&format!("n{n:03}"), &body));
        }
    }
    let load = bob.endpoint.load();
    assert!((600_000..700_000).contains(&load.octets), "{load:?}");
    // A large one may go if it is alone.
    let large = text("large", &"x".repeat(400_000));
    bob.endpoint.withdraw(bob.now, sessions[5]);
    assert_eq!(bob.endpoint.send(bob.now, sessions[5], large), Ok(()));
    for session in sessions {
        bob.endpoint.close(bob.now, session);
        bob.drain();
    }
    assert_eq!(bob.endpoint.load().octets, 0);
}

//= IM M-17 test
#[test]
fn what_was_acknowledged_makes_room_for_more() {
    let limits = Limits::default().with(|limits| limits.queued_octets = 10_000);
    let (mut bob, session) = Bob::bound_with(limits);
    for round in 0..20 {
        let id = format!("m{round:03}");
        // Its octets go with the last response, though a REPORT is still to come.
        let reported = round % 2 == 0;
        bob.send(session, text(&id, &"x".repeat(9_000)).with(|message| message.success_report = reported));
        let more = bob.endpoint.send(bob.now, session, text("more", &"x".repeat(2_000)));
        assert_eq!(more, Err(SendError::QueueFull));
        for (tid, _) in frames(&bob.take_text(PEER)) {
            bob.receive(&answer(&tid, "200 OK"));
        }
    }
    assert_eq!(bob.endpoint.load().outgoing, 10);
}

//= IM M-17 test
#[test]
fn what_others_have_waiting_leaves_each_session_a_little() {
    let (mut bob, session) =
        Bob::bound_with(Limits::default().with(|limits| limits.queued_octets_of_all = 1));
    bob.input(Input::Writable { connection: PEER, room: 0 });
    let body = "x".repeat(20_000);
    for n in 0..3 {
        bob.send(session, text(&format!("m{n:03}"), &body));
    }
    let more = bob.endpoint.send(bob.now, session, text("more", &body));
    assert_eq!(more, Err(SendError::QueueFull), "64 KiB, whatever others have");
}
