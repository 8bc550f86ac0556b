//! M-1, M-2, M-4, M-5 and M-12: how a message is cut into chunks (RFC 4975 5.1, 7.1 and 7.1.1).

use std::collections::BTreeSet;

use parlour_msrp::frame::{FrameReader, Piece};
use parlour_msrp::head::{ByteRange, Flag, Start};
use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    ConnectionId, Event, Input, Limits, Outgoing, Output, Role, SendError, SendFailure, SessionFailure,
    Source, SourceId,
};
use proptest::prelude::*;

use crate::script::{ALICE, BOB, Bob, PEER, answer, frame, frames, send, spec, text};

/// A SEND as it was written.
#[derive(Debug)]
struct Chunk {
    tid: String,
    message_id: String,
    range: ByteRange,
    reports: (bool, parlour_msrp::FailureReport),
    disposition: Option<String>,
    body: Vec<u8>,
    flag: Flag,
}

/// The SENDs in a stream, read by frame.
fn sends(stream: &str) -> Vec<Chunk> {
    let (mut reader, mut input, mut chunks) = (FrameReader::new(1 << 20), stream.as_bytes(), Vec::new());
    while let Some(piece) = reader.next(&mut input) {
        match piece {
            Piece::Head(head) if head.start == Start::Send => {
                assert_eq!(head.fault, None);
                chunks.push(Chunk {
                    tid: String::from_utf8_lossy(head.tid.as_bytes()).into_owned(),
                    message_id: head.message_id.expect("a Message-ID").to_owned(),
                    range: head.byte_range.expect("a Byte-Range on each chunk"),
                    reports: (head.success_report, head.failure_report),
                    disposition: head.content_disposition.map(str::to_owned),
                    body: Vec::new(),
                    flag: Flag::More,
                });
            }
            Piece::Head(head) => panic!("{head:?}"),
            Piece::Body(octets) => chunks.last_mut().expect("a head").body.extend_from_slice(octets),
            Piece::End(flag) => chunks.last_mut().expect("a head").flag = flag,
            other => panic!("{other:?}"),
        }
    }
    chunks
}

/// Gives Bob octets of a source, `step` at a time, as long as he asks for any.
fn serve(bob: &mut Bob, octets: &[u8], step: usize) {
    while let Some(at) = bob.outputs.iter().position(|output| matches!(output, Output::Fetch { .. })) {
        let Output::Fetch { source, offset, length } = bob.outputs.remove(at) else { return };
        let start = usize::try_from(offset).expect("a small test");
        let end = start.saturating_add(length.min(step)).min(octets.len());
        bob.input(Input::Fetched { source, offset, bytes: &octets[start..end] });
    }
}

//= IM M-1 test
#[test]
fn no_identifier_stands_in_its_body_though_that_comes_in_pieces() {
    // The same seed draws the same identifiers; the body has them all, also across what is fetched at once and at the very
    // ends of chunks.
    let plain = vec![b'x'; 60_000];
    let run = |octets: &[u8], step| {
        let (mut bob, session) = Bob::bound();
        let body = Source::Fetched { source: SourceId(1), size: octets.len() as u64, head: Vec::new() };
        bob.send(session, text("m1m1", "").with(|message| message.body = body));
        serve(&mut bob, octets, step);
        sends(&bob.take_text(PEER))
    };
    let first = run(&plain, usize::MAX);
    assert_eq!(first.len(), 5);
    for step in [usize::MAX, 1000, 12_300] {
        for shift in [-9_i64, -3, 0, 7, 3000] {
            let mut octets = plain.clone();
            for (n, chunk) in first.iter().enumerate() {
                let line = format!("\r\n-------{}$\r\n", chunk.tid);
                let at = usize::try_from(((n as i64) * 12_288 + shift).max(0)).expect("within the body");
                octets[at..at + line.len()].copy_from_slice(line.as_bytes());
            }
            let chunks = run(&octets, step);
            let body: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.body.clone()).collect();
            assert!(body == octets, "step {step}, shift {shift}: another reader gets the same octets");
            for chunk in &chunks {
                let line = format!("-------{}", chunk.tid);
                assert!(!String::from_utf8_lossy(&chunk.body).contains(&line), "step {step}, shift {shift}");
            }
            let tids: BTreeSet<_> = chunks.iter().map(|chunk| &chunk.tid).collect();
            assert_eq!(tids.len(), chunks.len(), "each chunk is a transaction of its own");
            if shift == 3000 {
                assert!(
                    chunks.iter().zip(&first).all(|(now, then)| now.tid != then.tid),
                    "each one was drawn again"
                );
            }
        }
    }
}

