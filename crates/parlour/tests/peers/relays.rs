//! Kamailio as an MSRP relay (RFC 4976): chats behind it, and what becomes of them when it is not well.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::{Agent, Setup};
use crate::capture;
use crate::dissected::{decrypted, judge, messages};
use crate::harness::{Folder, Program, free_port, output};
use crate::namespaces::Namespace;

const WAIT: Duration = Duration::from_secs(20);
const CONFIG: &str = include_str!("kamailio/relay.cfg.in");
const TLS: &str = include_str!("kamailio/tls.cfg.in");

/// A running relay for `localhost`.
pub(crate) struct Relay {
    msrp: u16,
    pub(crate) msrps: u16,
    ws: u16,
    wss: u16,
    kamailio: Option<Program>,
    /// Where it runs, if not here.
    space: Option<Namespace>,
}

impl Relay {
    fn start(folder: &Folder, algorithm: &str) -> Relay {
        Relay::lending_for(folder, algorithm, 900)
    }

    /// A relay that lends its URIs for so many seconds.
    fn lending_for(folder: &Folder, algorithm: &str, seconds: u32) -> Relay {
        Relay::configured(folder, algorithm, seconds, free_port(), None)
    }

    /// A relay in a namespace of its own, with this port for TLS.
    pub(crate) fn in_space(folder: &Folder, msrps: u16, space: Namespace) -> Relay {
        Relay::configured(folder, "MD5", 900, msrps, Some(space))
    }

    fn configured(
        folder: &Folder,
        algorithm: &str,
        seconds: u32,
        msrps: u16,
        space: Option<Namespace>,
    ) -> Relay {
        crate::registrar::certificates(folder);
        let mut relay =
            Relay { msrp: free_port(), msrps, ws: free_port(), wss: free_port(), kamailio: None, space };
        for (name, text) in [("relay.cfg", CONFIG), ("tls.cfg", TLS)] {
            let text = text
                .replace("@RUN@", &folder.path().display().to_string())
                .replace("@MSRP@", &relay.msrp.to_string())
                .replace("@MSRPS@", &relay.msrps.to_string())
                .replace("@WS@", &relay.ws.to_string())
                .replace("@WSS@", &relay.wss.to_string())
                .replace("@EXPIRES@", &seconds.to_string())
                .replace("@ALGORITHM@", algorithm);
            folder.write(name, text);
        }
        relay.run(folder);
        relay
    }

    fn run(&mut self, folder: &Folder) {
        let mut command = self.command("kamailio");
        command.args(["-DD", "-E", "-m", "128", "-M", "16", "-f"]).arg(folder.join("relay.cfg"));
        command.arg("-Y").arg(folder.path()).arg("-P").arg(folder.join("kamailio.pid"));
        let mut kamailio = Program::run(folder, "kamailio", &mut command);
        kamailio.ready(WAIT, || self.answers());
        self.kamailio = Some(kamailio);
    }

