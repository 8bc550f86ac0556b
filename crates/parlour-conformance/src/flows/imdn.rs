//! What became of messages (RFC 5438; catalogue 4.5).

use std::time::Duration;

use parlour_proto::client::StoreFault;
use parlour_proto::config::{Ack, Config, Imdn, InRooms};
use parlour_proto::event::{Fate, What};
use parlour_sim::{Mail, Script, Way, text};

use crate::common::{self, BOB, Call, config};

pub(super) const TYPE: &str = "message/imdn+xml";
pub(super) const ALL: &str = "positive-delivery, negative-delivery, display";

/// Whoever asks is told, also those for whom nobody vouches.
pub(super) const TELLING: Imdn = Imdn {
    ask_delivered: false,
    ask_displayed: false,
    tell_delivered: true,
    tell_displayed: true,
    tell_unverified: true,
    tell_forbidden: false,
    ask_in_rooms: InRooms::Nothing,
    tell_in_rooms: InRooms::Nothing,
};

pub(super) fn with(imdn: Imdn) -> Config {
    let mut config = config(BOB);
    config.accounts.iter_mut().for_each(|account| account.imdn = imdn);
    config
}

pub(super) fn telling() -> Config {
    with(Imdn { tell_displayed: false, ..TELLING })
}

/// Bob has accepted, and Alice's connection is bound. `wrapped` is what she takes inside message/cpim.
pub(super) fn connected(config: Config, wrapped: &str, contact: &str) -> (Call, Way) {
    Call::connected_by(config, |call| {
        let types = format!("accept-wrapped-types:{wrapped}");
        let offer = call.script.sdp("actpass", "message/cpim text/plain");
        let invite = call.script.invite_with("", &offer.replace("accept-wrapped-types:*", &types));
        invite.replace("<sip:192.0.2.1:5060>", &format!("<sip:192.0.2.1:5060>{contact}"))
    })
}

/// A message/cpim of Alice in a SEND.
pub(super) fn send(call: &Call, tid: &str, rows: &str, content: &str) -> String {
    let cpim = format!(
        "From: Alice <sip:alice@192.0.2.1>\r\nTo: <{BOB}>\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: imdn-{tid}\r\n{rows}\r\n{content}"
    );
    let frame = call.script.msrp_send(tid, &format!("id-{tid}"), &cpim);
    frame.replacen("Content-Type: text/plain", "Content-Type: message/cpim", 1)
}

/// Alice asks for these notifications of a text.
pub(super) fn asks(call: &Call, tid: &str, wanted: &str) -> String {
    let rows = format!("imdn.Disposition-Notification: {wanted}\r\n");
    send(call, tid, &rows, "Content-Type: text/plain\r\n\r\nhello")
}

/// A notification of Alice.
pub(super) fn notifies(call: &Call, tid: &str, message_id: &str, kind: &str, status: &str) -> String {
    let body = document(message_id, kind, status);
    send(call, tid, "", &format!("Content-Type: {TYPE}\r\nContent-Disposition: notification\r\n\r\n{body}"))
}

pub(super) fn document(message_id: &str, kind: &str, status: &str) -> String {
    format!(
        "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{message_id}</message-id>\
         <datetime>2026-01-02T03:04:05Z</datetime><recipient-uri>sip:alice@192.0.2.1</recipient-uri>\
         <{kind}-notification><status><{status}/></status></{kind}-notification></imdn>"
    )
}

/// The notifications that came to Alice since she last looked; she says 200 to each request.
pub(super) fn notifications(call: &mut Call) -> Vec<String> {
    let mails = call.world.mail_of(call.alice);
    let requests = mails.into_iter().filter(|mail| text::lossy(mail.message()).contains("<imdn xmlns"));
    let requests: Vec<Mail> = requests.collect();
    requests.iter().for_each(|mail| take(call, mail));
    requests.iter().map(|mail| text::lossy(mail.message())).collect()
}

/// Alice says 200 to a notification.
pub(super) fn take(call: &mut Call, mail: &Mail) {
    answer(call, mail, "200 OK", "");
}

/// Alice answers a notification.
pub(super) fn answer(call: &mut Call, mail: &Mail, line: &str, rows: &str) {
    let response = if text::start_line(mail.message()).starts_with("MSRP ") {
        call.script.msrp_respond(mail.message(), line)
    } else {
        let script = Script::callee(&mut call.world, call.alice, mail.way, mail.message());
        script.respond(mail.message(), line, rows, "").replace("Contact: <sip:192.0.2.1:5060>\r\n", "")
    };
    call.world.send(mail.way, response);
    call.world.run(0);
}

