//! Where the parts of an MSRP URI lie, and how they compare (RFC 4975 6.1 and 9).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use subtle::ConstantTimeEq;

use crate::line::find;
use crate::uri::{MAX_URI, UriFault};

/// A range of a text of at most [`MAX_URI`] octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn new(range: Range<usize>) -> Self {
        let offset = |at| u16::try_from(at).expect("invariant: no URI is longer than MAX_URI");
        Span { start: offset(range.start), end: offset(range.end) }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(crate) fn of(self, text: &str) -> &str {
        text.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }
}

/// Where the parts of a URI lie in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Parts {
    pub(crate) secure: bool,
    bracketed: bool,
    pub(crate) port: Option<u16>,
    pub(crate) userinfo: Span,
    pub(crate) host: Span,
    session_id: Span,
    pub(crate) transport: Span,
    pub(crate) parameters: Span,
}

impl Parts {
    /// Finds the parts; an absent transport is left empty.
    pub(crate) fn of(text: &str) -> Result<Parts, UriFault> {
        if text.len() > MAX_URI {
            return Err(UriFault::TooLong);
        }
        // Every part is a tail of `text` cut further and further; its place is the difference of the lengths.
        let place = |tail: &str, length: usize| {
            let start = text.len().saturating_sub(tail.len());
            Span::new(start..start.saturating_add(length))
        };

        let (secure, rest) = match (after(text, "msrp://"), after(text, "msrps://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(UriFault::Scheme),
        };

        // RFC 3986 3.2: the authority ends at the slash; userinfo may hold `;`, so look for `@` first.
        let (userinfo, rest) =
            match rest.split_at_checked(until(rest, memchr::memchr2(b'@', b'/', rest.as_bytes()))) {
                Some((userinfo, tail)) if tail.starts_with('@') => {
                    // RFC 4975 6: no password, thus no colon.
                    if !NAME.has_all(userinfo) {
                        return Err(UriFault::UserInfo);
                    }
                    (place(rest, userinfo.len()), tail.strip_prefix('@').unwrap_or(tail))
                }
                Some(_) | None => (Span::default(), rest),
            };

        let (host, bracketed, rest) = if let Some(inner) = rest.strip_prefix('[') {
            let (address, rest) = inner.split_once(']').ok_or(UriFault::Host)?;
            address.parse::<Ipv6Addr>().map_err(|_| UriFault::Host)?;
            (place(inner, address.len()), true, rest)
        } else {
            let length = until(rest, memchr::memchr3(b':', b'/', b';', rest.as_bytes()));
            let (name, tail) = rest.split_at_checked(length).ok_or(UriFault::Host)?;
            if !NAME.has_all(name) {
                return Err(UriFault::Host);
            }
            (place(rest, name.len()), false, tail)
        };

        let (port, rest) = match rest.strip_prefix(':') {
            Some(tail) => {
                let length = until(tail, memchr::memchr2(b'/', b';', tail.as_bytes()));
                let (digits, tail) = tail.split_at_checked(length).ok_or(UriFault::Port)?;
                if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit())
                {
                    return Err(UriFault::Port);
                }
                let port = digits.parse::<u16>().map_err(|_| UriFault::Port)?;
                (Some(port).filter(|port| *port > 0).ok_or(UriFault::Port).map(Some)?, tail)
            }
            None => (None, rest),
        };

        let (session_id, rest) = match rest.strip_prefix('/') {
            Some(tail) => {
                let length = until(tail, memchr::memchr(b';', tail.as_bytes()));
                let (id, after) = tail.split_at_checked(length).ok_or(UriFault::SessionId)?;
                if !SESSION_ID.has_all(id) {
                    return Err(UriFault::SessionId);
                }
                (place(tail, id.len()), after)
            }
            None => (Span::default(), rest),
        };

        let (transport, parameters) = match rest.strip_prefix(';') {
            Some(tail) => {
                let length = until(tail, memchr::memchr(b';', tail.as_bytes()));
                let (transport, after) = tail.split_at_checked(length).ok_or(UriFault::Parameter)?;
                if transport.is_empty() || !transport.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err(UriFault::Parameter);
                }
                let parameters = match after.strip_prefix(';') {
                    Some(list) if list.split(';').all(is_parameter) => place(list, list.len()),
                    Some(_) => return Err(UriFault::Parameter),
                    None => Span::default(),
                };
                (place(tail, transport.len()), parameters)
            }
            None if rest.is_empty() => (Span::default(), Span::default()),
            None => return Err(UriFault::Host),
        };

        let parts = Parts { secure, bracketed, port, userinfo, host, session_id, transport, parameters };
        // RFC 4975 6: a numeric address must come with a port.
        if port.is_none() && parts.ip(text).is_some() {
            return Err(UriFault::Port);
        }
        Ok(parts)
    }

    pub(crate) fn session_id(self, text: &str) -> Option<&str> {
        Some(self.session_id.of(text)).filter(|id| !id.is_empty())
    }

    pub(crate) fn ip(&self, text: &str) -> Option<IpAddr> {
        let host = self.host.of(text);
        if self.bracketed {
            host.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        } else {
            host.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
    }

    /// RFC 4975 6.1.
    pub(crate) fn matches(&self, text: &str, other: &Parts, other_text: &str) -> bool {
        let transport = |parts: &Parts, text| match parts.transport.of(text) {
            "" => "tcp".to_owned(),
            written => written.to_ascii_lowercase(),
        };
        self.same_device(text, other, other_text)
            && transport(self, text) == transport(other, other_text)
            && match (self.session_id(text), other.session_id(other_text)) {
                (None, None) => true,
                (one, two) => same_id(one, two),
            }
    }

    pub(crate) fn same_device(&self, text: &str, other: &Parts, other_text: &str) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && match (self.ip(text), other.ip(other_text)) {
                (Some(one), Some(two)) => one == two,
                (None, None) => same_name(self.host.of(text), other.host.of(other_text)),
                (Some(_), None) | (None, Some(_)) => false,
            }
    }
}