    /// A command that runs where it does.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.space.as_ref().map_or_else(|| Command::new(program), |space| space.command(program))
    }

    /// Whether it answers: its port is open before any of its processes is there.
    fn answers(&self) -> bool {
        let asks = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{0} && \
             printf 'MSRP ready000 AUTH\\r\\nTo-Path: msrp://127.0.0.1:{0};tcp\\r\\nFrom-Path: \
             msrp://127.0.0.1:9/ready;tcp\\r\\n-------ready000$\\r\\n' >&3 && read -r -t 5 line <&3 && echo \"$line\"",
            self.msrp
        );
        let said = self.command("bash").args(["-c", &asks]).output().expect("a shell").stdout;
        said.starts_with(b"MSRP ready000 401")
    }

    fn uri(&self, transport: &str) -> String {
        match transport {
            "tcp" => format!("msrp://127.0.0.1:{};tcp", self.msrp),
            "tls" => format!("msrps://localhost:{};tcp", self.msrps),
            "ws" => format!("msrp://127.0.0.1:{};ws", self.ws),
            _ => format!("msrps://localhost:{};ws", self.wss),
        }
    }

    /// An agent with this relay. `more` are lines for its account.
    fn member(&self, folder: &Folder, name: &str, transport: &str, more: &str) -> Setup {
        self.member_at(folder, name, &self.uri(transport), more)
    }

    /// The same by this URI of the relay.
    pub(crate) fn member_at(&self, folder: &Folder, name: &str, uri: &str, more: &str) -> Setup {
        let mut setup = Setup::new(folder, name, "all");
        setup.wrapper = self.space.as_ref().map(Namespace::wrapper).unwrap_or_default();
        let password = folder.write(&format!("{name}.password"), format!("{name}pw\n"));
        output(Command::new("chmod").arg("600").arg(&password));
        let file = folder.write(
            &format!("{name}.toml"),
            format!(
                "tls_ca = \"{}\"\n[[accounts]]\naddress = \"{}\"\nrelay = [\"{}\"]\nrelay_user = \"{name}\"\n\
                 relay_password_file = \"{}\"\n{}{more}\n",
                folder.join("ca.pem").display(),
                setup.address,
                uri,
                password.display(),
                if uri.starts_with("msrp:") { "relay_insecure = true\n" } else { "" },
            ),
        );
        setup.more = vec!["--config".to_owned(), file.display().to_string()];
        setup
    }
}

/// Both are behind the relay, each by its transport, and talk.
fn talk(test: &str, transports: [&str; 2], algorithm: &str) {
    let folder = Folder::new(test);
    let relay = Relay::start(&folder, algorithm);
    let file = folder.join("relay.pcap");
    let keys = folder.join("keys.log");
    let [alice, bob] = [("alice", transports[0]), ("bob", transports[1])].map(|(name, transport)| {
        let setup = relay.member(&folder, name, transport, "relay_required = true");
        Setup { wrapper: ["env".to_owned(), format!("SSLKEYLOGFILE={}", keys.display())].to_vec(), ..setup }
    });
    let ports = [relay.msrp, relay.msrps, relay.ws, relay.wss, bob.msrp, alice.msrp];
    let recording = capture::start(&folder, &file, &ports);
    let mut to = bob.start(&folder, "bob");
    let mut from = alice.start(&folder, "alice");
    chat(&bob, &mut from, &mut to);
    from.quit();
    to.quit();
    capture::finish(recording, &file);
    let packets = capture::read(&std::fs::read(&file).expect("a capture"));
    let direct = packets
        .iter()
        .any(|packet| [bob.msrp, alice.msrp].contains(&packet.destination) && !packet.payload.is_empty());
    assert!(!direct, "all goes through the relay");
    let ports = [("tcp", relay.msrp), ("tls", relay.msrps), ("ws", relay.ws), ("wss", relay.wss)];
    for (transport, port) in ports {
        let members = transports.iter().filter(|it| **it == transport).count();
        if members == 0 {
            continue;
        }
        let heard = match transport {
            "tcp" => {
                packets.iter().filter(|it| [it.source, it.destination].contains(&port)).cloned().collect()
            }
            "tls" => decrypted(&file, port, Some(&keys)),
            "ws" => messages(&file, port, None),
            _ => messages(&file, port, Some(&keys)),
        };
        let frames = capture::one_frame_a_packet(&heard, &[port]).expect("MSRP frames, one after the other");
        if transport.starts_with("ws") {
            assert_eq!(frames.len(), heard.len(), "each message is a frame");
        }
        // Over TCP the relay connects to itself, too.
        let clients = frames.iter().map(|frame| frame.source).filter(|source| *source != port);
        assert!(clients.collect::<BTreeSet<_>>().len() >= members, "not all who speak {transport} are heard");
        let verdict = judge(&folder.write("split.pcap", capture::write(&frames)), &[], &[port]);
        assert!(verdict.complaints.is_empty(), "{:#?}", verdict.complaints);
        assert_eq!(verdict.msrp, frames.len(), "every frame over {transport} is seen as MSRP");
    }
}

/// Two behind a relay who are in a session.
struct Pair {
    from: Agent,
    to: Agent,
    /// As the one who has invited names it, and the other one.
    session: Value,
    theirs: Value,
    /// How the first reaches the second.
    via: String,
    address: String,
}

