//! Our own requests inside a session: refusals of them, and offers that cross (D-53).

use parlour_proto::config::Config;
use parlour_proto::event::{Ended, What};
use parlour_sim::{Mail, text};

use crate::common::{BOB, Call, config};
use crate::flows::session_timer::{Out, answer_bye, called_with, has, row};

const TIMED: &str = "Session-Expires: 90;refresher=uas\r\nSupported: timer\r\n";
const GRANTED: &str = "Session-Expires: 90;refresher=uac\r\nRequire: timer\r\n";

/// Bob's refresh at 45 s, of a session that Alice made.
fn refreshing(rows: &str) -> (Call, Mail) {
    let (mut call, _) = called_with(config(BOB), &format!("{rows}{TIMED}"));
    call.nothing_to(44_999);
    let refresh = call.world.expect(call.alice, "a refresh", |mail| {
        matches!(text::method(mail.message()).as_deref(), Some("INVITE" | "UPDATE"))
    });
    assert_eq!(refresh.at.as_millis(), 45_000);
    (call, refresh)
}

fn refuse(call: &mut Call, refresh: &Mail, line: &str, rows: &str) {
    call.send(call.script.respond(refresh.message(), line, rows, ""));
    if text::method(refresh.message()).as_deref() == Some("INVITE") {
        call.request("ACK");
    }
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_refresh_that_meets_no_dialog_or_no_answer_ends_the_session() {
    for (allow, line, at) in [
        ("", Some("481 Call Does Not Exist"), 45_000),
        ("", Some("408 Request Timeout"), 45_000),
        ("Allow: UPDATE\r\n", Some("481 Call Does Not Exist"), 45_000),
        ("Allow: UPDATE\r\n", None, 60_000),
    ] {
        let (mut call, refresh) = refreshing(allow);
        if let Some(line) = line {
            refuse(&mut call, &refresh, line, "");
        }
        call.world.run_to(at);
        let bye = call.request("BYE");
        assert_eq!(bye.at.as_millis(), at, "{line:?}");
        assert!(call.at_bob().told().any(|what| matches!(what, What::Ended(Ended::Lost { .. }))));
        answer_bye(call, &bye);
    }
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn without_any_answer_the_dialog_ends_when_the_transaction_does() {
    let rows = "Session-Expires: 1800;refresher=uas\r\nSupported: timer\r\n";
    for (allow, method) in [("", "INVITE"), ("Allow: UPDATE\r\n", "UPDATE")] {
        let (mut call, _) = called_with(config(BOB), &format!("{allow}{rows}"));
        call.nothing_to(899_999);
        call.request(method);
        call.world.run_to(932_000);
        let bye = call.request("BYE");
        assert_eq!(bye.at.as_millis(), 932_000);
        answer_bye(call, &bye);
    }
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_refresh_that_only_rings_is_given_up() {
    let rows = "Session-Expires: 1800;refresher=uas\r\nSupported: timer\r\n";
    let (mut call, _) = called_with(config(BOB), rows);
    call.nothing_to(899_999);
    let refresh = call.request("INVITE");
    call.send(call.script.respond(refresh.message(), "100 Trying", "", ""));
    call.nothing_to(931_999);
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), 932_000);
    answer_bye(call, &bye);
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_refusal_leaves_the_session_until_it_expires() {
    let (mut call, refresh) = refreshing("");
    refuse(&mut call, &refresh, "488 Not Acceptable Here", "");
    call.nothing_to(59_999);
    let session = call.session();
    call.world
        .act(call.bob, |bob, now| bob.say(now, session, crate::common::text("m1-id", "still")))
        .expect("say");
    assert_eq!(text::body(call.request("SEND").message()), b"still");
    call.world.run_to(60_000);
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), 60_000);
    answer_bye(call, &bye);
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_491_is_tried_again_by_who_was_called_within_two_seconds() {
    let (mut call, refresh) = refreshing("");
    refuse(&mut call, &refresh, "491 Request Pending", "");
    let again = call.request("INVITE");
    let wait = again.at.as_millis() - 45_000;
    assert!(wait <= 2000 && wait.is_multiple_of(10), "{wait}");
    call.send(call.script.respond(again.message(), "200 OK", GRANTED, &call.script.offer()));
    call.request("ACK");
    call.nothing_to(again.at.as_millis() + 44_999);
    call.request("INVITE");
    call.bye();
    call.over();
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_491_is_tried_again_by_the_owner_of_the_call_after_two_to_four_seconds() {
    let mut out = Out::inviting(config(BOB));
    out.answered("Session-Expires: 90;refresher=uac\r\nRequire: timer\r\n");
    out.world.expect_nothing_to(out.alice, 44_999);
    let mut before = 45_000;
    for _ in 0..3 {
        let refresh = out.world.expect_request(out.alice, "INVITE");
        let wait = refresh.at.as_millis() - before;
        assert!(before == 45_000 || ((2100..=4000).contains(&wait) && wait.is_multiple_of(10)), "{wait}");
        before = refresh.at.as_millis();
        out.world.send(refresh.way, out.callee.respond(refresh.message(), "491 Request Pending", "", ""));
        out.world.expect_request(out.alice, "ACK");
    }
    out.bye();
    out.over();
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_that_crosses_ours_gets_a_491_and_an_update_of_ours_is_no_offer() {
    let (mut call, refresh) = refreshing("");
    let offer = call.script.offer();
    let invite = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &offer);
    call.send(invite);
    call.refused(491);
    call.send(call.script.respond(refresh.message(), "200 OK", GRANTED, &call.script.offer()));
    call.request("ACK");
    call.bye();
    call.over();

    let (mut call, refresh) = refreshing("Allow: INVITE, UPDATE\r\n");
    let offer = call.script.offer();
    let invite = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &offer);
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    call.send(call.script.respond(refresh.message(), "200 OK", GRANTED, ""));
    call.bye();
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn an_invite_of_the_peer_refreshes_the_session_too() {
    let (mut call, _) = called_with(config(BOB), TIMED);
    call.world.run_to(44_900);
    let offer = call.script.offer();
    let rows = format!("Contact: <sip:192.0.2.1:5060>\r\n{TIMED}");
    let invite = call.script.next(&mut call.world, "INVITE", &rows, &offer);
    call.send(invite);
    let answer = call.status(200);
    call.nothing_to(45_399);
    call.ack(&answer);
    call.nothing_to(89_899);
    let refresh = call.request("INVITE");
    assert_eq!(refresh.at.as_millis(), 89_900);
    call.bye();
    call.over();
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn retry_after_is_kept_to() {
    let (mut call, refresh) = refreshing("Allow: UPDATE, INVITE\r\n");
    refuse(&mut call, &refresh, "500 Server Internal Error", "Retry-After: 7\r\n");
    call.nothing_to(51_999);
    assert_eq!(call.request("UPDATE").at.as_millis(), 52_000);
    call.bye();
    call.over();
}

//= IM G-3u test
#[cfg_attr(test, test)]
pub(crate) fn an_update_that_is_not_allowed_after_all_becomes_an_invite() {
    for rows in ["Allow: INVITE, ACK, BYE\r\n", "", "Allow: INVITE, UPDATE\r\n"] {
        let (mut call, refresh) = refreshing("Allow: UPDATE, INVITE\r\n");
        refuse(&mut call, &refresh, "405 Method Not Allowed", rows);
        let again = call.request("INVITE");
        assert_eq!(again.at.as_millis(), 45_000);
        assert!(row(&again, "CSeq") > row(&refresh, "CSeq"));
        call.send(call.script.respond(again.message(), "200 OK", GRANTED, &call.script.offer()));
        call.request("ACK");
        call.bye();
        call.over();
    }
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn a_422_to_a_refresh_is_answered_with_a_longer_interval() {
    let (mut call, refresh) = refreshing("Allow: UPDATE\r\n");
    refuse(&mut call, &refresh, "422 Session Interval Too Small", "Min-SE: 400\r\n");
    let again = call.request("UPDATE");
    has(&again, "Session-Expires", "400;refresher=uac");
    has(&again, "Min-SE", "400");
    // Only a 2xx moves the expiry.
    refuse(&mut call, &again, "422 Session Interval Too Small", "Min-SE: 400\r\n");
    call.nothing_to(59_999);
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), 60_000);
    answer_bye(call, &bye);
}

#[cfg_attr(test, test)]
pub(crate) fn a_2xx_moves_the_remote_target_and_what_is_allowed() {
    let (mut call, refresh) = refreshing("");
    let moved = call
        .script
        .respond(refresh.message(), "200 OK", &format!("Allow: UPDATE\r\n{GRANTED}"), &call.script.offer())
        .replace("Contact: <sip:192.0.2.1:5060>", "Contact: <sip:192.0.2.1:5060;moved>");
    call.send(&moved);
    let ack = call.request("ACK");
    assert!(!text::start_line(ack.message()).contains("moved"), "the ACK goes where its INVITE went");
    // The same 2xx again gets the same ACK.
    call.send(&moved);
    assert_eq!(call.request("ACK").message(), ack.message());
    call.nothing_to(89_999);
    let update = call.request("UPDATE");
    assert!(text::start_line(update.message()).contains("moved"));
    call.bye();
    call.over();
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn the_answer_to_a_refresh_may_bring_another_path() {
    let (mut call, refresh) = refreshing("");
    call.script.path = call.script.path.replace("/session", "/moved");
    let answer = call.script.sdp("active", "text/plain message/cpim").replace("o=- 1 1", "o=- 1 2");
    call.send(call.script.respond(refresh.message(), "200 OK", GRANTED, &answer));
    call.request("ACK");
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind2"));
    call.status(200);
    let session = call.session();
    call.world
        .act(call.bob, |bob, now| bob.say(now, session, crate::common::text("m1-id", "on")))
        .expect("say");
    let send = call.request("SEND");
    assert_eq!(send.way, media);
    assert_eq!(text::header(send.message(), "To-Path"), Some(call.script.path.clone()));
    call.bye();
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn whoever_leaves_in_mid_refresh_still_acknowledges_its_answer() {
    let (mut call, refresh) = refreshing("");
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = call.request("BYE");
    call.send(call.script.respond(refresh.message(), "200 OK", GRANTED, &call.script.offer()));
    call.request("ACK");
    answer_bye(call, &bye);
}

/// RFC 3261 13.2.2.4: each 2xx to an INVITE gets its ACK, whatever has become of the dialog.
#[cfg_attr(test, test)]
pub(crate) fn an_answer_that_comes_after_the_end_is_acknowledged_each_time() {
    let (mut call, refresh) = refreshing("");
    call.bye();
    call.status(200);
    assert_eq!(call.at_bob().client.load().sessions, 0, "nothing is left of the session");
    call.world.run(31_000);
    let answer = call.script.respond(refresh.message(), "200 OK", GRANTED, &call.script.offer());
    call.send(&answer);
    let ack = call.request("ACK");
    let number =
        |mail: &Mail| text::header(mail.message(), "CSeq").unwrap_or_default().replace("INVITE", "ACK");
    assert_eq!(number(&ack), number(&refresh));
    call.world.run(31_000);
    call.send(&answer);
    assert_eq!(call.request("ACK").message(), ack.message(), "the same once more");
    assert!(call.times("BYE").len() == 1, "the dialog has ended already");
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn an_update_that_is_answered_after_the_end_needs_nothing() {
    let (mut call, refresh) = refreshing("Allow: UPDATE\r\n");
    call.bye();
    call.status(200);
    call.send(call.script.respond(refresh.message(), "200 OK", GRANTED, ""));
    call.world.run(40_000);
    assert!(call.times("ACK").len() == 1, "Alice's own");
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn without_a_wish_for_timers_none_is_asked_for() {
    let config = Config { session_expires: std::time::Duration::ZERO, ..config(BOB) };
    let mut out = Out::inviting(config);
    assert_eq!(row(&out.invite, "Session-Expires"), None);
    out.answered("");
    out.world.expect_nothing_to(out.alice, 5_000_000);
    out.bye();
    out.over();
}
