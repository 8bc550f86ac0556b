//! A virtual world for Parlour's protocol crates.
//!
//! A [`World`] owns a clock, a seed, links that lose and delay, and any number of nodes: [`Client`s](client_node) under
//! test and [scripted peers](peer) that speak raw SIP and MSRP text. It never sleeps: [`World::step`] jumps to the
//! earliest deadline or arrival. What crossed it can be drawn as a [ladder].
//!
//! Everything is deterministic: the same seed gives the same run, octet for octet.

pub mod check;
pub mod client_node;
mod furnish;
pub mod fuzzing;
pub mod ladder;
pub mod link;
pub mod model;
pub mod peer;
pub mod scenario;
pub mod script;
pub mod stream;
pub mod text;
mod verbs;
mod world;

pub use link::{Link, Loss, Segments};
pub use peer::{Mail, Way, What};
pub use script::Script;
pub use world::{Ladders, NodeId, World, certificate};
