//! What became of messages (RFC 5438; catalogue 4.5).

use std::time::Duration;

use parlour_proto::client::Blocked;
use parlour_proto::client::StoreFault;
use parlour_proto::config::{
    Account, Ack, Config, Contact, ContactImdn, Credentials, Hop, Imdn, InRooms, Proxy,
};
use parlour_proto::event::{Fate, What};
use parlour_proto::io::{AccountId, Transport};
use parlour_sim::{Mail, Script, Way, text};

use crate::common::{self, BOB, Call, config};

const TYPE: &str = "message/imdn+xml";
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

fn telling() -> Config {
    with(Imdn { tell_displayed: false, ..TELLING })
}

/// Bob has accepted, and Alice's connection is bound. `wrapped` is what she takes inside message/cpim.
fn connected(config: Config, wrapped: &str, contact: &str) -> (Call, Way) {
    Call::connected_by(config, |call| {
        let types = format!("accept-wrapped-types:{wrapped}");
        let offer = call.script.sdp("actpass", "message/cpim text/plain");
        let invite = call.script.invite_with("", &offer.replace("accept-wrapped-types:*", &types));
        invite.replace("<sip:192.0.2.1:5060>", &format!("<sip:192.0.2.1:5060>{contact}"))
    })
}

/// A message/cpim of Alice in a SEND.
fn send(call: &Call, tid: &str, rows: &str, content: &str) -> String {
    let cpim = format!(
        "From: Alice <sip:alice@192.0.2.1>\r\nTo: <{BOB}>\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: imdn-{tid}\r\n{rows}\r\n{content}"
    );
    let frame = call.script.msrp_send(tid, &format!("id-{tid}"), &cpim);
    frame.replacen("Content-Type: text/plain", "Content-Type: message/cpim", 1)
}

/// Alice asks for these notifications of a text.
fn asks(call: &Call, tid: &str, wanted: &str) -> String {
    let rows = format!("imdn.Disposition-Notification: {wanted}\r\n");
    send(call, tid, &rows, "Content-Type: text/plain\r\n\r\nhello")
}

