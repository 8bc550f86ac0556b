//! Pager mode: messages in requests of their own (RFC 3428; F-5).

use std::time::Duration;

use parlour_proto::client::{Misuse, Page, StoreFault};
use parlour_proto::config::{Accept, Account, Ack, Config, Credentials, Imdn, Limits, Proxy};
use parlour_proto::event::{Fate, Incoming, Progress, What};
use parlour_proto::io::{AccountId, Service, Transport};
use parlour_sim::{Mail, Script, text};

use crate::common::{BOB, Call, accepting, config};

/// A MESSAGE of Alice outside any dialog; `content` is its Content-Type and whatever else stands beside it.
fn message(call: &mut Call, content: &str, body: &str) -> String {
    let mut script = call.script.clone();
    let serial = call.world.serial();
    (script.call_id, script.branch) = (format!("page-{serial}@alice"), format!("z9hG4bK-page-{serial}"));
    typed(&script.request("MESSAGE", &script.branch, "", body), content)
}

/// The request with another Content-Type than that of a description.
fn typed(request: &str, content: &str) -> String {
    request.replacen("Content-Type: application/sdp", &format!("Content-Type: {content}"), 1)
}

fn text_of(call: &mut Call, body: &str) -> String {
    message(call, "text/plain", body)
}

/// message/cpim of Alice that bears a name.
fn cpim(name: &str, rows: &str, content: &str) -> String {
    format!(
        "From: Alice <sip:alice@192.0.2.1>\r\nTo: <{BOB}>\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
         NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {name}\r\n{rows}\r\n{content}"
    )
}

/// What Bob's user was told that came.
fn came(call: &Call) -> Vec<Incoming> {
    let message = |what: &What| if let What::Message(message) = what { Some(message.clone()) } else { None };
    call.at_bob().told().filter_map(message).collect()
}

fn header(mail: &Mail, name: &str) -> Option<String> {
    text::header(mail.message(), name)
}

//= IM G-1b test
#[cfg_attr(test, test)]
pub(crate) fn a_message_needs_no_descriptor_and_is_taken_where_an_invitation_is_not() {
    use parlour_proto::client::Shortage;
    for (shortage, status) in [(Shortage::Descriptors, 200), (Shortage::Memory, 480)] {
        let mut call = Call::new(config(BOB));
        let set = |bob: &mut parlour_proto::client::Client, _| {
            bob.set_shortage(Some(shortage));
            Ok(())
        };
        call.world.act(call.bob, set).expect("set");
        let request = text_of(&mut call, "Dinner at eight?");
        call.send(&request);
        call.status(status);
        call.over();
    }
}

//= IM F-5 test
//= IM G-7 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_is_answered_when_it_is_durable_and_needs_no_session() {
    let mut call = Call::new(config(BOB));
    call.bob_mut().store.delay = Duration::from_millis(40);
    let request = text_of(&mut call, "Dinner at eight?");
    call.send(&request);
    call.world.run(20);
    // What comes again meanwhile is the same request.
    call.send(&request);
    call.nothing_to(39);
    let ok = call.status(200);
    assert_eq!(ok.at.as_millis(), 40, "what we acknowledge, we have");
    // RFC 3428 7: neither Contact nor body.
    assert_eq!((header(&ok, "Contact"), header(&ok, "Content-Type")), (None, None));
    assert_eq!(header(&ok, "Content-Length").as_deref(), Some("0"));
    assert!(header(&ok, "Allow").is_some_and(|allow| allow.contains("MESSAGE")));
    assert!(header(&ok, "Server").is_some_and(|server| server.starts_with("IM-client/OMA1.0 ")));
    call.send(&request);
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["Dinner at eight?"]);
    let sessions = call.at_bob().events.iter().filter(|(_, event)| event.session.is_some()).count();
    assert_eq!((came(&call).len(), sessions), (1, 0));
    let message = came(&call).remove(0);
    assert_eq!((message.from.address.as_str(), message.from.verified), ("sip:alice@192.0.2.1:5060", false));
    assert!(message.renderable && message.expires.is_none());
    call.over();
}

