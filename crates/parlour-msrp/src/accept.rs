//! The media types of `a=accept-types` and `a=accept-wrapped-types` (RFC 4975 8.6).

use std::sync::Arc;

/// The most entries that are kept of one list; a longer list is cut.
pub const MAX_ENTRIES: usize = 128;

/// The longest entry that is kept, in octets; longer ones are left out.
pub const MAX_ENTRY: usize = 128;

/// What an endpoint takes: types that may be the whole body, and types that may only stand inside a container.
///
/// Order is kept, as it tells preference. Types compare without regard to case, parameters are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcceptTypes {
    root: List,
    wrapped: List,
}

/// Entries with a space between them. Many sessions have the same ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct List(Arc<str>);

impl AcceptTypes {
    /// From two lists of entries: `type/subtype`, `type/*` or `*`. Malformed and repeated entries are left out.
    pub fn new<'a>(
        root: impl IntoIterator<Item = &'a str>,
        wrapped: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let (mut roots, mut wraps) = (Listing::default(), Listing::default());
        root.into_iter().for_each(|entry| roots.add(entry));
        wrapped.into_iter().for_each(|entry| wraps.add(entry));
        AcceptTypes { root: roots.done(), wrapped: wraps.done() }
    }

    /// From the values of the two attributes. Malformed entries are left out, so check
    /// [`is_empty`](AcceptTypes::is_empty).
    pub fn parse(accept_types: &str, accept_wrapped_types: Option<&str>) -> Self {
        let mut types = AcceptTypes::default();
        types.add_types(accept_types);
        types.add_wrapped_types(accept_wrapped_types.unwrap_or_default());
        types
    }

    /// Adds the value of one `a=accept-types` line; several lines are one list.
    pub fn add_types(&mut self, value: &str) {
        self.root.extend(value);
    }

    /// Adds the value of one `a=accept-wrapped-types` line.
    pub fn add_wrapped_types(&mut self, value: &str) {
        self.wrapped.extend(value);
    }

    /// Whether no type may be the whole body: nothing can be sent to such an endpoint.
    pub fn is_empty(&self) -> bool {
        self.root.0.is_empty()
    }

    /// The entries of `a=accept-types`, in order.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.root.entries()
    }

    /// The entries of `a=accept-wrapped-types`, in order.
    pub fn wrapped_types(&self) -> impl Iterator<Item = &str> {
        self.wrapped.entries()
    }

    /// The value of `a=accept-types`.
    pub fn types_attribute(&self) -> String {
        self.root.0.to_string()
    }

    /// The value of `a=accept-wrapped-types`, if there is one to write.
    pub fn wrapped_types_attribute(&self) -> Option<String> {
        (!self.wrapped.0.is_empty()).then(|| self.wrapped.0.to_string())
    }

    /// Whether `media_type` may be the whole body.
    //= IM D-33
    pub fn accepts_root(&self, media_type: &str) -> bool {
        self.root.covers(essence(media_type))
    }

    /// Whether `media_type` may stand inside a container: either list says so.
    pub fn accepts_wrapped(&self, media_type: &str) -> bool {
        self.accepts_root(media_type) || self.wrapped.covers(essence(media_type))
    }

    /// Whether `media_type` may stand inside `container`, which must itself be listed as a whole body.
    pub fn accepts_inside(&self, container: &str, media_type: &str) -> bool {
        self.accepts_root(container) && self.accepts_wrapped(media_type)
    }

    /// The place of `media_type` in the order of preference of whole bodies, explicit entries before `type/*` before
    /// `*`; less is better.
    pub fn preference(&self, media_type: &str) -> Option<usize> {
        let wanted = essence(media_type);
        let place = |fits: &dyn Fn(&str) -> bool| self.root.entries().position(fits);
        // RFC 4975 8.6: explicit entries are preferred over those that only `*` stands for.
        place(&|entry| entry.eq_ignore_ascii_case(wanted))
            .or_else(|| {
                place(&|entry| entry != "*" && matches(entry, wanted))
                    .map(|at| at.saturating_add(MAX_ENTRIES))
            })
            .or_else(|| place(&|entry| entry == "*").map(|at| at.saturating_add(2 * MAX_ENTRIES)))
    }

    /// What an answer lists: those of our types that the offer names too, in the offer's order; all of ours where the
    /// offer says `*`. Empty if there is nothing in common.
    pub fn answer(&self, offer: &AcceptTypes) -> AcceptTypes {
        let (mut root, mut wrapped) = (Listing::default(), Listing::default());
        for offered in offer.root.entries() {
            self.root.common(offered).for_each(|entry| root.enter(entry));
        }
        for offered in offer.wrapped.entries().chain(offer.root.entries()) {
            for entry in self.wrapped.common(offered).chain(self.root.common(offered)) {
                // RFC 4975 8.6: what accept-types lists is not repeated.
                if !root.entries().any(|listed| matches(listed, entry)) {
                    wrapped.enter(entry);
                }
            }
        }
        AcceptTypes { root: root.done(), wrapped: wrapped.done() }
    }
}

