//! M-6: messages put together from their chunks, and those that never will be (RFC 4975 7.3.1).

use std::time::Duration;

use parlour_msrp::{Event, Incomplete, Input, Limits, Role, Verdict};

use crate::script::{Bob, PEER, chunk, frames, response, send, spec};

const SECOND: Duration = Duration::from_secs(1);

fn statuses(bob: &mut Bob) -> Vec<String> {
    frames(&bob.take_text(PEER)).into_iter().map(|(tid, rest)| format!("{tid} {}", &rest[..3])).collect()
}

fn incomplete(session: parlour_msrp::SessionId, id: &str, received: u64, why: Incomplete) -> Event {
    Event::Incomplete { session, message_id: id.into(), received, why }
}

//= IM M-6 test
#[test]
fn what_was_lost_in_the_middle_is_not_acknowledged_at_the_end() {
    // The first chunk was answered 200 and is thrown away after a minute. If the others got their 200 too, the sender would
    // take the message for delivered.
    let (mut bob, session) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/8", "abcd", '+'));
    bob.wait(60 * SECOND);
    assert_eq!(bob.take_events(), [incomplete(session, "m1m1", 4, Incomplete::Idle)]);
    bob.receive(&chunk("tid2", "m1m1", "5-*/8", "ef", '+'));
    bob.receive(&chunk("tid3", "m1m1", "7-*/8", "gh", '$'));
    assert_eq!(statuses(&mut bob), ["tid1 200", "tid2 413", "tid3 413"]);
    bob.take_explained();
    assert_eq!((bob.take_events(), bob.endpoint.load().incoming), (vec![], 0));
    // A new attempt begins at 1, and its chunks are taken again once it is whole.
    bob.receive(&chunk("tid4", "m1m1", "1-*/8", "abcd", '+'));
    bob.receive(&chunk("tid5", "m1m1", "5-*/8", "efgh", '$'));
    let (receipt, body) = bob.take_message();
    bob.settle(receipt, Verdict::Accepted);
    bob.receive(&chunk("tid6", "m1m1", "5-*/8", "efgh", '$'));
    assert_eq!(body, "abcdefgh");
    assert_eq!(statuses(&mut bob), ["tid4 200", "tid5 200", "tid6 200"]);
}

//= IM M-6 test
#[test]
fn as_many_lost_messages_are_remembered_as_can_be_lost_at_once() {
    let (mut bob, _) = Bob::bound();
    for n in 0..32 {
        bob.receive(&chunk("tid1", &format!("msg{n}"), "1-*/4", "ab", '+'));
    }
    bob.wait(60 * SECOND);
    bob.take_text(PEER);
    for n in 0..32 {
        bob.receive(&chunk("tid2", &format!("msg{n}"), "3-*/4", "cd", '$'));
    }
    assert_eq!(statuses(&mut bob), ["tid2 413"; 32]);
}

//= IM M-6 test
//= IM M-7 test
#[test]
fn a_chunk_that_stops_in_the_middle_is_answered_when_it_is_given_up() {
    for (row, answers) in [("Failure-Report: yes", vec!["tid1 413"]), ("Failure-Report: no", vec![])] {
        let (mut bob, session) = Bob::bound();
        let text = send("tid1", &["Message-ID: m1m1", row], Some("abcdefgh"), '$');
        let (start, rest) = text.split_at(text.find("efgh").expect("its body"));
        bob.receive(start);
        bob.wait(60 * SECOND - Duration::from_millis(1));
        assert_eq!((bob.take_events(), bob.take_text(PEER)), (vec![], String::new()));
        bob.wait(Duration::from_millis(1));
        assert_eq!(bob.take_events(), [incomplete(session, "m1m1", 4, Incomplete::Idle)]);
        assert_eq!(statuses(&mut bob), answers);
        bob.receive(rest);
        assert_eq!((bob.take_events(), bob.take_text(PEER)), (vec![], String::new()), "it is answered once");
    }
}

//= IM X-23 test
#[test]
fn x_23_a_pause_does_not_lift_the_bound_on_bodies_that_are_no_message() {
    let (mut bob, _) = Bob::bound();
    let rows = ["Message-ID: m1m1", "Status: 000 200 OK"];
    let text = crate::script::frame("repo", "REPORT", &rows, Some(&"x".repeat(20_000)), '$');
    let (start, rest) = text.split_at(5000);
    bob.receive(start);
    bob.wait(61 * SECOND);
    bob.receive(rest);
    assert_eq!(bob.endpoint.load().connections, 0, "closed");
}

