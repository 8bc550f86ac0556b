//! Who is let in, what is told about whom, and what is kept apart.

use std::net::IpAddr;

use parlour_proto::client::StoreFault;
use parlour_proto::config::{Accept, Account, Config, Hop, LargeMessage};
use parlour_proto::event::{Kind, Peer, What};
use parlour_proto::io::{AccountId, Service};
use parlour_sim::{Mail, Script, text};

use crate::common::{BOB, Call, accepting, config, finish};

/// Who calls, as Bob is told.
fn caller(call: &Call) -> Peer {
    let invited = |what: &What| if let What::Invited { peer, .. } = what { Some(peer.clone()) } else { None };
    let peer = call.at_bob().told().find_map(invited);
    peer.expect("an invitation")
}

//= IM G-1 test
//= IM G-1b test
#[cfg_attr(test, test)]
pub(crate) fn while_the_store_fails_no_invitation_is_taken() {
    let (mut call, media) = Call::connected();
    call.bob_mut().store.fault = Some(StoreFault::Full);
    call.world.send(media, call.script.msrp_send("tid1", "m1", "lost"));
    call.status(413);
    let mut other = Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(other.invite());
    let refusal = call.status(480);
    let seconds: u32 =
        text::header(refusal.message(), "Retry-After").expect("it says when").parse().expect("seconds");
    assert!((30..=300).contains(&seconds), "{seconds}");
    let ack = other.ack_refusal(refusal.message());
    call.send(ack);
    assert_eq!(call.invitations(), 1, "nobody was troubled");
    // It may work again: after a while that is tried.
    call.world.run(30_000);
    call.bob_mut().store.fault = None;
    let mut third = Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(third.invite());
    call.status(180);
    call.send(third.cancel());
    call.status(200);
    let refusal = call.status(487);
    let ack = third.ack_refusal(refusal.message());
    call.send(ack);
    call.over();
}

//= IM G-2 test
//= IM G-7s test
//= IM R-22 test
//= IM R-23 test
//= IM R-35 test
//= IM R-20 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_not_refused_goes_on_and_is_answered_in_full() {
    let mut call = Call::new(accepting(Accept::All));
    let odd = "User-Agent: \"/(\\)) 0.0.0 ;;\r\nServer: IM-serv/OMA1.0 Dummy/v1.01\r\n";
    call.send(call.script.invite_with(odd, &call.script.offer()));
    let answer = call.status(200);
    let row = |name| text::header(answer.message(), name);
    // RFC 3891 6.2 and RFC 4028 4: told by who has them.
    let supported = row("Supported").unwrap_or_default();
    assert!(
        ["replaces", "timer"].iter().all(|tag| supported.split(", ").any(|told| told == *tag)),
        "{supported}"
    );
    let accept = row("Accept").unwrap_or_default();
    assert!(accept.starts_with("application/sdp, multipart/mixed, "), "{accept}");
    let release = concat!("IM-client/OMA1.0 Parlour/", env!("CARGO_PKG_VERSION"));
    assert_eq!(row("Server").as_deref(), Some(release), "product and version, nothing else");
    assert_eq!(row("P-Preferred-Identity").as_deref(), Some("<sip:bob@192.0.2.2>"));
    assert_eq!(row("P-Asserted-Identity"), None, "asserting is the core's");
    call.ack(&answer);
    call.bye();
    call.status(200);
    call.over();
}

//= IM X-1 test
//= IM R-32 test
//= IM R-34 test
//= IM X-4 test
#[cfg_attr(test, test)]
pub(crate) fn an_asserted_identity_counts_from_a_trusted_hop_only() {
    let rows = "P-Asserted-Identity: \"Carol\" <sip:carol@example.com>, <tel:+15551234>\r\n";
    let hop = Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 };
    for trusted_hops in [vec![], vec![hop]] {
        let trusted = !trusted_hops.is_empty();
        let mut call = Call::new(Config { trusted_hops, ..accepting(Accept::Auto) });
        call.send(call.script.invite_with(rows, &call.script.offer()));
        if trusted {
            let answer = call.status(200);
            let carol = Peer {
                address: "sip:carol@example.com".into(),
                display_name: Some("Carol".into()),
                verified: true,
            };
            assert_eq!(caller(&call), carol);
            call.ack(&answer);
            call.bye();
            call.status(200);
        } else {
            call.status(180);
            let claimed = caller(&call);
            assert!(!claimed.verified && !claimed.address.contains("carol"), "{claimed:?}");
            call.cancel();
        }
        call.over();
    }
}

