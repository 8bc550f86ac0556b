//! SIPp calls through a middlebox that puts its own address into `c=` and `m=` (RFC 6714), which is this test.

use std::net::TcpListener;

use serde_json::json;

use crate::callers::{BOTH, Transport};
use crate::harness::free_port;
use crate::scenario::{Check, OFFER, Scenario};
use crate::stage::{Msrp, Stage, WAIT};

const HERE: &str = "127.0.0.1";
/// Where nobody is: the path of the caller, on its side of the middlebox.
const PATH: &str = "msrp://127.0.0.9:2855/carolkLwz8Xw2;tcp";

/// The caller's offer, to whom we are to connect, as the middlebox passes it on.
fn offer(port: u16, knows: bool) -> String {
    let cema = if knows { "\na=msrp-cema" } else { "" };
    OFFER
        .replace("m=message 9", &format!("m=message {port}"))
        .replace("msrp://127.0.0.1:9/carol[pid]kLwz8Xw2;tcp", PATH)
        .replace("a=setup:active", &format!("a=setup:passive{cema}"))
}

//= IM D-15 test
//= IM D-16 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_caller_behind_a_middlebox_is_met_there() {
    let agreed: [Check<'_>; 3] =
        [("body", "a=msrp-cema"), ("body", "a=setup:active"), ("body", "m=message 9 TCP/MSRP")];
    let silent: [Check<'_>; 2] = [("body", "!msrp-cema"), ("body", "a=setup:active")];
    for (policy, knows, checks) in [("strict", true, &agreed[..]), ("lenient", false, &silent)] {
        let middlebox = TcpListener::bind((HERE, 0)).expect("a port of loopback");
        let port = middlebox.local_addr().expect("it is bound").port();
        let mut stage =
            Stage::new(&format!("middlebox-{policy}"), "all", &[], &format!("cema = \"{policy}\""));
        for transport in BOTH {
            let scenario =
                Scenario::new().request("INVITE", "", &offer(port, knows)).expect(200, checks).ack("").left();
            let mut player = stage.play(transport, HERE, &scenario);
            stage.bob.await_event("established", WAIT);
            let mut media = Msrp::met(&middlebox, PATH);
            media.say("from beyond the middlebox");
            let message = stage.bob.await_such("message", WAIT, |event| event["direction"] == "in");
            assert_eq!(message["text"], "from beyond the middlebox");
            stage.bob.tell(&json!({"do": "say", "text": "through the middlebox"}));
            assert_eq!(media.hear().1, "through the middlebox");
            stage.bob.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
            stage.bob.tell(&json!({"do": "leave"}));
            player.program.succeed(WAIT);
            stage.bob.await_event("ended", WAIT);
        }
        stage.judged(4);
    }
}

//= IM D-15 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn what_a_middlebox_has_changed_without_cema_is_refused_if_strict() {
    let mut stage = Stage::new("middlebox-refused", "all", &[], "cema = \"strict\"");
    for transport in BOTH {
        let warning = ("Warning:", "^ *306 parlour \".*there is no msrp-cema\" *$");
        let scenario = Scenario::new().request("INVITE", "", &offer(9000, false)).refused(488, &[warning]);
        stage.whole(transport, HERE, &scenario);
    }
    stage.bob.caught_up();
    assert_eq!(stage.bob.count("invited"), 0);
    stage.judged(2);
}

//= IM D-15 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn whom_cema_does_not_reach_is_offered_the_same_without() {
    let mut stage = Stage::new("middlebox-again", "all", &[], "cema = \"strict\"");
    let middlebox = TcpListener::bind((HERE, 0)).expect("a port of loopback");
    let own = format!("msrp://{}/carolkLwz8Xw2;tcp", middlebox.local_addr().expect("it is bound"));
    // The answer of one who does not know CEMA and would connect, past who has changed c=.
    let first = OFFER.replace("c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.5");
    // Without CEMA whoever is in the middle answers for himself.
    let second = OFFER
        .replace("o=carol 1 1", "o=carol 1 2")
        .replace("msrp://127.0.0.1:9/carol[pid]kLwz8Xw2;tcp", &own)
        .replace("a=setup:active", "a=setup:passive");
    let contact = "Contact: <sip:carol@[local_ip]:[local_port];transport=[transport]>\n";
    let (port, carol) = (free_port(), "sip:carol@127.0.0.1");
    let offered: [Check<'_>; 2] = [("body", "a=msrp-cema"), ("body", "a=setup:actpass")];
    let again: [Check<'_>; 2] = [("body", "!msrp-cema"), ("body", "a=setup:actpass")];
    let scenario = Scenario::new()
        .serve_first_with(carol, "INVITE", &offered, "200 OK", contact, &first)
        .serve("ACK", &[], "", "", "")
        .serve("INVITE", &again, "200 OK", contact, &second)
        .serve("ACK", &[], "", "", "")
        .left();
    let mut player = stage.play_at(Transport::Udp, HERE, port, &scenario);
    stage.bob.tell(&json!({"do": "invite", "to": format!("sip:carol@{HERE}:{port}")}));
    stage.bob.await_event("established", WAIT);
    let mut media = Msrp::met(&middlebox, &own);
    stage.bob.tell(&json!({"do": "say", "text": "by the second offer"}));
    assert_eq!(media.hear().1, "by the second offer");
    media.say("heard");
    stage.bob.await_such("message", WAIT, |event| event["direction"] == "in");
    stage.bob.tell(&json!({"do": "leave"}));
    player.program.succeed(WAIT);
    stage.judged(5);
}
