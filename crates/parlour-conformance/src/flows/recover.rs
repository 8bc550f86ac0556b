//! Lost MSRP connections (D-52): the session goes on over another one, and nothing is lost or shown twice.

use parlour_proto::event::{Ended, Progress, What};
use parlour_sim::{Mail, Way, text};

use crate::common::{BOB, Call, config, text as words};
use crate::flows::session_timer::Out;

fn told(call: &Call, fits: impl Fn(&What) -> bool) -> Vec<u64> {
    let events = call.at_bob().events.iter().filter(|(_, event)| fits(&event.what));
    events.map(|(at, _)| at.as_millis()).collect()
}

fn reconnecting(what: &What) -> bool {
    matches!(what, What::Reconnecting { .. })
}

fn say(call: &mut Call, id: &str, text: &str) {
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.say(now, session, words(id, text))).expect("say");
}

fn origin(mail: &Mail) -> (u64, u64) {
    let body = text::lossy(text::body(mail.message()));
    let line = body.lines().find_map(|line| line.strip_prefix("o=- ")).expect("an o= line").to_owned();
    let mut numbers = line.split(' ').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("an id"), numbers.next().expect("a version"))
}

/// Bob has said something that Alice never acknowledges, and the connection breaks. Says when.
fn broken() -> (Call, u64) {
    let (mut call, media) = Call::connected();
    call.world.run(1000);
    say(&mut call, "m1-id", "in flight");
    call.request("SEND");
    // Alice has sent half a message herself.
    call.world.send(media, call.script.msrp_chunk("tid7", "m7-id", "1-5/10", b"from ", '+'));
    call.status(200);
    call.world.close(media);
    let at = call.world.millis();
    (call, at)
}

/// Bob's offer of a new MSRP session.
fn offered(call: &mut Call) -> Mail {
    let offer = call.world.expect_request(call.alice, "INVITE");
    call.script.peer_path = text::attribute(offer.message(), "path").expect("a path");
    offer
}

/// Alice takes the offer and connects.
fn taken(call: &mut Call, offer: &Mail) -> Way {
    let answer = call.script.sdp("active", "text/plain message/cpim");
    call.send(call.script.respond(offer.message(), "200 OK", "", &answer));
    call.request("ACK");
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind2"));
    call.status(200);
    media
}

#[track_caller]
fn goes_on(mut call: Call, media: Way) {
    for (id, words) in [("m1-id", "in flight"), ("m2-id", "typed meanwhile")] {
        let send = call.request("SEND");
        assert_eq!(text::header(send.message(), "Message-ID").as_deref(), Some(id));
        assert_eq!(text::lossy(text::body(send.message())), words);
        call.world.send(media, call.script.msrp_respond(send.message(), "200 OK"));
    }
    // Alice's message goes again too, whole, and once more: it is shown once.
    for tid in ["tid8", "tid9"] {
        call.world.send(media, call.script.msrp_send(tid, "m7-id", "from Alice"));
        call.status(200);
    }
    assert_eq!(call.at_bob().stored_texts(), ["from Alice"]);
    let acknowledged = |what: &What| matches!(what, What::Progress { progress: Progress::Acknowledged, .. });
    assert_eq!(told(&call, acknowledged).len(), 2);
    assert_eq!(
        told(&call, |what| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. })),
        []
    );
    assert_eq!(told(&call, |what| matches!(what, What::Connected)).len(), 2);
    assert_eq!(told(&call, reconnecting).len(), 1);
    call.bye();
    call.status(200);
    call.over();
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn who_was_called_offers_a_new_session_after_a_while_and_nothing_is_lost() {
    let (mut call, at) = broken();
    call.nothing_to(at + 3999);
    assert_eq!(told(&call, reconnecting), [at + 2000]);
    say(&mut call, "m2-id", "typed meanwhile");
    let offer = offered(&mut call);
    let lag = offer.at.as_millis() - at - 2000;
    assert!((2000..=4000).contains(&lag) && lag.is_multiple_of(10), "{lag}");
    assert_eq!(origin(&offer).1, 2);
    let media = taken(&mut call, &offer);
    goes_on(call, media);
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn the_peers_offer_mends_the_session_too() {
    let (mut call, at) = broken();
    call.world.run_to(at + 2500);
    say(&mut call, "m2-id", "typed meanwhile");
    call.script.path = call.script.path.replace("/session", "/another");
    let offer = call.script.sdp("actpass", "text/plain message/cpim").replace("o=- 1 1", "o=- 1 2");
    let invite = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &offer);
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind2"));
    call.status(200);
    let before = call.world.millis();
    goes_on(call, media);
    assert!(before < at + 4000, "we made no offer of our own");
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn the_original_offerer_begins_at_once() {
    let mut out = Out::inviting(config(BOB));
    let media = out.answered("");
    let start = out.world.millis();
    out.world.close(media);
    out.world.expect_nothing_to(out.alice, start + 1999);
    let offer = out.world.expect_request(out.alice, "INVITE");
    assert_eq!(offer.at.as_millis(), start + 2000);
    assert_eq!(origin(&offer), (origin(&out.invite).0, 2));
    assert_ne!(text::attribute(offer.message(), "path"), text::attribute(out.invite.message(), "path"));
    out.invite = offer;
    out.answered("");
    out.bye();
    out.over();
}

//= IM M-12 test
//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_does_not_know_the_session_is_offered_another_once() {
    for (line, lasting) in [("481 No such session", false), ("506 Bound elsewhere", false), ("481 No", true)]
    {
        let (mut call, media) = Call::connected();
        let at = call.world.millis();
        say(&mut call, "m1-id", "there?");
        let send = call.request("SEND");
        call.world.send(media, call.script.msrp_respond(send.message(), line));
        let offer = offered(&mut call);
        assert_eq!(offer.at.as_millis(), at, "nobody else knows that there is anything to mend");
        let media = taken(&mut call, &offer);
        let again = call.request("SEND");
        assert_eq!(text::header(again.message(), "Message-ID").as_deref(), Some("m1-id"));
        let line = if lasting { line } else { "200 OK" };
        call.world.send(media, call.script.msrp_respond(again.message(), line));
        call.world.run(10);
        let acknowledged =
            told(&call, |what| matches!(what, What::Progress { progress: Progress::Acknowledged, .. }));
        assert_eq!(acknowledged.len(), usize::from(!lasting));
        if lasting {
            let bye = call.request("BYE");
            call.ok(&bye);
            call.world.run(10);
            assert_eq!(told(&call, |what| matches!(what, What::Ended(Ended::MediaFailed { .. }))).len(), 1);
            // It left, and may have been read.
            let unconfirmed = |what: &What| matches!(what, What::Progress { progress: Progress::Failed { why }, .. } if why.starts_with("not confirmed: the other side answered 481"));
            assert_eq!(told(&call, unconfirmed).len(), 1);
        } else {
            call.bye();
            call.status(200);
        }
        call.over();
    }
}

