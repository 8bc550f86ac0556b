//! What a [`Client`](crate::client::Client) is told once. The names are those of the configuration file.

#![expect(
    missing_docs,
    reason = "plain data: the names of fields and variants say all where no comment stands"
)]

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use crate::sip::digest::Credentials;
use parlour_msrp::Matching;
use parlour_msrp::uri::MsrpPath;

use crate::io::Transport;
pub use crate::schedule::Hours;
pub use crate::sdp::{Fingerprint, Hash};
pub use crate::sip::passport::PublicKey;

/// Everything that the client does not learn from the wire.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our IM Addresses; [`AccountId`](crate::io::AccountId) is the position here.
    pub accounts: Vec<Account>,
    /// Product token after `IM-client/OMA1.0` in Server and User-Agent, such as `Parlour/0.1.0`.
    pub vendor: String,
    /// This device's `+sip.instance`, a `urn:uuid:` URN that never changes; none is told without one.
    pub instance: Option<String>,
    /// Whether decisions are told, as [`What::Explain`](crate::event::What::Explain). Where nobody listens, it is a tenth
    /// of the work of a call.
    pub explain: bool,
    /// Who is accepted without asking.
    pub accept: Accept,
    /// Whose P-Asserted-Identity counts, besides the registered TLS flow.
    pub trusted_hops: Vec<Hop>,
    /// Who is refused for the signature of the caller's identity, or its absence.
    pub stir: Stir,
    /// Whose signatures count.
    pub stir_keys: Vec<StirKey>,
    /// How far the time of a signature may be from now (RFC 8224 6.2).
    pub stir_freshness: Duration,
    /// Whose invitations never reach the user (G-1c): SIP addresses.
    pub blocked: Vec<String>,
    /// Whether callers who hide who they are are refused (G-1c).
    pub refuse_anonymous: bool,
    /// Whether all invitations are refused for now (G-1c).
    pub do_not_disturb: bool,
    /// When all invitations are refused (G-1c), in local time.
    pub quiet_hours: Vec<Hours>,
    /// What a blocked caller is answered.
    pub blocked_answer: BlockedAnswer,
    /// What a caller who hides who it is is answered, if it is refused.
    pub anonymous_answer: AnonymousAnswer,
    /// What a caller is answered of whom the user wants nothing.
    pub unwanted: Unwanted,
    /// Where all invitations are sent instead: a SIP address, which their callers learn.
    pub redirect: Option<String>,
    /// Whether the IM service is on at all.
    pub im_service: bool,
    /// When a caller who is told that we are busy may try again; zero does not say.
    pub busy_retry_after: Duration,
    /// The core's servers that deliver what was sent while we were away: SIP addresses.
    pub store_and_forward: Vec<String>,
    /// Sessions at once; 0 means as many as resources allow.
    pub max_sessions: u32,
    /// Invitations that may wait for the user at once.
    pub max_pending_invites: u32,
    /// Sessions and invitations of one peer at once.
    pub per_peer_limit: u32,
    /// Who decides when somebody who may replaces a session (P-7).
    pub replace_accept: ReplaceAccept,
    /// Whether the same asserted peer may replace its own session without being referred, as when it changes devices
    /// (P-4).
    pub replace_by_same_peer: bool,
    /// How long an invitation waits for the user.
    pub ring_timeout: Duration,
    /// The session interval that we ask for; zero asks for none (RFC 4028).
    pub session_expires: Duration,
    /// The shortest session interval that we take, 90 s or more (RFC 4028).
    pub min_se: Duration,
    /// What declining means for the user's other devices.
    pub decline_scope: DeclineScope,
    /// What we answer to `setup:actpass` (D-10).
    pub actpass_answer: ActpassAnswer,
    /// Whether messages may go without TLS (D-21).
    pub media_security: MediaSecurity,
    /// By which fingerprints our certificate for MSRP is known: the shell has it, and its key. None: no MSRP over TLS.
    pub fingerprints: Vec<Fingerprint>,
    /// What becomes of MSRP addresses that somebody on the way has changed (D-15).
    pub cema: Cema,
    /// How MSRP paths are compared (D-17).
    pub sessmatch: Matching,
    /// The address in our SDP and paths; without it, the local address of the signalling flow.
    pub advertised_address: Option<IpAddr>,
    /// The bandwidth that our descriptions tell (`b=AS`), kbit/s; IMS cores want one.
    pub bandwidth: Option<u32>,
    /// The largest message that we take, octets (D-7).
    pub max_size: u64,
    /// The largest file that we take, octets; 0 takes none.
    pub max_file: u64,
    /// The largest file that is accepted without asking, octets, from whoever is accepted without asking.
    pub auto_accept_file: u64,
    /// The largest MESSAGE request that we send, octets: above 1,300 only where no hop to any recipient uses UDP (RFC 3428 8).
    pub page_size: usize,
    /// Whom something else holds for than for others.
    pub contacts: Vec<Contact>,
    /// The largest SEND body that leaves in one piece, octets (interop: 12 KiB). Where relays are on the way it never is
    /// more than 8 KiB, unless the account says so.
    pub chunk_size: usize,
    /// Whether messages that are too large for a chat are taken by invitations of their own (F-15). If not, such
    /// invitations are taken for chats.
    pub large_message: Option<LargeMessage>,
    /// Whether the last response to a message waits until it is stored.
    pub ack: Ack,
    /// When our own address goes out as P-Preferred-Identity (G-8).
    pub preferred_identity: PreferredIdentity,
    /// Which sessions' conference state is followed (S-9).
    pub conference_subscribe: ConferenceSubscribe,
    /// Whether peers that take typing states are told when the user writes (M-41).
    pub send_composing: bool,
    /// Whether peers may tell, and the user hears, when they write (M-42).
    pub show_composing: bool,
    /// Whether private ranges may be the target of an MSRP connection.
    pub connect_private: bool,
    /// Where descriptions may lead whatever the guard says: this machine, privileged ports, private ranges.
    pub connect_allowed: Vec<Hop>,
    /// Bounds.
    pub limits: Limits,
}

