//! MSRP: a sender that floods sessions, receivers to send to, and the measurement.

pub mod answerer;
pub mod floors;
pub mod measure;
pub mod meeting;
pub mod sender;
pub mod tls;
