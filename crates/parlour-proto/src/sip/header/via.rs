//! Via (RFC 3261 20.42, RFC 3581).

use super::lex::{Cursor, Params, is_token, number, text};
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
        let rport = self.params.get("rport")?;
        Some(rport.value.and_then(number))
    }
}

impl<'a> Header<'a> for Via<'a> {
    const NAME: Name = Name::Via;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        parse(value).map_err(|what| HeaderFault::bad(Name::Via, what))
    }
}

fn parse(value: &[u8]) -> Result<Via<'_>, &'static str> {
    let mut cursor = Cursor::new(value);
    cursor.lws();
    let protocol = cursor.take_while(is_token);
    if !protocol.eq_ignore_ascii_case(b"SIP") || !cursor.eat_spaced(b'/') {
        return Err("has a protocol other than SIP");
    }
    if cursor.take_while(is_token) != b"2.0" || !cursor.eat_spaced(b'/') {
        return Err("has a version other than 2.0");
    }
    let transport = cursor.token().ok_or("has no transport")?;
    cursor.lws();
    let host = take_host(&mut cursor).ok_or("has a bad host")?;
    cursor.lws();
    let port = if cursor.eat(b':') {
        cursor.lws();
        Some(number(cursor.take_while(|octet| octet.is_ascii_digit())).ok_or("has a bad port")?)
    } else {
        None
    };
    let mut branch = None;
    let params = Params::read(cursor.rest(), |param| {
        if branch.is_none() && param.name.eq_ignore_ascii_case("branch") {
            branch = param.value.and_then(text);
        }
    })
    .ok_or("has a bad parameter")?;
    Ok(Via { transport, host, port, params, branch })
}

/// A host: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn take_host<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let host = if cursor.peek() == Some(b'[') {
        let end = memchr::memchr(b']', cursor.rest())?;
        let host = cursor.take(end.checked_add(1)?);
        let inside = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
        let ipv6 = inside.iter().all(|octet| octet.is_ascii_hexdigit() || matches!(octet, b':' | b'.'));
        (ipv6 && text(inside)?.parse::<std::net::Ipv6Addr>().is_ok()).then_some(host)?
    } else {
        // RFC 3261 25.1 has no underscore in host names; the wild does.
        cursor.take_while(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_'))
    };
    text(host).filter(|host| !host.is_empty())
}
