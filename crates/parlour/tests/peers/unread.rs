//! Whoever reads our output stands still: nobody's memory fills, nothing is lost, and we can be ended.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Agent, Setup};
use crate::harness::{Folder, Program, await_until, is_bound, signal};

const WAIT: Duration = Duration::from_secs(30);
/// Messages whose lines, and what the log says of them, are more than a pipe and our memory take.
const PAGES: usize = 600;
/// A hung test is a failed one.
const HUNG: Duration = Duration::from_secs(60);

/// `parlour run` whose output nobody reads until the test does.
struct Unread {
    program: Program,
    out: BufReader<ChildStdout>,
    log: std::path::PathBuf,
}

impl Unread {
    fn start(folder: &Folder, bob: &Setup, format: &[&str]) -> Unread {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
        command.args(["run", "--address", &bob.address, "--accept", "all"]).args(format);
        command.args(["--sip", &format!("udp:127.0.0.1:{}", bob.sip)]);
        command.args(["--msrp", &format!("127.0.0.1:{}", bob.msrp)]).arg("--data").arg(&bob.data);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = Program::start(folder, "bob", &mut command);
        let out = BufReader::new(program.child().stdout.take().expect("invariant: piped above"));
        let log = folder.join("bob.log");
        program.ready(WAIT, || fs::read_to_string(&log).is_ok_and(|log| log.contains("listening on")));
        Unread { program, out, log }
    }

    fn says(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).is_ok_and(|log| log.contains(words))
    }
}

/// Alice says so much to Bob, and has all of it acknowledged.
fn fill(alice: &mut Agent, bob: &Setup, messages: usize, octets: usize) -> Value {
    let via = format!("udp:127.0.0.1:{}", bob.sip);
    alice.tell(&json!({"do": "invite", "to": bob.address, "via": via}));
    let session = alice.await_event("connected", WAIT)["session"].clone();
    for number in 0..messages {
        let text = format!("{number} {}", "x".repeat(octets));
        alice.tell(&json!({"do": "say", "session": session, "text": text}));
        alice.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
    }
    session
}

/// Octets in memory of a process.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
#[ignore = "sends 120 MB to a program whose output nobody reads, 40 s: run ./check"]
fn a_reader_that_stands_still_fills_no_memory_and_misses_nothing() {
    let folder = Folder::new("unread");
    let bob = Setup::new(&folder, "bob", "all");
    let mut alice = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
    let mut unread = Unread::start(&folder, &bob, &["--json"]);
    let (count, octets) = (2000, 60_000);
    fill(&mut alice, &bob, count, octets);
    let memory = resident(unread.program.child().id());
    assert!(memory < 120 << 20, "{memory} octets in memory after {count} messages of {octets}");
    // All of it can be read, in order, each once; what did not fit comes from the store.
    let (mut last, mut came, mut slow) = (0, 0, 0);
    let mut line = String::new();
    while came < count {
        line.clear();
        assert!(unread.out.read_line(&mut line).expect("events") > 0, "{came} messages came");
        let event: Value = serde_json::from_str(&line).expect("a line of JSON");
        slow += usize::from(event["type"] == "slow" && event["missed"].as_u64() > Some(0));
        let Some(seq) = event["seq"].as_u64() else { continue };
        assert_eq!(seq, last + 1, "{line}");
        last = seq;
        if event["type"] == "message" {
            assert!(event["text"].as_str().expect("a text").starts_with(&format!("{came} x")));
            came += 1;
        }
    }
    assert!(slow > 0, "it was told that something was missed");
    alice.quit();
}

#[test]
#[ignore = "needs free ports and 15 s: run ./check"]
fn who_cannot_write_ends_when_it_is_told_to() {
    for format in [&["--json"][..], &[]] {
        let folder = Folder::new("ends");
        let bob = Setup::new(&folder, "bob", "all");
        let mut alice = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
        let mut unread = Unread::start(&folder, &bob, format);
        fill(&mut alice, &bob, 100, 2000);
        unread.program.terminate();
        unread.program.succeed(HUNG);
        alice.quit();
    }
}

#[test]
#[ignore = "needs free ports and 15 s: run ./check"]
fn the_second_signal_ends_at_once_who_cannot_write() {
    let folder = Folder::new("twice");
    let bob = Setup::new(&folder, "bob", "all");
    let mut alice = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
    let mut unread = Unread::start(&folder, &bob, &[]);
    fill(&mut alice, &bob, 100, 2000);
    // Nobody answers the BYE, so leaving takes its time.
    alice.kill();
    let pid = unread.program.child().id();
    signal(pid, "INT");
    await_until(WAIT, "word of leaving", || unread.says("leaving, in "));
    signal(pid, "TERM");
    assert_eq!(unread.program.wait(HUNG).code(), Some(130));
}

