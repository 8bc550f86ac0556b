//! The world: a clock, nodes, and all that is on its way between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use parlour_msrp::random::Random;
use parlour_msrp::timer::Timers;
use parlour_proto::config::Config;
use parlour_proto::io::{
    CloseReason, FileId, FlowId, Input, Instant, Now, QueryId, Receipt, Security, Service, SourceId, SpoolId,
    Target, TlsExpect, Transport,
};

use crate::client_node::ClientNode;
use crate::ladder::Row;
use crate::link::Link;
use crate::peer::{Mail, Peer, Way, What};
use crate::stream::{End, EndState, Side, Stream, StreamId};
use crate::text;

/// When every world begins: 2026-01-01T00:00:00Z.
const UNIX_START: Duration = Duration::from_secs(1_767_225_600);

/// Names a node, in the order of making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Where worlds that are watched leave their [ladders](World::ladder) when they end, oldest end first.
pub type Ladders = Rc<RefCell<Vec<String>>>;

/// Where each node listens.
const PORTS: [(Service, Transport, u16); 4] = [
    (Service::Sip, Transport::Udp, 5060),
    (Service::Sip, Transport::Tcp, 5060),
    (Service::Msrp, Transport::Tcp, 2855),
    (Service::Msrp, Transport::Tls, 2856),
];

/// The certificate of a node, by its name: octets that stand for one.
pub fn certificate(name: &str) -> Vec<u8> {
    format!("the certificate of {name}").into_bytes()
}

/// A virtual world.
#[derive(Debug)]
pub struct World {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) queue: Timers<Arrival>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    nodes: Vec<Node>,
    ports: BTreeMap<(SocketAddr, bool), Port>,
    pub(crate) links: BTreeMap<(NodeId, NodeId), Link>,
    pub(crate) datagrams: BTreeMap<(NodeId, NodeId), u64>,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) services: BTreeMap<String, Vec<SocketAddr>>,
    /// What nodes show in TLS, if it is not [`certificate`].
    pub(crate) certificates: BTreeMap<NodeId, Option<Box<[u8]>>>,
    /// The names that an authority vouches for, and whose they are.
    pub(crate) vouched: BTreeSet<(NodeId, String)>,
    /// How long the name servers of this world take.
    pub look_up: Duration,
    rows: Vec<Row>,
    serial: u64,
    watched: Option<Ladders>,
}

/// Also when a test fails: what crossed until then tells why.
impl Drop for World {
    fn drop(&mut self) {
        if let Some(ladders) = self.watched.take() {
            ladders.borrow_mut().push(self.ladder());
        }
    }
}

#[derive(Debug)]
struct Node {
    name: String,
    address: IpAddr,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Client(Box<ClientNode>),
    Peer(Peer),
}

/// Who listens, and for what.
#[derive(Debug, Clone, Copy)]
struct Port {
    node: NodeId,
    service: Service,
    transport: Transport,
    socket: u16,
}

/// Something on its way.
#[derive(Debug)]
pub(crate) enum Arrival {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Connect {
        stream: StreamId,
    },
    Opened {
        stream: StreamId,
        side: Side,
    },
    Segment {
        stream: StreamId,
        to: Side,
        bytes: Vec<u8>,
    },
    Room {
        stream: StreamId,
        side: Side,
        bytes: usize,
    },
    /// What was sent before has arrived; no more will come.
    Fin {
        stream: StreamId,
        to: Side,
    },
    Closed {
        node: NodeId,
        flow: FlowId,
        why: CloseReason,
    },
    Located {
        node: NodeId,
        query: QueryId,
        name: String,
    },
    Resolved {
        node: NodeId,
        query: QueryId,
        name: String,
    },
    Fetched {
        node: NodeId,
        source: SourceId,
        offset: u64,
        bytes: Vec<u8>,
    },
    Spooled {
        node: NodeId,
        spool: SpoolId,
        upto: u64,
    },
    Store {
        node: NodeId,
        receipt: Receipt,
    },
    File {
        node: NodeId,
        file: FileId,
        message_id: String,
    },
}

