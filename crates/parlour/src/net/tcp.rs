//! A stream: TCP or TLS, written from a queue of its own, read only while nobody holds it.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parlour_proto::io::{CloseReason, Security, Service};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::ws::Socket;

/// Octets that the client may hand us for one stream before the peer reads them; the kernel keeps as many unsent. So a
/// REPORT never waits behind more than this twice.
pub(super) const WINDOW: usize = 256 * 1024;
/// A stream whose peer lets more than this pile up is closed: only replies can grow beyond the window.
const OVERFLOW: usize = 8 * 1024 * 1024;
/// Pieces up to this size are joined into one.
const SMALL: usize = 4 * 1024;
/// How far small pieces are joined.
const JOINED: usize = 64 * 1024;
/// how long a peer may refuse to read what we write.
const STALLED: Duration = Duration::from_secs(30);
/// A stream on which nothing is said for so long is probed, so that no NAT or firewall on its way forgets it: many do
/// after five minutes, and the system would wait for hours.
const SILENT: Duration = Duration::from_secs(60);
/// How often a peer that does not answer is probed again, and when it is given up.
const PROBES: Duration = Duration::from_secs(20);
const UNHEARD: u32 = 4;
/// How long a closed stream waits for the peer's FIN, so that our last octets are not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);

/// How a stream is opened: connecting, TLS handshake and their time-outs.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Opened, CloseReason>> + Send>>;

/// A stream that stands.
pub(super) struct Opened {
    pub(super) wire: Wire,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) security: Security,
}

/// The octets' way.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<Socket>),
}

pub(super) struct Stream {
    pub(super) service: Service,
    state: State,
    held: bool,
    /// Somebody rang to read while the stream was held.
    hungry: bool,
    queue: VecDeque<Vec<u8>>,
    /// Octets of the queue's first piece that are written.
    written: usize,
    queued: usize,
    /// The room that the client reckons with.
    told: usize,
    stalled: Option<Instant>,
    closing: bool,
    readable: Waker,
    writable: Waker,
}

enum State {
    Opening(Opening),
    Open(Wire),
    /// We have sent our FIN and wait for the peer's.
    Lingering(Wire, Instant),
}

/// What reading brought.
pub(super) enum Heard {
    /// The stream stands now.
    Opened { local: SocketAddr, peer: SocketAddr, security: Security },
    /// So many octets.
    Octets(usize),
    /// The stream is over.
    Closed(CloseReason),
}

impl Stream {
    pub(super) fn new(service: Service, opening: Opening, readable: Waker, writable: Waker) -> Stream {
        Stream {
            service,
            state: State::Opening(opening),
            held: false,
            hungry: false,
            queue: VecDeque::new(),
            written: 0,
            queued: 0,
            told: 0,
            stalled: None,
            closing: false,
            readable,
            writable,
        }
    }

    /// Goes on opening or reading; `None` when there is nothing now, and the bell rings when there is.
    pub(super) fn hear(&mut self, buffer: &mut [u8]) -> Option<Heard> {
        let mut context = Context::from_waker(&self.readable);
        match &mut self.state {
            State::Opening(opening) => match opening.as_mut().poll(&mut context) {
                Poll::Pending => None,
                Poll::Ready(Err(why)) => Some(Heard::Closed(why)),
                Poll::Ready(Ok(Opened { wire, local, peer, security })) => {
                    self.state = State::Open(wire);
                    Some(Heard::Opened { local, peer, security })
                }
            },
            State::Open(_) if self.held => {
                self.hungry = true;
                None
            }
            State::Open(wire) => match wire.read(&mut context, buffer) {
                Poll::Pending => None,
                Poll::Ready(Ok(0)) => Some(Heard::Closed(CloseReason::Peer)),
                Poll::Ready(Ok(_)) if self.closing => {
                    self.readable.wake_by_ref();
                    None
                }
                Poll::Ready(Ok(length)) => Some(Heard::Octets(length)),
                Poll::Ready(Err(_)) => Some(Heard::Closed(CloseReason::Error)),
            },
            State::Lingering(wire, _) => match wire.read(&mut context, buffer) {
                Poll::Pending => None,
                Poll::Ready(Ok(0) | Err(_)) => Some(Heard::Closed(CloseReason::Local)),
                Poll::Ready(Ok(_)) => {
                    self.readable.wake_by_ref();
                    None
                }
            },
        }
    }

    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    pub(super) fn resume(&mut self) {
        self.held = false;
        if std::mem::take(&mut self.hungry) {
            self.readable.wake_by_ref();
        }
    }

