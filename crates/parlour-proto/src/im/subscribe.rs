//! SUBSCRIBE to conference state, its answers, and its deadlines (RFC 6665 4.1.2).

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{ConferenceSubscribe, Proxy};
use crate::event::What;
use crate::im::Core;
use crate::im::account::Account;
use crate::im::core::{Errand, Purpose};
use crate::im::leaving::NextHop;
use crate::im::originating::reason_phrase;
use crate::im::register::{pause, refresh_after};
use crate::im::session::{Phase, Session};
use crate::im::stamp::Draft;
use crate::im::subscription::{Stage, Subscription};
use crate::io::{FlowId, SessionId, Why};
use crate::sip::dialog::as_request_uri;
use crate::sip::header::{Expires, MinExpires, RetryAfter};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::tx::{ClientId, T1};

/// RFC 6665 4.1.2.4: how long a NOTIFY may take.
const TIMER_N: Duration = Duration::from_millis(64 * 500);
const _: () = assert!(TIMER_N.as_millis() == 64 * T1.as_millis());

/// How far SUBSCRIBEs that ask for the full state are apart.
const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// However long somebody wants us to wait, or to keep a subscription.
const LONGEST: u32 = 24 * 3600;

/// Attempts in a row that fail, each within a minute, before the roster is given up.
const ATTEMPTS: u32 = 8;
const STEADY: Duration = Duration::from_secs(60);

impl Core {
    /// The session stands, or its peer has become a focus: its conference state is followed, if there is any.
    //= IM S-9
    //= IM R-10
    //= IM R-11
    pub(crate) fn follow_conference(&mut self, session: &mut Session) {
        let Phase::Live(live) = &mut session.phase else { return };
        let talk = &mut live.talk;
        let target = match self.config.conference_subscribe {
            ConferenceSubscribe::Focus => talk.remote.focus(),
            ConferenceSubscribe::Always => talk.remote.identity_uri(),
            ConferenceSubscribe::Never => None,
        };
        let Some(target) = target.filter(|_| !talk.remote.followed) else { return };
        //= IM G-3u
        if talk.remote.allow.is_known() && !talk.remote.allow.contains(Method::Subscribe) {
            let decision = "the conference is not followed: its focus takes no SUBSCRIBE";
            return self.explain(session.account, Some(session.id), "G-3u", decision, "Allow");
        }
        //= IM G-4u
        let target = as_request_uri(target).into_owned();
        talk.remote.followed = true;
        // RFC 4538 3: the tags are told as the recipient sees them; its local one is our remote one.
        let dialog = &talk.dialog;
        let named = || {
            let (call_id, local, remote) = (dialog.call_id(), dialog.remote_tag(), dialog.local_tag());
            format!("{call_id};local-tag={local};remote-tag={remote}")
        };
        let target_dialog = (talk.remote.tdialog && !dialog.remote_tag().is_empty()).then(named);
        let (owner, way) = ((session.account, session.id), (session.flow, session.source));
        let subscription = Subscription::new(owner, way, target, target_dialog, self.now.instant);
        self.subscribe_anew(subscription);
    }

    /// The session is over: whatever of its subscription stands is ended in the background.
    //= IM R-16
    pub(crate) fn unsubscribe(&mut self, id: SessionId) {
        let Some(subscription) = self.subscriptions.take(id) else { return };
        self.end_subscription(subscription);
    }

    pub(crate) fn end_subscription(&mut self, mut subscription: Subscription) {
        let asked = subscription.cseq > 0;
        match std::mem::replace(&mut subscription.stage, Stage::Ending) {
            Stage::Following => {
                self.disarm_subscription(&mut subscription, Why::Subscribe);
                subscription.chain = Default::default();
                self.send_subscribe(subscription, Vec::new());
            }
            // RFC 6665 4.4.1: without a NOTIFY there is no dialog to unsubscribe in; timer N runs.
            Stage::Asking if asked => self.subscriptions.put(subscription),
            Stage::Ending => self.subscriptions.put(subscription),
            Stage::Asking | Stage::Pausing => self.drop_subscription(subscription),
        }
    }

