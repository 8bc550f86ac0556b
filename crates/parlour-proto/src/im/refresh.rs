//! Our own requests inside a session: UPDATE, or INVITE with the description that stands, refreshes it (RFC 4028 10).

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Proxy;
use crate::event::Ended;
use crate::im::Core;
use crate::im::bodies;
use crate::im::core::{Accepted, Deadline, Errand, Late, Purpose};
use crate::im::leaving::NextHop;
use crate::im::media::{Agreed, OwnOffer};
use crate::im::session::{Live, Phase, Sent, Session};
use crate::io::{FlowId, SessionId, Why};
use crate::sdp::{self, Offered, Setup};
use crate::sip::dialog::Role;
use crate::sip::digest::Chain;
use crate::sip::header::{CSeq, MethodSet, RetryAfter};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::{ClientId, T1};

/// How often one request is sent again at once because its refusal said what would be right.
const CORRECTIONS: u8 = 3;

/// How often one refresh is put off, as its refusal asks for. RFC 4028 10: nobody is asked for ever who says the same again
/// and again; the session goes on until its timer ends it.
const PUT_OFF: u8 = 8;

/// A request of ours inside a session, until its final response.
#[derive(Debug)]
pub(crate) struct Renewal {
    asks: Asks,
    /// The stream whose standing it waits for.
    way: Option<FlowId>,
    /// Its transaction and octets, once it has left.
    sent: Option<Sent>,
    /// The session interval that it asks for, in seconds.
    asked: Option<u32>,
    /// The challenges answered so far, and the rows that answer the last one.
    chain: Chain,
    credentials: Vec<(Name, String)>,
    corrections: u8,
}

/// What a request of ours inside a session asks for.
#[derive(Debug)]
enum Asks {
    /// UPDATE, without an offer: nothing changes.
    Nothing,
    /// INVITE with the description that stands.
    TheSame,
    /// INVITE with an offer of a new MSRP session, which is made when the way is known.
    Media(Option<Box<OwnOffer>>),
    /// INVITE with an offer that disables the lines of files that are over; it is made when the way is known.
    Lines(Option<Box<Offered>>),
    /// INVITE with the offer that stands, but without CEMA (RFC 6714 4.2); it is made when the way is known.
    WithoutCema(Option<Box<Offered>>),
}

impl Asks {
    fn method(&self) -> Method {
        match self {
            Asks::Nothing => Method::Update,
            Asks::TheSame | Asks::Media(_) | Asks::Lines(_) | Asks::WithoutCema(_) => Method::Invite,
        }
    }

    fn offer(&self) -> Option<&OwnOffer> {
        match self {
            Asks::Media(own) => own.as_deref(),
            Asks::Nothing | Asks::TheSame | Asks::Lines(_) | Asks::WithoutCema(_) => None,
        }
    }
}

impl Renewal {
    fn new(asks: Asks) -> Renewal {
        Renewal {
            asks,
            way: None,
            sent: None,
            asked: None,
            chain: Chain::default(),
            credentials: Vec::new(),
            corrections: 0,
        }
    }

    /// One that is to mend the media.
    pub(crate) fn mending() -> Renewal {
        Renewal::new(Asks::Media(None))
    }

    /// One that is to disable the lines of files.
    pub(crate) fn lines() -> Renewal {
        Renewal::new(Asks::Lines(None))
    }

    /// One that is to offer the same without CEMA.
    pub(crate) fn without_cema() -> Renewal {
        Renewal::new(Asks::WithoutCema(None))
    }

    /// Whether it leaves as soon as this flow stands.
    pub(crate) fn waits_for(&self, flow: FlowId) -> bool {
        self.way == Some(flow)
    }

    /// Whether it makes an offer, which one of the peer would collide with.
    pub(crate) fn offers(&self) -> bool {
        self.asks.method() == Method::Invite
    }
}

