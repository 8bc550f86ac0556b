//! M-2, M-6 to M-9, M-13, X-20, X-23, X-24: what comes in.

use std::time::Duration;

use parlour_msrp::uri::MsrpPath;
use parlour_msrp::{
    Body, Event, Incomplete, Input, Limits, Output, Receipt, Role, SessionFailure, SpoolId, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, chunk, frame, frames, response, send, spec};

fn statuses(text: &str) -> Vec<String> {
    frames(text)
        .into_iter()
        .map(|(tid, rest)| format!("{tid} {}", rest.split(' ').next().unwrap_or("")))
        .collect()
}

//= IM M-7 test
#[test]
fn the_response_to_a_whole_message_waits_for_the_verdict() {
    let (mut bob, session) = Bob::bound();
    // RFC 4975 11.1 says 1-16/16 for 14 octets: the octets count, not the range.
    bob.receive(&chunk("d93kswow", "12339sdqwer", "1-16/16", "Hi, I'm Alice!", '$'));
    assert_eq!(bob.take_text(PEER), "");
    let mut events = bob.take_events();
    let Some(Event::Message {
        session: of,
        receipt,
        message_id,
        content_type,
        content_disposition: None,
        body: Body::Inline(body),
        success_report: false,
        ..
    }) = events.pop()
    else {
        panic!("{events:?}")
    };
    assert_eq!((of, &*message_id, &*content_type), (session, "12339sdqwer", "text/plain"));
    assert_eq!(String::from_utf8_lossy(&body), "Hi, I'm Alice!");
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(bob.take_text(PEER), response("d93kswow", "200 OK"));
    bob.settle(receipt, Verdict::Accepted);
    bob.settle(Receipt(99), Verdict::Accepted);
    assert_eq!((bob.take_text(PEER), bob.next), (String::new(), None));
}

//= IM M-7 test
//= IM M-13 test
//= IM X-24 test
#[test]
fn the_failure_report_header_decides_on_responses() {
    for (header, verdict, status) in [
        ("yes", Verdict::Accepted, Some("200")),
        ("yes", Verdict::Refused(403), Some("403")),
        ("yes", Verdict::Refused(413), Some("413")),
        ("partial", Verdict::Accepted, None),
        ("partial", Verdict::Refused(415), Some("415")),
        ("no", Verdict::Accepted, None),
        ("no", Verdict::Refused(403), None),
    ] {
        let (mut bob, _) = Bob::bound();
        let rows = ["Message-ID: m1m1", &format!("Failure-Report: {header}")];
        bob.receive(&send("tid1", &rows, Some("hi"), '$'));
        let (receipt, _) = bob.take_message();
        bob.settle(receipt, verdict);
        let expected: Vec<String> = status.iter().map(|status| format!("tid1 {status}")).collect();
        assert_eq!(statuses(&bob.take_text(PEER)), expected, "{header} {verdict:?}");
    }
    // The same for chunks that complete nothing, and for what is refused at the door.
    for (header, answers) in
        [("yes", vec!["tid1 200", "tid2 415"]), ("partial", vec!["tid2 415"]), ("no", vec![])]
    {
        let (mut bob, _) = Bob::bound();
        let report = format!("Failure-Report: {header}");
        bob.receive(&send("tid1", &["Message-ID: m1m1", &report], Some("hi"), '+'));
        bob.receive(
            &send("tid2", &["Message-ID: m2m2", &report], Some("hi"), '$').replace("text/plain", "a/b"),
        );
        assert_eq!(statuses(&bob.take_text(PEER)), answers, "{header}");
        bob.take_explained();
        assert_eq!(bob.take_events(), []);
    }
}

