//! Clients in virtual time: flows as ladders, timelines, and what bad input is answered with.
//!
//! A flow begins with `#[cfg_attr(test, test)]` and `pub(crate) fn`, below the marks of the clauses that it shows.

pub(crate) mod aim;
pub(crate) mod answering;
pub(crate) mod bodies;
pub(crate) mod bounds;
pub(crate) mod cema;
pub(crate) mod composing;
pub(crate) mod conference;
pub(crate) mod conference_ends;
pub(crate) mod content;
pub(crate) mod early;
pub(crate) mod early_media;
pub(crate) mod early_ours;
pub(crate) mod faults;
pub(crate) mod files;
pub(crate) mod files_added;
pub(crate) mod hold;
pub(crate) mod hostile;
pub(crate) mod imdn;
pub(crate) mod imdn_by_message;
pub(crate) mod imdn_in_rooms;
pub(crate) mod ims;
pub(crate) mod inside;
pub(crate) mod large;
pub(crate) mod media;
pub(crate) mod offers;
pub(crate) mod originating;
pub(crate) mod pager;
pub(crate) mod policy;
pub(crate) mod preconditions;
pub(crate) mod recover;
pub(crate) mod refer;
pub(crate) mod refresh;
pub(crate) mod registration;
pub(crate) mod rejections;
pub(crate) mod relays;
pub(crate) mod remote;
pub(crate) mod renegotiate;
pub(crate) mod replaces;
pub(crate) mod rooms;
pub(crate) mod secure;
pub(crate) mod session_timer;
pub(crate) mod setup;
pub(crate) mod stir;
pub(crate) mod succeeds;
