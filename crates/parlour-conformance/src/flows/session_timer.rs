//! Session timers (RFC 4028, D-56): who refreshes, when, and what ends a session that nobody refreshes.

use std::time::Duration;

use parlour_proto::config::{Accept, Config};
use parlour_proto::event::{Ended, What};
use parlour_proto::io::AccountId;
use parlour_sim::{Mail, NodeId, Script, Way, World, text};

use crate::common::{BOB, Call, accepting, config, finish};

/// Alice's session with these rows in her INVITE, agreed and connected, and Bob's 200.
pub(crate) fn called_with(config: Config, rows: &str) -> (Call, Mail) {
    let mut call = Call::new(Config { accept: Accept::All, ..config });
    call.send(call.script.invite_with(rows, &call.script.offer()));
    let answer = call.status(200);
    call.ack(&answer);
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    (call, answer)
}

#[track_caller]
pub(crate) fn row(mail: &Mail, name: &str) -> Option<String> {
    text::header(mail.message(), name)
}

#[track_caller]
pub(crate) fn has(mail: &Mail, name: &str, value: &str) {
    assert_eq!(row(mail, name).as_deref(), Some(value), "{name}");
}

#[track_caller]
fn lost(call: &Call) {
    let ended: Vec<&What> = call.at_bob().told().filter(|what| matches!(what, What::Ended(_))).collect();
    let [What::Ended(Ended::Lost { why })] = ended.as_slice() else { panic!("{ended:?}") };
    assert!(why.contains("expired"), "{why}");
}

