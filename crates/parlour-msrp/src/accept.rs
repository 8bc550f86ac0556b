//! The media types of `a=accept-types` and `a=accept-wrapped-types` (RFC 4975 8.6).

use std::sync::Arc;

use crate::parts::is_token_text;

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
        self.root.extend(entries(value));
    }

    /// Adds the value of one `a=accept-wrapped-types` line.
    pub fn add_wrapped_types(&mut self, value: &str) {
        self.wrapped.extend(entries(value));
    }

    /// Adds entries that may be the whole body, as [`new`](AcceptTypes::new) takes them.
    pub fn add_entries<'a>(&mut self, entries: impl IntoIterator<Item = &'a str>) {
        self.root.extend(entries);
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
    pub fn types_attribute(&self) -> &str {
        &self.root.0
    }

    /// The value of `a=accept-wrapped-types`, if there is one to write.
    pub fn wrapped_types_attribute(&self) -> Option<&str> {
        Some(&*self.wrapped.0).filter(|entries| !entries.is_empty())
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
        let (Listing(ours), Listing(ours_wrapped)) = (Listing::of(&self.root), Listing::of(&self.wrapped));
        let (mut root, mut wrapped) = (Listing::default(), Listing::default());
        for offered in offer.root.entries() {
            common(&ours, offered).for_each(|entry| root.enter(entry));
        }
        // RFC 4975 8.6: what accept-types lists is not repeated.
        let mut wrap = |entry| {
            if !root.0.iter().any(|listed| matches(listed, entry)) {
                wrapped.enter(entry);
            }
        };
        for offered in offer.wrapped.entries() {
            common(&ours_wrapped, offered).chain(common(&ours, offered)).for_each(&mut wrap);
        }
        for offered in offer.root.entries() {
            common(&ours_wrapped, offered).for_each(&mut wrap);
        }
        AcceptTypes { root: root.done(), wrapped: wrapped.done() }
    }
}

/// The media type without parameters and surrounding space.
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim_matches([' ', '\t'])
}

/// Those of our entries that `offered` stands for, and `offered` itself if a wider one of ours stands for it.
fn common<'a>(ours: &'a [&'a str], offered: &'a str) -> impl Iterator<Item = &'a str> {
    let covered = ours.iter().any(|entry| matches(entry, offered) && !matches(offered, entry));
    ours.iter().copied().filter(move |entry| matches(offered, entry)).chain(covered.then_some(offered))
}

impl List {
    fn entries(&self) -> impl Iterator<Item = &str> {
        let text = &*self.0;
        let mut start = 0_usize;
        memchr::memchr_iter(b' ', text.as_bytes()).chain([text.len()]).filter_map(move |end| {
            let entry = text.get(start..end);
            start = end.saturating_add(1);
            entry.filter(|entry| !entry.is_empty())
        })
    }

    /// Adds well-formed entries.
    fn extend<'a>(&mut self, entries: impl IntoIterator<Item = &'a str>) {
        let mut listing = Listing::of(self);
        entries.into_iter().for_each(|entry| listing.add(entry));
        let extended = listing.done();
        *self = extended;
    }

    fn covers(&self, wanted: &str) -> bool {
        is_media_type(wanted) && self.entries().any(|entry| matches(entry, wanted))
    }
}

/// A list in the making: short, so that looking through it is the quickest way to know what it has.
struct Listing<'a>(Vec<&'a str>);

impl Default for Listing<'_> {
    fn default() -> Self {
        // Few lists have more entries.
        Listing(Vec::with_capacity(16))
    }
}

impl<'a> Listing<'a> {
    fn of(list: &'a List) -> Self {
        let mut listing = Listing::default();
        listing.0.extend(list.entries());
        listing
    }

    fn add(&mut self, entry: &'a str) {
        let entry = essence(entry);
        if entry.len() <= MAX_ENTRY && (entry == "*" || is_media_type(entry)) {
            self.enter(entry);
        }
    }

    /// Adds a well-formed entry if it is new and there is room.
    fn enter(&mut self, entry: &'a str) {
        let listed = self.0.iter().any(|listed| listed.eq_ignore_ascii_case(entry));
        if !listed && self.0.len() < MAX_ENTRIES {
            self.0.push(entry);
        }
    }

    fn done(self) -> List {
        List(self.0.join(" ").into())
    }
}

/// Whether an entry stands for a type (or for a narrower entry).
fn matches(entry: &str, wanted: &str) -> bool {
    match entry.as_bytes() {
        b"*" => true,
        [family @ .., b'*'] if family.ends_with(b"/") => {
            wanted.as_bytes().get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family))
        }
        _ => entry == wanted || entry.eq_ignore_ascii_case(wanted),
    }
}

/// Whether a text is a media type without parameters: two tokens with a slash between them, the first no `*`.
pub fn is_media_type(text: &str) -> bool {
    let slash = memchr::memchr(b'/', text.as_bytes());
    let parts = slash.and_then(|at| Some((text.get(..at)?, text.get(at.checked_add(1)?..)?)));
    parts.is_some_and(|(kind, subtype)| is_token_text(kind) && kind != "*" && is_token_text(subtype))
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
        assert_eq!(answer.wrapped_types_attribute(), Some("image/png text/html"));
        let all = ours.answer(&types("* message/CPIM", ""));
        assert_eq!(all.types_attribute(), "text/plain message/cpim");
        assert_eq!(all.wrapped_types_attribute(), Some("text/html image/png"));
        assert!(ours.answer(&types("foo/bar", "")).is_empty());
        assert_eq!(types("image/*", "").answer(&types("image/png", "")).types_attribute(), "image/png");
    }
}
