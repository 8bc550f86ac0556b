//! MSRP over TLS: who is let in by certificate, and that nothing goes in the clear instead (catalogue 3.3).

use parlour_proto::config::{Accept, Config, Fingerprint, Hash, MediaSecurity};
use parlour_proto::event::{Ended, Secured, Voucher, What};
use parlour_proto::io::Service;
use parlour_sim::{Mail, Way, certificate, text};

use crate::common::{BOB, Call, config, text as words};

const TLS_PORT: u16 = 2856;

fn print(name: &str) -> String {
    Fingerprint::of(Hash::Sha256, &certificate(name)).to_string()
}

/// Bob's configuration, with a certificate; he accepts everybody.
pub(crate) fn with_certificate(config: Config) -> Config {
    let own = Fingerprint::of(Hash::Sha256, &certificate("bob"));
    Config { fingerprints: vec![own], accept: Accept::All, ..config }
}

/// Alice's description with TLS; `rows` are further lines of it.
pub(crate) fn tls_sdp(call: &Call, setup: &str, rows: &str) -> String {
    let plain = call.script.sdp(setup, "text/plain message/cpim");
    plain.replace("2855 TCP/MSRP", "2856 TCP/TLS/MSRP").replace("msrp:", "msrps:").replace(":2855/", ":2856/")
        + rows
}

pub(crate) fn fingerprint(name: &str) -> String {
    format!("a=fingerprint:{}\r\n", print(name))
}

/// Alice speaks as her description with TLS says.
pub(crate) fn speak_tls(call: &mut Call) {
    call.script.path = call.script.path.replace("msrp:", "msrps:").replace(":2855/", ":2856/");
}

/// Bob has answered an offer with TLS.
#[track_caller]
fn answered(config: Config, setup: &str, rows: &str) -> (Call, Mail) {
    let mut call = Call::new(with_certificate(config));
    let offer = tls_sdp(&call, setup, rows);
    speak_tls(&mut call);
    call.send(call.script.invite_with("", &offer));
    let answer = call.status(200);
    call.script.learn(answer.message());
    call.ack(&answer);
    (call, answer)
}

fn open(call: &mut Call, port: u16) -> Way {
    let to = call.world.address(call.bob, port);
    let media = call.world.open(call.alice, to, Service::Msrp);
    call.world.expect_opened(call.alice);
    media
}

/// What TLS told Bob of who is there.
#[expect(clippy::wildcard_enum_match_arm, reason = "of all that is told only this matters")]
fn secured(call: &Call) -> Vec<Secured> {
    let told = call.at_bob().told().filter_map(|what| match what {
        What::Secured(secured) => Some(secured.clone()),
        _ => None,
    });
    told.collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of all that is told only this matters")]
fn impostors(call: &Call) -> Vec<(Vec<String>, Option<String>)> {
    let told = call.at_bob().told().filter_map(|what| match what {
        What::Impostor { expected, shown } => Some((expected.clone(), shown.clone())),
        _ => None,
    });
    told.collect()
}

#[track_caller]
fn ends(mut call: Call) {
    call.bye();
    let ok = |mail: &Mail| text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(" BYE"));
    call.world.expect(call.alice, "200 to BYE", ok);
    call.over();
}

/// Bob leaves because somebody else is there: BYE at once, and nothing instead.
#[track_caller]
fn torn_down(mut call: Call, shown: Option<String>) {
    let bye = call.request("BYE");
    call.send(call.script.respond(bye.message(), "200 OK", "", ""));
    call.world.run(60_000);
    assert_eq!(impostors(&call), [(vec![print("alice")], shown)]);
    assert_eq!(secured(&call), []);
    assert!(!call.at_bob().told().any(|what| matches!(what, What::Connected | What::Reconnecting { .. })));
    assert!(call.at_bob().told().any(|what| matches!(what, What::Ended(Ended::MediaFailed { .. }))));
    assert!(!call.world.rows().iter().any(|row| row.label == "INVITE" && row.from == call.bob));
    call.over();
}

