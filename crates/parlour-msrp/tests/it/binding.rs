//! M-10, M-11, M-15, X-21, D-17: sessions and connections.

use std::time::Duration;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    ConnectionId, Event, Input, Matching, Output, Remote, Role, SendError, SessionFailure, SessionId,
    SessionSpec, Trust, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, answer, chunk, frame, frames, response, send, spec, text};

const SECOND: Duration = Duration::from_secs(1);

fn connect_of(bob: &mut Bob) -> ConnectionId {
    match bob.outputs.pop() {
        Some(Output::Connect { connection, .. }) => connection,
        other => panic!("no connection is asked for: {other:?}"),
    }
}

//= IM M-10 test
//= IM D-14 test
#[test]
fn the_active_side_sends_at_once_even_if_it_has_nothing_to_say() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Active));
    let connection = connect_of(&mut bob);
    let peer = "192.0.2.1:7777".parse().expect("an address");
    bob.input(Input::Connected { connection, peer, tls: None });
    assert_eq!(bob.take_events(), [Event::Bound { session }]);
    let text = bob.take_text(connection);
    let (tid, start) = frames(&text).pop().expect("a frame");
    assert_eq!(start, "SEND");
    let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).expect("a Message-ID");
    assert_eq!(
        text,
        format!(
            "MSRP {tid} SEND\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\nMessage-ID: {id}\r\nByte-Range: 1-0/0\r\n\
             -------{tid}$\r\n"
        )
    );
    bob.receive_on(connection, &answer(&tid, "200 OK"));
    assert_eq!((bob.take_events(), bob.next), (vec![], None));
}

//= IM M-15 test
#[test]
fn a_session_id_is_one_sessions_alone() {
    let (mut bob, first) = Bob::bound();
    let ways: [fn(&mut Bob, SessionSpec) -> SessionId; 2] =
        [|bob, spec| bob.open(spec), |bob, spec| bob.endpoint.expect(bob.now, spec)];
    for way in ways {
        let second = way(&mut bob, spec(Role::Active));
        bob.drain();
        let failed = Event::SessionFailed { session: second, why: SessionFailure::Taken, unsent: vec![] };
        assert_eq!(bob.take_events(), [failed]);
        assert_eq!(bob.outputs, [], "nothing is connected to");
    }
    // The first one is reached as before.
    bob.receive(&chunk("t200", "m1m1", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_message().1, "hi");
    // When it is over, its session-id is nobody's.
    bob.endpoint.close(bob.now, first);
    bob.drain();
    bob.take_events();
    bob.open(spec(Role::Passive));
    assert_eq!(bob.take_events(), []);
}

//= IM M-10 test
#[test]
fn the_first_message_binds_if_there_is_one() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Active));
    let connection = connect_of(&mut bob);
    bob.send(session, text("m1m1", "hi"));
    assert_eq!(bob.take_text(connection), "");
    bob.connect(connection);
    let text = bob.take_text(connection);
    assert_eq!(frames(&text).len(), 1);
    assert!(text.contains("\r\n\r\nhi\r\n"), "{text}");
}

//= IM M-10 test
#[test]
fn the_passive_side_waits_for_the_binding_send() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Passive));
    bob.send(session, text("m1m1", "hi"));
    bob.connect(PEER);
    assert_eq!(bob.take_text(PEER), "");
    bob.receive(&send("bind", &["Message-ID: hello"], None, '$'));
    let text = bob.take_text(PEER);
    assert!(text.starts_with(&response("bind", "200 OK")) && text.contains("\r\n\r\nhi\r\n"), "{text}");
    // Nothing but the binding is told: a SEND without a body is no message.
    assert_eq!(
        bob.take_events(),
        [Event::Bound { session }, Event::Sent { session, message_id: "m1m1".into() }]
    );
}

//= IM M-11 test
//= IM M-13 test
#[test]
fn a_request_for_no_session_gets_481() {
    let (mut bob, session) = Bob::bound();
    let other = "msrp://192.0.2.2:8888/other;tcp";
    for text in [
        chunk("t481", "m1m1", "1-2/2", "hi", '$').replace(BOB, other),
        chunk("t481", "m1m1", "1-2/2", "hi", '$').replace(ALICE, "msrp://192.0.2.1:7777/other;tcp"),
        chunk("t481", "m1m1", "1-2/2", "hi", '$').replace(BOB, &format!("{BOB} {other}")),
    ] {
        bob.receive(&text);
        let answer = bob.take_text(PEER);
        assert_eq!(frames(&answer), [("t481".to_owned(), "481 No Such Session".to_owned())], "{text}");
        assert_eq!(bob.take_explained(), ["M-11"]);
        assert_eq!(bob.take_events(), []);
    }
    // Twice the same URI is a known quirk.
    bob.receive(&chunk("t200", "m1m1", "1-2/2", "hi", '$').replace(BOB, &format!("{BOB} {BOB}")));
    assert_eq!(bob.take_message().1, "hi");
    let _ = session;
}

