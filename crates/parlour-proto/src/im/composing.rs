//! Who is writing (RFC 3994): what we tell of ourselves, and how long what peers tell holds.

use std::time::Duration;

use parlour_msrp::{Body, FailureReport, Source, Verdict};

use crate::event::{Incoming, Peer, What};
use crate::im::Core;
use crate::im::session::{Phase, Session};
use crate::io::{Instant, Output, SessionId, Why};
use crate::mime::composing::{self, Composing};
use crate::verb::{Misuse, Say};

/// How long our active state holds, and how often it is told at most (RFC 3994 3.2: no less than 60 s).
const REFRESH: Duration = Duration::from_secs(60);

/// After how long without input we are idle (RFC 3994 3.2).
const IDLE: Duration = Duration::from_secs(15);

/// The longest time for which a peer's active state is believed without another word.
const LONGEST_REFRESH: Duration = Duration::from_secs(3600);

/// Participants of one session that may be writing at once; of others nothing is told.
const MOST_WRITERS: usize = 32;

/// Who is writing in a session.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// Whether the peer was told that we are.
    active: bool,
    /// When it was, unless what we wrote then has left.
    told: Option<Instant>,
    /// Who of the others is, and until when that holds.
    others: Vec<(Peer, Instant)>,
}

impl Writing {
    /// Something was said: that ends our state without a word (RFC 3994 3.2). The deadline may pass; it means nothing then.
    //= IM M-41
    pub(crate) fn said(&mut self) {
        (self.active, self.told) = (false, None);
    }

    /// Whether somebody else is writing.
    pub(crate) fn has_others(&self) -> bool {
        !self.others.is_empty()
    }
}

