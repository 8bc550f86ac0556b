//! What became of messages (RFC 5438): what we tell of those that came, as far as the user wants it told, what we ask
//! for ours, and what peers tell of those.

use std::fmt::Write as _;
use std::time::Duration;

use parlour_msrp::accept::essence;
use parlour_msrp::{Body, Outgoing, SendFailure, Verdict};

use crate::config::{Ack, Contact, Imdn};
use crate::event::{Fate, Incoming, Notice, Peer, What};
use crate::im::Core;
use crate::im::policy;
use crate::im::session::{Phase, Session};
use crate::io::{AccountId, Output, Receipt, SessionId};
use crate::mime::cpim::{self, Mailbox, Rows};
use crate::mime::imdn::{self, Asked, Kind, Notification, Status};
use crate::sdp::Wrapping;
use crate::sip::uri::{Uri, is_anonymous};
use crate::verb::{StoreFault, Stored};

/// Notifications that leave together at most.
const MOST_TOGETHER: usize = 16;

/// What several notifications in one are (RFC 5438 8.3).
const SEVERAL: &str = "multipart/mixed";

/// Where a message came from whose author asks what becomes of it.
pub(crate) struct Origin {
    pub(crate) account: AccountId,
    pub(crate) session: Option<SessionId>,
    /// The identity of ours that it was for.
    pub(crate) recipient: String,
    /// Whether a trusted core brought it.
    pub(crate) routed: bool,
    /// Whether it was said in a room; if so, whether that passes on what is for one participant.
    pub(crate) room: Option<bool>,
}

/// What is owed for a message, until the store has spoken.
#[derive(Debug)]
pub(crate) struct Pending {
    account: AccountId,
    notices: Vec<Notice>,
    /// For a message that is acknowledged and then not kept.
    failed: Option<Notice>,
}

impl Core {
    /// Where the messages of a session come from.
    pub(crate) fn origin(&self, session: &Session) -> Origin {
        Origin {
            account: session.account,
            session: Some(session.id),
            recipient: self.own_identity(session),
            routed: session.source.trusted,
            room: session.is_room().then(|| session.passes_on()),
        }
    }

    /// The author of a message asks what becomes of it: what he is to hear, as far as the user wants, is kept with it.
    pub(crate) fn ask(&mut self, origin: &Origin, asked: &Asked, incoming: &mut Incoming) {
        if let Some(pending) = self.promise(origin, asked, incoming) {
            incoming.notices = pending.notices.clone();
            self.asked.insert(incoming.receipt, pending);
        }
    }

    //= IM F-6
    //= IM M-51
    //= IM X-44
    fn promise(&mut self, origin: &Origin, asked: &Asked, incoming: &Incoming) -> Option<Pending> {
        let Origin { account, session, room, .. } = *origin;
        let author = match room {
            Some(_) => incoming.room.as_ref().filter(|room| !room.own).and_then(|room| room.author.as_ref()),
            None => Some(&incoming.from),
        };
        let peer = author.unwrap_or(&incoming.from);
        let policy = self.imdn_policy(account, &peer.address)?.within(room.is_some());
        let is_nobody = Uri::parse(peer.address.as_bytes()).is_ok_and(|uri| is_anonymous(&uri));
        let is_signed = essence(&incoming.content_type).eq_ignore_ascii_case("multipart/signed");
        let silent = if is_nobody {
            // RFC 5438 12.1.1
            Some(("X-44", "no notification: the sender is anonymous"))
        } else if author.is_none() || room == Some(false) {
            //= IM M-52
            Some(("M-52", "no notification: it would go to everybody in the room"))
        } else if !peer.verified && !policy.tell_unverified {
            Some(("X-44", "no notification: nobody vouches for the sender, and `tell_unverified` is off"))
        } else if is_signed {
            // RFC 5438 14 and 14.2: an unsigned one would look forged. S/MIME is not built, so what is encrypted gets 415.
            Some(("M-51", "no notification: the message is signed, and a notification of ours would not be"))
        } else {
            None
        };
        if let Some((clause, decision)) = silent {
            self.explain(account, session, clause, decision, &peer.address);
            return None;
        }
        let (peer, of) = (peer.clone(), &incoming.from.address);
        let mut notice = |kind, status| self.notice(origin, asked, (&peer, of), kind, status);
        // RFC 5438 7.2.1: one of a kind for each message.
        let mut told = |wanted, allowed, kind, status| match (wanted, allowed) {
            (true, true) => Some(notice(kind, status)),
            // RFC 5438 14.2: that nothing is told may be told.
            (true, false) if policy.tell_forbidden => Some(notice(kind, Status::Forbidden)),
            (_, _) => None,
        };
        let delivery = told(asked.delivered, policy.tell_delivered, Kind::Delivery, Status::Delivered);
        let display = told(asked.displayed, policy.tell_displayed, Kind::Display, Status::Displayed);
        let failed = (asked.failed && policy.tell_delivered).then(|| notice(Kind::Delivery, Status::Failed));
        Some(Pending { account, notices: delivery.into_iter().chain(display).collect(), failed })
    }