pub(super) fn read(call: &mut Call, message_id: &str) {
    call.world.shown(call.bob, &[message_id]);
    call.world.run(0);
}

pub(super) fn says(call: &mut Call, message_id: &str) {
    let session = call.session();
    let message = common::text(message_id, "hello");
    call.world.act(call.bob, |bob, now| bob.say(now, session, message)).expect("it can be said");
    call.world.run(0);
}

/// What Bob's user was told of his messages.
pub(super) fn told(call: &Call) -> Vec<(String, Fate)> {
    let receipts = call.at_bob().told().filter_map(|what| {
        let What::Receipt { message_id, fate, .. } = what else { return None };
        Some((message_id.clone(), *fate))
    });
    receipts.collect()
}

//= IM M-50 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_is_delivered_when_it_is_durable() {
    let (mut call, media) = connected(telling(), &format!("text/plain {TYPE}"), "");
    call.bob_mut().store.delay = Duration::from_millis(40);
    let start = call.world.millis();
    call.world.send(media, asks(&call, "tid1", ALL));
    call.nothing_to(start + 39);
    // The 200 leaves first.
    let ok = call.status(200);
    let notification = call.request("SEND");
    assert_eq!((ok.at.as_millis(), notification.at.as_millis()), (start + 40, start + 40));
    // It is owed until the other side has it, so a response is asked for.
    assert_eq!(text::header(notification.message(), "Failure-Report"), None);
    assert_eq!(call.at_bob().store.notices.len(), 1);
    let octets = text::lossy(notification.message());
    for part in [
        "\r\nContent-Type: message/cpim\r\n\r\nFrom: <sip:bob@192.0.2.2>\r\nTo: <sip:alice@192.0.2.1>\r\n",
        "\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: ",
        "\r\n\r\nContent-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n<imdn",
        "<message-id>imdn-tid1</message-id><datetime>2026-01-02T03:04:05Z</datetime>\
         <recipient-uri>sip:bob@192.0.2.2</recipient-uri>\
         <delivery-notification><status><delivered/></status></delivery-notification>",
    ] {
        assert!(octets.contains(part), "{part}: {octets}");
    }
    assert!(!octets.contains("imdn.Message-ID: imdn-tid1"), "it has a name of its own");
    assert!(!octets.contains("Disposition-Notification"), "nobody asks of a notification");
    take(&mut call, &notification);
    assert!(call.at_bob().store.notices.is_empty(), "told, and owed no more");
    call.over();
}