//= IM M-2 test
//= IM M-4 test
#[test]
fn a_message_goes_again_from_its_first_octet_under_its_message_id_in_a_new_session() {
    let (mut bob, _) = Bob::bound();
    let session = bob.open(spec(Role::Passive).with(|spec| {
        spec.local = MsrpUri::parse("msrp://192.0.2.2:8888/longsession;tcp").expect("a URI");
        spec.remote.path = MsrpPath::parse("msrp://192.0.2.1:7777/alsolong;tcp").expect("a path");
    }));
    let other =
        |frame: &str| frame.replace("9di4eae923wzd", "longsession").replace("iau39soe2843z", "alsolong");
    bob.receive(&other(&send("bind", &["Message-ID: hello"], None, '$')));
    bob.take_text(PEER);
    bob.take_events();
    bob.input(Input::Writable { connection: PEER, room: 26_000 });
    let body: String = (0..40_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let message = text("m1m1", &body).with(|message| {
        message.success_report = true;
        message.content_disposition = Some("attachment; filename=\"a b.txt\"".into());
    });
    bob.send(session, message.clone());
    let written = bob.take_text(PEER);
    // RFC 4975 7.1: Content-Type is the last header.
    let order = "Byte-Range: 1-*/40000\r\nContent-Disposition: attachment; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\na";
    assert!(written.contains(order), "{}", &written[..500]);
    let before = sends(&written);
    assert_eq!(before.len(), 2, "in the middle of the message");
    bob.input(Input::Closed { connection: PEER });
    let unsent = bob.take_events().into_iter().find_map(|event| match event {
        Event::SessionFailed { session: of, why: SessionFailure::Disconnected, unsent } if of == session => {
            Some(unsent)
        }
        _ => None,
    });
    let unsent = unsent.expect("the session has failed");
    assert_eq!(unsent, [message], "whole, with all that it was given with");
    // RFC 4975 5.4: a new session has new URIs, and the content its old name.
    let again = bob.open(spec(Role::Passive));
    bob.connect(ConnectionId(2));
    bob.receive_on(ConnectionId(2), &send("bind", &["Message-ID: hello"], None, '$'));
    bob.take_text(ConnectionId(2));
    unsent.into_iter().for_each(|message: Outgoing| bob.send(again, message));
    let after = sends(&bob.take_text(ConnectionId(2)));
    let octets: Vec<u8> = after.iter().flat_map(|chunk| chunk.body.clone()).collect();
    assert!(octets == body.as_bytes());
    for chunk in before.iter().chain(&after) {
        assert_eq!(chunk.message_id, "m1m1");
        // RFC 4975 7.1.1: the same wishes on all chunks.
        assert_eq!(chunk.reports, (true, parlour_msrp::FailureReport::Yes));
        assert_eq!(chunk.disposition.as_deref(), Some("attachment; filename=\"a b.txt\""));
    }
    assert_eq!(after.first().map(|chunk| chunk.range.start), Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the driver grants, and however long paths and types are: chunks come in order, none but the last has less
    /// than 2048 octets, each tells its range rightly, and nothing leaves without room.
    //= IM M-4 test
    //= IM M-5 test
    #[test]
    fn every_chunk_keeps_to_the_rules(
        size in 0_usize..60_000,
        chunk_size in 0_usize..40_000,
        rooms in prop::collection::vec(0_usize..30_000, 0..20),
        uris in 1_usize..12,
        host in 1_usize..200,
    ) {
        let mut bob = Bob::new();
        let relay = format!("msrp://{}.example.com:9/r;tcp ", "h".repeat(host));
        let path = MsrpPath::parse(&(relay.repeat(uris - 1) + ALICE)).expect("a path");
        let session = bob.open(spec(Role::Passive).with(|spec| {
            spec.remote.path = path;
            spec.chunk_size = chunk_size;
            spec.relayed_chunk_size = chunk_size;
        }));
        bob.connect(PEER);
        bob.receive(&send("bind", &["Message-ID: hello"], None, '$'));
        bob.take_text(PEER);
        bob.input(Input::Writable { connection: PEER, room: 0 });
        let body: String = (0..size).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
        bob.send(session, text("m1m1", &body));
        let mut stream = String::new();
        for room in rooms.into_iter().chain(std::iter::repeat_n(16 * 1024, 40)) {
            bob.input(Input::Writable { connection: PEER, room });
            let written = bob.take_text(PEER);
            prop_assert!(written.len() <= room, "{} octets in a room of {room}", written.len());
            stream += &written;
        }
        let chunks = sends(&stream);
        let total = size as u64;
        let mut sent = 0;
        for (n, chunk) in chunks.iter().enumerate() {
            let last = n + 1 == chunks.len();
            let length = chunk.body.len() as u64;
            prop_assert_eq!(chunk.flag, if last { Flag::Last } else { Flag::More });
            prop_assert!(last || length >= 2048, "a chunk of {}", length);
            let end = (length <= 2048).then_some(sent + length);
            prop_assert_eq!(chunk.range, ByteRange { start: sent + 1, end, total: Some(total) });
            sent += length;
        }
        prop_assert_eq!((sent, bob.endpoint.load().outgoing), (total, 1), "all of it has left");
    }
}

//= IM M-4 test
#[test]
fn a_path_that_leaves_no_room_for_a_chunk_is_none() {
    let relay = |length: usize| format!("msrp://{}.example.com:9/r;tcp ", "h".repeat(length));
    assert!(MsrpPath::parse(&(relay(1900) + ALICE)).is_ok());
    assert!(MsrpPath::parse(&(relay(1900).repeat(2) + ALICE)).is_ok());
    assert!(MsrpPath::parse(&(relay(1900).repeat(3) + ALICE)).is_err());
}

//= IM M-4 test
#[test]
fn a_room_that_takes_no_chunk_worth_sending_waits_for_a_larger_one() {
    let relay = format!("msrp://{}.example.com:9/r;tcp ", "h".repeat(1900));
    let mut bob = Bob::new();
    let path = MsrpPath::parse(&(relay + ALICE)).expect("a path");
    let session = bob.open(spec(Role::Passive).with(|spec| spec.remote.path = path));
    bob.connect(PEER);
    bob.receive(&send("bind", &["Message-ID: hello"], None, '$'));
    bob.take_text(PEER);
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(session, text("m1m1", &"x".repeat(10_000)));
    // Headers of 2.5 KiB leave less than 2048 octets of such rooms.
    for room in [100, 2600, 4096, 4200] {
        bob.input(Input::Writable { connection: PEER, room });
        assert!(bob.take_text(PEER).is_empty(), "{room}");
    }
    bob.input(Input::Writable { connection: PEER, room: 5000 });
    let chunks = sends(&bob.take_text(PEER));
    assert!(chunks.len() == 1 && chunks[0].body.len() >= 2048, "{} chunks", chunks.len());
}

//= IM M-5 test
#[test]
fn a_message_that_is_given_up_says_so_in_an_empty_chunk_from_1() {
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 13_000 });
    let long = "x".repeat(30_000);
    bob.send(session, text("m1m1", &long).with(|message| message.success_report = true));
    assert_eq!(sends(&bob.take_text(PEER)).len(), 1);
    bob.endpoint.abort(bob.now, session, "m1m1");
    bob.drain();
    let [abort] = &sends(&bob.take_text(PEER))[..] else { panic!("one more chunk") };
    // RFC 4975 7.1.1: without octets the range starts at 1; the same wishes as before.
    assert_eq!(abort.range, ByteRange { start: 1, end: Some(0), total: Some(30_000) });
    assert_eq!((abort.flag, abort.body.len(), abort.reports.0), (Flag::Abort, 0, true));
    // Its response is nothing to us.
    bob.take_events();
    bob.receive(&answer(&abort.tid, "413 Stop"));
    assert_eq!((bob.take_events(), bob.endpoint.load().outgoing), (vec![], 0));
}

