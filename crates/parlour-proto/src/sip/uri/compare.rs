//! When two URIs are the same: as a place to send to (RFC 3261 19.1.4), and as somebody's address (P-5).

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use super::{Scheme, Uri, is_separator};

/// Whether both name the same resource (RFC 3261 19.1.4). It is not transitive.
pub fn equivalent(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    if a.scheme() != b.scheme() {
        return false;
    }
    match a.scheme() {
        Scheme::Sip | Scheme::Sips => {
            same_part(a.user(), b.user(), same_octets)
                && same_part(a.password(), b.password(), same_octets)
                && same_host(a.host(), b.host())
                // A port that is left out is not the default port: SRV may say otherwise.
                && a.port() == b.port()
                && params_match(a, b)
                && params_match(b, a)
                && headers_match(a, b)
                && headers_match(b, a)
        }
        // RFC 3966 4: number and parameters, in any letter case.
        Scheme::Tel => {
            digits(a.user().unwrap_or_default()) == digits(b.user().unwrap_or_default())
                && a.params().count() == b.params().count()
                && a.params()
                    .all(|(name, value)| b.param(name).is_some_and(|other| same_tel_value(value, other)))
        }
        Scheme::Other => a.as_str() == b.as_str(),
    }
}

/// Whether both are addresses of the same person or service.
//= IM P-5
pub fn same_identity(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    !is_anonymous(a) && !is_anonymous(b) && (a.as_str() == b.as_str() || aor(a) == aor(b))
}

/// Whether the address is the one that stands for nobody (RFC 3323 4.1.1.3): it matches nothing, itself included.
pub fn is_anonymous(uri: &Uri<'_>) -> bool {
    uri.host().eq_ignore_ascii_case("anonymous.invalid")
}

/// The address of record, written in one way for all that are the same: a key, not for display. A telephone number is
/// the same in a tel URI and in a SIP URI with `user=phone`; sip and sips are the same; the default port is left out.
pub fn aor(uri: &Uri<'_>) -> String {
    let is_phone = uri.param("user").flatten().is_some_and(|user| user.eq_ignore_ascii_case("phone"));
    match uri.scheme() {
        Scheme::Tel => phone_key(uri.user().unwrap_or_default(), context(uri.params())),
        Scheme::Sip | Scheme::Sips => {
            if is_phone && let Some(key) = phone_user_key(uri.user().unwrap_or_default()) {
                return key;
            }
            sip_key(uri, is_phone)
        }
        Scheme::Other => uri.as_str().to_owned(),
    }
}

fn sip_key(uri: &Uri<'_>, is_phone: bool) -> String {
    let mut key = String::from("sip:");
    if let Some(user) = uri.user() {
        // RFC 3261 25.1: what a user part may hold bare.
        let is_bare = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&octet);
        if user.bytes().all(is_bare) {
            key.push_str(user);
        } else {
            for (octet, _) in Unescaped(user.as_bytes()) {
                if is_bare(octet) {
                    key.push(char::from(octet));
                } else {
                    let _ = write!(key, "%{octet:02X}");
                }
            }
        }
        key.push('@');
    }
    match ipv6(uri.host()) {
        Some(address) => {
            let _ = write!(key, "[{address}]");
        }
        None => {
            let from = key.len();
            key.push_str(uri.host());
            if let Some(host) = key.get_mut(from..) {
                host.make_ascii_lowercase();
            }
        }
    }
    let default_port = if uri.scheme() == Scheme::Sips { 5061 } else { 5060 };
    if let Some(port) = uri.port().filter(|&port| port != default_port) {
        let _ = write!(key, ":{port}");
    }
    if is_phone {
        key.push_str(";user=phone");
    }
    key
}

/// RFC 3261 19.1.6: the user part of a SIP URI may be a telephone number with its parameters. `None`: a local number
/// that means something only at its host.
fn phone_user_key(user: &str) -> Option<String> {
    let (number, params) = user.split_once(';').unwrap_or((user, ""));
    let params = params.split(';').map(|param| match param.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (param, None),
    });
    let context = context(params);
    (number.starts_with('+') || context.is_some()).then(|| phone_key(number, context))
}

fn phone_key(number: &str, context: Option<&str>) -> String {
    let digits = digits(number);
    match context {
        Some(context) if !number.starts_with('+') => {
            format!("tel:{digits};phone-context={}", context.to_ascii_lowercase())
        }
        Some(_) | None => format!("tel:{digits}"),
    }
}

fn context<'a>(mut params: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Option<&'a str> {
    params.find(|(name, _)| name.eq_ignore_ascii_case("phone-context"))?.1
}

/// A telephone number without its visual separators.
fn digits(number: &str) -> String {
    number
        .bytes()
        .filter(|&octet| !is_separator(octet))
        .map(|octet| char::from(octet.to_ascii_lowercase()))
        .collect()
}

fn same_tel_value(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b) || (a.starts_with('+') && digits(a) == digits(b)),
        (a, b) => a == b,
    }
}

/// Every parameter of `a` either matches one of `b` or may be missing there.
fn params_match(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    a.params().all(|(name, value)| {
        let mut others = b.params().filter(|(other, _)| same_text(name, other)).peekable();
        match others.peek() {
            Some(_) => others.any(|(_, other)| same_part(value, other, same_text)),
            // These change where or how a request goes, so leaving one out is not the same.
            None => !["transport", "user", "ttl", "method", "maddr"].iter().any(|mark| same_text(name, mark)),
        }
    })
}

/// Header components are never ignored; names in any letter case.
fn headers_match(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    a.headers().all(|(name, value)| {
        b.headers().any(|(other, other_value)| same_text(name, other) && same_text(value, other_value))
    })
}

fn same_host(a: &str, b: &str) -> bool {
    // RFC 5954 4: IPv6 addresses are compared by value, however they are written.
    match (ipv6(a), ipv6(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.eq_ignore_ascii_case(b),
    }
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn same_part(a: Option<&str>, b: Option<&str>, same: fn(&str, &str) -> bool) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Equal once escapes are resolved; an escaped reserved character is not the same as a bare one.
fn same_octets(a: &str, b: &str) -> bool {
    Unescaped(a.as_bytes()).eq(Unescaped(b.as_bytes()))
}

/// As [`same_octets`], in any letter case.
fn same_text(a: &str, b: &str) -> bool {
    let folded =
        |text| Unescaped(text).map(|(octet, reserved): (u8, bool)| (octet.to_ascii_lowercase(), reserved));
    folded(a.as_bytes()).eq(folded(b.as_bytes()))
}

/// Octets with escapes resolved once (RFC 3986 2.4: never twice), and whether the octet is a reserved one that was
/// escaped.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        if let [b'%', high, low, rest @ ..] = self.0
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = rest;
            let octet = high << 4 | low;
            // RFC 2396 2.2.
            return Some((octet, b";/?:@&=+$,".contains(&octet)));
        }
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some((*first, false))
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
