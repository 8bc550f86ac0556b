//! M-1 to M-5, M-7 to M-9, M-12, M-15, M-17: what goes out.

use std::time::Duration;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    Event, FailureReport, Input, Limits, Output, Role, SendError, SendFailure, SessionFailure, SessionId,
    Source, SourceId,
};

use crate::script::{ALICE, BOB, Bob, PEER, answer, frame, frames, response, send, spec, text};

const SECOND: Duration = Duration::from_secs(1);

/// The frames of a text, each with its transaction identifier, Byte-Range, body length and flag.
fn chunks(text: &str) -> Vec<(String, String, usize, char)> {
    let mut rest = text;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let tid = frames(rest).remove(0).0;
        let end = rest.find(&format!("\r\n-------{tid}")).expect("an end-line");
        let (frame, tail) = rest.split_at(end);
        let range = frame.lines().find_map(|line| line.strip_prefix("Byte-Range: ")).unwrap_or("").to_owned();
        let body = frame.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        let flag = tail.chars().nth(9 + tid.len()).expect("a flag");
        rest = &tail[12 + tid.len()..];
        chunks.push((tid, range, body, flag));
    }
    chunks
}

fn failed(session: SessionId, id: &str, why: SendFailure) -> Event {
    Event::Failed { session, message_id: id.into(), why }
}

fn refused(status: u16, comment: &str) -> SendFailure {
    SendFailure::Refused { status, comment: comment.into() }
}

//= IM M-3 test
//= IM M-4 test
//= IM M-5 test
#[test]
fn a_small_message_is_one_frame_in_one_write() {
    let mut bob = Bob::new();
    let path = format!("msrp://relay.example.com:9/r;tcp {ALICE}");
    let session =
        bob.open(spec(Role::Passive).with(|spec| spec.remote.path = MsrpPath::parse(&path).expect("a path")));
    bob.connect(PEER);
    bob.receive(&send("bind", &["Message-ID: hello"], None, '$'));
    bob.take_text(PEER);
    let writes = bob.writes;
    bob.send(
        session,
        text("m1m1", "hi").with(|message| {
            message.success_report = true;
            message.failure_report = FailureReport::Partial;
        }),
    );
    let text = bob.take_text(PEER);
    let tid = frames(&text).pop().expect("a SEND").0;
    assert_eq!(tid.len(), 16, "96 random bits");
    assert_eq!(
        text,
        format!(
            "MSRP {tid} SEND\r\nTo-Path: {path}\r\nFrom-Path: {BOB}\r\nMessage-ID: m1m1\r\nSuccess-Report: yes\r\n\
             Failure-Report: partial\r\nByte-Range: 1-2/2\r\nContent-Type: text/plain\r\n\r\nhi\r\n-------{tid}$\r\n"
        )
    );
    assert_eq!(bob.writes, writes + 1);
}

//= IM M-4 test
#[test]
fn only_what_is_above_the_chunk_size_is_split() {
    let (mut bob, session) = Bob::bound();
    for (size, expected) in [
        (0, vec![("1-0/0", 0, '$')]),
        (2048, vec![("1-2048/2048", 2048, '$')]),
        (2049, vec![("1-*/2049", 2049, '$')]),
        (12_288, vec![("1-*/12288", 12_288, '$')]),
        (
            30_000,
            vec![("1-*/30000", 12_288, '+'), ("12289-*/30000", 12_288, '+'), ("24577-*/30000", 5424, '$')],
        ),
    ] {
        bob.send(session, text(&format!("m{size:05}"), &"x".repeat(size)));
        let sent = bob.take_text(PEER);
        let sent = chunks(&sent);
        let seen: Vec<_> = sent.iter().map(|(_, range, size, flag)| (range.as_str(), *size, *flag)).collect();
        assert_eq!(seen, expected);
        let mut tids: Vec<_> = sent.iter().map(|chunk| chunk.0.clone()).collect();
        tids.dedup();
        assert_eq!(tids.len(), expected.len(), "each chunk is a transaction of its own");
    }
}

//= IM M-1 test
#[test]
fn identifiers_do_not_stand_in_the_body() {
    // With the same seed the same identifier would come first.
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "hi"));
    let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", &format!("x\r\n-------{tid}$\r\ny")));
    let other = frames(&bob.take_text(PEER)).remove(0).0;
    assert_ne!(tid, other);
}