//= IM M-6 test
//= IM M-5 test
#[test]
fn an_aborted_message_stays_aborted() {
    // With a body, with an empty one, without one, and with the range that a sender may give.
    let hash =
        |range: &str, body| send("tid2", &["Message-ID: m1m1", &format!("Byte-Range: {range}")], body, '#');
    for (abort, received) in [
        (hash("5-*/8", Some("ef")), 6),
        (hash("5-*/8", Some("")), 4),
        (hash("1-0/8", Some("")), 4),
        (hash("1-0/8", None), 4),
        (hash("5-4/8", None), 4),
    ] {
        let (mut bob, session) = Bob::bound();
        bob.receive(&chunk("tid1", "m1m1", "1-*/8", "abcd", '+'));
        bob.receive(&abort);
        assert_eq!(
            bob.take_events(),
            [incomplete(session, "m1m1", received, Incomplete::Aborted)],
            "{abort}"
        );
        // A relay may have changed the order: what comes after it brings nothing back.
        bob.receive(&chunk("tid3", "m1m1", "7-*/8", "gh", '$'));
        assert_eq!(statuses(&mut bob), ["tid1 200", "tid2 200", "tid3 413"], "{abort}");
        bob.take_explained();
        assert_eq!((bob.take_events(), bob.endpoint.load().incoming, bob.next), (vec![], 0, None));
    }
}

//= IM M-6 test
#[test]
fn a_message_of_which_nothing_was_heard_is_given_up_without_a_word() {
    let (mut bob, session) = Bob::bound();
    for body in [Some(""), None] {
        bob.receive(&send("tid1", &["Message-ID: m1m1", "Byte-Range: 1-0/8"], body, '#'));
        assert_eq!(bob.take_text(PEER), response("tid1", "200 OK"));
        assert_eq!((bob.take_events(), bob.endpoint.load().incoming), (vec![], 0));
    }
    // In one chunk that it began itself, there was something.
    bob.receive(&chunk("tid2", "m2m2", "1-*/8", "abcd", '#'));
    assert_eq!(bob.take_events(), [incomplete(session, "m2m2", 4, Incomplete::Aborted)]);
}

//= IM M-6 test
#[test]
fn a_chunk_is_as_long_as_its_octets_and_as_small_or_large_as_it_likes() {
    // RFC 4975 7.1.1: from no octets to all that a message may have.
    let mut bob = Bob::new();
    bob.open(spec(Role::Passive).with(|spec| spec.max_size = 60_000));
    bob.connect(PEER);
    let whole = "x".repeat(60_000);
    bob.receive(&chunk("tid1", "m1m1", "1-*/60000", &whole, '$'));
    bob.outputs.remove(0);
    assert_eq!(bob.take_message().1.len(), 60_000);
    bob.receive(&chunk("tid2", "m2m2", "1-*/*", "", '+'));
    bob.receive(&chunk("tid3", "m2m2", "1-10/*", "ab", '+'));
    bob.receive(&chunk("tid4", "m2m2", "3-2/*", "", '+'));
    bob.receive(&chunk("tid5", "m2m2", "3-3/*", "cdef", '+'));
    assert_eq!(bob.take_events(), []);
    bob.receive(&chunk("tid6", "m2m2", "7-6/6", "", '$'));
    assert_eq!(bob.take_message().1, "abcdef");
    // One octet more than we take.
    bob.receive(&chunk("tid7", "m3m3", "1-*/*", &(whole + "x"), '$'));
    assert!(statuses(&mut bob).contains(&"tid7 413".to_owned()));
}

//= IM M-6 test
//= IM X-20 test
#[test]
fn a_total_may_be_left_out_and_may_not_change() {
    for (one, two, good) in
        [("8", "*", true), ("*", "8", true), ("8", "8", true), ("8", "9", false), ("9", "8", false)]
    {
        let (mut bob, _) = Bob::bound();
        bob.receive(&chunk("tid1", "m1m1", &format!("1-*/{one}"), "abcd", '+'));
        bob.receive(&chunk("tid2", "m1m1", &format!("5-*/{two}"), "efgh", '$'));
        let whole = bob.take_events().iter().any(|event| matches!(event, Event::Message { .. }));
        assert_eq!(whole, good, "{one} then {two}");
        let expected: &[&str] = if good { &["tid1 200"] } else { &["tid1 200", "tid2 400"] };
        assert_eq!(statuses(&mut bob), expected, "{one} then {two}");
    }
}

