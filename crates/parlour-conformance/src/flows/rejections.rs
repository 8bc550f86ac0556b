//! Which refusal for which reason: the rows of catalogue 1.3 that are policy or judged at the door, one test each.

use std::time::Duration;

use parlour_proto::client::Misuse;
use parlour_proto::client::{Blocked, Client, Decline, Shortage};
use parlour_proto::config::{
    Accept, AnonymousAnswer, BlockedAnswer, Config, DeclineScope, MediaSecurity, Proxy, Unwanted,
};
use parlour_proto::event::{Ended, Explain, Peer, What};
use parlour_proto::io::{AccountId, Now, Service, Transport};
use parlour_sim::{Mail, Script, text};

use crate::common::{BOB, Call, accepting, config};

/// What Bob answers to one INVITE without ringing.
fn refused(config: Config, status: u16, invite: impl Fn(&mut Call) -> String) -> (Call, Mail) {
    let mut call = Call::new(config);
    let invite = invite(&mut call);
    call.send(invite);
    let refusal = call.status(status);
    assert_eq!(call.invitations(), 0, "nobody is troubled");
    assert_eq!(call.times("180 Ringing"), []);
    let said = format!("answered {status} ");
    assert!(why(&call).iter().any(|why| why.decision.starts_with(&said)), "{status}: {:?}", why(&call));
    call.ack_refusal(&refusal);
    (call, refusal)
}

/// As [`refused`], for the usual INVITE; the call is over then.
fn answer(config: Config, status: u16) -> Mail {
    let (call, refusal) = refused(config, status, |call| call.script.invite());
    call.over();
    refusal
}

/// What Bob answers if his user declines so.
fn declined(config: Config, how: Decline, status: u16) -> Mail {
    let mut call = Call::new(config);
    call.send(call.script.invite());
    call.status(180);
    let session = call.session();
    call.world.act(call.bob, |bob, now| bob.decline(now, session, how)).expect("an invitation");
    let refusal = call.status(status);
    call.ack_refusal(&refusal);
    assert_eq!(missed(&call), [Ended::Declined { status }]);
    call.over();
    refusal
}

fn set(call: &mut Call, set: impl FnOnce(&mut Client, Now)) {
    let done = call.world.act(call.bob, |bob, now| {
        set(bob, now);
        Ok(())
    });
    done.expect("it cannot fail");
}

fn why(call: &Call) -> Vec<Explain> {
    let events = call.at_bob().events.iter().map(|(_, event)| &event.what);
    events.filter_map(|what| if let What::Explain(why) = what { Some(why.clone()) } else { None }).collect()
}

fn missed(call: &Call) -> Vec<Ended> {
    let missed = |what: &What| if let What::Missed { why, .. } = what { Some(why.clone()) } else { None };
    call.at_bob().told().filter_map(missed).collect()
}

fn row(mail: &Mail, name: &str) -> Option<String> {
    text::header(mail.message(), name)
}

//= IM G-1a test
//= IM R-2 test
#[cfg_attr(test, test)]
pub(crate) fn row_1_occupied() {
    for (after, told) in [(0, None), (90, Some("90"))] {
        let busy_retry_after = Duration::from_secs(after);
        let mut call = Call::new(Config { max_sessions: 1, busy_retry_after, ..accepting(Accept::All) });
        call.send(call.script.invite());
        let answer = call.status(200);
        call.ack(&answer);
        let mut other = Script::caller(&mut call.world, call.alice, call.way, BOB);
        other.local = "<sip:carol@example.com>".into();
        call.send(other.invite());
        let refusal = call.status(486);
        assert_eq!(row(&refusal, "Retry-After").as_deref(), told);
        let ack = other.ack_refusal(refusal.message());
        call.send(ack);
        assert_eq!(missed(&call), [Ended::Declined { status: 486 }], "shown as missed");
        call.bye();
        call.over();
    }
    let config = Config { busy_retry_after: Duration::from_secs(60), ..config(BOB) };
    assert_eq!(row(&declined(config, Decline::Busy, 486), "Retry-After").as_deref(), Some("60"));
}