//= IM F-5 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_that_comes_again_is_answered_and_kept_once() {
    let mut call = Call::new(config(BOB));
    let first = text_of(&mut call, "one");
    call.send(&first);
    call.status(200);
    // The same Call-ID and CSeq when no transaction remembers it any more, as a proxy sends it that has waited.
    call.world.run(40_000);
    call.send(first.replace("z9hG4bK-page", "z9hG4bK-again"));
    call.status(200);
    // Another name, another message; the same name in another request is the same message.
    for name in ["m1", "m2", "m1"] {
        let body = cpim(name, "", &format!("Content-Type: text/plain\r\n\r\nhello {name}"));
        let wrapped = message(&mut call, "message/cpim", &body);
        call.send(wrapped);
        call.status(200);
    }
    let mut kept = call.at_bob().stored_texts();
    kept.sort();
    assert_eq!(kept, ["hello m1", "hello m2", "one"]);
    call.over();
}

//= IM F-5 test
#[cfg_attr(test, test)]
pub(crate) fn a_store_that_fails_has_the_message_sent_again_later() {
    let mut call = Call::new(config(BOB));
    call.bob_mut().store.fault = Some(StoreFault::Broken);
    for _ in 0..2 {
        let request = text_of(&mut call, "lost?");
        call.send(request);
        let refusal = call.status(480);
        let after: u32 = header(&refusal, "Retry-After").and_then(|after| after.parse().ok()).expect("when");
        assert!((30..=300).contains(&after), "{after}");
    }
    assert_eq!(came(&call).len(), 1, "the second is not even tried: the store has just failed");
    call.world.run(30_000);
    call.bob_mut().store.fault = None;
    let request = text_of(&mut call, "kept");
    call.send(request);
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["kept"]);
    call.over();
    let mut call = Call::new(Config { ack: Ack::Received, ..config(BOB) });
    call.bob_mut().store.delay = Duration::from_millis(40);
    let request = text_of(&mut call, "at once");
    call.send(request);
    assert_eq!(call.status(200).at.as_millis(), 0, "whoever sets ack = \"received\" waits for nothing");
    call.over();
}

//= IM F-5 test
#[cfg_attr(test, test)]
pub(crate) fn what_cannot_be_shown_is_refused_and_told_what_could_be() {
    let limits = Limits { body: 1000, ..Limits::default() };
    let mut call = Call::new(Config { limits, ..config(BOB) });
    let accept = "text/plain, message/cpim, message/imdn+xml";
    let plain = cpim("m1", "", "Content-Type: text/plain;charset=utf-8\r\n\r\nwrapped");
    for (content, body, status, shown) in [
        ("text/plain;charset=UTF-8", "bare", 200, Some("bare")),
        ("Message/CPIM", plain.as_str(), 200, Some("wrapped")),
        ("application/x-nonsense", "x", 415, None),
        ("application/im-iscomposing+xml", "<isComposing/>", 415, None),
        ("text/plain\r\nContent-Encoding: gzip", "x", 415, None),
        // RFC 3261 20.11: what is optional may be passed over.
        ("application/x-nonsense\r\nContent-Disposition: render;handling=optional", "x", 200, None),
        ("message/cpim", "no headers at all", 400, None),
        ("message/cpim", &cpim("m2", "Require: Teleport\r\n", "\r\nx"), 415, None),
        ("message/cpim", &cpim("m3", "", "Content-Type: application/x-nonsense\r\n\r\nx"), 415, None),
        ("message/cpim", &cpim("m4", "", "Content-Type: application/im-iscomposing+xml\r\n\r\nx"), 415, None),
        ("text/plain", &"x".repeat(1001), 413, None),
        ("text/plain\r\nExpires: soon", "x", 400, None),
        ("text", "x", 400, None),
    ] {
        let before = came(&call).len();
        let request = message(&mut call, content, body);
        call.send(request);
        let answer = call.status(status);
        let new = came(&call).get(before).map(|message| text::lossy(inline(message)));
        assert_eq!(new.as_deref(), shown, "{content}");
        match (status, content.contains("Encoding")) {
            (415, true) => assert_eq!(header(&answer, "Accept-Encoding").as_deref(), Some("identity")),
            (415, false) => assert_eq!(header(&answer, "Accept").as_deref(), Some(accept), "{content}"),
            (_, _) => assert_eq!(header(&answer, "Accept"), None),
        }
    }
    // Some ask with an empty one whether we are there.
    let empty = message(&mut call, "", "");
    call.send(empty);
    call.status(200);
    assert_eq!(came(&call).len(), 2);
    call.over();
}

