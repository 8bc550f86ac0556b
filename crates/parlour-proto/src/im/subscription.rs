//! One session's subscription to conference state: what is kept of it, and the few ways to change that.

use std::collections::BTreeMap;
use std::time::Duration;

use parlour_msrp::timer::TimerId;

use crate::event::{Participant, Roster};
use crate::im::Core;
use crate::im::core::Deadline;
use crate::im::flows::Source;
use crate::im::gate::Bucket;
use crate::io::{AccountId, FlowId, Instant, SessionId, Why};
use crate::mime::conference_info::Conference;
use crate::sip::dialog::Dialog;
use crate::sip::digest::Chain;
use crate::sip::name::Name;
use crate::sip::tx::ClientId;

/// Documents a second that are read of one conference; RFC 4575 3.9 recommends one in 5 s.
const DOCUMENTS: u32 = 5;

/// A subscription to conference state.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The session that it belongs to, alive or over.
    pub(crate) session: SessionId,
    pub(crate) account: AccountId,
    /// The way on which the session was made, and who is at its end.
    pub(crate) made_on: FlowId,
    pub(crate) source: Source,
    /// The Request-URI: the IM Session Identity.
    pub(crate) target: String,
    /// Target-Dialog, if the focus knows it.
    pub(crate) target_dialog: Option<String>,
    pub(crate) call_id: String,
    pub(crate) tag: String,
    pub(crate) cseq: u32,
    pub(crate) stage: Stage,
    /// Made by the first NOTIFY.
    pub(crate) dialog: Option<Dialog>,
    /// The way of the SUBSCRIBE, as soon as it is known; it may still be opened.
    pub(crate) flow: Option<FlowId>,
    /// Whether a SUBSCRIBE leaves as soon as that flow stands.
    pub(crate) waits: bool,
    /// The SUBSCRIBE that is without a final response.
    pub(crate) pending: Option<ClientId>,
    /// The answers to challenges.
    pub(crate) chain: Chain,
    /// The lifetime that we ask for, seconds.
    pub(crate) expires: u32,
    /// Whether a 423 has been obeyed since the last success.
    pub(crate) raised: bool,
    /// When it ends if it is not refreshed.
    pub(crate) until: Instant,
    /// When the last SUBSCRIBE left.
    pub(crate) asked: Instant,
    /// Whether the full state is wanted.
    pub(crate) incoherent: bool,
    /// Documents in a row that could not be used; those that only follow a gap count once a SUBSCRIBE.
    pub(crate) unusable: u32,
    /// Whether a gap has been found since the last SUBSCRIBE left.
    pub(crate) gap: bool,
    /// When this attempt began, and how many before it failed in a row.
    pub(crate) began: Instant,
    pub(crate) failures: u32,
    /// Whether it ever stood.
    pub(crate) stood: bool,
    pub(crate) documents: Bucket,
    pub(crate) conference: Conference,
    /// What the user interface knows.
    pub(crate) told: Option<Roster>,
    pub(crate) present: BTreeMap<Box<str>, Participant>,
    timers: Vec<(Why, TimerId)>,
}

/// RFC 6665 4.1.2, with `Pausing` for its "terminated" and the way back to "init". `pending` and `active` are one here.
///
/// ```text
///   isfocus --> Asking --NOTIFY--> Following --481, terminated--> Pausing --> Asking
///                 |                    |          (or at once to Asking, or never again)
///                 +-- the session ends +--> Ending --NOTIFY terminated, N--> gone
///                 +--refused, N--> gone
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// SUBSCRIBE is out or about to leave; no NOTIFY came.
    Asking,
    /// A NOTIFY came.
    Following,
    /// It is tried again later.
    Pausing,
    /// The session is over, or the conference: unsubscribed as soon as may be.
    Ending,
}

