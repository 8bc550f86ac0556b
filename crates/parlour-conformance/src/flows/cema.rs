//! Addresses that somebody on the way has changed: CEMA (RFC 6714), and what is made of them without it (D-15, D-16).

use std::time::Duration;

use parlour_msrp::uri::MsrpPath;
use parlour_proto::client::{FileOffer, Misuse};
use parlour_proto::config::{Accept, ActpassAnswer, Cema, Config, Credentials, Hop, Proxy, Relays};
use parlour_proto::event::{Ended, Explain, FileNews, What};
use parlour_proto::io::{AccountId, Service, SourceId, Transport};
use parlour_proto::sdp::FileSelector;
use parlour_sim::{Mail, NodeId, Script, Way, World, certificate, text};

use crate::common::{BOB, Call, config, finish, text as words};
use crate::flows::secure::{fingerprint, speak_tls, tls_sdp, with_certificate};

const ALICE: &str = "sip:alice@192.0.2.1";
/// Alice is the first node of each world.
const AT_ALICE: NodeId = NodeId(0);
/// Where the middlebox is.
const BOX: &str = "192.0.2.3";

fn under(cema: Cema) -> Config {
    Config { cema, accept: Accept::All, ..config(BOB) }
}

/// A description as a middlebox passes it on: it has put its own address into `c=` and `m=`, and left the path.
fn rewritten(description: &str) -> String {
    let lines = description.lines().map(|line| match line {
        line if line.starts_with("c=IN IP4 ") => format!("c=IN IP4 {BOX}"),
        line if line.starts_with("m=message ") => line
            .split(' ')
            .enumerate()
            .map(|(at, word)| if at == 1 { "2855" } else { word })
            .collect::<Vec<_>>()
            .join(" "),
        line => line.to_owned(),
    });
    lines.map(|line| line + "\r\n").collect()
}

/// Alice, Bob, and a middlebox at the third node.
fn with_box(config: Config) -> (Call, NodeId) {
    let mut call = Call::new(config);
    let middlebox = call.world.peer("box");
    (call, middlebox)
}

/// What a client has explained.
#[expect(clippy::wildcard_enum_match_arm, reason = "of all that is told only this matters")]
fn explanations(world: &World, node: NodeId) -> Vec<Explain> {
    let events = world.client_at(node).expect("a client").events.iter();
    let explained = events.filter_map(|(_, event)| match &event.what {
        What::Explain(why) => Some(why.clone()),
        _ => None,
    });
    explained.collect()
}

/// What of it is for this clause.
fn explained(world: &World, node: NodeId, clause: &str) -> Vec<String> {
    let explained = explanations(world, node).into_iter().filter(|why| why.clause == clause);
    explained.map(|why| why.decision).collect()
}

fn has_cema(mail: &Mail) -> bool {
    text::lossy(text::body(mail.message())).contains("a=msrp-cema\r\n")
}

fn setup(mail: &Mail) -> String {
    text::attribute(mail.message(), "setup").unwrap_or_default()
}

fn line(mail: &Mail, start: &str) -> String {
    let body = text::lossy(text::body(mail.message()));
    body.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
}

fn sip(mail: &Mail, status: &str) -> bool {
    mail.message().starts_with(format!("SIP/2.0 {status} ").as_bytes())
}

/// Bob's first SEND, at whoever he has connected to: it is for Alice, whoever that is. It is answered.
#[track_caller]
fn binds_at(call: &mut Call, node: NodeId) -> Way {
    let way = call.world.expect_opened(node);
    let bind = call.world.expect_request(node, "SEND");
    assert_eq!(text::header(bind.message(), "To-Path"), Some(call.script.path.clone()));
    call.world.send(way, call.script.msrp_respond(bind.message(), "200 OK"));
    call.world.run(20);
    way
}

/// Alice connects, and binds.
#[track_caller]
fn alice_connects(call: &mut Call) -> Way {
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.world.expect(call.alice, "a 200", |mail| mail.message().starts_with(b"MSRP bind1 200"));
    media
}

/// A text of Bob, and one to him, over a connection that ends at `node`.
#[track_caller]
fn talk(call: &mut Call, node: NodeId, media: Way) {
    let session = call.session();
    let said = words("m1-id", "hello Alice");
    call.world.act(call.bob, |bob, now| bob.say(now, session, said)).expect("say");
    let send = call.world.expect_request(node, "SEND");
    assert_eq!(text::body(send.message()), b"hello Alice");
    call.world.send(send.way, call.script.msrp_respond(send.message(), "200 OK"));
    call.world.send(media, call.script.msrp_send("tid1", "hers-1", "hello Bob"));
    call.world.expect(node, "a 200", |mail| mail.message().starts_with(b"MSRP tid1 200"));
    assert_eq!(call.at_bob().stored_texts(), ["hello Bob"]);
}

