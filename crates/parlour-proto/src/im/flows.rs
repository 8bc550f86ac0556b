//! The ways to our peers: listeners, streams, and which of them belong to the core that we trust.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use parlour_msrp::timer::TimerId;

use crate::config::{Hop, Proxy};
use crate::im::aim::{MOST_ADDRESSES, in_turn};
use crate::io::{FlowId, Instant, QueryId, Security, Service, Target, TlsExpect, Transport};
use crate::sip::frame::Framer;

/// The first number that the client gives to a SIP stream; MSRP's own begin at the top bit.
const FIRST_SIP_STREAM: u64 = 0b11 << 62;

/// All listeners and streams.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    listeners: Vec<Listener>,
    streams: BTreeMap<FlowId, Stream>,
    accepted_from: BTreeMap<IpAddr, usize>,
    given_streams: u64,
    given_queries: u64,
}

#[derive(Debug)]
struct Listener {
    service: Service,
    transport: Transport,
    socket: u16,
    local: SocketAddr,
}

/// One TCP or TLS connection.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) service: Service,
    pub(crate) transport: Transport,
    pub(crate) peer: SocketAddr,
    /// Known once the stream stands.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) security: Security,
    /// Cuts SIP messages out of the stream; taken out while they are handled.
    pub(crate) framer: Option<Box<Framer>>,
    /// Whether the peer opened it.
    pub(crate) accepted: bool,
    /// Against a peer that never speaks, never finishes a message, or is silent for long.
    pub(crate) deadline: Option<TimerId>,
    pub(crate) progress: Progress,
    /// When the last whole message came, or the stream began.
    pub(crate) heard: Instant,
    /// The name for which the chain of its certificate was to be checked.
    pub(crate) asked: Option<Box<str>>,
}

/// How far a SIP stream is with what it has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The peer opened it and has said nothing whole.
    Silent,
    /// A message has begun.
    MidMessage,
    /// Between messages.
    Resting,
}

impl Stream {
    /// A stream that the client asks the shell to open.
    pub(crate) fn asked_for(to: &Target, now: Instant) -> Self {
        Stream {
            service: to.service,
            transport: to.transport,
            peer: to.address,
            local: None,
            security: Security::Plain,
            framer: None,
            accepted: false,
            deadline: None,
            progress: Progress::Resting,
            heard: now,
            asked: to.tls.as_ref().map(|tls| tls.name.as_str().into()),
        }
    }

    /// A stream that its peer has opened.
    pub(crate) fn accepted(
        service: Service,
        local: SocketAddr,
        peer: SocketAddr,
        security: Security,
        now: Instant,
    ) -> Self {
        Stream {
            service,
            transport: if security == Security::Plain { Transport::Tcp } else { Transport::Tls },
            peer,
            local: Some(local),
            security,
            framer: None,
            accepted: true,
            deadline: None,
            progress: Progress::Silent,
            heard: now,
            asked: None,
        }
    }

    fn is_verified(&self) -> bool {
        matches!(self.security, Security::Tls { verified: true, .. })
    }
}

/// Who is at the other end of a way, as it is when a dialog is made: a stream that closes does not take it along.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) address: Option<IpAddr>,
    pub(crate) transport: Transport,
    /// Whether the way was the core's.
    pub(crate) trusted: bool,
}

/// Proof that something came over a flow that is the core's. Only [`Flows::trust`] makes it, and only with
/// it can an asserted identity be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrustedCore(());

impl Flows {
    pub(crate) fn listening(
        &mut self,
        service: Service,
        transport: Transport,
        socket: u16,
        local: SocketAddr,
    ) {
        self.listeners.push(Listener { service, transport, socket, local });
    }

    /// Takes a stream in. `false` if its source has too many already.
    //= IM X-13
    pub(crate) fn opened(&mut self, flow: FlowId, stream: Stream, per_source: usize) -> bool {
        if stream.accepted {
            let count = self.accepted_from.entry(stream.peer.ip()).or_insert(0);
            if *count >= per_source {
                return false;
            }
            *count = count.saturating_add(1);
        }
        self.streams.insert(flow, stream);
        true
    }