//= IM M-11 test
//= IM X-21 test
#[test]
fn a_session_has_one_connection() {
    let (mut bob, _) = Bob::bound();
    let thief = ConnectionId(2);
    bob.connect(thief);
    bob.receive_on(thief, &chunk("t506", "m1m1", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_text(thief), response("t506", "506 Session In Use"));
    assert_eq!(bob.take_events(), []);
    // And the thief dies after 10 s, the session does not.
    bob.wait(10 * SECOND);
    assert_eq!(bob.outputs.pop(), Some(Output::Close { connection: thief }));
    bob.receive(&chunk("t200", "m1m1", "1-2/2", "hi", '$'));
    assert_eq!(bob.take_message().1, "hi");
}

//= IM X-21 test
#[test]
fn unbound_connections_and_sessions_end() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Passive));
    bob.connect(PEER);
    bob.wait(Duration::from_millis(9_999));
    assert_eq!(bob.outputs, []);
    bob.wait(Duration::from_millis(1));
    assert_eq!(bob.take_explained(), ["X-21"]);
    assert_eq!(std::mem::take(&mut bob.outputs), [Output::Close { connection: PEER }]);
    bob.wait(Duration::from_millis(19_999));
    assert_eq!(bob.outputs, []);
    bob.wait(Duration::from_millis(1));
    assert_eq!(
        bob.take_events(),
        [Event::SessionFailed { session, why: SessionFailure::NotBound, unsent: vec![] }]
    );
    assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
}

//= IM X-21 test
#[test]
fn another_source_address_is_told_and_let_in() {
    let mut bob = Bob::new();
    bob.open(spec(Role::Passive));
    let peer = "203.0.113.9:5".parse().expect("an address");
    bob.input(Input::Connected { connection: PEER, peer, tls: None });
    bob.receive(&send("bind", &["Message-ID: hello"], None, '$'));
    assert_eq!(bob.take_explained(), ["X-21"]);
    assert_eq!(bob.take_text(PEER), response("bind", "200 OK"));
}

//= IM D-17 test
#[test]
fn another_host_passes_by_session_id_but_not_strictly() {
    let rewritten = send("bind", &["Message-ID: hello"], None, '$')
        .replace("192.0.2.2:8888", "10.0.0.1:2855")
        .replace("192.0.2.1:7777", "nat.example.com:9");
    for (matching, status) in [(Matching::SessionId, "200 OK"), (Matching::Strict, "481 No Such Session")] {
        let mut bob = Bob::new();
        bob.open(spec(Role::Passive).with(|spec| spec.matching = matching));
        bob.connect(PEER);
        bob.receive(&rewritten);
        assert_eq!(frames(&bob.take_text(PEER)), [("bind".to_owned(), status.to_owned())]);
        let clause = if matching == Matching::Strict { "M-11" } else { "D-17" };
        assert_eq!(bob.take_explained(), [clause]);
        bob.receive(&rewritten);
        bob.take_text(PEER);
        // It is told once.
        assert!(!bob.take_explained().contains(&"D-17"));
    }
}

