//! Our own offers, the answers to them, and what we tell about ourselves when nothing is negotiated.

use std::net::IpAddr;

use parlour_msrp::uri::MsrpUri;

use super::{Capabilities, Local, Refusal, Session, Setup, Stream};

/// An offer of ours: keep it until the answer comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// What to send.
    pub octets: Vec<u8>,
    /// What it says about connecting.
    pub setup: Setup,
    /// Our own path in it.
    pub path: MsrpUri,
    /// Whether it is `TCP/TLS/MSRP`.
    pub tls: bool,
}

/// An offer of one message stream: for an INVITE, or for the 200 to an INVITE without a description (S-1a).
pub fn offer(local: &Local, ours: &Capabilities) -> Offered {
    let _ = ours;
    Offered { octets: Vec::new(), setup: Setup::Actpass, path: local.path(super::Role::Passive), tls: false }
}

/// Reads the answer to an offer of ours.
///
/// # Errors
/// The peer refused the stream, or answers what we cannot take.
pub fn read_answer(offered: &Offered, answer: &Session, ours: &Capabilities) -> Result<Stream, Refusal> {
    let _ = (offered, answer, ours);
    Err(Refusal { warning: 399, text: "Not built yet".to_owned(), clause: "S-1a" })
}

/// What we can do, for the 200 to OPTIONS and for a 488: `address` and `session_id` go into its `o=` line.
pub fn capabilities(address: IpAddr, session_id: u64, ours: &Capabilities) -> Vec<u8> {
    let _ = (address, session_id, ours);
    Vec::new()
}
