//! Preconditions (RFC 3312, RFC 4032): nobody is alerted before the way is reserved.

use parlour_proto::config::Accept;
use parlour_proto::event::{Ended, What};
use parlour_sim::Mail;

use super::early::{PRECONDITION, SEGMENTED, body, header};
use crate::common::{BOB, Call, accepting, config};

/// The lines about preconditions.
pub(super) fn preconditions(mail: &Mail) -> Vec<String> {
    let about = |line: &&str| ["a=curr:", "a=des:", "a=conf:"].iter().any(|name| line.starts_with(name));
    body(mail).lines().filter(about).map(str::to_owned).collect()
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
