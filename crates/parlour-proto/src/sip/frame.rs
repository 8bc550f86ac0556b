//! Cutting a stream into messages (RFC 3261 7.5, 18.3) and keep-alives (RFC 5626 3.5.1).

use std::ops::Range;

use super::fault::Fault;
use super::header::HeaderFault;
use super::header::lex::is_token;
use super::message::{MAX_MESSAGE, ParseFault, read_head};
use super::name::Name;

/// How much of a stream may have to be kept.
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

impl FrameLimits {
    /// The usual limits, with none above `message` octets.
    pub fn within(message: usize) -> Self {
        let usual = Self::default();
        FrameLimits { message: usual.message.min(message), headers: usual.headers.min(message) }
    }
}

/// Cuts one stream into messages: [`push`](Framer::push) what arrived, then [`next`](Framer::next) until `None`. Where the
/// stream was cut on its way makes no difference.
#[derive(Debug)]
pub struct Framer {
    limits: FrameLimits,
    buffer: Vec<u8>,
    /// Octets of `buffer` that were handed out.
    done: usize,
    /// Where the search for the end of the headers goes on, so that a slow drip costs no more than a flood.
    searched: usize,
    awaited: Awaited,
    /// The last thing was a CRLF that no other CRLF has made a ping yet.
    half_ping: bool,
}

#[derive(Debug, Clone, Copy)]
enum Awaited {
    /// The end of the headers.
    Headers,
    /// The body; the message ends at this octet of the buffer.
    Body(usize),
    /// Nothing: framing is lost.
    Nothing,
}

/// What the stream holds next.
#[derive(Debug)]
pub enum Frame<'a> {
    /// One whole message.
    Message(&'a [u8]),
    /// The second CRLF of a keep-alive (CRLFCRLF): answer it with CRLF (RFC 5626 4.4.1).
    Ping,
    /// A CRLF between messages: the answer to our keep-alive, or the first half of the peer's.
    Pong,
    /// The stream cannot be read any further: answer the message if that is possible, then close the stream.
    Fault(ParseFault<'a>),
}

/// What `advance` found, as ranges of the buffer.
enum Found {
    Message(Range<usize>),
    Ping,
    Pong,
    Fault(Fault, Range<usize>),
}

impl Framer {
    /// A framer for a new stream.
    pub fn new(limits: FrameLimits) -> Self {
        Framer {
            limits,
            buffer: Vec::new(),
            done: 0,
            searched: 0,
            awaited: Awaited::Headers,
            half_ping: false,
        }
    }

    /// Adds what arrived. After a [`Frame::Fault`] it is thrown away.
    pub fn push(&mut self, bytes: &[u8]) {
        if matches!(self.awaited, Awaited::Nothing) {
            return;
        }
        self.forget_done();
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if it is whole.
    #[expect(clippy::should_implement_trait, reason = "the frames borrow the framer")]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        let found = self.advance()?;
        let slice = |range| self.buffer.get::<Range<usize>>(range).unwrap_or_default();
        Some(match found {
            Found::Message(range) => Frame::Message(slice(range)),
            Found::Ping => Frame::Ping,
            Found::Pong => Frame::Pong,
            Found::Fault(fault, range) => Frame::Fault(ParseFault::of(fault, slice(range))),
        })
    }

    /// Whether a message has begun and is not whole.
    pub fn is_mid_message(&self) -> bool {
        self.buffer
            .get(self.done..)
            .is_some_and(|rest| rest.iter().any(|octet| !matches!(octet, b'\r' | b'\n')))
    }

    /// Octets that wait to become part of a frame.
    pub fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.done)
    }

    fn advance(&mut self) -> Option<Found> {
        match self.awaited {
            Awaited::Nothing => None,
            Awaited::Body(end) => self.body(end),
            Awaited::Headers => match self.blank_line() {
                Some(found) => Some(found),
                None => self.headers(),
            },
        }
    }

    /// RFC 3261 7.5: line ends before a message are no part of it.
    fn blank_line(&mut self) -> Option<Found> {
        let rest = self.buffer.get(self.done..)?;
        let length = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return None,
        };
        self.done = self.done.checked_add(length)?;
        self.half_ping = !self.half_ping;
        Some(if self.half_ping { Found::Pong } else { Found::Ping })
    }

    fn headers(&mut self) -> Option<Found> {
        match self.buffer.get(self.done..)? {
            [] | [b'\r'] => return None,
            // Neither a method nor a version starts like this: no need to wait for more of it.
            [first, ..] if !is_token(*first) => return Some(self.lose(Fault::NotSip, self.buffer.len())),
            _ => self.half_ping = false,
        }
        let end = self.header_end();
        let used = end.unwrap_or(self.buffer.len());
        //= IM X-11
        if used.saturating_sub(self.done) > self.limits.headers {
            return Some(self.lose(Fault::TooLarge, used));
        }
        let end = end?;
        match read_head(self.buffer.get(self.done..end)?) {
            Ok(Some(length)) => {
                let whole = end
                    .checked_add(length)
                    .filter(|end| end.saturating_sub(self.done) <= self.limits.message);
                match whole {
                    Some(whole) => self.body(whole),
                    None => Some(self.lose(Fault::TooLarge, end)),
                }
            }
            // RFC 3261 18.3: on a stream only Content-Length tells where the message ends.
            Ok(None) => Some(self.lose(HeaderFault::missing(Name::ContentLength).into(), end)),
            Err(fault) => Some(self.lose(fault, end)),
        }
    }

    /// Where the empty line ends; the search goes on where it stopped.
    fn header_end(&mut self) -> Option<usize> {
        self.searched = self.searched.max(self.done);
        loop {
            let line_end = memchr::memchr(b'\n', self.buffer.get(self.searched..)?);
            let Some(line_end) = line_end.and_then(|at| at.checked_add(self.searched)) else {
                self.searched = self.buffer.len();
                return None;
            };
            let next_line = line_end.checked_add(1)?;
            match self.buffer.get(next_line..)? {
                [b'\r', b'\n', ..] => return next_line.checked_add(2),
                [b'\n', ..] => return next_line.checked_add(1),
                // It may still become an empty line: look again from this line end.
                [] | [b'\r'] => {
                    self.searched = line_end;
                    return None;
                }
                _ => self.searched = next_line,
            }
        }
    }

    fn body(&mut self, end: usize) -> Option<Found> {
        if self.buffer.len() < end {
            self.awaited = Awaited::Body(end);
            return None;
        }
        let message = self.done..end;
        self.done = end;
        self.awaited = Awaited::Headers;
        Some(Found::Message(message))
    }

    fn lose(&mut self, fault: Fault, end: usize) -> Found {
        self.awaited = Awaited::Nothing;
        let message = self.done..end;
        self.done = self.buffer.len();
        Found::Fault(fault, message)
    }

    fn forget_done(&mut self) {
        let done = std::mem::take(&mut self.done).min(self.buffer.len());
        self.buffer.drain(..done);
        self.searched = self.searched.saturating_sub(done);
        if let Awaited::Body(end) = &mut self.awaited {
            *end = end.saturating_sub(done);
        }
        // One large message must not hold its memory for good.
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_ROOM {
            self.buffer = Vec::new();
        }
    }
}

/// The room in octets that an idle stream may keep.
const KEPT_ROOM: usize = 16 << 10;
