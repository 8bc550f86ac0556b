//! SIPp calls the binary: polite and hostile callers over UDP and TCP, each response judged by SIPp's own checks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::agent::{Agent, Setup};
use crate::harness::{Folder, Program, await_until, free_port};

/// The scenarios, with placeholders between `@`.
const ANSWERED: &str = include_str!("sipp/answered.xml");
const REFUSED: &str = include_str!("sipp/refused.xml");
const CANCELLED: &str = include_str!("sipp/cancelled.xml");
const UNACKNOWLEDGED: &str = include_str!("sipp/unacknowledged.xml");
const RETRANSMITTED: &str = include_str!("sipp/retransmitted.xml");
const REQUEST: &str = include_str!("sipp/request.xml");

/// An offer that we accept. SIPp has no MSRP, so it says that it will connect to us, and never does.
const OFFER: &str = "v=0\no=carol 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=message 9 TCP/MSRP *\n\
    a=accept-types:text/plain message/cpim\na=path:msrp://127.0.0.1:9/a7Fq03kLwz8Xw2;tcp\na=setup:active";

/// The caller's Contact.
const CONTACT: &str = "<sip:carol@[local_ip]:[local_port];transport=[transport]>";

/// What every response but 100 carries: release version, methods and, to an INVITE, the address of who answers.
const STAMP: [(&str, &str); 3] = [
    ("Server:", "^ *IM-client/OMA1\\.0 "),
    ("Allow:", "INVITE.*ACK.*CANCEL.*BYE.*OPTIONS"),
    ("P-Preferred-Identity:", "<sip:bob@127\\.0\\.0\\.1>"),
];

const WAIT: Duration = Duration::from_secs(15);

/// What SIPp does, and what it looks for.
pub(crate) struct Call {
    scenario: &'static str,
    contact: String,
    headers: String,
    body: String,
    method: &'static str,
    status: u16,
    /// A header with its colon, or "body", and the extended regular expression that must be found there.
    checks: Vec<(&'static str, String)>,
}

impl Call {
    fn new(scenario: &'static str) -> Call {
        let (contact, headers, body) = (CONTACT.to_owned(), "X-Nothing: 1".to_owned(), OFFER.to_owned());
        let stamp =
            STAMP.iter().filter(|(place, _)| scenario != REQUEST || *place != "P-Preferred-Identity:");
        let checks = stamp.map(|(place, pattern)| (*place, (*pattern).to_owned())).collect();
        Call { scenario, contact, headers, body, method: "OPTIONS", status: 200, checks }
    }

    pub(crate) fn refused(status: u16) -> Call {
        Call { status, ..Call::new(REFUSED) }
    }

    fn check(mut self, place: &'static str, pattern: impl Into<String>) -> Call {
        self.checks.push((place, pattern.into()));
        self
    }

    pub(crate) fn offer(self, from: &str, to: &str) -> Call {
        let body = self.body.replace(from, to);
        assert_ne!(body, self.body, "{from:?} stands in the offer");
        Call { body, ..self }
    }

    /// The same call to an agent at another host than loopback.
    pub(crate) fn at_host(mut self, host: &str) -> Call {
        for (_, pattern) in &mut self.checks {
            *pattern = pattern.replace("127\\.0\\.0\\.1", &host.replace('.', "\\."));
        }
        self
    }

    /// The scenario with its placeholders filled.
    fn xml(&self) -> String {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let mut checks = String::new();
        let mut names = Vec::new();
        for (index, (place, pattern)) in self.checks.iter().enumerate() {
            let name = format!("found{index}");
            let search = if *place == "body" { "body".to_owned() } else { format!("hdr\" header=\"{place}") };
            let pattern = escape(pattern);
            checks.push_str(&format!(
                "      <ereg regexp=\"{pattern}\" search_in=\"{search}\" check_it=\"true\" assign_to=\"{name}\"/>\n"
            ));
            names.push(name);
        }
        let references = format!("  <Reference variables=\"{}\"/>", names.join(","));
        self.scenario
            .replace("@CHECKS@", checks.trim_end())
            .replace("@REFERENCES@", &references)
            .replace("@STATUS@", &self.status.to_string())
            .replace("@METHOD@", self.method)
            .replace("@CONTACT@", &self.contact)
            .replace("@HEADERS@", &self.headers)
            .replace("@BODY@", &self.body)
    }

    /// Starts SIPp with it against `host:port`.
    fn place(&self, folder: &Folder, transport: Transport, host: &str, port: u16) -> Program {
        self.place_from(folder, transport, host, port, &["sipp"], "127.0.0.1")
    }

