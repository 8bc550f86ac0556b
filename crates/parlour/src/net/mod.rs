//! Sockets, driven by one task: whatever is ready is read into the caller's buffer and handed on as it is.

mod bell;
pub(crate) mod certificate;
pub(crate) mod dns;
pub(crate) mod identity;
mod listen;
mod quota;
mod race;
mod tcp;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod udp;
mod ws;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use parlour_proto::io::{CloseReason, FlowId, Input, Security, Service, Target, Transport};
use tokio::net::TcpStream;

pub(crate) use bell::{Rung, Token};
pub(crate) use listen::{Listen, ListenFault, host_port, transport_prefix};

use bell::Bells;
use listen::Listener;
use quota::Quota;
use tcp::{Heard, Opened, Opening, Stream, Wire};
use tls::Tls;
use udp::Udp;

/// How long a TCP connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// how long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a listener rests when no connection can be accepted (no descriptors left, say).
const REST: Duration = Duration::from_millis(200);

/// Sees all octets that leave: by which transport, from where, to where.
pub(crate) type Tap = Box<dyn FnMut(Service, SocketAddr, SocketAddr, &[u8]) + Send>;

/// All sockets of one client.
pub(crate) struct Net {
    bells: Bells,
    tls: Tls,
    udp: Vec<Udp>,
    listeners: Vec<Listener>,
    streams: BTreeMap<u64, Stream>,
    quota: Quota,
    /// Ways on which a datagram could not leave: to be told to the client.
    unsent: Vec<FlowId>,
    /// The number of the next stream that is accepted; the client's own have the top bit set.
    next: u64,
    /// Streams with something to write, or room to tell.
    dirty: Vec<u64>,
    /// Listeners that rest until then.
    resting: Vec<(Instant, usize)>,
    /// Streams whose deadlines are to be watched: stalled, or lingering.
    watched: Vec<u64>,
    tap: Option<Tap>,
    /// Both ends of each stream, for the tap.
    ends: BTreeMap<u64, (SocketAddr, SocketAddr)>,
}

impl Net {
    /// No socket yet. The receiver tells whose turn it is: give each token to [`Net::hear`] or [`Net::go_on`].
    /// `per_source` connections are accepted from one address at once.
    pub(crate) fn new(tls: Tls, per_source: usize, tap: Option<Tap>) -> (Net, Rung) {
        let (bells, rung) = Bells::new();
        let net = Net {
            bells,
            tls,
            udp: Vec::new(),
            listeners: Vec::new(),
            streams: BTreeMap::new(),
            quota: Quota::new(per_source),
            unsent: Vec::new(),
            next: 1,
            dirty: Vec::new(),
            resting: Vec::new(),
            watched: Vec::new(),
            tap,
            ends: BTreeMap::new(),
        };
        (net, rung)
    }

