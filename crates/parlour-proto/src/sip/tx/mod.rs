//! Transactions (RFC 3261 section 17, RFC 6026, RFC 4320): each request is handed up once, each response is delivered
//! reliably, and every retransmission ends here.
//!
//! Four small machines (`server/machine.rs`, `client/machine.rs`) are driven by what is received, by what the TU (the
//! transaction user: everything above) gives, and by timers. Call one of the mutating functions, then
//! [`poll`](Transactions::poll) until `None`; come back with [`tick`](Transactions::tick) at
//! [`next_deadline`](Transactions::next_deadline).

mod client;
mod key;
mod make;
mod server;
mod timer;
mod via;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use parlour_msrp::table::HashKeys;
use parlour_msrp::time::Instant;
use parlour_msrp::timer::Timers;

pub use self::make::cancel_for;
pub use self::timer::{LATE_TRYING, PATIENCE, T1, T2, T4, TRYING};
pub use self::via::{mark_source, reply_flow, reply_via};

use self::key::Print;
use self::timer::Due;
use crate::io::{FlowId, Why};
use crate::sip::header::Via;
use crate::sip::message::{Kept, Message};
use crate::sip::name::Name;

/// Names one server transaction; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    serial: u64,
    print: Print,
}

/// Names one client transaction; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    serial: u64,
    print: Print,
}

/// How many transactions may be open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Server transactions, those in their linger time included. A CANCEL of one of them always finds room.
    pub server: usize,
    /// Client transactions.
    pub client: usize,
}

/// What a received message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Incoming {
    /// A new request. `merged`: the same request came before over another path and is still known, so that it is to
    /// be answered 482 (RFC 3261 8.2.2.2).
    Request { id: ServerId, merged: bool },
    /// A new request for which there is no room: answer it without a transaction, or not at all.
    Overload,
    /// An ACK for a 2xx, or one that belongs to nothing: the dialogs know.
    Ack,
    /// A CANCEL, to be answered 200, or 481 if `invite` is none. The INVITE is to be answered 487 if it has no final
    /// response yet ([`Transactions::kept`] still returns it).
    Cancel { id: ServerId, invite: Option<ServerId> },
    /// A response to our request: provisional, final, or one more 2xx to INVITE.
    Response { id: ClientId },
    /// A response that no request of ours waits for.
    Stray,
    /// A retransmission or an ACK: all that is to be done is done.
    Absorbed,
    /// A message that can't be used, and why.
    Dropped(&'static str),
}

/// What the transactions ask for or tell.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum TxOutput {
    /// Send these octets.
    Send { flow: FlowId, bytes: Vec<u8> },
    /// No response came in time (timers B and F): counts as a 408. The transaction is gone.
    ClientTimeout { id: ClientId },
    /// The flow of the request is closed, or it could not leave: counts as a 503 (RFC 3261 18.4). The transaction is gone.
    ClientUnreachable { id: ClientId },
    /// No ACK came for a response 300-699 (timer H). The transaction is gone.
    ServerNoAck { id: ServerId },
    /// A request without a final response can't be answered any more: its flow is closed, or (other than INVITE) its
    /// sender has given up. The transaction is gone.
    ServerGone { id: ServerId },
}

/// All transactions of one client.
#[derive(Debug)]
pub struct Transactions {
    servers: server::Servers,
    clients: client::Clients,
    shared: Shared,
}

/// What server and client transactions have in common.
#[derive(Debug)]
struct Shared {
    keys: HashKeys,
    timers: Timers<Due>,
    outputs: VecDeque<TxOutput>,
    /// The transactions of each stream, for when it closes. Datagram flows don't close.
    streams: BTreeSet<(u64, Side, Print)>,
    started: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Server,
    Client,
}

impl Transactions {
    /// No transactions yet. `keys` are drawn from the seed and secret.
    pub fn new(keys: HashKeys, limits: Limits) -> Self {
        Transactions {
            servers: server::Servers::new(keys, limits.server),
            clients: client::Clients::new(keys, limits.client),
            shared: Shared {
                keys,
                timers: Timers::default(),
                outputs: VecDeque::new(),
                streams: BTreeSet::new(),
                started: 0,
            },
        }
    }

    /// Takes a message that arrived over `flow` from the address `source`, with this top Via, and says what it is.
    pub fn receive(
        &mut self,
        now: Instant,
        flow: FlowId,
        source: SocketAddr,
        message: &Message<'_>,
        via: &Via<'_>,
    ) -> Incoming {
        if message.is_request() {
            return self.servers.receive(&mut self.shared, now, flow, source, message, via);
        }
        // RFC 3261 8.1.3.3: a response with a second Via has gone astray.
        match message.values(Name::Via).nth(1) {
            Some(_) => Incoming::Dropped("a response with more than one Via"),
            None => self.clients.receive(&mut self.shared, now, message, via),
        }
    }