fn inline(message: &Incoming) -> &[u8] {
    match &message.body {
        parlour_proto::io::Body::Inline(octets) => octets,
        parlour_proto::io::Body::Spooled { head, .. } => head,
    }
}

//= IM F-5 test
//= IM X-10 test
//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn who_may_not_call_may_not_write() {
    let alice = || vec!["sip:alice@192.0.2.1".to_owned()];
    let registering = || {
        let proxy = Proxy { host: "192.0.2.9".to_owned(), port: None, transport: Transport::Udp };
        let account =
            Account { address: BOB.to_owned(), proxy: Some(proxy), register: true, ..Account::default() };
        Config { accounts: vec![account], ..Config::default() }
    };
    let few = || Limits { requests_per_source: 1, ..Limits::default() };
    for (config, change, status) in [
        (Config { blocked: alice(), ..config(BOB) }, ("", ""), 480),
        (
            Config { refuse_anonymous: true, ..config(BOB) },
            ("sip:alice@192.0.2.1:5060", "sip:anonymous@anonymous.invalid"),
            433,
        ),
        (Config { im_service: false, ..config(BOB) }, ("", ""), 488),
        (Config { stir: parlour_proto::config::Stir::Require, ..config(BOB) }, ("", ""), 428),
        (config(BOB), ("MESSAGE sip:bob@", "MESSAGE sip:carol@"), 404),
        (config(BOB), ("Max-Forwards", "Accept-Contact: *;+x.y;require;explicit\r\nMax-Forwards"), 480),
        (config(BOB), ("Max-Forwards", "Require: teleport\r\nMax-Forwards"), 420),
        (config(BOB), ("Max-Forwards", "Replaces: a;to-tag=b;from-tag=c\r\nMax-Forwards"), 400),
        (registering(), ("", ""), 403),
        // A message rings nobody, so these let it in.
        (Config { do_not_disturb: true, ..config(BOB) }, ("", ""), 200),
        (Config { redirect: Some("sip:x@y".into()), ..config(BOB) }, ("", ""), 200),
        (Config { max_sessions: 1, max_pending_invites: 1, ..config(BOB) }, ("", ""), 200),
    ] {
        let registers = config.accounts.iter().any(|account| account.register);
        let mut call = Call::new(config);
        if registers {
            call.world
                .act(call.bob, |bob, now| bob.register(now, parlour_proto::io::AccountId(0)))
                .expect("it can");
        }
        let request = text_of(&mut call, "hello");
        call.send(request.replacen(change.0, change.1, 1));
        call.status(status);
        assert_eq!(came(&call).len(), usize::from(status == 200), "{status}");
        if registers {
            call.world
                .act(call.bob, |bob, now| bob.unregister(now, parlour_proto::io::AccountId(0)))
                .expect("it can");
        }
        call.over();
    }
    // Floods: a stream proves where it comes from, so it is told when to come again; a datagram is dropped.
    let mut call = Call::new(Config { limits: few(), ..config(BOB) });
    let to = call.world.address(call.bob, 5060);
    let stream = call.world.open(call.alice, to, Service::Sip);
    call.world.expect_opened(call.alice);
    for (number, status) in [200, 480].into_iter().enumerate() {
        let request = text_of(&mut call, &number.to_string()).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        call.world.send(stream, request);
        let answer = call.status(status);
        assert_eq!(header(&answer, "Retry-After").is_some(), status == 480);
    }
    let request = text_of(&mut call, "dropped");
    call.send(request);
    let now = call.world.millis();
    call.nothing_to(now + 10);
    call.over();
}

//= IM F-5 test
#[cfg_attr(test, test)]
pub(crate) fn what_loses_its_meaning_says_when() {
    let mut call = Call::new(config(BOB));
    // The world begins at 2026-01-01T00:00:00Z.
    let begin = Duration::from_secs(1_767_225_600);
    for (rows, expires) in [
        ("\r\nExpires: 60", Some(begin + Duration::from_secs(60))),
        ("\r\nExpires: 60\r\nDate: Wed, 31 Dec 2025 23:00:00 GMT", Some(begin - Duration::from_secs(3540))),
        ("\r\nExpires: 60\r\nDate: yesterday", Some(begin + Duration::from_secs(60))),
        ("\r\nDate: Wed, 31 Dec 2025 23:00:00 GMT", None),
    ] {
        let before = came(&call).len();
        let request = message(&mut call, &format!("text/plain{rows}"), "hello");
        call.send(request);
        call.status(200);
        // Kept, whether or not it has expired: the user decides what it is worth.
        assert_eq!(came(&call).get(before).map(|message| message.expires), Some(expires), "{rows}");
    }
    call.over();
}

