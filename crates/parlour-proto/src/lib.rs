//! SIP, SDP, MIME bodies and the OMA SIMPLE IM procedures without IO.

pub mod client;
pub mod config;
pub mod event;
pub mod io;
pub mod mime;
pub mod sdp;
pub mod sip;
pub mod text;
