//! An invitation before its final response: reliable provisional responses and PRACK (RFC 3262), offers and answers
//! in the early dialog (RFC 3261 13.2.1, RFC 3311), and preconditions (RFC 3312).

use crate::event::{Ended, What};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::bodies;
use crate::im::media::{Agreed, OwnOffer};
use crate::im::reliable::{Action, Awaited, Due, Early, Event, Media, Reliability};
use crate::im::screen::{PSEUDONYM, abilities};
use crate::im::session::{Invited, Phase, Session};
use crate::im::stamp::Reply;
use crate::io::{AccountId, FlowId, SessionId, Why};
use crate::sdp;
use crate::sip::header::RAck;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::{PATIENCE, ServerId, T1};

impl Core {
    /// Whether an invitation can be let in under its preconditions.
    pub(crate) fn check_preconditions(
        &mut self,
        flow: FlowId,
        offer: Option<&(sdp::Session, sdp::Judged)>,
        early: &Early,
    ) -> Result<(), PeerFault> {
        let Some((offer, judged)) = offer else { return Ok(()) };
        let preconditions = judged.preconditions(offer);
        if !preconditions.can_be_met() {
            return Err(self.precondition_failure(flow, offer, judged));
        }
        // RFC 3312 11: without reliable responses nobody can be told what we wait for.
        if !preconditions.are_met() && early.reliability == Reliability::Never {
            return Err(PeerFault::NeedsReliable);
        }
        Ok(())
    }

    /// An invitation was let in: the user is alerted, unless preconditions have to be met first.
    //= IM S-10
    pub(crate) fn begin(&mut self, mut session: Session) {
        let suspended = matches!(&session.phase, Phase::Invited(invited) if invited.is_suspended());
        if !suspended {
            return self.alert(session);
        }
        let decision =
            "the user is not alerted before the other side says that its part of the way is reserved";
        self.explain(session.account, Some(session.id), "R-60", decision, "");
        self.provisional(&mut session);
        self.await_user(&mut session);
        self.sessions.put(session);
    }

    /// Sends 180, or 183 while the user is not alerted: reliably if it has to be.
    //= IM R-61
    pub(crate) fn provisional(&mut self, session: &mut Session) {
        let Phase::Invited(invited) = &mut session.phase else { return };
        let (status, reason) =
            if invited.early.alerted { (180, "Ringing") } else { (183, "Session Progress") };
        let (invite, tag) = (invited.invite, invited.dialog.local_tag().to_owned());
        if !invited.wants_reliable() {
            let reply = Reply { status, reason, tag: Some(&tag), ..Reply::default() };
            self.answer_invite(session, invite, &reply);
            return;
        }
        // RFC 3262 3: the one before must have its PRACK.
        if invited.early.awaited.is_some() {
            return;
        }
        // A response that was needed once makes all that follow come in order.
        invited.early.reliability = Reliability::Always;
        let rseq = invited.early.next_rseq(&mut self.random);
        let cseq = self.invite_number(invite);
        let description = self.describe_early(session);
        // RFC 3262 3: Require and RSeq make it reliable.
        let rows = [(Name::Require, "100rel".to_owned()), (Name::RSeq, rseq.to_string())];
        let body = description.as_deref().map(|octets| ("application/sdp", octets));
        let reply = Reply { status, reason, rows: &rows, tag: Some(&tag), body };
        let response = self.answer_invite(session, invite, &reply).into_boxed_slice();
        let Phase::Invited(invited) = &mut session.phase else { return };
        invited.early.awaited = Some(Awaited { rseq, cseq, status, response, interval: T1 });
        invited.early.step(if description.is_some() { Event::SentDescribed } else { Event::SentBare });
        self.arm(session, Why::ResendProvisional, self.now.instant + T1);
        self.arm(session, Why::NoPrack, self.now.instant + PATIENCE);
    }

