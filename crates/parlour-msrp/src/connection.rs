//! What an endpoint keeps of one connection.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::frame::FrameReader;
use crate::head::Tid;
use crate::io::{ConnectionId, Limits, RelayId, SessionId, Trust};
use crate::reassembly::Partial;
use crate::time::Instant;
use crate::timer::TimerId;

/// Room of a fresh connection until the driver tells: any socket takes this much.
const FIRST_ROOM: usize = 16 * 1024;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Whether it stands; otherwise it is being made.
    pub(crate) open: bool,
    pub(crate) peer: Option<SocketAddr>,
    /// The host device, if we opened it: key of the table for sharing.
    pub(crate) device: Option<String>,
    /// Whether it was asked for over TLS.
    pub(crate) secure: bool,
    /// The relay of ours that it leads to.
    pub(crate) relay: Option<RelayId>,
    /// Whether it leads to a relay of a peer.
    pub(crate) foreign: bool,
    pub(crate) reader: FrameReader,
    pub(crate) current: Current,
    /// The sessions on it.
    pub(crate) sessions: Vec<SessionId>,
    /// Those that may have something to send, in the order of their turns.
    pub(crate) ready: VecDeque<SessionId>,
    /// The names that its other end has shown in TLS; None without TLS.
    pub(crate) tls: Option<Vec<Box<str>>>,
    /// Responses and REPORTs that leave next, as octets.
    pub(crate) replies: Vec<u8>,
    /// What the driver takes at this moment, and what it said last.
    pub(crate) room: usize,
    pub(crate) granted: usize,
    /// Octets of replies beyond the room.
    pub(crate) excess: usize,
    /// Octets handed out for spooling and not spooled.
    pub(crate) unspooled: u64,
    /// Messages without a verdict, and the octets of those whose body is inline.
    pub(crate) unsettled: usize,
    pub(crate) unsettled_octets: u64,
    /// Messages in reassembly, of all its sessions.
    pub(crate) incomplete: usize,
    /// Whether the driver was told to stop reading.
    pub(crate) held: bool,
    pub(crate) heard: Instant,
    /// When the last response to a request of ours came, and to the how manieth request.
    pub(crate) answered: (Instant, u64),
    /// Runs until a session is bound.
    pub(crate) unbound: Option<TimerId>,
    /// Runs while a frame is open.
    pub(crate) stalled: Option<TimerId>,
    /// Runs while a connection to a peer's relay has no session.
    pub(crate) unused: Option<TimerId>,
}

impl Connection {
    pub(crate) fn new(limits: &Limits) -> Self {
        Connection {
            open: false,
            peer: None,
            device: None,
            secure: false,
            relay: None,
            foreign: false,
            tls: None,
            reader: FrameReader::new(limits.header_section),
            current: Current::Nothing,
            sessions: Vec::new(),
            ready: VecDeque::new(),
            replies: Vec::new(),
            room: FIRST_ROOM,
            granted: FIRST_ROOM,
            excess: 0,
            unspooled: 0,
            unsettled: 0,
            unsettled_octets: 0,
            incomplete: 0,
            held: false,
            heard: Instant::ZERO,
            answered: (Instant::ZERO, 0),
            unbound: None,
            stalled: None,
            unused: None,
        }
    }

    /// Whether its other end has shown to be one of those.
    pub(crate) fn is_trusted(&self, trust: &Trust) -> bool {
        match trust {
            Trust::Anyone => true,
            Trust::OneOf(names) => self.tls.iter().flatten().any(|shown| names.contains(shown)),
        }
    }

    /// Takes the driver's word on the room.
    pub(crate) fn grant(&mut self, room: usize) {
        (self.room, self.granted) = (room, room);
        // A driver with room to spare has got rid of what was too much.
        if room > 0 {
            self.excess = 0;
        }
    }

    /// Counts octets that are handed out.
    pub(crate) fn spend(&mut self, octets: usize) {
        self.excess = self.excess.saturating_add(octets.saturating_sub(self.room));
        self.room = self.room.saturating_sub(octets);
    }

    /// Whether reading should stop; once it has, it goes on at half the bounds.
    pub(crate) fn should_hold(&self, limits: &Limits) -> bool {
        let part = if self.held { 2 } else { 1 };
        self.unspooled > limits.unspooled / part
            || self.unsettled_octets > limits.unspooled / part
            || self.unsettled > limits.unsettled / usize::try_from(part).unwrap_or(1)
            || self.excess > limits.pending_replies
    }

    /// Gives a session a turn to send.
    pub(crate) fn make_ready(&mut self, session: SessionId) {
        if !self.ready.contains(&session) {
            self.ready.push_back(session);
        }
    }
}

/// The frame that is being received.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for a connection")]
pub(crate) enum Current {
    /// None.
    Nothing,
    /// One whose octets are of no interest; its body may have this many more.
    Ignored { left: u64 },
    /// A SEND.
    Chunk(Chunk),
}

/// A SEND that is being received.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) session: SessionId,
    /// The response that it wants.
    pub(crate) reply: Option<Reply>,
    /// The message; none if the SEND has no body and belongs to none.
    pub(crate) message: Option<Partial>,
    /// Where its next octet goes, counted from 0.
    pub(crate) offset: u64,
}

impl Chunk {
    /// Whether it is a chunk of this message.
    pub(crate) fn is_of(&self, session: SessionId, message_id: &str) -> bool {
        let message = self.message.as_ref();
        self.session == session && message.is_some_and(|message| message.message_id == message_id)
    }
}

/// The response that a request wants.
#[derive(Debug)]
pub(crate) struct Reply {
    /// RFC 4975 7.2: where the request came, and nowhere else.
    pub(crate) connection: ConnectionId,
    pub(crate) tid: Tid,
    /// Whether only an error is answered (Failure-Report: partial).
    pub(crate) errors_only: bool,
    /// The previous hop, if it is not the peer's leftmost URI of the SDP.
    pub(crate) to: Option<Box<str>>,
}
