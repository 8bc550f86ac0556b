//! A session whose MSRP connection is lost goes on in a new MSRP session (RFC 4975 5.4): our re-INVITE offers it, or the
//! peer's does. What nobody had acknowledged goes again, under the same Message-IDs.

use std::time::Duration;

use parlour_msrp::{Outgoing, SessionFailure};

use crate::event::{Ended, What};
use crate::im::Core;
use crate::im::media::{Agreed, OwnOffer};
use crate::im::refresh::{Renewal, takes_invite};
use crate::im::renegotiate::say_again;
use crate::im::session::{Phase, Session};
use crate::io::{Instant, SessionId, Why};
use crate::sdp;

/// How far a BYE may lag behind the end of the media connection.
const BYE_BEHIND: Duration = Duration::from_secs(2);

/// Re-INVITEs for one loss.
const TRIES: u8 = 3;

/// The pause before the second of them; the next one is twice as long.
const PAUSE: Duration = Duration::from_secs(2);

/// A connection that breaks sooner is the same loss again.
const SETTLED: Duration = Duration::from_secs(60);

/// A session whose media is, or was a moment ago, gone.
#[derive(Debug)]
pub(crate) struct Lost {
    /// What happened to the media.
    failure: SessionFailure,
    tries: u8,
    most: u8,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// There is no media. Either end may offer a new MSRP session.
    Gone,
    /// A new MSRP session was agreed on then; its connection may still be on the way.
    Agreed(Instant),
}

impl Lost {
    /// A loss after so many re-INVITEs for the same one.
    pub(crate) fn new(failure: SessionFailure, tries: u8) -> Self {
        // Catalogue 6.6: for a peer that never came, or does not know the session, a second offer is enough.
        let once = matches!(failure, SessionFailure::NotBound | SessionFailure::Refused(_));
        let most = if once { 1 } else { TRIES };
        Lost { failure, tries, most, stage: Stage::Gone }
    }

    /// Whether messages have nowhere to go.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }
}

impl Core {
    /// MSRP gave up the session of a talk that stands; `unsent` was not acknowledged.
    //= IM D-52
    pub(crate) fn lose_media(
        &mut self,
        mut session: Session,
        msrp: parlour_msrp::SessionId,
        failure: SessionFailure,
        unsent: Vec<Outgoing>,
    ) {
        let now = self.now.instant;
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        let current = live.talk.chat().filter(|chat| chat.msrp == msrp);
        if current.is_none() {
            // One that we have offered, and nobody has answered.
            self.sessions.forget_msrp(msrp);
            return self.sessions.put(session);
        }
        session.queue.splice(0..0, unsent.into_iter().map(say_again));
        let again = live.talk.lost.take().filter(|lost| !lost.is_settled(now));
        live.talk.lost = Some(Lost::new(failure, again.map_or(0, |lost| lost.tries)));
        self.mend(session);
    }

    /// The media of a session that stands is gone: who begins to mend it, and when.
    pub(crate) fn mend(&mut self, mut session: Session) {
        let now = self.now.instant;
        let offerer = session.phase.agreed_mut().is_some_and(|agreed| agreed.offerer);
        let Some(&Lost { failure, tries, .. }) = session.lost_mut().as_deref() else {
            return self.sessions.put(session);
        };
        // Whoever offers the new session, our relay's URIs are to be here.
        self.want_relay(session.account);
        let why = failure.to_string();
        let both_see_it = matches!(failure, SessionFailure::Disconnected | SessionFailure::Unresponsive);
        match failure {
            // RFC 4975 10.8 and 10.10: 481 and 506 end what goes over this connection; the dialog stands, so the catalogue
            // (6.6) has the session established again, once. Only we have seen it.
            SessionFailure::Refused(_) if tries == 0 => self.begin_recovery(session, true),
            // RFC 4975 14.4: who is not the peer gets no second chance.
            SessionFailure::Refused(_) | SessionFailure::Untrusted | SessionFailure::Taken => {
                self.leave_broken(session, why);
            }
            // Who leaves may close the connection first: its BYE is given time to come.
            SessionFailure::Disconnected if tries == 0 => {
                self.arm(&mut session, Why::Session, now + BYE_BEHIND);
                self.sessions.put(session);
            }
            SessionFailure::Disconnected
            | SessionFailure::ConnectFailed
            | SessionFailure::NotBound
            | SessionFailure::Unresponsive
                if tries > 0 =>
            {
                self.recovery_failed(session, &why);
            }
            SessionFailure::Disconnected
            | SessionFailure::ConnectFailed
            | SessionFailure::NotBound
            | SessionFailure::Unresponsive => self.begin_recovery(session, offerer || !both_see_it),
            _ => self.leave_broken(session, why),
        }
    }

