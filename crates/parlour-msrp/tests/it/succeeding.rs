//! Sessions that pause, that another one takes the place of, and whose peer moves (RFC 4975 5.4 and 8.4).

use std::time::Duration;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    ConnectionId, Event, FailureReport, Input, Limits, Load, Output, Remote, Role, SendError, SessionFailure,
    SessionId, Source, SourceId, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, answer, chunk, frames, response, send, spec, text};

/// Alice's second connection.
const SECOND: ConnectionId = ConnectionId(2);
const ELSEWHERE: &str = "msrp://192.0.2.9:7777/movedmovedmoved;tcp";
const BOB_AGAIN: &str = "msrp://192.0.2.2:8888/anotherofbobs;tcp";

fn path(text: &str) -> MsrpPath {
    MsrpPath::parse(text).expect("a path")
}

/// A second session, to Alice's new path, in the place of the first.
fn moving(bob: &mut Bob, old: SessionId, role: Role) -> SessionId {
    let local = MsrpUri::parse(BOB_AGAIN).expect("a URI");
    let new = bob.open(spec(role).with(|spec| {
        spec.local = local;
        spec.remote.path = path(ELSEWHERE);
    }));
    bob.endpoint.succeed(bob.now, old, new);
    bob.drain();
    new
}

fn moved(frame: &str) -> String {
    frame.replace(BOB, BOB_AGAIN).replace(ALICE, ELSEWHERE)
}

fn bind_second(bob: &mut Bob) {
    bob.connect(SECOND);
    bob.receive_on(SECOND, &moved(&send("bind2", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$')));
}

/// Message-ID and Byte-Range of each SEND.
fn sends(text: &str) -> Vec<(String, String)> {
    let value = |frame: &str, name: &str| {
        let row = frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        row.trim().to_owned()
    };
    let frames = text.split("MSRP ").filter(|frame| frame.contains(" SEND\r\n"));
    frames.map(|frame| (value(frame, "Message-ID:"), value(frame, "Byte-Range:"))).collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(id, range)| (id.to_owned(), range.to_owned())).to_vec()
}

//= IM D-54 test
#[test]
fn a_paused_session_answers_and_keeps_alive_and_says_nothing() {
    let (mut bob, session) = Bob::bound();
    bob.endpoint.pause(bob.now, session, true);
    bob.send(session, text("m1m1", "first"));
    bob.send(session, text("m2m2", "second"));
    assert_eq!(bob.take_text(PEER), "");
    bob.receive(&chunk("t200", "a1a1", "1-2/2", "hi", '$'));
    let (receipt, _) = bob.take_message();
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(bob.take_text(PEER), response("t200", "200 OK"));
    bob.endpoint.keep_alive(bob.now, session);
    bob.drain();
    let text = bob.take_text(PEER);
    assert_eq!(sends(&text).first().map(|(_, range)| range.as_str()), Some("1-0/0"), "{text}");
    bob.endpoint.pause(bob.now, session, false);
    bob.drain();
    assert_eq!(sends(&bob.take_text(PEER)), pairs([("m1m1", "1-5/5"), ("m2m2", "1-6/6")]));
}

//= IM M-40 test
#[test]
fn a_control_message_leaves_on_hold_and_between_chunks_and_is_not_told_of() {
    let (mut bob, session) = Bob::bound();
    let control = |id: &str| text(id, "typing").with(|message| message.failure_report = FailureReport::No);
    bob.endpoint.pause(bob.now, session, true);
    bob.send(session, text("m1m1", "waits"));
    bob.endpoint.send_control(bob.now, session, control("c1c1")).unwrap();
    bob.drain();
    assert_eq!(sends(&bob.take_text(PEER)), pairs([("c1c1", "1-6/6")]));
    bob.endpoint.pause(bob.now, session, false);
    bob.drain();
    assert_eq!(sends(&bob.take_text(PEER)), pairs([("m1m1", "1-5/5")]));
    // What was given to us first leaves first, unless it takes several chunks.
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(session, text("m2m2", "short"));
    bob.send(session, text("m3m3", &"x".repeat(20_000)));
    bob.endpoint.send_control(bob.now, session, control("c2c2")).unwrap();
    bob.input(Input::Writable { connection: PEER, room: 100_000 });
    let order = sends(&bob.take_text(PEER)).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(order, ["m2m2", "c2c2", "m3m3", "m3m3"]);
    let told = bob.take_events();
    assert!(!told.iter().any(|event| format!("{event:?}").contains("c1c1")), "{told:?}");
    // Nobody sends it again, and one that takes several chunks is none.
    bob.endpoint.pause(bob.now, session, true);
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.endpoint.send_control(bob.now, session, control("c3c3")).unwrap();
    let back = bob.endpoint.withdraw(bob.now, session);
    assert!(back.iter().all(|message| message.message_id != "c3c3"), "{back:?}");
    let large = control("c4c4").with(|message| message.body = Source::Inline(vec![b'x'; 12 * 1024 + 1]));
    assert_eq!(bob.endpoint.send_control(bob.now, session, large), Err(SendError::TooLarge(12 * 1024)));
}

//= IM D-54 test
#[test]
fn a_pause_falls_between_chunks_and_a_long_one_starts_the_message_again() {
    for (seconds, next) in [(5, "12289-*/30000"), (31, "1-*/30000")] {
        let (mut bob, session) = Bob::bound();
        bob.input(Input::Writable { connection: PEER, room: 13_000 });
        bob.send(session, text("m1m1", &"x".repeat(30_000)));
        let first = bob.take_text(PEER);
        assert_eq!(sends(&first), pairs([("m1m1", "1-*/30000")]));
        for (tid, _) in frames(&first) {
            bob.receive(&answer(&tid, "200 OK"));
        }
        bob.endpoint.pause(bob.now, session, true);
        bob.input(Input::Writable { connection: PEER, room: 1 << 20 });
        bob.wait(Duration::from_secs(seconds));
        assert_eq!(bob.take_text(PEER), "");
        bob.endpoint.pause(bob.now, session, false);
        bob.drain();
        let rest = sends(&bob.take_text(PEER));
        assert_eq!(rest.first(), Some(&("m1m1".to_owned(), next.to_owned())), "{rest:?}");
    }
}

#[test]
fn a_fetched_message_starts_again_with_its_first_octet() {
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 13_000 });
    let source = SourceId(5);
    let body = Source::Fetched { source, size: 20_000, head: b"head of it: ".to_vec() };
    bob.send(session, text("m1m1", "").with(|message| message.body = body));
    let asked = |bob: &mut Bob| {
        let fetches: Vec<_> = bob
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Fetch { offset, length, .. } => Some((*offset, *length)),
                _ => None,
            })
            .collect();
        bob.outputs.retain(|output| !matches!(output, Output::Fetch { .. }));
        fetches
    };
    assert_eq!(asked(&mut bob), [(0, 20_000)]);
    bob.input(Input::Fetched { source, offset: 0, bytes: &[b'x'; 15_000] });
    assert_eq!(asked(&mut bob), [(15_000, 5_000)]);
    let first = bob.take_text(PEER);
    assert_eq!(sends(&first), pairs([("m1m1", "1-*/20012")]));
    for (tid, _) in frames(&first) {
        bob.receive(&answer(&tid, "200 OK"));
    }
    bob.endpoint.pause(bob.now, session, true);
    bob.wait(Duration::from_secs(31));
    bob.endpoint.pause(bob.now, session, false);
    bob.drain();
    // What was asked for before comes late.
    bob.input(Input::Fetched { source, offset: 15_000, bytes: &[b'y'; 5_000] });
    bob.input(Input::Writable { connection: PEER, room: 1 << 20 });
    assert_eq!(asked(&mut bob), [(0, 20_000)]);
    bob.input(Input::Fetched { source, offset: 0, bytes: &[b'z'; 20_000] });
    let again = bob.take_text(PEER);
    assert_eq!(sends(&again), pairs([("m1m1", "1-*/20012"), ("m1m1", "12289-*/20012")]));
    assert!(again.contains("\r\n\r\nhead of it: zzz") && !again.contains("yyy"), "{again}");
}

