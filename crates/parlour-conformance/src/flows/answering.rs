//! Invitations that a client answers: flows and timelines (catalogue 1.1, 1.4 and 7.4).

use crate::common::{Call, accepting, config, finish};
use parlour_proto::client::Decline;
use parlour_proto::config::Accept;
use parlour_proto::event::{Ended, What};
use parlour_sim::text;
use parlour_sim::{Link, Loss};

/// When a 2xx is sent again, in milliseconds (RFC 3261 13.3.1.4).
const RESENT: [u64; 11] = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];

//= IM S-2 test
//= IM S-7 test
//= IM S-8 test
//= IM S-11 test
//= IM S-12 test
#[cfg_attr(test, test)]
pub(crate) fn accept_messages_both_ways_and_bye() {
    let mut call = Call::new(config(crate::common::BOB));
    call.world.link(call.alice, call.bob, Link::delayed(10));
    call.send(call.script.invite());
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    call.world.run(1000);
    call.accept();
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_send("tid1", "m1", "hello Bob"));
    call.status(200);
    let session = call.session();
    call.world
        .act(call.bob, |bob, now| bob.say(now, session, crate::common::text("m2-id", "hello Alice")))
        .expect("say");
    let send = call.request("SEND");
    assert_eq!(text::body(send.message()), b"hello Alice");
    call.world.send(media, call.script.msrp_respond(send.message(), "200 OK"));
    call.world.run(100);
    call.bye();
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["hello Bob"]);
    let world = call.over();
    assert_snapshot!(world.ladder());
}

//= IM S-3 test
//= IM S-4 test
#[cfg_attr(test, test)]
pub(crate) fn declined_with_603_and_never_a_2xx() {
    let mut call = Call::ringing();
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.decline(now, session, Decline::Declined)).expect("decline");
    call.refused(603);
    let world = call.over();
    assert!(
        !world.rows().iter().any(|row| text::status(&row.octets).is_some_and(|status| status / 100 == 2))
    );
    assert_snapshot!(world.ladder());
}

//= IM S-3 test
#[cfg_attr(test, test)]
pub(crate) fn nobody_answers_and_480_goes_out_when_ringing_ends() {
    let mut call = Call::ringing();
    call.world.run_to(119_999);
    assert_eq!(call.times("480 No answer"), []);
    call.world.run_to(120_000);
    assert_eq!(call.times("480 No answer"), [120_000]);
    // RFC 3261 13.3.1.1: a provisional response each minute keeps proxies waiting.
    assert_eq!(call.times("180 Ringing"), [0, 60_000]);
    assert!(call.at_bob().told().any(|what| matches!(what, What::Missed { why: Ended::NoAnswer, .. })));
    call.refused(480);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_cancel_that_overtakes_its_invite_is_unknown() {
    let mut call = Call::new(config(crate::common::BOB));
    call.send(call.script.cancel());
    call.status(481);
    call.send(call.script.invite());
    call.status(180);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.decline(now, session, Decline::Busy)).expect("decline");
    call.refused(486);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn cancelled_while_it_rings() {
    let mut call = Call::ringing();
    call.world.run(1000);
    call.send(call.script.cancel());
    let ok = call.status(200);
    assert_eq!(text::header(ok.message(), "CSeq").as_deref(), Some("1 CANCEL"));
    call.refused(487);
    let missed =
        |what: &What| matches!(what, What::Missed { why: Ended::Cancelled { elsewhere: false }, .. });
    assert!(call.at_bob().told().any(missed));
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.accept(now, session)).expect_err("there is nothing to accept");
    assert_snapshot!(call.over().ladder());
}

//= IM S-8 test
#[cfg_attr(test, test)]
pub(crate) fn a_cancel_that_crosses_the_200_changes_nothing() {
    let (mut call, answer) = Call::answered();
    call.send(call.script.cancel());
    let ok = call.status(200);
    assert_eq!(text::header(ok.message(), "CSeq").as_deref(), Some("1 CANCEL"));
    call.ack(&answer);
    call.nothing_to(10_000);
    assert_eq!(call.at_bob().client.load().sessions, 1);
    call.bye();
    call.status(200);
    assert_snapshot!(call.over().ladder());
}

