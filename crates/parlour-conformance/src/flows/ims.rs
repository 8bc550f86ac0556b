//! IMS: Bob is invited through the P-CSCF at which he has registered, or is configured to be known.

use std::net::IpAddr;

use parlour_proto::config::{Account, CoreKind, Hop, Proxy};
use parlour_proto::event::{Ended, Explain, Peer, What};
use parlour_proto::io::{AccountId, Transport};
use parlour_sim::{Mail, NodeId, Script, Way, World, text};

use crate::common::{config, finish};

const BOB: &str = "sip:bob@home.example";
const WORK: &str = "sip:bob-work@home.example";
const NETWORK: &str = "IEEE-802.3";
const ROUTE: &str = "<sip:orig@scscf.home.example;lr>";

/// What an S-CSCF and an IM Server leave in an INVITE on its way to the callee.
const ROWS: &str = "Via: SIP/2.0/UDP scscf.home.example:5060;branch=z9hG4bK-s;received=198.51.100.4\r\n\
    Via: SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bK-a;rport=5060\r\n\
    Record-Route: <sip:192.0.2.1;lr>\r\nRecord-Route: <sip:scscf.home.example;lr>\r\n\
    Accept-Contact: *;+g.oma.sip-im\r\nP-Asserted-Identity: \"Alice\" <sip:alice@home.example>, <tel:+15550111>\r\n\
    P-Called-Party-ID: <sip:bob-work@home.example>\r\nP-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.oma.im\r\n\
    P-Charging-Vector: icid-value=1234;icid-generated-at=192.0.2.1;orig-ioi=home.example\r\n\
    P-Charging-Function-Addresses: ccf=192.0.2.20\r\nP-Early-Media: supported\r\n\
    History-Info: <sip:bob@home.example>;index=1, <sip:bob-work@home.example>;index=1.1\r\n\
    Subject: lunch\r\n";

/// Bob (192.0.2.2) and his P-CSCF (192.0.2.1).
struct Ims {
    world: World,
    core: NodeId,
    bob: NodeId,
    way: Way,
    /// The Contact that Bob registered.
    contact: String,
}

impl Ims {
    /// Nothing is registered.
    fn new(change: impl Fn(&mut Account)) -> Self {
        Ims::with(vec![Hop { address: IpAddr::from([192, 0, 2, 1]), bits: 32 }], change)
    }

    fn with(trusted_hops: Vec<Hop>, change: impl Fn(&mut Account)) -> Self {
        let mut world = crate::stage::world(5);
        let core = world.peer("pcscf");
        let mut bob = config(BOB);
        bob.trusted_hops = trusted_hops;
        let account = &mut bob.accounts[0];
        account.core = CoreKind::Ims;
        account.proxy = Some(Proxy { host: "192.0.2.1".into(), port: None, transport: Transport::Udp });
        account.access_network = Some(NETWORK.into());
        change(account);
        let bob = world.client("bob", bob);
        let way = world.udp(core, bob);
        Ims { world, core, bob, way, contact: "sip:bob@192.0.2.2:5060".into() }
    }

    /// Registered for ten minutes, with two identities.
    fn registered() -> Self {
        let mut ims = Ims::new(|_| {});
        let register = ims.register();
        ims.contact = text::uri(&text::header(register.message(), "Contact").unwrap_or_default());
        ims.bind(&register, &format!("P-Associated-URI: <{BOB}>, <{WORK}>\r\nService-Route: {ROUTE}\r\n"));
        ims
    }

    fn register(&mut self) -> Mail {
        self.world.act(self.bob, |bob, now| bob.register(now, AccountId(0))).expect("register");
        self.world.expect_request(self.core, "REGISTER")
    }

    fn bind(&mut self, register: &Mail, rows: &str) {
        let contact = text::header(register.message(), "Contact").unwrap_or_default();
        self.answer(register, "200 OK", &format!("Contact: {contact};expires=600\r\n{rows}"));
    }

    fn answer(&mut self, request: &Mail, line: &str, rows: &str) {
        let script = Script::callee(&mut self.world, self.core, request.way, request.message());
        let response = script.respond(request.message(), line, rows, "");
        self.world.send(request.way, response.replace("Contact: <sip:192.0.2.1:5060>\r\n", ""));
        self.world.run(0);
    }

