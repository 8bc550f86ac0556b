//! What we put into our own descriptions.

use std::net::IpAddr;

use parlour_msrp::uri::MsrpUri;

use super::Role;

/// Our own end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The address that peers are told.
    pub address: IpAddr,
    /// The port of our MSRP listener.
    pub port: u16,
    /// The session-id of our MSRP URI: fresh for each session, at least 80 random bits (D-5).
    pub ident: String,
    /// The number in `o=`, different for each session.
    pub session_id: u64,
    /// The version in `o=`: one more for each change (D-6).
    pub version: u64,
}

impl Local {
    /// Our own MSRP URI as our description tells it for that role: register the MSRP session under this one.
    pub fn path(&self, role: Role) -> MsrpUri {
        let _ = role;
        unimplemented!("waits for MsrpUri::new")
    }
}
