//! SIPp takes over a session that stands (Replaces, RFC 3891), with right and with forged identities, from a source that is
//! trusted and from one that is not. Who may not gets a refusal, and the old session still carries messages.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::callers::{BOTH, Transport};
use crate::scenario::{Check, Scenario};
use crate::stage::{Msrp, Player, Stage, WAIT};

/// The core, whose word counts, and somebody else.
const CORE: &str = "127.0.0.1";
const STRANGER: &str = "127.0.0.2";

const ANN: &str = "P-Asserted-Identity: \"Ann\" <sip:ann@example.com>, <tel:+1-555-0100>\n";
const FOCUS: &str = "P-Asserted-Identity: <sip:conference@example.com>\n";
const BY_ANN: &str = "Referred-By: <sip:ann@example.com>\n";

/// What Bob says of himself to the core.
const BOB: Check<'_> = ("P-Preferred-Identity:", "<sip:bob@127\\.0\\.0\\.1>");

/// A chat of Ann's, for whom the core speaks, and Bob. Bob leaves it in the end, unless another one takes its place.
struct Chat {
    ann: Player,
    media: Msrp,
    session: Value,
}

impl Chat {
    fn new(stage: &mut Stage, transport: Transport) -> Chat {
        let mut ann = stage.play(transport, CORE, &Scenario::new().call(ANN, &[BOB]).left());
        let session = stage.bob.await_event("established", WAIT)["session"].clone();
        let media = ann.connect();
        stage.bob.await_event("connected", WAIT);
        Chat { ann, media, session }
    }

    /// Both sides talk.
    fn lives(&mut self, bob: &mut Agent) {
        let (session, media) = (&self.session, &mut self.media);
        media.say("are you there");
        let came = bob.await_such("message", WAIT, |event| event["direction"] == "in");
        assert_eq!((&came["session"], &came["text"]), (session, &json!("are you there")));
        bob.tell(&json!({"do": "say", "session": session, "text": "yes"}));
        assert_eq!(media.hear().1, "yes");
        let progress = bob.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
        assert_eq!(progress["session"], *session);
    }

    /// Bob leaves.
    fn over(mut self, bob: &mut Agent) {
        bob.tell(&json!({"do": "leave", "session": self.session}));
        self.ann.program.succeed(WAIT);
        assert_eq!(bob.await_event("ended", WAIT)["end"]["how"], "left");
    }
}

fn stage(test: &str, config: &str) -> Stage {
    Stage::new(test, "auto", &["--trust", CORE, "--explain"], config)
}

//= IM S-6 test
//= IM S-6f test
//= IM P-4 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn who_may_not_replace_a_session_gets_403_and_it_lives_on() {
    let mut stage = stage("unauthorised", "");
    let mallory = "Referred-By: <sip:mallory@example.com>\n";
    let nobody = "P-Asserted-Identity: <sip:anonymous@anonymous.invalid>\n";
    for transport in BOTH {
        let mut chat = Chat::new(&mut stage, transport);
        for (rows, why) in [
            (BY_ANN.to_owned(), "P-Asserted-Identity is missing"),
            (format!("{FOCUS}{mallory}"), "Referred-By is sip:mallory@example.com"),
            (format!("{ANN}{mallory}"), "Referred-By is sip:mallory@example.com"),
            (FOCUS.to_owned(), "Referred-By is missing"),
            (nobody.to_owned(), "Referred-By is missing"),
        ] {
            let rows = format!("{}\n{rows}", chat.ann.replaces());
            let checks = [BOB, ("msg", "^SIP/2\\.0 403 Forbidden"), ("msg", "!Contact: ")];
            stage.whole(transport, CORE, &Scenario::new().invite(&rows).refused(403, &checks));
            let explain = stage.bob.await_such("explain", WAIT, |event| event["clause"] == "S-6f");
            assert!(explain["input"].as_str().is_some_and(|said| said.contains(why)), "{why}: {explain}");
            chat.lives(&mut stage.bob);
        }
        chat.over(&mut stage.bob);
    }
    assert_eq!(stage.bob.count("invited"), 2, "the refused ones troubled nobody");
    assert_eq!(stage.bob.count("takeover_refused"), 6, "for each session three are told");
    stage.judged(14);
}