//= IM D-51 test
#[test]
fn the_successor_takes_over_when_it_is_bound_and_nothing_is_out_of_order() {
    let (mut bob, old) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 13_000 });
    bob.send(old, text("m1m1", &"x".repeat(30_000)));
    bob.send(old, text("m2m2", "two"));
    assert_eq!(sends(&bob.take_text(PEER)), pairs([("m1m1", "1-*/30000")]));
    let new = moving(&mut bob, old, Role::Passive);
    bob.send(new, text("m3m3", "three"));
    // The old one still takes what its peer sends.
    bob.receive(&chunk("t200", "a1a1", "1-2/4", "he", '+'));
    assert_eq!(bob.take_text(PEER), response("t200", "200 OK"));
    assert_eq!(bob.take_events(), []);
    bind_second(&mut bob);
    assert_eq!(
        bob.take_events(),
        [Event::Bound { session: new }, Event::Succeeded { session: old, by: new }]
            .into_iter()
            .chain(["m1m1", "m2m2", "m3m3"].map(|id| Event::Sent { session: new, message_id: id.into() }))
            .collect::<Vec<_>>()
    );
    assert!(bob.outputs.contains(&Output::Close { connection: PEER }));
    let text = bob.take_text(SECOND);
    let order: Vec<_> = sends(&text).into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, ["m1m1", "m1m1", "m1m1", "m2m2", "m3m3"], "{text}");
    // The rest of what began on the old connection comes on the new one.
    bob.receive_on(SECOND, &moved(&chunk("t201", "a1a1", "3-4/4", "re", '$')));
    assert_eq!(bob.take_message().1, "here");
    bob.endpoint.close(bob.now, new);
    bob.drain();
    bob.wait(Duration::from_secs(61));
    assert_eq!((bob.endpoint.load().incoming, bob.endpoint.load().octets), (0, 0));
}