//= IM M-12 test
#[test]
fn each_class_of_codes_has_its_meaning() {
    for (line, good) in [
        ("200 OK", true),
        ("201 Created", true),
        ("299 Fine", true),
        ("100 Trying", false),
        ("300 Elsewhere", false),
        ("401 Who", false),
        ("404 Nobody", false),
        ("423 Out", false),
        ("424 Malformed", false),
        ("425 Taken", false),
        ("428 Not private", false),
        ("499 New", false),
        ("501 What", false),
        ("503 New", false),
        ("999 New", false),
    ] {
        let (mut bob, session) = Bob::bound();
        bob.send(session, text("m1m1", "hi"));
        let (tid, _) = frames(&bob.take_text(PEER)).remove(0);
        bob.take_events();
        bob.receive(&answer(&tid, line));
        let (status, comment) = line.split_at(3);
        let why = SendFailure::Refused {
            status: status.parse().expect("a status"),
            comment: comment.trim_start().to_owned(),
        };
        let id = "m1m1".to_owned();
        let told = match good {
            true => Event::Acknowledged { session, message_id: id },
            false => Event::Failed { session, message_id: id, why },
        };
        assert_eq!(bob.take_events(), [told], "{line}");
        assert_eq!(bob.endpoint.sessions(), 1, "{line}: the session stands");
    }
}

