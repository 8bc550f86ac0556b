//! Registration: digest, refresh, 423, back-off, removal (catalogue R-50 in the simple case).

use std::time::Duration;

use parlour_proto::client::Decline;
use parlour_proto::config::{Account, Config, Credentials, Proxy, Unwanted};
use parlour_proto::event::What;
use parlour_proto::io::{AccountId, Transport};
use parlour_sim::{Link, Mail, NodeId, Script, World, text};

use crate::common::{config, finish};

const BOB: &str = "sip:bob@example.net";
const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"example.net\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"\r\n";

/// The registrar has a name with several addresses, of which the first is dead.
#[cfg_attr(test, test)]
pub(crate) fn of_the_addresses_of_a_proxy_one_that_answers_is_enough() {
    let mut world = crate::stage::world(3);
    let (registrar, nobody) = (world.peer("registrar"), world.peer("nobody"));
    let [home, dead] = [registrar, nobody].map(|node| world.address(node, 5060).ip());
    world.name("core.test", &[dead, home]);
    let proxy = Proxy { host: "core.test".to_owned(), port: Some(5060), transport: Transport::Tcp };
    let mut config = config(BOB);
    config.accounts.iter_mut().for_each(|account| {
        (account.proxy, account.register) = (Some(proxy.clone()), true);
    });
    let bob = world.client("bob", config);
    world.link(bob, nobody, Link { refuse: true, ..Link::default() });
    world.act(bob, |bob, now| bob.register(now, AccountId(0))).expect("register");
    let register = world.expect_request(registrar, "REGISTER");
    let script = Script::callee(&mut world, registrar, register.way, register.message());
    world.send(register.way, script.respond(register.message(), "403 Forbidden", "", ""));
    world.run(10);
    finish(&mut world);
}

/// Bob registers at a scripted registrar (192.0.2.1).
struct Home {
    world: World,
    registrar: NodeId,
    bob: NodeId,
}

impl Home {
    fn new() -> Self {
        Home::with(|_| {})
    }

    fn with(change: impl Fn(&mut Account)) -> Self {
        Home::configured(|config| config.accounts.iter_mut().for_each(&change))
    }

    fn configured(change: impl Fn(&mut Config)) -> Self {
        let mut world = crate::stage::world(3);
        let registrar = world.peer("registrar");
        let proxy = Proxy { host: "192.0.2.1".to_owned(), port: Some(5060), transport: Transport::Udp };
        let credentials =
            Credentials { username: "bob".to_owned(), password: "secret".to_owned().into(), realm: None };
        let mut config = config(BOB);
        let account = config.accounts.remove(0);
        let account =
            Account { proxy: Some(proxy), register: true, credentials: Some(credentials), ..account };
        config.accounts.push(account);
        config.instance = Some("urn:uuid:1".into());
        change(&mut config);
        let bob = world.client("bob", config);
        world.act(bob, |bob, now| bob.register(now, AccountId(0))).expect("register");
        Home { world, registrar, bob }
    }

    #[track_caller]
    fn register(&mut self) -> Mail {
        self.world.expect_request(self.registrar, "REGISTER")
    }

    fn answer(&mut self, request: &Mail, line: &str, rows: &str) {
        let script = Script::callee(&mut self.world, self.registrar, request.way, request.message());
        let response = script.respond(request.message(), line, rows, "");
        let response = response.replace("Contact: <sip:192.0.2.1:5060>\r\n", "");
        self.world.send(request.way, response);
    }

    /// 200 with the binding and this lifetime in seconds.
    fn bind(&mut self, request: &Mail, seconds: u32) {
        let contact = text::header(request.message(), "Contact").unwrap_or_default();
        let rows = format!("Contact: {contact};expires={seconds}\r\nP-Associated-URI: <{BOB}>\r\n");
        self.answer(request, "200 OK", &rows);
        self.world.run(0);
    }

    fn told(&self, fits: impl Fn(&What) -> bool) -> usize {
        self.world.client_at(self.bob).map_or(0, |bob| bob.told().filter(|what| fits(what)).count())
    }

    fn registered() -> Self {
        Home::registered_with(|_| {})
    }

    fn registered_with(change: impl Fn(&mut Account)) -> Self {
        let mut home = Home::with(change);
        let first = home.register();
        home.answer(&first, "401 Unauthorized", CHALLENGE);
        let second = home.register();
        home.bind(&second, 600);
        home
    }

    fn over(mut self) -> World {
        self.world
            .act(self.bob, |bob, now| {
                bob.shutdown(now);
                Ok(())
            })
            .expect("shutdown");
        let remove = self.register();
        self.bind(&remove, 0);
        finish(&mut self.world);
        self.world
    }
}