    /// Subscribes with a dialog of its own (RFC 6665 4.1.2.1, 4.5.2).
    pub(crate) fn subscribe_anew(&mut self, mut subscription: Subscription) {
        (subscription.call_id, subscription.tag) = (self.random.ident(24), self.tag());
        (subscription.cseq, subscription.stage, subscription.dialog) = (0, Stage::Asking, None);
        (subscription.flow, subscription.waits, subscription.pending) = (None, false, None);
        (subscription.chain, subscription.raised) = (Default::default(), false);
        (subscription.incoherent, subscription.began) = (false, self.now.instant);
        subscription.conference.restart();
        let id = subscription.session;
        let Some(account) = self.account(subscription.account) else { return };
        let registered = account.registered_flow().filter(|flow| self.flows.is_usable(*flow));
        let proxy = account.proxy.clone();
        let (target, made_on, source) =
            (subscription.target.clone(), subscription.made_on, subscription.source);
        self.subscriptions.put(subscription);
        let flow = match (registered, proxy) {
            (Some(flow), _) => Some(Ok(flow)),
            (None, Some(proxy)) => self.reach(Errand::Subscribe(id), &proxy),
            (None, None) => match self.hop_to(Core::may_follow, &target, made_on, source) {
                NextHop::Over(flow) => Some(Ok(flow)),
                NextHop::Named(hop) => {
                    self.look_up(Errand::Subscribe(id), hop);
                    None
                }
                NextHop::Unreachable(why) => Some(Err(why.to_owned())),
            },
        };
        if let Some(flow) = flow {
            self.subscribe_over(id, flow);
        }
    }

    /// The name of the next hop was looked up.
    pub(crate) fn subscribe_resolved(&mut self, id: SessionId, hop: &Proxy, addresses: &[IpAddr]) {
        let Some(subscription) = self.subscriptions.take(id) else { return };
        let own =
            self.account(subscription.account).is_some_and(|account| account.proxy.as_ref() == Some(hop));
        let flow = if own {
            self.reach_at(hop, addresses)
        } else {
            self.way_to(Core::may_follow, subscription.source, hop, addresses)
        };
        self.subscriptions.put(subscription);
        self.subscribe_over(id, flow);
    }

    /// The next hop is known, or cannot be.
    fn subscribe_over(&mut self, id: SessionId, flow: Result<FlowId, String>) {
        let Some(mut subscription) = self.subscriptions.take(id) else { return };
        match flow {
            Ok(flow) => {
                subscription.flow = Some(flow);
                self.send_subscribe(subscription, Vec::new());
            }
            Err(why) => {
                self.roster_ends(subscription, "R-16", &format!("there is no way to the focus: {why}"))
            }
        }
    }

    /// A SIP stream of ours stands: SUBSCRIBEs that waited for it leave.
    pub(crate) fn subscribe_on_stream(&mut self, flow: FlowId) {
        for id in self.subscriptions.waiting_for(flow) {
            if let Some(subscription) = self.subscriptions.take(id) {
                self.send_subscribe(subscription, Vec::new());
            }
        }
    }

    /// A SIP stream is gone: SUBSCRIBEs that waited for it do not leave.
    pub(crate) fn subscribing_flow_closed(&mut self, flow: FlowId, why: &str) {
        for id in self.subscriptions.waiting_for(flow) {
            if let Some(subscription) = self.subscriptions.take(id) {
                let why = format!("there is no connection to the focus: {why}");
                self.subscription_failed(subscription, &why);
            }
        }
    }