//= IM D-51 test
#[test]
fn a_chunk_that_is_cut_by_the_move_is_not_lost() {
    let (mut bob, old) = Bob::bound();
    let new = moving(&mut bob, old, Role::Passive);
    let whole = chunk("t200", "a1a1", "1-4/4", "here", '$');
    let cut = whole.find("re\r\n---").expect("its body");
    bob.receive(whole.split_at(cut).0);
    // The connection breaks before the successor is bound.
    bob.input(Input::Closed { connection: PEER });
    assert_eq!(bob.take_events(), [Event::Succeeded { session: old, by: new }]);
    bind_second(&mut bob);
    assert_eq!(bob.take_events(), [Event::Bound { session: new }]);
    bob.receive_on(SECOND, &moved(&chunk("t201", "a1a1", "3-4/4", "re", '$')));
    assert_eq!(bob.take_message().1, "here");
}

//= IM D-51 test
#[test]
fn a_spooled_message_that_moves_still_stops_a_fast_peer() {
    let limits = Limits::default().with(|limits| {
        limits.inline_body = 10;
        limits.unspooled = 2_000;
    });
    let (mut bob, old) = Bob::bound_with(limits);
    let octets = "x".repeat(1_500);
    bob.receive(&chunk("t200", "a1a1", "1-1500/6000", &octets, '+'));
    let new = moving(&mut bob, old, Role::Passive);
    bob.input(Input::Closed { connection: PEER });
    bind_second(&mut bob);
    assert!(bob.endpoint.is_bound(new));
    bob.receive_on(SECOND, &moved(&chunk("t201", "a1a1", "1501-3000/6000", &octets, '+')));
    assert!(bob.outputs.contains(&Output::Hold { connection: SECOND }));
}

//= IM D-51 test
#[test]
fn a_successor_that_fails_takes_the_old_one_along_and_hands_all_back() {
    let (mut bob, old) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(old, text("m1m1", "one"));
    let new = moving(&mut bob, old, Role::Passive);
    bob.send(new, text("m2m2", "two"));
    bob.wait(Duration::from_secs(30));
    let unsent = vec![text("m1m1", "one"), text("m2m2", "two")];
    assert_eq!(
        bob.take_events(),
        [
            Event::Succeeded { session: old, by: new },
            Event::SessionFailed { session: new, why: SessionFailure::NotBound, unsent },
        ]
    );
    assert_eq!(bob.endpoint.load(), Load::default());
}

//= IM D-51 test
#[test]
fn moves_that_follow_each_other_keep_one_old_session() {
    let (mut bob, old) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(old, text("m1m1", "one"));
    let between = moving(&mut bob, old, Role::Passive);
    bob.send(between, text("m2m2", "two"));
    let local = MsrpUri::parse("msrp://192.0.2.2:8888/thethirdofbob;tcp").expect("a URI");
    let last = bob.open(spec(Role::Passive).with(|spec| spec.local = local.clone()));
    bob.endpoint.succeed(bob.now, between, last);
    bob.drain();
    assert_eq!(bob.take_events(), [Event::Succeeded { session: between, by: last }]);
    assert_eq!(bob.endpoint.sessions(), 2);
    bob.connect(SECOND);
    let bind = send("bind3", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$');
    bob.receive_on(SECOND, &bind.replace(BOB, local.as_str()));
    assert!(bob.take_events().contains(&Event::Succeeded { session: old, by: last }));
    let order: Vec<_> = sends(&bob.take_text(SECOND)).into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, ["m1m1", "m2m2"]);
}

//= IM D-51 test
#[test]
fn a_peer_that_moves_is_awaited_at_our_own_old_path() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "one"));
    bob.take_text(PEER);
    bob.take_events();
    bob.endpoint.rejoin(bob.now, session, Remote::new(path(ELSEWHERE), Role::Passive));
    bob.drain();
    assert!(bob.outputs.contains(&Output::Close { connection: PEER }));
    bob.connect(SECOND);
    let bind = send("bind2", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$');
    bob.receive_on(SECOND, &bind.replace(ALICE, ELSEWHERE));
    assert_eq!(bob.take_events().first(), Some(&Event::Bound { session }));
    assert_eq!(sends(&bob.take_text(SECOND)), pairs([("m1m1", "1-3/3")]));
    // The timer of the first attempt harms nobody.
    bob.take_events();
    bob.wait(Duration::from_secs(29));
    assert_eq!(bob.take_events(), []);
}
