//! M-61: what a chat room is to call us, and what it says to that (RFC 7701 7).

use std::time::Duration;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{ConnectionId, Event, Input, MAX_NICKNAME, NicknameError, Role, SendFailure, SessionId};

use crate::script::{ALICE, BOB, Bob, PEER, answer, chunk, frame, frames, send, spec, text};

/// Bob asks for a name: what leaves, and the transaction identifier of it.
fn asks(bob: &mut Bob, session: SessionId, name: &str) -> (String, String) {
    bob.endpoint.nickname(bob.now, session, name).expect("it can be asked for");
    bob.drain();
    let text = bob.take_text(PEER);
    let tid = frames(&text).pop().map(|(tid, _)| tid).unwrap_or_default();
    (text, tid)
}

fn refused(session: SessionId, nickname: &str, status: u16, comment: &str) -> Event {
    let why = SendFailure::Refused { status, comment: comment.into() };
    Event::NotNamed { session, nickname: nickname.into(), why }
}

//= IM M-61 test
#[test]
fn the_request_has_one_name_and_asks_for_no_report() {
    let (mut bob, session) = Bob::bound();
    let (sent, tid) = asks(&mut bob, session, "Alice \"the\\great\" \u{e9}");
    let message_id =
        sent.lines().find_map(|line| line.strip_prefix("Message-ID: ")).expect("relays want one");
    assert_eq!(
        sent,
        format!(
            "MSRP {tid} NICKNAME\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\nMessage-ID: {message_id}\r\n\
             Use-Nickname: \"Alice \\\"the\\\\great\\\" \u{e9}\"\r\n-------{tid}$\r\n"
        )
    );
    bob.receive(&answer(&tid, "200 OK"));
    assert_eq!(bob.take_events(), [Event::Named { session, nickname: "Alice \"the\\great\" \u{e9}".into() }]);
    // RFC 7701 7.3: an empty one gives the name up.
    let (sent, tid) = asks(&mut bob, session, "");
    assert!(sent.contains("\r\nUse-Nickname: \"\"\r\n"), "{sent}");
    bob.receive(&answer(&tid, "200"));
    assert_eq!(bob.take_events(), [Event::Named { session, nickname: String::new() }]);
}

//= IM M-61 test
#[test]
fn a_refusal_is_told_and_another_name_may_be_tried() {
    let (mut bob, session) = Bob::bound();
    for (status, comment) in [
        (425, "Nickname reserved or already in use"),
        (424, "Malformed nickname"),
        (423, "Out of bounds"),
        (404, "Not found"),
        (403, "Forbidden"),
    ] {
        let (_, tid) = asks(&mut bob, session, "Bob");
        bob.receive(&answer(&tid, &format!("{status} {comment}")));
        assert_eq!(bob.take_events(), [refused(session, "Bob", status, comment)]);
    }
    // The session does not suffer.
    bob.receive(&chunk("t1t1", "m1m1", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_message().1, "hi");
}

//= IM M-61 test
//= IM M-12 test
#[test]
fn who_does_not_know_the_method_is_not_asked_again() {
    let (mut bob, session) = Bob::bound();
    let (_, tid) = asks(&mut bob, session, "Bob");
    bob.receive(&answer(&tid, "501 What"));
    assert_eq!(bob.take_events(), [refused(session, "Bob", 501, "What")]);
    assert_eq!(bob.endpoint.nickname(bob.now, session, "Robert"), Err(NicknameError::Unsupported));
    bob.drain();
    assert_eq!(bob.take_text(PEER), "");
}

//= IM M-61 test
#[test]
fn one_at_a_time_and_silence_is_a_failure_after_30_s() {
    let (mut bob, session) = Bob::bound();
    let (_, tid) = asks(&mut bob, session, "Bob");
    assert_eq!(bob.endpoint.nickname(bob.now, session, "Robert"), Err(NicknameError::Outstanding));
    bob.wait(Duration::from_millis(29_999));
    assert_eq!(bob.take_events(), []);
    // Somebody is there, so the session goes on without the name.
    bob.receive(&send("alive", &["Message-ID: alive1", "Byte-Range: 1-0/0"], None, '$'));
    bob.wait(Duration::from_millis(1));
    let why = SendFailure::NoResponse;
    assert_eq!(bob.take_events(), [Event::NotNamed { session, nickname: "Bob".into(), why }]);
    // A late answer is nobody's any more, nor is a flood of them.
    for _ in 0..1000 {
        bob.receive(&answer(&tid, "200 OK"));
    }
    assert_eq!(bob.take_events(), []);
    let (_, tid) = asks(&mut bob, session, "Bobby");
    for status in ["200 OK", "425 Taken", "200 OK"] {
        bob.receive(&answer(&tid, status));
    }
    assert_eq!(
        bob.take_events(),
        [Event::Named { session, nickname: "Bobby".into() }],
        "the first one counts"
    );
}

//= IM M-61 test
#[test]
fn what_no_room_could_take_is_not_asked_for() {
    let (mut bob, session) = Bob::bound();
    let mut nickname = |name: &str| bob.endpoint.nickname(bob.now, session, name);
    assert_eq!(nickname(&"x".repeat(MAX_NICKNAME + 1)), Err(NicknameError::TooLong));
    assert_eq!(nickname("a\r\nb"), Err(NicknameError::BadCharacter));
    assert_eq!(nickname("a\u{85}b"), Err(NicknameError::BadCharacter));
    assert_eq!(nickname(&"\"".repeat(MAX_NICKNAME)), Ok(()));
    bob.drain();
    let sent = bob.take_text(PEER);
    assert!(sent.contains(&format!("Use-Nickname: \"{}\"\r\n", "\\\"".repeat(MAX_NICKNAME))), "{sent}");
    bob.endpoint.close(bob.now, session);
    assert_eq!(bob.endpoint.nickname(bob.now, session, "Bob"), Err(NicknameError::UnknownSession));
    bob.drain();
    let [Event::NotNamed { why: SendFailure::SessionEnded, .. }] = bob.take_events()[..] else {
        panic!("the session has ended")
    };
}

//= IM M-61 test
//= IM M-10 test
#[test]
fn it_waits_for_the_session_to_be_bound_and_for_nothing_else() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Passive));
    assert_eq!(asks(&mut bob, session, "Bob").0, "");
    bob.connect(PEER);
    assert_eq!(bob.take_text(PEER), "");
    bob.receive(&send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$'));
    let sent = bob.take_text(PEER);
    let starts: Vec<_> = frames(&sent).into_iter().map(|(_, rest)| rest).collect();
    assert_eq!(starts, ["200 OK", "NICKNAME"]);
    // The active side binds first.
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Active));
    bob.endpoint.nickname(bob.now, session, "Bob").expect("it waits");
    let Some(parlour_msrp::Output::Connect { connection, .. }) = bob.outputs.first() else {
        panic!("{:?}", bob.outputs)
    };
    let connection = *connection;
    bob.connect(connection);
    let sent = bob.take_text(connection);
    let starts: Vec<_> = frames(&sent).into_iter().map(|(_, rest)| rest).collect();
    assert_eq!(starts, ["SEND", "NICKNAME"]);
    // Neither a long message nor a pause holds it up.
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 16 * 1024 });
    bob.send(session, text("m1m1", &"x".repeat(600_000)));
    assert!(bob.take_text(PEER).ends_with("+\r\n"), "the rest waits for room");
    assert!(asks(&mut bob, session, "Bob").0.contains("NICKNAME"));
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 200 });
    assert_eq!(asks(&mut bob, session, "Bob").0, "", "there is no room");
    bob.input(Input::Writable { connection: PEER, room: 16 * 1024 });
    assert!(bob.take_text(PEER).contains("NICKNAME"));
    let (mut bob, session) = Bob::bound();
    bob.endpoint.pause(bob.now, session, true);
    assert!(asks(&mut bob, session, "Bob").0.contains("NICKNAME"));
}

