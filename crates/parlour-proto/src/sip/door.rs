//! The door: what every message must have before anything looks further (RFC 3261 8.1.1, 8.2).

use super::fault::Fault;
use super::header::{CSeq, CallId, From, MaxForwards, To, Via};
use super::message::{Message, Start};

/// The headers that every message has, typed; whoever holds them cannot fail on them later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core<'a> {
    /// The topmost Via.
    pub via: Via<'a>,
    /// From.
    pub from: From<'a>,
    /// To.
    pub to: To<'a>,
    /// Call-ID.
    pub call_id: CallId<'a>,
    /// CSeq.
    pub cseq: CSeq<'a>,
}

/// Reads the headers that RFC 3261 8.1.1 makes mandatory: one each of From, To, Call-ID and CSeq, and at least one Via.
///
/// # Errors
/// One of them is missing, repeated or malformed, CSeq names another method than the request, or Max-Forwards is no
/// number up to 255.
pub fn door<'a>(message: &Message<'a>) -> Result<Core<'a>, Fault> {
    let core = Core {
        via: message.top_via()?,
        from: message.one()?,
        to: message.one()?,
        call_id: message.one()?,
        cseq: message.one()?,
    };
    if let Start::Request { method_text, .. } = message.start() {
        // RFC 3261 8.1.1.5: the method of CSeq is that of the request.
        if core.cseq.method_text != method_text {
            return Err(Fault::CSeqMethod);
        }
        // RFC 3261 8.1.1.6 makes Max-Forwards mandatory, RFC 4475 3.4.1 wants those without it accepted.
        message.maybe::<MaxForwards>()?;
    }
    Ok(core)
}
