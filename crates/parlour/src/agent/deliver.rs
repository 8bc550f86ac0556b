//! What the client tells goes to the store, and when it is durable, to everybody else.

use std::sync::Arc;
use std::time::Duration;

use parlour_msrp::{Body, Source};
use parlour_proto::client::{Misuse, Notice, Page, Say, StoreFault, Stored};
use parlour_proto::event::{Event, FileNews, Incoming, Progress, Secured, What};
use parlour_proto::io::{AccountId, Input, SessionId};

use super::{Agent, Happening, STORE_STUCK, Told};
use crate::command::{Achieved, Outcome};
use crate::model::SessionName;
use crate::store::{
    Answer, Bulk, By, Done, Due, Job, Kept, NewMessage, NewPage, Note, OwnBody, Seen, SpoolJob, party,
};

impl Agent {
    /// Passes an event to the store, or on at once if it is not to be kept.
    pub(super) fn happened(&mut self, mut event: Event) {
        self.keep_previews(&mut event.what);
        let is_explanation = matches!(event.what, What::Explain(_));
        let time = self.clock.now().unix;
        let account = self.address(event.account);
        let session = event.session.map(|session| self.name(session));
        if !self.hear_of_files(&mut event) {
            return;
        }
        if let What::Explain(why) = &event.what {
            if tracing::enabled!(tracing::Level::DEBUG) {
                tracing::debug!("{account}: {}", crate::explain::line(why));
            }
            // Without a store it could never be read.
            if self.store.dir().is_some() {
                self.diary.note(time, &account, session, why);
            }
        }
        if is_explanation && !self.explain {
            return;
        }
        // None of them is kept: a typing state is of the moment (M-42).
        let is_passing = matches!(
            event.what,
            What::Receiving { .. }
                | What::Sending { .. }
                | What::Composing { .. }
                | What::File { news: FileNews::Moved { .. }, .. }
        );
        if is_explanation || is_passing {
            let speed = self.speed(&event);
            self.tell(Told::Event(Happening { seq: None, time, account, session, event, file: None, speed }));
            return;
        }
        let certificate = if let What::Secured(secured) = &event.what {
            Some((event.account, event.session, secured.clone()))
        } else {
            None
        };
        // What we begin can be named at once; of what has ended it is known why, until all know.
        match (&event.what, event.session) {
            (What::Inviting { .. }, _) => self.model.fold(&event),
            (What::Ended(why), Some(session)) => drop(self.ends.insert(session, why.unsent())),
            _ => {}
        }
        let job = Job::Event { time, account, session, event };
        if self.pending > STORE_STUCK {
            return self.done(Done { outcome: Err(StoreFault::Broken), job });
        }
        self.enqueue(job);
        if let Some((account, session, secured)) = certificate {
            self.pin(account, session, secured);
        }
    }

    /// Remembers the certificate of a peer, and tells if it was another one before.
    //= IM X-43
    fn pin(&mut self, account: AccountId, session: Option<SessionId>, secured: Secured) {
        let now = self.clock.now().unix;
        let Some((pinned, before)) = self.pins.see(&self.address(account), now, &secured) else { return };
        self.enqueue(Job::Note { by: None, note: Note::Pinned(Box::new(pinned)) });
        if let (Some(before), Some(new)) = (before, secured.fingerprint) {
            let (old, since, protected) = (before.fingerprint, before.first, secured.protected);
            let what = What::FingerprintChanged { peer: secured.peer, old, new, since, protected };
            self.happened(Event { account, session, what });
        }
    }

