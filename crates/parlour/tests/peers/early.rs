//! SIPp calls before the final response: reliable provisional responses and PRACK (RFC 3262), offers and answers in the
//! early dialog, preconditions (RFC 3312, RFC 4032).

use serde_json::json;

use crate::callers::BOTH;
use crate::scenario::{Check, OFFER, Scenario};
use crate::stage::{Player, Stage, WAIT};

const HERE: &str = "127.0.0.1";

const REQUIRED: &str = "Require: 100rel\n";
/// The caller has to reserve its own part of the way.
const PRECONDITION: &str = "Require: precondition\nSupported: 100rel\n";
const SEGMENTED: &str = "\na=curr:qos local none\na=curr:qos remote none\na=des:qos mandatory local sendrecv\n\
    a=des:qos none remote sendrecv";

fn stage(test: &str) -> Stage {
    Stage::new(test, "ask", &[], "")
}

/// Bob is alerted, and accepts when SIPp has seen so many responses to PRACK.
fn accept(stage: &mut Stage, player: &Player, request: &str) {
    let invited = stage.bob.await_event("invited", WAIT);
    // Once as it was sent, and once in its response.
    player.await_times(&format!("CSeq: {request}"), 2);
    stage.bob.tell(&json!({"do": "accept", "session": invited["session"]}));
    stage.bob.await_event("established", WAIT);
}

/// The session that was agreed on carries messages; then Bob leaves.
fn talk_and_leave(stage: &mut Stage, mut player: Player) {
    let mut media = player.connect();
    media.say("hello Bob");
    let came = stage.bob.await_such("message", WAIT, |event| event["direction"] == "in");
    assert_eq!(came["text"], "hello Bob");
    stage.bob.tell(&json!({"do": "leave"}));
    player.program.succeed(WAIT);
    assert_eq!(stage.bob.await_event("ended", WAIT)["end"]["how"], "left");
}

//= IM R-61 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_reliable_180_wants_its_prack_and_no_other() {
    let mut stage = stage("prack");
    let scenario = Scenario::new()
        .invite(REQUIRED)
        .reliable(180, &[("msg", "!application/sdp")])
        .request("PRACK", "RAck: 1 99 INVITE", "")
        .expect(481, &[])
        .request("PRACK", "RAck: many INVITE", "")
        .expect(400, &[("msg", "^SIP/2\\.0 400 .*RAck")])
        .prack("")
        .expect(200, &[("msg", "!application/sdp"), ("msg", "!RSeq")])
        .prack("")
        .expect(481, &[])
        .answered(
            200,
            &[("Supported:", "100rel.*precondition"), ("Allow:", "PRACK"), ("body", "a=path:msrp:")],
        )
        .ack("")
        .left();
    for transport in BOTH {
        let player = stage.play(transport, HERE, &scenario);
        accept(&mut stage, &player, "5 PRACK");
        talk_and_leave(&mut stage, player);
    }
    stage.judged(14);
}

//= IM R-61 test
//= IM S-1a test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn without_an_offer_the_180_makes_it_and_the_prack_answers() {
    let mut stage = stage("offerless");
    let offer: [Check<'_>; 3] = [
        ("body", "a=setup:actpass"),
        ("body", "m=message [1-9]"),
        ("body", "a=accept-types:message/cpim text/plain"),
    ];
    let scenario = Scenario::new()
        .request("INVITE", REQUIRED, "")
        .reliable(180, &offer)
        .prack(OFFER)
        .expect(200, &[("Content-Length:", "^ *0 *$")])
        .answered(200, &[("Content-Length:", "^ *0 *$")])
        .ack("")
        .left();
    for transport in BOTH {
        let player = stage.play(transport, HERE, &scenario);
        accept(&mut stage, &player, "2 PRACK");
        talk_and_leave(&mut stage, player);
    }
    stage.judged(8);
}

//= IM R-60 test
//= IM R-61 test
//= IM R-62 test
//= IM S-10 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn nobody_is_alerted_before_the_preconditions_are_met() {
    let mut stage = stage("preconditions");
    let offer = |version: u32, lines: &str| OFFER.replace("1 1 IN", &format!("1 {version} IN")) + lines;
    let met = SEGMENTED.replace("local none", "local sendrecv");
    let waits: [Check<'_>; 5] = [
        ("body", "a=curr:qos local sendrecv"),
        ("body", "a=curr:qos remote none"),
        ("body", "a=des:qos none local sendrecv"),
        ("body", "a=des:qos mandatory remote sendrecv"),
        ("body", "a=conf:qos remote sendrecv"),
    ];
    let scenario = Scenario::new()
        .request("INVITE", PRECONDITION, &offer(1, SEGMENTED))
        .reliable(183, &[&waits[..], &[("body", "a=path:msrp:")]].concat())
        .prack("")
        .expect(200, &[])
        .request("UPDATE", "", &offer(2, SEGMENTED))
        .expect(200, &waits)
        .gate()
        .request("UPDATE", "", &offer(3, &met))
        .expect(200, &[("body", "a=curr:qos remote sendrecv"), ("Contact:", "<sip:bob@")])
        .reliable(180, &[("msg", "!a=path")])
        .prack("")
        .expect(200, &[])
        .answered(200, &[("Content-Length:", "^ *0 *$")])
        .ack("")
        .left();
    for transport in BOTH {
        let mut player = stage.play(transport, HERE, &scenario);
        player.await_gate();
        let told = stage.bob.seen.len();
        stage.bob.caught_up();
        assert_eq!(stage.bob.seen.len(), told + 1, "nobody is told yet: {:#?}", stage.bob.seen);
        player.pass_gate();
        accept(&mut stage, &player, "5 PRACK");
        talk_and_leave(&mut stage, player);
    }
    stage.judged(14);
}

//= IM R-60 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn preconditions_that_cannot_be_met_ring_nobody() {
    let mut stage = stage("unmet");
    let unknown = format!("{OFFER}\na=curr:foo e2e none\na=des:foo mandatory e2e send");
    let segmented = format!("{OFFER}{SEGMENTED}");
    for transport in BOTH {
        for scenario in [
            Scenario::new().request("INVITE", PRECONDITION, &unknown).refused(
                580,
                &[
                    ("body", "a=des:foo unknown e2e recv"),
                    ("body", "m=message 0 TCP/MSRP"),
                    ("body", "!a=path"),
                ],
            ),
            Scenario::new()
                .request("INVITE", "Require: precondition\n", &segmented)
                .refused(421, &[("Require:", "^ *100rel *$")]),
            Scenario::new()
                .request("INVITE", "Require: 100rel, precondition, foo\n", &segmented)
                .refused(420, &[("Unsupported:", "^ *foo *$")]),
        ] {
            stage.whole(transport, HERE, &scenario);
        }
    }
    stage.bob.caught_up();
    assert_eq!(stage.bob.count("invited"), 0);
    stage.judged(6);
}
