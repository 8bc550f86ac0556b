//! `message/cpim` (RFC 3862): who wrote to whom and when, around any other body.

use std::time::Duration;

/// What stands in front of the body of a `message/cpim`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpim {
    /// Who wrote it.
    pub from: Option<Mailbox>,
    /// To whom.
    pub to: Vec<Mailbox>,
    /// Who gets a copy.
    pub cc: Vec<Mailbox>,
    /// When, as received: RFC 3339. [`Cpim::sent_at`] reads it.
    pub date_time: Option<String>,
    /// The first subject.
    pub subject: Option<String>,
    /// All other headers, in order: further subjects too.
    pub headers: Vec<Header>,
    /// What the sender insists on and we do not understand: if there is any, the message is not to be shown (415).
    pub required_unknown: Vec<String>,
    /// The media type of the body with its parameters; `text/plain` if none is given (RFC 2045 5.2).
    pub content_type: String,
    /// The other headers of the body: `Content-ID`, ...
    pub content_headers: Vec<(String, String)>,
    /// Where the body starts.
    pub body_offset: usize,
}

/// A name and an address: `Formal-name <URI>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// The name, unescaped, as received otherwise: neutralise it before showing it.
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
    /// What stands between colon and space, such as `lang=fr`, without the leading semicolon.
    pub parameters: String,
    /// The value, unescaped.
    pub value: String,
}

/// Why octets are no `message/cpim`, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CpimFault {
    /// The headers are not complete: come back with more octets; a message that is whole is malformed.
    #[error("the message/cpim headers are not complete")]
    NeedMore,
    /// The headers are larger, or more, than we take.
    #[error("the message/cpim headers are too large")]
    TooLarge,
    /// A line is no header.
    #[error("message/cpim line {line} is not a header")]
    NoHeader {
        /// Counted from 1.
        line: usize,
    },
}

/// Reads the headers from the start of a message. `whole` says that nothing follows `octets`.
///
/// # Errors
/// See [`CpimFault`]; [`CpimFault::NeedMore`] never comes if `octets` has more than [`MAX_HEAD`] octets.
pub fn parse(octets: &[u8], whole: bool) -> Result<Cpim, CpimFault> {
    let _ = (octets, whole);
    Err(CpimFault::NeedMore)
}

/// The headers may not be larger than this, octets.
pub const MAX_HEAD: usize = 16 * 1024;

/// The octets that go in front of a body: CPIM headers, blank line, MIME headers, blank line. `unix` is the time since
/// 1970-01-01T00:00:00Z.
pub fn head(from: &Mailbox, to: &Mailbox, unix: Duration, content_type: &str) -> Vec<u8> {
    let _ = (from, to, unix, content_type);
    Vec::new()
}

impl Cpim {
    /// When it was sent, as time since 1970-01-01T00:00:00Z; `None` if it does not say, or not in RFC 3339's form.
    pub fn sent_at(&self) -> Option<Duration> {
        None
    }
}
