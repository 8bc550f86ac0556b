//! Messages in a session: what MSRP brings and takes, wrapped in message/cpim where the peer wants it.

use parlour_msrp::{Body, Outgoing, Source, Verdict};

use crate::config::Ack;
use crate::event::{Ended, Incoming, Progress, What};
use crate::im::Core;
use crate::im::large::ends_large;
use crate::im::recover::Lost;
use crate::im::room::not_named;
use crate::im::session::{Phase, Session};
use crate::im::unwrap::{Around, takes_wrapped, unwrap};
use crate::io::{FlowId, Output, Receipt, SessionId, SpoolId};
use crate::mime::composing;
use crate::mime::cpim;
use crate::mime::imdn;
use crate::sdp::Wrapping;
use crate::verb::{Misuse, Say, StoreFault, Stored};

/// Messages that may wait for a session to stand.
const QUEUE: usize = 256;

/// RFC 4975 10.5: 413 tells the sender that we have no use for what is left of a message.
const TOO_LARGE: &str = "RFC 4975 10.5";
const DISK: &str = "the disk is nearly full: what is left of it is for small messages";

impl Core {
    /// Carries out what MSRP asks for, and hears what it says.
    pub(crate) fn pump_msrp(&mut self) {
        loop {
            match self.msrp.poll() {
                parlour_msrp::Output::Connect { connection, session, to } => {
                    self.connect(connection, session, &to)
                }
                parlour_msrp::Output::Send { connection, bytes } => {
                    self.outputs.push_back(Output::Send { flow: FlowId::Stream(connection.0), bytes });
                }
                parlour_msrp::Output::Hold { connection } => {
                    self.outputs.push_back(Output::Hold { flow: FlowId::Stream(connection.0) });
                }
                parlour_msrp::Output::Resume { connection } => {
                    self.outputs.push_back(Output::Resume { flow: FlowId::Stream(connection.0) });
                }
                parlour_msrp::Output::Close { connection } => self.disconnect(connection),
                parlour_msrp::Output::Spool { spool, offset, bytes } => {
                    self.spool(spool, offset, bytes);
                }
                parlour_msrp::Output::Discard { spool } => self.outputs.push_back(Output::Discard { spool }),
                parlour_msrp::Output::Fetch { source, offset, length } => {
                    self.outputs.push_back(Output::Fetch { source, offset, length });
                }
                parlour_msrp::Output::Event(event) => self.msrp_event(event),
                parlour_msrp::Output::Idle(deadline) => {
                    self.msrp_deadline = deadline;
                    return;
                }
                parlour_msrp::Output::ConnectRelay { connection, relay, to } => {
                    self.connect_relay(connection, relay, to);
                }
                // Nothing else is asked for.
                _ => {}
            }
        }
    }

    fn msrp_event(&mut self, event: parlour_msrp::Event) {
        use parlour_msrp::Event as E;
        let Some(event) = self.file_event(event) else { return };
        let went = if let E::Acknowledged { message_id, .. } = &event {
            self.notices_went(message_id, None)
        } else if let E::Failed { message_id, why, .. } = &event {
            self.notices_went(message_id, Some(why))
        } else {
            false
        };
        if went {
            return;
        }
        let ends_large = ends_large(&event);
        let (msrp, what) = match event {
            E::Bound { session } => return self.connected(session),
            E::Untrusted { session, connection } => return self.tell_untrusted(session, connection),
            E::Message {
                session,
                receipt,
                message_id,
                content_type,
                content_disposition,
                body,
                success_report: _,
                ..
            } => {
                let came =
                    Came { receipt: Receipt(receipt.0), message_id, content_type, content_disposition, body };
                return self.message_came_on(session, came);
            }
            E::Receiving { session, message_id, .. } if self.is_disk_short() => {
                return self.stop_large(session, &message_id);
            }
            E::Receiving { session, message_id, received, total } => {
                self.large_goes_on(session);
                (session, What::Receiving { message_id, received, total })
            }
            E::Incomplete { session, message_id, received, why } => {
                let why = why.to_string();
                (session, What::Incomplete { message_id, received, why })
            }
            E::Progress { session, message_id, sent, total } => {
                (session, What::Sending { message_id, sent, total })
            }
            E::Sent { session, message_id } => {
                (session, What::Progress { message_id, progress: Progress::Sent })
            }
            E::Acknowledged { session, message_id } => {
                (session, What::Progress { message_id, progress: Progress::Acknowledged })
            }
            E::Named { session, nickname } => (session, What::Nickname { nickname }),
            E::NotNamed { session, nickname, why } => (session, not_named(nickname, &why)),
            E::TypeRefused { session, message, control } => {
                return self.type_refused(session, message, control);
            }
            E::Failed { session, message_id, .. } if self.went_again(session, &message_id) => return,
            E::Failed { session, message_id, why } => {
                let words = self.in_words(session, &why);
                let why = words.unwrap_or_else(|| crate::text::neutral(&why.to_string()));
                let progress = Progress::Failed { why };
                (session, What::Progress { message_id, progress })
            }
            E::Succeeded { session, by: _ } => return self.media_moved(session),
            E::SessionFailed { session, why, unsent } => {
                return self.media_failed(session, why, unsent);
            }
            E::Explain { session, connection: _, clause, text } => {
                let owner = session.and_then(|msrp| self.sessions.owner_of(msrp));
                let (account, id) =
                    owner.map_or((crate::io::AccountId(0), None), |(account, id)| (account, Some(id)));
                return self.explain(account, id, clause, text, "");
            }
            E::Leased { lease, path, lifetime: _ } => return self.relay_lends(lease, path),
            E::LeaseEnding { lease, session } => return self.lease_ends(lease, session),
            E::LeaseLost { lease, why } => return self.relay_refuses(lease, &why),
            // RFC 4976 6.4.1: where a relay answers, MSRP asks for the peer's REPORT and acknowledges by it alone.
            E::Reported { .. } | E::Reporting { .. } | _ => return,
        };
        if let Some((account, id)) = self.sessions.owner_of(msrp) {
            // What cannot be held any more is news that nobody misses.
            self.tell_of_media(account, id, what);
        }
        if ends_large {
            self.large_is_over(msrp);
        }
    }

