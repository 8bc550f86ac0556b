//! One queue of readiness for all sockets: each socket's waker writes down whose turn it is.

use std::sync::Arc;
use std::task::{Wake, Waker};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What can be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Datagrams may be read from this socket.
    Datagrams(u16),
    /// Datagrams that had to wait may be sent from this socket.
    Backlog(u16),
    /// A connection may be accepted by this listener.
    Accept(usize),
    /// Octets may be read from this stream, or the opening of it goes on.
    Read(u64),
    /// Octets may be written to this stream.
    Write(u64),
}

/// The one end of the queue: makes wakers.
#[derive(Debug, Clone)]
pub(crate) struct Bells(UnboundedSender<Token>);

/// The other end: the tokens that were rung for. A token is there at most once for each time that its socket was
/// polled, so the queue is bounded by the number of sockets.
pub(crate) type Rung = UnboundedReceiver<Token>;

impl Bells {
    pub(crate) fn new() -> (Bells, Rung) {
        let (sender, receiver) = unbounded_channel();
        (Bells(sender), receiver)
    }

    /// A waker that queues `token`.
    pub(crate) fn waker(&self, token: Token) -> Waker {
        Waker::from(Arc::new(Bell { token, queue: self.0.clone() }))
    }

    /// Queues `token` at once.
    pub(crate) fn ring(&self, token: Token) {
        // The receiver is gone only when the agent is.
        let _ = self.0.send(token);
    }
}

struct Bell {
    token: Token,
    queue: UnboundedSender<Token>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = self.queue.send(self.token);
    }
}
