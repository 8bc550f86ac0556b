//! One session takes the place of another: Replaces (RFC 3891) on behalf of who is replaced (RFC 3892, S-6), a
//! conversation that goes on in a new session (P-11), and a second session with the same peer.
//!
//! [`Core::replacement`] decides and changes nothing. It is asked twice: when the INVITE comes, before anybody is
//! troubled, and when it is accepted. Until then the old session lives on, whatever becomes of the new one.

use parlour_msrp::{Outgoing, Source};

use crate::config::ReplaceAccept;
use crate::event::{Ended, Peer, Thread, What};
use crate::fault::{NotReplaced, PeerFault};
use crate::im::Core;
use crate::im::core::Deadline;
use crate::im::dispatch::{is_focus, says_focus};
use crate::im::session::{Phase, Session, Ties};
use crate::im::tombstones::REMEMBERED;
use crate::im::trust::{self, Asserted};
use crate::io::{AccountId, FlowId, SessionId};
use crate::mime::cpim;
use crate::sip::dialog::DialogKey;
use crate::sip::header::{
    ContributionId, From, Header, HeaderFault, ReferredBy, Replaces, SessionReplaces, unescape,
};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::uri::{Uri, same_identity};
use crate::verb::Say;

/// How often the user is told that somebody wants to take one session over.
const TOLD: u8 = 3;

/// A session that an INVITE may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) session: SessionId,
    /// Whether its dialog is confirmed; else it is an invitation of ours.
    confirmed: bool,
}

/// Deciding.
impl Core {
    /// The session that an initial INVITE is to replace, if the INVITE says so and may.
    //= IM S-6
    //= IM P-1
    pub(crate) fn replacement(
        &self,
        flow: FlowId,
        account: AccountId,
        request: &Message<'_>,
    ) -> Result<Option<Replacement>, PeerFault> {
        let header = |fault| PeerFault::NotReplaced(NotReplaced::Header(fault));
        let contradicts = |name, what| Err(header(HeaderFault { name, what }));
        //= IM P-6
        request.maybe::<ReferredBy<'_>>().map_err(header)?;
        let continued = self.continued(account, request);
        let Some(named) = named(request).map_err(header)? else {
            return match continued {
                Some(session) => self.authorised(flow, request, session).map(Some),
                None => Ok(None),
            };
        };
        // RFC 3891 3 and RFC 3911 4: one asks to end the dialog that the other asks to enter.
        if request.has(Name::Join) {
            return contradicts(Name::Join, "contradicts Replaces");
        }
        let session = self.matching(account, &named.keys).map_err(PeerFault::NotReplaced)?;
        if continued.is_some_and(|other| other.id != session.id) {
            return contradicts(Name::SessionReplaces, "names another session than Replaces");
        }
        let found = self.authorised(flow, request, session)?;
        if named.early_only && found.confirmed {
            return Err(PeerFault::NotReplaced(NotReplaced::Confirmed));
        }
        Ok(Some(found))
    }

    /// The one session whose dialog has one of these keys.
    //= IM P-2
    //= IM P-3
    fn matching(&self, account: AccountId, keys: &[DialogKey]) -> Result<&Session, NotReplaced> {
        let mut found: Vec<SessionId> = keys
            .iter()
            .filter_map(|key| self.sessions.by_dialog(key).or_else(|| self.sessions.by_early(key)))
            .collect();
        found.sort_unstable();
        found.dedup();
        let mut sessions = found
            .into_iter()
            .filter_map(|id| self.sessions.get(id))
            .filter(|session| session.account == account);
        match (sessions.next(), sessions.next()) {
            (Some(session), None) if session.phase.is_over() => Err(NotReplaced::Over),
            (Some(session), None) if matches!(session.phase, Phase::Invited(_)) => {
                Err(NotReplaced::EarlyForeign)
            }
            (Some(session), None) => Ok(session),
            // RFC 3891 3: of more than one match, none counts.
            (Some(_), Some(_)) => Err(NotReplaced::Unknown),
            (None, _) if keys.iter().any(|key| self.sessions.tombstones.has(key)) => Err(NotReplaced::Over),
            (None, _) => Err(NotReplaced::Unknown),
        }
    }

    /// The session of the conversation that the INVITE continues, while it stands.
    //= IM P-11
    fn continued(&self, account: AccountId, request: &Message<'_>) -> Option<&Session> {
        let SessionReplaces(name) = request.maybe().ok().flatten()?;
        let sessions = self.sessions.by_conversation(account, name);
        let standing =
            sessions.iter().filter_map(|id| self.sessions.get(*id)).filter(|session| stands(session));
        standing.max_by_key(|session| session.id)
    }

