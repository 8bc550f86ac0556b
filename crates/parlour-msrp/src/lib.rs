//! MSRP (RFC 4975) as a state machine without IO: you bring octets, time and randomness, it brings the protocol.
//!
//! An [`Endpoint`] holds any number of sessions and their connections. It opens no socket and reads no clock: tell it
//! with [`Endpoint::handle`] what has happened, then call [`Endpoint::poll`] until [`Output::Idle`] and do what it
//! asks. It needs to know of SDP only what a [`SessionSpec`] says: both paths, who connects, which types are taken.
//!
//! What it takes care of: framing at any cut of the stream, chunks in any order, interleaving of sessions that share
//! a connection, binding, responses, REPORTs, the 30 s of RFC 4975 7.1.1, back-pressure in both directions, and bounds
//! on all that a peer can make it keep. What it leaves to you: sockets, TLS and names, SDP (with [`accept`] and
//! [`uri`] to help), storage, and the verdict on each message:
//!
//! **What it acknowledges, you have.** The response to the chunk that completes a message, and its success REPORT,
//! leave only after [`Endpoint::settle`].
//!
//! The [`guide`] goes through all of it; the feature `tokio` brings a driver. Two endpoints in one process:
//!
//! ```
//! use parlour_msrp::{accept::AcceptTypes, random::Random, time::Instant, *};
//!
//! let spec = |ours: &str, peers: &str, role| {
//!     let listed = AcceptTypes::parse("text/plain", None);
//!     SessionSpec::new(ours.parse().unwrap(), peers.parse().unwrap(), role, listed)
//! };
//! let (a, b) = ("msrp://192.0.2.1:7777/iau39;tcp", "msrp://192.0.2.2:8888/9di4e;tcp");
//! let (now, seed) = (Instant::ZERO, |n| Random::new([n; 32])); // from the system, in earnest
//!
//! let mut bob = Endpoint::new(Limits::default(), seed(2));
//! bob.open(now, spec(b, a, Role::Passive));
//! let mut alice = Endpoint::new(Limits::default(), seed(1));
//! let session = alice.open(now, spec(a, b, Role::Active));
//! let Output::Connect { connection, .. } = alice.poll() else { panic!("an active session connects") };
//!
//! // The connection stands: each end has its own number for it.
//! let accepted = ConnectionId(1);
//! alice.handle(now, Input::Connected { connection, peer: "192.0.2.2:8888".parse().unwrap(), tls: None });
//! bob.handle(now, Input::Connected { connection: accepted, peer: "192.0.2.1:50000".parse().unwrap(), tls: None });
//!
//! alice.send(now, session, Outgoing::new("12339sdqwer", "text/plain", "Hi, I'm Alice!")).unwrap();
//!
//! // The wire: what one end sends, the other receives.
//! let mut heard = Vec::new();
//! let mut told = Vec::new();
//! loop {
//!     match (alice.poll(), bob.poll()) {
//!         (Output::Idle(_), Output::Idle(_)) => break,
//!         (from_alice, from_bob) => {
//!             match from_alice {
//!                 Output::Send { bytes, .. } => {
//!                     bob.handle(now, Input::Received { connection: accepted, bytes: &bytes });
//!                 }
//!                 Output::Event(event) => told.push(event),
//!                 _ => {}
//!             }
//!             match from_bob {
//!                 Output::Send { bytes, .. } => alice.handle(now, Input::Received { connection, bytes: &bytes }),
//!                 Output::Event(Event::Message { receipt, body: Body::Inline(body), .. }) => {
//!                     heard.push(String::from_utf8(body).unwrap());
//!                     // It is stored, so now the sender may know.
//!                     bob.settle(now, receipt, Verdict::Accepted);
//!                 }
//!                 _ => {}
//!             }
//!         }
//!     }
//! }
//! assert_eq!(heard, ["Hi, I'm Alice!"]);
//! let message_id = String::from("12339sdqwer");
//! assert_eq!(told.last(), Some(&Event::Acknowledged { session, message_id }));
//! ```

pub mod accept;
mod bind;
mod bounds;
mod chunk;
mod connect;
mod connection;
pub mod digest;
mod endpoint;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
pub mod head;
mod io;
mod line;
mod nickname;
mod outcome;
mod parts;
pub mod random;
mod read;
mod reassembly;
mod receive;
mod relay;
mod send;
mod session;
mod settle;
mod succeed;
#[doc(hidden)]
pub mod table;
pub mod time;
#[doc(hidden)]
pub mod timer;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod uri;
pub mod websocket;
pub mod write;

pub use endpoint::Endpoint;
pub use io::*;
pub use nickname::MAX_NICKNAME;
