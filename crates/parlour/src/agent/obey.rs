//! Commands to verbs of the client.

use std::time::Instant;

use parlour_msrp::{Outgoing, Source};
use parlour_proto::client::{Blocked, Load, Page, Refusal, StoreFault};
use parlour_proto::io::{AccountId, FileId, SessionId};
use parlour_proto::sip::uri::{Uri, is_anonymous};

use super::{Agent, LEAVING, Told};
use crate::command::{Achieved, Asked, Command, First, Outcome, Whom, Wish};
use crate::model::{SessionName, Stage};
use crate::store::{
    BLOCKED, By, Invitation, Job, Kept, NewMessage, NewPage, Note, OwnBody, Refused, Seen, party,
};

impl Agent {
    pub(super) fn obey(&mut self, asked: Asked) {
        let Asked { id, command } = asked;
        let now = self.clock.now();
        let what = match command {
            Command::Say { session, to, message_id, content_type, body } => {
                let stages = [Stage::Connected, Stage::Established, Stage::Inviting];
                match self
                    .which_chat(session, &stages)
                    .and_then(|session| Ok((session, self.to(session, to)?)))
                {
                    Ok((session, to)) => {
                        let message_id = message_id.unwrap_or_else(|| self.ident());
                        let body = OwnBody::Inline(body);
                        let message = NewMessage { session, message_id, content_type, body, to };
                        return self.prepare_to_say(By::Front(id), message);
                    }
                    Err(why) => Err(why),
                }
            }
            Command::Accept { session, files: Some(files) } => {
                self.which(session, &[Stage::Invited]).and_then(|session| {
                    let files =
                        files.into_iter().map(|file| self.file_here(file)).collect::<Result<Vec<_>, _>>();
                    files.and_then(|files| self.accept_files(session, &files)).map(|()| session)
                })
            }
            Command::SendFiles { account, to, via, files } => {
                return self.send_files(By::Front(id), account, to, via, files);
            }
            Command::FetchFile { account, to, via, selector } => {
                self.fetch_file(account.as_deref(), &to, via, selector)
            }
            Command::CancelFile { file } => {
                let what = self
                    .file_here(file)
                    .and_then(|file| self.client.cancel_file(now, file).map_err(|why| why.to_string()));
                self.drain();
                return self.answer_about_file(id, what);
            }
            Command::ResumeFile { file, via } => {
                return self.resume_by_hand(&file, via, id);
            }
            Command::Accept { session, files: None } => {
                self.which(session, &[Stage::Invited]).and_then(|session| {
                    self.client.accept(now, session).map(|()| session).map_err(|why| why.to_string())
                })
            }
            Command::Decline { session, how } => self.which(session, &[Stage::Invited]).and_then(|session| {
                self.client.decline(now, session, how).map(|()| session).map_err(|why| why.to_string())
            }),
            Command::Leave { session } => self
                .which(session, &[Stage::Connected, Stage::Established, Stage::Inviting])
                .and_then(|session| {
                    self.client.leave(now, session).map(|()| session).map_err(|why| why.to_string())
                }),
            Command::Composing { session } => {
                self.which_chat(session, &[Stage::Connected, Stage::Established]).and_then(|session| {
                    self.client.composing(now, session).map(|()| session).map_err(|why| why.to_string())
                })
            }
            Command::Read { session, message_id } => {
                let note = Note::Seen(Seen::Named { session, message_id });
                return self.enqueue(Job::Note { by: Some(By::Front(id)), note });
            }
            Command::Page { account, to, via, message_id, content_type, body } => {
                match self.account(account.as_deref()) {
                    Ok(from) => {
                        let message_id = message_id.unwrap_or_else(|| self.ident());
                        let page = Page { message_id, content_type, body };
                        return self.prepare_to_page(By::Front(id), NewPage { from, to, via, page });
                    }
                    Err(why) => Err(why),
                }
            }
            Command::Invite { account, to, via, large, first } => {
                let session = self.client.reserve();
                let invitation =
                    self.account(account.as_deref()).map(|account| Invitation { account, to, via, large });
                match (invitation, first) {
                    (Ok(invitation), Some(First { message_id, content_type, body })) => {
                        let message_id = message_id.unwrap_or_else(|| self.ident());
                        let body = OwnBody::Inline(body);
                        let message = NewMessage { session, message_id, content_type, body, to: None };
                        return self.prepare_to_invite(id, invitation, message);
                    }
                    (invitation, _) => {
                        invitation.and_then(|invitation| self.invite(session, &invitation).map(|()| session))
                    }
                }
            }
            Command::Add { session, address } => {
                self.which_chat(session, &[Stage::Connected, Stage::Established]).and_then(|session| {
                    self.client.add(now, session, &address).map(|()| session).map_err(|why| why.to_string())
                })
            }
            Command::Nick { session, nickname } => {
                self.which_chat(session, &[Stage::Connected, Stage::Established]).and_then(|session| {
                    self.client.nick(now, session, &nickname).map(|()| session).map_err(|why| why.to_string())
                })
            }
            Command::Who { session } => {
                let what = self.who(session);
                return self.tell(Told::Outcome(Outcome { id, what }));
            }
            Command::Block { whom } => match self.blockable(whom) {
                Ok(blocked) => {
                    return self.enqueue(Job::Note { by: Some(By::Front(id)), note: Note::Block(blocked) });
                }
                Err(why) => Err(why),
            },
            Command::Unblock { address } => {
                if self.blocked.iter().any(|blocked| party(&blocked.address) == party(&address)) {
                    return self.enqueue(Job::Note { by: Some(By::Front(id)), note: Note::Unblock(address) });
                }
                Err(format!("{address} is not blocked by you; a configuration's `blocked` holds on"))
            }
            Command::Looked { upto } => {
                return self.enqueue(Job::Note { by: None, note: Note::Looked(upto) });
            }
            Command::Nonsense(why) => Err(why),
            Command::Quit => {
                self.leave();
                self.tell(Told::Outcome(Outcome { id, what: Ok(Achieved::default()) }));
                return;
            }
        };
        self.drain();
        let what = what.map(|session| Achieved { session: Some(self.name(session)), ..Achieved::default() });
        self.tell(Told::Outcome(Outcome { id, what }));
    }