impl Core {
    /// The user is writing: called for each piece of input.
    //= IM M-40
    //= IM M-41
    pub(crate) fn composing(&mut self, id: SessionId) -> Result<(), Misuse> {
        let session = self.sessions.get(id).ok_or(Misuse::NoSession)?;
        let talk = match &session.phase {
            Phase::Live(live) => &live.talk,
            other @ (Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) | Phase::Leaving(_)) => {
                return Err(Misuse::WrongState { state: other.name(), verb: "composing" });
            }
        };
        //= IM X-44
        let wanted = self.known_contact(&session.peer.address).and_then(|contact| contact.send_composing);
        if !wanted.unwrap_or(self.config.send_composing) {
            return Err(Misuse::Unsendable("send_composing is off".into()));
        }
        let Some(chat) = talk.chat() else { return Ok(()) };
        // M-40: a peer that says `*` may still show it as a message.
        if !chat.stream.names(composing::MEDIA_TYPE) {
            let why = format!("the peer does not take {}", composing::MEDIA_TYPE);
            return Err(Misuse::Unsendable(why));
        }
        if session.has_lost_media() {
            return Ok(());
        }
        let Some(mut session) = self.sessions.take(id) else { return Ok(()) };
        let now = self.now.instant;
        // RFC 3994 3.2: at most one in an interval, but each content message begins another.
        if session.writing.told.is_none_or(|told| now - told >= REFRESH) {
            let state = Composing { active: true, refresh: Some(REFRESH), ..Composing::default() };
            if self.tell_state(&session, state) {
                (session.writing.active, session.writing.told) = (true, Some(now));
            }
        }
        if session.writing.active {
            self.arm(&mut session, Why::Composing, now + IDLE);
        }
        self.sessions.put(session);
        self.pump_msrp();
        Ok(())
    }

    /// Nothing was written for a while.
    pub(crate) fn composing_due(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        self.disarm(&mut session, Why::Composing);
        if std::mem::take(&mut session.writing.active) && !session.has_lost_media() {
            self.tell_state(&session, Composing::default());
        }
        self.sessions.put(session);
        self.pump_msrp();
    }

    /// Hands a state of ours to MSRP.
    fn tell_state(&mut self, session: &Session, state: Composing) -> bool {
        let state = Composing { content_type: Some("text/plain".into()), ..state };
        let message = Say {
            message_id: self.random.ident(20),
            content_type: composing::MEDIA_TYPE.into(),
            body: Source::Inline(composing::write(&state)),
            to: None,
        };
        let Ok((msrp, outgoing)) = self.outgoing(session, message) else { return false };
        // M-41: nobody waits for an answer.
        let outgoing = outgoing.with(|message| {
            message.success_report = false;
            message.failure_report = FailureReport::No;
        });
        self.msrp.send_control(self.now.instant, msrp, outgoing).is_ok()
    }

    /// A peer tells its state: it is passed on, and never kept.
    //= IM M-42
    pub(crate) fn state_came(&mut self, id: SessionId, incoming: Incoming) {
        let read = match &incoming.body {
            Body::Inline(octets) => composing::parse(octets),
            Body::Spooled { size, spool, .. } => {
                self.outputs.push_back(Output::Discard { spool: *spool });
                Err(composing::Fault::Length(usize::try_from(*size).unwrap_or(usize::MAX)))
            }
        };
        let verdict = match (&read, self.sessions.get(id)) {
            (Err(fault), Some(session)) => {
                let status = if matches!(fault, composing::Fault::Length(_)) { 413 } else { 400 };
                let decision = format!("a typing state was refused with {status}");
                self.explain(session.account, Some(id), "M-42", decision, &fault.to_string());
                Verdict::Refused(status)
            }
            (..) => Verdict::Accepted,
        };
        self.msrp.settle(self.now.instant, parlour_msrp::Receipt(incoming.receipt.0), verdict);
        let Ok(state) = read else { return };
        // What another device of ours does is no news.
        if incoming.room.as_ref().is_some_and(|room| room.own) {
            return;
        }
        let Some(session) = self.sessions.get(id).filter(|_| self.config.show_composing) else { return };
        // Of who only rings, the user hears what he has to say once he has accepted.
        if session.phase.talk().is_none() {
            return;
        }
        let by = session.speaker(&incoming);
        let until = if state.active {
            Some(self.now.instant + state.refresh.unwrap_or(composing::REFRESH).min(LONGEST_REFRESH))
        } else {
            None
        };
        self.note_writer(id, by, until, state.content_type);
    }

    /// A content message of this one is here: that ends the state.
    pub(crate) fn writer_said(&mut self, id: SessionId, by: Peer) {
        self.note_writer(id, by, None, None);
    }

    /// Somebody is writing for as long as is said, or not any more; told if it changes something.
    fn note_writer(&mut self, id: SessionId, by: Peer, until: Option<Instant>, content_type: Option<String>) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let others = &mut session.writing.others;
        let room = others.len() < MOST_WRITERS;
        let known = others.iter_mut().find(|(peer, _)| peer.address == by.address);
        match (known, until) {
            (Some((_, holds)), Some(until)) => *holds = until,
            (None, Some(until)) if room => {
                others.push((by.clone(), until));
                self.tell(session.account, Some(id), What::Composing { by, active: true, content_type });
            }
            (Some(_), None) => {
                others.retain(|(peer, _)| peer.address != by.address);
                self.tell(session.account, Some(id), What::Composing { by, active: false, content_type });
            }
            (None, Some(_) | None) => {}
        }
        self.await_writers(&mut session);
        self.sessions.put(session);
    }

    /// What somebody told of himself holds no longer.
    pub(crate) fn writers_due(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let now = self.now.instant;
        let (account, others) = (session.account, std::mem::take(&mut session.writing.others));
        for (by, until) in others {
            if until > now {
                session.writing.others.push((by, until));
            } else {
                self.tell(account, Some(id), What::Composing { by, active: false, content_type: None });
            }
        }
        self.await_writers(&mut session);
        self.sessions.put(session);
    }

    /// Arms the deadline of whoever falls silent first.
    fn await_writers(&mut self, session: &mut Session) {
        match session.writing.others.iter().map(|(_, until)| *until).min() {
            Some(until) => self.arm(session, Why::Writers, until),
            None => self.disarm(session, Why::Writers),
        }
    }
}

impl Session {
    /// Who has sent this: in a conference the one whom it names (M-33).
    pub(crate) fn speaker(&self, incoming: &Incoming) -> Peer {
        let author = incoming.room.as_ref().and_then(|room| room.author.clone());
        author.unwrap_or_else(|| self.peer.clone())
    }
}