    /// Whether the INVITE comes from, or on behalf of, who is replaced. To know the dialog is never enough.
    fn authorised(
        &self,
        flow: FlowId,
        request: &Message<'_>,
        session: &Session,
    ) -> Result<Replacement, PeerFault> {
        let found = Replacement { session: session.id, confirmed: stands(session) };
        match self.may_take_over(flow, request, session) {
            Ok(()) => Ok(found),
            Err(why) => Err(PeerFault::NotReplaced(NotReplaced::Unauthorised {
                session: session.id,
                trusted: self.trust(flow).is_some(),
                why,
            })),
        }
    }

    //= IM P-4
    //= IM X-6
    fn may_take_over(&self, flow: FlowId, request: &Message<'_>, session: &Session) -> Result<(), String> {
        //= IM X-7
        let Some(core) = self.trust(flow) else {
            return self.is_same_caller(flow, request, session);
        };
        let sender = trust::identity(request, Some(core)).ok_or("P-Asserted-Identity is missing")?;
        let replaced = session.ties.asserted.as_ref();
        let replaced = replaced.ok_or("nobody asserted who is at the other end of the replaced session")?;
        let uri = |address: &[u8]| String::from_utf8_lossy(address).into_owned();
        match trust::referrer(request, core) {
            Some(referrer) if referrer.uri().is_ok_and(|referrer| replaced.is(&referrer)) => Ok(()),
            Some(referrer) => {
                let referrer = uri(referrer.uri);
                Err(format!("Referred-By is {referrer}, and who is to be replaced is {replaced}"))
            }
            None if self.config.replace_by_same_peer && sender.is_same(replaced) => Ok(()),
            None => Err(format!(
                "Referred-By is missing, P-Asserted-Identity is {sender}, and who is to be replaced is {replaced}"
            )),
        }
    }

    /// Where no core vouches for anybody: the same From on the same connection, whose other end TLS has proven.
    fn is_same_caller(&self, flow: FlowId, request: &Message<'_>, session: &Session) -> Result<(), String> {
        if flow != session.flow || session.source.trusted || !self.flows.is_authenticated(flow) {
            return Err("the INVITE did not come from a trusted core, so nothing says who sent it".into());
        }
        let from = request.one::<From<'_>>().map(|from| trust::plain(from.uri)).unwrap_or_default();
        let same = match (Uri::parse(from.as_bytes()), Uri::parse(session.peer.address.as_bytes())) {
            (Ok(from), Ok(peer)) => same_identity(&from, &peer),
            (Ok(_) | Err(_), _) => false,
        };
        let other = || format!("From is {from}, and who is to be replaced is {}", session.peer.address);
        if same { Ok(()) } else { Err(other()) }
    }
}

/// What the procedure of an invitation asks.
impl Core {
    /// As [`replacement`](Self::replacement); the user learns that somebody wants a session of his and may not have it.
    //= IM S-6f
    pub(crate) fn may_replace(
        &mut self,
        flow: FlowId,
        account: AccountId,
        request: &Message<'_>,
        by: &Peer,
    ) -> Result<Option<Replacement>, PeerFault> {
        let outcome = self.replacement(flow, account, request);
        if let Err(PeerFault::NotReplaced(NotReplaced::Unauthorised { session, why, .. })) = &outcome
            && let Some(session) = self.sessions.get_mut(*session)
            && session.ties.attempts < TOLD
        {
            session.ties.attempts = session.ties.attempts.saturating_add(1);
            let id = session.id;
            self.tell(account, Some(id), What::TakeoverRefused { by: by.clone(), why: why.clone() });
        }
        outcome
    }

    /// Asks again as an invitation is accepted: the old session may have ended while it rang, or gone to another one.
    pub(crate) fn still_replaces(&self, session: &Session) -> Result<Option<SessionId>, String> {
        let Phase::Invited(invited) = &session.phase else { return Ok(None) };
        if invited.replacement.is_none() {
            return Ok(None);
        }
        let Some(kept) = self.tx.kept(invited.invite) else { return Err("its INVITE is gone".into()) };
        match self.replacement(session.flow, session.account, &kept.message()) {
            Ok(found) => Ok(found.map(|found| found.session)),
            Err(fault) => Err(fault.input(&kept.message())),
        }
    }

    /// Whether the user has agreed already, since a session of his only goes on elsewhere (P-7, R-5).
    //= IM P-7
    pub(crate) fn goes_on(&self, session: &Session) -> bool {
        let Phase::Invited(invited) = &session.phase else { return false };
        invited.replacement.as_ref().is_some_and(|replacement| self.replaces_unasked(replacement))
            || (session.ties.supersedes.is_some()
                && self.config.replace_accept == ReplaceAccept::AutoIfActive)
    }