impl Core {
    /// A request of ours inside a session is due.
    pub(crate) fn refresh_due(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.take(id) else { return };
        session.timers.retain(|(reason, _)| *reason != Why::Refresh);
        let Phase::Live(live) = &session.phase else { return self.sessions.put(session) };
        if live.renewal.is_some() {
            return self.sessions.put(session);
        }
        // RFC 3261 14.1: no INVITE while another one of the dialog is not finished.
        if live.is_asked() {
            self.retry_after_glare(&mut session, Why::Refresh);
            return self.sessions.put(session);
        }
        match refresh(&live.talk.remote.allow).filter(|_| live.talk.agreed.is_some()) {
            Some(asks) => self.renew(session, Renewal::new(asks)),
            None => {
                let decision = "not refreshed: the other side takes neither UPDATE nor INVITE";
                self.explain(session.account, Some(id), "G-3u", decision, "");
                self.sessions.put(session);
            }
        }
    }

    /// Sends a request inside a session, as soon as its next hop is known.
    pub(crate) fn renew(&mut self, mut session: Session, renewal: Renewal) {
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        live.renewal = Some(Box::new(renewal));
        match self.next_hop(&live.talk.dialog, session.flow, session.source) {
            NextHop::Over(flow) => self.renew_over(session, flow),
            NextHop::Named(hop) => {
                self.look_up(Errand::Renew(session.id), hop);
                self.sessions.put(session);
            }
            NextHop::Unreachable(why) => self.renewal_failed(session, why),
        }
    }

    /// The name of the next hop was looked up.
    pub(crate) fn renewal_resolved(&mut self, id: SessionId, hop: &Proxy, addresses: &[IpAddr]) {
        let Some(session) = self.sessions.take(id) else { return };
        match self.way_to(Core::may_reach, session.source, hop, addresses) {
            Ok(flow) => self.renew_over(session, flow),
            Err(why) => self.renewal_failed(session, &why),
        }
    }

    /// The way is known.
    pub(crate) fn renew_over(&mut self, mut session: Session, flow: FlowId) {
        let policy = self.timer_policy();
        let Some(renewal) = session.renewal_mut() else { return self.sessions.put(session) };
        // A stream tells our address, which Contact and offers need, once it stands.
        renewal.way = self.flows.local(flow).is_none().then_some(flow);
        if renewal.way.is_some() {
            return self.sessions.put(session);
        }
        let unmade = matches!(renewal.asks, Asks::Media(None));
        // The way that made the dialog is gone, and this one takes its place.
        if !self.flows.is_usable(session.flow) {
            session.flow = flow;
        }
        if unmade {
            let Some(own) = self.offer_anew(&session) else {
                return self.renewal_failed(session, "we have no address to offer");
            };
            if let Some(renewal) = session.renewal_mut() {
                renewal.asks = Asks::Media(Some(Box::new(own)));
            }
        }
        let unmade = |asks: &Asks| matches!(asks, Asks::Lines(None) | Asks::WithoutCema(None));
        if session.renewal_mut().is_some_and(|renewal| unmade(&renewal.asks)) {
            let Ok(made) = self.offer_again(flow, &mut session) else {
                return self.renewal_failed(session, "there is nothing left to offer");
            };
            if let Some(Asks::Lines(offered) | Asks::WithoutCema(offered)) =
                session.renewal_mut().map(|renewal| &mut renewal.asks)
            {
                *offered = Some(Box::new(made));
            }
        }
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        let Live { talk, renewal: Some(renewal), .. } = &mut **live else {
            return self.sessions.put(session);
        };
        renewal.asked = session.timer.asks(policy, true);
        let mut rows = session.timer.request_rows(policy, true);
        rows.append(&mut renewal.credentials);
        // RFC 4028 7.4: an UPDATE bears no offer, and an unchanged INVITE says so by the o= line that stands.
        let body = match &renewal.asks {
            Asks::Nothing => None,
            Asks::TheSame => talk.agreed.as_ref().map(|agreed| &*agreed.description),
            Asks::Media(own) => own.as_ref().map(|own| own.offered.octets.as_slice()),
            Asks::Lines(offered) | Asks::WithoutCema(offered) => {
                offered.as_ref().map(|offered| offered.octets.as_slice())
            }
        }
        .map(|body| ("application/sdp", body));
        let method = renewal.asks.method();
        let octets = self.offer_in_dialog(&mut talk.dialog, method, flow, session.account, &rows, body);
        let Ok(request) = Message::parse(&octets).map(|message| message.keep()) else {
            return self.renewal_failed(session, "it would be malformed");
        };
        let client = self.dispatch(flow, octets, Purpose::Renew(session.id));
        renewal.sent = Some(Sent { client, request });
        self.sessions.put(session);
    }