//= IM R-40 test
#[cfg_attr(test, test)]
pub(crate) fn challenged_answered_registered_and_removed() {
    let mut home = Home::new();
    let first = home.register();
    let contact = text::header(first.message(), "Contact").unwrap_or_default();
    let features = ";+g.oma.sip-im;+sip.instance=\"<urn:uuid:1>\";methods=\"INVITE,ACK,CANCEL,BYE,OPTIONS,PRACK,UPDATE,NOTIFY,MESSAGE\"";
    assert!(contact.ends_with(features), "{contact}");
    assert_eq!(text::start_line(first.message()), "REGISTER sip:example.net SIP/2.0");
    home.answer(&first, "401 Unauthorized", CHALLENGE);
    let second = home.register();
    let authorization = text::header(second.message(), "Authorization").unwrap_or_default();
    for part in [
        "username=\"bob\"",
        "realm=\"example.net\"",
        "nonce=\"n1\"",
        "algorithm=SHA-256",
        "qop=auth",
        "nc=00000001",
    ] {
        assert!(authorization.contains(part), "{part} in {authorization}");
    }
    assert_eq!(text::header(second.message(), "CSeq").as_deref(), Some("2 REGISTER"));
    home.bind(&second, 600);
    assert_eq!(home.told(|what| matches!(what, What::Registered { .. })), 1);
    assert_snapshot!(home.over().ladder());
}