    pub(super) fn enqueue(&mut self, job: Job) {
        self.pending = self.pending.saturating_add(job.weight());
        self.jobs.push(job);
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Done(all) => {
                for done in all {
                    self.pending = self.pending.saturating_sub(done.job.weight());
                    self.done(done);
                }
            }
            Answer::Due(due) => self.owe(due),
            Answer::File(told) => self.disk_says(told),
            Answer::Spooled { spool, upto } => self.give(Input::Spooled { spool, upto }),
            Answer::Fetched { source, offset, bytes } => {
                self.give(Input::Fetched { source, offset, bytes: &bytes });
            }
        }
    }

    /// A job is durable, or will never be: now others may know.
    pub(super) fn done(&mut self, done: Done) {
        let Done { outcome, job } = done;
        match job {
            Job::Event { time, account, session, event } => {
                self.model.fold(&event);
                if let (What::Ended(_), Some(session)) = (&event.what, event.session) {
                    self.ends.remove(&session);
                }
                // What says nothing new, or is of no message of ours, is nobody's news.
                let is_news = matches!(outcome, Ok(Kept { stored: Stored::Fresh, .. }));
                if matches!(event.what, What::Receipt { .. }) && !is_news {
                    return;
                }
                let mut file = None;
                if let What::Message(message) = &event.what {
                    self.received(message, event.account, event.session, outcome);
                    match outcome {
                        Ok(Kept { stored: Stored::Fresh, .. }) => file = self.file_of(message),
                        Ok(Kept { stored: Stored::Duplicate, .. }) => return,
                        Err(fault) => {
                            return self.tell(Told::Trouble(format!("a message was refused: {fault}")));
                        }
                    }
                }
                if let What::File { file: id, news: FileNews::Done } = &event.what {
                    file = self.file_is_done(*id);
                }
                let seq = outcome.ok().map(|kept| kept.seq);
                let waits = matches!(&event.what, What::Message(message) if message.notices.iter().any(Notice::waits));
                self.tell(Told::Event(Happening { seq, time, account, session, event, file, speed: None }));
                if let Some(seq) = seq.filter(|_| waits && self.shows) {
                    self.enqueue(Job::Note { by: None, note: Note::Seen(Seen::Number(seq)) });
                }
            }
            Job::Page { by, time, account, message } => match outcome {
                Ok(Kept { seq, .. }) => self.page(by, seq, time, account, message),
                Err(fault) => {
                    self.model.paged.remove(&message.page.message_id);
                    let what = Err(format!("the message was not sent, since it could not be kept: {fault}"));
                    self.tell_outcome(by, what);
                }
            },
            Job::Note { by: Some(By::File(file, verdict)), .. } => {
                self.file_noted(file, verdict, outcome.is_ok());
            }
            Job::Note { by: Some(By::Sent(file, octets)), .. } => self.file_recorded(file, octets),
            Job::Note { by, note } => self.noted(by, note, outcome),
            Job::Say { by, time, account, session, peer, message } => match outcome {
                Ok(Kept { seq, .. }) => self.say(by, seq, time, account, session, peer, message),
                Err(fault) => {
                    if let Some(bulk) = message.body.bulk() {
                        self.store.spool(SpoolJob::Discard { bulk });
                    }
                    if let Some(talk) = self.model.talks.get_mut(&message.session) {
                        talk.open.remove(&message.message_id);
                    }
                    let what = Err(format!("the message was not sent, since it could not be kept: {fault}"));
                    self.tell_outcome(by, what);
                }
            },
        }
    }

    /// A received message is durable, or refused.
    pub(super) fn received(
        &mut self,
        message: &Incoming,
        account: AccountId,
        session: Option<SessionId>,
        outcome: Result<Kept, StoreFault>,
    ) {
        self.client.stored(self.clock.now(), message.receipt, outcome.map(|kept| kept.stored));
        self.drain();
        let is_fresh = matches!(outcome, Ok(Kept { stored: Stored::Fresh, .. }));
        match &message.body {
            Body::Spooled { spool, .. } if !is_fresh => {
                self.store.spool(SpoolJob::Discard { bulk: Bulk::Received(*spool) });
            }
            // Our own would come back for ever.
            Body::Inline(_) if is_fresh && self.echo && !self.is_ours(&message.from.address) => {
                let Some(text) = message.text() else { return };
                let (message_id, content_type) = (self.ident(), "text/plain".to_owned());
                let Some(session) = session else {
                    let page = Page { message_id, content_type, body: text.into_bytes() };
                    let to = message.from.address.clone();
                    let message = NewPage { from: account, to, via: None, page };
                    return self.prepare_to_page(By::Echo, message);
                };
                let body = OwnBody::Inline(text.into_bytes());
                let message = NewMessage { session, message_id, content_type, body, to: None };
                self.prepare_to_say(By::Echo, message);
            }
            Body::Spooled { .. } | Body::Inline(_) => {}
        }
    }

    /// A message of ours is durable: it may leave.
    #[expect(clippy::too_many_arguments, reason = "the fields of one job")]
    pub(super) fn say(
        &mut self,
        by: By,
        seq: u64,
        time: Duration,
        account: Arc<str>,
        session: SessionName,
        peer: String,
        message: NewMessage,
    ) {
        let (account_id, begun) = match &by {
            By::Invite(_, invitation) => {
                let begun = self.invite(session.session, invitation);
                self.drain();
                if let Some(talk) = self.model.talks.get_mut(&session.session) {
                    talk.open.insert(message.message_id.clone());
                }
                (Some(invitation.account), Some(begun))
            }
            By::Front(_) | By::Echo | By::File(..) | By::Sent(..) => {
                (self.model.talks.get(&session.session).map(|talk| talk.account), None)
            }
        };
        let body = match &message.body {
            OwnBody::Inline(octets) => Source::Inline(octets.clone()),
            OwnBody::Kept(source, size) => Source::Fetched { source: *source, size: *size, head: Vec::new() },
        };
        let (message_id, content_type) = (message.message_id.clone(), message.content_type.clone());
        let say = Say { message_id, content_type, body, to: message.to.clone() };
        let said = self.client.say(self.clock.now(), session.session, say);
        let said = said.map_err(|why| match (&why, self.ends.get(&session.session)) {
            (Misuse::NoSession, Some(end)) => end.clone(),
            _ => why.to_string(),
        });
        let said = begun.clone().unwrap_or(Ok(())).and(said);
        self.drain();
        let message_id = message.message_id.clone();
        let file = message.body.bulk().and_then(|bulk| self.file(bulk));
        self.tell(Told::Said { seq, time, account, session, peer, message, file });
        if let (Err(why), Some(account)) = (&said, account_id) {
            let progress = Progress::Failed { why: why.clone() };
            let what = What::Progress { message_id: message_id.clone(), progress };
            self.happened(Event { account, session: Some(session.session), what });
        }
        let achieved =
            Achieved { session: Some(session), message_id: Some(message_id), ..Achieved::default() };
        // Whoever was invited was: what became of what was to be said is told by its progress.
        self.tell_outcome(by, begun.unwrap_or(said).map(|()| achieved));
    }

    /// A message of ours outside any session is durable: it may leave.
    fn page(&mut self, by: By, seq: u64, time: Duration, account: Arc<str>, message: NewPage) {
        let NewPage { from, to, via, page } = message;
        let message_id = page.message_id.clone();
        let paged = self.client.page(self.clock.now(), from, &to, via, page.clone());
        self.tell(Told::Paged { seq, time, account, to, page });
        self.drain();
        if let Err(why) = &paged {
            let progress = Progress::Failed { why: why.to_string() };
            let what = What::Progress { message_id: message_id.clone(), progress };
            self.happened(Event { account: from, session: None, what });
        }
        let achieved = Achieved { session: None, message_id: Some(message_id), ..Achieved::default() };
        self.tell_outcome(by, paged.map(|()| achieved).map_err(|why| why.to_string()));
    }

    /// Authors of messages are to be told what became of them.
    pub(super) fn owe(&mut self, due: Vec<Due>) {
        let mut rest = due;
        while let Some(first) = rest.first() {
            let address = first.account.clone();
            let (theirs, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|due| due.account == address);
            rest = others;
            // An address that is ours no longer tells nobody anything.
            if let Ok(account) = self.account(Some(&address)) {
                let notices = theirs.into_iter().map(|due| due.notice).collect();
                let _ = self.client.owe(self.clock.now(), account, notices);
                self.drain();
            }
        }
    }

    fn is_ours(&self, address: &str) -> bool {
        self.accounts.iter().any(|ours| party(ours) == party(address))
    }

    pub(super) fn file_of(&self, message: &Incoming) -> Option<String> {
        match &message.body {
            Body::Spooled { spool, .. } => self.file(Bulk::Received(*spool)),
            Body::Inline(_) => None,
        }
    }

    fn file(&self, bulk: Bulk) -> Option<String> {
        self.store.file(bulk).map(|file| file.to_string_lossy().into_owned())
    }

    pub(super) fn tell_outcome(&mut self, by: By, what: Result<Achieved, String>) {
        match by {
            By::Front(id) | By::Invite(id, _) => self.tell(Told::Outcome(Outcome { id, what })),
            By::File(..) | By::Sent(..) => {}
            By::Echo => {
                if let Err(why) = what {
                    tracing::warn!(why, "an echo was not sent");
                }
            }
        }
    }

    pub(super) fn tell(&mut self, told: Told) {
        self.teller.tell(told);
    }
}
