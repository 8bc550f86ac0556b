//! What happens inside a dialog: ACK, BYE, and leaving when the user says so.

use std::net::IpAddr;

use crate::event::{Ended, What};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::bodies;
use crate::im::flows::literal;
use crate::im::session::{Answered, Live, Phase, Session};
use crate::im::stamp::Reply;
use crate::io::{FlowId, SessionId, Why};
use crate::sip::dialog::{DialogFault, DialogKey};
use crate::sip::door;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::tx::ServerId;
use crate::sip::uri::Uri;
use crate::verb::Misuse;

impl Core {
    /// A request with a To tag.
    pub(crate) fn request_inside(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        core: &door::Core<'_>,
    ) -> Result<(), PeerFault> {
        let key = DialogKey::named_by(core).ok_or(PeerFault::NoDialog)?;
        let Some(mut session) = self.sessions.by_dialog(&key).and_then(|id| self.sessions.take(id)) else {
            return self.asked_early(flow, server, request, &key);
        };
        let id = session.id;
        let outcome = self.inside(flow, server, request, core, &mut session);
        match outcome {
            Ok(Some(Ended::PeerLeft)) => {
                self.peer_left(session);
                return Ok(());
            }
            Ok(Some(ended)) => {
                self.end(session, ended);
                return Ok(());
            }
            Ok(None) | Err(_) => self.sessions.put(session),
        }
        self.carry_on(id);
        outcome.map(drop)
    }

    fn inside(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        core: &door::Core<'_>,
        session: &mut Session,
    ) -> Result<Option<Ended>, PeerFault> {
        //= IM X-8
        if !self.is_from_peer(session, flow) {
            return Err(PeerFault::Elsewhere(self.flows.peer(flow)));
        }
        if let Some(dialog) = session.phase.dialog_mut() {
            dialog.check(core).map_err(|fault| match fault {
                DialogFault::CSeqOrder { got, last } => PeerFault::CSeqOrder { got, last },
                DialogFault::NotThisDialog => PeerFault::NoDialog,
            })?;
        }
        if let Some(remote) = session.phase.remote_mut() {
            remote.hear(request);
        }
        match request.method() {
            Some(Method::Bye) => Ok(self.bye_came(flow, server, request, session)),
            Some(Method::Invite) => self.reinvited(flow, server, request, session).map(|()| None),
            Some(Method::Prack) => self.prack_came(flow, server, request, session).map(|()| None),
            Some(Method::Message) => self.paged_inside(flow, server, request, session).map(|()| None),
            Some(Method::Update) => self.updated(flow, server, request, session).map(|()| None),
            _ => {
                self.options(flow, server, request, session.account, true);
                Ok(None)
            }
        }
    }

    /// on a flow that nobody vouches for, a request of a dialog comes from where its peer is known to be. A name in its
    /// Contact or Record-Route says nothing of that: whoever makes names has them lead wherever he likes.
    fn is_from_peer(&self, session: &Session, flow: FlowId) -> bool {
        if flow == session.flow || self.trust(flow).is_some() {
            return true;
        }
        let Some(source) = self.flows.peer(flow).map(|peer| peer.ip()) else { return false };
        if session.source.address == Some(source) {
            return true;
        }
        session.phase.dialog().is_some_and(|dialog| dialog.hops().any(|uri| is_at(uri, source)))
    }

    /// RFC 3261 15.1.2.
    //= IM S-12
    fn bye_came(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        session: &mut Session,
    ) -> Option<Ended> {
        let reply = Reply { status: 200, reason: "OK", ..Reply::default() };
        let octets = self.response(request, flow, Some(session.account), &reply);
        self.tx.respond(self.now.instant, server, 200, octets);
        match &session.phase {
            // RFC 3261 15.1.2: an INVITE that is still unanswered gets 487.
            Phase::Invited(_) => {
                self.terminate_invite(session);
                Some(Ended::Cancelled { elsewhere: false })
            }
            Phase::Answered(_) | Phase::Live(_) | Phase::Inviting(_) => Some(Ended::PeerLeft),
            // Our own BYE crossed this one: its response ends the session.
            Phase::Leaving(_) => None,
        }
    }