#[cfg_attr(test, test)]
pub(crate) fn refreshed_before_it_expires() {
    let mut home = Home::registered();
    let refresh = loop {
        match home
            .world
            .mail_of(home.registrar)
            .into_iter()
            .find(|mail| text::method(mail.message()).is_some())
        {
            Some(mail) => break mail,
            None => assert!(home.world.step() && home.world.millis() < 600_000, "{}", home.world.ladder()),
        }
    };
    assert!((250_000..600_000).contains(&refresh.at.as_millis()), "at {} ms", refresh.at.as_millis());
    assert_eq!(text::method(refresh.message()).as_deref(), Some("REGISTER"));
    home.bind(&refresh, 600);
    home.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_stale_nonce_is_replaced_and_a_wrong_password_is_told() {
    let mut home = Home::new();
    for stale in ["n1", "n2"] {
        let register = home.register();
        let challenge = CHALLENGE.replace("n1", stale).replace("qop", "stale=true, qop");
        home.answer(&register, "401 Unauthorized", &challenge);
    }
    let third = home.register();
    assert!(
        text::header(third.message(), "Authorization").is_some_and(|value| value.contains("nonce=\"n2\""))
    );
    home.bind(&third, 600);
    home.over();

    let mut home = Home::new();
    for nonce in ["n1", "n2"] {
        let register = home.register();
        home.answer(&register, "401 Unauthorized", &CHALLENGE.replace("n1", nonce));
    }
    home.world.run(1000);
    assert_eq!(home.told(|what| matches!(what, What::RegistrationFailed { status: Some(401), .. })), 1);
}

#[cfg_attr(test, test)]
pub(crate) fn an_interval_that_is_too_brief_is_raised() {
    let mut home = Home::new();
    let first = home.register();
    home.answer(&first, "423 Interval Too Brief", "Min-Expires: 7200\r\n");
    let second = home.register();
    let asked = format!(
        "{} {}",
        text::header(second.message(), "Contact").unwrap_or_default(),
        text::header(second.message(), "Expires").unwrap_or_default()
    );
    assert!(asked.contains("7200"), "{asked}");
    home.bind(&second, 7200);
    home.over();
}

#[cfg_attr(test, test)]
pub(crate) fn a_registrar_that_is_never_content_is_left_alone_for_a_while() {
    for minima in
        [vec![7200, 7201, 7202], vec![7200, 7200], vec![3600], vec![86_401], vec![4_000_000_000_u32]]
    {
        let mut home = Home::new();
        for seconds in &minima {
            let register = home.register();
            home.answer(&register, "423 Interval Too Brief", &format!("Min-Expires: {seconds}\r\n"));
        }
        let now = home.world.millis();
        home.world.expect_nothing_to(home.registrar, now + 14_000);
        let backs_off = |what: &What| {
            matches!(what, What::RegistrationFailed { status: Some(423), why, retry: Some(_) }
                if why.starts_with("423 "))
        };
        assert_eq!(home.told(backs_off), 1, "{minima:?}");
        home.world.run_to(now + 30_000);
        let again = home.register();
        home.bind(&again, 86_400);
        home.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn failures_are_tried_again_ever_more_slowly() {
    let mut home = Home::new();
    let mut times = Vec::new();
    for _ in 0..4 {
        let register = loop {
            match home
                .world
                .mail_of(home.registrar)
                .into_iter()
                .find(|mail| text::method(mail.message()).is_some())
            {
                Some(mail) => break mail,
                None => assert!(home.world.step(), "it gave up\n{}", home.world.ladder()),
            }
        };
        times.push(register.at.as_millis());
        home.answer(&register, "500 Server Internal Error", "");
    }
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.first().is_some_and(|gap| *gap >= 10_000), "{gaps:?}");
    assert!(gaps.last() > gaps.first(), "{gaps:?}");
}

#[cfg_attr(test, test)]
pub(crate) fn forbidden_is_not_tried_again() {
    let mut home = Home::new();
    let register = home.register();
    home.answer(&register, "403 Forbidden", "");
    let _ = home.world.mail_of(home.registrar);
    home.world.run(Duration::from_secs(7200).as_millis().try_into().unwrap_or(0));
    let again = home.world.mail_of(home.registrar);
    assert!(
        again.iter().all(|mail| text::method(mail.message()).as_deref() != Some("REGISTER")),
        "{}",
        home.world.ladder()
    );
    assert_eq!(
        home.told(|what| matches!(what, What::RegistrationFailed { status: Some(403), retry: None, .. })),
        1
    );
}

//= IM X-2 test
#[cfg_attr(test, test)]
pub(crate) fn a_registered_account_is_called_by_its_registrar_only() {
    for (direct, status) in [(false, 403), (true, 180)] {
        let mut home = Home::registered_with(|account| account.direct = direct);
        let mallory = home.world.peer("mallory");
        for (caller, expected) in [(mallory, status), (home.registrar, 180)] {
            let way = home.world.udp(caller, home.bob);
            let mut script = Script::caller(&mut home.world, caller, way, BOB);
            home.world.send(way, script.invite());
            let refusal = |mail: &Mail| text::status(mail.message()).is_some_and(|status| status > 100);
            let answer = home.world.expect(caller, "an answer", refusal);
            assert_eq!(text::status(answer.message()), Some(expected));
            if expected == 180 {
                home.world.send(way, script.cancel());
                home.world.expect_status(caller, 487);
            }
            let ack = script.ack_refusal(answer.message());
            home.world.send(way, ack);
            home.world.run(100);
        }
        // What we can do is no secret.
        let way = home.world.udp(mallory, home.bob);
        let script = Script::caller(&mut home.world, mallory, way, BOB);
        home.world.send(way, script.request("OPTIONS", "z9hG4bK-o", "", ""));
        home.world.expect_status(mallory, 200);
        home.over();
    }
}

/// What Bob answers an unwanted caller who came by his registrar, which said this of itself.
fn unwanted(unwanted: Unwanted, direct: bool, caps: &str) -> u16 {
    let mut home = Home::configured(|config| {
        (config.unwanted, config.accounts[0].direct) = (unwanted, direct);
    });
    let first = home.register();
    home.answer(&first, "200 OK", caps);
    home.world.run(0);
    let node = if direct { home.world.peer("mallory") } else { home.registrar };
    let way = home.world.udp(node, home.bob);
    let script = Script::caller(&mut home.world, node, way, BOB);
    home.world.send(way, script.invite());
    home.world.expect_status(node, 180);
    let client = home.world.client_at(home.bob).expect("bob is a client");
    let session = client.last_session().expect("it rings");
    home.world.act(home.bob, |bob, now| bob.decline(now, session, Decline::Unwanted)).expect("it rings");
    let refusal = home
        .world
        .expect(node, "a refusal", |mail| text::status(mail.message()).is_some_and(|status| status >= 300));
    home.world.send(way, script.clone().ack_refusal(refusal.message()));
    home.world.run(0);
    home.over();
    text::status(refusal.message()).expect("a status")
}

//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn unwanted_is_607_by_way_of_a_registrar_that_takes_it() {
    let auto = |caps| unwanted(Unwanted::Auto, false, caps);
    for caps in [
        "Feature-Caps: *;+sip.607\r\n",
        "Feature-Caps: *;+g.3gpp.atcf=\"<tel:+1>\", *;+SIP.607\r\n",
        "Feature-Caps: *;+sip.x\r\nfeature-caps: *;+sip.y;+sip.607\r\n",
    ] {
        assert_eq!(auto(caps), 607, "{caps}");
    }
    for caps in
        ["", "Feature-Caps: *;+sip.606\r\n", "Feature-Caps: *;sip.607\r\n", "Feature-Caps: +sip.607\r\n"]
    {
        assert_eq!(auto(caps), 603, "{caps}");
    }
    let takes = "Feature-Caps: *;+sip.607\r\n";
    assert_eq!(
        unwanted(Unwanted::Auto, true, takes),
        603,
        "who calls directly is no business of the registrar's"
    );
    assert_eq!(unwanted(Unwanted::Decline, false, takes), 603);
    assert_eq!(unwanted(Unwanted::Unwanted, false, ""), 607);
}
