//! What a user interface knows: a pure fold of events.

use std::collections::BTreeMap;

use parlour_proto::event::{Event, What};
use parlour_proto::io::{AccountId, SessionId};

/// The state that events tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// All sessions that have not ended.
    pub sessions: BTreeMap<SessionId, Stage>,
    /// Accounts that are registered.
    pub registered: Vec<AccountId>,
    /// Messages received, by session.
    pub messages: BTreeMap<SessionId, Vec<String>>,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// We were invited, and have not been told that it is established.
    Invited,
    /// We invite.
    Inviting,
    /// Our invitation rings.
    Ringing,
    /// 200 and ACK have passed.
    Established,
    /// Messages flow.
    Connected,
}

impl Model {
    /// Takes one event in. Says what is wrong with it if it cannot follow those before.
    pub fn fold(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Registered { .. } => {
                self.registered.retain(|account| *account != event.account);
                self.registered.push(event.account);
                Ok(())
            }
            What::Unregistered | What::RegistrationFailed { .. } => {
                self.registered.retain(|account| *account != event.account);
                Ok(())
            }
            What::Missed { .. } | What::Explain(_) => Ok(()),
            What::Invited { .. } => self.begin(event, Stage::Invited),
            What::Inviting { .. } => self.begin(event, Stage::Inviting),
            What::Ringing => self.advance(event, &[Stage::Inviting, Stage::Ringing], Stage::Ringing),
            What::Established { .. } => {
                self.advance(event, &[Stage::Invited, Stage::Inviting, Stage::Ringing], Stage::Established)
            }
            What::Connected => self.advance(event, &[Stage::Established, Stage::Connected], Stage::Connected),
            What::Message(message) => {
                let session = self.known(event)?;
                self.messages.entry(session).or_default().push(message.message_id.clone());
                Ok(())
            }
            What::Receiving { .. } | What::Incomplete { .. } | What::Progress { .. } => {
                self.known(event).map(|_| ())
            }
            What::Ended(_) => {
                let session = self.known(event)?;
                self.sessions.remove(&session);
                Ok(())
            }
        }
    }

    fn begin(&mut self, event: &Event, stage: Stage) -> Result<(), String> {
        let session = event.session.ok_or("a session's event without its session")?;
        match self.sessions.insert(session, stage) {
            None => Ok(()),
            Some(before) => Err(format!("{session:?} begins again, it was {before:?}")),
        }
    }

    fn advance(&mut self, event: &Event, from: &[Stage], to: Stage) -> Result<(), String> {
        let session = self.known(event)?;
        match self.sessions.insert(session, to) {
            Some(before) if from.contains(&before) => Ok(()),
            before => Err(format!("{session:?} becomes {to:?}, it was {before:?}")),
        }
    }

    fn known(&self, event: &Event) -> Result<SessionId, String> {
        let session = event.session.ok_or("a session's event without its session")?;
        match self.sessions.contains_key(&session) {
            true => Ok(session),
            false => Err(format!("{:?} for {session:?}, which is not there", event.what)),
        }
    }
}