//= IM S-8 test
#[cfg_attr(test, test)]
pub(crate) fn without_ack_the_200_is_sent_again_to_64_t1_then_bye() {
    let (mut call, _) = Call::answered();
    call.world.run_to(31_999);
    assert_eq!(call.times("200 OK"), RESENT);
    assert_eq!(call.times("BYE"), []);
    call.world.run_to(32_000);
    assert_eq!(call.times("BYE"), [32_000]);
    let bye = call.request("BYE");
    call.ok(&bye);
    call.world.run(0);
    assert!(call.at_bob().told().any(|what| matches!(what, What::Ended(Ended::NoAck))));
    call.over();
}

//= IM S-8 test
#[cfg_attr(test, test)]
pub(crate) fn the_200_is_resent_over_tcp_too_and_stops_at_the_ack() {
    let mut call = Call::new(accepting(Accept::All));
    let to = call.world.address(call.bob, 5060);
    call.way = call.world.open(call.alice, to, parlour_proto::io::Service::Sip);
    call.script = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, crate::common::BOB);
    call.send(call.script.invite());
    let answer = call.status(200);
    call.world.run_to(2000);
    assert_eq!(call.times("200 OK"), RESENT[..3]);
    call.ack(&answer);
    call.world.run_to(20_000);
    assert_eq!(call.times("200 OK"), RESENT[..3]);
    call.bye();
    call.world.run(10);
    assert_eq!(call.times("200 OK (BYE)"), [20_000]);
    call.over();
}