//= IM R-30 test
//= IM R-31 test
#[cfg_attr(test, test)]
pub(crate) fn the_address_that_was_called_answers() {
    let account = |address: &str| Account { address: address.into(), ..Account::default() };
    let accounts = vec![account("sip:bob@work.example"), account("sip:bob@home.example")];
    let mut call = Call::new(Config { accounts, ..accepting(Accept::Ask) });
    call.script = Script::caller(&mut call.world, call.alice, call.way, "sip:bob@home.example");
    let at_home = call.script.invite().replacen(" sip:bob@192.0.2.2", " sip:bob@home.example", 1);
    call.send(at_home);
    let ringing = call.status(180);
    let identity = text::header(ringing.message(), "P-Preferred-Identity");
    assert_eq!(identity.as_deref(), Some("<sip:bob@home.example>"));
    let events = &call.at_bob().events;
    let invited =
        events.iter().find(|event| matches!(event.1.what, What::Invited { .. })).expect("an invitation");
    assert_eq!(invited.1.account, AccountId(1));
    call.cancel();
    call.over();
}

//= IM R-33 test
#[cfg_attr(test, test)]
pub(crate) fn who_wants_to_stay_unknown_is_not_named() {
    let private = |address: &str| {
        let mut config = config(address);
        config.accounts.iter_mut().for_each(|account| account.privacy = true);
        config
    };
    let mut call = Call::new(private(BOB));
    call.send(call.script.invite());
    let ringing = call.status(180);
    assert_eq!(text::header(ringing.message(), "Privacy").as_deref(), Some("id"));
    assert_eq!(text::header(ringing.message(), "P-Preferred-Identity"), None, "there is no core to tell it");
    let contact = text::header(ringing.message(), "Contact").expect("it makes a dialog");
    assert!(!contact.contains("bob"), "{contact}");
    let session =
        call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), "sip:alice@192.0.2.1", None));
    let session = session.expect("a way to Alice");
    let invite = call.request("INVITE");
    let from = text::header(invite.message(), "From").expect("From");
    assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), "{from}");
    assert!(
        !text::lossy(invite.message()).replace("To: ", "").contains("bob@"),
        "{}",
        text::lossy(invite.message())
    );
    let busy = call.script.respond(invite.message(), "486 Busy Here", "", "");
    call.send(busy);
    call.world.run(0);
    let _ = session;
    call.cancel();
    call.over();
}

//= IM R-43 test
#[cfg_attr(test, test)]
pub(crate) fn caller_preferences_exclude_only_by_require() {
    for (rows, status) in [
        ("Accept-Contact: *;+g.oma.sip-im\r\n", 180),
        ("Accept-Contact: *;+g.oma.sip-im;require;explicit\r\n", 180),
        ("Accept-Contact: *;audio;explicit\r\n", 180),
        ("Accept-Contact: *;audio;require\r\n", 180),
        ("Accept-Contact: *;audio;require;explicit\r\n", 480),
        ("Accept-Contact: *;+g.oma.sip-im=\"FALSE\";require\r\n", 480),
        ("Reject-Contact: *;audio\r\n", 180),
        ("Reject-Contact: *;+g.oma.sip-im\r\n", 480),
        ("Reject-Contact: *;+g.oma.sip-im;audio\r\n", 180),
    ] {
        let mut call = Call::new(config(BOB));
        call.send(call.script.invite_with(rows, &call.script.offer()));
        let first = call.world.expect(call.alice, rows, |mail| text::status(mail.message()).is_some());
        assert_eq!(text::status(first.message()), Some(status), "{rows}");
        if status == 180 {
            call.cancel();
        } else {
            call.ack_refusal(&first);
        }
        call.over();
    }
}

