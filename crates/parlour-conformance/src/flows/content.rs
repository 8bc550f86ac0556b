//! What messages are made of (catalogue 4.1 M-14, 4.3, X-25): parts, wrappings inside wrappings, attachments.

use parlour_msrp::Body;
use parlour_proto::client::{Refusal, Say};
use parlour_proto::event::{Incoming, Progress, What};
use parlour_proto::mime::content::{Disposition, Kind, Part};
use parlour_sim::{Way, text};

use crate::common::{BOB, Call, config};

/// Bob has accepted an offer with these types, and Alice's connection is bound.
fn connected(types: &str) -> (Call, Way) {
    Call::connected_by(config(BOB), |call| call.script.invite_with("", &call.script.sdp("actpass", types)))
}

/// A SEND of Alice with a body of that type.
fn send(call: &Call, tid: &str, kind: &str, body: &str) -> String {
    let frame = call.script.msrp_send(tid, &format!("id-{tid}"), body);
    frame.replacen("Content-Type: text/plain\r\n\r\n", &format!("Content-Type: {kind}\r\n\r\n"), 1)
}

/// A body in message/cpim, from that author.
fn wrapped(from: &str, kind: &str, body: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{BOB}>\r\nDateTime: 2026-01-02T03:04:05Z\r\n\r\nContent-Type: {kind}\r\n\r\n{body}"
    )
}

fn messages(call: &Call) -> Vec<Incoming> {
    let message = |what: &What| if let What::Message(message) = what { Some(message.clone()) } else { None };
    call.at_bob().told().filter_map(message).collect()
}

/// Alice sends it, and Bob's user is told: the last message.
fn tells(call: &mut Call, media: Way, frame: String) -> Incoming {
    call.world.send(media, frame);
    call.status(200);
    messages(call).pop().expect("a message")
}

fn explained(call: &Call, clause: &str) -> usize {
    let explains = |what: &What| matches!(what, What::Explain(explain) if explain.clause == clause);
    call.at_bob().events.iter().filter(|(_, event)| explains(&event.what)).count()
}

const SEVERAL: &str = "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n\
    --c\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
    Look, a caf=E9\r\n--c\r\nContent-Type: text/html\r\n\r\n<p>Look, a <b>caf&eacute;</b>\r\n--c--\r\n\
    --b\r\nContent-Type: image/png; name=\"cafe.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n\
    --b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=\"notes.txt\"\r\n\r\nnotes\r\n--b--\r\n";

//= IM M-14 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_of_several_parts_is_taken_apart_and_kept_as_it_came() {
    let kind = "multipart/mixed; boundary=b";
    for types in ["message/cpim text/plain multipart/mixed", "*", "text/plain"] {
        let (mut call, media) = connected(types);
        // RFC 4975 7.3.1: every endpoint takes it, listed or not.
        let came = send(&call, "tid1", kind, SEVERAL);
        let message = tells(&mut call, media, came);
        assert_eq!(message.body, Body::Inline(SEVERAL.as_bytes().to_vec()));
        assert_eq!(message.text().as_deref(), Some("Look, a caf\u{e9}"));
        assert!(message.renderable);
        let outline = |part: &Part| (part.kind, part.disposition, part.size);
        let expected = [
            (Kind::Text, Disposition::Render, 12),
            (Kind::Image, Disposition::Render, 8),
            (Kind::Text, Disposition::Attachment, 5),
        ];
        assert_eq!(message.parts.iter().map(outline).collect::<Vec<_>>(), expected);
        assert_eq!(message.parts[1].name.as_deref(), Some("cafe.png"));
        call.over();
    }
}