/// MSRP relays that act for an account (RFC 4976).
#[derive(Debug, Clone)]
pub struct Relays {
    /// Where they are, the one that we connect to first. A URI needs no port: then it is looked up.
    pub chain: MsrpPath,
    /// What to authenticate with.
    pub credentials: Credentials,
    /// Whether there is no session without them.
    pub required: bool,
    /// Whether AUTH may go without TLS, or to whoever has no valid certificate: for tests on one machine.
    pub insecure: bool,
}

/// One IM Address and how it reaches the network.
#[derive(Debug, Clone)]
pub struct Account {
    /// A SIP or SIPS URI: our public identity.
    pub address: String,
    /// The name shown to others.
    pub display_name: Option<String>,
    /// The outbound proxy; without one, requests go straight to the host of their Request-URI.
    pub proxy: Option<Proxy>,
    /// Whether the shell is to register it at start; the client registers when it is told to.
    pub register: bool,
    /// Whether a registered account takes invitations that do not come by its registrar.
    pub direct: bool,
    /// The registration's lifetime that we ask for.
    pub register_expires: Duration,
    /// Whether our identity is kept from those whom we talk to (RFC 3323, R-33); a trusted core still learns it.
    pub privacy: bool,
    /// What we answer challenges with.
    pub credentials: Option<Credentials>,
    /// Whose procedures are followed (G-9).
    pub core: CoreKind,
    /// What P-Access-Network-Info tells a trusted IMS core, such as `IEEE-802.3`; nothing is told without it.
    pub access_network: Option<String>,
    /// Where requests outside a dialog go after the proxy, until a registration tells: SIP URIs.
    pub service_route: Vec<String>,
    /// Our public identities, default first, until a registration tells: SIP or tel URIs. None: `address` alone.
    pub identities: Vec<String>,
    /// The relays that act for it (RFC 4976); without any, peers connect to us and we to them.
    pub relays: Option<Relays>,
    /// What is told and asked of what became of messages.
    pub imdn: Imdn,
    /// The largest message that this account takes in a chat, octets; that of the configuration without it.
    pub max_size: Option<u64>,
    /// The largest SEND body that leaves in one piece, octets, relays or not; that of the configuration without it.
    pub chunk_size: Option<usize>,
}

/// What large messages may come to, octets (F-15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeMessage {
    /// One that the user has accepted.
    pub most: u64,
    /// One that is accepted unasked, from a caller for whom somebody vouches; 0 if the user is always asked.
    pub unasked: u64,
}