//= IM G-1b test
#[cfg_attr(test, test)]
pub(crate) fn row_2_no_room_on_the_disk_or_in_memory_or_for_connections() {
    for short in [Shortage::Disk, Shortage::Memory, Shortage::Descriptors] {
        let mut call = Call::new(config(BOB));
        set(&mut call, |bob, _| bob.set_shortage(Some(short)));
        call.send(call.script.invite());
        let refusal = call.status(480);
        assert!(text::start_line(refusal.message()).ends_with("480 Resource limit"));
        let after: u32 = row(&refusal, "Retry-After").expect("it says when").parse().expect("seconds");
        assert!((30..=300).contains(&after), "{after}");
        call.ack_refusal(&refusal);
        assert_eq!(call.invitations(), 0);
        set(&mut call, |bob, _| bob.set_shortage(None));
        call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
        call.send(call.script.invite());
        call.status(180);
        call.send(call.script.cancel());
        call.refused(487);
        call.over();
    }
}

//= IM S-3 test
#[cfg_attr(test, test)]
pub(crate) fn row_4_declined_for_all_devices_or_for_this_one_or_for_now() {
    let here = || Config { decline_scope: DeclineScope::ThisDevice, ..config(BOB) };
    assert_eq!(row(&declined(config(BOB), Decline::Declined, 603), "Reason"), None);
    declined(here(), Decline::Declined, 486);
    let later =
        |minutes: u64, reachable| Decline::Later { after: Duration::from_secs(60 * minutes), reachable };
    let after = |mail: &Mail| row(mail, "Retry-After");
    assert_eq!(after(&declined(config(BOB), later(10, None), 603)).as_deref(), Some("600"));
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(after(&declined(here(), later(10, hour), 480)).as_deref(), Some("600;duration=3600"));
    assert_eq!(after(&declined(config(BOB), later(0, None), 603)).as_deref(), Some("1"), "a positive number");
}

//= IM S-3 test
//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn row_5_unwanted_is_607_only_where_it_is_known_and_only_by_the_users_act() {
    declined(config(BOB), Decline::Unwanted, 603);
    let known = || Config { unwanted: Unwanted::Unwanted, ..config(BOB) };
    declined(known(), Decline::Unwanted, 607);
    declined(known(), Decline::Declined, 603);
    answer(Config { blocked: vec!["sip:alice@192.0.2.1".into()], ..known() }, 480);
}

//= IM G-1c test
//= IM X-4 test
#[cfg_attr(test, test)]
pub(crate) fn row_6_blocked() {
    let blocked = vec!["sip:alice@192.0.2.1".to_owned()];
    for (blocked_answer, status) in
        [(BlockedAnswer::Unavailable, 480), (BlockedAnswer::Decline, 603), (BlockedAnswer::Busy, 486)]
    {
        let config = Config { blocked: blocked.clone(), blocked_answer, ..config(BOB) };
        let (call, refusal) = refused(config, status, |call| call.script.invite());
        assert_eq!(row(&refusal, "Retry-After"), None);
        assert_eq!(missed(&call), [], "whom you block, you do not hear of");
        call.over();
    }
}

//= IM X-4 test
#[cfg_attr(test, test)]
pub(crate) fn who_is_blocked_while_he_rings_is_refused_and_comes_no_more() {
    let mut call = Call::ringing();
    let block = |verified| vec![Blocked { address: "sip:alice@192.0.2.1:5060".into(), verified }];
    set(&mut call, |bob, now| bob.set_blocked(now, &block(false)));
    call.refused(480);
    let asserted = "P-Asserted-Identity: <sip:alice@192.0.2.1>\r\n";
    let again = |call: &mut Call, rows: &str| {
        call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
        let invite = call.script.invite_with(rows, &call.script.offer());
        call.send(invite);
    };
    again(&mut call, asserted);
    call.refused(480);
    set(&mut call, |bob, now| bob.set_blocked(now, &[]));
    again(&mut call, "");
    call.status(180);
    call.send(call.script.cancel());
    call.refused(487);
    call.over();

    // The real Alice is another than who claims to be her; but who blocks the real one has also blocked the others.
    let hop = parlour_proto::config::Hop { address: [192, 0, 2, 1].into(), bits: 32 };
    for (verified, status) in [(false, 180), (true, 480)] {
        let mut call = Call::new(Config { trusted_hops: vec![hop], ..config(BOB) });
        set(&mut call, |bob, now| bob.set_blocked(now, &block(verified)));
        let rows = "P-Asserted-Identity: <sip:alice@192.0.2.1:5060>\r\n";
        call.send(call.script.invite_with(rows, &call.script.offer()));
        call.status(status);
        if status == 180 {
            call.send(call.script.cancel());
        }
        call.world.run(5_000);
        call.over();
    }
}