//= IM M-14 test
//= IM D-33 test
#[cfg_attr(test, test)]
pub(crate) fn every_type_that_we_list_is_taken_and_no_other() {
    let mut call = Call::new(config(BOB));
    call.send(call.script.invite_with("", &call.script.sdp("actpass", "*")));
    let (answer, media) = call.taken("bind1");
    let listed = |name: &str| text::attribute(answer.message(), name).unwrap_or_default();
    let (roots, inside) = (listed("accept-types"), listed("accept-wrapped-types"));
    assert!(roots.contains("multipart/alternative") && inside.contains("image/*"), "{roots}; {inside}");
    let control = |kind: &&str| !kind.contains("imdn") && !kind.contains("composing");
    let body = |kind: &str| match kind {
        "message/cpim" => wrapped("sip:alice@192.0.2.1", "text/plain", "hi"),
        kind if kind.starts_with("multipart/") => "--b\r\n\r\nhi\r\n--b--".to_owned(),
        _ => "hi".to_owned(),
    };
    let full = |kind: &str| format!("{}; boundary=b", kind.replace('*', "x-sample"));
    for (at, kind) in roots.split(' ').filter(control).enumerate() {
        let frame = send(&call, &format!("root{at}"), &full(kind), &body(kind));
        let message = tells(&mut call, media, frame);
        assert_eq!(message.text().as_deref(), Some("hi"), "{kind}");
    }
    for (at, kind) in inside.split(' ').filter(control).enumerate() {
        let cpim = wrapped("sip:alice@192.0.2.1", &full(kind), &body(kind));
        let frame = send(&call, &format!("wrap{at}"), "message/cpim", &cpim);
        let message = tells(&mut call, media, frame);
        assert!(
            message.parts.iter().all(|part| part.kind != Kind::Other && part.trouble.is_none()),
            "{kind}"
        );
    }
    let before = messages(&call).len();
    for (tid, kind, body) in [
        ("not1", "application/x-odd", "hi".to_owned()),
        ("not2", "image/png", "hi".to_owned()),
        ("not3", "message/cpim", wrapped("sip:alice@192.0.2.1", "application/x-odd", "hi")),
    ] {
        call.world.send(media, send(&call, tid, kind, &body));
        call.status(415);
    }
    assert_eq!(messages(&call).len(), before);
    call.over();
}

//= IM M-33 test
#[cfg_attr(test, test)]
pub(crate) fn wrappings_inside_each_other_tell_who_vouches_for_whom() {
    let (mut call, media) = connected("message/cpim text/plain");
    let inner = wrapped("im:al@example.org", "text/plain", "hi").replace("03:04:05Z", "01:01:01Z");
    let outer = wrapped("sip:gateway@example.net", "message/cpim", &inner);
    let frame = send(&call, "tid1", "message/cpim", &outer);
    let message = tells(&mut call, media, frame);
    let authors: Vec<_> = message.authors.iter().map(|author| author.uri.as_str()).collect();
    assert_eq!(authors, ["sip:gateway@example.net", "im:al@example.org"]);
    assert_eq!(message.claimed_from.as_deref(), Some("sip:gateway@example.net"));
    assert_eq!(message.from.address, "sip:alice@192.0.2.1:5060");
    assert_eq!(message.sent_at.as_deref(), Some("2026-01-02T01:01:01Z"));
    assert_eq!((message.body.clone(), message.text().as_deref()), (Body::Inline(b"hi".to_vec()), Some("hi")));
    // One wrapping is no chain.
    let frame = send(&call, "tid2", "message/cpim", &wrapped("im:al@example.org", "text/plain", "ho"));
    let message = tells(&mut call, media, frame);
    assert!(message.authors.is_empty() && message.claimed_from.is_some());
    call.over();
}

//= IM M-30 test
#[cfg_attr(test, test)]
pub(crate) fn what_a_wrapping_requires_and_we_do_not_know_is_refused_at_any_level() {
    let (mut call, media) = connected("message/cpim text/plain");
    let requires = wrapped("sip:a@x", "text/plain", "hi").replacen("To:", "Require: x.y\r\nTo:", 1);
    for (tid, body) in [("tid1", requires.clone()), ("tid2", wrapped("sip:g@x", "message/cpim", &requires))] {
        call.world.send(media, send(&call, tid, "message/cpim", &body));
        call.status(415);
    }
    assert_eq!((messages(&call).len(), explained(&call, "M-30")), (0, 2));
    call.over();
}

//= IM M-14 test
//= IM M-30 test
#[cfg_attr(test, test)]
pub(crate) fn what_a_gateway_has_coded_is_decoded() {
    let (mut call, media) = connected("message/cpim text/plain");
    let coded = |coding: &str, body: &str| {
        let kind = format!("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {coding}");
        wrapped("sip:alice@192.0.2.1", &kind, body)
    };
    for (tid, coding, body, expected) in [
        ("tid1", "base64", "Y2Fmw6k=\r\n", Some("caf\u{e9}")),
        ("tid2", "Quoted-Printable", "caf=C3=A9=\r\n!", Some("caf\u{e9}!")),
        ("tid3", "8bit", "caf", Some("caf")),
        ("tid4", "x-uuencode", "begin", None),
    ] {
        let frame = send(&call, tid, "message/cpim", &coded(coding, body));
        let message = tells(&mut call, media, frame);
        assert_eq!(message.text().as_deref(), expected, "{coding}");
        let octets = expected.unwrap_or(body).as_bytes().to_vec();
        assert_eq!((message.body, message.renderable), (Body::Inline(octets), expected.is_some()));
    }
    call.over();
}

