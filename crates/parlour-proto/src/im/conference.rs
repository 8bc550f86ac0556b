//! NOTIFY of conference state: from whom it is taken, and what it tells the user (RFC 6665 4.1.3, RFC 4575).

use std::collections::BTreeMap;

use crate::event::{Participant, Roster, Status, What};
use crate::fault::PeerFault;
use crate::im::Core;
use crate::im::established::is_at;
use crate::im::screen::abilities;
use crate::im::stamp::Reply;
use crate::im::subscription::{Stage, Subscription};
use crate::io::{FlowId, Why};
use crate::mime::conference_info::{self, Conference, User, Verdict};
use crate::sip::dialog::{Dialog, DialogFault};
use crate::sip::door;
use crate::sip::header::{Event, HeaderFault, SubscriptionState};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::tx::ServerId;
use crate::sip::uri::Uri;
use crate::text;

/// Documents in a row that cannot be used, before the roster is given up.
const UNUSABLE: u32 = 5;

/// Seconds to wait where the focus wants us later and does not say when.
const LATER: u32 = 30;

impl Core {
    /// A NOTIFY with a To tag.
    //= IM R-12
    pub(crate) fn notified(
        &mut self,
        flow: FlowId,
        server: ServerId,
        request: &Message<'_>,
        core: &door::Core<'_>,
    ) -> Result<(), PeerFault> {
        if self.referral_notified(flow, server, request)? {
            return Ok(());
        }
        let id = self.subscriptions.by_call(core.call_id.0, core.to.tag().unwrap_or_default());
        // RFC 6665 4.1.3: what belongs to no subscription gets 481.
        let mut subscription = id.and_then(|id| self.subscriptions.take(id)).ok_or(PeerFault::NoDialog)?;
        let fresh = subscription.dialog.is_none();
        if let Err(fault) = self.take_notify(flow, request, core, &mut subscription) {
            self.subscriptions.put(subscription);
            return Err(fault);
        }
        let reply = Reply { status: 200, reason: "OK", ..Reply::default() };
        let octets = self.response(request, flow, Some(subscription.account), &reply);
        self.tx.respond(self.now.instant, server, 200, octets);
        match request.one() {
            Ok(state) => self.heed(subscription, fresh, &state, request.body()),
            // `take_notify` has seen it.
            Err(_) => self.subscriptions.put(subscription),
        }
        Ok(())
    }

    /// Whether a NOTIFY belongs to a subscription; the first one makes its dialog.
    fn take_notify(
        &self,
        flow: FlowId,
        request: &Message<'_>,
        core: &door::Core<'_>,
        subscription: &mut Subscription,
    ) -> Result<(), PeerFault> {
        //= IM X-8
        if !self.is_from_focus(subscription, flow) {
            return Err(PeerFault::Elsewhere(self.flows.peer(flow)));
        }
        let event: Event<'_> = request.one().map_err(|_| PeerFault::BadEvent)?;
        if event.package != "conference" {
            return Err(PeerFault::BadEvent);
        }
        // RFC 6665 8.2.1: ours has no id.
        if event.params.has("id") {
            return Err(PeerFault::NoDialog);
        }
        request.one::<SubscriptionState<'_>>()?;
        door::content(request, &abilities(request.method()))?;
        match &mut subscription.dialog {
            Some(dialog) => {
                // RFC 4575 3.8: one dialog only; another fork's is refused.
                dialog.check(core).map_err(|fault| match fault {
                    DialogFault::CSeqOrder { got, last } => PeerFault::CSeqOrder { got, last },
                    DialogFault::NotThisDialog => PeerFault::NoDialog,
                })?;
                dialog.refresh_target(request)?;
            }
            // RFC 6665 4.4.1: a NOTIFY may come before the 2xx to the SUBSCRIBE.
            None => {
                core.from.tag().ok_or(HeaderFault::missing(Name::From))?;
                subscription.dialog = Some(Dialog::subscriber(request, subscription.cseq)?);
            }
        }
        Ok(())
    }