//= IM M-15 test
#[test]
fn sessions_to_one_device_share_our_connection() {
    let mut bob = Bob::new();
    let one = bob.open(spec(Role::Active));
    let connection = connect_of(&mut bob);
    let other = |local: &str, peer: &str| {
        spec(Role::Active).with(|spec| {
            spec.local = MsrpUri::parse(local).expect("a URI");
            spec.remote.path = MsrpPath::parse(peer).expect("a path");
        })
    };
    let two = bob.open(other("msrp://192.0.2.2:8888/second;tcp", "msrp://192.0.2.1:7777/second;tcp"));
    assert_eq!(bob.outputs, [], "no second connection");
    bob.connect(connection);
    assert_eq!(bob.take_events(), [Event::Bound { session: one }, Event::Bound { session: two }]);
    assert_eq!(frames(&bob.take_text(connection)).len(), 2, "each session sends at once");
    let three = bob.open(other("msrp://192.0.2.2:8888/third;tcp", "msrp://192.0.2.1:7777/third;tcp"));
    assert_eq!(bob.take_events(), [Event::Bound { session: three }]);
    assert_eq!(frames(&bob.take_text(connection)).len(), 1);
    for (local, peer) in [
        ("msrp://192.0.2.2:8888/a;tcp", "msrp://192.0.2.1:7778/a;tcp"),
        ("msrp://192.0.2.2:8888/b;tcp", "msrp://192.0.2.3:7777/b;tcp"),
        ("msrps://192.0.2.2:8888/c;tcp", "msrps://192.0.2.1:7777/c;tcp"),
    ] {
        bob.open(other(local, peer));
        assert_ne!(connect_of(&mut bob), connection, "{peer}");
    }
    // It closes with the last of its sessions.
    let now = bob.now;
    for (session, closed) in [(one, false), (three, false), (two, true)] {
        bob.endpoint.close(now, session);
        bob.drain();
        assert_eq!(bob.outputs.contains(&Output::Close { connection }), closed);
    }
    assert_eq!(bob.take_events(), []);
}

//= IM M-16 test
#[test]
fn a_connection_that_cannot_be_made_fails_its_sessions() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Active));
    let connection = connect_of(&mut bob);
    bob.send(session, text("m1m1", "hi"));
    bob.input(Input::Closed { connection });
    assert_eq!(
        bob.take_events(),
        [Event::SessionFailed {
            session,
            why: SessionFailure::ConnectFailed,
            unsent: vec![text("m1m1", "hi")]
        }]
    );
    assert_eq!((bob.outputs.len(), bob.endpoint.load()), (0, parlour_msrp::Load::default()));
}

#[test]
fn a_session_closed_while_connecting_closes_the_connection() {
    let mut bob = Bob::new();
    let session = bob.open(spec(Role::Active));
    let connection = connect_of(&mut bob);
    let now = bob.now;
    bob.endpoint.close(now, session);
    bob.drain();
    assert_eq!(std::mem::take(&mut bob.outputs), [Output::Close { connection }]);
    let peer = "192.0.2.1:7777".parse().expect("an address");
    bob.input(Input::Connected { connection, peer, tls: None });
    assert_eq!(bob.outputs, [Output::Close { connection }]);
    assert_eq!(bob.take_text(connection), "");
}

#[test]
fn only_a_send_binds() {
    let mut bob = Bob::new();
    bob.open(spec(Role::Passive));
    bob.connect(PEER);
    bob.receive(&frame("nick", "NICKNAME", &[], None, '$'));
    assert_eq!(bob.take_text(PEER), response("nick", "481 No Such Session"));
    bob.receive(&frame("repo", "REPORT", &["Message-ID: m1m1", "Status: 000 200 OK"], None, '$'));
    assert_eq!((bob.take_text(PEER), bob.take_events()), (String::new(), vec![]));
}

