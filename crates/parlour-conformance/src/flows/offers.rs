//! Descriptions: what an offer is answered with, line by line, and what of it is obeyed (catalogue 3).

use parlour_proto::config::{Accept, Config};
use parlour_proto::event::{Progress, What};
use parlour_proto::io::Service;
use parlour_sim::{Mail, Way, text};

use crate::common::{BOB, Call, accepting, config, text as words};

/// The lines of a description that begin so.
fn lines(mail: &Mail, start: &str) -> Vec<String> {
    text::lossy(text::body(mail.message()))
        .lines()
        .filter(|line| line.starts_with(start))
        .map(str::to_owned)
        .collect()
}

/// Bob has accepted an offer, and Alice has said ACK.
#[track_caller]
fn answered(config: Config, offer: impl Fn(&Call) -> String) -> (Call, Mail) {
    let mut call = Call::new(Config { accept: Accept::All, ..config });
    call.send(call.script.invite_with("", &offer(&call)));
    let answer = call.status(200);
    call.ack(&answer);
    (call, answer)
}

/// Alice's connection is bound.
#[track_caller]
fn bound(call: &mut Call) -> Way {
    let media = call.connect();
    call.world.send(media, call.script.msrp_empty("bind1"));
    call.status(200);
    media
}

/// What Bob says next, as it comes to Alice. She has it.
#[track_caller]
fn hears(call: &mut Call, message_id: &str, what: &str) -> Mail {
    let session = call.session();
    let said = words(message_id, what);
    call.world.act(call.bob, |bob, now| bob.say(now, session, said)).expect("it can be said");
    let send = call.request("SEND");
    call.world.send(send.way, call.script.msrp_respond(send.message(), "200 OK"));
    call.world.run(10);
    send
}

#[track_caller]
fn ends(mut call: Call) {
    call.bye();
    let ok = |mail: &Mail| text::header(mail.message(), "CSeq").is_some_and(|cseq| cseq.ends_with(" BYE"));
    call.world.expect(call.alice, "200 to BYE", ok);
    call.over();
}

//= IM S-1c test
//= IM D-1 test
//= IM D-30 test
//= IM D-35 test
#[cfg_attr(test, test)]
pub(crate) fn every_line_is_answered_and_one_good_one_is_enough() {
    let (mut call, answer) = answered(config(BOB), |call| {
        let offer = call.script.offer();
        let (head, chat) = offer.split_once("m=message").expect("an m-line");
        format!(
            "{head}a=group:BUNDLE a c\r\na=ice-ufrag:8hhY\r\nm=audio 49170/2 RTP/AVP 0 96\r\na=mid:a\r\n\
             a=rtpmap:96 L8/8000\r\nm=message 2855 msrp/tcp *\r\na=path:{}\r\na=accept-types:*\r\n\
             m=message{chat}a=mid:c\r\na=label:x\r\nm=message{chat}a=mid:d\r\n",
            call.script.path
        )
    });
    let media = lines(&answer, "m=");
    assert_eq!(
        media,
        [
            "m=audio 0 RTP/AVP 0 96",
            "m=message 0 msrp/tcp *",
            "m=message 2855 TCP/MSRP *",
            "m=message 0 TCP/MSRP *"
        ]
    );
    assert_eq!(lines(&answer, "a=mid:"), ["a=mid:c"], "a refused line keeps no attributes");
    assert!(lines(&answer, "a=group").is_empty() && lines(&answer, "a=ice").is_empty());
    bound(&mut call);
    hears(&mut call, "m1-id", "one good line");
    ends(call);
}