    /// Alice's INVITE as the core passes it on.
    fn caller(&mut self) -> Script {
        let mut script = Script::caller(&mut self.world, self.core, self.way, BOB);
        script.local = "\"Anyone\" <sip:anyone@elsewhere.example>".into();
        script.target.clone_from(&self.contact);
        script
    }

    #[track_caller]
    fn status(&mut self, status: u16) -> Mail {
        self.world.expect_status(self.core, status)
    }

    fn explained(&self, clause: &str) -> Vec<&Explain> {
        let events = self.world.client_at(self.bob).expect("bob").events.iter();
        events
            .filter_map(
                |(_, event)| if let What::Explain(explain) = &event.what { Some(explain) } else { None },
            )
            .filter(|explain| explain.clause == clause)
            .collect()
    }

    fn told(&self, fits: impl Fn(&What) -> bool) -> usize {
        self.world.client_at(self.bob).expect("bob").told().filter(|what| fits(what)).count()
    }

    #[track_caller]
    fn accept(&mut self) {
        let session = self.world.client_at(self.bob).expect("bob").last_session().expect("a session");
        self.world.act(self.bob, |bob, now| bob.accept(now, session)).expect("accepted");
    }

    /// Bob goes, and nothing is left of him.
    fn over(mut self) {
        let leave = self.world.act(self.bob, |bob, now| {
            bob.shutdown(now);
            Ok(())
        });
        leave.expect("shutdown");
        self.world.run(0);
        for mail in self.world.mail_of(self.core) {
            if text::method(mail.message()).as_deref() == Some("REGISTER") {
                self.bind(&mail, "");
            }
        }
        finish(&mut self.world);
    }

    /// The caller gives up what rings.
    fn cancel(&mut self, mut script: Script) {
        self.world.send(self.way, script.cancel());
        let cancelled = self.status(200);
        assert_eq!(row(&cancelled, "P-Access-Network-Info"), None, "never in a response to CANCEL");
        let refusal = self.status(487);
        let ack = script.ack_refusal(refusal.message());
        self.world.send(self.way, ack);
        self.world.run(0);
    }
}

fn row(mail: &Mail, name: &str) -> Option<String> {
    text::header(mail.message(), name)
}

