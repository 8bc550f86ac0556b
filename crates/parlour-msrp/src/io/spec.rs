//! What an endpoint is told once: sessions, relays, limits; and what it keeps.

use std::time::Duration;

use crate::accept::AcceptTypes;
use crate::digest::Credentials;
use crate::io::LeaseId;
use crate::uri::{MsrpPath, MsrpUri};

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
    /// Our own URI: the one in our SDP's `a=path`. If it is an `msrps` one, the session is never bound to a connection
    /// without TLS.
    pub local: MsrpUri,
    /// The other end.
    pub remote: Remote,
    /// How paths are compared.
    pub matching: Matching,
    /// The types that our SDP listed: others get 415.
    pub accept: AcceptTypes,
    /// The largest message that we take, in octets: larger ones get 413. 64 MiB unless changed.
    pub max_size: u64,
    /// Largest SEND frame body that leaves in one piece, in octets: 12 KiB by default, 2 KiB at least and 128 KiB at
    /// most, as responses, REPORTs and other sessions wait while a piece leaves.
    pub chunk_size: usize,
    /// The same, if smaller, where relays are on the way: 8 KiB by default, as one in wide use (Kamailio) drops frames of
    /// more than 10,238 octets, paths and all, or answers them 501.
    pub relayed_chunk_size: usize,
    /// The relay that acts for us in it, by a lease that came with [`Event::Leased`](crate::Event::Leased). Its connection is used whichever
    /// end connects (RFC 4976 5.1).
    pub via: Option<LeaseId>,
}

/// What SDP negotiation found out about the other end of a session, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remote {
    /// The peer's `a=path`: leftmost is the hop to connect to, rightmost the peer.
    pub path: MsrpPath,
    /// Where an active end connects instead of to the leftmost URI: to a middlebox (RFC 6714), or to a relay of ours.
    pub hop: Option<MsrpUri>,
    /// Which end connects.
    pub role: Role,
    /// The peer's `a=max-size`, in octets; larger messages are not sent.
    pub max_size: Option<u64>,
    /// Who has to be at the other end of the connection.
    pub trust: Trust,
}

impl Remote {
    /// A peer of which no more is known than its path.
    pub fn new(path: MsrpPath, role: Role) -> Self {
        Remote { path, hop: None, role, max_size: None, trust: Trust::Anyone }
    }

    /// The same with some fields changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The URI of the host device to which an active end connects.
    pub fn first_hop(&self) -> &MsrpUri {
        self.hop.as_ref().unwrap_or_else(|| self.path.leftmost())
    }
}

/// Who has to be at the other end of a connection before a session is bound to it, whichever end has opened it
/// (RFC 4975 14.4). The endpoint only compares: names are what the driver makes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Whoever knows the session-id.
    #[default]
    Anyone,
    /// Only who has shown one of these names in TLS.
    OneOf(Vec<Box<str>>),
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

impl SessionSpec {
    /// A session with the given paths, role and types, and with the defaults for all else.
    pub fn new(local: MsrpUri, peer: MsrpPath, role: Role, accept: AcceptTypes) -> Self {
        SessionSpec {
            local,
            remote: Remote::new(peer, role),
            matching: Matching::default(),
            accept,
            max_size: 64 << 20,
            chunk_size: 12 * 1024,
            relayed_chunk_size: 8 * 1024,
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
    /// Octets that all messages that wait for a chunk may take together, in all sessions. Each counts for 1 KiB beside its
    /// octets in memory, and one that lies in a spool for 64 KiB, as it holds a file open. Beyond that the host (of IPv6, the
    /// network of 64 bits) that takes most loses those that have been idle for longest: their next chunks get 413.
    pub reassembly: usize,
    /// Messages waiting to be sent, per session.
    pub queued_messages: usize,
    /// Octets in memory of messages that were not acknowledged, per session; one alone may have more.
    pub queued_octets: usize,
    /// The same for all sessions together; each may have 64 KiB nevertheless.
    pub queued_octets_of_all: usize,
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
            reassembly: 128 << 20,
            queued_messages: 1024,
            queued_octets: 8 << 20,
            queued_octets_of_all: 256 << 20,
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
    /// Octets in memory: of bodies and their labels, of what says which of their octets are here or reported, of what a
    /// verdict is awaited for, of unfinished header sections and of replies. What a session has without any of that, its
    /// paths and the Message-IDs of its last messages in chunks, is not counted.
    pub octets: usize,
}
