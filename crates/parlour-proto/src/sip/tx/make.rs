//! The messages that the transaction layer makes itself: 100 Trying, and the ACK for what is not 2xx. And CANCEL,
//! which is built from the request just like that ACK.

use std::net::SocketAddr;
use std::time::Duration;

use super::via::reply_via;
use crate::sip::header::CSeq;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::write::Writer;

/// RFC 3261 8.2.6 and 17.2.1: the 100 says what every response says, with no tag of ours in To.
pub(super) fn trying(request: &Message<'_>, source: SocketAddr, delay: Duration) -> Vec<u8> {
    let mut response = Writer::response(100, "Trying");
    reply_via(request, source, &mut response);
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
        response.copy(request, name);
    }
    // RFC 3261 8.2.6.1: the 100 returns the Timestamp, and adds how long it took us.
    if let Some(sent) = request.rows(Name::Timestamp).next() {
        let sent = String::from_utf8_lossy(sent);
        let sent = sent.split_ascii_whitespace().next().unwrap_or_default();
        response
            .fmt(Name::Timestamp, format_args!("{sent} {}.{:03}", delay.as_secs(), delay.subsec_millis()));
    }
    response.finish(None)
}

/// The ACK for a response 300-699 to this INVITE (RFC 3261 17.1.1.3).
pub(super) fn ack_for(invite: &Message<'_>, response: &Message<'_>) -> Vec<u8> {
    let mut ack = same_hop("ACK", invite, response);
    // RFC 3261 22.1: an ACK can't be challenged, so it repeats the credentials of its INVITE.
    ack.copy(invite, Name::Authorization).copy(invite, Name::ProxyAuthorization);
    ack.finish(None)
}

/// The CANCEL for this request (RFC 3261 9.1), to be sent where the request went, once a provisional response came.
/// The caller may add rows, but no Require or Proxy-Require.
pub fn cancel_for(request: &Message<'_>) -> Writer {
    same_hop("CANCEL", request, request)
}

/// A request that follows `original` to the same next hop: its Request-URI, top Via, Route, From, Call-ID and CSeq
/// number, and To from `to`.
fn same_hop(method: &str, original: &Message<'_>, to: &Message<'_>) -> Writer {
    let mut request = Writer::request(method, original.request_uri().unwrap_or_default());
    request.row(Name::Via, original.values(Name::Via).next().unwrap_or_default());
    request.row(Name::MaxForwards, "70");
    request.copy(original, Name::Route).copy(original, Name::From);
    request.copy(if to.has(Name::To) { to } else { original }, Name::To);
    request.copy(original, Name::CallId);
    let number = original.one::<CSeq<'_>>().map_or(0, |cseq| cseq.number);
    request.fmt(Name::CSeq, format_args!("{number} {method}"));
    request
}
