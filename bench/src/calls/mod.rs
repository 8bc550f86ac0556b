//! Calls over UDP: a caller, the least that can answer it, and the measurement.

pub mod caller;
pub mod dialog;
pub mod floor;
pub mod measure;
