//! Messages, the verdict on them, and what may go wrong.

use crate::accept::{essence, is_media_type};
use crate::digest::Refusal;
use crate::head::Tid;
use crate::io::{SourceId, SpoolId};
use crate::session::MAX_VALUE;

/// Why there is no lease, or none any more.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseFailure {
    /// The relay cannot be reached, or is not known.
    #[error("no connection to the relay can be made")]
    ConnectFailed,
    /// The connection to the relay closed.
    #[error("the connection to the relay closed")]
    Disconnected,
    /// The relay is not to be reached over TLS, and that is not allowed.
    #[error("the relay's URI is not msrps, and AUTH goes over TLS only")]
    Insecure,
    /// No response to AUTH within 30 s.
    #[error("the relay does not answer")]
    Unresponsive,
    /// Its challenge is not answered, or the answer was refused.
    #[error("the relay's challenge: {0}")]
    Challenge(#[from] Refusal),
    /// It answered AUTH with this status.
    #[error("the relay answers {status} {comment}")]
    Refused {
        /// The status code.
        status: u16,
        /// What follows it.
        comment: String,
    },
    /// It allows no Expires that we could ask for (423).
    #[error("the relay allows no time that could be asked for")]
    OutOfBounds,
    /// It does not know our password, so it is another one.
    #[error("the relay does not prove that it knows the password")]
    NotProven,
    /// Its Use-Path cannot be used.
    #[error("the relay's Use-Path cannot be used: {0}")]
    UsePath(&'static str),
    /// Its time is over.
    #[error("the relay's URIs are valid no longer")]
    Expired,
}

/// A message's octets, sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of them.
    Inline(Vec<u8>),
    /// Received and lying in a spool.
    Spooled {
        /// Which spool.
        spool: SpoolId,
        /// How many octets it has.
        size: u64,
        /// A copy of the first of them, 16 KiB at most.
        head: Vec<u8>,
    },
}

/// Where the octets of a message to be sent come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Memory.
    Inline(Vec<u8>),
    /// Octets that are here, then some that the driver has: [`Output::Fetch`](crate::Output::Fetch) asks for them.
    Fetched {
        /// The driver's name for the latter.
        source: SourceId,
        /// How many those are.
        size: u64,
        /// Those that are here, and go first.
        head: Vec<u8>,
    },
}

impl From<Vec<u8>> for Source {
    fn from(octets: Vec<u8>) -> Self {
        Source::Inline(octets)
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Source::Inline(text.as_bytes().to_vec())
    }
}

impl Source {
    /// Octets in memory.
    pub(crate) fn octets(&self) -> usize {
        match self {
            Source::Inline(octets) => octets.len(),
            Source::Fetched { head, .. } => head.len(),
        }
    }

    /// The octets that go before those that are fetched.
    pub(crate) fn head(&self) -> &[u8] {
        match self {
            Source::Inline(_) => &[],
            Source::Fetched { head, .. } => head,
        }
    }
}

/// The Failure-Report header (RFC 4975 7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FailureReport {
    /// A response to each chunk; the default when the header is absent.
    #[default]
    Yes,
    /// Error responses only.
    Partial,
    /// No response at all.
    No,
}

/// A message to be sent.
///
/// ```
/// # use parlour_msrp::Outgoing;
/// let hello = Outgoing::new("12339sdqwer", "text/plain", "Hi").with(|message| message.success_report = true);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// RFC 4975 `ident`: 4 to 32 letters, digits or `.-+%=` after a letter or digit. Nobody else may come upon it, nor you
    /// for another message (RFC 4975 7.1.1): 16 characters of [`Random::ident`](crate::random::Random::ident) will do. When
    /// a message is sent again it is the same again.
    pub message_id: String,
    /// The media type with its parameters, 1024 octets at most. Send only what the peer has listed (RFC 4975 8.6):
    /// [`AcceptTypes::accepts_root`](crate::accept::AcceptTypes::accepts_root) of its lists tells.
    pub content_type: String,
    /// The Content-Disposition, 1024 octets at most: `attachment; filename="plan.pdf"`, say. A message without one is to
    /// be rendered (RFC 4975 7.1.1).
    pub content_disposition: Option<String>,
    /// The octets.
    pub body: Source,
    /// Whether the receiver is asked for success REPORTs.
    pub success_report: bool,
    /// Which failures the receiver tells.
    pub failure_report: FailureReport,
}

impl Outgoing {
    /// A message that asks for no success REPORT, and for a response to each chunk.
    pub fn new(
        message_id: impl Into<String>,
        content_type: impl Into<String>,
        body: impl Into<Source>,
    ) -> Self {
        Outgoing {
            message_id: message_id.into(),
            content_type: content_type.into(),
            content_disposition: None,
            body: body.into(),
            success_report: false,
            failure_report: FailureReport::Yes,
        }
    }

