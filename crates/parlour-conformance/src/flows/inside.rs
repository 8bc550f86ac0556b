//! Our own requests inside a dialog: when the connection that made it is gone, when they are challenged, and when more
//! answers come than can be.

use parlour_proto::config::{Accept, Config};
use parlour_proto::event::{Ended, What};
use parlour_proto::io::{Service, Transport};
use parlour_sim::{Mail, Script, Way, text};

use crate::common::{BOB, Call, accepting, config, finish};
use crate::flows::hostile::{HOME, at_home, challenge};
use crate::flows::session_timer::{Out, called_with, has, row};

const TIMED: &str = "Session-Expires: 90;refresher=uas\r\nSupported: timer\r\n";
const GRANTED: &str = "Session-Expires: 90;refresher=uac\r\nRequire: timer\r\n";
const FOCUS: &str = "<sip:room@192.0.2.1:5060>;isfocus";

/// Alice calls over TCP, with these rows and this Contact, and her media is bound.
fn called_over_tcp(contact: &str, rows: &str) -> (Call, Way) {
    let mut world = crate::stage::world(1);
    let (alice, bob) = (world.peer("alice"), world.client("bob", accepting(Accept::All)));
    let to = world.address(bob, 5060);
    let way = world.open(alice, to, Service::Sip);
    world.expect_opened(alice);
    let script = Script::caller(&mut world, alice, way, BOB);
    let mut call = Call { world, alice, bob, way, script };
    let invite = call.script.invite_with(rows, &call.script.offer());
    call.send(invite.replacen("<sip:192.0.2.1:5060>", contact, 1));
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    (call, media)
}

/// A request that came over another connection than the one before, and says where we are.
#[track_caller]
fn came_anew(call: &Call, request: &Mail) {
    assert_ne!(request.way, call.way);
    let value = |name| text::header(request.message(), name).unwrap_or_default();
    assert!(value("Contact").contains("192.0.2.2:"), "{}", text::lossy(request.message()));
    assert!(value("Via").contains("192.0.2.2:"), "{}", text::lossy(request.message()));
}

