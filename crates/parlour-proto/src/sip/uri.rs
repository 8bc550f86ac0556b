//! SIP, SIPS and tel URIs (RFC 3261 19.1, RFC 3966).

mod compare;

pub use self::compare::{aor, equivalent, is_anonymous, same_identity};

use super::header::lex::{Cursor, URI, number};
use super::header::take_host;

/// A URI as a view of the octets that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    text: &'a str,
    scheme: Scheme,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    /// From the first `;`, or empty.
    params: &'a str,
    /// After the `?`, or empty.
    headers: &'a str,
}

/// The schemes that SIP knows how to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel`
    Tel,
    /// Any other.
    Other,
}

/// A URI that breaks the grammar of its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("URI {0}")]
pub struct UriFault(&'static str);

impl<'a> Uri<'a> {
    /// Reads a URI. One of a scheme that we do not know is taken as it is.
    ///
    /// # Errors
    /// It breaks the grammar of its scheme.
    pub fn parse(octets: &'a [u8]) -> Result<Uri<'a>, UriFault> {
        if !URI.has_all(octets) {
            return Err(UriFault("has a character that must be escaped"));
        }
        Uri::of_characters(octets)
    }

    /// The same of octets that are known to be characters of a URI.
    pub(super) fn of_characters(octets: &'a [u8]) -> Result<Uri<'a>, UriFault> {
        let text = std::str::from_utf8(octets).map_err(|_| UriFault("is not UTF-8"))?;
        let (scheme, rest) = split_at(text, b':').ok_or(UriFault("has no scheme"))?;
        let scheme = Scheme::of(scheme).ok_or(UriFault("has a bad scheme"))?;
        let blank =
            Uri { text, scheme, user: None, password: None, host: "", port: None, params: "", headers: "" };
        match scheme {
            Scheme::Sip | Scheme::Sips => blank.sip(rest),
            Scheme::Tel => blank.tel(rest),
            Scheme::Other if rest.is_empty() => Err(UriFault("has nothing after its scheme")),
            Scheme::Other => Ok(blank),
        }
    }

    /// The whole URI as written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user part as written, escapes untouched; the number of a tel URI.
    pub fn user(&self) -> Option<&'a str> {
        self.user
    }

    /// The password as written.
    pub fn password(&self) -> Option<&'a str> {
        self.password
    }

    /// The host as written, IPv6 in brackets; empty for schemes without one.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// A URI parameter: `Some(None)` if it is there without value. Names are case-insensitive.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All URI parameters in order, as written.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.params.split(';').filter(|param| !param.is_empty()).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// The header fields that the URI carries, as written, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let headers = self.headers.split('&').filter(|header| !header.is_empty());
        headers.map(|header| header.split_once('=').unwrap_or((header, "")))
    }

    /// Whether the URI carries header fields.
    pub fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// RFC 3261 25.1: `[user [":" password] "@"] host [":" port] *(";" param) ["?" headers]`.
    fn sip(mut self, rest: &'a str) -> Result<Uri<'a>, UriFault> {
        // `@` is escaped everywhere else, so the first one ends the user part.
        let (userinfo, rest) = match split_at(rest, b'@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        if let Some(userinfo) = userinfo {
            let (user, password) = match split_at(userinfo, b':') {
                Some((user, password)) => (user, Some(password)),
                None => (userinfo, None),
            };
            if user.is_empty() {
                return Err(UriFault("has an empty user part"));
            }
            if userinfo.bytes().any(|octet| octet == b'%') && !escapes_are_whole(userinfo) {
                return Err(UriFault("has a bad escape"));
            }
            (self.user, self.password) = (Some(user), password);
        }
        let mut cursor = Cursor::new(rest.as_bytes());
        let host = take_host(&mut cursor).ok_or(UriFault("has a bad host"))?;
        self.host = rest.get(..host.len()).unwrap_or_default();
        if cursor.eat(b':') {
            let digits = cursor.take_while(|octet| octet.is_ascii_digit());
            self.port = Some(number(digits).ok_or(UriFault("has a bad port"))?);
        }
        let tail = rest.get(rest.len().saturating_sub(cursor.rest().len())..).unwrap_or_default();
        (self.params, self.headers) = split_at(tail, b'?').unwrap_or((tail, ""));
        if !self.params.is_empty() && !self.params.starts_with(';') {
            return Err(UriFault("has a bad host"));
        }
        Ok(self)
    }

    /// RFC 3966 3: a number, with visual separators, and parameters.
    fn tel(mut self, rest: &'a str) -> Result<Uri<'a>, UriFault> {
        let (number, params) =
            rest.split_at_checked(rest.find(';').unwrap_or(rest.len())).unwrap_or((rest, ""));
        let is_digit = |octet: u8| octet.is_ascii_hexdigit() || matches!(octet, b'*' | b'#');
        let digits = number.strip_prefix('+').unwrap_or(number);
        if !digits.bytes().any(is_digit)
            || !digits.bytes().all(|octet| is_digit(octet) || is_separator(octet))
        {
            return Err(UriFault("has no telephone number"));
        }
        (self.user, self.params) = (Some(number), params);
        Ok(self)
    }
}

impl Scheme {
    /// RFC 3986 3.1: a letter, then letters, digits, `+`, `-` and `.`; case does not matter.
    fn of(text: &str) -> Option<Scheme> {
        if text.eq_ignore_ascii_case("sip") {
            return Some(Scheme::Sip);
        }
        if text.eq_ignore_ascii_case("sips") {
            return Some(Scheme::Sips);
        }
        if text.eq_ignore_ascii_case("tel") {
            return Some(Scheme::Tel);
        }
        let is_scheme = text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'));
        is_scheme.then_some(Scheme::Other)
    }
}

impl std::fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// RFC 3966 3: marks that help the eye and say nothing.
const fn is_separator(octet: u8) -> bool {
    matches!(octet, b'-' | b'.' | b'(' | b')')
}

/// What stands before and after the first such octet.
fn split_at(text: &str, octet: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|found| found == octet)?;
    Some((text.get(..at)?, text.get(at.checked_add(1)?..)?))
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        let mut is_hex = || digits.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        is_hex() && is_hex()
    })
}