//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn row_7_anonymous() {
    for (anonymous_answer, status) in [(AnonymousAnswer::Disallowed, 433), (AnonymousAnswer::Decline, 603)] {
        let config = Config { refuse_anonymous: true, anonymous_answer, ..config(BOB) };
        let (call, _) = refused(config, status, |call| {
            call.script.local = "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
            call.script.invite()
        });
        assert_eq!(missed(&call), []);
        call.over();
    }
}

//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn row_8_nobody_may_disturb_and_when_that_ends() {
    let refusal = answer(Config { do_not_disturb: true, ..config(BOB) }, 480);
    assert_eq!(row(&refusal, "Retry-After"), None, "nobody knows when it ends");

    // The world begins on Thursday 2026-01-01 at 00:00 UTC.
    let quiet = |text: &str| Config { quiet_hours: vec![text.parse().expect("hours")], ..config(BOB) };
    let refusal = answer(quiet("wed 22:00-07:00"), 480);
    let free = 7 * 86_400 - 9 * 3600;
    assert_eq!(row(&refusal, "Retry-After"), Some(format!("{};duration={free}", 7 * 3600)));
    assert_eq!(row(&answer(quiet("mon-sun"), 480), "Retry-After"), None, "it never ends");

    // In New York it is Wednesday, 19:00.
    let mut call = Call::new(quiet("wed 19:30-20:00"));
    set(&mut call, |bob, _| bob.set_utc_offset(-5 * 3600));
    call.world.run_to(1_799_000);
    call.send(call.script.invite());
    call.status(180);
    call.send(call.script.cancel());
    call.refused(487);
    call.world.run_to(1_801_000);
    call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(call.script.invite());
    let refusal = call.status(480);
    assert!(row(&refusal, "Retry-After").is_some_and(|after| after.starts_with("1799;")));
    call.ack_refusal(&refusal);
    assert_eq!(missed(&call).last(), Some(&Ended::Declined { status: 480 }));
    call.over();
}

#[cfg_attr(test, test)]
pub(crate) fn rows_10_to_18_and_28_are_judged_at_the_door() {
    let offer = |call: &Call| call.script.offer();
    let with =
        |rows: &'static str| move |call: &mut Call| call.script.invite_with(rows, &call.script.offer());
    let door = |status: u16, invite: &dyn Fn(&mut Call) -> String| {
        let (call, refusal) = refused(config(BOB), status, invite);
        assert_eq!(missed(&call), [], "{status}: what we cannot take is nobody's call");
        call.over();
        refusal
    };
    // 12: no format in common, no protocol that we speak, no MSRP at all.
    for (what, code) in [
        (("text/plain message/cpim", "image/png"), "305"),
        (("TCP/MSRP", "RTP/AVP"), "302"),
        (("m=message", "m=audio"), "304"),
    ] {
        let refusal = door(488, &|call| {
            let body = offer(call).replace(what.0, what.1);
            let body = body.replace("a=accept-wrapped-types:*\r\n", "");
            call.script.invite_with("", &body)
        });
        assert!(row(&refusal, "Warning").is_some_and(|warning| warning.starts_with(code)), "{what:?}");
    }
    // 13
    let refusal = door(400, &|call| call.script.invite_with("", "v=0\r\nnonsense\r\n"));
    assert!(
        text::start_line(refusal.message()).len() > "SIP/2.0 400 Bad Request".len(),
        "it says what is wrong"
    );
    // 14
    let refusal = door(415, &|call| call.script.invite().replace("application/sdp", "application/x-unknown"));
    assert!(row(&refusal, "Accept").is_some_and(|accept| accept.contains("application/sdp")));
    let refusal = door(415, &with("Content-Encoding: gzip\r\n"));
    assert_eq!(row(&refusal, "Accept-Encoding").as_deref(), Some("identity"));
    // 15
    let refusal = door(420, &with("Require: timer, foo, bar\r\n"));
    assert_eq!(row(&refusal, "Unsupported").as_deref(), Some("foo, bar"));
    // 16
    door(404, &|call| call.script.invite().replacen("INVITE sip:bob@", "INVITE sip:nobody@", 1));
    door(416, &|call| call.script.invite().replacen(&format!("INVITE {BOB}"), "INVITE urn:x:y", 1));
    // 17
    door(480, &with("Reject-Contact: *;+g.oma.sip-im\r\n"));
    // 28
    door(400, &|call| {
        let contact = format!("Contact: <sip:{}>\r\n", call.script.host);
        call.script.invite().replace(&contact, "")
    });
    door(400, &with("Max-Forwards: many\r\n"));
}

