//! All that crosses the boundary of an [`Endpoint`](crate::Endpoint): plain data.

use std::net::SocketAddr;
use std::time::Duration;

use crate::accept::AcceptTypes;
use crate::digest::{Credentials, Refusal};
use crate::time::Instant;
use crate::uri::{MsrpPath, MsrpUri};

/// One TCP or TLS connection. Numbers with the top bit set are given out by the endpoint
/// ([`Output::Connect`]), all others by the driver for what it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One MSRP session of this endpoint. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A relay, or a chain of relays, that acts for us. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u64);

/// URIs that a relay lends us for one session. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

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
#[non_exhaustive]
pub enum Input<'a> {
    /// A connection stands: one that was accepted, or the one that [`Output::Connect`] asked for. It is taken to have
    /// room for 16 KiB until [`Input::Writable`] says otherwise.
    Connected {
        /// Its number: the driver's choice, or the one of [`Output::Connect`].
        connection: ConnectionId,
        /// The address at its other end.
        peer: SocketAddr,
    },
    /// Octets arrived. Any cut is fine.
    Received {
        /// Where they came from.
        connection: ConnectionId,
        /// The octets, in order.
        bytes: &'a [u8],
    },
    /// The driver now takes up to `room` octets on this connection; replaces what it said before. The endpoint emits
    /// no [`Output::Send`] beyond it, but for responses, REPORTs and bodiless SENDs. A message that would fit the room
    /// when it is told is not cut; grant 16 KiB or more where you can, as less than 4 KiB is as good as none.
    Writable {
        /// Which connection.
        connection: ConnectionId,
        /// How many octets.
        room: usize,
    },
    /// The connection is gone, or could not be made. The endpoint forgets it.
    Closed {
        /// Which connection.
        connection: ConnectionId,
    },
    /// The octets that [`Output::Fetch`] asked for, or the first of them.
    Fetched {
        /// The source that they are from.
        source: SourceId,
        /// Where in the source they begin: as asked.
        offset: u64,
        /// The octets; empty when the source cannot be read any more, which fails the message.
        bytes: &'a [u8],
    },
    /// Octets that [`Output::Spool`] handed out are taken care of.
    Spooled {
        /// The spool that they went to.
        spool: SpoolId,
        /// How many octets of it, counted in the order in which they were handed out.
        upto: u64,
    },
    /// The time told by [`Output::Idle`] has come.
    Tick,
}

