//! Scripted peers: what arrives at them lies in a mailbox until the script looks.

use std::net::SocketAddr;

use parlour_proto::io::Instant;

use crate::stream::{Side, StreamId};

/// How a scripted peer reaches another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Datagrams between these two addresses.
    Udp {
        /// Ours.
        local: SocketAddr,
        /// The other node's.
        remote: SocketAddr,
    },
    /// A connection, seen from this end.
    Stream {
        /// Which one.
        stream: StreamId,
        /// Which end of it is ours.
        side: Side,
    },
}

/// Something that arrived at a scripted peer.
#[derive(Debug, Clone)]
pub struct Mail {
    /// When.
    pub at: Instant,
    /// Where from; answer there.
    pub way: Way,
    /// What it is.
    pub what: What,
}

/// The kinds of mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A datagram or a whole message of a stream.
    Message(Vec<u8>),
    /// Somebody connected, or our own connect succeeded.
    Opened,
    /// The connection is gone, or could not be made.
    Closed,
}

impl Mail {
    /// The message, empty if this is none.
    pub fn message(&self) -> &[u8] {
        match &self.what {
            What::Message(octets) => octets,
            What::Opened | What::Closed => b"",
        }
    }
}

/// A scripted peer.
#[derive(Debug, Default)]
pub struct Peer {
    pub(crate) mailbox: Vec<Mail>,
}