//= IM D-4 test
//= IM D-31 test
//= IM D-10 test
//= IM D-12 test
#[cfg_attr(test, test)]
pub(crate) fn address_port_and_path_of_an_answer_are_ours_and_agree() {
    for (setup, role, port) in [("actpass", "passive", 2855), ("passive", "active", 9)] {
        let (mut call, answer) = answered(config(BOB), |call| call.script.sdp(setup, "text/plain"));
        assert_eq!(text::attribute(answer.message(), "setup").as_deref(), Some(role));
        assert_eq!(lines(&answer, "m="), [format!("m=message {port} TCP/MSRP *")]);
        assert_eq!(lines(&answer, "c="), ["c=IN IP4 192.0.2.2"]);
        let path = text::attribute(answer.message(), "path").unwrap_or_default();
        assert!(path.starts_with(&format!("msrp://192.0.2.2:{port}/")) && path.ends_with(";tcp"), "{path}");
        if role == "active" {
            call.world.expect_opened(call.alice);
            let bind = call.request("SEND");
            call.world.send(bind.way, call.script.msrp_respond(bind.message(), "200 OK"));
        } else {
            bound(&mut call);
        }
        hears(&mut call, "m1-id", "hello");
        ends(call);
    }
}

//= IM D-2 test
//= IM D-4 test
//= IM D-14 test
//= IM M-3 test
#[cfg_attr(test, test)]
pub(crate) fn the_first_of_the_path_is_connected_to_and_the_last_is_the_peer() {
    const PATH: &str = "msrp://192.0.2.1:2855/relay;tcp msrp://198.51.100.9:7/peer;tcp";
    let (mut call, _) = answered(config(BOB), |call| {
        // Neither the m-line nor the c-line says where to connect to.
        call.script
            .sdp("passive", "text/plain")
            .replace("m=message 2855", "m=message 9999")
            .replace("c=IN IP4 192.0.2.1", "c=IN IP4 198.51.100.9")
            .replace(&call.script.path, PATH)
    });
    call.world.expect_opened(call.alice);
    let bind = call.request("SEND");
    assert_eq!(text::header(bind.message(), "To-Path").as_deref(), Some(PATH));
    call.world.send(bind.way, call.script.msrp_respond(bind.message(), "200 OK"));
    let send = hears(&mut call, "m1-id", "through a relay");
    assert_eq!(text::header(send.message(), "To-Path").as_deref(), Some(PATH));
    assert_eq!(text::header(send.message(), "From-Path"), Some(call.script.peer_path.clone()));
    ends(call);
}

//= IM D-6 test
//= IM D-50 test
#[cfg_attr(test, test)]
pub(crate) fn the_origin_rises_with_each_change_and_the_times_are_the_offers() {
    let offer = |call: &Call| call.script.offer().replace("t=0 0", "t=3976588800 0");
    let (mut call, first) = answered(config(BOB), offer);
    assert_eq!(
        (lines(&first, "s="), lines(&first, "t=")),
        (vec!["s=-".into()], vec!["t=3976588800 0".into()])
    );
    bound(&mut call);
    let origin = |mail: &Mail| {
        let lines = lines(mail, "o=");
        let words: Vec<_> = lines.iter().flat_map(|line| line.split(' ')).map(str::to_owned).collect();
        let version: u64 = words.get(2).and_then(|word| word.parse().ok()).expect("a version");
        (words.get(1).cloned().expect("an id"), version)
    };
    let (id, version) = origin(&first);
    // The same, then hold, then the same again.
    for (changes, rises) in [("", 0), ("a=sendonly\r\n", 1), ("a=sendonly\r\n", 1)] {
        let number = if changes.is_empty() { 1 } else { 2 };
        let body = format!("{}{changes}", offer(&call)).replace("o=- 1 1 ", &format!("o=- 1 {number} "));
        let again = call.script.next(&mut call.world, "INVITE", "Contact: <sip:192.0.2.1:5060>\r\n", &body);
        call.send(again);
        let answer = call.status(200);
        assert_eq!(origin(&answer), (id.clone(), version + rises), "{changes:?}");
        call.ack(&answer);
    }
    ends(call);
}

