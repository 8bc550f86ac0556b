//! What we acknowledge, we have: killed receivers, the order of system calls, and programs that come back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, Setup, history};
use crate::harness::{Folder, Program};

const WAIT: Duration = Duration::from_secs(20);

/// How often the receiver is killed at least.
const KILLS: u64 = 20;

/// A sender that invites again and again, and keeps what it saw acknowledged.
struct Sender {
    agent: Agent,
    /// Message-ID and text of all that was said.
    said: BTreeMap<String, String>,
    acknowledged: BTreeSet<String>,
}

impl Sender {
    /// A session with the receiver.
    fn call(&mut self, to: &Setup) -> Value {
        let via = format!("tcp:{}:{}", to.host, to.sip);
        self.agent.tell(&json!({"do": "invite", "to": to.address, "via": via}));
        let connected = self.agent.await_event("connected", WAIT);
        connected["session"].clone()
    }

    fn say(&mut self, session: &Value, id: &str, text: &str) {
        self.said.insert(id.to_owned(), text.to_owned());
        self.agent.tell(&json!({"do": "say", "session": session, "message_id": id, "text": text}));
    }

    /// Reads events for a while.
    fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(event) = self.agent.next(until.saturating_duration_since(Instant::now())) {
            if event["type"] == "progress" && event["state"] == "acknowledged" {
                self.acknowledged.insert(event["message_id"].as_str().expect("an id").to_owned());
            }
        }
    }
}

/// The next of a row of pseudo-random numbers below a bound, so that each kill falls elsewhere in the stream.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

//= IM M-2 test
#[test]
#[ignore = "kills a receiver 20 times, 60 s: run ./check"]
fn a_killed_receiver_has_what_it_acknowledged() {
    let folder = Folder::new("killed");
    let setup = Setup::new(&folder, "bob", "all");
    let agent = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
    let mut alice = Sender { agent, said: BTreeMap::new(), acknowledged: BTreeSet::new() };
    let mut state = u64::from(std::process::id());
    // What Bob's program read of its events, over all its lives.
    let mut heard = Vec::<Value>::new();
    let mut cut = 0;
    for round in 0.. {
        // However fast or busy the machine is: a kill has to fall into the stream, more often than not.
        if round >= KILLS && cut > KILLS / 2 {
            break;
        }
        assert!(round < 5 * KILLS, "only {cut} of {round} kills fell into the stream");
        let after = heard.iter().filter_map(|event| event["seq"].as_u64()).max().unwrap_or(0);
        let mut life = Setup { more: vec!["--after".to_owned(), after.to_string()], ..setup.clone() };
        life.data.clone_from(&setup.data);
        let mut bob = life.start(&folder, "bob");
        let session = alice.call(&setup);
        // What the last kill left open goes again, under its old Message-ID.
        let open: Vec<_> = alice.said.iter().filter(|(id, _)| !alice.acknowledged.contains(*id)).collect();
        let open: Vec<_> = open.into_iter().map(|(id, text)| (id.clone(), text.clone())).collect();
        for (id, text) in open {
            alice.say(&session, &id, &text);
        }
        // The stream goes on until the kill.
        let until = Instant::now() + Duration::from_micros(5000 + random(&mut state, 150_000));
        let mut number = 0;
        while Instant::now() < until {
            alice.say(
                &session,
                &format!("round{round}message{number}"),
                &format!("message {number} of round {round}"),
            );
            number += 1;
            // Some are always on their way, however fast the machine is: a kill has to fall between them.
            let open = alice.said.len() - alice.acknowledged.len();
            alice.listen(Duration::from_micros(if open < 8 { 0 } else { random(&mut state, 4000) }));
        }
        // A burst that nobody waits for: however fast the machine is, the kill falls into it or right behind it.
        for more in 0..32 {
            alice.say(
                &session,
                &format!("round{round}burst{more}"),
                &format!("burst {more} of round {round}"),
            );
        }
        std::thread::sleep(Duration::from_micros(random(&mut state, 4000)));
        bob.kill();
        heard.append(&mut bob.seen);
        alice.listen(Duration::from_millis(300));
        cut += u64::from(alice.acknowledged.len() < alice.said.len());
        check_store(&setup.data, &alice, round);
    }
    assert!(alice.acknowledged.len() > 30, "only {} messages got through", alice.acknowledged.len());
    // A last life in which everything arrives.
    let after = heard.iter().filter_map(|event| event["seq"].as_u64()).max().unwrap_or(0);
    let mut bob =
        Setup { more: vec!["--after".to_owned(), after.to_string()], ..setup.clone() }.start(&folder, "bob");
    let session = alice.call(&setup);
    let open: Vec<_> = alice.said.keys().filter(|id| !alice.acknowledged.contains(*id)).cloned().collect();
    for id in open {
        let text = alice.said[&id].clone();
        alice.say(&session, &id, &text);
    }
    let until = Instant::now() + WAIT;
    while alice.acknowledged.len() < alice.said.len() && Instant::now() < until {
        alice.listen(Duration::from_millis(200));
    }
    assert_eq!(alice.acknowledged.len(), alice.said.len(), "all is acknowledged in the end");
    bob.caught_up();
    heard.append(&mut bob.seen);
    bob.quit();
    assert_eq!(check_store(&setup.data, &alice, KILLS), alice.said.len(), "each is there once");

    // The program that read the events missed nothing and heard nothing twice.
    let mut told = BTreeMap::<&str, usize>::new();
    for event in heard.iter().filter(|event| event["type"] == "message" && event["direction"] == "in") {
        *told.entry(event["message_id"].as_str().expect("an id")).or_default() += 1;
    }
    let twice: Vec<_> = told.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "told more than once: {twice:?}");
    assert_eq!(told.len(), alice.said.len(), "every message was told");
    let numbers: Vec<_> = heard.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "the numbers rise over all lives");
}