/// Which notifications of what became of messages (RFC 5438) an account asks for, and which it sends when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imdn {
    /// Whether recipients are asked to tell whether they have our messages.
    pub ask_delivered: bool,
    /// Whether they are asked to tell when they are shown.
    pub ask_displayed: bool,
    /// Whether authors who ask are told when their messages are stored.
    pub tell_delivered: bool,
    /// Whether they are told when the user was shown them.
    pub tell_displayed: bool,
    /// Whether those are told for whom nobody vouches.
    pub tell_unverified: bool,
    /// Whether who asks for what is not told hears that it is forbidden, rather than nothing.
    pub tell_forbidden: bool,
    /// What is asked for in conferences, where each of many may answer.
    pub ask_in_rooms: InRooms,
    /// What is told in conferences that pass on messages to one participant (RFC 7701): elsewhere all would get it.
    pub tell_in_rooms: InRooms,
}

/// Which notifications there are in conferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum InRooms {
    /// None.
    #[default]
    Nothing,
    /// That a message is stored.
    Delivered,
    /// Besides, that the user was shown it.
    Displayed,
}

/// Somebody for whom something else holds than for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// A SIP or tel URI.
    pub address: String,
    pub imdn: ContactImdn,
    /// As [`Config::send_composing`], if it is not as for others.
    pub send_composing: Option<bool>,
}

/// As [`Imdn`]; what is `None` is as for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContactImdn {
    pub ask_delivered: Option<bool>,
    pub ask_displayed: Option<bool>,
    pub tell_delivered: Option<bool>,
    pub tell_displayed: Option<bool>,
    pub tell_unverified: Option<bool>,
    pub tell_forbidden: Option<bool>,
}

impl Imdn {
    /// What holds for a contact.
    #[must_use]
    pub fn with(self, contact: &ContactImdn) -> Imdn {
        Imdn {
            ask_delivered: contact.ask_delivered.unwrap_or(self.ask_delivered),
            ask_displayed: contact.ask_displayed.unwrap_or(self.ask_displayed),
            tell_delivered: contact.tell_delivered.unwrap_or(self.tell_delivered),
            tell_displayed: contact.tell_displayed.unwrap_or(self.tell_displayed),
            tell_unverified: contact.tell_unverified.unwrap_or(self.tell_unverified),
            tell_forbidden: contact.tell_forbidden.unwrap_or(self.tell_forbidden),
            // Who is told nothing is told nothing in conferences either.
            tell_in_rooms: match (contact.tell_delivered, contact.tell_displayed) {
                (Some(false), _) => InRooms::Nothing,
                (_, Some(false)) => self.tell_in_rooms.min(InRooms::Delivered),
                (_, _) => self.tell_in_rooms,
            },
            ask_in_rooms: self.ask_in_rooms,
        }
    }

    /// What holds in a conference, or outside.
    #[must_use]
    pub(crate) fn within(self, in_room: bool) -> Imdn {
        if !in_room {
            return self;
        }
        Imdn {
            ask_delivered: self.ask_in_rooms >= InRooms::Delivered,
            ask_displayed: self.ask_in_rooms >= InRooms::Displayed,
            tell_delivered: self.tell_in_rooms >= InRooms::Delivered,
            tell_displayed: self.tell_in_rooms >= InRooms::Displayed,
            // Many would be told so.
            tell_forbidden: false,
            ..self
        }
    }
}

impl Default for Imdn {
    fn default() -> Self {
        Imdn {
            ask_delivered: false,
            ask_displayed: false,
            tell_delivered: true,
            tell_displayed: false,
            tell_unverified: false,
            tell_forbidden: false,
            ask_in_rooms: InRooms::Nothing,
            tell_in_rooms: InRooms::Nothing,
        }
    }
}

/// The kind of network that an account belongs to (G-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoreKind {
    /// SIP as the RFCs have it.
    #[default]
    Generic,
    /// IMS: besides, the procedures of a user equipment of 3GPP TS 24.229 while somebody invites it.
    Ims,
}

/// A next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// A name or an address.
    pub host: String,
    /// The port; 5060, or 5061 for TLS, if absent.
    pub port: Option<u16>,
    pub transport: Transport,
}