#[track_caller]
fn ends(mut call: Call) -> String {
    call.bye();
    let ok = |mail: &Mail| text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(" BYE"));
    call.world.expect(call.alice, "200 to BYE", ok);
    finish(&mut call.world);
    call.world.ladder()
}

//= IM D-15 test
//= IM D-16 test
//= IM D-10 test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_that_was_rewritten_is_followed_refused_or_passed_over() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Then {
        /// Bob connects to the middlebox, having said that he knows CEMA, or not.
        Middlebox(bool),
        /// Bob connects to Alice.
        Path,
        /// Alice connects to Bob, who has said that he knows CEMA, or has not.
        Listens(bool),
        Refused,
    }
    use Then::{Listens, Middlebox, Path, Refused};
    let trusted = Hop { address: [192, 0, 2, 1].into(), bits: 32 };
    for (cema, hops, knows, said, then) in [
        (Cema::Strict, &[][..], true, "passive", Middlebox(true)),
        (Cema::Strict, &[], true, "active", Listens(true)),
        (Cema::Strict, &[], true, "actpass", Listens(true)),
        (Cema::Strict, &[], false, "passive", Refused),
        (Cema::Strict, &[], false, "active", Refused),
        (Cema::Lenient, &[], true, "passive", Middlebox(true)),
        (Cema::Lenient, &[], false, "passive", Middlebox(false)),
        (Cema::Lenient, &[], false, "active", Listens(false)),
        (Cema::Off, &[], true, "passive", Path),
        (Cema::Off, &[], false, "actpass", Listens(false)),
        (Cema::Auto, &[], true, "passive", Path),
        (Cema::Auto, &[trusted], true, "passive", Middlebox(true)),
        (Cema::Auto, &[trusted], false, "passive", Middlebox(false)),
    ] {
        let case = format!("{cema:?} {} {knows} {said}", !hops.is_empty());
        let (mut call, middlebox) = with_box(Config { trusted_hops: hops.to_vec(), ..under(cema) });
        let attribute = if knows { "a=msrp-cema\r\n" } else { "" };
        let offer = rewritten(&call.script.sdp(said, "text/plain")) + attribute;
        call.send(call.script.invite_with("", &offer));
        if then == Refused {
            let refusal = call.status(488);
            let warning = text::header(refusal.message(), "Warning").unwrap_or_default();
            assert!(warning.starts_with("306 ") && warning.contains("no msrp-cema"), "{case}: {warning}");
            call.ack_refusal(&refusal);
            assert_eq!(
                (call.invitations(), explained(&call.world, call.bob, "D-15").len()),
                (0, 1),
                "{case}"
            );
            call.over();
            continue;
        }
        let answer = call.status(200);
        call.ack(&answer);
        assert_eq!(has_cema(&answer), matches!(then, Middlebox(true) | Listens(true)), "{case}");
        let alice = call.alice;
        let (at, media) = match then {
            Middlebox(_) => (middlebox, binds_at(&mut call, middlebox)),
            Path | Refused => (alice, binds_at(&mut call, alice)),
            Listens(_) => (alice, alice_connects(&mut call)),
        };
        let clauses = ["D-15", "D-16"].map(|clause| explained(&call.world, call.bob, clause).len());
        assert_eq!(
            clauses,
            [usize::from(then == Middlebox(true)), usize::from(then == Middlebox(false))],
            "{case}"
        );
        talk(&mut call, at, media);
        ends(call);
    }
}

//= IM D-15 test
//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn a_later_offer_that_was_rewritten_is_refused_and_the_session_lives_on() {
    let (mut call, _) = with_box(under(Cema::Strict));
    call.send(call.script.invite_with("", &call.script.sdp("active", "text/plain")));
    let answer = call.status(200);
    call.ack(&answer);
    let media = alice_connects(&mut call);
    for method in ["INVITE", "UPDATE"] {
        let offer = rewritten(&call.script.sdp("active", "text/plain")).replace("o=- 1 1 ", "o=- 1 2 ");
        let contact = "Contact: <sip:192.0.2.1:5060>\r\n";
        let request = call.script.next(&mut call.world, method, contact, &offer);
        call.send(request);
        let refusal = call.status(488);
        assert!(
            text::header(refusal.message(), "Warning").is_some_and(|warning| warning.starts_with("306 "))
        );
        if method == "INVITE" {
            let ack = call.script.clone().ack_refusal(refusal.message());
            call.send(ack);
            call.world.run(10);
        }
    }
    talk(&mut call, AT_ALICE, media);
    ends(call);
}