    pub(crate) fn replaces_unasked(&self, replacement: &Replacement) -> bool {
        replacement.confirmed && self.config.replace_accept == ReplaceAccept::AutoIfActive
    }

    /// What is known of who calls, and of what he goes on with.
    pub(crate) fn ties(
        &self,
        flow: FlowId,
        account: AccountId,
        request: &Message<'_>,
        peer: &Peer,
        replacement: Option<&Replacement>,
    ) -> Ties {
        let asserted = trust::identity(request, self.trust(flow));
        let supersedes = match (&asserted, replacement) {
            (Some(asserted), None) if !is_focus(request) => self.older(account, &peer.address, asserted),
            (Some(_) | None, _) => None,
        };
        let called = self.called_as(request, flow, account).map(Into::into);
        Ties { asserted, called, conversation: conversation(request), supersedes, attempts: 0 }
    }

    /// What the user is told of it.
    pub(crate) fn thread(&self, session: &Session, request: &Message<'_>) -> Thread {
        let Phase::Invited(invited) = &session.phase else { return Thread::default() };
        let replaces = invited.replacement.as_ref().map(|replacement| replacement.session);
        let continues = request.maybe::<SessionReplaces<'_>>().ok().flatten();
        Thread {
            replaces: replaces.or(session.ties.supersedes),
            referred_by: trust::referrer_shown(request, self.trust(session.flow)),
            conversation: session.ties.conversation.as_deref().map(str::to_owned),
            continues: continues.map(|SessionReplaces(name)| name.to_owned()),
        }
    }

    /// The newest 1-1 session with the same peer that stands. A claim is not enough: it would end sessions of others.
    //= IM R-5
    fn older(&self, account: AccountId, address: &str, peer: &Asserted) -> Option<SessionId> {
        let same = |session: &&Session| {
            let is_peer = session.ties.asserted.as_ref().is_some_and(|other| other.is_same(peer));
            let identity = session.phase.talk().map(|talk| &*talk.remote.session_identity);
            let one_to_one = identity.is_some_and(|identity| !says_focus(identity.as_bytes()));
            let chats = !self.files.are_all(session);
            session.account == account && stands(session) && is_peer && one_to_one && chats
        };
        let sessions = self.sessions.by_peer(address).iter().filter_map(|id| self.sessions.get(*id));
        sessions.filter(same).map(|session| session.id).max()
    }
}

/// Changing.
impl Core {
    /// A session is in the place of an older one: the older one goes, and what it has not delivered goes on in the new
    /// one. Its BYE waits for nothing but, where our 200 is not acknowledged, the ACK (RFC 3261 15).
    //= IM P-9
    pub(crate) fn release(&mut self, old: SessionId, new: SessionId) {
        // What MSRP has already said about messages belongs to the old session.
        self.pump_msrp();
        let Some(mut session) = self.sessions.take(old) else { return };
        self.explain(session.account, Some(old), "P-9", "left: another session has taken its place", "");
        let unsent = self.unsent(&mut session);
        let account = session.account;
        for message in &unsent {
            let what = What::Moved { message_id: message.message_id.clone(), to: new };
            self.tell(account, Some(old), what);
        }
        let ended = Ended::Replaced { by: new };
        match session.phase {
            Phase::Answered(mut answered) => {
                answered.leave.get_or_insert(ended);
                session.phase = Phase::Answered(answered);
                self.sessions.put(session);
            }
            other @ Phase::Inviting(_) => {
                session.phase = other;
                self.cancel_invite(session, ended);
            }
            other @ (Phase::Live(_) | Phase::Invited(_) | Phase::Leaving(_)) => {
                session.phase = other;
                self.bye(session, ended);
            }
        }
        for message in unsent {
            self.say_on(new, message);
        }
    }

    /// Takes back what nobody has acknowledged.
    //= IM P-10
    fn unsent(&mut self, session: &mut Session) -> Vec<Say> {
        let sent = match session.phase.msrp() {
            Some(msrp) => self.msrp.withdraw(self.now.instant, msrp),
            None => Vec::new(),
        };
        let waiting = std::mem::take(&mut session.queue);
        let sent = sent.into_iter().map(|message| {
            let (message, to) = said(message);
            // What was said to one alone must not be said to all elsewhere.
            Say { to: to.filter(|to| self.is_private_to(session, to)), ..message }
        });
        sent.chain(waiting).collect()
    }

    /// A message goes on in another session: at once, or as soon as that one stands.
    pub(crate) fn say_on(&mut self, id: SessionId, message: Say) {
        match self.sessions.get_mut(id) {
            Some(session) if matches!(session.phase, Phase::Answered(_)) => session.queue.push(message),
            Some(_) | None => self.say_or_fail(id, message),
        }
    }