//= IM F-5 test
#[cfg_attr(test, test)]
pub(crate) fn a_message_inside_a_session_belongs_to_it() {
    let mut call = Call::established();
    let session = call.session();
    let request = call.script.next(&mut call.world, "MESSAGE", "", "beside the session");
    call.send(typed(&request, "text/plain"));
    let ok = call.status(200);
    assert_eq!(header(&ok, "Contact"), None);
    let told = call.at_bob().events.iter().find(|(_, event)| matches!(event.what, What::Message(_)));
    assert_eq!(told.and_then(|(_, event)| event.session), Some(session));
    // the numbers of a dialog rise.
    let mut old = call.script.clone();
    (old.cseq, old.branch) = (old.cseq - 1, "z9hG4bK-old".to_owned());
    call.send(typed(&old.request("MESSAGE", &old.branch, "", "again"), "text/plain"));
    call.status(500);
    // Of a dialog that is not ours nothing is taken.
    let mut other = call.script.clone();
    (other.remote_tag, other.branch) = (Some("nobody".to_owned()), "z9hG4bK-other".to_owned());
    call.send(typed(&other.request("MESSAGE", &other.branch, "", "where?"), "text/plain"));
    call.status(481);
    assert_eq!(call.at_bob().stored_texts(), ["beside the session"]);
    call.bye();
    call.status(200);
    call.over();
    // Who only rings is not heard yet.
    let mut call = Call::ringing();
    let request = call.script.next(&mut call.world, "MESSAGE", "", "pick up!");
    call.send(typed(&request, "text/plain"));
    call.status(481);
    assert_eq!(came(&call), []);
    call.bye();
    call.status(200);
    call.over();
}

/// A notification.
fn document(message_id: &str, kind: &str, status: &str) -> String {
    format!(
        "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{message_id}</message-id>\
         <datetime>2026-01-02T03:04:05Z</datetime>\
         <{kind}-notification><status><{status}/></status></{kind}-notification></imdn>"
    )
}

//= IM F-5 test
//= IM M-50 test
#[cfg_attr(test, test)]
pub(crate) fn notifications_come_by_message_too() {
    let mut call = Call::new(accepting(Accept::Ask));
    let (one, two) = (document("said1", "delivery", "delivered"), document("said2", "display", "displayed"));
    let part = |document: &str| format!("--b\r\nContent-Type: message/imdn+xml\r\n\r\n{document}\r\n");
    let marked = "Content-Disposition: notification\r\n\r\n";
    let single = cpim("n1", "", &format!("Content-Type: message/imdn+xml\r\n{marked}{one}"));
    let several =
        format!("Content-Type: multipart/mixed; boundary=b\r\n{marked}{}{}--b--\r\n", part(&one), part(&two));
    let several = cpim("n2", "", &several);
    for (content, body) in
        [("message/cpim", single.as_str()), ("message/cpim", &several), ("message/imdn+xml", &two)]
    {
        let request = message(&mut call, content, body);
        call.send(request);
        call.status(200);
    }
    let told = call.at_bob().told().filter_map(|what| {
        let What::Receipt { message_id, from, fate, .. } = what else { return None };
        assert_eq!(from.address, "sip:alice@192.0.2.1:5060");
        Some((message_id.as_str(), *fate))
    });
    let (first, second) = (("said1", Fate::Delivered), ("said2", Fate::Displayed));
    assert_eq!(told.collect::<Vec<_>>(), [first, first, second, second]);
    assert_eq!(call.at_bob().stored_texts(), Vec::<String>::new(), "none of them is a message");
    call.over();
}

