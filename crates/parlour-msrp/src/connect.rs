//! Connections: made, accepted, shared, read from, and gone (RFC 4975 5.4).

use std::net::SocketAddr;

use crate::connection::{Chunk, Connection, Current};
use crate::endpoint::{Deadline, Endpoint};
use crate::frame::{FrameReader, Piece};
use crate::head::{Head, Start};
use crate::io::{ConnectionId, Event, Incomplete, Output, Remote, SessionFailure, SessionId};
use crate::session::Bind;

/// The numbers of connections that the endpoint asks for have this bit set.
const OURS: u64 = 1 << 63;

impl Endpoint {
    /// The connection for a session of ours: its relay's, else one to the first hop of its peer. There is none if the
    /// relay's has closed.
    pub(crate) fn way(&mut self, session: SessionId, remote: &Remote) -> Option<ConnectionId> {
        let Some(lease) = self.sessions.get(&session)?.via else {
            return Some(self.connect(session, remote));
        };
        //= IM M-22
        let connection = self.lease_connection(lease)?;
        self.connections.get_mut(&connection)?.sessions.push(session);
        Some(connection)
    }

    /// The number of a connection that we ask for.
    pub(crate) fn new_connection(&mut self) -> ConnectionId {
        ConnectionId(OURS | self.number())
    }

