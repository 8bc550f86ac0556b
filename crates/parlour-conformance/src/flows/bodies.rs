//! Invitations whose body has several parts: who else is invited, a first message, and what nobody knows.

use std::time::Duration;

use parlour_msrp::Body;
use parlour_proto::client::StoreFault;
use parlour_proto::config::{Accept, Ack, Config};
use parlour_proto::event::{CopyControl, Ended, Incoming, Invitee, What};
use parlour_sim::text;

use crate::common::{BOB, Call, accepting, config};

const HISTORY: &str = "Content-Type: application/resource-lists+xml\r\n\
    Content-Disposition: recipient-list-history; handling=optional\r\n\r\n\
    <?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
    xmlns:cp=\"urn:ietf:params:xml:ns:copyControl\"><list>\
    <entry uri=\"sip:bill@example.com\" cp:copyControl=\"to\"><display-name>Bill</display-name></entry>\
    <entry uri=\"sip:anonymous@anonymous.invalid\" cp:copyControl=\"cc\" cp:count=\"2\"/></list></resource-lists>";

const FIRST: &str = "Content-Type: message/cpim\r\n\r\n\
    From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:bob@192.0.2.2>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
    imdn.Message-ID: first-1\r\nDateTime: 2026-01-02T03:04:05Z\r\nimdn.Disposition-Notification: positive-delivery\r\n\
    \r\nContent-Type: text/plain; charset=utf-8\r\n\r\nIs it lunch yet?";

/// A body of these parts, the usual offer as the last one, and its rows.
fn multipart(call: &Call, parts: &[&str]) -> (String, String) {
    let offer = format!("Content-Type: application/sdp\r\n\r\n{}", call.script.offer());
    let mut body = String::from("whatever stands here is nobody's\r\n");
    for part in parts.iter().copied().chain([offer.as_str()]) {
        body.push_str(&format!("--b1\r\n{part}\r\n"));
    }
    body.push_str("--b1--\r\n");
    (body, "multipart/mixed; boundary=\"b1\"".to_owned())
}

/// An INVITE with a body of that type.
fn invite(call: &Call, kind: &str, body: &str) -> String {
    let invite = call.script.invite_with("Supported: replaces\r\n", body);
    invite.replace(
        "Content-Type: application/sdp\r\nContent-Length",
        &format!("Content-Type: {kind}\r\nContent-Length"),
    )
}

fn invite_with(call: &Call, parts: &[&str]) -> String {
    let (body, kind) = multipart(call, parts);
    invite(call, &kind, &body)
}

fn messages(call: &Call) -> Vec<Incoming> {
    let message = |what: &What| if let What::Message(message) = what { Some(message.clone()) } else { None };
    call.at_bob().told().filter_map(message).collect()
}

/// Bob has accepted: the rest of a short session.
fn talk_and_leave(mut call: Call) {
    let answer = call.status(200);
    assert_eq!(text::header(answer.message(), "Content-Type").as_deref(), Some("application/sdp"));
    call.script.learn(answer.message());
    call.ack(&answer);
    call.bye();
    call.status(200);
    call.over();
}

