//! Early dialogs of our own invitations: reliable responses, PRACK, answers that come before the 200.

use parlour_proto::event::{Ended, What};
use parlour_proto::io::AccountId;
use parlour_sim::{Mail, NodeId, Script, World, text};

use super::early::header;
use crate::common::{BOB, config, finish};

/// Bob, a client, has invited Alice, a script.
struct Out {
    world: World,
    alice: NodeId,
    bob: NodeId,
    invite: Mail,
    callee: Script,
}

impl Out {
    fn new() -> Self {
        let mut world = crate::stage::world(3);
        let (alice, bob) = (world.peer("alice"), world.client("bob", config(BOB)));
        let invited = world.act(bob, |bob, now| bob.invite(now, AccountId(0), "sip:alice@192.0.2.1", None));
        invited.expect("invite");
        let invite = world.expect_request(alice, "INVITE");
        let callee = Script::callee(&mut world, alice, invite.way, invite.message());
        Out { world, alice, bob, invite, callee }
    }

    /// Alice answers the INVITE.
    fn answer(&mut self, line: &str, rows: &str, body: &str) {
        let response = self.callee.respond(self.invite.message(), line, rows, body);
        self.world.send(self.invite.way, response);
        self.world.run(0);
    }

    /// Alice answers it reliably.
    fn reliably(&mut self, line: &str, rseq: u32, body: &str) {
        self.answer(line, &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"), body);
    }

    /// Bob's PRACK is here, for this number, and is confirmed.
    #[track_caller]
    fn pracked(&mut self, rseq: u32) {
        let prack = self.world.expect_request(self.alice, "PRACK");
        assert_eq!(header(&prack, "RAck"), format!("{rseq} 1 INVITE"));
        self.world.send(prack.way, self.callee.respond(prack.message(), "200 OK", "", ""));
        self.world.run(0);
    }

    fn requests(&self, method: &str) -> usize {
        self.world.rows().iter().filter(|row| text::method(&row.octets).as_deref() == Some(method)).count()
    }

    fn told(&self, fits: impl Fn(&What) -> bool) -> bool {
        self.world.client_at(self.bob).is_some_and(|bob| bob.told().any(fits))
    }

    /// Alice has answered 200: the session stands, and Bob leaves it.
    fn stands_and_ends(mut self) -> World {
        let ack = self.world.expect_request(self.alice, "ACK");
        assert!(header(&ack, "CSeq").starts_with("1 "));
        assert!(self.told(|what| matches!(what, What::Established { .. })));
        let session = self.world.client_at(self.bob).and_then(|bob| bob.last_session()).expect("a session");
        self.world.act(self.bob, |bob, now| bob.leave(now, session)).expect("leave");
        let bye = self.world.expect_request(self.alice, "BYE");
        let number = 2 + self.requests("PRACK");
        assert_eq!(header(&bye, "CSeq"), format!("{number} BYE"), "the PRACKs have numbers too");
        self.world.send(bye.way, self.callee.respond(bye.message(), "200 OK", "", ""));
        finish(&mut self.world);
        self.world
    }
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn a_reliable_180_to_our_invite_gets_its_prack() {
    let mut out = Out::new();
    assert!(header(&out.invite, "Supported").split(", ").any(|tag| tag == "100rel"));
    assert!(header(&out.invite, "Allow").contains("PRACK"));
    out.reliably("180 Ringing", 7, "");
    out.pracked(7);
    assert!(out.told(|what| matches!(what, What::Ringing)));
    // RFC 3262 4: retransmissions and what comes too early are passed over; the next one is not.
    out.reliably("180 Ringing", 7, "");
    out.reliably("180 Ringing", 9, "");
    out.reliably("180 Ringing", 8, "");
    out.pracked(8);
    out.reliably("180 Ringing", 9, "");
    out.pracked(9);
    assert_eq!(out.requests("PRACK"), 3);
    let answer = out.callee.sdp("active", "text/plain");
    out.answer("200 OK", "", &answer);
    assert_snapshot!(out.stands_and_ends().ladder());
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_in_a_reliable_183_counts_and_the_200_needs_none() {
    for with_another in [false, true] {
        let mut out = Out::new();
        let answer = out.callee.sdp("active", "text/plain");
        out.reliably("183 Session Progress", u32::MAX - 5, &answer);
        out.pracked(u32::MAX - 5);
        assert!(!out.told(|what| matches!(what, What::Ringing)));
        // RFC 3261 13.2.1: whatever else comes is passed over.
        let body = if with_another { out.callee.sdp("active", "image/png") } else { String::new() };
        out.answer("200 OK", "", &body);
        out.stands_and_ends();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn an_answer_in_a_reliable_183_that_cannot_be_taken_is_acknowledged_and_cancelled() {
    let mut out = Out::new();
    let answer = out.callee.sdp("active", "image/png");
    out.reliably("183 Session Progress", 1, &answer);
    out.pracked(1);
    let cancel = out.world.expect_request(out.alice, "CANCEL");
    out.world.send(cancel.way, out.callee.respond(cancel.message(), "200 OK", "", ""));
    out.answer("487 Request Terminated", "", "");
    out.world.expect_request(out.alice, "ACK");
    assert!(out.told(|what| matches!(what, What::Ended(Ended::MediaFailed { .. }))));
    finish(&mut out.world);
}

#[cfg_attr(test, test)]
pub(crate) fn what_only_looks_reliable_is_not_acknowledged() {
    let mut out = Out::new();
    out.answer("100 Trying", "Require: 100rel\r\nRSeq: 1\r\n", "");
    out.answer("180 Ringing", "Require: 100rel\r\n", "");
    out.answer("180 Ringing", "Require: 100rel\r\nRSeq: 0\r\n", "");
    out.answer("180 Ringing", "RSeq: 1\r\n", "");
    out.world.run_to(5000);
    assert_eq!(out.requests("PRACK"), 0);
    assert!(out.told(|what| matches!(what, What::Ringing)), "the last one is an ordinary 180");
    let answer = out.callee.sdp("active", "text/plain");
    out.answer("200 OK", "", &answer);
    out.world.expect_request(out.alice, "ACK");
    out.world.run_to(60_000);
    finish(&mut out.world);
}

#[cfg_attr(test, test)]
pub(crate) fn each_fork_counts_for_itself() {
    let mut out = Out::new();
    out.reliably("180 Ringing", 5, "");
    out.pracked(5);
    let first = std::mem::replace(&mut out.callee.local_tag, "fork".to_owned());
    out.reliably("180 Ringing", 100, "");
    out.pracked(100);
    out.callee.local_tag = first;
    out.reliably("180 Ringing", 6, "");
    out.pracked(6);
    let answer = out.callee.sdp("active", "text/plain");
    out.answer("200 OK", "", &answer);
    out.world.expect_request(out.alice, "ACK");
    // The other fork answers too, and is left with a number that it has not seen.
    out.callee.local_tag = "fork".to_owned();
    out.answer("200 OK", "", &answer);
    out.world.expect_request(out.alice, "ACK");
    let bye = out.world.expect_request(out.alice, "BYE");
    assert_eq!(header(&bye, "CSeq"), "3 BYE");
    out.world.send(bye.way, out.callee.respond(bye.message(), "200 OK", "", ""));
    out.world.run_to(60_000);
    finish(&mut out.world);
}