    /// Messages can flow.
    fn connected(&mut self, msrp: parlour_msrp::SessionId) {
        self.tell_secured(msrp);
        if let Some((account, id)) = self.sessions.owner_of(msrp) {
            self.tell_of_media(account, id, What::Connected);
            self.notify_late(id);
            self.large_goes_on(msrp);
        }
        for came in self.proven(msrp) {
            self.message_came(msrp, came);
        }
    }

    /// A whole message is here: at once, or as soon as its connection is proven to be the peer's.
    fn message_came_on(&mut self, msrp: parlour_msrp::SessionId, came: Came) {
        if self.msrp.is_proven(msrp) {
            self.message_came(msrp, came);
        } else {
            self.hold_unproven(msrp, came);
        }
    }

    /// A whole message is here: it is shown, and acknowledged, once it is stored.
    fn message_came(&mut self, msrp: parlour_msrp::SessionId, came: Came) {
        let Came { receipt, message_id, content_type, content_disposition, body } = came;
        let spool = spool_of(&body);
        let Some(session) = self.sessions.by_msrp(msrp).and_then(|id| self.sessions.get(id)) else {
            return self.refuse_message(receipt, spool, 481);
        };
        let (account, id) = (session.account, session.id);
        let listed = session.phase.chat().map(|chat| chat.stream.listed.clone());
        if spool.is_some() && self.is_disk_short() {
            self.explain(account, Some(id), TOO_LARGE, "a large message was refused with 413", DISK);
            return self.refuse_message(receipt, spool, 413);
        }
        let mut incoming = Incoming {
            receipt,
            message_id,
            from: session.peer.clone(),
            claimed_from: None,
            authors: Vec::new(),
            sent_at: None,
            subject: None,
            notices: Vec::new(),
            expires: None,
            content_type,
            body,
            body_offset: 0,
            parts: Vec::new(),
            renderable: false,
            room: None,
        };
        let mut asked = None;
        let (mut author, mut to) = (None, Vec::new());
        let mut around = Around { disposition: content_disposition, coding: None };
        if cpim::is_cpim(&incoming.content_type) {
            let unwrapped = unwrap(&mut incoming).map_err(|fault| (fault.status(), fault.to_string()));
            let unwrapped = unwrapped.and_then(|wrapped| {
                // RFC 5438 8.3: several notifications come as a multipart body.
                let kind = if wrapped.notifies { imdn::MEDIA_TYPE } else { &incoming.content_type };
                // D-33: what stands inside has to be listed too.
                let fits = listed.is_none_or(|listed| takes_wrapped(&listed, kind));
                if fits { Ok(wrapped) } else { Err((415, format!("{kind} is not listed"))) }
            });
            match unwrapped {
                Ok(wrapped) if wrapped.notifies => return self.notification_came(id, incoming),
                Ok(wrapped) => {
                    (asked, around, author, to) = (wrapped.asked, wrapped.around, wrapped.from, wrapped.to);
                }
                Err((status, why)) => {
                    let decision = format!("a message was refused with {status}");
                    self.explain(account, Some(id), "M-30", decision, &why);
                    return self.refuse_message(receipt, spool, status);
                }
            }
        }
        let session = self.sessions.get(id);
        if let Some(room) = session.and_then(|session| self.in_room(session, author.as_ref(), &to)) {
            (incoming.claimed_from, incoming.room) = (None, Some(Box::new(room)));
        }
        if composing::is_composing(&incoming.content_type) {
            return self.state_came(id, incoming);
        }
        if self.is_echo(id, &incoming) {
            let decision = "a message is not shown: it is one of ours, which the conference has sent back";
            self.explain(account, Some(id), "M-60", decision, "");
            return self.msrp.settle(self.now.instant, parlour_msrp::Receipt(receipt.0), Verdict::Accepted);
        }
        if let Err(why) = self.large_came(id) {
            self.explain(account, Some(id), "F-15", "a message was refused with 403", why);
            return self.refuse_message(receipt, spool, 403);
        }
        self.take_apart(account, Some(id), &mut incoming, &around);
        let writer = self.sessions.get(id).filter(|session| session.writing.has_others());
        let writer = writer.map(|session| session.speaker(&incoming));
        if self.config.ack == Ack::Received {
            self.msrp.settle(self.now.instant, parlour_msrp::Receipt(receipt.0), Verdict::Received);
        }
        if let Some(writer) = writer {
            self.writer_said(id, writer);
        }
        if let Some(asked) = asked {
            let origin = self.sessions.get(id).map(|session| self.origin(session));
            origin.into_iter().for_each(|origin| self.ask(&origin, &asked, &mut incoming));
        }
        if !self.tell_of_media(account, id, What::Message(incoming)) {
            self.explain(
                account,
                Some(id),
                "X-11",
                "a message was refused: too much came before the user has accepted",
                "",
            );
            self.refuse_message(receipt, spool, 413);
        }
    }

