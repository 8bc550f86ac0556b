//! MSRP connections: several sessions share one (RFC 4975 5.4), or each has its own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// The connections of a run.
#[derive(Debug)]
pub struct Lines {
    /// At most so many, shared; 0 gives each session its own.
    shared: usize,
    lines: BTreeMap<usize, Line>,
    /// The token of the next one with an owner; the shared ones' are their numbers.
    next: usize,
    /// How many were opened.
    pub opened: u32,
}

#[derive(Debug)]
struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    heard: Vec<u8>,
}

/// Tokens below this are not ours.
const FIRST: usize = 1;

impl Lines {
    /// None is open yet.
    pub fn new(shared: usize) -> Lines {
        Lines { shared, lines: BTreeMap::new(), next: FIRST + shared, opened: 0 }
    }

    /// The connection for session number `number` to HOST:PORT; it is opened if need be.
    pub fn bind(&mut self, registry: &Registry, number: u32, place: &str) -> io::Result<usize> {
        let token = match (number as usize).checked_rem(self.shared) {
            Some(at) => FIRST + at,
            None => {
                self.next += 1;
                self.next
            }
        };
        if let Entry::Vacant(vacant) = self.lines.entry(token) {
            let place = place.parse().map_err(|_| io::Error::other("no HOST:PORT to connect to"))?;
            let mut stream = TcpStream::connect(place)?;
            stream.set_nodelay(true)?;
            registry.register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
            vacant.insert(Line { stream, out: Vec::new(), heard: Vec::new() });
            self.opened += 1;
        }
        Ok(token)
    }

    /// Queues octets, and writes what can be written.
    pub fn say(&mut self, token: usize, octets: &[u8]) {
        if let Some(line) = self.lines.get_mut(&token) {
            line.out.extend_from_slice(octets);
            // A connection that fails is seen when it is read.
            let _ = line.flush();
        }
    }

    /// Takes what has come. False if the connection is gone.
    pub fn hear(&mut self, token: usize, buffer: &mut [u8]) -> (Vec<u8>, bool) {
        let Some(line) = self.lines.get_mut(&token) else { return (Vec::new(), true) };
        let stands = line.flush().is_ok() && line.read(buffer).is_ok();
        let heard = std::mem::take(&mut line.heard);
        if !stands {
            self.lines.remove(&token);
        }
        (heard, stands)
    }

    /// Puts back what was no whole frame.
    pub fn keep(&mut self, token: usize, rest: Vec<u8>) {
        if let Some(line) = self.lines.get_mut(&token) {
            line.heard = rest;
        }
    }

    /// A session is over: a connection of its own is closed.
    pub fn release(&mut self, token: usize) {
        if token > FIRST + self.shared {
            self.lines.remove(&token);
        }
    }
}

impl Line {
    fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(length) => drop(self.out.drain(..length)),
                // It is being made.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.heard.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sessions_share_as_many_connections_as_there_may_be_or_have_their_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let poll = mio::Poll::new().unwrap();
        for (shared, connections) in [(3, 3), (1, 1), (20, 10), (0, 10)] {
            let mut lines = Lines::new(shared);
            let bound: Vec<usize> =
                (0..10).map(|number| lines.bind(poll.registry(), number, &place).unwrap()).collect();
            assert_eq!(bound.iter().collect::<BTreeSet<_>>().len(), connections, "{shared}");
            assert_eq!(lines.opened as usize, connections, "{shared}");
            assert!(!bound.contains(&0), "the datagrams' token");
            // A session that ends takes no connection along that others use.
            bound.iter().for_each(|token| lines.release(*token));
            assert_eq!(lines.lines.len(), if shared == 0 { 0 } else { connections }, "{shared}");
        }
    }

    #[test]
    fn a_connection_that_the_peer_closed_is_noticed_after_what_it_said() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let mut poll = mio::Poll::new().unwrap();
        let mut lines = Lines::new(1);
        let token = lines.bind(poll.registry(), 0, &place).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"last words").unwrap();
        drop(peer);
        let (mut heard, mut stands) = (Vec::new(), true);
        while stands {
            poll.poll(&mut mio::Events::with_capacity(8), Some(std::time::Duration::from_secs(5))).unwrap();
            let (more, open) = lines.hear(token, &mut [0; 64]);
            heard.extend(more);
            stands = open;
        }
        assert_eq!(heard, b"last words");
        assert_ne!(lines.bind(poll.registry(), 0, &place).ok(), None, "a new one is opened");
        assert_eq!(lines.opened, 2);
    }
}
