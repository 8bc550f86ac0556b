//! All that crosses the boundary of an [`Endpoint`](crate::Endpoint): plain data.
#![expect(missing_docs, reason = "the fields of the variants say what they are; the variants are documented")]

use std::net::SocketAddr;
use std::time::Duration;

use crate::accept::AcceptTypes;
use crate::time::Instant;
use crate::uri::{MsrpPath, MsrpUri};

/// One TCP or TLS connection. Numbers with the top bit set are given out by the endpoint
/// ([`Output::Connect`]), all others by the driver for what it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One MSRP session of this endpoint. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A received message whose last response waits for the driver's verdict. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

/// A spool that holds the octets of one received message outside memory. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpoolId(pub u64);

/// A body to be sent that lies outside memory, named by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

/// What the driver tells the endpoint.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection stands: one that was accepted, or the one that [`Output::Connect`] asked for. It is taken to have
    /// room for 16 KiB until [`Input::Writable`] says otherwise.
    Connected { connection: ConnectionId, peer: SocketAddr },
    /// Octets arrived. Any cut is fine.
    Received { connection: ConnectionId, bytes: &'a [u8] },
    /// The driver now takes up to `room` octets on this connection; replaces what it said before. The endpoint emits
    /// no [`Output::Send`] beyond it, but for responses, REPORTs and bodiless SENDs. A message that would fit the room
    /// when it is told is not cut; grant 16 KiB or more where you can, as less than 4 KiB is as good as none.
    Writable { connection: ConnectionId, room: usize },
    /// The connection is gone, or could not be made. The endpoint forgets it.
    Closed { connection: ConnectionId },
    /// The octets that [`Output::Fetch`] asked for, from `offset` on; empty when the source cannot be read any more.
    Fetched { source: SourceId, offset: u64, bytes: &'a [u8] },
    /// All octets of the spool below `upto`, counted in the order in which they were handed out, are taken care of.
    Spooled { spool: SpoolId, upto: u64 },
    /// The time told by [`Output::Idle`] has come.
    Tick,
}

/// What the endpoint asks of the driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to the leftmost URI of a peer's path, then say [`Input::Connected`] or [`Input::Closed`].
    Connect { connection: ConnectionId, session: SessionId, to: MsrpUri },
    /// Write these octets, in order.
    Send { connection: ConnectionId, bytes: Vec<u8> },
    /// Stop reading from the connection (back-pressure).
    Hold { connection: ConnectionId },
    /// Read again.
    Resume { connection: ConnectionId },
    /// Write what was handed out, then close.
    Close { connection: ConnectionId },
    /// Write these octets of a received message at `offset` into the spool; the first one makes the spool.
    Spool { spool: SpoolId, offset: u64, bytes: Vec<u8> },
    /// The spool is not wanted any more (abandoned message).
    Discard { spool: SpoolId },
    /// Read `length` octets of a body to be sent.
    Fetch { source: SourceId, offset: u64, length: usize },
    /// Something that the owner of the session should know.
    Event(Event),
    /// Nothing more to do until input comes, or this instant.
    Idle(Option<Instant>),
}

/// Which end opens the connection (RFC 4145, RFC 6135).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We connect and send the first SEND.
    Active,
    /// We wait for the peer's first SEND.
    Passive,
}

/// How a To-Path is compared with our own URI and a From-Path with the peer's (D-17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Matching {
    /// By session-id alone, which is unguessable; a differing host or port is reported, not refused.
    #[default]
    SessionId,
    /// The whole URI by RFC 4975 6.1.
    Strict,
}

/// What SDP negotiation found out about a session.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// Our own URI: the one in our SDP's `a=path`.
    pub local: MsrpUri,
    /// The peer's `a=path`: leftmost is the hop to connect to, rightmost the peer.
    pub peer: MsrpPath,
    /// Which end connects.
    pub role: Role,
    /// How paths are compared.
    pub matching: Matching,
    /// The types that our SDP listed: others get 415.
    pub accept: AcceptTypes,
    /// The largest message that we take, in octets: larger ones get 413.
    pub max_size: u64,
    /// The peer's `a=max-size`, in octets; larger messages are not sent.
    pub peer_max_size: Option<u64>,
    /// Largest SEND frame body that leaves in one piece, in octets (12 KiB by default).
    pub chunk_size: usize,
}