    pub(crate) fn closed(&mut self, flow: FlowId) -> Option<Stream> {
        let stream = self.streams.remove(&flow)?;
        if stream.accepted
            && let Some(count) = self.accepted_from.get_mut(&stream.peer.ip())
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.accepted_from.remove(&stream.peer.ip());
            }
        }
        Some(stream)
    }

    pub(crate) fn stream(&mut self, flow: FlowId) -> Option<&mut Stream> {
        self.streams.get_mut(&flow)
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether octets may be sent there.
    pub(crate) fn is_usable(&self, flow: FlowId) -> bool {
        match flow {
            FlowId::Udp { socket, .. } => self.udp(socket).is_some(),
            FlowId::Stream(_) => self.streams.contains_key(&flow),
        }
    }

    pub(crate) fn transport(&self, flow: FlowId) -> Transport {
        match flow {
            FlowId::Udp { .. } => Transport::Udp,
            FlowId::Stream(_) => self.streams.get(&flow).map_or(Transport::Tcp, |stream| stream.transport),
        }
    }

    pub(crate) fn peer(&self, flow: FlowId) -> Option<SocketAddr> {
        match flow {
            FlowId::Udp { peer, .. } => Some(peer),
            FlowId::Stream(_) => self.streams.get(&flow).map(|stream| stream.peer),
        }
    }

    /// Our own end of a flow.
    pub(crate) fn local(&self, flow: FlowId) -> Option<SocketAddr> {
        match flow {
            FlowId::Udp { socket, .. } => self.udp(socket).map(|listener| listener.local),
            FlowId::Stream(_) => self.streams.get(&flow).and_then(|stream| stream.local),
        }
    }

    /// Where the peer of a flow reaches us with a new request: our listener of the same transport if there is one,
    /// else our end of the flow.
    pub(crate) fn reachable(&self, flow: FlowId) -> Option<SocketAddr> {
        let local = self.local(flow)?;
        let transport = self.transport(flow);
        let port = self
            .listeners
            .iter()
            .find(|listener| {
                listener.service == Service::Sip
                    && listener.transport == transport
                    && same_family(listener.local, local)
            })
            .map_or(local.port(), |listener| listener.local.port());
        Some(SocketAddr::new(local.ip(), port))
    }

    /// The port of our MSRP listener, with or without TLS, that takes connections to `address`.
    pub(crate) fn msrp_port(&self, address: IpAddr, tls: bool) -> Option<u16> {
        let transport = if tls { Transport::Tls } else { Transport::Tcp };
        self.listeners
            .iter()
            .find(|listener| {
                listener.service == Service::Msrp
                    && listener.transport == transport
                    && listener.local.is_ipv4() == address.is_ipv4()
            })
            .map(|listener| listener.local.port())
    }

    /// Whether a flow belongs to the core: it is one of the registered TLS flows, or its address is listed.
    //= IM R-34
    //= IM X-1
    pub(crate) fn trust(
        &self,
        flow: FlowId,
        hops: &[Hop],
        mut registered: impl Iterator<Item = FlowId>,
    ) -> Option<TrustedCore> {
        let peer = self.peer(flow)?.ip();
        let listed = covered(hops, peer);
        let verified = self.streams.get(&flow).is_some_and(|stream| stream.is_verified() && !stream.accepted);
        (listed || (verified && registered.any(|own| own == flow))).then_some(TrustedCore(()))
    }

    /// Whether TLS has proven who is at the other end: never of a peer that opened the stream, whom we ask for no
    /// certificate (RFC 5922 7.4 leaves that to us; few clients have one).
    pub(crate) fn is_authenticated(&self, flow: FlowId) -> bool {
        self.streams.get(&flow).is_some_and(Stream::is_verified)
    }

    /// A number for a name look-up.
    pub(crate) fn query(&mut self) -> QueryId {
        self.given_queries = self.given_queries.saturating_add(1);
        QueryId(self.given_queries)
    }

    /// The flow to one of the addresses of a next hop: an open one, or a new one, whose [`Target`] is returned too.
    pub(crate) fn toward(&mut self, hop: &Proxy, addresses: &[IpAddr]) -> Option<(FlowId, Option<Target>)> {
        let port = hop.port.unwrap_or(if hop.transport == Transport::Tls { 5061 } else { 5060 });
        if hop.transport == Transport::Udp {
            return addresses.iter().find_map(|address| {
                let peer = SocketAddr::new(*address, port);
                let socket = self.udp_for(peer)?;
                Some((FlowId::Udp { socket, peer }, None))
            });
        }
        let turns: Vec<_> =
            in_turn(addresses, MOST_ADDRESSES).into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        let (peer, others) = turns.split_first()?;
        // RFC 5922 7.3: a TLS stream serves the name that it was opened for, which is not kept: only plain streams
        // are shared.
        let open = self.streams.iter().find(|(_, stream)| {
            hop.transport == Transport::Tcp
                && stream.transport == Transport::Tcp
                && stream.service == Service::Sip
                && turns.contains(&stream.peer)
        });
        if let Some((flow, _)) = open {
            return Some((*flow, None));
        }
        self.given_streams = self.given_streams.saturating_add(1);
        let flow = FlowId::Stream(FIRST_SIP_STREAM | self.given_streams);
        let tls = (hop.transport == Transport::Tls).then(|| TlsExpect {
            name: hop.host.clone(),
            must_verify: true,
            present_certificate: false,
        });
        Some((
            flow,
            Some(Target {
                service: Service::Sip,
                transport: hop.transport,
                address: *peer,
                others: others.to_vec(),
                tls,
                websocket: None,
            }),
        ))
    }

    /// Whether one of our listeners has this address.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.listeners.iter().any(|listener| listener.local.ip().to_canonical() == address)
    }

    fn udp(&self, socket: u16) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| listener.transport == Transport::Udp && listener.socket == socket)
    }

    fn udp_for(&self, peer: SocketAddr) -> Option<u16> {
        self.listeners
            .iter()
            .find(|listener| listener.transport == Transport::Udp && same_family(listener.local, peer))
            .map(|listener| listener.socket)
    }
}

