//! The agent that SIPp's scenarios are played to. A capture runs along, and tshark judges what the agent sent.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::{Agent, Setup};
use crate::callers::{Transport, launch};
use crate::capture::{self, Recording};
use crate::dissected::judge;
use crate::harness::{Folder, Program, await_until, free_port};
use crate::scenario::Scenario;

/// What ends a word of one controller of SIPp's to the other.
const OVER: u8 = 0x1b;

/// How long SIPp, or the agent, has for one step.
pub(crate) const WAIT: Duration = Duration::from_secs(15);

/// An agent that is called, and the capture of all that it says.
pub(crate) struct Stage {
    pub(crate) folder: Folder,
    pub(crate) setup: Setup,
    pub(crate) bob: Agent,
    recording: Recording,
    file: PathBuf,
}

impl Stage {
    /// Bob with these further arguments, and these lines of configuration.
    pub(crate) fn new(test: &str, accept: &'static str, more: &[&str], config: &str) -> Stage {
        let folder = Folder::new(test);
        let mut setup = Setup::new(&folder, "bob", accept);
        setup.more = more.iter().map(|word| (*word).to_owned()).collect();
        let config = folder.write("bob.toml", config);
        setup.more.extend(["--config".to_owned(), config.display().to_string()]);
        let file = folder.join("whole.pcap");
        let recording = capture::start(&folder, &file, &[setup.sip, setup.msrp]);
        let bob = setup.start(&folder, "bob");
        Stage { folder, setup, bob, recording, file }
    }

    /// SIPp plays it from this address.
    pub(crate) fn play(&self, transport: Transport, from: &str, scenario: &Scenario) -> Player {
        self.play_at(transport, from, free_port(), scenario)
    }

    /// The same from a port that others know.
    pub(crate) fn play_at(&self, transport: Transport, from: &str, port: u16, scenario: &Scenario) -> Player {
        let gates = scenario.has_gates().then(|| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let at = gates.as_ref().map(|gates| gates.local_addr().expect("it is bound").to_string());
        let (to, words) = ((&*self.setup.host, self.setup.sip), at.as_deref().map(|at| ["-3pcc", at]));
        let more = words.as_ref().map_or(&[][..], |words| words);
        let (program, messages) =
            launch(&self.folder, transport, to, &["sipp"], (from, port), &scenario.xml(), more);
        Player { program, messages, msrp: self.setup.msrp, gates, gate: None, arrived: Vec::new() }
    }

    /// Plays it to its end.
    pub(crate) fn whole(&self, transport: Transport, from: &str, scenario: &Scenario) {
        self.play(transport, from, scenario).program.succeed(WAIT);
    }

    /// Ends Bob. tshark has no complaint about what he sent: at least so many SIP messages.
    pub(crate) fn judged(self, at_least: usize) {
        self.bob.quit();
        capture::finish(self.recording, &self.file);
        let packets = capture::read(&fs::read(&self.file).expect("a capture"));
        let ours =
            packets.into_iter().filter(|packet| [self.setup.sip, self.setup.msrp].contains(&packet.source));
        let split = capture::one_frame_a_packet(&ours.collect::<Vec<_>>(), &[self.setup.msrp]);
        let file = self.folder.write("split.pcap", capture::write(&split.expect("MSRP frames")));
        let verdict = judge(&file, &[self.setup.sip], &[self.setup.msrp]);
        assert!(verdict.complaints.is_empty(), "{:#?}", verdict.complaints);
        assert!(verdict.sip >= at_least, "{} SIP messages", verdict.sip);
    }
}

/// A SIPp that plays.
pub(crate) struct Player {
    pub(crate) program: Program,
    messages: PathBuf,
    /// Where Bob takes MSRP.
    msrp: u16,
    /// Where SIPp asks to pass its gates, and the connection on which it does.
    gates: Option<TcpListener>,
    gate: Option<TcpStream>,
    /// What it said when it came to the one that it waits at; to be said back.
    arrived: Vec<u8>,
}

impl Player {
    /// The Replaces header that names its dialog with Bob, which is there or comes soon.
    pub(crate) fn replaces(&self) -> String {
        let tag = self.await_line("To: ", |line| line.split_once(";tag=").map(|(_, tag)| tag.to_owned()));
        let from = self.await_line("From: ", |line| line.split_once(";tag=").map(|(_, tag)| tag.to_owned()));
        let call = self.await_line("Call-ID: ", |line| Some(line.to_owned()));
        format!("Replaces: {call};to-tag={tag};from-tag={from}")
    }