//= IM M-34 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_signed_is_taken_and_nobody_has_verified_it() {
    let (mut call, media) = connected("message/cpim text/plain");
    let body = "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nMAMCAQA=\r\n--b--";
    let kind = "multipart/signed; boundary=b; micalg=sha-256; protocol=\"application/pkcs7-signature\"";
    for (tid, frame_kind, frame) in [
        ("tid1", kind, body.to_owned()),
        ("tid2", "message/cpim", wrapped("sip:alice@192.0.2.1", kind, body)),
    ] {
        let frame = send(&call, tid, frame_kind, &frame);
        let message = tells(&mut call, media, frame);
        let [part] = &message.parts[..] else { panic!("{:?}", message.parts) };
        assert_eq!((part.text.as_deref(), part.unverified), (Some("hi"), true));
    }
    call.over();
}

//= IM X-25 test
#[cfg_attr(test, test)]
pub(crate) fn x_25_what_cannot_be_taken_apart_is_kept_and_nothing_is_shown_of_it() {
    let (mut call, media) = connected("message/cpim text/plain multipart/mixed");
    let many = format!("{}--b--", "--b\r\n\r\nhi\r\n".repeat(65));
    let mut deep = "hi".to_owned();
    for _ in 0..9 {
        deep = format!("--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{deep}\r\n--b--");
    }
    for (tid, kind, body) in [
        ("tid1", "multipart/mixed", "hi".to_owned()),
        ("tid2", "multipart/mixed; boundary=b", many),
        ("tid3", "multipart/mixed; boundary=b", "--b\r\n\r\nnever ended".to_owned()),
        ("tid4", "text/plain; charset=utf-7", "+ADw-".to_owned()),
        ("tid5", "multipart/mixed; boundary=b", deep),
    ] {
        let frame = send(&call, tid, kind, &body);
        let message = tells(&mut call, media, frame);
        assert_eq!((message.text(), message.renderable), (None, false), "{kind}");
        assert_eq!(message.body, Body::Inline(body.into_bytes()), "{kind}");
    }
    assert!(explained(&call, "M-14") >= 5);
    call.over();
}

//= IM X-25 test
#[cfg_attr(test, test)]
pub(crate) fn x_25_a_flood_of_headers_in_a_wrapping_is_refused() {
    let (mut call, media) = connected("message/cpim text/plain");
    let many = format!("From: <sip:a@x>\r\n{}\r\nContent-Type: text/plain\r\n\r\nhi", "X: y\r\n".repeat(300));
    let long = format!("From: <sip:a@x>\r\nSubject: {}\r\n\r\n\r\nhi", "x".repeat(17_000));
    for (tid, body) in [("tid1", many), ("tid2", long)] {
        call.world.send(media, send(&call, tid, "message/cpim", &body));
        call.status(400);
    }
    // 10 kB are long, and no flood.
    let subject = format!(
        "From: <sip:a@x>\r\nSubject: {}\r\n\r\nContent-Type: text/plain\r\n\r\nhi",
        "x".repeat(10_000)
    );
    let frame = send(&call, "tid3", "message/cpim", &subject);
    assert_eq!(tells(&mut call, media, frame).text().as_deref(), Some("hi"));
    assert_eq!(messages(&call).len(), 1);
    call.over();
}

