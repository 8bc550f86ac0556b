//! SIPp scenarios of several requests and dialogs, told step by step, and the agent that they are played to. A capture
//! runs along, and tshark judges what the agent sent.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::{Agent, Setup};
use crate::callers::{Transport, launch};
use crate::capture;
use crate::dissected::judge;
use crate::harness::{Folder, Program, await_until, free_port};

/// How long SIPp, or the agent, has for one step.
pub(crate) const WAIT: Duration = Duration::from_secs(15);

/// What every response but 100 bears.
const RELEASE: &str = "^ *IM-client/OMA1\\.0 ";

/// A header with its colon, "body" or "msg" (all of it), and the extended regular expression that must be found there. A pattern that
/// begins with `!` must not be found.
pub(crate) type Check<'c> = (&'c str, &'c str);

/// An offer that Bob accepts: the caller will connect to him.
pub(crate) const OFFER: &str = "v=0\no=carol 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=message 9 TCP/MSRP *\n\
    a=accept-types:text/plain message/cpim\na=path:msrp://127.0.0.1:9/carol[pid]kLwz8Xw2;tcp\na=setup:active";

/// What one caller does and expects in one dialog, step by step.
#[derive(Default)]
pub(crate) struct Scenario {
    steps: String,
    variables: Vec<String>,
    /// The CSeq of our last request, and of our last INVITE.
    sent: u32,
    invited: u32,
    /// Where Bob began the dialog: the address that he called.
    called: Option<String>,
}

impl Scenario {
    pub(crate) fn new() -> Scenario {
        Scenario::default()
    }

    /// An INVITE with a good offer.
    pub(crate) fn invite(self, rows: &str) -> Scenario {
        self.request("INVITE", rows, OFFER)
    }

    /// Any request but ACK and CANCEL. What makes or refreshes a dialog gets a Contact, unless `rows` have one.
    pub(crate) fn request(mut self, method: &str, rows: &str, body: &str) -> Scenario {
        self.sent += 1;
        if method == "INVITE" {
            self.invited = self.sent;
        }
        let refreshes = ["INVITE", "UPDATE", "NOTIFY"].contains(&method) && !rows.contains("Contact:");
        let contact = "Contact: <sip:carol@[local_ip]:[local_port];transport=[transport]>\n";
        let contact = if refreshes { contact } else { "" };
        let branch = branch(self.sent, method);
        self.message(method, self.sent, &branch, &format!("{contact}{rows}"), body);
        self
    }

    /// The ACK of the last INVITE, which got a 2xx; in it may be an answer.
    pub(crate) fn ack(mut self, body: &str) -> Scenario {
        self.message("ACK", self.invited, &branch(self.invited, "ACK"), "", body);
        self
    }

