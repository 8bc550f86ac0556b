//! One endpoint, and a scripted peer that writes octets and reads what comes back.

use std::time::Duration;

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::random::Random;
use parlour_msrp::time::Instant;
use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{
    Body, ConnectionId, Endpoint, Event, Input, Limits, Outgoing, Output, Receipt, Role, SessionId,
    SessionSpec, Source, Verdict,
};

pub const ALICE: &str = "msrp://192.0.2.1:7777/iau39soe2843z;tcp";
pub const BOB: &str = "msrp://192.0.2.2:8888/9di4eae923wzd;tcp";

/// The connection that the peer makes.
pub const PEER: ConnectionId = ConnectionId(1);

/// An endpoint that plays Bob.
pub struct Bob {
    pub endpoint: Endpoint,
    pub now: Instant,
    /// All outputs but `Send` and `Idle`, since they were last taken.
    pub outputs: Vec<Output>,
    /// Octets written to each connection, since they were last taken.
    pub written: Vec<(ConnectionId, Vec<u8>)>,
    /// How many `Send`s there were.
    pub writes: usize,
    pub next: Option<Instant>,
}

pub fn spec(role: Role) -> SessionSpec {
    SessionSpec::new(
        MsrpUri::parse(BOB).expect("a URI"),
        MsrpPath::parse(ALICE).expect("a path"),
        role,
        AcceptTypes::parse("text/plain message/cpim application/octet-stream", None),
    )
    .with(|spec| spec.max_size = 1_000_000)
}

pub fn text(message_id: &str, body: &str) -> Outgoing {
    Outgoing::new(message_id.to_owned(), "text/plain".to_owned(), Source::Inline(body.as_bytes().to_vec()))
}

/// A SEND from Alice; rows are lines such as `Byte-Range: 1-2/2`.
pub fn send(tid: &str, rows: &[&str], body: Option<&str>, flag: char) -> String {
    frame(tid, "SEND", rows, body, flag)
}

pub fn frame(tid: &str, method: &str, rows: &[&str], body: Option<&str>, flag: char) -> String {
    let mut text = format!("MSRP {tid} {method}\r\nTo-Path: {BOB}\r\nFrom-Path: {ALICE}\r\n");
    rows.iter().for_each(|row| text += &format!("{row}\r\n"));
    if let Some(body) = body {
        text += &format!("Content-Type: text/plain\r\n\r\n{body}\r\n");
    }
    text + &format!("-------{tid}{flag}\r\n")
}

/// A chunk of a message of Alice.
pub fn chunk(tid: &str, message_id: &str, range: &str, body: &str, flag: char) -> String {
    let rows = [format!("Message-ID: {message_id}"), format!("Byte-Range: {range}")];
    send(tid, &[&rows[0], &rows[1]], Some(body), flag)
}

/// A response of Bob.
pub fn response(tid: &str, status: &str) -> String {
    format!("MSRP {tid} {status}\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\n-------{tid}$\r\n")
}

/// A response of Alice.
pub fn answer(tid: &str, status: &str) -> String {
    format!("MSRP {tid} {status}\r\nTo-Path: {BOB}\r\nFrom-Path: {ALICE}\r\n-------{tid}$\r\n")
}

impl Bob {
    pub fn new() -> Bob {
        Bob::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Bob {
        Bob {
            endpoint: Endpoint::new(limits, Random::new([7; 32])),
            now: Instant::from_micros(1_000_000),
            outputs: Vec::new(),
            written: Vec::new(),
            writes: 0,
            next: None,
        }
    }

    /// With a passive session whose peer has connected, and bound it with an empty SEND.
    pub fn bound() -> (Bob, SessionId) {
        Bob::bound_with(Limits::default())
    }

    pub fn bound_with(limits: Limits) -> (Bob, SessionId) {
        let mut bob = Bob::with(limits);
        let session = bob.open(spec(Role::Passive));
        bob.connect(PEER);
        bob.receive(&send("bind", &["Message-ID: hello", "Byte-Range: 1-0/0"], None, '$'));
        assert_eq!(bob.take_text(PEER), response("bind", "200 OK"));
        assert_eq!(bob.take_events(), [Event::Bound { session }]);
        (bob, session)
    }

    pub fn open(&mut self, spec: SessionSpec) -> SessionId {
        let session = self.endpoint.open(self.now, spec);
        self.drain();
        session
    }

    pub fn connect(&mut self, connection: ConnectionId) {
        let peer = "192.0.2.1:7777".parse().expect("an address");
        self.input(Input::Connected { connection, peer, tls: None });
        self.input(Input::Writable { connection, room: 1 << 20 });
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.endpoint.handle(self.now, input);
        self.drain();
    }

    pub fn receive(&mut self, text: &str) {
        self.receive_on(PEER, text);
    }

    pub fn receive_on(&mut self, connection: ConnectionId, text: &str) {
        self.input(Input::Received { connection, bytes: text.as_bytes() });
    }

    pub fn send(&mut self, session: SessionId, message: Outgoing) {
        self.endpoint.send(self.now, session, message).expect("it is taken");
        self.drain();
    }

    pub fn settle(&mut self, receipt: Receipt, verdict: Verdict) {
        self.endpoint.settle(self.now, receipt, verdict);
        self.drain();
    }

    /// Lets time pass, and tells the endpoint at each instant it asked for.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next.filter(|next| *next <= end) {
            self.now = next;
            self.input(Input::Tick);
        }
        self.now = end;
    }

    pub fn drain(&mut self) {
        loop {
            match self.endpoint.poll() {
                Output::Send { connection, bytes } => {
                    assert!(!bytes.is_empty());
                    self.writes += 1;
                    self.written.push((connection, bytes));
                }
                Output::Idle(next) => {
                    self.next = next;
                    return;
                }
                other => self.outputs.push(other),
            }
        }
    }

    /// What was written to a connection.
    pub fn take_text(&mut self, connection: ConnectionId) -> String {
        let mut text = String::new();
        self.written.retain(|(to, bytes)| {
            if *to == connection {
                text += &String::from_utf8_lossy(bytes);
            }
            *to != connection
        });
        text
    }

    /// The events, without explanations.
    pub fn take_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Event(Event::Explain { .. }) => {}
                Output::Event(event) => events.push(event),
                other => self.outputs.push(other),
            }
        }
        events
    }

    /// The clause ids of explanations.
    pub fn take_explained(&mut self) -> Vec<&'static str> {
        let mut clauses = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Event(Event::Explain { clause, .. }) => {
                clauses.push(*clause);
                false
            }
            _ => true,
        });
        clauses
    }

    /// The one whole message that came, with its receipt.
    pub fn take_message(&mut self) -> (Receipt, String) {
        let mut events = self.take_events();
        assert_eq!(events.len(), 1, "{events:?}");
        match events.pop() {
            Some(Event::Message { receipt, body: Body::Inline(body), .. }) => {
                (receipt, String::from_utf8(body).expect("text"))
            }
            other => panic!("no message: {other:?}"),
        }
    }
}

/// The transaction identifiers of the frames in a text, with what follows them on the start line.
pub fn frames(text: &str) -> Vec<(String, String)> {
    let starts = text.split("\r\n").filter_map(|line| line.strip_prefix("MSRP "));
    starts
        .filter_map(|line| line.split_once(' '))
        .map(|(tid, rest)| (tid.to_owned(), rest.to_owned()))
        .collect()
}
