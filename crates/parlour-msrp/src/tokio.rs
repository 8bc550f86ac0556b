//! A driver on tokio: sockets, time and storage for an [`Endpoint`], behind the feature `tokio`.
//!
//! [`Driver`] holds the endpoint. Give it connections to accept ([`listen`](Driver::listen),
//! [`attach`](Driver::attach)) and sessions ([`open`](Driver::open)), then ask it for what happens
//! ([`next`](Driver::next)). Nothing is read from a socket while nobody asks: back-pressure reaches the peer.
//!
//! ```
//! use parlour_msrp::{Event, Limits, Outgoing, Role, SessionSpec, Verdict, accept::AcceptTypes, tokio::Driver};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! // SDP brings each end the path of the other one.
//! let theirs = format!("msrp://{}/9di4eae923wzd;tcp", listener.local_addr()?);
//! let ours = "msrp://127.0.0.1:9/iau39soe2843z;tcp";
//! let spec = |local: &str, peer: &str, role| -> Result<_, parlour_msrp::uri::UriFault> {
//!     Ok(SessionSpec::new(local.parse()?, peer.parse()?, role, AcceptTypes::parse("text/plain", None)))
//! };
//!
//! let mut bob = Driver::new(Limits::default(), [2; 32]); // 32 random octets, in earnest
//! bob.listen(listener);
//! bob.open(spec(&theirs, ours, Role::Passive)?);
//! let bob = tokio::spawn(async move {
//!     loop {
//!         if let Event::Message { receipt, body, .. } = bob.next().await {
//!             bob.settle(receipt, Verdict::Accepted);
//!             bob.shutdown().await;
//!             return body;
//!         }
//!     }
//! });
//!
//! let mut alice = Driver::new(Limits::default(), [1; 32]);
//! let session = alice.open(spec(ours, &theirs, Role::Active)?);
//! alice.send(session, Outgoing::new("12339sdqwer", "text/plain", "Hi, Bob!"))?;
//! while !matches!(alice.next().await, Event::Acknowledged { .. }) {}
//! assert_eq!(bob.await?, parlour_msrp::Body::Inline(b"Hi, Bob!".to_vec()));
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::sync::{mpsc, watch};
use ::tokio::task::JoinSet;
use ::tokio::time::{Instant as Clock, timeout, timeout_at};

use crate::random::Random;
use crate::time::Instant;
use crate::uri::MsrpUri;
use crate::{
    Body, ConnectionId, Endpoint, Event, Input, Limits, Outgoing, Output, Receipt, Remote, SendError,
    SessionId, SessionSpec, SpoolId, Verdict,
};

mod line;
mod storage;

pub use storage::{Files, NoStorage, Sources, Storage};

/// A stream of octets: a TCP connection, TLS over it, or a pipe in a test.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What a [`connector`](Driver::connector) returns.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Connected>> + Send>>;

/// A connection that stands.
#[non_exhaustive]
pub struct Connected {
    /// Its octets, decrypted.
    pub stream: Box<dyn Stream>,
    /// The address at its other end.
    pub peer: SocketAddr,
    /// `None` without TLS; with it, the names that [`Trust`](crate::Trust) may know the other end by, if any. Without TLS a
    /// session with `msrps` fails.
    pub tls: Option<Vec<Box<str>>>,
}

impl Connected {
    /// A connection without TLS.
    pub fn plain(stream: impl Stream + 'static, peer: SocketAddr) -> Connected {
        Connected { stream: Box::new(stream), peer, tls: None }
    }

    /// A connection over TLS. The connector has made sure that it leads to the host of the URI, or tells the names by which
    /// sessions make sure of that: fingerprints, say.
    pub fn secure(stream: impl Stream + 'static, peer: SocketAddr, names: Vec<Box<str>>) -> Connected {
        Connected { stream: Box::new(stream), peer, tls: Some(names) }
    }
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Connected { stream: _, peer, tls } = self;
        f.debug_struct("Connected").field("peer", peer).field("tls", tls).finish_non_exhaustive()
    }
}

/// Octets that may wait to be written to one connection.
const ROOM: usize = 256 * 1024;

/// How long a connection may take to be made (RFC 4975 gives no time).
const CONNECT: Duration = Duration::from_secs(10);

/// How long [`Driver::shutdown`] waits for what is to be written.
const FLUSH: Duration = Duration::from_secs(5);

/// What connections and the storage have to tell. The queue is short, so whoever is not asked for events reads nothing.
const INBOX: usize = 64;

