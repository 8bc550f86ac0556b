//! M-8 and M-9: REPORTs, on parts and on the whole, heard and sent (RFC 4975 7.1.2 to 7.1.4 and 7.3.2).

use std::time::Duration;

use parlour_msrp::uri::MsrpPath;
use parlour_msrp::{
    ConnectionId, Event, FailureReport, Input, Remote, Role, SendFailure, SessionFailure, SessionId, Verdict,
};

use crate::script::{ALICE, BOB, Bob, PEER, answer, chunk, frame, frames, send, text};

fn report(id: &str, range: Option<&str>, status: &str) -> String {
    let (id, status) = (format!("Message-ID: {id}"), format!("Status: {status}"));
    let range = range.map(|range| format!("Byte-Range: {range}"));
    let rows: Vec<&str> = [Some(&*id), range.as_deref(), Some(&*status)].into_iter().flatten().collect();
    frame("repo", "REPORT", &rows, None, '$')
}

fn reported(session: SessionId, id: &str) -> Event {
    Event::Reported { session, message_id: id.into() }
}

fn acknowledged(session: SessionId, id: &str) -> Event {
    Event::Acknowledged { session, message_id: id.into() }
}

/// Bob has sent a message of 30,000 octets in three chunks, and asked for success REPORTs.
fn asked() -> (Bob, SessionId, Vec<String>) {
    let (mut bob, session) = Bob::bound();
    let long = "x".repeat(30_000);
    bob.send(session, text("m1m1", &long).with(|message| message.success_report = true));
    let tids: Vec<String> = frames(&bob.take_text(PEER)).into_iter().map(|(tid, _)| tid).collect();
    assert_eq!(tids.len(), 3);
    bob.take_events();
    (bob, session, tids)
}

//= IM M-8 test
#[test]
fn reports_in_any_order_that_overlap_and_repeat_add_up_to_one() {
    let (mut bob, session, tids) = asked();
    tids.iter().for_each(|tid| bob.receive(&answer(tid, "200 OK")));
    assert_eq!(bob.take_events(), [acknowledged(session, "m1m1")]);
    for range in ["20001-30000/30000", "1-10000/30000", "5000-15000/30000", "1-1/30000", "15002-20000/30000"]
    {
        bob.receive(&report("m1m1", Some(range), "000 200 OK"));
        assert_eq!(bob.take_events(), [], "one octet is missing after {range}");
    }
    // The missing octet; no chunk of ours had this range.
    bob.receive(&report("m1m1", Some("15001-15001/30000"), "000 200 OK"));
    assert_eq!(bob.take_events(), [reported(session, "m1m1")]);
    for range in ["1-30000/30000", "15001-15001/30000"] {
        bob.receive(&report("m1m1", Some(range), "000 200 OK"));
    }
    assert_eq!((bob.take_events(), bob.endpoint.load().outgoing), (vec![], 0), "told once");
}

//= IM M-8 test
#[test]
fn a_report_on_octets_that_have_not_left_says_nothing_of_them() {
    for range in [Some("1-30000/30000"), Some("1-*/30000"), None] {
        let (mut bob, session) = Bob::bound();
        bob.input(Input::Writable { connection: PEER, room: 13_000 });
        let long = "x".repeat(30_000);
        bob.send(session, text("m1m1", &long).with(|message| message.success_report = true));
        bob.receive(&report("m1m1", range, "000 200 OK"));
        bob.input(Input::Writable { connection: PEER, room: 1 << 20 });
        for (tid, _) in frames(&bob.take_text(PEER)) {
            bob.receive(&answer(&tid, "200 OK"));
        }
        bob.take_events();
        // The tail of what the first one claimed; what it claimed rightly stands.
        bob.receive(&report("m1m1", Some("25000-30000/30000"), "000 200 OK"));
        assert_eq!(bob.take_events(), [], "{range:?}");
        bob.receive(&report("m1m1", Some("12289-24999/30000"), "000 200 OK"));
        assert_eq!(bob.take_events(), [reported(session, "m1m1")], "{range:?}");
    }
}

//= IM M-8 test
#[test]
fn who_reports_it_all_has_it_all_though_it_answers_nothing() {
    let (mut bob, session, tids) = asked();
    bob.receive(&answer(&tids[0], "200 OK"));
    bob.receive(&report("m1m1", None, "000 200 OK"));
    assert_eq!(bob.take_events(), [acknowledged(session, "m1m1"), reported(session, "m1m1")]);
    // The time-out of the other chunks, or a late refusal of them, takes nothing back.
    bob.receive(&answer(&tids[1], "413 Too late"));
    bob.receive(&report("m1m1", None, "000 413 Too late"));
    bob.wait(Duration::from_secs(31));
    assert_eq!(bob.take_events(), []);
    assert_eq!((bob.endpoint.load().outgoing, bob.endpoint.load().transactions), (0, 0));
}