/// The media type without parameters and surrounding space.
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim_matches([' ', '\t'])
}

impl List {
    fn entries(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// Adds the entries of an attribute's value.
    fn extend(&mut self, value: &str) {
        let mut listing = Listing(self.0.to_string());
        entries(value).for_each(|entry| listing.add(entry));
        *self = listing.done();
    }

    fn covers(&self, wanted: &str) -> bool {
        is_media_type(wanted) && self.entries().any(|entry| matches(entry, wanted))
    }

    /// The entries that `offered` stands for, and `offered` itself if a wider entry stands for it.
    fn common<'a>(&'a self, offered: &'a str) -> impl Iterator<Item = &'a str> {
        let covered = self.entries().any(|entry| !matches(offered, entry) && matches(entry, offered));
        self.entries().filter(move |entry| matches(offered, entry)).chain(covered.then_some(offered))
    }
}

/// A list that is being written.
#[derive(Default)]
struct Listing(String);

impl Listing {
    fn entries(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    fn add(&mut self, entry: &str) {
        let entry = essence(entry);
        if entry.len() <= MAX_ENTRY && (entry == "*" || is_media_type(entry)) {
            self.enter(entry);
        }
    }

    /// Adds a well-formed entry if it is new and there is room.
    fn enter(&mut self, entry: &str) {
        let mut count = 0;
        let listed = self.entries().inspect(|_| count += 1).any(|listed| listed.eq_ignore_ascii_case(entry));
        if !listed && count < MAX_ENTRIES {
            if !self.0.is_empty() {
                self.0.push(' ');
            }
            self.0.push_str(entry);
        }
    }

    fn done(self) -> List {
        List(self.0.into())
    }
}

/// Whether an entry stands for a type (or for a narrower entry).
fn matches(entry: &str, wanted: &str) -> bool {
    if entry == "*" || entry.eq_ignore_ascii_case(wanted) {
        return true;
    }
    let Some(kind) = entry.strip_suffix("/*") else { return false };
    wanted.split_once('/').is_some_and(|(wanted, _)| kind.eq_ignore_ascii_case(wanted))
}

pub(crate) fn is_media_type(text: &str) -> bool {
    let token = |part: &str| !part.is_empty() && part.bytes().all(crate::parts::is_token);
    text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && kind != "*" && token(subtype))
}

/// Splits at spaces that stand outside quoted parameter values.
fn entries(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |letter| {
            match letter {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            !quoted && matches!(letter, ' ' | '\t')
        })
        .filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(root: &str, wrapped: &str) -> AcceptTypes {
        AcceptTypes::parse(root, Some(wrapped))
    }

    #[test]
    fn values_are_read_leniently() {
        let types = types("* message/CPIM  text/plain;charset=\"a b\";x=1 text text/ /x TEXT/plain", "");
        assert_eq!(types.types_attribute(), "* message/CPIM text/plain");
        assert_eq!(types.wrapped_types_attribute(), None);
        assert!(AcceptTypes::parse("nonsense", None).is_empty());
    }

    //= IM D-33 test
    #[test]
    fn wrapped_types_only_stand_inside_a_listed_container() {
        let types = types("message/cpim text/plain", "text/html image/*");
        assert!(types.accepts_root("Text/Plain; charset=utf-8"));
        assert!(!types.accepts_root("text/html"));
        assert!(types.accepts_wrapped("text/html") && types.accepts_wrapped("text/plain"));
        assert!(types.accepts_inside("Message/CPIM", "image/png"));
        assert!(!types.accepts_inside("multipart/mixed", "text/html"));
        assert!(!types.accepts_inside("message/cpim", "audio/ogg"));
    }

    #[test]
    fn stars_stand_for_unlisted_types() {
        assert!(types("*", "").accepts_root("application/x-new"));
        assert!(types("image/*", "").accepts_root("image/png"));
        assert!(!types("image/*", "").accepts_root("imagex/png"));
        assert!(!types("*", "").accepts_root("nonsense"));
        let order = types("* image/* text/plain", "");
        assert!(order.preference("text/plain") < order.preference("image/png"));
        assert!(order.preference("image/png") < order.preference("audio/ogg"));
        assert_eq!(types("text/plain", "").preference("audio/ogg"), None);
    }

    #[test]
    fn an_answer_selects_from_the_offer_in_its_order() {
        let ours = types("text/plain message/cpim", "text/html image/png");
        let answer = ours.answer(&types("message/CPIM text/x text/plain", "image/* text/html"));
        assert_eq!(answer.types_attribute(), "message/cpim text/plain");
        assert_eq!(answer.wrapped_types_attribute().as_deref(), Some("image/png text/html"));
        let all = ours.answer(&types("* message/CPIM", ""));
        assert_eq!(all.types_attribute(), "text/plain message/cpim");
        assert_eq!(all.wrapped_types_attribute().as_deref(), Some("text/html image/png"));
        assert!(ours.answer(&types("foo/bar", "")).is_empty());
        assert_eq!(types("image/*", "").answer(&types("image/png", "")).types_attribute(), "image/png");
    }
}
