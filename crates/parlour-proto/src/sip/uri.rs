//! SIP, SIPS and tel URIs (RFC 3261 19.1, RFC 3966).

use super::header::lex::{Cursor, number};
use super::header::take_host;

/// A URI as a view of the octets that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    scheme: Scheme,
    scheme_text: &'a str,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    params: &'a str,
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
        let text = std::str::from_utf8(octets).map_err(|_| UriFault("is not UTF-8"))?;
        if !text.bytes().all(|octet| octet > b' ' && !matches!(octet, b'<' | b'>' | b'"' | 0x7f)) {
            return Err(UriFault("has a character that must be escaped"));
        }
        let (scheme_text, rest) = text.split_once(':').ok_or(UriFault("has no scheme"))?;
        let scheme = scheme_of(scheme_text).ok_or(UriFault("has a bad scheme"))?;
        match scheme {
            Scheme::Sip | Scheme::Sips => parse_sip(scheme, scheme_text, rest),
            Scheme::Tel => {
                let (user, params) =
                    rest.split_at_checked(rest.find(';').unwrap_or(rest.len())).unwrap_or((rest, ""));
                if !user.bytes().any(|octet| octet.is_ascii_hexdigit() || matches!(octet, b'*' | b'#')) {
                    return Err(UriFault("has no telephone number"));
                }
                Ok(Uri {
                    scheme,
                    scheme_text,
                    user: Some(user),
                    password: None,
                    host: "",
                    port: None,
                    params,
                    headers: "",
                })
            }
            Scheme::Other => {
                if rest.is_empty() {
                    return Err(UriFault("has nothing after its scheme"));
                }
                Ok(Uri {
                    scheme,
                    scheme_text,
                    user: None,
                    password: None,
                    host: "",
                    port: None,
                    params: "",
                    headers: "",
                })
            }
        }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The scheme as written.
    pub fn scheme_text(&self) -> &'a str {
        self.scheme_text
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
        self.headers
            .split('&')
            .filter(|header| !header.is_empty())
            .map(|header| header.split_once('=').unwrap_or((header, "")))
    }
}

/// Whether both name the same resource (RFC 3261 19.1.4).
pub fn equivalent(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    a == b
}

/// Whether both are addresses of the same person or service (P-5).
pub fn same_identity(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    aor(a) == aor(b)
}

/// The address of record, in one way of writing for all that are the same: a key, not for display.
pub fn aor(uri: &Uri<'_>) -> String {
    format!("sip:{}@{}", uri.user().unwrap_or(""), uri.host().to_ascii_lowercase())
}

fn scheme_of(text: &str) -> Option<Scheme> {
    let is_scheme = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'));
    is_scheme.then(|| {
        if text.eq_ignore_ascii_case("sip") {
            Scheme::Sip
        } else if text.eq_ignore_ascii_case("sips") {
            Scheme::Sips
        } else if text.eq_ignore_ascii_case("tel") {
            Scheme::Tel
        } else {
            Scheme::Other
        }
    })
}

fn parse_sip<'a>(scheme: Scheme, scheme_text: &'a str, rest: &'a str) -> Result<Uri<'a>, UriFault> {
    // RFC 3261 25.1: `@` is escaped everywhere else, so the first one ends the user part.
    let (userinfo, rest) = match rest.split_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    let (user, password) = match userinfo.map(|userinfo| userinfo.split_once(':').ok_or(userinfo)) {
        None => (None, None),
        Some(Ok((user, password))) => (Some(user), Some(password)),
        Some(Err(user)) => (Some(user), None),
    };
    if user.is_some_and(str::is_empty) {
        return Err(UriFault("has an empty user part"));
    }
    let mut cursor = Cursor::new(rest.as_bytes());
    let host = take_host(&mut cursor).ok_or(UriFault("has a bad host"))?;
    let port = if cursor.eat(b':') {
        Some(number(cursor.take_while(|octet| octet.is_ascii_digit())).ok_or(UriFault("has a bad port"))?)
    } else {
        None
    };
    let tail = rest.get(rest.len().saturating_sub(cursor.rest().len())..).unwrap_or_default();
    let (params, headers) = tail.split_once('?').unwrap_or((tail, ""));
    if !(params.is_empty() || params.starts_with(';')) {
        return Err(UriFault("has a bad host"));
    }
    Ok(Uri { scheme, scheme_text, user, password, host, port, params, headers })
}
