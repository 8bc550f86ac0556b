//! The least that a soak can run against: one loop that copies what an answer needs and sends it. It keeps no call, checks
//! nothing and never sends anything again, so what fails beside it is the caller's own fault.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};

use memchr::memmem;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};

use super::wire::{self, BLOCKED, Frame};
use crate::Outcome;
use crate::calls::dialog::header;
use crate::calls::floor::Floor;

const DATAGRAMS: Token = Token(0);
const LISTENER: Token = Token(1);

/// The answer to a SIP request: 488 to an offer without MSRP, 486 to the blocked caller, else 200.
pub fn respond<'f>(floor: &'f mut Floor, request: &[u8]) -> Option<&'f [u8]> {
    if request.starts_with(b"BYE ") {
        return Some(floor.respond(request, "200 OK", false));
    }
    if !request.starts_with(b"INVITE ") {
        return None;
    }
    let from = header(request, b"From").unwrap_or_default();
    Some(if memmem::find(from, BLOCKED.as_bytes()).is_some() {
        floor.respond(request, "486 Busy Here", false)
    } else if memmem::find(request, b"\r\nm=message ").is_none() {
        floor.respond(request, "488 Not Acceptable Here", false)
    } else {
        floor.respond(request, "200 OK", true)
    })
}

/// Answers each whole SEND with 200 and with a SEND of the same text. Says how many octets those were.
///
/// # Errors
///
/// These octets are no MSRP.
pub fn echo(octets: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
    let mut at = 0;
    while let Some(frame) = Frame::read(octets.get(at..).unwrap_or_default())? {
        if frame.word == b"SEND" {
            out.extend(frame.ok());
            let text = |octets| std::str::from_utf8(octets).map_err(|_| "not UTF-8");
            let id = format!("e{}", text(frame.tid)?);
            let body = text(frame.body.unwrap_or_default())?;
            out.extend(wire::send(&id, text(frame.from)?, text(frame.to)?, body));
        }
        at += frame.length;
    }
    Ok(at)
}

/// One connection.
struct Line {
    stream: TcpStream,
    heard: Vec<u8>,
    out: Vec<u8>,
}

impl Line {
    /// Reads and answers until nothing is left. False when it is closed.
    fn serve(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    self.heard.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    let Ok(done) = echo(&self.heard, &mut self.out) else { return false };
                    self.heard.drain(..done);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// Serves until it is killed.
pub fn serve() -> Outcome<()> {
    let mut poll = Poll::new()?;
    let mut socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    poll.registry().register(&mut socket, DATAGRAMS, Interest::READABLE)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor::with_media(&socket.local_addr()?.to_string(), listener.local_addr()?.port());
    crate::say_listening(socket.local_addr()?);
    let mut lines = BTreeMap::new();
    let mut next = 2;
    let mut buffer = vec![0; 65_536];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                DATAGRAMS => {
                    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                        let request = buffer.get(..length).unwrap_or_default();
                        if let Some(answer) = respond(&mut floor, request) {
                            // A full buffer is the caller's to notice.
                            let _ = socket.send_to(answer, peer);
                        }
                    }
                }
                LISTENER => {
                    while let Ok((mut stream, _)) = listener.accept() {
                        stream.set_nodelay(true)?;
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        poll.registry().register(&mut stream, Token(next), interest)?;
                        lines.insert(next, Line { stream, heard: Vec::new(), out: Vec::new() });
                        next += 1;
                    }
                }
                Token(number) => {
                    if lines.get_mut(&number).is_some_and(|line| !line.serve(&mut buffer)) {
                        lines.remove(&number);
                    }
                }
            }
        }
    }
}