//= IM M-8 test
#[test]
fn a_success_report_leaves_if_it_was_asked_for_and_after_the_verdict() {
    let (mut bob, _) = Bob::bound();
    // RFC 4975 11.6, through a relay: the REPORT goes back the whole way.
    let path = format!("msrp://relay.example.com:9/r;tcp {ALICE}");
    let text = send("d93kswow", &["Message-ID: 12339sdqwer", "Success-Report: yes"], Some("<p>"), '$');
    bob.receive(&text.replace(ALICE, &path));
    let (receipt, _) = bob.take_message();
    assert_eq!(bob.take_text(PEER), "");
    bob.settle(receipt, Verdict::Accepted);
    let text = bob.take_text(PEER);
    let tid = frames(&text).pop().expect("a REPORT").0;
    let answer = response("d93kswow", "200 OK").replace(ALICE, "msrp://relay.example.com:9/r;tcp");
    let report = format!(
        "MSRP {tid} REPORT\r\nTo-Path: {path}\r\nFrom-Path: {BOB}\r\nMessage-ID: 12339sdqwer\r\n\
         Byte-Range: 1-3/3\r\nStatus: 000 200 OK\r\n-------{tid}$\r\n"
    );
    assert_eq!(text, answer + &report);
    assert_eq!(bob.endpoint.load().transactions, 0, "nobody answers a REPORT");
    // Refused, or not asked for: none.
    for (row, verdict) in
        [("Success-Report: yes", Verdict::Refused(403)), ("Success-Report: no", Verdict::Accepted)]
    {
        bob.receive(&send("tid1", &["Message-ID: other", row], Some("hi"), '$'));
        let (receipt, _) = bob.take_message();
        bob.settle(receipt, verdict);
        // A refused message may be tried again.
        assert_eq!(frames(&bob.take_text(PEER)).len(), 1);
    }
}

//= IM M-9 test
#[test]
fn a_late_error_is_a_failure_report() {
    for (header, frames_after) in [("yes", 1), ("partial", 1), ("no", 0)] {
        let (mut bob, _) = Bob::bound();
        bob.receive(&send(
            "tid1",
            &["Message-ID: m1m1", &format!("Failure-Report: {header}")],
            Some("hi"),
            '$',
        ));
        let (receipt, _) = bob.take_message();
        bob.settle(receipt, Verdict::Received);
        let early = bob.take_text(PEER);
        assert_eq!(statuses(&early).len(), usize::from(header == "yes"));
        bob.settle(receipt, Verdict::Refused(413));
        let late = bob.take_text(PEER);
        assert_eq!(frames(&late).len(), frames_after, "{late}");
        match header {
            "yes" => {
                assert!(late.contains("Byte-Range: 1-2/2\r\nStatus: 000 413 Stop Sending\r\n"), "{late}")
            }
            // No 200 has left, so the response can still say it.
            "partial" => assert_eq!(statuses(&late), ["tid1 413"]),
            _ => assert_eq!(late, ""),
        }
        assert_eq!(bob.endpoint.load().receipts, 0);
    }
}

//= IM M-6 test
#[test]
fn chunks_come_in_any_order() {
    let (mut bob, _) = Bob::bound();
    bob.receive(&chunk("tid3", "m1m1", "5-*/8", "EFGH", '$'));
    assert_eq!(bob.take_text(PEER), response("tid3", "200 OK"));
    bob.receive(&chunk("tid1", "m1m1", "1-*/8", "ab", '+'));
    assert_eq!(bob.take_text(PEER), response("tid1", "200 OK"));
    assert_eq!(bob.take_events(), []);
    bob.receive(&chunk("tid2", "m1m1", "3-4/8", "cd", '+'));
    // The chunk that completes the message is the one that waits, whatever its flag.
    assert_eq!(bob.take_text(PEER), "");
    let (receipt, body) = bob.take_message();
    assert_eq!(body, "abcdEFGH");
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(bob.take_text(PEER), response("tid2", "200 OK"));
    assert_eq!((bob.next, bob.endpoint.load().incoming), (None, 0));
}