/// Bob says it; what each SEND that comes of it says, as long as Alice answers with these.
fn says(call: &mut Call, media: Way, id: &str, kind: &str, body: &str, answers: &[&str]) -> Vec<String> {
    let session = call.session();
    let body = parlour_msrp::Source::Inline(body.as_bytes().to_vec());
    let say = Say { message_id: id.into(), content_type: kind.into(), body, to: None };
    call.world.act(call.bob, |bob, now| bob.say(now, session, say)).expect("it can be said");
    let mut sent = Vec::new();
    for answer in answers {
        let send = call.request("SEND");
        assert_eq!(text::header(send.message(), "Message-ID").as_deref(), Some(id), "the same message");
        let kind = text::header(send.message(), "Content-Type").unwrap_or_default();
        let octets = text::lossy(text::body(send.message()));
        let inner = octets.rsplit("Content-Type: ").next().unwrap_or_default().replace("\r\n\r\n", ": ");
        sent.push(if kind == "message/cpim" { format!("cpim {inner}") } else { format!("{kind}: {octets}") });
        let response = call.script.msrp_respond(send.message(), answer);
        call.world.send(media, response);
    }
    call.world.run(0);
    sent
}

/// What became of Bob's messages.
fn progress(call: &Call, id: &str) -> Vec<Progress> {
    let of = |what: &What| {
        if let What::Progress { message_id, progress } = what {
            Some((message_id.clone(), progress.clone()))
        } else {
            None
        }
    };
    let own = call.at_bob().told().filter_map(of).filter(|(message_id, _)| message_id == id);
    own.map(|(_, progress)| progress).filter(|progress| *progress != Progress::Sent).collect()
}

const NO: &str = "415 No";
const OK: &str = "200 OK";

//= IM M-12 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_refused_goes_again_in_another_form_and_the_next_in_that_one_at_once() {
    let html = "<p>Hi <b>you</b></p>";
    for (types, kind, body, first, second) in [
        // voip.ms and Asterisk take no message/cpim, whatever they list.
        ("message/cpim text/plain", "text/plain", "hi", "cpim text/plain: hi", "text/plain: hi"),
        ("text/plain message/cpim", "text/plain", "hi", "text/plain: hi", "cpim text/plain: hi"),
        ("text/html text/plain", "text/html", html, "text/html: <p>Hi <b>you</b></p>", "text/plain: Hi you"),
        ("*", "image/png", "png", "image/png: png", "cpim image/png: png"),
    ] {
        let (mut call, media) = connected(types);
        assert_eq!(says(&mut call, media, "said1", kind, body, &[NO, OK]), [first, second], "{types}");
        assert_eq!(progress(&call, "said1"), [Progress::Acknowledged]);
        assert_eq!(says(&mut call, media, "said2", kind, body, &[OK]), [second], "{types}");
        let told = |what: &&What| matches!(what, What::TypeRefused { .. });
        assert_eq!((call.at_bob().told().filter(told).count(), explained(&call, "M-12")), (1, 2));
        // The next session with the same peer begins where this one ends.
        call.bye();
        call.status(200);
        call.world.close(media);
        call.script = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, BOB);
        call.send(call.script.invite_with("", &call.script.sdp("actpass", types)));
        let (_, media) = call.taken("bind2");
        assert_eq!(says(&mut call, media, "said3", kind, body, &[OK]), [second], "{types}");
        call.over();
    }
}

//= IM M-12 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_lists_other_types_is_asked_anew() {
    for (later, third) in
        [("text/html text/plain", "text/plain: ho"), ("text/plain text/html", "text/html: <p>ho</p>")]
    {
        let (mut call, media) = connected("text/html text/plain");
        let sent = says(&mut call, media, "said1", "text/html", "<p>hi</p>", &[NO, OK]);
        assert_eq!(sent, ["text/html: <p>hi</p>", "text/plain: hi"]);
        // A later offer in the same session.
        let offer = call.script.sdp("actpass", later).replace("o=- 1 1", "o=- 1 2");
        let invite = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &offer);
        call.send(invite);
        let answer = call.status(200);
        call.ack(&answer);
        assert_eq!(says(&mut call, media, "said2", "text/html", "<p>ho</p>", &[OK]), [third], "{later}");
        call.over();
    }
}

//= IM M-12 test
#[cfg_attr(test, test)]
pub(crate) fn what_has_no_form_left_fails_and_is_tried_again_another_time() {
    let (mut call, media) = connected("message/cpim text/plain");
    assert_eq!(
        says(&mut call, media, "said1", "text/plain", "hi", &[NO, NO]),
        ["cpim text/plain: hi", "text/plain: hi"]
    );
    let [Progress::Failed { why }] = &progress(&call, "said1")[..] else { panic!("{}", call.world.ladder()) };
    assert!(why.contains("415"), "{why}");
    let sent = says(&mut call, media, "said2", "text/plain", "ho", &[OK]);
    assert_eq!(
        (sent, progress(&call, "said2")),
        (vec!["cpim text/plain: ho".to_owned()], vec![Progress::Acknowledged])
    );
    call.over();
}