/// An offer is out: Alice comes before her answer does.
fn expecting() -> (Bob, SessionId) {
    let mut bob = Bob::new();
    let nobody = MsrpPath::parse(BOB).expect("a path");
    let session = bob.endpoint.expect(bob.now, spec(Role::Active).with(|spec| spec.remote.path = nobody));
    bob.connect(PEER);
    bob.receive(&send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$'));
    assert_eq!(bob.take_text(PEER), response("bind", "200 OK"));
    assert_eq!(bob.take_events(), [Event::Bound { session }]);
    (bob, session)
}

//= IM M-11 test
#[test]
fn a_peer_may_come_before_its_answer() {
    let (mut bob, session) = expecting();
    let alice = MsrpPath::parse(ALICE).expect("a path");
    let alice = Remote::new(alice, Role::Passive).with(|remote| remote.max_size = Some(10));
    bob.endpoint.agree(bob.now, session, alice);
    bob.drain();
    assert_eq!(bob.take_events(), []);
    bob.receive(&chunk("t200", "m1m1", "1-2/2", "hi", '$'));
    let (receipt, message) = bob.take_message();
    assert_eq!(message, "hi");
    bob.settle(receipt, Verdict::Accepted);
    let large = bob.endpoint.send(bob.now, session, text("m2m2", "eleven octets"));
    assert_eq!(large, Err(SendError::TooLarge(10)));
    bob.endpoint.close(bob.now, session);
    bob.drain();
    assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
}

//= IM X-21 test
#[test]
fn whoever_came_must_be_the_one_of_the_answer() {
    let (mut bob, session) = expecting();
    let other = MsrpPath::parse("msrp://192.0.2.3:7777/someoneelse;tcp").expect("a path");
    bob.endpoint.agree(bob.now, session, Remote::new(other, Role::Passive));
    bob.drain();
    assert_eq!(
        bob.take_events(),
        [Event::SessionFailed { session, why: SessionFailure::Refused(481), unsent: vec![] }]
    );
    assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
}

//= IM M-10 test
#[test]
fn an_answer_may_leave_the_connecting_to_us() {
    let mut bob = Bob::new();
    let alice = MsrpPath::parse(ALICE).expect("a path");
    let session =
        bob.endpoint.expect(bob.now, spec(Role::Passive).with(|spec| spec.remote.path = alice.clone()));
    bob.endpoint.agree(bob.now, session, Remote::new(alice, Role::Active));
    bob.drain();
    let connection = connect_of(&mut bob);
    bob.connect(connection);
    assert_eq!(bob.take_events(), [Event::Bound { session }]);
    assert!(bob.take_text(connection).contains("Byte-Range: 1-0/0\r\n"));
}

/// A session over TLS with a peer that has to show one of these names.
fn secure(role: Role, names: &[&str]) -> SessionSpec {
    let trust = Trust::OneOf(names.iter().map(|name| (*name).into()).collect());
    spec(role).with(|spec| {
        spec.local = MsrpUri::parse(&securely(BOB)).expect("a URI");
        spec.remote.path = MsrpPath::parse(&securely(ALICE)).expect("a path");
        spec.remote.trust = trust;
    })
}

fn securely(frame: &str) -> String {
    frame.replace("msrp:", "msrps:")
}

/// A connection whose other end has shown these names in TLS; none without it.
fn connect_showing(bob: &mut Bob, connection: ConnectionId, names: Option<&[&str]>) {
    let peer = "192.0.2.1:7777".parse().expect("an address");
    let tls = names.map(|names| names.iter().map(|name| (*name).into()).collect());
    bob.input(Input::Connected { connection, peer, tls });
}

//= IM D-20 test
#[test]
fn a_passive_session_over_tls_is_bound_to_its_peer_alone() {
    let bind = securely(&send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$'));
    let mut bob = Bob::new();
    let session = bob.open(secure(Role::Passive, &["name a", "name b"]));
    connect_showing(&mut bob, PEER, Some(&["x", "name b"]));
    bob.receive(&bind);
    assert_eq!(bob.take_events(), [Event::Bound { session }]);
    assert_eq!(bob.endpoint.connection_of(session), Some(PEER));
    for shown in [&["name c"][..], &[]] {
        let mut bob = Bob::new();
        let session = bob.open(secure(Role::Passive, &["name a", "name b"]));
        connect_showing(&mut bob, PEER, Some(shown));
        bob.receive(&bind);
        assert_eq!(bob.take_explained(), ["D-20"]);
        let failed = Event::SessionFailed { session, why: SessionFailure::Untrusted, unsent: vec![] };
        let untrusted = Event::Untrusted { session, connection: PEER };
        assert_eq!(bob.take_events(), [untrusted, failed], "{shown:?}");
        assert_eq!(bob.outputs, [Output::Close { connection: PEER }]);
        assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
    }
}

//= IM D-20 test
#[test]
fn a_session_over_tls_is_not_bound_to_a_plain_connection_and_goes_on_waiting() {
    let bind = securely(&send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$'));
    let mut bob = Bob::new();
    let session = bob.open(secure(Role::Passive, &[]).with(|spec| spec.remote.trust = Trust::Anyone));
    connect_showing(&mut bob, ConnectionId(7), None);
    bob.receive_on(ConnectionId(7), &bind);
    assert_eq!(frames(&bob.take_text(ConnectionId(7))), [("bind".into(), "403 Forbidden".into())]);
    assert_eq!((bob.take_explained(), bob.take_events()), (vec!["D-20"], vec![]));
    connect_showing(&mut bob, PEER, Some(&[]));
    bob.receive(&bind);
    assert_eq!(bob.take_events(), [Event::Bound { session }]);
}

//= IM D-20 test
#[test]
fn an_active_session_says_nothing_to_a_stranger() {
    let mut bob = Bob::new();
    let session = bob.open(secure(Role::Active, &["name a"]));
    let connection = connect_of(&mut bob);
    bob.endpoint.send(bob.now, session, text("m1m1", "secret")).expect("it is taken");
    connect_showing(&mut bob, connection, Some(&["name b"]));
    assert_eq!(bob.take_text(connection), "");
    let events = bob.take_events();
    assert!(
        matches!(&events[..], [Event::Untrusted { .. }, Event::SessionFailed { unsent, .. }] if unsent.len() == 1),
        "{events:?}"
    );
    assert_eq!(bob.outputs, [Output::Close { connection }]);
}

//= IM D-20 test
#[test]
fn a_connection_is_shared_only_with_who_is_to_be_there() {
    let other = |names: &[&str]| {
        secure(Role::Active, names).with(|spec| {
            spec.local = MsrpUri::parse("msrps://192.0.2.2:8888/second;tcp").expect("a URI");
            spec.remote.path = MsrpPath::parse("msrps://192.0.2.1:7777/second;tcp").expect("a path");
        })
    };
    for (names, shared) in [(&["name a"][..], true), (&["name b"], false)] {
        let mut bob = Bob::new();
        bob.open(secure(Role::Active, &["name a"]));
        let connection = connect_of(&mut bob);
        connect_showing(&mut bob, connection, Some(&["name a"]));
        bob.take_events();
        bob.outputs.clear();
        bob.open(other(names));
        let asked = bob.outputs.iter().any(|output| matches!(output, Output::Connect { .. }));
        assert_eq!(asked, !shared, "{names:?}");
    }
}

//= IM D-20 test
#[test]
fn whoever_came_before_the_answer_must_have_shown_its_fingerprint() {
    for (shown, fails) in [("name a", false), ("name b", true)] {
        let mut bob = Bob::new();
        let session = bob.endpoint.expect(bob.now, secure(Role::Active, &["name a"]));
        connect_showing(&mut bob, PEER, Some(&[shown]));
        bob.receive(&securely(&send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$')));
        assert_eq!((bob.take_events(), bob.endpoint.is_proven(session)), (vec![], false));
        bob.endpoint.agree(bob.now, session, secure(Role::Passive, &["name a"]).remote);
        bob.drain();
        let failed = Event::SessionFailed { session, why: SessionFailure::Untrusted, unsent: vec![] };
        let untrusted = Event::Untrusted { session, connection: PEER };
        assert_eq!(
            bob.take_events(),
            if fails { vec![untrusted, failed] } else { vec![Event::Bound { session }] }
        );
    }
}

//= IM D-15 test
#[test]
fn an_active_end_connects_to_the_hop_and_still_speaks_to_the_path() {
    let mut bob = Bob::new();
    let hop = MsrpUri::parse("msrp://203.0.113.1:9000/x;tcp").expect("a URI");
    bob.open(spec(Role::Active).with(|spec| spec.remote.hop = Some(hop.clone())));
    let Some(Output::Connect { connection, to, .. }) = bob.outputs.pop() else { panic!("it connects") };
    assert_eq!(to, hop);
    bob.connect(connection);
    assert!(bob.take_text(connection).contains(&format!("To-Path: {ALICE}\r\n")));
    // RFC 6714 6.3: whoever is there passes what comes on to one peer, so another session has a connection of its own. And
    // so has one whose path leads there.
    for (number, hop) in [(1, Some(hop.clone())), (2, None)] {
        let path = if hop.is_some() { ALICE } else { "msrp://203.0.113.1:9000/y;tcp" };
        bob.open(spec(Role::Active).with(|spec| {
            spec.local = MsrpUri::parse(&format!("msrp://192.0.2.2:8888/own{number};tcp")).expect("a URI");
            spec.remote.path = MsrpPath::parse(path).expect("a path");
            spec.remote.hop = hop;
        }));
        assert_ne!(connect_of(&mut bob), connection);
    }
}

//= IM D-20 test
#[test]
fn an_msrps_uri_is_reached_over_tls_or_not_at_all() {
    // Whatever our own URI says: the connection that was asked for is one over TLS.
    let mut bob = Bob::new();
    bob.open(spec(Role::Active).with(|spec| {
        spec.remote.path = MsrpPath::parse(&securely(ALICE)).expect("a path");
    }));
    let connection = connect_of(&mut bob);
    connect_showing(&mut bob, connection, None);
    assert_eq!(bob.take_text(connection), "");
    assert!(matches!(bob.take_events()[..], [Event::Untrusted { .. }, Event::SessionFailed { .. }]));
}