/// An [`Endpoint`] with its sockets, clock and storage.
///
/// Dropping it drops its connections; [`shutdown`](Driver::shutdown) lets them finish first.
pub struct Driver {
    endpoint: Endpoint,
    /// The instant that is zero for the endpoint.
    epoch: Clock,
    deadline: Option<Clock>,
    lines: BTreeMap<ConnectionId, Line>,
    /// One task for each line. All tasks end when the driver is dropped.
    running: JoinSet<()>,
    /// What waits for connections: to come, or to be made.
    waiting: JoinSet<()>,
    accepted: u64,
    sessions: BTreeSet<SessionId>,
    /// The largest message that there is a place for.
    largest: u64,
    inbox: mpsc::Receiver<Told>,
    /// What tasks are given to tell by.
    tell: mpsc::Sender<Told>,
    depot: storage::Depot,
    spools: BTreeMap<SpoolId, Spooling>,
    events: VecDeque<Event>,
    connector: Box<dyn FnMut(MsrpUri) -> Connecting + Send>,
}

/// The driver's end of a connection.
struct Line {
    out: mpsc::UnboundedSender<Vec<u8>>,
    held: watch::Sender<bool>,
    /// Octets that are on their way to the socket.
    waiting: usize,
}

/// Octets of one spool.
#[derive(Default)]
struct Spooling {
    handed: u64,
    written: u64,
    /// Whether some could not be written: the message is refused.
    broken: bool,
    end: End,
}

/// Whether the storage knows that a spool is whole.
#[derive(Default)]
enum End {
    #[default]
    Open,
    /// It was told, and closes it.
    Closing,
    Closed,
}

/// What a task has to tell.
enum Told {
    Accepted(Connected),
    Connected(ConnectionId, Connected),
    Octets(ConnectionId, Vec<u8>),
    Written(ConnectionId, usize),
    Gone(ConnectionId),
    Spooled { spool: SpoolId, upto: u64, good: bool },
    Finished { spool: SpoolId, good: bool },
    Fetched { source: crate::SourceId, offset: u64, octets: Vec<u8> },
}

impl Driver {
    /// A driver that keeps messages in memory and takes none above [`Limits::inline_body`]. The seed is 32 random octets
    /// of the operating system.
    pub fn new(limits: Limits, seed: [u8; 32]) -> Driver {
        let largest = u64::try_from(limits.inline_body).unwrap_or(u64::MAX);
        Driver { largest, ..Driver::with_storage(limits, seed, NoStorage) }
    }

    /// A driver that keeps messages above [`Limits::inline_body`] in a storage, and can send what lies there.
    pub fn with_storage(limits: Limits, seed: [u8; 32], storage: impl Storage) -> Driver {
        let (tell, inbox) = mpsc::channel(INBOX);
        Driver {
            endpoint: Endpoint::new(limits, Random::new(seed)),
            epoch: Clock::now(),
            deadline: None,
            lines: BTreeMap::new(),
            running: JoinSet::new(),
            waiting: JoinSet::new(),
            accepted: 0,
            sessions: BTreeSet::new(),
            largest: u64::MAX,
            inbox,
            depot: storage::Depot::new(storage, tell.clone()),
            tell,
            spools: BTreeMap::new(),
            events: VecDeque::new(),
            connector: Box::new(|to| Box::pin(connect_tcp(to))),
        }
    }

    /// Replaces what makes connections, to peers and to relays: by default TCP to the URI's host and port, each of its
    /// addresses in turn, while `msrps` is refused, since this crate brings no TLS. Relays are looked up by SRV where their
    /// URI has no port ([`Output::ConnectRelay`]); the default takes 2855 then.
    #[must_use]
    pub fn connector(mut self, connector: impl FnMut(MsrpUri) -> Connecting + Send + 'static) -> Driver {
        self.connector = Box::new(connector);
        self
    }

