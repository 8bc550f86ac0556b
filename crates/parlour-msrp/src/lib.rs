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