    /// on a flow that nobody vouches for, a NOTIFY comes from where the focus, or the way to it, is known to be.
    fn is_from_focus(&self, subscription: &Subscription, flow: FlowId) -> bool {
        let Some(source) = self.flows.peer(flow).map(|peer| peer.ip()) else { return false };
        let asked = subscription.flow.and_then(|flow| self.flows.peer(flow)).map(|peer| peer.ip());
        let is_source = |uri: &str| is_at(uri, source);
        subscription.flow == Some(flow)
            || self.trust(flow).is_some()
            || asked == Some(source)
            || subscription.source.address == Some(source)
            || is_source(&subscription.target)
            || subscription.dialog.as_ref().is_some_and(|dialog| dialog.hops().any(is_source))
    }

    /// Does what a NOTIFY says, which has its 200. `fresh`: it has made the dialog.
    fn heed(
        &mut self,
        mut subscription: Subscription,
        fresh: bool,
        state: &SubscriptionState<'_>,
        body: &[u8],
    ) {
        let terminated = state.is_terminated();
        if subscription.stage == Stage::Ending {
            return match (terminated, fresh) {
                (true, _) => self.drop_subscription(subscription),
                // Only now is there a dialog to end it in.
                (false, true) => self.send_subscribe(subscription, Vec::new()),
                (false, false) => self.subscriptions.put(subscription),
            };
        }
        self.disarm_subscription(&mut subscription, Why::NoNotify);
        if !terminated {
            (subscription.stage, subscription.stood) = (Stage::Following, true);
            // RFC 6665 4.1.3: what the NOTIFY says of the lifetime counts.
            match state.seconds("expires") {
                Some(seconds) => self.lives(&mut subscription, Some(seconds)),
                None if fresh => self.refresh_in_time(&mut subscription),
                None => {}
            }
        }
        match (self.read_document(&mut subscription, body), terminated) {
            (Reading::Done, false) => self.subscriptions.put(subscription),
            (Reading::Incoherent, false) => self.ask_for_all(subscription),
            (Reading::Done | Reading::Incoherent, true) => self.terminated(subscription, state),
            (Reading::Over(clause, why), false) => {
                // RFC 4575 4.6: the subscription to a conference that is no more is ended.
                self.tell_roster_ended(&subscription, clause, &why);
                self.end_subscription(subscription);
            }
            (Reading::Over(clause, why), true) => self.roster_ends(subscription, clause, &why),
        }
    }

    /// What to do about a subscription that the focus has ended (RFC 6665 4.1.3).
    //= IM R-15
    fn terminated(&mut self, subscription: Subscription, state: &SubscriptionState<'_>) {
        let reason = state.reason().unwrap_or_default().to_ascii_lowercase();
        let why = format!("the focus has ended the subscription: {}", text::neutral(&reason));
        match reason.as_str() {
            "deactivated" | "timeout" => self.subscribe_later(subscription, 0, &why),
            "rejected" | "noresource" | "invariant" => self.roster_ends(subscription, "R-15", &why),
            // "probation", "giveup", and what RFC 6665 does not know.
            _ => {
                let after = state.seconds("retry-after").unwrap_or(LATER);
                self.subscribe_later(subscription, after, &why);
            }
        }
    }

    /// Reads a document, merges it, and tells what it has changed.
    //= IM R-17
    fn read_document(&mut self, subscription: &mut Subscription, body: &[u8]) -> Reading {
        // RFC 6665 4.2.1.4: a NOTIFY may come without a document.
        if body.is_empty() {
            return Reading::Done;
        }
        if !subscription.documents.take(self.now.instant) {
            return Reading::Incoherent;
        }
        let unusable = match conference_info::parse(body) {
            Ok(document) => match subscription.conference.take(document) {
                Verdict::Stale => return Reading::Done,
                Verdict::Merged => {
                    subscription.unusable = 0;
                    self.tell_roster(subscription);
                    return Reading::Done;
                }
                Verdict::Over => return Reading::Over("R-13", "the conference is over".into()),
                Verdict::TooLarge => {
                    return Reading::Over("R-17", "the conference is too large to be followed".into());
                }
                // The refresh is on its way, and until it is answered every document follows the same gap.
                Verdict::Gap if std::mem::replace(&mut subscription.gap, true) => return Reading::Incoherent,
                Verdict::Gap => "a document between this one and the last is missing".to_owned(),
            },
            Err(fault) => fault.to_string(),
        };
        let (account, session) = (subscription.account, subscription.session);
        subscription.unusable = subscription.unusable.saturating_add(1);
        if subscription.unusable >= UNUSABLE {
            return Reading::Over(
                "R-12",
                format!("{UNUSABLE} documents in a row could not be used: {unusable}"),
            );
        }
        self.explain(account, Some(session), "R-12", "the full conference state is asked for", &unusable);
        Reading::Incoherent
    }