//= IM M-61 test
#[test]
fn another_connection_is_asked_again() {
    let (mut bob, session) = Bob::bound();
    let (_, first) = asks(&mut bob, session, "Bob");
    let peer = MsrpPath::parse(ALICE).expect("a path");
    bob.endpoint.rejoin(bob.now, session, parlour_msrp::Remote::new(peer, Role::Passive));
    bob.drain();
    let second = ConnectionId(2);
    bob.connect(second);
    bob.receive_on(second, &send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$'));
    let text = bob.take_text(second);
    let tid = frames(&text).into_iter().find(|(_, rest)| rest == "NICKNAME").expect("asked again").0;
    bob.take_events();
    bob.receive_on(second, &answer(&first, "425 Taken"));
    bob.receive_on(second, &answer(&tid, "200 OK"));
    assert_eq!(bob.take_events(), [Event::Named { session, nickname: "Bob".into() }]);
}

//= IM M-61 test
#[test]
fn a_session_that_takes_over_asks_too() {
    let (mut bob, session) = Bob::bound();
    asks(&mut bob, session, "Bob");
    let mut other = spec(Role::Passive);
    other.local = MsrpUri::parse("msrp://192.0.2.2:8888/heir5678;tcp").expect("a URI");
    let heir = bob.open(other);
    bob.endpoint.succeed(bob.now, session, heir);
    let bind = send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$');
    bob.connect(ConnectionId(2));
    bob.receive_on(ConnectionId(2), &bind.replace("9di4eae923wzd", "heir5678"));
    let text = bob.take_text(ConnectionId(2));
    let tid = frames(&text).into_iter().find(|(_, rest)| rest == "NICKNAME").expect("asked again").0;
    bob.take_events();
    bob.receive_on(ConnectionId(2), &answer(&tid, "200 OK"));
    assert_eq!(bob.take_events(), [Event::Named { session: heir, nickname: "Bob".into() }]);
}

//= IM M-13 test
#[test]
fn we_are_no_chat_room() {
    let (mut bob, _) = Bob::bound();
    bob.receive(&frame("t1t1", "NICKNAME", &["Use-Nickname: \"Alice\""], None, '$'));
    assert!(bob.take_text(PEER).starts_with("MSRP t1t1 501 "));
    assert_eq!(bob.take_explained(), ["M-61"]);
}