    /// A notification for the author of a message that came from this address.
    fn notice(
        &mut self,
        origin: &Origin,
        asked: &Asked,
        (author, from): (&Peer, &str),
        kind: Kind,
        status: Status,
    ) -> Notice {
        let in_room = origin.room.is_some();
        Notice {
            id: self.random.ident(20),
            to: from.to_owned(),
            verified: author.verified,
            recipient: origin.recipient.clone(),
            message_id: asked.message_id.clone(),
            date_time: asked.date_time.clone(),
            author: if in_room { Some(author.address.clone()) } else { asked.author.clone() },
            original_to: asked.original_to.clone(),
            routes: asked.routes.clone(),
            routed: origin.routed,
            in_room,
            kind,
            status,
        }
    }

    /// A message will not be kept: whoever had a 200 for it hears that.
    pub(crate) fn not_kept(&mut self, receipt: Receipt) {
        if let Some(pending) = self.asked.remove(&receipt) {
            self.kept(pending, Err(StoreFault::Full));
        }
    }

    /// A message is durable, or will not be: its author is told what he was promised.
    //= IM M-52
    pub(crate) fn kept(&mut self, pending: Pending, outcome: Result<Stored, StoreFault>) {
        let Pending { account, notices, failed } = pending;
        let due = match outcome {
            // RFC 5438 7.2.1: of one that is here already it was told.
            Ok(Stored::Duplicate) => return,
            Ok(Stored::Fresh) => notices.into_iter().filter(|notice| !notice.waits()).collect(),
            // RFC 5438 12.1.3.1: only of what was acknowledged. Who is refused knows it.
            Err(StoreFault::Full | StoreFault::Broken) if self.config.ack == Ack::Received => {
                failed.into_iter().collect()
            }
            Err(StoreFault::Full | StoreFault::Broken) => return,
        };
        self.owe(account, due);
    }

    /// Authors are to be told: in a session that stands, else by MESSAGE.
    //= IM M-52
    pub(crate) fn owe(&mut self, account: AccountId, notices: Vec<Notice>) {
        let mut rest = notices;
        while let Some(first) = rest.first() {
            let (to, in_room) = (first.to.clone(), first.in_room);
            let is_theirs = |notice: &Notice| notice.to == to && notice.in_room == in_room;
            let (theirs, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_theirs);
            rest = others;
            let allowed = theirs.into_iter().filter_map(|notice| self.still_told(account, notice)).collect();
            self.tell_author(account, &to, allowed);
        }
        self.pump_msrp();
    }

    /// The notification, if it may still be told: what was promised in another run may not be wanted any more.
    fn still_told(&mut self, account: AccountId, notice: Notice) -> Option<Notice> {
        let address = notice.author.as_ref().filter(|_| notice.in_room).unwrap_or(&notice.to).clone();
        let peer = Peer { address, display_name: None, verified: notice.verified };
        let policy = self.imdn_policy(account, &peer.address)?.within(notice.in_room);
        let allowed = match (notice.kind, notice.status) {
            (_, Status::Forbidden) => policy.tell_forbidden,
            (Kind::Display, _) => policy.tell_displayed,
            (Kind::Delivery | Kind::Processing, _) => policy.tell_delivered,
        };
        let is_known = notice.verified || policy.tell_unverified;
        if allowed && is_known && !self.blocked.has(&peer) {
            return Some(notice);
        }
        let decision = "a notification is not told: the sender is blocked, or `tell_` keys changed";
        self.explain(account, None, "X-44", decision, &notice.to);
        self.settle_notice(notice);
        None
    }