//= IM D-7 test
#[cfg_attr(test, test)]
pub(crate) fn sizes_are_announced_and_obeyed() {
    let (mut call, answer) =
        answered(Config { max_size: 20_000, ..config(BOB) }, |call| call.script.offer() + "a=max-size:5\r\n");
    assert_eq!(text::attribute(answer.message(), "max-size").as_deref(), Some("20000"));
    let media = bound(&mut call);
    hears(&mut call, "m1-id", "12345");
    let session = call.session();
    let said = call.world.act(call.bob, |bob, now| bob.say(now, session, words("m2-id", "123456")));
    let failed = |what: &What| matches!(what, What::Progress { progress: Progress::Failed { .. }, .. });
    assert!(said.is_err() || call.at_bob().told().any(failed), "six octets are more than five");
    let chunk = call.script.msrp_chunk("tid9", "m9", "1-4/20001", b"four", '+');
    call.world.send(media, chunk);
    call.status(413);
    assert!(!call.world.rows().iter().any(|row| text::lossy(&row.octets).contains("123456")));
    ends(call);
}

//= IM D-8 test
#[cfg_attr(test, test)]
pub(crate) fn what_is_unknown_is_skipped_and_lines_are_counted() {
    let odd = |call: &Call| {
        let offer = call.script.offer().replace("\r\n", "\n");
        offer.replace("t=0 0\n", "t=0 0\nk=?\nq=what\na=tool:\u{1}\nb=:::\na=\n")
    };
    let (mut call, _) = answered(config(BOB), odd);
    bound(&mut call);
    ends(call);

    let many = |call: &Call, count: usize| {
        format!("{}{}", call.script.offer(), "m=audio 9 RTP/AVP 0\r\n".repeat(count))
    };
    let (mut call, answer) = answered(config(BOB), |call| many(call, 31));
    assert_eq!(lines(&answer, "m=").len(), 32);
    bound(&mut call);
    ends(call);
    let mut call = Call::new(accepting(Accept::All));
    call.send(call.script.invite_with("", &many(&call, 32)));
    call.refused(400);
    assert_eq!(call.invitations(), 0);
    call.over();
}

//= IM D-11 test
#[cfg_attr(test, test)]
pub(crate) fn holdconn_and_connection_say_nothing() {
    for more in ["a=setup:holdconn\r\n", "a=setup:holdconn\r\na=connection:existing\r\n"] {
        let (mut call, answer) =
            answered(config(BOB), |call| call.script.offer().replace("a=setup:actpass\r\n", more));
        assert_eq!(text::attribute(answer.message(), "setup").as_deref(), Some("passive"));
        assert!(lines(&answer, "a=connection").is_empty());
        bound(&mut call);
        ends(call);
    }
}

//= IM D-17 test
#[cfg_attr(test, test)]
pub(crate) fn the_session_id_of_a_path_is_what_counts() {
    let (mut call, _) = answered(config(BOB), |call| call.script.offer());
    let ours = call.script.peer_path.clone();
    // Somebody between us has put his own address into the path.
    call.script.peer_path = ours.replace("192.0.2.2:2855", "198.51.100.7:40000");
    let media = bound(&mut call);
    call.world.send(media, call.script.msrp_send("tid1", "m1", "by another name"));
    call.status(200);
    assert_eq!(call.at_bob().stored_texts(), ["by another name"]);
    // A guess at the session-id does not count.
    let mut guess = ours.clone().into_bytes();
    if let Some(octet) = guess.iter_mut().rev().nth(";tcp".len()) {
        *octet = if *octet == b'A' { b'B' } else { b'A' };
    }
    call.script.peer_path = text::lossy(&guess);
    assert_ne!(call.script.peer_path, ours);
    call.world.send(media, call.script.msrp_send("tid2", "m2", "guessed"));
    call.status(481);
    assert_eq!(call.at_bob().stored_texts(), ["by another name"]);
    ends(call);
}