//= IM M-6 test
#[test]
fn the_last_octets_that_came_count_wherever_chunks_overlap_spooled_or_not() {
    for inline in [0, 5, 100] {
        let (mut bob, _) = Bob::bound_with(Limits::default().with(|limits| limits.inline_body = inline));
        // RFC 4975 7.3.1: the last chunk received takes precedence, though it was not the last one sent.
        for (range, body, flag) in [
            ("1-10/15", "aaaaaaaaaa", '+'),
            ("5-15/15", "bbbbbbbbbbb", '$'),
            ("3-6/15", "cccc", '+'),
            ("2-2/15", "d", '+'),
        ] {
            bob.receive(&chunk("tid1", "m1m1", range, body, flag));
        }
        let mut octets = [b'?'; 15];
        let mut whole = None;
        for output in std::mem::take(&mut bob.outputs) {
            match output {
                parlour_msrp::Output::Spool { offset, bytes, .. } => {
                    let at = usize::try_from(offset).expect("a small test");
                    octets[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                parlour_msrp::Output::Event(Event::Message { body, .. }) => {
                    whole = Some(match body {
                        parlour_msrp::Body::Inline(octets) => octets,
                        parlour_msrp::Body::Spooled { head, .. } => head,
                    });
                }
                _ => {}
            }
        }
        // It is whole with the second chunk; what comes after that is a repetition.
        let expected = b"aaaabbbbbbbbbbb";
        assert_eq!(whole.as_deref(), Some(&expected[..]), "{inline}");
        assert!(inline == 100 || octets.starts_with(&expected[..]), "{inline}");
    }
}

//= IM M-2 test
//= IM M-7 test
#[test]
fn a_chunk_that_comes_again_after_a_move_waits_for_the_verdict_too() {
    use parlour_msrp::{ConnectionId, Remote, uri::MsrpPath};
    let elsewhere = "msrp://192.0.2.9:7777/movedmovedmoved;tcp";
    let (mut bob, session) = Bob::bound();
    bob.receive(&chunk("tid1", "m1m1", "1-*/4", "ab", '+'));
    bob.receive(&chunk("tid2", "m1m1", "3-*/4", "cd", '$'));
    let (receipt, _) = bob.take_message();
    bob.take_text(PEER);
    bob.endpoint.rejoin(
        bob.now,
        session,
        Remote::new(MsrpPath::parse(elsewhere).expect("a path"), Role::Passive),
    );
    bob.drain();
    bob.connect(ConnectionId(2));
    let moved = |frame: String| frame.replace(crate::script::ALICE, elsewhere);
    bob.receive_on(ConnectionId(2), &moved(send("bind", &["Message-ID: hello"], None, '$')));
    bob.take_text(ConnectionId(2));
    bob.receive_on(ConnectionId(2), &moved(chunk("tid3", "m1m1", "3-*/4", "cd", '$')));
    assert_eq!(bob.take_text(ConnectionId(2)), "", "nobody has said yet that it is stored");
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(bob.take_text(ConnectionId(2)), moved(response("tid3", "200 OK")));
    bob.input(Input::Tick);
}

//= IM M-2 test
#[test]
fn a_chunk_that_comes_again_in_the_session_that_goes_on_waits_for_the_verdict_too() {
    use parlour_msrp::ConnectionId;
    use parlour_msrp::uri::MsrpUri;
    let again = "msrp://192.0.2.2:8888/anotherofbobs;tcp";
    let (mut bob, old) = Bob::bound();
    bob.receive(
        &chunk("tid1", "m1m1", "1-*/4", "ab", '+').replace("Message-ID", "Success-Report: yes\r\nMessage-ID"),
    );
    bob.receive(&chunk("tid2", "m1m1", "3-*/4", "cd", '$'));
    let (receipt, _) = bob.take_message();
    bob.take_text(PEER);
    let new = bob.open(spec(Role::Passive).with(|spec| spec.local = MsrpUri::parse(again).expect("a URI")));
    bob.endpoint.succeed(bob.now, old, new);
    bob.drain();
    bob.input(Input::Closed { connection: PEER });
    bob.connect(ConnectionId(2));
    let moved = |frame: String| frame.replace(crate::script::BOB, again);
    bob.receive_on(ConnectionId(2), &moved(send("bind", &["Message-ID: hello"], None, '$')));
    bob.take_text(ConnectionId(2));
    bob.receive_on(ConnectionId(2), &moved(chunk("tid3", "m1m1", "3-*/4", "cd", '$')));
    assert_eq!(bob.take_text(ConnectionId(2)), "");
    bob.settle(receipt, Verdict::Accepted);
    // And the REPORT that was asked for goes to where the peer is now.
    let told: Vec<_> = frames(&bob.take_text(ConnectionId(2))).into_iter().map(|(_, what)| what).collect();
    assert_eq!(told, ["200 OK", "REPORT"]);
    assert_eq!(bob.endpoint.load().receipts, 0);
}