//= IM R-4 test
#[cfg_attr(test, test)]
pub(crate) fn two_sessions_share_a_connection_and_nothing_else() {
    let (mut call, media) = Call::connected();
    let mut other = Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(other.invite());
    let ringing = call.status(180);
    other.learn(ringing.message());
    call.accept();
    let answer = call.status(200);
    other.learn(answer.message());
    let ack = other.ack(&mut call.world, answer.message());
    call.send(ack);
    call.world.run(0);
    call.world.send(media, other.msrp_send("tid1", "m1", "second"));
    call.status(200);
    call.world.send(media, call.script.msrp_send("tid2", "m9", "first"));
    call.status(200);
    call.bye();
    call.status(200);
    // The other one lives on, over the same connection.
    call.world.send(media, other.msrp_send("tid3", "m2", "still here"));
    call.status(200);
    call.world.send(media, call.script.msrp_send("tid4", "m3", "gone"));
    call.status(481);
    // In the order of their identifiers.
    assert_eq!(call.at_bob().stored_texts(), ["second", "still here", "first"]);
    let bye = other.bye(&mut call.world);
    call.send(bye);
    call.status(200);
    call.over();
}

//= IM M-33 test
#[cfg_attr(test, test)]
pub(crate) fn another_author_inside_is_shown_as_a_claim() {
    let (mut call, media) = Call::connected();
    for (message_id, from, claim) in [
        ("m1m1", "<sip:mallory@example.com>", Some("sip:mallory@example.com")),
        ("m2m2", "<sip:anonymous@anonymous.invalid>", None),
        ("m3m3", "<sip:alice@192.0.2.1;transport=udp>", None),
    ] {
        let cpim = format!("From: {from}\r\nTo: <{BOB}>\r\n\r\nContent-Type: text/plain\r\n\r\nhi");
        let send = call.script.msrp_send("tid1", message_id, &cpim);
        call.world.send(
            media,
            send.replace("Content-Type: text/plain\r\n\r\nFrom", "Content-Type: message/cpim\r\n\r\nFrom"),
        );
        call.status(200);
        let message =
            |what: &What| if let What::Message(message) = what { Some(message.clone()) } else { None };
        let last = call.at_bob().told().filter_map(message);
        let message = last.last().expect("a message");
        assert_eq!(message.claimed_from.as_deref(), claim, "{from}");
        assert!(
            message.from.address.contains("192.0.2.1"),
            "the session's peer is shown: {:?}",
            message.from
        );
    }
    call.over();
}

//= IM X-13 test
#[cfg_attr(test, test)]
pub(crate) fn streams_that_say_nothing_or_never_finish_are_closed() {
    let silent_then = |octets: &[&str], closed_at: u64| {
        let mut world = crate::stage::world(1);
        let alice = world.peer("alice");
        let bob = world.client("bob", config(BOB));
        let to = world.address(bob, 5060);
        let way = world.open(alice, to, Service::Sip);
        world.expect_opened(alice);
        for (after, part) in octets.iter().enumerate() {
            world.run_to(1000 * (after as u64 + 1));
            world.send(way, part);
        }
        world.run_to(closed_at - 1);
        assert_eq!(world.open_streams().len(), 1, "{octets:?}");
        world.run_to(closed_at);
        assert_eq!(world.open_streams().len(), 0, "{octets:?}");
        finish(&mut world);
    };
    silent_then(&[], 30_000);
    silent_then(&["OPTIONS sip:bob"], 30_000);
    // A keep-alive is something said; the message that begins after it has 30 s.
    silent_then(&["\r\n\r\n", "OPTIONS sip:bob", "@192.0.2.2 SIP/2.0\r\n"], 32_000);
    silent_then(&["\r\n\r\n"], 1_801_000);
    silent_then(&["\r\n\r\n", "\r\n\r\n"], 1_802_000);
}

/// What Bob answers to Alice's INVITE with these rows; the call is over then.
fn answer_with(config: Config, rows: &str) -> (u16, Option<Kind>) {
    let mut call = Call::new(config);
    call.send(call.script.invite_with(rows, &call.script.offer()));
    let is_answer = |mail: &Mail| text::status(mail.message()).is_some_and(|status| status > 100);
    let first = call.world.expect(call.alice, rows, is_answer);
    let status = text::status(first.message()).unwrap_or(0);
    let invited = |what: &What| if let What::Invited { kind, .. } = what { Some(*kind) } else { None };
    let kind = call.at_bob().told().find_map(invited);
    if status == 180 {
        call.cancel();
    } else {
        call.ack_refusal(&first);
    }
    call.over();
    (status, kind)
}