/// Alice answers Bob's BYE, and the world ends.
#[track_caller]
pub(crate) fn answer_bye(mut call: Call, bye: &Mail) {
    call.send(call.script.respond(bye.message(), "200 OK", "", ""));
    call.world.run(0);
    call.over();
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn the_captured_server_has_us_refresh() {
    let rows = "Session-Expires: 3600;refresher=uas\r\nMin-SE: 90\r\nSupported: timer\r\n";
    let (mut call, answer) = called_with(config(BOB), rows);
    has(&answer, "Session-Expires", "3600;refresher=uas");
    has(&answer, "Require", "timer");
    assert_eq!(row(&answer, "Min-SE"), None, "only a 422 bears it");
    call.nothing_to(1_799_999);
    let refresh = call.request("INVITE");
    assert_eq!(refresh.at.as_millis(), 1_800_000);
    has(&refresh, "Session-Expires", "3600;refresher=uac");
    has(&refresh, "Min-SE", "90");
    has(&refresh, "Supported", "100rel, replaces, timer");
    assert!(row(&refresh, "Contact").is_some_and(|contact| contact.contains("sip:bob@192.0.2.2")));
    assert_eq!(text::body(refresh.message()), text::body(answer.message()), "the description stands");
    let rows = "Session-Expires: 3600;refresher=uac\r\nRequire: timer\r\n";
    call.send(call.script.respond(refresh.message(), "200 OK", rows, &call.script.offer()));
    let ack = call.request("ACK");
    assert!(row(&ack, "CSeq").is_some_and(|cseq| cseq.starts_with("1 ")));
    call.nothing_to(3_599_999);
    assert_eq!(call.request("INVITE").at.as_millis(), 3_600_000);
    call.bye();
    call.over();
}

//= IM D-56 test
//= IM G-3u test
#[cfg_attr(test, test)]
pub(crate) fn who_allows_update_is_refreshed_by_it_and_others_by_invite() {
    for (allow, method) in [
        ("Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\n", Some("UPDATE")),
        ("Allow: INVITE, ACK, BYE, CANCEL\r\n", Some("INVITE")),
        ("", Some("INVITE")),
        ("Allow: UPDATE\r\n", Some("UPDATE")),
        ("Allow: ACK, BYE\r\n", None),
    ] {
        let (mut call, _) = called_with(
            config(BOB),
            &format!("{allow}Session-Expires: 90;refresher=uas\r\nSupported: timer\r\n"),
        );
        call.nothing_to(44_999);
        let Some(method) = method else {
            // Neither: the session ends when its interval does.
            call.nothing_to(59_999);
            let bye = call.request("BYE");
            assert_eq!(bye.at.as_millis(), 60_000);
            answer_bye(call, &bye);
            continue;
        };
        let refresh = call.request(method);
        assert_eq!(refresh.at.as_millis(), 45_000);
        assert_eq!(text::body(refresh.message()).is_empty(), method == "UPDATE", "{allow}");
        let rows = "Session-Expires: 90;refresher=uac\r\nRequire: timer\r\n";
        let body = if method == "UPDATE" { String::new() } else { call.script.offer() };
        call.send(call.script.respond(refresh.message(), "200 OK", rows, &body));
        if method == "INVITE" {
            call.request("ACK");
        }
        call.nothing_to(89_999);
        assert_eq!(call.request(method).at.as_millis(), 90_000);
        call.bye();
        call.over();
    }
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_never_refreshes_is_left_before_the_session_expires() {
    for (seconds, at) in [(90, 60_000), (96, 64_000), (1800, 1_768_000)] {
        let rows = format!("Session-Expires: {seconds};refresher=uac\r\nSupported: timer\r\n");
        let (mut call, answer) = called_with(config(BOB), &rows);
        has(&answer, "Session-Expires", &format!("{seconds};refresher=uac"));
        has(&answer, "Require", "timer");
        call.nothing_to(at - 1);
        let bye = call.request("BYE");
        assert_eq!(bye.at.as_millis(), at);
        lost(&call);
        answer_bye(call, &bye);
    }
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_that_refreshes_keeps_its_session() {
    let rows = "Session-Expires: 90;refresher=uac\r\nSupported: timer\r\n";
    let (mut call, _) = called_with(config(BOB), rows);
    call.world.run_to(45_000);
    let again = format!("Contact: <sip:192.0.2.1:5060>\r\n{rows}");
    let offer = call.script.offer();
    let invite = call.script.next(&mut call.world, "INVITE", &again, &offer);
    call.send(invite);
    let answer = call.status(200);
    has(&answer, "Session-Expires", "90;refresher=uac");
    call.ack(&answer);
    call.nothing_to(45_000 + 59_999);
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), 105_000);
    answer_bye(call, &bye);
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn a_refresh_without_a_timer_turns_it_off() {
    let (mut call, _) = called_with(config(BOB), "Session-Expires: 90;refresher=uac\r\nSupported: timer\r\n");
    let offer = call.script.offer();
    let invite = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &offer);
    call.send(invite);
    let answer = call.status(200);
    assert_eq!(row(&answer, "Session-Expires"), None);
    call.ack(&answer);
    call.nothing_to(3_000_000);
    call.bye();
    call.over();
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn who_knows_timers_and_asks_for_none_is_given_one_and_who_does_not_is_left_in_peace() {
    let (mut call, answer) = called_with(config(BOB), "Supported: 100rel, timer\r\n");
    has(&answer, "Session-Expires", "1800;refresher=uas");
    call.bye();
    call.over();
    for (config, rows) in [
        (config(BOB), ""),
        (config(BOB), "Session-Expires: 30\r\n"),
        (Config { session_expires: Duration::ZERO, ..config(BOB) }, "Supported: timer\r\n"),
    ] {
        let (mut call, answer) = called_with(config, rows);
        assert_eq!((row(&answer, "Session-Expires"), row(&answer, "Require")), (None, None), "{rows}");
        call.nothing_to(5_000_000);
        call.bye();
        call.over();
    }
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn an_interval_that_is_too_short_gets_a_422_if_the_caller_knows_timers() {
    let config = || Config { min_se: Duration::from_secs(300), ..accepting(Accept::All) };
    for (rows, min_se) in [
        ("Supported: timer\r\nSession-Expires: 299\r\n", Some("300")),
        ("k: timer\r\nx: 1;refresher=uac\r\n", Some("300")),
        ("Supported: timer\r\nSession-Expires: 600\r\nMin-SE: 900\r\n", Some("900")),
        ("Supported: timer\r\nSession-Expires: 300\r\n", None),
        ("Session-Expires: 299\r\n", None),
    ] {
        let mut call = Call::new(config());
        call.send(call.script.invite_with(rows, &call.script.offer()));
        if let Some(min_se) = min_se {
            let refusal = call.status(422);
            has(&refusal, "Min-SE", min_se);
            assert_eq!(call.invitations(), 0, "nobody was alerted");
            call.ack_refusal(&refusal);
        } else {
            let answer = call.status(200);
            assert_eq!(row(&answer, "Min-SE"), None);
            call.ack(&answer);
            call.bye();
            call.status(200);
        }
        call.over();
    }
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn what_cannot_be_read_gets_a_400_that_names_it() {
    for (rows, name) in [
        ("Session-Expires: soon\r\n", "Session-Expires"),
        ("Session-Expires: 1800;refresher=me\r\n", "Session-Expires"),
        ("Session-Expires: 1800\r\nx: 1800\r\n", "Session-Expires"),
        ("Session-Expires: -1\r\nSupported: timer\r\n", "Session-Expires"),
        ("Min-SE: a lot\r\n", "Min-SE"),
    ] {
        let mut call = Call::new(accepting(Accept::All));
        call.send(call.script.invite_with(rows, &call.script.offer()));
        let refusal = call.status(400);
        assert!(text::start_line(refusal.message()).contains(name), "{rows}");
        call.ack_refusal(&refusal);
        call.over();
    }
}

#[cfg_attr(test, test)]
pub(crate) fn an_interval_of_centuries_is_no_fault() {
    let (mut call, answer) = called_with(config(BOB), "Supported: timer\r\nSession-Expires: 99999999999\r\n");
    has(&answer, "Session-Expires", "4294967295;refresher=uas");
    call.nothing_to(10_000_000);
    call.bye();
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn options_tell_of_timers_and_require_is_understood() {
    let mut call = Call::new(accepting(Accept::All));
    let options = call.script.request("OPTIONS", "z9hG4bK-1", "Contact: <sip:192.0.2.1>\r\n", "");
    call.send(options);
    has(&call.status(200), "Supported", "100rel, precondition, replaces, timer");
    call.over();
    let (mut call, answer) =
        called_with(config(BOB), "Supported: timer\r\nRequire: timer\r\nSession-Expires: 1800\r\n");
    has(&answer, "Session-Expires", "1800;refresher=uas");
    call.bye();
    call.over();
}

/// Bob (a client at 192.0.2.2) invites Alice (a script at 192.0.2.1).
pub(crate) struct Out {
    pub(crate) world: World,
    pub(crate) alice: NodeId,
    pub(crate) bob: NodeId,
    pub(crate) invite: Mail,
    pub(crate) callee: Script,
}

impl Out {
    pub(crate) fn inviting(config: Config) -> Out {
        let mut world = crate::stage::world(2);
        let (alice, bob) = (world.peer("alice"), world.client("bob", config));
        world
            .act(bob, |bob, now| bob.invite(now, AccountId(0), "sip:alice@192.0.2.1", None))
            .expect("invite");
        let invite = world.expect_request(alice, "INVITE");
        let callee = Script::callee(&mut world, alice, invite.way, invite.message());
        Out { world, alice, bob, invite, callee }
    }

    /// Alice answers the last INVITE, and her media is bound.
    pub(crate) fn answered(&mut self, rows: &str) -> Way {
        let answer = self.callee.sdp("passive", "text/plain");
        self.respond("200 OK", rows, &answer);
        self.world.expect_request(self.alice, "ACK");
        let media = self.world.expect_opened(self.alice);
        let bind = self.world.expect_request(self.alice, "SEND");
        self.world.send(media, self.callee.msrp_respond(bind.message(), "200 OK"));
        self.world.run(0);
        media
    }

    pub(crate) fn respond(&mut self, line: &str, rows: &str, body: &str) {
        let invite = self.invite.clone();
        self.world.send(invite.way, self.callee.respond(invite.message(), line, rows, body));
    }

    pub(crate) fn bye(&mut self) {
        let (way, target) = (self.invite.way, self.callee.next(&mut self.world, "BYE", "", ""));
        self.world.send(way, target);
        self.world.expect_status(self.alice, 200);
    }

    pub(crate) fn over(mut self) {
        finish(&mut self.world);
    }
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn our_invitation_asks_for_half_an_hour_and_takes_what_is_granted() {
    for (granted, event, at) in [
        ("Session-Expires: 1800;refresher=uac\r\nRequire: timer\r\n", "INVITE", 900_000),
        ("Session-Expires: 600;refresher=uac\r\nRequire: timer\r\n", "INVITE", 300_000),
        // The peer does not know timers: ours is for our own benefit.
        ("", "INVITE", 900_000),
        ("Allow: INVITE, ACK, BYE, UPDATE\r\n", "UPDATE", 900_000),
        ("Session-Expires: x\r\n", "INVITE", 900_000),
        // It shall refresh, and does not.
        ("Session-Expires: 1800;refresher=uas\r\n", "BYE", 1_768_000),
        // Nobody makes us refresh at his pace.
        ("Session-Expires: 1;refresher=uac\r\nRequire: timer\r\n", "INVITE", 45_000),
    ] {
        let mut out = Out::inviting(config(BOB));
        has(&out.invite, "Session-Expires", "1800");
        has(&out.invite, "Supported", "100rel, replaces, timer");
        assert_eq!(row(&out.invite, "Min-SE"), None);
        out.answered(granted);
        out.world.expect_nothing_to(out.alice, at - 1);
        let came = out.world.expect_request(out.alice, event);
        assert_eq!(came.at.as_millis(), at, "{granted}");
        out.over();
    }
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn who_knows_timers_and_grants_none_has_none() {
    let mut out = Out::inviting(config(BOB));
    out.answered("Supported: timer\r\n");
    out.world.expect_nothing_to(out.alice, 5_000_000);
    out.bye();
    out.over();
}

//= IM D-56 test
#[cfg_attr(test, test)]
pub(crate) fn a_422_is_answered_with_a_longer_interval_and_not_for_ever() {
    let mut out = Out::inviting(config(BOB));
    for least in [3600, 4000] {
        out.respond("422 Session Interval Too Small", &format!("Min-SE: {least}\r\n"), "");
        out.world.expect_request(out.alice, "ACK");
        let again = out.world.expect_request(out.alice, "INVITE");
        has(&again, "Session-Expires", &least.to_string());
        has(&again, "Min-SE", &least.to_string());
        assert_eq!(row(&again, "Call-ID"), row(&out.invite, "Call-ID"));
        out.invite = again;
    }
    // The same again makes no sense.
    out.respond("422 Session Interval Too Small", "Min-SE: 4000\r\n", "");
    out.world.expect_request(out.alice, "ACK");
    out.world.run(10);
    let ended = |what: &What| matches!(what, What::Ended(Ended::Refused { status: 422, .. }));
    assert!(out.world.client_at(out.bob).is_some_and(|bob| bob.told().any(ended)));
    out.over();

    let mut out = Out::inviting(config(BOB));
    let mut invites = 1;
    for least in 3600..3700 {
        out.respond("422 Session Interval Too Small", &format!("Min-SE: {least}\r\n"), "");
        out.world.run(10);
        match out
            .world
            .mail_of(out.alice)
            .into_iter()
            .find(|mail| text::method(mail.message()).as_deref() == Some("INVITE"))
        {
            Some(again) => out.invite = again,
            None => break,
        }
        invites += 1;
    }
    assert_eq!(invites, 5, "each time it was more");
    out.over();
}
