//! Timelines in virtual time, the matrix of the machines, and random sequences of events.

mod client;
mod finding;
mod matrix;
mod random;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use parlour_msrp::table::HashKeys;
use parlour_msrp::time::Instant;

use super::{Incoming, Limits, ServerId, Transactions, TxOutput};
use crate::io::FlowId;
use crate::sip::message::Message;

const PEER: &str = "192.0.2.4:5070";

/// Transactions with one flow to one peer, at a time of our choosing.
struct World {
    tx: Transactions,
    now: Instant,
    flow: FlowId,
    source: SocketAddr,
}

impl World {
    fn udp() -> World {
        let source = PEER.parse().expect("invariant: an address");
        World::on(FlowId::Udp { socket: 0, peer: source }, Limits { server: 100, client: 100 })
    }

    fn stream() -> World {
        World::on(FlowId::Stream(7), Limits { server: 100, client: 100 })
    }

    fn on(flow: FlowId, limits: Limits) -> World {
        let source = PEER.parse().expect("invariant: an address");
        World { tx: Transactions::new(HashKeys(1, 2), limits), now: Instant::ZERO, flow, source }
    }

    fn receive(&mut self, text: &str) -> Incoming {
        let octets = crlf(text);
        let message = Message::parse(&octets).expect("invariant: the test's message can be read");
        let Ok(via) = message.top_via() else { return Incoming::Dropped("the top Via can't be read") };
        self.tx.receive(self.now, self.flow, self.source, &message, &via)
    }

    /// Receives a request that is new.
    fn new_request(&mut self, text: &str) -> ServerId {
        let incoming = self.receive(text);
        let Incoming::Request { id, merged: false } = incoming else {
            panic!("no new request: {incoming:?}")
        };
        id
    }

    fn respond(&mut self, id: ServerId, status: u16) {
        self.tx.respond(self.now, id, status, response(status));
    }

    /// What comes out now: the first line of what is sent, or what is told.
    fn out(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.tx.poll())
            .map(|output| match output {
                TxOutput::Send { flow, bytes } => {
                    assert_eq!(flow, self.flow, "all tests talk to one peer");
                    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
                }
                TxOutput::ClientTimeout { .. } => "timeout".to_owned(),
                TxOutput::ClientUnreachable { .. } => "unreachable".to_owned(),
                TxOutput::ServerNoAck { .. } => "no ACK".to_owned(),
                TxOutput::ServerGone { .. } => "gone".to_owned(),
            })
            .collect()
    }

    /// The octets of the one message that is sent now.
    fn sent(&mut self) -> String {
        let Some(TxOutput::Send { bytes, .. }) = self.tx.poll() else { panic!("expected a message") };
        assert_eq!(self.tx.poll(), None);
        String::from_utf8(bytes).expect("invariant: the test's messages are text")
    }

    /// Lives on until `ms` milliseconds after the start; returns at which millisecond what came out. A microsecond
    /// before each of these, nothing did.
    fn until(&mut self, ms: u64) -> Vec<(u64, String)> {
        let end = Instant::from_micros(ms * 1000);
        let mut timeline = Vec::new();
        while let Some((at, _)) = self.tx.next_deadline().filter(|(at, _)| *at <= end) {
            self.tx.tick(Instant::from_micros(at.as_micros().saturating_sub(1)));
            assert_eq!(self.out(), [""; 0], "nothing comes early");
            self.tx.tick(at);
            timeline.extend(self.out().into_iter().map(|line| (at.as_millis(), line)));
        }
        self.now = end;
        timeline
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.tx.tick(self.now);
    }
}

/// A timeline of one line at several times.
fn each(line: &str, at: &[u64]) -> Vec<(u64, String)> {
    at.iter().map(|ms| (*ms, line.to_owned())).collect()
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// A request from the peer.
fn request(method: &str, branch: &str, to_tag: &str) -> String {
    format!(
        "{method} sip:bob@192.0.2.1 SIP/2.0\n\
         Via: SIP/2.0/UDP alice.example:5070;rport;branch={branch}\n\
         Via: SIP/2.0/TCP far.example;branch=z9hG4bKfar\n\
         Max-Forwards: 70\n\
         From: <sip:alice@example.com>;tag=a1\n\
         To: <sip:bob@example.com>{to_tag}\n\
         Call-ID: call-1\n\
         CSeq: 1 {method}\n\
         Content-Length: 0\n\n"
    )
}

/// A response of ours.
fn response(status: u16) -> Vec<u8> {
    crlf(&format!("SIP/2.0 {status} Test\nTo: <sip:bob@example.com>;tag=b1\nContent-Length: 0\n\n"))
}

/// A request of ours.
fn our_request(method: &str, branch: &str) -> Vec<u8> {
    crlf(&format!(
        "{method} sip:alice@192.0.2.4 SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport\n\
         Max-Forwards: 69\n\
         Route: <sip:p1.example;lr>\n\
         Route: <sip:p2.example;lr>\n\
         From: <sip:bob@example.com>;tag=b1\n\
         To: <sip:alice@example.com>\n\
         Call-ID: call-2\n\
         CSeq: 17 {method}\n\
         Require: none\n\
         Contact: <sip:bob@192.0.2.1>\n\
         Content-Length: 4\n\nbody"
    ))
}

/// A response of the peer to that.
fn their_response(status: u16, method: &str, branch: &str) -> String {
    format!(
        "SIP/2.0 {status} Test\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport=5060;received=192.0.2.1\n\
         From: <sip:bob@example.com>;tag=b1\n\
         To: <sip:alice@example.com>;tag=a9\n\
         Call-ID: call-2\n\
         CSeq: 17 {method}\n\
         Content-Length: 0\n\n"
    )
}