    /// What the next reliable response has to say of the media.
    //= IM R-62
    fn describe_early(&mut self, session: &mut Session) -> Option<Vec<u8>> {
        let owner = (session.account, session.id);
        let ours = self.capabilities_in(session);
        let Phase::Invited(invited) = &mut session.phase else { return None };
        if !matches!(invited.early.media, Media::Fresh) {
            return None;
        }
        match &invited.offer {
            Some((offer, judged)) if judged.preconditions(offer).are_demanded() => {
                let stream = judged.chat.clone()?;
                let local = self.local_media(session.account, session.flow, Some(stream.tls))?;
                let local = local.clone().settled(local.path(stream.role).into_owned());
                let description = sdp::answer(offer, judged, &local, &ours);
                let origin = offer.origin.clone();
                // RFC 3262 5: the peer may connect as soon as it has the answer.
                let msrp = self.expect_media(owner, &local.path(stream.role), &stream);
                let agreed = Agreed::new(Some((msrp, stream)), origin, &description, local);
                invited.early.media = Media::Settled(Box::new(agreed));
                Some(description)
            }
            // an answer that nobody needs before the 200 waits for it.
            Some(_) => None,
            // RFC 3262 5: without an offer in the INVITE, the first reliable response makes it.
            //= IM S-1a
            None => {
                let preconditions = match invited.early.demands_preconditions {
                    true => sdp::Preconditions::offered(),
                    false => sdp::Preconditions::default(),
                };
                let own = self.make_offer_under(owner, session.flow, &preconditions)?;
                let octets = own.offered.octets.clone();
                invited.early.media = Media::Offered(Box::new(own));
                Some(octets)
            }
        }
    }

    /// A PRACK (RFC 3262 3).
    //= IM R-61
    pub(crate) fn prack_came(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        session: &mut Session,
    ) -> Result<(), PeerFault> {
        let rack: RAck = request.one()?;
        let said = bodies::description(request)?;
        let body = match &mut session.phase {
            Phase::Invited(invited) => {
                invited.early.take_awaited(&rack).ok_or(PeerFault::NoProvisional)?;
                invited.early.step_later(Event::Pracked);
                self.disarm(session, Why::ResendProvisional);
                self.disarm(session, Why::NoPrack);
                self.pracked(session, said)?
            }
            // The 200 has overtaken the PRACK.
            Phase::Answered(answered) => {
                answered.talk.late_prack(&rack)?;
                None
            }
            Phase::Live(live) => {
                live.talk.late_prack(&rack)?;
                None
            }
            Phase::Inviting(_) | Phase::Leaving(_) => return Err(PeerFault::NoProvisional),
        };
        let body = body.as_deref().map(|octets| ("application/sdp", octets));
        let reply = Reply { status: 200, reason: "OK", body, ..Reply::default() };
        let octets = self.response(request, flow, Some(session.account), &reply);
        self.tx.respond(self.now.instant, server, 200, octets);
        Ok(())
    }

    /// What a PRACK says of the media: the answer to our offer, or a new offer, whose answer is returned.
    fn pracked(&mut self, session: &mut Session, said: &[u8]) -> Result<Option<Box<[u8]>>, PeerFault> {
        let Phase::Invited(invited) = &mut session.phase else { return Ok(None) };
        match std::mem::take(&mut invited.early.media) {
            Media::Offered(own) => {
                if let Err(why) = self.answered_early(session, &own, said) {
                    self.drop_offer(&own);
                    self.refuse_answer(session, why);
                }
                Ok(None)
            }
            media @ Media::Fresh => {
                invited.early.media = media;
                // The offer of the INVITE has no answer yet.
                if said.is_empty() { Ok(None) } else { Err(PeerFault::OfferUnanswered) }
            }
            media @ Media::Settled(_) => {
                invited.early.media = media;
                if said.is_empty() {
                    return Ok(None);
                }
                self.offered_early(session, said).map(Some)
            }
        }
    }
    /// The answer to our offer came in a PRACK.
    fn answered_early(&mut self, session: &mut Session, own: &OwnOffer, body: &[u8]) -> Result<(), String> {
        let (stream, origin) = self.read_answer(session.account, session.flow, own, body)?;
        //= IM X-22
        if !own.local.is_relayed() && !self.may_aim(session.source, &stream) {
            return Err("the answer makes us connect to where its sender is not".to_owned());
        }
        let answer = sdp::parse(body).map_err(|fault| fault.to_string())?;
        let Phase::Invited(invited) = &mut session.phase else { return Ok(()) };
        let local = own.local.clone();
        let chat = own.msrp.map(|msrp| (msrp, stream.clone()));
        let agreed = Agreed::new(chat, origin, &own.offered.octets, local);
        invited.early.media = Media::Settled(Box::new(agreed));
        let judged = sdp::Judged { lines: vec![None], chat: Some(stream), files: Vec::new() };
        invited.offer = Some((answer, judged));
        invited.met();
        Ok(())
    }

    /// The answer to our offer is not what we can take: as the INVITE has no final response, that says so.
    fn refuse_answer(&mut self, session: &mut Session, why: String) {
        self.explain(session.account, Some(session.id), "S-1a", "refused: the answer cannot be taken", &why);
        let Phase::Invited(invited) = &mut session.phase else { return };
        let refusal = sdp::Refusal { warning: 399, text: why.clone(), clause: "S-1a" };
        invited.early.due = Some(Due::Refuse(PeerFault::NotAcceptable(refusal), Ended::MediaFailed { why }));
    }

