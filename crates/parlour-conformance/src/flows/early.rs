//! Before the final response: reliable provisional responses, PRACK, offers in early dialogs, and preconditions.

use std::cell::RefCell;
use std::rc::Rc;

use crate::common::{BOB, Call, accepting, config, finish};
use crate::flows::imdn;
use parlour_proto::client::Decline;
use parlour_proto::config::{Accept, Ack, Config};
use parlour_proto::event::{Ended, What};
use parlour_proto::io::{AccountId, Output};
use parlour_sim::{Mail, NodeId, Script, World, text};

/// When a reliable provisional response is sent again (RFC 3262 3).
const RESENT: [u64; 7] = [0, 500, 1500, 3500, 7500, 15_500, 31_500];

const REQUIRED: &str = "Require: 100rel\r\n";
const SUPPORTED: &str = "Supported: 100rel\r\n";
/// What a peer says that wants its own part of the way reserved.
const PRECONDITION: &str = "Require: precondition\r\nSupported: 100rel\r\n";
const SEGMENTED: &str = "a=curr:qos local none\r\na=curr:qos remote none\r\n\
    a=des:qos mandatory local sendrecv\r\na=des:qos none remote sendrecv\r\n";

impl Call {
    /// Alice has sent an INVITE with these rows and her usual offer with these lines more.
    fn inviting(rows: &str, lines: &str) -> Self {
        Call::inviting_by(config(BOB), rows, lines)
    }

    /// The same, where Bob is configured like that.
    fn inviting_by(config: Config, rows: &str, lines: &str) -> Self {
        let mut call = Call::new(config);
        let offer = call.script.offer() + lines;
        call.send(call.script.invite_with(rows, &offer));
        call.world.run(0);
        call
    }

    /// PRACK for a provisional response, with more header lines and a body.
    fn prack(&mut self, provisional: &Mail, rows: &str, body: &str) {
        self.script.learn(provisional.message());
        let rseq = header(provisional, "RSeq");
        let rows = format!("RAck: {rseq} 1 INVITE\r\n{rows}");
        let prack = self.script.next(&mut self.world, "PRACK", &rows, body);
        self.send(prack);
        self.world.run(0);
    }

    fn update(&mut self, body: &str) {
        let contact = format!("Contact: <sip:{}>\r\n", self.script.host);
        let update = self.script.next(&mut self.world, "UPDATE", &contact, body);
        self.send(update);
        self.world.run(0);
    }

    /// ACK for the 200 to the INVITE, whatever requests came after it.
    fn ack_first(&mut self, answer: &Mail) {
        let last = std::mem::replace(&mut self.script.cseq, 1);
        self.ack(answer);
        self.script.cseq = last;
    }

    /// The refused INVITE is acknowledged.
    fn ack_first_refusal(&mut self, invite: &str, answer: &Mail) {
        let last = std::mem::replace(&mut self.script.cseq, 1);
        let branch = std::mem::replace(&mut self.script.branch, invite.to_owned());
        self.ack_refusal(answer);
        (self.script.cseq, self.script.branch) = (last, branch);
    }

    /// The offer again, with the next version and these lines more.
    fn next_offer(&self, version: u32, lines: &str) -> String {
        self.script.offer().replace("o=- 1 1 ", &format!("o=- 1 {version} ")) + lines
    }
}

fn header(mail: &Mail, name: &str) -> String {
    text::header(mail.message(), name).unwrap_or_default()
}

fn body(mail: &Mail) -> String {
    text::lossy(text::body(mail.message()))
}