    /// As [`place`](Self::place), by a program in a wrapper and from another address.
    pub(crate) fn place_from(
        &self,
        folder: &Folder,
        transport: Transport,
        host: &str,
        port: u16,
        program: &[&str],
        from: &str,
    ) -> Program {
        launch(folder, transport, (host, port), program, (from, free_port()), &self.xml(), &[]).0
    }
}

/// Starts SIPp with a scenario against a host and port, from an address and port of its own, by a program in a wrapper.
/// `more` are further arguments. The file is where it writes what it sends and gets.
pub(crate) fn launch(
    folder: &Folder,
    transport: Transport,
    (host, port): (&str, u16),
    program: &[&str],
    (from, local): (&str, u16),
    xml: &str,
    more: &[&str],
) -> (Program, PathBuf) {
    let name = format!("sipp-{transport:?}-{local}").to_lowercase();
    let file = folder.write(&format!("{name}.xml"), xml);
    let messages = folder.join(&format!("{name}.messages"));
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(format!("{host}:{port}")).arg("-sf").arg(file);
    command.args([
        "-i",
        from,
        "-p",
        &local.to_string(),
        "-t",
        transport.sipp(),
        "-m",
        "1",
        "-nostdin",
        "-nr",
    ]);
    command.args(["-timeout", "60", "-timeout_error", "-trace_err", "-error_file"]);
    command.arg(folder.join(&format!("{name}.errors")));
    command.args(["-trace_msg", "-message_file"]).arg(&messages).args(more);
    (Program::run(folder, &name, command.current_dir(folder.path())), messages)
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// One socket for all calls, in SIPp's words.
    fn sipp(self) -> &'static str {
        match self {
            Transport::Udp => "u1",
            Transport::Tcp => "t1",
        }
    }
}

pub(crate) const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// Places one call after the other over both transports to an agent that accepts whom `accept` says; `each` acts for
/// the user meanwhile. Returns the agent with its events.
fn call_bob(test: &str, accept: &'static str, calls: &[Call], each: impl Fn(&mut Agent)) -> (Folder, Agent) {
    let folder = Folder::new(test);
    let setup = Setup::new(&folder, "bob", accept);
    let mut bob = setup.start(&folder, "bob");
    for transport in BOTH {
        for call in calls {
            let mut sipp = call.place(&folder, transport, "127.0.0.1", setup.sip);
            each(&mut bob);
            sipp.succeed(WAIT);
        }
    }
    bob.caught_up();
    (folder, bob)
}

//= IM G-6 test
//= IM G-7 test
//= IM G-8 test
//= IM R-20 test
//= IM G-4 test
//= IM S-7 test
//= IM D-31 test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn an_accepted_call_gets_an_msrp_answer() {
    let folder = Folder::new("answered");
    let setup = Setup::new(&folder, "bob", "ask");
    let mut bob = setup.start(&folder, "bob");
    let call = Call::new(ANSWERED)
        .check("Contact:", format!("<sip:[^>]*127\\.0\\.0\\.1:{}[^>]*>", setup.sip))
        .check("Contact:", "\\+g\\.oma\\.sip-im")
        .check("To:", ";tag=[^;]{11,}")
        .check("Content-Type:", "^ *application/sdp")
        .check("body", "o=[^ ]+ [0-9]+ [0-9]+ IN IP4 127\\.0\\.0\\.1")
        .check("body", "s=-")
        .check("body", "t=0 0")
        .check("body", "c=IN IP4 127\\.0\\.0\\.1")
        .check("body", format!("m=message {} TCP/MSRP \\*", setup.msrp))
        .check("body", format!("a=path:msrp://127\\.0\\.0\\.1:{}/[^ ;]{{16,}};tcp", setup.msrp))
        .check("body", "a=accept-types:text/plain message/cpim")
        .check("body", "a=setup:passive");
    for transport in BOTH {
        let mut sipp = call.place(&folder, transport, "127.0.0.1", setup.sip);
        let invited = bob.await_event("invited", WAIT);
        assert_eq!(invited["peer"]["verified"], false, "nobody vouches for a direct caller");
        bob.tell(&json!({"do": "accept", "session": invited["session"]}));
        let established = bob.await_event("established", WAIT);
        let identity = established["session_identity"].as_str().expect("a Contact");
        assert!(
            identity.starts_with("<sip:carol@127.0.0.1:") && identity.contains(";transport="),
            "{identity}"
        );
        sipp.succeed(WAIT);
        assert_eq!(bob.await_event("ended", WAIT)["end"]["how"], "peer_left");
    }
}

//= IM S-3 test
//= IM S-4 test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn a_declined_call_gets_603_and_no_2xx() {
    let (_folder, bob) = call_bob("declined", "ask", &[Call::refused(603)], |bob| {
        let invited = bob.await_event("invited", WAIT);
        bob.tell(&json!({"do": "decline", "session": invited["session"]}));
    });
    assert_eq!(bob.count("established"), 0);
}

