//! A coherent view of a conference out of its documents (RFC 4575 4.6).

use std::collections::BTreeMap;

use super::{Condition, Description, Document, Endpoint, MOST_USERS, State, User};

/// Octets of everything that is kept of one conference, roughly.
const HEAVIEST: usize = 4 * 1024 * 1024;

/// What is known of a conference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conference {
    /// The version of the last document that was merged; none before the first full one.
    version: Option<u32>,
    /// The conference URI, by which it calls itself.
    pub entity: Option<String>,
    /// The conference as a whole.
    pub description: Description,
    /// How the conference is.
    pub condition: Condition,
    /// Who is in it, by `entity`.
    pub users: BTreeMap<Box<str>, User>,
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is merged.
    Merged,
    /// It is not newer than what is known: nothing has changed.
    Stale,
    /// It builds upon a document that we do not have: the full state must be asked for.
    Gap,
    /// It would make the conference larger than is kept: everything is forgotten.
    TooLarge,
    /// The conference has ceased to exist.
    Over,
}

impl Conference {
    /// Merges one document.
    //= IM R-13
    pub fn take(&mut self, document: Document) -> Verdict {
        // RFC 4575 4.6: what is not newer is discarded.
        if self.version.is_some_and(|version| document.version <= version) {
            return Verdict::Stale;
        }
        match document.state {
            State::Deleted => {
                *self = Conference { version: Some(document.version), ..Conference::default() };
                return Verdict::Over;
            }
            State::Full => {
                *self = Conference::default();
                self.apply(document);
            }
            // RFC 4575 4.6: a partial document counts only right after the one that it builds upon.
            State::Partial
                if self.version.and_then(|version| version.checked_add(1)) == Some(document.version) =>
            {
                self.apply(document);
            }
            State::Partial => return Verdict::Gap,
        }
        if self.users.len() > MOST_USERS || self.weight() > HEAVIEST {
            *self = Conference::default();
            return Verdict::TooLarge;
        }
        Verdict::Merged
    }

    /// The documents of a new subscription count anew (RFC 4575 5.2); what is known stays until the first one.
    pub fn restart(&mut self) {
        self.version = None;
    }

    fn apply(&mut self, document: Document) {
        self.version = Some(document.version);
        self.entity = Some(document.entity).filter(|entity| !entity.is_empty());
        // RFC 4575 4.4: these two have no state; they are replaced as a whole.
        if let Some(description) = document.description {
            self.description = description;
        }
        if let Some(condition) = document.condition {
            self.condition = condition;
        }
        if let Some(users) = document.users {
            if users.state != State::Partial {
                self.users.clear();
            }
            if users.state != State::Deleted {
                merge(&mut self.users, users.list);
            }
        }
    }

    /// Octets of what is kept, roughly.
    fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let mut weight = text(&self.description.subject).saturating_add(text(&self.description.free_text));
        for (entity, user) in &self.users {
            let roles = user.roles.iter().flatten().map(String::len).sum::<usize>();
            weight = weight.saturating_add(PART + entity.len() + roles);
            weight = weight
                .saturating_add(text(&user.display_text) + text(&user.nickname) + text(&user.cascaded_focus));
            for (entity, endpoint) in &user.endpoints {
                let texts = text(&endpoint.display_text) + text(&endpoint.disconnection_reason);
                weight = weight.saturating_add(PART + entity.len() + texts);
                for (id, media) in &endpoint.media {
                    weight = weight.saturating_add(PART + id.len() + text(&media.kind) + text(&media.status));
                }
            }
        }
        weight
    }
}

/// Octets of an element without its texts.
const PART: usize = 100;

/// An element that is told of by a key, in full, in part or as gone.
trait Keyed: Sized {
    fn state(&self) -> State;

    /// The element as it is kept: told in full, without what is told to be gone.
    fn settled(self) -> Self;

    /// Takes in what has changed.
    fn amend(&mut self, news: Self);
}

/// RFC 4575 4.6, step 3.1.
fn merge<T: Keyed>(known: &mut BTreeMap<Box<str>, T>, news: BTreeMap<Box<str>, T>) {
    for (key, element) in news {
        match (element.state(), known.get_mut(&key)) {
            (State::Deleted, _) => {
                known.remove(&key);
            }
            (State::Partial, Some(before)) => before.amend(element),
            (State::Partial | State::Full, _) => {
                known.insert(key, element.settled());
            }
        }
    }
}

fn settled<T: Keyed>(list: BTreeMap<Box<str>, T>) -> BTreeMap<Box<str>, T> {
    let there = list.into_iter().filter(|(_, element)| element.state() != State::Deleted);
    there.map(|(key, element)| (key, element.settled())).collect()
}

/// What was told replaces what was known.
fn replace<T>(known: &mut Option<T>, news: Option<T>) {
    if news.is_some() {
        *known = news;
    }
}

impl Keyed for User {
    fn state(&self) -> State {
        self.state
    }

    fn settled(self) -> Self {
        let nickname = self.nickname.filter(|name| !name.is_empty());
        User { state: State::Full, endpoints: settled(self.endpoints), nickname, ..self }
    }

    fn amend(&mut self, news: Self) {
        replace(&mut self.display_text, news.display_text);
        replace(&mut self.nickname, news.nickname);
        self.nickname.take_if(|name| name.is_empty());
        replace(&mut self.roles, news.roles);
        replace(&mut self.cascaded_focus, news.cascaded_focus);
        merge(&mut self.endpoints, news.endpoints);
    }
}

impl Keyed for Endpoint {
    fn state(&self) -> State {
        self.state
    }

    fn settled(self) -> Self {
        Endpoint { state: State::Full, ..self }
    }

    fn amend(&mut self, news: Self) {
        replace(&mut self.display_text, news.display_text);
        replace(&mut self.status, news.status);
        replace(&mut self.joining_method, news.joining_method);
        replace(&mut self.disconnection_method, news.disconnection_method);
        replace(&mut self.disconnection_reason, news.disconnection_reason);
        // RFC 4575 4.5: a stream is known by its id, and has no state: it is replaced as a whole.
        self.media.extend(news.media);
    }
}
