//! SIPp as the core of an IMS network: Bob answers as the identity that was called, and to the core alone.

use serde_json::json;

use crate::callers::BOTH;
use crate::scenario::{Check, Scenario};
use crate::stage::{Stage, WAIT};

const CORE: &str = "127.0.0.1";
const STRANGER: &str = "127.0.0.2";

const CONFIG: &str = "core = \"ims\"\n[[accounts]]\naddress = \"sip:bob@home.example\"\n\
    identities = [\"sip:bob@home.example\", \"sip:bob-work@home.example\"]\naccess_network = \"IEEE-802.3\"\n";

/// What an S-CSCF leaves in an INVITE.
const ROWS: &str = "Record-Route: <sip:[local_ip]:[local_port];transport=[transport];lr>\n\
    P-Asserted-Identity: \"Alice\" <sip:alice@home.example>, <tel:+15550111>\n\
    P-Charging-Vector: icid-value=1234;icid-generated-at=192.0.2.1;orig-ioi=home.example\n\
    Accept-Contact: *;+g.oma.sip-im\n";

//= IM G-9 test
//= IM R-31 test
//= IM R-54 test
//= IM R-55 test
//= IM R-65 test
//= IM X-2 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn the_identity_that_was_called_answers_the_core_alone() {
    let mut stage = Stage::new("network", "auto", &["--trust", CORE, "--explain"], CONFIG);
    let silent: [Check<'_>; 3] =
        [("msg", "!P-Preferred-Identity"), ("msg", "!P-Access-Network-Info"), ("msg", "!Contact: ")];
    for transport in BOTH {
        for (called, identity) in [
            ("sip:bob-work@home.example", "^ *<sip:bob-work@home\\.example> *$"),
            ("sip:barred@home.example", "^ *<sip:bob@home\\.example> *$"),
        ] {
            let checks: [Check<'_>; 5] = [
                ("P-Preferred-Identity:", identity),
                ("P-Access-Network-Info:", "^ *IEEE-802\\.3 *$"),
                ("Record-Route:", "<sip:127\\.0\\.0\\.1:[0-9]+;transport=(UDP|TCP);lr>"),
                ("msg", "!P-Called-Party-ID"),
                ("msg", "!P-Charging-Vector"),
            ];
            let bye: [Check<'_>; 2] =
                [("P-Access-Network-Info:", "^ *IEEE-802\\.3 *$"), ("Route:", "<sip:127\\.0\\.0\\.1:.*;lr>")];
            let scenario = Scenario::new()
                .call(&format!("{ROWS}P-Called-Party-ID: <{called}>\n"), &checks)
                .serve("BYE", &bye, "200 OK", "", "");
            let mut player = stage.play(transport, CORE, &scenario);
            let established = stage.bob.await_event("established", WAIT);
            let alice =
                json!({"address": "sip:alice@home.example", "display_name": "Alice", "verified": true});
            assert_eq!(established["peer"], alice);
            stage.bob.tell(&json!({"do": "leave", "session": established["session"]}));
            player.program.succeed(WAIT);
            stage.bob.await_event("ended", WAIT);
        }
        stage.whole(transport, STRANGER, &Scenario::new().invite(ROWS).refused(403, &silent));
        stage.whole(transport, STRANGER, &Scenario::new().request("OPTIONS", "", "").expect(403, &silent));
    }
    assert_eq!(stage.bob.count("invited"), 4);
    stage.judged(12);
}
