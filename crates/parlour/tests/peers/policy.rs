//! What the user wishes holds on, and what was decided can be asked afterwards.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, Setup, history};
use crate::callers::Transport;
use crate::harness::Folder;
use crate::scenario::Scenario;
use crate::stage::Stage;

const WAIT: Duration = Duration::from_secs(15);

/// Alice invites Bob, whom she gives no time to answer here.
fn invite(alice: &mut Agent, bob: &Setup) {
    alice.tell(&json!({"do": "invite", "to": bob.address, "via": format!("udp:{}:{}", bob.host, bob.sip)}));
}

/// The status with which her invitation is refused.
fn refused(alice: &mut Agent) -> Value {
    let end = alice.await_event("ended", WAIT)["end"].clone();
    assert_eq!(end["how"], "refused", "{end}");
    end["status"].clone()
}

/// What `parlour explain` says of the last invitation to a store. Decisions are written a moment after they are taken, so
/// this waits until all these `parts` are in it.
pub(crate) fn explain(data: &Path, more: &[&str], parts: &[&str]) -> String {
    let until = Instant::now() + WAIT;
    loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
        // Before the first decision is written it fails, and says so.
        let done = command.arg("explain").args(more).arg("--data").arg(data).output().expect("it runs");
        let told = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        match parts.iter().find(|part| !told.contains(**part)) {
            None => return told,
            Some(part) => assert!(Instant::now() < until, "{part}: {told}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

//= IM S-3 test
//= IM G-1c test
//= IM X-4 test
#[test]
#[ignore = "needs free ports and 10 s: run ./check"]
fn a_block_outlives_the_program_and_every_answer_can_be_explained() {
    let folder = Folder::new("policy");
    let setup = Setup::new(&folder, "bob", "ask");
    let mut bob = setup.start(&folder, "bob");
    let mut alice = Setup::new(&folder, "alice", "ask").start(&folder, "alice");

    invite(&mut alice, &setup);
    let session = bob.await_event("invited", WAIT)["session"].clone();
    bob.tell(&json!({"do": "decline", "how": "later", "after": 600, "id": 1}));
    bob.await_such("result", WAIT, |result| result["id"] == "1");
    assert_eq!(refused(&mut alice), 603);
    let parts = [
        "an invitation came [G-1]",
        "because: INVITE sip:bob@127.0.0.1",
        "nobody vouches for it [R-32]",
        "answered 603 Decline [S-3]",
        "the user said: later",
        "603 means: ",
    ];
    explain(&setup.data, &[session.as_str().expect("a session")], &parts);

    invite(&mut alice, &setup);
    bob.await_event("invited", WAIT);
    bob.tell(&json!({"do": "block", "id": 2}));
    bob.await_such("result", WAIT, |result| result["id"] == "2");
    assert_eq!(refused(&mut alice), 480, "who rings is refused at once");
    bob.kill();

    let mut bob = setup.start(&folder, "bob");
    invite(&mut alice, &setup);
    assert_eq!(refused(&mut alice), 480);
    assert_eq!(bob.count("invited"), 0, "nobody was troubled");
    explain(&setup.data, &[], &["answered 480 Temporarily Unavailable [G-1c]", "the caller is blocked"]);
    let lines: Vec<Value> = explain(&setup.data, &["--json", "last"], &["the caller is blocked"])
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert!(
        lines.len() > 2 && lines.iter().all(|line| line["type"] == "explain" && line["call_id"].is_string())
    );

    bob.tell(&json!({"do": "unblock", "address": "sip:alice@127.0.0.1", "id": 3}));
    bob.await_such("result", WAIT, |result| result["id"] == "3");
    invite(&mut alice, &setup);
    bob.await_event("invited", WAIT);
    bob.tell(&json!({"do": "decline", "how": "spam"}));
    assert_eq!(refused(&mut alice), 603);
    bob.tell(&json!({"do": "unblock", "address": "sip:alice@127.0.0.1", "id": 4}));
    bob.await_such("error", WAIT, |error| error["id"] == "4");
    bob.caught_up();
    let missed = history(&setup.data).iter().filter(|line| line["type"] == "missed").count();
    assert_eq!(missed, 3, "declined, blocked while ringing, declined; who is blocked is not heard of");
    alice.quit();
    bob.quit();
}

/// "Why 403?": somebody who is not on the session's side wants to take it over.
//= IM S-6f test
#[test]
#[ignore = "needs SIPp, tcpdump and tshark: run ./check"]
fn a_403_is_explained_by_the_headers_that_decided() {
    const CORE: &str = "127.0.0.1";
    let mut stage = Stage::new("why403", "auto", &["--trust", CORE], "");
    let ann = "P-Asserted-Identity: <sip:ann@example.com>\n";
    let mut chat = stage.play(Transport::Tcp, CORE, &Scenario::new().call(ann, &[]).left());
    let session = stage.bob.await_event("established", WAIT)["session"].clone();
    let rows = format!(
        "{}\nP-Asserted-Identity: <sip:conference@example.com>\nReferred-By: <sip:mallory@example.com>\n",
        chat.replaces()
    );
    let forbidden = [("msg", "^SIP/2\\.0 403 Forbidden")];
    stage.whole(Transport::Tcp, CORE, &Scenario::new().invite(&rows).refused(403, &forbidden));
    let parts = [
        "an invitation came [G-1]",
        "127.0.0.1, trusted",
        "a trusted core vouches for the caller (P-Asserted-Identity) [R-32]",
        "answered 403 Forbidden [S-6f]",
        "Referred-By is sip:mallory@example.com",
        "403 means: understood, and not allowed",
    ];
    explain(&stage.setup.data, &[], &parts);
    // The session that stays is another matter.
    let told = explain(&stage.setup.data, &[session.as_str().expect("a session")], &["answered 200 OK"]);
    assert!(!told.contains("403"), "{told}");
    stage.bob.tell(&json!({"do": "leave"}));
    chat.program.succeed(WAIT);
    stage.judged(2);
}
