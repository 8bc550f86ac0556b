//! Later offers: what a peer changes of a session that stands (RFC 3261 14.2, RFC 3264 8, RFC 3311).
//!
//! The one thing that the user is asked about are files that an offer adds ([`Core::ask_about_files`]).

use std::time::Duration;

use parlour_msrp::Outgoing;

use crate::event::{Ended, What};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::bodies;
use crate::im::media::{Agreed, Chat, remote};
use crate::im::session::{Phase, Session, Unacked};
use crate::im::stamp::Reply;
use crate::io::{AccountId, FlowId, SessionId, Why};
use crate::sdp::{self, Local, Names, Offered};
use crate::sip::dialog::DialogKey;
use crate::sip::door::dialog_contact;
use crate::sip::header::CSeq;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::{ServerId, T1};
use crate::verb::Say;

/// How long a session may be without a stream before we leave it.
const NO_STREAM: Duration = Duration::from_secs(2);

/// A later offer, judged.
#[derive(Debug)]
pub(crate) enum Later {
    /// It changes nothing: our description, once more.
    Same(Box<[u8]>),
    Other(Box<Change>),
}

/// What a later offer changes.
#[derive(Debug)]
pub(crate) struct Change {
    offer: sdp::Session,
    ours: sdp::Capabilities,
    /// None if it leaves no stream on.
    judged: Option<sdp::Judged>,
    /// Files that it adds, and that are refused unless the user takes them.
    asked: Vec<sdp::Stream>,
}

impl Later {
    /// The files that the user may be asked about.
    fn asked(&self) -> &[sdp::Stream] {
        match self {
            Later::Same(_) => &[],
            Later::Other(change) => &change.asked,
        }
    }
}