    /// An ACK that belongs to a 2xx (RFC 3261 13.3.1.4).
    pub(crate) fn ack_came(&mut self, request: &Message<'_>, core: &door::Core<'_>) {
        let id = DialogKey::named_by(core).and_then(|key| self.sessions.by_dialog(&key));
        let Some(mut session) = id.and_then(|id| self.sessions.take(id)) else { return };
        let cseq = core.cseq.number;
        match session.phase {
            Phase::Answered(answered) if answered.unacked.cseq == cseq => {
                session.phase = Phase::Answered(answered);
                self.acknowledged(session, request);
            }
            Phase::Live(mut live) => {
                if live.reanswered.as_ref().is_some_and(|unacked| unacked.cseq == cseq) {
                    live.reanswered = None;
                    let offered = live.reoffered.take();
                    session.phase = Phase::Live(live);
                    self.disarm(&mut session, Why::Resend2xx);
                    self.disarm(&mut session, Why::No2xxAck);
                    return match offered {
                        Some(offered) => {
                            self.reanswered(session, &offered, bodies::description_or_none(request))
                        }
                        None => self.sessions.put(session),
                    };
                }
                session.phase = Phase::Live(live);
                self.sessions.put(session);
            }
            other @ (Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) | Phase::Leaving(_)) => {
                session.phase = other;
                self.sessions.put(session);
            }
        }
    }

    /// Answered -> Live.
    //= IM S-11
    fn acknowledged(&mut self, mut session: Session, ack: &Message<'_>) {
        self.disarm(&mut session, Why::Resend2xx);
        self.disarm(&mut session, Why::No2xxAck);
        let Phase::Answered(answered) = session.phase else { return };
        let Answered { mut talk, own, leave, .. } = *answered;
        let mut broken = None;
        //= IM S-1a
        if let Some(own) = own {
            match self.read_answer(session.account, session.flow, &own, bodies::description_or_none(ack)) {
                Ok((stream, _)) if !own.local.is_relayed() && !self.may_aim(session.source, &stream) => {
                    broken = Some("the answer makes us connect to where its sender is not".to_owned());
                }
                Ok((stream, origin)) => {
                    talk.agreed = Some(self.agree(&own, stream, origin));
                }
                Err(why) => broken = Some(why),
            }
            if talk.agreed.is_none() {
                self.drop_offer(&own);
            }
        }
        session.phase = Phase::Live(Box::new(Live::of(talk)));
        self.tell_established(&session);
        match (broken, leave) {
            (Some(why), _) => {
                self.explain(
                    session.account,
                    Some(session.id),
                    "S-1a",
                    "left: the answer cannot be taken",
                    &why,
                );
                self.bye(session, Ended::MediaFailed { why });
            }
            (None, Some(ended)) => self.bye(session, ended),
            (None, None) if session.has_lost_media() => self.mend(session),
            (None, None) => self.stand(session),
        }
    }

    /// The session stands: what waited for that leaves.
    pub(crate) fn stand(&mut self, mut session: Session) {
        let id = session.id;
        self.follow_conference(&mut session);
        // An UPDATE may have come before the ACK.
        if session.phase.chat().is_none() && !self.files.are_on(id) {
            return self.await_stream(session);
        }
        self.watch_fall_back(&mut session);
        self.sessions.put(session);
        self.pump_msrp();
        // One by one: should the media fail meanwhile, the rest is told of before the end.
        while let Some(message) = self.sessions.get_mut(id).and_then(Session::next_queued) {
            self.say_queued(id, message);
        }
        self.supersede(id);
    }

    pub(crate) fn tell_established(&mut self, session: &Session) {
        let remote = session.phase.talk().map(|talk| &talk.remote);
        let what = What::Established {
            peer: session.peer.clone(),
            session_identity: remote.map(|remote| remote.session_identity.to_string()).unwrap_or_default(),
            //= IM G-4x
            conference: remote.is_some_and(|remote| remote.focus().is_some()),
        };
        self.tell(session.account, Some(session.id), what);
        if session.phase.chat().is_some_and(|chat| !chat.stream.direction.sends()) {
            self.tell(session.account, Some(session.id), What::Held);
        }
    }

    /// No ACK came within 64*T1: the session is agreed and over (RFC 3261 13.3.1.4).
    pub(crate) fn never_acknowledged(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        self.disarm_all(&mut session);
        // An offer of ours that nobody answered has its MSRP session too.
        self.drop_media(&session);
        if let Phase::Answered(answered) = session.phase {
            session.phase = Phase::Live(Box::new(Live::of(answered.talk)));
        }
        self.explain(session.account, Some(id), "RFC 3261 13.3.1.4", "left: no ACK for our 200 in 64*T1", "");
        self.bye(session, Ended::NoAck);
    }

    /// The user leaves, or takes an invitation back.
    pub(crate) fn leave(&mut self, id: SessionId) -> Result<(), Misuse> {
        let mut session = self.sessions.take(id).ok_or(Misuse::NoSession)?;
        match session.phase {
            Phase::Live(live) => {
                session.phase = Phase::Live(live);
                self.bye(session, Ended::Left);
                Ok(())
            }
            Phase::Answered(mut answered) => {
                // RFC 3261 15: the callee's BYE must wait for the ACK.
                answered.leave = Some(Ended::Left);
                session.phase = Phase::Answered(answered);
                self.sessions.put(session);
                Ok(())
            }
            Phase::Inviting(_) => {
                self.take_back(session);
                Ok(())
            }
            Phase::Invited(_) => {
                self.sessions.put(session);
                self.decline(id, crate::verb::Decline::Declined)
            }
            Phase::Leaving(_) => {
                let state = session.phase.name();
                self.sessions.put(session);
                Err(Misuse::WrongState { state, verb: "leave" })
            }
        }
    }
}

/// Whether the host of a URI is this address.
pub(crate) fn is_at(uri: &str, address: IpAddr) -> bool {
    Uri::parse(uri.as_bytes()).is_ok_and(|uri| literal(uri.host()) == Some(address))
}
