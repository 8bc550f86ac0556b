//! Clause 6.2.1.2: the IM Client is invited to an IM Session.

use std::time::Duration;

use crate::config::{Accept, DeclineScope};
use crate::event::{Ended, FileStop, Kind, What};
use crate::fault::{PeerFault, later};
use crate::im::Core;
use crate::im::bodies;
use crate::im::composing::Writing;
use crate::im::first_message::First;
use crate::im::media::{Agreed, OwnOffer};
use crate::im::reliable::{Action, Early, Event, Media, Reliability};
use crate::im::room::Room;
use crate::im::screen;
use crate::im::session::{Answered, Invited, Phase, Remote, Session, Talk, Unacked};
use crate::im::session_timer::SessionTimer;
use crate::im::stamp::Reply;
use crate::im::trust;
use crate::io::{AccountId, FlowId, SessionId, Why};
use crate::sdp;
use crate::sip::dialog::Dialog;
use crate::sip::door::dialog_contact;
use crate::sip::header::{CSeq, Expires};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::tx::{ServerId, T1, T2};
use crate::verb::{Decline, Misuse};

/// RFC 3261 13.3.1.1: a non-100 provisional response every minute keeps proxies from giving up.
const REPEAT_PROVISIONAL: Duration = Duration::from_secs(60);

/// RFC 3262 3: reliable ones do not get lost, so that two and a half minutes do.
const REPEAT_RELIABLE: Duration = Duration::from_secs(150);

impl Core {
    /// An initial INVITE that passed the screen.
    pub(crate) fn invited(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        account: AccountId,
    ) -> Result<(), PeerFault> {
        //= IM G-4v
        dialog_contact(request)?;
        let Some(names) = self.names_of_offer(flow, server, request, account) else { return Ok(()) };
        let signature = self.signature(flow, account, request);
        let peer = trust::caller(request, self.trust(flow), signature.signed.as_ref())?;
        let reason = trust::reason(request, &peer, signature.signed.as_ref());
        self.explain(account, None, "R-32", reason, &peer.address);
        //= IM D-56
        self.interval_suits(request)?;
        let replacement = self.may_replace(flow, account, request, &peer)?;
        let carried = bodies::invitation(request)?;
        for kind in &carried.passed_over {
            let decision = "passed over a part of the body that need not be understood";
            self.explain(account, None, "S-1b", decision, kind);
        }
        if let Some(first) = carried.first {
            let most = usize::try_from(self.config.max_size).unwrap_or(usize::MAX);
            screen::fits(first.len(), most)?;
        }
        let mut offer = self.read_offer(account, flow, carried.description, names)?;
        let kind = self.kind(flow, request, &peer);
        let chat = offer.as_mut().and_then(|(_, judged)| judged.chat.as_mut());
        let large = self.large(kind, chat.as_deref())?;
        if let Some(chat) = chat {
            chat.takes = self.takes(account, large);
        }
        let early = Early::of(request);
        self.check_preconditions(flow, offer.as_ref(), &early)?;
        //= IM G-1
        let wanted = match self.is_wanted(&peer, &signature) {
            // A chat that goes on elsewhere disturbs nobody.
            Err(PeerFault::DoNotDisturb(_) | PeerFault::Redirected(_)) if replacement.is_some() => Ok(()),
            wanted => wanted,
        };
        //= IM R-3
        let room = |core: &Self| match &replacement {
            Some(replacement) => core.room_to_replace(replacement),
            None => core.room_to_ring(&peer),
        };
        if let Err(fault) = wanted.and_then(|()| room(self)) {
            self.missed(account, &peer, request, &fault);
            return Err(fault);
        }
        let mut ties = self.ties(flow, account, request, &peer, replacement.as_ref());
        let files = offer.as_ref().map(|(_, judged)| judged.files.clone()).unwrap_or_default();
        if offer.as_ref().is_some_and(|(_, judged)| judged.chat.is_none()) {
            // R-5 is about chats: a file ends none.
            ties.supersedes = None;
        }

        let tag = self.tag();
        let dialog = Dialog::uas(request, &tag)?;
        let remote = Remote::of(request);
        let id = self.sessions.fresh_id();
        self.sessions.index_dialog(&dialog, id);
        self.sessions.index_invite(server, id);
        self.files.offered((account, id), files, &carried.images);
        let first = First::default();
        let identity = signature.told;
        let invited = Invited { invite: server, dialog, offer, remote, identity, first, replacement, early };
        let session = Session {
            id,
            account,
            peer,
            flow,
            source: self.source(flow),
            timers: Vec::new(),
            phase: Phase::Invited(Box::new(invited)),
            timer: SessionTimer::default(),
            queue: Vec::new(),
            writing: Writing::default(),
            room: Room::default(),
            large,
            ties,
        };
        self.want_relay(account);
        self.begin(session);
        Ok(())
    }

