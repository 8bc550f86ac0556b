//! Kamailio as registrar with digest and as record-routing proxy: a call by address of record, through it and back.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Agent, Setup, history};
use crate::capture;
use crate::harness::{Folder, Program, free_port, output};

const WAIT: Duration = Duration::from_secs(15);
const CONFIG: &str = include_str!("kamailio/kamailio.cfg.in");
const TLS: &str = include_str!("kamailio/tls.cfg.in");

/// A running core for the domain `ims.test`.
struct Core {
    sip: u16,
    sips: u16,
    /// The authority that signed its certificate.
    ca: PathBuf,
    _kamailio: Program,
}

impl Core {
    fn start(folder: &Folder, algorithm: &str) -> Core {
        let (sip, sips) = (free_port(), free_port());
        let ca = certificates(folder);
        let run = folder.path().display().to_string();
        for (name, text) in [("kamailio.cfg", CONFIG), ("tls.cfg", TLS)] {
            let text = text
                .replace("@RUN@", &run)
                .replace("@SIP@", &sip.to_string())
                .replace("@SIPS@", &sips.to_string())
                .replace("@MIN_EXPIRES@", "60")
                .replace("@ALGORITHM@", algorithm);
            folder.write(name, text);
        }
        let mut command = Command::new("kamailio");
        command.args(["-DD", "-E", "-m", "64", "-M", "8", "-f"]).arg(folder.join("kamailio.cfg"));
        command.arg("-Y").arg(folder.path()).arg("-P").arg(folder.join("kamailio.pid"));
        let mut kamailio = Program::run(folder, "kamailio", &mut command);
        let log = folder.join("kamailio.log");
        kamailio.ready(WAIT, || crate::harness::listens(sips) && log.exists());
        Core { sip, sips, ca, _kamailio: kamailio }
    }

    /// How a client names it as its proxy.
    fn place(&self, transport: &str) -> String {
        match transport {
            "tls" => format!("tls:localhost:{}", self.sips),
            other => format!("{other}:127.0.0.1:{}", self.sip),
        }
    }

    /// An agent that registers through it.
    fn member(&self, folder: &Folder, name: &str, transport: &str, accept: &'static str) -> (Setup, Agent) {
        let mut setup = Setup::new(folder, name, accept);
        setup.address = format!("sip:{name}@ims.test");
        setup.more = self.credentials(folder, name);
        setup.more.extend(["--register".to_owned(), "--proxy".to_owned(), self.place(transport)]);
        if transport != "tls" {
            setup.more.extend(["--trust".to_owned(), "127.0.0.1".to_owned()]);
        }
        let mut agent = setup.start(folder, name);
        agent.await_event("registered", WAIT);
        (setup, agent)
    }

    fn credentials(&self, folder: &Folder, name: &str) -> Vec<String> {
        let file = folder.write(&format!("{name}.password"), format!("{name}pw\n"));
        output(Command::new("chmod").arg("600").arg(&file));
        let file = file.display().to_string();
        let ca = self.ca.display().to_string();
        ["--user", name, "--password-file", &file, "--ca", &ca].map(str::to_owned).to_vec()
    }

    /// `parlour send` by a member through it.
    fn send(&self, folder: &Folder, from: &str, to: &str, transport: &str, text: &str) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlour"));
        command.args(["send", "--to", to, "--via", &self.place(transport)]);
        command
            .args(["--address", &format!("sip:{from}@ims.test")])
            .args(self.credentials(folder, from))
            .arg("--data")
            .arg(folder.join(&format!("{from}-data")))
            .arg(text);
        Program::run(folder, "send", &mut command)
    }
}

/// An authority, and a certificate for the domain and for localhost.
pub(crate) fn certificates(folder: &Folder) -> PathBuf {
    let name = "ims.test";
    let authority = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "A test's authority");
    let root = params.self_signed(&authority).expect("a certificate");
    let issuer = rcgen::Issuer::new(params, authority);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = [name, "localhost", "127.0.0.1", "relay.test", "plain.test", "none.test"].map(str::to_owned);
    let params = rcgen::CertificateParams::new(names).expect("names");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    folder.write("server.key", key.serialize_pem());
    folder.write("server.pem", certificate.pem());
    folder.write("ca.pem", root.pem())
}

fn call_through(test: &str, transport: &str, algorithm: &str) {
    let folder = Folder::new(test);
    let core = Core::start(&folder, algorithm);
    let file = folder.join("core.pcap");
    let recording = capture::start(&folder, &file, &[core.sip, core.sips]);
    let (bob, mut to) = core.member(&folder, "bob", transport, "auto");
    let mut send = core.send(&folder, "alice", &bob.address, transport, "Through the core");
    let came = to.await_such("message", WAIT, |event| event["direction"] == "in");
    assert_eq!(came["text"], "Through the core");
    assert_eq!(
        came["from"],
        json!({"address": "sip:alice@ims.test", "verified": true}),
        "as Kamailio asserts"
    );
    send.succeed(WAIT);
    assert_eq!(to.await_event("ended", WAIT)["end"]["how"], "peer_left");
    to.quit();
    capture::finish(recording, &file);
    let heard = history(&bob.data);
    assert!(heard.iter().any(|line: &Value| line["text"] == "Through the core"), "{heard:#?}");
    if transport == "udp" {
        let packets = capture::read(&std::fs::read(&file).expect("a capture"));
        let to_core: Vec<_> = packets.iter().filter(|packet| packet.destination == core.sip).collect();
        let count = |start: &[u8]| to_core.iter().filter(|packet| packet.payload.starts_with(start)).count();
        assert!(
            count(b"BYE ") >= 1 && count(b"ACK ") >= 1,
            "the session is used and released through the core"
        );
        assert!(count(b"REGISTER ") >= 4, "two to register, two to leave, as each is challenged");
    }
}

