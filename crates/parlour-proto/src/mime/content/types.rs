//! The media types that we know what to do with: one table for what our descriptions list and for what is done.

use parlour_msrp::accept::essence;

use super::Kind;

/// What is done with a body of some type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// What it contains counts.
    Open(Container),
    /// It is a part.
    Keep(Kind),
}

/// A type with other bodies inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// message/cpim: what is in it.
    Cpim,
    /// What was signed in it, unless it is encrypted.
    Cms,
    /// A multipart.
    Multipart(Multipart),
}

/// What counts of a multipart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Multipart {
    /// All that is in it, one after the other.
    Mixed,
    /// The best that is in it.
    Alternative,
    /// The root of what is in it; the others belong to that.
    Related,
    /// What was signed in it.
    Signed,
}

/// Whether our descriptions list a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listed {
    /// As one that may be the whole body.
    Root,
    /// As one that may stand inside another.
    Wrapped,
    /// Not at all: it is covered by another entry, or nobody should be encouraged to send it.
    No,
}

/// Each type, or `type/*` for those that have no row of their own before it.
//= IM M-14
pub const KNOWN: &[(&str, Treatment, Listed)] = &[
    ("message/cpim", Treatment::Open(Container::Cpim), Listed::Root),
    ("text/plain", Treatment::Keep(Kind::Text), Listed::Root),
    // RFC 4975 7.3.1 and 14.3: every endpoint takes these.
    ("multipart/mixed", multipart(Multipart::Mixed), Listed::Root),
    ("multipart/alternative", multipart(Multipart::Alternative), Listed::Root),
    ("multipart/signed", multipart(Multipart::Signed), Listed::Root),
    ("multipart/related", multipart(Multipart::Related), Listed::Root),
    // RFC 2046 5.1.3: whatever else is a multipart is read like mixed.
    ("multipart/*", multipart(Multipart::Mixed), Listed::No),
    ("text/html", Treatment::Keep(Kind::Html), Listed::No),
    ("text/vcard", Treatment::Keep(Kind::Card), Listed::No),
    ("text/x-vcard", Treatment::Keep(Kind::Card), Listed::No),
    ("text/directory", Treatment::Keep(Kind::Card), Listed::No),
    ("text/*", Treatment::Keep(Kind::Text), Listed::Wrapped),
    ("image/*", Treatment::Keep(Kind::Image), Listed::Wrapped),
    ("application/vnd.gsma.rcspushlocation+xml", Treatment::Keep(Kind::Location), Listed::Wrapped),
    ("application/pidf+xml", Treatment::Keep(Kind::Location), Listed::Wrapped),
    // RFC 8591 4: who lists it says that he reads S/MIME.
    ("application/pkcs7-mime", Treatment::Open(Container::Cms), Listed::No),
    ("application/x-pkcs7-mime", Treatment::Open(Container::Cms), Listed::No),
    ("message/external-body", Treatment::Keep(Kind::External), Listed::No),
];

/// What is done with a body of that type, parameters or not; `None`: it is kept.
pub fn known(media_type: &str) -> Option<Treatment> {
    let wanted = essence(media_type);
    let fits = |entry: &str| match entry.strip_suffix('*') {
        Some(family) => wanted.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family)),
        None => entry.eq_ignore_ascii_case(wanted),
    };
    KNOWN.iter().find(|(entry, ..)| fits(entry)).map(|(_, treatment, _)| *treatment)
}

/// Types that peers may send although our description does not list them: RFC 4975 7.3.1 and 14.3 have every endpoint
/// take them.
pub fn taken_unlisted() -> impl Iterator<Item = &'static str> {
    let must = [Multipart::Mixed, Multipart::Alternative, Multipart::Signed].map(multipart);
    let listed = KNOWN.iter().filter(|(_, _, listed)| *listed == Listed::Root);
    listed.filter(move |(_, treatment, _)| must.contains(treatment)).map(|(entry, ..)| *entry)
}

const fn multipart(what: Multipart) -> Treatment {
    Treatment::Open(Container::Multipart(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_its_own_comes_before_its_family() {
        assert_eq!(known("Text/HTML; charset=utf-8"), Some(Treatment::Keep(Kind::Html)));
        assert_eq!(known("text/calendar"), Some(Treatment::Keep(Kind::Text)));
        assert_eq!(known("multipart/x-odd; boundary=b"), Some(multipart(Multipart::Mixed)));
        assert_eq!(known("image/png"), Some(Treatment::Keep(Kind::Image)));
        assert_eq!((known("application/zip"), known("imagex/png"), known("")), (None, None, None));
        let unlisted: Vec<_> = taken_unlisted().collect();
        assert_eq!(unlisted, ["multipart/mixed", "multipart/alternative", "multipart/signed"]);
    }
}