//= IM S-1b test
#[cfg_attr(test, test)]
pub(crate) fn who_else_is_invited_is_told_and_the_first_message_is_kept_before_the_200() {
    let mut call = Call::new(accepting(Accept::All));
    call.bob_mut().store.delay = Duration::from_millis(700);
    let icon = "Content-Type: image/png\r\nContent-Disposition: icon\r\nContent-ID: <i1@x>\r\n\r\n\x7fPNG";
    let parts = [HISTORY, FIRST, icon];
    call.send(invite_with(&call, &parts));
    call.world.run(0);
    let invited = |what: &What| {
        if let What::Invited { invited_with, .. } = what { Some(invited_with.clone()) } else { None }
    };
    let with = call.at_bob().told().find_map(invited).expect("an invitation");
    let invitee = |address: &str, name: Option<&str>, copy, count| Invitee {
        address: address.into(),
        display_name: name.map(str::to_owned),
        copy,
        count,
    };
    let bill = invitee("sip:bill@example.com", Some("Bill"), CopyControl::To, 1);
    let others = invitee("sip:anonymous@anonymous.invalid", None, CopyControl::Cc, 2);
    assert_eq!(with, [bill, others]);
    let [first] = &messages(&call)[..] else { panic!("{}", call.world.ladder()) };
    assert_eq!(first.message_id, "first-1");
    assert_eq!(first.content_type, "text/plain; charset=utf-8");
    assert_eq!(first.body, Body::Inline(b"Is it lunch yet?".to_vec()));
    assert_eq!(first.sent_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert!(first.renderable && first.claimed_from.is_none());
    // What we acknowledge, we have.
    assert_eq!(call.times("200 OK"), []);
    call.world.run(700);
    assert_eq!(call.times("200 OK"), [700]);
    talk_and_leave(call);
}

//= IM S-1b test
#[cfg_attr(test, test)]
pub(crate) fn a_declined_invitation_leaves_its_first_message() {
    let mut call = Call::new(config(BOB));
    call.send(invite_with(&call, &[FIRST]));
    call.status(180);
    let session = call.session();
    let decline = parlour_proto::client::Decline::Declined;
    call.world.act(call.bob, |bob, now| bob.decline(now, session, decline)).expect("declined");
    call.refused(603);
    assert_eq!(messages(&call).len(), 1);
    // The same again, in another call: its Message-ID tells.
    call.script = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(invite_with(&call, &[FIRST]));
    call.status(180);
    call.accept();
    let ids: Vec<_> = messages(&call).into_iter().map(|message| message.message_id).collect();
    assert_eq!(ids, ["first-1", "first-1"], "the store knows the second as a repetition");
    talk_and_leave(call);
}

//= IM S-1b test
//= IM G-1b test
#[cfg_attr(test, test)]
pub(crate) fn a_first_message_that_cannot_be_kept_refuses_the_invitation() {
    for accept in [Accept::All, Accept::Ask] {
        let mut call = Call::new(accepting(accept));
        call.bob_mut().store.fault = Some(StoreFault::Full);
        call.send(invite_with(&call, &[FIRST]));
        call.refused(480);
        let missed = |what: &&What| matches!(what, What::Missed { why: Ended::Declined { status: 480 }, .. });
        assert_eq!(call.at_bob().told().filter(missed).count(), 1);
        call.over();
    }
    let mut call = Call::new(Config { ack: Ack::Received, ..accepting(Accept::All) });
    call.bob_mut().store.delay = Duration::from_millis(700);
    call.send(invite_with(&call, &[FIRST]));
    call.world.run(0);
    assert_eq!(call.times("200 OK"), [0], "who does not wait for the disk does not here");
    talk_and_leave(call);
}

#[cfg_attr(test, test)]
pub(crate) fn a_store_that_does_not_speak_keeps_nobody_for_ever() {
    let mut call = Call::new(accepting(Accept::All));
    call.bob_mut().store.delay = Duration::from_secs(1000);
    call.send(invite_with(&call, &[FIRST]));
    call.world.run_to(119_999);
    assert!(call.times("480 No answer").is_empty());
    call.refused(480);
    call.over();
}

//= IM R-1 test
#[cfg_attr(test, test)]
pub(crate) fn whoever_is_accepted_and_waits_for_the_store_has_his_place() {
    let mut call = Call::new(Config { max_sessions: 1, ..accepting(Accept::All) });
    call.bob_mut().store.delay = Duration::from_millis(700);
    call.send(invite_with(&call, &[FIRST]));
    call.world.run(0);
    let load = call.at_bob().client.load();
    assert_eq!((load.sessions, load.invitations), (1, 0));
    let mut other = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(other.invite());
    let busy = call.status(486);
    let ack = other.ack_refusal(busy.message());
    call.send(ack);
    talk_and_leave(call);
}

#[cfg_attr(test, test)]
pub(crate) fn a_caller_who_gives_up_before_the_store_has_spoken_is_gone() {
    let mut call = Call::new(accepting(Accept::All));
    call.bob_mut().store.delay = Duration::from_millis(700);
    call.send(invite_with(&call, &[FIRST]));
    call.world.run(100);
    call.cancel();
    call.world.run(2000);
    assert_eq!(call.times("200 OK"), []);
    call.over();
}

//= IM S-1b test
#[cfg_attr(test, test)]
pub(crate) fn what_need_not_be_understood_is_passed_over_and_what_must_be_is_refused() {
    let text = "Content-Type: text/html\r\n\r\n<p>";
    let optional = "Content-Type: text/html\r\nContent-Disposition: render;handling=Optional\r\n\r\n<p>";
    let folded = "Content-Type: text/html\r\nContent-Disposition: render;\r\n handling = optional\r\n\r\n<p>";
    let list = HISTORY.replace("recipient-list-history; handling=optional", "recipient-list");
    let broken_list = HISTORY.replace("</list>", "");
    let must_list = broken_list.replace("; handling=optional", "");
    let coded = FIRST.replacen("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1);
    let required = FIRST.replacen("NS: imdn", "Require: x.y\r\nNS: imdn", 1);
    let early = "Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=0\r\n";
    let twice = "Content-Type: application/sdp\r\n\r\nv=0\r\n";
    let nested = format!(
        "Content-Type: multipart/x-odd; boundary=b2\r\n\r\n--b2\r\n{HISTORY}\r\n--b2\r\n{optional}\r\n--b2--"
    );
    let nested_must = nested.replace(";handling=Optional", "");
    let nested_optional = nested_must.replacen(
        "boundary=b2",
        "boundary=b2\r\nContent-Disposition: render;handling=optional",
        1,
    );
    let cases: [(&str, u16); 13] = [
        (optional, 180),
        (folded, 180),
        (text, 415),
        (&list, 415),
        (&broken_list, 180),
        (&must_list, 400),
        (&coded, 415),
        (&required, 415),
        (early, 415),
        (twice, 400),
        (&nested, 180),
        (&nested_must, 415),
        (&nested_optional, 180),
    ];
    for (part, expected) in cases {
        let mut call = Call::new(config(BOB));
        call.send(invite_with(&call, &[part]));
        let answer = call.status(expected);
        if expected == 180 {
            call.script.learn(answer.message());
            call.accept();
            talk_and_leave(call);
            continue;
        }
        if expected == 415 && !part.contains("base64") {
            let accept = text::header(answer.message(), "Accept").unwrap_or_default();
            assert!(accept.starts_with("application/sdp, multipart/mixed"), "{accept}");
        }
        assert_eq!(call.invitations(), 0, "{part}");
        call.ack_refusal(&answer);
        call.over();
    }
}

//= IM S-1b test
#[cfg_attr(test, test)]
pub(crate) fn of_alternatives_the_last_that_is_understood_counts() {
    let mut call = Call::new(config(BOB));
    let offer = call.script.offer();
    let alternatives = |first: &str, second: &str| {
        format!(
            "--b1\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n--b2\r\n{first}\r\n--b2\r\n{second}\r\n\
             --b2--\r\n--b1--\r\n"
        )
    };
    let sdp = format!("Content-Type: application/sdp\r\n\r\n{offer}");
    let newer = "Content-Type: application/sdpng\r\nContent-Disposition: session\r\n\r\n<x/>";
    call.send(invite(&call, "multipart/mixed;boundary=b1", &alternatives(&sdp, newer)));
    call.status(180);
    call.accept();
    talk_and_leave(call);
    let mut call = Call::new(config(BOB));
    call.send(invite(&call, "multipart/mixed;boundary=b1", &alternatives(newer, newer)));
    call.refused(415);
    call.over();
}

//= IM X-11 test
#[cfg_attr(test, test)]
pub(crate) fn bodies_that_are_no_multipart_are_refused() {
    let part = "--b1\r\nContent-Type: image/png\r\n\r\n.\r\n";
    let mut deep = String::from("--b8\r\nContent-Type: image/png\r\n\r\n.\r\n--b8--");
    for level in (0..8).rev() {
        let inner = level + 1;
        deep = format!(
            "--b{level}\r\nContent-Type: multipart/mixed;boundary=b{inner}\r\n\r\n{deep}\r\n--b{level}--"
        );
    }
    let many = format!("{}--b1--", part.repeat(65));
    let cases = [
        ("multipart/mixed", format!("{part}--b1--"), "boundary"),
        ("multipart/mixed; boundary=\"b1 \"", format!("{part}--b1--"), "boundary"),
        ("multipart/mixed; boundary=b2", format!("{part}--b1--"), "no part"),
        ("multipart/mixed; boundary=b1", part.to_owned(), "closing"),
        ("multipart/mixed; boundary=b1", "--b1\r\nnothing\r\n--b1--".to_owned(), "headers"),
        ("multipart/mixed; boundary=b1", many, "64"),
        ("multipart/mixed; boundary=b0", deep, "8 deep"),
    ];
    for (kind, body, why) in cases {
        let mut call = Call::new(config(BOB));
        call.send(invite(&call, kind, &body));
        let refusal = call.status(400);
        let line = text::start_line(refusal.message());
        assert!(line.contains(why), "{line}: {why}");
        call.ack_refusal(&refusal);
        call.over();
    }
}

//= IM S-1b test
#[cfg_attr(test, test)]
pub(crate) fn later_offers_and_answers_may_come_in_parts() {
    let (mut call, _media) = Call::connected();
    let body = call.script.offer().replace("o=- 1 1", "o=- 1 2");
    let part = |sdp: &str| format!("--b1\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b1--");
    let rows = format!("Contact: <sip:{}>\r\n", call.script.host);
    let again = call.script.next(&mut call.world, "INVITE", &rows, &part(&body));
    call.send(again.replace(
        "Content-Type: application/sdp\r\nContent-Length",
        "Content-Type: multipart/mixed;boundary=b1\r\nContent-Length",
    ));
    let answer = call.status(200);
    assert_eq!(text::header(answer.message(), "Content-Type").as_deref(), Some("application/sdp"));
    call.ack(&answer);
    call.bye();
    call.status(200);
    call.over();
}