//= IM M-6 test
#[test]
fn later_octets_override_and_the_last_chunk_fixes_the_length() {
    let (mut bob, _) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-100/*", "abcdef", '+'));
    bob.receive(&chunk("tid2", "m1m1", "4-100/*", "XYZ123", '$'));
    assert_eq!(bob.take_message().1, "abcXYZ123");
}

//= IM M-6 test
//= IM M-5 test
#[test]
fn an_aborted_message_is_forgotten() {
    let (mut bob, session) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/8", "abcd", '+'));
    bob.receive(&chunk("tid2", "m1m1", "5-*/8", "ef", '#'));
    assert_eq!(statuses(&bob.take_text(PEER)), ["tid1 200", "tid2 200"]);
    let why = Incomplete::Aborted;
    assert_eq!(
        bob.take_events(),
        [Event::Incomplete { session, message_id: "m1m1".into(), received: 6, why }]
    );
    assert_eq!((bob.endpoint.load().incoming, bob.next), (0, None));
}

//= IM M-6 test
#[test]
fn a_message_waits_60_s_for_its_next_chunk() {
    let (mut bob, session) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/8", "ab", '+'));
    bob.wait(Duration::from_secs(59));
    bob.receive(&chunk("tid2", "m1m1", "3-*/8", "cd", '+'));
    bob.wait(Duration::from_millis(59_999));
    assert_eq!(bob.take_events(), []);
    bob.wait(Duration::from_millis(1));
    let why = Incomplete::Idle;
    assert_eq!(
        bob.take_events(),
        [Event::Incomplete { session, message_id: "m1m1".into(), received: 4, why }]
    );
    // The same in the middle of a chunk, which is then read over.
    let text = chunk("tid3", "m2m2", "1-*/8", "abcd", '+');
    let (start, rest) = text.split_at(text.len() - 20);
    bob.take_text(PEER);
    bob.receive(start);
    bob.wait(Duration::from_secs(60));
    assert!(matches!(bob.take_events()[..], [Event::Incomplete { why: Incomplete::Idle, .. }]));
    bob.receive(rest);
    bob.receive(&chunk("tid4", "m3m3", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_message().1, "hi");
}

//= IM M-6 test
#[test]
fn a_slow_chunk_is_waited_for_as_long_as_octets_come() {
    let (mut bob, _) = Bob::bound();
    let text = chunk("tid1", "m1m1", "1-5/5", "hello", '$');
    for piece in text.as_bytes().chunks(40) {
        bob.input(Input::Received { connection: PEER, bytes: piece });
        bob.wait(Duration::from_secs(50));
    }
    assert_eq!(bob.take_message().1, "hello");
    assert_eq!(bob.next, None);
}

//= IM M-2 test
#[test]
fn repeated_messages_and_chunks_are_acknowledged_again() {
    let (mut bob, _) = Bob::bound();
    // A whole message that comes again is handed out again: the store knows what is a duplicate.
    for tid in ["tid1", "tid2"] {
        bob.receive(&chunk(tid, "m1m1", "1-2/2", "hi", '$'));
        let (receipt, _) = bob.take_message();
        bob.settle(receipt, Verdict::Accepted);
        assert_eq!(bob.take_text(PEER), response(tid, "200 OK"));
    }
    // A chunk of a whole message is answered, before the verdict with it and after it at once.
    bob.receive(&chunk("tid3", "m2m2", "1-*/4", "ab", '+'));
    bob.receive(&chunk("tid4", "m2m2", "3-4/4", "cd", '$'));
    let (receipt, _) = bob.take_message();
    assert_eq!(bob.take_text(PEER), response("tid3", "200 OK"));
    bob.receive(&chunk("tid5", "m2m2", "3-4/4", "cd", '$'));
    assert_eq!(bob.take_text(PEER), "");
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(statuses(&bob.take_text(PEER)), ["tid4 200", "tid5 200"]);
    bob.receive(&chunk("tid6", "m2m2", "3-4/4", "cd", '$'));
    assert_eq!((bob.take_text(PEER), bob.take_events()), (response("tid6", "200 OK"), vec![]));
    assert_eq!(bob.endpoint.load().incoming, 0);
}

#[test]
fn repetitions_without_end_are_not_remembered_without_end() {
    let (mut bob, _) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/4", "ab", '+'));
    bob.receive(&chunk("tid2", "m1m1", "3-4/4", "cd", '$'));
    let (receipt, _) = bob.take_message();
    assert_eq!(bob.take_text(PEER), response("tid1", "200 OK"));
    for n in 0..1000 {
        bob.receive(&chunk(&format!("again{n}"), "m1m1", "3-4/4", "cd", '$'));
    }
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(statuses(&bob.take_text(PEER)).len(), 16);
}

//= IM X-20 test
#[test]
fn a_huge_byte_range_allocates_nothing() {
    let (mut bob, _) = Bob::bound();
    for range in ["1-*/400000000", "399999990-400000000/*", "1-400000000/*", "18446744073709551615-*/*"] {
        bob.receive(&chunk("tid1", "m1m1", range, "x", '+'));
        assert_eq!(statuses(&bob.take_text(PEER)), ["tid1 413"], "{range}");
        assert_eq!((bob.endpoint.load().incoming, bob.endpoint.load().octets), (0, 0));
    }
    for range in ["0-1/2", "5-3/8", "1-9/8"] {
        bob.receive(&chunk("tid1", "m2m2", range, "x", '+'));
        assert_eq!(statuses(&bob.take_text(PEER)), ["tid1 400"], "{range}");
    }
}

//= IM X-20 test
//= IM M-13 test
#[test]
fn a_message_that_grows_too_large_gets_413_at_once() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Passive).with(|spec| spec.max_size = 100));
    bob.connect(PEER);
    let text = chunk("tid1", "m1m1", "1-*/*", &"x".repeat(101), '+');
    let (start, rest) = text.split_at(text.len() - 30);
    bob.receive(&start.replace("1-*/*", "1-*/99"));
    assert_eq!(bob.take_events(), [Event::Bound { session }]);
    bob.receive(rest);
    assert_eq!(bob.take_text(PEER), response("tid1", "413 Stop Sending"));
    let why = Incomplete::Refused;
    let received = 101 - 14;
    assert_eq!(bob.take_events(), [Event::Incomplete { session, message_id: "m1m1".into(), received, why }]);
    // And its next chunks too.
    bob.receive(&chunk("tid2", "m1m1", "102-*/*", "x", '+'));
    assert_eq!(statuses(&bob.take_text(PEER)), ["tid2 413"]);
}