//= IM D-20 test
//= IM D-21 test
#[cfg_attr(test, test)]
pub(crate) fn a_passive_end_lets_the_certificate_of_the_description_in() {
    let (mut call, answer) = answered(config(BOB), "active", &fingerprint("alice"));
    let body = text::lossy(text::body(answer.message()));
    assert!(body.contains("m=message 2856 TCP/TLS/MSRP *\r\n"), "{body}");
    assert_eq!(text::attribute(answer.message(), "fingerprint"), Some(print("bob")));
    let path = text::attribute(answer.message(), "path").unwrap_or_default();
    assert!(path.starts_with("msrps://192.0.2.2:2856/"), "{path}");
    let media = open(&mut call, TLS_PORT);
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    call.world.send(media, call.script.msrp_send("tid1", "m1", "secret"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["secret"]);
    let told = secured(&call);
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].by, told[0].fingerprint.clone()), (&Voucher::Fingerprint, Some(print("alice"))));
    assert!(!told[0].protected, "the invitation came over UDP");
    ends(call);
}

//= IM D-20 test
#[cfg_attr(test, test)]
pub(crate) fn a_passive_end_tears_down_what_shows_another_certificate_or_none() {
    for shows in [Some(certificate("mallory")), None] {
        let (mut call, _) = answered(config(BOB), "active", &fingerprint("alice"));
        call.world.shows(call.alice, shows.as_deref());
        let media = open(&mut call, TLS_PORT);
        call.world.send(media, call.script.msrp_send("tid1", "m1", "forged"));
        call.world.expect_closed(call.alice);
        assert_eq!(call.at_bob().stored_texts(), Vec::<String>::new());
        torn_down(call, shows.map(|_| print("mallory")));
    }
}

//= IM D-20 test
//= IM D-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_session_over_tls_is_not_bound_without() {
    let (mut call, _) = answered(config(BOB), "active", &fingerprint("alice"));
    let plain = open(&mut call, 2855);
    call.world.send(plain, call.script.msrp_send("tid1", "m1", "in the clear"));
    call.status(403);
    let media = open(&mut call, TLS_PORT);
    call.world.send(media, call.script.msrp_send("tid2", "m2", "secret"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["secret"]);
    ends(call);
}

//= IM D-20 test
//= IM D-14 test
#[cfg_attr(test, test)]
pub(crate) fn an_active_end_connects_with_tls_and_says_nothing_to_a_stranger() {
    for genuine in [true, false] {
        let mut call = Call::new(with_certificate(config(BOB)));
        if !genuine {
            call.world.shows(call.alice, Some(&certificate("mallory")));
        }
        let offer = tls_sdp(&call, "passive", &fingerprint("alice"));
        speak_tls(&mut call);
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.script.learn(answer.message());
        call.ack(&answer);
        call.world.expect_opened(call.alice);
        if genuine {
            let bind = call.request("SEND");
            call.world.send(bind.way, call.script.msrp_respond(bind.message(), "200 OK"));
            call.world.run(10);
            assert_eq!(secured(&call)[0].by, Voucher::Fingerprint);
            ends(call);
        } else {
            call.world.expect_closed(call.alice);
            assert!(
                !call.world.rows().iter().any(|row| row.label.starts_with("SEND")),
                "{}",
                call.world.ladder()
            );
            torn_down(call, Some(print("mallory")));
        }
    }
}