    /// What peers had refused lately when the store was opened; of accounts that are no more nothing.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let refusal = |refused: &Refused| {
            let Refused { account, peer, pager, wrapped, media_type, until } = refused.clone();
            let account = self.account(Some(&account)).ok()?;
            Some(Refusal { account, peer, pager, wrapped, media_type, until })
        };
        self.store.refused().iter().filter_map(refusal).collect()
    }

    /// Whom to block: by the address that counts for it.
    fn blockable(&self, whom: Whom) -> Result<Blocked, String> {
        if self.blocked.len() >= BLOCKED {
            return Err(format!("there are {BLOCKED} blocked callers already: unblock some"));
        }
        let blocked = match whom {
            Whom::Address(address) => Blocked { address, verified: true },
            Whom::Session(session) => {
                let stages = [Stage::Invited, Stage::Connected, Stage::Established, Stage::Inviting];
                let session = self.which(session, &stages)?;
                let peer =
                    self.model.talks.get(&session).map(|talk| &talk.peer).ok_or("the session has ended")?;
                Blocked { address: peer.address.clone(), verified: peer.verified }
            }
        };
        let is_nobody = Uri::parse(blocked.address.as_bytes()).is_ok_and(|uri| is_anonymous(&uri));
        if is_nobody { Err("nobody knows who that is: set refuse_anonymous".into()) } else { Ok(blocked) }
    }

    /// The user's wish is durable: it holds from now on.
    pub(super) fn noted(&mut self, by: Option<By>, note: Note, outcome: Result<Kept, StoreFault>) {
        let done = outcome.map_err(|fault| format!("it could not be kept: {fault}"));
        let mut wish = None;
        if done.is_ok() {
            match note {
                Note::Block(blocked) => {
                    wish = Some(Wish::Blocked(blocked.address.clone()));
                    self.blocked.retain(|known| *known != blocked);
                    self.blocked.push(blocked);
                    self.client.set_blocked(self.clock.now(), &self.blocked);
                }
                Note::Unblock(address) => {
                    self.blocked.retain(|known| party(&known.address) != party(&address));
                    self.client.set_blocked(self.clock.now(), &self.blocked);
                    wish = Some(Wish::Unblocked(address));
                }
                Note::Looked(_)
                | Note::Seen(_)
                | Note::Settled(_)
                | Note::Paths(_)
                | Note::File(_)
                | Note::ForgetFiles(_)
                | Note::Pinned(_) => {}
            }
            self.drain();
        }
        if let Some(by) = by {
            self.tell_outcome(by, done.map(|_| Achieved { wish, ..Achieved::default() }));
        }
    }

    /// Who is in the conference of a session.
    fn who(&self, session: Option<SessionName>) -> Result<Achieved, String> {
        let session = self.which_chat(session, &[Stage::Connected, Stage::Established])?;
        let present = self.model.talks.get(&session).and_then(|talk| talk.present.as_ref());
        let present = present.ok_or("this session does not tell who is in it")?;
        let users = Some(present.values().cloned().collect());
        Ok(Achieved { session: Some(self.name(session)), users, ..Achieved::default() })
    }

    /// The address of the participant to whom something is to be said.
    fn to(&self, session: SessionId, who: Option<String>) -> Result<Option<String>, String> {
        let talk = self.model.talks.get(&session).ok_or("the session has ended")?;
        who.map(|who| talk.participant(&who)).transpose()
    }

    pub(super) fn invite(&mut self, session: SessionId, invitation: &Invitation) -> Result<(), String> {
        let Invitation { account, to, via, large } = invitation;
        let now = self.clock.now();
        self.client.invite_as(now, session, *account, to, via.clone(), *large).map_err(|why| why.to_string())
    }

    /// What is said first is durable before anybody is invited to hear it.
    fn prepare_to_invite(&mut self, id: Option<String>, invitation: Invitation, mut message: NewMessage) {
        if let Err(why) = check(&message) {
            return self.tell_outcome(By::Front(id), Err(why));
        }
        let (account, peer) = (self.address(invitation.account), invitation.to.clone());
        let (time, session) = (self.clock.now().unix, self.name(message.session));
        message.body = self.store.stow(message.body);
        let by = By::Invite(id, Box::new(invitation));
        self.enqueue(Job::Say { by, time, account, session, peer, message });
    }

    pub(super) fn prepare_to_say(&mut self, by: By, mut message: NewMessage) {
        if let Err(why) = check(&message) {
            return self.tell_outcome(by, Err(why));
        }
        let Some(talk) = self.model.talks.get_mut(&message.session) else {
            return self.tell_outcome(by, Err("the session has ended".into()));
        };
        // Two of one name could not be told apart in `progress`, nor in the store.
        if !talk.open.insert(message.message_id.clone()) {
            return self.tell_outcome(by, Err("a message with this Message-ID is on its way".into()));
        }
        let (account, peer) = (talk.account, talk.peer.address.clone());
        let account = self.address(account);
        let (time, session) = (self.clock.now().unix, self.name(message.session));
        message.body = self.store.stow(message.body);
        self.enqueue(Job::Say { by, time, account, session, peer, message });
    }

    pub(super) fn prepare_to_page(&mut self, by: By, message: NewPage) {
        // Two of one name could not be told apart in `progress`, nor in the store.
        if !self.model.paged.insert(message.page.message_id.clone()) {
            return self.tell_outcome(by, Err("a message with this Message-ID is on its way".into()));
        }
        let (time, account) = (self.clock.now().unix, self.address(message.from));
        self.enqueue(Job::Page { by, time, account, message });
    }

    /// Leaves everything. Once.
    pub(super) fn leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(Instant::now() + LEAVING);
            self.client.shutdown(self.clock.now());
            self.drain();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let Some(until) = self.leaving else { return false };
        let load = self.client.load();
        let parted = load.sessions + load.parting + load.registers == 0 && self.model.registered.is_empty();
        let settled = parted && self.pending == 0 && self.jobs.is_empty() && self.net.is_flushed();
        if !settled && Instant::now() >= until {
            tracing::warn!("{}", left_open(&load, self.pending, self.net.is_flushed()));
            return true;
        }
        settled
    }

    /// The session that is meant; one in which something can be said, if none is named.
    fn which_chat(&self, session: Option<SessionName>, stages: &[Stage]) -> Result<SessionId, String> {
        session.map_or_else(|| self.model.only_chat(stages), |name| self.named(name))
    }

    fn which(&self, session: Option<SessionName>, stages: &[Stage]) -> Result<SessionId, String> {
        session.map_or_else(|| self.model.only(stages), |name| self.named(name))
    }

    fn named(&self, name: SessionName) -> Result<SessionId, String> {
        if name.run == self.store.run() && self.model.talks.contains_key(&name.session) {
            Ok(name.session)
        } else {
            Err(format!("there is no session {name}: it has ended, or never was"))
        }
    }

    /// A file of this run.
    fn file_here(&self, name: SessionName) -> Result<FileId, String> {
        if name.run == self.store.run() {
            Ok(FileId(name.session.0))
        } else {
            Err(format!("there is no file {name} on its way now"))
        }
    }

    pub(super) fn account(&self, address: Option<&str>) -> Result<AccountId, String> {
        let found = match address {
            None => (!self.accounts.is_empty()).then_some(0),
            Some(address) => self.accounts.iter().position(|ours| ours.as_ref() == address),
        };
        let number = found.and_then(|at| u32::try_from(at).ok());
        number
            .map(AccountId)
            .ok_or_else(|| format!("{:?} is none of our addresses", address.unwrap_or_default()))
    }
}

