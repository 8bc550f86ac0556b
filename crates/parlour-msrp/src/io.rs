//! All that crosses the boundary of an [`Endpoint`](crate::Endpoint): plain data.

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Instant;
use crate::uri::{MsrpPath, MsrpUri};

mod message;
mod spec;

pub use self::message::*;
pub use self::spec::*;

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
        /// `None` for plain TCP; with TLS, the names under which [`Trust`] may know the other end: fingerprints of the
        /// certificate that it has shown, say.
        tls: Option<Vec<Box<str>>>,
    },
    /// Octets arrived. Any cut is fine.
    Received {
        /// Where they came from.
        connection: ConnectionId,
        /// The octets, in order.
        bytes: &'a [u8],
    },
    /// The driver now takes up to `room` octets on this connection; replaces what it said before. The endpoint emits
    /// no [`Output::Send`] beyond it, but for responses, REPORTs and SENDs that only say `#`. A message that would fit the
    /// room when it is told is not cut; grant 16 KiB or more where you can, as less than 4 KiB, or less than 2 KiB beside
    /// the headers, is as good as none.
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
    /// Open a connection, then say [`Input::Connected`] or [`Input::Closed`].
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
    /// Part of a large message is here; told each 256 KiB, ten times a second at most.
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
    /// Part of our large message was handed to the connection; told each 256 KiB, ten times a second at most.
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
    /// The peer has our message: each chunk got its 200, or REPORTs cover it; where relays give the 200s, a REPORT came.
    /// Told once, and of messages with [`FailureReport::Yes`] alone, as others ask for no 200.
    Acknowledged {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
    },
    /// REPORTs say that the peer has a part of our large message: a receiver may report as chunks come (RFC 4975 7.1.3).
    /// Told each 256 KiB, ten times a second at most.
    Reporting {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
        /// Octets that REPORTs cover.
        reported: u64,
        /// Octets of the whole message.
        total: u64,
    },
    /// REPORTs say that the peer has the whole message, be it one or several on parts of it. Told once.
    Reported {
        /// The session.
        session: SessionId,
        /// Which message: its Message-ID.
        message_id: String,
    },
    /// A message was acknowledged, and the success REPORT that it asked for has not come before its session ended, or
    /// before twice [`Limits::queued_messages`] others waited (RFC 4975 7.1.1: tell the user). The peer may have it.
    Unreported {
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
    /// The peer answered 415 to our message: it may be sent in another form, under the same Message-ID. [`Event::Failed`]
    /// follows for the form that was refused, unless nobody waits for what becomes of it.
    TypeRefused {
        /// The session.
        session: SessionId,
        /// The message, whole.
        message: Outgoing,
        /// Whether it is a control message.
        control: bool,
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
    /// Whoever is at the other end of the connection has not shown in TLS to be the peer ([`Trust`]):
    /// [`Event::SessionFailed`] follows. Nothing was sent.
    Untrusted {
        /// The session.
        session: SessionId,
        /// The connection, which leads to somebody else.
        connection: ConnectionId,
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
        /// The session that has it.
        session: Option<SessionId>,
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
