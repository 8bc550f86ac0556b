//! SIPp is the focus of a conference: it takes Bob's SUBSCRIBE and tells who is there (RFC 4575), in documents that are
//! right and in others. Whatever becomes of the roster, the session goes on.

use serde_json::Value;

use crate::callers::{BOTH, Transport};
use crate::harness::{await_until, free_port, is_bound};
use crate::scenario::{Check, OFFER, Scenario};
use crate::stage::{Stage, WAIT};

const HERE: &str = "127.0.0.1";

const ACTIVE: &str = "Event: conference\nSubscription-State: active;expires=3600\n\
    Content-Type: application/conference-info+xml\n";

/// A document with these users, each with a status.
fn document(version: &str, state: &str, users: &[(&str, &str)]) -> String {
    let users = users.iter().map(|(name, status)| {
        format!(
            "<user entity='sip:{name}@x'><display-text>{name}</display-text><endpoint entity='e{name}'>\
             <status>{status}</status></endpoint></user>"
        )
    });
    format!(
        "<?xml version='1.0'?><conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:c@x' \
         state='{state}' version='{version}'><users state='{state}'>{}</users></conference-info>",
        users.collect::<String>()
    )
}

fn names(users: &Value) -> Vec<&str> {
    users.as_array().into_iter().flatten().filter_map(|user| user["display_name"].as_str()).collect()
}

/// A conference whose focus, at a place of its own, plays `scenario` after it was called at `address`; its caller is
/// another program. Bob leaves in the end.
fn confer(
    stage: &mut Stage,
    transport: Transport,
    scenario: impl FnOnce(&str) -> Scenario,
    each: impl FnOnce(&mut Stage),
) {
    let port = free_port();
    let suffix = if transport == Transport::Tcp { ";transport=tcp" } else { "" };
    let address = format!("sip:chat%2D1@{HERE}:{port};session=Ab%2F1{suffix}");
    let mut focus = stage.play_at(transport, HERE, port, &scenario(&address));
    // It listens before anybody is told where it is.
    await_until(WAIT, "SIPp to listen", || is_bound(port));
    let rows =
        format!("Contact: <{address}>;isfocus;+g.oma.sip-im\nAllow: INVITE, ACK, BYE, CANCEL, SUBSCRIBE\n");
    let caller = Scenario::new().request("INVITE", &rows, OFFER).expect(200, &[("body", "a=path:")]).ack("");
    // Over UDP, as Bob would ask on the caller's own connection, which SIPp takes for no call of its.
    let mut caller = stage.play(Transport::Udp, HERE, &caller);
    caller.program.succeed(WAIT);
    let established = stage.bob.await_event("established", WAIT);
    assert_eq!(established["conference"], true);
    let identity = established["session_identity"].as_str().unwrap_or_default();
    assert_eq!(identity, format!("<{address}>;isfocus;+g.oma.sip-im"), "kept as it came");
    let mut media = caller.connect();
    each(stage);
    focus.program.succeed(WAIT);
    media.say("The chat goes on");
    stage.bob.await_such("message", WAIT, |event| event["text"] == "The chat goes on");
    // Whoever is at the Contact gets Bob's BYE.
    let mut focus = stage.play_at(transport, HERE, port, &Scenario::new().left());
    await_until(WAIT, "SIPp to listen", || is_bound(port));
    stage.bob.tell(&serde_json::json!({"do": "leave"}));
    focus.program.succeed(WAIT);
    stage.bob.await_event("ended", WAIT);
}