impl Pair {
    /// `keys` are lines of their configurations.
    fn meet(folder: &Folder, relay: &Relay, transport: &str, keys: &str) -> Pair {
        let member = |name| {
            let setup = relay.member(folder, name, transport, "relay_required = true");
            let file = std::path::PathBuf::from(&setup.more[1]);
            let text = std::fs::read_to_string(&file).expect("the configuration");
            std::fs::write(file, format!("{keys}{text}")).expect("the configuration");
            setup
        };
        let (bob, alice) = (member("bob"), member("alice"));
        let (mut to, mut from) = (bob.start(folder, "bob"), alice.start(folder, "alice"));
        let (via, address) = (format!("udp:{}:{}", bob.host, bob.sip), bob.address);
        from.tell(&json!({"do": "invite", "to": address, "via": via}));
        let session = from.await_event("connected", WAIT)["session"].clone();
        let theirs = to.await_event("connected", WAIT)["session"].clone();
        Pair { from, to, session, theirs, via, address }
    }
}

/// One invites another, who accepts by itself; both say something short, and one something long.
pub(crate) fn chat(bob: &Setup, from: &mut Agent, to: &mut Agent) {
    let via = format!("udp:{}:{}", bob.host, bob.sip);
    from.tell(&json!({"do": "invite", "to": bob.address, "via": via}));
    let session = from.await_event("connected", WAIT)["session"].clone();
    let theirs = to.await_event("connected", WAIT)["session"].clone();
    let long = "All work and no play. ".repeat(3000);
    for text in ["Hello, Bob", &long] {
        from.tell(&json!({"do": "say", "session": session, "text": text}));
        let came = to.await_such("message", WAIT, |event| event["direction"] == "in");
        if came["file"].is_null() {
            assert_eq!(came["text"], *text);
        }
        from.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
    }
    to.tell(&json!({"do": "say", "session": theirs, "text": "Hello, Alice"}));
    assert_eq!(from.await_such("message", WAIT, |event| event["direction"] == "in")["text"], "Hello, Alice");
    to.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
    from.tell(&json!({"do": "leave", "session": session}));
    from.await_event("ended", WAIT);
    to.await_event("ended", WAIT);
    for (agent, messages) in [(from, 2), (to, 1)] {
        let states =
            agent.seen.iter().filter(|event| event["type"] == "progress").map(|event| &event["state"]);
        let each = ["sent", "acknowledged"].iter().cycle().take(2 * messages);
        assert!(states.eq(each), "{:#?}", agent.seen);
    }
}

//= IM M-21 test
//= IM M-22 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn two_talk_behind_a_relay_over_tcp() {
    talk("relay-tcp", ["tcp", "tcp"], "MD5");
}