//= IM D-20 test
#[cfg_attr(test, test)]
pub(crate) fn without_a_fingerprint_an_authority_has_to_vouch_for_the_host() {
    for vouched in [true, false] {
        let mut call = Call::new(with_certificate(config(BOB)));
        let address = call.world.address(call.alice, TLS_PORT).ip();
        call.world.name("chat.example.com", &[address]);
        call.world.vouch(call.alice, if vouched { "chat.example.com" } else { "other.example.com" });
        call.script.path = "msrps://chat.example.com:2856/s.alice.1;tcp".to_owned();
        let offer = call.script.sdp("passive", "text/plain message/cpim");
        let offer = offer.replace("2855 TCP/MSRP", "2856 TCP/TLS/MSRP");
        let offer = offer.replace("IP4 msrps", "IP4 192.0.2.1");
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.script.learn(answer.message());
        call.ack(&answer);
        call.world.expect_opened(call.alice);
        if vouched {
            let bind = call.request("SEND");
            call.world.send(bind.way, call.script.msrp_respond(bind.message(), "200 OK"));
            call.world.run(10);
            assert_eq!(secured(&call)[0].by, Voucher::Authority { name: "chat.example.com".to_owned() });
            ends(call);
        } else {
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
            call.world.run(10);
            let wanted = vec!["one valid for chat.example.com".to_owned()];
            assert_eq!(impostors(&call), [(wanted, Some(print("alice")))]);
            call.over();
        }
    }
}

//= IM D-20 test
#[cfg_attr(test, test)]
pub(crate) fn one_of_several_fingerprints_is_enough_and_the_line_wins_over_the_session() {
    let legacy = Fingerprint::of(Hash::Sha1, &certificate("alice"));
    let weak = format!("a=fingerprint:{legacy}\r\n");
    for (session, line, right) in [
        (String::new(), fingerprint("carol") + &fingerprint("alice"), true),
        (fingerprint("carol"), fingerprint("alice"), true),
        (fingerprint("alice"), fingerprint("carol"), false),
        (fingerprint("alice"), String::new(), true),
        (String::new(), weak.clone(), true),
        // RFC 8122 5.1: a weaker hash that matches does not help.
        (String::new(), fingerprint("carol") + &weak, false),
    ] {
        let mut call = Call::new(with_certificate(config(BOB)));
        let offer = tls_sdp(&call, "active", &line).replace("t=0 0\r\n", &format!("t=0 0\r\n{session}"));
        speak_tls(&mut call);
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.script.learn(answer.message());
        call.ack(&answer);
        let media = open(&mut call, TLS_PORT);
        call.world.send(media, call.script.msrp_empty("bind1"));
        if right {
            call.status(200);
            ends(call);
        } else {
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
            call.world.run(10);
            assert_eq!(impostors(&call).len(), 1, "{session}{line}");
            call.over();
        }
    }
}

