//! Peers and registrars that do what nobody should.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use parlour_proto::config::{Accept, Account, Config, Credentials, Proxy};
use parlour_proto::event::{Ended, What};
use parlour_proto::io::{AccountId, Output, Service, Transport};
use parlour_sim::{Mail, NodeId, Script, World, text};

use crate::common::{BOB, Call, accepting, config, finish};

pub(crate) const HOME: &str = "sip:bob@example.net";

/// Bob's account at example.net, whose proxy and registrar is 192.0.2.1.
pub(crate) fn at_home(host: &str, transport: Transport) -> Config {
    let mut config = config(HOME);
    let proxy = Some(Proxy { host: host.to_owned(), port: Some(5060), transport });
    let password = "secret".to_owned().into();
    let credentials = Some(Credentials { username: "bob".to_owned(), password, realm: None });
    let account = config.accounts.remove(0);
    Config { accounts: vec![Account { proxy, credentials, ..account }], ..config }
}

pub(crate) fn challenge(status: u16, realm: &str) -> (String, String) {
    let kind = if status == 401 { "WWW" } else { "Proxy" };
    let row = format!("{kind}-Authenticate: Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"\r\n");
    (format!("{status} Prove It"), row)
}

#[cfg_attr(test, test)]
pub(crate) fn a_bye_that_comes_on_another_connection_is_answered_to_that_one() {
    let mut world = crate::stage::world(1);
    let (alice, bob) = (world.peer("alice"), world.client("bob", accepting(Accept::All)));
    let to = world.address(bob, 5060);
    let first = world.open(alice, to, Service::Sip);
    world.expect_opened(alice);
    let mut script = Script::caller(&mut world, alice, first, BOB);
    world.send(first, script.invite());
    let answer = world.expect_status(alice, 200);
    let ack = script.ack(&mut world, answer.message());
    world.send(first, ack);
    world.run(10);
    world.close(first);
    world.run(10);
    let _ = world.mail_of(alice);

    let second = world.open(alice, to, Service::Sip);
    world.expect_opened(alice);
    let offer = script.offer();
    let refresh = script.next(&mut world, "INVITE", "", &offer);
    world.send(second, &refresh);
    let refreshed = world.expect_status(alice, 200);
    assert!(text::header(refreshed.message(), "Via").is_some(), "{}", text::lossy(refreshed.message()));
    assert!(text::header(refreshed.message(), "Contact").is_some(), "{}", text::lossy(refreshed.message()));
    let ack = script.ack(&mut world, refreshed.message());
    world.send(second, ack);
    let bye = script.bye(&mut world);
    world.send(second, &bye);
    let gone = world.expect_status(alice, 200);
    assert_eq!(
        text::param(&text::header(gone.message(), "Via").unwrap_or_default(), "branch"),
        text::param(&text::header(bye.as_bytes(), "Via").unwrap_or_default(), "branch"),
    );
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn a_second_invite_with_a_body_of_another_type_is_415() {
    let mut call = Call::established();
    let invite =
        call.script.next(&mut call.world, "INVITE", "", "<x/>").replace("application/sdp", "text/xml");
    call.send(invite);
    let refused = call.status(415);
    assert!(
        text::header(refused.message(), "Accept").is_some_and(|types| types.starts_with("application/sdp, "))
    );
    call.ack_refusal(&refused);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn what_is_spooled_of_a_refused_message_goes() {
    for wrapping in [
        "From: no colon here is missing\r\n",
        "Require: to.be.unknown\r\n\r\nContent-Type: text/plain\r\n\r\n",
    ] {
        let (mut call, media) = Call::connected();
        let spools = Rc::new(RefCell::new((0, 0)));
        let seen = spools.clone();
        call.bob_mut().tamper = Some(Box::new(move |output| {
            match &output {
                Output::Spool { offset: 0, .. } => seen.borrow_mut().0 += 1,
                Output::Discard { .. } => seen.borrow_mut().1 += 1,
                Output::Open { .. }
                | Output::Send { .. }
                | Output::Hold { .. }
                | Output::Resume { .. }
                | Output::Close { .. }
                | Output::Spool { .. }
                | Output::Keep { .. }
                | Output::Fetch { .. }
                | Output::Resolve { .. }
                | Output::Locate { .. }
                | Output::Event(_)
                | Output::Settled { .. }
                | Output::Idle(_) => {}
            }
            vec![output]
        }));
        let body = format!("{wrapping}{}", "x".repeat(100_000));
        let range = format!("1-{0}/{0}", body.len());
        let send = call.script.msrp_chunk("large1", "m-large", &range, body.as_bytes(), '$');
        call.world.send(media, send.replace("text/plain\r\n\r\n", "message/cpim\r\n\r\n"));
        call.world.run(1000);
        assert_eq!(*spools.borrow(), (1, 1), "{}", call.world.ladder());
        call.bob_mut().tamper = None;
        call.bye();
        call.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn an_invitation_that_comes_while_all_is_left_is_not_let_in() {
    let mut call = Call::new(accepting(Accept::All));
    let leave = |bob: &mut parlour_proto::client::Client, now| {
        bob.shutdown(now);
        Ok(())
    };
    call.world.act(call.bob, leave).expect("shutdown");
    call.send(call.script.invite());
    call.refused(480);
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_contact_does_not_aim_our_requests_at_a_victim() {
    for contact in
        ["127.0.0.1:6379;transport=tcp", "169.254.1.1:80;transport=tcp", "192.0.2.2:5070", "224.0.0.1"]
    {
        let mut call = Call::new(accepting(Accept::All));
        let aimed = call.script.invite().replacen(
            "Contact: <sip:192.0.2.1:5060>",
            &format!("Contact: <sip:a@{contact}>"),
            1,
        );
        assert!(aimed.contains(contact));
        call.send(aimed);
        let answer = call.status(200);
        call.ack(&answer);
        let session = call.session();
        call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
        let bye = call.request("BYE");
        call.send(call.script.respond(bye.message(), "200 OK", "", ""));
        call.over();
    }
}

/// Where Bob asks his shell to open streams to, in the order of asking.
fn opened_by(world: &mut World, bob: NodeId) -> Rc<RefCell<Vec<SocketAddr>>> {
    let opened = Rc::new(RefCell::new(Vec::new()));
    let seen = opened.clone();
    let bob = world.client_at_mut(bob).expect("bob is a client");
    bob.tamper = Some(Box::new(move |output| {
        if let Output::Open { to, .. } = &output {
            seen.borrow_mut().push(to.address);
            seen.borrow_mut().extend(&to.others);
        }
        vec![output]
    }));
    opened
}

/// Alice calls Bob over TCP with this Contact, and her connection closes once the session stands.
fn called_and_hung_up(contact: &str) -> (World, NodeId, NodeId, Script) {
    let mut world = crate::stage::world(1);
    let (alice, bob) = (world.peer("alice"), world.client("bob", accepting(Accept::All)));
    let to = world.address(bob, 5060);
    let way = world.open(alice, to, Service::Sip);
    world.expect_opened(alice);
    let mut script = Script::caller(&mut world, alice, way, BOB);
    let invite = script.invite().replacen("<sip:192.0.2.1:5060>", &format!("<sip:a@{contact}>"), 1);
    assert!(invite.contains(contact));
    world.send(way, invite);
    let answer = world.expect_status(alice, 200);
    let ack = script.ack(&mut world, answer.message());
    world.send(way, ack);
    world.run(10);
    world.close(way);
    world.run(10);
    (world, alice, bob, script)
}

fn leave(world: &mut World, bob: NodeId) {
    let session = world.client_at(bob).and_then(|bob| bob.last_session()).expect("there is a session");
    world.act(bob, |bob, now| bob.leave(now, session)).expect("leave");
}

#[cfg_attr(test, test)]
pub(crate) fn a_contact_aims_at_nobody_when_its_own_connection_is_gone_either() {
    for contact in
        ["127.0.0.1:6379;transport=tcp", "169.254.1.1:8080;transport=tcp", "192.0.2.2:5070;transport=tcp"]
    {
        let (mut world, _, bob, _) = called_and_hung_up(contact);
        let opened = opened_by(&mut world, bob);
        leave(&mut world, bob);
        world.run(100);
        assert_eq!(*opened.borrow(), [], "{contact}");
        assert_eq!(told(&world, bob, |what| matches!(what, What::Ended(Ended::Left))), 1);
        finish(&mut world);
    }
    // Where the caller speaks from it may be reached.
    let (mut world, alice, bob, script) = called_and_hung_up("192.0.2.1:5060;transport=tcp");
    leave(&mut world, bob);
    let bye = world.expect_request(alice, "BYE");
    world.send(bye.way, script.respond(bye.message(), "200 OK", "", ""));
    finish(&mut world);
}

fn explained(world: &World, bob: NodeId, input: &str) -> usize {
    let events = &world.client_at(bob).expect("bob is a client").events;
    let fits = |what: &What| matches!(what, What::Explain(explain) if explain.input.contains(input));
    events.iter().filter(|(_, event)| fits(&event.what)).count()
}

#[cfg_attr(test, test)]
pub(crate) fn a_bye_to_a_name_is_looked_up_when_the_callers_connection_is_gone() {
    let named = "alice.example:5060;transport=tcp";
    let (mut world, alice, bob, script) = called_and_hung_up(named);
    world.name("alice.example", &[[127, 0, 0, 1].into(), [192, 0, 2, 1].into()]);
    let opened = opened_by(&mut world, bob);
    leave(&mut world, bob);
    let bye = world.expect_request(alice, "BYE");
    assert_eq!(*opened.borrow(), [world.address(alice, 5060)]);
    world.send(bye.way, script.respond(bye.message(), "200 OK", "", ""));
    finish(&mut world);

    for (addresses, why) in
        [(vec![[127, 0, 0, 1].into()], "no peer may send us"), (vec![], "alice.example has no address")]
    {
        let (mut world, _, bob, _) = called_and_hung_up(named);
        world.name("alice.example", &addresses);
        let opened = opened_by(&mut world, bob);
        leave(&mut world, bob);
        world.run(10);
        assert_eq!(*opened.borrow(), [], "{addresses:?}");
        assert_eq!(told(&world, bob, |what| matches!(what, What::Ended(Ended::Left))), 1);
        assert_eq!(explained(&world, bob, why), 1, "{addresses:?}");
        finish(&mut world);
    }
}

#[cfg_attr(test, test)]
pub(crate) fn requests_of_dialogs_that_are_made_up_pass_the_gate_like_others() {
    let mut config = config(BOB);
    config.limits.requests_per_source = 5;
    let mut call = Call::new(config);
    call.script.remote_tag = Some("made-up".to_owned());
    for method in ["INVITE", "BYE", "OPTIONS"].into_iter().cycle().take(90) {
        let rows = "Contact: <sip:192.0.2.1:5060>\r\n";
        let request = call.script.next(&mut call.world, method, rows, "");
        call.send(request);
    }
    call.world.run(100);
    let answers = call.world.mail_of(call.alice).len();
    assert!((1..=6).contains(&answers), "{answers} answers");
}

/// Bob invites Alice, through `host` or straight.
fn invited(config: Config) -> (World, NodeId, NodeId, Mail, Script) {
    let mut world = crate::stage::world(2);
    let (alice, bob) = (world.peer("alice"), world.client("bob", config));
    world.act(bob, |bob, now| bob.invite(now, AccountId(0), "sip:alice@192.0.2.1", None)).expect("invite");
    let invite = world.expect_request(alice, "INVITE");
    let callee = Script::callee(&mut world, alice, invite.way, invite.message());
    (world, alice, bob, invite, callee)
}

fn told(world: &World, bob: NodeId, fits: impl Fn(&What) -> bool) -> usize {
    world.client_at(bob).map_or(0, |bob| bob.told().filter(|what| fits(what)).count())
}

#[cfg_attr(test, test)]
pub(crate) fn who_answers_cannot_call_himself_somebody_else() {
    let (mut world, alice, bob, invite, callee) = invited(config(BOB));
    let answer = callee.respond(invite.message(), "200 OK", "", &callee.sdp("passive", "text/plain"));
    let answer = answer.replace("To: <sip:alice@192.0.2.1>", "To: \"The Bank\" <sip:service@bank.example>");
    assert!(answer.contains("bank.example"));
    world.send(invite.way, answer);
    world.expect_request(alice, "ACK");
    let is_alice = |what: &What| {
        matches!(what, What::Established { peer, .. }
            if peer.address == "sip:alice@192.0.2.1" && peer.display_name.is_none() && !peer.verified)
    };
    assert_eq!(told(&world, bob, is_alice), 1, "{}", world.ladder());
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn ringing_is_told_once_however_often_it_is_said() {
    let (mut world, _, bob, invite, callee) = invited(config(BOB));
    for _ in 0..50 {
        world.send(invite.way, callee.respond(invite.message(), "180 Ringing", "", ""));
    }
    world.run(100);
    assert_eq!(told(&world, bob, |what| matches!(what, What::Ringing)), 1);
    world.send(invite.way, callee.respond(invite.message(), "486 Busy Here", "", ""));
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn forks_that_a_callee_makes_up_do_not_make_us_send_without_end() {
    let (mut world, alice, _, invite, callee) = invited(config(BOB));
    let answer = callee.respond(invite.message(), "200 OK", "", &callee.sdp("passive", "text/plain"));
    world.send(invite.way, &answer);
    world.expect_request(alice, "ACK");
    for fork in 0..300 {
        // Each comes twice: the second one is the same fork's, which has its BYE already.
        for _ in 0..2 {
            world.send(invite.way, answer.replace("tag=tag-", &format!("tag=fork{fork}-")));
        }
    }
    world.run(400);
    let byes = world.mail_of(alice);
    let byes = byes.iter().filter(|mail| text::method(mail.message()).as_deref() == Some("BYE")).count();
    assert!((1..=16).contains(&byes), "{byes} BYE");
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn a_peer_gets_no_digest_for_a_realm_of_his_own() {
    // The other end of a call that came straight asks for credentials when we hang up.
    for status in [401, 407] {
        let mut call = Call::new(Config { accept: Accept::All, ..at_home("192.0.2.1", Transport::Udp) });
        call.script = Script::caller(&mut call.world, call.alice, call.way, HOME);
        call.send(call.script.invite());
        let answer = call.status(200);
        call.ack(&answer);
        let session = call.session();
        call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
        let bye = call.request("BYE");
        let (line, row) = challenge(status, "evil.example");
        call.send(call.script.respond(bye.message(), &line, &row, ""));
        call.world.run(100);
        let more = call.world.mail_of(call.alice);
        assert!(
            more.iter().all(|mail| text::method(mail.message()).is_none()),
            "{status}: {}",
            call.world.ladder()
        );
        call.over();
    }
    // The far end of an invitation dresses its challenge up as a proxy's, and a proxy's as its own.
    for (line, row) in [
        ("407 Proxy Authentication Required", challenge(401, "evil.example").1),
        ("401 Unauthorized", challenge(401, "evil.example").1),
    ] {
        let (mut world, alice, bob, invite, callee) = invited(at_home("192.0.2.1", Transport::Udp));
        world.send(invite.way, callee.respond(invite.message(), line, &row, ""));
        world.expect_request(alice, "ACK");
        world.expect_nothing_to(alice, 400);
        assert_eq!(told(&world, bob, |what| matches!(what, What::Ended(Ended::Refused { .. }))), 1);
        finish(&mut world);
    }
}

/// Bob, whose registrar is Alice.
fn registering(config: Config) -> (World, NodeId, NodeId) {
    let mut world = crate::stage::world(3);
    let (registrar, bob) = (world.peer("registrar"), world.client("bob", config));
    world.act(bob, |bob, now| bob.register(now, AccountId(0))).expect("register");
    (world, registrar, bob)
}

fn answer(world: &mut World, registrar: NodeId, register: &Mail, line: &str, rows: &str) {
    let script = Script::callee(world, registrar, register.way, register.message());
    let response = script.respond(register.message(), line, rows, "");
    world.send(register.way, response.replace("Contact: <sip:192.0.2.1:5060>\r\n", ""));
    world.run(10);
}

fn unregister(world: &mut World, bob: NodeId) {
    world.act(bob, |bob, now| bob.unregister(now, AccountId(0))).expect("unregister");
}

#[cfg_attr(test, test)]
pub(crate) fn who_leaves_while_a_register_is_out_removes_what_it_binds() {
    let (mut world, registrar, bob) = registering(at_home("192.0.2.1", Transport::Udp));
    let first = world.expect_request(registrar, "REGISTER");
    unregister(&mut world, bob);
    // RFC 3261 10.2: no second REGISTER before the first has its answer.
    world.expect_nothing_to(registrar, 300);
    answer(&mut world, registrar, &first, "200 OK", "Expires: 600\r\n");
    let removal = world.expect_request(registrar, "REGISTER");
    assert_eq!(text::header(removal.message(), "Expires").as_deref(), Some("0"), "{}", world.ladder());
    answer(&mut world, registrar, &removal, "200 OK", "");
    assert_eq!(told(&world, bob, |what| matches!(what, What::Registered { .. })), 0);
    assert_eq!(told(&world, bob, |what| matches!(what, What::Unregistered)), 1);
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn a_name_that_is_found_after_unregistering_registers_nobody() {
    let mut world = crate::stage::world(3);
    let (registrar, bob) =
        (world.peer("registrar"), world.client("bob", at_home("home.example", Transport::Udp)));
    world.name("home.example", &[world.address(registrar, 5060).ip()]);
    let both = |bob: &mut parlour_proto::client::Client, now| {
        bob.register(now, AccountId(0))?;
        bob.register(now, AccountId(0))?;
        bob.unregister(now, AccountId(0))
    };
    world.act(bob, both).expect("register and unregister");
    world.expect_nothing_to(registrar, 1000);
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn registering_twice_is_one_register_at_a_time() {
    let (mut world, registrar, bob) = registering(at_home("192.0.2.1", Transport::Udp));
    world.act(bob, |bob, now| bob.register(now, AccountId(0))).expect("register");
    let first = world.expect_request(registrar, "REGISTER");
    world.expect_nothing_to(registrar, 300);
    answer(&mut world, registrar, &first, "200 OK", "Expires: 600\r\n");
    unregister(&mut world, bob);
    let removal = world.expect_request(registrar, "REGISTER");
    // Wanted again before the removal is answered.
    world.act(bob, |bob, now| bob.register(now, AccountId(0))).expect("register");
    world.expect_nothing_to(registrar, 300);
    answer(&mut world, registrar, &removal, "200 OK", "");
    let again = world.expect_request(registrar, "REGISTER");
    assert_ne!(text::header(again.message(), "Expires").as_deref(), Some("0"));
    answer(&mut world, registrar, &again, "403 Forbidden", "");
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn a_registrar_that_hangs_up_is_one_failure() {
    let (mut world, registrar, bob) = registering(at_home("192.0.2.1", Transport::Tcp));
    world.expect_opened(registrar);
    let register = world.expect_request(registrar, "REGISTER");
    world.close(register.way);
    world.run(10);
    let failures = |what: &What| matches!(what, What::RegistrationFailed { .. });
    assert_eq!(told(&world, bob, failures), 1, "{}", world.ladder());
    unregister(&mut world, bob);
    finish(&mut world);
}

#[cfg_attr(test, test)]
pub(crate) fn retry_after_nothing_is_not_at_once() {
    let (mut world, registrar, bob) = registering(at_home("192.0.2.1", Transport::Udp));
    let first = world.expect_request(registrar, "REGISTER");
    answer(&mut world, registrar, &first, "503 Service Unavailable", "Retry-After: 0\r\n");
    world.expect_nothing_to(registrar, 900);
    let second = world.expect_request(registrar, "REGISTER");
    unregister(&mut world, bob);
    answer(&mut world, registrar, &second, "403 Forbidden", "");
    finish(&mut world);
}

/// Alice invites Bob with this Contact, over UDP; the session stands. Victor has said nothing to anybody.
fn focus_at(contact: &str, config: Config) -> (Call, NodeId) {
    let mut call = Call::new(config);
    let victor = call.world.peer("victor");
    let invite = call.script.invite().replacen("<sip:192.0.2.1:5060>", contact, 1);
    call.send(invite);
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    let bind = call.script.msrp_empty("bind");
    call.world.send(media, bind);
    call.status(200);
    (call, victor)
}

//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_focus_aims_no_subscribe_at_who_has_said_nothing() {
    let subscribes_at = |world: &mut World, node: NodeId| {
        let subscribe = |mail: &&Mail| text::method(mail.message()).as_deref() == Some("SUBSCRIBE");
        world.mail_of(node).iter().filter(subscribe).count()
    };
    for contact in ["<sip:focus@192.0.2.3:5060>;isfocus", "<sip:focus@victor.example>;isfocus"] {
        let (mut call, victor) = focus_at(contact, accepting(Accept::All));
        call.world.name("victor.example", &[[192, 0, 2, 3].into()]);
        // By the way on which Alice spoke: if she is a proxy, she passes it on.
        let subscribe = call.request("SUBSCRIBE");
        assert!(text::start_line(subscribe.message()).contains("sip:focus@"));
        let mut script = Script::callee(&mut call.world, call.alice, subscribe.way, subscribe.message());
        call.send(script.respond(subscribe.message(), "200 OK", "Expires: 60\r\n", ""));
        // Nor does the NOTIFY, which makes the dialog of the subscription.
        let rows = format!(
            "Contact: {}\r\nEvent: conference\r\nSubscription-State: active;expires=60\r\n",
            contact.replace(";isfocus", "")
        );
        let notify = script.next(&mut call.world, "NOTIFY", &rows, "");
        call.send(notify);
        call.status(200);
        call.world.run(40_000);
        let refresh = call.request("SUBSCRIBE");
        assert!(text::header(refresh.message(), "To").is_some_and(|to| to.contains(";tag=")));
        assert_eq!(subscribes_at(&mut call.world, victor), 0, "{contact}");
        call.bye();
        call.world.run(100_000);
        assert_eq!(subscribes_at(&mut call.world, victor), 0, "{contact}");
        call.over();
    }
    // Who is trusted may be somewhere else than who invites, and who is trusted may say where it is.
    for hop in ["192.0.2.3", "192.0.2.1"] {
        let hop = parlour_proto::config::Hop { address: hop.parse().expect("an address"), bits: 32 };
        let config = Config { trusted_hops: vec![hop], ..accepting(Accept::All) };
        let (mut call, victor) = focus_at("<sip:focus@192.0.2.3:5060>;isfocus", config);
        call.world.expect_request(victor, "SUBSCRIBE");
        call.bye();
        call.world.run(100_000);
        call.over();
    }
}

//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_name_aims_no_subscribe_at_who_has_said_nothing_either() {
    for (addresses, reached) in [
        (vec![[192, 0, 2, 3].into()], vec![]),
        (vec![[192, 0, 2, 3].into(), [192, 0, 2, 1].into()], vec![SocketAddr::from(([192, 0, 2, 1], 5060))]),
    ] {
        let mut world = crate::stage::world(1);
        let (alice, bob) = (world.peer("alice"), world.client("bob", accepting(Accept::All)));
        let victor = world.peer("victor");
        world.name("victor.example", &addresses);
        let to = world.address(bob, 5060);
        let way = world.open(alice, to, Service::Sip);
        world.expect_opened(alice);
        let mut script = Script::caller(&mut world, alice, way, BOB);
        let contact = "<sip:focus@victor.example;transport=tcp>;isfocus";
        world.send(way, script.invite().replacen("<sip:192.0.2.1:5060>", contact, 1));
        let answer = world.expect_status(alice, 200);
        let ack = script.ack(&mut world, answer.message());
        world.send(way, ack);
        // The focus wants to be asked again in a while, and then its connection is gone.
        let subscribe = world.expect_request(alice, "SUBSCRIBE");
        let mut focus = Script::callee(&mut world, alice, way, subscribe.message());
        world.send(way, focus.respond(subscribe.message(), "200 OK", "Expires: 60\r\n", ""));
        let rows = "Contact: <sip:192.0.2.1>\r\nEvent: conference\r\n\
            Subscription-State: terminated;reason=probation;retry-after=5\r\n";
        let notify = focus.next(&mut world, "NOTIFY", rows, "");
        world.send(way, notify);
        world.expect_status(alice, 200);
        world.close(way);
        let opened = opened_by(&mut world, bob);
        world.run(10_000);
        assert_eq!(*opened.borrow(), reached);
        assert!(world.mail_of(victor).is_empty());
        world.client_at_mut(bob).expect("bob is a client").tamper = None;
        leave(&mut world, bob);
        world.run(100_000);
        finish(&mut world);
    }
}