/// Two clients, and a middlebox between them that rewrites `c=` and `m=` of what it passes on, both ways, and connects
/// onwards when it is connected to.
fn through_a_middlebox(carols_word: ActpassAnswer) -> String {
    let mut world = crate::stage::world(7);
    let (_, bob, middlebox) =
        (world.peer("nobody"), world.client("bob", under(Cema::Strict)), world.peer("box"));
    let carol = Config { actpass_answer: carols_word, ..under(Cema::Strict) };
    let carol = world.client("carol", Config { accounts: config("sip:carol@192.0.2.4").accounts, ..carol });
    let hop = Proxy { host: BOX.to_owned(), port: None, transport: Transport::Udp };
    let invited = world.act(bob, |bob, now| bob.invite(now, AccountId(0), "sip:carol@192.0.2.4", Some(hop)));
    let session = invited.expect("invite");
    let invite = world.expect_request(middlebox, "INVITE");
    assert!(has_cema(&invite) && setup(&invite) == "actpass");
    let at_bob = Script::callee(&mut world, middlebox, invite.way, invite.message());
    let onwards = world.udp(middlebox, carol);
    let mut at_carol = Script::caller(&mut world, middlebox, onwards, "sip:carol@192.0.2.4");
    let offer = rewritten(&text::lossy(text::body(invite.message())));
    world.send(onwards, at_carol.invite_with("", &offer));
    let answer = world.expect(middlebox, "Carol's 200", |mail| sip(mail, "200"));
    let ack = at_carol.ack(&mut world, answer.message());
    world.send(onwards, ack);
    let back = rewritten(&text::lossy(text::body(answer.message())));
    world.send(invite.way, at_bob.respond(invite.message(), "200 OK", "", &back));
    world.expect_request(middlebox, "ACK");
    // Whoever is active comes to the middlebox, and from there to the other one's own address.
    let near = world.expect_opened(middlebox);
    let callee_connects = setup(&answer) == "active";
    let listener = world.address(if callee_connects { bob } else { carol }, 2855);
    let far = world.open(middlebox, listener, Service::Msrp);
    world.act(bob, |bob, now| bob.say(now, session, words("b1-id", "from Bob"))).expect("say");
    let hers = world.client_at(carol).and_then(|carol| carol.last_session()).expect("Carol's session");
    world.act(carol, |carol, now| carol.say(now, hers, words("c1-id", "from Carol"))).expect("say");
    for _ in 0..20 {
        world.run(10);
        for mail in world.mail_of(middlebox) {
            if mail.way == near {
                world.send(far, mail.message());
            } else if mail.way == far {
                world.send(near, mail.message());
            }
        }
    }
    let texts = |node| world.client_at(node).expect("a client").stored_texts();
    assert_eq!((texts(bob), texts(carol)), (vec!["from Carol".to_owned()], vec!["from Bob".to_owned()]));
    world.act(bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = world.expect_request(middlebox, "BYE");
    world.send(bye.way, at_bob.respond(bye.message(), "200 OK", "", ""));
    let bye = at_carol.bye(&mut world);
    world.send(onwards, bye);
    finish(&mut world);
    world.ladder()
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn two_clients_talk_through_a_middlebox_that_knows_no_msrp() {
    assert_snapshot!(through_a_middlebox(ActpassAnswer::Passive));
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn the_answerer_may_be_the_one_who_connects_to_the_middlebox() {
    let ladder = through_a_middlebox(ActpassAnswer::Active);
    let opened: Vec<_> = ladder.lines().filter(|line| line.contains("MSRP connection")).collect();
    assert!(opened.len() <= 2, "{ladder}");
}

/// Bob invites Alice, who answers without CEMA, through the middlebox; Bob has made his second offer.
#[track_caller]
fn offered_again(config: Config, setup: &str) -> (Call, NodeId, Mail, Mail) {
    let (mut call, middlebox, first) = answered_without(config, setup);
    let second = call.request("INVITE");
    assert_eq!((has_cema(&first), has_cema(&second)), (true, false));
    (call, middlebox, first, second)
}

/// Bob invites Alice, who answers without CEMA, through the middlebox. Bob has acknowledged that.
#[track_caller]
fn answered_without(config: Config, setup: &str) -> (Call, NodeId, Mail) {
    let (mut call, middlebox) = with_box(config);
    call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), ALICE, None)).expect("invite");
    let invite = call.request("INVITE");
    call.script = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
    let answer = rewritten(&call.script.sdp(setup, "text/plain"));
    call.send(call.script.respond(invite.message(), "200 OK", "", &answer));
    call.request("ACK");
    (call, middlebox, invite)
}

