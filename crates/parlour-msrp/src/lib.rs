//! MSRP (RFC 4975) without IO.

pub mod accept;
mod bind;
mod connection;
mod endpoint;
pub mod frame;
pub mod head;
mod io;
mod outcome;
pub mod random;
mod reassembly;
mod receive;
mod send;
mod session;
mod settle;
pub mod table;
pub mod time;
pub mod timer;
pub mod uri;
pub mod write;

pub use endpoint::Endpoint;
pub use io::*;
/// stub
#[derive(Debug)]
pub struct Endpoint {}
/// stub
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct SendError;
#[allow(missing_docs, clippy::todo)]
impl Endpoint {
    pub fn new(_: Limits, _: random::Random) -> Self {
        Endpoint {}
    }
    pub fn open(&mut self, _: time::Instant, _: SessionSpec) -> SessionId {
        SessionId(0)
    }
    pub fn close(&mut self, _: time::Instant, _: SessionId) {}
    pub fn send(&mut self, _: time::Instant, _: SessionId, _: Outgoing) -> Result<(), SendError> {
        Ok(())
    }
    pub fn settle(&mut self, _: time::Instant, _: Receipt, _: Verdict) {}
    pub fn handle(&mut self, _: time::Instant, _: Input<'_>) {}
    pub fn poll(&mut self) -> Output {
        Output::Idle(None)
    }
    pub fn sessions(&self) -> usize {
        0
    }
}