    /// Sends SUBSCRIBE: the first, a refresh, or the one that ends it.
    pub(crate) fn send_subscribe(
        &mut self,
        mut subscription: Subscription,
        credentials: Vec<(Name, String)>,
    ) {
        let now = self.now.instant;
        let expires = if subscription.stage == Stage::Ending { 0 } else { subscription.expires };
        let rows = subscription.rows(expires, credentials);
        let flow = match &subscription.dialog {
            Some(dialog) => match self.hop_to(
                Core::may_follow,
                dialog.next_hop(),
                subscription.flow.unwrap_or(subscription.made_on),
                subscription.source,
            ) {
                NextHop::Over(flow) => flow,
                // It goes where the last one went, if that still stands.
                NextHop::Named(_) | NextHop::Unreachable(_) => {
                    subscription.flow.unwrap_or(subscription.made_on)
                }
            },
            None => subscription.flow.unwrap_or(subscription.made_on),
        };
        if !self.flows.is_usable(flow) {
            return self.subscription_failed(subscription, "there is no way to the focus any more");
        }
        if !subscription.flow.is_some_and(|flow| self.flows.is_usable(flow)) {
            subscription.flow = Some(flow);
        }
        // A stream tells its local address, which Contact needs, once it stands: `subscribe_on_stream`.
        subscription.waits = self.flows.local(flow).is_none();
        if subscription.waits {
            subscription.flow = Some(flow);
            return self.subscriptions.put(subscription);
        }
        let account = subscription.account;
        let request = if let Some(dialog) = &mut subscription.dialog {
            self.request_in_dialog(dialog, Method::Subscribe, flow, account, &rows)
        } else {
            subscription.cseq = subscription.cseq.saturating_add(1);
            subscription.until = now + Duration::from_secs(expires.into());
            let Some(request) = self.first_subscribe(&subscription, flow, &rows) else { return };
            request
        };
        subscription.pending = Some(self.dispatch(flow, request, Purpose::Subscribe(subscription.session)));
        (subscription.asked, subscription.incoherent, subscription.gap) = (now, false, false);
        self.disarm_subscription(&mut subscription, Why::Subscribe);
        self.arm_subscription(&mut subscription, Why::NoNotify, now + TIMER_N);
        self.subscriptions.put(subscription);
    }

    fn first_subscribe(
        &mut self,
        subscription: &Subscription,
        flow: FlowId,
        rows: &[(Name, String)],
    ) -> Option<Vec<u8>> {
        let account: &Account = self.account(subscription.account)?;
        let from = format!("{};tag={}", account.from(), subscription.tag);
        let to = format!("<{}>", subscription.target);
        let hop = account.proxy.clone();
        let routes = hop.map(|hop| account.routes(&hop, &subscription.target)).unwrap_or_default();
        let draft = Draft {
            method: Method::Subscribe,
            uri: &subscription.target,
            flow,
            account: subscription.account,
            routes: &routes,
            from: &from,
            to: &to,
            call_id: &subscription.call_id,
            cseq: subscription.cseq,
            rows,
            body: None,
        };
        Some(self.request(&draft))
    }

    /// The final response to a SUBSCRIBE, or why none came.
    pub(crate) fn subscribe_answered(
        &mut self,
        id: SessionId,
        client: ClientId,
        response: Result<&Message<'_>, &str>,
    ) {
        let Some(mut subscription) = self.subscriptions.take(id) else { return };
        if subscription.pending != Some(client) {
            return self.subscriptions.put(subscription);
        }
        subscription.pending = None;
        let response = match response {
            Ok(response) => response,
            Err(why) => return self.subscribe_refused(subscription, 408, why, None),
        };
        match response.status().unwrap_or(0) {
            200..300 => self.subscribed(subscription, response),
            401 | 407 => self.subscribe_challenged(subscription, response),
            423 => self.longer_subscription(subscription, response),
            status => {
                let after = response.maybe::<RetryAfter>().ok().flatten();
                let after = after.map(|RetryAfter(seconds)| seconds);
                self.subscribe_refused(subscription, status, &reason_phrase(response), after);
            }
        }
    }

    fn subscribed(&mut self, mut subscription: Subscription, response: &Message<'_>) {
        subscription.chain = Default::default();
        subscription.raised = false;
        if subscription.stage == Stage::Ending {
            // The last NOTIFY is still to come.
            return self.subscriptions.put(subscription);
        }
        // RFC 6665 4.1.2.1: it may be shorter than we asked for, not longer.
        let told = response.maybe::<Expires>().ok().flatten().map(|Expires(seconds)| seconds);
        self.lives(&mut subscription, told);
        if std::mem::take(&mut subscription.incoherent) {
            return self.ask_for_all(subscription);
        }
        self.subscriptions.put(subscription);
    }

