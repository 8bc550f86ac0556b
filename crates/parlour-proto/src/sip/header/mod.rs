//! Typed views of header values (RFC 3261 20). They borrow the message and are made on demand.

mod address;
mod body;
mod challenge;
mod contact;
mod core;
mod event;
mod identity;
pub(crate) mod lex;
mod methods;
mod numbers;
mod reliable;
mod replaces;
mod session_expires;
mod via;
mod warning;

pub use self::address::{
    Address, From, PAssertedIdentity, PAssociatedUri, PCalledPartyId, PPreferredIdentity, Path, RecordRoute,
    ReferTo, Route, ServiceRoute, To,
};
pub use self::body::{ContentDisposition, ContentType, Subject};
pub use self::challenge::{Challenge, ProxyAuthenticate, WwwAuthenticate};
pub use self::contact::{AcceptContact, Contact, FeatureCaps, RejectContact};
pub use self::core::{CSeq, CallId};
pub use self::event::{Event, SubscriptionState};
pub use self::identity::{Date, Identity};
pub use self::lex::{Param, Params};
pub use self::methods::{Allow, MethodSet};
pub use self::numbers::{ContentLength, Expires, MaxForwards, MinExpires, RetryAfter};
pub use self::reliable::{RAck, RSeq};
pub use self::replaces::{ContributionId, ReferredBy, Replaces, SessionReplaces, unescape};
pub use self::session_expires::{MinSe, Refresher, SessionExpires};
pub use self::via::Via;
pub(crate) use self::via::take_host;
pub use self::warning::Warning;

use super::name::Name;

/// A header that has a typed view.
pub trait Header<'a>: Sized {
    /// Its name.
    const NAME: Name;

    /// Whether a row may hold several values, separated by commas.
    const LIST: bool = false;

    /// Reads one value: a whole row, or one element of a row that is a list.
    ///
    /// # Errors
    /// The value is not what the header's grammar allows.
    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault>;
}

/// A header that cannot be read: the sender's fault, and a 400 whose reason names the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} {what}", .name.text())]
pub struct HeaderFault {
    /// The header.
    pub name: Name,
    /// What is wrong, as in "is missing".
    pub what: &'static str,
}

impl HeaderFault {
    /// The header is not there.
    pub const fn missing(name: Name) -> Self {
        HeaderFault { name, what: "is missing" }
    }

    /// The header is there more than once, or has more than one value.
    pub const fn repeated(name: Name) -> Self {
        HeaderFault { name, what: "is repeated" }
    }

    pub(crate) const fn bad(name: Name, what: &'static str) -> Self {
        HeaderFault { name, what }
    }
}
