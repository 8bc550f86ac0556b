//! Clients in virtual time: flows as ladders, timelines, and what bad input is answered with.

mod answering;
mod bodies;
mod common;
mod conference;
mod early;
mod faults;
mod hostile;
mod ims;
mod media;
mod originating;
mod policy;
mod recover;
mod refer;
mod refresh;
mod registration;
mod rejections;
mod renegotiate;
mod replaces;
mod session_timer;
mod world;
