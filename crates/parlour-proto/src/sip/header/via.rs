//! Via (RFC 3261 20.42, RFC 3581).

use std::net::Ipv6Addr;

use super::lex::{Cursor, HOST, Params, is_token, number, text};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// One hop of the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport as written: `UDP`, `TCP`, `TLS` ...; compare it without regard to case.
    pub transport: &'a str,
    /// The host of sent-by; IPv6 in brackets.
    pub host: &'a str,
    /// The port of sent-by.
    pub port: Option<u16>,
    /// All parameters.
    pub params: Params<'a>,
    branch: Option<&'a str>,
    rport: Option<Option<u16>>,
}

impl<'a> Via<'a> {
    /// The branch parameter.
    pub fn branch(&self) -> Option<&'a str> {
        self.branch
    }

    /// Where the request really came from, if the next hop wrote it down; IPv6 with or without brackets.
    pub fn received(&self) -> Option<&'a str> {
        self.params.token("received")
    }

    /// `Some(None)`: the sender asks for the answer at its source port; `Some(Some(port))`: the port (RFC 3581 4).
    pub fn rport(&self) -> Option<Option<u16>> {
        self.rport
    }

    /// The way back for a refusal: malformed parameters are left out.
    pub(crate) fn return_path(value: &'a [u8]) -> Option<Self> {
        Via::parse(value).ok().or_else(|| Some(parse_hop(value).ok()?.0))
    }
}

impl<'a> Header<'a> for Via<'a> {
    const NAME: Name = Name::Via;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = |what| HeaderFault::bad(Name::Via, what);
        let (mut via, params) = parse_hop(value).map_err(bad)?;
        via.params = Params::read(params, |name, value| {
            if via.branch.is_none() && name.eq_ignore_ascii_case(b"branch") {
                via.branch = value.and_then(text);
            } else if via.rport.is_none() && name.eq_ignore_ascii_case(b"rport") {
                via.rport = Some(value.and_then(number));
            }
        })
        .ok_or(bad("has a bad parameter"))?;
        Ok(via)
    }
}

/// Everything but the parameters, and the octets of those.
fn parse_hop(value: &[u8]) -> Result<(Via<'_>, &[u8]), &'static str> {
    let mut cursor = Cursor::new(value);
    if let Some(rest) = value.strip_prefix(b"SIP/2.0/") {
        // As nearly always.
        cursor = Cursor::new(rest);
        cursor.lws();
    } else {
        cursor.lws();
        let protocol = cursor.take_while(is_token);
        if !protocol.eq_ignore_ascii_case(b"SIP") || !cursor.eat_spaced(b'/') {
            return Err("has a protocol other than SIP");
        }
        // The version is judged in the first line: a 505 must find its way back.
        if cursor.take_while(is_token).is_empty() || !cursor.eat_spaced(b'/') {
            return Err("has no version");
        }
    }
    let transport = cursor.token().ok_or("has no transport")?;
    cursor.lws();
    let host = take_host(&mut cursor).and_then(text).ok_or("has a bad host")?;
    cursor.lws();
    let port = if cursor.eat(b':') {
        cursor.lws();
        Some(number(cursor.take_while(|octet| octet.is_ascii_digit())).ok_or("has a bad port")?)
    } else {
        None
    };
    Ok((Via { transport, host, port, params: Params::default(), branch: None, rport: None }, cursor.rest()))
}

/// A host: a name, an IPv4 address, or an IPv6 address in brackets; ASCII.
pub(crate) fn take_host<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    if cursor.peek() != Some(b'[') {
        return Some(cursor.take_while(|octet| HOST.has(octet))).filter(|host| !host.is_empty());
    }
    let end = memchr::memchr(b']', cursor.rest())?;
    let host = cursor.take(end.checked_add(1)?);
    let inside = host.strip_prefix(b"[")?.strip_suffix(b"]").and_then(text)?;
    is_ipv6(inside).then_some(host)
}

fn is_ipv6(inside: &str) -> bool {
    // RFC 5118 4.10: the grammar of RFC 3261 leads to a third colon before an IPv4 part, which is to be tolerated.
    inside.parse::<Ipv6Addr>().is_ok()
        || (inside.contains(":::") && inside.replacen(":::", "::", 1).parse::<Ipv6Addr>().is_ok())
}
