//! MSRP over TLS: two agents whose words tshark can read only with their keys, and `openssl` as the other end, with the
//! certificate of its description and with another one.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::agent::{Agent, Setup, converse};
use crate::capture;
use crate::dissected::{decrypted, judge};
use crate::harness::{Folder, Program, await_until, free_port, is_bound, output};
use crate::stage::WAIT;

/// An agent that takes MSRP over TLS there.
fn with_tls(folder: &Folder, name: &str, accept: &'static str, policy: &str) -> (Setup, u16) {
    let port = free_port();
    let mut setup = Setup::new(folder, name, accept);
    let config = folder.write(&format!("{name}.toml"), format!("media_security = \"{policy}\"\n"));
    setup.more = ["--msrps", &format!("127.0.0.1:{port}"), "--config", &config.display().to_string()]
        .map(str::to_owned)
        .to_vec();
    (setup, port)
}

//= IM D-20 test
//= IM D-21 test
#[test]
#[ignore = "needs tcpdump and tshark: run ./check"]
fn two_agents_talk_over_tls_and_tshark_reads_it_with_the_keys_alone() {
    let folder = Folder::new("encrypted");
    let keys = folder.join("keys.log");
    let log = ["env".to_owned(), format!("SSLKEYLOGFILE={}", keys.display())].to_vec();
    let (bob, bob_tls) = with_tls(&folder, "bob", "ask", "require_tls");
    let (alice, alice_tls) = with_tls(&folder, "alice", "ask", "require_tls");
    let (bob, alice) = (Setup { wrapper: log.clone(), ..bob }, Setup { wrapper: log, ..alice });
    let file = folder.join("whole.pcap");
    let recording =
        capture::start(&folder, &file, &[bob.sip, alice.sip, bob.msrp, alice.msrp, bob_tls, alice_tls]);
    let (mut to, mut from) = (bob.start(&folder, "bob"), alice.start(&folder, "alice"));
    converse(&bob, &mut from, &mut to);
    for agent in [&to, &from] {
        let secured: Vec<&Value> = agent.seen.iter().filter(|event| event["type"] == "secured").collect();
        assert_eq!(secured.len(), 1, "{:#?}", agent.seen);
        assert_eq!((&secured[0]["by"], &secured[0]["protected"]), (&"fingerprint".into(), &false.into()));
    }
    from.quit();
    to.quit();
    capture::finish(recording, &file);

    let packets = capture::read(&fs::read(&file).expect("a capture"));
    let is_tls = |port: u16| port == bob_tls || port == alice_tls;
    let secret: Vec<_> =
        packets.iter().filter(|packet| is_tls(packet.source) || is_tls(packet.destination)).collect();
    assert!(secret.len() >= 10, "{} packets", secret.len());
    for packet in &secret {
        assert!(!String::from_utf8_lossy(&packet.payload).contains("MSRP "), "a frame left in the clear");
    }
    for packet in &packets {
        let text = String::from_utf8_lossy(&packet.payload);
        assert!(!text.contains("Hello, Bob") && !text.contains("All work"), "{text}");
    }

    let frames = decrypted(&file, bob_tls, Some(&keys));
    let all: String =
        frames.iter().map(|packet| String::from_utf8_lossy(&packet.payload).into_owned()).collect();
    for text in ["MSRP ", " SEND\r\n", " 200 OK\r\n", "Hello, Bob", "Hello, Alice", "All work"] {
        assert!(all.contains(text), "{text} is not in what tshark reads");
    }
    let split = capture::one_frame_a_packet(&frames, &[bob_tls]).expect("MSRP frames, one after the other");
    let verdict = judge(&folder.write("split.pcap", capture::write(&split)), &[], &[bob_tls]);
    assert!(verdict.complaints.is_empty(), "{:#?}", verdict.complaints);
    assert!(decrypted(&file, bob_tls, None).is_empty(), "without the keys there is nothing to read");
}

/// A certificate that openssl made, and its key.
struct Certificate {
    file: PathBuf,
    key: PathBuf,
    /// As `a=fingerprint` has it.
    fingerprint: String,
}