//= IM X-20 test
#[test]
fn chunks_that_contradict_each_other_end_the_message() {
    for (one, two) in [
        (chunk("tid1", "m1m1", "1-*/8", "ab", '+'), chunk("tid2", "m1m1", "3-*/9", "cd", '+')),
        (chunk("tid1", "m1m1", "5-*/8", "ab", '$'), chunk("tid2", "m1m1", "7-*/8", "cd", '$')),
        (chunk("tid1", "m1m1", "5-*/*", "ab", '+'), chunk("tid2", "m1m1", "1-*/*", "cd", '$')),
    ] {
        let (mut bob, _) = Bob::bound();
        bob.receive(&one);
        bob.receive(&two);
        assert_eq!(statuses(&bob.take_text(PEER)), ["tid1 200", "tid2 400"]);
        assert!(matches!(bob.take_events()[..], [Event::Incomplete { why: Incomplete::Refused, .. }]));
        assert_eq!((bob.endpoint.load().incoming, bob.next), (0, None));
    }
}

//= IM X-20 test
#[test]
fn incomplete_messages_and_holes_are_bounded() {
    let (mut bob, _) = Bob::bound();
    for n in 0..40 {
        bob.receive(&chunk("tid1", &format!("msg{n:03}"), "1-*/8", "ab", '+'));
    }
    let answers = statuses(&bob.take_text(PEER));
    assert_eq!(answers.iter().filter(|answer| *answer == "tid1 200").count(), 32);
    assert_eq!(answers.iter().filter(|answer| *answer == "tid1 413").count(), 8);
    assert_eq!(bob.endpoint.load().incoming, 32);
    // A whole message passes all the same.
    bob.take_events();
    bob.receive(&chunk("tid2", "whole", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_message().1, "hi");

    let (mut bob, _) = Bob::bound();
    for n in 0..400 {
        bob.receive(&chunk("tid1", "m1m1", &format!("{}-*/*", 3 + 2 * n), "a", '+'));
    }
    assert!(statuses(&bob.take_text(PEER)).contains(&"tid1 413".to_owned()));
    assert_eq!(bob.endpoint.load().incoming, 0);
}

#[test]
fn large_bodies_are_spooled_and_reading_stops_when_the_spool_lags() {
    let (mut bob, session) = Bob::bound();
    let head = chunk("tid1", "m1m1", "1-*/*", "", '$').replace("\r\n\r\n-------tid1$\r\n", "\r\n");
    bob.receive(&head);
    let mut sent = Vec::new();
    let mut spooled: Vec<u8> = Vec::new();
    let mut held = false;
    for n in 0..40_u8 {
        let piece = [b'a' + n % 26; 10_000];
        sent.extend_from_slice(&piece);
        bob.input(Input::Received { connection: PEER, bytes: &piece });
        for output in std::mem::take(&mut bob.outputs) {
            match output {
                Output::Spool { spool: SpoolId(_), offset, bytes } => {
                    assert_eq!(offset, spooled.len() as u64);
                    spooled.extend(bytes);
                }
                Output::Hold { .. } => held = true,
                Output::Event(Event::Receiving { received, .. }) => assert_eq!(received, 270_000),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(held, n >= 26, "at {} octets", spooled.len());
    }
    assert!(bob.endpoint.load().octets <= 16 * 1024 + 100);
    bob.receive("\r\n-------tid1$\r\n");
    let mut events = bob.take_events();
    let Some(Event::Message { receipt, body: Body::Spooled { spool, size, head }, .. }) = events.pop() else {
        panic!("{events:?}")
    };
    assert_eq!((size, &head[..], &spooled[..]), (400_000, &sent[..16_384], &sent[..]));
    bob.input(Input::Spooled { spool, upto: 200_000 });
    assert_eq!(bob.outputs, []);
    bob.input(Input::Spooled { spool, upto: 400_000 });
    assert_eq!(std::mem::take(&mut bob.outputs), [Output::Resume { connection: PEER }]);
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(bob.take_text(PEER), response("tid1", "200 OK"));
    let _ = session;
}

#[test]
fn chunks_that_arrive_together_are_spooled_in_one_piece() {
    let (mut bob, _) = Bob::bound_with(Limits::default().with(|limits| limits.inline_body = 10));
    let chunks = [
        chunk("tid1", "m1m1", "1-*/*", "0123456789", '+'),
        chunk("tid2", "m1m1", "11-*/*", "abc", '+'),
        chunk("tid3", "m1m1", "14-*/*", "def", '+'),
        chunk("tid4", "other1", "1-*/*", "of another message", '+'),
        chunk("tid5", "m1m1", "17-*/*", "ghi", '+'),
        // There is a hole before it.
        chunk("tid6", "m1m1", "31-*/*", "uvw", '+'),
    ];
    bob.receive(&chunks.concat());
    let spooled: Vec<_> = std::mem::take(&mut bob.outputs)
        .into_iter()
        .filter_map(|output| match output {
            Output::Spool { spool, offset, bytes } => {
                Some((spool, offset, String::from_utf8(bytes).unwrap()))
            }
            _ => None,
        })
        .collect();
    let (one, other) = (spooled[0].0, spooled[1].0);
    let piece = |spool, offset, text: &str| (spool, offset, text.to_owned());
    assert_eq!(
        spooled,
        [
            piece(one, 0, "0123456789abcdef"),
            piece(other, 0, "of another message"),
            piece(one, 16, "ghi"),
            piece(one, 30, "uvw"),
        ]
    );
}

#[test]
fn a_spooled_piece_is_bounded() {
    let (mut bob, _) = Bob::bound_with(Limits::default().with(|limits| {
        limits.inline_body = 10;
        limits.unspooled = u64::MAX;
    }));
    let chunks: String = (0..40)
        .map(|n| chunk("tid1", "m1m1", &format!("{}-*/*", n * 10_000 + 1), &"x".repeat(10_000), '+'))
        .collect();
    bob.receive(&chunks);
    let pieces: Vec<usize> = std::mem::take(&mut bob.outputs)
        .iter()
        .filter_map(|output| match output {
            Output::Spool { bytes, .. } => Some(bytes.len()),
            _ => None,
        })
        .collect();
    assert_eq!(pieces.iter().sum::<usize>(), 400_000);
    assert!(pieces.len() < 5 && pieces.iter().all(|piece| *piece <= 256 * 1024), "{pieces:?}");
}

#[test]
fn an_abandoned_spool_is_discarded() {
    let (mut bob, _) = Bob::bound_with(Limits::default().with(|limits| limits.inline_body = 10));
    // Eleven octets are one too many for memory, wherever they belong.
    bob.receive(&chunk("tid1", "m1m1", "21-*/*", "uvw", '+'));
    assert_eq!(bob.outputs, []);
    bob.receive(&chunk("tid2", "m1m1", "1-*/*", "abcdefgh", '+'));
    let spool = match &bob.outputs[..] {
        [Output::Spool { spool, offset: 0, .. }, Output::Spool { offset: 20, .. }] => *spool,
        other => panic!("{other:?}"),
    };
    bob.outputs.clear();
    bob.input(Input::Closed { connection: PEER });
    assert!(bob.outputs.contains(&Output::Discard { spool }));
    let events = bob.take_events();
    let received = 11;
    assert!(
        matches!(&events[..], [Event::Incomplete { received: r, why: Incomplete::Disconnected, .. },
            Event::SessionFailed { why: SessionFailure::Disconnected, .. }] if *r == received),
        "{events:?}"
    );
    assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
}

#[test]
fn reading_stops_while_too_many_messages_have_no_verdict() {
    let (mut bob, _) = Bob::bound_with(Limits::default().with(|limits| limits.unsettled = 4));
    let mut receipts = Vec::new();
    for n in 0..5 {
        assert_eq!(bob.outputs, []);
        bob.receive(&chunk("tid1", &format!("msg{n}"), "1-2/2", "hi", '$'));
        let events = bob.take_events();
        receipts.extend(events.iter().filter_map(|event| match event {
            Event::Message { receipt, .. } => Some(*receipt),
            _ => None,
        }));
    }
    assert_eq!(std::mem::take(&mut bob.outputs), [Output::Hold { connection: PEER }]);
    for (n, receipt) in receipts.into_iter().enumerate() {
        bob.settle(receipt, Verdict::Accepted);
        assert_eq!(bob.outputs.pop().is_some(), n == 2, "after {n}");
    }
}

#[test]
fn reading_stops_while_too_many_octets_have_no_verdict() {
    let (mut bob, _) = Bob::bound();
    let mut receipts = Vec::new();
    for n in 0..5 {
        assert_eq!(bob.outputs, []);
        bob.receive(&chunk("tid1", &format!("msg{n}"), "1-*/60000", &"x".repeat(60_000), '$'));
        receipts.extend(bob.take_events().iter().filter_map(|event| match event {
            Event::Message { receipt, .. } => Some(*receipt),
            _ => None,
        }));
    }
    assert_eq!(std::mem::take(&mut bob.outputs), [Output::Hold { connection: PEER }]);
    for (n, receipt) in receipts.into_iter().enumerate() {
        bob.settle(receipt, Verdict::Accepted);
        assert_eq!(bob.outputs.pop().is_some(), n == 2, "after {n}");
    }
}

#[test]
fn reading_goes_on_when_a_message_that_filled_the_spool_is_given_up() {
    let (mut bob, _) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/*", &"x".repeat(300_000), '+'));
    assert!(bob.outputs.contains(&Output::Hold { connection: PEER }));
    bob.outputs.clear();
    bob.receive(&chunk("tid2", "m1m1", "300001-*/*", "", '#'));
    assert!(bob.outputs.contains(&Output::Resume { connection: PEER }), "{:?}", bob.outputs);
}

//= IM X-24 test
#[test]
fn a_peer_that_does_not_read_is_not_read() {
    let (mut bob, _) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 0 });
    let ping = send("ping", &["Message-ID: ping"], None, '$').repeat(100);
    for _ in 0..30 {
        bob.receive(&ping);
    }
    assert_eq!(std::mem::take(&mut bob.outputs), [Output::Hold { connection: PEER }]);
    bob.input(Input::Writable { connection: PEER, room: 100_000 });
    assert_eq!(bob.outputs, [Output::Resume { connection: PEER }]);
}

//= IM M-13 test
#[test]
fn what_is_framed_but_wrong_is_answered() {
    let (mut bob, _) = Bob::bound();
    for (text, status) in [
        (frame("tid1", "NICKNAME", &["Use-Nickname: \"Al\""], None, '$'), "501 Unknown Method"),
        (frame("tid1", "send", &[], None, '$'), "400 Bad Request"),
        (send("tid1", &["Message-ID: m1m1", "Byte-Range: x"], Some("x"), '$'), "400 Bad Request"),
        (send("tid1", &[], Some("x"), '$'), "400 Bad Request"),
        (
            send("tid1", &["Message-ID: m1m1"], Some("x"), '$').replace("Content-Type: text/plain\r\n", ""),
            "400 Bad Request",
        ),
        (
            send("tid1", &["Message-ID: m1m1"], Some("x"), '$').replace("text/plain", "text/html"),
            "415 Media Type Not Supported",
        ),
    ] {
        bob.receive(&text);
        assert_eq!(bob.take_text(PEER), response("tid1", status), "{text}");
        assert_eq!((bob.take_explained().len(), bob.take_events().len()), (1, 0), "{text}");
    }
}

//= IM M-11 test
#[test]
fn a_response_goes_to_the_previous_hop_but_for_other_methods_all_the_way() {
    let relay = "msrp://relay.example.com:9/r;tcp";
    let path = format!("{relay} {ALICE}");
    // The relay may stand in the SDP or not.
    let mut bob = Bob::new();
    bob.open(spec(Role::Passive).with(|spec| spec.remote.path = MsrpPath::parse(&path).expect("a path")));
    bob.connect(PEER);
    bob.receive(&send("bind", &["Message-ID: hello"], None, '$').replace(ALICE, &path));
    assert_eq!(bob.take_text(PEER), response("bind", "200 OK").replace(ALICE, relay));
    let (mut bob, _) = Bob::bound();
    let refused = send("tid1", &["Message-ID: m1m1"], Some("x"), '$').replace("text/plain", "text/html");
    for (text, status, to) in [
        (refused, "415 Media Type Not Supported", relay),
        (send("tid1", &["Message-ID: m1m1"], Some("x"), '+'), "200 OK", relay),
        (frame("tid1", "NICKNAME", &[], None, '$'), "501 Unknown Method", &path),
    ] {
        bob.receive(&text.replace(ALICE, &path));
        assert_eq!(bob.take_text(PEER), response("tid1", status).replace(ALICE, to));
    }
}

//= IM M-13 test
//= IM X-23 test
#[test]
fn lost_framing_closes_the_connection() {
    for garbage in
        ["GET / HTTP/1.1\r\n".to_owned(), frame("repo", "REPORT", &[], Some(&"x".repeat(10_241)), '$')]
    {
        let (mut bob, session) = Bob::bound();
        bob.receive(&(send("ping", &["Message-ID: ping"], None, '$') + &garbage));
        assert_eq!(bob.take_text(PEER), response("ping", "200 OK"), "what was answered still leaves");
        assert_eq!(bob.take_explained().len(), 1);
        let why = SessionFailure::Disconnected;
        assert_eq!(bob.take_events(), [Event::SessionFailed { session, why, unsent: vec![] }]);
        assert_eq!(bob.outputs, [Output::Close { connection: PEER }]);
        bob.receive("more");
        assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
    }
}

#[test]
fn responses_to_one_connection_leave_together() {
    let (mut bob, _) = Bob::bound();
    let before = bob.writes;
    bob.receive(&send("ping", &["Message-ID: ping"], None, '$').repeat(50));
    assert_eq!(bob.writes, before + 1);
    assert_eq!(bob.take_text(PEER), response("ping", "200 OK").repeat(50));
}

#[test]
fn an_empty_message_is_a_message() {
    let (mut bob, _) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-0/0", "", '$'));
    assert_eq!(bob.take_message().1, "");
}