//= IM M-12 test
#[test]
fn types_that_were_refused_many_times_are_remembered_once() {
    let (mut bob, session) = Bob::bound();
    for n in 0..200 {
        bob.send(session, text(&format!("m{n:04}"), "x"));
    }
    let octets = bob.endpoint.load().octets;
    for (tid, _) in frames(&bob.take_text(PEER)) {
        bob.receive(&answer(&tid, "415 No"));
    }
    bob.take_events();
    assert!(octets > 0 && bob.endpoint.load().octets == 0);
    let now = bob.now;
    let other = text("m9m9", "x").with(|message| message.content_type = "TEXT/plain;charset=utf-8".into());
    assert_eq!(bob.endpoint.send(now, session, other), Err(SendError::RefusedContentType));
}

//= IM M-12 test
#[test]
fn a_506_ends_the_session_on_this_connection_and_not_its_neighbours() {
    let (mut bob, one) = Bob::bound();
    let two = bob.open(spec(Role::Passive).with(|spec| {
        spec.local = MsrpUri::parse("msrp://192.0.2.2:8888/second;tcp").expect("a URI");
        spec.remote.path = MsrpPath::parse("msrp://192.0.2.1:7777/second;tcp").expect("a path");
    }));
    let second = |text: &str| text.replace("9di4eae923wzd", "second").replace("iau39soe2843z", "second");
    bob.receive(&second(&send("bind", &["Message-ID: hello"], None, '$')));
    bob.take_text(PEER);
    bob.take_events();
    bob.send(one, text("m1m1", "hi"));
    let (tid, _) = frames(&bob.take_text(PEER)).remove(0);
    bob.take_events();
    bob.receive(&answer(&tid, "506 In use"));
    let why = SessionFailure::Refused(506);
    let unsent = vec![text("m1m1", "hi")];
    assert_eq!(bob.take_events(), [Event::SessionFailed { session: one, why, unsent }]);
    //= IM M-15 test
    // RFC 4975 5.4: the connection stands as long as it has a session.
    assert_eq!(bob.outputs, []);
    bob.send(two, text("m2m2", "still here"));
    assert!(bob.take_text(PEER).contains("still here"));
    bob.endpoint.close(bob.now, two);
    bob.drain();
    assert!(bob.outputs.contains(&Output::Close { connection: PEER }));
}

