//! All that crosses the boundary of a [`Client`](crate::client::Client): plain data.

#![expect(
    missing_docs,
    reason = "plain data: the names of fields and variants say all where no comment stands"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use parlour_msrp::time::Instant;
pub use parlour_msrp::{Body, SourceId, SpoolId};

use crate::event::Event;

/// What time it is: a monotonic clock for timers, and the wall clock for what peers and people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock: time since 1970-01-01T00:00:00Z.
    pub unix: Duration,
}

/// One way to a peer. A UDP flow is the value itself: nothing is kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowId {
    /// Datagrams between one of our sockets ([`Input::Listening`]) and a peer.
    Udp { socket: u16, peer: SocketAddr },
    /// A TCP or TLS connection. Numbers with the top bit set are given out by the client ([`Output::Open`]), all others
    /// by the shell for what it accepted; none is used twice.
    Stream(u64),
}

/// What a listener or a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Sip,
    Msrp,
}

/// How octets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    /// As Via spells it (RFC 3261 20.42).
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }
}

/// How a flow is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    Plain,
    /// TLS; `verified` says that the chain of the other end's certificate is valid for the name of [`TlsExpect`]; never of
    /// a stream that was accepted. `certificate` is the other end's own, in DER, if it has shown one (MSRP only).
    Tls {
        verified: bool,
        certificate: Option<Box<[u8]>>,
    },
}

/// Where to open a stream to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub service: Service,
    pub transport: Transport,
    pub address: SocketAddr,
    /// Further addresses of the same name, in order: each is tried as well when the one before has failed, or has not answered
    /// in 250 ms; the first that connects is the stream, and the others are dropped (RFC 8305). [`Input::Opened`] tells which.
    pub others: Vec<SocketAddr>,
    /// What is expected of TLS; None without TLS.
    pub tls: Option<TlsExpect>,
    /// For MSRP over WebSocket (RFC 7977): the host and port to name in its handshake.
    pub websocket: Option<String>,
}

/// What is expected of a TLS connection that we open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsExpect {
    /// The name, or address, that SNI tells and for which the chain is checked: as RFC 5922 wants for SIP, and without
    /// wildcards too for MSRP (RFC 4975 14.2).
    pub name: String,
    /// Whether a chain that is not valid for the name ends it ([`CloseReason::Tls`]). If not, [`Input::Opened`] tells how it
    /// is, and the client judges by fingerprints before it sends anything.
    pub must_verify: bool,
    /// Whether our own certificate is shown to whoever asks for one: to peers, not to relays (RFC 4976 9.2).
    pub present_certificate: bool,
}

/// Names one name look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// One of our IM Addresses, in the order of [`Config::accounts`](crate::config::Config::accounts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);

/// One IM Session. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One transfer of a file. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// A received message that waits for [`Client::stored`](crate::client::Client::stored).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