impl World {
    /// An empty world: everything that happens by chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        let mut octets = [0; 32];
        for (octet, value) in octets.iter_mut().zip(seed.to_le_bytes()) {
            *octet = value;
        }
        World {
            now: Instant::ZERO,
            random: Random::new(octets),
            queue: Timers::default(),
            streams: BTreeMap::new(),
            nodes: Vec::new(),
            ports: BTreeMap::new(),
            links: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            names: BTreeMap::new(),
            services: BTreeMap::new(),
            certificates: BTreeMap::new(),
            vouched: BTreeSet::new(),
            look_up: Duration::ZERO,
            rows: Vec::new(),
            serial: 0,
            watched: None,
        }
    }

    /// Leaves the ladder of this world there when it ends.
    pub fn watch(&mut self, ladders: Ladders) {
        self.watched = Some(ladders);
    }

    /// Adds a client that listens on ports 5060 (SIP over UDP and TCP), 2855 (MSRP over TCP) and, if it has a certificate,
    /// 2856 (MSRP over TLS) of an address of its own: 192.0.2.1 for the first node, and so on.
    pub fn client(&mut self, name: &str, config: Config) -> NodeId {
        let tls = !config.fingerprints.is_empty();
        let client = ClientNode::new(config, self.random.fork());
        let node = self.add(name, Kind::Client(Box::new(client)));
        self.listen(node, tls);
        node
    }

    /// Adds a client that nobody can connect to: it listens for SIP over UDP alone.
    pub fn client_without_listener(&mut self, name: &str, config: Config) -> NodeId {
        let client = ClientNode::new(config, self.random.fork());
        let node = self.add(name, Kind::Client(Box::new(client)));
        self.listen_on(node, |transport| transport == Transport::Udp);
        node
    }

    /// Tells a client where it listens.
    pub(crate) fn listen(&mut self, node: NodeId, tls: bool) {
        self.listen_on(node, |transport| tls || transport != Transport::Tls);
    }

    fn listen_on(&mut self, node: NodeId, which: impl Fn(Transport) -> bool) {
        for (service, transport, port) in PORTS.into_iter().filter(|(_, transport, _)| which(*transport)) {
            let local = self.address(node, port);
            self.ports
                .insert((local, transport == Transport::Udp), Port { node, service, transport, socket: 0 });
            self.tell(node, Input::Listening { service, transport, socket: 0, local });
        }
    }

    /// Adds a scripted peer that listens on ports 5060 (SIP over UDP and TCP), 2855 (MSRP over TCP)
    /// and 2856 (MSRP over TLS).
    pub fn peer(&mut self, name: &str) -> NodeId {
        let node = self.add(name, Kind::Peer(Peer::default()));
        for (service, transport, port) in PORTS {
            let local = self.address(node, port);
            self.ports
                .insert((local, transport == Transport::Udp), Port { node, service, transport, socket: 0 });
        }
        node
    }

    /// Has a scripted peer do TLS at another of its ports for streams too.
    pub fn does_tls_at(&mut self, node: NodeId, port: u16) {
        let local = self.address(node, port);
        let port = Port { node, service: Service::Msrp, transport: Transport::Tls, socket: 0 };
        self.ports.insert((local, false), port);
    }

    /// A port of a node.
    pub fn address(&self, node: NodeId, port: u16) -> SocketAddr {
        let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        SocketAddr::new(self.nodes.get(node.0).map_or(unspecified, |node| node.address), port)
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        Now { instant: self.now, unix: UNIX_START + (self.now - Instant::ZERO) }
    }

    /// Milliseconds since the world began.
    pub fn millis(&self) -> u64 {
        self.now.as_millis()
    }

    /// Jumps to what comes next, and lets it happen. False if nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        self.step_until(Instant::from_micros(u64::MAX))
    }

    /// Lets everything happen that comes in the next `millis` milliseconds.
    pub fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.step_until(end) {}
        self.now = end;
    }

    /// Lets everything happen up to the given millisecond since the beginning, that one included.
    pub fn run_to(&mut self, millis: u64) {
        self.run(millis.saturating_sub(self.millis()));
    }

    /// Jumps to what comes next, unless it comes later than the given millisecond since the beginning.
    pub(crate) fn next_within(&mut self, millis: u64) -> bool {
        self.step_until(Instant::from_micros(millis.saturating_mul(1000)))
    }

    /// All that crossed the world, in the order of departure.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The names of the nodes, in the order of making.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.name.as_str())
    }

    /// A number that was not used before in this world.
    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The client at a node.
    pub fn client_at(&self, node: NodeId) -> Option<&ClientNode> {
        match self.nodes.get(node.0).map(|node| &node.kind) {
            Some(Kind::Client(client)) => Some(client),
            Some(Kind::Peer(_)) | None => None,
        }
    }

    /// The client at a node, to be changed. Verbs go through [`World::act`].
    pub fn client_at_mut(&mut self, node: NodeId) -> Option<&mut ClientNode> {
        match self.nodes.get_mut(node.0).map(|node| &mut node.kind) {
            Some(Kind::Client(client)) => Some(client),
            Some(Kind::Peer(_)) | None => None,
        }
    }

    /// The nodes that are clients.
    pub fn clients(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).map(NodeId).filter(|node| self.client_at(*node).is_some()).collect()
    }

    pub(crate) fn peer_at(&mut self, node: NodeId) -> Option<&mut Peer> {
        match self.nodes.get_mut(node.0).map(|node| &mut node.kind) {
            Some(Kind::Peer(peer)) => Some(peer),
            Some(Kind::Client(_)) | None => None,
        }
    }

    /// Puts a datagram on its way.
    pub(crate) fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let ends = self.owner(from.ip()).zip(self.owner(to.ip()));
        let Some((source, target)) = ends else { return };
        let label = text::label(&bytes);
        let link = self.link_between(source, target);
        let number = self.datagrams.entry((source, target)).or_default();
        *number += 1;
        let lost = link.loses(&mut self.random, *number, &label) || !self.ports.contains_key(&(to, true));
        self.rows.push(Row { at: self.now, from: source, to: target, label, octets: bytes.clone(), lost });
        if !lost {
            let copies = 1 + usize::from(link.doubles(&mut self.random));
            for _ in 0..copies {
                let at = self.now + link.travel(&mut self.random);
                self.queue.arm(at, Arrival::Datagram { from, to, bytes: bytes.clone() });
            }
        }
    }

    /// Of the addresses of a target the first where somebody answers, if anybody does; the tries before it are seen.
    pub(crate) fn first_that_answers(&mut self, node: NodeId, to: &Target) -> SocketAddr {
        let mut last = to.address;
        for next in &to.others {
            let owner = self.owner(last.ip());
            let answers = self.ports.contains_key(&(last, false))
                && owner.is_some_and(|owner| !self.link_between(node, owner).refuse);
            if answers {
                break;
            }
            self.note(node, owner.unwrap_or(node), format!("connect {:?}", to.service), true);
            last = *next;
        }
        last
    }

    /// Starts to connect.
    pub(crate) fn connect(
        &mut self,
        node: NodeId,
        flow: Option<FlowId>,
        service: Service,
        to: SocketAddr,
        tls: Option<TlsExpect>,
    ) -> StreamId {
        let stream = StreamId(self.serial());
        let local = self.address(node, 40_000 + u16::try_from(stream.0 % 20_000).unwrap_or(0));
        let flow = flow.unwrap_or(FlowId::Stream(stream.0));
        let port = self.ports.get(&(to, false)).copied();
        // A scripted peer does TLS where it is done.
        let acceptor = port.map(|port| port.node);
        let is_client = self.client_at(node).is_some();
        let clash = port.is_some_and(|port| is_client && (port.transport == Transport::Tls) != tls.is_some());
        let owner = acceptor.or_else(|| self.owner(to.ip()));
        let opener = End::new(node, local, flow, service);
        let other = End::new(owner.unwrap_or(node), to, FlowId::Stream(stream.0), service);
        let asked = tls.map(|expect| expect.name);
        self.streams.insert(stream, Stream::new(service, Transport::Tcp, asked, opener, other));
        let way = owner.unwrap_or(node);
        let link = self.link_between(node, way);
        let lost = acceptor.is_none() || link.refuse || clash;
        if way != node {
            self.note(node, way, format!("connect {service:?}"), lost);
        }
        let at = self.now + link.delay;
        match lost {
            false => self.queue.arm(at, Arrival::Connect { stream }),
            true => self.queue.arm(at + link.delay, Arrival::Fin { stream, to: Side::Opener }),
        };
        stream
    }

    /// Writes on a stream.
    pub(crate) fn send_stream(&mut self, stream: StreamId, side: Side, bytes: &[u8]) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let (from, to) = (entry.end(side).node, entry.end(side.other()).node);
        let sender = entry.end_mut(side);
        if sender.state == EndState::Closed {
            return;
        }
        sender.in_flight += bytes.len();
        let mut arrival = sender.last_arrival;
        for message in sender.sent.push(bytes) {
            let label = text::label(&message);
            self.rows.push(Row { at: self.now, from, to, label, octets: message, lost: false });
        }
        let link = self.link_between(from, to);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) =
                rest.split_at_checked(link.cut(&mut self.random, rest.len())).unwrap_or((rest, b""));
            arrival = arrival.max(self.now + link.travel(&mut self.random));
            self.queue.arm(arrival, Arrival::Segment { stream, to: side.other(), bytes: piece.to_vec() });
            rest = after;
        }
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.end_mut(side).last_arrival = arrival;
        }
    }

    /// Closes one end in order: what was written before still arrives.
    pub(crate) fn close_stream(&mut self, stream: StreamId, side: Side) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let (from, to) = (entry.end(side).node, entry.end(side.other()).node);
        let sender = entry.end_mut(side);
        if sender.state == EndState::Closed {
            return;
        }
        sender.state = EndState::Closed;
        let (node, flow, sent) = (sender.node, sender.flow, sender.last_arrival);
        let link = self.link_between(from, to);
        self.note(from, to, "close".to_owned(), false);
        let at = sent.max(self.now + link.travel(&mut self.random));
        self.queue.arm(at, Arrival::Fin { stream, to: side.other() });
        self.queue.arm(self.now, Arrival::Closed { node, flow, why: CloseReason::Local });
    }

    /// Breaks a stream: both ends learn of it at once, what was on its way is lost.
    pub fn reset(&mut self, stream: StreamId) {
        let Some(entry) = self.streams.remove(&stream) else { return };
        let (from, to) = (entry.end(Side::Opener).node, entry.end(Side::Acceptor).node);
        self.note(from, to, "reset".to_owned(), true);
        for side in [Side::Opener, Side::Acceptor] {
            let end = entry.end(side);
            match end.state {
                EndState::Closed => {}
                EndState::Opening if side == Side::Acceptor => {}
                EndState::Opening | EndState::Open => {
                    self.closed(end.node, stream, side, end.flow, CloseReason::Error)
                }
            }
        }
    }

    /// The streams that stand or are being opened.
    pub fn open_streams(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    /// Reads again at an end, or not.
    pub(crate) fn hold(&mut self, stream: StreamId, side: Side, held: bool) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let end = entry.end_mut(side);
        end.held = held;
        if !held {
            let (unread, finished) = (std::mem::take(&mut end.unread), end.finished);
            for bytes in unread {
                self.queue.arm(self.now, Arrival::Segment { stream, to: side, bytes });
            }
            if finished {
                self.queue.arm(self.now, Arrival::Fin { stream, to: side });
            }
        }
    }

    fn step_until(&mut self, end: Instant) -> bool {
        let packet = self.queue.next().map(|(at, _)| at);
        let deadline = self
            .clients()
            .into_iter()
            .filter_map(|node| Some((self.client_at(node)?.deadline()?.0, node)))
            .min();
        match (packet, deadline) {
            (packet, Some((at, node))) if at <= end && packet.is_none_or(|packet| at < packet) => {
                self.now = self.now.max(at);
                self.tell(node, Input::Tick);
                true
            }
            (Some(at), _) if at <= end => {
                self.now = self.now.max(at);
                if let Some((_, arrival)) = self.queue.pop_due(self.now) {
                    self.arrive(arrival);
                }
                true
            }
            _ => false,
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Datagram { from, to, bytes } => self.datagram(from, to, bytes),
            Arrival::Connect { stream } => self.accept_stream(stream),
            Arrival::Opened { stream, side } => self.opened(stream, side),
            Arrival::Segment { stream, to, bytes } => self.segment(stream, to, bytes),
            Arrival::Room { stream, side, bytes } => self.room(stream, side, bytes),
            Arrival::Fin { stream, to } => self.fin(stream, to),
            Arrival::Closed { node, flow, why } => {
                if self.client_at(node).is_some() {
                    self.tell(node, Input::Closed { flow, why });
                }
            }
            Arrival::Located { node, query, name } => {
                let addresses = self.services.get(&name).cloned();
                self.tell(node, Input::Located { query, addresses: addresses.as_deref() });
            }
            Arrival::Resolved { node, query, name } => {
                let addresses = self.names.get(&name).cloned().unwrap_or_default();
                self.tell(node, Input::Resolved { query, addresses: &addresses });
            }
            Arrival::Fetched { node, source, offset, bytes } => {
                self.tell(node, Input::Fetched { source, offset, bytes: &bytes });
            }
            Arrival::Spooled { node, spool, upto } => self.tell(node, Input::Spooled { spool, upto }),
            Arrival::Store { node, receipt } => self.store(node, receipt),
            Arrival::File { node, file, message_id } => self.look_at(node, file, &message_id),
        }
    }

    fn datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(port) = self.ports.get(&(to, true)).copied() else { return };
        if self.client_at(port.node).is_some() {
            self.tell(
                port.node,
                Input::Received { flow: FlowId::Udp { socket: port.socket, peer: from }, bytes: &bytes },
            );
        } else {
            self.mail(port.node, Way::Udp { local: to, remote: from }, What::Message(bytes));
        }
    }

    fn accept_stream(&mut self, stream: StreamId) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let Some(port) = self.ports.get(&(entry.end(Side::Acceptor).local, false)) else { return };
        entry.service = port.service;
        entry.transport = port.transport;
        let (from, to) = (entry.end(Side::Opener).node, entry.end(Side::Acceptor).node);
        let link = self.link_between(to, from);
        self.queue.arm(self.now + link.delay, Arrival::Opened { stream, side: Side::Opener });
        self.opened(stream, Side::Acceptor);
    }

    fn opened(&mut self, stream: StreamId, side: Side) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let (service, transport) = (entry.service, entry.transport);
        let (from, peer) = (entry.end(side).node, entry.end(side.other()).local);
        let window = self.link_between(from, self.owner(peer.ip()).unwrap_or(from)).window;
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let end = entry.end_mut(side);
        if end.state != EndState::Opening {
            return;
        }
        end.state = EndState::Open;
        let (node, flow, local, room) = (end.node, end.flow, end.local, window.saturating_sub(end.in_flight));
        if self.client_at(node).is_some() {
            let other = self.streams.get(&stream).map_or(node, |entry| entry.end(side.other()).node);
            let security = match transport {
                Transport::Tls => self.security(stream, side, other),
                Transport::Tcp | Transport::Udp => Security::Plain,
            };
            self.opened_at_client(node, stream, side, Input::Opened { flow, service, local, peer, security });
            self.tell(node, Input::Writable { flow, room });
        } else {
            self.mail(node, Way::Stream { stream, side }, What::Opened);
        }
    }

    /// What TLS tells one end of the other.
    fn security(&self, stream: StreamId, side: Side, other: NodeId) -> Security {
        let asked = self.streams.get(&stream).and_then(|entry| entry.asked.clone());
        let verified =
            side == Side::Opener && asked.is_some_and(|name| self.vouched.contains(&(other, name)));
        let own = || self.nodes.get(other.0).map(|node| certificate(&node.name).into());
        let certificate = self.certificates.get(&other).cloned().unwrap_or_else(own);
        Security::Tls { verified, certificate }
    }

    fn segment(&mut self, stream: StreamId, to: Side, bytes: Vec<u8>) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let (near, far) = (entry.end(to).node, entry.end(to.other()).node);
        let end = entry.end_mut(to);
        if end.state != EndState::Open {
            return;
        }
        if end.held {
            end.unread.push_back(bytes);
            return;
        }
        let flow = end.flow;
        let messages = end.received.push(&bytes);
        let link = self.link_between(near, far);
        self.queue.arm(self.now + link.delay, Arrival::Room { stream, side: to.other(), bytes: bytes.len() });
        if self.client_at(near).is_some() {
            self.tell(near, Input::Received { flow, bytes: &bytes });
        } else {
            for message in messages {
                self.mail(near, Way::Stream { stream, side: to }, What::Message(message));
            }
        }
    }

    fn room(&mut self, stream: StreamId, side: Side, bytes: usize) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let (near, far) = (entry.end(side).node, entry.end(side.other()).node);
        let end = entry.end_mut(side);
        end.in_flight = end.in_flight.saturating_sub(bytes);
        let (in_flight, flow, open) = (end.in_flight, end.flow, end.state == EndState::Open);
        let window = self.link_between(near, far).window;
        if open && self.client_at(near).is_some() {
            self.tell(near, Input::Writable { flow, room: window.saturating_sub(in_flight) });
        }
    }

    fn fin(&mut self, stream: StreamId, to: Side) {
        let Some(entry) = self.streams.get_mut(&stream) else { return };
        let opening = entry.end(to).state == EndState::Opening;
        let end = entry.end_mut(to);
        if end.held {
            end.finished = true;
            return;
        }
        let (node, flow, dead) = (end.node, end.flow, end.state == EndState::Closed);
        self.streams.remove(&stream);
        if !dead {
            let why = if opening { CloseReason::Connect } else { CloseReason::Peer };
            self.closed(node, stream, to, flow, why);
        }
    }

    fn closed(&mut self, node: NodeId, stream: StreamId, side: Side, flow: FlowId, why: CloseReason) {
        if self.client_at(node).is_some() {
            self.queue.arm(self.now, Arrival::Closed { node, flow, why });
        } else {
            self.mail(node, Way::Stream { stream, side }, What::Closed);
        }
    }

    fn mail(&mut self, node: NodeId, way: Way, what: What) {
        let at = self.now;
        if let Some(peer) = self.peer_at(node) {
            peer.mailbox.push(Mail { at, way, what });
        }
    }

    fn add(&mut self, name: &str, kind: Kind) -> NodeId {
        let node = NodeId(self.nodes.len());
        let last = u8::try_from(node.0 + 1).unwrap_or(255);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        self.nodes.push(Node { name: name.to_owned(), address, kind });
        node
    }

    fn owner(&self, address: IpAddr) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.address == address).map(NodeId)
    }

    fn link_between(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).cloned().unwrap_or_default()
    }

    fn note(&mut self, from: NodeId, to: NodeId, label: String, lost: bool) {
        self.rows.push(Row { at: self.now, from, to, label, octets: Vec::new(), lost });
    }
}