//= IM X-25 test
#[cfg_attr(test, test)]
pub(crate) fn x_25_an_xml_bomb_and_absurd_headers_in_a_notification_are_refused() {
    let mut call = Call::new(config(BOB));
    let entities: String =
        (1..10).map(|n| format!("<!ENTITY a{n} \"{}\">", format!("&a{};", n - 1).repeat(10))).collect();
    let bomb = format!("<!DOCTYPE b [<!ENTITY a0 \"lol\">{entities}]><imdn>&a9;</imdn>");
    let deep = format!("{}{}", "<a>".repeat(1000), "</a>".repeat(1000));
    let parts = "--b\r\nContent-Type: message/imdn+xml\r\n\r\n<imdn/>\r\n".repeat(100);
    let marked =
        |content: &str| cpim("n1", "", &format!("{content}\r\nContent-Disposition: notification\r\n\r\n"));
    for (content, body, status) in [
        ("message/imdn+xml", bomb.as_str(), 400),
        ("message/imdn+xml", &deep, 400),
        ("message/imdn+xml", &document("said1", "delivery", "teleported"), 400),
        ("message/imdn+xml", &"x".repeat(20_000), 413),
        ("message/imdn+xml", "\u{0}", 400),
        ("message/cpim", &(marked("Content-Type: message/imdn+xml") + &bomb), 400),
        ("message/cpim", &(marked("Content-Type: multipart/mixed; boundary=b") + &parts + "--b--"), 400),
        ("message/cpim", &(marked("Content-Type: multipart/mixed") + "x"), 400),
        ("message/cpim", &cpim("n1", &"x: y\r\n".repeat(300), "Content-Type: message/imdn+xml\r\n\r\n"), 400),
        ("message/cpim", &cpim("n1", &format!("X: {}\r\n", "y".repeat(40_000)), "\r\n"), 400),
        ("message/cpim", &cpim(&"n".repeat(10_000), "", "Content-Type: text/plain\r\n\r\nhello"), 200),
    ] {
        let request = message(&mut call, content, body);
        call.send(request);
        call.status(status);
    }
    assert!(!call.at_bob().told().any(|what| matches!(what, What::Receipt { .. })));
    let names: Vec<_> = came(&call).into_iter().map(|message| message.message_id).collect();
    assert!(
        matches!(names.as_slice(), [name] if name.starts_with("page-")),
        "an absurd name is none: {names:?}"
    );
    call.over();
}

const ALICE: &str = "sip:alice@192.0.2.1";

/// Bob's user says something to Alice outside any session.
fn say(call: &mut Call, message_id: &str, body: &str) -> Result<(), Misuse> {
    say_to(call, ALICE, message_id, body)
}

fn say_to(call: &mut Call, to: &str, message_id: &str, body: &str) -> Result<(), Misuse> {
    let page = Page {
        message_id: message_id.to_owned(),
        content_type: "text/plain".to_owned(),
        body: body.as_bytes().to_vec(),
    };
    call.world.act(call.bob, |bob, now| bob.page(now, AccountId(0), to, None, page))
}

/// Alice answers a request of Bob's.
fn answer(call: &mut Call, request: &Mail, line: &str, rows: &str) {
    let script = Script::callee(&mut call.world, call.alice, request.way, request.message());
    let response = script.respond(request.message(), line, rows, "");
    call.world.send(request.way, response.replace("Contact: <sip:192.0.2.1:5060>\r\n", ""));
    call.world.run(0);
}

/// What Bob's user was told of his messages.
fn progress(call: &Call) -> Vec<(String, Progress)> {
    let told = call.at_bob().told().filter_map(|what| {
        let What::Progress { message_id, progress } = what else { return None };
        Some((message_id.clone(), progress.clone()))
    });
    told.collect()
}

fn told(message_id: &str, progress: Progress) -> (String, Progress) {
    (message_id.to_owned(), progress)
}

