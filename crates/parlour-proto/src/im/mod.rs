//! The OMA SIMPLE IM procedures of a client, one verb a file.
//!
//! None of them reads the Server or User-Agent of a peer.
//= IM R-22

pub(crate) mod account;
mod added;
mod aim;
mod bodies;
mod chat;
mod composing;
mod conference;
pub(crate) mod core;
mod dispatch;
mod early;
mod established;
mod fall_back;
mod file_offer;
mod file_transfer;
mod file_unwrap;
pub(crate) mod files;
mod first_message;
pub(crate) mod flows;
mod gate;
mod groups;
mod icons;
mod imdn;
mod ims;
mod inbound;
pub(crate) mod large;
mod learned;
mod leaving;
mod media;
mod names;
mod originating;
mod page;
mod pager;
mod policy;
mod prack;
mod recover;
mod refer;
mod refresh;
mod register;
mod relays;
mod reliable;
mod renegotiate;
mod replaces;
mod room;
mod screen;
mod secure;
pub(crate) mod session;
mod session_timer;
mod sessions;
mod simultaneous;
mod stamp;
mod stir;
mod subscribe;
pub(crate) mod subscription;
mod terminating;
mod tombstones;
mod trust;
mod unwrap;

pub(crate) use self::core::Core;