//= IM R-32 test
//= IM R-34 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_call_by_address_of_record_over_udp() {
    call_through("core-udp", "udp", "MD5");
}

#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_call_by_address_of_record_over_tcp() {
    call_through("core-tcp", "tcp", "MD5");
}

//= IM X-40 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_call_by_address_of_record_over_tls() {
    call_through("core-tls", "tls", "MD5");
}

//= IM X-41 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_call_with_sha_256() {
    call_through("core-sha256", "udp", "SHA-256");
}

//= IM X-1 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn an_identity_that_a_stranger_asserts_is_not_shown() {
    let folder = Folder::new("core-untrusted");
    let core = Core::start(&folder, "MD5");
    let mut setup = Setup::new(&folder, "bob", "all");
    setup.address = "sip:bob@ims.test".to_owned();
    setup.more = core.credentials(&folder, "bob");
    setup.more.extend(["--register".to_owned(), "--proxy".to_owned(), core.place("udp")]);
    let mut bob = setup.start(&folder, "bob");
    bob.await_event("registered", WAIT);
    let mut send = core.send(&folder, "alice", &setup.address, "udp", "Who am I?");
    // Registered over UDP and nothing listed as trusted: Kamailio's word does not count.
    assert_eq!(bob.await_event("established", WAIT)["peer"]["verified"], false);
    send.succeed(WAIT);
    bob.quit();
}

//= IM R-50 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_wrong_password_is_told_and_not_tried_again() {
    let folder = Folder::new("core-password");
    let core = Core::start(&folder, "MD5");
    let mut setup = Setup::new(&folder, "bob", "auto");
    setup.address = "sip:bob@ims.test".to_owned();
    setup.more = core.credentials(&folder, "bob");
    folder.write("bob.password", "wrong\n");
    setup.more.extend(["--register".to_owned(), "--proxy".to_owned(), core.place("udp")]);
    let mut bob = setup.start(&folder, "bob");
    let failed = bob.await_event("registration_failed", WAIT);
    assert!(failed["status"] == 401 || failed["status"] == 403, "{failed}");
}

/// Two members write to each other without a session: each MESSAGE is challenged, the core asserts who sent it, and what
/// became of it comes back the same way.
fn page_through(test: &str, transport: &str, algorithm: &str) {
    let folder = Folder::new(test);
    let core = Core::start(&folder, algorithm);
    let member = |name: &str| {
        let mut setup = Setup::new(&folder, name, "ask");
        setup.address = format!("sip:{name}@ims.test");
        let keys = "ask_delivered = true\nask_displayed = true\ntell_displayed = true\n";
        let text = format!("[[accounts]]\naddress = \"{}\"\n{keys}", setup.address);
        setup.more = core.credentials(&folder, name);
        let config = folder.write(&format!("{name}.toml"), text).display().to_string();
        let words = ["--config".to_owned(), config, "--register".to_owned()];
        setup.more.extend(words.into_iter().chain(["--proxy".to_owned(), core.place(transport)]));
        if transport != "tls" {
            setup.more.extend(["--trust".to_owned(), "127.0.0.1".to_owned()]);
        }
        let mut agent = setup.start(&folder, name);
        agent.await_event("registered", WAIT);
        agent
    };
    let (mut alice, mut bob) = (member("alice"), member("bob"));
    alice.tell(
        &json!({"do": "page", "to": "sip:bob@ims.test", "text": "Through the core", "message_id": "page1"}),
    );
    let came = bob.await_such("message", WAIT, |event| event["direction"] == "in");
    assert_eq!((&came["text"], &came["message_id"]), (&json!("Through the core"), &json!("page1")));
    assert_eq!(
        came["from"],
        json!({"address": "sip:alice@ims.test", "verified": true}),
        "as Kamailio asserts"
    );
    alice.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
    let told = alice.await_event("receipt", WAIT);
    assert_eq!((&told["state"], &told["message_id"]), (&json!("delivered"), &json!("page1")));
    assert_eq!(told["from"], json!({"address": "sip:bob@ims.test", "verified": true}));
    bob.tell(&json!({"do": "read", "message_id": "page1"}));
    assert_eq!(alice.await_event("receipt", WAIT)["state"], "displayed");
    alice.quit();
    bob.quit();
}

//= IM F-5 test
//= IM F-6 test
//= IM M-52 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn members_page_each_other_over_udp_with_sha_256() {
    page_through("core-page-udp", "udp", "SHA-256");
}

#[test]
#[ignore = "needs Kamailio: run ./check"]
fn members_page_each_other_over_tls() {
    page_through("core-page-tls", "tls", "MD5");
}