    /// Tells what has changed since the last time.
    //= IM R-14
    fn tell_roster(&mut self, subscription: &mut Subscription) {
        let present = present(&subscription.conference);
        let before = std::mem::take(&mut subscription.present);
        let mut roster = outline(&subscription.conference);
        roster.here = present.values().filter(|participant| participant.is_in()).count();
        let same = subscription.told.as_ref() == Some(&roster);
        subscription.told = Some(roster.clone());
        for (entity, participant) in &present {
            let known = before.get(entity);
            if known != Some(participant) {
                let comes = participant.is_in() && !known.is_some_and(Participant::is_in);
                let list = if comes { &mut roster.joined } else { &mut roster.changed };
                list.push(participant.clone());
            }
        }
        for (entity, known) in before {
            if !present.contains_key(&entity) {
                let user = subscription.conference.users.get(&entity);
                let gone = user.map(|user| participant(&entity, user).disconnection_method);
                roster.left.push(Participant { disconnection_method: gone.flatten(), ..known });
            }
        }
        subscription.present = present;
        let nobody = roster.joined.is_empty() && roster.changed.is_empty() && roster.left.is_empty();
        if !(same && nobody) {
            self.tell(subscription.account, Some(subscription.session), What::Roster(roster));
        }
    }
}

/// What a document came to.
enum Reading {
    /// There is none, or it is merged.
    Done,
    /// It cannot be used: the full state is wanted.
    Incoherent,
    /// There is nothing more to follow: by which clause, and why.
    Over(&'static str, String),
}

fn outline(conference: &Conference) -> Roster {
    let (description, condition) = (&conference.description, &conference.condition);
    Roster {
        subject: description.subject.clone().or_else(|| description.display_text.clone()),
        user_count: condition.user_count,
        maximum_user_count: description.maximum_user_count,
        active: condition.active,
        locked: condition.locked,
        conf_uris: description.conf_uris.iter().map(|uri| uri.uri.clone()).collect(),
        ..Roster::default()
    }
}

/// All who are in the conference or about to come.
fn present(conference: &Conference) -> BTreeMap<Box<str>, Participant> {
    let participants =
        conference.users.iter().map(|(entity, user)| (entity.clone(), participant(entity, user)));
    let gone = |status| matches!(status, Some(Status::Disconnected));
    participants.filter(|(_, participant)| !gone(participant.status)).collect()
}

fn participant(entity: &str, user: &User) -> Participant {
    // A user is as far as the device that counts most.
    let foremost = user.endpoints.values().max_by_key(|endpoint| endpoint.status);
    let host = Uri::parse(entity.as_bytes()).map(|uri| uri.host().to_ascii_lowercase()).unwrap_or_default();
    Participant {
        address: entity.to_owned(),
        display_name: user.display_text.clone(),
        nickname: user.nickname.clone(),
        roles: user.roles.clone().unwrap_or_default(),
        status: foremost.and_then(|endpoint| endpoint.status),
        joining_method: foremost.and_then(|endpoint| endpoint.joining_method),
        disconnection_method: foremost.and_then(|endpoint| endpoint.disconnection_method),
        // RFC 4575 5.6: the top-level domain of those whose address is kept back.
        anonymous: host.ends_with(".invalid"),
    }
}
