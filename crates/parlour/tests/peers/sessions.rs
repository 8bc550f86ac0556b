//! SIPp changes sessions that stand: session timers (RFC 4028), hold, other paths, streams that end, offers that are
//! refused, a connection that is lost.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::callers::{BOTH, Transport};
use crate::scenario::{Check, OFFER, Scenario};
use crate::stage::{Msrp, Player, Stage, WAIT};

const HERE: &str = "127.0.0.1";

/// Bob says this, and Carol gets it.
fn hears(bob: &mut Agent, media: &mut Msrp, text: &str) {
    bob.tell(&json!({"do": "say", "text": text}));
    assert_eq!(media.hear().1, text);
    bob.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
}

/// Carol says this, and Bob gets it.
fn says(bob: &mut Agent, media: &mut Msrp, text: &str) {
    media.say(text);
    assert_eq!(bob.await_such("message", WAIT, |event| event["direction"] == "in")["text"], text);
}

/// A scenario that plays, and its session.
fn begin(stage: &mut Stage, transport: Transport, scenario: &Scenario) -> (Player, Value) {
    let player = stage.play(transport, HERE, scenario);
    let session = stage.bob.await_event("established", WAIT)["session"].clone();
    (player, session)
}

/// Bob leaves; Carol's scenario ends with that.
fn over(bob: &mut Agent, mut player: Player) {
    bob.tell(&json!({"do": "leave"}));
    player.program.succeed(WAIT);
    assert_eq!(bob.await_event("ended", WAIT)["end"]["how"], "left");
}

//= IM D-56 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn session_timers_are_granted_refreshed_and_refused() {
    let mut stage = Stage::new("timers", "all", &[], "session_expires = 1200");
    let no_min: Check<'_> = ("msg", "!Min-SE:");
    let granted = |value: &'static str| [("Session-Expires:", value), ("Require:", "^ *timer *$"), no_min];
    let bare = "Supported: timer\n";
    let refreshed = "Supported: timer\nSession-Expires: 600;refresher=uac\nMin-SE: 90\n";
    for transport in BOTH {
        for scenario in [
            // Who asks gets what was asked; refreshes keep the roles or change them.
            Scenario::new()
                .call(
                    "Supported: timer\nSession-Expires: 3600;refresher=uas\nMin-SE: 90",
                    &granted("^ *3600;refresher=uas *$"),
                )
                .request("UPDATE", refreshed, "")
                .expect(200, &[&granted("^ *600;refresher=uac *$")[..], &[("msg", "!m=message")]].concat())
                .request("INVITE", bare, OFFER)
                .expect(200, &granted("^ *600;refresher=uac *$"))
                .ack("")
                .request("UPDATE", "Supported: timer\nSession-Expires: 80\n", "")
                .expect(422, &[("Min-SE:", "^ *90 *$"), ("msg", "!Session-Expires:")])
                .bye(),
            // Who knows timers and asks for none gets ours.
            Scenario::new().call(bare, &granted("^ *1200;refresher=uas *$")).bye(),
            // Who does not know them is not made to.
            Scenario::new()
                .call(
                    "Session-Expires: 90;refresher=uac\n",
                    &[("Session-Expires:", "^ *90;refresher=uas *$"), ("msg", "!Require:")],
                )
                .bye(),
            Scenario::new().call("", &[("msg", "!Session-Expires:"), ("msg", "!Require:")]).bye(),
            // Too short.
            Scenario::new().invite("Supported: timer\nx: 60\nMin-SE: 30\n").refused(
                422,
                &[("Min-SE:", "^ *90 *$"), ("msg", "^SIP/2\\.0 422 Session Interval Too Small")],
            ),
            Scenario::new()
                .invite("k: timer\nSession-Expires: 89;refresher=uas\nMin-SE: 120\n")
                .refused(422, &[("Min-SE:", "^ *120 *$")]),
        ] {
            stage.whole(transport, HERE, &scenario);
        }
    }
    stage.bob.caught_up();
    assert_eq!((stage.bob.count("established"), stage.bob.count("invited")), (8, 8));
    stage.judged(26);
}

