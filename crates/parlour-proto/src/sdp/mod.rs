//! Session descriptions and their negotiation for MSRP (RFC 4566, RFC 3264, RFC 4975 8, RFC 6135): read an offer,
//! judge it, answer it; make an offer, read the answer.

mod answer;
mod cema;
mod change;
mod chatroom;
mod file;
mod fingerprint;
mod judge;
mod offer;
mod parse;
mod precondition;
mod setup;
mod unfit;
mod write;

#[doc(hidden)]
pub mod fuzzing;

pub use answer::{Ends, answer};
pub use cema::{FallBack, Names, names_to_compare};
pub use change::{
    Standing, answer_disabled, is_same_transfer, judge_again, offer_again, read_answer_again, same_path,
};
pub use chatroom::Chatroom;
pub use file::{FileAttributes, FileHash, FileRange, FileSelector};
pub use fingerprint::{Fingerprint, Hash};
pub(crate) use judge::wanted_types;
pub use judge::{Judged, Stream, Wrapping, judge};
pub use offer::{FileEnd, Offered, capabilities, offer, offer_files, offer_under, read_answer};
pub use parse::{SdpFault, parse};
pub use precondition::{Preconditions, precondition_failure};
pub use setup::{Direction, Role, Setup};
pub use unfit::{Refusal, Unfit};
pub use write::Local;

use parlour_msrp::accept::AcceptTypes;

use crate::config::{ActpassAnswer, Cema};

/// A session description: what matters of it, in order. Texts hold no control characters, and octets that are not
/// UTF-8 have become U+FFFD, so that whatever was read can be written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The `o=` line.
    pub origin: Origin,
    /// The session's `c=` line, for the media that have none.
    pub connection: Option<Connection>,
    /// The values of the `t=` lines; some peers write none.
    pub times: Vec<String>,
    /// The attributes above the first `m=` line.
    pub attributes: Vec<Attribute>,
    /// One for each `m=` line.
    pub media: Vec<Media>,
}

/// Who made a description, and which version of it (RFC 4566 5.2). Equal origins mean that nothing changed
/// (RFC 4975 8.4, D-50).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The user's login, often `-`.
    pub username: String,
    /// The session's number, as text: it may have any number of digits.
    pub session_id: String,
    /// The version's number, as text.
    pub version: String,
    /// `IN`.
    pub net_type: String,
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// The address or name of the machine that made it.
    pub address: String,
}

/// A `c=` line (RFC 4566 5.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `IN`.
    pub net_type: String,
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// An address, with TTL and count after slashes if it is a multicast one, or a name.
    pub address: String,
}

/// An `a=` line: `name` or `name:value`. Names are compared without regard to case, which is more than RFC 4566 asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What stands before the colon.
    pub name: String,
    /// What stands after it.
    pub value: Option<String>,
}

/// An `m=` line and what belongs to it (RFC 4566 5.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `message`, `audio`, ...
    pub media: String,
    /// 0 means that the stream is refused or disabled.
    pub port: u16,
    /// `TCP/MSRP`, ...
    pub protocol: String,
    /// The formats, separated by spaces: `*` for MSRP.
    pub formats: String,
    /// Its `i=` line, for display.
    pub title: Option<String>,
    /// Its own `c=` line.
    pub connection: Option<Connection>,
    /// Its attributes in order.
    pub attributes: Vec<Attribute>,
}

/// What we can do and want: the other half of every negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The types that we take, in the order in which we like them: roots, and those only inside containers.
    pub receivable: AcceptTypes,
    /// The innermost media types that we may want to send, such as `text/plain`. We can wrap each in `message/cpim`.
    pub sendable: Vec<String>,
    /// The largest message that we take, octets (D-7).
    pub max_size: u64,
    /// The largest file that we take, octets; 0 takes none.
    pub max_file: u64,
    /// Whether we have an IPv4 address.
    pub ipv4: bool,
    /// Whether we have an IPv6 address.
    pub ipv6: bool,
    /// By which fingerprints our own certificate is known. Without any, MSRP over TLS cannot be had.
    pub fingerprints: Vec<Fingerprint>,
    /// Whether our own offers are for TLS (D-21).
    pub prefers_tls: bool,
    /// Whether MSRP without TLS may be had (D-21).
    pub plain: bool,
    /// Whether a listener for MSRP without TLS is ready: we can be passive.
    pub listens: bool,
    /// The same with TLS.
    pub listens_tls: bool,
    /// Whether we may open connections: we can be active.
    pub connects: bool,
    /// Whether peers can reach our listener at the address that we tell (RFC 6135 4.2.2).
    pub reachable: bool,
    /// What we answer to `setup:actpass` (D-10).
    pub actpass_answer: ActpassAnswer,
    /// What becomes of addresses that somebody on the way has changed (D-15); `Auto` is as good as `Off`.
    pub cema: Cema,
    /// What is known of the names in the other end's description (RFC 6714 4.4).
    pub names: Names,
    /// Whether our own path leads over a relay of ours (RFC 4976).
    pub relay: bool,
    /// What our descriptions say of bandwidth (`b=AS`), kbit/s.
    pub bandwidth: Option<u32>,
}

impl Capabilities {
    /// Whether there is anything that we could offer.
    pub fn offers(&self) -> bool {
        if self.prefers_tls { self.has_tls() } else { self.plain }
    }

    /// Whether MSRP over TLS can be had.
    pub fn has_tls(&self) -> bool {
        !self.fingerprints.is_empty()
    }

    /// Whether our descriptions say that we know CEMA.
    pub(crate) fn knows_cema(&self) -> bool {
        matches!(self.cema, Cema::Strict | Cema::Lenient)
    }

    /// Whether a listener with or without TLS is ready.
    pub(crate) fn can_listen(&self, tls: bool) -> bool {
        if tls { self.listens_tls } else { self.listens }
    }
}

impl Media {
    /// The value of the first attribute of that name; empty if it has none.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all attributes of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        find(&self.attributes, name)
    }
}

impl Session {
    /// The value of the first attribute of that name at `media`, else at the session.
    pub fn attribute<'s>(&'s self, media: &'s Media, name: &str) -> Option<&'s str> {
        media.attribute(name).or_else(|| find(&self.attributes, name).next())
    }
}

fn find<'s>(attributes: &'s [Attribute], name: &str) -> impl Iterator<Item = &'s str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.name.eq_ignore_ascii_case(name))
        .map(|attribute| attribute.value.as_deref().unwrap_or_default())
}