fn certificate(folder: &Folder, name: &str) -> Certificate {
    let (file, key) = (folder.join(&format!("{name}.pem")), folder.join(&format!("{name}.key")));
    let mut make = Command::new("openssl");
    make.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    output(make.args(["-subj", &format!("/CN={name}"), "-out"]).arg(&file).arg("-keyout").arg(&key));
    let mut print = Command::new("openssl");
    let text = output(print.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&file));
    let hex = text.trim().rsplit_once('=').expect("a fingerprint").1;
    Certificate { file, key, fingerprint: format!("SHA-256 {hex}") }
}

/// A caller by hand, whose media is for openssl.
struct Caller {
    socket: UdpSocket,
    bob: SocketAddr,
    /// Bob's path, and the tag of his end.
    path: String,
    tag: String,
}

const OURS: &str = "msrps://127.0.0.1:PORT/openssl5ession8id;tcp";

impl Caller {
    /// Calls Bob, who accepts; `port` is where openssl listens, if it does.
    fn call(setup: &Setup, role: &str, port: u16, fingerprint: &str) -> Caller {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(WAIT)).expect("a time of more than 0");
        let bob = SocketAddr::from(([127, 0, 0, 1], setup.sip));
        let mut caller = Caller { socket, bob, path: String::new(), tag: String::new() };
        let path = OURS.replace("PORT", &port.to_string());
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message {port} TCP/TLS/MSRP *\r\n\
             a=accept-types:text/plain\r\na=path:{path}\r\na=setup:{role}\r\na=fingerprint:{fingerprint}\r\n"
        );
        caller.send("INVITE", "1", &sdp);
        let answer = caller.hear("200 OK");
        let line = |start: &str| {
            answer.lines().find_map(|line| line.strip_prefix(start)).expect("a line").to_owned()
        };
        caller.path = line("a=path:");
        caller.tag = format!(";tag={}", line("To: ").rsplit_once(";tag=").expect("a tag").1);
        caller.send("ACK", "1", "");
        caller
    }

    fn send(&self, method: &str, cseq: &str, body: &str) {
        let own = self.socket.local_addr().expect("a socket");
        let tag = &self.tag;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}{}\r\n\
             From: <sip:openssl@127.0.0.1>;tag=1\r\nTo: <sip:bob@127.0.0.1>{tag}\r\nCall-ID: {own}@call\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:openssl@{own}>\r\nMax-Forwards: 70\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            own.port(),
            body.len()
        );
        self.socket.send_to(text.as_bytes(), self.bob).expect("it is sent");
    }

    /// Waits for what begins so.
    fn hear(&self, wanted: &str) -> String {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).expect("Bob says something in time");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().next().is_some_and(|line| line.contains(wanted)) {
                return text;
            }
        }
    }

    /// Bob has left.
    fn over(&self) {
        let bye = self.hear("BYE ");
        let rows = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "];
        let kept = bye.lines().filter(|line| rows.iter().any(|row| line.starts_with(row)));
        let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
        let ok = format!("SIP/2.0 200 OK\r\n{kept}Content-Length: 0\r\n\r\n");
        self.socket.send_to(ok.as_bytes(), self.bob).expect("it is sent");
    }
}

/// openssl as one end of a connection.
struct Openssl {
    program: Program,
    /// What it has read from the other one.
    heard: PathBuf,
}

impl Openssl {
    fn start(folder: &Folder, port: u16, command: &mut Command) -> Openssl {
        let name = format!("openssl{port}");
        let heard = folder.join(&format!("{name}.heard"));
        command.stdin(Stdio::piped()).stdout(fs::File::create(&heard).expect("a file"));
        Openssl { program: Program::start(folder, &name, command), heard }
    }

    /// Waits until it has read this.
    fn hears(&self, what: &str) {
        await_until(WAIT, what, || self.heard().contains(what));
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.heard).expect("a file")).into_owned()
    }
}

fn refused(bob: &mut Agent, caller: &Caller, shown: &Value) {
    let impostor = bob.await_event("impostor", WAIT);
    assert_eq!(&impostor["shown"], shown);
    caller.over();
    assert_eq!(bob.await_event("ended", WAIT)["end"]["how"], "media_failed");
    bob.caught_up();
    assert_eq!(bob.count("connected") + bob.count("reconnecting") + bob.count("secured"), 0);
}