//= IM F-5 test
//= IM R-21 test
//= IM R-41 test
#[cfg_attr(test, test)]
pub(crate) fn messages_of_ours_leave_one_at_a_time_to_each_address() {
    let mut call = Call::new(config(BOB));
    let carol = call.world.peer("carol");
    say(&mut call, "said1", "Dinner at eight?").expect("it can be said");
    say(&mut call, "said2", "Or at nine?").expect("it can be said");
    say_to(&mut call, "sip:carol@192.0.2.3", "said3", "Tea?").expect("it can be said");
    call.world.expect_request(carol, "MESSAGE");
    let first = call.request("MESSAGE");
    assert_eq!(text::start_line(first.message()), "MESSAGE sip:alice@192.0.2.1 SIP/2.0");
    for (name, value) in [
        ("To", Some("<sip:alice@192.0.2.1>")),
        ("Contact", None),
        ("Accept-Contact", Some("*;+g.oma.sip-im")),
        ("P-Preferred-Identity", Some("<sip:bob@192.0.2.2>")),
        ("Content-Type", Some("text/plain")),
    ] {
        assert_eq!(header(&first, name).as_deref(), value, "{name}");
    }
    assert!(header(&first, "User-Agent").is_some_and(|agent| agent.starts_with("IM-client/OMA1.0 ")));
    assert_eq!(text::body(first.message()), b"Dinner at eight?");
    // RFC 3428 8: the second waits for the answer to the first.
    call.nothing_to(400);
    assert_eq!(progress(&call), [told("said1", Progress::Sent), told("said3", Progress::Sent)]);
    answer(&mut call, &first, "200 OK", "");
    let second = call.request("MESSAGE");
    assert_eq!(text::body(second.message()), b"Or at nine?");
    assert_ne!(header(&first, "Call-ID"), header(&second, "Call-ID"));
    // A gateway or a store on the way has it: the next hop, as far as we know.
    answer(&mut call, &second, "202 Accepted", "");
    let last = progress(&call).split_off(2);
    let taken = |id| told(id, Progress::Acknowledged);
    assert_eq!(last, [taken("said1"), told("said2", Progress::Sent), taken("said2")]);
    // Carol's never answers.
    call.world.run(40_000);
    let silence = Progress::Failed { why: "no answer came in time".into() };
    assert_eq!(progress(&call).last(), Some(&told("said3", silence)));
    call.over();
}

//= IM F-5 test
#[cfg_attr(test, test)]
pub(crate) fn what_cannot_be_sent_is_said_at_once_or_told() {
    let mut call = Call::new(config(BOB));
    for (to, body) in [("tel:+123", "hi"), ("bob", "hi"), ("sip:a@b?x=y", "hi"), ("sip:a@b>", "hi")] {
        assert!(matches!(say_to(&mut call, to, "x", body), Err(Misuse::BadAddress(_))), "{to}");
    }
    assert!(
        matches!(say(&mut call, "x", &"x".repeat(1301)), Err(Misuse::Unsendable(why)) if why.contains("1300"))
    );
    // With all that stands around it, it may be too large all the same.
    say(&mut call, "long", &"x".repeat(1290)).expect("who knows");
    let Some((_, Progress::Failed { why })) = progress(&call).pop() else { panic!("it fails") };
    assert!(why.contains("too many for a MESSAGE") && why.contains("1300"), "{why}");
    say_to(&mut call, "sip:a@nowhere.example", "lost", "hi").expect("the name is looked up");
    call.world.run(100);
    let Some((id, Progress::Failed { why })) = progress(&call).pop() else { panic!("it fails") };
    assert!(id == "lost" && why.contains("nowhere.example"), "{why}");
    say(&mut call, "no", "hi").expect("it can be said");
    let request = call.request("MESSAGE");
    answer(&mut call, &request, "603 Decline", "");
    assert_eq!(progress(&call).pop(), Some(told("no", Progress::Failed { why: "603 Decline".into() })));
    for number in 0..256 {
        say(&mut call, &format!("n{number}"), "hi").expect("they may wait");
    }
    say(&mut call, "n256", "hi").expect("the first has left");
    assert!(matches!(say(&mut call, "more", "hi"), Err(Misuse::Unsendable(_))));
    call.world.mail_of(call.alice);
}

