//! application/conference-info+xml (RFC 4575): who is in a conference, told whole or piece by piece.
//!
//! [`parse`] reads one document, [`Conference::take`] merges it into what the documents before it told.
//! Host information and sidebars (RFC 4575 5.4, 5.9) are passed over.

mod merge;
mod read;

use std::collections::BTreeMap;

pub use self::merge::{Conference, Verdict};
pub use self::read::parse;
use super::xml::XmlFault;

/// The media type.
pub const MEDIA_TYPE: &str = "application/conference-info+xml";

/// Octets of a document.
pub const LONGEST: usize = 1024 * 1024;

/// Users of a document, and of a conference that is followed.
pub const MOST_USERS: usize = 10_000;

/// Why a document cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More than 1 MiB.
    #[error("the document is too long: {0} octets")]
    Length(usize),
    /// It is no XML that we read.
    #[error(transparent)]
    Xml(#[from] XmlFault),
    /// The root is not `conference-info` of RFC 4575's namespace.
    #[error("the root element is not conference-info of urn:ietf:params:xml:ns:conference-info")]
    Root,
    /// `version` is missing or no 32-bit number (RFC 4575 4.3).
    #[error("the version is missing, or no number")]
    Version,
    /// A `state` that is not full, partial or deleted.
    #[error("an element has an unknown state")]
    State,
    /// An element's key has more than 2048 octets.
    #[error("the entity or id of an element is too long")]
    Key,
    /// More than 10,000 users.
    #[error("there are more than 10,000 users")]
    Users,
}

/// How much an element tells about itself (RFC 4575 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// All.
    #[default]
    Full,
    /// What has changed.
    Partial,
    /// That it is gone.
    Deleted,
}

/// One document (RFC 4575 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The conference URI.
    pub entity: String,
    /// Whether it is the whole, a change, or the end of the conference.
    pub state: State,
    /// Its place in the order of documents.
    pub version: u32,
    /// What is told about the conference as a whole.
    pub description: Option<Description>,
    /// How the conference is.
    pub condition: Option<Condition>,
    /// Who is in it.
    pub users: Option<Users>,
}

/// The conference as a whole (RFC 4575 5.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// For a list of conferences.
    pub display_text: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// A longer text.
    pub free_text: Option<String>,
    /// How to get into it.
    pub conf_uris: Vec<ConfUri>,
    /// How many users it may have.
    pub maximum_user_count: Option<u32>,
}

/// One way into a conference (RFC 4575 5.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfUri {
    /// Its URI.
    pub uri: String,
    /// What for: `participation`, `streaming`.
    pub purpose: Option<String>,
}

/// How the conference is (RFC 4575 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// How many users there are; may exceed those that are told of.
    pub user_count: Option<u32>,
    /// Whether it can be joined now.
    pub active: Option<bool>,
    /// Whether nobody can be added any more.
    pub locked: Option<bool>,
}

/// The users that a document tells of (RFC 4575 5.6), by `entity`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users {
    /// Whether these are all users.
    pub state: State,
    /// By `entity`, whose octets are compared (RFC 4575 4.5).
    pub list: BTreeMap<Box<str>, User>,
}

/// One user (RFC 4575 5.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// How much is told; `Full` once it is merged.
    pub state: State,
    /// Its name for people.
    pub display_text: Option<String>,
    /// Its nickname, unique in the conference (RFC 6501, RFC 7701 7.4); empty in a change that takes it away.
    pub nickname: Option<String>,
    /// Its roles, for people.
    pub roles: Option<Vec<String>>,
    /// Where it is a conference of its own (RFC 4575 5.6.5).
    pub cascaded_focus: Option<String>,
    /// Its devices, by `entity`.
    pub endpoints: BTreeMap<Box<str>, Endpoint>,
}

/// One device of a user (RFC 4575 5.7).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// How much is told; `Full` once it is merged.
    pub state: State,
    /// Its name for people.
    pub display_text: Option<String>,
    /// How far it is in the conference.
    pub status: Option<Status>,
    /// How it came in.
    pub joining_method: Option<Joining>,
    /// How it went.
    pub disconnection_method: Option<Disconnection>,
    /// Why it went, in words.
    pub disconnection_reason: Option<String>,
    /// Its streams, by `id`.
    pub media: BTreeMap<Box<str>, Media>,
}

/// One stream (RFC 4575 5.8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Media {
    /// `message`, `audio` and so on.
    pub kind: Option<String>,
    /// Its direction, as the user sees it: `sendrecv` and so on.
    pub status: Option<String>,
}

/// How far an endpoint is in the conference (RFC 4575 5.7.3); from what counts least to what counts most for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of RFC 4575 5.7.3, which tells what they mean")]
pub enum Status {
    Disconnected,
    Disconnecting,
    Pending,
    DialingIn,
    DialingOut,
    Alerting,
    MutedViaFocus,
    OnHold,
    Connected,
}

/// How an endpoint came in (RFC 4575 5.7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 4575 5.7.4, which tells what they mean")]
pub enum Joining {
    DialedIn,
    DialedOut,
    FocusOwner,
}

/// How an endpoint went (RFC 4575 5.7.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 4575 5.7.6, which tells what they mean")]
pub enum Disconnection {
    Departed,
    Booted,
    Failed,
    Busy,
}

/// A value and its word in the documents.
type Word<T> = (&'static str, T);

impl Status {
    /// All, with their words.
    pub const WORDS: [Word<Status>; 9] = [
        ("disconnected", Status::Disconnected),
        ("disconnecting", Status::Disconnecting),
        ("pending", Status::Pending),
        ("dialing-in", Status::DialingIn),
        ("dialing-out", Status::DialingOut),
        ("alerting", Status::Alerting),
        ("muted-via-focus", Status::MutedViaFocus),
        ("on-hold", Status::OnHold),
        ("connected", Status::Connected),
    ];

    /// Whether whoever has this status is in the conference, rather than coming or gone.
    pub fn is_in(self) -> bool {
        self >= Status::MutedViaFocus
    }
}

impl Joining {
    /// All, with their words.
    pub const WORDS: [Word<Joining>; 3] = [
        ("dialed-in", Joining::DialedIn),
        ("dialed-out", Joining::DialedOut),
        ("focus-owner", Joining::FocusOwner),
    ];
}

impl Disconnection {
    /// All, with their words.
    pub const WORDS: [Word<Disconnection>; 4] = [
        ("departed", Disconnection::Departed),
        ("booted", Disconnection::Booted),
        ("failed", Disconnection::Failed),
        ("busy", Disconnection::Busy),
    ];
}