//= IM M-12 test
#[test]
fn a_message_is_acknowledged_when_each_chunk_is() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", &"x".repeat(20_000)));
    let sent = chunks(&bob.take_text(PEER));
    assert_eq!(bob.take_events(), [Event::Sent { session, message_id: "m1m1".into() }]);
    bob.receive(&answer(&sent[1].0, "202 Fine"));
    assert_eq!(bob.take_events(), []);
    bob.receive(&answer(&sent[1].0, "200 OK"));
    bob.receive(&answer(&sent[0].0, "200"));
    assert_eq!(bob.take_events(), [Event::Acknowledged { session, message_id: "m1m1".into() }]);
    assert_eq!((bob.endpoint.load().outgoing, bob.endpoint.load().transactions, bob.next), (0, 0, None));
}

//= IM M-12 test
#[test]
fn error_responses_fail_the_message_or_the_session() {
    for (line, why) in [
        ("400 Bad Request", Some(refused(400, "Bad Request"))),
        ("403 Forbidden", Some(refused(403, "Forbidden"))),
        ("408 Timeout", Some(SendFailure::NoResponse)),
        ("413", Some(refused(413, ""))),
        ("599 New", Some(refused(599, "New"))),
        // The session, and not the message, which may go again in another one.
        ("481 Gone", None),
        ("506 Busy", None),
    ] {
        let (mut bob, session) = Bob::bound();
        bob.send(session, text("m1m1", "hi"));
        bob.send(session, text("m2m2", "ho"));
        let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
        bob.take_events();
        bob.receive(&answer(&tid, line));
        let message_alone = why.is_some();
        let expected = why.map_or_else(
            || {
                let status = line[..3].parse().expect("a status");
                let unsent = vec![text("m1m1", "hi"), text("m2m2", "ho")];
                Event::SessionFailed { session, why: SessionFailure::Refused(status), unsent }
            },
            |why| failed(session, "m1m1", why),
        );
        assert_eq!(bob.take_events(), [expected], "{line}");
        assert_eq!(bob.endpoint.load().sessions, usize::from(message_alone));
    }
}

//= IM M-12 test
#[test]
fn a_413_stops_the_message() {
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 14_000 });
    bob.send(session, text("m1m1", &"x".repeat(100_000)));
    let sent = chunks(&bob.take_text(PEER));
    assert_eq!(sent.len(), 1);
    bob.receive(&answer(&sent[0].0, "413 Enough"));
    assert_eq!(bob.take_events(), [failed(session, "m1m1", refused(413, "Enough"))]);
    bob.input(Input::Writable { connection: PEER, room: 1 << 20 });
    assert_eq!(bob.take_text(PEER), "");
}

//= IM M-12 test
#[test]
fn a_media_type_that_got_415_is_not_sent_again() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "hi"));
    let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(
        session,
        text("m2m2", "ho").with(|message| message.content_type = "Text/PLAIN;charset=utf-8".into()),
    );
    bob.send(session, text("m3m3", "ha").with(|message| message.content_type = "message/cpim".into()));
    bob.take_events();
    bob.receive(&answer(&tid, "415 No"));
    let events = bob.take_events();
    let back = |event: &Event| match event {
        Event::TypeRefused { message, control: false, .. } => Some(message.message_id.clone()),
        _ => None,
    };
    // RFC 4975 10.6: each is handed back, to be sent in another form.
    assert_eq!(events.iter().filter_map(back).collect::<Vec<_>>(), ["m1m1", "m2m2"]);
    let failures: Vec<_> = events.into_iter().filter(|event| back(event).is_none()).collect();
    assert_eq!(
        failures,
        [failed(session, "m2m2", refused(415, "No")), failed(session, "m1m1", refused(415, "No"))]
    );
    let now = bob.now;
    assert_eq!(bob.endpoint.send(now, session, text("m4m4", "x")), Err(SendError::RefusedContentType));
    bob.input(Input::Writable { connection: PEER, room: 9999 });
    assert!(bob.take_text(PEER).contains("\r\n\r\nha\r\n"));
}

