//! SIP (RFC 3261): messages, transactions and dialogs.

pub mod dialog;
pub mod digest;
pub mod door;
pub mod fault;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod header;
pub mod message;
pub mod method;
pub mod name;
pub mod passport;
pub mod tx;
pub mod uri;
pub mod write;
