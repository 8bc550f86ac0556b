//! Before the final response: reliable provisional responses, PRACK, and offers in early dialogs.

use parlour_proto::client::Decline;
use parlour_proto::config::Config;
use parlour_proto::event::{Ended, What};
use parlour_sim::{Mail, text};

use crate::common::{BOB, Call, config};

/// When a reliable provisional response is sent again (RFC 3262 3).
pub(super) const RESENT: [u64; 7] = [0, 500, 1500, 3500, 7500, 15_500, 31_500];

pub(super) const REQUIRED: &str = "Require: 100rel\r\n";
pub(super) const SUPPORTED: &str = "Supported: 100rel\r\n";
/// What a peer says that wants its own part of the way reserved.
pub(super) const PRECONDITION: &str = "Require: precondition\r\nSupported: 100rel\r\n";
pub(super) const SEGMENTED: &str = "a=curr:qos local none\r\na=curr:qos remote none\r\n\
    a=des:qos mandatory local sendrecv\r\na=des:qos none remote sendrecv\r\n";

impl Call {
    /// Alice has sent an INVITE with these rows and her usual offer with these lines more.
    pub(super) fn inviting(rows: &str, lines: &str) -> Self {
        Call::inviting_by(config(BOB), rows, lines)
    }

    /// The same, where Bob is configured like that.
    pub(super) fn inviting_by(config: Config, rows: &str, lines: &str) -> Self {
        let mut call = Call::new(config);
        let offer = call.script.offer() + lines;
        call.send(call.script.invite_with(rows, &offer));
        call.world.run(0);
        call
    }

    /// PRACK for a provisional response, with more header lines and a body.
    pub(super) fn prack(&mut self, provisional: &Mail, rows: &str, body: &str) {
        self.script.learn(provisional.message());
        let rseq = header(provisional, "RSeq");
        let rows = format!("RAck: {rseq} 1 INVITE\r\n{rows}");
        let prack = self.script.next(&mut self.world, "PRACK", &rows, body);
        self.send(prack);
        self.world.run(0);
    }

    pub(super) fn update(&mut self, body: &str) {
        let contact = format!("Contact: <sip:{}>\r\n", self.script.host);
        let update = self.script.next(&mut self.world, "UPDATE", &contact, body);
        self.send(update);
        self.world.run(0);
    }

    /// ACK for the 200 to the INVITE, whatever requests came after it.
    pub(super) fn ack_first(&mut self, answer: &Mail) {
        let last = std::mem::replace(&mut self.script.cseq, 1);
        self.ack(answer);
        self.script.cseq = last;
    }

    /// The refused INVITE is acknowledged.
    pub(super) fn ack_first_refusal(&mut self, invite: &str, answer: &Mail) {
        let last = std::mem::replace(&mut self.script.cseq, 1);
        let branch = std::mem::replace(&mut self.script.branch, invite.to_owned());
        self.ack_refusal(answer);
        (self.script.cseq, self.script.branch) = (last, branch);
    }

    /// The offer again, with the next version and these lines more.
    pub(super) fn next_offer(&self, version: u32, lines: &str) -> String {
        self.script.offer().replace("o=- 1 1 ", &format!("o=- 1 {version} ")) + lines
    }
}

pub(super) fn header(mail: &Mail, name: &str) -> String {
    text::header(mail.message(), name).unwrap_or_default()
}