/// An address or a prefix of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    pub address: IpAddr,
    /// Leading bits that count: 0 to 32 or 128.
    pub bits: u8,
}

/// Who is refused for the signature of the caller's identity (RFC 8224 6.2.2). Whom a trusted core asserts is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stir {
    /// Nobody: what it proves is told.
    #[default]
    Show,
    /// Who has a wrong one and no valid one: 403, 437 or 438.
    Refuse,
    /// Who has no valid one: besides, 428 or 436.
    Require,
}

/// A signer of callers' identities, who is known beforehand: `info` is not fetched (RFC 8224 7.2).
#[derive(Debug, Clone)]
pub struct StirKey {
    /// The URI that Identity headers name it by, octet by octet.
    pub info: String,
    pub key: PublicKey,
    /// Whom it may sign for.
    pub signs: Vec<Signs>,
    /// When its certificate is valid, in seconds since 1970; `None` for a bare key.
    pub valid: Option<RangeInclusive<u64>>,
}

/// Whom a signer may sign for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signs {
    /// All SIP addresses of this host, and of no part of it.
    Domain(String),
    /// All telephone numbers that start with these digits, country code first; without any, all numbers.
    Numbers(String),
}

/// Who is accepted without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accept {
    /// Nobody.
    #[default]
    Ask,
    /// Callers for whom a trusted core, or a signature, vouches; others are asked for.
    Auto,
    /// Everybody.
    All,
}

/// Who decides on an INVITE that may replace a session (P-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplaceAccept {
    /// The user, as for any other invitation.
    Ask,
    /// Nobody, if the session stands: the user is told.
    #[default]
    AutoIfActive,
}

/// What declining means for the user's other devices (catalogue 1.3 row 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeclineScope {
    /// 603: none of them rings on.
    #[default]
    AllDevices,
    /// 486: they may still answer.
    ThisDevice,
}

/// What a blocked caller is answered (catalogue 1.3 row 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlockedAnswer {
    /// 480, which does not tell that there is a block.
    #[default]
    Unavailable,
    /// 603.
    Decline,
    /// 486.
    Busy,
}

/// What a caller who hides who it is is answered (catalogue 1.3 row 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnonymousAnswer {
    /// 433, which tells it why (RFC 5079).
    #[default]
    Disallowed,
    /// 603, which every caller understands and which does not tell why.
    Decline,
}

/// What a caller is answered of whom the user wants nothing (catalogue 1.3 row 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unwanted {
    /// 607 (RFC 8197 4) if our registrar says that it takes it, and the caller came by its way; else 603. The provider may
    /// block the caller for others too.
    #[default]
    Auto,
    /// 603.
    Decline,
    /// 607, where the provider is known to take it without saying so.
    Unwanted,
}

/// Whether messages may go without TLS (D-21). What others offer with TLS is taken with TLS under each policy. An offer of
/// ours has one line, and there is no second try: peers take one of two lines for another chat, or refuse a line of the
/// transport that they are not set to; and whoever can make us try again without TLS has no need to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaSecurity {
    /// They may, and our own offers are without, as most peers know nothing else.
    #[default]
    AllowPlain,
    /// What we offer is with TLS; what others offer without is taken.
    PreferTls,
    /// Nothing without TLS is offered or taken.
    RequireTls,
}

/// What becomes of an MSRP address that somebody on the way has changed (RFC 6714, OMA IM 5.8.2; D-15, D-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cema {
    /// [`Lenient`](Cema::Lenient) where a trusted core passes descriptions on, else [`Off`](Cema::Off).
    #[default]
    Auto,
    /// RFC 6714 to the letter: an offer that was changed by something that does not know CEMA is refused.
    Strict,
    /// RFC 6714; and where the addresses were changed without it, we connect to where `c=` and `m=` lead.
    Lenient,
    /// RFC 4975: the path alone counts, and CEMA is not spoken of.
    Off,
}

/// What we answer to `setup:actpass` (D-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ActpassAnswer {
    /// Passive where an MSRP listener is ready, else active.
    #[default]
    Auto,
    Active,
    Passive,
}

/// What our acknowledgement of a message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// It is durable.
    #[default]
    Stored,
    /// It was received.
    Received,
}

