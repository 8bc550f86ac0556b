//! What comes over MSRP before the user has accepted an invitation.

use std::cell::RefCell;
use std::rc::Rc;

use parlour_proto::client::Decline;
use parlour_proto::config::{Ack, Config};
use parlour_proto::event::What;
use parlour_proto::io::Output;

use super::early::{PRECONDITION, SEGMENTED};
use crate::common::Call;
use crate::flows::imdn;

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