//= IM M-7 test
#[test]
fn a_message_without_response_fails_after_30_s() {
    let (mut bob, session) = Bob::bound();
    bob.wait(SECOND);
    bob.send(session, text("m1m1", "hi"));
    bob.send(session, text("m2m2", "hi").with(|message| message.failure_report = FailureReport::Partial));
    bob.send(session, text("m3m3", "hi").with(|message| message.failure_report = FailureReport::No));
    let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
    bob.take_events();
    assert_eq!((bob.endpoint.load().outgoing, bob.endpoint.load().transactions), (2, 2));
    bob.wait(SECOND);
    // The peer lives: it sends something, but no response.
    bob.receive(&send("ping", &["Message-ID: ping"], None, '$'));
    bob.wait(Duration::from_millis(28_999));
    assert_eq!(bob.take_events(), []);
    bob.wait(Duration::from_millis(1));
    assert_eq!(bob.take_events(), [failed(session, "m1m1", SendFailure::NoResponse)]);
    assert_eq!((bob.endpoint.load().outgoing, bob.next), (0, None));
    // A response that comes too late is ignored.
    bob.receive(&answer(&tid, "200 OK"));
    assert_eq!(bob.take_events(), []);
}

//= IM M-7 test
#[test]
fn a_peer_that_says_nothing_at_all_fails_the_session() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "hi"));
    bob.take_events();
    bob.wait(30 * SECOND);
    let why = SessionFailure::Unresponsive;
    assert_eq!(
        bob.take_events(),
        [
            failed(session, "m1m1", SendFailure::NoResponse),
            Event::SessionFailed { session, why, unsent: vec![] }
        ]
    );
    assert_eq!(bob.outputs, [Output::Close { connection: PEER }]);
}

//= IM M-2 test
#[test]
fn what_nobody_acknowledged_is_handed_back_whole_when_the_connection_breaks_or_on_demand() {
    for breaks in [true, false] {
        let (mut bob, session) = Bob::bound();
        let long = "x".repeat(100_000);
        let messages =
            [text("m0m0", "known"), text("m1m1", "left"), text("m2m2", &long), text("m3m3", "queued")];
        for message in &messages {
            bob.send(session, message.clone());
        }
        let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
        bob.receive(&answer(&tid, "200 OK"));
        bob.take_events();
        let unsent = if breaks {
            bob.input(Input::Closed { connection: PEER });
            let Some(Event::SessionFailed { why: SessionFailure::Disconnected, unsent, .. }) =
                bob.take_events().pop()
            else {
                panic!("the session has failed")
            };
            unsent
        } else {
            let now = bob.now;
            bob.endpoint.withdraw(now, session)
        };
        assert_eq!(unsent, messages[1..]);
        assert_eq!((bob.take_events(), bob.endpoint.load().outgoing), (vec![], 0));
    }
}

//= IM M-8 test
#[test]
fn success_reports_add_up() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "0123456789").with(|message| message.success_report = true));
    let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
    bob.take_events();
    let report = |range: &str, status: &str| {
        frame("repo", "REPORT", &["Message-ID: m1m1", &format!("Byte-Range: {range}"), status], None, '$')
    };
    bob.receive(&report("6-10/10", "Status: 000 200 OK"));
    bob.receive(&answer(&tid, "200 OK"));
    bob.receive(&report("1-10/10", "Status: 001 200 Something else"));
    assert_eq!(bob.take_events(), [Event::Acknowledged { session, message_id: "m1m1".into() }]);
    bob.receive(&report("1-5/10", "Status: 000 200"));
    assert_eq!(bob.take_events(), [Event::Reported { session, message_id: "m1m1".into() }]);
    assert_eq!(bob.endpoint.load().outgoing, 0);
    // Nobody answers REPORTs, nor minds those that belong to nothing.
    bob.receive(&report("1-10/10", "Status: 000 200 OK").repeat(100));
    assert_eq!((bob.take_text(PEER), bob.take_events()), (String::new(), vec![]));
}