    /// What is left of the disk is for messages that need no file: one that does is stopped while it comes.
    fn stop_large(&mut self, msrp: parlour_msrp::SessionId, message_id: &str) {
        let session = self.sessions.by_msrp(msrp).and_then(|id| self.sessions.get(id));
        if let Some((account, id)) = session.map(|session| (session.account, session.id)) {
            let decision = "a large message was stopped with 413 while it came";
            self.explain(account, Some(id), TOO_LARGE, decision, DISK);
        }
        self.msrp.stop(self.now.instant, msrp, message_id);
    }

    /// Nobody is told of a message that is refused here, so its octets go.
    pub(crate) fn refuse_message(&mut self, receipt: Receipt, spool: Option<SpoolId>, status: u16) {
        self.not_kept(receipt);
        self.outputs.extend(spool.map(|spool| Output::Discard { spool }));
        self.msrp.settle(self.now.instant, parlour_msrp::Receipt(receipt.0), Verdict::Refused(status));
    }

    /// An invitation ends: what was said before the user has accepted it, he will not hear.
    pub(crate) fn refuse_held(&mut self, session: &mut Session) {
        let Phase::Invited(invited) = &mut session.phase else { return };
        for what in std::mem::take(&mut invited.early.held) {
            if let What::Message(Incoming { receipt, body, .. }) = what {
                self.refuse_message(receipt, spool_of(&body), 481);
            }
        }
    }

    /// The store has spoken: only now the last 200 leaves (what we acknowledge, we have).
    pub(crate) fn stored(&mut self, receipt: Receipt, outcome: Result<Stored, StoreFault>) {
        let (verdict, failed) = match outcome {
            Ok(Stored::Fresh | Stored::Duplicate) => (Verdict::Accepted, None),
            Err(StoreFault::Full | StoreFault::Broken) => (Verdict::Refused(413), Some(self.now.instant)),
        };
        self.store_failed = failed;
        let asked = self.asked.remove(&receipt);
        match Core::first_of(receipt) {
            _ if Core::is_page(receipt) => self.page_stored(receipt, outcome),
            Some(id) => self.first_stored(id, outcome),
            None => self.msrp.settle(self.now.instant, parlour_msrp::Receipt(receipt.0), verdict),
        }
        //= IM M-52
        if let Some(pending) = asked {
            self.kept(pending, outcome);
        }
    }