//= IM M-2 test
#[test]
fn send_says_which_header_values_it_does_not_take() {
    let (mut bob, session) = Bob::bound_with(Limits::default());
    let now = bob.now;
    let long = "x".repeat(1100);
    for content_type in [
        "",
        "text",
        "text/",
        "/plain",
        "a b/c",
        "text/pl\u{fc}",
        "*/*",
        "text/plain\u{7f}",
        &format!("a/{long}"),
    ] {
        let message = text("m1m1", "x").with(|message| message.content_type = content_type.into());
        assert_eq!(
            bob.endpoint.send(now, session, message),
            Err(SendError::BadContentType),
            "{content_type}"
        );
    }
    for disposition in ["", "render\r\nX: y", &long] {
        let message =
            text("m1m1", "x").with(|message| message.content_disposition = Some(disposition.into()));
        let taken = bob.endpoint.send(now, session, message);
        assert_eq!(taken, Err(SendError::BadContentDisposition), "{disposition}");
    }
    assert_eq!(bob.take_text(PEER), "");
}

//= IM M-11 test
//= IM M-13 test
#[test]
fn what_refuses_a_bind_is_exact() {
    let mut bob = Bob::new();
    bob.open(spec(Role::Passive));
    bob.connect(PEER);
    let other = "msrp://192.0.2.2:8888/nobody;tcp";
    let relay = "msrp://relay.example.com:9/r;tcp";
    let bind = send("bind", &["Message-ID: hello"], None, '$').replace(BOB, other);
    bob.receive(&bind.replace(ALICE, &format!("{relay} {ALICE}")));
    // RFC 4975 7.2: to the previous hop alone, and from the URI that was asked for.
    assert_eq!(
        bob.take_text(PEER),
        format!(
            "MSRP bind 481 No Such Session\r\nTo-Path: {relay}\r\nFrom-Path: {other}\r\n-------bind$\r\n"
        )
    );
    bob.receive(&send("bind", &["Message-ID: hello"], None, '$'));
    bob.connect(ConnectionId(2));
    bob.take_text(PEER);
    bob.receive_on(ConnectionId(2), &send("late", &["Message-ID: hello"], None, '$'));
    assert_eq!(
        bob.take_text(ConnectionId(2)),
        format!("MSRP late 506 Session In Use\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\n-------late$\r\n")
    );
    // RFC 4975 7.3: with Failure-Report no, nothing.
    for row in ["Failure-Report: no", "Failure-Report: NO"] {
        bob.receive_on(ConnectionId(2), &send("late", &["Message-ID: hello", row], None, '$'));
        assert_eq!(bob.take_text(ConnectionId(2)), "");
    }
    // A method that nobody knows is answered all the way back, on a session that stands.
    bob.receive(&frame("what", "WHATEVER", &[], None, '$').replace(ALICE, &format!("{relay} {ALICE}")));
    assert_eq!(
        bob.take_text(PEER),
        format!(
            "MSRP what 501 Unknown Method\r\nTo-Path: {relay} {ALICE}\r\nFrom-Path: {BOB}\r\n-------what$\r\n"
        )
    );
}