/// A notification of Alice.
fn notifies(call: &Call, tid: &str, message_id: &str, kind: &str, status: &str) -> String {
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
fn take(call: &mut Call, mail: &Mail) {
    answer(call, mail, "200 OK", "");
}

/// Alice answers a notification.
fn answer(call: &mut Call, mail: &Mail, line: &str, rows: &str) {
    let response = if text::start_line(mail.message()).starts_with("MSRP ") {
        call.script.msrp_respond(mail.message(), line)
    } else {
        let script = Script::callee(&mut call.world, call.alice, mail.way, mail.message());
        script.respond(mail.message(), line, rows, "").replace("Contact: <sip:192.0.2.1:5060>\r\n", "")
    };
    call.world.send(mail.way, response);
    call.world.run(0);
}

fn read(call: &mut Call, message_id: &str) {
    call.world.shown(call.bob, &[message_id]);
    call.world.run(0);
}

fn says(call: &mut Call, message_id: &str) {
    let session = call.session();
    let message = common::text(message_id, "hello");
    call.world.act(call.bob, |bob, now| bob.say(now, session, message)).expect("it can be said");
    call.world.run(0);
}

/// What Bob's user was told of his messages.
fn told(call: &Call) -> Vec<(String, Fate)> {
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

//= IM M-12 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn who_takes_no_notification_is_sent_none_for_a_day() {
    let mut call = Call::new(with(TELLING));
    for (name, after, comes) in [("page1", 0, true), ("page2", 0, false), ("page3", 24 * 3_600_000, true)] {
        call.world.run(after);
        page(&mut call, &[name], "positive-delivery");
        let until = call.world.millis() + 5000;
        if comes {
            let request = call.request("MESSAGE");
            assert!(text::lossy(request.message()).contains("<delivered/>"));
            answer(&mut call, &request, "415 Unsupported Media Type", "Accept: text/plain\r\n");
        }
        call.nothing_to(until);
    }
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

/// A MESSAGE of Alice outside any session that asks for these notifications of a text.
fn paged(call: &mut Call, name: &str, wanted: &str, rows: &str) -> String {
    let mut script = call.script.clone();
    let serial = call.world.serial();
    (script.call_id, script.branch) = (format!("page-{serial}@alice"), format!("z9hG4bK-page-{serial}"));
    let body = format!(
        "From: Alice <sip:alice@192.0.2.1>\r\nTo: <{BOB}>\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {name}\r\n\
         imdn.Disposition-Notification: {wanted}\r\n{rows}\r\nContent-Type: text/plain\r\n\r\nhello {name}"
    );
    let request = script.request("MESSAGE", &script.branch, "", &body);
    request.replacen("Content-Type: application/sdp", "Content-Type: message/cpim", 1)
}

/// Alice sends these messages, and Bob has them.
fn page(call: &mut Call, names: &[&str], wanted: &str) {
    for name in names {
        let request = paged(call, name, wanted, "");
        call.send(request);
        call.status(200);
    }
}

/// Bob behind a proxy, which is where Alice's scripts are: it asserts who she is.
fn proxied() -> Config {
    let mut config = telling();
    let hop = Hop { address: [192, 0, 2, 1].into(), bits: 32 };
    config.trusted_hops = vec![hop];
    for account in &mut config.accounts {
        account.imdn.tell_unverified = false;
        account.proxy = Some(Proxy { host: "192.0.2.1".into(), port: Some(5060), transport: Transport::Udp });
    }
    config
}

const ASSERTED: &str = "\r\nP-Asserted-Identity: <sip:alice@example.net>\r\nMax-Forwards: 70\r\n";

fn asserted(request: &str) -> String {
    request.replacen("\r\nMax-Forwards: 70\r\n", ASSERTED, 1)
}

/// The own Message-ID of a notification.
fn own_name(mail: &Mail) -> String {
    let octets = text::lossy(mail.message());
    octets.split("imdn.Message-ID: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or("").to_owned()
}

//= IM F-6 test
//= IM M-52 test
//= IM R-21 test
//= IM R-41 test
#[cfg_attr(test, test)]
pub(crate) fn without_a_session_a_notification_goes_by_message() {
    let mut call = Call::new(telling());
    page(&mut call, &["m1"], ALL);
    assert_eq!(call.at_bob().store.notices.len(), 1, "`tell_displayed` is off");
    call.nothing_to(999);
    let message = call.request("MESSAGE");
    assert_eq!(message.at.as_millis(), 1000);
    assert_eq!(text::start_line(message.message()), "MESSAGE sip:alice@192.0.2.1:5060 SIP/2.0");
    let row = |name| text::header(message.message(), name);
    assert_eq!(row("To").as_deref(), Some("<sip:alice@192.0.2.1:5060>"));
    assert_eq!(row("Contact"), None);
    assert_eq!(row("Accept-Contact").as_deref(), Some("*;+g.oma.sip-im"));
    assert!(row("User-Agent").is_some_and(|agent| agent.starts_with("IM-client/OMA1.0 ")));
    assert_eq!(row("Content-Type").as_deref(), Some("message/cpim"));
    assert!(message.message().len() <= 1300, "{}", message.message().len());
    let octets = text::lossy(message.message());
    for part in [
        "\r\n\r\nFrom: <sip:bob@192.0.2.2>\r\nTo: <sip:alice@192.0.2.1>\r\n",
        "\r\nContent-Disposition: notification\r\n\r\n<imdn",
        "<message-id>m1</message-id>",
        "<delivery-notification><status><delivered/></status></delivery-notification>",
    ] {
        assert!(octets.contains(part), "{part}: {octets}");
    }
    assert!(!octets.contains("Disposition-Notification"), "nobody asks of a notification");
    take(&mut call, &message);
    assert!(call.at_bob().store.notices.is_empty());
    let now = call.world.millis();
    call.nothing_to(now + 100_000);
    call.over();
}

//= IM X-44 test
#[cfg_attr(test, test)]
pub(crate) fn x_44_who_is_unverified_blocked_or_not_wanted_hears_nothing() {
    let of_alice = |imdn: ContactImdn| {
        vec![Contact { address: "sip:alice@192.0.2.1".into(), imdn, send_composing: None }]
    };
    let reserved = Imdn { tell_unverified: false, ..TELLING };
    let quiet = Imdn { tell_delivered: false, ..TELLING };
    for (config, count) in [
        (with(reserved), 0),
        // Policy for each contact: more open, and less.
        (
            Config {
                contacts: of_alice(ContactImdn { tell_unverified: Some(true), ..ContactImdn::default() }),
                ..with(reserved)
            },
            1,
        ),
        (
            Config {
                contacts: of_alice(ContactImdn { tell_delivered: Some(true), ..ContactImdn::default() }),
                ..with(quiet)
            },
            1,
        ),
        (
            Config {
                contacts: of_alice(ContactImdn { tell_delivered: Some(false), ..ContactImdn::default() }),
                ..with(TELLING)
            },
            0,
        ),
        (
            Config {
                contacts: vec![Contact {
                    address: "sip:carol@192.0.2.1".into(),
                    imdn: ContactImdn { tell_delivered: Some(false), ..ContactImdn::default() },
                    send_composing: None,
                }],
                ..with(TELLING)
            },
            1,
        ),
    ] {
        let mut call = Call::new(config);
        page(&mut call, &["m1"], "positive-delivery, negative-delivery");
        assert_eq!(call.at_bob().store.notices.len(), count);
        call.world.run(1_000);
        assert_eq!(notifications(&mut call).len(), count);
        call.over();
    }
    // Blocked since: what was promised is not kept.
    let mut call = Call::new(with(TELLING));
    page(&mut call, &["m1"], "display");
    let blocked = Blocked { address: "sip:alice@192.0.2.1".into(), verified: true };
    call.world
        .act(call.bob, |bob, now| {
            bob.set_blocked(now, &[blocked]);
            Ok(())
        })
        .expect("it can");
    read(&mut call, "m1");
    call.world.run(5_000);
    assert_eq!(notifications(&mut call), Vec::<String>::new());
    assert!(call.at_bob().store.notices.is_empty(), "nor is it owed any more");
    call.over();
}

//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_first_message_is_told_of_by_message_though_the_session_is_declined() {
    let mut call = Call::new(telling());
    let first = format!(
        "Content-Type: message/cpim\r\n\r\nFrom: <sip:alice@192.0.2.1>\r\nTo: <{BOB}>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: first-1\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
         imdn.Disposition-Notification: positive-delivery\r\n\r\nContent-Type: text/plain\r\n\r\nhello"
    );
    let offer = format!("Content-Type: application/sdp\r\n\r\n{}", call.script.offer());
    let body = format!("--b1\r\n{first}\r\n--b1\r\n{offer}\r\n--b1--\r\n");
    let kind = "Content-Type: multipart/mixed; boundary=b1\r\nContent-Length";
    let invite = call.script.invite_with("", &body);
    call.send(invite.replace("Content-Type: application/sdp\r\nContent-Length", kind));
    call.status(180);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.decline(now, session, Default::default())).expect("it can");
    let refusal = call.status(603);
    call.ack_refusal(&refusal);
    let message = call.request("MESSAGE");
    let octets = text::lossy(message.message());
    assert!(
        octets.contains("<message-id>first-1</message-id>") && octets.contains("<delivered/>"),
        "{octets}"
    );
    take(&mut call, &message);
    assert_eq!(call.at_bob().stored_texts(), ["hello"]);
    call.over();
}

//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn many_at_once_leave_one_at_a_time_or_together_where_they_fit() {
    let names = ["m1", "m2", "m3", "m4", "m5"];
    // RFC 3428 8: 1,300 octets hold one. The next waits for its answer, and a second more.
    let mut call = Call::new(telling());
    page(&mut call, &names, "positive-delivery");
    for count in (0..5).rev() {
        let message = call.request("MESSAGE");
        let begun = message.at.as_millis();
        call.nothing_to(begun + 300);
        take(&mut call, &message);
        assert_eq!(call.at_bob().store.notices.len(), count);
        call.nothing_to(begun + 1299);
    }
    call.over();
    // Where no hop uses UDP there may be more: all that have gathered leave together (RFC 5438 8.3).
    let mut call = Call::new(Config { page_size: 8000, ..telling() });
    page(&mut call, &names, "positive-delivery");
    let message = call.request("MESSAGE");
    let octets = text::lossy(message.message());
    assert!(octets.contains("Content-Type: multipart/mixed;boundary="), "{octets}");
    let told = parlour_proto::mime::cpim::parse(text::body(message.message()), true).expect("message/cpim");
    let inside = text::body(message.message()).get(told.body_offset..).unwrap_or_default();
    let told = parlour_proto::mime::imdn::read(&told.content_type, inside).expect("notifications");
    assert_eq!(told.iter().map(|told| told.message_id.as_str()).collect::<Vec<_>>(), names);
    take(&mut call, &message);
    assert!(call.at_bob().store.notices.is_empty());
    let now = call.world.millis();
    call.nothing_to(now + 60_000);
    call.over();
    // What is shown together is told together, in a session that takes that.
    let (mut call, media) = connected(with(TELLING), "*", "");
    for tid in ["tid1", "tid2", "tid3"] {
        call.world.send(media, asks(&call, tid, "display"));
        call.status(200);
    }
    call.world.shown(call.bob, &["imdn-tid1", "imdn-tid2", "imdn-tid3"]);
    call.world.run(0);
    let came = notifications(&mut call);
    assert_eq!(came.len(), 1, "{came:?}");
    assert!(came.iter().all(|octets| octets.matches("<displayed/>").count() == 3), "{came:?}");
    call.over();
}