/// Whether a message can be sent to anybody at all.
fn check(message: &NewMessage) -> Result<(), String> {
    let (message_id, content_type) = (message.message_id.clone(), message.content_type.clone());
    let outgoing = Outgoing::new(message_id, content_type, Source::Inline(Vec::new()));
    outgoing.check().map_err(|why| format!("the message cannot be sent: {why}"))
}

/// What was still open when we went, and what to do about it.
fn left_open(load: &Load, unstored: usize, flushed: bool) -> String {
    let byes = load.sessions.saturating_add(load.parting);
    let mut open = Vec::new();
    if byes > 0 {
        open.push(format!("{byes} session(s) whose other side did not answer our BYE or CANCEL"));
    }
    if load.registers > 0 {
        open.push(format!(
            "{} registration(s) that the registrar did not confirm as removed",
            load.registers
        ));
    }
    if unstored > 0 {
        open.push(format!("{unstored} octets that the store had not taken"));
    }
    if !flushed {
        open.push("connections whose peer did not read our last words".to_owned());
    }
    let open =
        if open.is_empty() { "registrations that were not removed".to_owned() } else { open.join(", ") };
    format!(
        "stopped waiting after {} s with these open: {open}. Nothing needs to be done: sessions end at the other side, \
         and registrations expire, by themselves",
        LEAVING.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_open_is_said_in_words() {
        let load = Load { sessions: 1, parting: 1, registers: 1, ..Load::default() };
        let said = left_open(&load, 7, true);
        for part in ["2 session(s)", "1 registration(s)", "7 octets", "after 5 s", "expire"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("last words") && !said.contains("Load"), "{said}");
    }
}
