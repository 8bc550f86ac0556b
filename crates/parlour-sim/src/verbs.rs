//! What scripts do in the world: send, connect, and wait for what they expect.

use std::net::SocketAddr;

use parlour_proto::io::Service;

use crate::peer::{Mail, Way, What};
use crate::stream::{EndState, Side};
use crate::text;
use crate::world::{NodeId, World};

/// How long scripts wait for what they expect, in milliseconds.
const PATIENCE: u64 = 5_000;

impl World {
    /// The datagram way between the SIP ports of two nodes, seen from the first.
    pub fn udp(&self, from: NodeId, to: NodeId) -> Way {
        Way::Udp { local: self.address(from, 5060), remote: self.address(to, 5060) }
    }

    /// Connects a scripted peer; what it sends at once waits for the connection.
    pub fn open(&mut self, node: NodeId, to: SocketAddr, service: Service) -> Way {
        let stream = self.connect(node, None, service, to, None);
        Way::Stream { stream, side: Side::Opener }
    }

    /// Sends octets, whatever they are.
    pub fn send(&mut self, way: Way, octets: impl AsRef<[u8]>) {
        match way {
            Way::Udp { local, remote } => self.send_datagram(local, remote, octets.as_ref().to_vec()),
            Way::Stream { stream, side } => self.send_stream(stream, side, octets.as_ref()),
        }
    }

    /// Our end of a way.
    pub fn here(&self, way: Way) -> Option<SocketAddr> {
        match way {
            Way::Udp { local, .. } => Some(local),
            Way::Stream { stream, side } => self.streams.get(&stream).map(|entry| entry.end(side).local),
        }
    }

    /// Closes a stream.
    pub fn close(&mut self, way: Way) {
        if let Way::Stream { stream, side } = way {
            self.close_stream(stream, side);
        }
    }

    /// The ends of scripted peers that are not closed.
    pub fn open_ways(&self) -> Vec<Way> {
        let sides = [Side::Opener, Side::Acceptor];
        let ends = self
            .streams
            .iter()
            .flat_map(|(stream, entry)| sides.map(|side| (*stream, side, entry.end(side))));
        let open =
            ends.filter(|(.., end)| end.state != EndState::Closed && self.client_at(end.node).is_none());
        open.map(|(stream, side, _)| Way::Stream { stream, side }).collect()
    }

    /// Lets a scripted peer read from a stream, or not.
    pub fn read(&mut self, way: Way, reads: bool) {
        if let Way::Stream { stream, side } = way {
            self.hold(stream, side, !reads);
        }
    }

    /// All mail of a scripted peer; its mailbox is empty then.
    pub fn mail_of(&mut self, node: NodeId) -> Vec<Mail> {
        self.peer_at(node).map(|peer| std::mem::take(&mut peer.mailbox)).unwrap_or_default()
    }

    /// Waits until mail comes that fits, and takes it out of the mailbox; other mail stays.
    ///
    /// # Panics
    /// If none comes within 5 s.
    #[track_caller]
    pub fn expect(&mut self, node: NodeId, what: &str, fits: impl Fn(&Mail) -> bool) -> Mail {
        let end = self.millis() + PATIENCE;
        loop {
            if let Some(mail) = self.find(node, &fits) {
                return mail;
            }
            if self.millis() >= end || !self.next_within(end) {
                panic!("{what} did not come\n{}", self.ladder());
            }
        }
    }

    /// Waits for a SIP or MSRP response with this status.
    #[track_caller]
    pub fn expect_status(&mut self, node: NodeId, status: u16) -> Mail {
        self.expect(node, &status.to_string(), |mail| text::status(mail.message()) == Some(status))
    }

    /// Waits for a SIP or MSRP request with this method.
    #[track_caller]
    pub fn expect_request(&mut self, node: NodeId, method: &str) -> Mail {
        self.expect(node, method, |mail| text::method(mail.message()).as_deref() == Some(method))
    }

    /// Waits for a connection that is made to, or by, a scripted peer.
    #[track_caller]
    pub fn expect_opened(&mut self, node: NodeId) -> Way {
        self.expect(node, "a connection", |mail| mail.what == What::Opened).way
    }

    /// Waits until a connection of a scripted peer is gone, and says when, in milliseconds.
    #[track_caller]
    pub fn expect_closed(&mut self, node: NodeId) -> u64 {
        self.expect(node, "the end of a connection", |mail| mail.what == What::Closed).at.as_millis()
    }

    /// Waits up to and including the given millisecond and makes sure that no mail comes.
    ///
    /// # Panics
    /// If mail comes.
    #[track_caller]
    pub fn expect_nothing_to(&mut self, node: NodeId, millis: u64) {
        self.run_to(millis);
        if let Some(mail) = self.find(node, |_| true) {
            let label = text::label(mail.message());
            panic!("{label} came at {} ms\n{}", mail.at.as_millis(), self.ladder());
        }
    }

    /// Takes mail out of a mailbox that is there already and fits, if any is and does.
    pub fn find(&mut self, node: NodeId, fits: impl Fn(&Mail) -> bool) -> Option<Mail> {
        let mailbox = &mut self.peer_at(node)?.mailbox;
        let at = mailbox.iter().position(fits)?;
        Some(mailbox.remove(at))
    }
}