//= IM M-51 test
#[cfg_attr(test, test)]
pub(crate) fn one_of_a_kind_for_each_message_and_only_what_is_asked_for() {
    let quiet = Imdn { tell_delivered: false, tell_displayed: false, ..TELLING };
    let (shown, delivered) = (TELLING, Imdn { tell_displayed: false, ..TELLING });
    let forbidden = Imdn { tell_forbidden: true, ..quiet };
    // What is told of a message that comes twice and is shown twice.
    for (policy, wanted, expected) in [
        (shown, ALL, &["delivered", "displayed"][..]),
        (shown, "display", &["displayed"]),
        (shown, "negative-delivery, processing, x-new", &[]),
        (shown, "", &[]),
        (delivered, ALL, &["delivered"]),
        (quiet, ALL, &[]),
        // RFC 5438 14.2: that nothing is told is told at once, of each kind that was asked for.
        (forbidden, ALL, &["forbidden", "forbidden"]),
        (forbidden, "display", &["forbidden"]),
        (forbidden, "negative-delivery", &[]),
    ] {
        let (mut call, media) = connected(with(policy), &format!("text/plain {TYPE}"), "");
        call.world.send(media, asks(&call, "tid1", wanted));
        call.status(200);
        let again =
            asks(&call, "tid1", wanted).replace("tid1 SEND", "tid2 SEND").replace("---tid1", "---tid2");
        call.world.send(media, again);
        call.world.run(100);
        read(&mut call, "imdn-tid1");
        read(&mut call, "imdn-tid1");
        read(&mut call, "id-other");
        let came = notifications(&mut call);
        let found = came.iter().map(|octets| {
            let words = ["delivered", "displayed", "failed", "processed", "forbidden"];
            words.into_iter().find(|word| octets.contains(&format!("<{word}/>"))).unwrap_or("nothing")
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{policy:?} {wanted}: {came:?}");
        call.over();
    }
}

//= IM M-51 test
#[cfg_attr(test, test)]
pub(crate) fn a_notification_goes_the_way_of_the_message_and_names_who_it_was_for() {
    let (mut call, media) = connected(telling(), &format!("text/plain {TYPE}"), "");
    let rows = "imdn.Disposition-Notification: positive-delivery\r\nimdn.Original-To: <sip:team@x>\r\n\
        imdn.IMDN-Record-Route: <sip:second@x>\r\nimdn.IMDN-Record-Route: First <sip:first@x>\r\n";
    call.world.send(media, send(&call, "tid1", rows, "Content-Type: text/plain\r\n\r\nhello"));
    let notification = call.request("SEND");
    take(&mut call, &notification);
    let octets = text::lossy(notification.message());
    let routes = "\r\nimdn.IMDN-Route: <sip:second@x>\r\nimdn.IMDN-Route: First <sip:first@x>\r\n";
    assert!(octets.contains(routes) && !octets.contains("Record-Route"), "{octets}");
    assert!(octets.contains("<original-recipient-uri>sip:team@x</original-recipient-uri>"), "{octets}");
    call.over();
}

//= IM M-51 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn none_for_a_notification_and_none_in_a_room() {
    let listed = format!("text/plain {TYPE}");
    let (mut call, media) = connected(with(TELLING), &listed, ";isfocus");
    call.world.send(media, asks(&call, "tid1", ALL));
    call.status(200);
    read(&mut call, "imdn-tid1");
    call.world.run(5_000);
    assert_eq!(notifications(&mut call), Vec::<String>::new());
    call.over();
    let (mut call, media) = connected(with(TELLING), &listed, "");
    let body = document("said1", "delivery", "delivered");
    let content = format!("Content-Type: {TYPE}\r\nContent-Disposition: notification\r\n\r\n{body}");
    let greedy = format!("imdn.Disposition-Notification: {ALL}\r\n");
    call.world.send(media, send(&call, "tid1", &greedy, &content));
    call.status(200);
    read(&mut call, "imdn-tid1");
    assert_eq!(notifications(&mut call), Vec::<String>::new());
    assert_eq!(call.at_bob().stored_texts(), Vec::<String>::new(), "it is no message");
    call.over();
}

//= IM M-51 test
#[cfg_attr(test, test)]
pub(crate) fn none_for_what_is_signed_as_ours_would_not_be() {
    let (mut call, media) = connected(with(TELLING), &format!("* {TYPE}"), "");
    let rows = format!("imdn.Disposition-Notification: {ALL}\r\n");
    let content = "Content-Type: Multipart/Signed;boundary=b\r\n\r\nsealed";
    call.world.send(media, send(&call, "tid1", &rows, content));
    call.status(200);
    read(&mut call, "imdn-tid1");
    call.world.run(5_000);
    assert_eq!(notifications(&mut call), Vec::<String>::new());
    call.over();
}

//= IM M-50 test
#[cfg_attr(test, test)]
pub(crate) fn a_store_that_fails_after_the_200_is_told_to_who_asked() {
    let listed = format!("text/plain {TYPE}");
    let (mut call, media) = connected(Config { ack: Ack::Received, ..telling() }, &listed, "");
    call.bob_mut().store.fault = Some(StoreFault::Full);
    call.world.send(media, asks(&call, "tid1", "negative-delivery"));
    call.status(200);
    let notification = call.request("SEND");
    let octets = text::lossy(notification.message());
    assert!(octets.contains("<delivery-notification><status><failed/></status>"), "{octets}");
    take(&mut call, &notification);
    call.over();
    // RFC 5438 12.1.3.1: who is refused knows it, and hears no more of it.
    let (mut call, media) = connected(telling(), &listed, "");
    call.bob_mut().store.fault = Some(StoreFault::Full);
    call.world.send(media, asks(&call, "tid1", ALL));
    call.status(413);
    call.world.run(5_000);
    assert_eq!(notifications(&mut call), Vec::<String>::new());
    call.over();
}

//= IM M-50 test
#[cfg_attr(test, test)]
pub(crate) fn the_first_message_of_an_invitation_is_answered_once_there_is_a_connection() {
    let first = format!(
        "Content-Type: message/cpim\r\n\r\nFrom: <sip:alice@192.0.2.1>\r\nTo: <{BOB}>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: first-1\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
         imdn.Disposition-Notification: positive-delivery\r\n\r\nContent-Type: text/plain\r\n\r\nhello"
    );
    let (mut call, _) = Call::connected_by(telling(), |call| {
        let offer = format!("Content-Type: application/sdp\r\n\r\n{}", call.script.offer());
        let body = format!("--b1\r\n{first}\r\n--b1\r\n{offer}\r\n--b1--\r\n");
        let kind = "Content-Type: multipart/mixed; boundary=b1\r\nContent-Length";
        let invite = call.script.invite_with("", &body);
        invite.replace("Content-Type: application/sdp\r\nContent-Length", kind)
    });
    let came = notifications(&mut call);
    assert_eq!(came.len(), 1, "{}", call.world.ladder());
    assert!(came.iter().all(|octets| octets.contains("<message-id>first-1</message-id>")));
    call.over();
}

//= IM M-50 test
#[cfg_attr(test, test)]
pub(crate) fn we_ask_where_it_is_configured_and_the_peer_takes_cpim() {
    let both = Imdn { ask_delivered: true, ask_displayed: true, ..Imdn::default() };
    let delivered = Imdn { ask_delivered: true, ..Imdn::default() };
    for (policy, contact, wanted) in [
        (both, "", Some(ALL)),
        (delivered, "", Some("positive-delivery, negative-delivery")),
        (Imdn::default(), "", None),
        (both, ";isfocus", None),
    ] {
        let (mut call, _) = connected(with(policy), "text/plain", contact);
        says(&mut call, "said1");
        let octets = text::lossy(call.request("SEND").message());
        let rows = wanted.map(|wanted| {
            format!(
                "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: said1\r\n\
                 imdn.Disposition-Notification: {wanted}\r\n\r\nContent-Type: text/plain\r\n\r\nhello"
            )
        });
        match rows {
            Some(rows) => {
                assert!(octets.contains(&rows) && octets.contains("\r\nDateTime: 2026-"), "{octets}")
            }
            None => assert!(!octets.contains("imdn"), "{octets}"),
        }
        call.over();
    }
}

//= IM M-50 test
//= IM X-25 test
#[cfg_attr(test, test)]
pub(crate) fn what_peers_tell_of_our_messages_is_passed_on_and_never_shown_as_a_message() {
    let (mut call, media) = connected(telling(), &format!("text/plain {TYPE}"), "");
    for (tid, kind, status) in [
        ("tid1", "delivery", "delivered"),
        ("tid2", "display", "displayed"),
        ("tid3", "delivery", "error"),
        ("tid4", "processing", "stored"),
        ("tid5", "display", "forbidden"),
    ] {
        call.world.send(media, notifies(&call, tid, "said1", kind, status));
        call.status(200);
    }
    // Several in one (RFC 5438 8.3).
    let part = |id: &str| {
        format!("--b\r\nContent-Type: {TYPE}\r\n\r\n{}\r\n", document(id, "delivery", "delivered"))
    };
    let several = format!(
        "Content-Type: multipart/mixed; boundary=b\r\nContent-Disposition: notification\r\n\r\n{}{}--b--\r\n",
        part("said2"),
        part("said3")
    );
    call.world.send(media, send(&call, "tid6", "", &several));
    call.status(200);
    let expected = [
        ("said1", Fate::Delivered),
        ("said1", Fate::Displayed),
        ("said1", Fate::Failed),
        ("said2", Fate::Delivered),
        ("said3", Fate::Delivered),
    ];
    assert_eq!(told(&call), expected.map(|(id, fate)| (id.to_owned(), fate)));
    for (tid, content, status) in [
        ("bad1", "<!DOCTYPE b [<!ENTITY a \"aaaa\">]><imdn/>".to_owned(), 400),
        ("bad2", "hello".to_owned(), 400),
        ("bad3", "x".repeat(20_000), 413),
        ("bad4", "x".repeat(100_000), 413),
    ] {
        let content = format!("Content-Type: {TYPE}\r\n\r\n{content}");
        call.world.send(media, send(&call, tid, "", &content));
        call.status(status);
    }
    assert_eq!(told(&call).len(), 5);
    assert!(!call.at_bob().told().any(|what| matches!(what, What::Message(_))));
    call.over();
}
