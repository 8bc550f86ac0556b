//! What a peer has answered 415 to: remembered for a day, so that it is not said in that form again, and what is said in
//! another form because of it (catalogue 4.1 M-12).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use parlour_msrp::accept::essence;
use parlour_msrp::{Outgoing, Source};
use siphasher::sip::SipHasher13;

use crate::event::{Peer, What};
use crate::im::Core;
use crate::im::replaces::said;
use crate::im::session::Session;
use crate::io::{AccountId, SessionId};
use crate::mime::{charset, composing, cpim, html};
use crate::sdp::{Stream, Wrapping};
use crate::sip::uri::{Uri, aor};
use crate::verb::Refusal;

/// How long a refusal counts: peers are mended, and other devices answer under the same address.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Peers of whom something is remembered; of more, those that refused first are forgotten.
const MOST_PEERS: usize = 512;

/// Refusals of one peer that are remembered.
const MOST_TYPES: usize = 16;

/// What peers do not take.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    refused: BTreeMap<(AccountId, String), Vec<Refused>>,
    /// Messages that were said again in another form: what MSRP tells of the first attempt is no news.
    again: BTreeSet<(parlour_msrp::SessionId, String)>,
}

/// One refusal.
#[derive(Debug, Clone)]
struct Refused {
    form: Form,
    /// Since 1970.
    until: Duration,
    /// A number made of what the peer said that it takes when it refused, if that is known: one that lists other types is
    /// asked anew.
    listed: Option<u64>,
}

/// A media type, whether it stands in message/cpim, and whether in a MESSAGE rather than in a session: that asks other
/// servers, and nothing is negotiated for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pager: bool,
    wrapped: bool,
    media_type: String,
}

impl Form {
    fn new(wrapping: Wrapping, media_type: &str) -> Form {
        let media_type = essence(media_type).to_ascii_lowercase();
        Form { pager: false, wrapped: wrapping == Wrapping::Cpim, media_type }
    }

    /// The form of a body in a MESSAGE.
    pub(crate) fn paged(wrapping: Wrapping, media_type: &str) -> Form {
        Form { pager: true, ..Form::new(wrapping, media_type) }
    }

    /// The form of a message that was handed to MSRP.
    fn of(message: &Outgoing) -> Form {
        let head = match &message.body {
            Source::Inline(octets) => octets,
            Source::Fetched { head, .. } => head,
        };
        match cpim::parse(head, false) {
            Ok(wrapping) if cpim::is_cpim(&message.content_type) => {
                Form::new(Wrapping::Cpim, &wrapping.content_type)
            }
            Ok(_) | Err(_) => Form::new(Wrapping::Bare, &message.content_type),
        }
    }
}

impl Learned {
    fn note(&mut self, key: (AccountId, String), refused: Refused, now: Duration) {
        self.refused.retain(|_, forms| {
            forms.retain(|known| known.until > now);
            !forms.is_empty()
        });
        if self.refused.len() >= MOST_PEERS && !self.refused.contains_key(&key) {
            let first =
                self.refused.iter().min_by_key(|(_, forms)| forms.iter().map(|known| known.until).min());
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                self.refused.remove(&first);
            }
        }
        let forms = self.refused.entry(key).or_default();
        forms.retain(|known| known.form != refused.form);
        if forms.len() >= MOST_TYPES {
            forms.remove(0);
        }
        forms.push(refused);
    }

    fn refuses(&self, key: &(AccountId, String), form: &Form, now: Duration, listed: Option<u64>) -> bool {
        // Who takes no text in message/cpim takes nothing in it.
        let is_it = |known: &Form| {
            known == form
                || (known.pager == form.pager
                    && known.wrapped
                    && form.wrapped
                    && known.media_type == "text/plain")
        };
        let counts = |known: &Refused| {
            let is_same = known.listed.zip(listed).is_none_or(|(then, now)| then == now);
            known.until > now && is_same && is_it(&known.form)
        };
        self.refused.get(key).is_some_and(|forms| forms.iter().any(counts))
    }
}