/// When our own address goes out as P-Preferred-Identity (G-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PreferredIdentity {
    /// In direct mode and on trusted flows.
    #[default]
    Auto,
    Always,
    Never,
}

/// Which sessions' conference state is followed (S-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConferenceSubscribe {
    /// Those with a focus: its Contact has `isfocus`.
    #[default]
    Focus,
    /// All.
    Always,
    /// None.
    Never,
}

/// Bounds on what peers can make us keep or do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A SIP message on a stream, octets; larger gets 513. Above 262,144 it makes no difference.
    pub stream_message: usize,
    /// The body of a SIP request other than NOTIFY, octets; larger gets 413.
    pub body: usize,
    /// Server transactions at once.
    pub transactions: usize,
    /// New requests a second from one source address, and the burst on top.
    pub requests_per_source: u32,
    /// New requests a second altogether.
    pub requests: u32,
    /// Streams accepted from one address.
    pub streams_per_source: usize,
    /// How long an accepted stream may take for its first whole message.
    pub first_message: Duration,
    /// How long one SIP message may take to arrive, once begun.
    pub slow_message: Duration,
    /// How long a SIP stream may be silent; the registered one is kept.
    pub idle_stream: Duration,
    /// MSRP connects a second altogether.
    pub connects: u32,
    /// MSRP connects a second, and the burst on top, that one address may have us make which no trusted core vouches for
    /// . This machine is free.
    pub connects_per_peer: u32,
    /// MSRP's own bounds.
    pub msrp: parlour_msrp::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            stream_message: 256 * 1024,
            body: 64 * 1024,
            transactions: 200_000,
            requests_per_source: 20_000,
            requests: 50_000,
            streams_per_source: 512,
            first_message: Duration::from_secs(30),
            slow_message: Duration::from_secs(30),
            idle_stream: Duration::from_secs(1800),
            connects: 10_000,
            connects_per_peer: 8,
            msrp: parlour_msrp::Limits::default(),
        }
    }
}

impl Default for Account {
    fn default() -> Self {
        Account {
            address: String::new(),
            display_name: None,
            proxy: None,
            register: false,
            direct: false,
            register_expires: Duration::from_secs(3600),
            privacy: false,
            credentials: None,
            core: CoreKind::default(),
            access_network: None,
            service_route: Vec::new(),
            identities: Vec::new(),
            relays: None,
            imdn: Imdn::default(),
            max_size: None,
            chunk_size: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            accounts: Vec::new(),
            vendor: concat!("Parlour/", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: None,
            explain: true,
            accept: Accept::default(),
            trusted_hops: Vec::new(),
            stir: Stir::default(),
            stir_keys: Vec::new(),
            stir_freshness: Duration::from_secs(60),
            blocked: Vec::new(),
            refuse_anonymous: false,
            do_not_disturb: false,
            quiet_hours: Vec::new(),
            blocked_answer: BlockedAnswer::default(),
            anonymous_answer: AnonymousAnswer::default(),
            unwanted: Unwanted::default(),
            redirect: None,
            im_service: true,
            busy_retry_after: Duration::ZERO,
            store_and_forward: Vec::new(),
            max_sessions: 0,
            max_pending_invites: 10,
            per_peer_limit: 3,
            replace_accept: ReplaceAccept::default(),
            replace_by_same_peer: true,
            ring_timeout: Duration::from_secs(120),
            session_expires: Duration::from_secs(1800),
            min_se: Duration::from_secs(90),
            decline_scope: DeclineScope::default(),
            actpass_answer: ActpassAnswer::default(),
            media_security: MediaSecurity::default(),
            fingerprints: Vec::new(),
            cema: Cema::default(),
            sessmatch: Matching::default(),
            advertised_address: None,
            bandwidth: None,
            max_size: 1024 * 1024,
            max_file: 1024 * 1024 * 1024,
            auto_accept_file: 1024 * 1024,
            page_size: 1300,
            contacts: Vec::new(),
            chunk_size: 12 * 1024,
            large_message: None,
            ack: Ack::default(),
            preferred_identity: PreferredIdentity::default(),
            conference_subscribe: ConferenceSubscribe::default(),
            send_composing: true,
            show_composing: true,
            connect_private: true,
            connect_allowed: Vec::new(),
            limits: Limits::default(),
        }
    }
}
