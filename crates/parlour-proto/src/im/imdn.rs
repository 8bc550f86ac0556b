//! What became of messages (RFC 5438): what we tell of those that came, as far as the user wants it told, what we ask
//! for ours, and what peers tell of those.

use std::collections::VecDeque;

use parlour_msrp::{Body, FailureReport, Outgoing, Source, Verdict};

use crate::event::{Fate, Incoming, Peer, What};
use crate::im::Core;
use crate::im::session::{Phase, Session};
use crate::io::{AccountId, Output, SessionId};
use crate::mime::cpim::{self, Mailbox, Rows};
use crate::mime::imdn::{self, Asked, Kind, Notification, Status};
use crate::verb::{Misuse, StoreFault, Stored};

/// Messages of a session that may be reported as shown: the last so many.
const MOST_UNSEEN: usize = 128;

/// Notifications that wait until they can leave; of more, the oldest are not sent.
const MOST_WAITING: usize = 128;

/// What a session owes to authors.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Messages that were not shown yet, and whose authors want to know when they are: by our name for them.
    unseen: VecDeque<(String, Asked)>,
    /// Notifications that wait for a connection.
    waiting: VecDeque<Notice>,
}

/// A notification of ours.
#[derive(Debug)]
struct Notice {
    asked: Asked,
    kind: Kind,
    status: Status,
}

/// A message whose author asks, until the store has spoken.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) session: SessionId,
    pub(crate) message_id: String,
    pub(crate) asked: Asked,
}

impl Core {
    /// A message is durable, or will not be: its author is told as far as he asked and the user wants.
    //= IM M-51
    pub(crate) fn kept(&mut self, pending: Pending, outcome: Result<Stored, StoreFault>) {
        let Pending { session: id, message_id, asked } = pending;
        let Some(account) = self.sessions.get(id).map(|session| session.account) else { return };
        let Some(policy) = self.account(account).map(|account| account.imdn) else { return };
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.is_room() {
            let decision = "no delivery notification: it would go to everybody in the room";
            return self.explain(account, Some(id), "M-52", decision, "");
        }
        let status = match outcome {
            // RFC 5438 7.2.1: one of a kind for each message. Of one that is here already it was sent.
            Ok(Stored::Duplicate) => return,
            Ok(Stored::Fresh) => {
                if asked.displayed && policy.tell_displayed {
                    if session.owed.unseen.len() >= MOST_UNSEEN {
                        session.owed.unseen.pop_front();
                    }
                    session.owed.unseen.push_back((message_id, asked.clone()));
                }
                asked.delivered.then_some(Status::Delivered)
            }
            Err(StoreFault::Full | StoreFault::Broken) => asked.failed.then_some(Status::Failed),
        };
        if let Some(status) = status.filter(|_| policy.tell_delivered) {
            self.notify(id, Notice { asked, kind: Kind::Delivery, status });
        }
    }

    /// The user was shown a message.
    //= IM M-50
    pub(crate) fn displayed(&mut self, id: SessionId, message_id: &str) -> Result<(), Misuse> {
        let session = self.sessions.get_mut(id).ok_or(Misuse::NoSession)?;
        let unseen = &mut session.owed.unseen;
        let at = unseen.iter().position(|(known, _)| known == message_id);
        if let Some((_, asked)) = at.and_then(|at| unseen.remove(at)) {
            self.notify(id, Notice { asked, kind: Kind::Display, status: Status::Displayed });
            self.pump_msrp();
        }
        Ok(())
    }

