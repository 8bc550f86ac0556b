//! Sends MSRP messages over many sessions at once, a window of them unanswered in each, and checks every 200.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Outcome;

/// No run lasts longer.
const LIMIT: Duration = Duration::from_secs(120);

/// A session that is agreed.
#[derive(Debug, Clone)]
pub struct Session {
    /// Where the receiver listens.
    pub to: SocketAddr,
    /// Its URI.
    pub their_path: String,
    /// Ours.
    pub our_path: String,
}

/// Sends `count` messages of `size` octets in each session over a connection of its own, with at most `window`
/// unanswered, and returns how long it took until the last 200.
pub fn flood(sessions: &[Session], run: u32, count: u32, size: usize, window: u32) -> Outcome<Duration> {
    let mut poll = Poll::new()?;
    let mut lines = Vec::with_capacity(sessions.len());
    for (at, session) in sessions.iter().enumerate() {
        // Blocking until it stands: a flood of SYNs is not what is measured.
        let stream = std::net::TcpStream::connect(session.to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        lines.push(Line::new(stream, Frame::new(session, run, at, size), count));
    }
    let start = Instant::now();
    for line in &mut lines {
        line.send(window)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut open = lines.len();
    while open > 0 {
        poll.poll(&mut events, Some(Duration::from_secs(1)))?;
        for event in &events {
            let Some(line) = lines.get_mut(event.token().0) else { continue };
            if line.is_done() {
                continue;
            }
            line.serve(&mut buffer)?;
            if line.is_done() {
                open -= 1;
            }
        }
        if start.elapsed() > LIMIT {
            return Err("the receiver does not answer all messages in time".into());
        }
    }
    Ok(start.elapsed())
}

/// One connection.
struct Line {
    stream: TcpStream,
    frame: Frame,
    out: Vec<u8>,
    written: usize,
    /// The beginning of a response.
    rest: Vec<u8>,
    count: u32,
    sent: u32,
    answered: u32,
}

impl Line {
    fn new(stream: TcpStream, frame: Frame, count: u32) -> Line {
        Line { stream, frame, out: Vec::new(), written: 0, rest: Vec::new(), count, sent: 0, answered: 0 }
    }

    fn is_done(&self) -> bool {
        self.answered == self.count
    }

    fn send(&mut self, more: u32) -> Outcome<()> {
        for _ in 0..more.min(self.count - self.sent) {
            self.out.extend_from_slice(self.frame.number(self.sent));
            self.sent += 1;
        }
        self.flush()
    }

    fn flush(&mut self) -> Outcome<()> {
        while let Some(rest) = self.out.get(self.written..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn serve(&mut self, buffer: &mut [u8]) -> Outcome<()> {
        self.flush()?;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the receiver closed the connection".into()),
                Ok(length) => {
                    self.rest.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    let answered = self.responses()?;
                    self.send(answered)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes whole responses off `rest`.
    fn responses(&mut self) -> Outcome<u32> {
        let mut at = 0;
        let before = self.answered;
        while let Some(frame) = self.rest.get(at..)
            && let Some(end) = memmem::find(frame, b"\r\n-------")
            && let Some(line) = memchr::memchr(b'\n', frame.get(end + 2..).unwrap_or_default())
        {
            let length = end + 2 + line + 1;
            let first = frame.split(|octet| *octet == b'\r').next().unwrap_or_default();
            let mut words = first.split(|octet| *octet == b' ');
            let (protocol, tid, status) = (words.next(), words.next(), words.next());
            let ours = tid.is_some_and(|tid| tid.starts_with(&self.frame.prefix));
            if protocol != Some(b"MSRP") || !ours || status != Some(b"200") {
                return Err(format!("not a 200: {}", String::from_utf8_lossy(first)).into());
            }
            self.answered += 1;
            at += length;
        }
        self.rest.drain(..at);
        Ok(self.answered - before)
    }
}

/// A SEND whose number can be changed in place.
struct Frame {
    octets: Vec<u8>,
    /// Where the eight digits stand.
    numbers: Vec<usize>,
    prefix: Vec<u8>,
}

impl Frame {
    fn new(session: &Session, run: u32, at: usize, size: usize) -> Frame {
        let prefix = format!("b{run:x}s{at:03x}n");
        let Session { their_path, our_path, .. } = session;
        let text = format!(
            "MSRP {prefix}######## SEND\r\nTo-Path: {their_path}\r\nFrom-Path: {our_path}\r\n\
             Message-ID: {prefix}########\r\nByte-Range: 1-{size}/{size}\r\nContent-Type: text/plain\r\n\r\n\
             {}\r\n-------{prefix}########$\r\n",
            "0123456789".repeat(size.div_ceil(10)).get(..size).unwrap_or_default()
        );
        let octets = text.into_bytes();
        let numbers = memmem::find_iter(&octets, b"########").collect();
        Frame { octets, numbers, prefix: prefix.into_bytes() }
    }

    fn number(&mut self, number: u32) -> &[u8] {
        let digits = format!("{number:08x}");
        for at in &self.numbers {
            if let Some(place) = self.octets.get_mut(*at..*at + 8) {
                place.copy_from_slice(digits.as_bytes());
            }
        }
        &self.octets
    }
}

/// Sends one message of `size` octets in chunks of `chunk` octets, and returns how long it took until the last 200.
pub fn large(session: &Session, run: u32, size: u64, chunk: u64) -> Outcome<Duration> {
    let mut stream = std::net::TcpStream::connect(session.to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = stream.try_clone()?;
    let chunks = size.div_ceil(chunk);
    let body = b"0123456789abcdef".repeat(8192);
    let start = Instant::now();
    // The answers are read while the chunks are written, or both sides would wait for each other.
    let answers = std::thread::spawn(move || -> Outcome<()> {
        let (mut buffer, mut rest, mut answered) = (vec![0; 64 * 1024], Vec::new(), 0);
        while answered < chunks {
            let length = reader.read(&mut buffer)?;
            if length == 0 {
                return Err("the receiver closed the connection".into());
            }
            rest.extend_from_slice(buffer.get(..length).unwrap_or_default());
            while let Some(end) = memmem::find(&rest, b"$\r\n") {
                let frame: Vec<u8> = rest.drain(..end + 3).collect();
                if memmem::find(frame.get(..40).unwrap_or(&frame), b" 200").is_none() {
                    return Err(format!("not a 200: {}", String::from_utf8_lossy(&frame)).into());
                }
                answered += 1;
            }
        }
        Ok(())
    });
    let Session { their_path, our_path, .. } = session;
    let mut out = Vec::with_capacity(64 * 1024);
    for number in 0..chunks {
        let from = number * chunk;
        let length = chunk.min(size - from);
        let (first, last) = (from + 1, from + length);
        // RFC 4975 7.1.1: more than 2048 octets have to be interruptible, so their end is not told beforehand.
        let end = if length > 2048 { "*".to_owned() } else { last.to_string() };
        let flag = if last == size { '$' } else { '+' };
        write!(
            out,
            "MSRP l{run:x}n{number:08x} SEND\r\nTo-Path: {their_path}\r\nFrom-Path: {our_path}\r\n\
             Message-ID: large{run:x}\r\nByte-Range: {first}-{end}/{size}\r\nContent-Type: text/plain\r\n\r\n"
        )?;
        let mut left = length;
        while left > 0 {
            let piece = left.min(body.len() as u64);
            out.extend_from_slice(body.get(..piece as usize).unwrap_or_default());
            left -= piece;
            if out.len() >= 64 * 1024 {
                stream.write_all(&out)?;
                out.clear();
            }
        }
        write!(out, "\r\n-------l{run:x}n{number:08x}{flag}\r\n")?;
    }
    stream.write_all(&out)?;
    answers.join().map_err(|_| "the reader of answers panicked")??;
    Ok(start.elapsed())
}