//= IM F-5 test
//= IM M-50 test
#[cfg_attr(test, test)]
pub(crate) fn who_takes_no_cpim_gets_the_text_alone_from_then_on_at_once() {
    let mut config = config(BOB);
    let both = Imdn { ask_delivered: true, ask_displayed: true, ..Imdn::default() };
    config.accounts.iter_mut().for_each(|account| account.imdn = both);
    let mut call = Call::new(config);
    say(&mut call, "said1", "hello").expect("it can be said");
    let wrapped = call.request("MESSAGE");
    assert_eq!(header(&wrapped, "Content-Type").as_deref(), Some("message/cpim"));
    let octets = text::lossy(text::body(wrapped.message()));
    let rows = "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: said1\r\n\
        imdn.Disposition-Notification: positive-delivery, negative-delivery, display\r\n\r\n\
        Content-Type: text/plain\r\n\r\nhello";
    assert!(
        octets.ends_with(rows)
            && octets.starts_with("From: <sip:bob@192.0.2.2>\r\nTo: <sip:alice@192.0.2.1>")
    );
    answer(&mut call, &wrapped, "415 Unsupported Media Type", "Accept: application/json, text/plain\r\n");
    let plain = call.request("MESSAGE");
    assert_eq!(
        (header(&plain, "Content-Type").as_deref(), text::body(plain.message())),
        (Some("text/plain"), &b"hello"[..])
    );
    assert_eq!(header(&plain, "Call-ID"), header(&wrapped, "Call-ID"));
    answer(&mut call, &plain, "200 OK", "");
    assert_eq!(progress(&call), [told("said1", Progress::Sent), told("said1", Progress::Acknowledged)]);
    say(&mut call, "said2", "again").expect("it can be said");
    let second = call.request("MESSAGE");
    assert_eq!(header(&second, "Content-Type").as_deref(), Some("text/plain"));
    // Once: who takes no text either has said so.
    answer(&mut call, &second, "415 Unsupported Media Type", "Accept: application/json\r\n");
    let why = "415 Unsupported Media Type".to_owned();
    assert_eq!(progress(&call).pop(), Some(told("said2", Progress::Failed { why })));
    call.over();
}

/// What Alice gets of a page of this type, one after the other, when she answers so.
#[track_caller]
fn forms(call: &mut Call, id: &str, kind: &str, body: &str, answers: &[(&str, &str)]) -> Vec<String> {
    let page = Page { message_id: id.into(), content_type: kind.into(), body: body.as_bytes().to_vec() };
    let sent =
        call.world.act(call.bob, |bob, now| bob.page(now, AccountId(0), "sip:alice@192.0.2.1", None, page));
    sent.expect("it can be said");
    let mut forms = Vec::new();
    for (line, rows) in answers {
        let request = call.request("MESSAGE");
        let octets = text::lossy(text::body(request.message()));
        let said = octets.split("\r\n\r\n").last().unwrap_or_default();
        forms.push(format!("{} {said}", header(&request, "Content-Type").unwrap_or_default()));
        answer(call, &request, line, rows);
    }
    let now = call.world.millis();
    call.nothing_to(now + 1000);
    forms
}

const REFUSED: &str = "415 Unsupported Media Type";

//= IM F-5 test
//= IM M-12 test
#[cfg_attr(test, test)]
pub(crate) fn what_a_415_says_of_types_is_remembered_for_a_day() {
    let mut call = Call::new(config(BOB));
    let only_cpim = (REFUSED, "Accept: message/cpim\r\n");
    let taken = ("200 OK", "");
    // Some networks take nothing that is not wrapped.
    let sent = forms(&mut call, "said1", "text/plain", "hi", &[only_cpim, taken]);
    assert_eq!(sent, ["text/plain hi", "message/cpim hi"]);
    assert_eq!(progress(&call), [told("said1", Progress::Sent), told("said1", Progress::Acknowledged)]);
    assert_eq!(forms(&mut call, "said2", "text/plain", "ho", &[taken]), ["message/cpim ho"]);
    let refused = |what: &&What| matches!(what, What::TypeRefused { pager: true, wrapped: false, media_type, .. } if media_type == "text/plain");
    assert_eq!(call.at_bob().told().filter(refused).count(), 1);
    call.world.run(24 * 3_600_000);
    assert_eq!(forms(&mut call, "said3", "text/plain", "ha", &[taken]), ["text/plain ha"]);
    call.over();
    // HTML goes as text where no form of it is taken.
    let mut call = Call::new(config(BOB));
    let text_only = (REFUSED, "Accept: text/plain\r\n");
    let sent = forms(&mut call, "said1", "text/html", "<b>hi</b>", &[text_only, taken]);
    assert_eq!(sent, ["text/html <b>hi</b>", "text/plain hi"]);
    call.over();
    // Each form once, and then it is said that it was not taken.
    let mut call = Call::new(config(BOB));
    let silent = (REFUSED, "");
    assert_eq!(
        forms(&mut call, "said1", "text/plain", "hi", &[silent, silent]),
        ["text/plain hi", "message/cpim hi"]
    );
    assert!(matches!(progress(&call).pop(), Some((_, Progress::Failed { .. }))));
    // All that is known is bad news: it is tried all the same.
    assert_eq!(forms(&mut call, "said2", "text/plain", "ho", &[taken]), ["text/plain ho"]);
    call.over();
}