/// Whether both session-ids are there and equal, in a time that tells nothing of where they differ.
pub(crate) fn same_id(one: Option<&str>, two: Option<&str>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => {
            // Word by word, as it is done for each request.
            let (one, one_rest) = one.as_bytes().as_chunks::<8>();
            let (two, two_rest) = two.as_bytes().as_chunks::<8>();
            let pairs =
                one.iter().zip(two).map(|(one, two)| u64::from_le_bytes(*one) ^ u64::from_le_bytes(*two));
            let differ = pairs.fold(0, |differ, pair| differ | pair);
            one.len() == two.len() && (differ.ct_eq(&0) & one_rest.ct_eq(two_rest)).into()
        }
        (None, _) | (_, None) => false,
    }
}

/// The first and the last URI of a path as it was written; nearly all paths have one.
pub(crate) fn ends_of(path: &str) -> (&str, &str) {
    if find::<b' '>(path.as_bytes()).is_none() {
        return (path, path);
    }
    let mut uris = path.split(' ').filter(|uri| !uri.is_empty());
    let first = uris.next().unwrap_or_default();
    (first, uris.next_back().unwrap_or(first))
}

/// Compares host names without regard to case, percent-encoded unreserved characters decoded (RFC 4975 6.1).
fn same_name(one: &str, two: &str) -> bool {
    let normal = |name: &str| {
        let mut normal = Vec::with_capacity(name.len());
        let mut rest = name.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            let decoded = tail
                .split_at_checked(2)
                .filter(|_| byte == b'%')
                .and_then(|(hex, tail)| Some((u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok()?, tail)))
                .filter(|(decoded, _)| is_unreserved(*decoded));
            let plain = match decoded {
                Some((decoded, tail)) => {
                    rest = tail;
                    decoded
                }
                None => byte,
            };
            normal.push(plain.to_ascii_lowercase());
        }
        normal
    };
    one.eq_ignore_ascii_case(two) || normal(one) == normal(two)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_parameter(text: &str) -> bool {
    let (name, value) = text.split_once('=').unwrap_or((text, "-"));
    [name, value].iter().all(|part| is_token_text(part))
}

/// What follows `start`, whose case does not matter.
fn after<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let (scheme, rest) = text.split_at_checked(start.len())?;
    scheme.eq_ignore_ascii_case(start).then_some(rest)
}

/// Up to what was found, else all.
fn until(text: &str, found: Option<usize>) -> usize {
    found.unwrap_or(text.len())
}

/// A character of RFC 4975's `token`.
pub(crate) const fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN.0 != 0
}

/// Whether this is a `token` of RFC 4975.
pub(crate) fn is_token_text(text: &str) -> bool {
    TOKEN.has_all(text)
}

/// What an octet may be part of; classes are bits.
struct Class(u8);

const TOKEN: Class = Class(1);
/// RFC 3986 reg-name: unreserved, percent-encoded, sub-delims.
const NAME: Class = Class(2);
const SESSION_ID: Class = Class(4);

impl Class {
    /// Whether these are some, and all in the class. It looks at all of them, as that is quicker than to stop at the first
    /// that is not.
    fn has_all(&self, text: &str) -> bool {
        !text.is_empty() && text.bytes().fold(self.0, |common, byte| common & CLASSES[usize::from(byte)]) != 0
    }
}

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let members = [
            (
                TOKEN,
                matches!(byte, 0x21 | 0x23..=0x27 | 0x2A..=0x2B | 0x2D..=0x2E | 0x30..=0x39 | 0x41..=0x5A | 0x5E..=0x7E),
            ),
            (
                NAME,
                unreserved
                    || matches!(
                        byte,
                        b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
                    ),
            ),
            (SESSION_ID, unreserved || matches!(byte, b'+' | b'=' | b'/')),
        ];
        let mut member = 0;
        while member < members.len() {
            let (class, is_member) = &members[member];
            classes[at] |= if *is_member { class.0 } else { 0 };
            member += 1;
        }
        at += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_only_if_every_octet_is() {
        for length in 0..40 {
            let id = "x".repeat(length);
            let longer = format!("{id}x");
            assert!(same_id(Some(&id), Some(&id)));
            assert!(!same_id(Some(&id), Some(&longer)) && !same_id(Some(&longer), Some(&id)));
            for at in 0..length {
                let other = format!("{}y{}", "x".repeat(at), "x".repeat(length - at - 1));
                assert!(!same_id(Some(&id), Some(&other)), "{other}");
            }
        }
        assert!(!same_id(None, None) && !same_id(Some("x"), None));
    }

    #[test]
    fn the_ends_of_a_path_are_its_first_and_last_uri() {
        for (path, ends) in [
            ("", ("", "")),
            ("a", ("a", "a")),
            ("a b", ("a", "b")),
            ("a  b  c", ("a", "c")),
            ("a ", ("a", "a")),
        ] {
            assert_eq!(ends_of(path), ends, "{path:?}");
        }
    }
}