//= IM M-21 test
//= IM M-22 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn one_who_has_no_relay_talks_to_one_who_has_whoever_calls() {
    let folder = Folder::new("relay-one");
    let relay = Relay::start(&folder, "MD5");
    let bob = relay.member(&folder, "bob", "tcp", "relay_required = true");
    let alice = Setup::new(&folder, "alice", "all");
    for (called, caller, names) in [(&bob, &alice, ["bob", "alice"]), (&alice, &bob, ["alice", "bob"])] {
        let mut to = called.start(&folder, names[0]);
        let mut from = caller.start(&folder, names[1]);
        chat(called, &mut from, &mut to);
        from.quit();
        to.quit();
    }
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_relay_that_wants_sha_256_gets_it() {
    talk("relay-sha256", ["tcp", "tcp"], "SHA-256");
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_wrong_password_leaves_the_relay_out_or_ends_the_session() {
    let folder = Folder::new("relay-password");
    let relay = Relay::start(&folder, "MD5");
    let bob = Setup::new(&folder, "bob", "all");
    let via = json!({"do": "invite", "to": bob.address, "via": format!("udp:{}:{}", bob.host, bob.sip)});
    let to = bob.start(&folder, "bob");
    for required in [true, false] {
        let name = if required { "alice" } else { "carol" };
        let more = format!("relay_required = {required}");
        let setup = relay.member(&folder, name, "tcp", &more);
        folder.write(&format!("{name}.password"), "wrong\n");
        let mut from = setup.start(&folder, name);
        from.tell(&via);
        if required {
            let end = from.await_event("ended", WAIT)["end"].to_string();
            assert!(end.contains("password is wrong"), "{end}");
        } else {
            let session = from.await_event("connected", WAIT)["session"].clone();
            from.tell(&json!({"do": "say", "session": session, "text": "without it"}));
            from.await_such("progress", WAIT, |event| event["state"] == "acknowledged");
        }
        let told: Vec<_> = from.seen.iter().filter(|event| event["type"] == "relay_failed").collect();
        assert!(matches!(told[..], [one] if one["required"] == required), "{told:#?}");
        from.quit();
    }
    to.quit();
}

//= IM M-22 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_relay_that_is_killed_and_comes_back_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new("relay-killed");
    let mut relay = Relay::start(&folder, "MD5");
    let Pair { mut from, mut to, session, .. } = Pair::meet(&folder, &relay, "tcp", "");
    let say = |from: &mut Agent, number: usize| {
        let text = format!("{number} {}", "x".repeat(20_000));
        from.tell(
            &json!({"do": "say", "session": session, "message_id": format!("msg{number}"), "text": text}),
        );
    };
    for number in 0..20 {
        say(&mut from, number);
    }
    from.await_such("progress", WAIT, |event| {
        event["state"] == "acknowledged" && event["message_id"] == "msg3"
    });
    relay.kamailio.take().expect("it runs").kill();
    for number in 20..30 {
        say(&mut from, number);
    }
    from.await_event("reconnecting", WAIT);
    relay.run(&folder);
    from.await_event("connected", WAIT);
    let acknowledged = |agent: &Agent, number: usize| {
        let id = format!("msg{number}");
        agent.seen.iter().any(|it| it["state"] == "acknowledged" && it["message_id"] == *id)
    };
    while let Some(missing) = (0..30).find(|number| !acknowledged(&from, *number)) {
        assert!(from.next(WAIT).is_some(), "msg{missing} is not acknowledged: {:#?}", from.seen.last());
    }
    to.caught_up();
    for number in 0..30 {
        let id = format!("msg{number}");
        let came = to.seen.iter().filter(|it| it["type"] == "message" && it["message_id"] == *id).count();
        assert_eq!(came, 1, "{id}");
    }
    from.quit();
    to.quit();
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio and 20 s: run ./check"]
fn uris_that_end_are_renewed_while_messages_go_on() {
    let folder = Folder::new("relay-renewal");
    let relay = Relay::lending_for(&folder, "MD5", 8);
    let Pair { mut from, mut to, session, .. } = Pair::meet(&folder, &relay, "tcp", "");
    for number in 0..40 {
        let id = format!("msg{number}");
        from.tell(&json!({"do": "say", "session": session, "message_id": id, "text": "Still here?"}));
        from.await_such("progress", WAIT, |event| {
            event["state"] == "acknowledged" && event["message_id"] == id
        });
        std::thread::sleep(Duration::from_millis(400));
    }
    to.caught_up();
    assert_eq!(to.seen.iter().filter(|it| it["type"] == "message").count(), 40);
    assert_eq!(from.count("reconnecting"), 0, "nobody has noticed");
    from.quit();
    to.quit();
}

//= IM D-1 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn one_speaks_web_socket_to_the_relay_and_the_other_tcp() {
    talk("relay-ws", ["ws", "tcp"], "MD5");
}

