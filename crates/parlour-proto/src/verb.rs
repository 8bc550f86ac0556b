//! What the verbs of the client take and give back.

use std::collections::BTreeMap;
use std::time::Duration;

use parlour_msrp::{Source, SourceId};

use crate::event::Icon;
use crate::io::{AccountId, FileId};
use crate::sdp::FileSelector;
use crate::sip::uri::{Uri, aor};

/// A message that we want to send.
#[derive(Debug, Clone)]
pub struct Say {
    /// The MSRP Message-ID, 4 to 32 characters: the same again when a message is sent again.
    pub message_id: String,
    /// The media type with parameters: `text/plain` for text (UTF-8).
    pub content_type: String,
    /// The octets.
    pub body: Source,
    /// In a conference, the participant who alone gets it (RFC 7701 6.2): a URI of the roster. All get it if absent.
    pub to: Option<String>,
}

/// A file that we offer, or ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOffer {
    /// Which file: all of it for one that we send, what is known for one that we ask for.
    pub selector: FileSelector,
    /// Where the octets are, from `skip` on; `None` asks the other side for them.
    pub source: Option<SourceId>,
    /// Octets at the beginning that the other side, or for a file that we ask for we, have already.
    pub skip: u64,
    /// When it was changed last (RFC 5322), if others may know. It stays here where the account has
    /// [`privacy`](crate::config::Account::privacy).
    pub modified: Option<String>,
    /// A preview of a file that we send: a picture of at most [`MAX_ICON`](crate::client::MAX_ICON) octets. It goes with
    /// an invitation that has a stream for its way, and is left out where somebody does not take it.
    pub icon: Option<Icon>,
}

/// For how large a file there is room. By default there is for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRoom {
    /// From anybody, octets; 0 is for none, however small.
    pub all: u64,
    /// From those who may send less, by their address of record ([`crate::sip::uri::aor`]).
    pub peers: BTreeMap<String, u64>,
}

impl Default for FileRoom {
    fn default() -> Self {
        FileRoom { all: u64::MAX, peers: BTreeMap::new() }
    }
}

impl FileRoom {
    /// For a file of whoever has that address.
    pub(crate) fn of(&self, address: &str) -> u64 {
        let less = || {
            let uri = Uri::parse(address.as_bytes());
            self.peers.get(&uri.map_or_else(|_| address.to_owned(), |uri| aor(&uri))).copied()
        };
        // Nearly always nobody may send less.
        if self.peers.is_empty() { self.all } else { less().unwrap_or(u64::MAX).min(self.all) }
    }
}

/// A file of an invitation that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAnswer {
    /// Which one.
    pub file: FileId,
    /// For a file that the other side wants of us: which one it is, and where its octets are, after those that the
    /// other side has.
    pub serve: Option<(FileSelector, SourceId)>,
}

/// A file that is here as a whole cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FileFault {
    /// Its octets are not those that its sender has named.
    #[error("its octets are not those that the sender has named")]
    Corrupt,
    /// It cannot be kept.
    #[error("it cannot be kept: {0}")]
    Store(StoreFault),
}

/// A message of ours in pager mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Names it in what is told of it: in the message itself, too, if notifications are asked for.
    pub message_id: String,
    /// The media type with parameters: `text/plain` for text (UTF-8).
    pub content_type: String,
    /// The octets; with all that stands around them there may be
    /// [`Config::page_size`](crate::config::Config::page_size).
    pub body: Vec<u8>,
}

/// How an invitation is declined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Decline {
    /// The user does not want to: 603, or 486 by configuration.
    #[default]
    Declined,
    /// The user is busy: 486.
    Busy,
    /// The user is not available: 480.
    Unavailable,
    /// The user wants nothing of this caller: 607 (RFC 8197), or 603 by configuration.
    Unwanted,
    /// Another time would be better: 603, or 480 by configuration, with Retry-After.
    Later {
        /// When, from now on: at least a second.
        after: Duration,
        /// How long the user can be reached then, if that is known.
        reachable: Option<Duration>,
    },
}

/// A caller whose invitations never reach the user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Blocked {
    /// A SIP or tel URI.
    pub address: String,
    /// Whether the address is that of a caller for whom a trusted core vouches. If so, whoever claims it is blocked; if not,
    /// only those who claim it and for whom nobody vouches.
    pub verified: bool,
}

/// A media type that a peer has refused lately (M-12), as [`What::TypeRefused`](crate::event::What::TypeRefused) told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose peer.
    pub account: AccountId,
    /// Its address.
    pub peer: String,
    /// Whether in a MESSAGE.
    pub pager: bool,
    /// Whether it stood in message/cpim.
    pub wrapped: bool,
    /// The type.
    pub media_type: String,
    /// How long that counts, since 1970.
    pub until: Duration,
}

/// What there is too little of to let anybody in (G-1b).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// Room on the disk.
    Disk,
    /// Memory.
    Memory,
    /// Descriptors, for connections and files.
    Descriptors,
    /// The store failed a moment ago.
    Store,
    /// Time: the program is ending.
    Ending,
}

/// What the store did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stored {
    /// It is durable.
    Fresh,
    /// It was there before: acknowledged, not shown again.
    Duplicate,
}

/// The store could not keep a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreFault {
    /// No room.
    #[error("the store is full")]
    Full,
    /// Anything else.
    #[error("the store does not work")]
    Broken,
}

/// The caller asked for what cannot be: its own mistake, or it lost a race with the peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// There is no session of that number.
    #[error("no such session: it has ended, or never was")]
    NoSession,
    /// The verb does not fit the session's state.
    #[error("the session is {state}: {verb} is not possible now")]
    WrongState {
        /// How the session is, in words.
        state: &'static str,
        /// What was asked for.
        verb: &'static str,
    },
    /// There is no such file in the session.
    #[error("no such file: its transfer is over, or never was")]
    NoFile,
    /// The client is [shutting down](crate::client::Client::shutdown).
    #[error("the program is ending: nobody is invited any more")]
    Ending,
    /// There is no account of that number.
    #[error("no such account")]
    NoAccount,
    /// Whom to invite is no SIP address.
    #[error("{0:?} is not a SIP address: write it as sip:user@host")]
    BadAddress(String),
    /// The peer does not take such a message, or not now.
    #[error("the message cannot be sent: {0}")]
    Unsendable(String),
    /// The conference is none, or takes nobody whom we name.
    #[error("nobody can be added: {0}")]
    CannotAdd(&'static str),
    /// There is no conference that would call us by that nickname.
    #[error("no nickname can be had: {0}")]
    NoNickname(String),
    /// `media_security` wants TLS, and MSRP over TLS is not built yet.
    #[error("messages would go without TLS, and media_security is require_tls")]
    TlsRequired,
    /// No socket leads there.
    #[error("there is no way to the other side: {0}")]
    NoRoute(String),
}
