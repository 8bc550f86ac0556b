//! Invitations that a client sends.

use std::time::Duration;

use parlour_proto::client::{Client, Misuse};
use parlour_proto::config::Accept;
use parlour_proto::event::{Ended, Progress, What};
use parlour_proto::io::{AccountId, CloseReason, FlowId, Input, SessionId};
use parlour_sim::{Link, Loss, Mail, NodeId, Script, World, text};

use crate::common::{BOB, config, finish, text as words};

const ALICE: &str = "sip:alice@192.0.2.1";

/// Bob (a client at 192.0.2.2) invites Alice (a script at 192.0.2.1).
struct Out {
    world: World,
    alice: NodeId,
    bob: NodeId,
    session: SessionId,
}

impl Out {
    fn inviting(link: Link) -> Self {
        let mut world = crate::stage::world(2);
        let (alice, bob) = (world.peer("alice"), world.client("bob", config(BOB)));
        world.link_one_way(bob, alice, link);
        let invite = world.act(bob, |bob, now| bob.invite(now, AccountId(0), ALICE, None));
        Out { world, alice, bob, session: invite.expect("invite") }
    }

    fn told(&self, fits: impl Fn(&What) -> bool) -> bool {
        self.world.client_at(self.bob).is_some_and(|bob| bob.told().any(fits))
    }

    fn times(&self, label: &str) -> Vec<u64> {
        let rows = self.world.rows().iter().filter(|row| row.label == label);
        rows.map(|row| row.at.as_millis()).collect()
    }

    fn callee(&mut self, invite: &Mail) -> Script {
        Script::callee(&mut self.world, self.alice, invite.way, invite.message())
    }

    fn over(mut self) -> World {
        finish(&mut self.world);
        self.world
    }
}