/// All that the sender saw acknowledged is in the store, once. Returns how many messages are.
fn check_store(data: &Path, alice: &Sender, round: u64) -> usize {
    let mut found = BTreeMap::<String, usize>::new();
    for line in history(data).iter().filter(|line| line["direction"] == "in") {
        *found.entry(line["message_id"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    let lost: Vec<_> = alice.acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
    assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
    let twice: Vec<_> = found.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "round {round}: more than once: {twice:?}");
    found.len()
}

#[test]
#[ignore = "needs free ports and 10 s: run ./check"]
fn a_large_message_of_ours_lies_in_a_file_until_it_has_left() {
    let folder = Folder::new("large");
    let config = folder.write("bob.toml", "max_size = 10000000\n").display().to_string();
    let setup = Setup { more: vec!["--config".to_owned(), config], ..Setup::new(&folder, "bob", "ask") };
    let mut bob = setup.start(&folder, "bob");
    let of_alice = Setup::new(&folder, "alice", "ask");
    let mut alice = of_alice.start(&folder, "alice");
    let text: String = (0..300_000).map(|n| format!("{n:09} ")).collect();
    let say = |id: &str| json!({"do": "say", "message_id": id, "text": text});
    let out = |event: &Value| event["direction"] == "out";
    let file = |line: &Value| line["file"].as_str().expect("a file").to_owned();

    // Said before Bob takes the call; one of the files goes before it can leave.
    let via = format!("tcp:{}:{}", setup.host, setup.sip);
    alice.tell(&json!({"do": "invite", "to": setup.address, "via": via}));
    let invited = bob.await_event("invited", WAIT);
    alice.tell(&say("gone"));
    let gone = file(&alice.await_such("message", WAIT, out));
    alice.tell(&say("whole"));
    let kept = file(&alice.await_such("message", WAIT, out));
    alice.tell(&json!({"do": "say", "message_id": "after", "text": "short"}));
    fs::remove_file(gone).expect("it is there");
    assert!(fs::read_to_string(&kept).expect("it is there") == text);
    bob.tell(&json!({"do": "accept", "session": invited["session"]}));
    let of = |id: &'static str, state: &'static str| {
        move |event: &Value| event["message_id"] == id && event["state"] == state
    };
    let failed = alice.await_such("progress", WAIT, of("gone", "failed"));
    assert!(failed["why"].as_str().expect("a reason").contains("could not be read"), "{failed}");
    let came = bob.await_such("message", WAIT, |event| event["message_id"] == "whole");
    let octets = fs::read_to_string(file(&came)).expect("it is there");
    let wrapped = came["body_offset"].as_u64().unwrap_or(0);
    assert!(octets[usize::try_from(wrapped).unwrap()..] == text, "what came is what was said");
    alice.await_such("progress", WAIT, of("whole", "acknowledged"));
    let sent: Vec<_> = alice.seen.iter().filter(|event| event["state"] == "sent").collect();
    assert_eq!(sent.iter().map(|event| &event["message_id"]).collect::<Vec<_>>(), ["whole", "after"]);

    // Killed as soon as it says that the message is durable.
    alice.tell(&say("killed"));
    let killed = file(&alice.await_such("message", WAIT, out));
    alice.kill();
    of_alice.start(&folder, "alice").quit();
    let lines = history(&of_alice.data);
    let line = lines.iter().find(|line| line["message_id"] == "killed").expect("it is in the history");
    assert!(["failed", "acknowledged"].iter().any(|state| line["state"] == *state), "{line}");
    assert_eq!((line["file"].as_str(), line["size"].as_u64()), (Some(killed.as_str()), Some(3_000_000)));
    assert!(fs::read_to_string(killed).expect("it is there") == text);
    bob.quit();
}

#[test]
#[ignore = "needs strace: run ./check"]
fn a_final_200_leaves_after_the_sync_that_covers_it() {
    let folder = Folder::new("strace");
    let mut setup = Setup::new(&folder, "bob", "all");
    let trace = folder.join("trace");
    let calls = "trace=read,recvfrom,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync";
    // With -D strace is the agent's child and not the other way round, so signals reach the agent.
    let trace_path = trace.display().to_string();
    setup.wrapper =
        ["strace", "-D", "-f", "-s", "4096", "-o", &trace_path, "-e", calls].map(str::to_owned).to_vec();
    let mut bob = setup.start(&folder, "bob");
    let agent = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
    let mut alice = Sender { agent, said: BTreeMap::new(), acknowledged: BTreeSet::new() };
    let session = alice.call(&setup);
    for number in 0..10 {
        alice.say(&session, &format!("traced{number}"), &format!("marker-{number}-of-the-trace"));
        alice.listen(Duration::from_millis(100));
    }
    let until = Instant::now() + WAIT;
    while alice.acknowledged.len() < 10 && Instant::now() < until {
        alice.listen(Duration::from_millis(100));
    }
    assert_eq!(alice.acknowledged.len(), 10);
    alice.agent.quit();
    // A signal would reach strace, which keeps it to itself.
    bob.tell(&json!({"do": "quit"}));
    bob.program.wait(WAIT);
    // strace ends after it, and has written all by then.
    bob.program.gone(WAIT);
    let text = fs::read_to_string(&trace).expect("a trace");
    for number in 0..10 {
        in_order(&text, &format!("marker-{number}-of-the-trace"))
            .unwrap_or_else(|fault| panic!("message {number}: {fault}"));
    }
}

/// Whether the message with this marker was received, then written to the log of the store, then synced, then answered.
fn in_order(trace: &str, marker: &str) -> Result<(), String> {
    let lines: Vec<_> = trace.lines().collect();
    let after = |from: usize, what: &str, is: &dyn Fn(&str) -> bool| {
        let found = lines.iter().skip(from).position(|line| is(line)).map(|at| from + at);
        found.ok_or_else(|| format!("no {what} in the trace"))
    };
    let received = after(0, "SEND", &|line| line.contains("SEND\\r\\n") && line.contains(marker))?;
    let send = lines[received];
    let before = send.find(marker).unwrap_or(0);
    let start = send[..before].rfind("MSRP ").ok_or("no start of a frame before the marker")?;
    let id = send[start..].split(' ').nth(1).ok_or("no transaction id")?;
    let answer = format!("MSRP {id} 200");
    let answered = after(received, "200", &|line| line.contains(&answer))?;
    let written =
        after(received, "write of the message", &|line| line.contains("pwrite64(") && line.contains(marker))?;
    let synced = after(written, "sync", &|line| line.contains("sync") && line.ends_with("= 0"))?;
    if synced < answered {
        Ok(())
    } else {
        Err(format!("line {}: 200 before the sync in line {}", answered + 1, synced + 1))
    }
}

#[test]
fn a_200_before_the_sync_is_found() {
    let lines = [
        r#"7 recvfrom(9, "MSRP d93kswow SEND\r\nTo-Path: x\r\n\r\nmarker-1-\r\n-------d93kswow$\r\n", 4096) = 90"#,
        r#"8 pwrite64(5, "marker-1-"..., 4096, 0) = 4096"#,
        "8 fdatasync(5 <unfinished ...>",
        "8 <... fdatasync resumed>) = 0",
        r#"7 sendto(9, "MSRP d93kswow 200 OK\r\n", 40) = 40"#,
    ];
    assert_eq!(in_order(&lines.join("\n"), "marker-1-"), Ok(()));
    for early in [[0, 4, 1, 2, 3], [0, 1, 4, 2, 3], [0, 1, 2, 4, 3]] {
        let trace: Vec<_> = early.into_iter().map(|line| lines[line]).collect();
        assert!(in_order(&trace.join("\n"), "marker-1-").is_err(), "{early:?}");
    }
}

#[test]
#[ignore = "needs free ports and 5 s: run ./check"]
fn what_is_said_with_an_invitation_is_kept_however_fast_it_is_refused() {
    let folder = Folder::new("refused");
    let (bob, alice) = (Setup::new(&folder, "bob", "ask"), Setup::new(&folder, "alice", "ask"));
    let (mut to, mut from) = (bob.start(&folder, "bob"), alice.start(&folder, "alice"));
    let via = format!("udp:{}:{}", bob.host, bob.sip);
    // A session can be named as soon as the invitation has its result.
    from.tell(&json!({"do": "invite", "id": "bare", "to": bob.address, "via": via}));
    let session = from.await_such("result", WAIT, |line| line["id"] == "bare")["session"].clone();
    from.tell(&json!({"do": "say", "id": "word", "session": session, "text": "Hello"}));
    let said = from.await_such("result", WAIT, |line| line["id"] == "word");
    assert_eq!(said["session"], session);
    to.await_event("invited", WAIT);
    to.tell(&json!({"do": "accept"}));
    from.await_such("progress", WAIT, |line| line["state"] == "acknowledged");
    from.tell(&json!({"do": "leave"}));
    from.await_event("ended", WAIT);
    // Whoever is blocked is refused before his store has synced.
    to.tell(&json!({"do": "block", "id": "b", "address": alice.address}));
    to.await_such("result", WAIT, |line| line["id"] == "b");
    for n in 0..20 {
        // Those that lie in a file take longer to be kept.
        let text = format!("Dinner {n}? {}", "Please! ".repeat(if n % 2 == 0 { 0 } else { 10_000 }));
        from.tell(&json!({"do": "invite", "id": n, "to": bob.address, "via": via, "text": text}));
    }
    for _ in 0..20 {
        from.await_event("ended", WAIT);
    }
    // What cannot be sent to anybody rings nobody.
    from.tell(&json!({"do": "invite", "id": "bad", "to": bob.address, "via": via, "text": "x", "message_id": "a b"}));
    let bad = from.await_such("error", WAIT, |line| line["id"] == "bad");
    assert!(bad["what"].as_str().is_some_and(|what| what.contains("Message-ID")), "{bad}");
    // Nor does what cannot be kept.
    let spool = alice.data.join("spool");
    std::fs::remove_dir_all(&spool).expect("removed");
    std::fs::write(&spool, "").expect("written");
    from.tell(
        &json!({"do": "invite", "id": "lost", "to": bob.address, "via": via, "text": "x".repeat(100_000)}),
    );
    let lost = from.await_such("error", WAIT, |line| line["id"] == "lost");
    assert!(lost["what"].as_str().is_some_and(|what| what.contains("could not be kept")), "{lost}");
    from.caught_up();
    assert_eq!(from.count("inviting"), 21);
    let lines_of = |session: &serde_json::Value| -> Vec<String> {
        let of = |line: &&serde_json::Value| line["session"] == *session && line["type"] != "ringing";
        from.seen.iter().filter(of).filter_map(|line| Some(line["type"].as_str()?.to_owned())).collect()
    };
    let results: Vec<_> =
        from.seen.iter().filter(|line| line["type"] == "result" && line["id"].is_string()).collect();
    let invited =
        results.iter().filter(|line| line["id"].as_str().is_some_and(|id| id.parse::<u8>().is_ok()));
    let sessions: Vec<_> = invited.map(|line| &line["session"]).collect();
    assert_eq!(sessions.len(), 20, "each invitation left");
    for session in sessions {
        let mut lines = lines_of(session);
        // The result is of the moment.
        lines.retain(|line| line != "result");
        assert_eq!(lines, ["message", "inviting", "progress", "ended"]);
    }
    from.quit();
    to.quit();
    let kept = history(&alice.data);
    let dinners: Vec<_> = kept.iter().filter(|row| row["state"] == "failed").collect();
    assert_eq!(dinners.len(), 20);
    for row in dinners {
        assert_eq!(row["why"], "never sent: refused with 480 Temporarily Unavailable", "{row}");
    }
}

#[test]
#[ignore = "needs free ports and 5 s: run ./check"]
fn what_is_sent_to_somebody_who_declines_is_kept_with_the_reason() {
    let folder = Folder::new("declined");
    let bob = Setup::new(&folder, "bob", "ask");
    let mut to = bob.start(&folder, "bob");
    let data = folder.join("sender");
    let mut send = std::process::Command::new(env!("CARGO_BIN_EXE_parlour"));
    send.args(["send", "--to", &bob.address, "--via", &format!("udp:{}:{}", bob.host, bob.sip), "--data"]);
    let mut sender = Program::run(&folder, "sender", send.arg(&data).arg("Dinner at eight?"));
    let invited = to.await_event("invited", WAIT);
    to.tell(&json!({"do": "decline", "session": invited["session"]}));
    assert_eq!(sender.wait(WAIT).code(), Some(3));
    let said = history(&data);
    let row = said.first().expect("a row");
    assert_eq!((said.len(), &row["text"], &row["state"]), (1, &json!("Dinner at eight?"), &json!("failed")));
    assert_eq!(row["why"], "never sent: refused with 603 Decline");
    to.quit();
}