    /// A session stands, or its messages can flow: once both are so, an older one with the same peer goes.
    //= IM R-5
    pub(crate) fn supersede(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let bound = session.phase.msrp().is_some_and(|msrp| self.msrp.is_bound(msrp));
        if !bound || !matches!(session.phase, Phase::Live(_)) {
            return;
        }
        let Some(old) = session.ties.supersedes.take() else { return };
        if self.sessions.get(old).is_some_and(stands) {
            self.release(old, id);
        }
    }

    /// Remembers that a dialog was there.
    pub(crate) fn bury(&mut self, dialog: &DialogKey) {
        let now = self.now.instant;
        if self.sessions.tombstones.is_empty() {
            self.timers.arm(now + REMEMBERED, Deadline::Tombstones);
        }
        self.sessions.tombstones.add(now, dialog);
    }

    pub(crate) fn tombstones_due(&mut self) {
        if let Some(next) = self.sessions.tombstones.expire(self.now.instant) {
            self.timers.arm(next, Deadline::Tombstones);
        }
    }
}

/// The dialog that Replaces names, under all the keys that it may have with us.
struct Named {
    keys: Vec<DialogKey>,
    early_only: bool,
}

/// RFC 3891 3 and 6.1: one Replaces at most.
//= IM P-1
//= IM P-2
fn named(request: &Message<'_>) -> Result<Option<Named>, HeaderFault> {
    let mut rows = request.rows(Name::Replaces);
    let Some(row) = rows.next() else { return Ok(None) };
    if rows.next().is_some() {
        return Err(HeaderFault::repeated(Name::Replaces));
    }
    // Who takes the header out of a Refer-To may have left its escapes in, in the whole or in the Call-ID.
    let plain = unescape(row);
    let replaces = Replaces::parse(row).or_else(|fault| Replaces::parse(&plain).map_err(|_| fault))?;
    let decoded = unescape(replaces.call_id.as_bytes());
    let decoded = std::str::from_utf8(&decoded).ok().filter(|decoded| *decoded != replaces.call_id);
    // RFC 3891 6.1: a tag of 0 is also that of a peer without tags (RFC 2543). Ours are never empty.
    let no_tag = (replaces.from_tag == "0").then_some("");
    let mut keys = Vec::new();
    for call_id in std::iter::once(replaces.call_id).chain(decoded) {
        for from_tag in std::iter::once(replaces.from_tag).chain(no_tag) {
            keys.push(DialogKey::new(call_id, replaces.to_tag, from_tag));
        }
    }
    Ok(Some(Named { keys, early_only: replaces.early_only }))
}

/// The Contribution-ID of an INVITE or its 2xx; one that cannot be read names nothing.
pub(crate) fn conversation(message: &Message<'_>) -> Option<Box<str>> {
    message.maybe::<ContributionId<'_>>().ok().flatten().map(|ContributionId(name)| name.into())
}

/// A message as it was before it was wrapped, and to whom: its next peer may want another wrapping, and is another one.
pub(crate) fn said(message: Outgoing) -> (Say, Option<String>) {
    let Outgoing { message_id, mut content_type, mut body, .. } = message;
    let mut to = None;
    if let Source::Inline(octets) = &mut body
        && cpim::is_cpim(&content_type)
        && let Ok(wrapping) = cpim::parse(octets, true)
    {
        let start = wrapping.body_offset.min(octets.len());
        content_type = wrapping.content_type;
        to = wrapping.to.into_iter().next().map(|to| to.uri);
        octets.drain(..start);
    }
    (Say { message_id, content_type, body, to: None }, to)
}

/// Whether a dialog is confirmed and stays so.
fn stands(session: &Session) -> bool {
    matches!(session.phase, Phase::Answered(_) | Phase::Live(_)) && !session.phase.is_over()
}

impl Phase {
    /// The session that takes the place of this one, while this one ends.
    pub(crate) fn successor(&self) -> Option<SessionId> {
        let ended = match self {
            Phase::Inviting(inviting) => inviting.cancelled.as_ref(),
            Phase::Answered(answered) => answered.leave.as_ref(),
            Phase::Leaving(leaving) => leaving.ended.as_ref(),
            Phase::Invited(_) | Phase::Live(_) => None,
        };
        match ended {
            Some(Ended::Replaced { by }) => Some(*by),
            Some(_) | None => None,
        }
    }

    /// On its way to its end.
    fn is_over(&self) -> bool {
        match self {
            Phase::Inviting(inviting) => inviting.cancelled.is_some(),
            Phase::Answered(answered) => answered.leave.is_some(),
            Phase::Leaving(_) => true,
            Phase::Invited(_) | Phase::Live(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