impl Core {
    /// The form in which the peer of a session takes a body: how it is wrapped, and the body, which may be another one.
    /// `None` if it takes no such body.
    //= IM M-12
    pub(crate) fn form(
        &self,
        session: &Session,
        stream: &Stream,
        content_type: String,
        body: Source,
    ) -> (Option<Wrapping>, String, Source) {
        let best = |kind: &str| {
            let preferred = stream.wrapping(kind);
            let takes = |wrapping: Wrapping| match wrapping {
                Wrapping::Bare => stream.accepted.accepts_root(kind),
                Wrapping::Cpim => stream.accepted.accepts_inside(cpim::MEDIA_TYPE, kind),
            };
            let forms = preferred.into_iter().chain([Wrapping::Bare, Wrapping::Cpim]);
            let mut forms = forms.filter(|wrapping| takes(*wrapping));
            (forms.find(|wrapping| !self.is_refused(session, *wrapping, kind)), preferred)
        };
        match (best(&content_type), body) {
            ((Some(wrapping), _), body) => (Some(wrapping), content_type, body),
            ((None, preferred), Source::Inline(octets)) if is_html(&content_type) => {
                // Nobody writes HTML for its own sake: whoever does not take it gets the text.
                match (best("text/plain").0, charset::decode(&octets, None)) {
                    (Some(wrapping), Some(page)) => {
                        let text = Source::Inline(html::text(&page).into_bytes());
                        (Some(wrapping), "text/plain".to_owned(), text)
                    }
                    (None, _) | (_, None) => (preferred, content_type, Source::Inline(octets)),
                }
            }
            // A refusal of yesterday is no reason to say nothing at all.
            ((None, preferred), body) => (preferred, content_type, body),
        }
    }

    /// Whether the peer of a session has refused this form lately.
    pub(crate) fn is_refused(&self, session: &Session, wrapping: Wrapping, media_type: &str) -> bool {
        self.is_refused_form(session, &Form::new(wrapping, media_type))
    }

    /// Whether a MESSAGE to this address with that in it was refused lately.
    pub(crate) fn is_refused_page(&self, account: AccountId, to: &str, form: &Form) -> bool {
        self.learned.refuses(&(account, party(to)), form, self.now.unix, None)
    }

    /// A MESSAGE to this address was answered 415.
    //= IM M-12
    pub(crate) fn page_type_refused(&mut self, account: AccountId, to: &str, form: Form) {
        let peer = Peer { address: to.to_owned(), display_name: None, verified: false };
        self.learn(account, None, peer, form, None);
    }

    fn learn(
        &mut self,
        account: AccountId,
        session: Option<SessionId>,
        peer: Peer,
        form: Form,
        listed: Option<u64>,
    ) {
        let key = (account, party(&peer.address));
        if self.learned.refuses(&key, &form, self.now.unix, listed) {
            return;
        }
        let until = self.now.unix.saturating_add(LIFETIME);
        self.learned.note(key, Refused { form: form.clone(), until, listed }, self.now.unix);
        let decision = "the peer does not take a type: it is not sent to it for a day where there is another";
        self.explain(account, session, "M-12", decision, &form.to_string());
        let Form { pager, wrapped, media_type } = form;
        self.tell(account, session, What::TypeRefused { peer, pager, wrapped, media_type, until });
    }

    /// A peer has answered 415. What the user has said goes again in the next form that the peer may take.
    //= IM M-12
    pub(crate) fn type_refused(&mut self, msrp: parlour_msrp::SessionId, message: Outgoing, control: bool) {
        let Some(session) = self.sessions.by_msrp(msrp).and_then(|id| self.sessions.get(id)) else { return };
        if session.phase.chat().is_none_or(|chat| chat.msrp != msrp) {
            return;
        }
        let (account, id, peer) = (session.account, session.id, session.peer.clone());
        // A room is not one peer, and takes nothing that is not wrapped.
        let (is_room, form) = (session.is_room(), Form::of(&message));
        let listed = session.listed();
        if !is_room {
            self.learn(account, Some(id), peer, form.clone(), listed);
        }
        if control || is_room || composing::is_composing(&form.media_type) {
            return;
        }
        let (message, _) = said(message);
        let message_id = message.message_id.clone();
        let Some(session) = self.sessions.get(id) else { return };
        let Ok((msrp, again)) = self.outgoing(session, message) else { return };
        let next = Form::of(&again);
        if next == form || self.sessions.get(id).is_none_or(|session| self.is_refused_form(session, &next)) {
            return;
        }
        if self.msrp.send(self.now.instant, msrp, again).is_ok() {
            self.learned.again.insert((msrp, message_id));
            let how = if next.wrapped { "in message/cpim" } else { "without a wrapping" };
            let decision = format!("said again as {} {how}", next.media_type);
            self.explain(account, Some(id), "M-12", decision, &form.to_string());
        }
    }

    fn is_refused_form(&self, session: &Session, form: &Form) -> bool {
        let key = (session.account, party(&session.peer.address));
        self.learned.refuses(&key, form, self.now.unix, session.listed())
    }