//= IM X-12 test
#[cfg_attr(test, test)]
pub(crate) fn a_retransmitted_invite_alerts_once_and_gets_the_same_response() {
    let mut call = Call::new(config(crate::common::BOB));
    let invite = call.script.invite();
    call.send(&invite);
    let first = call.status(180);
    call.world.run(500);
    call.send(&invite);
    assert_eq!(call.status(180).message(), first.message());
    call.accept();
    let answer = call.status(200);
    call.send(&invite);
    call.world.run(0);
    let again = call.status(200);
    assert_eq!(again.message(), answer.message());
    assert_eq!(call.invitations(), 1);
    call.ack(&answer);
    call.bye();
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_refusal_is_sent_again_for_a_retransmission_and_until_the_ack() {
    let mut call = Call::new(config(crate::common::BOB));
    let invite = call.script.invite_with("Require: foo\r\n", &call.script.offer());
    call.send(&invite);
    let refusal = call.status(420);
    call.world.run_to(100);
    call.send(&invite);
    assert_eq!(call.status(420).message(), refusal.message());
    call.world.run_to(1600);
    assert_eq!(call.times("420 Bad Extension"), [0, 100, 500, 1500]);
    call.ack_refusal(&refusal);
    call.world.run_to(60_000);
    assert_eq!(call.times("420 Bad Extension").len(), 4);
    call.over();
}

//= IM X-12 test
#[cfg_attr(test, test)]
pub(crate) fn the_same_invite_by_another_way_is_merged() {
    let mut call = Call::ringing();
    let mut other = call.script.clone();
    other.remote_tag = None;
    other.branch = "z9hG4bK-ok-other".to_owned();
    call.send(other.invite());
    call.status(482);
    assert_eq!(call.invitations(), 1);
    call.send(call.script.cancel());
    finish(&mut call.world);
}

//= IM S-1a test
#[cfg_attr(test, test)]
pub(crate) fn an_invite_without_an_offer_gets_one_in_the_200() {
    let mut call = Call::new(config(crate::common::BOB));
    call.send(call.script.invite_with("", ""));
    call.status(180);
    call.accept();
    let answer = call.status(200);
    assert_eq!(text::header(answer.message(), "Content-Type").as_deref(), Some("application/sdp"));
    let setup = text::attribute(answer.message(), "setup");
    assert!(matches!(setup.as_deref(), Some("actpass" | "active")), "{setup:?}");
    call.script.learn(answer.message());
    let branch = "z9hG4bK-the-ack";
    let setup = if setup.as_deref() == Some("actpass") { "active" } else { "passive" };
    let sdp = call.script.sdp(setup, "text/plain message/cpim");
    call.send(call.script.request("ACK", branch, "", &sdp));
    call.world.run(0);
    let established = |what: &What| matches!(what, What::Established { .. });
    assert!(call.at_bob().told().any(established));
    call.bye();
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn our_own_offer_is_forgotten_when_no_ack_comes() {
    let mut call = Call::new(accepting(Accept::All));
    call.send(call.script.invite_with("", ""));
    call.status(200);
    call.world.run_to(32_000);
    let bye = call.request("BYE");
    call.ok(&bye);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn an_answer_in_ack_that_cannot_be_used_ends_the_session() {
    let mut call = Call::new(accepting(Accept::All));
    call.send(call.script.invite_with("", ""));
    let answer = call.status(200);
    call.script.learn(answer.message());
    let sdp = call.script.sdp("active", "text/plain").replace("TCP/MSRP", "TCP/FOO");
    call.send(call.script.request("ACK", "z9hG4bK-the-ack", "", &sdp));
    let bye = call.request("BYE");
    call.ok(&bye);
    call.over();
}

//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn a_reinvite_with_the_same_origin_gets_the_same_answer() {
    let (mut call, answer) = Call::answered();
    call.ack(&answer);
    let rows = "Contact: <sip:192.0.2.1:5060>\r\n";
    let offer = call.script.offer();
    let reinvite = call.script.next(&mut call.world, "INVITE", rows, &offer);
    call.send(reinvite);
    let again = call.status(200);
    assert_eq!(text::body(again.message()), text::body(answer.message()));
    call.ack(&again);
    call.bye();
    call.status(200);
    call.over();
}

//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn a_reinvite_that_cannot_be_taken_gets_488_and_the_session_lives() {
    let (mut call, media) = Call::connected();
    let rows = "Contact: <sip:192.0.2.1:5060>\r\n";
    let offer = call.script.offer().replace("o=- 1 1", "o=- 1 2").replace("TCP/MSRP", "TCP/FOO");
    let reinvite = call.script.next(&mut call.world, "INVITE", rows, &offer);
    call.send(reinvite);
    let refusal = call.status(488);
    let mut ack = call.script.clone();
    let ack = ack.ack_refusal(refusal.message());
    call.send(ack);
    call.world.send(media, call.script.msrp_send("tid9", "m9", "still here"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["still here"]);
    call.bye();
    call.status(200);
    call.over();
}

//= IM R-2 test
//= IM G-1a test
//= IM R-1 test
#[cfg_attr(test, test)]
pub(crate) fn above_max_sessions_486_without_alerting() {
    let mut call = Call::new(parlour_proto::config::Config { max_sessions: 1, ..accepting(Accept::All) });
    call.send(call.script.invite());
    let answer = call.status(200);
    call.ack(&answer);
    let mut other = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, crate::common::BOB);
    call.send(other.invite());
    let refusal = call.status(486);
    let ack = other.ack_refusal(refusal.message());
    call.send(ack);
    assert_eq!(call.invitations(), 1);
    call.bye();
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn we_leave_and_bye_is_sent_again_until_it_is_answered() {
    let (mut call, _) = Call::connected();
    call.world.link_one_way(call.bob, call.alice, Link { loss: Loss::These(vec![1, 2]), ..Link::default() });
    let session = call.session();
    let start = call.world.millis();
    call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis() - start, 1500);
    call.ok(&bye);
    call.world.run_to(start + 60_000);
    assert_eq!(call.times("BYE").len(), 3);
    call.over();
}
