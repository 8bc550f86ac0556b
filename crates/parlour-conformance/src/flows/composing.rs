//! Who is writing (RFC 3994; catalogue 4.4).

use parlour_proto::client::{Misuse, Say};
use parlour_proto::config::{Config, Contact, ContactImdn};
use parlour_proto::event::What;
use parlour_sim::{Mail, Way, text};

use crate::common::{self, BOB, Call, config};

const TYPE: &str = "application/im-iscomposing+xml";
const TYPES: &str = "text/plain message/cpim application/im-iscomposing+xml";

/// Bob has accepted an offer with these types, and Alice's connection is bound.
fn connected(config: Config, types: &str) -> (Call, Way) {
    Call::connected_by(config, |call| call.script.invite_with("", &call.script.sdp("actpass", types)))
}

/// A document with that content.
fn document(inner: &str) -> String {
    format!("<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">{inner}</isComposing>")
}

/// A SEND of Alice with a body of that type.
fn send(call: &Call, tid: &str, kind: &str, body: &str) -> String {
    let frame = call.script.msrp_send(tid, &format!("id-{tid}"), body);
    frame.replace("Content-Type: text/plain", &format!("Content-Type: {kind}"))
}

/// Alice tells her state and waits until Bob has it.
fn tells(call: &mut Call, media: Way, tid: &str, inner: &str) {
    let frame = send(call, tid, TYPE, &document(inner));
    call.world.send(media, frame);
    call.status(200);
}

/// What Bob's user was told of who is writing: who, whether, and when in milliseconds.
fn told(call: &Call) -> Vec<(String, bool, u64)> {
    let events = call.at_bob().events.iter();
    let states = events.filter_map(|(at, event)| {
        let What::Composing { by, active, .. } = &event.what else { return None };
        Some((by.address.clone(), *active, at.as_millis()))
    });
    states.collect()
}

fn writes(call: &mut Call) -> Result<(), Misuse> {
    let session = call.session();
    let result = call.world.act(call.bob, |bob, now| bob.composing(now, session));
    call.world.run(0);
    result
}

fn says(call: &mut Call, media: Way, message: Say) {
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.say(now, session, message)).expect("it can be said");
    let heard = call.request("SEND");
    let response = call.script.msrp_respond(heard.message(), "200 OK");
    call.world.send(media, response);
    call.world.run(0);
}

/// The states that came to Alice since she last looked: `active` or `idle`, and when.
fn heard(call: &mut Call) -> Vec<(&'static str, u64)> {
    let state = |mail: &Mail| {
        let octets = text::lossy(mail.message());
        if octets.contains("<state>active</state>") { "active" } else { "idle" }
    };
    let mails = call.world.mail_of(call.alice);
    let states = mails.iter().filter(|mail| text::lossy(mail.message()).contains("<isComposing"));
    states.map(|mail| (state(mail), mail.at.as_millis())).collect()
}

//= IM M-40 test
//= IM M-41 test
#[cfg_attr(test, test)]
pub(crate) fn we_are_writing_at_most_once_a_minute_and_idle_after_15_s() {
    let (mut call, media) = connected(config(BOB), TYPES);
    let start = call.world.millis();
    for second in 0..70 {
        call.world.run_to(start + second * 1000);
        writes(&mut call).expect("she takes it");
    }
    call.world.run_to(start + 100_000);
    let states = heard(&mut call);
    assert_eq!(states, [("active", start), ("active", start + 60_000), ("idle", start + 84_000)]);
    // Once it is told that we are idle, the next word of it waits for the interval too.
    writes(&mut call).expect("she takes it");
    call.world.run_to(start + 119_999);
    assert_eq!(heard(&mut call), []);
    call.world.run_to(start + 120_000);
    writes(&mut call).expect("she takes it");
    assert_eq!(heard(&mut call), [("active", start + 120_000)]);
    // What is said ends it without a word, and what is written then is another message.
    says(&mut call, media, common::text("said1", "hello"));
    call.world.run(20_000);
    assert_eq!(heard(&mut call), []);
    writes(&mut call).expect("she takes it");
    assert_eq!(heard(&mut call).len(), 1);
    call.over();
}

//= IM M-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_state_asks_for_no_answer_and_is_none_of_our_messages() {
    let (mut call, _) = connected(config(BOB), &format!("text/plain {TYPE}"));
    writes(&mut call).expect("she takes it");
    let send = call.request("SEND");
    let value = |name| text::header(send.message(), name);
    assert_eq!(value("Failure-Report").as_deref(), Some("no"));
    assert_eq!(value("Success-Report"), None);
    assert_eq!(value("Content-Type").as_deref(), Some(TYPE));
    assert!(text::lossy(send.message()).contains("<refresh>60</refresh>"));
    call.world.run(60_000);
    let progress = |what: &&What| matches!(what, What::Progress { .. });
    assert_eq!(call.at_bob().told().filter(progress).count(), 0, "nobody waits for it");
    call.over();
}

