//! Bodies: what travels inside SIP and MSRP.

pub mod charset;
mod cms;
pub mod composing;
pub mod conference_info;
pub mod content;
pub mod cpim;
pub mod html;
pub mod imdn;
pub mod multipart;
pub(crate) mod parameter;
pub mod resource_list;
pub mod transfer;
pub mod xml;

#[doc(hidden)]
pub mod fuzzing;