fn version(mail: &Mail) -> (String, u64) {
    let origin = line(mail, "o=");
    let mut parts = origin.split(' ').skip(1).map(str::to_owned);
    let id = parts.next().unwrap_or_default();
    (id, parts.next().and_then(|version| version.parse().ok()).unwrap_or_default())
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn where_cema_cannot_work_the_offer_is_made_again_without() {
    let (mut call, middlebox, first, second) = offered_again(under(Cema::Strict), "active");
    // RFC 3264 8: the same session, one version on. RFC 6135 4.2.2: who connects is open again.
    let ((id, before), (same, after)) = (version(&first), version(&second));
    assert_eq!((same, after, setup(&second).as_str()), (id, before + 1, "actpass"));
    let path = |mail: &Mail| text::attribute(mail.message(), "path");
    assert_eq!(path(&second), path(&first), "nobody has to look for us elsewhere");
    // RFC 6714 6.2: the middlebox answers for itself now.
    let theirs = call.script.path.replace("192.0.2.1", BOX);
    let answer = call.script.sdp("passive", "text/plain").replace(&call.script.path, &theirs);
    let answer = rewritten(&answer).replace("o=- 1 1 ", "o=- 1 2 ");
    call.script.path = theirs;
    call.send(call.script.respond(second.message(), "200 OK", "", &answer));
    call.request("ACK");
    let media = binds_at(&mut call, middlebox);
    talk(&mut call, middlebox, media);
    assert_eq!(explained(&call.world, call.bob, "D-15").len(), 1);
    assert_snapshot!(ends(call));
}

//= IM D-15 test
//= IM D-10 test
#[cfg_attr(test, test)]
pub(crate) fn the_second_answer_says_anew_who_connects() {
    let (mut call, _, _, second) = offered_again(under(Cema::Strict), "active");
    let answer = call.script.sdp("passive", "text/plain").replace("o=- 1 1 ", "o=- 1 2 ");
    call.send(call.script.respond(second.message(), "200 OK", "", &answer));
    call.request("ACK");
    let media = binds_at(&mut call, AT_ALICE);
    talk(&mut call, AT_ALICE, media);
    ends(call);
}

//= IM D-15 test
//= IM S-1a test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_in_our_200_is_made_again_too() {
    let (mut call, _) = with_box(under(Cema::Strict));
    call.send(call.script.invite_with("", ""));
    let first = call.status(200);
    assert!(has_cema(&first));
    call.script.learn(first.message());
    let answer = rewritten(&call.script.sdp("active", "text/plain"));
    let ack = call.script.request("ACK", "z9hG4bK-ack-own", "", &answer);
    call.send(ack);
    let second = call.request("INVITE");
    assert!(!has_cema(&second));
    // Who called us without an offer has us connect to himself alone, also when he answers for the second time.
    let answer = rewritten(&call.script.sdp("passive", "text/plain")).replace("o=- 1 1 ", "o=- 1 2 ");
    let answer = answer.replace("a=path:msrp://192.0.2.1", &format!("a=path:msrp://{BOX}"));
    call.send(call.script.respond(second.message(), "200 OK", "", &answer));
    call.request("ACK");
    let bye = call.request("BYE");
    call.send(call.script.respond(bye.message(), "200 OK", "", ""));
    call.world.run(100);
    assert!(call.times("connect Msrp").is_empty(), "{}", call.world.ladder());
    call.over();
}

//= IM D-15 test
//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn a_second_offer_that_meets_one_of_the_peer_is_made_once_more() {
    let (mut call, _, _, mut second) = offered_again(under(Cema::Strict), "active");
    for tries in 1..=4 {
        let refused = call.world.millis();
        call.send(call.script.respond(second.message(), "491 Request Pending", "", ""));
        call.request("ACK");
        if tries == 4 {
            break;
        }
        second = call.request("INVITE");
        assert!(!has_cema(&second));
        // RFC 3261 14.1: who chose the Call-ID.
        let waited = second.at.as_millis() - refused;
        assert!((2_100..=4_000).contains(&waited), "{waited}");
    }
    // Four times are enough. The session is as it was, and the path leads to Bob.
    call.world.run(5_000);
    let invites = call.world.rows().iter().filter(|row| row.label == "INVITE");
    assert_eq!(invites.count(), 5);
    let media = alice_connects(&mut call);
    talk(&mut call, AT_ALICE, media);
    ends(call);
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_refused_second_offer_leaves_the_session_to_the_path() {
    for (status, connects) in
        [("488 Not Acceptable Here", true), ("500 Server Error", true), ("488 No", false)]
    {
        let (mut call, _, _, second) = offered_again(under(Cema::Strict), "active");
        call.send(call.script.respond(second.message(), status, "", ""));
        call.request("ACK");
        call.world.run(20);
        assert_eq!(explained(&call.world, call.bob, "D-15").len(), 2);
        if connects {
            let media = alice_connects(&mut call);
            talk(&mut call, AT_ALICE, media);
            ends(call);
            continue;
        }
        // Nobody comes: what is tried then is without CEMA as well.
        call.world.run(40_000);
        let mend = call.request("INVITE");
        assert!(!has_cema(&mend));
        assert_ne!(text::attribute(mend.message(), "path"), text::attribute(second.message(), "path"));
        call.send(call.script.respond(mend.message(), "481 No Such Call", "", ""));
        call.world.run(60_000);
        let lost = |what: &What| matches!(what, What::Ended(Ended::Lost { .. } | Ended::MediaFailed { .. }));
        assert!(call.at_bob().told().any(lost));
        call.over();
    }
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_that_the_peer_has_lost_ends_with_the_second_offer() {
    let (mut call, _, _, second) = offered_again(under(Cema::Strict), "active");
    call.send(call.script.respond(second.message(), "481 No Such Call", "", ""));
    call.world.run(100);
    assert!(call.at_bob().told().any(|what| matches!(what, What::Ended(Ended::Lost { .. }))));
    call.over();
}

//= IM D-15 test
//= IM D-16 test
#[cfg_attr(test, test)]
pub(crate) fn lenient_waits_and_offers_without_only_if_nobody_comes() {
    for comes in [true, false] {
        let (mut call, ..) = answered_without(under(Cema::Lenient), "active");
        // By c= and m= of our offer, as OMA's gateways have it, or not at all.
        if comes {
            let media = alice_connects(&mut call);
            talk(&mut call, AT_ALICE, media);
            call.nothing_to(call.world.millis() + 60_000);
            ends(call);
            continue;
        }
        call.nothing_to(call.world.millis() + 25_000);
        call.world.run(10_000);
        let mend = call.request("INVITE");
        assert!(!has_cema(&mend));
        call.script.peer_path = text::attribute(mend.message(), "path").unwrap_or_default();
        let answer = call.script.sdp("active", "text/plain").replace("o=- 1 1 ", "o=- 1 2 ");
        call.send(call.script.respond(mend.message(), "200 OK", "", &answer));
        call.request("ACK");
        let media = alice_connects(&mut call);
        talk(&mut call, AT_ALICE, media);
        ends(call);
    }
}

//= IM D-15 test
//= IM D-16 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_of_one_who_listens_is_followed_to_the_middlebox() {
    for (cema, attribute, at_box) in [
        (Cema::Strict, "a=msrp-cema\r\n", true),
        (Cema::Strict, "", true),
        (Cema::Lenient, "", true),
        (Cema::Off, "a=msrp-cema\r\n", false),
    ] {
        let (mut call, middlebox) = with_box(under(cema));
        call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), ALICE, None)).expect("invite");
        let invite = call.request("INVITE");
        assert_eq!(has_cema(&invite), cema != Cema::Off);
        call.script = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
        let answer = rewritten(&call.script.sdp("passive", "text/plain")) + attribute;
        call.send(call.script.respond(invite.message(), "200 OK", "", &answer));
        call.request("ACK");
        let at = if at_box { middlebox } else { call.alice };
        let media = binds_at(&mut call, at);
        talk(&mut call, at, media);
        ends(call);
    }
}