    /// The offer of an initial INVITE, if it can be taken; None if it makes none.
    fn read_offer(
        &self,
        account: AccountId,
        flow: FlowId,
        description: &[u8],
        names: sdp::Names,
    ) -> Result<Option<(sdp::Session, sdp::Judged)>, PeerFault> {
        let ours = sdp::Capabilities { names, ..self.capabilities(account, flow) };
        //= IM S-1a
        if description.is_empty() {
            return if ours.offers() { Ok(None) } else { Err(PeerFault::NotAcceptable(sdp::Refusal::tls())) };
        }
        //= IM S-1
        let offer = sdp::parse(description).map_err(|fault| PeerFault::Sdp(fault.to_string()))?;
        let mut judged = sdp::judge(&offer, &ours).map_err(PeerFault::NotAcceptable)?;
        self.screen_files(account, flow, &offer, &mut judged);
        //= IM X-22
        let aims_badly = judged
            .streams()
            .next()
            .map_or(Some("no line is left"), |stream| self.aims_badly(account, flow, stream));
        if let Some(why) = aims_badly {
            // RFC 3261 20.43: 399, as no code is for addresses that must not be reached.
            let text = format!("we would not connect to the path: {why}");
            return Err(PeerFault::NotAcceptable(sdp::Refusal { warning: 399, text, clause: "X-22" }));
        }
        Ok(Some((offer, judged)))
    }

    /// The user is told of an invitation and asked, or policy answers it.
    pub(crate) fn alert(&mut self, mut session: Session) {
        let Phase::Invited(invited) = &mut session.phase else { return self.sessions.put(session) };
        invited.early.alerted = true;
        let identity = invited.identity.take().map(Box::new);
        let Some(kept) = self.tx.kept(invited.invite).cloned() else { return self.sessions.put(session) };
        let request = kept.message();
        let (id, account, peer) = (session.id, session.account, session.peer.clone());
        let subject = request.rows(Name::Subject).next().map(|row| String::from_utf8_lossy(row).into_owned());
        let files = self.files.of(id);
        let chats = invited.offer.as_ref().is_none_or(|(_, judged)| judged.chat.is_some());
        let kind = if chats { self.kind(session.flow, &request, &peer) } else { Kind::Files };
        let thread = self.thread(&session, &request);
        let by_config = match self.config.accept {
            Accept::Ask => false,
            //= IM X-4
            // Nobody is accepted unasked whose address nobody vouches for, but by express wish.
            Accept::Auto => peer.verified,
            Accept::All => true,
        };
        let by_config = by_config && self.files_need_no_word(id, &peer);
        let goes_on = self.goes_on(&session);
        let unasked = self.takes_unasked(&mut session, by_config);
        let answers_itself = (by_config && session.large.is_none()) || unasked || goes_on;
        // It was read before, or nobody would be alerted.
        let carried = bodies::invitation(&request).unwrap_or_default();
        let (asked, invited_with) = (!answers_itself, carried.invited_with);
        self.tell(
            account,
            Some(id),
            What::Invited { peer, kind, subject, asked, identity, thread, invited_with, files },
        );
        self.explain_called_party(&session, &request);
        let decision = "the offer is acceptable: the user is asked, or policy answers";
        self.explain(account, Some(id), "S-1", decision, "");
        if let Some(first) = carried.first {
            self.bring(&mut session, &request, first);
        }
        if !answers_itself {
            self.ring(&mut session);
            return self.sessions.put(session);
        }
        self.sessions.put(session);
        let (clause, input) = if goes_on {
            ("P-7", "replace_accept = \"auto_if_active\"")
        } else if unasked {
            ("F-15", "a large message, and large_message_unasked allows so many octets of this caller")
        } else if self.config.accept == Accept::All {
            ("S-2", "accept = \"all\"")
        } else {
            ("S-2", "accept = \"auto\", and the caller is verified")
        };
        self.explain(account, Some(id), clause, "accepted without asking", input);
        let _ = self.accept(id);
    }