//= IM M-12 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_knows_no_session_and_wants_no_other_is_left() {
    let (mut call, media) = Call::connected();
    let at = call.world.millis();
    say(&mut call, "m1-id", "there?");
    let send = call.request("SEND");
    call.world.send(media, call.script.msrp_respond(send.message(), "481 No such session"));
    let offer = offered(&mut call);
    call.send(call.script.respond(offer.message(), "488 Not Acceptable Here", "", ""));
    call.request("ACK");
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), at, "one offer is enough");
    call.ok(&bye);
    call.world.run(10);
    call.over();
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_closes_and_then_says_bye_just_ends() {
    let (mut call, media) = Call::connected();
    call.world.close(media);
    call.world.run(1900);
    call.bye();
    call.status(200);
    call.nothing_to(call.world.millis() + 100_000);
    assert_eq!(told(&call, reconnecting), []);
    assert_eq!(told(&call, |what| matches!(what, What::Ended(Ended::PeerLeft))).len(), 1);
    call.over();
}

//= IM D-52 test
//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn three_refusals_end_the_session_and_tell_what_was_not_acknowledged() {
    let (mut call, at) = broken();
    call.world.run_to(at + 4000);
    let mut times = Vec::new();
    for _ in 0..3 {
        let offer = offered(&mut call);
        times.push(offer.at.as_millis());
        call.send(call.script.respond(offer.message(), "488 Not Acceptable Here", "", ""));
        call.request("ACK");
    }
    let bye = call.request("BYE");
    assert_eq!([times[1] - times[0], times[2] - times[1]], [2000, 4000]);
    assert_eq!(bye.at.as_millis(), times[2]);
    let position = |wanted: fn(&What) -> bool| call.at_bob().told().position(wanted);
    let failed = position(|what| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. }));
    let ended = position(|what| matches!(what, What::Ended(Ended::MediaFailed { .. })));
    assert!(failed.is_some() && failed < ended, "{failed:?} {ended:?}");
    crate::flows::session_timer::answer_bye(call, &bye);
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn offers_that_cross_both_get_a_491_and_one_of_them_succeeds() {
    let (mut call, at) = broken();
    call.world.run_to(at + 4000);
    let offer = offered(&mut call);
    let ours = call.script.sdp("actpass", "text/plain").replace("o=- 1 1", "o=- 1 2");
    let invite = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &ours);
    call.send(invite);
    call.refused(491);
    call.send(call.script.respond(offer.message(), "491 Request Pending", "", ""));
    call.request("ACK");
    let again = offered(&mut call);
    let wait = again.at.as_millis() - offer.at.as_millis();
    assert!(wait <= 2000 && wait.is_multiple_of(10), "{wait}");
    say(&mut call, "m2-id", "typed meanwhile");
    let media = taken(&mut call, &again);
    goes_on(call, media);
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_that_is_left_while_it_is_mended_leaves_nothing() {
    for wait in [0, 2500, 7000] {
        let (mut call, at) = broken();
        call.world.run_to(at + wait);
        let session = call.session();
        call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
        let bye = call.request("BYE");
        crate::flows::session_timer::answer_bye(call, &bye);
    }
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_without_a_stream_is_no_media() {
    let (mut call, at) = broken();
    call.world.run_to(at + 4000);
    let offer = offered(&mut call);
    let none = call.script.sdp("passive", "text/plain").replace("m=message 2855", "m=message 0");
    call.send(call.script.respond(offer.message(), "200 OK", "", &none));
    call.request("ACK");
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), offer.at.as_millis() + 2000);
    crate::flows::session_timer::answer_bye(call, &bye);
}

//= IM D-52 test
#[cfg_attr(test, test)]
pub(crate) fn an_update_or_a_refresh_does_not_put_the_recovery_off() {
    let (mut call, at) = broken();
    call.world.run_to(at + 3000);
    let rows = "Contact: <sip:192.0.2.1:5060>\r\nSupported: timer\r\nSession-Expires: 1800;refresher=uas\r\n";
    let update = call.script.next(&mut call.world, "UPDATE", rows, "");
    call.send(update);
    call.status(200);
    let offer = offered(&mut call);
    assert!(offer.at.as_millis() <= at + 6000);
    say(&mut call, "m2-id", "typed meanwhile");
    let media = taken(&mut call, &offer);
    goes_on(call, media);
}
