//! Notifications in requests of their own (RFC 5438 12): when they leave, to whom, how often, and what is owed across a restart.

use parlour_proto::client::Blocked;
use parlour_proto::config::{Account, Config, Contact, ContactImdn, Credentials, Hop, Imdn, Proxy};
use parlour_proto::io::{AccountId, Transport};
use parlour_sim::{Mail, Script, text};

use super::imdn::{
    ALL, TELLING, TYPE, answer, asks, connected, notifications, read, says, take, telling, with,
};
use crate::common::{BOB, Call};

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
    call.refused(603);
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
        let (_, media) = call.taken("bind1");
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