    /// Sends a message, or keeps it for when the session stands.
    pub(crate) fn say(&mut self, id: SessionId, message: Say) -> Result<(), Misuse> {
        let session = self.sessions.get_mut(id).ok_or(Misuse::NoSession)?;
        session.writing.said();
        session.may_say()?;
        if let Some(new) = session.phase.successor() {
            // Whoever said it did not know yet that the chat goes on elsewhere.
            let (account, message_id) = (session.account, message.message_id.clone());
            self.tell(account, Some(id), What::Moved { message_id, to: new });
            self.say_on(new, message);
            return Ok(());
        }
        if self.files.are_all(session) {
            return Err(Misuse::Unsendable("the session is for files".into()));
        }
        let queue = match &mut session.phase {
            Phase::Inviting(inviting) if inviting.cancelled.is_none() => &mut session.queue,
            Phase::Answered(answered) if answered.leave.is_none() => &mut session.queue,
            Phase::Live(live)
                if live.talk.agreed.as_ref().is_some_and(|agreed| agreed.chat.is_none())
                    || live.talk.lost.as_ref().is_some_and(Lost::is_gone) =>
            {
                &mut session.queue
            }
            Phase::Live(_) => {
                let said = self.say_now(id, message);
                if said.is_err() {
                    self.large_not_said(id);
                }
                return said;
            }
            other @ (Phase::Inviting(_) | Phase::Answered(_) | Phase::Invited(_) | Phase::Leaving(_)) => {
                return Err(Misuse::WrongState { state: other.name(), verb: "say" });
            }
        };
        if queue.len() >= QUEUE {
            return Err(Misuse::Unsendable(format!("{QUEUE} messages wait for the session already")));
        }
        queue.push(message);
        Ok(())
    }

    /// Sends a message that was kept; whoever kept it is told if that fails.
    pub(crate) fn say_or_fail(&mut self, id: SessionId, message: Say) {
        let message_id = message.message_id.clone();
        if let Err(misuse) = self.say(id, message)
            && let Some(account) = self.sessions.get(id).map(|session| session.account)
        {
            let progress = Progress::Failed { why: misuse.to_string() };
            self.tell(account, Some(id), What::Progress { message_id, progress });
        }
    }

    /// What waited for the session leaves.
    pub(crate) fn say_queued(&mut self, id: SessionId, message: Say) {
        let message_id = message.message_id.clone();
        let Err(misuse) = self.say_now(id, message) else { return };
        self.large_not_said(id);
        if let Some(account) = self.sessions.get(id).map(|session| session.account) {
            let progress = Progress::Failed { why: misuse.to_string() };
            self.tell(account, Some(id), What::Progress { message_id, progress });
        }
    }

    /// Messages that waited for a session which ends so fail.
    pub(crate) fn fail_queue(&mut self, session: &mut Session, ended: &Ended) {
        // What a lost connection has handed back is there, too.
        let stood = matches!(session.phase, Phase::Live(_));
        for message in std::mem::take(&mut session.queue) {
            let why = if stood { ended.unconfirmed() } else { ended.unsent() };
            let progress = Progress::Failed { why };
            let what = What::Progress { message_id: message.message_id, progress };
            self.tell(session.account, Some(session.id), what);
        }
    }

    fn say_now(&mut self, id: SessionId, message: Say) -> Result<(), Misuse> {
        self.sessions.get_mut(id).ok_or(Misuse::NoSession)?.note_said(&message);
        let session = self.sessions.get(id).ok_or(Misuse::NoSession)?;
        let (msrp, outgoing) = self.outgoing(session, message)?;
        let sent = self.msrp.send(self.now.instant, msrp, outgoing);
        self.pump_msrp();
        sent.map_err(|fault| Misuse::Unsendable(fault.to_string()))
    }

    /// The same for a session that was taken out: what MSRP makes of it is heard when it is back.
    pub(crate) fn say_in(&mut self, session: &mut Session, message: Say) {
        let message_id = message.message_id.clone();
        session.note_said(&message);
        let sent = self.outgoing(session, message).and_then(|(msrp, outgoing)| {
            let sent = self.msrp.send(self.now.instant, msrp, outgoing);
            sent.map_err(|fault| Misuse::Unsendable(fault.to_string()))
        });
        if let Err(misuse) = sent {
            let progress = Progress::Failed { why: misuse.to_string() };
            self.tell(session.account, Some(session.id), What::Progress { message_id, progress });
        }
    }