    /// Listens; says what to tell the client.
    pub(crate) fn listen(&mut self, at: &Listen) -> Result<Input<'static>, ListenFault> {
        let address = at.resolve()?;
        let fault = |error| ListenFault::Bind { at: at.clone(), error };
        let Listen { service, transport, .. } = *at;
        let (socket, local) = match transport {
            Transport::Udp => {
                let number = u16::try_from(self.udp.len()).unwrap_or(u16::MAX);
                let readable = self.bells.waker(Token::Datagrams(number));
                let udp =
                    Udp::bind(address, readable, self.bells.waker(Token::Backlog(number))).map_err(fault)?;
                let local = udp.local().map_err(fault)?;
                self.udp.push(udp);
                self.bells.ring(Token::Datagrams(number));
                // A datagram does not say which of our addresses it came to.
                (number, SocketAddr::new(listen::concrete(local.ip()), local.port()))
            }
            Transport::Tcp | Transport::Tls => {
                let acceptor = match transport {
                    Transport::Tls => Some(self.tls.acceptor(service)?),
                    Transport::Tcp | Transport::Udp => None,
                };
                let token = Token::Accept(self.listeners.len());
                let listener =
                    Listener::bind(address, service, acceptor, self.bells.waker(token)).map_err(fault)?;
                let local = listener.local().map_err(fault)?;
                self.listeners.push(listener);
                self.bells.ring(token);
                (0, local)
            }
        };
        tracing::info!(?service, ?transport, %local, "listening");
        Ok(Input::Listening { service, transport, socket, local })
    }

    /// What a token brings, one input at a time; `None` when there is no more.
    pub(crate) fn hear<'b>(&mut self, token: Token, buffer: &'b mut [u8]) -> Option<Input<'b>> {
        match token {
            Token::Datagrams(socket) => {
                let (peer, length) = self.udp.get(usize::from(socket))?.receive(buffer)?;
                Some(Input::Received { flow: FlowId::Udp { socket, peer }, bytes: buffer.get(..length)? })
            }
            Token::Read(number) => {
                let heard = self.streams.get_mut(&number)?.hear(buffer)?;
                let flow = FlowId::Stream(number);
                match heard {
                    Heard::Octets(length) => Some(Input::Received { flow, bytes: buffer.get(..length)? }),
                    Heard::Opened { local, peer, security } => {
                        let service = self.streams.get(&number)?.service;
                        self.ends.insert(number, (local, peer));
                        self.dirty.push(number);
                        Some(Input::Opened { flow, service, local, peer, security })
                    }
                    Heard::Closed(why) => Some(self.forget(number, why)),
                }
            }
            Token::Accept(_) | Token::Backlog(_) | Token::Write(_) => None,
        }
    }

    /// Goes on with what brings no input by itself.
    pub(crate) fn go_on(&mut self, token: Token) {
        match token {
            Token::Backlog(socket) => {
                if let Some(udp) = self.udp.get_mut(usize::from(socket)) {
                    let unsent = &mut self.unsent;
                    udp.go_on(|peer| unsent.push(FlowId::Udp { socket, peer }));
                }
            }
            Token::Write(number) => self.dirty.push(number),
            Token::Accept(number) => self.accept(number),
            Token::Datagrams(_) | Token::Read(_) => {}
        }
    }

    /// Puts a token back, to be served after all others.
    pub(crate) fn again(&self, token: Token) {
        self.bells.ring(token);
    }

    /// What a token's socket is for, if it is a stream.
    pub(crate) fn service(&self, token: Token) -> Option<Service> {
        match token {
            Token::Read(number) => self.streams.get(&number).map(|stream| stream.service),
            Token::Datagrams(_) | Token::Backlog(_) | Token::Accept(_) | Token::Write(_) => None,
        }
    }

    pub(crate) fn send(&mut self, flow: FlowId, bytes: Vec<u8>) {
        match flow {
            FlowId::Udp { socket, peer } => {
                let Some(udp) = self.udp.get_mut(usize::from(socket)) else { return };
                if let Some(tap) = &mut self.tap
                    && let Ok(local) = udp.local()
                {
                    tap(Service::Sip, local, peer, &bytes);
                }
                if !udp.send(peer, bytes) {
                    self.unsent.push(flow);
                }
            }
            FlowId::Stream(number) => {
                let Some(stream) = self.streams.get_mut(&number) else { return };
                if let (Some(tap), Some((local, peer))) = (&mut self.tap, self.ends.get(&number)) {
                    tap(stream.service, *local, *peer, &bytes);
                }
                stream.push(bytes);
                self.dirty.push(number);
            }
        }
    }

    /// Opens a stream; [`Net::hear`] tells how it went.
    pub(crate) fn open(&mut self, flow: FlowId, to: Target) {
        let FlowId::Stream(number) = flow else { return };
        let service = to.service;
        let client = to.tls.as_ref().map(|expect| self.tls.client(service, expect)).transpose();
        let opening: Opening = match client {
            Ok(client) => Box::pin(connect(to, client)),
            Err(error) => {
                tracing::error!(%error, "TLS does not work");
                Box::pin(std::future::ready(Err(CloseReason::Tls)))
            }
        };
        self.insert(number, service, opening);
    }

    pub(crate) fn hold(&mut self, flow: FlowId) {
        if let Some(stream) = self.stream(flow) {
            stream.hold();
        }
    }

    pub(crate) fn resume(&mut self, flow: FlowId) {
        if let Some(stream) = self.stream(flow) {
            stream.resume();
        }
    }

    pub(crate) fn close(&mut self, flow: FlowId) {
        let Some(stream) = self.stream(flow) else { return };
        stream.close();
        if let FlowId::Stream(number) = flow {
            self.dirty.push(number);
        }
    }

    /// Writes what is queued, all streams one after the other; says what to tell the client.
    pub(crate) fn flush(&mut self, now: Instant, news: &mut Vec<Input<'static>>) {
        let unsent = self.unsent.drain(..);
        news.extend(unsent.map(|flow| Input::Closed { flow, why: CloseReason::Error }));
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        for number in dirty.drain(..) {
            let Some(stream) = self.streams.get_mut(&number) else { continue };
            let flow = FlowId::Stream(number);
            match stream.flush(now) {
                Err(why) => {
                    let closed = self.forget(number, why);
                    news.push(closed);
                }
                Ok(()) => {
                    if stream.deadline().is_some() && !self.watched.contains(&number) {
                        self.watched.push(number);
                    }
                    news.extend(stream.news_of_room().map(|room| Input::Writable { flow, room }));
                }
            }
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Whether [`Net::flush`] has something to do.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.unsent.is_empty()
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether all that was sent is with the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.streams.values().all(Stream::is_flushed)
    }

    /// When [`Net::watch`] is to be called, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let streams = self.watched.iter().filter_map(|number| self.streams.get(number)?.deadline());
        streams.chain(self.resting.iter().map(|(until, _)| *until)).min()
    }

    /// Gives up streams whose peers do not read, and wakes listeners that rested.
    pub(crate) fn watch(&mut self, now: Instant, news: &mut Vec<Input<'static>>) {
        let watched = std::mem::take(&mut self.watched);
        for number in watched {
            let Some(stream) = self.streams.get(&number) else { continue };
            if let Some(why) = stream.is_over(now) {
                if why == CloseReason::Error {
                    tracing::warn!(flow = number, "closed: the peer did not read for 30 s");
                }
                let closed = self.forget(number, why);
                news.push(closed);
            } else if stream.deadline().is_some() {
                self.watched.push(number);
            }
        }
        let bells = self.bells.clone();
        self.resting.retain(|(until, listener)| {
            let rested = now >= *until;
            if rested {
                bells.ring(Token::Accept(*listener));
            }
            !rested
        });
    }

    fn accept(&mut self, number: usize) {
        // A few at a time, so that a flood of connections does not starve those that stand.
        for _ in 0..16 {
            let Some(listener) = self.listeners.get_mut(number) else { return };
            let service = listener.service;
            match listener.accept() {
                None => return,
                Some(Ok((stream, peer))) => {
                    let flow = self.next;
                    self.next = self.next.saturating_add(1);
                    if !self.quota.admit(flow, peer.ip().to_canonical()) {
                        tracing::debug!(%peer, "closed: streams_per_source are open from this address");
                        continue;
                    }
                    tcp::tune(&stream);
                    let opening = accepted(service, stream, peer, listener.acceptor.clone());
                    self.insert(flow, service, Box::pin(opening));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.resting.push((Instant::now() + REST, number));
                    return;
                }
            }
        }
        self.bells.ring(Token::Accept(number));
    }

    fn insert(&mut self, number: u64, service: Service, opening: Opening) {
        let readable = self.bells.waker(Token::Read(number));
        let writable = self.bells.waker(Token::Write(number));
        self.streams.insert(number, Stream::new(service, opening, readable, writable));
        self.bells.ring(Token::Read(number));
    }

    fn forget(&mut self, number: u64, why: CloseReason) -> Input<'static> {
        self.streams.remove(&number);
        self.quota.release(number);
        self.ends.remove(&number);
        Input::Closed { flow: FlowId::Stream(number), why }
    }

    fn stream(&mut self, flow: FlowId) -> Option<&mut Stream> {
        match flow {
            FlowId::Stream(number) => self.streams.get_mut(&number),
            FlowId::Udp { .. } => None,
        }
    }
}