//= IM M-51 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn what_nobody_has_taken_goes_again_under_the_same_name() {
    let mut call = Call::new(telling());
    page(&mut call, &["m1"], "positive-delivery");
    let first = call.request("MESSAGE");
    let name = own_name(&first);
    assert!(!name.is_empty());
    answer(&mut call, &first, "480 Temporarily Unavailable", "Retry-After: 60\r\n");
    let at = call.world.millis();
    call.nothing_to(at + 59_999);
    let second = call.request("MESSAGE");
    assert_eq!((second.at.as_millis(), own_name(&second)), (at + 60_000, name.clone()));
    // Nobody answers: it is sent again by its transaction, which gives up after 32 s.
    call.world.run(32_000);
    call.world.mail_of(call.alice);
    let third = (0..200).find_map(|_| {
        call.world.run(1_000);
        call.world.mail_of(call.alice).pop()
    });
    let third = third.expect("it goes again");
    assert_eq!(own_name(&third), name);
    answer(&mut call, &third, "202 Accepted", "");
    assert!(call.at_bob().store.notices.is_empty(), "the next hop has it");
    // Who does not want it is not asked twice.
    page(&mut call, &["m2"], "positive-delivery");
    let fourth = call.request("MESSAGE");
    answer(&mut call, &fourth, "405 Method Not Allowed", "");
    assert!(call.at_bob().store.notices.is_empty());
    let now = call.world.millis();
    call.nothing_to(now + 1_000_000);
    call.over();
}