    /// A further offer in the early dialog, in a PRACK or an UPDATE: preconditions that are met now, or another path.
    /// Its answer is returned.
    pub(crate) fn offered_early(
        &mut self,
        session: &mut Session,
        body: &[u8],
    ) -> Result<Box<[u8]>, PeerFault> {
        let (owner, flow) = ((session.account, session.id), session.flow);
        let Phase::Invited(invited) = &mut session.phase else { return Err(PeerFault::OfferUnanswered) };
        // RFC 3311 5.2: the offer of the INVITE has no answer yet.
        let Media::Settled(agreed) = &mut invited.early.media else {
            return Err(PeerFault::OfferUnanswered);
        };
        let offer = sdp::parse(body).map_err(|fault| PeerFault::Sdp(fault.to_string()))?;
        // RFC 4975 8.4: who changes nothing says the same o= line.
        if offer.origin == agreed.origin {
            return Ok(agreed.description.clone());
        }
        let ours = self.capabilities(owner.0, flow);
        let before = sdp::parse(&agreed.description).map_or(0, |own| own.media.len());
        let standing = sdp::Standing { chat: agreed.chat.as_ref().map(|chat| &chat.stream), files: &[] };
        let judged = sdp::judge_again(&offer, before, standing, &ours).map_err(PeerFault::NotAcceptable)?;
        let parts = judged.and_then(|mut judged| {
            // Files are asked for in the INVITE, or once the session stands.
            judged.refuse_files("it is offered before the session stands");
            judged.chat.clone().map(|stream| (judged, stream))
        });
        let (Some((judged, stream)), Some(chat)) = (parts, &mut agreed.chat) else {
            // What the user is asked about cannot be taken away before he has answered.
            let text = "the offer leaves no message stream".to_owned();
            return Err(PeerFault::NotAcceptable(sdp::Refusal { warning: 304, text, clause: "S-1" }));
        };
        //= IM D-22
        if chat.stream.tls && !stream.tls {
            return Err(PeerFault::NotAcceptable(sdp::Refusal::downgrade()));
        }
        if let Some(why) = self.aims_badly(owner.0, flow, &stream) {
            let text = format!("we would not connect to the path: {why}");
            return Err(PeerFault::NotAcceptable(sdp::Refusal { warning: 399, text, clause: "X-22" }));
        }
        if !judged.preconditions(&offer).can_be_met() {
            return Err(self.precondition_failure(flow, &offer, &judged));
        }
        let mut local = agreed.local.clone().revised();
        if !sdp::same_path(&chat.stream.path, &stream.path) {
            local = self.other_end(owner.0, flow, &local, &stream).ok_or(PeerFault::NoResources)?;
            self.msrp.close(self.now.instant, chat.msrp);
            self.sessions.forget_msrp(chat.msrp);
            chat.msrp = self.expect_media(owner, &local.path(stream.role), &stream);
        }
        let description = sdp::answer(&offer, &judged, &local, &ours);
        chat.stream = stream;
        agreed.said(offer.origin.clone(), &description, local);
        invited.offer = Some((offer, judged));
        invited.met();
        Ok(description.into())
    }

    /// Does what a request of the early dialog has made possible, or impossible.
    pub(crate) fn carry_on(&mut self, id: SessionId) {
        let due = self.sessions.get_mut(id).and_then(|session| match &mut session.phase {
            Phase::Invited(invited) => invited.early.due.take(),
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => None,
        });
        let Some((due, session)) = due.and_then(|due| Some((due, self.sessions.take(id)?))) else { return };
        match due {
            Due::Alert => self.alert(session),
            // Whether that was possible is told by events: the user's word was taken before.
            Due::Answer => drop(self.answer(session)),
            Due::Refuse(fault, ended) => self.refuse_invitation(session, &fault, ended),
        }
    }