    /// A response to our request inside a session.
    pub(crate) fn renewal_answered(&mut self, id: SessionId, client: ClientId, response: &Message<'_>) {
        let Some(mut session) = self.sessions.take(id) else { return };
        let status = response.status().unwrap_or(0);
        let awaited = match &mut session.phase {
            Phase::Live(live) => live.renewal.take_if(|renewal| renewal.is_sent_as(client)),
            Phase::Leaving(_) | Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) => None,
        };
        match (awaited, status) {
            (None, _) => self.sessions.put(session),
            (Some(renewal), 100..200) => {
                if let Phase::Live(live) = &mut session.phase {
                    live.renewal = Some(renewal);
                }
                // No timer of the transaction ends it any more.
                if !session.is_armed(Why::Unanswered) {
                    self.arm(&mut session, Why::Unanswered, self.now.instant + T1 * 64);
                }
                self.sessions.put(session);
            }
            (Some(renewal), 200..300) => self.renewed(session, *renewal, client, response),
            (Some(renewal), _) => self.renewal_refused(session, *renewal, status, response),
        }
    }

    /// No final response came.
    pub(crate) fn renewal_unanswered(&mut self, id: SessionId) {
        let Some(session) = self.sessions.take(id) else { return };
        if !matches!(&session.phase, Phase::Live(live) if live.renewal.is_some()) {
            return self.sessions.put(session);
        }
        // RFC 3261 12.2.1.2: no answer at all ends the dialog.
        self.dialog_lost(session, "the other side does not answer", "no final response to our request");
    }

    fn renewed(&mut self, mut session: Session, renewal: Renewal, client: ClientId, response: &Message<'_>) {
        self.disarm(&mut session, Why::Unanswered);
        let way = (session.flow, session.source);
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        let talk = &mut live.talk;
        if let (Method::Invite, Some(sent)) = (renewal.asks.method(), renewal.sent) {
            let ack = self.acknowledge(&talk.dialog, session.account, way, &sent.request, response);
            let (flow, source) = way;
            let accepted = Accepted {
                account: session.account,
                request: sent.request,
                flow,
                source,
                acks: vec![ack],
                forks: Vec::new(),
            };
            self.requests.insert(client, Purpose::Accepted(Box::new(accepted)));
            self.timers.arm(self.now.instant + T1 * 64, Deadline::Accepted(client));
        }
        // RFC 3261 12.2.1.2: the 2xx refreshes the remote target. A Contact that cannot be read leaves it.
        let _ = talk.dialog.refresh_target(response);
        talk.remote.follow(response);
        self.timer_granted(&mut session, renewal.asked, response);
        self.follow_conference(&mut session);
        match renewal.asks {
            Asks::Media(Some(own)) => self.recovered(session, *own, bodies::description_or_none(response)),
            Asks::TheSame => self.answered_otherwise(session, bodies::description_or_none(response)),
            Asks::Lines(Some(offered)) => {
                let id = session.id;
                self.reanswered(session, &offered, bodies::description_or_none(response));
                self.later(id, self.now.instant);
            }
            Asks::WithoutCema(Some(offered)) => {
                self.reanswered(session, &offered, bodies::description_or_none(response));
            }
            // RFC 3311 5.1: without an offer there is no answer.
            Asks::Nothing | Asks::Media(None) | Asks::Lines(None) | Asks::WithoutCema(None) => {
                self.sessions.put(session);
            }
        }
    }

    /// RFC 4975 8.4: the answer to an unchanged description may still bring another path. One that cannot be read leaves
    /// all as it is.
    fn answered_otherwise(&mut self, session: Session, answer: &[u8]) {
        let agreed = session.phase.talk().and_then(|talk| talk.agreed.as_ref());
        let changed =
            |agreed: &&Agreed| sdp::parse(answer).is_ok_and(|answer| answer.origin != agreed.origin);
        let changed = agreed.filter(changed).and_then(|agreed| Some((agreed, agreed.chat.as_ref()?)));
        let Some((agreed, chat)) = changed else {
            return self.sessions.put(session);
        };
        let offered = Offered {
            octets: agreed.description.to_vec(),
            // Who connects is open again, whatever our description says.
            setup: Setup::Actpass,
            path: agreed.local.path(chat.stream.role).into_owned(),
            listed: chat.stream.listed.clone(),
            takes: chat.stream.takes,
            cema: !agreed.local.without_cema && self.capabilities_in(&session).knows_cema(),
        };
        self.reanswered(session, &offered, answer);
    }

    fn renewal_refused(
        &mut self,
        mut session: Session,
        mut renewal: Renewal,
        status: u16,
        response: &Message<'_>,
    ) {
        self.disarm(&mut session, Why::Unanswered);
        renewal.corrections = renewal.corrections.saturating_add(1);
        if renewal.corrections <= CORRECTIONS && self.corrected(&mut session, &mut renewal, status, response)
        {
            return self.renew(session, renewal);
        }
        let seen = format!("{} answered {status}", renewal.asks.method().text());
        let recovers = matches!(renewal.asks, Asks::Media(_));
        let falls_back = matches!(renewal.asks, Asks::WithoutCema(_));
        renewal.asks.offer().into_iter().for_each(|own| self.drop_offer(own));
        let retry_after = match status {
            //= IM D-53
            // RFC 3261 12.2.1.2 and RFC 4028 10
            408 | 481 => {
                return self.dialog_lost(session, "the other side no longer knows the session", &seen);
            }
            491 => Some(self.glare_pause(&session)),
            500 | 503 => response
                .maybe()
                .ok()
                .flatten()
                .map(|RetryAfter(seconds)| Duration::from_secs(seconds.max(1).into())),
            _ => None,
        };
        match retry_after {
            Some(pause) if recovers => self.recovery_put_off(session, pause, &seen),
            Some(pause) if falls_back => self.fall_back_put_off(session, pause, &seen),
            Some(pause) if session.timer.put_off < PUT_OFF => {
                session.timer.put_off = session.timer.put_off.saturating_add(1);
                self.arm(&mut session, Why::Refresh, self.now.instant + pause);
                let decision = format!("the refresh is tried again in {} ms", pause.as_millis());
                self.explain(session.account, Some(session.id), "D-53", decision, &seen);
                self.sessions.put(session);
            }
            None if recovers => self.recovery_failed(session, &seen),
            None if falls_back => self.not_fallen_back(session, &seen),
            Some(_) | None => self.not_refreshed(session, &seen),
        }
    }

    /// Whether the refusal has said what would be right, and the request is that now.
    fn corrected(
        &mut self,
        session: &mut Session,
        renewal: &mut Renewal,
        status: u16,
        response: &Message<'_>,
    ) -> bool {
        let Phase::Live(live) = &mut session.phase else { return false };
        match status {
            401 | 407 => {
                let (account, target) = (session.account, live.talk.dialog.remote_target());
                let method = renewal.asks.method();
                let rows = self.credentials_inside(account, &mut renewal.chain, method, target, response);
                let answered = rows.is_some();
                renewal.credentials = rows.unwrap_or_default();
                answered
            }
            // RFC 4028 7.3
            422 => session.timer.raise(renewal.asked, response),
            // Its Allow was wrong, or has changed.
            405 | 501 if matches!(renewal.asks, Asks::Nothing) => {
                live.talk.remote.allow = without_update(response);
                let otherwise = refresh(&live.talk.remote.allow);
                let can_be = otherwise.is_some();
                renewal.asks = otherwise.unwrap_or(Asks::Nothing);
                can_be
            }
            _ => false,
        }
    }

    /// Our request could not leave.
    pub(crate) fn renewal_failed(&mut self, mut session: Session, why: &str) {
        let Phase::Live(live) = &mut session.phase else { return self.sessions.put(session) };
        match live.renewal.take().map(|renewal| renewal.asks) {
            Some(Asks::Media(own)) => {
                own.iter().for_each(|own| self.drop_offer(own));
                self.recovery_failed(session, why);
            }
            Some(Asks::WithoutCema(_)) => self.not_fallen_back(session, why),
            Some(Asks::Nothing | Asks::TheSame | Asks::Lines(_)) | None => self.not_refreshed(session, why),
        }
    }

    /// The session was not refreshed, and lives on for as long as its interval lasts.
    fn not_refreshed(&mut self, session: Session, why: &str) {
        let decision = "not refreshed: the session goes on until it expires";
        self.explain(session.account, Some(session.id), "D-56", decision, why);
        self.sessions.put(session);
    }

    /// RFC 3261 12.2.1.2: the peer has no such dialog any more, or is not there.
    fn dialog_lost(&mut self, session: Session, why: &str, seen: &str) {
        self.explain(session.account, Some(session.id), "RFC 3261 12.2.1.2", format!("left: {why}"), seen);
        self.bye(session, Ended::Lost { why: why.to_owned() });
    }

    /// Tries again when the two are unlikely to collide once more.
    pub(crate) fn retry_after_glare(&mut self, session: &mut Session, why: Why) {
        let pause = self.glare_pause(session);
        self.arm(session, why, self.now.instant + pause);
    }

    /// RFC 3261 14.1: whoever chose the Call-ID waits for longer, both in units of 10 ms.
    //= IM D-53
    fn glare_pause(&mut self, session: &Session) -> Duration {
        let owner = session.phase.dialog().is_some_and(|dialog| dialog.role() == Role::Uac);
        let (least, steps) = if owner { (2100, 191) } else { (0, 201) };
        Duration::from_millis(least) + Duration::from_millis(10).saturating_mul(self.dice(steps))
    }

    pub(crate) fn dice(&mut self, sides: u64) -> u32 {
        u32::try_from(self.random.below(sides)).unwrap_or(0)
    }

    /// The session ends while our request is out: whatever comes of it, it is forgotten in time.
    pub(crate) fn drop_renewal(&mut self, session: &mut Session) {
        let Phase::Live(live) = &mut session.phase else { return };
        let Some(renewal) = live.renewal.take() else { return };
        renewal.asks.offer().into_iter().for_each(|own| self.drop_offer(own));
        if let Some(Sent { client, request }) = renewal.sent {
            let timer = self.timers.arm(self.now.instant + T1 * 64, Deadline::Accepted(client));
            let dialog = live.talk.dialog.clone();
            let (account, flow, source) = (session.account, session.flow, session.source);
            let late = Late { account, dialog, request, flow, source, timer };
            self.requests.insert(client, Purpose::Late(Box::new(late)));
        }
    }

    /// A 2xx to a re-INVITE of a session that has ended meanwhile gets its ACK all the same (RFC 3261 13.2.2.4), each
    /// time that it comes. A BYE has ended the dialog already.
    pub(crate) fn renewed_late(&mut self, client: ClientId, late: Late, response: &Message<'_>) {
        let Late { account, dialog, request, flow, source, timer } = late;
        let is_invite = response.one::<CSeq<'_>>().is_ok_and(|cseq| cseq.method == Method::Invite);
        if !is_invite {
            return;
        }
        let acks = vec![self.acknowledge(&dialog, account, (flow, source), &request, response)];
        let accepted = Accepted { account, request, flow, source, acks, forks: Vec::new() };
        self.requests.insert(client, Purpose::Accepted(Box::new(accepted)));
        self.timers.cancel(timer);
        self.timers.arm(self.now.instant + T1 * 64, Deadline::Accepted(client));
    }
}

