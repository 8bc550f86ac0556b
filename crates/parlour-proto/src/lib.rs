//! SIP, SDP, MIME bodies and the OMA SIMPLE IM procedures of an instant-messaging client, without IO.
//!
//! A [`Client`](client::Client) opens no socket, reads no clock and holds no lock. A shell tells it what happens
//! ([`Input`](io::Input)) and what time it is, and carries out what it asks for ([`Output`](io::Output)).
//!
//! **The drain rule: one call that changes something, then [`poll`](client::Client::poll) until
//! [`Idle`](io::Output::Idle).** `Idle` says when to come back with [`Tick`](io::Input::Tick) at the latest, and why.
//!
//! ```
//! use std::time::Duration;
//! use parlour_proto::client::Client;
//! use parlour_proto::config::{Account, Config};
//! use parlour_proto::event::What;
//! use parlour_proto::io::{FlowId, Input, Instant, Now, Output, Service, Transport};
//!
//! let account = Account { address: "sip:bob@192.0.2.2".into(), ..Account::default() };
//! let mut client = Client::new(Config { accounts: vec![account], ..Config::default() }, [7; 32]);
//! let now = Now { instant: Instant::ZERO, unix: Duration::from_secs(1_800_000_000) };
//! for (service, transport, port) in [(Service::Sip, Transport::Udp, 5060), (Service::Msrp, Transport::Tcp, 2855)] {
//!     let local = ([192, 0, 2, 2], port).into();
//!     client.handle(now, Input::Listening { service, transport, socket: 0, local });
//! }
//!
//! let flow = FlowId::Udp { socket: 0, peer: "192.0.2.1:5060".parse().unwrap() };
//! let invite = "INVITE sip:bob@192.0.2.2 SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\n\
//!     From: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>\r\n\
//!     Call-ID: call-1\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\nMax-Forwards: 70\r\n\
//!     Content-Type: application/sdp\r\n\r\n\
//!     v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
//!     m=message 2855 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:msrp://192.0.2.1:2855/s1;tcp\r\n";
//! client.handle(now, Input::Received { flow, bytes: invite.as_bytes() });
//!
//! let mut invited = None;
//! let mut answers = Vec::new();
//! let mut drain = |client: &mut Client, invited: &mut Option<_>| loop {
//!     match client.poll() {
//!         Output::Send { bytes, .. } => answers.push(String::from_utf8_lossy(&bytes[..11]).into_owned()),
//!         Output::Event(event) if matches!(event.what, What::Invited { .. }) => *invited = event.session,
//!         Output::Idle(_) => break,
//!         _ => {}
//!     }
//! };
//! drain(&mut client, &mut invited);
//! client.accept(now, invited.expect("an invitation")).unwrap();
//! drain(&mut client, &mut invited);
//! assert_eq!(answers, ["SIP/2.0 180", "SIP/2.0 200"]);
//! ```

pub mod client;
pub mod config;
pub mod event;
pub mod fault;
mod im;
pub mod io;
pub mod mime;
pub mod nickname;
pub mod schedule;
pub mod sdp;
pub mod sip;
pub mod text;
mod verb;