/// The lines about preconditions.
fn preconditions(mail: &Mail) -> Vec<String> {
    let about = |line: &&str| ["a=curr:", "a=des:", "a=conf:"].iter().any(|name| line.starts_with(name));
    body(mail).lines().filter(about).map(str::to_owned).collect()
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
    call.send(call.script.cancel());
    call.status(200);
    let refusal = call.status(487);
    call.ack_refusal(&refusal);
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
    let refusal = call.status(486);
    call.ack_refusal(&refusal);
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
    call.send(call.script.cancel());
    call.status(200);
    let refusal = call.status(487);
    call.ack_refusal(&refusal);
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

//= IM R-60 test
//= IM R-62 test
//= IM S-10 test
#[cfg_attr(test, test)]
pub(crate) fn nobody_is_alerted_before_the_peers_segment_is_reserved() {
    let mut call = Call::inviting(PRECONDITION, SEGMENTED);
    let progress = call.status(183);
    assert_eq!(header(&progress, "Require"), "100rel");
    assert!(body(&progress).contains("a=path:"), "the answer");
    assert_eq!(
        preconditions(&progress),
        [
            "a=curr:qos local sendrecv",
            "a=curr:qos remote none",
            "a=des:qos none local sendrecv",
            "a=des:qos mandatory remote sendrecv",
            "a=conf:qos remote sendrecv",
        ]
    );
    assert_eq!(call.invitations(), 0);
    assert_eq!((call.at_bob().client.load().sessions, call.at_bob().client.load().suspended), (0, 1));
    call.prack(&progress, "", "");
    call.status(200);
    // Not yet.
    let still = call.next_offer(2, SEGMENTED);
    call.update(&still);
    let ok = call.status(200);
    assert!(preconditions(&ok).contains(&"a=conf:qos remote sendrecv".to_owned()));
    assert_eq!(call.invitations(), 0);
    let met = call.next_offer(3, &SEGMENTED.replace("local none", "local sendrecv"));
    call.update(&met);
    let ok = call.status(200);
    assert_eq!(header(&ok, "CSeq"), "4 UPDATE");
    assert!(preconditions(&ok).contains(&"a=curr:qos remote sendrecv".to_owned()));
    assert!(header(&ok, "Contact").contains("sip:"));
    assert!(body(&ok).contains("o=- ") && body(&ok).contains(" 3 IN IP4"), "{}", body(&ok));
    let ringing = call.status(180);
    assert_eq!(body(&ringing), "");
    assert_eq!(call.invitations(), 1);
    call.prack(&ringing, "", "");
    call.status(200);
    call.accept();
    let answer = call.status(200);
    assert_eq!(body(&answer), "");
    call.ack_first(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_send("tid1", "m1", "hello Bob"));
    call.status(200);
    call.bye();
    call.status(200);
    assert_snapshot!(call.over().ladder());
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn an_update_before_the_prack_alerts_after_it() {
    let mut call = Call::inviting(PRECONDITION, SEGMENTED);
    let progress = call.status(183);
    call.script.learn(progress.message());
    let met = call.next_offer(2, &SEGMENTED.replace("local none", "local sendrecv"));
    call.update(&met);
    call.status(200);
    assert_eq!(call.invitations(), 0, "no second reliable response before the PRACK for the first");
    call.prack(&progress, "", "");
    call.status(200);
    call.status(180);
    assert_eq!(call.invitations(), 1);
    call.send({
        let mut first = call.script.clone();
        (first.cseq, first.branch) = (1, format!("{}-0", parlour_sim::check::WELL_FORMED));
        first.cancel()
    });
    call.world.run_to(33_000);
    call.over();
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn a_prack_with_an_offer_may_say_that_all_is_reserved() {
    let mut call =
        Call::inviting(PRECONDITION, "a=curr:qos e2e none\r\na=des:qos mandatory e2e sendrecv\r\n");
    let progress = call.status(183);
    assert_eq!(
        preconditions(&progress),
        ["a=curr:qos e2e send", "a=des:qos mandatory e2e sendrecv", "a=conf:qos e2e recv"]
    );
    let met = call.next_offer(2, "a=curr:qos e2e send\r\na=des:qos mandatory e2e sendrecv\r\n");
    call.prack(&progress, "", &met);
    let ok = call.status(200);
    assert_eq!(preconditions(&ok), ["a=curr:qos e2e sendrecv", "a=des:qos mandatory e2e sendrecv"]);
    call.status(180);
    assert_eq!(call.invitations(), 1);
    call.world.run_to(33_000);
    call.over();
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn preconditions_that_are_met_at_once_ring_at_once_with_the_answer() {
    let met = SEGMENTED.replace("local none", "local sendrecv");
    let mut call = Call::inviting(PRECONDITION, &met);
    let ringing = call.status(180);
    assert_eq!(header(&ringing, "Require"), "100rel");
    assert!(preconditions(&ringing).contains(&"a=curr:qos local sendrecv".to_owned()));
    assert_eq!(call.invitations(), 1);
    call.accept();
    call.world.run_to(100);
    assert_eq!(call.times("200 OK"), []);
    call.prack(&ringing, "", "");
    call.status(200);
    let answer = call.status(200);
    assert_eq!(body(&answer), "");
    call.ack_first(&answer);
    call.bye();
    call.status(200);
    call.over();
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn optional_preconditions_keep_nobody_waiting() {
    let optional = SEGMENTED.replace("mandatory", "optional");
    let mut call = Call::inviting("Supported: 100rel, precondition\r\n", &optional);
    let ringing = call.status(180);
    assert_eq!((header(&ringing, "Require"), body(&ringing)), (String::new(), String::new()));
    call.accept();
    let answer = call.status(200);
    assert!(preconditions(&answer).contains(&"a=curr:qos local sendrecv".to_owned()));
    call.ack(&answer);
    call.bye();
    call.status(200);
    call.over();
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn policy_answers_when_the_preconditions_are_met() {
    let mut call = Call::new(accepting(Accept::All));
    let offer = call.script.offer() + SEGMENTED;
    call.send(call.script.invite_with(PRECONDITION, &offer));
    let progress = call.status(183);
    call.prack(&progress, "", "");
    call.status(200);
    call.world.run_to(1000);
    assert_eq!(call.times("200 OK"), []);
    let met = call.next_offer(2, &SEGMENTED.replace("local none", "local sendrecv"));
    call.update(&met);
    call.status(200);
    let answer = call.status(200);
    assert_eq!(header(&answer, "CSeq"), "1 INVITE");
    call.ack_first(&answer);
    call.bye();
    call.status(200);
    call.over();
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn what_can_never_be_met_is_580() {
    // A type that nobody knows.
    let mut call = Call::inviting(PRECONDITION, "a=curr:foo e2e none\r\na=des:foo mandatory e2e send\r\n");
    let refusal = call.status(580);
    assert_eq!(preconditions(&refusal), ["a=des:foo unknown e2e recv"]);
    assert!(body(&refusal).contains("m=message 0 TCP/MSRP *"));
    assert_eq!(call.invitations(), 0);
    call.ack_refusal(&refusal);
    call.over();
    // The peer never says that its part is reserved.
    let mut call = Call::inviting(PRECONDITION, SEGMENTED);
    let branch = call.script.branch.clone();
    let progress = call.status(183);
    call.prack(&progress, "", "");
    call.status(200);
    // One that cannot be met comes in an UPDATE: the session goes on to wait.
    let unknown = call.next_offer(2, "a=des:foo mandatory remote send\r\n");
    call.update(&unknown);
    let refusal = call.status(580);
    assert_eq!(header(&refusal, "CSeq"), "3 UPDATE");
    call.world.run_to(119_999);
    assert_eq!(call.at_bob().client.load().suspended, 1);
    call.world.run_to(120_000);
    let refusal = call.status(580);
    assert_eq!(header(&refusal, "CSeq"), "1 INVITE");
    assert_eq!(preconditions(&refusal), ["a=des:qos failure remote send", "a=des:qos failure remote recv"]);
    call.ack_first_refusal(&branch, &refusal);
    let missed = |what: &What| matches!(what, What::Missed { why: Ended::MediaFailed { .. }, .. });
    assert!(call.at_bob().told().any(missed));
    call.over();
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn preconditions_without_100rel_are_421_and_other_extensions_420() {
    let mut call = Call::inviting("Require: precondition\r\n", SEGMENTED);
    let refusal = call.status(421);
    assert_eq!(header(&refusal, "Require"), "100rel");
    call.ack_refusal(&refusal);
    call.over();
    let mut call = Call::inviting("Require: 100rel, precondition, foo\r\n", SEGMENTED);
    let refusal = call.status(420);
    assert_eq!(header(&refusal, "Unsupported"), "foo");
    call.ack_refusal(&refusal);
    call.over();
}

//= IM R-60 test
#[cfg_attr(test, test)]
pub(crate) fn without_an_offer_preconditions_are_offered_and_the_answer_may_demand_them() {
    let mut call = Call::new(config(BOB));
    call.send(call.script.invite_with(PRECONDITION, ""));
    let progress = call.status(183);
    assert_eq!(
        preconditions(&progress),
        [
            "a=curr:qos local sendrecv",
            "a=curr:qos remote none",
            "a=des:qos none local sendrecv",
            "a=des:qos none remote sendrecv",
        ]
    );
    let sdp = call.script.sdp("active", "text/plain message/cpim") + SEGMENTED;
    call.prack(&progress, "", &sdp);
    call.status(200);
    assert_eq!(call.invitations(), 0);
    let met = call.next_offer(2, &SEGMENTED.replace("local none", "local sendrecv"));
    call.update(&met);
    let ok = call.status(200);
    assert!(preconditions(&ok).contains(&"a=curr:qos remote sendrecv".to_owned()));
    let ringing = call.status(180);
    call.prack(&ringing, "", "");
    call.status(200);
    call.accept();
    let answer = call.status(200);
    call.ack_first(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_send("tid1", "m1", "hello Bob"));
    call.status(200);
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

#[cfg_attr(test, test)]
pub(crate) fn who_speaks_before_the_user_has_accepted_is_heard_after() {
    let mut call = Call::inviting(PRECONDITION, &SEGMENTED.replace("local none", "local sendrecv"));
    let ringing = call.status(180);
    call.prack(&ringing, "", "");
    call.status(200);
    call.script.learn(ringing.message());
    let media = call.connect();
    call.world.send(media, call.script.msrp_send("tid1", "m1", "too early"));
    call.world.run_to(1000);
    assert!(!call.at_bob().told().any(|what| matches!(what, What::Message(_) | What::Connected)));
    assert_eq!(call.at_bob().stored_texts(), [""; 0]);
    call.accept();
    call.world.run(0);
    assert_eq!(call.at_bob().stored_texts(), ["too early"]);
    call.status(200);
    call.world.run_to(40_000);
    call.over();
}

//= IM M-50 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn of_what_had_its_200_and_will_not_be_heard_its_author_is_told() {
    for (ack, told) in [(Ack::Received, 1), (Ack::Stored, 0)] {
        let lines = SEGMENTED.replace("local none", "local sendrecv");
        let mut call = Call::inviting_by(Config { ack, ..imdn::telling() }, PRECONDITION, &lines);
        let branch = call.script.branch.clone();
        let ringing = call.status(180);
        call.prack(&ringing, "", "");
        call.status(200);
        let media = call.connect();
        let asks = imdn::asks(&call, "tid1", "positive-delivery, negative-delivery");
        call.world.send(media, asks);
        call.world.run(100);
        let session = call.session();
        call.world.act(call.bob, |bob, now| bob.decline(now, session, Decline::Busy)).expect("decline");
        let line = if ack == Ack::Received { "MSRP tid1 200" } else { "MSRP tid1 481" };
        call.world.expect(call.alice, line, |mail| mail.message().starts_with(line.as_bytes()));
        let refusal = call.status(486);
        call.ack_first_refusal(&branch, &refusal);
        call.world.run(1200);
        let came = imdn::notifications(&mut call);
        assert_eq!(came.len(), told, "{}", call.world.ladder());
        // RFC 5438 12.1.3.1: of what was refused, the refusal has told.
        assert!(came.iter().all(|octets| octets.contains("<status><failed/></status>")), "{came:?}");
        call.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn what_was_said_before_an_invitation_that_ends_is_refused_and_its_spool_goes() {
    for (ends, status) in [("declined", 486), ("cancelled", 487)] {
        let mut call = Call::inviting(PRECONDITION, &SEGMENTED.replace("local none", "local sendrecv"));
        let branch = call.script.branch.clone();
        let ringing = call.status(180);
        call.prack(&ringing, "", "");
        call.status(200);
        let spools = Rc::new(RefCell::new((0, 0)));
        let seen = spools.clone();
        call.bob_mut().tamper = Some(Box::new(move |output| {
            let first = usize::from(matches!(output, Output::Spool { offset: 0, .. }));
            let gone = usize::from(matches!(output, Output::Discard { .. }));
            let (spooled, discarded) = *seen.borrow();
            *seen.borrow_mut() = (spooled + first, discarded + gone);
            vec![output]
        }));
        let media = call.connect();
        let large = "x".repeat(100_000);
        call.world.send(media, call.script.msrp_send("tid1", "m1-id", &large));
        call.world.send(media, call.script.msrp_send("tid2", "m2-id", "small"));
        call.world.run(100);
        assert_eq!(*spools.borrow(), (1, 0));
        if ends == "declined" {
            let session = call.session();
            call.world.act(call.bob, |bob, now| bob.decline(now, session, Decline::Busy)).expect("decline");
        } else {
            let mut first = call.script.clone();
            (first.cseq, first.branch) = (1, branch.clone());
            call.send(first.cancel());
        }
        for tid in ["tid1", "tid2"] {
            let line = format!("MSRP {tid} 481");
            call.world.expect(call.alice, &line, |mail| mail.message().starts_with(line.as_bytes()));
        }
        let refusal = call.status(status);
        call.ack_first_refusal(&branch, &refusal);
        assert_eq!(*spools.borrow(), (1, 1), "{ends}");
        assert_eq!(call.at_bob().stored_texts(), [""; 0]);
        call.bob_mut().tamper = None;
        call.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn a_media_connection_that_breaks_before_the_answer_ends_the_invitation() {
    let mut call = Call::inviting(PRECONDITION, &SEGMENTED.replace("local none", "local sendrecv"));
    let ringing = call.status(180);
    call.prack(&ringing, "", "");
    call.status(200);
    call.script.learn(ringing.message());
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    call.world.close(media);
    call.status(480);
    call.over();
}

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
