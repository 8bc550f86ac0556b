//! Kamailio's presence_conference as notifier of a conference's state (RFC 4575, RFC 6665): the full roster, a change,
//! the refresh, and the end. The test is the mixer: it invites the binary to the conference and publishes who is there.
//!
//! That module writes each document anew as a full one with its own version and without the scheme in the conference's
//! `entity`, whatever was published. So partial state, a gap of versions, the state "deleted" and a subscription that
//! the notifier ends by itself do not come from it: SIPp in `rosters.rs` and the simulator play those.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::{Agent, Setup};
use crate::capture::{self, Packet, Recording};
use crate::dissected::judge;
use crate::harness::{Folder, Program, await_until, free_port, listens};

const WAIT: Duration = Duration::from_secs(15);
const CONFIG: &str = include_str!("kamailio/conference.cfg.in");

/// What the mixer offers. It says that it will connect, and never does: none of these sessions lasts until that is missed.
const OFFER: &str = "v=0\r\no=room 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
    a=accept-types:text/plain message/cpim\r\na=path:msrp://127.0.0.1:9/a7Fq03kLwz8Xw2;tcp\r\na=setup:active\r\n";

/// Bob in a conference whose state Kamailio notifies, and the recording of all that they say.
struct Room {
    folder: Folder,
    bob: Agent,
    mixer: Mixer,
    file: PathBuf,
    recording: Recording,
    _kamailio: Program,
}

impl Room {
    /// Bob is invited by a focus at which Kamailio listens on this transport, and accepts. `users` are there already.
    fn enter(test: &str, transport: &str, expires: u32, users: &[&str]) -> Room {
        let folder = Folder::new(test);
        let core = free_port();
        let config = CONFIG.replace("@SIP@", &core.to_string()).replace("@EXPIRES@", &expires.to_string());
        let config = folder.write("kamailio.cfg", config);
        let mut command = Command::new("kamailio");
        command.args(["-DD", "-E", "-m", "64", "-M", "8", "-f"]).arg(config);
        command.arg("-Y").arg(folder.path()).arg("-P").arg(folder.join("kamailio.pid"));
        let mut kamailio = Program::run(&folder, "kamailio", &mut command);
        kamailio.ready(WAIT, || listens(core));

        let setup = Setup::new(&folder, "bob", "all");
        let mut mixer = Mixer::new(core, setup.sip, transport);
        let file = folder.join("room.pcap");
        let recording = capture::start(&folder, &file, &[core, setup.sip, mixer.port]);
        let bob = setup.start(&folder, "bob");
        mixer.publish(true, users);
        mixer.invite();
        Room { folder, bob, mixer, file, recording, _kamailio: kamailio }
    }

    /// Bob's next roster: who has come, of whom something has changed, who has left, and how many are there.
    #[track_caller]
    fn roster(&mut self) -> (Vec<String>, Vec<String>, Vec<String>, u64) {
        let event = self.bob.await_event("roster", WAIT);
        assert_eq!(event["subject"], "Tea & talk", "{event}");
        assert_eq!(event["user_count"], event["here"], "{event}");
        let here = event["here"].as_u64().expect("a number");
        (addresses(&event["joined"]), addresses(&event["changed"]), addresses(&event["left"]), here)
    }

    /// Waits until this holds of what has gone over the wire.
    fn await_traffic(&self, what: &str, holds: impl Fn(&Traffic) -> bool) {
        await_until(WAIT, what, || {
            let file = fs::read(&self.file).expect("a capture");
            holds(&Traffic { packets: capture::so_far(&file).0, _folder: None })
        });
    }

    /// Everybody goes; the packets on the way, in which tshark has found nothing wrong.
    fn close(self) -> Traffic {
        self.bob.quit();
        capture::finish(self.recording, &self.file);
        let packets = capture::read(&fs::read(&self.file).expect("a capture"));
        let verdict = judge(&self.file, &[self.mixer.port, self.mixer.core, self.mixer.agent], &[]);
        assert!(verdict.complaints.is_empty(), "{:#?}", verdict.complaints);
        Traffic { packets, _folder: Some(self.folder) }
    }
}