    /// No BYE followed the end of the media connection.
    pub(crate) fn media_lost(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::Session);
        let offerer = match &session.phase {
            Phase::Live(live) => live.talk.agreed.as_ref().is_some_and(|agreed| agreed.offerer),
            Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) | Phase::Leaving(_) => {
                return self.sessions.put(session);
            }
        };
        self.begin_recovery(session, offerer);
    }

    /// D-52: the original offerer begins, so that the two offers do not cross.
    fn begin_recovery(&mut self, mut session: Session, at_once: bool) {
        let Some(why) = session.lost_mut().map(|lost| lost.failure.to_string()) else {
            return self.sessions.put(session);
        };
        let (account, id) = (session.account, Some(session.id));
        let (pause, decision) = if at_once {
            (Duration::ZERO, "a new MSRP session is offered")
        } else {
            (
                self.lag(),
                "the other side made the first offer, so it is left to it for 2 to 4 s to make another",
            )
        };
        self.explain(account, id, "D-52", decision, &why);
        self.tell(account, id, What::Reconnecting { why });
        self.arm(&mut session, Why::Recover, self.now.instant + pause);
        self.sessions.put(session);
    }

    /// Our offer of a new MSRP session is due.
    pub(crate) fn recovery_due(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::Recover);
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        let is_asked = live.is_asked();
        let Some(lost) = live.talk.lost.as_mut().filter(|lost| lost.is_gone()) else {
            return self.sessions.put(session);
        };
        // RFC 3261 14.1: no INVITE while another one of the dialog is not finished.
        if live.renewal.is_some() || is_asked {
            self.retry_after_glare(&mut session, Why::Recover);
            return self.sessions.put(session);
        }
        if self.waits_for_relay(session.account, id, 1, None) {
            return self.sessions.put(session);
        }
        lost.tries = lost.tries.saturating_add(1);
        if let Some(why) = self.lacks_relay(session.account, None) {
            return self.recovery_failed(session, &why);
        }
        if !takes_invite(&live.talk.remote.allow) {
            return self
                .leave_broken(session, "the other side takes no INVITE that could mend the media".into());
        }
        self.renew(session, Renewal::mending());
    }

    /// The 2xx to our offer.
    pub(crate) fn recovered(&mut self, mut session: Session, own: OwnOffer, answer: &[u8]) {
        let read = self.read_recovery(&session, &own, answer);
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        let (Some(old), Some(lost)) = (live.talk.agreed.as_mut(), live.talk.lost.as_mut()) else {
            self.drop_offer(&own);
            return self.sessions.put(session);
        };
        match read {
            Ok((Some(stream), origin)) => {
                let sent = old.chat.as_ref().is_none_or(|chat| chat.stream.direction.sends());
                let agreed = self.agree(&own, stream, origin);
                let gone = std::mem::replace(old, Agreed { offerer: old.offerer, ..agreed });
                lost.stage = Stage::Agreed(self.now.instant);
                if let Some(chat) = gone.chat {
                    match own.msrp.filter(|_| self.msrp.is_open(chat.msrp)) {
                        // It was to end soon, and what it has goes on in the new one.
                        Some(new) => self.msrp.succeed(self.now.instant, chat.msrp, new),
                        None => self.sessions.forget_msrp(chat.msrp),
                    }
                }
                self.tell_of_hold(&mut session, sent);
                self.watch_fall_back(&mut session);
                if own.msrp.is_none_or(|msrp| !self.msrp.is_open(msrp)) {
                    return self.recovery_failed(session, "the new connection broke before its answer came");
                }
                while let Some(message) = session.next_queued() {
                    self.say_in(&mut session, message);
                }
                self.sessions.put(session);
                self.pump_msrp();
            }
            Ok((None, _)) => {
                self.drop_offer(&own);
                self.disable(&mut session);
                self.sessions.put(session);
            }
            Err(why) => {
                self.drop_offer(&own);
                self.recovery_failed(session, &why);
            }
        }
    }

    /// The peer wants us to wait: that counts as a try all the same.
    pub(crate) fn recovery_put_off(&mut self, mut session: Session, pause: Duration, seen: &str) {
        let spent = session.lost_mut().is_none_or(|lost| lost.tries >= lost.most);
        if spent || pause > SETTLED {
            return self.recovery_failed(session, seen);
        }
        let decision = format!("the new MSRP session is offered again in {} ms", pause.as_millis());
        self.explain(session.account, Some(session.id), "D-53", decision, seen);
        self.arm(&mut session, Why::Recover, self.now.instant + pause);
        self.sessions.put(session);
    }

    /// One try came to nothing: the next one comes after a pause, or there is none.
    pub(crate) fn recovery_failed(&mut self, mut session: Session, seen: &str) {
        let Some(lost) = session.lost_mut() else { return self.sessions.put(session) };
        lost.stage = Stage::Gone;
        let (tries, most, why) = (lost.tries, lost.most, lost.failure.to_string());
        if tries >= most {
            return self.leave_broken(session, why);
        }
        let pause = PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(4));
        let decision =
            format!("the media was not mended, try {tries} of {most}: again in {} s", pause.as_secs());
        self.explain(session.account, Some(session.id), "D-52", decision, seen);
        self.arm(&mut session, Why::Recover, self.now.instant + pause);
        self.sessions.put(session);
    }

    pub(crate) fn leave_broken(&mut self, session: Session, why: String) {
        let (account, id) = (session.account, Some(session.id));
        self.explain(account, id, "catalogue 6.6", "left: the media connection failed", &why);
        self.bye(session, Ended::MediaFailed { why });
    }

    /// The peer's offer has brought a new MSRP session.
    pub(crate) fn recovered_by_peer(&mut self, session: &mut Session) {
        let now = self.now.instant;
        let Some(lost) = session.lost_mut() else { return };
        lost.stage = Stage::Agreed(now);
        self.disarm(session, Why::Session);
        self.disarm(session, Why::Recover);
    }

    /// Nobody wants the media of this session any more.
    pub(crate) fn forget_loss(&mut self, session: &mut Session) {
        if let Some(talk) = session.phase.talk_mut() {
            talk.lost = None;
        }
        self.disarm(session, Why::Session);
        self.disarm(session, Why::Recover);
    }

    /// A description with a new end of ours: RFC 3264 8 keeps the `o=` line but for its version, and the other lines.
    pub(crate) fn offer_anew(&mut self, session: &Session) -> Option<OwnOffer> {
        let agreed = session.phase.talk()?.agreed.as_ref()?;
        //= IM D-22
        let tls = agreed.chat.as_ref()?.stream.tls;
        let mut local = self.local_media(session.account, session.flow, Some(tls))?;
        let next = agreed.local.clone().revised();
        (local.session_id, local.version) = (next.session_id, next.version);
        // RFC 6714 4.2: what did not come about with CEMA is tried without.
        let fell_back = agreed.chat.as_ref().is_some_and(|chat| chat.stream.fall_back != sdp::FallBack::No);
        local.without_cema = next.without_cema || fell_back;
        let before = sdp::parse(&agreed.description).ok()?;
        let line = agreed.chat.as_ref()?.stream.line;
        let files = self.files.lines_on(session.id);
        let ours = self.capabilities_in(session);
        let offered = sdp::offer_again(&before, Some(line), &files, &local, &ours);
        self.expect((session.account, session.id), local, offered)
    }

    fn read_recovery(
        &self,
        session: &Session,
        own: &OwnOffer,
        answer: &[u8],
    ) -> Result<(Option<sdp::Stream>, sdp::Origin), String> {
        let answer = sdp::parse(answer).map_err(|fault| fault.to_string())?;
        let line = session.phase.chat().map_or(0, |chat| chat.stream.line);
        let lines = sdp::parse(&own.offered.octets).map_or(1, |own| own.media.len());
        let ours = self.capabilities_in(session);
        let stream = sdp::read_answer_again(&own.offered, line, lines, &answer, &ours)
            .map_err(|refusal| refusal.text)?;
        //= IM X-22
        if !own.local.is_relayed()
            && stream.as_ref().is_some_and(|stream| !self.may_aim_again(session, stream))
        {
            return Err("the answer makes us connect to where its sender is not".to_owned());
        }
        Ok((stream, answer.origin))
    }

    /// 2 to 4 s, in units of 10 ms.
    fn lag(&mut self) -> Duration {
        Duration::from_secs(2) + Duration::from_millis(10).saturating_mul(self.dice(201))
    }
}

impl Session {
    fn lost_mut(&mut self) -> Option<&mut Lost> {
        self.phase.talk_mut()?.lost.as_mut()
    }
}

impl Lost {
    fn is_settled(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Agreed(at) if now - at > SETTLED)
    }
}
