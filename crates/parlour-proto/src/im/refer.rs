//! Adding somebody to a conference: REFER to its focus, and what becomes of it (RFC 3515, RFC 4488, RFC 4579 5.5).

use std::collections::BTreeMap;
use std::time::Duration;

use parlour_msrp::timer::TimerId;

use crate::event::What;
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::core::{Deadline, Purpose};
use crate::im::originating::reason_phrase;
use crate::im::session::{Phase, Session};
use crate::im::stamp::{Draft, Reply};
use crate::io::{AccountId, FlowId, SessionId};
use crate::sip::dialog::as_request_uri;
use crate::sip::digest::Chain;
use crate::sip::header::{CallId, Event, SubscriptionState, To};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::ServerId;
use crate::sip::uri::Uri;
use crate::verb::Misuse;

/// REFERs that are out, or of which the focus still tells.
const REFERRALS: usize = 64;

/// How long the focus may go on telling how it fares, as long as an invitation may ring and a little more.
const PATIENCE: Duration = Duration::from_secs(180);

/// A REFER of ours.
#[derive(Debug)]
pub(crate) struct Referral {
    session: SessionId,
    account: AccountId,
    /// Who is to come.
    whom: String,
    /// The Request-URI: the IM Session Identity.
    target: String,
    call_id: String,
    tag: String,
    cseq: u32,
    flow: FlowId,
    chain: Chain,
    /// Whether the focus has said that it tells no more.
    told_all: bool,
    /// When it is forgotten; None as long as it is not answered.
    timer: Option<TimerId>,
}

/// All of them, by number.
#[derive(Debug, Default)]
pub(crate) struct Referrals {
    map: BTreeMap<u64, Referral>,
    last: u64,
}

impl Referrals {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The one whose focus tells how it fares (RFC 3515 2.4.4): in a dialog that the REFER has made.
    fn by_call(&self, call_id: &str, tag: &str) -> Option<u64> {
        let is_it = |(_, referral): &(&u64, &Referral)| referral.call_id == call_id && referral.tag == tag;
        self.map.iter().find(is_it).map(|(number, _)| *number)
    }
}

impl Core {
    /// Asks the focus of a conference to invite `whom`.
    //= IM G-4u
    pub(crate) fn add(&mut self, id: SessionId, whom: &str) -> Result<(), Misuse> {
        let is_address = Uri::parse(whom.as_bytes()).is_ok() && !whom.contains(['<', '>', '"', ' ']);
        if !is_address {
            return Err(Misuse::BadAddress(whom.to_owned()));
        }
        let session = self.sessions.get(id).ok_or(Misuse::NoSession)?;
        let Phase::Live(live) = &session.phase else {
            return Err(Misuse::WrongState { state: session.phase.name(), verb: "add" });
        };
        let remote = &live.talk.remote;
        let focus = remote.focus().ok_or(Misuse::CannotAdd("the session is no conference"))?;
        //= IM G-3u
        if remote.allow.is_known() && !remote.allow.contains(Method::Refer) {
            return Err(Misuse::CannotAdd("the conference takes no REFER"));
        }
        if self.referrals.len() >= REFERRALS {
            return Err(Misuse::CannotAdd("too many are being added already"));
        }
        let (target, account) = (as_request_uri(focus).into_owned(), session.account);
        let flow = self.way_to_focus(session).ok_or_else(|| Misuse::NoRoute("it has gone".into()))?;
        let referral = Referral {
            session: id,
            account,
            whom: whom.to_owned(),
            target,
            call_id: self.random.ident(24),
            tag: self.tag(),
            cseq: 0,
            flow,
            chain: Chain::default(),
            told_all: false,
            timer: None,
        };
        self.referrals.last = self.referrals.last.saturating_add(1);
        self.send_refer(self.referrals.last, referral, Vec::new());
        Ok(())
    }

    /// The way of the registration, or of the SUBSCRIBE to the same focus, or of the session.
    fn way_to_focus(&self, session: &Session) -> Option<FlowId> {
        let registered = self.account(session.account).and_then(|account| account.registered_flow());
        let ways = [registered, self.subscriptions.flow(session.id), Some(session.flow)];
        let stands = |flow: &FlowId| self.flows.is_usable(*flow) && self.flows.local(*flow).is_some();
        ways.into_iter().flatten().find(stands)
    }

