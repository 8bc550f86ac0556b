//! What a user interface knows: a pure fold of events.

use std::collections::BTreeMap;

use parlour_proto::event::{Event, Progress, What};
use parlour_proto::io::{AccountId, SessionId};

/// The state that events tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// All sessions that have not ended.
    pub sessions: BTreeMap<SessionId, Talk>,
    /// Accounts that are registered.
    pub registered: Vec<AccountId>,
    /// Messages received, by session.
    pub messages: BTreeMap<SessionId, Vec<String>>,
    /// Messages that the user has said, by Message-ID: whether their last word has been told.
    pub said: BTreeMap<String, bool>,
}

/// One session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Talk {
    /// How far its signalling is.
    pub stage: Stage,
    /// Whether its MSRP connection stands; it may, before the ACK is here.
    pub connected: bool,
}

/// How far a session's signalling is.
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
            // Refused before anybody was troubled: no session began.
            What::Missed { .. } if event.session.is_none() => Ok(()),
            What::Explain(_) | What::RelayFailed { .. } => Ok(()),
            // Pager mode knows no session.
            What::Message(_) | What::Receipt { .. } | What::TypeRefused { .. } if event.session.is_none() => {
                Ok(())
            }
            What::Progress { message_id, progress } if event.session.is_none() => {
                self.progress(message_id, progress)
            }
            What::Invited { .. } => self.begin(event, Stage::Invited),
            What::Inviting { .. } => self.begin(event, Stage::Inviting),
            What::Ringing => self.advance(event, &[Stage::Inviting, Stage::Ringing], Stage::Ringing),
            What::Established { .. } => {
                self.advance(event, &[Stage::Invited, Stage::Inviting, Stage::Ringing], Stage::Established)
            }
            What::Connected => {
                let session = self.known(event)?;
                self.sessions.entry(session).and_modify(|talk| talk.connected = true);
                Ok(())
            }
            What::Message(message) => {
                let session = self.known(event)?;
                self.messages.entry(session).or_default().push(message.message_id.clone());
                Ok(())
            }
            What::Secured(_)
            | What::FingerprintChanged { .. }
            | What::Impostor { .. }
            | What::Held
            | What::Resumed
            | What::Reconnecting { .. } => self.known(event).map(|_| ()),
            What::Progress { message_id, progress } => {
                self.known(event)?;
                self.progress(message_id, progress)
            }
            What::Receiving { .. }
            | What::Sending { .. }
            | What::Composing { .. }
            | What::Receipt { .. }
            | What::Incomplete { .. }
            | What::FilesAdded { .. }
            | What::File { .. }
            | What::Roster(_)
            | What::RosterEnded { .. }
            | What::TypeRefused { .. }
            | What::AddAccepted { .. }
            | What::AddRefused { .. }
            | What::Nickname { .. }
            | What::NicknameRefused { .. }
            | What::TakeoverRefused { .. } => self.known(event).map(|_| ()),
            What::Moved { to, .. } => {
                let from = self.known(event)?;
                match self.sessions.contains_key(to) {
                    true => Ok(()),
                    false => Err(format!("a message moves from {from:?} to {to:?}, which is not there")),
                }
            }
            What::Missed { .. } | What::Ended(_) => {
                let session = self.known(event)?;
                self.sessions.remove(&session);
                Ok(())
            }
        }
    }

    /// A message of ours is acknowledged or fails, and only one of them.
    fn progress(&mut self, message_id: &str, progress: &Progress) -> Result<(), String> {
        let over = match progress {
            Progress::Sent => false,
            Progress::Acknowledged | Progress::Failed { .. } => true,
        };
        match self.said.get_mut(message_id).filter(|_| over).map(|told| std::mem::replace(told, true)) {
            Some(true) => Err(format!("{progress:?} for {message_id}, whose end was told")),
            Some(false) | None => Ok(()),
        }
    }

    fn begin(&mut self, event: &Event, stage: Stage) -> Result<(), String> {
        let session = event.session.ok_or("a session's event without its session")?;
        match self.sessions.insert(session, Talk { stage, connected: false }) {
            None => Ok(()),
            Some(before) => Err(format!("{session:?} begins again, it was {before:?}")),
        }
    }

    fn advance(&mut self, event: &Event, from: &[Stage], to: Stage) -> Result<(), String> {
        let session = self.known(event)?;
        let Some(talk) = self.sessions.get_mut(&session) else { return Ok(()) };
        let before = std::mem::replace(&mut talk.stage, to);
        match from.contains(&before) {
            true => Ok(()),
            false => Err(format!("{session:?} becomes {to:?}, it was {before:?}")),
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
