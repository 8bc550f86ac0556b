//! `parlour run --json` as a program among others: commands in, events out.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Folder, Program, free_port};

/// How an agent is started.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Its IM Address.
    pub(crate) address: String,
    /// Where it takes SIP (UDP and TCP) and MSRP.
    pub(crate) host: String,
    /// Its SIP port.
    pub(crate) sip: u16,
    /// Its MSRP port.
    pub(crate) msrp: u16,
    /// Whom it accepts.
    pub(crate) accept: &'static str,
    /// Further arguments.
    pub(crate) more: Vec<String>,
    /// Its store.
    pub(crate) data: PathBuf,
    /// A program and arguments that start it in their turn, such as strace.
    pub(crate) wrapper: Vec<String>,
}

impl Setup {
    /// An agent on loopback with free ports and a store of its own in the folder.
    pub(crate) fn new(folder: &Folder, name: &str, accept: &'static str) -> Setup {
        Setup {
            address: format!("sip:{name}@127.0.0.1"),
            host: "127.0.0.1".to_owned(),
            sip: free_port(),
            msrp: free_port(),
            accept,
            more: Vec::new(),
            data: folder.join(&format!("{name}-data")),
            wrapper: Vec::new(),
        }
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(&self, folder: &Folder, name: &str) -> Agent {
        let mut agent = self.spawn(folder, name);
        agent.await_event("ready", Duration::from_secs(15));
        agent
    }

    fn spawn(&self, folder: &Folder, name: &str) -> Agent {
        let binary = env!("CARGO_BIN_EXE_parlour");
        let mut words = self.wrapper.clone();
        words.push(binary.to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("run");
        command.args(["--address", &self.address, "--accept", self.accept, "--json"]);
        command.args(["--sip", &format!("udp:{}:{}", self.host, self.sip)]);
        command.args(["--sip", &format!("tcp:{}:{}", self.host, self.sip)]);
        command.args(["--msrp", &format!("{}:{}", self.host, self.msrp)]);
        command.arg("--data").arg(&self.data).args(&self.more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = Program::start(folder, name, &mut command);
        let commands = program.child().stdin.take();
        let out = program.child().stdout.take().expect("invariant: piped above");
        let copy = folder.join(&format!("{name}.jsonl"));
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            let mut copy =
                std::fs::File::options().create(true).append(true).open(copy).expect("a copy of the events");
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                writeln!(copy, "{line}").expect("a copy of the events");
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Agent { program, commands, events, seen: Vec::new() }
    }
}

/// A running agent.
pub(crate) struct Agent {
    pub(crate) program: Program,
    commands: Option<ChildStdin>,
    events: Receiver<Value>,
    /// All events read so far, in order.
    pub(crate) seen: Vec<Value>,
}

impl Agent {
    /// Writes a command.
    pub(crate) fn tell(&mut self, command: &Value) {
        let pipe = self.commands.as_mut().expect("invariant: closed only by the end");
        writeln!(pipe, "{command}").expect("the agent reads its commands");
    }

    /// The next event, if one comes in time.
    pub(crate) fn next(&mut self, limit: Duration) -> Option<Value> {
        match self.events.recv_timeout(limit) {
            Ok(event) => {
                self.seen.push(event.clone());
                Some(event)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Waits for the next event of this type; the test fails if none comes.
    pub(crate) fn await_event(&mut self, kind: &str, limit: Duration) -> Value {
        self.await_such(kind, limit, |_| true)
    }

    /// Waits for the next event of this type for which `such` holds.
    pub(crate) fn await_such(&mut self, kind: &str, limit: Duration, such: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + limit;
        while let Some(event) = self.next(until.saturating_duration_since(Instant::now())) {
            if event["type"] == kind && such(&event) {
                return event;
            }
        }
        panic!("no event {kind:?} in {limit:?}; seen: {:#?}\n{}", self.seen, self.program.tail());
    }

    /// Reads all that it has to tell of what has reached it so far. A request of the store's comes last in its line, so
    /// this is told when all else is that waited for the disk.
    pub(crate) fn caught_up(&mut self) {
        let id = format!("caught up {}", self.seen.len());
        self.tell(&serde_json::json!({"do": "read", "message_id": "of nobody", "id": id}));
        self.await_such("result", Duration::from_secs(30), |event| event["id"] == *id);
    }

    /// How many events of this type were seen.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.seen.iter().filter(|event| event["type"] == kind).count()
    }

    /// Ends it in good order.
    pub(crate) fn quit(mut self) {
        self.program.terminate();
        self.program.succeed(Duration::from_secs(15));
    }

    /// Ends it as a lost power would, and reads what it had still said.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
        while self.next(Duration::from_secs(5)).is_some() {}
    }
}

/// The lines of `parlour history --json` on a store.
pub(crate) fn history(data: &std::path::Path) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
    command.args(["history", "--json", "--data"]).arg(data);
    let text = crate::harness::output(&mut command);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
#[ignore = "needs free ports and 10 s: run ./check"]
fn two_agents_talk_and_part() {
    let folder = Folder::new("talk");
    let bob = Setup::new(&folder, "bob", "ask");
    let (mut to, mut from) =
        (bob.start(&folder, "bob"), Setup::new(&folder, "alice", "ask").start(&folder, "alice"));
    converse(&bob, &mut from, &mut to);
    assert_eq!(to.count("invited"), 1);
    from.quit();
    to.quit();
}

/// Alice invites Bob, who accepts; each sends one short and one long message; Alice leaves.
pub(crate) fn converse(bob: &Setup, from: &mut Agent, to: &mut Agent) {
    let wait = Duration::from_secs(15);
    let via = format!("udp:{}:{}", bob.host, bob.sip);
    from.tell(&serde_json::json!({"do": "invite", "to": bob.address, "via": via}));
    let invited = to.await_event("invited", wait);
    to.tell(&serde_json::json!({"do": "accept", "session": invited["session"]}));
    let session = from.await_event("connected", wait)["session"].clone();
    to.await_event("connected", wait);
    let long = "All work and no play. ".repeat(3000);
    for text in ["Hello, Bob", &long] {
        from.tell(&serde_json::json!({"do": "say", "session": session, "text": text}));
        let came = to.await_such("message", wait, |event| event["direction"] == "in");
        if came["file"].is_null() {
            assert_eq!(came["text"], text, "what came is what was sent");
        }
        from.await_such("progress", wait, |event| event["state"] == "acknowledged");
    }
    to.tell(&serde_json::json!({"do": "say", "session": invited["session"], "text": "Hello, Alice"}));
    assert_eq!(from.await_such("message", wait, |event| event["direction"] == "in")["text"], "Hello, Alice");
    to.await_such("progress", wait, |event| event["state"] == "acknowledged");
    from.tell(&serde_json::json!({"do": "leave", "session": session}));
    from.await_event("ended", wait);
    to.await_event("ended", wait);
}
