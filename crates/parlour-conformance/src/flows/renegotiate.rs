//! Later offers from the peer: re-INVITE and UPDATE over live media (catalogue 3.7).

use parlour_proto::event::{Ended, Progress, What};
use parlour_sim::{Mail, Way, text};

use crate::common::{self, Call};

/// Alice's description after some changes; each has a version of its own.
pub(super) fn offer(call: &Call, version: u32) -> String {
    call.script.offer().replace("o=- 1 1 ", &format!("o=- 1 {version} "))
}

pub(super) const CONTACT: &str = "Contact: <sip:192.0.2.1:5060>\r\n";

/// A request with an offer, and its final response; a 2xx is acknowledged and learnt from.
#[track_caller]
pub(super) fn ask(call: &mut Call, method: &str, body: &str, status: u16) -> Mail {
    let request = call.script.next(&mut call.world, method, CONTACT, body);
    call.send(request);
    let answer = sip(call, status);
    match (method, status) {
        ("INVITE", 200) => call.ack(&answer),
        ("INVITE", _) => {
            let ack = call.script.clone().ack_refusal(answer.message());
            call.send(ack);
            call.world.run(0);
        }
        _ => {}
    }
    if status == 200 {
        call.script.learn(answer.message());
    }
    answer
}

/// A SIP response.
#[track_caller]
pub(super) fn sip(call: &mut Call, status: u16) -> Mail {
    let line = format!("SIP/2.0 {status} ");
    call.world.expect(call.alice, &line, |mail| mail.message().starts_with(line.as_bytes()))
}

/// The 200 to an MSRP request.
#[track_caller]
pub(super) fn ok(call: &mut Call, tid: &str) {
    let line = format!("MSRP {tid} 200 ");
    call.world.expect(call.alice, &line, |mail| mail.message().starts_with(line.as_bytes()));
}

pub(super) fn say(call: &mut Call, message_id: &str, what: &str) {
    let session = call.session();
    let said = common::text(message_id, what);
    call.world.act(call.bob, |bob, now| bob.say(now, session, said)).expect("it can be said");
}

/// The next SEND with a body that Alice gets: its Message-ID and body. She answers it.
#[track_caller]
pub(super) fn hear(call: &mut Call) -> (String, String) {
    let send = call.world.expect(call.alice, "a SEND", |mail| {
        text::method(mail.message()).as_deref() == Some("SEND")
            && text::header(mail.message(), "Content-Type").is_some()
    });
    let reply = call.script.msrp_respond(send.message(), "200 OK");
    call.world.send(send.way, reply);
    let id = text::header(send.message(), "Message-ID").unwrap_or_default();
    let body = text::lossy(send.message());
    let body = body.split("\r\n\r\n").last().unwrap_or_default();
    (id, body.split("\r\n-------").next().unwrap_or_default().to_owned())
}

/// A message each way.
#[track_caller]
pub(super) fn talk(call: &mut Call, media: Way, tag: &str) {
    let (hers, his) = (format!("hers{tag}"), format!("his-{tag}"));
    call.world.send(media, call.script.msrp_send(&format!("tid-{tag}"), &hers, &hers));
    ok(call, &format!("tid-{tag}"));
    assert!(call.at_bob().stored_texts().contains(&hers));
    say(call, &his, &his);
    let (id, body) = hear(call);
    assert_eq!(id, his);
    assert!(body.ends_with(&his), "{body}");
}

pub(super) fn attribute(mail: &Mail, name: &str) -> Option<String> {
    text::attribute(mail.message(), name)
}

pub(super) fn lines(mail: &Mail, kind: &str) -> Vec<String> {
    let body = text::lossy(text::body(mail.message()));
    body.lines().filter(|line| line.starts_with(kind)).map(str::to_owned).collect()
}

pub(super) fn told(call: &Call, wanted: &What) -> usize {
    call.at_bob().told().filter(|what| *what == wanted).count()
}

pub(super) fn explained(call: &Call, clause: &str) -> bool {
    let mut events = call.at_bob().events.iter();
    events.any(|(_, event)| matches!(&event.what, What::Explain(why) if why.clause == clause))
}

#[track_caller]
pub(super) fn leave(mut call: Call) {
    call.bye();
    call.status(200);
    call.over();
}

