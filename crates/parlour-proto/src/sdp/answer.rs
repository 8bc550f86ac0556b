//! The answer to an offer (RFC 3264 6, catalogue 3.5).

use super::{Capabilities, Judged, Local, Session};

/// The answer to an offer that was judged acceptable. Our path in it is [`Local::path`] for the role of
/// `judged.stream`.
pub fn answer(offer: &Session, judged: &Judged, local: &Local, ours: &Capabilities) -> Vec<u8> {
    let _ = (offer, judged, local, ours);
    Vec::new()
}