//= IM S-1 test
//= IM D-1 test
//= IM D-2 test
//= IM D-3 test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn an_unacceptable_offer_gets_488_and_rings_nobody() {
    let audio = "v=0\no=carol 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 40000 RTP/AVP 0";
    let calls = [
        Call { body: audio.to_owned(), ..Call::refused(488) }.check("Warning:", "304 "),
        Call::refused(488).offer("text/plain message/cpim", "foo/bar").check("Warning:", "305 "),
        Call::refused(488).offer("TCP/MSRP", "TCP/FOO").check("Warning:", "302 "),
        Call::refused(488)
            .offer("a=path:msrp://127.0.0.1:9/a7Fq03kLwz8Xw2;tcp\n", "")
            .check("Warning:", "306 "),
    ];
    let (_folder, bob) = call_bob("unacceptable", "ask", &calls, |_| ());
    assert_eq!(bob.count("invited"), 0, "nobody was troubled: {:#?}", bob.seen);
}

#[test]
#[ignore = "needs SIPp: run ./check"]
fn a_call_that_rings_can_be_cancelled() {
    let (_folder, bob) = call_bob("cancelled", "ask", &[Call::new(CANCELLED)], |_| ());
    assert_eq!(bob.count("invited"), 2, "one for each transport: {:#?}", bob.seen);
    assert_eq!(bob.count("established"), 0);
}

//= IM S-8 test
#[test]
#[ignore = "needs SIPp and 32 s: run ./check"]
fn an_answer_without_ack_is_repeated_and_given_up() {
    let folder = Folder::new("unacknowledged");
    let setup = Setup::new(&folder, "bob", "all");
    let mut bob = setup.start(&folder, "bob");
    // Both at once, as each takes 32 s.
    let mut callers =
        BOTH.map(|transport| Call::new(UNACKNOWLEDGED).place(&folder, transport, "127.0.0.1", setup.sip));
    for sipp in &mut callers {
        sipp.succeed(Duration::from_secs(45));
    }
    for _ in BOTH {
        assert_eq!(bob.await_event("ended", WAIT)["end"]["how"], "no_ack");
    }
}

//= IM X-12 test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn a_retransmitted_invite_rings_once() {
    let folder = Folder::new("retransmitted");
    let setup = Setup::new(&folder, "bob", "ask");
    let mut bob = setup.start(&folder, "bob");
    let call = Call::new(RETRANSMITTED).xml();
    let to = ("127.0.0.1", setup.sip);
    let (mut sipp, messages) =
        launch(&folder, Transport::Udp, to, &["sipp"], ("127.0.0.1", free_port()), &call, &[]);
    let invited = bob.await_event("invited", WAIT);
    let rings = || fs::read_to_string(&messages).unwrap_or_default().matches("SIP/2.0 180 ").count();
    await_until(WAIT, "the answer to the second INVITE", || rings() == 2);
    bob.tell(&json!({"do": "accept", "session": invited["session"]}));
    sipp.succeed(WAIT);
    bob.caught_up();
    assert_eq!(bob.count("invited"), 1);
    assert_eq!(bob.count("established"), 1);
}

//= IM G-4v test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn what_breaks_the_rules_of_an_invite_rings_nobody() {
    let two = format!("{CONTACT}, <sip:other@[local_ip]:[local_port]>");
    let calls = [
        Call { contact: two, ..Call::refused(400) },
        Call { headers: "Require: foo".to_owned(), ..Call::refused(420) }.check("Unsupported:", "^ *foo"),
    ];
    let (_folder, bob) = call_bob("rules", "all", &calls, |_| ());
    assert_eq!(bob.count("invited") + bob.count("established"), 0, "{:#?}", bob.seen);
}

//= IM R-44 test
#[test]
#[ignore = "needs SIPp: run ./check"]
fn requests_outside_of_a_dialog_are_answered() {
    let options = || Call::new(REQUEST).check("Accept:", "application/sdp");
    // A datagram may bear anybody's address, so no more goes back than came.
    let long = Call { headers: format!("X-Long: {}", "x".repeat(1000)), ..options() };
    let calls = [
        options(),
        long.check("body", "m=message 0 TCP/MSRP \\*").check("body", "a=accept-types:.*text/plain"),
        Call { method: "PUBLISH", status: 405, ..Call::new(REQUEST) },
        Call { method: "FOO", status: 501, ..Call::new(REQUEST) },
        Call { method: "BYE", status: 481, ..Call::new(REQUEST) },
    ];
    call_bob("requests", "all", &calls, |_| ());
}

#[test]
fn a_scenario_has_all_its_placeholders_filled() {
    for scenario in [ANSWERED, REFUSED, CANCELLED, UNACKNOWLEDGED, RETRANSMITTED, REQUEST] {
        let xml = Call::new(scenario).check("To:", "\"<&").xml();
        let left =
            xml.split('@').find(|word| word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase()));
        assert_eq!(left, None);
        assert!(!xml.contains("\"<&"), "patterns are escaped");
    }
}