    /// The message as the peer takes it (D-33, M-32).
    pub(crate) fn outgoing(
        &self,
        session: &Session,
        message: Say,
    ) -> Result<(parlour_msrp::SessionId, Outgoing), Misuse> {
        let Some(chat) = session.phase.chat() else {
            return Err(Misuse::WrongState { state: session.phase.name(), verb: "say" });
        };
        let Say { message_id, content_type, body, to } = message;
        let (from, to) = self.correspondents(session, to.as_deref())?;
        // A message that goes again is wrapped as it was.
        let is_plain = !cpim::is_cpim(&content_type) && !composing::is_composing(&content_type);
        let asking = if is_plain { self.asking(session, &message_id) } else { None };
        let takes_cpim = || chat.stream.accepted.accepts_inside(cpim::MEDIA_TYPE, &content_type);
        let refuses_cpim = self.is_refused(session, Wrapping::Cpim, &content_type);
        let asking = asking.filter(|_| takes_cpim() && !refuses_cpim);
        //= IM M-60
        // RFC 7701 6.3: a room takes nothing that is not wrapped, as it could not tell from whom it is.
        let in_room = session.is_room() && !cpim::is_cpim(&content_type) && takes_cpim();
        let (wrapping, content_type, body) = match &asking {
            Some(_) => (Some(Wrapping::Cpim), content_type, body),
            None if in_room => (Some(Wrapping::Cpim), content_type, body),
            None => self.form(session, &chat.stream, content_type, body),
        };
        //= IM M-32
        //= IM D-33
        let (content_type, body) = match (wrapping, body) {
            (Some(Wrapping::Bare), body) => (content_type, body),
            (Some(Wrapping::Cpim), body) => {
                let rows = asking.unwrap_or_default();
                let mut wrapped = cpim::head_with(&from, &to, self.now.unix, &content_type, &rows);
                let wrapped = match body {
                    Source::Inline(octets) => {
                        wrapped.extend_from_slice(&octets);
                        Source::Inline(wrapped)
                    }
                    Source::Fetched { source, size, head } => {
                        wrapped.extend_from_slice(&head);
                        Source::Fetched { source, size, head: wrapped }
                    }
                };
                (cpim::MEDIA_TYPE.to_owned(), wrapped)
            }
            (None, _) => {
                return Err(Misuse::Unsendable(format!("the peer does not take {content_type}")));
            }
        };
        Ok((chat.msrp, Outgoing::new(message_id, content_type, body)))
    }

    /// Messages that nobody has acknowledged and nobody sends again.
    fn give_up(&mut self, msrp: parlour_msrp::SessionId, unsent: Vec<Outgoing>) {
        let Some((account, id)) = self.sessions.owner_of(msrp) else { return };
        for message in unsent {
            let progress = Progress::Failed { why: "the connection broke before it was acknowledged".into() };
            self.tell(account, Some(id), What::Progress { message_id: message.message_id, progress });
        }
    }

    /// MSRP gave the session up.
    fn media_failed(
        &mut self,
        msrp: parlour_msrp::SessionId,
        why: parlour_msrp::SessionFailure,
        unsent: Vec<Outgoing>,
    ) {
        self.refuse_unproven(msrp);
        let Some(mut session) = self.sessions.by_msrp(msrp).and_then(|id| self.sessions.take(id)) else {
            return self.give_up(msrp, unsent);
        };
        if matches!(session.phase, Phase::Live(_)) {
            return self.lose_media(session, msrp, why, unsent);
        }
        self.give_up(msrp, unsent);
        let failure = why;
        let why = failure.to_string();
        match session.phase {
            Phase::Answered(mut answered) => {
                // RFC 3261 14.1 and 15: a re-INVITE, or a BYE, has to wait for the ACK.
                if answered.own.is_none() {
                    answered.talk.lost = Some(Lost::new(failure, 0));
                } else {
                    answered.leave = Some(Ended::MediaFailed { why });
                }
                session.phase = Phase::Answered(answered);
                self.sessions.put(session);
            }
            // A peer may connect, and break, before its final response: the INVITE must not be left alone.
            other @ Phase::Inviting(_) => {
                session.phase = other;
                self.take_back(session);
            }
            // A peer may connect, and break, as soon as our provisional response has told it where.
            other @ Phase::Invited(_) => {
                session.phase = other;
                let ended = Ended::MediaFailed { why: why.clone() };
                self.reject(session, 480, "Media failed", ended, "catalogue 6.6", &why);
            }
            other @ Phase::Live(_) => {
                session.phase = other;
                self.leave_broken(session, why);
            }
            other @ Phase::Leaving(_) => {
                session.phase = other;
                self.sessions.put(session);
            }
        }
    }
}

/// A message as MSRP hands it over.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) receipt: Receipt,
    pub(crate) message_id: String,
    pub(crate) content_type: String,
    pub(crate) content_disposition: Option<String>,
    pub(crate) body: Body,
}

pub(crate) fn spool_of(body: &Body) -> Option<SpoolId> {
    match body {
        Body::Spooled { spool, .. } => Some(*spool),
        Body::Inline(_) => None,
    }
}