//= IM M-8 test
#[test]
fn a_report_that_was_not_asked_for_counts_for_nothing() {
    let (mut bob, session) = Bob::bound();
    bob.send(session, text("m1m1", "hi"));
    let (tid, _) = frames(&bob.take_text(PEER)).remove(0);
    bob.take_events();
    bob.receive(&report("m1m1", Some("1-2/2"), "000 200 OK"));
    assert_eq!(bob.take_events(), []);
    bob.receive(&answer(&tid, "200 OK"));
    assert_eq!(bob.take_events(), [acknowledged(session, "m1m1")]);
}

//= IM M-8 test
#[test]
fn a_report_that_was_asked_for_and_never_came_is_told_when_the_session_ends() {
    for fails in [true, false] {
        let (mut bob, session) = Bob::bound();
        for (id, wanted, failure) in [
            ("m1m1", true, FailureReport::Yes),
            ("m2m2", false, FailureReport::Yes),
            ("m3m3", true, FailureReport::No),
        ] {
            bob.send(
                session,
                text(id, "hi").with(|message| {
                    message.success_report = wanted;
                    message.failure_report = failure;
                }),
            );
        }
        for (tid, _) in frames(&bob.take_text(PEER)) {
            bob.receive(&answer(&tid, "200 OK"));
        }
        bob.take_events();
        // Whoever takes back what nobody has acknowledged does not take these.
        assert_eq!(bob.endpoint.withdraw(bob.now, session), []);
        if fails {
            bob.input(Input::Closed { connection: PEER });
        } else {
            bob.endpoint.close(bob.now, session);
            bob.drain();
        }
        let mut told = bob.take_events();
        if fails {
            let failed = Event::SessionFailed { session, why: SessionFailure::Disconnected, unsent: vec![] };
            assert_eq!(told.pop(), Some(failed));
        }
        let unreported = |id: &str| Event::Unreported { session, message_id: id.into() };
        assert_eq!(told, [unreported("m1m1"), unreported("m3m3")]);
    }
}

//= IM M-9 test
#[test]
fn only_namespace_000_means_what_responses_mean() {
    let (mut bob, session, tids) = asked();
    for status in ["001 413 Stop", "999 481 Gone", "010 200 OK"] {
        bob.receive(&report("m1m1", Some("1-30000/30000"), status));
    }
    // Nor does one that cannot be read, or one without a Message-ID.
    for broken in [
        report("m1m1", Some("0-3/3"), "000 413 Stop"),
        report("m1m1", Some("1-3/3"), "413 Stop"),
        report("m1m1", Some("1-3/3"), "000 413 Stop").replace("Message-ID: m1m1\r\n", ""),
        report("m1m1", Some("1-3/3"), "000 413 Stop").replace("Status", "X-Status"),
        report("none", Some("1-3/3"), "000 481 Gone"),
    ] {
        bob.receive(&broken);
    }
    assert_eq!((bob.take_events(), bob.take_text(PEER)), (vec![], String::new()));
    tids.iter().for_each(|tid| bob.receive(&answer(tid, "200 OK")));
    assert_eq!(bob.take_events(), [acknowledged(session, "m1m1")]);
}

//= IM M-9 test
//= IM M-12 test
#[test]
fn a_report_of_failure_in_the_middle_stops_the_message() {
    // RFC 4975 7.3.2 has `#` for that, and 10.5 forbids any further chunk after a 413.
    for (status, hash) in [("413 Stop", false), ("403 No", true), ("408 Timeout", true), ("415 What", true)] {
        for responds in [true, false] {
            let (mut bob, session) = Bob::bound();
            bob.input(Input::Writable { connection: PEER, room: 13_000 });
            bob.send(session, text("m1m1", &"x".repeat(30_000)));
            bob.send(
                session,
                text("m2m2", "next").with(|message| message.content_type = "message/cpim".into()),
            );
            let (tid, _) = frames(&bob.take_text(PEER)).remove(0);
            bob.receive(&match responds {
                true => answer(&tid, status),
                false => report("m1m1", None, &format!("000 {status}")),
            });
            bob.input(Input::Writable { connection: PEER, room: 1 << 20 });
            let rest = bob.take_text(PEER);
            let of_it = rest.matches("Message-ID: m1m1\r\n").count();
            assert_eq!(of_it, usize::from(hash), "{status}: {rest}");
            let abort =
                "Message-ID: m1m1\r\nByte-Range: 1-0/30000\r\nContent-Type: text/plain\r\n\r\n\r\n-------";
            assert_eq!(rest.contains(abort) && rest.contains("#\r\n"), hash, "{status}: {rest}");
            assert!(rest.contains("Message-ID: m2m2\r\n"), "{status}: {rest}");
            let failures = bob.take_events().into_iter().filter_map(|event| match event {
                Event::Failed { message_id, why, .. } => Some((message_id, why)),
                _ => None,
            });
            let failures: Vec<_> = failures.collect();
            assert_eq!(failures.len(), 1, "{failures:?}");
            let timeout = failures[0].1 == SendFailure::NoResponse;
            assert_eq!(timeout, status.starts_with("408"), "RFC 4975 10.4: a 408 is a local time-out");
        }
    }
}