    /// 180, and the deadlines of an invitation that waits for the user.
    //= IM S-2
    fn ring(&mut self, session: &mut Session) {
        self.provisional(session);
        self.await_user(session);
    }

    /// The deadlines of an invitation that waits for the user, or for its preconditions.
    pub(crate) fn await_user(&mut self, session: &mut Session) {
        let now = self.now.instant;
        self.arm(session, Why::RingTimeout, now + self.config.ring_timeout);
        self.arm(session, Why::RepeatProvisional, now + repetition(session));
        let Phase::Invited(invited) = &session.phase else { return };
        let expires = self.tx.kept(invited.invite).and_then(|kept| kept.message().maybe::<Expires>().ok()?);
        let running = session.timers.iter().any(|(why, _)| *why == Why::InviteExpires);
        // RFC 3261 13.3.1 step 1
        if let Some(Expires(seconds)) = expires.filter(|_| !running) {
            self.arm(session, Why::InviteExpires, now + Duration::from_secs(seconds.into()));
        }
    }

    /// Sends a response to the INVITE of a session, and returns its octets.
    pub(crate) fn answer_invite(
        &mut self,
        session: &Session,
        server: ServerId,
        reply: &Reply<'_>,
    ) -> Vec<u8> {
        let Some(kept) = self.tx.kept(server) else { return Vec::new() };
        let octets = self.response(&kept.message(), session.flow, Some(session.account), reply);
        self.tx.respond(self.now.instant, server, reply.status, octets.clone());
        octets
    }