    /// Queues octets; [`Stream::flush`] writes them.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        self.queued = self.queued.saturating_add(bytes.len());
        self.told = self.told.saturating_sub(bytes.len());
        match self.queue.back_mut() {
            Some(last) if bytes.len() <= SMALL && last.len() <= JOINED => last.extend_from_slice(&bytes),
            Some(_) | None => self.queue.push_back(bytes),
        }
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
        // What the peer still says is read to its end, and dropped.
        self.resume();
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_flushed(&self) -> bool {
        self.queued == 0
    }

    /// Writes as much as the kernel takes. If it takes no more, the bell rings when it does.
    pub(super) fn flush(&mut self, now: Instant) -> Result<(), CloseReason> {
        let State::Open(wire) = &mut self.state else {
            let cancelled = self.closing && matches!(self.state, State::Opening(_));
            return if cancelled { Err(CloseReason::Local) } else { Ok(()) };
        };
        let mut context = Context::from_waker(&self.writable);
        while !self.queue.is_empty() {
            match wire.write(&mut context, &self.queue, self.written) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(CloseReason::Error),
                Poll::Ready(Ok(length)) => {
                    self.stalled = None;
                    self.queued = self.queued.saturating_sub(length);
                    self.written = self.written.saturating_add(length);
                    while let Some(first) =
                        self.queue.front().map(Vec::len).filter(|first| *first <= self.written)
                    {
                        self.written = self.written.saturating_sub(first);
                        self.queue.pop_front();
                    }
                }
                Poll::Pending if self.queued > OVERFLOW => return Err(CloseReason::Error),
                Poll::Pending => {
                    self.stalled.get_or_insert(now);
                    return Ok(());
                }
            }
        }
        if wire.flush(&mut context).is_pending() {
            self.stalled.get_or_insert(now);
            return Ok(());
        }
        if self.closing && wire.shut(&mut context).is_ready() {
            let open = std::mem::replace(&mut self.state, State::Opening(Box::pin(std::future::pending())));
            if let State::Open(wire) = open {
                self.state = State::Lingering(wire, now + LINGER);
            }
            self.readable.wake_by_ref();
        }
        Ok(())
    }

    /// The room to tell the client, if it is worth telling: half the window or more than it reckons with.
    pub(super) fn news_of_room(&mut self) -> Option<usize> {
        if self.closing || !matches!(self.state, State::Open(_)) || self.told > WINDOW / 2 {
            return None;
        }
        let room = WINDOW.saturating_sub(self.queued);
        if room <= WINDOW / 2 {
            return None;
        }
        self.told = room;
        Some(room)
    }

    /// When [`Stream::is_over`] is to be asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Lingering(_, until) => Some(*until),
            State::Open(_) => self.stalled.map(|since| since + STALLED),
            State::Opening(_) => None,
        }
    }

    /// Whether its patience with the peer is at an end, and why.
    //= IM X-13
    pub(super) fn is_over(&self, now: Instant) -> Option<CloseReason> {
        let over = self.deadline().is_some_and(|deadline| now >= deadline);
        let why =
            if matches!(self.state, State::Lingering(..)) { CloseReason::Local } else { CloseReason::Error };
        over.then_some(why)
    }
}

impl Wire {
    fn read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(buffer);
        let read = match self {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, &mut into),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, &mut into),
            Wire::WebSocket(socket) => socket.read(context, &mut into),
        };
        read.map_ok(|()| into.filled().len())
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        queue: &VecDeque<Vec<u8>>,
        written: usize,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 16];
        for (at, (slice, piece)) in slices.iter_mut().zip(queue).enumerate() {
            let rest = if at == 0 { piece.get(written..).unwrap_or_default() } else { piece };
            *slice = IoSlice::new(rest);
        }
        let slices = slices.get(..queue.len().min(16)).unwrap_or_default();
        match self {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
            Wire::WebSocket(socket) => socket.write(context, queue, written),
        }
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(_) => Poll::Ready(Ok(())),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Wire::WebSocket(socket) => socket.flush(context),
        }
    }

    fn shut(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Wire::WebSocket(socket) => socket.shut(context),
        }
    }
}

/// Small pieces leave at once, and the kernel takes no more than a window ahead of the network.
pub(super) fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let lowat = u32::try_from(WINDOW).unwrap_or(u32::MAX);
    //= IM M-10
    let alive = TcpKeepalive::new().with_time(SILENT).with_interval(PROBES).with_retries(UNHEARD);
    for outcome in
        [stream.set_nodelay(true), socket.set_tcp_notsent_lowat(lowat), socket.set_tcp_keepalive(&alive)]
    {
        if let Err(error) = outcome {
            tracing::debug!(%error, "a TCP option is not available");
        }
    }
}