/// Alice's description with a name for the host of her path.
fn named(call: &Call, setup: &str) -> String {
    let description = call.script.sdp(setup, "text/plain");
    description.replace("a=path:msrp://192.0.2.1:", "a=path:msrp://alice.test:")
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn names_are_looked_up_before_an_offer_is_judged() {
    let at = |address: &str| address.parse().expect("an address");
    for (found, taken) in
        [(&[at("2001:db8::1"), at("192.0.2.1")][..], true), (&[at("192.0.2.9")], false), (&[], false)]
    {
        let mut call = Call::new(under(Cema::Strict));
        call.world.look_up = Duration::from_millis(900);
        call.world.name("alice.test", found);
        let offer = named(&call, "active");
        call.send(call.script.invite_with("", &offer));
        call.world.run(899);
        assert_eq!(call.invitations(), 0, "nobody has judged it yet");
        if taken {
            let answer = call.status(200);
            call.ack(&answer);
            alice_connects(&mut call);
            // All decisions about an invitation are told as such, the late ones too.
            let mut explained = explanations(&call.world, call.bob).into_iter();
            let about = |why: &Explain| why.invitation.as_ref().is_some_and(|it| it.number == 1);
            assert!(explained.all(|why| !["D-15", "S-1"].contains(&why.clause) || about(&why)));
            ends(call);
        } else {
            call.refused(488);
            assert_eq!(call.invitations(), 0);
            call.over();
        }
    }
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn an_invitation_that_waits_for_a_name_can_be_cancelled() {
    let mut call = Call::new(under(Cema::Strict));
    call.world.look_up = Duration::from_millis(900);
    call.world.name("alice.test", &["192.0.2.1".parse().expect("an address")]);
    let offer = named(&call, "active");
    call.send(call.script.invite_with("", &offer));
    call.status(100);
    call.send(call.script.cancel());
    call.refused(487);
    call.world.expect(call.alice, "200 to CANCEL", |mail| {
        text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(" CANCEL"))
    });
    call.world.run(5_000);
    assert_eq!(call.invitations(), 0);
    call.over();
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn an_invitation_that_waits_for_a_name_is_refused_by_one_who_leaves() {
    let mut call = Call::new(under(Cema::Strict));
    call.world.look_up = Duration::from_millis(900);
    let offer = named(&call, "active");
    call.send(call.script.invite_with("", &offer));
    call.status(100);
    let leaves = call.world.act(call.bob, |bob, now| {
        bob.shutdown(now);
        Ok::<(), Misuse>(())
    });
    leaves.expect("it always works");
    call.refused(480);
    call.world.run(5_000);
    assert_eq!(call.invitations(), 0);
    call.over();
}

/// Alice, to whom Bob is connected, offers another path with a name in it, in a re-INVITE.
fn moves_to_a_name(call: &mut Call) {
    call.script.path = call.script.path.replace("/session", "/another");
    let offer = named(call, "passive").replace("o=- 1 1 ", "o=- 1 2 ");
    let reinvite = call.script.next(&mut call.world, "INVITE", "", &offer);
    call.send(reinvite);
}

/// Alice waits for Bob's connection, and answers his first SEND.
fn bob_connects(call: &mut Call) -> Way {
    let media = call.world.expect_opened(call.alice);
    let bind = call.request("SEND");
    call.world.send(media, call.script.msrp_respond(bind.message(), "200 OK"));
    call.world.run(50);
    media
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn names_are_looked_up_before_a_later_offer_is_judged_in_an_invite() {
    let at = |address: &str| address.parse().expect("an address");
    for (found, taken) in [("192.0.2.1", true), ("192.0.2.9", false)] {
        let mut call = Call::new(under(Cema::Strict));
        call.world.look_up = Duration::from_millis(900);
        call.world.name("alice.test", &[at(found)]);
        let offer = call.script.sdp("passive", "text/plain");
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.script.learn(answer.message());
        call.ack(&answer);
        let old = bob_connects(&mut call);
        let sent = call.world.millis();
        moves_to_a_name(&mut call);
        // RFC 3311 5.2, RFC 3261 14.2: what comes meanwhile has to wait.
        call.world.run(300);
        let branch = call.script.branch.clone();
        let update = call.script.next(&mut call.world, "UPDATE", "", &offer);
        call.send(update);
        call.status(500);
        call.script.branch = branch;
        if taken {
            let answer = call.status(200);
            assert!(answer.at.as_millis() >= sent + 900, "{}", call.world.ladder());
            call.ack(&answer);
            let media = bob_connects(&mut call);
            assert!(media != old, "by the new path");
        } else {
            let refusal = call.status(488);
            assert!(text::header(refusal.message(), "Warning").is_some_and(|it| it.contains("msrp-cema")));
            call.ack_refusal(&refusal);
        }
        call.bye();
        call.world.expect(call.alice, "200 to BYE", |mail| {
            text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(" BYE"))
        });
        call.over();
    }
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_later_offer_that_waits_for_a_name_can_be_cancelled_and_ends_with_its_session() {
    for by_cancel in [true, false] {
        let mut call = Call::new(under(Cema::Strict));
        call.world.look_up = Duration::from_millis(900);
        call.world.name("alice.test", &["192.0.2.1".parse().expect("an address")]);
        let offer = call.script.sdp("passive", "text/plain");
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.script.learn(answer.message());
        call.ack(&answer);
        bob_connects(&mut call);
        moves_to_a_name(&mut call);
        call.status(100);
        let branch = call.script.branch.clone();
        if by_cancel {
            call.send(call.script.cancel());
        } else {
            call.bye();
        }
        call.script.branch = branch;
        let terminated = call.status(487);
        call.ack_refusal(&terminated);
        let method = if by_cancel { " CANCEL" } else { " BYE" };
        call.world.expect(call.alice, "200", |mail| {
            text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(method))
        });
        // What is found afterwards changes nothing.
        if by_cancel {
            let now = call.world.millis();
            call.nothing_to(now + 2_000);
            call.bye();
            call.status(200);
        }
        call.over();
    }
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn names_of_an_answer_are_looked_up_before_the_second_offer() {
    for (found, again) in [("192.0.2.1", false), ("192.0.2.9", true)] {
        let mut call = Call::new(under(Cema::Strict));
        call.world.name("alice.test", &[found.parse().expect("an address")]);
        call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), ALICE, None)).expect("invite");
        let invite = call.request("INVITE");
        call.script = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
        let answer = named(&call, "active");
        call.script.path = call.script.path.replace("192.0.2.1:", "alice.test:");
        call.send(call.script.respond(invite.message(), "200 OK", "", &answer));
        call.request("ACK");
        if again {
            let second = call.request("INVITE");
            assert!(!has_cema(&second));
            let answer = answer.replace("o=- 1 1 ", "o=- 1 2 ");
            call.send(call.script.respond(second.message(), "200 OK", "", &answer));
            call.request("ACK");
        }
        let media = alice_connects(&mut call);
        talk(&mut call, AT_ALICE, media);
        let invites = call.world.rows().iter().filter(|row| row.label == "INVITE").count();
        assert_eq!(invites, 1 + usize::from(again));
        ends(call);
    }
}

