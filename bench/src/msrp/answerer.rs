//! A receiver made of nothing but our MSRP endpoint and sockets: it takes every message and throws it away.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant as Clock;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::random::Random;
use parlour_msrp::time::Instant;
use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{ConnectionId, Endpoint, Event, Input, Limits, Output, Role, SessionSpec, Verdict};

use super::sender::Session;
use crate::Outcome;

/// Octets that may wait for a peer that does not read.
const ROOM: usize = 256 * 1024;
const LISTENER: Token = Token(usize::MAX);

/// The session of that number at a receiver that listens at `to`.
pub fn session(to: std::net::SocketAddr, number: u32) -> Session {
    Session {
        to,
        their_path: format!("msrp://{to}/receiver{number:016x};tcp"),
        our_path: format!("msrp://127.0.0.1:9/sender{number:016x};tcp"),
    }
}

/// What both ends of a session of ours agree on; `session` is as the sender sees it.
pub fn spec(session: &Session, role: Role, max_size: u64) -> Outcome<SessionSpec> {
    let (local, peer) = match role {
        Role::Passive => (&session.their_path, &session.our_path),
        Role::Active => (&session.our_path, &session.their_path),
    };
    Ok(SessionSpec::new(
        MsrpUri::parse(local)?,
        MsrpPath::parse(peer)?,
        role,
        AcceptTypes::parse("message/cpim text/plain", Some("*")),
    )
    .with(|spec| spec.max_size = max_size))
}

/// Serves `sessions` sessions until it is killed.
pub fn serve(sessions: u32) -> Outcome<()> {
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let local = listener.local_addr()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let clock = Clock::now();
    let now = || Instant::from_micros(u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX));
    let limits = Limits::default().with(|limits| limits.bind = std::time::Duration::from_secs(3600));
    let mut endpoint = Endpoint::new(limits, Random::new([7; 32]));
    for number in 0..sessions {
        endpoint.open(now(), spec(&session(local, number), Role::Passive, u64::MAX / 2)?);
    }
    crate::say_listening(local);

    let mut hub = Hub { endpoint, lines: BTreeMap::new(), resumed: Vec::new() };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    let mut next = 0;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, peer)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), both)?;
                    let connection = ConnectionId(next as u64);
                    next += 1;
                    hub.lines.insert(connection, Line { stream, out: Vec::new(), written: 0, held: false });
                    hub.tell(now(), Input::Connected { connection, peer, tls: None });
                    hub.tell(now(), Input::Writable { connection, room: ROOM });
                }
                continue;
            }
            hub.serve(now(), ConnectionId(event.token().0 as u64), &mut buffer);
            while let Some(connection) = hub.resumed.pop() {
                hub.serve(now(), connection, &mut buffer);
            }
        }
    }
}

struct Hub {
    endpoint: Endpoint,
    lines: BTreeMap<ConnectionId, Line>,
    resumed: Vec<ConnectionId>,
}

struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    held: bool,
}

impl Hub {
    fn serve(&mut self, now: Instant, connection: ConnectionId, buffer: &mut [u8]) {
        while let Some(line) = self.lines.get_mut(&connection)
            && !line.held
        {
            match line.stream.read(buffer) {
                Ok(0) => return self.gone(now, connection),
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.tell(now, Input::Received { connection, bytes });
                    let Some(line) = self.lines.get_mut(&connection) else { return };
                    if line.flush() {
                        self.tell(now, Input::Writable { connection, room: ROOM });
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    line.flush();
                    return;
                }
                Err(_) => return self.gone(now, connection),
            }
        }
    }

    fn gone(&mut self, now: Instant, connection: ConnectionId) {
        self.lines.remove(&connection);
        self.tell(now, Input::Closed { connection });
    }

    /// One input, then all outputs.
    fn tell(&mut self, now: Instant, input: Input<'_>) {
        self.endpoint.handle(now, input);
        // What is spooled is thrown away, which is said once it was handed out.
        let mut spooled: BTreeMap<_, u64> = BTreeMap::new();
        loop {
            match self.endpoint.poll() {
                Output::Send { connection, bytes } => {
                    if let Some(line) = self.lines.get_mut(&connection) {
                        line.out.extend_from_slice(&bytes);
                    }
                }
                Output::Event(Event::Message { receipt, .. }) => {
                    self.endpoint.settle(now, receipt, Verdict::Accepted);
                }
                Output::Spool { spool, offset, bytes } => {
                    spooled.insert(spool, offset + bytes.len() as u64);
                }
                Output::Hold { connection } => self.hold(connection, true),
                Output::Resume { connection } => {
                    self.hold(connection, false);
                    self.resumed.push(connection);
                }
                Output::Close { connection } => drop(self.lines.remove(&connection)),
                Output::Idle(_) => match spooled.pop_first() {
                    Some((spool, upto)) => self.endpoint.handle(now, Input::Spooled { spool, upto }),
                    None => return,
                },
                Output::Event(_) | Output::Connect { .. } | Output::Discard { .. } | Output::Fetch { .. } => {
                }
                _ => {}
            }
        }
    }

    fn hold(&mut self, connection: ConnectionId, held: bool) {
        if let Some(line) = self.lines.get_mut(&connection) {
            line.held = held;
        }
    }
}

impl Line {
    /// Whether all is written.
    fn flush(&mut self) -> bool {
        while let Some(rest) = self.out.get(self.written..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(length) => self.written += length,
                // What is gone is noticed by reading.
                Err(_) => return false,
            }
        }
        self.out.clear();
        self.written = 0;
        true
    }
}