fn addresses(users: &Value) -> Vec<String> {
    let users = users.as_array().expect("a list of users");
    users.iter().map(|user| user["address"].as_str().expect("an address").to_owned()).collect()
}

/// The focus as far as it is not Kamailio: it invites, says BYE and publishes.
struct Mixer {
    socket: UdpSocket,
    port: u16,
    /// Kamailio's port, and Bob's.
    core: u16,
    agent: u16,
    /// The Contact of its INVITE: the IM Session Identity.
    identity: String,
    /// The To of the dialog, once there is one.
    to: String,
    cseq: u32,
    /// The entity-tag of what is published (RFC 3903).
    etag: Option<String>,
}

impl Mixer {
    fn new(core: u16, agent: u16, transport: &str) -> Mixer {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a port");
        socket.set_read_timeout(Some(WAIT)).expect("a time limit");
        let port = socket.local_addr().expect("a bound socket has an address").port();
        let identity = format!("sip:room@127.0.0.1:{core};transport={transport}");
        let to = format!("<sip:bob@127.0.0.1:{agent}>");
        Mixer { socket, port, core, agent, identity, to, cseq: 0, etag: None }
    }

    /// Invites Bob, who accepts.
    fn invite(&mut self) {
        let rows = format!("Contact: <{}>;isfocus\r\nContent-Type: application/sdp\r\n", self.identity);
        let answer = self.ask(self.agent, "INVITE", &rows, OFFER);
        self.to = row(&answer, "To").expect("a To").to_owned();
        self.send(self.agent, "ACK", "", "");
    }

    /// Ends the session.
    fn leave(&mut self) {
        self.ask(self.agent, "BYE", "", "");
    }

    /// Tells Kamailio that the conference goes on, or is over, with these users. A name with "?" rings.
    fn publish(&mut self, active: bool, users: &[&str]) {
        let here = users.iter().filter(|name| !name.ends_with('?')).count();
        let users: String = users.iter().map(|name| user(name)).collect();
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" entity=\"sip:room@127.0.0.1\" \
             state=\"full\" version=\"1\"><conference-description><subject>Tea &amp; talk</subject>\
             </conference-description><conference-state><user-count>{here}</user-count>\
             <active>{active}</active></conference-state><users>{users}</users></conference-info>"
        );
        let known = self.etag.take().map(|etag| format!("SIP-If-Match: {etag}\r\n")).unwrap_or_default();
        let rows = format!(
            "Event: conference\r\nExpires: 600\r\n{known}Content-Type: application/conference-info+xml\r\n"
        );
        let answer = self.ask(self.core, "PUBLISH", &rows, &document);
        self.etag = row(&answer, "SIP-ETag").map(str::to_owned);
    }

    /// Sends a request and returns its final response, which is a 200.
    fn ask(&mut self, port: u16, method: &str, rows: &str, body: &str) -> String {
        if method != "ACK" {
            self.cseq += 1;
        }
        self.send(port, method, rows, body);
        let cseq = format!("{} {method}", self.cseq);
        let until = Instant::now() + WAIT;
        let mut buffer = vec![0; 65_536];
        while Instant::now() < until {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|fault| panic!("{method}: {fault}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if row(&text, "CSeq") == Some(&cseq) && !text.starts_with("SIP/2.0 1") {
                assert!(text.starts_with("SIP/2.0 200 "), "{method} is answered {text}");
                return text;
            }
        }
        panic!("no final response to {method}");
    }

    fn send(&self, port: u16, method: &str, rows: &str, body: &str) {
        let (own, cseq) = (self.port, self.cseq);
        let (uri, to, call) = if method == "PUBLISH" {
            let uri = format!("sip:room@127.0.0.1:{port}");
            (uri.clone(), format!("<{uri}>"), format!("publish{cseq}"))
        } else {
            (format!("sip:bob@127.0.0.1:{port}"), self.to.clone(), "call".to_owned())
        };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{method}{cseq}\r\n\
             From: <sip:room@127.0.0.1>;tag=mixer\r\nTo: {to}\r\nCall-ID: {call}@127.0.0.1\r\n\
             CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{rows}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send_to(text.as_bytes(), ("127.0.0.1", port)).expect("loopback takes it");
    }
}