//= IM M-40 test
//= IM X-44 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_does_not_list_the_type_or_is_not_to_know_is_told_nothing() {
    let quiet = Config { send_composing: false, ..config(BOB) };
    let contact = |send_composing| {
        let imdn = ContactImdn::default();
        vec![Contact { address: "sip:alice@192.0.2.1".into(), imdn, send_composing }]
    };
    let reserved = Config { contacts: contact(Some(false)), ..config(BOB) };
    let open = Config { contacts: contact(Some(true)), ..quiet.clone() };
    let (mut call, _) = connected(open, TYPES);
    writes(&mut call).expect("she may know");
    call.over();
    let plain = "text/plain message/cpim";
    let cases = [(config(BOB), plain), (config(BOB), "*"), (quiet, TYPES), (reserved, TYPES)];
    for (config, types) in cases {
        let (mut call, _) = connected(config, types);
        assert!(matches!(writes(&mut call), Err(Misuse::Unsendable(_))), "{types}");
        call.nothing_to(call.world.millis() + 30_000);
        call.over();
    }
}

//= IM M-40 test
#[cfg_attr(test, test)]
pub(crate) fn our_descriptions_list_the_type_unless_it_is_not_wanted() {
    for (shows, types) in [(true, TYPES), (false, "text/plain message/cpim")] {
        let mut call = Call::new(Config { show_composing: shows, ..config(BOB) });
        call.send(call.script.invite_with("", &call.script.sdp("actpass", TYPES)));
        call.status(180);
        call.accept();
        let answer = call.status(200);
        assert_eq!(text::attribute(answer.message(), "accept-types").as_deref(), Some(types));
        call.script.learn(answer.message());
        call.ack(&answer);
        call.over();
    }
}

//= IM M-40 test
#[cfg_attr(test, test)]
pub(crate) fn in_cpim_where_the_peer_prefers_it() {
    let (mut call, _) = connected(config(BOB), &format!("message/cpim text/plain {TYPE}"));
    writes(&mut call).expect("she takes it");
    let send = call.request("SEND");
    assert_eq!(text::header(send.message(), "Content-Type").as_deref(), Some("message/cpim"));
    let octets = text::lossy(send.message());
    assert!(octets.contains("From: <sip:bob@192.0.2.2>\r\n"), "{octets}");
    assert!(octets.contains(&format!("\r\n\r\nContent-Type: {TYPE}\r\n\r\n<?xml")), "{octets}");
    call.over();
}

//= IM M-41 test
//= IM D-54 test
#[cfg_attr(test, test)]
pub(crate) fn hold_does_not_hold_it() {
    let (mut call, _) = connected(config(BOB), TYPES);
    let held = call.script.sdp("active", TYPES).replace("o=- 1 1 ", "o=- 1 2 ") + "a=sendonly\r\n";
    let invite = {
        let contact = format!("Contact: <sip:{}>\r\n", call.script.host);
        call.script.next(&mut call.world, "INVITE", &contact, &held)
    };
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    writes(&mut call).expect("she takes it");
    // RFC 4975 8.9: as if there were no direction.
    assert_eq!(heard(&mut call).len(), 1);
    call.over();
}

//= IM M-42 test
//= IM R-4 test
#[cfg_attr(test, test)]
pub(crate) fn a_state_holds_until_idle_a_message_or_its_time() {
    let (mut call, media) = connected(config(BOB), TYPES);
    let alice = "sip:alice@192.0.2.1:5060".to_owned();
    let start = call.world.millis();
    let at = |active, millis| (alice.clone(), active, start + millis);
    // Idle.
    tells(&mut call, media, "tid1", "<state>active</state><contenttype>audio</contenttype>");
    tells(&mut call, media, "tid2", "<state>active</state>");
    tells(&mut call, media, "tid3", "<state>pondering</state>");
    tells(&mut call, media, "tid4", "<state>idle</state>");
    assert_eq!(told(&call), [at(true, 0), at(false, 0)], "what changes nothing is not told");
    // Its time, given or 120 s; told again, it begins again.
    tells(&mut call, media, "tid5", "<state>active</state><refresh>60</refresh>");
    call.world.run_to(start + 50_000);
    tells(&mut call, media, "tid6", "<state>active</state><refresh>60</refresh>");
    call.world.run_to(start + 109_999);
    assert_eq!(told(&call).get(2..), Some(&[at(true, 0)][..]));
    call.world.run_to(start + 110_000);
    tells(&mut call, media, "tid7", "<state>active</state>");
    call.world.run_to(start + 230_000);
    let expected = [at(true, 0), at(false, 110_000), at(true, 110_000), at(false, 230_000)];
    assert_eq!(told(&call).get(2..), Some(&expected[..]));
    // A message.
    tells(&mut call, media, "tid8", "<state>active</state>");
    call.world.send(media, call.script.msrp_send("tid9", "m9m9", "hello"));
    call.status(200);
    assert_eq!(told(&call).get(6..), Some(&[at(true, 230_000), at(false, 230_000)][..]));
    let order: Vec<_> = call.at_bob().told().collect();
    let idle = order.iter().rposition(|what| matches!(what, What::Composing { active: false, .. }));
    let message = order.iter().rposition(|what| matches!(what, What::Message(_)));
    assert!(idle < message, "the state ends before the message is told");
    // Never shown as a message, never kept.
    assert_eq!(call.at_bob().stored_texts(), ["hello"]);
    assert_eq!(order.iter().filter(|what| matches!(what, What::Message(_))).count(), 1);
    call.over();
}

