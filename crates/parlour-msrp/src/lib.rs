//! MSRP (RFC 4975) without IO.

pub mod accept;
mod io;
pub mod random;
pub mod table;
pub mod time;
pub mod timer;
pub mod uri;

pub use io::*;