/// The element of a user with one device; a name with "?" rings.
fn user(name: &str) -> String {
    let (name, status) = match name.strip_suffix('?') {
        Some(name) => (name, "alerting"),
        None => (name, "connected"),
    };
    format!(
        "<user entity=\"sip:{name}@127.0.0.1\"><endpoint entity=\"sip:{name}@127.0.0.1:5060\">\
         <status>{status}</status></endpoint></user>"
    )
}

/// The value of the first header row of this name.
fn row<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// What went over the wire.
struct Traffic {
    packets: Vec<Packet>,
    /// Kept until the test is over.
    _folder: Option<Folder>,
}

impl Traffic {
    /// The messages that begin so, repetitions left out. Each is in a packet of its own.
    fn messages(&self, start: &str) -> Vec<String> {
        let mut messages = Vec::new();
        for packet in &self.packets {
            let text = String::from_utf8_lossy(&packet.payload).into_owned();
            if text.starts_with(start) && !messages.contains(&text) {
                messages.push(text);
            }
        }
        messages
    }

    /// How many requests of this method have got a response with this status.
    fn answered(&self, method: &str, status: u16) -> usize {
        let responses = self.messages(&format!("SIP/2.0 {status} "));
        let of = |text: &&String| row(text, "CSeq").is_some_and(|cseq| cseq.ends_with(method));
        responses.iter().filter(of).count()
    }

    /// The lifetimes that Bob's SUBSCRIBEs ask for, in their order.
    fn lifetimes(&self) -> Vec<u32> {
        let subscribes = self.messages("SUBSCRIBE ");
        for subscribe in &subscribes {
            assert_eq!(row(subscribe, "Event"), Some("conference"), "{subscribe}");
            assert_eq!(row(subscribe, "Accept"), Some("application/conference-info+xml"), "{subscribe}");
        }
        let seconds = |text: &String| row(text, "Expires").and_then(|value| value.parse().ok());
        subscribes.iter().map(|text| seconds(text).expect("an Expires in seconds")).collect()
    }

    /// What Kamailio's NOTIFYs, each of which has got a 200, say of the subscription, but for its lifetime. A new
    /// subscription that meets a PUBLISH halfway gets the same document twice, so what is said again is left out.
    fn states(&self) -> Vec<String> {
        let notifies = self.messages("NOTIFY ");
        assert_eq!(self.answered(" NOTIFY", 200), notifies.len(), "{notifies:#?}");
        let state = |text: &String| {
            let value = row(text, "Subscription-State").expect("a state");
            value.split(";expires").next().unwrap_or_default().to_owned()
        };
        let mut states: Vec<_> = notifies.iter().map(state).collect();
        states.dedup();
        states
    }
}

