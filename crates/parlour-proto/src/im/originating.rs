//! Inviting somebody to a 1-1 session: one offer, and what comes of it.

use std::time::Duration;

use crate::config::Proxy;
use crate::event::{Ended, Kind, Peer, What};
use crate::im::Core;
use crate::im::bodies;
use crate::im::composing::Writing;
use crate::im::core::{Accepted, Acknowledged, Deadline, Errand, Purpose};
use crate::im::flows::Source;
use crate::im::large::Large;
use crate::im::leaving::NextHop;
use crate::im::media::OwnOffer;
use crate::im::prack::{Provisional, dialog_of};
use crate::im::replaces::conversation;
use crate::im::room::Room;
use crate::im::session::{Call, Inviting, Live, Phase, Remote, Sent, Session, Talk, Ties, uri_of};
use crate::im::session_timer::SessionTimer;
use crate::im::stamp::Draft;
use crate::im::trust;
use crate::io::{AccountId, FileId, FlowId, SessionId, Transport, Why};
use crate::sdp;
use crate::sip::dialog::{Dialog, DialogKey};
use crate::sip::digest::Chain;
use crate::sip::header::{CSeq, RetryAfter, To, Warning};
use crate::sip::message::{Kept, Message, Start};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::ClientId;
use crate::sip::uri::{Scheme, Uri};
use crate::text;
use crate::verb::{FileOffer, Misuse};

/// The flow of a session whose next hop is not known yet. The shell gives no stream this number.
const NOWHERE: FlowId = FlowId::Stream(0);

/// RFC 3261 13.2.2.4 and 9.1: how long a 2xx may come again, and how long a cancelled INVITE may stay unanswered.
const PATIENCE: Duration = Duration::from_secs(32);

/// Of a refusal, so many warnings are told, and so many characters of each.
const WARNINGS: usize = 4;
const WARNING: usize = 200;

/// INVITEs that are sent again because a 422 said what would be right.
const CORRECTIONS: u32 = 4;

/// Further forks of an INVITE whose 2xx is answered: whoever sends more makes them up to have us send.
const FORKS: usize = 16;

impl Core {
    /// Invites `to` to a chat, through `via`, else the account's proxy, else straight to its host.
    pub(crate) fn invite(
        &mut self,
        id: SessionId,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
        large: Option<Large>,
    ) -> Result<(), Misuse> {
        self.invite_for(id, account, to, via, Vec::new(), large).map(drop)
    }