/// A message's octets, sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of them.
    Inline(Vec<u8>),
    /// Received and lying in a spool: its size, and a copy of its first octets (16 KiB at most).
    Spooled { spool: SpoolId, size: u64, head: Vec<u8> },
}

/// Where the octets of a message to be sent come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Memory.
    Inline(Vec<u8>),
    /// `head`, which is here, then `size` octets that the driver has: [`Output::Fetch`] asks for them.
    Fetched { source: SourceId, size: u64, head: Vec<u8> },
}

impl Source {
    /// The octets that go before those that are fetched.
    pub(crate) fn head(&self) -> &[u8] {
        match self {
            Source::Inline(_) => &[],
            Source::Fetched { head, .. } => head,
        }
    }
}

/// The Failure-Report header (RFC 4975 7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FailureReport {
    /// A response to each chunk; the default when the header is absent.
    #[default]
    Yes,
    /// Error responses only.
    Partial,
    /// No response at all.
    No,
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// RFC 4975 `ident`: 4 to 32 characters; the same again when the message is sent again.
    pub message_id: String,
    /// The media type with its parameters.
    pub content_type: String,
    /// The octets.
    pub body: Source,
    /// Whether the receiver is asked for success REPORTs.
    pub success_report: bool,
    /// Which failures the receiver tells.
    pub failure_report: FailureReport,
}

/// What the owner of the sessions is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The session has its connection: messages flow.
    Bound { session: SessionId },
    /// A whole message is here. With a receipt, the last response waits for
    /// [`Endpoint::settle`](crate::Endpoint::settle).
    Message {
        session: SessionId,
        receipt: Receipt,
        message_id: String,
        content_type: String,
        content_disposition: Option<String>,
        body: Body,
        /// Whether the peer asked for a success REPORT, which leaves after the verdict too.
        success_report: bool,
    },
    /// Part of a large message is here.
    Receiving { session: SessionId, message_id: String, received: u64, total: Option<u64> },
    /// A message will not be completed: the sender gave it up, its connection broke, or it broke a limit.
    Incomplete { session: SessionId, message_id: String, received: u64, why: Incomplete },
    /// So many octets of our message were handed to the connection.
    Progress { session: SessionId, message_id: String, sent: u64, total: u64 },
    /// The last octet of our message was handed to the connection.
    Sent { session: SessionId, message_id: String },
    /// Each chunk of our message got its 200.
    Acknowledged { session: SessionId, message_id: String },
    /// REPORTs say that the peer has the whole message. One that was asked for may never come.
    Reported { session: SessionId, message_id: String },
    /// Our message failed.
    Failed { session: SessionId, message_id: String, why: SendFailure },
    /// Another session has taken the place of this one, which is closed (see
    /// [`Endpoint::succeed`](crate::Endpoint::succeed)).
    Succeeded { session: SessionId, by: SessionId },
    /// The session cannot go on and is forgotten. The messages that nobody has acknowledged are handed back whole, in
    /// order: send them again in a new session, under the same Message-ID (RFC 4975 5.4), or give them up.
    SessionFailed { session: SessionId, why: SessionFailure, unsent: Vec<Outgoing> },
    /// We refused something, or let it pass against the letter: for whoever wants to know why.
    Explain { session: Option<SessionId>, connection: ConnectionId, clause: &'static str, text: String },
}

/// Why a message that came in part will never be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Incomplete {
    /// The sender ended it with `#`.
    Aborted,
    /// Its connection closed.
    Disconnected,
    /// Nothing came for 60 s.
    Idle,
    /// It grew beyond our max-size or contradicted itself.
    Refused,
}