/// The address of a host that is one already.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

fn same_family(a: SocketAddr, b: SocketAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// Whether one of these is that address.
pub(crate) fn covered(hops: &[Hop], address: IpAddr) -> bool {
    hops.iter().any(|hop| covers(hop, address))
}

fn covers(hop: &Hop, address: IpAddr) -> bool {
    fn bits(address: IpAddr) -> (u128, u32) {
        match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        }
    }
    let (prefix, family) = bits(hop.address);
    let (whole, other) = bits(address);
    let length = u32::from(hop.bits).min(family);
    // A shift by 128 has no value in Rust: a prefix of no bits covers all.
    family == other && (prefix ^ whole).checked_shr(128_u32.saturating_sub(length)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    //= IM R-34 test
    fn a_prefix_covers_its_addresses_only() {
        let hop = |address: &str, bits| Hop { address: address.parse().unwrap(), bits };
        let at = |address: &str| address.parse::<IpAddr>().unwrap();
        assert!(covers(&hop("192.0.2.0", 24), at("192.0.2.200")));
        assert!(!covers(&hop("192.0.2.0", 24), at("192.0.3.1")));
        assert!(covers(&hop("192.0.2.7", 32), at("192.0.2.7")));
        assert!(!covers(&hop("192.0.2.7", 32), at("192.0.2.6")));
        assert!(covers(&hop("0.0.0.0", 0), at("203.0.113.9")));
        assert!(!covers(&hop("0.0.0.0", 0), at("2001:db8::1")));
        assert!(covers(&hop("2001:db8::", 32), at("2001:db8:1::1")));
        assert!(covers(&hop("127.0.0.1", 32), at("::ffff:127.0.0.1")));
    }
}