//= IM D-20 test
//= IM D-21 test
//= IM D-22 test
#[cfg_attr(test, test)]
pub(crate) fn offers_that_cannot_be_taken_are_refused_with_their_reason() {
    let tls = |call: &Call| tls_sdp(call, "active", &fingerprint("alice"));
    type Offer<'a> = &'a dyn Fn(&Call) -> String;
    let cases: [(MediaSecurity, Offer<'_>, &str); 5] = [
        (
            MediaSecurity::AllowPlain,
            &|call| tls(call).replace("msrps:", "msrp:"),
            "306 parlour \"Attribute path is not usable",
        ),
        (
            MediaSecurity::AllowPlain,
            &|call| tls(call).replace("TCP/TLS/MSRP", "TCP/MSRP"),
            "306 parlour \"Attribute path is not usable",
        ),
        (
            MediaSecurity::AllowPlain,
            &|call| tls_sdp(call, "active", "a=fingerprint:md5 00:11\r\n"),
            "306 parlour \"Attribute fingerprint is not usable",
        ),
        (
            MediaSecurity::RequireTls,
            &|call| call.script.offer(),
            "302 parlour \"Transport protocol not available: TLS is required",
        ),
        // The line with TLS was spoiled: the other one is not taken instead.
        (
            MediaSecurity::AllowPlain,
            &|call| {
                let plain = call.script.sdp("active", "text/plain");
                let line = plain.split_once("m=message").map(|(_, line)| format!("m=message{line}"));
                tls_sdp(call, "active", "a=fingerprint:md5 00:11\r\n") + &line.unwrap_or_default()
            },
            "306 parlour \"Attribute fingerprint is not usable",
        ),
    ];
    for (media_security, offer, warning) in cases {
        let mut call = Call::new(with_certificate(Config { media_security, ..config(BOB) }));
        let body = offer(&call);
        call.send(call.script.invite_with("", &body));
        let refusal = call.refused(488);
        let said = text::header(refusal.message(), "Warning").unwrap_or_default();
        assert!(said.starts_with(warning), "{said} for {body}");
        call.over();
    }
}

//= IM D-22 test
#[cfg_attr(test, test)]
pub(crate) fn of_two_lines_for_one_chat_the_one_with_tls_is_taken() {
    for tls_first in [true, false] {
        let mut call = Call::new(with_certificate(config(BOB)));
        let tls = tls_sdp(&call, "active", &fingerprint("alice"));
        let plain = call.script.sdp("active", "text/plain message/cpim");
        let (head, plain_line) = plain.split_once("m=message").expect("an m-line");
        let (_, tls_line) = tls.split_once("m=message").expect("an m-line");
        let (one, two) = if tls_first { (tls_line, plain_line) } else { (plain_line, tls_line) };
        let offer = format!("{head}m=message{one}m=message{two}");
        call.send(call.script.invite_with("", &offer));
        let answer = call.status(200);
        call.ack(&answer);
        let body = text::lossy(text::body(answer.message()));
        let lines: Vec<&str> = body.lines().filter(|line| line.starts_with("m=")).collect();
        let mut expected = ["m=message 2856 TCP/TLS/MSRP *", "m=message 0 TCP/MSRP *"];
        if !tls_first {
            expected.reverse();
        }
        assert_eq!(lines, expected);
        ends(call);
    }
}

//= IM D-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_later_offer_does_not_take_tls_away() {
    let (mut call, _) = answered(config(BOB), "active", &fingerprint("alice"));
    let media = open(&mut call, TLS_PORT);
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    let plain = call.script.sdp("active", "text/plain message/cpim").replace("msrps:", "msrp:");
    let plain = plain.replace("o=- 1 1", "o=- 1 2");
    let off =
        tls_sdp(&call, "active", "").replace("m=message 2856", "m=message 0").replace("o=- 1 1", "o=- 1 3");
    let beside = off
        + plain.split_once("m=message").map(|(_, line)| format!("m=message{line}")).as_deref().unwrap_or("");
    for offer in [plain, beside] {
        let again = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &offer);
        call.send(again);
        let refusal = call.refused(488);
        let warning = text::header(refusal.message(), "Warning").unwrap_or_default();
        assert!(warning.starts_with("302 "), "{warning}");
    }
    call.world.send(media, call.script.msrp_send("tid1", "m1", "still secret"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["still secret"]);
    // The connection breaks: what is offered instead has TLS too.
    call.world.close(media);
    call.world.run(3000);
    let offer = call.request("INVITE");
    let body = text::lossy(text::body(offer.message()));
    assert!(body.contains("TCP/TLS/MSRP *") && !body.contains("TCP/MSRP"), "{body}");
    call.send(call.script.respond(offer.message(), "488 Not Acceptable Here", "", ""));
    call.request("ACK");
    ends(call);
}

/// Bob invites Alice.
#[track_caller]
fn inviting(media_security: MediaSecurity) -> (Call, Mail) {
    let mut call = Call::new(with_certificate(Config { media_security, ..config(BOB) }));
    call.world
        .act(call.bob, |bob, now| {
            bob.invite(now, parlour_proto::io::AccountId(0), "sip:alice@192.0.2.1", None)
        })
        .expect("it can be invited");
    let invite = call.request("INVITE");
    if let Some(path) = text::attribute(invite.message(), "path") {
        call.script.peer_path = path;
    }
    (call, invite)
}