//= IM F-5 test
//= IM R-51 test
//= IM X-41 test
#[cfg_attr(test, test)]
pub(crate) fn a_proxy_gets_its_route_and_its_password_and_nobody_else_does() {
    let credentials =
        Credentials { username: "bob".into(), password: "secret".to_owned().into(), realm: None };
    let account = |proxy| Account {
        address: BOB.to_owned(),
        proxy,
        credentials: Some(credentials.clone()),
        service_route: vec!["sip:orig@scscf.home;lr".into()],
        ..Account::default()
    };
    let proxy = Proxy { host: "192.0.2.1".into(), port: Some(5060), transport: Transport::Udp };
    let challenge =
        "Proxy-Authenticate: Digest realm=\"192.0.2.1\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"\r\n";
    let mut call = Call::new(Config { accounts: vec![account(Some(proxy))], ..Config::default() });
    say_to(&mut call, "sip:carol@far.example", "said1", "hello").expect("it can be said");
    let first = call.request("MESSAGE");
    assert_eq!(text::start_line(first.message()), "MESSAGE sip:carol@far.example SIP/2.0");
    let routes = text::headers(first.message(), "Route").join(", ");
    assert_eq!(routes, "<sip:192.0.2.1:5060;lr>, <sip:orig@scscf.home;lr>");
    answer(&mut call, &first, "407 Proxy Authentication Required", challenge);
    let second = call.request("MESSAGE");
    assert_eq!(
        (header(&second, "Call-ID"), header(&second, "CSeq").as_deref()),
        (header(&first, "Call-ID"), Some("2 MESSAGE"))
    );
    assert!(
        header(&second, "Proxy-Authorization")
            .is_some_and(|row| row.contains("uri=\"sip:carol@far.example\""))
    );
    // A wrong password is not tried for ever.
    answer(&mut call, &second, "407 Proxy Authentication Required", challenge);
    let why = "407 Proxy Authentication Required".to_owned();
    assert_eq!(progress(&call).pop(), Some(told("said1", Progress::Failed { why })));
    call.over();
    // whom nobody named learns nothing.
    let mut call = Call::new(Config { accounts: vec![account(None)], ..Config::default() });
    say(&mut call, "said1", "hello").expect("it can be said");
    let first = call.request("MESSAGE");
    answer(&mut call, &first, "407 Proxy Authentication Required", challenge);
    assert!(matches!(progress(&call).pop(), Some((_, Progress::Failed { .. }))));
    call.over();
}

//= IM F-5 test
#[cfg_attr(test, test)]
pub(crate) fn two_clients_page_each_other_and_tell_what_became_of_it() {
    let mut world = crate::stage::world(5);
    let imdn = Imdn { ask_delivered: true, tell_unverified: true, ..Imdn::default() };
    let named = |address: &str| {
        let mut config = config(address);
        config.accounts.iter_mut().for_each(|account| account.imdn = imdn);
        config
    };
    let alice = world.client("alice", named("sip:alice@192.0.2.1"));
    let bob = world.client("bob", named(BOB));
    let page =
        Page { message_id: "said1".into(), content_type: "text/plain".into(), body: b"hello".to_vec() };
    world.act(alice, |alice, now| alice.page(now, AccountId(0), BOB, None, page)).expect("it can be said");
    world.run(2_000);
    let client = |node| world.client_at(node).expect("a client");
    assert_eq!(client(bob).stored_texts(), ["hello"]);
    let receipts: Vec<_> = client(alice).told().filter(|what| matches!(what, What::Receipt { .. })).collect();
    assert!(
        matches!(receipts.as_slice(), [What::Receipt { message_id, fate: Fate::Delivered, .. }] if message_id == "said1"),
        "{receipts:?}"
    );
    crate::common::finish(&mut world);
}