//= IM D-56 test
//= IM S-7 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn the_captured_server_of_a_phone_network_is_answered() {
    let mut stage = Stage::new("captured", "auto", &["--trust", HERE], "");
    let rows = "Contact: <sip:im-session-4711@[local_ip]:[local_port];transport=[transport]>\n\
        P-Asserted-Identity: \"movial11\" <sip:movial11@ims.example>\n\
        P-Charging-Vector: icid-value=AS-127.0.0.1-1177; orig-ioi=ims.example\n\
        Accept-Contact: *;+g.oma.sip-im\nSession-Expires: 3600;refresher=uas\nMin-SE: 90\nSupported: timer\n\
        Allow: INVITE, ACK, BYE, CANCEL, UPDATE\nServer: IM-serv/OMA1.0 Dummy/v1.01\n\
        Via: SIP/2.0/[transport] 192.0.2.7:5060;branch=z9hG4bKfar1, SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKfar2\n";
    let offer = OFFER
        .replace("text/plain message/cpim", "message/cpim text/plain\na=connection:new")
        .replace("a=setup:active", "a=setup:actpass\na=accept-wrapped-types:*");
    let checks: [Check<'_>; 10] = [
        ("Session-Expires:", "^ *3600;refresher=uas *$"),
        ("Require:", "^ *timer *$"),
        ("P-Preferred-Identity:", "<sip:bob@127\\.0\\.0\\.1>"),
        ("Accept:", "application/sdp"),
        ("msg", "branch=z9hG4bKfar1.*branch=z9hG4bKfar2"),
        ("msg", "!P-Charging-Vector"),
        ("body", "a=accept-types:message/cpim"),
        ("body", "a=setup:passive"),
        ("body", "m=message [1-9][0-9]* TCP/MSRP \\*"),
        ("body", "a=path:msrp://127\\.0\\.0\\.1:[0-9]+/[^ ;]{16,};tcp"),
    ];
    for transport in BOTH {
        let scenario = Scenario::new().request("INVITE", rows, &offer).expect(200, &checks).ack("").left();
        let (mut player, _) = begin(&mut stage, transport, &scenario);
        let invited = stage.bob.seen.iter().rfind(|event| event["type"] == "invited").expect("it came first");
        let movial =
            json!({"address": "sip:movial11@ims.example", "display_name": "movial11", "verified": true});
        assert_eq!(invited["peer"], movial);
        let established = stage.bob.seen.last().expect("it was awaited");
        let identity = established["session_identity"].as_str().unwrap_or_default();
        assert!(identity.starts_with("<sip:im-session-4711@127.0.0.1:"), "{identity}");
        let mut media = player.connect();
        stage.bob.await_event("connected", WAIT);
        // Only message/cpim is between them.
        media.say("Hello from the network");
        over(&mut stage.bob, player);
    }
    stage.judged(4);
}

//= IM D-50 test
//= IM D-51 test
//= IM D-53 test
//= IM D-54 test
//= IM S-1a test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn refused_offers_change_nothing_and_hold_stops_what_bob_says() {
    let mut stage = Stage::new("hold", "all", &[], "");
    let version = |number: u32| OFFER.replace("1 1 IN", &format!("1 {number} IN"));
    let ours: Check<'_> = ("body", "m=message [1-9][0-9]* TCP/MSRP");
    let scenario = Scenario::new()
        .call("", &[("body", "!a=recvonly"), ours])
        .request("INVITE", "", &version(2).replace("TCP/MSRP", "TCP/FOO"))
        .refused(488, &[("Warning:", "^ *302 [^ ]+ \"")])
        .request("UPDATE", "", &version(2).replace("text/plain message/cpim", "foo/bar"))
        .expect(488, &[("Warning:", "^ *305 [^ ]+ \""), ("msg", "!\nContact:")])
        .request("UPDATE", "", "v=0")
        .expect(400, &[])
        // An offer that crosses Bob's.
        .request("INVITE", "", "")
        .expect(200, &[ours, ("body", "a=setup:"), ("body", "a=path:msrp:")])
        .request("UPDATE", "", &version(2))
        .expect(491, &[("msg", "^SIP/2\\.0 491 Request Pending")])
        .ack(&version(2))
        .request("UPDATE", "", &(version(3) + "\na=sendonly"))
        .expect(200, &[("body", "a=recvonly"), ("body", "c=IN IP4 127\\.0\\.0\\.1"), ours])
        .gate()
        .request("INVITE", "", &version(4))
        .expect(200, &[("body", "!a=recvonly"), ("body", "!a=inactive"), ours])
        .ack("")
        .left();
    for transport in BOTH {
        let (mut player, _) = begin(&mut stage, transport, &scenario);
        let (bob, mut media) = (&mut stage.bob, player.connect());
        bob.await_event("held", WAIT);
        says(bob, &mut media, "This gets through");
        let seen = bob.seen.len();
        bob.tell(&json!({"do": "say", "message_id": "waiting", "text": "This waits"}));
        bob.caught_up();
        player.await_gate();
        player.pass_gate();
        bob.await_event("resumed", WAIT);
        let left = bob.seen[seen..].iter().find(|event| event["type"] == "progress");
        assert_eq!(left, None, "nothing leaves on hold");
        assert_eq!(media.hear(), ("waiting".to_owned(), "This waits".to_owned()));
        bob.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
        says(bob, &mut media, "Still there");
        over(bob, player);
    }
    assert_eq!(stage.bob.count("held"), 2);
    stage.judged(18);
}

