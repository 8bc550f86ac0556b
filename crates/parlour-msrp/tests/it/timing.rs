//! M-7: how long a response is waited for, to the millisecond (RFC 4975 7.1.1).

use std::time::Duration;

use parlour_msrp::{Event, FailureReport, Input, SendFailure, SessionFailure, SessionId};

use crate::script::{Bob, PEER, answer, frames, send, text};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn no_response(session: SessionId, id: &str) -> Event {
    Event::Failed { session, message_id: id.into(), why: SendFailure::NoResponse }
}

fn tids(bob: &mut Bob) -> Vec<String> {
    frames(&bob.take_text(PEER)).into_iter().map(|(tid, _)| tid).collect()
}

//= IM M-7 test
#[test]
fn the_30_s_of_a_chunk_begin_when_it_leaves_and_not_when_it_is_given() {
    let (mut bob, session) = Bob::bound();
    bob.input(Input::Writable { connection: PEER, room: 0 });
    bob.send(session, text("m1m1", "hi"));
    // No room for two minutes: nothing was sent that could go unanswered.
    bob.wait(120 * SECOND);
    assert_eq!((bob.take_events(), bob.next), (vec![], None));
    bob.input(Input::Writable { connection: PEER, room: 1 << 20 });
    bob.take_events();
    bob.wait(30 * SECOND - MILLI);
    assert_eq!(bob.take_events(), []);
    bob.wait(MILLI);
    assert_eq!(bob.take_events().first(), Some(&no_response(session, "m1m1")));
}

//= IM M-7 test
#[test]
fn partial_waits_for_no_response_and_hears_errors() {
    let partial = |id: &str| text(id, "hi").with(|message| message.failure_report = FailureReport::Partial);
    let (mut bob, session) = Bob::bound();
    bob.send(session, partial("m1m1"));
    bob.send(session, partial("m2m2"));
    let sent = tids(&mut bob);
    bob.take_events();
    bob.receive(&answer(&sent[0], "413 Stop"));
    let why = SendFailure::Refused { status: 413, comment: "Stop".into() };
    assert_eq!(bob.take_events(), [Event::Failed { session, message_id: "m1m1".into(), why }]);
    // Silence is consent, and nothing of it is kept in the end.
    bob.wait(31 * SECOND);
    assert_eq!((bob.take_events(), bob.endpoint.sessions()), (vec![], 1));
    assert_eq!((bob.endpoint.load().outgoing, bob.endpoint.load().transactions), (0, 0));
}

//= IM M-7 test
#[test]
fn no_waits_for_nothing_and_hears_nothing() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "hi").with(|message| message.failure_report = FailureReport::No));
    let sent = tids(&mut bob);
    assert_eq!(bob.take_events(), [Event::Sent { session, message_id: "m1m1".into() }]);
    assert_eq!((bob.endpoint.load().outgoing, bob.next), (0, None));
    bob.receive(&answer(&sent[0], "481 Gone"));
    assert_eq!((bob.take_events(), bob.endpoint.sessions()), (vec![], 1));
}

//= IM M-7 test
//= IM M-17 test
#[test]
fn over_a_slow_link_a_chunk_waits_as_long_as_those_before_it_are_answered() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", &"x".repeat(200_000)));
    let sent = tids(&mut bob);
    assert!(sent.len() > 15);
    bob.take_events();
    // 12 KiB in 10 s, and buffers that took all of it at once.
    for (n, tid) in sent.iter().enumerate() {
        bob.wait(10 * SECOND);
        assert_eq!(bob.take_events(), [], "after {n} chunks");
        bob.receive(&answer(tid, "200 OK"));
    }
    assert_eq!(bob.take_events(), [Event::Acknowledged { session, message_id: "m1m1".into() }]);
    assert_eq!(bob.next, None);
}

//= IM M-7 test
#[test]
fn a_chunk_that_is_passed_over_fails_30_s_after_it_left() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", &"x".repeat(40_000)));
    let sent = tids(&mut bob);
    bob.take_events();
    bob.wait(5 * SECOND);
    // The first, and the last two: the second is not answered, though what came after it is.
    for tid in [&sent[0], &sent[2], &sent[3]] {
        bob.wait(SECOND);
        bob.receive(&answer(tid, "200 OK"));
    }
    bob.wait(22 * SECOND - MILLI);
    assert_eq!(bob.take_events(), []);
    bob.wait(MILLI);
    assert_eq!(bob.take_events(), [no_response(session, "m1m1")]);
    assert_eq!(bob.endpoint.sessions(), 1, "the peer lives");
}

//= IM M-7 test
#[test]
fn a_peer_that_falls_silent_in_the_middle_fails_the_session_30_s_after_its_last_answer() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", &"x".repeat(30_000)));
    let sent = tids(&mut bob);
    bob.take_events();
    bob.wait(20 * SECOND);
    bob.receive(&answer(&sent[0], "200 OK"));
    bob.wait(30 * SECOND - MILLI);
    assert_eq!(bob.take_events(), []);
    bob.wait(MILLI);
    let why = SessionFailure::Unresponsive;
    assert_eq!(
        bob.take_events(),
        [no_response(session, "m1m1"), Event::SessionFailed { session, why, unsent: vec![] }]
    );
}

//= IM M-7 test
//= IM M-10 test
#[test]
fn the_send_that_binds_and_keep_alives_are_waited_for_like_any_other() {
    let (mut bob, session) = Bob::bound();
    bob.endpoint.keep_alive(bob.now, session);
    bob.drain();
    bob.take_text(PEER);
    bob.wait(30 * SECOND - MILLI);
    assert_eq!(bob.take_events(), []);
    bob.wait(MILLI);
    let why = SessionFailure::Unresponsive;
    assert_eq!(bob.take_events(), [Event::SessionFailed { session, why, unsent: vec![] }]);
    // Whoever is heard meanwhile lives, whatever it says.
    let (mut bob, session) = Bob::bound();
    bob.endpoint.keep_alive(bob.now, session);
    bob.drain();
    bob.wait(SECOND);
    bob.receive(&send("ping", &["Message-ID: ping"], None, '$'));
    bob.wait(60 * SECOND);
    assert_eq!((bob.take_events(), bob.endpoint.sessions()), (vec![], 1));
}