//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn who_is_not_wanted_never_rings() {
    let blocked = |address: &str| Config { blocked: vec![address.into()], ..config(BOB) };
    assert_eq!(answer_with(blocked("sip:alice@192.0.2.1:5060"), ""), (480, None));
    assert_eq!(answer_with(blocked("sips:alice@192.0.2.1;x=y"), ""), (480, None));
    assert_eq!(answer_with(blocked("sip:Alice@192.0.2.1:5060"), ""), (180, Some(Kind::Chat)));
    assert_eq!(answer_with(Config { do_not_disturb: true, ..config(BOB) }, ""), (480, None));
    let shy = Config { refuse_anonymous: true, ..config(BOB) };
    assert_eq!(answer_with(shy.clone(), ""), (180, Some(Kind::Chat)));
    let mut call = Call::new(shy);
    call.script.local = "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
    call.send(call.script.invite());
    call.refused(433);
    call.over();
}

//= IM R-42 test
#[cfg_attr(test, test)]
pub(crate) fn an_invitation_says_what_it_is_for() {
    let server = "sip:standfw@example.com";
    let hop = Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 };
    let large_message = Some(LargeMessage { most: 1 << 20, unasked: 0 });
    let plain = || Config { store_and_forward: vec![server.into()], large_message, ..config(BOB) };
    let core = || Config { trusted_hops: vec![hop], ..plain() };
    let kind = |config, rows: &str| answer_with(config, rows).1;
    assert_eq!(kind(core(), ""), Some(Kind::Chat));
    assert_eq!(kind(core(), "Accept-Contact: *;+g.oma.sip-im\r\n"), Some(Kind::Chat));
    let large = "Accept-Contact: *;+g.oma.sip-im;+g.oma.sip-im.large-message\r\n";
    assert_eq!(kind(core(), large), Some(Kind::LargeMessage));
    for row in [format!("P-Asserted-Identity: <{server}>\r\n"), format!("Referred-By: <{server}>\r\n")] {
        assert_eq!(kind(core(), &row), Some(Kind::Deferred), "{row}");
        assert_eq!(kind(plain(), &row), Some(Kind::Chat), "anybody can say so: {row}");
    }

    let mut call = Call::new(config(BOB));
    let focus = call.script.invite().replace("<sip:192.0.2.1:5060>", "<sip:192.0.2.1:5060>;isfocus");
    call.send(focus);
    call.status(180);
    assert!(call.at_bob().told().any(|what| matches!(what, What::Invited { kind: Kind::Group, .. })));
    call.cancel();
    call.over();
}

//= IM R-42 test
#[cfg_attr(test, test)]
pub(crate) fn a_file_is_refused_by_its_line_and_the_chat_beside_it_taken() {
    let with_file = |offer: &str| {
        let file =
            offer.split_once("m=message").map(|(_, line)| format!("m=message{line}")).unwrap_or_default();
        format!("{file}a=file-selector:name:\"a.txt\" type:text/plain size:5\r\na=file-transfer-id:abc\r\n")
    };
    let mut call = Call::new(Config { max_file: 0, ..accepting(Accept::All) });
    let offer = call.script.offer();
    let head = offer.split_once("m=message").map(|(head, _)| head.to_owned()).unwrap_or_default();
    call.send(call.script.invite_with("", &format!("{head}{}", with_file(&offer))));
    let refusal = call.status(488);
    assert!(text::header(refusal.message(), "Warning").is_some_and(|why| why.contains("File")));
    call.ack_refusal(&refusal);
    assert_eq!(call.invitations(), 0);

    call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
    let offer = call.script.offer();
    call.send(call.script.invite_with("", &format!("{offer}{}", with_file(&offer))));
    let answer = call.status(200);
    let sdp = text::lossy(text::body(answer.message()));
    let lines: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
    assert!(matches!(lines[..], ["m=message 2855 TCP/MSRP *", "m=message 0 TCP/MSRP *"]), "{sdp}");
    call.ack(&answer);
    call.bye();
    call.status(200);
    call.over();
}