    /// Sends a notification in the session of its message, or keeps it until there is a way.
    fn notify(&mut self, id: SessionId, notice: Notice) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let stands = session.phase.talk().is_some_and(|talk| talk.agreed.is_some());
        if !stands || session.has_lost_media() {
            if session.owed.waiting.len() >= MOST_WAITING {
                session.owed.waiting.pop_front();
            }
            return session.owed.waiting.push_back(notice);
        }
        let account = session.account;
        // Its identifiers: of the notification, and of the SEND that carries it.
        let (own, carrier) = (self.random.ident(20), self.random.ident(20));
        let message = self.sessions.get(id).and_then(|session| self.notification(session, &notice, &own));
        let sent = message.is_some_and(|(msrp, body)| {
            let outgoing = Outgoing::new(carrier, cpim::MEDIA_TYPE.to_owned(), Source::Inline(body))
                .with(|message| message.failure_report = FailureReport::No);
            self.msrp.send_control(self.now.instant, msrp, outgoing).is_ok()
        });
        if !sent {
            let decision = "a notification was asked for, and the peer does not take it";
            self.explain(account, Some(id), "M-50", decision, &notice.asked.message_id);
        }
    }

    /// Sends the notifications that have waited for a connection.
    pub(crate) fn notify_late(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        for notice in std::mem::take(&mut session.owed.waiting) {
            self.notify(id, notice);
        }
    }

    /// The message that a notification is; None if the peer takes none.
    //= IM M-50
    //= IM M-51
    fn notification(
        &self,
        session: &Session,
        notice: &Notice,
        message_id: &str,
    ) -> Option<(parlour_msrp::SessionId, Vec<u8>)> {
        let chat = session.phase.chat()?;
        if !chat.stream.accepted.accepts_inside(cpim::MEDIA_TYPE, imdn::MEDIA_TYPE) {
            return None;
        }
        let asked = &notice.asked;
        let own = self.own_identity(session);
        let told = Notification {
            message_id: asked.message_id.clone(),
            date_time: asked.date_time.clone(),
            recipient: Some(own.clone()),
            original_recipient: asked.original_to.clone(),
            kind: notice.kind,
            status: notice.status,
        };
        let mailbox = |uri: &str| Mailbox { name: None, uri: uri.to_owned() };
        let author = asked.author.as_deref().unwrap_or(&session.peer.address);
        let mut rows = named(message_id);
        // RFC 5438 7.2.1: the way of the message, in its order.
        rows.message.extend(asked.routes.iter().map(|route| ("imdn.IMDN-Route", route.clone())));
        rows.body.push(("Content-Disposition", "notification".to_owned()));
        let (from, to) = (mailbox(&own), mailbox(author));
        let mut body = cpim::head_with(&from, &to, self.now.unix, imdn::MEDIA_TYPE, &rows);
        body.extend_from_slice(&imdn::write(&told));
        Some((chat.msrp, body))
    }

    /// The headers that ask for notifications of a message of ours, if the account wants them.
    //= IM M-50
    pub(crate) fn asking(&self, session: &Session, message_id: &str) -> Option<Rows> {
        let policy = self.account(session.account)?.imdn;
        let wanted: &[&str] = match (policy.ask_delivered, policy.ask_displayed) {
            (false, false) => return None,
            (true, true) => &["positive-delivery", "negative-delivery", "display"],
            (true, false) => &["positive-delivery", "negative-delivery"],
            (false, true) => &["display"],
        };
        if session.is_room() {
            return None;
        }
        let mut rows = named(message_id);
        rows.message.push(("imdn.Disposition-Notification", wanted.join(", ")));
        Some(rows)
    }

    /// A peer tells what became of messages of ours: acknowledged at once, since nobody waits for what is made of it.
    //= IM M-50
    pub(crate) fn notification_came(&mut self, id: SessionId, incoming: Incoming) {
        let read = match &incoming.body {
            Body::Inline(octets) => imdn::read(&incoming.content_type, octets),
            Body::Spooled { size, spool, .. } => {
                self.outputs.push_back(Output::Discard { spool: *spool });
                Err(imdn::Fault::Length(usize::try_from(*size).unwrap_or(usize::MAX)))
            }
        };
        let Some(session) = self.sessions.get(id) else { return };
        let (account, from) = (session.account, session.peer.clone());
        let stands = session.phase.talk().is_some();
        let verdict = match &read {
            Ok(_) => Verdict::Accepted,
            Err(fault) => {
                let status = if matches!(fault, imdn::Fault::Length(_)) { 413 } else { 400 };
                let decision = format!("a notification was refused with {status}");
                self.explain(account, Some(id), "M-50", decision, &fault.to_string());
                Verdict::Refused(status)
            }
        };
        self.msrp.settle(self.now.instant, parlour_msrp::Receipt(incoming.receipt.0), verdict);
        if stands {
            self.fates_came(account, Some(id), &from, read.unwrap_or_default());
        }
    }

    /// Passes on what was told of messages of ours.
    pub(crate) fn fates_came(
        &mut self,
        account: AccountId,
        session: Option<SessionId>,
        from: &Peer,
        told: Vec<Notification>,
    ) {
        for told in told {
            let fate = match (told.kind, told.status) {
                (Kind::Delivery, Status::Delivered) => Fate::Delivered,
                (Kind::Delivery, Status::Failed | Status::Forbidden | Status::Error) => Fate::Failed,
                (Kind::Display, Status::Displayed) => Fate::Displayed,
                // That nothing is told, and what servers do on the way, changes nothing for the user.
                (Kind::Delivery | Kind::Display | Kind::Processing, _) => continue,
            };
            let Notification { message_id, recipient, .. } = told;
            let what = What::Receipt { message_id, from: from.clone(), recipient, fate };
            self.tell(account, session, what);
        }
    }

    /// The identity of ours that a session is with.
    pub(crate) fn own_identity(&self, session: &Session) -> String {
        let called = session.ties.called.as_deref();
        self.account(session.account).map_or("", |account| account.public_identity(called)).to_owned()
    }
}

/// The headers that give a message its name.
fn named(message_id: &str) -> Rows {
    let namespace = ("NS", format!("imdn <{}>", imdn::HEADERS));
    Rows { message: vec![namespace, ("imdn.Message-ID", message_id.to_owned())], body: Vec::new() }
}

impl Session {
    /// Whether it is with a conference, where what is said goes to all.
    pub(crate) fn is_room(&self) -> bool {
        match &self.phase {
            Phase::Invited(invited) => invited.remote.focus().is_some(),
            other @ (Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_)) => {
                other.talk().is_some_and(|talk| talk.remote.focus().is_some())
            }
        }
    }
}
