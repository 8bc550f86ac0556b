//! Cutting a stream into messages (RFC 3261 18.3, RFC 5626 3.5.1).

use super::fault::Fault;
use super::message::MAX_MESSAGE;
use super::name::Name;

/// What a stream may make us keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// The largest message in octets, headers and body.
    pub message: usize,
    /// The largest header block in octets.
    pub headers: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        FrameLimits { message: MAX_MESSAGE, headers: 64 << 10 }
    }
}

/// Cuts one stream into messages: [`push`](Framer::push) what arrived, then [`next`](Framer::next) until `None`.
#[derive(Debug)]
pub struct Framer {
    limits: FrameLimits,
    buffer: Vec<u8>,
    /// Octets of `buffer` that were handed out.
    done: usize,
}

/// What the stream holds next.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// One whole message.
    Message(&'a [u8]),
    /// A keep-alive (CRLFCRLF): answer it with CRLF (RFC 5626 4.4.1).
    Ping,
    /// The answer to a keep-alive (CRLF).
    Pong,
    /// The stream cannot be read any further: answer if possible, then close it.
    Fault(FrameFault<'a>),
}

/// Why framing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameFault<'a> {
    /// What is wrong, with the status of the answer.
    pub fault: Fault,
    /// The header block of the message, for the answer; empty if there is none.
    pub headers: &'a [u8],
}

impl Framer {
    /// A framer for a new stream.
    pub fn new(limits: FrameLimits) -> Self {
        Framer { limits, buffer: Vec::new(), done: 0 }
    }

    /// Adds what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done.min(self.buffer.len()));
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if it is whole.
    #[expect(clippy::should_implement_trait, reason = "the frames borrow the framer")]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        let rest = self.buffer.get(self.done..)?;
        match rest {
            [] | [b'\r'] | [b'\r', b'\n', b'\r'] => return None,
            [b'\r', b'\n', b'\r', b'\n', ..] => {
                self.done = self.done.checked_add(4)?;
                return Some(Frame::Ping);
            }
            [b'\r', b'\n', ..] => {
                self.done = self.done.checked_add(2)?;
                return Some(Frame::Pong);
            }
            _ => {}
        }
        let end = memchr::memmem::find(rest, b"\r\n\r\n")?.checked_add(4)?;
        let head = rest.get(..end)?;
        let length = crate::sip::message::head_content_length(head);
        let length = match length {
            Ok(Some(length)) => length,
            Ok(None) => {
                let fault = Fault::Header(crate::sip::header::HeaderFault::missing(Name::ContentLength));
                return Some(Frame::Fault(FrameFault { fault, headers: head }));
            }
            Err(fault) => return Some(Frame::Fault(FrameFault { fault: fault.into(), headers: head })),
        };
        let whole = end.checked_add(length)?;
        if whole > self.limits.message {
            return Some(Frame::Fault(FrameFault { fault: Fault::TooLarge, headers: head }));
        }
        let message = rest.get(..whole)?;
        self.done = self.done.checked_add(whole)?;
        Some(Frame::Message(message))
    }

    /// Whether a message has begun and is not whole.
    pub fn is_mid_message(&self) -> bool {
        self.buffered() > 0
    }

    /// Octets that wait.
    pub fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.done)
    }
}
