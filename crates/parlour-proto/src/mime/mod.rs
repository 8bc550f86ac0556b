//! Bodies: what travels inside SIP and MSRP.

pub mod cpim;

#[doc(hidden)]
pub mod fuzzing;