//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn an_update_is_answered_at_once_with_or_without_an_offer() {
    let (mut call, media) = Call::connected();
    talk(&mut call, media, "1");
    let bare = ask(&mut call, "UPDATE", "", 200);
    assert!(text::header(bare.message(), "Contact").is_some());
    assert!(text::body(bare.message()).is_empty());
    let same = call.script.offer();
    let refreshed = ask(&mut call, "UPDATE", &same, 200);
    assert!(lines(&refreshed, "o=").first().is_some_and(|line| line.contains(" 1 IN ")));
    talk(&mut call, media, "2");
    leave(call);
}

//= IM D-50 test
//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn a_changed_description_with_the_same_path_keeps_the_connection() {
    for method in ["INVITE", "UPDATE"] {
        let (mut call, media) = Call::connected();
        let path = call.script.peer_path.clone();
        talk(&mut call, media, "1");
        let changed = offer(&call, 2).replace("a=setup", "a=max-size:5\r\na=setup");
        let answer = ask(&mut call, method, &changed, 200);
        assert!(lines(&answer, "o=").first().is_some_and(|line| line.contains(" 2 IN ")));
        assert_eq!(
            (attribute(&answer, "path"), attribute(&answer, "setup")),
            (Some(path), Some("passive".into()))
        );
        // What has changed counts.
        let session = call.session();
        let long = common::text("long", "more than five octets");
        call.world.act(call.bob, |bob, now| bob.say(now, session, long)).expect_err("max-size");
        let changed = offer(&call, 3);
        ask(&mut call, method, &changed, 200);
        talk(&mut call, media, "2");
        leave(call);
    }
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn a_changed_path_keeps_the_old_connection_until_the_new_one_is_bound() {
    for method in ["INVITE", "UPDATE"] {
        let (mut call, old) = Call::connected();
        talk(&mut call, old, "1");
        let before = call.script.clone();
        call.script.path = before.path.replace("/session", "/moved");
        let changed = offer(&call, 2);
        let answer = ask(&mut call, method, &changed, 200);
        assert_ne!(call.script.peer_path, before.peer_path, "a session of its own");
        assert!(lines(&answer, "o=").first().is_some_and(|line| line.contains(" 2 IN ")));
        // The old one still brings messages, and what is said waits for the new one.
        call.world.send(old, before.msrp_send("tid-old", "during", "during"));
        ok(&mut call, "tid-old");
        say(&mut call, "his-during", "his-during");
        let new = call.connect();
        call.world.send(new, call.script.msrp_empty("bind2"));
        assert_eq!(hear(&mut call).0, "his-during");
        call.world.expect_closed(call.alice);
        talk(&mut call, new, "2");
        assert!(explained(&call, "D-51"));
        for text in ["hers1", "during", "hers2"] {
            assert!(call.at_bob().stored_texts().contains(&text.to_owned()), "{text}");
        }
        leave(call);
    }
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn we_connect_to_a_changed_path_if_the_offer_leaves_it_to_us() {
    let (mut call, old) = Call::connected();
    talk(&mut call, old, "1");
    call.script.path = call.script.path.replace("/session", "/moved");
    let changed = offer(&call, 2).replace("setup:actpass", "setup:passive");
    let answer = ask(&mut call, "INVITE", &changed, 200);
    assert_eq!(attribute(&answer, "setup").as_deref(), Some("active"));
    let new = call.world.expect_opened(call.alice);
    call.world.expect_closed(call.alice);
    let bind = call.request("SEND");
    let reply = call.script.msrp_respond(bind.message(), "200 OK");
    call.world.send(new, reply);
    talk(&mut call, new, "2");
    leave(call);
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn a_path_that_changes_under_large_messages_loses_nothing_and_brings_nothing_twice() {
    for breaks_first in [false, true] {
        let (mut call, old) = Call::connected();
        let large = "abcdefghij".repeat(4_000);
        // Hers is half here; his has left, and only its first chunk is acknowledged.
        call.world.send(
            old,
            call.script.msrp_chunk("tid-1", "hers", "1-20000/40000", &large.as_bytes()[..20_000], '+'),
        );
        call.status(200);
        say(&mut call, "his1", &large);
        say(&mut call, "his2", "after the large one");
        let (id, _) = hear(&mut call);
        assert_eq!(id, "his1");
        let before = call.script.clone();
        call.script.path = before.path.replace("/session", "/moved");
        let changed = offer(&call, 2);
        ask(&mut call, "INVITE", &changed, 200);
        if breaks_first {
            call.world.close(old);
            call.world.run(10);
        }
        call.world.mail_of(call.alice);
        let new = call.connect();
        call.world.send(new, call.script.msrp_empty("bind2"));
        let mut octets = String::new();
        while octets.len() < large.len() {
            let (id, body) = hear(&mut call);
            assert_eq!(id, "his1");
            octets.push_str(&body);
        }
        assert!(octets.ends_with(&large), "the whole of it again");
        assert_eq!(hear(&mut call).0, "his2");
        let rest =
            call.script.msrp_chunk("tid-2", "hers", "20001-40000/40000", &large.as_bytes()[20_000..], '$');
        call.world.send(new, rest);
        ok(&mut call, "tid-2");
        // She cannot know how much arrived, and sends it once more.
        call.world.send(new, call.script.msrp_send("tid-3", "hers", &large));
        ok(&mut call, "tid-3");
        assert_eq!(call.at_bob().stored_texts(), [large]);
        let lost = call.at_bob().told().any(|what| {
            matches!(what, What::Incomplete { .. } | What::Progress { progress: Progress::Failed { .. }, .. })
        });
        assert!(!lost, "{}", call.world.ladder());
        leave(call);
    }
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn a_connection_that_broke_is_replaced_by_the_peers_next_offer() {
    let (mut call, old) = Call::connected();
    call.world.close(old);
    call.world.run(1_000);
    call.script.path = call.script.path.replace("/session", "/moved");
    let changed = offer(&call, 2);
    ask(&mut call, "INVITE", &changed, 200);
    let new = call.connect();
    call.world.send(new, call.script.msrp_empty("bind2"));
    ok(&mut call, "bind2");
    call.world.run(5_000);
    talk(&mut call, new, "2");
    leave(call);
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn a_new_path_to_which_nobody_comes_ends_the_session_and_nothing_is_lost_silently() {
    // Who only waits offers once more; who could not connect, three times (D-52).
    for (setup, offers, after) in [("active", 1, 27_000), ("passive", 3, 0)] {
        let (mut call, old) = Call::connected();
        talk(&mut call, old, "1");
        call.script.path = call.script.path.replace(":2855/session", ":2999/moved");
        let changed = offer(&call, 2).replace("setup:actpass", &format!("setup:{setup}"));
        ask(&mut call, "UPDATE", &changed, 200);
        say(&mut call, "unsent", "nowhere to go");
        call.world.run(after);
        for _ in 0..offers {
            let again = call.request("INVITE");
            call.send(call.script.respond(again.message(), "488 Not Acceptable Here", "", ""));
            call.request("ACK");
        }
        let bye = call.request("BYE");
        let reply = call.script.respond(bye.message(), "200 OK", "", "");
        call.send(reply);
        call.world.run(0);
        let failed = |what: &What| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. });
        assert_eq!(call.at_bob().told().filter(|what| failed(what)).count(), 1, "{setup}");
        call.over();
    }
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn who_connects_may_change_until_somebody_has() {
    let mut call = Call::established();
    let turned = offer(&call, 2).replace("setup:actpass", "setup:passive");
    let answer = ask(&mut call, "UPDATE", &turned, 200);
    assert_eq!(attribute(&answer, "setup").as_deref(), Some("active"));
    let media = call.world.expect_opened(call.alice);
    let bind = call.request("SEND");
    let reply = call.script.msrp_respond(bind.message(), "200 OK");
    call.world.send(media, reply);
    talk(&mut call, media, "1");
    leave(call);
}

//= IM D-55 test
#[cfg_attr(test, test)]
pub(crate) fn port_0_closes_the_msrp_session_and_we_leave_after_2_s() {
    let (mut call, media) = Call::connected();
    talk(&mut call, media, "1");
    let off = offer(&call, 2).replace("m=message 2855", "m=message 0");
    let answer = ask(&mut call, "INVITE", &off, 200);
    assert_eq!(lines(&answer, "m="), ["m=message 0 TCP/MSRP *"]);
    let start = call.world.expect_closed(call.alice);
    say(&mut call, "unsent", "nowhere to go");
    call.nothing_to(start + 1_999);
    let bye = call.request("BYE");
    assert_eq!(bye.at.as_millis(), start + 2_000);
    let reply = call.script.respond(bye.message(), "200 OK", "", "");
    call.send(reply);
    call.world.run(0);
    assert_eq!(told(&call, &What::Ended(Ended::PeerLeft)), 1);
    let failed = |what: &What| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. });
    assert_eq!(call.at_bob().told().filter(|what| failed(what)).count(), 1);
    call.over();
}

//= IM D-55 test
#[cfg_attr(test, test)]
pub(crate) fn a_stream_that_is_offered_again_within_2_s_goes_on() {
    let (mut call, media) = Call::connected();
    say(&mut call, "before", "not acknowledged");
    call.request("SEND");
    let off = offer(&call, 2).replace("m=message 2855", "m=message 0");
    ask(&mut call, "UPDATE", &off, 200);
    call.world.expect_closed(call.alice);
    say(&mut call, "between", "waits");
    call.world.run(1_500);
    let _ = media;
    call.script.path = call.script.path.replace("/session", "/again");
    let on = offer(&call, 3);
    let answer = ask(&mut call, "UPDATE", &on, 200);
    assert!(lines(&answer, "o=").first().is_some_and(|line| line.contains(" 3 IN ")));
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind2"));
    assert_eq!([hear(&mut call).0, hear(&mut call).0], ["before", "between"]);
    call.world.run(5_000);
    talk(&mut call, media, "2");
    leave(call);
}

//= IM D-55 test
#[cfg_attr(test, test)]
pub(crate) fn added_lines_are_judged_alone_and_missing_ones_refuse_the_offer() {
    let (mut call, media) = Call::connected();
    let second = call.script.offer();
    let second = second.split_once("m=").expect("a line").1.replace("/session", "/second");
    let file = format!(
        "m={second}a=sendonly\r\na=file-selector:name:\"x\" size:99999999999\r\na=file-transfer-id:z9\r\n"
    );
    let more = format!("{}m=audio 7000 RTP/AVP 0\r\nm={second}{file}", offer(&call, 2));
    let path = call.script.peer_path.clone();
    let answer = ask(&mut call, "INVITE", &more, 200);
    call.script.peer_path = path;
    let expected = [
        "m=message 2855 TCP/MSRP *",
        "m=audio 0 RTP/AVP 0",
        "m=message 0 TCP/MSRP *",
        "m=message 0 TCP/MSRP *",
    ];
    assert_eq!(lines(&answer, "m="), expected);
    talk(&mut call, media, "1");
    let fewer = offer(&call, 3);
    let refusal = ask(&mut call, "INVITE", &fewer, 488);
    let warning = text::header(refusal.message(), "Warning").unwrap_or_default();
    assert!(warning.contains("The offer has 1 m= lines, and there were 4"), "{warning}");
    talk(&mut call, media, "2");
    // Our own offer keeps them too.
    let ours = ask_for_offer(&mut call);
    assert_eq!(lines(&ours, "m="), expected);
    call.ack(&ours);
    talk(&mut call, media, "3");
    leave(call);
}

/// An INVITE without an offer; the ACK is left to the test.
#[track_caller]
pub(super) fn ask_for_offer(call: &mut Call) -> Mail {
    let request = call.script.next(&mut call.world, "INVITE", CONTACT, "");
    call.send(request);
    call.status(200)
}

#[track_caller]
pub(super) fn ack_with(call: &mut Call, body: &str) {
    let ack = call.script.request("ACK", &format!("z9hG4bK-ack-{}", call.script.cseq), "", body);
    call.send(ack);
    call.world.run(0);
}

//= IM S-1a test
#[cfg_attr(test, test)]
pub(crate) fn an_invite_without_offer_gets_ours_and_the_same_path_keeps_the_connection() {
    let (mut call, media) = Call::connected();
    talk(&mut call, media, "1");
    let ours = ask_for_offer(&mut call);
    assert_eq!(attribute(&ours, "path"), Some(call.script.peer_path.clone()));
    assert_eq!(attribute(&ours, "setup").as_deref(), Some("actpass"));
    assert!(lines(&ours, "o=").first().is_some_and(|line| line.contains(" 2 IN ")));
    let answer = call.script.sdp("active", "text/plain message/cpim") + "a=recvonly\r\n";
    ack_with(&mut call, &answer);
    talk(&mut call, media, "2");
    // No answer at all leaves all as it was.
    let ours = ask_for_offer(&mut call);
    call.ack(&ours);
    talk(&mut call, media, "3");
    assert!(explained(&call, "RFC 6141 3.3"));
    leave(call);
}

//= IM D-51 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_with_another_path_moves_the_session() {
    let (mut call, old) = Call::connected();
    say(&mut call, "unsure", "not acknowledged");
    call.request("SEND");
    ask_for_offer(&mut call);
    call.script.path = call.script.path.replace("/session", "/elsewhere");
    let answer = call.script.sdp("active", "text/plain message/cpim");
    ack_with(&mut call, &answer);
    call.world.expect_closed(call.alice);
    let _ = old;
    let new = call.connect();
    call.world.send(new, call.script.msrp_empty("bind2"));
    assert_eq!(hear(&mut call).0, "unsure");
    talk(&mut call, new, "2");
    leave(call);
}

