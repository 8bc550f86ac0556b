//! SIP (RFC 3261): messages, transactions and dialogs.

pub mod dialog;
pub mod digest;
pub mod frame;
pub mod header;
pub mod message;
pub mod method;
pub mod name;
pub mod tx;
pub mod uri;
pub mod write;
