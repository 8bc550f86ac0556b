//! What a hostile peer may try (RFC 4975 14.5), sentence by sentence of.

use std::time::Duration;

use parlour_msrp::{
    Body, ConnectionId, Event, Incomplete, Input, Limits, Output, Role, SessionFailure, SourceId, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, answer, chunk, frame, frames, response, send, spec, text};

const SECOND: Duration = Duration::from_secs(1);

/// The status codes of responses.
fn statuses(bob: &mut Bob) -> Vec<String> {
    frames(&bob.take_text(PEER)).into_iter().map(|(_, rest)| rest[..3].to_owned()).collect()
}

fn spooled(bob: &mut Bob) -> usize {
    let spools = bob.outputs.iter().filter(|output| matches!(output, Output::Spool { .. })).count();
    bob.outputs.retain(|output| !matches!(output, Output::Spool { .. }));
    spools
}

//= IM X-20 test
#[test]
fn x_20_absurd_ranges_are_refused_before_anything_is_kept() {
    let (mut bob, _) = Bob::bound();
    for (range, status) in [
        ("0-1/1", "400"),
        ("2-0/8", "400"),
        ("1-9/8", "400"),
        ("10-*/8", "400"),
        ("-1-2/3", "400"),
        ("1-18446744073709551616/*", "400"),
        ("18446744073709551616-*/*", "400"),
        ("1-1000001/*", "413"),
        ("1-*/1000001", "413"),
        ("1000002-*/*", "413"),
        ("18446744073709551615-*/*", "413"),
        ("18446744073709551615-18446744073709551615/18446744073709551615", "413"),
        ("1-18446744073709551615/18446744073709551615", "413"),
    ] {
        bob.receive(&chunk("tid1", "m1m1", range, "octets", '+'));
        assert_eq!(statuses(&mut bob), [status], "{range}");
        let load = bob.endpoint.load();
        assert_eq!((load.incoming, load.octets, bob.take_events().len()), (0, 0, 0), "{range}");
    }
    // A far range that is allowed costs what came of it, and no file.
    bob.receive(&chunk("tid2", "m2m2", "1000000-*/1000000", "x", '+'));
    assert_eq!(statuses(&mut bob), ["200"]);
    assert!(bob.endpoint.load().octets <= 100, "{:?}", bob.endpoint.load());
    assert_eq!(spooled(&mut bob), 0);
}

//= IM X-20 test
#[test]
fn x_20_overlapping_and_repeated_ranges_are_one_message() {
    let (mut bob, _) = Bob::bound();
    for (range, body) in
        [("1-*/9", "abcdef"), ("4-*/9", "DEF"), ("4-*/9", "DEF"), ("1-*/9", "abcdef"), ("2-*/9", "BC")]
    {
        bob.receive(&chunk("tid1", "m1m1", range, body, '+'));
        assert_eq!(statuses(&mut bob), ["200"]);
    }
    bob.receive(&chunk("tid2", "m1m1", "6-*/9", "Fghi", '$'));
    assert_eq!(bob.take_message().1, "aBCdeFghi");
}