/// What the shell tells the client.
#[derive(Debug)]
pub enum Input<'a> {
    /// A listener is ready. `socket` numbers UDP sockets and is 0 for the others.
    Listening { service: Service, transport: Transport, socket: u16, local: SocketAddr },
    /// A stream stands: one that was accepted, or the one that [`Output::Open`] asked for.
    Opened { flow: FlowId, service: Service, local: SocketAddr, peer: SocketAddr, security: Security },
    /// Octets arrived: one datagram, or any piece of a stream.
    Received { flow: FlowId, bytes: &'a [u8] },
    /// The shell takes up to `room` octets on this stream; replaces what it said before.
    Writable { flow: FlowId, room: usize },
    /// The stream is gone or could not be opened. Of a way for datagrams: the network did not take one, and would not
    /// take the next one either.
    Closed { flow: FlowId, why: CloseReason },
    /// The answer to [`Output::Resolve`]: addresses in the order in which to try them; empty if there are none.
    Resolved { query: QueryId, addresses: &'a [IpAddr] },
    /// The answer to [`Output::Locate`]: where the service is, in the order in which to try; empty if its records lead
    /// nowhere, none if there are no records.
    Located { query: QueryId, addresses: Option<&'a [SocketAddr]> },
    /// The octets that [`Output::Fetch`] asked for; empty when the source cannot be read any more.
    Fetched { source: SourceId, offset: u64, bytes: &'a [u8] },
    /// All octets of the spool below `upto`, in the order in which they were handed out, are taken care of.
    Spooled { spool: SpoolId, upto: u64 },
    /// The time told by [`Output::Idle`] has come.
    Tick,
}

/// Why a stream is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed it.
    Peer,
    /// It could not be opened: refused, unreachable or timed out.
    Connect,
    /// The TLS handshake failed or the certificate is not valid for the name.
    Tls,
    /// It broke.
    Error,
    /// We asked for it.
    Local,
}

/// What the client asks of the shell.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Look up the A and AAAA records of a name.
    Resolve { query: QueryId, name: String },
    /// Look up the SRV records of a service of a name (RFC 2782), and the addresses of their targets.
    Locate { query: QueryId, service: &'static str, name: String },
    /// Open a stream, then say [`Input::Opened`] or [`Input::Closed`]. One that could not be opened may be asked for
    /// again, to another address.
    Open { flow: FlowId, to: Target },
    /// Send these octets: one datagram, or the next piece of a stream. Octets for a stream that is still being opened
    /// wait for it.
    Send { flow: FlowId, bytes: Vec<u8> },
    /// Stop reading from the stream.
    Hold { flow: FlowId },
    /// Read again.
    Resume { flow: FlowId },
    /// Write what was handed out, then close.
    Close { flow: FlowId },
    /// Write these octets of a received message at `offset` into a spool; the first one makes it.
    Spool { spool: SpoolId, offset: u64, bytes: Vec<u8> },
    /// What comes for this spool are octets of this file, after those that the transfer leaves out. It is told before the
    /// first of them. Keep what is there, durably, when the spool is discarded: the rest may follow in another transfer.
    Keep { spool: SpoolId, file: FileId },
    /// The spool is not wanted any more.
    Discard { spool: SpoolId },
    /// A notification ([`Notice::id`](crate::event::Notice::id)) is told, or never will be: it is not owed any more.
    Settled { notice: String },
    /// Read octets of a body to be sent.
    Fetch { source: SourceId, offset: u64, length: usize },
    /// Something that a user interface may be told.
    Event(Event),
    /// Nothing more to do until input comes, or until this instant, and why then.
    Idle(Option<(Instant, Why)>),
}

/// Why a deadline was set. The letters are RFC 3261's (section 17 and table 4) and RFC 6026's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// 100 Trying is due 200 ms after an INVITE.
    Trying,
    /// A client transaction's request is sent again (A, E).
    Retransmit,
    /// A client transaction gives up (B, F).
    TransactionTimeout,
    /// A final response to an INVITE is sent again (G).
    ResendFinal,
    /// No ACK came for a final response that is not 2xx (H).
    AckTimeout,
    /// A transaction's memory of retransmissions ends (D, I, J, K, L, M).
    TransactionLinger,
    /// A 2xx is sent again by the dialog (RFC 3261 13.3.1.4).
    Resend2xx,
    /// 64*T1 without ACK for a 2xx.
    No2xxAck,
    /// A reliable provisional response is sent again (RFC 3262 3).
    ResendProvisional,
    /// 64*T1 without PRACK for a reliable provisional response.
    NoPrack,
    /// A provisional response is repeated so that proxies keep waiting (RFC 3261 13.3.1.1).
    RepeatProvisional,
    /// The user did not answer in time.
    RingTimeout,
    /// The INVITE's Expires has passed.
    InviteExpires,
    /// The registration is refreshed or tried again.
    Register,
    /// A keep-alive is due on the registered flow.
    KeepAlive,
    /// A stream that says nothing is closed.
    FlowIdle,
    /// Notifications leave, or are tried again.
    Notify,
    /// An MSRP session or connection has a deadline.
    Msrp,
    /// No NOTIFY came for a SUBSCRIBE (RFC 6665 4.1.2.4, N).
    NoNotify,
    /// A subscription is refreshed or tried again.
    Subscribe,
    /// Leaving takes too long.
    Leave,
    /// A session has no stream any more, and no offer brings one.
    NoStream,
    /// A session is to be refreshed, or tried to once more.
    Refresh,
    /// We offer a new MSRP session for one whose connection is lost.
    Recover,
    /// We offer again without CEMA, as it cannot work (RFC 6714 4.2).
    FallBack,
    /// A request of ours inside a session has no final response.
    Unanswered,
    /// Nobody has refreshed the session (RFC 4028 10).
    SessionExpires,
    /// We were writing, and no input came for a while.
    Composing,
    /// A peer said that it is writing, and has not said so again.
    Writers,
    /// Files of a session are over, and something follows from that.
    Files,
    /// The user did not say in time whether he takes the files that a re-INVITE adds.
    Word,
    /// A large message does not come, or its sender does not leave.
    Large,
    /// Another deadline of an established session.
    Session,
}