/// openssl connects and says something.
fn s_client(folder: &Folder, port: u16, caller: &Caller, shows: Option<&Certificate>) -> Openssl {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}")]);
    if let Some(shows) = shows {
        command.arg("-cert").arg(&shows.file).arg("-key").arg(&shows.key);
    }
    let mut openssl = Openssl::start(folder, port, &mut command);
    let (to, from) = (&caller.path, OURS.replace("PORT", "9"));
    let send = format!(
        "MSRP abcd1234 SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: m1m1m1\r\nByte-Range: 1-6/6\r\n\
         Content-Type: text/plain\r\n\r\nsecret\r\n-------abcd1234$\r\n"
    );
    let stdin = &mut openssl.program.child().stdin;
    stdin.as_mut().expect("piped").write_all(send.as_bytes()).expect("it is taken");
    openssl
}

//= IM X-43 test
#[test]
#[ignore = "needs openssl: run ./check"]
fn x_43_a_caller_with_another_certificate_is_told_once_across_restarts() {
    let folder = Folder::new("pins");
    let (own, other) = (certificate(&folder, "own"), certificate(&folder, "other"));
    let (setup, port) = with_tls(&folder, "bob", "all", "allow_plain");
    for (shows, is_new) in [(&own, false), (&own, false), (&other, true), (&other, false), (&own, false)] {
        let mut bob = setup.start(&folder, "bob");
        let caller = Caller::call(&setup, "active", 9, &shows.fingerprint);
        let _openssl = s_client(&folder, port, &caller, Some(shows));
        bob.await_event("connected", WAIT);
        bob.caught_up();
        let told = bob.seen.iter().filter(|event| event["type"] == "fingerprint_changed");
        let told: Vec<_> = told.map(|event| (event["old"].clone(), event["new"].clone())).collect();
        let change = (own.fingerprint.clone().into(), other.fingerprint.clone().into());
        assert_eq!(told, Vec::from_iter(is_new.then_some(change)));
        bob.kill();
    }
}

//= IM D-20 test
#[test]
#[ignore = "needs openssl: run ./check"]
fn openssl_as_the_active_end_is_let_in_with_the_certificate_of_its_description_alone() {
    let folder = Folder::new("s_client");
    let (own, other) = (certificate(&folder, "own"), certificate(&folder, "other"));
    for (shows, good) in [(Some(&own), true), (Some(&other), false), (None, false)] {
        let (setup, port) = with_tls(&folder, "bob", "all", "allow_plain");
        let mut bob = setup.start(&folder, "bob");
        let caller = Caller::call(&setup, "active", 9, &own.fingerprint);
        let openssl = s_client(&folder, port, &caller, shows);
        if good {
            let secured = bob.await_event("secured", WAIT);
            assert_eq!(secured["fingerprint"], own.fingerprint);
            assert_eq!(bob.await_such("message", WAIT, |event| event["direction"] == "in")["text"], "secret");
            openssl.hears("MSRP abcd1234 200");
        } else {
            refused(&mut bob, &caller, &shows.map_or(Value::Null, |shows| shows.fingerprint.clone().into()));
            assert_eq!(bob.count("message"), 0);
            assert_eq!(openssl.heard(), "", "nothing was said to a stranger");
        }
        bob.program.kill();
    }
}

//= IM D-20 test
#[test]
#[ignore = "needs openssl: run ./check"]
fn openssl_as_the_passive_end_hears_nothing_with_another_certificate() {
    let folder = Folder::new("s_server");
    let (own, other) = (certificate(&folder, "own"), certificate(&folder, "other"));
    for (shows, good) in [(&own, true), (&other, false)] {
        let (setup, _) = with_tls(&folder, "bob", "all", "allow_plain");
        let mut bob = setup.start(&folder, "bob");
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-verify", "1", "-accept", &format!("127.0.0.1:{port}")]);
        command.arg("-cert").arg(&shows.file).arg("-key").arg(&shows.key);
        let mut openssl = Openssl::start(&folder, port, &mut command);
        openssl.program.ready(WAIT, || is_bound(port));
        let caller = Caller::call(&setup, "passive", port, &own.fingerprint);
        if good {
            bob.await_event("secured", WAIT);
            bob.await_event("connected", WAIT);
            openssl.hears(" SEND\r\n");
            openssl.hears("Byte-Range: 1-0/0");
        } else {
            refused(&mut bob, &caller, &other.fingerprint.clone().into());
            assert!(!openssl.heard().contains("MSRP"), "nothing was said to a stranger");
        }
        bob.program.kill();
    }
}