impl Session {
    fn renewal_mut(&mut self) -> Option<&mut Renewal> {
        match &mut self.phase {
            Phase::Live(live) => live.renewal.as_deref_mut(),
            Phase::Inviting(_) | Phase::Invited(_) | Phase::Answered(_) | Phase::Leaving(_) => None,
        }
    }
}

impl Renewal {
    fn is_sent_as(&self, client: ClientId) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.client == client)
    }
}

/// How a peer is asked to refresh: never by a method that it left out of Allow; without Allow, by one that all take.
//= IM G-3u
fn refresh(allow: &MethodSet) -> Option<Asks> {
    let known = |method| allow.is_known() && allow.contains(method);
    if known(Method::Update) {
        return Some(Asks::Nothing);
    }
    takes_invite(allow).then_some(Asks::TheSame)
}

/// Whether a peer takes an INVITE inside a session: not if it left that out of Allow.
pub(crate) fn takes_invite(allow: &MethodSet) -> bool {
    !allow.is_known() || allow.contains(Method::Invite)
}

/// What a peer takes that has just refused an UPDATE.
fn without_update(response: &Message<'_>) -> MethodSet {
    match response.has(Name::Allow) {
        true => MethodSet::of(response.allow().iter().filter(|method| *method != Method::Update)),
        false => MethodSet::UNKNOWN,
    }
}