    /// The same for files, if there are any, or for one large message.
    pub(crate) fn invite_for(
        &mut self,
        id: SessionId,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
        files: Vec<FileOffer>,
        large: Option<Large>,
    ) -> Result<Vec<FileId>, Misuse> {
        // All sessions have been left: nobody would leave this one.
        if self.leaving {
            return Err(Misuse::Ending);
        }
        //= IM G-4u
        // An IM Session Identity is taken as it was told: a Contact.
        let to =
            if to.contains('<') { uri_of(to).ok_or_else(|| Misuse::BadAddress(to.to_owned()))? } else { to };
        let bad = || Misuse::BadAddress(to.to_owned());
        let uri = Uri::parse(to.as_bytes()).map_err(|_| bad())?;
        if !matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) {
            return Err(bad());
        }
        let proxy = self.account(account).ok_or(Misuse::NoAccount)?.proxy.clone();
        //= IM D-21
        if self.prefers_tls() && self.config.fingerprints.is_empty() {
            return Err(Misuse::TlsRequired);
        }
        let named = via.or(proxy);
        let own_hop = named.is_some();
        let hop = named.unwrap_or_else(|| hop_of(&uri));
        let call = Call {
            uri: to.into(),
            call_id: self.random.ident(24).into(),
            tag: self.tag().into(),
            cseq: 0,
            hop: hop.clone(),
            own_hop,
        };
        let flow = self.reach(Errand::Invite(id), &hop).transpose().map_err(Misuse::NoRoute)?;
        let kind = match (&large, files.is_empty()) {
            (Some(_), _) => Kind::LargeMessage,
            (None, false) => Kind::Files,
            (None, true) => Kind::Chat,
        };
        let inviting = Inviting {
            call,
            sent: None,
            own: None,
            proceeding: false,
            ringing: false,
            cancelled: None,
            early: Vec::new(),
            forks: Vec::new(),
            chain: Chain::default(),
            asked: None,
        };
        let session = Session {
            id,
            account,
            peer: Peer { address: trust::plain(to.as_bytes()), display_name: None, verified: false },
            flow: NOWHERE,
            source: self.source(NOWHERE),
            timers: Vec::new(),
            phase: Phase::Inviting(Box::new(inviting)),
            timer: SessionTimer::default(),
            queue: Vec::new(),
            writing: Writing::default(),
            room: Room::default(),
            large,
            ties: Ties::default(),
        };
        self.sessions.put(session);
        self.tell(account, Some(id), What::Inviting { to: to.to_owned(), kind });
        let files = self.own_files((account, id), files);
        if let Some(flow) = flow {
            self.invite_over(id, Ok(flow));
        }
        Ok(files)
    }

    /// The next hop is known, or cannot be.
    pub(crate) fn invite_over(&mut self, id: SessionId, flow: Result<FlowId, String>) {
        let Some(mut session) = self.sessions.take(id) else { return };
        match flow {
            Ok(flow) => {
                (session.flow, session.source) = (flow, self.source(flow));
                self.start_invite(session);
            }
            Err(why) => self.end(session, Ended::Lost { why }),
        }
    }

    /// A stream that a session waited for stands, so its local address is known.
    pub(crate) fn start_invite(&mut self, mut session: Session) {
        let Phase::Inviting(inviting) = &mut session.phase else { return self.sessions.put(session) };
        if let Some(why) = inviting.cancelled.take() {
            return self.end(session, why);
        }
        // The offer names our own address, which a stream has only once it stands: `flow_stands` comes back here.
        let owner = (session.account, session.id);
        if self.waits_for_relay(owner.0, owner.1, self.files.of(owner.1).len().max(1), None) {
            return self.sessions.put(session);
        }
        if let Some(why) = self.lacks_relay(owner.0, None) {
            return self.end(session, Ended::Lost { why });
        }
        let own = match self.files.of(session.id).is_empty() {
            true => self.make_offer(owner, session.flow),
            false => self.offer_files(owner, session.flow),
        };
        let Some(own) = own else { return self.sessions.put(session) };
        inviting.own = Some(own);
        self.send_invite(session, &[]);
    }

    /// A SIP stream of ours stands: invitations, and requests inside sessions, that waited for it leave.
    pub(crate) fn flow_stands(&mut self, flow: FlowId) {
        for id in self.sessions.waiting_for(flow) {
            match self.sessions.take(id) {
                Some(session) if matches!(session.phase, Phase::Live(_)) => self.renew_over(session, flow),
                Some(session) => self.start_invite(session),
                None => {}
            }
        }
    }

    /// A SIP stream of ours never stood.
    pub(crate) fn flow_failed(&mut self, flow: FlowId, why: &str) {
        for id in self.sessions.waiting_for(flow) {
            match self.sessions.take(id) {
                Some(session) if matches!(session.phase, Phase::Live(_)) => self.renewal_failed(session, why),
                Some(session) => self.end(session, Ended::Lost { why: why.to_owned() }),
                None => {}
            }
        }
    }

    fn send_invite(&mut self, mut session: Session, rows: &[(Name, String)]) {
        self.leave_icons_out_of_datagrams(&mut session);
        let related = self.with_icons(&session);
        let wishes = session.wishes();
        let Phase::Inviting(inviting) = &mut session.phase else { return self.sessions.put(session) };
        inviting.call.cseq = inviting.call.cseq.saturating_add(1);
        inviting.proceeding = false;
        // RFC 3262 4: each INVITE has its own numbers.
        inviting.forks.clear();
        let policy = self.timer_policy();
        inviting.asked = session.timer.asks(policy, false);
        let rows = [session.timer.request_rows(policy, false).as_slice(), &wishes, rows].concat();
        let (Some(account), Some(own)) = (self.account(session.account), &inviting.own) else { return };
        let plain = ("application/sdp", own.offered.octets.as_slice());
        let body = related.as_ref().map_or(plain, |(kind, octets)| (kind.as_str(), octets.as_slice()));
        let from = format!("{};tag={}", account.from(), inviting.call.tag);
        let to = format!("<{}>", inviting.call.uri);
        let routes = account.routes(&inviting.call.hop, &inviting.call.uri);
        let draft = Draft {
            method: Method::Invite,
            uri: &inviting.call.uri,
            flow: session.flow,
            account: session.account,
            routes: &routes,
            from: &from,
            to: &to,
            call_id: &inviting.call.call_id,
            cseq: inviting.call.cseq,
            rows: &rows,
            body: Some(body),
        };
        let octets = self.request(&draft);
        let Ok(request) = Message::parse(&octets).map(|message| message.keep()) else {
            return self.end(session, Ended::Lost { why: "the INVITE would be malformed".into() });
        };
        let client = self.dispatch(session.flow, octets, Purpose::Invite(session.id));
        if let Phase::Inviting(inviting) = &mut session.phase {
            inviting.sent = Some(Sent { client, request });
        }
        self.sessions.put(session);
    }

    /// A response to our INVITE.
    pub(crate) fn invite_answered(
        &mut self,
        id: SessionId,
        client: ClientId,
        flow: FlowId,
        response: &Message<'_>,
    ) {
        let Some(session) = self.sessions.take(id) else { return };
        let status = response.status().unwrap_or(0);
        match (&session.phase, status) {
            (Phase::Inviting(_), 100..200) => self.invite_proceeds(session, flow, status, response),
            (Phase::Inviting(_), 200..300) => self.invite_accepted(session, client, flow, response),
            (Phase::Inviting(_), _) => self.invite_refused(session, status, response),
            (_, _) => self.sessions.put(session),
        }
    }

    /// No final response came.
    pub(crate) fn invite_unanswered(&mut self, id: SessionId, why: &str) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let taken_back = match &mut session.phase {
            Phase::Inviting(inviting) => inviting.cancelled.take(),
            Phase::Invited(_) | Phase::Answered(_) | Phase::Live(_) | Phase::Leaving(_) => None,
        };
        let lost = || Ended::Lost { why: why.to_owned() };
        self.end(session, taken_back.unwrap_or_else(lost));
    }

    fn invite_proceeds(&mut self, mut session: Session, flow: FlowId, status: u16, response: &Message<'_>) {
        let Phase::Inviting(inviting) = &mut session.phase else { return };
        let first = !inviting.proceeding;
        inviting.proceeding = true;
        let cancelled = inviting.cancelled.is_some();
        // RFC 3261 12.1: from 101 on, a response with a To tag makes an early dialog.
        if let Some(early) = DialogKey::of_response(response).filter(|_| status > 100)
            && inviting.early.len() < FORKS
            && !inviting.early.contains(&early)
        {
            inviting.early.push(early);
        }
        let asserted = trust::identity(response, self.trust(flow));
        session.ties.asserted = asserted.or(session.ties.asserted);
        let came = self.provisional_came(&mut session, status, response);
        let Phase::Inviting(inviting) = &mut session.phase else { return };
        let rings = status == 180 && !inviting.ringing && matches!(came, Provisional::News);
        inviting.ringing |= rings;
        if first {
            // From here on no transaction timer runs (RFC 3261 17.1.1.2): the other side may ring as long as ours does.
            self.arm(&mut session, Why::RingTimeout, self.now.instant + self.config.ring_timeout);
        }
        if rings {
            self.tell(session.account, Some(session.id), What::Ringing);
        }
        // RFC 3261 9.1: a CANCEL waits for the first provisional response.
        if cancelled && first {
            self.send_cancel(&mut session);
        }
        match came {
            Provisional::Unfit(why) => self.cancel_unfit(session, why),
            Provisional::News | Provisional::Old => self.sessions.put(session),
        }
    }

    /// 2xx: ACK at once, then talk, or BYE if the answer cannot be taken (RFC 3261 13.2.2.4).
    fn invite_accepted(
        &mut self,
        mut session: Session,
        client: ClientId,
        flow: FlowId,
        response: &Message<'_>,
    ) {
        self.disarm_all(&mut session);
        let Phase::Inviting(mut inviting) = session.phase else { return };
        let mut forks = std::mem::take(&mut inviting.forks);
        let made = inviting.sent.as_ref().and_then(|sent| {
            let (dialog, answer) = dialog_of(&mut forks, &sent.request, response)?;
            Some((sent.request.clone(), dialog, answer))
        });
        let Some((request, dialog, answer)) = made else {
            session.phase = Phase::Inviting(inviting);
            let why = "the 200 that came makes no dialog: its Contact, To or Record-Route cannot be read"
                .to_owned();
            return self.end(session, Ended::Lost { why });
        };
        if let Some(peer) = trust::callee(response, self.trust(flow)) {
            session.peer = peer;
        }
        session.ties.asserted = trust::identity(response, self.trust(flow));
        session.ties.conversation = conversation(response).or(session.ties.conversation);
        let (flow, source) = (session.flow, session.source);
        let ack = self.acknowledge(&dialog, session.account, (flow, source), &request, response);
        let accepted = Accepted { account: session.account, request, flow, source, acks: vec![ack], forks };
        self.requests.insert(client, Purpose::Accepted(Box::new(accepted)));
        self.timers.arm(self.now.instant + PATIENCE, Deadline::Accepted(client));

        let remote = Remote::of(response);
        let Inviting { own, cancelled, asked, .. } = *inviting;
        // RFC 4028 7.4: in the dialog only what is heard in it counts.
        session.timer = SessionTimer::default();
        self.sessions.index_dialog(&dialog, session.id);
        let (agreed, broken) = match &own {
            // RFC 3261 9.1: the CANCEL came too late, and nobody wants the media any more.
            Some(_) | None if cancelled.is_some() => (None, None),
            // RFC 3261 13.2.1: after the first description of a reliable response all others are passed over.
            Some(own) if own.msrp.is_none() => {
                let body = bodies::description_or_none(response);
                match self.files_taken((session.account, session.id), session.flow, own, body) {
                    Ok(agreed) => (Some(agreed), None),
                    Err(why) => (None, Some(why)),
                }
            }
            Some(own) => {
                match answer.map_or_else(
                    || {
                        self.read_answer(
                            session.account,
                            session.flow,
                            own,
                            bodies::description_or_none(response),
                        )
                    },
                    Ok,
                ) {
                    Ok((stream, origin)) => (Some(self.agree(own, stream, origin)), None),
                    Err(why) => (None, Some(why)),
                }
            }
            None => (None, Some("we made no offer".to_owned())),
        };
        if let (None, Some(own)) = (&agreed, &own) {
            self.drop_offer(own);
        }
        let talk = Talk { dialog, remote, agreed, lost: None, unpracked: None };
        session.phase = Phase::Live(Box::new(Live::of(talk)));
        if let Some(why) = cancelled {
            return self.bye(session, why);
        }
        if let Some(why) = broken {
            self.explain(session.account, Some(session.id), "S-1", "left: the answer cannot be taken", &why);
            return self.bye(session, Ended::MediaFailed { why });
        }
        self.timer_granted(&mut session, asked, response);
        self.tell_established(&session);
        self.stand(session);
    }

    /// Sends the ACK for a 2xx, and returns what a repeated one needs.
    pub(crate) fn acknowledge(
        &mut self,
        dialog: &Dialog,
        account: AccountId,
        (made_on, source): (FlowId, Source),
        request: &Kept,
        response: &Message<'_>,
    ) -> Acknowledged {
        let cseq = response.one::<CSeq<'_>>().map_or(1, |cseq| cseq.number);
        let flow = match self.next_hop(dialog, made_on, source) {
            NextHop::Over(flow) => flow,
            // The 2xx that it answers came by this way a moment ago.
            NextHop::Named(_) | NextHop::Unreachable(_) => made_on,
        };
        // RFC 3261 22.1: an ACK cannot be challenged, so it repeats the credentials of its INVITE.
        let rows: Vec<(Name, String)> = [Name::Authorization, Name::ProxyAuthorization]
            .into_iter()
            .flat_map(|name| {
                let invite = request.message();
                let values: Vec<_> =
                    invite.rows(name).map(|row| (name, String::from_utf8_lossy(row).into_owned())).collect();
                values
            })
            .collect();
        let octets = self.ack(dialog, cseq, flow, account, &rows);
        self.send(flow, octets.clone());
        Acknowledged { remote_tag: dialog.remote_tag().into(), flow, ack: octets.into() }
    }

    /// The same 2xx again gets the same ACK; the first one of another fork gets ACK and BYE.
    pub(crate) fn accepted_again(
        &mut self,
        client: ClientId,
        mut accepted: Accepted,
        response: &Message<'_>,
    ) {
        if !response.status().is_some_and(|status| (200..300).contains(&status)) {
            return;
        }
        let tag = response.one::<To<'_>>().ok().and_then(|to| to.tag()).unwrap_or_default();
        if let Some(known) = accepted.acks.iter().find(|known| *known.remote_tag == *tag) {
            return self.send(known.flow, known.ack.to_vec());
        }
        // RFC 3261 12: a request inside a dialog goes to one place, and a 2xx of another one is made up.
        let inside = accepted.request.message().one::<To<'_>>().is_ok_and(|to| to.tag().is_some());
        if inside || accepted.acks.len() > FORKS {
            return;
        }
        let Some((mut fork, _)) = dialog_of(&mut accepted.forks, &accepted.request, response) else { return };
        let way = (accepted.flow, accepted.source);
        let ack = self.acknowledge(&fork, accepted.account, way, &accepted.request, response);
        let bye = self.request_in_dialog(&mut fork, Method::Bye, ack.flow, accepted.account, &[]);
        self.dispatch(ack.flow, bye, Purpose::Cancel);
        accepted.acks.push(ack);
        self.requests.insert(client, Purpose::Accepted(Box::new(accepted)));
    }

    fn invite_refused(&mut self, mut session: Session, status: u16, response: &Message<'_>) {
        let Phase::Inviting(inviting) = &mut session.phase else { return };
        if let Some(why) = inviting.cancelled.take() {
            return self.end(session, why);
        }
        let uri = inviting.call.uri.clone();
        if inviting.call.own_hop
            && matches!(status, 401 | 407)
            && let Some(rows) =
                self.credentials_for(session.account, &mut inviting.chain, Method::Invite, &uri, response)
        {
            return self.send_invite(session, &rows);
        }
        // RFC 4028 7.3: each further INVITE asks for more than the one before, so there cannot be many.
        if status == 422 && inviting.call.cseq <= CORRECTIONS && session.timer.raise(inviting.asked, response)
        {
            let decision = "invited again: somebody on the way wants a longer session interval";
            let input = format!("Min-SE: {}", session.timer.min_se.unwrap_or(0));
            self.explain(session.account, Some(session.id), "D-56", decision, &input);
            return self.send_invite(session, &[]);
        }
        // RFC 5547 8.8: who takes no bodies of several parts, or none of that size, is offered the files without previews.
        if matches!(status, 413 | 415 | 513) && self.drop_icons(&mut session) {
            let decision = "invited again without previews of the files";
            self.explain(session.account, Some(session.id), "D-40", decision, &status.to_string());
            return self.send_invite(session, &[]);
        }
        // A 3xx is told and not followed: where it leads, nobody has agreed to go.
        //= IM X-14
        let reason = reason_phrase(response);
        let retry_after = response.maybe::<RetryAfter>().ok().flatten();
        let retry_after = retry_after.map(|RetryAfter(seconds)| Duration::from_secs(seconds.into()));
        let warning = warning_of(response);
        self.end(session, Ended::Refused { status, reason, warning, retry_after });
    }

    /// The user takes an invitation back.
    pub(crate) fn take_back(&mut self, session: Session) {
        self.cancel_invite(session, Ended::Left);
    }

    /// An invitation of ours is not wanted any more.
    pub(crate) fn cancel_invite(&mut self, mut session: Session, why: Ended) {
        let Phase::Inviting(inviting) = &mut session.phase else { return };
        let (already, proceeding) = (inviting.cancelled.is_some(), inviting.proceeding);
        if inviting.sent.is_none() {
            return self.end(session, why);
        }
        let why = inviting.cancelled.get_or_insert(why).clone();
        // Whatever the answer is, nothing of it will be sent: nobody has to wait to hear that.
        self.fail_queue(&mut session, &why);
        if proceeding && !already {
            self.send_cancel(&mut session);
        }
        self.sessions.put(session);
    }

    fn send_cancel(&mut self, session: &mut Session) {
        let Phase::Inviting(inviting) = &session.phase else { return };
        let Some(sent) = &inviting.sent else { return };
        let cancel = self.cancel(&sent.request.message());
        self.dispatch(session.flow, cancel, Purpose::Cancel);
        self.arm(session, Why::Leave, self.now.instant + PATIENCE);
    }

    /// RFC 3261 9.1: with no final response 64*T1 after the CANCEL, the INVITE counts as cancelled.
    pub(crate) fn cancel_unanswered(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let mut why = None;
        if let Phase::Inviting(inviting) = &mut session.phase
            && let Some(sent) = &inviting.sent
        {
            self.tx.forget_client(sent.client);
            self.requests.remove(&sent.client);
            why = inviting.cancelled.take();
        }
        self.end(session, why.unwrap_or(Ended::Left));
    }

    /// Reads the answer to an offer of ours.
    pub(crate) fn read_answer(
        &self,
        account: AccountId,
        flow: FlowId,
        own: &OwnOffer,
        body: &[u8],
    ) -> Result<(sdp::Stream, sdp::Origin), String> {
        if body.is_empty() {
            return Err("the answer to our offer is missing".into());
        }
        let answer = sdp::parse(body).map_err(|fault| fault.to_string())?;
        let stream = sdp::read_answer(&own.offered, &answer, &self.capabilities(account, flow))
            .map_err(|refusal| refusal.text)?;
        Ok((stream, answer.origin))
    }
}

/// What a response says in words.
pub(crate) fn reason_phrase(response: &Message<'_>) -> String {
    match response.start() {
        Start::Response { reason, .. } => text::neutral_bytes(reason),
        Start::Request { .. } => String::new(),
    }
}

/// What its Warning headers say, made harmless; broken ones say nothing.
fn warning_of(response: &Message<'_>) -> Option<String> {
    let texts =
        response.list::<Warning>().flatten().map(|warning| warning.text).filter(|text| !text.is_empty());
    let texts: Vec<String> = texts.take(WARNINGS).map(|text| text::neutral_within(&text, WARNING)).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// Where a request goes that no proxy takes (RFC 3263 4, without SRV and NAPTR).
pub(crate) fn hop_of(uri: &Uri<'_>) -> Proxy {
    let transport = match uri.param("transport").flatten() {
        Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case("tls") => Transport::Tls,
        _ if uri.scheme() == Scheme::Sips => Transport::Tls,
        _ => Transport::Udp,
    };
    Proxy { host: uri.host().to_owned(), port: uri.port(), transport }
}