    /// Sends a response to the request, and takes care of its delivery. `bytes` are the whole message, `status` its
    /// code. After a 2xx to INVITE, further calls with a 2xx send it again (RFC 3261 13.3.1.4 says when); any other
    /// response after a final one is discarded, as is a 1xx or 408 to a request other than INVITE (RFC 4320).
    pub fn respond(&mut self, now: Instant, id: ServerId, status: u16, bytes: Vec<u8>) {
        self.servers.respond(&mut self.shared, now, id, status, bytes);
    }

    /// The request, for as long as it has no final response.
    pub fn kept(&self, id: ServerId) -> Option<&Kept> {
        self.servers.pending(id).map(|pending| &pending.request)
    }

    /// The address that the request came from, for as long as it has no final response.
    pub fn source(&self, id: ServerId) -> Option<SocketAddr> {
        self.servers.pending(id).map(|pending| pending.source)
    }

    /// Sends a request other than ACK over `flow` and takes care of its delivery. Its Via has a branch of 96 random
    /// bits at least; a CANCEL has that of its INVITE, which from then on has 64*T1 for its final response.
    pub fn request(&mut self, now: Instant, flow: FlowId, bytes: Vec<u8>) -> ClientId {
        self.clients.request(&mut self.shared, now, flow, bytes)
    }

    /// Whether a provisional response came and no final one: only then may a CANCEL be sent (RFC 3261 9.1).
    pub fn proceeding(&self, id: ClientId) -> bool {
        self.clients.proceeding(id)
    }

    /// The way of our request, for as long as its transaction lives.
    pub fn flow(&self, id: ClientId) -> Option<FlowId> {
        self.clients.flow(id)
    }

    /// A request of ours could not leave.
    pub fn unreachable(&mut self, now: Instant, id: ClientId) {
        self.clients.unreachable(&mut self.shared, now, id);
    }

    /// The octets of our request, for as long as it has no final response.
    pub fn sent(&self, id: ClientId) -> Option<&[u8]> {
        self.clients.sent(id)
    }

    /// Ends a server transaction at once and in silence.
    pub fn forget_server(&mut self, id: ServerId) {
        self.servers.forget(&mut self.shared, id);
    }

    /// Ends a client transaction at once and in silence.
    pub fn forget_client(&mut self, id: ClientId) {
        self.clients.forget(&mut self.shared, id);
    }

    /// A stream is gone, and with it all transactions on it.
    pub fn flow_closed(&mut self, now: Instant, flow: FlowId) {
        let FlowId::Stream(stream) = flow else { return };
        while let Some((side, print)) = self.shared.on_stream(stream) {
            match side {
                Side::Server => self.servers.close(&mut self.shared, now, print),
                Side::Client => self.clients.close(&mut self.shared, now, print),
            }
            self.shared.streams.remove(&(stream, side, print));
        }
    }

    /// Fires what is due.
    pub fn tick(&mut self, now: Instant) {
        while let Some((_, due)) = self.shared.timers.pop_due(now) {
            if due.timer.of_server() {
                self.servers.fire(&mut self.shared, now, due);
            } else {
                self.clients.fire(&mut self.shared, now, due);
            }
        }
    }

    /// When to call [`tick`](Self::tick) at the latest, and what for.
    pub fn next_deadline(&self) -> Option<(Instant, Why)> {
        self.shared.timers.next().map(|(at, due)| (at, due.timer.why()))
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<TxOutput> {
        self.shared.outputs.pop_front()
    }

    /// How many transactions there are, those in their linger time included.
    pub fn len(&self) -> usize {
        self.servers.len().saturating_add(self.clients.len())
    }

    /// Whether there is no transaction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    fn next_serial(&mut self) -> u64 {
        self.started = self.started.saturating_add(1);
        self.started
    }

    fn send(&mut self, flow: FlowId, bytes: Vec<u8>) {
        self.outputs.push_back(TxOutput::Send { flow, bytes });
    }

    fn enter(&mut self, flow: FlowId, side: Side, print: Print) {
        if let FlowId::Stream(stream) = flow {
            self.streams.insert((stream, side, print));
        }
    }

    fn leave(&mut self, flow: FlowId, side: Side, print: Print) {
        if let FlowId::Stream(stream) = flow {
            self.streams.remove(&(stream, side, print));
        }
    }

    fn on_stream(&self, stream: u64) -> Option<(Side, Print)> {
        let first = self.streams.range((stream, Side::Server, Print::LEAST)..).next();
        first.filter(|entry| entry.0 == stream).map(|(_, side, print)| (*side, *print))
    }
}

/// Datagrams get lost; streams don't lose anything until they close.
fn is_reliable(flow: FlowId) -> bool {
    matches!(flow, FlowId::Stream(_))
}

#[cfg(test)]
mod tests;
