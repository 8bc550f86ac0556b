//! What the verbs of the client take and give back.

use parlour_msrp::Source;

/// A message that we want to send.
#[derive(Debug, Clone)]
pub struct Say {
    /// The MSRP Message-ID, 4 to 32 characters: the same again when a message is sent again.
    pub message_id: String,
    /// The media type with parameters: `text/plain` for text (UTF-8).
    pub content_type: String,
    /// The octets.
    pub body: Source,
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
    /// There is no account of that number.
    #[error("no such account")]
    NoAccount,
    /// Whom to invite is no SIP address.
    #[error("{0:?} is not a SIP address: write it as sip:user@host")]
    BadAddress(String),
    /// The peer does not take such a message, or not now.
    #[error("the message cannot be sent: {0}")]
    Unsendable(String),
    /// No socket leads there.
    #[error("there is no way to the other side: {0}")]
    NoRoute(String),
}
