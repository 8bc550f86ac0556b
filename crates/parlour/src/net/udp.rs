//! A UDP socket, read in batches.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Octets of datagrams that the kernel may hold for us; it grants less where its own limit is lower.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams that wait for room in the kernel; what comes beyond is lost, as UDP may, and sent again by SIP.
const BACKLOG: usize = 4096;

pub(super) struct Udp {
    socket: UdpSocket,
    backlog: VecDeque<(SocketAddr, Vec<u8>)>,
    readable: Waker,
    writable: Waker,
}

impl Udp {
    pub(super) fn bind(address: SocketAddr, readable: Waker, writable: Waker) -> io::Result<Udp> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Udp { socket, backlog: VecDeque::new(), readable, writable })
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next datagram, if there is one; if not, the bell rings when there is.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let mut context = Context::from_waker(&self.readable);
        // An error here is a late ICMP message about something that we sent; the next datagram is behind it.
        for _ in 0..64 {
            let mut into = ReadBuf::new(buffer);
            match self.socket.poll_recv_from(&mut context, &mut into) {
                Poll::Ready(Ok(peer)) => return Some((peer, into.filled().len())),
                Poll::Ready(Err(error)) => tracing::debug!(%error, "a UDP socket reports an error"),
                Poll::Pending => return None,
            }
        }
        self.readable.wake_by_ref();
        None
    }

    /// Sends a datagram, or keeps it for when the kernel has room. False if the kernel knows no way there.
    pub(super) fn send(&mut self, peer: SocketAddr, bytes: Vec<u8>) -> bool {
        let sent = if self.backlog.is_empty() { self.attempt(peer, &bytes) } else { Sent::NotYet };
        if sent == Sent::NotYet {
            self.wait(peer, bytes);
        }
        sent != Sent::Never
    }

    /// Sends what had to wait; tells the peers to whom the kernel knows no way.
    pub(super) fn go_on(&mut self, mut lost: impl FnMut(SocketAddr)) {
        while let Some((peer, bytes)) = self.backlog.front() {
            match self.attempt(*peer, bytes) {
                Sent::NotYet => return self.arm(),
                Sent::Never => lost(*peer),
                Sent::Done => {}
            }
            self.backlog.pop_front();
        }
    }

    fn attempt(&self, peer: SocketAddr, bytes: &[u8]) -> Sent {
        let Err(error) = self.socket.try_send_to(bytes, peer) else { return Sent::Done };
        if error.kind() == io::ErrorKind::WouldBlock {
            return Sent::NotYet;
        }
        tracing::debug!(%peer, %error, "a datagram could not be sent");
        // What passes by itself (a full device queue, say) is a loss like any other on UDP.
        if is_fatal(error.kind()) { Sent::Never } else { Sent::Done }
    }

    fn wait(&mut self, peer: SocketAddr, bytes: Vec<u8>) {
        if self.backlog.len() < BACKLOG {
            self.backlog.push_back((peer, bytes));
        }
        self.arm();
    }

    fn arm(&self) {
        let mut context = Context::from_waker(&self.writable);
        if self.socket.poll_send_ready(&mut context).is_ready() {
            self.writable.wake_by_ref();
        }
    }
}

/// What came of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Done,
    NotYet,
    Never,
}

/// Whether the same datagram would fail again (RFC 3261 18.4).
fn is_fatal(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::NetworkUnreachable
            | K::HostUnreachable
            | K::NetworkDown
            | K::AddrNotAvailable
            | K::PermissionDenied
            | K::InvalidInput
    )
}