//= IM D-51 test
//= IM D-55 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_path_changes_and_a_stream_that_ends_ends_the_session() {
    let mut stage = Stage::new("moved", "all", &[], "");
    let moved = OFFER.replace("1 1 IN", "1 2 IN").replace("/carol", "/moved");
    let ended = moved.replace("1 2 IN", "1 3 IN").replace("m=message 9", "m=message 0");
    let scenario = Scenario::new()
        .call("", &[])
        .gate()
        .request("UPDATE", "", &moved)
        .expect(200, &[("body", "m=message [1-9]"), ("body", "a=setup:passive")])
        .gate()
        .request("INVITE", "", &ended)
        .expect(200, &[("body", "m=message 0 TCP/MSRP"), ("body", "!a=recvonly")])
        .ack("")
        .left();
    for transport in BOTH {
        let (mut player, session) = begin(&mut stage, transport, &scenario);
        let bob = &mut stage.bob;
        let mut old = player.connect();
        says(bob, &mut old, "on the old path");
        player.await_gate();
        player.pass_gate();
        let mut new = player.connect_to(1, "moved");
        hears(bob, &mut new, "on the new path");
        player.await_gate();
        player.pass_gate();
        assert!(old.is_closed() && new.is_closed(), "Bob closes what is replaced, and what ends");
        player.program.succeed(WAIT);
        let over = bob.await_such("ended", WAIT, |event| event["session"] == session);
        assert_eq!(over["end"]["how"], "peer_left");
    }
    stage.judged(8);
}

//= IM D-52 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark, and 10 s: run ./check"]
fn a_lost_connection_is_mended_by_bobs_offer() {
    let mut stage = Stage::new("lost", "all", &[], "");
    let again = OFFER.replace("1 1 IN", "1 2 IN").replace("/carol", "/again");
    let contact = "Contact: <sip:carol@[local_ip]:[local_port];transport=[transport]>\n";
    let offer: [Check<'_>; 5] = [
        ("Contact:", "<sip:bob@127\\.0\\.0\\.1:"),
        ("Content-Type:", "application/sdp"),
        ("body", "o=[^ ]+ [0-9]+ 2 IN IP4"),
        ("body", "a=path:msrp://127\\.0\\.0\\.1:[0-9]+/[^ ;]{16,};tcp"),
        ("body", "a=setup:"),
    ];
    let scenario = Scenario::new()
        .call("", &[])
        .serve("INVITE", &offer, "200 OK", contact, &again)
        .serve("ACK", &[("CSeq:", "^ *1 ACK")], "", "", "")
        .left();
    // Both at once, as each waits for some seconds.
    let mut calls = BOTH.map(|transport| begin(&mut stage, transport, &scenario));
    for (player, session) in &mut calls {
        let mut media = player.connect();
        stage.bob.tell(&json!({"do": "say", "session": session, "text": "never acknowledged"}));
        media.take();
    }
    for (mut player, session) in calls {
        let mut media = player.connect_to(1, "again");
        assert_eq!(media.hear().1, "never acknowledged");
        let bob = &mut stage.bob;
        bob.await_such("progress", WAIT, |event| {
            event["session"] == session && event["state"] == "acknowledged"
        });
        assert!(bob.seen.iter().any(|event| event["type"] == "reconnecting" && event["session"] == session));
        bob.tell(&json!({"do": "leave", "session": session}));
        player.program.succeed(WAIT);
    }
    stage.judged(8);
}