    /// The same with some fields changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Whether a peer can be sent this at all, whatever its session is.
    ///
    /// # Errors
    /// [`SendError::BadMessageId`], [`SendError::BadContentType`] or [`SendError::BadContentDisposition`].
    pub fn check(&self) -> Result<(), SendError> {
        if Tid::parse(self.message_id.as_bytes()).is_none() {
            return Err(SendError::BadMessageId);
        }
        if !is_media_type(essence(&self.content_type)) || !is_value(&self.content_type) {
            return Err(SendError::BadContentType);
        }
        if self.content_disposition.as_ref().is_some_and(|value| value.is_empty() || !is_value(value)) {
            return Err(SendError::BadContentDisposition);
        }
        Ok(())
    }
}

/// Whether a text can be the value of a header, and is no longer than any needs to be.
fn is_value(text: &str) -> bool {
    text.len() <= MAX_VALUE && !text.chars().any(char::is_control)
}

/// Why a message that came in part will never be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Incomplete {
    /// The sender ended it with `#`.
    #[error("the sender gave it up")]
    Aborted,
    /// Its connection closed.
    #[error("the connection closed")]
    Disconnected,
    /// Nothing came for [`Limits::reassembly_idle`](crate::Limits::reassembly_idle).
    #[error("nothing more of it came")]
    Idle,
    /// It grew beyond our max-size or contradicted itself.
    #[error("it contradicts itself or is larger than we take")]
    Refused,
}

/// Why our message failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The peer, or a relay, said so.
    #[error("the other side answered {status} {comment}")]
    Refused {
        /// The status code of the response or REPORT.
        status: u16,
        /// What stood behind it.
        comment: String,
    },
    /// No response within [`Limits::response`](crate::Limits::response) of the last octet (RFC 4975 7.1.1).
    #[error("the other side did not answer in time")]
    NoResponse,
    /// The session ended before the message was acknowledged.
    #[error("the session ended before it was acknowledged")]
    SessionEnded,
    /// The source could not be read.
    #[error("its octets could not be read")]
    Unreadable,
    /// We gave it up.
    #[error("it was given up")]
    Aborted,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFailure {
    /// The connection could not be made.
    #[error("the MSRP connection could not be made")]
    ConnectFailed,
    /// The connection closed after it was bound.
    #[error("the MSRP connection closed")]
    Disconnected,
    /// The peer did not bind within [`Limits::bind`](crate::Limits::bind).
    #[error("the other side did not come to the MSRP connection in time")]
    NotBound,
    /// The peer does not know the session (481), or not on this connection (506): what it refused so is handed back with
    /// what waited. Or a relay could not reach it (a REPORT of 408).
    #[error("the other side answered {0} to our MSRP request")]
    Refused(u16),
    /// The peer does not answer our requests.
    #[error("the other side does not answer our MSRP requests")]
    Unresponsive,
    /// Somebody else is at the other end of its connection ([`Event::Untrusted`](crate::Event::Untrusted)).
    #[error("the certificate at the other end of the MSRP connection is not the peer's")]
    Untrusted,
    /// Another session of this endpoint has the session-id of its own URI.
    #[error("another session has this session-id")]
    Taken,
}

/// The driver's word on a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is stored, or needs no storing: 200, and a success REPORT if one was asked for.
    Accepted,
    /// It is here but not stored yet: 200 now. A second verdict decides on the REPORT.
    Received,
    /// It is refused with this status: 403, 413 or 415; what is no error (400 to 599) counts as 413. After
    /// [`Verdict::Received`] that is a failure REPORT.
    Refused(u16),
}

/// Why a message is not taken for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session never was, is closed, or has failed.
    #[error("there is no such session")]
    UnknownSession,
    /// [`Limits::queued_messages`](crate::Limits::queued_messages) wait already, or
    /// [`Limits::queued_octets`](crate::Limits::queued_octets) of them: send it when others are acknowledged.
    #[error("too many messages wait to be sent")]
    QueueFull,
    /// The peer's max-size is smaller.
    #[error("the message is larger than the {0} octets that the peer takes")]
    TooLarge(u64),
    /// The Message-ID is no RFC 4975 `ident`.
    #[error("the Message-ID is not 4 to 32 letters, digits or .-+%= after a letter or digit")]
    BadMessageId,
    /// A message with this Message-ID is on its way.
    #[error("a message with this Message-ID is on its way")]
    DuplicateMessageId,
    /// The media type is malformed, or longer than 1024 octets.
    #[error("the media type is malformed")]
    BadContentType,
    /// The Content-Disposition is empty, longer than 1024 octets, or has a control character.
    #[error("the Content-Disposition is malformed")]
    BadContentDisposition,
    /// The peer has answered 415 to this media type in this session (RFC 4975 10.6).
    #[error("the peer has refused this media type in this session")]
    RefusedContentType,
}

/// Why a nickname is not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NicknameError {
    /// The session never was, is closed, or has failed.
    #[error("there is no such session")]
    UnknownSession,
    /// It is longer than [`MAX_NICKNAME`](crate::MAX_NICKNAME) octets.
    #[error("a nickname has at most {} octets", crate::MAX_NICKNAME)]
    TooLong,
    /// A control character.
    #[error("a nickname has no control characters")]
    BadCharacter,
    /// Another one was asked for, and the room has not answered.
    #[error("the room has not answered to the last nickname yet")]
    Outstanding,
    /// The peer does not know NICKNAME.
    #[error("the other side does not know nicknames")]
    Unsupported,
}