//= IM D-15 test
//= IM D-20 test
#[cfg_attr(test, test)]
pub(crate) fn tls_goes_through_a_middlebox_and_ends_at_the_peer() {
    // The middlebox passes octets on, so it shows Alice's certificate; or it ends TLS itself, and nobody is taken in.
    for end_to_end in [true, false] {
        let (mut call, middlebox) = with_box(with_certificate(under(Cema::Strict)));
        call.world.does_tls_at(middlebox, 2855);
        if end_to_end {
            call.world.shows(middlebox, Some(&certificate("alice")));
        }
        let offer = rewritten(&tls_sdp(&call, "passive", &fingerprint("alice"))) + "a=msrp-cema\r\n";
        speak_tls(&mut call);
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        assert!(has_cema(&answer));
        call.ack(&answer);
        if end_to_end {
            let media = binds_at(&mut call, middlebox);
            talk(&mut call, middlebox, media);
            ends(call);
        } else {
            call.world.expect_opened(middlebox);
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
            call.world.run(100);
            assert!(call.at_bob().told().any(|what| matches!(what, What::Impostor { .. })));
            assert!(
                !call.world.rows().iter().any(|row| row.to == middlebox && row.label.starts_with("SEND"))
            );
            call.over();
        }
    }
}

//= IM D-15 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_behind_a_relay_is_met_by_c_and_m_only_if_we_connect() {
    const RELAYED: &str = "msrp://192.0.2.1:2857/relay;tcp msrp://198.51.100.9:7/peer;tcp";
    for (said, cema, answered) in
        [("actpass", true, "active"), ("passive", true, "active"), ("active", false, "passive")]
    {
        let (mut call, middlebox) = with_box(under(Cema::Strict));
        let offer = rewritten(&call.script.sdp(said, "text/plain").replace(&call.script.path, RELAYED));
        call.script.path = RELAYED.to_owned();
        call.send(call.script.invite_with("", &(offer + "a=msrp-cema\r\n")));
        let answer = call.status(200);
        assert_eq!((has_cema(&answer), setup(&answer).as_str()), (cema, answered), "{said}");
        call.ack(&answer);
        if cema {
            binds_at(&mut call, middlebox);
        } else {
            // Whoever comes for Alice comes from her relay.
            let media = call.connect();
            call.world.send(media, call.script.msrp_empty("bind1"));
            call.world.expect(call.alice, "a 200", |mail| mail.message().starts_with(b"MSRP bind1 200"));
        }
        ends(call);
    }
}