/// The address from which the kernel would send to `peer`.
pub(crate) fn route_to(peer: IpAddr) -> Option<IpAddr> {
    listen::route_to(peer)
}

async fn connect(to: Target, client: Option<tls::Client>) -> Result<Opened, CloseReason> {
    let addresses = std::iter::once(to.address).chain(to.others.iter().copied());
    let (stream, peer) = match tokio::time::timeout(CONNECT, race::connect(addresses)).await {
        Ok(Ok(first)) => first,
        Ok(Err(error)) => {
            tracing::info!(peer = %to.address, %error, "no connection");
            return Err(CloseReason::Connect);
        }
        Err(_) => {
            tracing::info!(peer = %to.address, "no connection within 10 s");
            return Err(CloseReason::Connect);
        }
    };
    tcp::tune(&stream);
    let local = stream.local_addr().map_err(|_| CloseReason::Connect)?;
    let (Some(client), Some(expect)) = (client, to.tls) else {
        let wire = match &to.websocket {
            None => Wire::Plain(stream),
            Some(authority) => web_socket(Box::new(stream), false, authority, peer).await?,
        };
        return Ok(Opened { wire, local, peer, security: Security::Plain });
    };
    let wanted = expect.name;
    let name = tls::server_name(&wanted).ok_or(CloseReason::Tls)?;
    match tokio::time::timeout(HANDSHAKE, client.connector.connect(name.clone(), stream)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let verified = expect.must_verify || client.vouches(chain, &name);
            let security = Security::Tls { verified, certificate: shown(to.service, chain) };
            let wire = match &to.websocket {
                None => Wire::Tls(Box::new(stream.into())),
                Some(authority) => web_socket(Box::new(stream), true, authority, peer).await?,
            };
            Ok(Opened { wire, local, peer, security })
        }
        Ok(Err(error)) => {
            tracing::warn!(%peer, name = %wanted, %error, "TLS failed: nothing was sent");
            Err(CloseReason::Tls)
        }
        Err(_) => {
            tracing::warn!(%peer, "no TLS handshake within 10 s");
            Err(CloseReason::Tls)
        }
    }
}