/// Both outputs lead to the same reader, who has stopped: neither keeps the agent from its work.
#[test]
#[ignore = "needs free ports and 15 s: run ./check"]
fn a_log_that_nobody_reads_stops_nothing_and_says_how_much_was_lost() {
    let folder = Folder::new("log");
    let bob = Setup::new(&folder, "bob", "all");
    let fifo = folder.join("fifo");
    crate::harness::output(Command::new("mkfifo").arg(&fifo));
    let mut reader = File::options().read(true).write(true).open(&fifo).expect("a pipe");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" >\"$0\" 2>&1"]).arg(&fifo).arg(env!("CARGO_BIN_EXE_parlour"));
    command.args(["run", "--address", &bob.address, "--accept", "all"]).arg("--data").arg(&bob.data);
    command.args(["--sip", &format!("udp:127.0.0.1:{}", bob.sip)]);
    command.args(["--msrp", &format!("127.0.0.1:{}", bob.msrp)]);
    command.env("PARLOUR_LOG", "parlour=trace").stdin(Stdio::piped());
    let mut program = Program::start(&folder, "bob", &mut command);
    let via = format!("udp:127.0.0.1:{}", bob.sip);
    let mut alice = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
    program.ready(WAIT, || is_bound(bob.sip));
    // A pipe takes 64 KiB, and as much waits: in here both are full.
    for number in 0..PAGES {
        let page = json!({"do": "page", "to": bob.address, "via": via, "message_id": format!("page{number}"),
            "text": "x".repeat(500)});
        alice.tell(&page);
        alice.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
    }
    // He reads again, and hears what he has missed.
    let mut said = Vec::new();
    await_until(WAIT, "word of what was lost", || {
        let mut piece = [0; 65_536];
        let length = reader.read(&mut piece).expect("it goes on");
        said.extend_from_slice(&piece[..length]);
        String::from_utf8_lossy(&said).contains("lines are lost here: nobody read them in time\n")
    });
    program.terminate();
    program.succeed(HUNG);
    alice.quit();
}

/// Nobody reads stderr until the end, nor then.
#[test]
#[ignore = "needs free ports and 15 s: run ./check"]
fn who_cannot_write_a_log_ends_when_it_is_told_to() {
    let folder = Folder::new("log-end");
    let bob = Setup::new(&folder, "bob", "all");
    let fifo = folder.join("fifo");
    crate::harness::output(Command::new("mkfifo").arg(&fifo));
    let reader = File::options().read(true).write(true).open(&fifo).expect("a pipe");
    // It is full from the beginning.
    let stuff = format!("head -c {} /dev/zero >&2", 64 * 1024);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec 2>\"$0\"; {stuff}; exec \"$@\"")]).arg(&fifo);
    command.arg(env!("CARGO_BIN_EXE_parlour"));
    command
        .args(["run", "--json", "--address", &bob.address, "--accept", "all"])
        .arg("--data")
        .arg(&bob.data);
    command.args(["--sip", &format!("udp:127.0.0.1:{}", bob.sip)]);
    command.args(["--msrp", &format!("127.0.0.1:{}", bob.msrp)]).stdin(Stdio::piped());
    let mut program = Program::start(&folder, "bob", command.stdout(Stdio::null()));
    program.ready(WAIT, || is_bound(bob.sip));
    let mut alice = Setup::new(&folder, "alice", "ask").start(&folder, "alice");
    fill(&mut alice, &bob, 10, 2000);
    program.terminate();
    program.succeed(HUNG);
    drop(reader);
    alice.quit();
}

/// A pipe of this name is its stdin, and nobody writes anything to it.
#[test]
#[ignore = "needs free ports: run ./check"]
fn a_program_whose_commands_never_come_ends_when_it_is_told_to() {
    for format in [&["--json"][..], &[]] {
        let folder = Folder::new("commands");
        let bob = Setup::new(&folder, "bob", "all");
        let fifo = folder.join("fifo");
        crate::harness::output(Command::new("mkfifo").arg(&fifo));
        // It stands open for writing, so it has no end either.
        let held = File::options().read(true).write(true).open(&fifo).expect("a pipe");
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
        command.args(["run", "--address", &bob.address]).args(format).arg("--data").arg(&bob.data);
        command.args(["--sip", &format!("udp:127.0.0.1:{}", bob.sip)]);
        command.args(["--msrp", &format!("127.0.0.1:{}", bob.msrp)]);
        command.stdin(File::open(&fifo).expect("a pipe")).stdout(Stdio::null());
        let mut program = Program::start(&folder, "bob", &mut command);
        let log = folder.join("bob.log");
        program.ready(WAIT, || fs::read_to_string(&log).is_ok_and(|log| log.contains("listening on")));
        program.terminate();
        program.succeed(HUNG);
        drop(held);
    }
}