    /// The CSeq number of an INVITE without final response: other requests of its dialog may have come since.
    pub(crate) fn invite_number(&self, server: ServerId) -> u32 {
        let cseq = self.tx.kept(server).and_then(|kept| kept.message().one::<CSeq<'_>>().ok());
        cseq.map_or(0, |cseq| cseq.number)
    }

    /// A deadline of an invitation has come: the next 180, or its end.
    pub(crate) fn invitation_due(&mut self, id: SessionId, why: Why) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != why);
        if matches!(session.phase, Phase::Inviting(_)) {
            let decision = "taken back: the other side rang for too long";
            self.explain(session.account, Some(id), "RFC 3261 9.1", decision, "ring_timeout");
            self.take_back(session);
        } else if why == Why::RepeatProvisional {
            self.provisional(&mut session);
            let at = self.now.instant + repetition(&session);
            self.arm(&mut session, Why::RepeatProvisional, at);
            self.sessions.put(session);
        } else if why == Why::InviteExpires {
            let input = "the invitation's own Expires has passed";
            self.reject(session, 487, "Request Terminated", Ended::NoAnswer, "RFC 3261 13.3.1", input);
        } else if session.phase.is_suspended() {
            self.never_met(session);
        } else {
            let input = "the user did not answer within `ring_timeout`";
            self.reject(session, 480, "No answer", Ended::NoAnswer, "S-3", input);
        }
    }

    /// The one final response that refuses an invitation.
    //= IM S-3
    //= IM S-4
    pub(crate) fn reject(
        &mut self,
        session: Session,
        status: u16,
        reason: &str,
        ended: Ended,
        clause: &'static str,
        input: &str,
    ) {
        let rows = self.busy_rows(status);
        self.reject_with(session, (status, reason, &rows), ended, clause, input);
    }

    fn reject_with(
        &mut self,
        session: Session,
        (status, reason, rows): (u16, &str, &[(Name, String)]),
        ended: Ended,
        clause: &'static str,
        input: &str,
    ) {
        if let Phase::Invited(invited) = &session.phase {
            let tag = invited.dialog.local_tag().to_owned();
            let reply = Reply { status, reason, rows, tag: Some(&tag), ..Reply::default() };
            self.answer_invite(&session, invited.invite, &reply);
        }
        self.explain(session.account, Some(session.id), clause, format!("answered {status} {reason}"), input);
        self.end(session, ended);
    }

    /// The user, or policy, says no.
    pub(crate) fn decline(&mut self, id: SessionId, how: Decline) -> Result<(), Misuse> {
        if self.is_asking(id) {
            self.answer_asking(id, &FileStop::Cancelled);
            return Ok(());
        }
        let session = self.take_invited(id, "decline")?;
        let files = self.files.ids(id).to_vec();
        self.stop_offered(&files, &FileStop::Cancelled);
        let whole = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
        let (status, reason, input) = match (how, self.config.decline_scope) {
            (Decline::Declined, DeclineScope::AllDevices) => {
                (603, "Decline", "the user declined, for all devices")
            }
            (Decline::Declined, DeclineScope::ThisDevice) => {
                (486, "Busy Here", "the user declined, for this device")
            }
            (Decline::Busy, _) => (486, "Busy Here", "the user said: busy"),
            (Decline::Unavailable, _) => {
                (480, "Temporarily Unavailable", "the user, or the end of the program, said: unavailable")
            }
            //= IM G-1c
            (Decline::Unwanted, _) => self.unwanted(&session),
            (Decline::Later { .. }, DeclineScope::AllDevices) => {
                (603, "Decline", "the user said: later, for all devices")
            }
            (Decline::Later { .. }, DeclineScope::ThisDevice) => {
                (480, "Temporarily Unavailable", "the user said: later, for this device")
            }
        };
        let rows = match how {
            Decline::Later { after, reachable } => later(Some(whole(after)), reachable.map(whole)),
            Decline::Declined | Decline::Busy | Decline::Unavailable | Decline::Unwanted => {
                self.busy_rows(status)
            }
        };
        self.reject_with(session, (status, reason, &rows), Ended::Declined { status }, "S-3", input);
        Ok(())
    }

    /// The caller gave up (RFC 3261 9.2).
    pub(crate) fn cancelled(&mut self, id: SessionId, cancel: &Message<'_>) {
        let Some(mut session) = self.sessions.take(id) else { return };
        if !matches!(session.phase, Phase::Invited(_)) {
            self.drop_asking(&mut session, "CANCEL: the other side takes its re-INVITE back");
            return self.sessions.put(session);
        }
        // RFC 3326 2: another device of ours answered, or the caller has no wish any more.
        let elsewhere = cancel.rows(Name::Reason).any(|row| {
            let row = String::from_utf8_lossy(row).to_ascii_lowercase();
            row.starts_with("sip") && row.split(';').any(|param| param.trim() == "cause=200")
        });
        let input = if elsewhere { "CANCEL: another device answered" } else { "CANCEL: the caller gave up" };
        self.reject(
            session,
            487,
            "Request Terminated",
            Ended::Cancelled { elsewhere },
            "RFC 3261 9.2",
            input,
        );
    }

    /// The user, or policy, says yes: to everything, but for files that the caller wants of us.
    pub(crate) fn accept(&mut self, id: SessionId) -> Result<(), Misuse> {
        self.files.take_all(id);
        self.accepted(id)
    }

    /// The same, when it is said which files.
    pub(crate) fn accepted(&mut self, id: SessionId) -> Result<(), Misuse> {
        if self.is_asking(id) {
            self.answer_asking(id, &FileStop::Cancelled);
            return Ok(());
        }
        let mut session = self.take_invited(id, "accept")?;
        let Phase::Invited(invited) = &mut session.phase else { return Err(Misuse::NoSession) };
        if invited.early.step(Event::Accepted) == Some(Action::Answer) {
            return self.answer(session);
        }
        let decision = "accepted: the 200 waits until the caller acknowledges our provisional response";
        self.explain(session.account, Some(id), "RFC 3262 5", decision, "");
        self.disarm(&mut session, Why::RingTimeout);
        self.disarm(&mut session, Why::RepeatProvisional);
        self.sessions.put(session);
        Ok(())
    }

    /// Invited -> Answered: the 200 leaves.
    pub(crate) fn answer(&mut self, mut session: Session) -> Result<(), Misuse> {
        let id = session.id;
        if self.waits_for_first(&mut session) {
            self.sessions.put(session);
            return Ok(());
        }
        //= IM P-8
        //= IM P-12
        let replaced = match self.still_replaces(&session) {
            Ok(replaced) => replaced,
            Err(why) => {
                let input = format!("the session that it replaces is gone: {why}");
                self.reject(session, 603, "Decline", Ended::Declined { status: 603 }, "P-8", &input);
                return Err(Misuse::WrongState {
                    state: "refused: the session that it replaces is over",
                    verb: "accept",
                });
            }
        };
        // G-1a again: others may have been accepted while this one rang.
        if replaced.is_none() && self.room_for_session().is_err() {
            let input = "others were accepted while this one rang: `max_sessions`";
            self.reject(session, 486, "Busy Here", Ended::Declined { status: 486 }, "G-1a", input);
            return Err(Misuse::WrongState {
                state: "refused: as many sessions as configured",
                verb: "accept",
            });
        }
        let judged = match &session.phase {
            Phase::Invited(invited) => invited.offer.as_ref().map(|(_, judged)| judged),
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => None,
        };
        let offered = judged.and_then(|judged| judged.streams().next()).map(|stream| stream.tls);
        let streams = judged.map_or(1, |judged| judged.streams().count());
        // Each file has an end of its own: what stands in `o=` and `c=` leads nowhere.
        let only_files = judged.is_some_and(|judged| judged.chat.is_none());
        if self.waits_for_relay(session.account, id, streams, offered) {
            self.sessions.put(session);
            return Ok(());
        }
        if let Some(why) = self.lacks_relay(session.account, offered) {
            self.reject(session, 480, "No Relay", Ended::Declined { status: 480 }, "M-20", &why);
            return Err(Misuse::NoRoute(why));
        }
        let local = match offered.filter(|_| only_files) {
            Some(tls) => self.direct_media(session.flow, tls),
            None => self.local_media(session.account, session.flow, offered),
        };
        let Some(local) = local else {
            let input = "no address of ours can carry the messages";
            self.reject(session, 480, "Resource limit", Ended::Declined { status: 480 }, "G-1b", input);
            return Err(Misuse::NoRoute("the flow of the invitation is gone".into()));
        };
        if let Phase::Invited(invited) = &mut session.phase
            && let Some((_, judged)) = &mut invited.offer
        {
            let untaken = self.files.choose(id, judged);
            let nothing = judged.streams().next().is_none();
            self.stop_offered(&untaken, &FileStop::Cancelled);
            if nothing {
                let input = "of all that was offered, nothing was taken";
                self.reject(session, 603, "Decline", Ended::Declined { status: 603 }, "D-42", input);
                return Ok(());
            }
        }
        self.disarm_all(&mut session);
        let Phase::Invited(invited) = session.phase else { return Err(Misuse::NoSession) };
        let Invited { invite, mut dialog, offer, remote, early, .. } = *invited;
        dialog.confirm();
        let owner = (session.account, id);
        let Answer { agreed, own, description } = match early.media {
            Media::Fresh => self.settle(owner, session.flow, offer, &local),
            Media::Offered(own) => Answer { agreed: None, own: Some(*own), description: None },
            // RFC 3261 13.2.1: what a reliable response has answered, the 200 does not answer again.
            Media::Settled(agreed) => {
                self.start_media(&agreed);
                Answer { agreed: Some(*agreed), own: None, description: None }
            }
        };
        let talk = Talk { dialog, remote, agreed, lost: None, unpracked: early.awaited.map(Box::new) };
        let cseq = self.invite_number(invite);
        let unacked = Unacked { server: invite, cseq, response: Box::default(), interval: T1 };
        let answered = Answered { talk, unacked, own, leave: None };
        session.phase = Phase::Answered(Box::new(answered));
        self.sessions.forget_invite(invite);
        //= IM S-8
        let tag = session.phase.dialog().map(|dialog| dialog.local_tag().to_owned()).unwrap_or_default();
        let body = description.as_deref().map(|octets| ("application/sdp", octets));
        let kept = self.tx.kept(invite).cloned();
        let rows = kept.map(|kept| self.timer_rows(&mut session, &kept.message())).unwrap_or_default();
        let reply = Reply { status: 200, reason: "OK", tag: Some(&tag), body, rows: &rows };
        let octets = self.answer_invite(&session, invite, &reply);
        if let Phase::Answered(answered) = &mut session.phase {
            answered.unacked.response = octets.into_boxed_slice();
        }
        self.explain(session.account, Some(id), "S-8", "answered 200 OK: the session waits for ACK", "");
        self.await_ack(&mut session);
        let account = session.account;
        self.sessions.put(session);
        //= IM S-5
        //= IM P-9
        if let Some(replaced) = replaced {
            self.release(replaced, id);
        }
        for what in early.held {
            self.tell_of_media(account, id, what);
        }
        self.pump_msrp();
        Ok(())
    }

    /// Our half of the negotiation: the answer to the caller's offer, or an offer of ours if there is none.
    fn settle(
        &mut self,
        owner: (AccountId, SessionId),
        flow: FlowId,
        offer: Option<(sdp::Session, sdp::Judged)>,
        local: &sdp::Local,
    ) -> Answer {
        match offer {
            //= IM S-7
            Some((offer, judged)) => {
                let files = self.prepare_files(flow, owner, &judged.files);
                let ours = self.capabilities(owner.0, flow);
                let description = self.describe(owner.1, &offer, &judged, local, &ours);
                let mut local = local.clone();
                // S-8: the passive side listens before its 200 leaves.
                let chat = judged.chat.map(|stream| {
                    let path = local.path(stream.role).into_owned();
                    local = local.clone().settled(path.clone());
                    (self.open_media(owner, &path, &stream), stream)
                });
                self.begin_files(owner, files);
                let agreed = Agreed::new(chat, offer.origin, &description, local);
                Answer { agreed: Some(agreed), own: None, description: Some(description) }
            }
            //= IM D-13
            None => {
                let own = self.make_offer(owner, flow);
                let description = own.as_ref().map(|own| own.offered.octets.clone());
                Answer { agreed: None, own, description }
            }
        }
    }

    fn take_invited(&mut self, id: SessionId, verb: &'static str) -> Result<Session, Misuse> {
        let session = self.sessions.take(id).ok_or(Misuse::NoSession)?;
        if matches!(session.phase, Phase::Invited(_)) {
            return Ok(session);
        }
        let state = session.phase.name();
        self.sessions.put(session);
        Err(Misuse::WrongState { state, verb })
    }

    /// RFC 3261 13.3.1.4: a 2xx is sent again after T1, 2*T1 and so on up to T2, on every transport, for 64*T1.
    pub(crate) fn await_ack(&mut self, session: &mut Session) {
        let now = self.now.instant;
        self.arm(session, Why::Resend2xx, now + T1);
        self.arm(session, Why::No2xxAck, now + T1 * 64);
    }

    pub(crate) fn resend_2xx(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::Resend2xx);
        let unacked = match &mut session.phase {
            Phase::Answered(answered) => Some(&mut answered.unacked),
            Phase::Live(live) => live.reanswered.as_deref_mut(),
            Phase::Inviting(_) | Phase::Invited(_) | Phase::Leaving(_) => None,
        };
        if let Some(unacked) = unacked {
            unacked.interval = (unacked.interval * 2).min(T2);
            let (interval, server) = (unacked.interval, unacked.server);
            self.tx.respond(self.now.instant, server, 200, unacked.response.to_vec());
            self.arm(&mut session, Why::Resend2xx, self.now.instant + interval);
        }
        self.sessions.put(session);
    }
}

/// When the provisional response of an invitation is repeated.
fn repetition(session: &Session) -> Duration {
    match &session.phase {
        Phase::Invited(invited) if invited.early.reliability == Reliability::Always => REPEAT_RELIABLE,
        Phase::Invited(_) | Phase::Inviting(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => {
            REPEAT_PROVISIONAL
        }
    }
}

/// What our 200 says of the media.
struct Answer {
    agreed: Option<Agreed>,
    /// Set if the offer is ours.
    own: Option<OwnOffer>,
    description: Option<Vec<u8>>,
}