//= IM M-9 test
#[test]
fn failure_reports_fail_the_message_or_the_session() {
    let lost = |status, unsent| (SessionFailure::Refused(status), unsent);
    for (rows, why, session_too) in [
        (vec!["Status: 000 413 Enough", "Byte-Range: 1-2/2"], Some(refused(413, "Enough")), None),
        (vec!["Status: 000 408 Timeout"], Some(SendFailure::NoResponse), None),
        (
            vec!["Status: 000 408 Timeout", "Byte-Range: 1-2/2"],
            Some(SendFailure::NoResponse),
            Some(lost(408, vec![])),
        ),
        (vec!["Status: 000 481 Gone", "Byte-Range: 1-2/2"], None, Some(lost(481, vec![text("m1m1", "hi")]))),
    ] {
        let (mut bob, session) = Bob::bound();
        bob.send(session, text("m1m1", "hi"));
        let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
        bob.take_events();
        let mut lines = vec!["Message-ID: m1m1"];
        lines.extend(&rows);
        bob.receive(&frame("repo", "REPORT", &lines, None, '$'));
        let told = why.map(|why| failed(session, "m1m1", why));
        let ended = session_too.map(|(why, unsent)| Event::SessionFailed { session, why, unsent });
        let expected: Vec<_> = told.into_iter().chain(ended).collect();
        assert_eq!(bob.take_events(), expected, "{rows:?}");
        bob.receive(&answer(&tid, "200 OK"));
        assert_eq!((bob.take_events(), bob.take_text(PEER)), (vec![], String::new()));
    }
}

//= IM M-17 test
#[test]
fn the_window_bounds_what_is_not_acknowledged() {
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: usize::MAX });
    bob.send(session, text("m1m1", &"x".repeat(1_000_000)));
    let sent = chunks(&bob.take_text(PEER));
    let octets: usize = sent.iter().map(|chunk| chunk.2).sum();
    assert!(octets <= 256 * 1024 && octets > 200 * 1024, "{octets}");
    // The owner is told how far it is.
    bob.receive(&answer(&sent[0].0, "200 OK"));
    assert_eq!(chunks(&bob.take_text(PEER)).len(), 1);
    bob.receive(&sent[1..5].iter().map(|chunk| answer(&chunk.0, "200 OK")).collect::<String>());
    assert_eq!(chunks(&bob.take_text(PEER)).len(), 4);
    let events = bob.take_events();
    assert!(matches!(events[..], [Event::Progress { total: 1_000_000, .. }]), "{events:?}");
    // Who wants no responses is bounded by the room alone.
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: usize::MAX });
    let body = Source::Inline(vec![b'x'; 1_000_000]);
    bob.send(
        session,
        text("m1m1", "").with(|message| {
            message.failure_report = FailureReport::No;
            message.body = body;
        }),
    );
    assert_eq!(chunks(&bob.take_text(PEER)).last().map(|chunk| chunk.3), Some('$'));
}

#[test]
fn nothing_leaves_without_room() {
    let (mut bob, session) = Bob::bound();
    let room = |bob: &mut Bob, room| {
        bob.input(Input::Writable { connection: PEER, room });
        let text = bob.take_text(PEER);
        assert!(text.len() <= room, "{} octets in a room of {room}", text.len());
        chunks(&text).iter().map(|chunk| chunk.2).collect::<Vec<_>>()
    };
    room(&mut bob, 0);
    bob.send(session, text("m1m1", &"x".repeat(10_000)));
    bob.send(session, text("m2m2", &"x".repeat(10_000)));
    assert_eq!(bob.take_text(PEER), "");
    assert!(room(&mut bob, 3000).is_empty());
    // What fits is not cut, and what would fit a fresh room waits for it.
    assert_eq!(room(&mut bob, 16 * 1024), [10_000]);
    // A room that can never hold it is used as it is, in pieces of 2048 octets or more.
    let cut = room(&mut bob, 6000);
    assert!(cut.len() == 1 && (2048..6000).contains(&cut[0]), "{cut:?}");
    assert_eq!(room(&mut bob, 16 * 1024), [10_000 - cut[0]]);
}