/// Bob behind a relay, the fourth node, which asks for no password.
fn behind_a_relay() -> (Call, NodeId, NodeId) {
    let mut config = under(Cema::Strict);
    let chain = MsrpPath::parse("msrp://192.0.2.4:2855;tcp").expect("a path");
    let credentials =
        Credentials { username: "bob".to_owned(), password: "x".to_owned().into(), realm: None };
    let relays = Relays { chain, credentials, required: true, insecure: true };
    config.accounts.iter_mut().for_each(|account| account.relays = Some(relays.clone()));
    let (mut call, middlebox) = with_box(config);
    let relay = call.world.peer("relay");
    (call, middlebox, relay)
}

const LENT: &str = "msrp://192.0.2.4:2855/lent;tcp";

/// The relay lends its URI.
#[track_caller]
fn lends(call: &mut Call, relay: NodeId) -> String {
    let auth = call.world.expect_request(relay, "AUTH");
    let row = |name| text::header(auth.message(), name).unwrap_or_default();
    let (tid, own, to) =
        (text::transaction(auth.message()).unwrap_or_default(), row("From-Path"), row("To-Path"));
    let rows = format!("Use-Path: {LENT}\r\nExpires: 900\r\n");
    let ok = format!("MSRP {tid} 200 OK\r\nTo-Path: {own}\r\nFrom-Path: {to}\r\n{rows}-------{tid}$\r\n");
    call.world.send(auth.way, ok);
    own
}

//= IM D-15 test
//= IM M-21 test
#[cfg_attr(test, test)]
pub(crate) fn behind_a_relay_of_ours_we_are_passive_or_without_cema() {
    const THEIRS: &str = "msrp://192.0.2.1:2857/relay;tcp msrp://198.51.100.9:7/peer;tcp";
    for (said, relayed, cema) in [
        ("actpass", false, true),
        ("active", false, true),
        ("passive", false, false),
        ("actpass", true, false),
    ] {
        let (mut call, _, relay) = behind_a_relay();
        let offer = rewritten(&call.script.sdp(said, "text/plain")) + "a=msrp-cema\r\n";
        let offer = if relayed { offer.replace(&call.script.path, THEIRS) } else { offer };
        call.send(call.script.invite_with("", &offer));
        let own = lends(&mut call, relay);
        let answer = call.status(200);
        call.ack(&answer);
        let case = format!("{said} {relayed}");
        assert_eq!(has_cema(&answer), cema, "{case}");
        assert_eq!(text::attribute(answer.message(), "path"), Some(format!("{LENT} {own}")), "{case}");
        if cema {
            // RFC 6714 4.3: where the relay is.
            let body = text::lossy(text::body(answer.message()));
            let place = "m=message 2855 TCP/MSRP *\r\nc=IN IP4 192.0.2.4\r\n";
            assert!(body.contains(place) && setup(&answer) == "passive", "{case}: {body}");
        }
        // Messages go by the path whatever was agreed on, as it is the relay that connects.
        call.world.run(50);
        assert!(!call.world.rows().iter().any(|row| row.label.starts_with("SEND") && row.to != relay));
        ends(call);
    }
}