//= IM S-9 test
//= IM R-10 test
//= IM R-12 test
//= IM R-14 test
//= IM R-16 test
//= IM G-4x test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_roster_is_followed_and_what_cannot_be_read_changes_nothing() {
    let mut stage = Stage::new("roster", "all", &[], "");
    let entity = "<!DOCTYPE a SYSTEM 'b'>".to_owned()
        + document("2", "full", &[]).trim_start_matches("<?xml version='1.0'?>");
    let deep =
        document("2", "full", &[]).replace("<users", &("<x>".repeat(60) + &"</x>".repeat(60) + "<users"));
    for transport in BOTH {
        let scenario = |address: &str| {
            let uri = format!("^SUBSCRIBE {} SIP/2\\.0", address.replace('.', "\\."));
            let checks: [Check<'_>; 8] = [
                ("msg", &uri),
                ("Event:", "^ *conference *$"),
                ("Accept:", "^ *application/conference-info\\+xml *$"),
                ("Expires:", "^ *3600 *$"),
                ("User-Agent:", "^ *IM-client/OMA1\\.0 "),
                ("P-Preferred-Identity:", "<sip:bob@127\\.0\\.0\\.1>"),
                ("Accept-Contact:", "\\*;\\+g\\.oma\\.sip-im"),
                ("msg", "!Target-Dialog"),
            ];
            let mut scenario = Scenario::new()
                .serve_first(
                    address,
                    "SUBSCRIBE",
                    &checks,
                    "200 OK",
                    "Contact: <sip:focus@[local_ip]:[local_port];transport=[transport]>\nExpires: 3600",
                )
                .request(
                    "NOTIFY",
                    ACTIVE,
                    &document("1", "full", &[("ann", "connected"), ("bob", "connected")]),
                )
                .expect(200, &[("msg", "!m=message")])
                .request(
                    "NOTIFY",
                    ACTIVE,
                    &document("2", "partial", &[("cid", "connected"), ("ann", "disconnected")]),
                )
                .expect(200, &[]);
            for broken in ["no XML", &entity, &deep, &document("two", "full", &[])] {
                scenario = scenario.request("NOTIFY", ACTIVE, broken).expect(200, &[]);
            }
            scenario
                .request("NOTIFY", &ACTIVE.replace("conference\n", "presence\n"), "x")
                .expect(489, &[("Allow-Events:", "conference")])
                .request("NOTIFY", "Event: conference\n", "")
                .expect(400, &[("msg", "^SIP/2\\.0 400 .*Subscription-State")])
                // A whole one mends what could not be read, when as many are taken again as one second may bring.
                .pause(1200)
                .request(
                    "NOTIFY",
                    ACTIVE,
                    &document("3", "full", &[("cid", "connected"), ("dan", "connected")]),
                )
                .expect(200, &[])
                .request(
                    "NOTIFY",
                    "Event: conference\nSubscription-State: terminated;reason=noresource\n",
                    "",
                )
                .expect(200, &[])
                .request("NOTIFY", ACTIVE, &document("4", "full", &[]))
                .expect(481, &[])
        };
        confer(&mut stage, transport, scenario, |stage| {
            let roster = stage.bob.await_event("roster", WAIT);
            assert_eq!((names(&roster["joined"]), &roster["here"]), (vec!["ann", "bob"], &2.into()));
            let roster = stage.bob.await_event("roster", WAIT);
            assert_eq!((names(&roster["joined"]), names(&roster["left"])), (vec!["cid"], vec!["ann"]));
            assert_eq!(roster["here"], 2);
            let roster = stage.bob.await_event("roster", WAIT);
            assert_eq!((names(&roster["joined"]), names(&roster["left"])), (vec!["dan"], vec!["bob"]));
            let ended = stage.bob.await_event("roster_ended", WAIT);
            assert!(ended["why"].as_str().is_some_and(|why| !why.is_empty()), "{ended}");
        });
    }
    assert_eq!(stage.bob.count("roster"), 6);
    stage.judged(14);
}

//= IM R-11 test
//= IM R-13 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_focus_that_will_not_tell_does_not_end_the_chat() {
    let mut stage = Stage::new("refusing", "all", &[], "");
    for transport in BOTH {
        let scenario = |address: &str| {
            Scenario::new().serve_first(address, "SUBSCRIBE", &[("To:", "!tag=")], "403 Forbidden", "")
        };
        confer(&mut stage, transport, scenario, |stage| {
            stage.bob.await_event("roster_ended", WAIT);
        });
    }
    assert_eq!(stage.bob.count("roster"), 0);
    stage.judged(4);
}