    /// A reliable response goes out again (RFC 3262 3): after T1, 2*T1 and so on, without a bound.
    pub(crate) fn resend_provisional(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::ResendProvisional);
        if let Phase::Invited(invited) = &mut session.phase
            && invited.early.step(Event::Again) == Some(Action::SendAgain)
            && let Some(awaited) = &mut invited.early.awaited
        {
            awaited.interval = awaited.interval.saturating_mul(2);
            let interval = awaited.interval;
            let (now, invite) = (self.now.instant, invited.invite);
            self.tx.respond(now, invite, awaited.status, awaited.response.to_vec());
            self.arm(&mut session, Why::ResendProvisional, now + interval);
        }
        self.sessions.put(session);
    }

    /// 64*T1 without a PRACK.
    pub(crate) fn never_pracked(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::NoPrack);
        let action = match &mut session.phase {
            Phase::Invited(invited) => invited.early.step(Event::NoPrack),
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => None,
        };
        if action != Some(Action::GiveUp) {
            return self.sessions.put(session);
        }
        // RFC 3262 3: a 5xx.
        let why = "the caller did not acknowledge our provisional response".to_owned();
        let reason = "Server Time-out: no PRACK came";
        self.reject(session, 504, reason, Ended::Lost { why }, "RFC 3262 3", "64*T1 = 32 s have passed");
    }

    /// The preconditions were not met in time.
    pub(crate) fn never_met(&mut self, session: Session) {
        let why = "the way to the caller was not reserved in time".to_owned();
        let fault = match &session.phase {
            Phase::Invited(invited) => invited.offer.clone(),
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => None,
        }
        .map(|(offer, judged)| self.precondition_failure(session.flow, &offer, &judged));
        match fault {
            Some(fault) => self.refuse_invitation(session, &fault, Ended::MediaFailed { why }),
            None => {
                let (reason, ended) = ("Precondition Failure", Ended::MediaFailed { why });
                self.reject(session, 580, reason, ended, "R-60", "no answer told of preconditions");
            }
        }
    }

    /// Catalogue 1.3 row 21.
    fn precondition_failure(
        &mut self,
        flow: FlowId,
        description: &sdp::Session,
        judged: &sdp::Judged,
    ) -> PeerFault {
        let local = self.direct_media(flow, judged.chat.as_ref().is_some_and(|chat| chat.tls));
        let body = local.map(|local| sdp::precondition_failure(description, judged, &local));
        PeerFault::Preconditions(body.unwrap_or_default())
    }

    /// The final response to an INVITE that is refused after its early dialog has begun.
    fn refuse_invitation(&mut self, session: Session, fault: &PeerFault, ended: Ended) {
        let Phase::Invited(invited) = &session.phase else { return self.end(session, ended) };
        let Some(kept) = self.tx.kept(invited.invite).cloned() else { return self.end(session, ended) };
        let refused =
            fault.refused(&kept.message(), &abilities(Some(Method::Invite)), PSEUDONYM, self.retry_after());
        let tag = invited.dialog.local_tag().to_owned();
        let body = fault.description().map(|octets| ("application/sdp", octets));
        let reply = Reply {
            status: refused.status,
            reason: &refused.reason,
            rows: &refused.rows,
            tag: Some(&tag),
            body,
        };
        self.answer_invite(&session, invited.invite, &reply);
        let decision = format!("answered {} {}", refused.status, refused.reason);
        let input = fault.input(&kept.message());
        self.explain(session.account, Some(session.id), refused.clause, decision, &input);
        self.end(session, ended);
    }

    /// Tells what MSRP said of a session: at once, or when the user has accepted it. `false` if there is no room.
    pub(crate) fn tell_of_media(&mut self, account: AccountId, id: SessionId, what: What) -> bool {
        match self.sessions.get_mut(id).map(|session| &mut session.phase) {
            Some(Phase::Invited(invited)) => invited.early.hold(what),
            Some(Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_)) | None => {
                let connected = what == What::Connected;
                self.tell(account, Some(id), what);
                if connected {
                    self.supersede(id);
                }
                true
            }
        }
    }
}

impl Invited {
    /// Whether mandatory preconditions are not met: the user is not alerted (RFC 3312 6).
    //= IM R-60
    pub(crate) fn is_suspended(&self) -> bool {
        match &self.offer {
            Some((offer, judged)) => !judged.preconditions(offer).are_met(),
            // The caller demands preconditions and lets us make the offer: its answer tells which.
            None => self.early.demands_preconditions && self.early.reliability != Reliability::Never,
        }
    }

    /// Whether the next provisional response is to be a reliable one (RFC 3262 3, R-61).
    fn wants_reliable(&self) -> bool {
        match self.early.reliability {
            Reliability::Never => false,
            Reliability::Always => true,
            Reliability::Possible => match &self.offer {
                // RFC 3312 11: preconditions need it.
                Some((offer, judged)) => judged.preconditions(offer).are_demanded(),
                None => self.early.demands_preconditions,
            },
        }
    }

    /// A description of the peer is here: the user is alerted if that was all that was missing.
    fn met(&mut self) {
        if !self.early.alerted && !self.is_suspended() && self.early.due.is_none() {
            self.early.step_later(Event::Met);
        }
    }
}