/// What the endpoint asks of the driver.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Open a connection to the leftmost URI of a peer's path, then say [`Input::Connected`] or [`Input::Closed`].
    Connect {
        /// The number that the connection has from now on.
        connection: ConnectionId,
        /// The session that needs it; others may share it later.
        session: SessionId,
        /// Where to: its host, its port, and over TLS if it says `msrps`.
        to: MsrpUri,
    },
    /// Open a connection to a relay that acts for us, then say [`Input::Connected`] or [`Input::Closed`]. A URI without a
    /// port is looked up as RFC 4976 8 says: `_msrps._tcp` SRV records, else the name's addresses and port 2855. It is for
    /// the driver to see that a relay with `msrps` has a certificate for the host of its URI; our own is not shown.
    ConnectRelay {
        /// The number that the connection has from now on.
        connection: ConnectionId,
        /// The relay that needs it.
        relay: RelayId,
        /// Where to: the first URI of its chain.
        to: MsrpUri,
    },
    /// Write these octets, in order.
    Send {
        /// Where to.
        connection: ConnectionId,
        /// The octets, never none.
        bytes: Vec<u8>,
    },
    /// Stop reading from the connection (back-pressure).
    Hold {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Read again.
    Resume {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Write what was handed out, then close. The endpoint has forgotten the connection; no [`Input::Closed`] is owed.
    Close {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Write these octets of a received message into its spool, over what is there, then say [`Input::Spooled`]. The
    /// first one makes the spool.
    Spool {
        /// Which spool.
        spool: SpoolId,
        /// Where in the message they belong.
        offset: u64,
        /// The octets, 256 KiB at most.
        bytes: Vec<u8>,
    },
    /// The spool is not wanted any more: its message was abandoned.
    Discard {
        /// Which spool.
        spool: SpoolId,
    },
    /// Read octets of a body to be sent, then say [`Input::Fetched`].
    Fetch {
        /// The source that the message named.
        source: SourceId,
        /// Where in the source to begin.
        offset: u64,
        /// How many octets; fewer may be given.
        length: usize,
    },
    /// Something that the owner of the session should know.
    Event(Event),
    /// Nothing more to do until input comes, or until this instant: then say [`Input::Tick`].
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
///
/// ```
/// use parlour_msrp::{Role, SessionSpec, accept::AcceptTypes};
///
/// let ours = "msrp://192.0.2.1:7777/iau39;tcp".parse()?;
/// let peers = "msrp://192.0.2.2:8888/9di4e;tcp".parse()?;
/// let listed = AcceptTypes::parse("message/cpim text/plain", None);
/// let spec = SessionSpec::new(ours, peers, Role::Active, listed).with(|spec| spec.max_size = 1 << 20);
/// assert_eq!(spec.chunk_size, 12 * 1024);
/// # Ok::<(), parlour_msrp::uri::UriFault>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
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
    /// The largest message that we take, in octets: larger ones get 413. 64 MiB unless changed.
    pub max_size: u64,
    /// The peer's `a=max-size`, in octets; larger messages are not sent.
    pub peer_max_size: Option<u64>,
    /// Largest SEND frame body that leaves in one piece, in octets (12 KiB by default).
    pub chunk_size: usize,
    /// The relay that acts for us in it, by a lease that came with [`Event::Leased`]. Its connection is used whichever
    /// end connects (RFC 4976 5.1).
    pub via: Option<LeaseId>,
}

/// A relay that acts for us, or a chain of them (RFC 4976).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelaySpec {
    /// The relays as they are configured, the one that we connect to first. A URI needs no port.
    pub chain: MsrpPath,
    /// What to authenticate with at each of them.
    pub credentials: Credentials,
    /// How long a lease is asked to hold, in seconds; what the relay likes by default.
    pub expires: Option<u32>,
    /// Whether AUTH may go without TLS. Whoever listens can then take messages: for tests on one machine.
    pub insecure: bool,
}

impl RelaySpec {
    /// A chain with what to authenticate with, over TLS alone.
    pub fn new(chain: MsrpPath, credentials: Credentials) -> Self {
        RelaySpec { chain, credentials, expires: None, insecure: false }
    }

    /// The same with some fields changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Why there is no lease, or none any more.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseFailure {
    /// The relay cannot be reached, or is not known.
    #[error("no connection to the relay can be made")]
    ConnectFailed,
    /// The connection to the relay closed.
    #[error("the connection to the relay closed")]
    Disconnected,
    /// The relay is not to be reached over TLS, and that is not allowed.
    #[error("the relay's URI is not msrps, and AUTH goes over TLS only")]
    Insecure,
    /// No response to AUTH within 30 s.
    #[error("the relay does not answer")]
    Unresponsive,
    /// Its challenge is not answered, or the answer was refused.
    #[error("the relay's challenge: {0}")]
    Challenge(#[from] Refusal),
    /// It answered AUTH with this status.
    #[error("the relay answers {status} {comment}")]
    Refused {
        /// The status code.
        status: u16,
        /// What follows it.
        comment: String,
    },
    /// It allows no Expires that we could ask for (423).
    #[error("the relay allows no time that could be asked for")]
    OutOfBounds,
    /// It does not know our password, so it is another one.
    #[error("the relay does not prove that it knows the password")]
    NotProven,
    /// Its Use-Path cannot be used.
    #[error("the relay's Use-Path cannot be used: {0}")]
    UsePath(&'static str),
    /// Its time is over.
    #[error("the relay's URIs are valid no longer")]
    Expired,
}

impl SessionSpec {
    /// A session with the given paths, role and types, and with the defaults for all else.
    pub fn new(local: MsrpUri, peer: MsrpPath, role: Role, accept: AcceptTypes) -> Self {
        SessionSpec {
            local,
            peer,
            role,
            matching: Matching::default(),
            accept,
            max_size: 64 << 20,
            peer_max_size: None,
            chunk_size: 12 * 1024,
            via: None,
        }
    }

    /// The same with some fields changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// A message's octets, sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of them.
    Inline(Vec<u8>),
    /// Received and lying in a spool.
    Spooled {
        /// Which spool.
        spool: SpoolId,
        /// How many octets it has.
        size: u64,
        /// A copy of the first of them, 16 KiB at most.
        head: Vec<u8>,
    },
}

/// Where the octets of a message to be sent come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Memory.
    Inline(Vec<u8>),
    /// Octets that are here, then some that the driver has: [`Output::Fetch`] asks for them.
    Fetched {
        /// The driver's name for the latter.
        source: SourceId,
        /// How many those are.
        size: u64,
        /// Those that are here, and go first.
        head: Vec<u8>,
    },
}

impl From<Vec<u8>> for Source {
    fn from(octets: Vec<u8>) -> Self {
        Source::Inline(octets)
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Source::Inline(text.as_bytes().to_vec())
    }
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
///
/// ```
/// # use parlour_msrp::Outgoing;
/// let hello = Outgoing::new("12339sdqwer", "text/plain", "Hi").with(|message| message.success_report = true);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

impl Outgoing {
    /// A message that asks for no success REPORT, and for a response to each chunk.
    pub fn new(
        message_id: impl Into<String>,
        content_type: impl Into<String>,
        body: impl Into<Source>,
    ) -> Self {
        Outgoing {
            message_id: message_id.into(),
            content_type: content_type.into(),
            body: body.into(),
            success_report: false,
            failure_report: FailureReport::Yes,
        }
    }

    /// The same with some fields changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// What the owner of the sessions is told.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The session has its connection: messages flow.
    Bound {
        /// The session.
        session: SessionId,
    },
    /// A whole message is here. The last response, and the success REPORT, wait for
    /// [`Endpoint::settle`](crate::Endpoint::settle).
    #[non_exhaustive]
    Message {
        /// The session.
        session: SessionId,
        /// What to settle it by.
        receipt: Receipt,
        /// Its Message-ID. A peer sends a message again under the same one.
        message_id: String,
        /// Its media type with parameters; empty if the message is, and has none.
        content_type: String,
        /// Its Content-Disposition, if it has one.
        content_disposition: Option<String>,
        /// Its octets.
        body: Body,
        /// Whether the peer asked for a success REPORT, which leaves after the verdict too.
        success_report: bool,
    },
    /// Part of a large message is here; told each 256 KiB.
    Receiving {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
        /// Octets that are here.
        received: u64,
        /// Octets of the whole message, if the sender told.
        total: Option<u64>,
    },
    /// A message will not be completed: the sender gave it up, its connection broke, or it broke a limit.
    Incomplete {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
        /// Octets that were here.
        received: u64,
        /// Why it ends.
        why: Incomplete,
    },
    /// Part of our large message was handed to the connection; told each 256 KiB.
    Progress {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
        /// Octets that have left.
        sent: u64,
        /// Octets of the whole message.
        total: u64,
    },
    /// The last octet of our message was handed to the connection.
    Sent {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
    },
    /// The peer has our message: each chunk got its 200, and where relays give those, a REPORT came.
    Acknowledged {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
    },
    /// REPORTs say that the peer has the whole message. One that was asked for may never come.
    Reported {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
    },
    /// Our message failed.
    Failed {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
        /// Why.
        why: SendFailure,
    },
    /// The chat room calls us so from now on.
    Named {
        /// The session.
        session: SessionId,
        /// The nickname as it was asked for; empty if the room has taken ours back.
        nickname: String,
    },
    /// The chat room does not: a name that we had still holds.
    NotNamed {
        /// The session.
        session: SessionId,
        /// The nickname as it was asked for.
        nickname: String,
        /// Why.
        why: SendFailure,
    },
    /// Another session has taken the place of this one, which is closed (see
    /// [`Endpoint::succeed`](crate::Endpoint::succeed)).
    Succeeded {
        /// The session that is closed.
        session: SessionId,
        /// The one that goes on.
        by: SessionId,
    },
    /// The session cannot go on and is forgotten.
    SessionFailed {
        /// The session.
        session: SessionId,
        /// Why.
        why: SessionFailure,
        /// The messages that nobody has acknowledged, whole and in order: send them again in a new session, under the
        /// same Message-ID (RFC 4975 5.4), or give them up.
        unsent: Vec<Outgoing>,
    },
    /// A relay lends URIs for one session.
    Leased {
        /// Which lease.
        lease: LeaseId,
        /// Our path for SDP: the relays' URIs, and our own at its end.
        path: MsrpPath,
        /// How long it holds, if the relay told.
        lifetime: Option<Duration>,
    },
    /// A lease ends soon: get another one, and negotiate a session with it (RFC 4976 9.4).
    LeaseEnding {
        /// Which lease.
        lease: LeaseId,
    },
    /// There is no lease, or none any more. Of one that a session has, [`Event::SessionFailed`] tells instead.
    LeaseLost {
        /// Which lease.
        lease: LeaseId,
        /// Why.
        why: LeaseFailure,
    },
    /// We refused something, or let it pass against the letter: for whoever wants to know why.
    Explain {
        /// The session, if it is known.
        session: Option<SessionId>,
        /// The connection.
        connection: ConnectionId,
        /// The rule, by the name that it has in the table of the crate's README.
        clause: &'static str,
        /// What happened and why, in words.
        text: String,
    },
}

/// Why a message that came in part will never be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Incomplete {
    /// The sender ended it with `#`.
    #[error("the sender gave it up")]
    Aborted,
    /// Its connection closed.
    #[error("the connection closed")]
    Disconnected,
    /// Nothing came for [`Limits::reassembly_idle`].
    #[error("nothing more of it came")]
    Idle,
    /// It grew beyond our max-size or contradicted itself.
    #[error("it contradicts itself or is larger than we take")]
    Refused,
}

/// Why our message failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The peer, or a relay, said so.
    #[error("the other side answered {status} {comment}")]
    Refused {
        /// The status code of the response or REPORT.
        status: u16,
        /// What stood behind it.
        comment: String,
    },
    /// No response within [`Limits::response`] of the last octet (RFC 4975 7.1.1).
    #[error("the other side did not answer in time")]
    NoResponse,
    /// The session ended before the message was acknowledged.
    #[error("the session ended before it was acknowledged")]
    SessionEnded,
    /// The source could not be read.
    #[error("its octets could not be read")]
    Unreadable,
    /// We gave it up.
    #[error("it was given up")]
    Aborted,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFailure {
    /// The connection could not be made.
    #[error("the MSRP connection could not be made")]
    ConnectFailed,
    /// The connection closed after it was bound.
    #[error("the MSRP connection closed")]
    Disconnected,
    /// The peer did not bind within [`Limits::bind`].
    #[error("the other side did not come to the MSRP connection in time")]
    NotBound,
    /// The peer does not know the session (481), or not on this connection (506).
    #[error("the other side answered {0} to our MSRP request")]
    Refused(u16),
    /// The peer does not answer our requests.
    #[error("the other side does not answer our MSRP requests")]
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
///
/// ```
/// # use parlour_msrp::Limits;
/// let limits = Limits::default().with(|limits| limits.inline_body = 4096);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
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
    /// How long a message that went through relays, and was answered by the first of them, waits for a REPORT.
    pub report: Duration,
    /// How long the connection to a relay of ours stays without a lease.
    pub relay_idle: Duration,
    /// How long a connection that we opened to a peer's relay stays without a session.
    pub foreign_idle: Duration,
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
            report: Duration::from_secs(120),
            relay_idle: Duration::from_secs(3600),
            foreign_idle: Duration::from_secs(300),
        }
    }
}

impl Limits {
    /// The same with some of them changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Why a message is not taken for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
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

/// Why a nickname is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NicknameError {
    /// The session never was, is closed, or has failed.
    #[error("there is no such session")]
    UnknownSession,
    /// It is longer than [`MAX_NICKNAME`](crate::MAX_NICKNAME) octets.
    #[error("a nickname has at most {} octets", crate::MAX_NICKNAME)]
    TooLong,
    /// A control character.
    #[error("a nickname has no control characters")]
    BadCharacter,
    /// Another one was asked for, and the room has not answered.
    #[error("the room has not answered to the last nickname yet")]
    Outstanding,
    /// The peer does not know NICKNAME.
    #[error("the other side does not know nicknames")]
    Unsupported,
}

/// What an endpoint keeps at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
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
    /// Leases that are held or asked for.
    pub leases: usize,
    /// Octets of bodies, unfinished header sections and replies in memory.
    pub octets: usize,
}
