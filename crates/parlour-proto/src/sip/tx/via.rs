//! The top Via of a request: where the response goes, and what it says there (RFC 3261 18.2, RFC 3581).

use std::net::{IpAddr, SocketAddr};

use crate::io::FlowId;
use crate::sip::header::Via;
use crate::sip::header::lex::Cursor;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::write::Writer;
use crate::text;

/// The flow that a response takes, for a request that came over `flow` with this top Via.
pub fn reply_flow(flow: FlowId, via: &Via<'_>) -> FlowId {
    match flow {
        // RFC 3261 18.2.2: the connection that the request came on.
        FlowId::Stream(_) => flow,
        FlowId::Udp { socket, mut peer } => {
            // RFC 3581 4: with rport back to the very port, without it to the port of sent-by or 5060. The address is
            // always the packet's source: what `received` and `maddr` in the request say is nobody's proof.
            //= IM X-14
            if via.rport().is_none() {
                peer.set_port(via.port.filter(|port| *port != 0).unwrap_or(5060));
            }
            FlowId::Udp { socket, peer }
        }
    }
}

/// Copies all Via of a request into a response, in order, and writes into the top one where the request came from.
pub fn reply_via(request: &Message<'_>, source: SocketAddr, to: &mut Writer) {
    let mut values = request.values(Name::Via);
    if let Some(top) = values.next() {
        to.row(Name::Via, mark_source(top, source));
    }
    for value in values {
        to.row(Name::Via, value);
    }
}

/// A Via value with `received` and `rport` telling the source of the request; all other octets stay.
pub fn mark_source(via: &[u8], source: SocketAddr) -> Vec<u8> {
    let ip = source.ip().to_canonical();
    let mut pieces = split_parameters(via);
    let mut marked = Vec::with_capacity(via.len().saturating_add(64));
    let sent = pieces.next().unwrap_or_default();
    marked.extend_from_slice(sent.trim_ascii_end());
    let mut asked_for_port = false;
    for piece in pieces {
        let name = piece.split(|octet| *octet == b'=').next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"rport") {
            // RFC 3581 4: the value is ours to fill in, once.
            if !asked_for_port {
                marked.extend_from_slice(b";rport=");
                marked.extend_from_slice(source.port().to_string().as_bytes());
            }
            asked_for_port = true;
        } else if !name.eq_ignore_ascii_case(b"received") {
            marked.push(b';');
            marked.extend_from_slice(piece);
        }
    }
    // RFC 3261 18.2.1: `received` unless sent-by is this very address; RFC 3581 4: always beside rport.
    if asked_for_port || sent_by_address(sent) != Some(ip) {
        marked.extend_from_slice(b";received=");
        marked.extend_from_slice(text::address(ip).as_bytes());
    }
    marked
}

/// The address in sent-by, if it is one and not a name.
fn sent_by_address(sent: &[u8]) -> Option<IpAddr> {
    let sent_by = std::str::from_utf8(sent).ok()?.split_ascii_whitespace().next_back()?;
    let host = match sent_by.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => sent_by.split(':').next()?,
    };
    host.parse().ok()
}

/// The pieces between semicolons that stand outside quoted strings.
fn split_parameters(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let from = rest?;
        let end = piece_end(from);
        rest = from.get(end.saturating_add(1)..);
        from.get(..end)
    })
}

/// Where the first piece ends; an open quote swallows the rest.
fn piece_end(value: &[u8]) -> usize {
    let mut at = 0_usize;
    while let Some(left) = value.get(at..)
        && let Some(found) = memchr::memchr2(b';', b'"', left)
    {
        at = at.saturating_add(found);
        let mut quoted = Cursor::new(value.get(at..).unwrap_or_default());
        if quoted.peek() == Some(b';') {
            return at;
        }
        if quoted.quoted().is_none() {
            break;
        }
        at = value.len().saturating_sub(quoted.rest().len());
    }
    value.len()
}
