//! SIPp invites Bob in ways that are neither wrong nor usual, and tries what MSRP allows and what it does not.

use serde_json::json;

use crate::callers::BOTH;
use crate::scenario::{Check, OFFER, Scenario};
use crate::stage::{Stage, WAIT};

const HERE: &str = "127.0.0.1";
const STRANGER: &str = "127.0.0.2";

#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn an_invitation_that_nobody_answers_gets_480() {
    let mut stage = Stage::new("unanswered", "ask", &[], "ring_timeout = 1");
    let scenario = Scenario::new()
        .invite("")
        .expect(180, &[("P-Preferred-Identity:", "<sip:bob@127\\.0\\.0\\.1>"), ("msg", "!a=path")])
        .refused(480, &[("P-Preferred-Identity:", "<sip:bob@127\\.0\\.0\\.1>"), ("msg", "!a=path")]);
    let players = BOTH.map(|transport| stage.play(transport, HERE, &scenario));
    for mut player in players {
        player.program.succeed(WAIT);
        stage.bob.await_event("missed", WAIT);
    }
    assert_eq!(stage.bob.count("invited"), 2);
    stage.judged(4);
}

//= IM S-1a test
//= IM D-10 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn offers_with_more_with_less_and_with_none() {
    let mut stage = Stage::new("offers", "all", &[], "");
    let audio = OFFER.replace("m=message", "m=audio 40000 RTP/AVP 0\nm=message");
    let taken: [Check<'_>; 3] = [
        ("body", "m=audio 0 RTP/AVP 0.*m=message [1-9][0-9]* TCP/MSRP"),
        ("body", "a=setup:passive"),
        ("body", "a=path:msrp:"),
    ];
    let offered: [Check<'_>; 3] =
        [("body", "a=setup:actpass"), ("body", "m=message [1-9]"), ("Content-Type:", "application/sdp")];
    let plain = OFFER.replace("\na=setup:active", "");
    for transport in BOTH {
        // The audio line of no use keeps its place; a peer without an offer takes ours.
        for scenario in [
            Scenario::new().request("INVITE", "", &audio).expect(200, &taken).ack("").left(),
            Scenario::new().request("INVITE", "", "").expect(200, &offered).ack(OFFER).left(),
        ] {
            let mut player = stage.play(transport, HERE, &scenario);
            stage.bob.await_event("established", WAIT);
            let mut media = player.connect();
            media.say("hello");
            stage.bob.await_such("message", WAIT, |event| event["text"] == "hello");
            stage.bob.tell(&json!({"do": "leave"}));
            player.program.succeed(WAIT);
            stage.bob.await_event("ended", WAIT);
        }
        // RFC 4975: who offers connects, where nothing is said about it.
        let scenario = Scenario::new().request("INVITE", "", &plain);
        stage.whole(transport, HERE, &scenario.expect(200, &[("body", "!a=setup:active")]).ack("").bye());
    }
    stage.judged(10);
}

//= IM X-1 test
//= IM R-34 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn nobody_believes_what_a_stranger_asserts() {
    let mut stage = Stage::new("forged", "ask", &["--trust", HERE], "");
    let rows = "P-Asserted-Identity: <sip:ann@example.com>\n";
    for transport in BOTH {
        for (from, verified) in [(HERE, true), (STRANGER, false)] {
            let scenario = Scenario::new().invite(rows).refused(603, &[("msg", "!ann@example")]);
            let mut player = stage.play(transport, from, &scenario);
            let invited = stage.bob.await_event("invited", WAIT);
            assert_eq!(invited["peer"]["verified"], verified);
            assert_eq!(invited["peer"]["address"] == "sip:ann@example.com", verified, "{invited}");
            stage.bob.tell(&json!({"do": "decline", "session": invited["session"]}));
            player.program.succeed(WAIT);
        }
    }
    stage.judged(8);
}

//= IM M-11 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_session_has_one_connection_and_a_message_its_limit() {
    let mut stage = Stage::new("limits", "all", &[], "");
    for transport in BOTH {
        let mut player = stage.play(transport, HERE, &Scenario::new().call("", &[]).left());
        let mut media = player.connect();
        let huge = "Content-Type: text/plain\r\n\r\n.\r\n";
        media.send(&format!("Byte-Range: 1-1/419430400\r\n{huge}"), 413);
        media.another(str::to_owned).send("Byte-Range: 1-0/0\r\n", 506);
        let unknown = |paths: &str| paths.replacen(";tcp", "x;tcp", 1);
        media.another(unknown).send("Byte-Range: 1-0/0\r\n", 481);
        media.say("still here");
        stage.bob.await_such("message", WAIT, |event| event["text"] == "still here");
        stage.bob.tell(&json!({"do": "leave"}));
        player.program.succeed(WAIT);
        stage.bob.await_event("ended", WAIT);
    }
    assert_eq!(stage.bob.count("message"), 2);
    stage.judged(4);
}
