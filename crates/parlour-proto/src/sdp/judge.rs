//! Is an offer acceptable? The test S-1 asks for, before any user is troubled (catalogue 3.4).

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::uri::MsrpPath;

use super::{Capabilities, Direction, Role, Session};

/// An acceptable offer: one verdict for each line, and the one stream that we take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// For each `m=` line in order: why it is refused, or `None` for the one that is accepted.
    pub lines: Vec<Option<Unfit>>,
    /// The stream that is accepted.
    pub stream: Stream,
}

/// One agreed MSRP stream, seen from our side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The position of its `m=` line.
    pub line: usize,
    /// The peer's path.
    pub path: MsrpPath,
    /// What the peer takes: this governs what we send (D-33).
    pub accepted: AcceptTypes,
    /// What our description lists: this governs what we take; anything else gets 415 (D-33).
    pub listed: AcceptTypes,
    /// The largest message the peer wishes to receive, octets (D-7).
    pub max_size: Option<u64>,
    /// Whether we connect or listen.
    pub role: Role,
    /// Which way messages flow, seen from us. It governs content only, not REPORTs, nor IMDN and isComposing (RFC 4975 8.9).
    pub direction: Direction,
    /// Whether it is `msrps`.
    pub tls: bool,
    /// `a=mid`, mirrored in our answer.
    pub mid: Option<String>,
    /// `a=label` or `i=`, for display.
    pub label: Option<String>,
}

/// Why one `m=` line is not acceptable, in the order of the checks: the later ones got further.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unfit {
    /// Not `message`.
    #[error("no message stream offered")]
    NotMessage,
}

/// Why no line is acceptable: 488 with this Warning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The Warning code (RFC 3261 20.43).
    pub warning: u16,
    /// The Warning text; may quote the peer.
    pub text: String,
    /// The rule that decided.
    pub clause: &'static str,
}

/// Judges an offer against what we can do.
///
/// # Errors
/// No line is acceptable: the reason of the line that came closest.
pub fn judge(offer: &Session, ours: &Capabilities) -> Result<Judged, Refusal> {
    let _ = (offer, ours);
    Err(Refusal { warning: 399, text: "Not built yet".to_owned(), clause: "S-1" })
}