//= IM X-1 test
//= IM X-6 test
//= IM X-7 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_stranger_cannot_replace_a_session_nor_learn_that_it_is_there() {
    let mut stage = stage("stranger", "");
    for transport in BOTH {
        let mut chat = Chat::new(&mut stage, transport);
        let right = chat.ann.replaces();
        // What the core would be believed, in the mouth of another.
        for rows in [format!("{ANN}{BY_ANN}"), format!("{FOCUS}{BY_ANN}"), ANN.to_owned()] {
            for replaces in [&right, &right.replace("to-tag=", "to-tag=x")] {
                let answer = "^SIP/2\\.0 481 Call/Transaction Does Not Exist";
                let checks = [("msg", answer), ("msg", "!Contact: ")];
                let scenario = Scenario::new().invite(&format!("{replaces}\n{rows}")).refused(481, &checks);
                stage.whole(transport, STRANGER, &scenario);
            }
            let refused = stage.bob.await_event("takeover_refused", WAIT);
            assert_eq!(refused["session"], chat.session);
            let by = &refused["by"];
            assert!(
                by["verified"] == false
                    && by["address"].as_str().is_some_and(|by| by.starts_with("sip:carol@"))
            );
        }
        chat.lives(&mut stage.bob);
        chat.over(&mut stage.bob);
    }
    assert_eq!(stage.bob.count("takeover_refused"), 6, "of dialogs that are not there nothing is told");
    stage.judged(16);
}

//= IM S-5 test
//= IM P-7 test
//= IM P-9 test
//= IM P-10 test
//= IM R-3 test
//= IM G-1a test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn who_may_replaces_the_session_and_what_was_not_delivered_moves() {
    let mut stage = stage("replaced", "max_sessions = 1");
    for transport in BOTH {
        let Chat { mut ann, mut media, session } = Chat::new(&mut stage, transport);
        stage.whole(transport, CORE, &Scenario::new().invite(FOCUS).refused(486, &[BOB, ("Warning:", "!.")]));
        // Bob says something, and it is not acknowledged.
        stage
            .bob
            .tell(&json!({"do": "say", "session": session, "message_id": "moving", "text": "still here"}));
        media.take();
        let rows = format!("{}\nRequire: replaces\n{FOCUS}{BY_ANN}", ann.replaces());
        let checks = [BOB, ("body", "m=message [1-9]"), ("Supported:", "replaces")];
        let mut focus = stage.play(transport, CORE, &Scenario::new().call(&rows, &checks).left());
        let invited = stage.bob.await_such("invited", WAIT, |event| event["replaces"] == session);
        assert_eq!(invited["asked"], false, "the chat only goes on");
        assert_eq!(invited["referred_by"], json!({"address": "sip:ann@example.com", "verified": false}));
        let new = invited["session"].clone();
        assert_eq!(stage.bob.await_event("moved", WAIT)["to"], new);
        // Ann's scenario waits for Bob's BYE.
        ann.program.succeed(WAIT);
        let ended = stage.bob.await_such("ended", WAIT, |event| event["session"] == session);
        assert_eq!(ended["end"], json!({"how": "replaced", "by": new}));
        let mut media = focus.connect();
        assert_eq!(media.hear(), ("moving".to_owned(), "still here".to_owned()));
        let mut chat = Chat { ann: focus, media, session: new };
        stage.bob.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
        chat.lives(&mut stage.bob);
        chat.over(&mut stage.bob);
    }
    stage.judged(10);
}

//= IM P-1 test
//= IM P-2 test
//= IM P-3 test
//= IM P-6 test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn malformed_contradictory_and_unknown_replaces_change_nothing() {
    let mut stage = stage("contradictory", "");
    for transport in BOTH {
        let mut chat = Chat::new(&mut stage, transport);
        let good = chat.ann.replaces();
        let ann = format!("\n{FOCUS}{BY_ANN}");
        let swapped =
            good.replace("to-tag", "x-tag").replace("from-tag", "to-tag").replace("x-tag", "from-tag");
        for (rows, status, reason) in [
            (format!("{good}\n{good}{ann}"), 400, "Replaces"),
            (format!("{}{ann}", good.split(";from-tag").next().unwrap_or_default()), 400, "Replaces"),
            (format!("{good};to-tag=x{ann}"), 400, "Replaces"),
            (format!("{good}\nJoin: {}{ann}", good.trim_start_matches("Replaces: ")), 400, "Join"),
            (format!("{good}{ann}Referred-By: <sip:bea@example.com>\n"), 400, "Referred-By"),
            (format!("{swapped}{ann}"), 481, "Does Not Exist"),
            (format!("{good};early-only{ann}"), 486, "confirmed"),
        ] {
            let status_line = format!("^SIP/2\\.0 {status} [^\r\n]*{reason}");
            let checks = [BOB, ("msg", status_line.as_str()), ("msg", "!Contact: ")];
            stage.whole(transport, CORE, &Scenario::new().invite(&rows).refused(status, &checks));
        }
        chat.lives(&mut stage.bob);
        let gone = format!("{good}{ann}");
        chat.over(&mut stage.bob);
        // For a while Bob remembers what is over.
        let checks = [BOB, ("msg", "^SIP/2\\.0 603 Decline: [^\r\n]*over")];
        stage.whole(transport, CORE, &Scenario::new().invite(&gone).refused(603, &checks));
    }
    assert_eq!(stage.bob.count("invited"), 2);
    stage.judged(20);
}