//= IM R-21 test
//= IM R-41 test
//= IM D-13 test
//= IM R-20 test
#[cfg_attr(test, test)]
pub(crate) fn invite_accept_messages_acknowledged() {
    let mut out = Out::inviting(Link::default());
    let invite = out.world.expect_request(out.alice, "INVITE");
    let user_agent = text::header(invite.message(), "User-Agent").unwrap_or_default();
    assert!(user_agent.starts_with("IM-client/OMA1.0 Parlour/"), "{user_agent}");
    assert!(
        text::header(invite.message(), "Accept-Contact").is_some_and(|value| value.contains("+g.oma.sip-im"))
    );
    assert_eq!(text::attribute(invite.message(), "setup").as_deref(), Some("actpass"));
    let callee = out.callee(&invite);
    out.world.send(invite.way, callee.respond(invite.message(), "180 Ringing", "", ""));
    out.world.run(100);
    assert!(out.told(|what| matches!(what, What::Ringing)));
    let session = out.session;
    out.world.act(out.bob, |bob, now| bob.say(now, session, words("m1-id", "hello Alice"))).expect("say");
    let answer = callee.sdp("passive", "text/plain");
    out.world.send(invite.way, callee.respond(invite.message(), "200 OK", "", &answer));
    out.world.expect_request(out.alice, "ACK");
    let media = out.world.expect_opened(out.alice);
    let send = out.world.expect_request(out.alice, "SEND");
    assert_eq!(text::body(send.message()), b"hello Alice");
    assert_eq!(send.way, media);
    out.world.send(media, callee.msrp_respond(send.message(), "200 OK"));
    out.world.run(100);
    assert!(out.told(|what| matches!(what, What::Progress { progress: Progress::Acknowledged, .. })));
    out.world.act(out.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = out.world.expect_request(out.alice, "BYE");
    out.world.send(bye.way, callee.respond(bye.message(), "200 OK", "", ""));
    out.world.run(10);
    assert!(out.told(|what| matches!(what, What::Ended(Ended::Left))));
    assert_snapshot!(out.over().ladder());
}

#[cfg_attr(test, test)]
pub(crate) fn an_invite_that_nobody_answers_is_repeated_and_ends_at_64_t1() {
    let mut out = Out::inviting(Link { loss: Loss::Percent(100), ..Link::default() });
    out.world.run_to(31_999);
    assert_eq!(out.times("INVITE"), [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert!(!out.told(|what| matches!(what, What::Ended(_))));
    out.world.run_to(32_000);
    assert!(out.told(|what| matches!(what, What::Ended(_))));
    out.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_refusal_is_acknowledged_and_told() {
    let mut out = Out::inviting(Link::default());
    let invite = out.world.expect_request(out.alice, "INVITE");
    let callee = out.callee(&invite);
    let rows = "Warning: 399 bob \"In a call\", 399 bob \"until \\\"late\\\"\u{1b}\"\r\nWarning: nonsense\r\nRetry-After: 90 (call)\r\n";
    let refusal = callee.respond(invite.message(), "486 Busy Here", rows, "");
    out.world.send(invite.way, &refusal);
    let ack = out.world.expect_request(out.alice, "ACK");
    assert_eq!(text::header(ack.message(), "Via"), text::header(invite.message(), "Via"));
    out.world.send(invite.way, &refusal);
    out.world.expect_request(out.alice, "ACK");
    let (warning, retry_after) = ("In a call; until \"late\"\\u{1b}", Duration::from_secs(90));
    let (warning, retry_after) = (Some(warning.to_owned()), Some(retry_after));
    let refused = Ended::Refused { status: 486, reason: "Busy Here".into(), warning, retry_after };
    let ended = out.world.client_at(out.bob).and_then(|bob| bob.told().last());
    assert_eq!(ended, Some(&What::Ended(refused)));
    out.over();
}

/// Whoever keeps what was said while it rang learns what became of it, and why, before the session is over.
#[cfg_attr(test, test)]
pub(crate) fn what_waited_for_an_answer_fails_with_it() {
    for refused in [true, false] {
        let mut out = Out::inviting(Link::default());
        let session = out.session;
        let invite = out.world.expect_request(out.alice, "INVITE");
        out.world.act(out.bob, |bob, now| bob.say(now, session, words("m1-id", "hello Alice"))).expect("say");
        let callee = out.callee(&invite);
        let why = if refused {
            "never sent: refused with 480 Away"
        } else {
            // Nobody has answered yet: what the user gives up has failed at once.
            out.world.act(out.bob, |bob, now| bob.leave(now, session)).expect("leave");
            "the session ended before it could be sent"
        };
        let failed = Progress::Failed { why: why.to_owned() };
        let failed = What::Progress { message_id: "m1-id".to_owned(), progress: failed };
        assert_eq!(out.told(|what| *what == failed), !refused);
        out.world.send(invite.way, callee.respond(invite.message(), "480 Away", "", ""));
        out.world.expect_request(out.alice, "ACK");
        let told: Vec<&What> = out.world.client_at(out.bob).expect("bob is a client").told().collect();
        let place =
            |fits: &dyn Fn(&What) -> bool| told.iter().position(|what| fits(what)).expect("it is told");
        assert!(place(&|what| *what == failed) < place(&|what| matches!(what, What::Ended(_))));
        assert_eq!(told.iter().filter(|what| matches!(what, What::Progress { .. })).count(), 1);
        // Whoever ends leaves all sessions, and nobody would leave one that began afterwards.
        let late = out.world.act(out.bob, |bob, now| {
            bob.shutdown(now);
            bob.invite(now, AccountId(0), ALICE, None)
        });
        assert_eq!(late, Err(Misuse::Ending));
        out.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn taken_back_before_and_after_the_first_response() {
    let mut out = Out::inviting(Link::default());
    let session = out.session;
    let invite = out.world.expect_request(out.alice, "INVITE");
    out.world.act(out.bob, |bob, now| bob.leave(now, session)).expect("leave");
    // RFC 3261 9.1: no CANCEL before a provisional response.
    out.world.expect_nothing_to(out.alice, 400);
    let callee = out.callee(&invite);
    out.world.send(invite.way, callee.respond(invite.message(), "180 Ringing", "", ""));
    let cancel = out.world.expect_request(out.alice, "CANCEL");
    assert_eq!(text::header(cancel.message(), "Via"), text::header(invite.message(), "Via"));
    out.world.send(cancel.way, callee.respond(cancel.message(), "200 OK", "", ""));
    out.world.send(invite.way, callee.respond(invite.message(), "487 Request Terminated", "", ""));
    out.world.expect_request(out.alice, "ACK");
    assert_snapshot!(out.over().ladder());
}

#[cfg_attr(test, test)]
pub(crate) fn a_200_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut out = Out::inviting(Link::default());
    let session = out.session;
    let invite = out.world.expect_request(out.alice, "INVITE");
    let callee = out.callee(&invite);
    out.world.send(invite.way, callee.respond(invite.message(), "180 Ringing", "", ""));
    out.world.run(10);
    out.world.act(out.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let answer = callee.sdp("passive", "text/plain");
    out.world.send(invite.way, callee.respond(invite.message(), "200 OK", "", &answer));
    let cancel = out.world.expect_request(out.alice, "CANCEL");
    out.world.send(cancel.way, callee.respond(cancel.message(), "200 OK", "", ""));
    out.world.expect_request(out.alice, "ACK");
    let bye = out.world.expect_request(out.alice, "BYE");
    out.world.send(bye.way, callee.respond(bye.message(), "200 OK", "", ""));
    assert_snapshot!(out.over().ladder());
}

#[cfg_attr(test, test)]
pub(crate) fn an_unusable_answer_is_acknowledged_and_ended() {
    let mut out = Out::inviting(Link::default());
    let invite = out.world.expect_request(out.alice, "INVITE");
    let callee = out.callee(&invite);
    let answer = callee.sdp("passive", "text/plain").replace("m=message 2855", "m=message 0");
    out.world.send(invite.way, callee.respond(invite.message(), "200 OK", "", &answer));
    out.world.expect_request(out.alice, "ACK");
    let bye = out.world.expect_request(out.alice, "BYE");
    out.world.send(bye.way, callee.respond(bye.message(), "200 OK", "", ""));
    out.over();
}

#[cfg_attr(test, test)]
pub(crate) fn two_clients_talk_over_bad_links() {
    for seed in 0..20 {
        let mut world = crate::stage::world(seed);
        let alice = world.client("alice", config(ALICE));
        let all = parlour_proto::config::Config { accept: Accept::All, ..config(BOB) };
        let bob = world.client("bob", all);
        let millis = std::time::Duration::from_millis;
        let link = Link { loss: Loss::Percent(20), duplicate: 10, jitter: millis(100), ..Link::delayed(30) };
        world.link(alice, bob, link);
        let session =
            world.act(alice, |alice, now| alice.invite(now, AccountId(0), BOB, None)).expect("invite");
        let large = "y".repeat(40 * 1024);
        for (id, body) in [("m1-id", "hello"), ("m2-id", large.as_str()), ("m3-id", "bye")] {
            world.act(alice, |alice, now| alice.say(now, session, words(id, body))).expect("say");
        }
        world.run(60_000);
        let stored = world.client_at(bob).map(|bob| bob.stored_texts()).unwrap_or_default();
        assert_eq!(stored, ["hello", large.as_str(), "bye"], "seed {seed}\n{}", world.ladder());
        world.act(alice, |alice, now| alice.leave(now, session)).expect("leave");
        finish(&mut world);
    }
}

#[cfg_attr(test, test)]
pub(crate) fn an_invite_that_cannot_leave_fails_at_once() {
    let mut world = crate::stage::world(1);
    let (alice, bob) = (world.peer("alice"), world.client("bob", config(BOB)));
    let invite = |bob: &mut Client, now| bob.invite(now, AccountId(0), "sip:alice@192.0.2.1", None);
    world.act(bob, invite).expect("invite");
    world.expect_request(alice, "INVITE");
    let (there, elsewhere) = (world.address(alice, 5060), world.address(alice, 5070));
    for (peer, lost) in [(elsewhere, 0), (there, 1)] {
        let unsent = |bob: &mut Client, now| {
            let flow = FlowId::Udp { socket: 0, peer };
            bob.handle(now, Input::Closed { flow, why: CloseReason::Error });
            Ok(())
        };
        world.act(bob, unsent).expect("no verb");
        let told = world.client_at(bob).expect("bob is a client").told();
        assert_eq!(told.filter(|what| matches!(what, What::Ended(Ended::Lost { .. }))).count(), lost);
    }
    world.expect_nothing_to(alice, 40_000);
    finish(&mut world);
}

//= IM X-14 test
#[cfg_attr(test, test)]
pub(crate) fn a_redirection_is_told_and_not_followed() {
    let mut world = crate::stage::world(1);
    let (alice, bob) = (world.peer("alice"), world.client("bob", config(BOB)));
    let invite = |bob: &mut Client, now| bob.invite(now, AccountId(0), "sip:alice@192.0.2.1", None);
    world.act(bob, invite).expect("invite");
    let invite = world.expect_request(alice, "INVITE");
    let callee = Script::callee(&mut world, alice, invite.way, invite.message());
    let moved = callee.respond(invite.message(), "302 Moved Temporarily", "", "");
    world.send(invite.way, moved.replace("<sip:192.0.2.1:5060>", "<sip:alice@192.0.2.1:5070>"));
    world.expect_request(alice, "ACK");
    world.expect_nothing_to(alice, 40_000);
    let told = world.client_at(bob).expect("bob is a client").told();
    assert_eq!(
        told.filter(|what| matches!(what, What::Ended(Ended::Refused { status: 302, .. }))).count(),
        1
    );
    assert_eq!(world.rows().iter().filter(|row| row.label.starts_with("INVITE")).count(), 1);
    finish(&mut world);
}

//= IM D-50 test
//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_callee_who_rings_may_refresh_and_not_offer() {
    let mut out = Out::inviting(Link::default());
    let invite = out.world.expect_request(out.alice, "INVITE");
    let mut callee = out.callee(&invite);
    let early = |out: &mut Out, callee: &mut Script, method: &str, body: &str, status: u16| {
        let request = callee.next(&mut out.world, method, "Contact: <sip:192.0.2.1:5060>\r\n", body);
        out.world.send(invite.way, request);
        out.world.expect_status(out.alice, status)
    };
    early(&mut out, &mut callee, "UPDATE", "", 481);
    out.world.send(invite.way, callee.respond(invite.message(), "180 Ringing", "", ""));
    out.world.run(0);
    let refreshed = early(&mut out, &mut callee, "UPDATE", "", 200);
    assert!(text::header(refreshed.message(), "Contact").is_some());
    let offer = callee.offer();
    early(&mut out, &mut callee, "UPDATE", &offer, 491);
    early(&mut out, &mut callee, "INVITE", &offer, 491);
    early(&mut out, &mut callee, "BYE", "", 481);
    let tag = std::mem::replace(&mut callee.local_tag, "guess".to_owned());
    early(&mut out, &mut callee, "UPDATE", "", 481);
    callee.local_tag = tag;
    let answer = callee.sdp("passive", "text/plain");
    out.world.send(invite.way, callee.respond(invite.message(), "200 OK", "", &answer));
    out.world.expect_request(out.alice, "ACK");
    assert!(out.told(|what| matches!(what, What::Established { .. })));
    out.over();
}
