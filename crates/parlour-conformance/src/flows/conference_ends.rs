//! How a subscription to a conference ends, and what goes on all the same.

use parlour_proto::config::Accept;
use parlour_sim::Script;

use super::conference::{Focus, document, focus_contact, header, in_session, user};
use crate::common::accepting;

//= IM R-13 test
#[cfg_attr(test, test)]
pub(crate) fn a_deleted_conference_is_unsubscribed_and_the_chat_goes_on() {
    let mut focus = Focus::followed();
    focus.notify("active", &document(2, "deleted", ""));
    assert_eq!(focus.ended(), ["the conference is over"]);
    let unsubscribe = focus.next();
    assert_eq!(header(&unsubscribe, "Expires"), "0");
    focus.answer("200 OK", "Expires: 0\r\n");
    focus.notify("terminated;reason=noresource", "");
    assert_eq!(focus.ended().len(), 1, "it is told once");
    focus.chats();
    focus.over(false);
}

//= IM R-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_refresh_that_brings_no_notify_is_the_end_of_it() {
    let mut focus = Focus::followed();
    focus.next();
    let at = focus.subscribe.at.as_millis();
    focus.answer("200 OK", "Expires: 3600\r\n");
    let again = focus.anew();
    assert_eq!(again, at - 1 + 32_000 + 1, "64*T1 after it left");
    focus.answer("403 Forbidden", "");
    assert_eq!(focus.ended().len(), 1);
    focus.over(false);
}

//= IM R-15 test
#[cfg_attr(test, test)]
pub(crate) fn each_reason_of_a_termination() {
    for reason in ["deactivated", "timeout"] {
        let mut focus = Focus::followed();
        let at = focus.call.world.millis();
        focus.notify(&format!("terminated;reason={reason};retry-after=100"), "");
        assert!(focus.anew() - at < 100, "{reason}: at once");
        focus.answer("200 OK", "Expires: 3600\r\n");
        focus.notify("active", &document(1, "full", ""));
        // The second time within a minute it takes a while.
        let at = focus.call.world.millis();
        focus.notify(&format!("terminated;reason={reason}"), "");
        let wait = focus.anew() - at;
        assert!((15_000..31_000).contains(&wait), "{reason}: {wait}");
        focus.answer("403 Forbidden", "");
        focus.over(false);
    }
    for (state, wait) in [
        ("terminated;reason=probation;retry-after=100", 100),
        ("terminated;reason=giveup;retry-after=7", 7),
        ("terminated;reason=giveup", 30),
        ("terminated", 30),
        ("Terminated;Reason=strange;retry-after=11", 11),
    ] {
        let mut focus = Focus::followed();
        let at = focus.call.world.millis();
        focus.notify(state, "");
        assert_eq!((focus.anew() - at) / 1000, wait, "{state}");
        focus.answer("403 Forbidden", "");
        focus.over(false);
    }
    for reason in ["rejected", "noresource", "invariant"] {
        let mut focus = Focus::followed();
        focus.notify(&format!("terminated;reason={reason};retry-after=1"), "");
        assert_eq!(focus.ended().len(), 1, "{reason}");
        let at = focus.call.world.millis();
        focus.call.nothing_to(at + 100_000);
        focus.chats();
        focus.over(false);
    }
}

//= IM R-15 test
#[cfg_attr(test, test)]
pub(crate) fn who_ends_it_again_and_again_is_left_alone() {
    let mut focus = Focus::followed();
    let mut subscribed = 0;
    while focus.ended().is_empty() && subscribed < 20 {
        focus.notify("terminated;reason=deactivated", "");
        if focus.ended().is_empty() {
            focus.anew();
            subscribed += 1;
            focus.answer("200 OK", "Expires: 3600\r\n");
        }
    }
    assert_eq!(subscribed, 8);
    focus.chats();
    focus.over(false);
}