    /// A response other than 100, before which 100 and 180 may come.
    pub(crate) fn expect(mut self, status: u16, checks: &[Check<'_>]) -> Scenario {
        for provisional in [100, 180] {
            if status != provisional {
                let _ = writeln!(self.steps, "  <recv response=\"{provisional}\" optional=\"true\"/>");
            }
        }
        let _ = writeln!(self.steps, "  <recv response=\"{status}\">\n    <action>");
        self.find("Server:", RELEASE);
        self.find("Allow:", "INVITE.*ACK.*CANCEL.*BYE.*OPTIONS");
        // What the dialog is known by from now on.
        self.keep("To:", ";tag=([^; ]+)", "tag");
        if (101..300).contains(&status) && self.sent == self.invited {
            self.find("Contact:", "\\+g\\.oma\\.sip-im");
            self.keep("Contact:", "<([^>]+)>", "target");
        }
        self.check(checks);
        self
    }

    /// A refusal of an INVITE, acknowledged as it has to be.
    pub(crate) fn refused(mut self, status: u16, checks: &[Check<'_>]) -> Scenario {
        self = self.expect(status, checks);
        self.message("ACK", self.invited, &branch(self.invited, "INVITE"), "", "");
        self
    }

    /// The INVITE, its 200 and the ACK.
    pub(crate) fn call(self, rows: &str, checks: &[Check<'_>]) -> Scenario {
        self.invite(rows).expect(200, checks).ack("")
    }

    /// We hang up.
    pub(crate) fn bye(self) -> Scenario {
        self.request("BYE", "", "").expect(200, &[])
    }

    /// Bob hangs up.
    pub(crate) fn left(self) -> Scenario {
        self.serve("BYE", &[], "200 OK", "", "")
    }

    /// A request of Bob's, and our response, such as `200 OK`; to an ACK there is none.
    pub(crate) fn serve(
        mut self,
        method: &str,
        checks: &[Check<'_>],
        line: &str,
        rows: &str,
        body: &str,
    ) -> Scenario {
        let _ = writeln!(self.steps, "  <recv request=\"{method}\">\n    <action>");
        self.find("User-Agent:", RELEASE);
        self.check(checks);
        if !line.is_empty() {
            self.response(line, "", rows, body);
        }
        self
    }

    /// The same for a request that begins a dialog and must be for `address`.
    pub(crate) fn serve_first(
        mut self,
        address: &str,
        method: &str,
        checks: &[Check<'_>],
        line: &str,
        rows: &str,
    ) -> Scenario {
        let _ = writeln!(self.steps, "  <recv request=\"{method}\">\n    <action>");
        self.keep("From:", ";tag=([^; ]+)", "tag");
        self.keep("From:", "<([^>]+)>", "from");
        self.keep("Contact:", "<([^>]+)>", "target");
        self.check(checks);
        self.called = Some(address.to_owned());
        self.response(line, ";tag=carol[pid]", rows, "");
        self
    }

    /// Does nothing for so many milliseconds, in which nothing may come.
    pub(crate) fn pause(mut self, milliseconds: u32) -> Scenario {
        let _ = writeln!(self.steps, "  <pause milliseconds=\"{milliseconds}\"/>");
        self
    }

    /// The scenario as SIPp reads it.
    pub(crate) fn xml(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"told\">\n{}  <Reference variables=\"{}\"/>\n\
             </scenario>\n",
            self.steps,
            self.variables.join(",")
        )
    }

    fn message(&mut self, method: &str, number: u32, branch: &str, rows: &str, body: &str) {
        let known = |name: &str| self.variables.iter().any(|known| known == name);
        let bob = "sip:bob@[remote_ip]:[remote_port]";
        let uri = if known("target") { "[$target]" } else { bob };
        let tag = if known("tag") { ";tag=[$tag]" } else { "" };
        let (from, to) = match &self.called {
            Some(address) => (address.as_str(), "[$from]"),
            None => ("sip:carol@[local_ip]:[local_port]", bob),
        };
        let head = format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}\n\
             From: <{from}>;tag=carol[pid]\nTo: <{to}>{tag}\nCall-ID: [call_id]\nCSeq: {number} {method}\n\
             Max-Forwards: 70\n{rows}"
        );
        self.write(&head, body);
    }

    fn response(&mut self, line: &str, tag: &str, rows: &str, body: &str) {
        let head = format!(
            "SIP/2.0 {line}\n[last_Via:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n{rows}"
        );
        self.write(&head, body);
    }

    /// A message, in whose head empty lines do not count.
    fn write(&mut self, head: &str, body: &str) {
        let head: Vec<_> = head.lines().filter(|line| !line.is_empty()).collect();
        let head = head.join("\n");
        let kind = if body.is_empty() || head.contains("Content-Type:") {
            ""
        } else {
            "Content-Type: application/sdp\n"
        };
        let length = if body.is_empty() { "0" } else { "[len]" };
        let _ = writeln!(
            self.steps,
            "  <send>\n    <![CDATA[\n\n{head}\n{kind}Content-Length: {length}\n\n{body}\n    ]]>\n  </send>"
        );
    }

    /// The rest of what is looked for in a message that came.
    fn check(&mut self, checks: &[Check<'_>]) {
        for (place, pattern) in checks {
            self.find(place, pattern);
        }
        self.steps.push_str("    </action>\n  </recv>\n");
    }

    fn find(&mut self, place: &str, pattern: &str) {
        let name = format!("found{}", self.variables.len());
        let (check, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => ("check_it_inverse", pattern),
            None => ("check_it", pattern),
        };
        self.search(place, pattern, check, &name);
        self.variables.push(name);
    }

    /// Keeps what stands between the parentheses.
    fn keep(&mut self, place: &str, pattern: &str, name: &str) {
        let whole = format!("whole{}", self.variables.len());
        self.search(place, pattern, "check_it", &format!("{whole},{name}"));
        self.variables.push(whole);
        if !self.variables.iter().any(|known| known == name) {
            self.variables.push(name.to_owned());
        }
    }

    fn search(&mut self, place: &str, pattern: &str, check: &str, names: &str) {
        let pattern = pattern.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let place = if ["body", "msg"].contains(&place) {
            place.to_owned()
        } else {
            format!("hdr\" header=\"{place}")
        };
        let _ = writeln!(
            self.steps,
            "      <ereg regexp=\"{pattern}\" search_in=\"{place}\" {check}=\"true\" assign_to=\"{names}\"/>"
        );
    }
}

fn branch(number: u32, method: &str) -> String {
    format!("z9hG4bK[pid]x{number}{method}")
}

/// An agent that is called, and the capture of all that it says.
pub(crate) struct Stage {
    pub(crate) folder: Folder,
    pub(crate) setup: Setup,
    pub(crate) bob: Agent,
    recording: Program,
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
        let (program, messages) = launch(
            &self.folder,
            transport,
            (&self.setup.host, self.setup.sip),
            &["sipp"],
            (from, port),
            &scenario.xml(),
        );
        Player { program, messages, msrp: self.setup.msrp }
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
        media.send("Byte-Range: 1-0/0\r\n");
        media
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
    /// Sends a text; Bob answers 200.
    pub(crate) fn say(&mut self, text: &str) {
        let length = text.len();
        self.send(&format!("Byte-Range: 1-{length}/{length}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"));
    }

    fn send(&mut self, rest: &str) {
        self.sent += 1;
        let id = format!("{}x{}", self.name, self.sent);
        let frame = format!("MSRP {id} SEND\r\n{}Message-ID: {id}\r\n{rest}-------{id}$\r\n", self.paths);
        self.stream.write_all(frame.as_bytes()).expect("Bob reads");
        let answer = self.frame();
        assert!(answer.starts_with(&format!("MSRP {id} 200")), "{answer}");
    }

    /// Waits for a frame of Bob's that nobody answers.
    pub(crate) fn take(&mut self) {
        self.frame();
    }

    /// Waits for a text of Bob's, and answers 200: its Message-ID and the text.
    pub(crate) fn hear(&mut self) -> (String, String) {
        let frame = self.frame();
        let id = frame.split(' ').nth(1).expect("a transaction id");
        let answer = format!("MSRP {id} 200 OK\r\n{}-------{id}$\r\n", self.paths);
        self.stream.write_all(answer.as_bytes()).expect("Bob reads");
        let after = |word: &str, end: &str| {
            let found = frame.split_once(word).and_then(|(_, rest)| rest.split_once(end));
            found.map(|(part, _)| part.to_owned()).unwrap_or_default()
        };
        (after("Message-ID: ", "\r\n"), after("\r\n\r\n", &format!("\r\n-------{id}")))
    }

    /// Whether Bob closes it.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }

    fn frame(&mut self) -> String {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            assert_eq!(self.stream.read(&mut byte).expect("Bob sends"), 1, "Bob closed");
            bytes.push(byte[0]);
            let text = String::from_utf8_lossy(&bytes);
            let id = text.split(' ').nth(1).unwrap_or_default();
            if !id.is_empty() && text.ends_with(&format!("-------{id}$\r\n")) {
                return text.into_owned();
            }
        }
    }
}