pub(super) fn body(mail: &Mail) -> String {
    text::lossy(text::body(mail.message()))
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn required_a_180_is_reliable_and_sent_again_until_its_prack() {
    let mut call = Call::inviting(REQUIRED, "");
    let ringing = call.status(180);
    assert_eq!(header(&ringing, "Require"), "100rel");
    let rseq: u32 = header(&ringing, "RSeq").parse().expect("a number");
    assert!((1..1 << 31).contains(&rseq));
    assert_eq!(body(&ringing), "", "R-62: the answer waits for the 200");
    call.world.run_to(4000);
    assert_eq!(call.times("180 Ringing"), RESENT[..4]);
    call.prack(&ringing, "", "");
    for _ in 0..3 {
        assert_eq!(call.status(180).message(), ringing.message());
    }
    let ok = call.status(200);
    assert_eq!(header(&ok, "CSeq"), "2 PRACK");
    call.world.run_to(40_000);
    assert_eq!(call.times("180 Ringing"), RESENT[..4]);
    call.accept();
    let answer = call.status(200);
    assert!(body(&answer).contains("a=path:"));
    assert_eq!(header(&answer, "Supported"), "100rel, precondition, replaces, timer");
    assert!(header(&answer, "Allow").contains("PRACK"));
    call.ack_first(&answer);
    call.bye();
    call.status(200);
    assert_snapshot!(call.over().ladder());
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn without_prack_the_invite_is_refused_after_64_t1() {
    let mut call = Call::inviting(REQUIRED, "");
    let branch = call.script.branch.clone();
    call.world.run_to(31_999);
    assert_eq!(call.times("180 Ringing"), RESENT);
    assert_eq!(call.times("504 Server Time-out: no PRACK came"), []);
    call.world.run_to(32_000);
    assert_eq!(call.times("504 Server Time-out: no PRACK came"), [32_000]);
    assert!(call.at_bob().told().any(|what| matches!(what, What::Missed { why: Ended::Lost { .. }, .. })));
    for _ in RESENT {
        call.status(180);
    }
    let refusal = call.status(504);
    call.ack_first_refusal(&branch, &refusal);
    call.over();
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn a_prack_for_nothing_is_481_and_a_broken_one_400() {
    let mut call = Call::inviting(REQUIRED, "");
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    let rseq: u32 = header(&ringing, "RSeq").parse().expect("a number");
    let wrong = [format!("{} 1 INVITE", rseq + 1), format!("{rseq} 2 INVITE"), format!("{rseq} 1 invite")];
    for rack in wrong {
        let prack = call.script.next(&mut call.world, "PRACK", &format!("RAck: {rack}\r\n"), "");
        call.send(prack);
        call.status(481);
    }
    for rows in ["", "RAck: many INVITE\r\n", "RAck: 1 1 INVITE\r\nRAck: 1 1 INVITE\r\n"] {
        let prack = call.script.next(&mut call.world, "PRACK", rows, "");
        call.send(prack);
        let refusal = call.status(400);
        assert!(text::start_line(refusal.message()).contains("RAck"), "{rows:?}");
    }
    call.prack(&ringing, "", "");
    call.status(200);
    // It waits for no second one.
    call.prack(&ringing, "", "");
    call.status(481);
    call.accept();
    let answer = call.status(200);
    call.ack_first(&answer);
    call.bye();
    call.status(200);
    call.over();
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn supported_alone_and_nothing_at_all_stay_unreliable() {
    for rows in [SUPPORTED, ""] {
        let mut call = Call::inviting(rows, "");
        let ringing = call.status(180);
        assert_eq!((header(&ringing, "Require"), header(&ringing, "RSeq")), (String::new(), String::new()));
        call.world.run_to(59_999);
        assert_eq!(call.times("180 Ringing"), [0]);
        call.accept();
        let answer = call.status(200);
        call.ack(&answer);
        call.bye();
        call.status(200);
        call.over();
    }
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn a_200_overtakes_a_bare_180_and_its_prack_is_still_taken() {
    let mut call = Call::inviting(REQUIRED, "");
    let ringing = call.status(180);
    call.accept();
    let answer = call.status(200);
    call.ack(&answer);
    call.prack(&ringing, "", "");
    let ok = call.status(200);
    assert_eq!(header(&ok, "CSeq"), "2 PRACK");
    call.prack(&ringing, "", "");
    call.status(481);
    call.world.run_to(10_000);
    assert_eq!(call.times("180 Ringing"), [0]);
    call.bye();
    call.status(200);
    call.over();
}

//= IM R-61 test
//= IM S-1a test
#[cfg_attr(test, test)]
pub(crate) fn without_an_offer_the_first_reliable_response_makes_it_and_the_200_waits_for_its_answer() {
    let mut call = Call::new(config(BOB));
    call.send(call.script.invite_with(REQUIRED, ""));
    let ringing = call.status(180);
    assert!(body(&ringing).contains("a=setup:actpass"), "{}", body(&ringing));
    call.accept();
    call.world.run_to(300);
    assert_eq!(call.times("200 OK"), [], "no 2xx before the PRACK");
    let sdp = call.script.sdp("active", "text/plain message/cpim");
    call.prack(&ringing, "", &sdp);
    call.status(200);
    let answer = call.status(200);
    assert_eq!(header(&answer, "CSeq"), "1 INVITE");
    assert_eq!(body(&answer), "", "offer and answer are exchanged");
    call.ack_first(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_send("tid1", "m1", "hello Bob"));
    call.status(200);
    call.bye();
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["hello Bob"]);
    assert_snapshot!(call.over().ladder());
}

//= IM S-1a test
//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_in_a_prack_that_cannot_be_taken_ends_the_invitation() {
    let victim = "msrp://198.51.100.7:2855/victim;tcp";
    for (setup, path, types) in [
        // It would make us connect to somebody else.
        ("passive", Some(victim), "text/plain"),
        ("active", None, "image/png"),
    ] {
        let mut call = Call::new(config(BOB));
        call.send(call.script.invite_with(REQUIRED, ""));
        let branch = call.script.branch.clone();
        let ringing = call.status(180);
        if let Some(path) = path {
            call.script.path = path.to_owned();
        }
        let sdp = call.script.sdp(setup, types);
        call.prack(&ringing, "", &sdp);
        let ok = call.status(200);
        assert_eq!(header(&ok, "CSeq"), "2 PRACK");
        let refusal = call.status(488);
        assert_eq!(header(&refusal, "CSeq"), "1 INVITE");
        assert!(header(&refusal, "Warning").starts_with("399 "));
        call.ack_first_refusal(&branch, &refusal);
        let failed = |what: &What| matches!(what, What::Missed { why: Ended::MediaFailed { .. }, .. });
        assert!(call.at_bob().told().any(failed));
        call.over();
    }
}

//= IM S-1a test
#[cfg_attr(test, test)]
pub(crate) fn a_prack_without_the_answer_it_owes_ends_the_invitation() {
    let mut call = Call::new(config(BOB));
    call.send(call.script.invite_with(REQUIRED, ""));
    let branch = call.script.branch.clone();
    let ringing = call.status(180);
    call.prack(&ringing, "", "");
    call.status(200);
    let refusal = call.status(488);
    call.ack_first_refusal(&branch, &refusal);
    call.over();
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn cancelled_declined_left_and_timed_out_before_the_prack() {
    // CANCEL.
    let mut call = Call::inviting(REQUIRED, "");
    let ringing = call.status(180);
    call.cancel();
    call.prack(&ringing, "", "");
    call.status(481);
    call.world.run_to(5000);
    assert_eq!(call.times("180 Ringing"), [0]);
    call.over();
    // The user declines.
    let mut call = Call::inviting(REQUIRED, "");
    call.status(180);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.decline(now, session, Decline::Busy)).expect("decline");
    call.refused(486);
    call.over();
    // BYE in the early dialog.
    let mut call = Call::inviting(REQUIRED, "");
    let branch = call.script.branch.clone();
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    call.bye();
    call.status(200);
    let refusal = call.status(487);
    call.ack_first_refusal(&branch, &refusal);
    call.over();
    // CANCEL after the user has accepted, while the 200 waits.
    let mut call = Call::new(config(BOB));
    call.send(call.script.invite_with(REQUIRED, ""));
    call.status(180);
    call.accept();
    call.cancel();
    call.over();
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn accepted_before_a_prack_that_never_comes() {
    let mut call = Call::new(config(BOB));
    call.send(call.script.invite_with(REQUIRED, ""));
    call.status(180);
    call.accept();
    call.accept();
    call.world.run_to(32_000);
    assert_eq!(call.times("200 OK"), []);
    assert_eq!(call.times("504 Server Time-out: no PRACK came"), [32_000]);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_reliable_180_is_repeated_after_two_and_a_half_minutes() {
    let mut long = config(BOB);
    long.ring_timeout = std::time::Duration::from_secs(400);
    let mut call = Call::new(long);
    call.send(call.script.invite_with(REQUIRED, &call.script.offer()));
    let ringing = call.status(180);
    call.prack(&ringing, "", "");
    call.status(200);
    call.world.run_to(150_000);
    assert_eq!(call.times("180 Ringing"), [0, 150_000]);
    let again = call.status(180);
    let rseq = |mail: &Mail| header(mail, "RSeq").parse::<u32>().expect("a number");
    assert_eq!(rseq(&again), rseq(&ringing) + 1);
    call.prack(&again, "", "");
    call.status(200);
    call.accept();
    let answer = call.status(200);
    call.ack_first(&answer);
    call.bye();
    call.status(200);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn offers_in_the_early_dialog_wait_for_the_answer_to_the_one_before() {
    // The INVITE's offer has no answer yet.
    let mut call = Call::inviting("", "");
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    let again = call.next_offer(2, "");
    call.update(&again);
    let refusal = call.status(500);
    assert!(header(&refusal, "Retry-After").parse::<u32>().is_ok_and(|seconds| seconds <= 10));
    // Without an offer it refreshes the target only.
    call.update("");
    call.status(200);
    call.world.run_to(121_000);
    call.over();
    // Ours has none.
    let mut call = Call::new(config(BOB));
    call.send(call.script.invite_with(REQUIRED, ""));
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    let offer = call.script.offer();
    call.update(&offer);
    call.status(491);
    call.world.run_to(33_000);
    call.over();
}