//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn an_answer_to_our_later_offer_that_cannot_be_taken_ends_the_session() {
    let answers: [fn(&Call) -> String; 3] = [
        |_| "rubbish".to_owned(),
        |call| call.script.sdp("active", "text/plain").replace("TCP/MSRP", "TCP/FOO"),
        // nobody makes us connect to a third party in an answer.
        |call| call.script.sdp("passive", "text/plain").replace("msrp://192.0.2.1", "msrp://192.0.2.77"),
    ];
    for answer in answers {
        let (mut call, _) = Call::connected();
        ask_for_offer(&mut call);
        let answer = answer(&call);
        ack_with(&mut call, &answer);
        let bye = call.request("BYE");
        let reply = call.script.respond(bye.message(), "200 OK", "", "");
        call.send(reply);
        assert!(explained(&call, "S-1a"), "nothing was tried: {}", call.world.ladder());
        call.over();
    }
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn an_offer_that_crosses_ours_gets_491_and_all_stays_as_it_is() {
    let (mut call, media) = Call::connected();
    let ours = ask_for_offer(&mut call);
    let (before, cseq) = (call.script.clone(), call.script.cseq);
    let changed = offer(&call, 2);
    ask(&mut call, "UPDATE", &changed, 491);
    ask(&mut call, "INVITE", &changed, 491);
    ask(&mut call, "UPDATE", "", 200);
    let mut script = before;
    script.cseq = cseq;
    let ack = script.ack(&mut call.world, ours.message());
    call.send(ack);
    call.world.run(0);
    talk(&mut call, media, "1");
    leave(call);
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn an_invite_before_the_last_one_is_done_gets_500_and_retry_after() {
    let (mut call, media) = Call::connected();
    let changed = offer(&call, 2);
    let first = call.script.next(&mut call.world, "INVITE", CONTACT, &changed);
    call.send(first);
    let answer = call.status(200);
    let mut acked = call.script.clone();
    let third = offer(&call, 3);
    let refusal = ask(&mut call, "INVITE", &third, 500);
    let pause = text::header(refusal.message(), "Retry-After").and_then(|value| value.parse::<u32>().ok());
    assert!(pause.is_some_and(|seconds| seconds <= 10), "{pause:?}");
    let ack = acked.ack(&mut call.world, answer.message());
    call.send(ack);
    call.world.run(0);
    talk(&mut call, media, "1");
    leave(call);
}

//= IM D-53 test
#[cfg_attr(test, test)]
pub(crate) fn while_it_rings_an_update_may_refresh_and_not_offer() {
    let mut call = Call::ringing();
    ask(&mut call, "UPDATE", "", 200);
    let changed = offer(&call, 2);
    let refusal = ask(&mut call, "UPDATE", &changed, 500);
    let pause = text::header(refusal.message(), "Retry-After").and_then(|value| value.parse::<u32>().ok());
    assert!(pause.is_some_and(|seconds| seconds <= 10), "{pause:?}");
    let refusal = ask(&mut call, "INVITE", &changed, 500);
    let pause = text::header(refusal.message(), "Retry-After").and_then(|value| value.parse::<u32>().ok());
    assert!(pause.is_some_and(|seconds| seconds <= 10), "{pause:?}");
    call.accept();
    let answer = call.status(200);
    // The INVITE is older than what came in between.
    let mut first = call.script.clone();
    first.cseq = 1;
    let ack = first.ack(&mut call.world, answer.message());
    call.send(ack);
    call.world.run(0);
    call.script.learn(answer.message());
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    ok(&mut call, "bind1");
    talk(&mut call, media, "1");
    leave(call);
}

//= IM D-53 test
//= IM X-22 test
#[cfg_attr(test, test)]
pub(crate) fn a_refused_offer_leaves_the_session_exactly_as_it_was() {
    let (mut call, media) = Call::connected();
    let good = offer(&call, 2);
    let lines = |count: usize| good.clone() + &"m=audio 7000 RTP/AVP 0\r\n".repeat(count);
    let elsewhere = |victim: &str| {
        let moved = good.replace("/session", "/moved").replace("setup:actpass", "setup:passive");
        moved.replace("msrp://192.0.2.1:2855", &format!("msrp://{victim}"))
    };
    let refused = [
        (488, elsewhere("127.0.0.1:2855")),
        (488, elsewhere("192.0.2.77:25")),
        (488, good.replace("TCP/MSRP", "RTP/AVP")),
        (488, good.replace("text/plain message/cpim", "application/x-secret")),
        (488, good.replace("a=path:", "a=way:")),
        (400, lines(1_000)),
        (400, good.replace("o=- 1 2 ", "o=- one two ")),
        (400, "v=0\r\n".to_owned()),
    ];
    let mut number = 0;
    for method in ["INVITE", "UPDATE"] {
        for (status, body) in &refused {
            let refusal = ask(&mut call, method, body, *status);
            let warned = text::header(refusal.message(), "Warning").is_some();
            assert_eq!(warned, *status == 488, "{}", text::lossy(refusal.message()));
            number += 1;
            talk(&mut call, media, &number.to_string());
        }
    }
    leave(call);
}

//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn origins_that_contradict_each_other_are_changes_like_any_other() {
    let (mut call, media) = Call::connected();
    let origins = ["o=- 1 9 IN IP4 192.0.2.1", "o=- 1 3 IN IP4 192.0.2.1", "o=eve 77 1 IN IP4 198.51.100.1"];
    for (number, origin) in origins.into_iter().enumerate() {
        let body = call.script.offer().replace("o=- 1 1 IN IP4 192.0.2.1", origin);
        let answer = ask(&mut call, "INVITE", &body, 200);
        let version = format!(" {} IN ", number + 2);
        assert!(lines(&answer, "o=").first().is_some_and(|line| line.contains(&version)));
        talk(&mut call, media, &number.to_string());
    }
    leave(call);
}