//= IM D-21 test
#[cfg_attr(test, test)]
pub(crate) fn what_we_offer_has_one_line_as_the_policy_says() {
    for (policy, line) in [
        (MediaSecurity::AllowPlain, "m=message 2855 TCP/MSRP *"),
        (MediaSecurity::PreferTls, "m=message 2856 TCP/TLS/MSRP *"),
        (MediaSecurity::RequireTls, "m=message 2856 TCP/TLS/MSRP *"),
    ] {
        let (mut call, invite) = inviting(policy);
        let body = text::lossy(text::body(invite.message()));
        let lines: Vec<&str> = body.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(lines, [line], "{policy:?}");
        assert_eq!(body.contains("a=fingerprint:SHA-256 "), policy != MediaSecurity::AllowPlain);
        // An answer without TLS to an offer with TLS is none.
        if policy != MediaSecurity::AllowPlain {
            let answer = call.script.sdp("active", "text/plain message/cpim");
            call.send(call.script.respond(invite.message(), "200 OK", "", &answer));
            call.request("ACK");
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
        } else {
            call.send(call.script.respond(invite.message(), "486 Busy Here", "", ""));
            call.request("ACK");
        }
        call.world.run(10);
        assert!(!call.world.rows().iter().any(|row| row.label.starts_with("connect")));
        call.over();
    }
}

//= IM D-20 test
#[cfg_attr(test, test)]
pub(crate) fn what_comes_before_the_answer_waits_for_its_fingerprint() {
    for genuine in [true, false] {
        let (mut call, invite) = inviting(MediaSecurity::PreferTls);
        if !genuine {
            call.world.shows(call.alice, Some(&certificate("mallory")));
        }
        let answer = tls_sdp(&call, "active", &fingerprint("alice"));
        speak_tls(&mut call);
        let media = open(&mut call, TLS_PORT);
        call.world.send(media, call.script.msrp_empty("bind1"));
        call.status(200);
        call.world.send(media, call.script.msrp_send("tid1", "m1", "quick"));
        let at = call.world.millis();
        call.nothing_to(at + 100);
        assert_eq!(call.at_bob().stored_texts(), Vec::<String>::new(), "nobody knows yet whose it is");
        call.send(call.script.respond(invite.message(), "200 OK", "", &answer));
        call.request("ACK");
        if genuine {
            call.status(200);
            assert_eq!(call.at_bob().stored_texts(), ["quick"]);
            assert_eq!(secured(&call).len(), 1);
            let session = call.session();
            call.world
                .act(call.bob, |bob, now| bob.say(now, session, words("m2-id", "and back")))
                .expect("it can");
            let send = call.request("SEND");
            call.world.send(send.way, call.script.msrp_respond(send.message(), "200 OK"));
            call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("it can be left");
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
            call.over();
        } else {
            call.world.expect_closed(call.alice);
            let bye = call.request("BYE");
            call.send(call.script.respond(bye.message(), "200 OK", "", ""));
            call.world.run(10);
            assert_eq!(impostors(&call), [(vec![print("alice")], Some(print("mallory")))]);
            assert_eq!(call.at_bob().stored_texts(), Vec::<String>::new());
            call.over();
        }
    }
}

//= IM D-20 test
#[cfg_attr(test, test)]
pub(crate) fn another_certificate_in_a_later_offer_is_another_connection() {
    let (mut call, _) = answered(config(BOB), "active", &fingerprint("alice"));
    let media = open(&mut call, TLS_PORT);
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    let offer = tls_sdp(&call, "active", &fingerprint("alice again")).replace("o=- 1 1", "o=- 1 2");
    let again = call.script.next(
        &mut call.world,
        "INVITE",
        "Contact: <sip:192.0.2.1:5060>\r\n",
        &offer.replace("msrpss", "msrps"),
    );
    call.send(again);
    let answer = call.status(200);
    call.script.learn(answer.message());
    call.ack(&answer);
    call.world.shows(call.alice, Some(&certificate("alice again")));
    let next = open(&mut call, TLS_PORT);
    call.world.send(next, call.script.msrp_empty("bind2"));
    call.status(200);
    let prints: Vec<_> = secured(&call).into_iter().filter_map(|secured| secured.fingerprint).collect();
    assert_eq!(prints, [print("alice"), print("alice again")]);
    ends(call);
}