    /// A connection to the first hop of a peer: one that leads there already, or a new one.
    fn connect(&mut self, session: SessionId, remote: &Remote) -> ConnectionId {
        let to = remote.first_hop();
        // RFC 4975 5.4: the same host, port and scheme.
        let port = to.port().map_or_else(String::new, |port| port.to_string());
        let device = || format!("{}//{}:{port}", to.is_secure(), to.host().to_ascii_lowercase());
        // RFC 6714 6.3: a middlebox that does not read MSRP passes a connection on to one peer, whoever it is for.
        let device = remote.hop.is_none().then(device);
        let shared = device.as_ref().and_then(|device| self.by_device.get(device)).copied().filter(|id| {
            // Who is there for another session need not be who is to be there for this one.
            self.connections.get(id).is_some_and(|known| !known.open || known.is_trusted(&remote.trust))
        });
        let id = shared.unwrap_or_else(|| {
            let id = self.new_connection();
            let fresh = Connection::new(&self.limits);
            let connection = Connection { device: device.clone(), secure: to.is_secure(), ..fresh };
            self.connections.insert(id, Box::new(connection));
            if let Some(device) = device {
                self.by_device.insert(device, id);
            }
            //= IM M-16
            self.out.push_back(Output::Connect { connection: id, session, to: to.clone() });
            id
        });
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.sessions.push(session);
            connection.foreign |= remote.hop.is_none() && remote.path.uris().len() > 1;
            if let Some(unused) = connection.unused.take() {
                self.timers.cancel(unused);
            }
        }
        id
    }

    pub(crate) fn connected(&mut self, id: ConnectionId, peer: SocketAddr, tls: Option<Vec<Box<str>>>) {
        let ours = id.0 & OURS != 0;
        if ours && !self.connections.contains_key(&id) {
            // Its last session was closed meanwhile.
            self.out.push_back(Output::Close { connection: id });
            return;
        }
        let limits = &self.limits;
        let connection = self.connections.entry(id).or_insert_with(|| Box::new(Connection::new(limits)));
        (connection.open, connection.peer, connection.heard) = (true, Some(peer), self.now);
        connection.tls = tls;
        if ours {
            let relay = connection.relay;
            for session in connection.sessions.clone() {
                match self.distrust(id, session) {
                    None => self.bound(id, session),
                    Some(_) => self.fail_untrusted(session, id),
                }
            }
            if let Some(relay) = relay {
                self.relay_connected(relay, id);
            }
        } else {
            //= IM X-21
            connection.unbound = Some(self.timers.arm(self.now + self.limits.unbound, Deadline::Unbound(id)));
        }
    }

    /// The session has its connection.
    pub(crate) fn bound(&mut self, connection: ConnectionId, session: SessionId) {
        if let (Some(known), Some(state)) =
            (self.connections.get_mut(&connection), self.sessions.get_mut(&session))
        {
            state.bind = Bind::Bound(connection);
            known.make_ready(session);
            known.incomplete = known.incomplete.saturating_add(state.partials.len());
            self.dirty.insert(connection);
            // RFC 8122 6.2: a fast peer is not known before its answer is here.
            let unsettled = state.unsettled > 0;
            if state.is_proven() {
                self.out.push_back(Output::Event(Event::Bound { session }));
            }
            self.replace_now(session);
            if unsettled {
                self.report_owed(session);
            }
        }
    }

    pub(crate) fn received(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.open) else {
            return;
        };
        connection.heard = self.now;
        self.dirty.insert(id);
        let fresh = FrameReader::new(self.limits.header_section);
        let mut reader = std::mem::replace(&mut connection.reader, fresh);
        let mut input = bytes;
        while let Some(piece) = reader.next(&mut input) {
            match piece {
                Piece::Head(head) => {
                    let current = self.begin(id, &head);
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.current = current;
                    }
                }
                Piece::Body(octets) => self.body(id, octets),
                Piece::End(flag) => self.end(id, flag),
                Piece::Fault(fault) => {
                    self.explain(None, id, "M-13", format!("connection closed: {fault}"));
                    self.drop_connection(id);
                }
            }
            if !self.connections.contains_key(&id) {
                return;
            }
        }
        let idle = self.limits.reassembly_idle;
        if let Some(connection) = self.connections.get_mut(&id) {
            if reader.is_mid_frame() && connection.stalled.is_none() {
                connection.stalled = Some(self.timers.arm(self.now + idle, Deadline::Stalled(id)));
            }
            connection.reader = reader;
        }
    }

    /// The head of a frame has come.
    fn begin(&mut self, connection: ConnectionId, head: &Head<'_>) -> Current {
        match head.start {
            Start::Send => self.begin_send(connection, head),
            Start::Report => self.report(connection, head),
            Start::Response { status, comment } => self.response(connection, head, status, comment),
            Start::Other("NICKNAME") => self.nickname_came(connection, head),
            Start::Other(_) => self.unknown_method(connection, head),
        }
        .unwrap_or(Current::Ignored {
            left: match head.start {
                Start::Send => u64::MAX,
                //= IM X-23
                Start::Report | Start::Response { .. } | Start::Other(_) => {
                    u64::try_from(self.limits.other_body).unwrap_or(u64::MAX)
                }
            },
        })
    }

    /// A connection is gone, and with it its sessions (RFC 4975 5.4).
    pub(crate) fn disconnected(&mut self, id: ConnectionId) {
        let Some(connection) = self.forget_connection(id) else { return };
        if let Current::Chunk(Chunk { session, message: Some(partial), .. }) = connection.current {
            match self.heir_of(session) {
                Some(_) => self.park(session, partial),
                None => self.lose(session, None, partial, Incomplete::Disconnected),
            }
        }
        let why = if connection.open { SessionFailure::Disconnected } else { SessionFailure::ConnectFailed };
        for session in connection.sessions {
            self.fail_session(session, why);
        }
        if let Some(relay) = connection.relay {
            self.relay_lost(relay, why);
        }
    }

    /// Writes what waits, closes a connection and fails its sessions.
    pub(crate) fn drop_connection(&mut self, id: ConnectionId) {
        self.close_connection(id);
        self.disconnected(id);
    }

    /// Asks the driver to close a connection after what waits to be written.
    pub(crate) fn close_connection(&mut self, id: ConnectionId) {
        self.pump_replies(id);
        self.out.push_back(Output::Close { connection: id });
    }

    pub(crate) fn forget_connection(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        let connection = self.connections.remove(&id)?;
        self.dirty.remove(&id);
        if let Some(device) = &connection.device
            && self.by_device.get(device) == Some(&id)
        {
            self.by_device.remove(device);
        }
        for timer in [connection.unbound, connection.stalled, connection.unused].into_iter().flatten() {
            self.timers.cancel(timer);
        }
        Some(connection)
    }
}