impl Core {
    /// A second INVITE of the dialog.
    //= IM D-50
    pub(crate) fn reinvited(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        session: &mut Session,
    ) -> Result<(), PeerFault> {
        readable_target(request)?;
        self.interval_suits(request)?;
        //= IM D-53
        // RFC 3261 14.2: an INVITE that meets one of ours, or an offer of ours, has to wait.
        if session.phase.offer_outstanding() {
            return Err(PeerFault::Glare);
        }
        match &session.phase {
            Phase::Live(live) if !live.is_asked() => {}
            // RFC 3261 15.1.1: with our BYE the session is over.
            Phase::Leaving(_) => return Err(PeerFault::NoDialog),
            Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) | Phase::Live(_) => {
                return Err(PeerFault::InviteInProgress);
            }
        }
        match bodies::description(request)? {
            [] => {
                let offered = self.offer_again(flow, session)?;
                let said = (offered.octets.clone().into(), Some(offered));
                self.answer_reinvite((flow, server), request, session, said)
            }
            // RFC 6714 4.4: where its lines lead is known when their names are.
            offer => match self.names_of_later((flow, server), session, offer) {
                Some(names) => self.reoffered((flow, server), request, session, names),
                None => Ok(()),
            },
        }
    }

    /// The offer of a re-INVITE, once it is known what its names stand for.
    pub(crate) fn reoffered(
        &mut self,
        (flow, server): (FlowId, ServerId),
        request: &Message<'_>,
        session: &mut Session,
        names: Names,
    ) -> Result<(), PeerFault> {
        let later = self.judge_later(flow, session, bodies::description(request)?, names.clone())?;
        if self.ask_about_files((flow, server), request, session, (later.asked(), &names)) {
            return Ok(());
        }
        let description = self.carry_out(flow, session, later)?;
        self.answer_reinvite((flow, server), request, session, (description, None))
    }

    /// The 2xx to a re-INVITE, with our answer, or an offer of ours.
    pub(crate) fn answer_reinvite(
        &mut self,
        (flow, server): (FlowId, ServerId),
        request: &Message<'_>,
        session: &mut Session,
        (description, offered): (Box<[u8]>, Option<Offered>),
    ) -> Result<(), PeerFault> {
        let response = self.changed(flow, server, request, session, Some(&description))?;
        let cseq = request.one::<CSeq<'_>>()?.number;
        if let Phase::Live(live) = &mut session.phase {
            live.reanswered = Some(Box::new(Unacked { server, cseq, response, interval: T1 }));
            live.reoffered = offered.map(Box::new);
        }
        self.await_ack(session);
        Ok(())
    }

    /// An UPDATE, with or without an offer, in a confirmed or an early dialog.
    //= IM D-50
    pub(crate) fn updated(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        session: &mut Session,
    ) -> Result<(), PeerFault> {
        readable_target(request)?;
        self.interval_suits(request)?;
        let description = match (bodies::description(request)?, &session.phase) {
            (_, Phase::Leaving(_)) => return Err(PeerFault::NoDialog),
            // It only refreshes the target.
            ([], _) => None,
            // RFC 3311 5.2: our own offer has no answer yet.
            //= IM D-53
            (_, phase) if phase.offer_outstanding() => return Err(PeerFault::Glare),
            // RFC 3311 5.2: the offer of the INVITE has no answer yet.
            (_, Phase::Inviting(_)) => return Err(PeerFault::OfferUnanswered),
            (offer, Phase::Invited(_)) => Some(self.offered_early(session, offer)?),
            (_, Phase::Live(live)) if live.asking.is_some() => return Err(PeerFault::OfferUnanswered),
            (offer, Phase::Answered(_) | Phase::Live(_)) => {
                // RFC 3311 5.2: an UPDATE is answered at once: names stay unknown, and whatever takes a user is for an INVITE.
                let later = self.judge_later(flow, session, offer, Names::default())?;
                if !later.asked().is_empty() {
                    return Err(PeerFault::NeedsWord);
                }
                Some(self.carry_out(flow, session, later)?)
            }
        };
        self.changed(flow, server, request, session, description.as_deref())?;
        Ok(())
    }

    /// A request of a callee who has not answered yet. It can change nothing of ours, so it matters to nobody where it
    /// comes from.
    pub(crate) fn asked_early(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        key: &DialogKey,
    ) -> Result<(), PeerFault> {
        let id = self.sessions.by_early(key).ok_or(PeerFault::NoDialog)?;
        let mut session = self.sessions.take(id).ok_or(PeerFault::NoDialog)?;
        let outcome = match request.method() {
            Some(Method::Update) => self.updated(flow, server, request, &mut session),
            Some(Method::Invite) => self.reinvited(flow, server, request, &mut session),
            Some(Method::Options) => {
                self.options(flow, server, request, session.account, true);
                Ok(())
            }
            // RFC 3261 15: a callee sends no BYE before its 2xx.
            _ => Err(PeerFault::NoDialog),
        };
        self.sessions.put(session);
        outcome
    }

    /// The 2xx to a request that was carried out, and only now what it says of its sender (RFC 3261 12.2.2, RFC 6141 4.3).
    fn changed(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        session: &mut Session,
        description: Option<&[u8]>,
    ) -> Result<Box<[u8]>, PeerFault> {
        if let Some(dialog) = session.phase.dialog_mut() {
            dialog.refresh_target(request)?;
            // The way that made the dialog is gone, and its peer has shown another one.
            let vouched = self.trust(flow).is_some() || !session.source.trusted;
            if vouched && !self.flows.is_usable(session.flow) {
                session.flow = flow;
            }
        }
        if let Some(remote) = session.phase.remote_mut() {
            remote.follow(request);
        }
        // RFC 4028 3: before the 2xx to the INVITE there is no session whose timer could run.
        let agreed = session.phase.talk().is_some();
        let rows = if agreed { self.timer_rows(session, request) } else { Vec::new() };
        let body = description.map(|description| ("application/sdp", description));
        let reply = Reply { status: 200, reason: "OK", rows: &rows, body, ..Reply::default() };
        let octets = self.response(request, flow, Some(session.account), &reply);
        self.tx.respond(self.now.instant, server, 200, octets.clone());
        self.follow_conference(session);
        Ok(octets.into_boxed_slice())
    }

    /// Judges a later offer. One that is refused has changed nothing, nor has one that is not carried out.
    pub(crate) fn judge_later(
        &self,
        flow: FlowId,
        session: &Session,
        offer: &[u8],
        names: Names,
    ) -> Result<Later, PeerFault> {
        let offer = sdp::parse(offer).map_err(|fault| PeerFault::Sdp(fault.to_string()))?;
        let max_size = self.takes(session.account, session.large);
        let ours = sdp::Capabilities { max_size, names, ..self.capabilities(session.account, flow) };
        let agreed = session.phase.talk().and_then(|talk| talk.agreed.as_ref());
        let agreed = agreed.ok_or(PeerFault::Renegotiation)?;
        let stands = agreed.chat.as_ref().is_some_and(|chat| self.msrp.is_open(chat.msrp));
        // RFC 4975 8.4: who changes nothing says the same o= line.
        if offer.origin == agreed.origin && (stands || agreed.chat.is_none()) {
            return Ok(Later::Same(agreed.description.clone()));
        }
        let before = sdp::parse(&agreed.description).map_or(0, |own| own.media.len());
        let files = self.files.streams_on(session.id);
        let standing = sdp::Standing { chat: agreed.chat.as_ref().map(|chat| &chat.stream), files: &files };
        let mut judged =
            sdp::judge_again(&offer, before, standing, &ours).map_err(PeerFault::NotAcceptable)?;
        //= IM D-22
        let had = agreed.chat.as_ref().is_some_and(|chat| chat.stream.tls);
        let has = judged.as_ref().and_then(|judged| judged.chat.as_ref()).is_some_and(|chat| !chat.tls);
        if had && has {
            return Err(PeerFault::NotAcceptable(sdp::Refusal::downgrade()));
        }
        let asked = judged.as_mut().map(|judged| self.screen_new_files(flow, session, judged));
        let asked = asked.unwrap_or_default();
        Ok(Later::Other(Box::new(Change { offer, ours, judged, asked })))
    }

    /// Carries a later offer out, and returns our answer.
    pub(crate) fn carry_out(
        &mut self,
        flow: FlowId,
        session: &mut Session,
        later: Later,
    ) -> Result<Box<[u8]>, PeerFault> {
        let Change { offer, ours, judged, asked: _ } = match later {
            Later::Same(description) => return Ok(description),
            Later::Other(change) => *change,
        };
        if let Some(judged) = &judged {
            self.explain_refused_files(session, &offer, judged);
        }
        let agreed = session.phase.agreed_mut().ok_or(PeerFault::Renegotiation)?;
        let stands = agreed.chat.as_ref().is_some_and(|chat| self.msrp.is_open(chat.msrp));
        let Some(judged) = judged.filter(|judged| judged.streams().next().is_some()) else {
            let Some(agreed) = session.phase.agreed_mut() else { return Err(PeerFault::Renegotiation) };
            let local = agreed.local.clone().revised();
            let description = sdp::answer_disabled(&offer, &local);
            agreed.said(offer.origin, &description, local);
            self.files_closed(session.id, &[]);
            self.disable(session);
            return Ok(description.into());
        };
        let Some(agreed) = session.phase.agreed_mut() else { return Err(PeerFault::Renegotiation) };
        let next = agreed.local.clone().revised();
        //= IM D-51
        let same = match (&judged.chat, &agreed.chat) {
            (None, _) => true,
            (Some(_), None) => false,
            // While nobody has connected yet, it matters who is to.
            (Some(stream), Some(chat)) => {
                stands
                    && sdp::same_path(&chat.stream.path, &stream.path)
                    // RFC 8122 5: another certificate is another connection.
                    && chat.stream.fingerprints == stream.fingerprints
                    && (chat.stream.role == stream.role || self.msrp.is_bound(chat.msrp))
            }
        };
        // RFC 4976 5.1: our way leads through our relay wherever the peer is, so our own path stays.
        let behind = stands && next.is_relayed();
        let local = match &judged.chat {
            Some(stream) if !same && !behind => {
                //= IM X-22
                if let Some(why) = self.aims_badly(session.account, flow, stream) {
                    let text = format!("we would not connect to the path: {why}");
                    return Err(PeerFault::NotAcceptable(sdp::Refusal {
                        warning: 399,
                        text,
                        clause: "X-22",
                    }));
                }
                self.other_end(session.account, flow, &next, stream).ok_or(PeerFault::NoResources)?
            }
            Some(_) | None => next,
        };
        let begun = self.adopt_files(flow, session, &judged.files);
        let description = self.describe(session.id, &offer, &judged, &local, &ours);
        if let Some(agreed) = session.phase.agreed_mut() {
            agreed.said(offer.origin, &description, local);
        }
        self.files_closed(session.id, &judged.files);
        match judged.chat {
            None => self.disable(session),
            Some(stream) if same => self.revise(session, stream),
            Some(stream) if behind => self.rejoin(session, stream),
            Some(stream) => self.move_media(session, stream),
        }
        self.begin_files((session.account, session.id), begun);
        Ok(description.into())
    }

    /// Our offer inside a session: all as it is, but for files that are over, and the peer free to choose again.
    //= IM S-1a
    pub(crate) fn offer_again(&mut self, flow: FlowId, session: &mut Session) -> Result<Offered, PeerFault> {
        let max_size = self.takes(session.account, session.large);
        let ours = sdp::Capabilities { max_size, ..self.capabilities(session.account, flow) };
        let files = self.files.lines_on(session.id);
        let agreed = session.phase.agreed_mut().ok_or(PeerFault::Renegotiation)?;
        let chat = agreed.chat.as_ref();
        if chat.map_or(files.is_empty(), |chat| !self.msrp.is_open(chat.msrp)) {
            return Err(PeerFault::Renegotiation);
        }
        let before = sdp::parse(&agreed.description).map_err(|_| PeerFault::Renegotiation)?;
        let line = chat.map(|chat| chat.stream.line);
        agreed.local = agreed.local.clone().revised();
        let offered = sdp::offer_again(&before, line, &files, &agreed.local, &ours);
        agreed.description = offered.octets.clone().into();
        Ok(offered)
    }

    /// The ACK that answers [`offer_again`](Self::offer_again).
    pub(crate) fn reanswered(&mut self, mut session: Session, offered: &Offered, answer: &[u8]) {
        let (account, id) = (session.account, Some(session.id));
        if answer.is_empty() {
            // The offer changed nothing of substance, so the session can go on without its answer.
            let decision = "the media stay as they are: the ACK did not answer our offer";
            self.explain(account, id, "RFC 6141 3.3", decision, "");
            return self.sessions.put(session);
        }
        let had_chat = session.phase.chat().is_some();
        match self.read_again(&mut session, offered, answer) {
            Ok(Some(stream)) if self.stays(&session, &stream) => self.revise(&mut session, stream),
            Ok(Some(stream)) if self.may_aim_again(&session, &stream) => self.rejoin(&mut session, stream),
            Ok(None) if had_chat => self.disable(&mut session),
            Ok(None) => {}
            Ok(Some(_)) => {
                let why = "the answer makes us connect to where its sender is not";
                return self.unanswerable(session, why.to_owned());
            }
            Err(why) => return self.unanswerable(session, why),
        }
        self.watch_fall_back(&mut session);
        self.sessions.put(session);
    }

    fn read_again(
        &mut self,
        session: &mut Session,
        offered: &Offered,
        answer: &[u8],
    ) -> Result<Option<sdp::Stream>, String> {
        let ours = self.capabilities_in(session);
        let answer = sdp::parse(answer).map_err(|fault| fault.to_string())?;
        let id = session.id;
        let agreed = session.phase.agreed_mut().ok_or("nothing was agreed on")?;
        let lines = sdp::parse(&agreed.description).map_or(1, |own| own.media.len());
        let stream = match &agreed.chat {
            Some(chat) => sdp::read_answer_again(offered, chat.stream.line, lines, &answer, &ours)
                .map_err(|refusal| refusal.text)?,
            None => None,
        };
        agreed.origin = answer.origin.clone();
        self.files_answered(id, &offered.octets, &answer);
        self.files_fell_back(session, offered, &answer);
        Ok(stream)
    }

    /// RFC 3261 14.2 leaves us no other way to refuse an answer.
    fn unanswerable(&mut self, session: Session, why: String) {
        self.explain(session.account, Some(session.id), "S-1a", "left: the answer cannot be taken", &why);
        self.bye(session, Ended::MediaFailed { why });
    }

    fn stays(&self, session: &Session, stream: &sdp::Stream) -> bool {
        session.phase.chat().is_some_and(|chat| {
            self.msrp.is_open(chat.msrp)
                && sdp::same_path(&chat.stream.path, &stream.path)
                && chat.stream.fingerprints == stream.fingerprints
                // While nobody has connected yet, it matters who is to, and where.
                && (self.msrp.is_bound(chat.msrp)
                    || (chat.stream.role == stream.role && chat.stream.hop == stream.hop))
        })
    }

    /// The same path: the connection stays, whatever else has changed.
    fn revise(&mut self, session: &mut Session, stream: sdp::Stream) {
        let Some(chat) = session.phase.chat() else { return };
        self.msrp.revise(chat.msrp, &stream.listed, stream.max_size);
        if chat.stream.accepted != stream.accepted {
            self.msrp.forget_refusals(chat.msrp);
        }
        self.agree_again(session, stream);
    }

    /// Another path: a new MSRP session takes the place of the old one as soon as it is bound.
    //= IM D-51
    fn move_media(&mut self, session: &mut Session, stream: sdp::Stream) {
        let owner = (session.account, session.id);
        let Some(agreed) = session.phase.agreed_mut() else { return };
        let path = agreed.local.path(stream.role).into_owned();
        let old = agreed.chat.take();
        let new = self.open_media(owner, &path, &stream);
        // A stream that was disabled, or lost, begins anew: nobody was told that it is on hold.
        let sent = old.as_ref().is_none_or(|chat| chat.stream.direction.sends());
        let old = old.map(|chat| chat.msrp);
        let sends = stream.direction.sends();
        agreed.chat = Some(Chat { msrp: new, stream });
        let revived = old.is_none_or(|old| !self.msrp.is_open(old));
        match old {
            Some(old) if revived => self.sessions.forget_msrp(old),
            Some(old) => {
                // What is left of the old one does not bring what the new one may not.
                if !sends {
                    self.msrp.pause(self.now.instant, old, true);
                }
                self.msrp.succeed(self.now.instant, old, new);
            }
            None => {}
        }
        self.disarm(session, Why::NoStream);
        self.recovered_by_peer(session);
        self.tell_of_hold(session, sent);
        // What waited for a stream goes into the new MSRP session, which keeps it until it is bound.
        if revived && matches!(session.phase, Phase::Live(_)) {
            while let Some(message) = session.next_queued() {
                self.say_in(session, message);
            }
        }
    }

    /// Another peer at our own path.
    fn rejoin(&mut self, session: &mut Session, stream: sdp::Stream) {
        let Some(chat) = session.phase.chat() else { return };
        self.msrp.rejoin(self.now.instant, chat.msrp, remote(&stream));
        self.revise(session, stream);
    }

    /// Our end on another path of our own.
    pub(crate) fn other_end(
        &mut self,
        account: AccountId,
        flow: FlowId,
        next: &Local,
        stream: &sdp::Stream,
    ) -> Option<Local> {
        let mut fresh = self.local_media(account, flow, Some(stream.tls))?;
        // RFC 3264 8: only the version in o= changes.
        (fresh.session_id, fresh.version) = (next.session_id, next.version);
        fresh.without_cema = next.without_cema;
        let path = fresh.path(stream.role).into_owned();
        Some(fresh.settled(path))
    }

    /// Notes what is agreed on now, and tells of hold.
    //= IM D-54
    pub(crate) fn agree_again(&mut self, session: &mut Session, stream: sdp::Stream) {
        let Some(chat) = session.phase.chat_mut() else { return };
        let sent = chat.stream.direction.sends();
        chat.stream = stream;
        self.tell_of_hold(session, sent);
    }

    /// Follows the direction of the stream; `sent` says whether messages could leave before.
    pub(crate) fn tell_of_hold(&mut self, session: &mut Session, sent: bool) {
        let (account, id) = (session.account, session.id);
        let confirmed = matches!(session.phase, Phase::Live(_));
        let Some(chat) = session.phase.chat() else { return };
        let sends = chat.stream.direction.sends();
        //= IM D-34
        // RFC 4975 8.9: only content stops; responses, REPORTs and SENDs without a body go on.
        self.msrp.pause(self.now.instant, chat.msrp, !sends);
        match (sent, sends) {
            // Before the ACK nobody was told of a session; then hold is told with it.
            (_, _) if !confirmed => {}
            (true, false) => self.tell(account, Some(id), What::Held),
            (false, true) => self.tell(account, Some(id), What::Resumed),
            (true, true) | (false, false) => {}
        }
    }

    /// The stream for messages is disabled. What was not acknowledged waits for another one, for a short while if nothing
    /// else is on.
    //= IM D-55
    pub(crate) fn disable(&mut self, session: &mut Session) {
        let now = self.now.instant;
        if let Some(Chat { msrp, .. }) = session.phase.agreed_mut().and_then(|agreed| agreed.chat.take()) {
            let unsent = self.msrp.withdraw(now, msrp);
            session.queue.extend(unsent.into_iter().map(say_again));
            self.msrp.close(now, msrp);
            self.sessions.forget_msrp(msrp);
            let decision =
                "the MSRP session is closed: its stream has port 0; we leave unless another is offered";
            self.explain(session.account, Some(session.id), "D-55", decision, "");
        }
        self.forget_loss(session);
        if !self.files.are_on(session.id) {
            self.arm(session, Why::NoStream, now + NO_STREAM);
        }
    }

    /// The session stands, and has no stream.
    pub(crate) fn await_stream(&mut self, mut session: Session) {
        self.arm(&mut session, Why::NoStream, self.now.instant + NO_STREAM);
        self.sessions.put(session);
    }

    /// No other stream was offered.
    pub(crate) fn nothing_left(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::NoStream);
        if matches!(session.phase, Phase::Live(_)) {
            if self.files.are_all(&session) {
                return self.files_left(session);
            }
            self.explain(session.account, Some(id), "D-55", "left: no stream was offered for 2 s", "");
            return self.bye(session, Ended::PeerLeft);
        }
        self.sessions.put(session);
    }

    /// A changed path: the MSRP session that was agreed on before is closed.
    pub(crate) fn media_moved(&mut self, old: parlour_msrp::SessionId) {
        if let Some((account, id)) = self.sessions.owner_of(old) {
            let decision = "messages go over the new path; what was not acknowledged goes there again";
            self.explain(account, Some(id), "D-51", decision, "");
        }
        self.sessions.forget_msrp(old);
    }
}

impl Agreed {
    /// Notes what both sides have said last.
    pub(crate) fn said(&mut self, origin: sdp::Origin, description: &[u8], local: Local) {
        (self.origin, self.description, self.local) = (origin, description.into(), local);
    }
}

/// RFC 3261 12.2.2: one without a Contact leaves the target as it is; one that cannot be read must change nothing.
fn readable_target(request: &Message<'_>) -> Result<(), PeerFault> {
    if request.has(Name::Contact) {
        dialog_contact(request)?;
    }
    Ok(())
}

pub(crate) fn say_again(message: Outgoing) -> Say {
    let Outgoing { message_id, content_type, body, .. } = message;
    // It is wrapped already, and to whom it goes stands in there.
    Say { message_id, content_type, body, to: None }
}