//= IM D-3 test
//= IM D-32 test
//= IM D-33 test
//= IM M-32 test
#[cfg_attr(test, test)]
pub(crate) fn types_follow_the_offer_and_a_container_is_used_where_the_peer_wants_it() {
    for (types, wrapped, answer_types, content_type) in [
        ("image/png TEXT/plain;charset=utf-8 message/cpim", "*", "TEXT/plain message/cpim", "text/plain"),
        ("message/cpim text/plain", "*", "message/cpim text/plain", "message/cpim"),
        ("message/cpim", "text/plain", "message/cpim", "message/cpim"),
        (
            "*",
            "*",
            "message/cpim text/plain multipart/mixed multipart/alternative multipart/signed multipart/related \
             application/im-iscomposing+xml",
            "text/plain",
        ),
    ] {
        let (mut call, answer) = answered(config(BOB), |call| {
            call.script.sdp("actpass", types).replace("wrapped-types:*", &format!("wrapped-types:{wrapped}"))
        });
        let found = text::attribute(answer.message(), "accept-types").unwrap_or_default();
        assert!(found.eq_ignore_ascii_case(answer_types), "{types}: {found}");
        bound(&mut call);
        let send = hears(&mut call, "m1-id", "hello");
        let found = text::header(send.message(), "Content-Type").unwrap_or_default();
        assert!(found.starts_with(content_type), "{types}: {found}");
        let body = text::lossy(text::body(send.message()));
        assert!(body.ends_with("hello"), "{body}");
        assert_eq!(body.contains("From: <sip:bob@192.0.2.2>"), content_type == "message/cpim", "{body}");
        ends(call);
    }
}

//= IM D-34 test
//= IM D-54 test
#[cfg_attr(test, test)]
pub(crate) fn directions_are_turned_round_and_govern_content_only() {
    for (offered, answered_with) in [
        ("sendonly", Some("recvonly")),
        ("recvonly", Some("sendonly")),
        ("inactive", Some("inactive")),
        ("sendrecv", None),
    ] {
        let (mut call, answer) =
            answered(config(BOB), |call| format!("{}a={offered}\r\n", call.script.offer()));
        let found: Vec<_> = ["a=sendonly", "a=recvonly", "a=inactive"]
            .iter()
            .flat_map(|line| lines(&answer, line))
            .map(|line| line.trim_start_matches("a=").to_owned())
            .collect();
        assert_eq!(found, answered_with.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{offered}");
        // The connection is made and bound whatever the direction is.
        let media = bound(&mut call);
        let session = call.session();
        call.world.act(call.bob, |bob, now| bob.say(now, session, words("m1-id", "hello"))).expect("say");
        if offered == "sendonly" || offered == "inactive" {
            call.nothing_to(call.world.millis() + 5_000);
        } else {
            let send = call.request("SEND");
            call.world.send(media, call.script.msrp_respond(send.message(), "200 OK"));
        }
        ends(call);
    }
}

//= IM D-5 test
#[cfg_attr(test, test)]
pub(crate) fn each_session_has_a_path_that_nobody_can_guess() {
    let mut ids = Vec::new();
    let mut call = Call::new(Config { max_sessions: 32, ..accepting(Accept::All) });
    for _ in 0..16 {
        call.script = parlour_sim::Script::caller(&mut call.world, call.alice, call.way, BOB);
        call.send(call.script.invite());
        let answer = call.status(200);
        call.ack(&answer);
        let path = text::attribute(answer.message(), "path").unwrap_or_default();
        let id = path.trim_start_matches("msrp://192.0.2.2:2855/").trim_end_matches(";tcp").to_owned();
        // RFC 4975 14.1: 80 random bits, at 6 bits a character.
        assert!(id.len() * 6 >= 80 && !id.contains(['/', ':', ';']), "{path}");
        assert!(!ids.contains(&id), "{id} twice");
        ids.push(id);
        call.bye();
        call.status(200);
    }
    let to = call.world.address(call.bob, 2855);
    let stranger = call.world.open(call.alice, to, Service::Msrp);
    call.world.expect_opened(call.alice);
    call.world.send(stranger, call.script.msrp_empty("late"));
    call.status(481);
    call.over();
}