    /// It lasts so many seconds from now on, as long as we asked for if it is not told; the refresh comes before.
    pub(crate) fn lives(&mut self, subscription: &mut Subscription, seconds: Option<u32>) {
        let lifetime =
            Duration::from_secs(seconds.unwrap_or(subscription.expires).min(subscription.expires).into());
        subscription.until = self.now.instant + lifetime;
        if subscription.stage == Stage::Following {
            self.refresh_in_time(subscription);
        }
    }

    pub(crate) fn refresh_in_time(&mut self, subscription: &mut Subscription) {
        let refresh = refresh_after(subscription.rest(self.now.instant)).max(LEAST_PAUSE);
        self.arm_subscription(subscription, Why::Subscribe, self.now.instant + refresh);
    }

    fn subscribe_challenged(&mut self, mut subscription: Subscription, response: &Message<'_>) {
        // only the next hop that the configuration names gets an answer.
        let own_hop = self.account(subscription.account).is_some_and(|account| !account.is_direct());
        let mut chain = std::mem::take(&mut subscription.chain);
        let uri = match &subscription.dialog {
            Some(dialog) => dialog.remote_target().to_owned(),
            None => subscription.target.clone(),
        };
        let rows = own_hop
            .then(|| {
                self.credentials_for(subscription.account, &mut chain, Method::Subscribe, &uri, response)
            })
            .flatten();
        subscription.chain = chain;
        match rows {
            Some(rows) => self.send_subscribe(subscription, rows),
            None => {
                let status = response.status().unwrap_or(0);
                self.subscribe_refused(subscription, status, "its challenge cannot be answered", None);
            }
        }
    }

    /// A 423 asks for a longer lifetime (RFC 3261 21.4.17): once, and within reason.
    fn longer_subscription(&mut self, mut subscription: Subscription, response: &Message<'_>) {
        let least = response.maybe::<MinExpires>().ok().flatten().map(|MinExpires(seconds)| seconds);
        let longer = least.filter(|least| (subscription.expires..=LONGEST).contains(least));
        match longer.filter(|_| !subscription.raised && subscription.stage != Stage::Ending) {
            Some(longer) => {
                (subscription.expires, subscription.raised) = (longer, true);
                self.send_subscribe(subscription, Vec::new());
            }
            None => self.subscribe_refused(
                subscription,
                423,
                "asks for a lifetime that we do not go along with",
                None,
            ),
        }
    }

    /// A SUBSCRIBE failed.
    fn subscribe_refused(
        &mut self,
        mut subscription: Subscription,
        status: u16,
        reason: &str,
        after: Option<u32>,
    ) {
        let why = format!("SUBSCRIBE failed: {status} {reason}");
        match subscription.stage {
            Stage::Ending => self.drop_subscription(subscription),
            // RFC 6665 4.1.2.2: the focus does not know it any more; another one is made.
            Stage::Following if status == 481 => self.subscription_failed(subscription, &why),
            Stage::Following if is_the_end(status) => self.roster_ends(subscription, "R-16", &why),
            // RFC 6665 4.1.2.2: it stands as long as it was to, and is refreshed in the time that is left.
            Stage::Following => {
                self.disarm_subscription(&mut subscription, Why::NoNotify);
                let rest = subscription.rest(self.now.instant);
                if rest <= LEAST_PAUSE {
                    return self.subscription_failed(subscription, &why);
                }
                let at = self.now.instant + (rest / 2).max(LEAST_PAUSE);
                self.arm_subscription(&mut subscription, Why::Subscribe, at);
                self.subscriptions.put(subscription);
            }
            Stage::Asking | Stage::Pausing => {
                let passing = subscription.stood || after.is_some();
                if passing && matches!(status, 408 | 480 | 500..600) {
                    self.subscribe_later(subscription, after.unwrap_or(0), &why);
                } else {
                    self.roster_ends(subscription, "R-16", &why);
                }
            }
        }
    }