//= IM M-42 test
#[cfg_attr(test, test)]
pub(crate) fn in_a_conference_each_participant_writes_for_himself() {
    let (mut call, media) = Call::connected_by(config(BOB), |call| {
        let invite = call.script.invite_with("", &call.script.sdp("actpass", TYPES));
        invite.replace("<sip:192.0.2.1:5060>", "<sip:192.0.2.1:5060>;isfocus")
    });
    let wrapped = |who: &str, kind: &str, body: &str| {
        format!("From: <sip:{who}@x>\r\nTo: <sip:room@x>\r\n\r\nContent-Type: {kind}\r\n\r\n{body}")
    };
    let active = document("<state>active</state>");
    let bodies = [
        wrapped("carol", TYPE, &active),
        wrapped("dave", TYPE, &active),
        wrapped("carol", "text/plain", "hello"),
    ];
    for (body, tid) in bodies.iter().zip(["tid1", "tid2", "tid3"]) {
        let frame = send(&call, tid, "message/cpim", body);
        call.world.send(media, frame);
        call.status(200);
    }
    let states = told(&call).into_iter().map(|(who, active, _)| (who, active)).collect::<Vec<_>>();
    let expected = [("sip:carol@x", true), ("sip:dave@x", true), ("sip:carol@x", false)];
    assert_eq!(states, expected.map(|(who, active)| (who.to_owned(), active)));
    // As many write at once as are kept; of the others nothing is told.
    for number in 0..40 {
        let body = wrapped(&format!("user{number}"), TYPE, &active);
        call.world.send(media, send(&call, &format!("more{number:02}"), "message/cpim", &body));
        call.status(200);
    }
    assert_eq!(told(&call).len(), 3 + 31);
    call.over();
}

//= IM M-42 test
//= IM X-25 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_no_state_is_refused_and_harms_nothing() {
    let (mut call, media) = connected(config(BOB), TYPES);
    let bomb = "<!DOCTYPE b [<!ENTITY a \"aaaa\">]>".to_owned() + &document("<state>&a;</state>");
    let cases = [
        ("tid1", bomb.as_str(), 400),
        ("tid2", "hello", 400),
        ("tid3", &document(""), 400),
        ("tid4", &document(&"x".repeat(9000)), 413),
        ("tid5", &document(&"x".repeat(100_000)), 413),
    ];
    for (tid, body, status) in cases {
        call.world.send(media, send(&call, tid, TYPE, body));
        call.status(status);
    }
    assert_eq!(told(&call), []);
    call.world.send(media, call.script.msrp_send("tid9", "m9m9", "hello"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["hello"]);
    call.over();
}

//= IM M-42 test
#[cfg_attr(test, test)]
pub(crate) fn of_who_only_rings_nothing_is_told() {
    let mut call = Call::new(Config { show_composing: true, ..config(BOB) });
    let state = document("<state>active</state>");
    let wrapped = format!("From: <sip:a@x>\r\nTo: <sip:b@x>\r\n\r\nContent-Type: {TYPE}\r\n\r\n{state}");
    let first = format!("Content-Type: message/cpim\r\n\r\n{wrapped}");
    let offer = format!("Content-Type: application/sdp\r\n\r\n{}", call.script.sdp("actpass", TYPES));
    let body = format!("--b1\r\n{first}\r\n--b1\r\n{offer}\r\n--b1--\r\n");
    let invite = call.script.invite_with("", &body).replace(
        "Content-Type: application/sdp\r\nContent-Length",
        "Content-Type: multipart/mixed; boundary=b1\r\nContent-Length",
    );
    call.send(invite);
    call.status(180);
    let shown = |what: &&What| matches!(what, What::Composing { .. } | What::Message(_));
    assert_eq!(call.at_bob().told().filter(shown).count(), 0, "{}", call.world.ladder());
    call.over();
}
