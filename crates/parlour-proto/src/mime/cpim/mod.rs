//! `message/cpim` (RFC 3862): who wrote to whom and when, around any other body.

mod read;
mod write;

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use read::{MAX_HEAD, MAX_HEADERS, parse};
pub use write::{Rows, head, head_with};

/// The media type.
pub const MEDIA_TYPE: &str = "message/cpim";

/// The namespace of the headers that RFC 3862 defines.
pub const CPIM_NAMESPACE: &str = "urn:ietf:params:cpim-headers:";

/// What stands in front of the body of a `message/cpim`. Texts are unescaped, otherwise as received: neutralise them
/// before showing them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpim {
    /// Who wrote it.
    pub from: Option<Mailbox>,
    /// To whom.
    pub to: Vec<Mailbox>,
    /// Who gets a copy.
    pub cc: Vec<Mailbox>,
    /// When, as received. [`Cpim::sent_at`] reads it.
    pub date_time: Option<String>,
    /// The first subject.
    pub subject: Option<String>,
    /// All other headers in order, further subjects too.
    pub headers: Vec<Header>,
    /// What the sender insists on and we do not understand: if there is any, the message is not shown (415).
    pub required_unknown: Vec<String>,
    /// The media type of the body with its parameters; `text/plain` if none is given (RFC 2045 5.2).
    pub content_type: String,
    /// The other headers of the body, such as `Content-ID`.
    pub content_headers: Vec<(String, String)>,
    /// Where the body starts.
    pub body_offset: usize,
}

/// A name and an address: `Formal-name <URI>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// The name.
    pub name: Option<String>,
    /// The URI between the angle brackets.
    pub uri: String,
}

/// A header that has no field of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The namespace's URI, resolved from the prefix (M-31); `None` if the prefix was not declared.
    pub namespace: Option<String>,
    /// The name without prefix; its case counts.
    pub name: String,
    /// What stands between colon and space, such as `lang=fr`.
    pub parameters: String,
    /// The value.
    pub value: String,
}

/// Why octets are no `message/cpim`, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CpimFault {
    /// The headers are not complete: come back with more octets; a message that is whole is malformed.
    #[error("the message/cpim headers have no end")]
    NeedMore,
    /// The headers have more octets than [`MAX_HEAD`], or are more than [`MAX_HEADERS`].
    #[error("the message/cpim headers are too large")]
    TooLarge,
    /// A line is no header.
    #[error("message/cpim line {line} is not a header")]
    NoHeader {
        /// Counted from 1.
        line: usize,
    },
    /// A header that may be there once is there again.
    #[error("message/cpim line {line} repeats {name}")]
    Repeated {
        /// Counted from 1.
        line: usize,
        /// The header.
        name: &'static str,
    },
    /// An address is not in angle brackets.
    #[error("message/cpim line {line} has no <address>")]
    NoAddress {
        /// Counted from 1.
        line: usize,
    },
}

/// Whether a Content-Type, parameters or not, is `message/cpim`.
pub fn is_cpim(content_type: &str) -> bool {
    parlour_msrp::accept::essence(content_type).eq_ignore_ascii_case(MEDIA_TYPE)
}

/// What a DateTime says, as time since 1970-01-01T00:00:00Z; `None` if it is not in RFC 3339's form, or before that day.
pub fn date(text: &str) -> Option<Duration> {
    let date = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    Some(Duration::new(u64::try_from(date.unix_timestamp()).ok()?, date.nanosecond()))
}

impl Cpim {
    //= IM M-31
    /// When it was sent, as time since 1970-01-01T00:00:00Z; `None` if it does not say, not in RFC 3339's form, or
    /// before that day.
    pub fn sent_at(&self) -> Option<Duration> {
        date(self.date_time.as_deref()?)
    }

    //= IM M-31
    /// The value of the first header of that name in the namespace with that URI, whatever its prefix.
    pub fn header(&self, namespace: &str, name: &str) -> Option<&str> {
        let found = |header: &&Header| header.namespace.as_deref() == Some(namespace) && header.name == name;
        self.headers.iter().find(found).map(|header| header.value.as_str())
    }
}