#[cfg_attr(test, test)]
pub(crate) fn row_26_the_same_invitation_by_another_way() {
    let mut call = Call::ringing();
    let mut other = call.script.clone();
    (other.branch, other.remote_tag) = (format!("{}-2", call.script.branch), None);
    call.send(other.invite());
    let refusal = call.status(482);
    let ack = other.ack_refusal(refusal.message());
    call.send(ack);
    assert_eq!(call.invitations(), 1, "it rings once");
    assert_eq!(missed(&call), [], "and goes on ringing");
    call.send(call.script.cancel());
    call.refused(487);
    call.over();
}

/// Alice reaches Bob over TCP, where there is room for more than a datagram.
fn over_tcp(config: Config) -> Call {
    let mut call = Call::new(config);
    let to = call.world.address(call.bob, 5060);
    call.way = call.world.open(call.alice, to, Service::Sip);
    call.world.expect_opened(call.alice);
    call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
    call
}

#[cfg_attr(test, test)]
pub(crate) fn row_27_a_body_or_a_message_that_is_too_large() {
    let mut call = over_tcp(config(BOB));
    let padded = |call: &Call, length: usize| {
        let offer = format!("{}a=x:", call.script.offer());
        format!("{offer}{}\r\n", "y".repeat(length - offer.len() - 2))
    };
    let large = padded(&call, 64 * 1024 + 1);
    call.send(call.script.invite_with("", &large));
    let refusal = call.status(413);
    assert_eq!(row(&refusal, "Retry-After"), None, "it will be too large for ever");
    assert!(why(&call).iter().any(|why| why.input == "65537 octets, and 65536 are taken"));
    call.ack_refusal(&refusal);
    assert_eq!((call.invitations(), missed(&call)), (0, vec![]));
    // The connection lives on, and what fits is taken.
    call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
    let fits = padded(&call, 64 * 1024);
    call.send(call.script.invite_with("", &fits));
    let ringing = call.status(180);
    call.script.learn(ringing.message());
    // Inside the dialog it is no different.
    let large = padded(&call, 64 * 1024 + 1);
    let mut inside = call.script.clone();
    let update = inside.next(&mut call.world, "UPDATE", "Contact: <sip:192.0.2.1:5060>\r\n", &large);
    call.send(update);
    call.status(413);
    call.send(call.script.cancel());
    call.refused(487);
    call.over();

    let mut narrow = config(BOB);
    narrow.limits.stream_message = 4096;
    for (config, length) in [(config(BOB), 300 * 1024), (narrow, 4096)] {
        let mut call = over_tcp(config);
        call.send(call.script.invite_with("", &"a".repeat(length)));
        call.status(513);
        assert_eq!(call.invitations(), 0);
        call.over();
    }
}

/// The first message of an invitation is a message: `max_size` counts.
#[cfg_attr(test, test)]
pub(crate) fn row_27_a_first_message_that_is_too_large() {
    let with_first = |call: &Call, length: usize| {
        let head = "From: <sip:alice@x>\r\n\r\nContent-Type: text/plain\r\n\r\n";
        let first = format!("{head}{}", "a".repeat(length - head.len()));
        let (sdp, cpim) = ("Content-Type: application/sdp", "Content-Type: message/cpim");
        let body = format!(
            "--b\r\n{sdp}\r\n\r\n{}\r\n--b\r\n{cpim}\r\n\r\n{first}\r\n--b--\r\n",
            call.script.offer()
        );
        call.script.invite_with("", &body).replacen(sdp, "Content-Type: multipart/mixed;boundary=b", 1)
    };
    let small = || Config { max_size: 1000, ..config(BOB) };
    let (call, _) = refused(small(), 413, |call| with_first(call, 1001));
    assert_eq!(missed(&call), []);
    call.over();
    let mut call = Call::new(small());
    call.send(with_first(&call, 1000));
    call.status(180);
    call.send(call.script.cancel());
    call.refused(487);
    call.over();
}