//= IM M-51 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_owed_outlives_the_program_and_is_told_once() {
    let mut call = Call::new(with(TELLING));
    page(&mut call, &["m1"], ALL);
    // Killed between the commit and the notification.
    call.world.restart(call.bob, with(TELLING));
    assert_eq!(call.at_bob().store.notices.len(), 2, "delivered, and displayed if it comes to that");
    let message = call.request("MESSAGE");
    assert!(text::lossy(message.message()).contains("<delivered/>"));
    // Killed again before it was answered: the same goes again.
    call.world.restart(call.bob, with(TELLING));
    call.world.mail_of(call.alice);
    let again = call.request("MESSAGE");
    assert_eq!(own_name(&again), own_name(&message));
    take(&mut call, &again);
    call.world.restart(call.bob, with(TELLING));
    let now = call.world.millis();
    call.nothing_to(now + 60_000);
    // The user is shown it in a later life.
    read(&mut call, "m1");
    read(&mut call, "m1");
    let shown = call.request("MESSAGE");
    assert!(text::lossy(shown.message()).contains("<displayed/>"));
    take(&mut call, &shown);
    call.world.restart(call.bob, with(TELLING));
    // The message again is no new one.
    page(&mut call, &["m1"], ALL);
    let now = call.world.millis();
    call.nothing_to(now + 60_000);
    assert!(call.at_bob().store.notices.is_empty());
    call.over();
}