//= IM D-15 test
//= IM M-21 test
#[cfg_attr(test, test)]
pub(crate) fn a_relay_of_ours_that_would_have_to_connect_to_a_middlebox_takes_a_second_offer() {
    for (setup_said, attribute, again) in
        [("passive", "", true), ("active", "", true), ("active", "a=msrp-cema\r\n", false)]
    {
        let (mut call, _, relay) = behind_a_relay();
        call.world.act(call.bob, |bob, now| bob.invite(now, AccountId(0), ALICE, None)).expect("invite");
        let own = lends(&mut call, relay);
        let invite = call.request("INVITE");
        let body = text::lossy(text::body(invite.message()));
        let place = "m=message 2855 TCP/MSRP *\r\nc=IN IP4 192.0.2.4\r\n";
        assert!(body.contains(place) && has_cema(&invite) && setup(&invite) == "actpass", "{body}");
        call.script = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
        let answer = rewritten(&call.script.sdp(setup_said, "text/plain")) + attribute;
        call.send(call.script.respond(invite.message(), "200 OK", "", &answer));
        call.request("ACK");
        if again {
            let second = call.request("INVITE");
            let path = text::attribute(second.message(), "path");
            assert_eq!((has_cema(&second), path), (false, Some(format!("{LENT} {own}"))), "{setup_said}");
            assert!(!text::lossy(text::body(second.message())).contains("c=IN IP4 192.0.2.4"));
            let answer = call.script.sdp(setup_said, "text/plain").replace("o=- 1 1 ", "o=- 1 2 ");
            call.send(call.script.respond(second.message(), "200 OK", "", &answer));
            call.request("ACK");
        }
        call.world.run(100);
        let invites = call.world.rows().iter().filter(|row| row.label == "INVITE").count();
        assert_eq!(invites, 1 + usize::from(again), "{setup_said}");
        ends(call);
    }
}

//= IM D-15 test
//= IM D-42 test
#[cfg_attr(test, test)]
pub(crate) fn files_are_offered_again_without_as_well() {
    for (path_of_the_box, connects) in [(true, false), (false, true)] {
        let (mut call, middlebox) = with_box(under(Cema::Strict));
        let selector = FileSelector {
            name: Some("a.txt".to_owned()),
            media_type: Some("text/plain".to_owned()),
            size: Some(5),
            hashes: Vec::new(),
        };
        let bob = call.bob_mut();
        bob.sources.insert(SourceId(1), b"hello".to_vec());
        let file = FileOffer { selector, source: Some(SourceId(1)), skip: 0, modified: None, icon: None };
        let offered =
            call.world.act(call.bob, |bob, now| bob.offer_files(now, AccountId(0), ALICE, None, vec![file]));
        let (_, files) = offered.expect("an offer");
        let invite = call.request("INVITE");
        call.script = Script::callee(&mut call.world, call.alice, invite.way, invite.message());
        let id = text::attribute(invite.message(), "file-transfer-id").unwrap_or_default();
        let selector = text::attribute(invite.message(), "file-selector").unwrap_or_default();
        let line = format!("a=recvonly\r\na=file-transfer-id:{id}\r\na=file-selector:{selector}\r\n");
        let answer = call.script.sdp("active", "*") + &line;
        call.send(call.script.respond(invite.message(), "200 OK", "", &rewritten(&answer)));
        call.request("ACK");
        let second = call.request("INVITE");
        assert_eq!((has_cema(&invite), has_cema(&second)), (true, false));
        let (mut again, theirs) =
            (answer.replace("o=- 1 1 ", "o=- 1 2 "), call.script.path.replace("192.0.2.1", BOX));
        if path_of_the_box {
            again = rewritten(&again.replace(&call.script.path, &theirs))
                .replace("setup:active", "setup:passive");
            call.script.path = theirs;
        }
        call.send(call.script.respond(second.message(), "200 OK", "", &again));
        call.request("ACK");
        let at = if connects { AT_ALICE } else { middlebox };
        if connects {
            alice_connects(&mut call);
        } else {
            call.world.expect_opened(middlebox);
        }
        let send = call.world.expect(at, "the file", |mail| text::body(mail.message()) == b"hello");
        assert_eq!(text::header(send.message(), "To-Path"), Some(call.script.path.clone()));
        call.world.send(send.way, call.script.msrp_respond(send.message(), "200 OK"));
        let bye = call.request("BYE");
        call.send(call.script.respond(bye.message(), "200 OK", "", ""));
        call.world.run(100);
        let done =
            |what: &What| matches!(what, What::File { file, news: FileNews::Done } if *file == files[0]);
        assert!(call.at_bob().told().any(done));
        call.over();
    }
}