//= IM M-4 test
//= IM M-15 test
#[test]
fn sessions_take_turns_and_responses_come_first() {
    let (mut bob, one) = Bob::bound();
    let two = bob.open(spec(Role::Passive).with(|spec| {
        spec.local = MsrpUri::parse("msrp://192.0.2.2:8888/second;tcp").expect("a URI");
        spec.remote.path = MsrpPath::parse("msrp://192.0.2.1:7777/second;tcp").expect("a path");
    }));
    let second = |text: String| text.replace("9di4eae923wzd", "second").replace("iau39soe2843z", "second");
    bob.receive(&second(send("bind", &["Message-ID: hello"], None, '$')));
    bob.take_text(PEER);
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(one, text("file", &"x".repeat(100_000)));
    bob.send(two, text("chat", "hi"));
    bob.input(Input::Writable { connection: PEER, room: 12_700 });
    let first = bob.take_text(PEER);
    assert!(first.contains("Message-ID: file"), "the file was first");
    bob.input(Input::Received {
        connection: PEER,
        bytes: send("ping", &["Message-ID: p"], None, '$').as_bytes(),
    });
    assert_eq!(bob.take_text(PEER), response("ping", "200 OK"), "a response needs no room");
    bob.input(Input::Writable { connection: PEER, room: 14_000 });
    let next = bob.take_text(PEER);
    let order: Vec<_> = next.lines().filter_map(|line| line.strip_prefix("Message-ID: ")).collect();
    assert_eq!(order, ["chat", "file"]);
    assert!(next.contains("Byte-Range: 12289-*/100000"), "and the file goes on at its next octet");
}

#[test]
fn a_fetched_body_needs_little_memory() {
    let (mut bob, session) = Bob::bound();
    let size = 3_000_000_u64;
    let source = SourceId(5);
    let body = Source::Fetched { source, size, head: Vec::new() };
    bob.input(Input::Writable { connection: PEER, room: 200_000 });
    bob.send(
        session,
        text("file", "").with(|message| {
            message.body = body;
            message.failure_report = FailureReport::No;
        }),
    );
    let (mut received, mut most) = (Vec::new(), 0);
    loop {
        let asked = bob.outputs.iter().find_map(|output| match output {
            Output::Fetch { source: SourceId(5), offset, length } => Some((*offset, *length)),
            _ => None,
        });
        bob.outputs.retain(|output| !matches!(output, Output::Fetch { .. }));
        if let Some((offset, length)) = asked {
            let bytes: Vec<u8> = (offset..offset + length as u64).map(|at| b'a' + (at % 23) as u8).collect();
            bob.input(Input::Fetched { source, offset, bytes: &bytes });
        }
        bob.input(Input::Writable { connection: PEER, room: 200_000 });
        let text = bob.take_text(PEER);
        for frame in text.split("Content-Type: text/plain\r\n\r\n").skip(1) {
            received.extend_from_slice(frame.split("\r\n-------").next().unwrap_or("").as_bytes());
        }
        most = most.max(bob.endpoint.load().octets);
        if bob.take_events().contains(&Event::Sent { session, message_id: "file".into() }) {
            break;
        }
        assert!(received.len() < 4_000_000);
    }
    assert!(received == (0..size).map(|at| b'a' + (at % 23) as u8).collect::<Vec<_>>());
    assert!(most <= 160 * 1024, "{most}");
    assert_eq!(bob.endpoint.load().outgoing, 0);
}

#[test]
fn what_waits_behind_a_source_that_cannot_be_read_leaves() {
    let (mut bob, session) = Bob::bound();
    let source = SourceId(5);
    let body = Source::Fetched { source, size: 100_000, head: Vec::new() };
    bob.send(session, text("file", "").with(|message| message.body = body));
    bob.send(session, text("next", "hello"));
    assert_eq!(bob.take_text(PEER), "");
    bob.input(Input::Fetched { source, offset: 0, bytes: &[] });
    let sent = bob.take_text(PEER);
    assert!(sent.contains("Message-ID: next") && sent.contains("hello"), "{sent}");
}

#[test]
fn a_source_that_cannot_be_read_fails_the_message() {
    let (mut bob, session) = Bob::bound();
    let source = SourceId(5);
    bob.send(
        session,
        text("file", "")
            .with(|message| message.body = Source::Fetched { source, size: 100_000, head: Vec::new() }),
    );
    bob.input(Input::Fetched { source, offset: 0, bytes: &[b'x'; 20_000] });
    assert_eq!(chunks(&bob.take_text(PEER)).len(), 1);
    bob.input(Input::Fetched { source, offset: 20_000, bytes: &[] });
    assert_eq!(bob.take_events(), [failed(session, "file", SendFailure::Unreadable)]);
    let sent = chunks(&bob.take_text(PEER));
    assert_eq!((sent[0].1.as_str(), sent[0].3), ("1-0/100000", '#'));
}

