//! A reliable connection between two nodes.

use std::collections::VecDeque;
use std::net::SocketAddr;

use parlour_proto::io::{FlowId, Instant, Service, Transport};

use crate::text::Splitter;
use crate::world::NodeId;

/// Names a stream of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Which end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that connected.
    Opener,
    /// The one that listened.
    Acceptor,
}

impl Side {
    /// The end across.
    pub fn other(self) -> Side {
        match self {
            Side::Opener => Side::Acceptor,
            Side::Acceptor => Side::Opener,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) service: Service,
    pub(crate) transport: Transport,
    /// The name that the opener wants the other end's certificate to be valid for.
    pub(crate) asked: Option<String>,
    opener: End,
    acceptor: End,
}

/// One end: whose it is, and what it has sent.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: NodeId,
    pub(crate) local: SocketAddr,
    pub(crate) flow: FlowId,
    pub(crate) state: EndState,
    /// It does not read for now.
    pub(crate) held: bool,
    /// What arrived while it did not read.
    pub(crate) unread: VecDeque<Vec<u8>>,
    /// The other end has closed; told after `unread`.
    pub(crate) finished: bool,
    /// Octets sent that the other end has not read.
    pub(crate) in_flight: usize,
    /// When the last octet that it sent arrives.
    pub(crate) last_arrival: Instant,
    /// What it sends, cut into messages for the record.
    pub(crate) sent: Splitter,
    /// What it receives, cut into messages for a scripted peer.
    pub(crate) received: Splitter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndState {
    Opening,
    Open,
    Closed,
}

impl End {
    pub(crate) fn new(node: NodeId, local: SocketAddr, flow: FlowId, service: Service) -> Self {
        End {
            node,
            local,
            flow,
            state: EndState::Opening,
            held: false,
            unread: VecDeque::new(),
            finished: false,
            in_flight: 0,
            last_arrival: Instant::ZERO,
            sent: Splitter::new(service),
            received: Splitter::new(service),
        }
    }
}

impl Stream {
    pub(crate) fn new(
        service: Service,
        transport: Transport,
        asked: Option<String>,
        opener: End,
        acceptor: End,
    ) -> Self {
        Stream { service, transport, asked, opener, acceptor }
    }

    pub(crate) fn end(&self, side: Side) -> &End {
        match side {
            Side::Opener => &self.opener,
            Side::Acceptor => &self.acceptor,
        }
    }

    pub(crate) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Opener => &mut self.opener,
            Side::Acceptor => &mut self.acceptor,
        }
    }
}