impl Subscription {
    pub(crate) fn new(
        (account, session): (AccountId, SessionId),
        (made_on, source): (FlowId, Source),
        target: String,
        target_dialog: Option<String>,
        now: Instant,
    ) -> Self {
        Subscription {
            session,
            account,
            made_on,
            source,
            target,
            target_dialog,
            call_id: String::new(),
            tag: String::new(),
            cseq: 0,
            stage: Stage::Asking,
            dialog: None,
            flow: None,
            waits: false,
            pending: None,
            chain: Chain::default(),
            expires: EXPIRES,
            raised: false,
            until: now,
            asked: now,
            incoherent: false,
            unusable: 0,
            gap: false,
            began: now,
            failures: 0,
            stood: false,
            documents: Bucket::full(DOCUMENTS, now),
            conference: Conference::default(),
            told: None,
            present: BTreeMap::new(),
            timers: Vec::new(),
        }
    }

    /// The rows of its SUBSCRIBE.
    pub(crate) fn rows(&self, expires: u32, credentials: Vec<(Name, String)>) -> Vec<(Name, String)> {
        let mut rows = vec![
            (Name::Event, "conference".to_owned()),
            (Name::Accept, crate::mime::conference_info::MEDIA_TYPE.to_owned()),
            (Name::Expires, expires.to_string()),
        ];
        // RFC 4538 3: it is for a request outside of the dialog that it names.
        if let (None, Some(target)) = (&self.dialog, &self.target_dialog) {
            rows.push((Name::TargetDialog, target.clone()));
            rows.push((Name::Require, "tdialog".to_owned()));
        }
        rows.extend(credentials);
        rows
    }

    /// What is left of its lifetime.
    pub(crate) fn rest(&self, now: Instant) -> Duration {
        self.until - now
    }
}

/// RFC 4575 3.3.
pub(crate) const EXPIRES: u32 = 3600;

/// All subscriptions, and the way to find one.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    map: BTreeMap<SessionId, Subscription>,
    /// Our own Call-IDs.
    by_call: BTreeMap<String, SessionId>,
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<&Subscription> {
        self.map.get(&session)
    }

    /// Takes a subscription out to change it.
    pub(crate) fn take(&mut self, session: SessionId) -> Option<Subscription> {
        let subscription = self.map.remove(&session)?;
        self.by_call.remove(&subscription.call_id);
        Some(subscription)
    }

    pub(crate) fn put(&mut self, subscription: Subscription) {
        self.by_call.insert(subscription.call_id.clone(), subscription.session);
        self.map.insert(subscription.session, subscription);
    }

    /// The one that a NOTIFY with this Call-ID and To tag belongs to (RFC 6665 4.4.1).
    pub(crate) fn by_call(&self, call_id: &str, tag: &str) -> Option<SessionId> {
        let session = *self.by_call.get(call_id)?;
        self.map.get(&session).filter(|subscription| subscription.tag == tag).map(|_| session)
    }

    /// The way of a session's SUBSCRIBE.
    pub(crate) fn flow(&self, session: SessionId) -> Option<FlowId> {
        self.map.get(&session).and_then(|subscription| subscription.flow)
    }

    /// Those whose SUBSCRIBE waits for this flow to stand.
    pub(crate) fn waiting_for(&self, flow: FlowId) -> Vec<SessionId> {
        let waits = |subscription: &&Subscription| subscription.flow == Some(flow) && subscription.waits;
        self.map.values().filter(waits).map(|subscription| subscription.session).collect()
    }
}

impl Core {
    /// Arms, or moves, the deadline of a subscription for a reason.
    pub(crate) fn arm_subscription(&mut self, subscription: &mut Subscription, why: Why, at: Instant) {
        self.disarm_subscription(subscription, why);
        let timer = self.timers.arm(at, Deadline::Subscription(subscription.session, why));
        subscription.timers.push((why, timer));
    }

    pub(crate) fn disarm_subscription(&mut self, subscription: &mut Subscription, why: Why) {
        subscription.timers.retain(|(reason, timer)| {
            let keep = *reason != why;
            if !keep {
                self.timers.cancel(*timer);
            }
            keep
        });
    }

    /// Forgets a subscription that was taken out.
    pub(crate) fn drop_subscription(&mut self, mut subscription: Subscription) {
        self.disarm_subscription(&mut subscription, Why::NoNotify);
        self.disarm_subscription(&mut subscription, Why::Subscribe);
    }
}