//= IM G-9 test
//= IM R-31 test
//= IM R-54 test
//= IM R-55 test
//= IM R-65 test
//= IM G-8 test
#[cfg_attr(test, test)]
pub(crate) fn an_invitation_through_the_core_is_answered_as_the_identity_that_was_called() {
    let mut ims = Ims::registered();
    let mut script = ims.caller();
    ims.world.send(ims.way, script.invite_with(ROWS, &script.offer()));
    let ringing = ims.status(180);
    ims.accept();
    let answer = ims.status(200);
    for response in [&ringing, &answer] {
        assert_eq!(row(response, "P-Preferred-Identity").as_deref(), Some("<sip:bob-work@home.example>"));
        assert_eq!(row(response, "P-Access-Network-Info").as_deref(), Some(NETWORK));
        assert_eq!(row(response, "P-Called-Party-ID"), None, "inserting it is for proxies");
        assert_eq!(row(response, "P-Asserted-Identity"), None);
        assert_eq!(row(response, "P-Charging-Vector"), None);
        assert_eq!(text::uri(&row(response, "Contact").unwrap_or_default()), ims.contact);
        assert_eq!(text::headers(response.message(), "Via").len(), 3);
        assert_eq!(text::headers(response.message(), "Record-Route").len(), 2);
    }
    let [why] = ims.explained("R-54")[..] else { panic!("{}", ims.world.ladder()) };
    assert!(why.decision.contains(WORK), "{why:?}");
    let alice =
        Peer { address: "sip:alice@home.example".into(), display_name: Some("Alice".into()), verified: true };
    assert_eq!(ims.told(|what| matches!(what, What::Invited { peer, .. } if *peer == alice)), 1);
    let ack = script.ack(&mut ims.world, answer.message());
    ims.world.send(ims.way, ack);
    ims.world.run(0);
    // In the session, what we say is said by the identity that was called.
    let to = ims.world.address(ims.bob, 2855);
    let media = ims.world.open(ims.core, to, parlour_proto::io::Service::Msrp);
    ims.world.expect_opened(ims.core);
    ims.world.send(media, script.msrp_empty("bind1"));
    ims.status(200);
    let session = ims.world.client_at(ims.bob).expect("bob").last_session().expect("a session");
    ims.world.act(ims.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = ims.world.expect_request(ims.core, "BYE");
    assert_eq!(row(&bye, "P-Access-Network-Info").as_deref(), Some(NETWORK));
    assert_eq!(text::headers(bye.message(), "Route").len(), 2);
    ims.answer(&bye, "200 OK", "");
    ims.over();
}

//= IM R-31 test
//= IM R-53 test
//= IM R-54 test
#[cfg_attr(test, test)]
pub(crate) fn who_is_called_is_one_of_the_registered_identities_or_the_default_one() {
    let default = "<sip:bob@home.example>";
    let work = "<sip:bob-work@home.example>";
    for (to, called, expected) in [
        (BOB, WORK, work),
        (BOB, "sip:barred@home.example", default),
        // RFC 7315 4.2.2.1 does not help: To is next.
        (WORK, "sip:barred@home.example", work),
        ("tel:+15550100", "sip:", default),
    ] {
        let mut ims = Ims::registered();
        let mut script = ims.caller();
        script.remote = format!("<{to}>");
        let rows = format!("P-Called-Party-ID: <{called}>\r\n");
        ims.world.send(ims.way, script.invite_with(&rows, &script.offer()));
        let ringing = ims.status(180);
        assert_eq!(row(&ringing, "P-Preferred-Identity").as_deref(), Some(expected), "{to} {called}");
        script.learn(ringing.message());
        ims.cancel(script);
        ims.over();
    }
}

//= IM R-54 test
#[cfg_attr(test, test)]
pub(crate) fn outside_ims_nobody_says_who_was_called() {
    let mut ims = Ims::new(|account| {
        (account.core, account.direct) = (CoreKind::Generic, true);
        account.identities = vec![BOB.into(), WORK.into()];
    });
    let mut script = ims.caller();
    let rows = "P-Called-Party-ID: <sip:bob-work@home.example>\r\n";
    ims.world.send(ims.way, script.invite_with(rows, &script.offer()));
    let ringing = ims.status(180);
    assert_eq!(row(&ringing, "P-Preferred-Identity").as_deref(), Some("<sip:bob@home.example>"));
    assert_eq!(row(&ringing, "P-Access-Network-Info"), None, "where we are is told to an IMS core only");
    script.learn(ringing.message());
    ims.cancel(script);
    ims.over();
}

//= IM R-54 test
//= IM R-34 test
#[cfg_attr(test, test)]
pub(crate) fn a_registrar_that_is_not_trusted_does_not_say_who_was_called() {
    let mut ims = Ims::with(Vec::new(), |account| account.identities = vec![BOB.into(), WORK.into()]);
    let register = ims.register();
    ims.contact = text::uri(&row(&register, "Contact").unwrap_or_default());
    ims.bind(&register, &format!("P-Associated-URI: <{BOB}>, <{WORK}>\r\n"));
    let mut script = ims.caller();
    ims.world.send(ims.way, script.invite_with(ROWS, &script.offer()));
    let ringing = ims.status(180);
    for name in ["P-Preferred-Identity", "P-Access-Network-Info"] {
        assert_eq!(row(&ringing, name), None, "{name}");
    }
    let [why] = ims.explained("R-54")[..] else { panic!("{}", ims.world.ladder()) };
    assert!(why.decision.contains("does not count"), "{why:?}");
    script.learn(ringing.message());
    ims.cancel(script);
    ims.over();
}

//= IM R-65 test
//= IM X-2 test
#[cfg_attr(test, test)]
pub(crate) fn nobody_but_the_core_is_listened_to() {
    let direct = |account: &mut Account| account.direct = true;
    for mut ims in [Ims::registered(), Ims::new(direct)] {
        let mallory = ims.world.peer("mallory");
        let way = ims.world.udp(mallory, ims.bob);
        let mut script = Script::caller(&mut ims.world, mallory, way, BOB);
        ims.world.send(way, script.invite_with(ROWS, &script.offer()));
        let refusal = ims.world.expect_status(mallory, 403);
        assert_eq!(row(&refusal, "P-Access-Network-Info"), None);
        assert_eq!(row(&refusal, "P-Preferred-Identity"), None);
        let ack = script.ack_refusal(refusal.message());
        ims.world.send(way, ack);
        // Not even asked what he can do.
        let script = Script::caller(&mut ims.world, mallory, way, BOB);
        ims.world.send(way, script.request("OPTIONS", "z9hG4bK-o", "", ""));
        ims.world.expect_status(mallory, 403);
        assert_eq!(ims.explained("X-2").len(), 2);
        ims.world.run(40_000);
        ims.over();
    }
}

//= IM R-51 test
//= IM R-53 test
#[cfg_attr(test, test)]
pub(crate) fn service_route_and_identities_are_the_registrations_else_the_configured_ones() {
    let configured = |account: &mut Account| {
        account.service_route = vec!["sip:orig@configured.example;lr".into()];
        account.identities = vec![WORK.into()];
    };
    let invited = |ims: &mut Ims| {
        let to = "sip:alice@home.example";
        let id = ims.world.act(ims.bob, |bob, now| bob.invite(now, AccountId(0), to, None)).expect("invite");
        let invite = ims.world.expect_request(ims.core, "INVITE");
        ims.answer(&invite, "480 Temporarily Unavailable", "");
        let _ = id;
        let routes = text::headers(invite.message(), "Route");
        (routes, row(&invite, "P-Preferred-Identity").unwrap_or_default())
    };
    let proxy = "<sip:192.0.2.1;lr>".to_owned();
    let mut ims = Ims::new(configured);
    let before = (vec![proxy.clone(), "<sip:orig@configured.example;lr>".into()], format!("<{WORK}>"));
    assert_eq!(invited(&mut ims), before);
    let register = ims.register();
    assert_eq!(text::headers(register.message(), "Route"), vec![proxy.clone()], "not for REGISTER");
    ims.bind(&register, &format!("P-Associated-URI: <{BOB}>\r\nService-Route: {ROUTE}\r\n"));
    assert_eq!(invited(&mut ims), (vec![proxy.clone(), ROUTE.into()], format!("<{BOB}>")));
    // Each registration says it anew: without the row there is none.
    let register = ims.register();
    ims.bind(&register, "");
    assert_eq!(invited(&mut ims), (vec![proxy], format!("<{BOB}>")));
    ims.world.act(ims.bob, |bob, now| bob.unregister(now, AccountId(0))).expect("unregister");
    let remove = ims.world.expect_request(ims.core, "REGISTER");
    ims.bind(&remove, "");
    assert_eq!(invited(&mut ims), before);
    ims.over();
}

//= IM R-52 test
//= IM R-55 test
#[cfg_attr(test, test)]
pub(crate) fn a_first_register_tells_little_and_an_authenticated_one_where_we_are() {
    let mut ims = Ims::new(|account| {
        let password = "secret".to_owned().into();
        let credentials =
            parlour_proto::config::Credentials { username: "bob".into(), password, realm: None };
        account.credentials = Some(credentials);
    });
    let first = ims.register();
    assert_eq!(row(&first, "P-Access-Network-Info"), None);
    assert!(text::headers(first.message(), "Supported").iter().any(|tag| tag == "path"));
    assert_eq!(row(&first, "Path"), None, "proxies insert it");
    let challenge = "WWW-Authenticate: Digest realm=\"home.example\", nonce=\"n1\", qop=\"auth\"\r\n";
    ims.answer(&first, "401 Unauthorized", challenge);
    let second = ims.world.expect_request(ims.core, "REGISTER");
    assert_eq!(row(&second, "P-Access-Network-Info").as_deref(), Some(NETWORK));
    ims.bind(&second, "");
    ims.over();
}

//= IM R-66 test
#[cfg_attr(test, test)]
pub(crate) fn a_registration_that_is_lost_is_made_again_and_the_chat_goes_on() {
    for line in ["503 Service Unavailable", "408 Request Timeout", "403 Forbidden"] {
        let mut ims = Ims::registered();
        let mut script = ims.caller();
        ims.world.send(ims.way, script.invite_with(ROWS, &script.offer()));
        ims.status(180);
        ims.accept();
        let answer = ims.status(200);
        let ack = script.ack(&mut ims.world, answer.message());
        ims.world.send(ims.way, ack);
        let to = ims.world.address(ims.bob, 2855);
        let media = ims.world.open(ims.core, to, parlour_proto::io::Service::Msrp);
        ims.world.expect_opened(ims.core);
        ims.world.send(media, script.msrp_empty("bind1"));
        ims.status(200);
        let refresh = ims.register();
        ims.answer(&refresh, line, "");
        let failed = |what: &What| matches!(what, What::RegistrationFailed { .. });
        assert_eq!(ims.told(failed), 1);
        let ended = |what: &What| matches!(what, What::Ended(_));
        ims.world.send(media, script.msrp_send("tid1", "m1", "still here"));
        ims.status(200);
        assert_eq!(ims.told(ended), 0, "{line}");
        let hopeless = |what: &What| matches!(what, What::RegistrationFailed { retry: None, .. });
        let now = ims.world.millis();
        if line.starts_with("403") {
            assert_eq!(ims.told(hopeless), 1);
            ims.world.run(3_600_000 / 4);
            assert_eq!(ims.told(failed), 1, "not tried again");
        } else {
            assert_eq!(ims.told(hopeless), 0);
            ims.world.run_to(now + 40_000);
            let again = ims.world.expect_request(ims.core, "REGISTER");
            ims.bind(&again, "");
        }
        let bye = script.bye(&mut ims.world);
        ims.world.send(ims.way, bye);
        ims.status(200);
        ims.world.run(0);
        assert_eq!(ims.told(|what| matches!(what, What::Ended(Ended::PeerLeft))), 1, "{line}");
        ims.over();
    }
}

//= IM G-9 test
//= IM S-10 test
//= IM R-55 test
//= IM R-62 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_is_set_up_with_preconditions_through_the_core() {
    let mut ims = Ims::registered();
    let mut script = ims.caller();
    let reserved = |state: &str| {
        format!(
            "a=curr:qos local {state}\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\n\
             a=des:qos none remote sendrecv\r\n"
        )
    };
    let rows = format!("Require: precondition\r\nSupported: 100rel, precondition, replaces\r\n{ROWS}");
    let offer = script.offer();
    ims.world.send(ims.way, script.invite_with(&rows, &format!("{offer}{}", reserved("none"))));
    let progress = ims.status(183);
    let invited = |what: &What| matches!(what, What::Invited { .. });
    assert_eq!(ims.told(invited), 0, "nobody is alerted before the way is reserved");
    assert!(text::lossy(text::body(progress.message())).contains("a=conf:qos remote sendrecv"));
    assert_eq!(row(&progress, "P-Preferred-Identity").as_deref(), Some("<sip:bob-work@home.example>"));
    script.learn(progress.message());
    let prack = |ims: &mut Ims, script: &mut Script, provisional: &Mail| {
        let rack = format!("RAck: {} 1 INVITE\r\n", row(provisional, "RSeq").unwrap_or_default());
        let prack = script.next(&mut ims.world, "PRACK", &rack, "");
        ims.world.send(ims.way, prack);
        ims.status(200)
    };
    let acknowledged = prack(&mut ims, &mut script, &progress);
    let met = format!("{}{}", offer.replace("o=- 1 1 ", "o=- 1 2 "), reserved("sendrecv"));
    let contact = format!("Contact: <sip:{}>\r\n", script.host);
    let update = script.next(&mut ims.world, "UPDATE", &contact, &met);
    ims.world.send(ims.way, update);
    let updated = ims.status(200);
    assert_eq!(row(&updated, "CSeq").as_deref(), Some("3 UPDATE"));
    let ringing = ims.status(180);
    assert_eq!(ims.told(invited), 1);
    let rung = prack(&mut ims, &mut script, &ringing);
    ims.accept();
    let answer = ims.status(200);
    for response in [&progress, &acknowledged, &updated, &ringing, &rung, &answer] {
        assert_eq!(row(response, "P-Access-Network-Info").as_deref(), Some(NETWORK));
    }
    for response in [&progress, &updated, &ringing, &answer] {
        assert_eq!(text::uri(&row(response, "Contact").unwrap_or_default()), ims.contact);
    }
    let last = std::mem::replace(&mut script.cseq, 1);
    let ack = script.ack(&mut ims.world, answer.message());
    script.cseq = last;
    ims.world.send(ims.way, ack);
    ims.world.run(0);
    let bye = script.bye(&mut ims.world);
    ims.world.send(ims.way, bye);
    ims.status(200);
    ims.over();
}