    fn tell_author(&mut self, account: AccountId, to: &str, notices: Vec<Notice>) {
        let Some(in_room) = notices.first().map(|notice| notice.in_room) else { return };
        let takes = |session: &&Session| {
            let is_it = session.is_room() == in_room && (!in_room || session.passes_on());
            let chat = session.phase.chat().filter(|_| is_it && !session.has_lost_media());
            session.account == account
                && chat.is_some_and(|chat| {
                    chat.stream.accepted.accepts_inside(cpim::MEDIA_TYPE, imdn::MEDIA_TYPE)
                })
                && !self.is_refused(session, Wrapping::Cpim, imdn::MEDIA_TYPE)
        };
        let ids = self.sessions.by_peer(to).iter().rev();
        let session = ids.filter_map(|id| self.sessions.get(*id)).find(takes).map(|session| session.id);
        match session {
            Some(id) => self.tell_in(id, notices),
            None => self.tell_outside(account, notices),
        }
    }

    /// No session takes notifications: they go by MESSAGE. Who spoke in a room is known as the room has named him, so
    /// he hears nothing but by the room.
    fn tell_outside(&mut self, account: AccountId, notices: Vec<Notice>) {
        let (of_rooms, others): (Vec<_>, Vec<_>) = notices.into_iter().partition(|notice| notice.in_room);
        for notice in of_rooms {
            let decision =
                "a notification is given up: it goes by the room alone, which does not take it now";
            self.explain(account, None, "M-52", decision, &notice.to);
            self.settle_notice(notice);
        }
        self.page_notices(account, others);
    }

    /// Sends notifications in a session.
    fn tell_in(&mut self, id: SessionId, mut notices: Vec<Notice>) {
        while !notices.is_empty() {
            let Some(session) = self.sessions.get(id) else { return };
            let account = session.account;
            let Some(chat) = session.phase.chat() else { return self.tell_outside(account, notices) };
            let msrp = chat.msrp;
            let several = chat.stream.accepted.accepts_inside(cpim::MEDIA_TYPE, SEVERAL);
            let now = if several { together(&mut notices) } else { notices.drain(..1).collect() };
            let carrier = self.random.ident(20);
            // They are owed until the other side has them, so its 200 is waited for.
            let body = compose(&now, self.now.unix);
            let outgoing = Outgoing::new(carrier.clone(), cpim::MEDIA_TYPE, body);
            match self.msrp.send_control(self.now.instant, msrp, outgoing) {
                Ok(()) => drop(self.told.insert(carrier, (account, now))),
                Err(_) => self.tell_outside(account, now),
            }
        }
    }

    /// What became of a SEND that carried notifications, if it is one.
    pub(crate) fn notices_went(&mut self, message_id: &str, failure: Option<&SendFailure>) -> bool {
        let Some((account, notices)) = self.told.remove(message_id) else { return false };
        match failure {
            None => notices.into_iter().for_each(|notice| self.settle_notice(notice)),
            Some(SendFailure::Refused { status: status @ (400 | 403 | 413 | 415 | 501), .. }) => {
                let decision = "a notification was asked for, and the peer does not take it";
                self.explain(account, None, "M-50", decision, &status.to_string());
                notices.into_iter().for_each(|notice| self.settle_notice(notice));
            }
            Some(_) => self.tell_outside(account, notices),
        }
        true
    }