    /// Connects to Bob's answer, and binds the session.
    pub(crate) fn connect(&mut self) -> Msrp {
        self.connect_to(0, "carol")
    }

    /// The same for his path number `nth`, where Carol's begins with `name`.
    pub(crate) fn connect_to(&mut self, nth: usize, name: &str) -> Msrp {
        let ours = format!("msrp://127.0.0.1:{}/", self.msrp);
        let before = RefCell::new(Vec::<String>::new());
        let bob = self.await_line("a=path:", |path| {
            let mut before = before.borrow_mut();
            if path.starts_with(&ours) && !before.iter().any(|known| known == path) {
                before.push(path.to_owned());
            }
            before.get(nth).cloned()
        });
        let stream = TcpStream::connect(("127.0.0.1", self.msrp)).expect("Bob listens");
        stream.set_read_timeout(Some(WAIT)).expect("a time of more than 0");
        let name = format!("{name}{}", self.program.child().id());
        let paths = format!("To-Path: {bob}\r\nFrom-Path: msrp://127.0.0.1:9/{name}kLwz8Xw2;tcp\r\n");
        let mut media = Msrp { stream, paths, name, sent: 0 };
        media.send("Byte-Range: 1-0/0\r\n", 200);
        media
    }

    /// Waits until it has come to a gate.
    pub(crate) fn await_gate(&mut self) {
        let gates = self.gates.as_ref().expect("its scenario has gates");
        if self.gate.is_none() {
            gates.set_nonblocking(true).expect("an option of sockets");
            await_until(WAIT, "SIPp to connect", || {
                self.gate = gates.accept().ok().map(|(stream, _)| stream);
                self.gate.is_some()
            });
        }
        let mut gate = self.gate.as_ref().expect("invariant: accepted above");
        gate.set_read_timeout(Some(WAIT)).expect("a time of more than 0");
        let mut said = Vec::new();
        while said.last() != Some(&OVER) {
            let mut byte = [0];
            assert_eq!(gate.read(&mut byte).expect("SIPp comes to its gate"), 1, "SIPp has ended");
            said.push(byte[0]);
        }
        self.arrived = said;
    }

    /// Lets it go on.
    pub(crate) fn pass_gate(&mut self) {
        let mut gate = self.gate.as_ref().expect("it has come to one");
        gate.write_all(&std::mem::take(&mut self.arrived)).expect("SIPp reads");
    }

    /// Waits until so many lines that begin with `word` were sent or got.
    pub(crate) fn await_times(&self, word: &str, times: usize) {
        let count = || {
            let text = fs::read_to_string(&self.messages).unwrap_or_default();
            text.lines().filter(|line| line.starts_with(word)).count()
        };
        await_until(WAIT, word, || count() >= times);
    }

    /// What follows `word` on the first line that begins with it and that `find` likes.
    pub(crate) fn await_line(&self, word: &str, find: impl Fn(&str) -> Option<String>) -> String {
        let found = || {
            let text = fs::read_to_string(&self.messages).ok()?;
            // The last line may not be whole yet.
            let (whole, _) = text.rsplit_once('\n')?;
            whole.lines().filter_map(|line| line.strip_prefix(word)).find_map(|line| find(line.trim_end()))
        };
        await_until(WAIT, word, || found().is_some());
        found().expect("invariant: it was there")
    }
}

/// The caller's MSRP connection, as SIPp has no MSRP.
pub(crate) struct Msrp {
    stream: TcpStream,
    /// To-Path and From-Path.
    paths: String,
    /// With what its transaction and message identifiers begin, and how many frames it has sent.
    name: String,
    sent: u32,
}

impl Msrp {
    /// Bob has connected to this listener, and binds the session of this path.
    pub(crate) fn met(at: &TcpListener, path: &str) -> Msrp {
        let (stream, _) = at.accept().expect("Bob connects");
        stream.set_read_timeout(Some(WAIT)).expect("a time of more than 0");
        let mut media = Msrp { stream, paths: String::new(), name: "met".to_owned(), sent: 0 };
        let bind = media.frame();
        assert_eq!(bind.row("To-Path"), path, "{}", bind.text());
        media.paths = format!("To-Path: {}\r\nFrom-Path: {path}\r\n", bind.row("From-Path"));
        media.take_it(&bind);
        media
    }

