//! The client: owns all state, routes, decides nothing.

use parlour_msrp::Source;

use crate::config::{Config, Proxy};
use crate::io::{AccountId, Input, Now, Output, Receipt, SessionId};

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
    #[error("no such session: it has ended, or never was")]
    NoSession,
    #[error("the session is {state}: {verb} is not possible now")]
    WrongState { state: &'static str, verb: &'static str },
    #[error("no such account")]
    NoAccount,
    #[error("{0:?} is not a SIP address: write it as sip:user@host")]
    BadAddress(String),
    #[error("the message cannot be sent: {0}")]
    Unsendable(String),
    #[error("there is no way to the other side: {0}")]
    NoRoute(String),
}

/// How much the client holds: all zero when nothing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    pub sessions: usize,
    pub invitations: usize,
    pub transactions: usize,
    pub msrp_sessions: usize,
    pub flows: usize,
    pub timers: usize,
}

/// A SIP instant-messaging client without IO.
#[derive(Debug)]
pub struct Client {}

#[expect(clippy::todo, unused_variables, reason = "the contract comes first")]
impl Client {
    /// All randomness comes from the seed: take it from the operating system.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        todo!()
    }
    /// Takes one input. Then call [`Client::poll`] until [`Output::Idle`].
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        todo!()
    }
    /// What to do next.
    pub fn poll(&mut self) -> Output {
        todo!()
    }
    /// Starts, or renews at once, an account's registration.
    pub fn register(&mut self, now: Now, account: AccountId) -> Result<(), Misuse> {
        todo!()
    }
    /// Removes an account's registration.
    pub fn unregister(&mut self, now: Now, account: AccountId) -> Result<(), Misuse> {
        todo!()
    }
    /// Invites `to` to a 1-1 session, through `via`, else the account's proxy, else straight to its host.
    pub fn invite(
        &mut self,
        now: Now,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
    ) -> Result<SessionId, Misuse> {
        todo!()
    }
    /// Accepts an invitation.
    pub fn accept(&mut self, now: Now, session: SessionId) -> Result<(), Misuse> {
        todo!()
    }
    /// Declines an invitation.
    pub fn decline(&mut self, now: Now, session: SessionId, how: Decline) -> Result<(), Misuse> {
        todo!()
    }
    /// Sends a message in a session; before it is established, as soon as it is.
    pub fn say(&mut self, now: Now, session: SessionId, message: Say) -> Result<(), Misuse> {
        todo!()
    }
    /// Leaves a session, or takes an invitation back.
    pub fn leave(&mut self, now: Now, session: SessionId) -> Result<(), Misuse> {
        todo!()
    }
    /// Says what became of a received message.
    pub fn stored(&mut self, now: Now, receipt: Receipt, outcome: Result<Stored, StoreFault>) {
        todo!()
    }
    /// Leaves all sessions, declines all invitations, removes all registrations. Done when [`Client::load`] shows no
    /// session and no transaction, or the driver has waited long enough.
    pub fn shutdown(&mut self, now: Now) {
        todo!()
    }
    /// How much the client holds.
    pub fn load(&self) -> Load {
        todo!()
    }
}
