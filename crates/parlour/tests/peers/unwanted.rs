//! SIPp calls who does not want it: by the user's own rules, for lack of room, or by another way than the registrar's.
//! Nobody is troubled, and each refusal bears what its code asks for.

use serde_json::json;

use crate::callers::{BOTH, Transport};
use crate::harness::free_port;
use crate::scenario::{Check, Scenario};
use crate::stage::{Stage, WAIT};

const CORE: &str = "127.0.0.1";
const STRANGER: &str = "127.0.0.2";

const ANN: &str = "P-Asserted-Identity: <sip:ann@example.com>\n";

/// What a refusal has, and what it has not.
const PLAIN: [Check<'_>; 3] = [
    ("P-Preferred-Identity:", "<sip:bob@127\\.0\\.0\\.1>"),
    ("msg", "!Contact: "),
    ("msg", "!application/sdp"),
];

fn refused(rows: &str, status: u16, reason: &str, checks: &[Check<'_>]) -> Scenario {
    let line = format!("^SIP/2\\.0 {status} {reason}");
    Scenario::new().invite(rows).refused(status, &[&PLAIN[..], &[("msg", &line)], checks].concat())
}

//= IM G-1c test
//= IM X-4 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn blocked_and_anonymous_callers_ring_nobody() {
    let config = "blocked = [\"sip:mallory@example.com\"]\nrefuse_anonymous = true\n";
    let mut stage = Stage::new("blocked", "auto", &["--trust", CORE], config);
    let unsaid = [("msg", "![Bb]lock"), ("msg", "!Retry-After")];
    let unavailable = |rows| refused(rows, 480, "Temporarily Unavailable", &unsaid);
    let anonymous = "P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\n";
    for transport in BOTH {
        for scenario in [
            unavailable("P-Asserted-Identity: \"Ann\" <sip:mallory@EXAMPLE.com:5060;x=y>\n"),
            refused(anonymous, 433, "Anonymity Disallowed", &[]),
            Scenario::new().call(ANN, &[]).bye(),
        ] {
            stage.whole(transport, CORE, &scenario);
        }
    }
    stage.bob.caught_up();
    assert_eq!((stage.bob.count("invited"), stage.bob.count("missed")), (2, 0), "{:#?}", stage.bob.seen);
    stage.judged(8);
}

//= IM G-1c test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn nobody_disturbs_who_wants_quiet() {
    let mut stage = Stage::new("quiet", "auto", &["--trust", CORE, "--explain"], "do_not_disturb = true");
    for transport in BOTH {
        stage.whole(transport, CORE, &refused(ANN, 480, "Temporarily Unavailable", &[]));
        let explain = stage.bob.await_such("explain", WAIT, |event| event["clause"] == "G-1c");
        assert_eq!(explain["input"], "`do_not_disturb` is on");
    }
    stage.bob.caught_up();
    assert_eq!((stage.bob.count("invited"), stage.bob.count("missed")), (0, 1), "once a minute");
    let missed = stage.bob.seen.iter().rfind(|event| event["type"] == "missed").expect("it was counted");
    assert_eq!(missed["peer"]["address"], "sip:ann@example.com");
    assert_eq!(missed["end"]["status"], 480);
    stage.judged(2);
}

//= IM G-1a test
//= IM R-6 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn more_than_fits_is_refused_and_what_is_there_goes_on() {
    let mut stage = Stage::new("full", "ask", &[], "max_sessions = 1\ndecline_scope = \"this_device\"");
    for transport in BOTH {
        let mut first = stage.play(transport, CORE, &Scenario::new().call("", &[]).left());
        let invited = stage.bob.await_event("invited", WAIT);
        stage.bob.tell(&json!({"do": "accept", "session": invited["session"]}));
        stage.bob.await_event("established", WAIT);
        stage.whole(transport, STRANGER, &refused("", 486, "Busy Here", &[("msg", "!Retry-After")]));
        let mut media = first.connect();
        media.say("Still here");
        stage.bob.tell(&json!({"do": "leave"}));
        first.program.succeed(WAIT);
        stage.bob.await_event("ended", WAIT);
        // The user's own word, for this device only.
        let mut declined = stage.play(transport, CORE, &refused("", 486, "[A-Z]", &[]));
        let invited = stage.bob.await_event("invited", WAIT);
        stage.bob.tell(&json!({"do": "decline", "session": invited["session"]}));
        declined.program.succeed(WAIT);
    }
    assert_eq!(stage.bob.count("invited"), 4);
    stage.judged(10);
}

//= IM X-2 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn who_is_registered_is_called_by_the_way_of_the_registrar() {
    let port = free_port();
    let proxy = format!("udp:{CORE}:{port}");
    let mut stage = Stage::new("registrar", "all", &["--register", "--proxy", &proxy], "");
    let binding = "[last_Contact:];expires=600\n";
    let checks: [Check<'_>; 2] = [("Contact:", "\\+g\\.oma\\.sip-im"), ("msg", "!P-Preferred-Identity")];
    let registrar = Scenario::new().serve_first("", "REGISTER", &checks, "200 OK", binding).serve(
        "REGISTER",
        &[("Expires:", "^ *0 *$")],
        "200 OK",
        "",
        "",
    );
    let mut registrar = stage.play_at(Transport::Udp, CORE, port, &registrar);
    stage.bob.await_event("registered", WAIT);
    for transport in BOTH {
        let forbidden = [("msg", "^SIP/2\\.0 403 Forbidden"), ("msg", "!Contact: ")];
        stage.whole(transport, STRANGER, &Scenario::new().invite("").refused(403, &forbidden));
        stage.whole(transport, CORE, &Scenario::new().call("", &[]).bye());
    }
    stage.bob.caught_up();
    assert_eq!(stage.bob.count("invited"), 2);
    stage.judged(6);
    registrar.program.succeed(WAIT);
}