#[track_caller]
fn ends(mut call: Call, way: Way) {
    call.way = way;
    call.bye();
    call.status(200);
    call.over();
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_is_refreshed_over_a_new_connection_when_its_own_is_gone() {
    let (mut call, _) = called_over_tcp("<sip:192.0.2.1:5060>", TIMED);
    call.world.close(call.way);
    call.world.run_to(44_900);
    let refresh = call.request("INVITE");
    came_anew(&call, &refresh);
    let granted = call.script.respond(refresh.message(), "200 OK", GRANTED, &call.script.offer());
    call.world.send(refresh.way, granted);
    assert_eq!(call.request("ACK").way, refresh.way);
    call.world.run_to(89_900);
    assert_eq!(call.request("INVITE").way, refresh.way, "it is the way of the session now");
    ends(call, refresh.way);
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn media_are_mended_over_a_new_connection_when_both_are_gone() {
    let (mut call, media) = called_over_tcp("<sip:192.0.2.1:5060>", "");
    call.world.close(call.way);
    call.world.close(media);
    call.world.run(3000);
    let offer = call.request("INVITE");
    came_anew(&call, &offer);
    call.script.peer_path = text::attribute(offer.message(), "path").expect("a path");
    let answer = call.script.sdp("active", "text/plain");
    call.world.send(offer.way, call.script.respond(offer.message(), "200 OK", "", &answer));
    call.request("ACK");
    let media = call.connect();
    call.world.send(media, call.script.msrp_send("tid1", "m1-id", "here again"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["here again"]);
    ends(call, offer.way);
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn who_cannot_be_reached_any_more_is_left_after_three_tries() {
    let (mut call, media) = called_over_tcp("<sip:192.0.2.77:5060>", "");
    call.world.close(call.way);
    call.world.close(media);
    call.world.run(20_000);
    let failed = |what: &What| matches!(what, What::Ended(Ended::MediaFailed { .. }));
    assert!(call.at_bob().told().any(failed), "{}", call.world.ladder());
    call.over();
}

fn notify(call: &mut Call, focus: &mut Script, way: Way, state: &str) {
    let rows =
        format!("Contact: <sip:room@192.0.2.1:5060>\r\nEvent: conference\r\nSubscription-State: {state}\r\n");
    let request = focus.next(&mut call.world, "NOTIFY", &rows, "");
    call.world.send(way, request);
    call.status(200);
}

//= IM R-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_subscription_is_refreshed_over_a_new_connection_when_its_own_is_gone() {
    let (mut call, _) = called_over_tcp(FOCUS, "");
    let subscribe = call.request("SUBSCRIBE");
    let mut focus = Script::callee(&mut call.world, call.alice, subscribe.way, subscribe.message());
    call.send(focus.respond(subscribe.message(), "200 OK", "Expires: 60\r\n", ""));
    notify(&mut call, &mut focus, subscribe.way, "active;expires=60");
    call.world.close(call.way);
    call.world.run_to(29_900);
    let refresh = call.request("SUBSCRIBE");
    came_anew(&call, &refresh);
    has(&refresh, "CSeq", "2 SUBSCRIBE");
    call.world.send(refresh.way, focus.respond(refresh.message(), "200 OK", "Expires: 60\r\n", ""));
    notify(&mut call, &mut focus, refresh.way, "active;expires=60");
    call.world.run_to(59_900);
    let again = call.request("SUBSCRIBE");
    assert_eq!(again.way, refresh.way);
    call.world.send(again.way, focus.respond(again.message(), "200 OK", "Expires: 60\r\n", ""));
    notify(&mut call, &mut focus, again.way, "terminated;reason=noresource");
    assert_eq!(call.at_bob().client.load().subscriptions, 0);
    ends(call, refresh.way);
}

//= IM R-15 test
#[cfg_attr(test, test)]
pub(crate) fn timer_n_runs_over_a_connection_too() {
    let (mut call, _) = called_over_tcp(FOCUS, "");
    let subscribe = call.request("SUBSCRIBE");
    let focus = Script::callee(&mut call.world, call.alice, subscribe.way, subscribe.message());
    call.send(focus.respond(subscribe.message(), "200 OK", "Expires: 3600\r\n", ""));
    let ended = |call: &Call| call.at_bob().told().any(|what| matches!(what, What::RosterEnded { .. }));
    call.world.run_to(31_999);
    assert!(!ended(&call));
    call.world.run_to(32_001);
    assert!(ended(&call), "{}", call.world.ladder());
    assert_eq!(call.at_bob().client.load().subscriptions, 0);
    let way = call.way;
    ends(call, way);
}

//= IM X-8 test
#[cfg_attr(test, test)]
pub(crate) fn the_peers_new_connection_is_the_way_of_the_session() {
    let (mut call, _) = called_over_tcp("<sip:192.0.2.1:5060>", "");
    call.world.close(call.way);
    call.world.run(10);
    let to = call.world.address(call.bob, 5060);
    let second = call.world.open(call.alice, to, Service::Sip);
    call.world.expect_opened(call.alice);
    let update = call.script.next(&mut call.world, "UPDATE", "Contact: <sip:192.0.2.1:5060>\r\n", "");
    call.world.send(second, update);
    call.status(200);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = call.request("BYE");
    assert_eq!(bye.way, second);
    call.world.send(second, call.script.respond(bye.message(), "200 OK", "", ""));
    call.over();
}

/// The number of a request.
fn number(mail: &Mail) -> u32 {
    let cseq = row(mail, "CSeq").unwrap_or_default();
    cseq.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

//= IM X-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_refresh_that_is_challenged_is_repeated_with_credentials() {
    for (status, allow, method) in
        [(401, "", "INVITE"), (407, "", "INVITE"), (401, "Allow: UPDATE\r\n", "UPDATE")]
    {
        let mut call = Call::new(Config { accept: Accept::All, ..at_home("192.0.2.1", Transport::Udp) });
        call.script = Script::caller(&mut call.world, call.alice, call.way, HOME);
        call.send(call.script.invite_with(&format!("{allow}{TIMED}"), &call.script.offer()));
        let answer = call.status(200);
        call.ack(&answer);
        let (name, body) =
            (if status == 401 { "Authorization" } else { "Proxy-Authorization" }, call.script.offer());
        let media = call.connect();
        call.world.send(media, call.script.msrp_empty("bind1"));
        call.status(200);
        for at in [44_900, 89_900] {
            call.world.run_to(at);
            let refresh = call.request(method);
            let (line, challenge) = challenge(status, "example.net");
            call.send(call.script.respond(refresh.message(), &line, &challenge, ""));
            if method == "INVITE" {
                call.request("ACK");
            }
            let again = call.request(method);
            assert_eq!(number(&again), number(&refresh) + 1);
            let proof = row(&again, name).unwrap_or_default();
            assert!(proof.contains("username=\"bob\"") && proof.contains("nc=0000000"), "{proof}");
            for same in ["Call-ID", "From", "To", "Session-Expires"] {
                assert_eq!(row(&again, same), row(&refresh, same));
            }
            assert_eq!(text::body(again.message()), text::body(refresh.message()));
            let body = if method == "INVITE" { body.as_str() } else { "" };
            call.send(call.script.respond(again.message(), "200 OK", GRANTED, body));
            if method == "INVITE" {
                // RFC 3261 22.1: an ACK cannot be challenged.
                assert_eq!(row(&call.request("ACK"), name), Some(proof));
            }
        }
        call.bye();
        call.over();
    }
}

//= IM X-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_bye_that_is_challenged_is_repeated_and_its_200_is_no_challenge() {
    let mut call = Call::new(Config { accept: Accept::All, ..at_home("192.0.2.1", Transport::Udp) });
    call.script = Script::caller(&mut call.world, call.alice, call.way, HOME);
    call.send(call.script.invite_with("", &call.script.offer()));
    let answer = call.status(200);
    call.ack(&answer);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = call.request("BYE");
    let (line, challenge) = challenge(401, "example.net");
    call.send(call.script.respond(bye.message(), &line, &challenge, ""));
    let again = call.request("BYE");
    assert_eq!(number(&again), number(&bye) + 1);
    assert!(row(&again, "Authorization").is_some());
    call.send(call.script.respond(again.message(), "200 OK", "", ""));
    call.world.run(0);
    let explains = |what: &What| matches!(what, What::Explain(why) if why.clause == "X-41");
    assert!(!call.at_bob().events.iter().any(|(_, event)| explains(&event.what)));
    call.over();
}

//= IM R-61 test
//= IM X-41 test
#[cfg_attr(test, test)]
pub(crate) fn each_prack_that_is_challenged_is_repeated_with_credentials() {
    let mut out = Out::inviting(at_home("192.0.2.1", Transport::Udp));
    for rseq in 1..=3 {
        out.respond("180 Ringing", &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"), "");
        let prack = out.world.expect_request(out.alice, "PRACK");
        let (line, challenge) = challenge(407, "example.net");
        out.world.send(prack.way, out.callee.respond(prack.message(), &line, &challenge, ""));
        let again = out.world.expect_request(out.alice, "PRACK");
        assert_eq!(number(&again), number(&prack) + 1);
        has(&again, "RAck", &format!("{rseq} 1 INVITE"));
        assert!(row(&again, "Proxy-Authorization").is_some());
        out.world.send(again.way, out.callee.respond(again.message(), "200 OK", "", ""));
        out.world.run(0);
    }
    out.respond("486 Busy Here", "", "");
    out.over();
}

#[cfg_attr(test, test)]
pub(crate) fn an_invite_inside_a_session_does_not_fork() {
    let (mut call, _) = called_with(config(BOB), TIMED);
    call.world.run_to(44_900);
    let refresh = call.request("INVITE");
    let granted = call.script.respond(refresh.message(), "200 OK", GRANTED, &call.script.offer());
    call.send(&granted);
    call.request("ACK");
    let tag = format!("tag={}", call.script.local_tag);
    assert!(granted.contains(&tag));
    for fork in 0..5 {
        call.send(granted.replace(&tag, &format!("tag=made-up-{fork}")));
    }
    call.nothing_to(call.world.millis() + 1000);
    // Who answered first may have missed the ACK.
    call.send(&granted);
    call.request("ACK");
    call.bye();
    call.status(200);
    finish(&mut call.world);
}