//= IM X-20 test
#[test]
fn x_20_a_total_that_changes_ends_the_message_for_good() {
    let (mut bob, session) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/20", "0123456789", '+'));
    bob.receive(&chunk("tid2", "m1m1", "11-*/30", "0123456789", '+'));
    assert_eq!(statuses(&mut bob), ["200", "400"]);
    let lost =
        Event::Incomplete { session, message_id: "m1m1".into(), received: 10, why: Incomplete::Refused };
    assert_eq!(bob.take_events(), [lost]);
    // The rest of it is not the start of another one.
    bob.receive(&chunk("tid3", "m1m1", "21-*/30", "0123456789", '$'));
    assert_eq!((statuses(&mut bob), bob.take_events()), (vec!["413".to_owned()], vec![]));
    assert_eq!(bob.endpoint.load().incoming, 0);
    // The sender may try again from the first octet.
    bob.receive(&chunk("tid4", "m1m1", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_message().1, "hi");
    // Two ends in two places, and octets beyond the end, are such changes too.
    for (id, first, second) in [
        ("m2m2", ("5-*/*", "efgh", '$'), ("1-*/*", "ab", '$')),
        ("m3m3", ("5-*/*", "efgh", '$'), ("9-*/*", "x", '+')),
    ] {
        bob.take_text(PEER);
        bob.receive(&chunk("tid1", id, first.0, first.1, first.2));
        bob.receive(&chunk("tid2", id, second.0, second.1, second.2));
        assert_eq!(statuses(&mut bob), ["200", "400"]);
        assert_eq!(bob.endpoint.load().incoming, 0);
    }
}

//= IM X-20 test
//= IM M-6 test
#[test]
fn x_20_a_million_tiny_chunks_need_bounded_memory_and_little_work() {
    let (mut bob, _) = Bob::bound_with(Limits::default());
    let head = |tid: u32, first: u32| {
        format!(
            "MSRP t{tid:07} SEND\r\nTo-Path: {BOB}\r\nFrom-Path: {ALICE}\r\nMessage-ID: m1m1\r\n\
             Byte-Range: {first}-*/1000000\r\nContent-Type: text/plain\r\n\r\n"
        )
    };
    let (mut batch, mut most, mut answered) = (String::new(), 0, 0);
    for octet in 1..=1_000_000_u32 {
        batch += &head(octet, octet);
        batch += "x\r\n-------t";
        batch += &format!("{octet:07}{}\r\n", if octet == 1_000_000 { '$' } else { '+' });
        if octet % 1000 == 0 {
            bob.input(Input::Writable { connection: PEER, room: 1 << 20 });
            bob.receive(&std::mem::take(&mut batch));
            most = most.max(bob.endpoint.load().octets);
            answered += bob.take_text(PEER).matches(" 200 OK\r\n").count();
            let handed: Vec<_> = std::mem::take(&mut bob.outputs);
            // Chunks that come together are handed out together, not one by one.
            let spools = handed.iter().filter(|output| matches!(output, Output::Spool { .. })).count();
            assert!(spools <= 2, "{spools} pieces for a thousand octets");
            for output in handed {
                match output {
                    Output::Spool { spool, offset, bytes } => {
                        let upto = offset + bytes.len() as u64;
                        bob.input(Input::Spooled { spool, upto });
                    }
                    Output::Event(Event::Message { receipt, body: Body::Spooled { size, .. }, .. }) => {
                        assert_eq!((octet, size), (1_000_000, 1_000_000));
                        bob.settle(receipt, Verdict::Accepted);
                    }
                    Output::Event(Event::Receiving { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    answered += bob.take_text(PEER).matches(" 200 OK\r\n").count();
    assert_eq!(answered, 1_000_000);
    // 64 KiB in memory before the message goes to the spool.
    assert!(most <= 65 * 1024, "{most} octets");
    assert_eq!(bob.endpoint.load().octets, 0);
}

//= IM X-20 test
#[test]
fn x_20_holes_and_open_messages_are_bounded() {
    let (mut bob, _) = Bob::bound();
    // Every other octet: each chunk makes a hole.
    for n in 0..10_000 {
        bob.receive(&chunk("tid1", "holes", &format!("{}-*/*", 2 * n + 1), "x", '+'));
    }
    let codes = statuses(&mut bob);
    let refused = codes.iter().position(|code| code == "413").expect("the bound is reached");
    assert!(refused < 300 && codes[refused..].iter().all(|code| code == "413"), "{refused}");
    assert_eq!(bob.endpoint.load().incoming, 0);
    // Messages that are never whole.
    for n in 0..10_000 {
        bob.receive(&chunk("tid1", &format!("open{n}"), "1-*/*", "x", '+'));
        assert!(bob.endpoint.load().incoming <= 33);
    }
    let codes = statuses(&mut bob);
    assert_eq!(codes.iter().filter(|code| *code == "200").count(), 32);
    bob.take_events();
    bob.wait(61 * SECOND);
    assert_eq!((bob.endpoint.load().incoming, bob.endpoint.load().octets), (0, 0));
}

//= IM X-21 test
#[test]
fn x_21_nobody_else_gets_into_a_session() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "for Alice"));
    let (tid, _) = frames(&bob.take_text(PEER)).pop().expect("a SEND");
    bob.take_events();
    let other = ConnectionId(2);
    bob.connect(other);
    // With all that a wire-tapper knows: the session is somewhere else.
    bob.receive_on(other, &chunk("tid1", "m2m2", "1-4/4", "evil", '$'));
    assert_eq!(frames(&bob.take_text(other)), [("tid1".to_owned(), "506 Session In Use".to_owned())]);
    // Responses and REPORTs for what we said, from there, are nothing.
    bob.receive_on(other, &answer(&tid, "200 OK"));
    bob.receive_on(other, &answer(&tid, "481 Gone"));
    bob.receive_on(other, &frame("tid3", "REPORT", &["Message-ID: m1m1", "Status: 000 481 Gone"], None, '$'));
    assert_eq!((bob.take_text(other), bob.take_events()), (String::new(), vec![]));
    assert_eq!(bob.endpoint.load().transactions, 1);
    // Paths that do not match any more, on the right connection.
    for (from, to) in [("iau39soe2843z", "iau39soe2843y"), ("9di4eae923wzd", "9di4eae923wze")] {
        bob.receive(&chunk("tid4", "m3m3", "1-4/4", "evil", '$').replace(from, to));
        assert_eq!(statuses(&mut bob), ["481"], "{to}");
    }
    assert_eq!(bob.take_events(), []);
    // It stands nevertheless.
    bob.receive(&answer(&tid, "200 OK"));
    assert_eq!(bob.take_events(), [Event::Acknowledged { session, message_id: "m1m1".into() }]);
    bob.receive(&chunk("tid5", "m4m4", "1-4/4", "good", '$'));
    assert_eq!(bob.take_message().1, "good");
    // A session-id is good for one session, which is over with its connection.
    bob.input(Input::Closed { connection: PEER });
    bob.outputs.clear();
    bob.receive_on(other, &chunk("tid6", "m5m5", "1-4/4", "evil", '$'));
    assert_eq!(frames(&bob.take_text(other)), [("tid6".to_owned(), "481 No Such Session".to_owned())]);
}

//= IM X-21 test
#[test]
fn x_21_a_stranger_does_not_bind_and_does_not_spoil_the_binding() {
    let mut bob = Bob::with(Limits::default());
    let session = bob.open(spec(Role::Passive));
    bob.connect(ConnectionId(2));
    let bind = send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$');
    // One knows our URI and not the peer's, another one guesses ours.
    for (from, to) in [("iau39soe2843z", "guessed"), ("9di4eae923wzd", "guessed")] {
        bob.receive_on(ConnectionId(2), &bind.replace(from, to));
        assert_eq!(
            frames(&bob.take_text(ConnectionId(2))),
            [("bind".to_owned(), "481 No Such Session".to_owned())]
        );
    }
    assert_eq!(bob.take_events(), []);
    bob.connect(PEER);
    bob.receive(&bind);
    assert_eq!(
        (bob.take_text(PEER), bob.take_events()),
        (response("bind", "200 OK"), vec![Event::Bound { session }])
    );
}

//= IM X-21 test
#[test]
fn x_21_unbound_connections_die_in_10_s_however_much_they_say() {
    let mut bob = Bob::with(Limits::default());
    let session = bob.open(spec(Role::Passive));
    for n in 0..500 {
        bob.connect(ConnectionId(n));
    }
    for _ in 0..9 {
        bob.wait(SECOND);
        for n in 0..500 {
            bob.receive_on(
                ConnectionId(n),
                &send("tid1", &["Message-ID: m1m1"], None, '$').replace("9di4e", "other"),
            );
        }
    }
    assert_eq!(bob.endpoint.load().connections, 500);
    bob.outputs.clear();
    bob.wait(SECOND);
    let closed = bob.outputs.iter().filter(|output| matches!(output, Output::Close { .. })).count();
    assert_eq!((closed, bob.endpoint.load().connections), (500, 0));
    // The window for the peer closes too.
    bob.take_events();
    bob.wait(20 * SECOND);
    let why = SessionFailure::NotBound;
    assert_eq!(bob.take_events(), [Event::SessionFailed { session, why, unsent: vec![] }]);
    bob.take_text(PEER);
    bob.connect(PEER);
    bob.receive(&send("bind", &["Message-ID: hello"], None, '$'));
    assert_eq!(statuses(&mut bob), ["481"]);
}

//= IM X-23 test
#[test]
fn x_23_a_body_with_our_own_end_line_split_at_every_octet_stays_a_body() {
    // The identifier, the end-line without its CRLF, with another flag, another message's head, a head of its own.
    let body = format!(
        "-------abcd\r\n-------abcd$ \r\n-------abcd?\r\n------abcd$\r\nabcd\r\nMSRP wxyz SEND\r\nTo-Path: {BOB}\r\n\
         From-Path: {ALICE}\r\nMessage-ID: evil\r\n\r\nevil\r\n-------wxyz$\r\n-------abc\r\n-------abcd"
    );
    let stream = chunk("abcd", "m1m1", "1-*/*", &body, '$') + &chunk("wxyz", "m2m2", "1-2/2", "hi", '$');
    for cut in 0..=stream.len() {
        let (mut bob, _) = Bob::bound();
        let (first, second) = stream.split_at(cut);
        bob.receive(first);
        bob.receive(second);
        let came: Vec<_> = bob
            .take_events()
            .into_iter()
            .map(|event| match event {
                Event::Message { message_id, body: Body::Inline(body), .. } => {
                    (message_id, String::from_utf8(body).expect("text"))
                }
                other => panic!("cut at {cut}: {other:?}"),
            })
            .collect();
        assert_eq!(
            came,
            [("m1m1".to_owned(), body.clone()), ("m2m2".to_owned(), "hi".to_owned())],
            "cut at {cut}"
        );
    }
    // And octet by octet.
    let (mut bob, _) = Bob::bound();
    stream.as_bytes().iter().for_each(|octet| {
        bob.input(Input::Received { connection: PEER, bytes: std::slice::from_ref(octet) });
        assert!(bob.endpoint.load().octets <= body.len() + 512);
    });
    assert_eq!(bob.take_events().len(), 2);
}

//= IM X-23 test
#[test]
fn x_23_byte_range_does_not_frame_and_chunks_do_not_interleave() {
    let (mut bob, _) = Bob::bound();
    // The range says three octets, the end-line says where the body ends.
    bob.receive(&chunk("abcd", "m1m1", "1-3/*", "hello\r\nMSRP wxyz SEND\r\n", '$'));
    assert_eq!(bob.take_message().1, "hello\r\nMSRP wxyz SEND\r\n");
}

//= IM X-23 test
#[test]
fn x_23_header_sections_and_bodies_that_are_no_message_are_bounded() {
    for (stream, closed) in [
        (send("tid1", &[&format!("X-Long: {}", "x".repeat(15_000))], None, '$'), false),
        (send("tid1", &[&format!("X-Long: {}", "x".repeat(17_000))], None, '$'), true),
        (format!("MSRP {}", "x".repeat(17_000)), true),
        (
            frame(
                "tid1",
                "REPORT",
                &["Message-ID: m1m1", "Status: 000 200 OK"],
                Some(&"x".repeat(10_240)),
                '$',
            ),
            false,
        ),
        (
            frame(
                "tid1",
                "REPORT",
                &["Message-ID: m1m1", "Status: 000 200 OK"],
                Some(&"x".repeat(10_241)),
                '$',
            ),
            true,
        ),
        (frame("tid1", "AUTH", &[], Some(&"x".repeat(10_241)), '$'), true),
        (frame("tid1", "200 OK", &[], Some(&"x".repeat(10_241)), '$'), true),
    ] {
        let (mut bob, _) = Bob::bound();
        for piece in stream.as_bytes().chunks(1000) {
            bob.input(Input::Received { connection: PEER, bytes: piece });
            assert!(bob.endpoint.load().octets <= 17 * 1024, "{:?}", bob.endpoint.load());
        }
        let close = bob.outputs.iter().any(|output| matches!(output, Output::Close { .. }));
        assert_eq!(close, closed, "{}", &stream[..60]);
    }
}

//= IM X-24 test
#[test]
fn x_24_storms_of_reports_and_responses_are_a_small_burden() {
    let (mut bob, session) = Bob::bound();
    let body = "x".repeat(200_000);
    bob.send(session, text("m1m1", &body).with(|message| message.success_report = true));
    bob.take_text(PEER);
    bob.take_events();
    let before = bob.endpoint.load();
    for n in 0..50_000 {
        let range = format!("Byte-Range: {}-{}/200000", 2 * n + 1, 2 * n + 1);
        let unknown = format!("Message-ID: unknown{n}");
        bob.receive(&frame("tid1", "REPORT", &["Message-ID: m1m1", &range, "Status: 000 200 OK"], None, '$'));
        bob.receive(&frame("tid1", "REPORT", &[&unknown, "Status: 000 413 No"], None, '$'));
        bob.receive(&frame("tid1", "REPORT", &["Message-ID: m1m1", "Status: 001 481 No"], None, '$'));
        bob.receive(&answer(&format!("tid{n}"), "481 No"));
    }
    // Nothing is answered, told, explained or kept.
    assert_eq!((bob.take_text(PEER), bob.outputs.len()), (String::new(), 0));
    let load = bob.endpoint.load();
    assert_eq!((load.outgoing, load.transactions), (before.outgoing, before.transactions));
    assert!(load.octets <= before.octets + 16 * 1024, "{load:?}");
    // What it says of the whole still counts.
    let whole = ["Message-ID: m1m1", "Byte-Range: 1-200000/200000", "Status: 000 200 OK"];
    bob.receive(&frame("tid2", "REPORT", &whole, None, '$'));
    let told = bob.take_events();
    assert_eq!(told.last(), Some(&Event::Reported { session, message_id: "m1m1".into() }));
    assert_eq!((bob.endpoint.load().outgoing, bob.endpoint.load().octets), (0, 0));
    assert_eq!(bob.endpoint.sessions(), 1);
}

//= IM X-24 test
#[test]
fn x_24_failure_report_no_is_never_answered() {
    let (mut bob, _) = Bob::bound();
    let no = |stream: String| stream.replacen("Message-ID", "Failure-Report: no\r\nMessage-ID", 1);
    bob.receive(&no(chunk("tid1", "m1m1", "1-*/*", "hi", '+')));
    bob.receive(&no(chunk("tid2", "m1m1", "3-*/*", "ho", '$')));
    let (receipt, _) = bob.take_message();
    bob.settle(receipt, Verdict::Refused(413));
    bob.receive(&no(chunk("tid3", "m2m2", "0-*/*", "hi", '$')));
    bob.receive(&no(chunk("tid4", "m3m3", "1-*/2000000", "hi", '$')));
    bob.receive(&no(chunk("tid5", "m4m4", "1-2/2", "hi", '$')).replace("text/plain", "image/png"));
    bob.receive(&no(chunk("tid6", "m5m5", "1-2/2", "hi", '$')).replace("9di4e", "other"));
    assert_eq!(bob.take_text(PEER), "");
}

//= IM X-24 test
//= IM M-17 test
#[test]
fn x_24_a_peer_that_never_reads_costs_little_and_is_given_up() {
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 0 });
    // It sends on and on, and we have much to say.
    for n in 0..2000 {
        _ = bob.endpoint.send(bob.now, session, text(&format!("text{n}"), "x"));
    }
    let file = parlour_msrp::Source::Fetched { source: SourceId(1), size: 1 << 40, head: Vec::new() };
    _ = bob.endpoint.send(bob.now, session, text("file", "").with(|message| message.body = file));
    bob.drain();
    let mut held = 0;
    let mut written = 0;
    for n in 0..100_000 {
        if bob.outputs.iter().any(|output| matches!(output, Output::Hold { .. })) {
            break;
        }
        held = n;
        bob.receive(&send(&format!("tid{n}"), &["Message-ID: m1m1", "Byte-Range: 1-0/0"], None, '$'));
        written += bob.take_text(PEER).len();
    }
    // Reading stops when so many answers wait that nobody takes.
    assert!(held < 99_999 && written < 300 * 1024, "{held} requests, {written} octets");
    let load = bob.endpoint.load();
    assert!(load.outgoing <= 1025 && load.octets < 64 * 1024, "{load:?}");
    // Nothing was sent that could go unanswered, so it is the driver that notices; then all is handed back.
    bob.take_events();
    bob.input(Input::Closed { connection: PEER });
    let events = bob.take_events();
    let [Event::SessionFailed { unsent, .. }] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!(unsent.len(), load.outgoing);
    assert_eq!(bob.endpoint.load().octets, 0);
}