/// Enters, sees one come, one answer and one go, and is told of no more once the session is over.
fn follow(test: &str, transport: &str) {
    let mut room = Room::enter(test, transport, 600, &["alice", "bob", "carol?"]);
    let sip = |name: &str| format!("sip:{name}@127.0.0.1");
    assert_eq!(room.roster(), (vec![sip("alice"), sip("bob")], vec![sip("carol")], vec![], 2));
    room.mixer.publish(true, &["alice", "bob", "carol", "dave"]);
    assert_eq!(room.roster(), (vec![sip("carol"), sip("dave")], vec![], vec![], 4));
    room.mixer.publish(true, &["bob", "carol", "dave?"]);
    assert_eq!(room.roster(), (vec![], vec![sip("dave")], vec![sip("alice")], 2));
    room.mixer.leave();
    assert_eq!(room.bob.await_event("ended", WAIT)["end"]["how"], "peer_left");
    room.await_traffic("the last NOTIFY and its answer", |traffic| {
        let notifies = traffic.messages("NOTIFY ");
        let is_over =
            |text: &String| row(text, "Subscription-State").is_some_and(|it| it.contains("terminated"));
        notifies.iter().any(is_over) && traffic.answered(" NOTIFY", 200) == notifies.len()
    });
    // Kamailio has forgotten Bob: this goes to nobody, who would have it before the answer to the next.
    room.mixer.publish(true, &["eve"]);
    room.mixer.publish(true, &["eve"]);
    room.bob.caught_up();
    assert_eq!((room.bob.count("roster"), room.bob.count("roster_ended")), (3, 0), "{:#?}", room.bob.seen);

    let identity = room.mixer.identity.clone();
    let traffic = room.close();
    assert_eq!(traffic.lifetimes(), [3600, 0], "what RFC 4575 recommends, and the end");
    assert_eq!(traffic.answered(" SUBSCRIBE", 200), 2);
    let first = format!("SUBSCRIBE {identity} SIP/2.0\r\n");
    assert_eq!(traffic.messages(&first).len(), 1, "to the IM Session Identity, octet by octet");
    assert_eq!(traffic.states(), ["active", "terminated;reason=timeout"]);
}

//= IM S-9 test
//= IM R-10 test
//= IM R-12 test
//= IM R-14 test
//= IM R-16 test
#[test]
#[ignore = "needs Kamailio, tcpdump and tshark: run ./check"]
fn the_roster_of_a_conference_over_udp() {
    follow("conference-udp", "udp");
}

// The session came over UDP, and its Contact asks for TCP: a connection to the focus is made for the subscription.
#[test]
#[ignore = "needs Kamailio, tcpdump and tshark: run ./check"]
fn the_roster_of_a_conference_over_tcp() {
    follow("conference-tcp", "tcp");
}

//= IM R-15 test
#[test]
#[ignore = "needs Kamailio, tcpdump, tshark and 15 s: run ./check"]
fn a_conference_is_followed_until_it_is_over() {
    let mut room = Room::enter("conference-over", "udp", 12, &["alice", "bob"]);
    assert_eq!(room.roster().3, 2);
    // The refresh brings the same document again, which is no news; then the last ones go.
    room.await_traffic("the refresh and its NOTIFY", |traffic| {
        traffic.answered(" SUBSCRIBE", 200) == 2 && traffic.answered(" NOTIFY", 200) >= 2
    });
    room.bob.caught_up();
    assert_eq!(room.bob.count("roster"), 1, "{:#?}", room.bob.seen);
    room.mixer.publish(false, &[]);
    let last = room.bob.await_event("roster", WAIT);
    assert_eq!((&last["active"], &last["here"]), (&Value::from(false), &Value::from(0)), "{last}");
    assert_eq!(addresses(&last["left"]), ["sip:alice@127.0.0.1", "sip:bob@127.0.0.1"]);
    let over = room.bob.await_event("roster_ended", WAIT);
    assert!(over["why"].as_str().is_some_and(|why| why.contains("404 No Such Conference")), "{over}");
    assert_eq!(room.bob.count("ended"), 0, "the session goes on");
    room.mixer.leave();
    assert_eq!(room.bob.await_event("ended", WAIT)["end"]["how"], "peer_left");
    let traffic = room.close();
    assert_eq!(traffic.lifetimes(), [3600, 3600, 3600], "the first, a refresh, and one in vain");
    assert_eq!((traffic.answered(" SUBSCRIBE", 200), traffic.answered(" SUBSCRIBE", 404)), (2, 1));
    assert_eq!(traffic.states(), ["active"]);
}