    /// Messages flow in a session: what is owed to its peer leaves there.
    pub(crate) fn notify_late(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id) else { return };
        let (account, to) = (session.account, session.peer.address.clone());
        let due = self.take_due(account, &to);
        self.tell_author(account, &to, due);
    }

    /// What an account asks for and tells, as it holds for this peer.
    pub(crate) fn imdn_policy(&self, account: AccountId, peer: &str) -> Option<Imdn> {
        let policy = self.account(account)?.imdn;
        Some(self.known_contact(peer).map_or(policy, |contact| policy.with(&contact.imdn)))
    }

    /// What holds for this peer and not for others.
    pub(crate) fn known_contact(&self, peer: &str) -> Option<&Contact> {
        if self.contacts.is_empty() {
            return None;
        }
        self.contacts.get(&policy::key(peer)?)
    }

    /// The notifications that are asked for of messages to this address, which may be that of a room.
    //= IM M-52
    pub(crate) fn asked_of(
        &self,
        account: AccountId,
        peer: &str,
        in_room: bool,
    ) -> Option<&'static [&'static str]> {
        // RFC 5438 12.1.1: who stays anonymous asks for none.
        if self.account(account)?.privacy {
            return None;
        }
        let policy = self.imdn_policy(account, peer)?.within(in_room);
        match (policy.ask_delivered, policy.ask_displayed) {
            (false, false) => None,
            (true, true) => Some(&["positive-delivery", "negative-delivery", "display"]),
            (true, false) => Some(&["positive-delivery", "negative-delivery"]),
            (false, true) => Some(&["display"]),
        }
    }

    /// The headers that ask for notifications of a message to this address.
    //= IM M-50
    pub(crate) fn asking_of(
        &self,
        account: AccountId,
        (peer, in_room): (&str, bool),
        message_id: &str,
    ) -> Option<Rows> {
        let mut rows = named(message_id);
        let wanted = self.asked_of(account, peer, in_room)?.join(", ");
        rows.message.push(("imdn.Disposition-Notification", wanted));
        Some(rows)
    }

    /// The same for a message of ours in a session.
    pub(crate) fn asking(&self, session: &Session, message_id: &str) -> Option<Rows> {
        self.asking_of(session.account, (&session.peer.address, session.is_room()), message_id)
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

/// Takes the first of these notifications, and those that may leave in one message with it (RFC 5438 8.3): they go the same
/// way to the same author.
pub(crate) fn together(notices: &mut Vec<Notice>) -> Vec<Notice> {
    let mut taken: Vec<Notice> = Vec::new();
    let mut rest = Vec::new();
    for notice in notices.drain(..) {
        let fits = taken.first().is_none_or(|first| {
            (&first.to, &first.author, &first.routes) == (&notice.to, &notice.author, &notice.routes)
                && first.recipient == notice.recipient
        });
        if fits && taken.len() < MOST_TOGETHER { taken.push(notice) } else { rest.push(notice) }
    }
    *notices = rest;
    taken
}

/// The message/cpim that notifications of one author are.
//= IM M-50
//= IM M-51
pub(crate) fn compose(notices: &[Notice], unix: Duration) -> Vec<u8> {
    let Some(first) = notices.first() else { return Vec::new() };
    let documents = notices.iter().map(|notice| imdn::write(&document(notice)));
    let boundary = format!("imdn-{}", first.id);
    let (content_type, content) = match notices {
        [_] => (imdn::MEDIA_TYPE.to_owned(), documents.flatten().collect::<Vec<u8>>()),
        _ => {
            let mut parts = String::new();
            for document in documents {
                let document = String::from_utf8_lossy(&document).into_owned();
                // Writing to a String cannot fail.
                let _ = write!(parts, "--{boundary}\r\nContent-Type: {}\r\n\r\n{document}", imdn::MEDIA_TYPE);
            }
            let _ = write!(parts, "--{boundary}--\r\n");
            (format!("{SEVERAL};boundary=\"{boundary}\""), parts.into_bytes())
        }
    };
    let mailbox = |uri: &str| Mailbox { name: None, uri: uri.to_owned() };
    let author = first.author.as_deref().unwrap_or(&first.to);
    let mut rows = named(&first.id);
    // RFC 5438 7.2.1: the way of the message, in its order.
    rows.message.extend(first.routes.iter().map(|route| ("imdn.IMDN-Route", route.clone())));
    rows.body.push(("Content-Disposition", "notification".to_owned()));
    // RFC 5438 7.1.1 wants a date of those who ask only.
    rows.undated = true;
    let (from, to) = (mailbox(&first.recipient), mailbox(author));
    let mut body = cpim::head_with(&from, &to, unix, &content_type, &rows);
    body.extend_from_slice(&content);
    body
}

fn document(notice: &Notice) -> Notification {
    Notification {
        message_id: notice.message_id.clone(),
        date_time: notice.date_time.clone(),
        recipient: Some(notice.recipient.clone()),
        original_recipient: notice.original_to.clone(),
        kind: notice.kind,
        status: notice.status,
    }
}

/// The headers that give a message its name.
fn named(message_id: &str) -> Rows {
    let namespace = ("NS", format!("imdn <{}>", imdn::HEADERS));
    Rows { message: vec![namespace, ("imdn.Message-ID", message_id.to_owned())], ..Rows::default() }
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