//= IM M-12 test
//= IM M-50 test
#[cfg_attr(test, test)]
pub(crate) fn a_notification_that_was_refused_goes_without_the_session_and_texts_go_on() {
    let mut config = config(BOB);
    config.accounts.iter_mut().for_each(|account| account.imdn.tell_unverified = true);
    let (mut call, media) = Call::connected_by(config, |call| {
        call.script.invite_with("", &call.script.sdp("actpass", "message/cpim text/plain"))
    });
    let asks = |id: &str| {
        format!(
            "From: <sip:alice@192.0.2.1>\r\nTo: <{BOB}>\r\nDateTime: 2026-01-02T03:04:05Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
             imdn.Message-ID: {id}\r\nimdn.Disposition-Notification: positive-delivery\r\n\r\n\
             Content-Type: text/plain\r\n\r\nhi"
        )
    };
    let frame = send(&call, "tid1", "message/cpim", &asks("asked1"));
    tells(&mut call, media, frame);
    let notification = call.request("SEND");
    assert!(text::lossy(notification.message()).contains("message/imdn+xml"));
    let response = call.script.msrp_respond(notification.message(), NO);
    call.world.send(media, response);
    call.world.run(0);
    let refused = |what: &What| matches!(what, What::TypeRefused { media_type, wrapped: true, .. } if media_type == "message/imdn+xml");
    assert!(call.at_bob().told().any(refused), "{}", call.world.ladder());
    // Texts are not what was refused.
    assert_eq!(says(&mut call, media, "said1", "text/plain", "hi", &[OK]), ["cpim text/plain: hi"]);
    let frame = send(&call, "tid2", "message/cpim", &asks("asked2"));
    tells(&mut call, media, frame);
    let page = call.request("MESSAGE");
    assert!(text::lossy(page.message()).contains("<message-id>asked2</message-id>"));
    let response = call.script.respond(page.message(), OK, "", "");
    call.send(response);
    call.over();
}

//= IM M-12 test
#[cfg_attr(test, test)]
pub(crate) fn what_was_learned_before_a_restart_counts_for_a_day() {
    for (after, expected) in [
        (0, "text/plain: hi"),
        (24 * 3_600_000 - 3_600_000, "text/plain: hi"),
        (24 * 3_600_000, "cpim text/plain: hi"),
    ] {
        let mut call = Call::new(config(BOB));
        let until = call.world.now().unix + std::time::Duration::from_secs(24 * 3600);
        let refusal = Refusal {
            account: parlour_proto::io::AccountId(0),
            peer: "sip:alice@192.0.2.1".into(),
            pager: false,
            wrapped: true,
            media_type: "text/plain".into(),
            until,
        };
        call.world
            .act(call.bob, |bob, now| {
                bob.set_refusals(now, &[refusal]);
                Ok(())
            })
            .expect("it is no mistake");
        call.world.run(after);
        call.send(call.script.invite_with("", &call.script.sdp("actpass", "message/cpim text/plain")));
        let (_, media) = call.taken("bind1");
        assert_eq!(says(&mut call, media, "said1", "text/plain", "hi", &[OK]), [expected], "{after}");
        call.over();
    }
}

//= IM M-14 test
#[cfg_attr(test, test)]
pub(crate) fn a_large_message_is_kept_whole() {
    let (mut call, media) = connected("message/cpim text/plain multipart/mixed");
    let large =
        format!("--b\r\n\r\nhi\r\n--b\r\nContent-Type: image/png\r\n\r\n{}\r\n--b--", "x".repeat(70_000));
    let cpim = wrapped("sip:alice@192.0.2.1", "multipart/mixed; boundary=b", &large);
    let frame = send(&call, "tid1", "message/cpim", &cpim);
    let message = tells(&mut call, media, frame);
    let [part] = &message.parts[..] else { panic!("{:?}", message.parts) };
    let place = part.place.expect("a place");
    assert_eq!((place.offset, place.length), (message.body_offset, large.len() as u64));
    assert!(matches!(message.body, Body::Spooled { .. }) && !message.renderable);
    call.over();
}