//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn row_32_the_service_is_switched_off() {
    let refusal = answer(Config { im_service: false, ..config(BOB) }, 488);
    assert!(row(&refusal, "Warning").is_some_and(|warning| warning.starts_with("399 parlour ")));
}

//= IM G-1c test
#[cfg_attr(test, test)]
pub(crate) fn row_33_sent_elsewhere() {
    let redirect = Some("sip:bob@office.example.com".to_owned());
    let refusal = answer(Config { redirect: redirect.clone(), ..config(BOB) }, 302);
    assert_eq!(row(&refusal, "Contact").as_deref(), Some("<sip:bob@office.example.com>"));
    // Who is blocked does not learn where.
    let blocked = vec!["sip:alice@192.0.2.1".to_owned()];
    assert_eq!(row(&answer(Config { redirect, blocked, ..config(BOB) }, 480), "Contact"), None);
}

//= IM D-21 test
#[cfg_attr(test, test)]
pub(crate) fn row_34_media_without_tls() {
    let strict = || Config { media_security: MediaSecurity::RequireTls, ..config(BOB) };
    let offer = |call: &Call| call.script.offer();
    let tls = |offer: &str| offer.replace("TCP/MSRP", "TCP/TLS/MSRP").replace("msrp:", "msrps:");
    let both = |offer: &str| {
        let plain = offer.split_once("m=message").map(|(_, line)| format!("m=message{line}"));
        tls(offer) + &plain.unwrap_or_default()
    };
    // Over TCP, where a refusal may be longer than what it refuses.
    let warned = |config: Config, body: &dyn Fn(&str) -> String| {
        let mut call = over_tcp(config);
        let body = body(&offer(&call));
        call.send(call.script.invite_with("", &body));
        let refusal = call.refused(488);
        assert_eq!((call.invitations(), missed(&call)), (0, vec![]));
        call.over();
        (row(&refusal, "Warning").unwrap_or_default(), text::lossy(text::body(refusal.message())))
    };
    // There is nothing that such a client could take instead: it tells of no capabilities either.
    let required = "302 parlour \"Transport protocol not available: TLS is required\"";
    assert_eq!(warned(strict(), &str::to_owned), (required.to_owned(), String::new()));
    assert_eq!(
        warned(strict(), &|_| String::new()),
        (required.to_owned(), String::new()),
        "nor is plain offered"
    );
    // MSRP over TLS is not built: it is refused as what we do not speak, and never taken for plain.
    for body in [&tls as &dyn Fn(&str) -> String, &both] {
        let (warning, description) = warned(strict(), body);
        assert_eq!(warning, "302 parlour \"Transport protocol not available: TCP/TLS/MSRP\"");
        assert_eq!(description, "");
    }
    let (warning, description) = warned(config(BOB), &tls);
    assert_eq!(warning, "302 parlour \"Transport protocol not available: TCP/TLS/MSRP\"");
    assert!(description.contains("m=message 0 TCP/MSRP *"), "{description}");

    let mut call = Call::new(strict());
    let via = Proxy { host: "192.0.2.1".into(), port: None, transport: Transport::Udp };
    let invited = call.world.act(call.bob, |bob, now| {
        bob.invite(now, AccountId(0), "sip:alice@192.0.2.1", Some(via.clone())).map(drop)
    });
    assert_eq!(invited, Err(Misuse::TlsRequired));
    call.nothing_to(1000);
    call.over();
}

//= IM R-6 test
//= IM X-10 test
#[cfg_attr(test, test)]
pub(crate) fn one_peer_rings_once_and_takes_not_all_places() {
    let mut call = Call::ringing();
    let try_again = |call: &mut Call, name: &str, status: u16| {
        let mut other = Script::caller(&mut call.world, call.alice, call.way, BOB);
        other.local = format!("<sip:{name}@192.0.2.1:5060>");
        call.send(other.invite());
        let answer = call.status(status);
        if status >= 300 {
            let ack = other.ack_refusal(answer.message());
            call.send(ack);
        }
        other
    };
    for _ in 0..5 {
        try_again(&mut call, "alice", 486);
    }
    assert_eq!(call.invitations(), 1, "told once");
    // max_pending_invites is 10.
    for name in 0..9 {
        try_again(&mut call, &format!("caller{name}"), 180);
    }
    for _ in 0..20 {
        try_again(&mut call, "late", 486);
    }
    assert_eq!(missed(&call), [Ended::Declined { status: 486 }], "told once a minute");
    call.world.run_to(61_000);
    try_again(&mut call, "late", 486);
    assert_eq!(missed(&call).len(), 2);
    call.world.run_to(200_000);
    call.over();
}