//= IM R-16 test
#[cfg_attr(test, test)]
pub(crate) fn no_failure_ends_the_chat() {
    for line in [
        "403 Forbidden",
        "405 Method Not Allowed",
        "481 Unknown",
        "489 Bad Event",
        "420 Bad",
        "503 Busy",
        "603 No",
    ] {
        let mut focus = Focus::asked("");
        focus.answer(line, "");
        assert_eq!(focus.ended().len(), 1, "{line}");
        focus.chats();
        let at = focus.call.world.millis();
        focus.call.nothing_to(at + 100_000);
        assert_eq!(focus.ended().len(), 1, "{line}: it is told once");
        focus.over(false);
    }
    // No answer at all, and no NOTIFY after a 200.
    for answered in [false, true] {
        let mut focus = Focus::asked("");
        if answered {
            focus.answer("200 OK", "Expires: 3600\r\n");
        }
        focus.call.world.run(31_900);
        assert!(focus.ended().is_empty());
        focus.call.world.run(200);
        assert_eq!(focus.ended().len(), 1, "{:?}", focus.ended());
        focus.chats();
        focus.over(false);
    }
    // A focus that is only busy for now says so.
    let mut focus = Focus::asked("");
    let at = focus.call.world.millis();
    focus.answer("503 Busy", "Retry-After: 20\r\n");
    assert_eq!((focus.anew() - at) / 1000, 20);
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.notify("pending", "");
    focus.notify("active", &document(1, "full", ""));
    focus.over(true);
}

//= IM R-16 test
#[cfg_attr(test, test)]
pub(crate) fn the_end_of_the_session_is_the_end_of_the_subscription_wherever_it_is() {
    // The 200 is here and no NOTIFY: it is unsubscribed when the NOTIFY has made the dialog.
    let mut focus = Focus::asked("");
    focus.answer("200 OK", "Expires: 3600\r\n");
    focus.call.bye();
    focus.call.status(200);
    focus.notify("active", &document(1, "full", &user("alice", "connected")));
    let unsubscribe = focus.next();
    assert_eq!(
        (header(&unsubscribe, "Expires"), header(&unsubscribe, "CSeq")),
        ("0".into(), "2 SUBSCRIBE".into())
    );
    assert!(focus.rosters().is_empty(), "nobody wants to know any more");
    // Nobody answers that either: it goes by itself.
    focus.call.world.run(33_000);
    assert_eq!(focus.call.at_bob().client.load().subscriptions, 0);
    focus.call.over();
    // Nothing is answered at all.
    let mut focus = Focus::asked("");
    focus.call.bye();
    focus.call.world.run(33_000);
    assert_eq!(focus.call.at_bob().client.load().subscriptions, 0);
    assert!(focus.ended().is_empty());
    focus.call.over();
    // It waits for another try.
    let mut focus = Focus::followed();
    focus.notify("terminated;reason=probation;retry-after=1000", "");
    focus.over(false);
    // Bob leaves: SUBSCRIBE and BYE.
    let mut focus = Focus::followed();
    let (session, bob) = (focus.call.session(), focus.call.bob);
    focus.call.world.act(bob, |bob, now| bob.leave(now, session)).expect("leave");
    assert_eq!(header(&focus.next(), "Expires"), "0");
    focus.answer("481 Gone", "");
    let bye = focus.call.request("BYE");
    let response = focus.call.script.respond(bye.message(), "200 OK", "", "");
    focus.call.send(response);
    focus.call.world.run(10);
    assert_eq!(focus.call.at_bob().client.load().subscriptions, 0);
    focus.call.over();
}

//= IM R-17 test
#[cfg_attr(test, test)]
pub(crate) fn a_focus_that_never_says_anything_useful_is_given_up() {
    let mut focus = Focus::followed();
    for _ in 0..4 {
        focus.call.world.run(6_000);
        focus.notify("active", "<nonsense/>");
        focus.next();
        focus.answer("200 OK", "Expires: 3600\r\n");
    }
    focus.notify("active", "<nonsense/>");
    assert_eq!(focus.ended().len(), 1);
    assert_eq!(header(&focus.next(), "Expires"), "0");
    focus.answer("481 Gone", "");
    focus.chats();
    focus.over(false);
}

//= IM G-3u test
#[cfg_attr(test, test)]
pub(crate) fn a_focus_that_takes_no_subscribe_is_sent_none() {
    let contact = focus_contact();
    let (mut call, _) = in_session(accepting(Accept::All), &contact, "Allow: INVITE, ACK, BYE, NOTIFY\r\n");
    call.world.run(1000);
    assert!(call.times("SUBSCRIBE").is_empty());
    // It may change its mind.
    let rows = format!("Contact: {contact}\r\nAllow: INVITE, ACK, BYE, SUBSCRIBE\r\n");
    let update = call.script.next(&mut call.world, "UPDATE", &rows, "");
    call.send(update);
    call.status(200);
    let subscribe = call.request("SUBSCRIBE");
    let script = Script::callee(&mut call.world, call.alice, subscribe.way, subscribe.message());
    call.world.send(subscribe.way, script.respond(subscribe.message(), "403 No", "", ""));
    call.bye();
    call.status(200);
    call.over();
}