    /// It is no more, and another one is made: at once, if it stood for a while.
    pub(crate) fn subscription_failed(&mut self, subscription: Subscription, why: &str) {
        match subscription.stage {
            Stage::Ending => self.drop_subscription(subscription),
            Stage::Asking if !subscription.stood => self.roster_ends(subscription, "R-16", why),
            Stage::Asking | Stage::Following | Stage::Pausing => self.subscribe_later(subscription, 0, why),
        }
    }

    /// Subscribes again after `least` seconds, and the longer the more often it failed; at last not at all.
    //= IM R-15
    pub(crate) fn subscribe_later(&mut self, mut subscription: Subscription, least: u32, why: &str) {
        let now = self.now.instant;
        if now - subscription.began >= STEADY {
            subscription.failures = 0;
        }
        if subscription.failures >= ATTEMPTS {
            return self.roster_ends(
                subscription,
                "R-15",
                &format!("given up after {ATTEMPTS} attempts: {why}"),
            );
        }
        let own = match subscription.failures.checked_sub(1) {
            Some(before) => pause(before, self.random.below(1 << 20)),
            None => Duration::ZERO,
        };
        subscription.failures = subscription.failures.saturating_add(1);
        let wait = own.max(Duration::from_secs(least.min(LONGEST).into()));
        let decision = format!("the conference is subscribed to again in {} s", wait.as_secs());
        self.explain(subscription.account, Some(subscription.session), "R-15", decision, why);
        self.disarm_subscription(&mut subscription, Why::NoNotify);
        self.disarm_subscription(&mut subscription, Why::Subscribe);
        if wait.is_zero() {
            return self.subscribe_anew(subscription);
        }
        (subscription.stage, subscription.dialog, subscription.pending) = (Stage::Pausing, None, None);
        self.arm_subscription(&mut subscription, Why::Subscribe, now + wait);
        self.subscriptions.put(subscription);
    }

    /// A document is missing or cannot be used: a refresh brings the full state (RFC 4575 4.6), not too often.
    pub(crate) fn ask_for_all(&mut self, mut subscription: Subscription) {
        let at = subscription.asked + LEAST_PAUSE;
        if subscription.pending.is_some() {
            // The final response comes back to this.
            subscription.incoherent = true;
            self.subscriptions.put(subscription);
        } else if at <= self.now.instant {
            self.send_subscribe(subscription, Vec::new());
        } else {
            self.arm_subscription(&mut subscription, Why::Subscribe, at);
            self.subscriptions.put(subscription);
        }
    }

    /// No more is told of the conference; the session goes on.
    pub(crate) fn roster_ends(&mut self, subscription: Subscription, clause: &'static str, why: &str) {
        self.tell_roster_ended(&subscription, clause, why);
        self.drop_subscription(subscription);
    }

    pub(crate) fn tell_roster_ended(&mut self, subscription: &Subscription, clause: &'static str, why: &str) {
        let (account, session) = (subscription.account, subscription.session);
        if subscription.stage != Stage::Ending {
            self.explain(
                account,
                Some(session),
                clause,
                "who is in the conference is not told any more",
                why,
            );
            self.tell(account, Some(session), What::RosterEnded { why: why.to_owned() });
        }
    }

    /// A deadline of a subscription.
    pub(crate) fn subscription_due(&mut self, id: SessionId, why: Why) {
        let Some(mut subscription) = self.subscriptions.take(id) else { return };
        self.disarm_subscription(&mut subscription, why);
        match (why, subscription.stage) {
            (Why::NoNotify, _) => self.subscription_failed(subscription, "no NOTIFY came within 64*T1"),
            (_, Stage::Pausing) => self.subscribe_anew(subscription),
            (_, Stage::Following) => self.send_subscribe(subscription, Vec::new()),
            (_, Stage::Asking | Stage::Ending) => self.subscriptions.put(subscription),
        }
    }
}

/// Whether such an answer to a refresh ends the subscription (RFC 6665 4.1.2.2).
fn is_the_end(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}
