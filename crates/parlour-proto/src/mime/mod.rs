//! Bodies: what travels inside SIP and MSRP.

pub mod composing;
pub mod conference_info;
pub mod cpim;
pub mod imdn;
pub mod multipart;
pub mod resource_list;
pub mod xml;

#[doc(hidden)]
pub mod fuzzing;