    /// Takes all connections that come to a listener, as long as the driver lives.
    pub fn listen(&mut self, listener: TcpListener) {
        let tell = self.tell.clone();
        self.waiting.spawn(async move {
            loop {
                let told = match listener.accept().await {
                    Ok((stream, peer)) => {
                        // Small messages must not wait for each other; a socket without the option works too.
                        _ = stream.set_nodelay(true);
                        Told::Accepted(Connected::plain(stream, peer))
                    }
                    // The process has no more files, say: the next try may do better.
                    Err(_) => {
                        ::tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                if tell.send(told).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Takes a connection that was accepted elsewhere. It needs a session of its own within [`Limits::unbound`]. `tls` is
    /// `None` without TLS; with it, the names that [`Trust`](crate::Trust) may know the other end by, if any.
    pub fn attach(
        &mut self,
        stream: impl Stream + 'static,
        peer: SocketAddr,
        tls: Option<Vec<Box<str>>>,
    ) -> ConnectionId {
        self.accepted = self.accepted.wrapping_add(1);
        let connection = ConnectionId(self.accepted);
        self.add_line(connection, Connected { stream: Box::new(stream), peer, tls });
        connection
    }

    /// As [`Endpoint::open`]: a session of which both ends are known, once offer and answer are here.
    pub fn open(&mut self, spec: SessionSpec) -> SessionId {
        self.begin(spec, Endpoint::open)
    }

    /// As [`Endpoint::expect`]: our end of an offer that lets the peer connect, which may do so before its answer is here.
    pub fn expect(&mut self, spec: SessionSpec) -> SessionId {
        self.begin(spec, Endpoint::expect)
    }

    /// As [`Endpoint::agree`]: the answer to that offer is here.
    pub fn agree(&mut self, session: SessionId, remote: Remote) {
        self.verb(|endpoint, now| endpoint.agree(now, session, remote));
    }

    fn begin(
        &mut self,
        spec: SessionSpec,
        how: impl FnOnce(&mut Endpoint, Instant, SessionSpec) -> SessionId,
    ) -> SessionId {
        let largest = self.largest;
        let spec = spec.with(|spec| spec.max_size = spec.max_size.min(largest));
        let session = self.verb(|endpoint, now| how(endpoint, now, spec));
        self.sessions.insert(session);
        session
    }

    /// As [`Endpoint::send`].
    ///
    /// # Errors
    /// Why it is not taken; nothing is sent then.
    pub fn send(&mut self, session: SessionId, message: Outgoing) -> Result<(), SendError> {
        self.verb(|endpoint, now| endpoint.send(now, session, message))
    }

    /// As [`Endpoint::settle`]: each [`Event::Message`] asks for it.
    pub fn settle(&mut self, receipt: Receipt, verdict: Verdict) {
        self.verb(|endpoint, now| endpoint.settle(now, receipt, verdict));
    }

    /// As [`Endpoint::close`].
    pub fn close(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.verb(|endpoint, now| endpoint.close(now, session));
    }

    /// Any other verb of the endpoint: `driver.verb(|endpoint, now| endpoint.abort(now, session, "12339sdqwer"))`.
    /// What comes of it is carried out before this returns. Do not call `handle` or `poll` in it.
    pub fn verb<T>(&mut self, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
        let now = self.now();
        let result = act(&mut self.endpoint, now);
        self.drain();
        result
    }

    /// The endpoint, to be looked at.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next event. All reading, writing and waiting of the sessions goes on only while somebody waits
    /// here; the future may be dropped at any time, and nothing is lost.
    pub async fn next(&mut self) -> Event {
        loop {
            while self.running.try_join_next().or_else(|| self.waiting.try_join_next()).is_some() {}
            if let Some(event) = self.next_event() {
                return event;
            }
            let told = match self.deadline {
                Some(at) => timeout_at(at, self.inbox.recv()).await.ok().flatten(),
                None => self.inbox.recv().await,
            };
            match told {
                Some(told) => self.hear(told),
                None => self.tell_endpoint(Input::Tick),
            }
        }
    }

    /// Closes all sessions and waits, five seconds at most, until what waits to be written is written, to connections
    /// and to the storage, and each connection is closed.
    pub async fn shutdown(mut self) {
        for session in std::mem::take(&mut self.sessions) {
            self.close(session);
        }
        self.waiting.shutdown().await;
        // A line ends when nobody can give it anything any more.
        self.lines.clear();
        self.inbox.close();
        let written = async {
            while self.running.join_next().await.is_some() {}
            self.depot.finish().await;
        };
        _ = timeout(FLUSH, written).await;
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Accepted(Connected { stream, peer, tls }) => {
                self.attach(stream, peer, tls);
            }
            Told::Connected(connection, connected) => self.add_line(connection, connected),
            Told::Octets(connection, octets) => {
                self.tell_endpoint(Input::Received { connection, bytes: &octets });
            }
            Told::Written(connection, octets) => {
                let Some(line) = self.lines.get_mut(&connection) else { return };
                line.waiting = line.waiting.saturating_sub(octets);
                let room = ROOM.saturating_sub(line.waiting);
                self.tell_endpoint(Input::Writable { connection, room });
            }
            Told::Gone(connection) => {
                self.lines.remove(&connection);
                self.tell_endpoint(Input::Closed { connection });
            }
            Told::Spooled { spool, upto, good } => {
                if let Some(state) = self.spools.get_mut(&spool) {
                    (state.written, state.broken) = (upto, state.broken || !good);
                }
                self.tell_endpoint(Input::Spooled { spool, upto });
            }
            Told::Finished { spool, good } => {
                if let Some(state) = self.spools.get_mut(&spool) {
                    (state.end, state.broken) = (End::Closed, !good);
                }
            }
            Told::Fetched { source, offset, octets } => {
                self.tell_endpoint(Input::Fetched { source, offset, bytes: &octets });
            }
        }
    }

    fn tell_endpoint(&mut self, input: Input<'_>) {
        let now = self.now();
        self.endpoint.handle(now, input);
        self.drain();
    }

    /// A connection stands.
    fn add_line(&mut self, connection: ConnectionId, Connected { stream, peer, tls }: Connected) {
        let (out, octets) = mpsc::unbounded_channel();
        let (held, watched) = watch::channel(false);
        self.lines.insert(connection, Line { out, held, waiting: 0 });
        self.running.spawn(line::run(connection, stream, octets, watched, self.tell.clone()));
        self.tell_endpoint(Input::Connected { connection, peer, tls });
        self.tell_endpoint(Input::Writable { connection, room: ROOM });
    }

    /// Carries out all that the endpoint asks for.
    fn drain(&mut self) {
        loop {
            match self.endpoint.poll() {
                Output::Connect { connection, to, .. } | Output::ConnectRelay { connection, to, .. } => {
                    self.connect(connection, to);
                }
                Output::Send { connection, bytes } => {
                    if let Some(line) = self.lines.get_mut(&connection) {
                        line.waiting = line.waiting.saturating_add(bytes.len());
                        // A line that has ended says so itself.
                        _ = line.out.send(bytes);
                    }
                }
                Output::Hold { connection } => self.hold(connection, true),
                Output::Resume { connection } => self.hold(connection, false),
                Output::Close { connection } => drop(self.lines.remove(&connection)),
                Output::Spool { spool, offset, bytes } => {
                    let state = self.spools.entry(spool).or_default();
                    state.handed = state.handed.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
                    let job = storage::Job::Write { spool, offset, octets: bytes, upto: state.handed };
                    self.depot.give(job);
                }
                Output::Discard { spool } => {
                    self.spools.remove(&spool);
                    self.depot.give(storage::Job::Discard { spool });
                }
                Output::Fetch { source, offset, length } => {
                    self.depot.give(storage::Job::Read { source, offset, length });
                }
                Output::Event(event) => self.note(event),
                Output::Idle(deadline) => {
                    self.deadline = deadline.and_then(|at| self.epoch.checked_add(at - Instant::ZERO));
                    return;
                }
            }
        }
    }

    fn connect(&mut self, connection: ConnectionId, to: MsrpUri) {
        let (made, tell) = ((self.connector)(to), self.tell.clone());
        self.waiting.spawn(async move {
            let told = match timeout(CONNECT, made).await {
                Ok(Ok(connected)) => Told::Connected(connection, connected),
                Ok(Err(_)) | Err(_) => Told::Gone(connection),
            };
            _ = tell.send(told).await;
        });
    }

    fn hold(&mut self, connection: ConnectionId, held: bool) {
        if let Some(line) = self.lines.get(&connection) {
            line.held.send_replace(held);
        }
    }

    fn note(&mut self, event: Event) {
        if let Event::SessionFailed { session, .. } | Event::Succeeded { session, .. } = &event {
            self.sessions.remove(session);
        }
        self.events.push_back(event);
    }

    /// The next event that may be told. A message in a spool waits until all of it is written and closed, and those behind
    /// it wait too; if it cannot be written it is refused.
    fn next_event(&mut self) -> Option<Event> {
        while let Some(event) = self.events.front() {
            let Event::Message { receipt, body: Body::Spooled { spool, .. }, .. } = event else { break };
            let (receipt, spool) = (*receipt, *spool);
            let Some(state) = self.spools.get_mut(&spool) else { break };
            match state.end {
                _ if state.written < state.handed => return None,
                End::Open if !state.broken => {
                    state.end = End::Closing;
                    self.depot.give(storage::Job::Finish { spool });
                    return None;
                }
                End::Closing => return None,
                End::Open | End::Closed => {}
            }
            let broken = state.broken;
            self.spools.remove(&spool);
            if !broken {
                break;
            }
            self.events.pop_front();
            self.depot.give(storage::Job::Discard { spool });
            self.settle(receipt, Verdict::Refused(413));
        }
        self.events.pop_front()
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("load", &self.endpoint.load()).finish_non_exhaustive()
    }
}

/// TCP to the host and port of a URI. RFC 4975 6: the default port is 2855.
async fn connect_tcp(to: MsrpUri) -> io::Result<Connected> {
    if to.is_secure() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "msrps needs a connector that speaks TLS"));
    }
    let stream = TcpStream::connect((to.host(), to.port().unwrap_or(2855))).await?;
    _ = stream.set_nodelay(true);
    let peer = stream.peer_addr()?;
    Ok(Connected::plain(stream, peer))
}