//= IM X-8 test
#[cfg_attr(test, test)]
pub(crate) fn another_tag_is_another_dialog_and_a_new_name_makes_no_new_peer() {
    let (mut call, media) = Call::connected();
    let before = call.script.clone();
    for method in ["INVITE", "UPDATE"] {
        call.script.local_tag = "eve".to_owned();
        ask(&mut call, method, "", 481);
        call.script.local_tag = before.local_tag.clone();
        call.script.remote_tag = Some("guess".to_owned());
        ask(&mut call, method, "", 481);
        call.script.remote_tag = before.remote_tag.clone();
    }
    call.script.local = "<sip:eve@198.51.100.9>".to_owned();
    ask(&mut call, "UPDATE", "", 200);
    talk(&mut call, media, "1");
    let strangers = call
        .at_bob()
        .told()
        .filter(|what| matches!(what, What::Message(message) if message.from.address.contains("eve")));
    assert_eq!(strangers.count(), 0);
    leave(call);
}

#[cfg_attr(test, test)]
pub(crate) fn a_session_that_we_leave_takes_no_more_offers() {
    let (mut call, _) = Call::connected();
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.leave(now, session)).expect("leave");
    let bye = call.request("BYE");
    let changed = offer(&call, 2);
    ask(&mut call, "UPDATE", &changed, 481);
    ask(&mut call, "INVITE", &changed, 481);
    let reply = call.script.respond(bye.message(), "200 OK", "", "");
    call.send(reply);
    call.over();
}