//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_takes_what_is_owed_and_what_it_loses_goes_by_message() {
    let listed = format!("text/plain {TYPE}");
    // What waits for a MESSAGE leaves in a session that comes to stand before.
    let (mut call, media) = {
        let mut call = Call::new(telling());
        page(&mut call, &["m1"], "positive-delivery");
        let first = call.request("MESSAGE");
        answer(&mut call, &first, "503 Service Unavailable", "Retry-After: 600\r\n");
        let offer = call.script.sdp("actpass", "message/cpim text/plain");
        let offer = offer.replace("accept-wrapped-types:*", &format!("accept-wrapped-types:{listed}"));
        let invite = call.script.invite_with("", &offer);
        call.send(invite);
        call.status(180);
        call.accept();
        let answer = call.status(200);
        call.script.learn(answer.message());
        call.ack(&answer);
        let media = call.connect();
        call.world.send(media, call.script.msrp_empty("bind1"));
        call.status(200);
        (call, media)
    };
    let told = call.request("SEND");
    assert!(text::lossy(told.message()).contains("<message-id>m1</message-id>"));
    take(&mut call, &told);
    // A session that ends before the other side has said 200: it goes by MESSAGE, under the same name.
    call.world.send(media, asks(&call, "tid2", "positive-delivery"));
    call.status(200);
    let lost = call.request("SEND");
    call.bye();
    call.status(200);
    let message = call.request("MESSAGE");
    assert_eq!(own_name(&message), own_name(&lost));
    take(&mut call, &message);
    assert!(call.at_bob().store.notices.is_empty());
    // One that a session refuses is not wanted, and says nothing of what is said there.
    call.over();
    let (mut call, media) = connected(telling(), &listed, "");
    call.world.send(media, asks(&call, "tid1", "positive-delivery"));
    call.status(200);
    let refused = call.request("SEND");
    answer(&mut call, &refused, "415 Unsupported Media Type", "");
    assert!(call.at_bob().store.notices.is_empty());
    says(&mut call, "said1");
    assert!(text::lossy(call.request("SEND").message()).contains("hello"));
    call.over();
    // A session that takes no notifications is passed by.
    let (mut call, media) = connected(telling(), "text/plain", "");
    call.world.send(media, asks(&call, "tid1", "positive-delivery"));
    call.status(200);
    let message = call.request("MESSAGE");
    take(&mut call, &message);
    assert!(call.at_bob().store.notices.is_empty());
    call.over();
}

