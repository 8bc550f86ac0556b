//! What no peer can bring about with well-formed requests: that we ask without end, aim at others, or keep what is over.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use parlour_proto::event::{Ended, What};
use parlour_proto::io::Output;
use parlour_sim::{Mail, World, text};

use crate::common::{BOB, Call, config, text as words};
use crate::flows::session_timer::{Out, answer_bye, called_with};

const CONTACT: &str = "Contact: <sip:192.0.2.1:5060>\r\n";
const TIMED: &str = "Session-Expires: 1800;refresher=uas\r\nSupported: timer\r\n";

/// What the PRACKs that left acknowledge, one for each and fork.
fn pracks(world: &World) -> BTreeSet<(String, String)> {
    let value = |octets: &[u8], name| text::header(octets, name).unwrap_or_default();
    let rows = world.rows().iter().filter(|row| text::method(&row.octets).as_deref() == Some("PRACK"));
    rows.map(|row| (value(&row.octets, "To"), value(&row.octets, "RAck"))).collect()
}

fn ring(out: &mut Out, rseq: u32) {
    out.respond("180 Ringing", &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"), "");
    out.world.run(0);
}

fn refuse(mut out: Out) {
    out.respond("486 Busy Here", "", "");
    out.over();
}

//= IM R-61 test
#[cfg_attr(test, test)]
pub(crate) fn a_reliable_response_waits_until_the_prack_of_the_one_before_is_answered() {
    let mut out = Out::inviting(config(BOB));
    for rseq in 1..=100 {
        ring(&mut out, rseq);
    }
    out.world.run(3000);
    assert_eq!(pracks(&out.world).len(), 1);
    let prack = out.world.expect_request(out.alice, "PRACK");
    out.world.send(prack.way, out.callee.respond(prack.message(), "200 OK", "", ""));
    out.world.run(0);
    // It comes again, as nobody has acknowledged it.
    ring(&mut out, 2);
    assert_eq!(pracks(&out.world).len(), 2);
    refuse(out);
}

#[cfg_attr(test, test)]
pub(crate) fn who_refuses_a_prack_or_is_silent_gets_no_more_of_them() {
    for silent in [false, true] {
        let mut out = Out::inviting(config(BOB));
        ring(&mut out, 1);
        let prack = out.world.expect_request(out.alice, "PRACK");
        if silent {
            out.world.run(33_000);
        } else {
            let line = "481 Call/Transaction Does Not Exist";
            out.world.send(prack.way, out.callee.respond(prack.message(), line, "", ""));
            out.world.run(0);
        }
        for rseq in 2..=9 {
            ring(&mut out, rseq);
        }
        out.world.run(3000);
        assert_eq!(pracks(&out.world).len(), 1, "{silent}");
        // The invitation itself is not harmed.
        let answer = out.callee.sdp("active", "text/plain");
        out.respond("200 OK", "", &answer);
        out.world.expect_request(out.alice, "ACK");
        out.bye();
        out.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn few_forks_get_pracks() {
    let mut out = Out::inviting(config(BOB));
    for fork in 0..40 {
        out.callee.local_tag = format!("fork{fork}");
        ring(&mut out, 1);
    }
    assert_eq!(pracks(&out.world).len(), 4);
    refuse(out);
}

/// Bob has sent 200, its ACK is not here, and the media has failed.
fn failed_before_the_ack() -> (Call, Mail) {
    let (mut call, answer) = Call::answered();
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    call.world.close(media);
    call.world.run(10);
    (call, answer)
}

/// Alice makes another offer before her ACK, which then comes.
fn offered_before_the_ack(call: &mut Call, answer: &Mail, offer: &str) {
    let update = call.script.next(&mut call.world, "UPDATE", CONTACT, offer);
    call.send(update);
    let ok = call.status(200);
    call.script.learn(ok.message());
    call.world.run(1000);
    let last = std::mem::replace(&mut call.script.cseq, 1);
    let ack = call.script.clone().ack(&mut call.world, answer.message());
    call.send(ack);
    call.world.run(0);
    let _ = call.world.mail_of(call.alice);
    call.script.cseq = last;
}

fn told(call: &Call, fits: impl Fn(&What) -> bool) -> usize {
    call.at_bob().told().filter(|what| fits(what)).count()
}

fn reconnecting(what: &What) -> bool {
    matches!(what, What::Reconnecting { .. })
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn media_that_an_update_has_mended_before_the_ack_are_not_mended_again() {
    let (mut call, answer) = failed_before_the_ack();
    call.script.path = call.script.path.replace("/session", "/another");
    let moved = call.script.offer().replace("o=- 1 1", "o=- 1 2");
    offered_before_the_ack(&mut call, &answer, &moved);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind2"));
    call.status(200);
    call.nothing_to(call.world.millis() + 20_000);
    assert_eq!(told(&call, reconnecting), 0);
    call.world.send(media, call.script.msrp_send("tid1", "m1-id", "still here"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["still here"]);
    call.bye();
    call.status(200);
    call.over();
}

//= IM D-55 test
#[cfg_attr(test, test)]
pub(crate) fn media_that_an_update_has_disabled_before_the_ack_are_not_mended() {
    let (mut call, answer) = failed_before_the_ack();
    let none = call.script.offer().replace("o=- 1 1", "o=- 1 2").replace("m=message 2855", "m=message 0");
    offered_before_the_ack(&mut call, &answer, &none);
    let stood = call.world.millis();
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), stood + 2000);
    assert_eq!(told(&call, reconnecting), 0);
    assert_eq!(told(&call, |what| matches!(what, What::Ended(Ended::PeerLeft))), 1);
    answer_bye(call, &bye);
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn the_2xx_to_an_update_without_an_offer_brings_no_answer() {
    let (mut call, _) = called_with(config(BOB), &format!("Allow: UPDATE\r\n{TIMED}"));
    call.nothing_to(899_999);
    let refresh = call.request("UPDATE");
    let path = call.script.path.clone();
    call.script.path = path.replace("/session", "/moved");
    let unasked = call.script.sdp("active", "text/plain message/cpim").replace("o=- 1 1", "o=- 1 2");
    call.send(call.script.respond(refresh.message(), "200 OK", "", &unasked));
    call.world.run(0);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.say(now, session, words("m1-id", "as before"))).expect("say");
    let send = call.request("SEND");
    assert_eq!(text::header(send.message(), "To-Path"), Some(path));
    call.bye();
    call.over();
}

/// Where Bob asks his shell to open streams to.
fn opened_by_bob(call: &mut Call) -> Rc<RefCell<Vec<SocketAddr>>> {
    let opened = Rc::new(RefCell::new(Vec::new()));
    let seen = opened.clone();
    call.bob_mut().tamper = Some(Box::new(move |output| {
        if let Output::Open { to, .. } = &output {
            seen.borrow_mut().push(to.address);
            seen.borrow_mut().extend(&to.others);
        }
        vec![output]
    }));
    opened
}

//= IM X-22 test
//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn the_answer_that_mends_a_session_does_not_aim_us_at_others() {
    let (mut call, media) = Call::connected();
    let home = call.script.path.clone();
    call.world.close(media);
    let opened = opened_by_bob(&mut call);
    call.world.run(3000);
    for path in ["msrp://198.51.100.7:2855/victim;tcp", "msrp://victim.example:2855/victim;tcp"] {
        let offer = call.request("INVITE");
        call.script.path = path.to_owned();
        let answer = call.script.sdp("passive", "text/plain");
        call.send(call.script.respond(offer.message(), "200 OK", "", &answer));
        call.request("ACK");
        assert_eq!(*opened.borrow(), [], "{path}");
    }
    // Where the peer speaks from, it may have us connect.
    let offer = call.request("INVITE");
    call.script.path = home;
    let answer = call.script.sdp("passive", "text/plain");
    call.send(call.script.respond(offer.message(), "200 OK", "", &answer));
    call.request("ACK");
    call.world.expect_opened(call.alice);
    assert_eq!(*opened.borrow(), [call.world.address(call.alice, 2855)]);
    call.bye();
    call.over();
}

//= IM G-4x test
#[cfg_attr(test, test)]
pub(crate) fn only_a_refresh_that_is_carried_out_makes_a_focus_of_the_peer() {
    let mut call = Call::established();
    let focus = CONTACT.replace("5060>", "5060>;isfocus");
    let options = call.script.next(&mut call.world, "OPTIONS", &focus, "");
    call.send(options);
    call.status(200);
    let body = call.script.offer();
    let wrong = call.script.next(&mut call.world, "INVITE", &focus, &body);
    call.send(wrong.replace("application/sdp", "text/xml"));
    call.refused(415);
    let update = call.script.next(&mut call.world, "UPDATE", CONTACT, "");
    call.send(update);
    call.status(200);
    call.nothing_to(call.world.millis() + 1000);
    let update = call.script.next(&mut call.world, "UPDATE", &focus, "");
    call.send(update);
    call.status(200);
    call.request("SUBSCRIBE");
    call.bye();
    call.over();
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn who_puts_a_refresh_off_again_and_again_is_asked_no_more_until_the_session_expires() {
    for (line, rows) in [("491 Request Pending", ""), ("500 Server Internal Error", "Retry-After: 1\r\n")] {
        let (mut call, _) = called_with(config(BOB), TIMED);
        call.world.run_to(899_999);
        let mut asked = BTreeSet::new();
        while call.world.millis() < 1_767_900 {
            call.world.run(100);
            for mail in call.world.mail_of(call.alice) {
                if text::method(mail.message()).as_deref() == Some("INVITE") {
                    asked.insert(text::header(mail.message(), "CSeq"));
                    call.send(call.script.respond(mail.message(), line, rows, ""));
                }
            }
        }
        let asked = asked.len();
        assert!((2..=10).contains(&asked), "{line}: {asked} times");
        let bye = call.request("BYE");
        assert_eq!(bye.at.as_millis(), 1_768_000);
        answer_bye(call, &bye);
    }
}