/// The handshake of MSRP over WebSocket.
async fn web_socket(
    below: Box<dyn ws::Below>,
    secure: bool,
    authority: &str,
    peer: SocketAddr,
) -> Result<Wire, CloseReason> {
    match tokio::time::timeout(HANDSHAKE, ws::Socket::connect(below, secure, authority)).await {
        Ok(Ok(socket)) => Ok(Wire::WebSocket(Box::new(socket))),
        Ok(Err(error)) => {
            tracing::warn!(%peer, authority, %error, "no WebSocket for MSRP there");
            Err(CloseReason::Connect)
        }
        Err(_) => {
            tracing::warn!(%peer, authority, "no WebSocket handshake within 10 s");
            Err(CloseReason::Connect)
        }
    }
}

async fn accepted(
    service: Service,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
) -> Result<Opened, CloseReason> {
    let local = stream.local_addr().map_err(|_| CloseReason::Error)?;
    let Some(acceptor) = acceptor else {
        return Ok(Opened { wire: Wire::Plain(stream), local, peer, security: Security::Plain });
    };
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let security = Security::Tls { verified: false, certificate: shown(service, chain) };
            let wire = Wire::Tls(Box::new(stream.into()));
            Ok(Opened { wire, local, peer, security })
        }
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "an accepted connection did not come to TLS");
            Err(CloseReason::Tls)
        }
        Err(_) => Err(CloseReason::Tls),
    }
}

/// The certificate of the other end itself, for who judges by it.
fn shown(service: Service, chain: &[rustls::pki_types::CertificateDer<'_>]) -> Option<Box<[u8]>> {
    chain.first().filter(|_| service == Service::Msrp).map(|own| own.as_ref().into())
}