//= IM M-51 test
//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn only_the_core_says_which_way_a_notification_goes() {
    let route =
        "imdn.IMDN-Record-Route: <sip:standfw@victim.example>\r\nimdn.IMDN-Record-Route: <sip:other@x>\r\n";
    // Whoever comes straight could have us write to anybody.
    let mut call = Call::new(telling());
    let request = paged(&mut call, "m1", "positive-delivery", route);
    call.send(request);
    call.status(200);
    let message = call.request("MESSAGE");
    assert_eq!(text::start_line(message.message()), "MESSAGE sip:alice@192.0.2.1:5060 SIP/2.0");
    take(&mut call, &message);
    call.over();
    let mut call = Call::new(proxied());
    let request = paged(&mut call, "m1", "positive-delivery", route);
    call.send(asserted(&request));
    call.status(200);
    let message = call.request("MESSAGE");
    assert_eq!(text::start_line(message.message()), "MESSAGE sip:standfw@victim.example SIP/2.0");
    let octets = text::lossy(message.message());
    assert!(
        octets.contains(
            "\r\nimdn.IMDN-Route: <sip:standfw@victim.example>\r\nimdn.IMDN-Route: <sip:other@x>\r\n"
        )
    );
    take(&mut call, &message);
    // Without one: to the asserted sender.
    let request = paged(&mut call, "m2", "positive-delivery", "");
    call.send(asserted(&request));
    call.status(200);
    let message = call.request("MESSAGE");
    assert_eq!(text::start_line(message.message()), "MESSAGE sip:alice@example.net SIP/2.0");
    assert_eq!(text::header(message.message(), "Route").as_deref(), Some("<sip:192.0.2.1:5060;lr>"));
    take(&mut call, &message);
    // Who is not asserted is not told.
    let request = paged(&mut call, "m3", "positive-delivery", "");
    call.send(request);
    call.status(200);
    let now = call.world.millis();
    call.nothing_to(now + 60_000);
    call.over();
}

//= IM M-52 test
#[cfg_attr(test, test)]
pub(crate) fn a_registered_account_tells_once_it_is_registered_and_answers_challenges() {
    let mut config = proxied();
    for account in &mut config.accounts {
        let (username, password) = ("bob".to_owned(), "secret".to_owned().into());
        let credentials = Credentials { username, password, realm: Some("home".into()) };
        let before = std::mem::take(account);
        *account = Account { register: true, credentials: Some(credentials), ..before };
    }
    let mut call = Call::new(config.clone());
    let request = paged(&mut call, "m1", "positive-delivery", "");
    call.send(asserted(&request));
    call.status(200);
    call.world.restart(call.bob, config);
    call.world.act(call.bob, |bob, now| bob.register(now, AccountId(0))).expect("it can");
    let register = call.request("REGISTER");
    // There is no way before there is a registration.
    let now = call.world.millis();
    call.world.run(20_000);
    let early = call.world.mail_of(call.alice);
    assert!(
        early.iter().all(|mail| text::method(mail.message()).as_deref() != Some("MESSAGE")),
        "since {now}"
    );
    let contact = text::header(register.message(), "Contact").unwrap_or_default();
    let rows = format!("Contact: {contact};expires=600\r\nService-Route: <sip:scscf.home;lr>\r\n");
    let script = Script::callee(&mut call.world, call.alice, register.way, register.message());
    let ok = script.respond(register.message(), "200 OK", &rows, "");
    call.world.send(register.way, ok.replace("Contact: <sip:192.0.2.1:5060>\r\n", ""));
    let message = call.request("MESSAGE");
    let routes = text::headers(message.message(), "Route").join(", ");
    assert_eq!(routes, "<sip:192.0.2.1:5060;lr>, <sip:scscf.home;lr>");
    let challenge =
        "Proxy-Authenticate: Digest realm=\"home\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"\r\n";
    answer(&mut call, &message, "407 Proxy Authentication Required", challenge);
    let again = call.request("MESSAGE");
    let cseq = |mail: &Mail| text::header(mail.message(), "CSeq");
    assert_eq!((cseq(&message).as_deref(), cseq(&again).as_deref()), (Some("1 MESSAGE"), Some("2 MESSAGE")));
    assert!(
        text::header(again.message(), "Proxy-Authorization")
            .is_some_and(|row| row.contains("realm=\"home\""))
    );
    take(&mut call, &again);
    assert!(call.at_bob().store.notices.is_empty());
    call.world.act(call.bob, |bob, now| bob.unregister(now, AccountId(0))).expect("it can");
    let removal = call.request("REGISTER");
    take(&mut call, &removal);
    call.over();
}