//= IM M-8 test
#[test]
fn a_report_goes_to_where_the_session_is_by_then() {
    let elsewhere = "msrp://192.0.2.9:7777/movedmovedmoved;tcp";
    let (mut bob, session) = Bob::bound();
    bob.receive(
        &chunk("tid1", "m1m1", "1-2/2", "hi", '$').replace("Message-ID", "Success-Report: yes\r\nMessage-ID"),
    );
    let (receipt, _) = bob.take_message();
    let there = MsrpPath::parse(elsewhere).expect("a path");
    bob.endpoint.rejoin(bob.now, session, Remote::new(there, Role::Passive));
    bob.drain();
    let second = ConnectionId(2);
    bob.connect(second);
    let bind = send("bind2", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$');
    bob.receive_on(second, &bind.replace(ALICE, elsewhere));
    bob.take_text(second);
    bob.settle(receipt, Verdict::Accepted);
    // RFC 4975 7.2: a response would belong to the connection of its request, which is gone.
    assert_eq!(bob.take_text(PEER), "");
    let told = bob.take_text(second);
    let expected = format!("REPORT\r\nTo-Path: {elsewhere}\r\nFrom-Path: {BOB}\r\nMessage-ID: m1m1\r\n");
    assert!(told.contains(&expected) && frames(&told).len() == 1, "{told}");
}

//= IM M-8 test
#[test]
fn nothing_is_reported_for_a_session_that_has_ended() {
    let (mut bob, session) = Bob::bound();
    bob.receive(
        &chunk("tid1", "m1m1", "1-2/2", "hi", '$').replace("Message-ID", "Success-Report: yes\r\nMessage-ID"),
    );
    let (receipt, _) = bob.take_message();
    bob.endpoint.close(bob.now, session);
    bob.drain();
    // Whoever owes a verdict need not give it any more.
    assert_eq!(bob.endpoint.load(), parlour_msrp::Load::default());
    bob.settle(receipt, Verdict::Accepted);
    assert_eq!(bob.take_text(PEER), "");
}

//= IM M-8 test
#[test]
fn a_report_says_nothing_of_responses_and_none_follows_an_empty_send_or_a_report() {
    let (mut bob, _) = Bob::bound();
    let wish = |stream: String| stream.replacen("Message-ID", "Success-Report: yes\r\nMessage-ID", 1);
    bob.receive(&wish(send("ping", &["Message-ID: ping"], None, '$')));
    assert_eq!(frames(&bob.take_text(PEER)).len(), 1);
    bob.receive(&wish(report("m9m9", None, "000 200 OK")));
    bob.receive(&report("m9m9", None, "000 413 Stop"));
    assert_eq!(bob.take_text(PEER), "");
    // An empty body is a message, and a REPORT covers its no octets.
    bob.receive(&wish(chunk("tid1", "m1m1", "1-0/0", "", '$')));
    let (receipt, _) = bob.take_message();
    bob.settle(receipt, Verdict::Accepted);
    let told = bob.take_text(PEER);
    assert!(told.contains("Byte-Range: 1-0/0\r\nStatus: 000 200 OK\r\n"), "{told}");
    assert!(!told.contains("-Report:"), "{told}");
}

//= IM M-8 test
#[test]
fn a_report_waits_for_a_peer_that_moves() {
    let elsewhere = "msrp://192.0.2.9:7777/movedmovedmoved;tcp";
    for verdict in [Verdict::Accepted, Verdict::Refused(413)] {
        let (mut bob, session) = Bob::bound();
        let wish = |stream: String| stream.replace("Message-ID", "Success-Report: yes\r\nMessage-ID");
        bob.receive(&wish(chunk("tid1", "m1m1", "1-2/2", "hi", '$')));
        let (receipt, _) = bob.take_message();
        bob.settle(receipt, Verdict::Received);
        assert_eq!(frames(&bob.take_text(PEER)), [("tid1".to_owned(), "200 OK".to_owned())]);
        let there = MsrpPath::parse(elsewhere).expect("a path");
        bob.endpoint.rejoin(bob.now, session, Remote::new(there, Role::Passive));
        bob.drain();
        // There is no connection at this moment; the verdict counts nevertheless, and once.
        bob.settle(receipt, verdict);
        bob.settle(receipt, Verdict::Refused(403));
        let second = ConnectionId(2);
        bob.connect(second);
        let bind = send("bind2", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$');
        bob.receive_on(second, &bind.replace(ALICE, elsewhere));
        let told = bob.take_text(second);
        let status = if verdict == Verdict::Accepted { "Status: 000 200 OK" } else { "Status: 000 413 " };
        assert!(told.matches(" REPORT\r\n").count() == 1 && told.contains(status), "{told}");
        assert_eq!(bob.endpoint.load().receipts, 0);
    }
}