/// Why our message failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendFailure {
    /// The peer, or a relay, said so: the status code and its comment.
    Refused { status: u16, comment: String },
    /// No response within 30 s of the last octet (RFC 4975 7.1.1).
    NoResponse,
    /// The session ended before the message was acknowledged.
    SessionEnded,
    /// The source could not be read.
    Unreadable,
    /// We gave it up.
    Aborted,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionFailure {
    /// The connection could not be made.
    ConnectFailed,
    /// The connection closed after it was bound.
    Disconnected,
    /// The peer did not bind in time (30 s, X-21).
    NotBound,
    /// The peer does not know the session (481), or not on this connection (506).
    Refused(u16),
    /// The peer does not answer our requests.
    Unresponsive,
}

/// The driver's word on a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is stored, or needs no storing: 200, and a success REPORT if one was asked for.
    Accepted,
    /// It is here but not stored yet: 200 now. A second verdict decides on the REPORT.
    Received,
    /// It is refused with this status: 403, 413 or 415. After [`Verdict::Received`] that is a failure REPORT.
    Refused(u16),
}

/// Bounds on what a peer can make us keep.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Header section of one frame, octets.
    pub header_section: usize,
    /// Body of a frame that is not a SEND, octets (RFC 4975 7.1.2 and X-23).
    pub other_body: usize,
    /// Messages in reassembly, per session; eight times as many per connection.
    pub incomplete_messages: usize,
    /// Bodies up to this size are kept in memory; larger ones are spooled. Octets.
    pub inline_body: usize,
    /// Octets handed out for spooling and not yet spooled, and octets of inline bodies without a verdict, per
    /// connection, before reading stops.
    pub unspooled: u64,
    /// Octets sent and not yet answered, per session, before no more chunks leave.
    pub unacknowledged: u64,
    /// Messages waiting to be sent, per session.
    pub queued_messages: usize,
    /// Octets of responses and REPORTs beyond the room, per connection, before reading stops.
    pub pending_replies: usize,
    /// Received messages without a verdict, per connection, before reading stops.
    pub unsettled: usize,
    /// How long a message may stay without a new chunk.
    pub reassembly_idle: Duration,
    /// How long a connection may stay unbound.
    pub unbound: Duration,
    /// How long a session waits for its first SEND.
    pub bind: Duration,
    /// How long a request waits for its response, from its last octet.
    pub response: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_section: 16 * 1024,
            other_body: 10_240,
            incomplete_messages: 32,
            inline_body: 64 * 1024,
            unspooled: 256 * 1024,
            unacknowledged: 256 * 1024,
            queued_messages: 1024,
            pending_replies: 256 * 1024,
            unsettled: 1024,
            reassembly_idle: Duration::from_secs(60),
            unbound: Duration::from_secs(10),
            bind: Duration::from_secs(30),
            response: Duration::from_secs(30),
        }
    }
}

/// Why a message is not taken for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendError {
    /// The session never was, is closed, or has failed.
    #[error("there is no such session")]
    UnknownSession,
    /// [`Limits::queued_messages`] wait already.
    #[error("too many messages wait to be sent")]
    QueueFull,
    /// The peer's max-size is smaller.
    #[error("the message is larger than the {0} octets that the peer takes")]
    TooLarge(u64),
    /// The Message-ID is no RFC 4975 `ident`.
    #[error("the Message-ID is not 4 to 32 letters, digits or .-+%= after a letter or digit")]
    BadMessageId,
    /// A message with this Message-ID is on its way.
    #[error("a message with this Message-ID is on its way")]
    DuplicateMessageId,
    /// The media type is malformed.
    #[error("the media type is malformed")]
    BadContentType,
    /// The peer has answered 415 to this media type in this session (RFC 4975 10.6).
    #[error("the peer has refused this media type in this session")]
    RefusedContentType,
}

/// What an endpoint keeps at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Sessions that are open.
    pub sessions: usize,
    /// Connections that stand or are being made.
    pub connections: usize,
    /// Messages waiting to be sent, or to be acknowledged or reported on.
    pub outgoing: usize,
    /// Messages in reassembly.
    pub incoming: usize,
    /// Receipts without a verdict.
    pub receipts: usize,
    /// Requests of ours without a response.
    pub transactions: usize,
    /// Octets of bodies, unfinished header sections and replies in memory.
    pub octets: usize,
}