//= IM R-6 test
#[cfg_attr(test, test)]
pub(crate) fn a_peer_has_so_many_sessions_at_most() {
    let mut call = Call::new(config(BOB));
    let mut standing = Vec::new();
    for _ in 0..3 {
        let mut script = Script::caller(&mut call.world, call.alice, call.way, BOB);
        call.send(script.invite());
        let ringing = call.status(180);
        script.learn(ringing.message());
        call.accept();
        let answer = call.status(200);
        script.learn(answer.message());
        let ack = script.ack(&mut call.world, answer.message());
        call.send(ack);
        call.world.run(0);
        standing.push(script);
    }
    call.send(call.script.invite());
    call.refused(486);
    assert_eq!(call.invitations(), 3);
    for script in &mut standing {
        let bye = script.bye(&mut call.world);
        call.send(bye);
    }
    call.world.run(1000);
    call.over();
}

/// Every decision about an invitation bears its number and Call-ID, until there is a session for it.
#[cfg_attr(test, test)]
pub(crate) fn decisions_belong_to_their_invitation() {
    let mut call = Call::new(Config { refuse_anonymous: true, ..config(BOB) });
    let call_id = call.script.call_id.clone();
    call.script.local = "<sip:anonymous@anonymous.invalid>".to_owned();
    call.send(
        call.script.invite_with("P-Asserted-Identity: <sip:eve@example.com>\r\n", &call.script.offer()),
    );
    call.refused(433);
    let path = why(&call);
    assert!(path.iter().all(|why| {
        why.invitation
            .as_ref()
            .is_some_and(|invitation| invitation.number == 1 && invitation.call_id == call_id)
    }));
    let decisions: Vec<_> = path.iter().map(|why| (why.clause, why.decision.as_str())).collect();
    assert_eq!(decisions[0], ("G-1", "an invitation came"));
    assert!(path[0].input.contains("192.0.2.1, not trusted"), "{}", path[0].input);
    assert_eq!(decisions[1].0, "R-32");
    assert!(
        decisions[1].1.contains("trusted hop only"),
        "why the asserted name does not count: {decisions:?}"
    );
    assert_eq!(decisions.last(), Some(&("G-1c", "answered 433 Anonymity Disallowed")));

    call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(call.script.invite());
    call.status(180);
    let session = call.session();
    call.send(call.script.cancel());
    call.refused(487);
    let events = call.at_bob().events.iter().map(|(_, event)| event);
    let of_session: Vec<_> = events.filter(|event| event.session == Some(session)).collect();
    let explains = |what: &What, number| {
        matches!(what, What::Explain(Explain { invitation, .. })
            if invitation.as_ref().map(|invitation| invitation.number) == number)
    };
    assert!(of_session.iter().any(|event| explains(&event.what, Some(2))), "session and invitation are tied");
    assert!(
        of_session.iter().any(|event| explains(&event.what, None)),
        "after that, the session alone is named"
    );
    // What cannot be read as a whole is an invitation, too.
    call.script = Script::caller(&mut call.world, call.alice, call.way, BOB);
    call.send(call.script.invite().replace("CSeq: 1 INVITE", "CSeq: 1 OPTIONS"));
    call.status(400);
    let path = why(&call);
    assert_eq!(
        path.last().and_then(|why| why.invitation.as_ref()).map(|invitation| invitation.number),
        Some(3)
    );
    call.over();
}

/// Who is told as missed is named as far as he is known.
#[cfg_attr(test, test)]
pub(crate) fn a_missed_caller_is_named() {
    let (call, _) = refused(Config { do_not_disturb: true, ..config(BOB) }, 480, |call| call.script.invite());
    let peers: Vec<Peer> = call
        .at_bob()
        .told()
        .filter_map(|what| if let What::Missed { peer, .. } = what { Some(peer.clone()) } else { None })
        .collect();
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].address.as_str(), peers[0].verified), ("sip:alice@192.0.2.1:5060", false));
    call.over();
}