    fn send_refer(&mut self, number: u64, mut referral: Referral, credentials: Vec<(Name, String)>) {
        referral.cseq = referral.cseq.saturating_add(1);
        let Some(account) = self.account(referral.account) else { return };
        let from = format!("{};tag={}", account.from(), referral.tag);
        let to = format!("<{}>", referral.target);
        let hop = account.proxy.clone();
        let routes = hop.map(|hop| account.routes(&hop, &referral.target)).unwrap_or_default();
        let mut rows = vec![
            (Name::ReferTo, format!("<{}>", referral.whom)),
            // RFC 4488 4: who comes is told by the conference state. The URI of a focus leads to one place only, so the
            // REFER does not fork. `norefersub` would say that we take such a REFER, and we take none.
            (Name::ReferSub, "false".to_owned()),
        ];
        rows.extend(credentials);
        let draft = Draft {
            method: Method::Refer,
            uri: &referral.target,
            flow: referral.flow,
            account: referral.account,
            routes: &routes,
            from: &from,
            to: &to,
            call_id: &referral.call_id,
            cseq: referral.cseq,
            rows: &rows,
            body: None,
        };
        let request = self.request(&draft);
        self.dispatch(referral.flow, request, Purpose::Refer(number));
        self.referrals.map.insert(number, referral);
    }

    /// The final response to a REFER, or why none came.
    pub(crate) fn refer_answered(&mut self, number: u64, response: Result<&Message<'_>, &str>) {
        let Some(mut referral) = self.referrals.map.remove(&number) else { return };
        let (status, reason) = match response {
            Ok(response) => (response.status().unwrap_or(0), reason_phrase(response)),
            Err(why) => (408, why.to_owned()),
        };
        if let (401 | 407, Ok(response)) = (status, response)
            && let Some(rows) = self.refer_challenged(&mut referral, response)
        {
            return self.send_refer(number, referral, rows);
        }
        let address = referral.whom.clone();
        if !(200..300).contains(&status) {
            let decision = format!("the conference does not invite {address}");
            let (account, session) = (referral.account, referral.session);
            self.explain(account, Some(session), "G-4u", decision, &format!("{status} {reason}"));
            return self.tell_of_referral(&referral, What::AddRefused { address, status, reason });
        }
        self.tell_of_referral(&referral, What::AddAccepted { address });
        // RFC 4488 4: without this row the focus tells how it fares, wanted or not.
        let silent =
            response.is_ok_and(|response| response.rows(Name::ReferSub).any(|row| row.starts_with(b"false")));
        if !silent && !referral.told_all {
            let at = self.now.instant + PATIENCE;
            referral.timer = Some(self.timers.arm(at, Deadline::Referral(number)));
            self.referrals.map.insert(number, referral);
        }
    }

    fn refer_challenged(
        &mut self,
        referral: &mut Referral,
        response: &Message<'_>,
    ) -> Option<Vec<(Name, String)>> {
        // only the next hop that the configuration names gets an answer.
        let own_hop = self.account(referral.account).is_some_and(|account| !account.is_direct());
        let (account, chain, uri) = (referral.account, &mut referral.chain, &referral.target);
        own_hop.then(|| self.credentials_for(account, chain, Method::Refer, uri, response)).flatten()
    }

    /// What comes of it is for those who are in the session.
    fn tell_of_referral(&mut self, referral: &Referral, what: What) {
        let session = self.sessions.get(referral.session);
        if session.is_some_and(|session| matches!(session.phase, Phase::Live(_))) {
            self.tell(referral.account, Some(referral.session), what);
        }
    }

    /// A NOTIFY in a dialog that a REFER of ours has made, if it is one: it has its 200, and says no more than the
    /// conference state does.
    pub(crate) fn referral_notified(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
    ) -> Result<bool, PeerFault> {
        let (call_id, to): (CallId<'_>, To<'_>) = (request.one()?, request.one()?);
        let number = self.referrals.by_call(call_id.0, to.tag().unwrap_or_default());
        let Some((number, referral)) =
            number.and_then(|number| Some((number, self.referrals.map.get_mut(&number)?)))
        else {
            return Ok(false);
        };
        let event: Event<'_> = request.one().map_err(|_| PeerFault::BadEvent)?;
        if event.package != "refer" {
            return Err(PeerFault::BadEvent);
        }
        let over = request.one::<SubscriptionState<'_>>()?.is_terminated();
        referral.told_all |= over;
        let (account, timer) = (referral.account, referral.timer);
        let reply = Reply { status: 200, reason: "OK", ..Reply::default() };
        let octets = self.response(request, flow, Some(account), &reply);
        self.tx.respond(self.now.instant, server, 200, octets);
        if let Some(timer) = timer.filter(|_| over) {
            self.timers.cancel(timer);
            self.referrals.map.remove(&number);
        }
        Ok(true)
    }

    /// The focus has told enough.
    pub(crate) fn referral_due(&mut self, number: u64) {
        self.referrals.map.remove(&number);
    }
}