#[test]
#[ignore = "needs Kamailio: run ./check"]
fn both_speak_web_socket_to_the_relay() {
    talk("relay-ws-ws", ["ws", "ws"], "MD5");
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn two_talk_behind_a_relay_over_tls() {
    talk("relay-tls", ["tls", "tls"], "MD5");
}

//= IM M-20 test
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn one_speaks_secure_web_socket_to_the_relay_and_the_other_tls() {
    talk("relay-wss", ["wss", "tls"], "MD5");
}

//= IM M-22 test
#[test]
#[ignore = "needs Kamailio, sends 100 MB: run ./check"]
fn large_messages_cross_a_relay_while_both_chat() {
    let folder = Folder::new("relay-large");
    let relay = Relay::start(&folder, "MD5");
    let pair = Pair::meet(&folder, &relay, "tls", "max_size = 4000000\n");
    let Pair { mut from, mut to, session, theirs, .. } = pair;
    // Octets that nothing on the way could confuse with those of another place.
    let large = |number: usize| (0..500_000).map(|at| format!("{number:02}{at:05x}")).collect::<String>();
    for number in 0..30 {
        let id = format!("large{number}");
        from.tell(&json!({"do": "say", "session": session, "message_id": id, "text": large(number)}));
        to.tell(&json!({"do": "say", "session": theirs, "text": format!("aside {number}")}));
    }
    for number in 0..30 {
        let id = format!("large{number}");
        let came = to.await_such("message", 6 * WAIT, |event| event["message_id"] == id);
        let octets = std::fs::read(came["file"].as_str().expect("a file")).expect("the message");
        let start = usize::try_from(came["body_offset"].as_u64().unwrap_or(0)).expect("a small header");
        assert!(octets[start..] == *large(number).as_bytes(), "{id} came as something else");
    }
    from.await_such("progress", 6 * WAIT, |event| {
        event["state"] == "acknowledged" && event["message_id"] == "large29"
    });
    let asides = from.seen.iter().filter(|it| it["type"] == "message" && it["direction"] == "in").count();
    assert_eq!(asides, 30, "the chat went on");
    assert_eq!(from.count("reconnecting"), 0);
    from.quit();
    to.quit();
}

//= IM M-21 test
//= IM D-43 test
#[test]
#[ignore = "needs Kamailio, sends 100 MB (or RELAY_FILE octets): run ./check"]
fn a_large_file_crosses_a_relay_while_a_chat_goes_on() {
    let size = std::env::var("RELAY_FILE").map_or(100_000_000, |octets| octets.parse().expect("octets"));
    assert!(send_file("relay-file", "tls", size) > 3, "the chat waited for the file");
}

/// Frames of WebSocket are binary: among these octets are all that there are, and what is no UTF-8.
#[test]
#[ignore = "needs Kamailio: run ./check"]
fn a_file_crosses_a_relay_over_web_socket() {
    for transport in ["ws", "wss"] {
        send_file(&format!("relay-file-{transport}"), transport, 1_000_000);
    }
}

/// A file of so many octets goes from one behind the relay to the other, who has it as it was; how many messages of a chat
/// went meanwhile.
fn send_file(test: &str, transport: &str, size: u64) -> u32 {
    let long = 15 * WAIT;
    let folder = Folder::new(test);
    let relay = Relay::start(&folder, "MD5");
    let path = folder.join("large.dat");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    for word in 0..size / 8 {
        let octets = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
        std::io::Write::write_all(&mut file, &octets).expect("room on the disk");
    }
    drop(file);
    let pair = Pair::meet(&folder, &relay, transport, &format!("auto_accept_file = {size}\n"));
    let Pair { mut from, mut to, session: chat, via, address, .. } = pair;
    from.tell(&json!({"do": "send_files", "to": address, "via": via, "paths": [path]}));
    from.await_such("file", WAIT, |event| event["state"] == "begun");
    let mut said = 0;
    while !from.seen.iter().any(|event| event["type"] == "file" && event["state"] == "done") {
        let id = format!("while{said}");
        from.tell(&json!({"do": "say", "session": chat, "message_id": id, "text": "Still here?"}));
        from.await_such("progress", long, |event| {
            event["message_id"] == id && event["state"] == "acknowledged"
        });
        said += 1;
    }
    let done = to.await_such("file", long, |event| event["state"] == "done");
    let sum = |path: &std::path::Path| {
        let text = output(Command::new("sha256sum").arg(path));
        text.split(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(sum(done["path"].as_str().expect("a path").as_ref()), sum(&path));
    assert_eq!((from.count("reconnecting"), to.count("reconnecting")), (0, 0));
    from.quit();
    to.quit();
    said
}