    /// Sends a text; Bob answers 200.
    pub(crate) fn say(&mut self, text: &str) {
        let length = text.len();
        let range = format!("Byte-Range: 1-{length}/{length}");
        self.send(&format!("{range}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"), 200);
    }

    /// Sends a SEND with these further rows and its body; Bob answers `status`.
    pub(crate) fn send(&mut self, rest: &str, status: u16) {
        self.sent += 1;
        let id = format!("{}x{}", self.name, self.sent);
        let frame = format!("MSRP {id} SEND\r\n{}Message-ID: {id}\r\n{rest}-------{id}$\r\n", self.paths);
        self.stream.write_all(frame.as_bytes()).expect("Bob reads");
        let answer = self.frame();
        assert!(answer.text().starts_with(&format!("MSRP {id} {status}")), "{}", answer.text());
    }

    /// Another connection, on which a session is spoken of as on this one; `change` makes another path of Bob's.
    pub(crate) fn another(&self, change: impl Fn(&str) -> String) -> Msrp {
        let to = self.stream.peer_addr().expect("a connected stream has a peer");
        let stream = TcpStream::connect(to).expect("Bob listens");
        stream.set_read_timeout(Some(WAIT)).expect("a time of more than 0");
        Msrp { stream, paths: change(&self.paths), name: format!("{}other", self.name), sent: 0 }
    }

    /// Waits for a frame of Bob's that nobody answers.
    pub(crate) fn take(&mut self) {
        self.frame();
    }

    /// Waits for a text of Bob's, and answers 200: its Message-ID and the text.
    pub(crate) fn hear(&mut self) -> (String, String) {
        let frame = self.frame();
        self.take_it(&frame);
        (frame.row("Message-ID"), frame.body())
    }

    /// Answers 200 to a request of Bob's.
    pub(crate) fn take_it(&mut self, frame: &Frame) {
        let id = frame.transaction();
        let answer = format!("MSRP {id} 200 OK\r\n{}-------{id}$\r\n", self.paths);
        self.stream.write_all(answer.as_bytes()).expect("Bob reads");
    }

    /// Sends a text, and does not wait for the answer; what it will begin with.
    pub(crate) fn say_on(&mut self, text: &str) -> String {
        self.sent += 1;
        let (id, length) = (format!("{}x{}", self.name, self.sent), text.len());
        let rows =
            format!("Message-ID: {id}\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: text/plain\r\n");
        let frame = format!("MSRP {id} SEND\r\n{}{rows}\r\n{text}\r\n-------{id}$\r\n", self.paths);
        self.stream.write_all(frame.as_bytes()).expect("Bob reads");
        format!("MSRP {id} 200")
    }

    /// Whether Bob closes it.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }

    /// The next frame of Bob's.
    pub(crate) fn frame(&mut self) -> Frame {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            assert_eq!(self.stream.read(&mut byte).expect("Bob sends"), 1, "Bob closed");
            bytes.push(byte[0]);
            let Some(line) = bytes.strip_suffix(b"\r\n") else { continue };
            let id = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            let is_end =
                line.split_last().is_some_and(|(_, mark)| mark.ends_with(&[b"-------", id].concat()));
            if is_end && bytes.contains(&b'\n') {
                return Frame(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
}

/// A frame of Bob's.
pub(crate) struct Frame(String);

impl Frame {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn transaction(&self) -> &str {
        self.0.split(' ').nth(1).expect("a transaction id")
    }

    /// The value of a row, empty if it is not there.
    pub(crate) fn row(&self, name: &str) -> String {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        let value = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_default().to_owned()
    }

    pub(crate) fn body(&self) -> String {
        let rest = self.0.split_once("\r\n\r\n").map_or("", |(_, rest)| rest);
        let end = format!("\r\n-------{}", self.transaction());
        rest.rsplit_once(&end).map_or("", |(body, _)| body).to_owned()
    }

    /// `$`, `+` or `#`.
    pub(crate) fn flag(&self) -> Option<char> {
        self.0.trim_end().chars().last()
    }
}