    /// Whether a failure is of a first attempt, after which the message went again in another form.
    pub(crate) fn went_again(&mut self, msrp: parlour_msrp::SessionId, message_id: &str) -> bool {
        self.learned.again.remove(&(msrp, message_id.to_owned()))
    }

    /// What was learned before the program was started.
    pub(crate) fn set_refusals(&mut self, refusals: &[Refusal]) {
        for Refusal { account, peer, pager, wrapped, media_type, until } in refusals {
            let form = Form { pager: *pager, wrapped: *wrapped, media_type: media_type.to_ascii_lowercase() };
            // A clock that was wrong must not make a refusal outlive its day.
            let until = (*until).min(self.now.unix.saturating_add(LIFETIME));
            let refused = Refused { form, until, listed: None };
            self.learned.note((*account, party(peer)), refused, self.now.unix);
        }
    }
}

impl Session {
    /// A number made of the types that the peer lists.
    fn listed(&self) -> Option<u64> {
        let accepted = &self.phase.chat()?.stream.accepted;
        let mut hasher = SipHasher13::new();
        (accepted.types_attribute(), accepted.wrapped_types_attribute()).hash(&mut hasher);
        Some(hasher.finish())
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (within, around) = (if self.pager { "a MESSAGE with " } else { "" }, "message/cpim with ");
        write!(f, "415 to {within}{}{}", if self.wrapped { around } else { "" }, self.media_type)
    }
}

pub(crate) fn is_html(content_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case("text/html")
}

/// The other end, as a key.
fn party(address: &str) -> String {
    Uri::parse(address.as_bytes()).map_or_else(|_| address.to_owned(), |uri| aor(&uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(wrapping: Wrapping, kind: &str) -> Form {
        Form::new(wrapping, kind)
    }

    fn refused(form: Form, until: Duration) -> Refused {
        Refused { form, until, listed: None }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_ends() {
        let mut learned = Learned::default();
        let at = Duration::from_secs;
        let key = |peer: usize| (AccountId(0), format!("sip:{peer}@x"));
        let html = form(Wrapping::Bare, "Text/HTML; charset=utf-8");
        for peer in 0..=MOST_PEERS {
            learned.note(key(peer), refused(html.clone(), at(1000 + peer as u64)), at(0));
        }
        assert_eq!(learned.refused.len(), MOST_PEERS);
        assert!(
            !learned.refuses(&key(0), &html, at(0), None) && learned.refuses(&key(1), &html, at(0), None)
        );
        assert!(!learned.refuses(&key(1), &html, at(1001), None), "it ends");
        for kind in 0..50 {
            learned.note(key(1), refused(form(Wrapping::Bare, &format!("x/{kind}")), at(5000)), at(0));
        }
        assert_eq!(learned.refused[&key(1)].len(), MOST_TYPES);
        learned.note(key(2), refused(html, at(9000)), at(6000));
        assert_eq!(learned.refused.len(), 1, "what has ended is forgotten");
    }

    #[test]
    fn who_takes_no_text_in_a_wrapping_takes_nothing_in_it() {
        let mut learned = Learned::default();
        let (key, until) = ((AccountId(0), "sip:a@x".to_owned()), Duration::from_secs(9));
        learned.note(key.clone(), refused(form(Wrapping::Cpim, "message/imdn+xml"), until), Duration::ZERO);
        let refuses = |learned: &Learned, wrapping, kind: &str| {
            learned.refuses(&key, &form(wrapping, kind), Duration::ZERO, None)
        };
        assert!(refuses(&learned, Wrapping::Cpim, "message/imdn+xml"));
        assert!(!refuses(&learned, Wrapping::Cpim, "text/plain"));
        learned.note(key.clone(), refused(form(Wrapping::Cpim, "text/plain"), until), Duration::ZERO);
        assert!(refuses(&learned, Wrapping::Cpim, "image/png"));
        assert!(!refuses(&learned, Wrapping::Bare, "text/plain"));
        let paged = Form::paged(Wrapping::Cpim, "text/plain");
        assert!(!learned.refuses(&key, &paged, Duration::ZERO, None), "that is another way");
    }

    #[test]
    fn who_lists_other_types_is_asked_anew() {
        let mut learned = Learned::default();
        let (key, until) = ((AccountId(0), "sip:a@x".to_owned()), Duration::from_secs(9));
        let html = form(Wrapping::Bare, "text/html");
        let known = Refused { listed: Some(1), ..refused(html.clone(), until) };
        learned.note(key.clone(), known, Duration::ZERO);
        let refuses = |listed| learned.refuses(&key, &html, Duration::ZERO, listed);
        assert!(refuses(Some(1)) && refuses(None) && !refuses(Some(2)));
    }
}