//= IM M-5 test
#[test]
fn an_aborted_message_ends_with_a_hash() {
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 14_000 });
    bob.send(session, text("m1m1", &"x".repeat(30_000)));
    bob.send(session, text("m2m2", "ho"));
    bob.take_text(PEER);
    for id in ["m2m2", "m1m1", "none"] {
        let now = bob.now;
        bob.endpoint.abort(now, session, id);
        bob.drain();
    }
    let why = SendFailure::Aborted;
    assert_eq!(bob.take_events(), [failed(session, "m2m2", why.clone()), failed(session, "m1m1", why)]);
    let sent = chunks(&bob.take_text(PEER));
    assert_eq!(sent.len(), 1, "of m2m2 nothing had left");
    assert_eq!((sent[0].1.as_str(), sent[0].2, sent[0].3), ("1-0/30000", 0, '#'));
}

//= IM M-2 test
#[test]
fn send_says_what_it_does_not_take() {
    let (mut bob, session) = Bob::bound_with(Limits::default().with(|limits| limits.queued_messages = 2));
    let now = bob.now;
    bob.input(Input::Writable { connection: PEER, room: 0 });
    let mut send = |session, message| bob.endpoint.send(now, session, message);
    assert_eq!(send(SessionId(99), text("m1m1", "")), Err(SendError::UnknownSession));
    assert_eq!(send(session, text("m1", "")), Err(SendError::BadMessageId));
    assert_eq!(send(session, text("m1\r\nX: y", "")), Err(SendError::BadMessageId));
    let typed =
        |content_type: &str| text("m1m1", "").with(|message| message.content_type = content_type.into());
    assert_eq!(send(session, typed("text")), Err(SendError::BadContentType));
    assert_eq!(send(session, typed("text/plain\r\n\r\nx")), Err(SendError::BadContentType));
    assert_eq!(send(session, text("m1m1", "")), Ok(()));
    assert_eq!(send(session, text("m1m1", "")), Err(SendError::DuplicateMessageId));
    assert_eq!(send(session, text("m2m2", "")), Ok(()));
    assert_eq!(send(session, text("m3m3", "")), Err(SendError::QueueFull));

    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Passive).with(|spec| spec.remote.max_size = Some(3)));
    assert_eq!(bob.endpoint.send(now, session, text("m1m1", "four")), Err(SendError::TooLarge(3)));
}

#[test]
fn closing_fails_what_is_not_acknowledged() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "hi"));
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(session, text("m2m2", "ho"));
    bob.take_text(PEER);
    bob.take_events();
    let now = bob.now;
    bob.endpoint.close(now, session);
    bob.drain();
    let why = SendFailure::SessionEnded;
    assert_eq!(bob.take_events(), [failed(session, "m1m1", why.clone()), failed(session, "m2m2", why)]);
    assert_eq!(bob.outputs, [Output::Close { connection: PEER }]);
    assert_eq!(bob.endpoint.send(now, session, text("m3m3", "x")), Err(SendError::UnknownSession));
    bob.wait(60 * SECOND);
    assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
}

//= IM M-10 test
#[test]
fn keeping_alive_sends_a_message_or_nothing_to_be_shown() {
    let (mut bob, session) = Bob::bound();
    let now = bob.now;
    bob.endpoint.keep_alive(now, session);
    bob.drain();
    let sent = chunks(&bob.take_text(PEER));
    assert_eq!((sent.len(), sent[0].1.as_str(), sent[0].3), (1, "1-0/0", '$'));
    bob.receive(&answer(&sent[0].0, "200 OK"));
    assert_eq!((bob.take_events(), bob.next), (vec![], None));
    bob.endpoint.send(now, session, text("m1m1", "hi")).expect("it is taken");
    bob.endpoint.keep_alive(now, session);
    bob.drain();
    assert_eq!(frames(&bob.take_text(PEER)).len(), 1);
}

//= IM X-24 test
#[test]
fn responses_to_nothing_are_ignored() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "hi"));
    let (tid, ..) = chunks(&bob.take_text(PEER)).remove(0);
    bob.take_events();
    bob.connect(parlour_msrp::ConnectionId(2));
    bob.receive_on(parlour_msrp::ConnectionId(2), &answer(&tid, "200 OK"));
    bob.receive(&answer("nope", "481 Gone"));
    assert_eq!((bob.take_events(), bob.outputs.len()), (vec![], 0));
    bob.receive(&answer(&tid, "200 OK"));
    assert_eq!(bob.take_events(), [Event::Acknowledged { session, message_id: "m1m1".into() }]);
}
