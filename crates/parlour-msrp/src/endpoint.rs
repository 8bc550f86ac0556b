//! The endpoint: all sessions and connections of one owner.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::bind::is_uri;
use crate::bounds::Kept;
use crate::connection::{Connection, Current};
use crate::head::Tid;
use crate::io::{
    ConnectionId, Event, Incomplete, Input, LeaseId, Limits, Load, Output, Receipt, RelayId, Remote, Role,
    SendFailure, SessionFailure, SessionId, SessionSpec, SpoolId,
};
use crate::outcome::Transaction;
use crate::random::Random;
use crate::reassembly::{Partial, Store};
use crate::relay::{Lease, Relay};
use crate::send::Fetching;
use crate::session::{Bind, Session};
use crate::settle::Held;
use crate::table::Table;
use crate::time::Instant;
use crate::timer::Timers;

/// MSRP sessions and their connections.
///
/// **One mutation, then drain:** after every call of [`handle`](Endpoint::handle) or a verb, call
/// [`poll`](Endpoint::poll) until it returns [`Output::Idle`]. What an output leads to at once - octets that are fetched
/// from memory, a verdict that needs no thought - may be told before the next `poll`: outputs keep their order.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) limits: Limits,
    pub(crate) random: Random,
    /// Boxed, as the nodes of the tree are half empty.
    pub(crate) sessions: BTreeMap<SessionId, Box<Session>>,
    pub(crate) connections: BTreeMap<ConnectionId, Box<Connection>>,
    /// Our sessions by the session-id of our URI.
    pub(crate) by_local: Table<Box<str>, SessionId>,
    /// The connections that we opened, by host device.
    pub(crate) by_device: Table<String, ConnectionId>,
    pub(crate) relays: BTreeMap<RelayId, Box<Relay>>,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    pub(crate) transactions: Table<Tid, Transaction>,
    pub(crate) receipts: BTreeMap<Receipt, Held>,
    pub(crate) kept: Kept,
    pub(crate) spools: BTreeMap<SpoolId, Spooling>,
    /// Who waits for the octets of a source.
    pub(crate) fetches: Vec<Fetching>,
    pub(crate) timers: Timers<Deadline>,
    pub(crate) out: VecDeque<Output>,
    /// Connections for which something may have to be written.
    pub(crate) dirty: BTreeSet<ConnectionId>,
    /// The time of the last call.
    pub(crate) now: Instant,
    numbers: u64,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// An accepted connection has no session.
    Unbound(ConnectionId),
    /// A passive session has no connection.
    Bind(SessionId),
    /// A request has no response.
    Response(Tid),
    /// A message has got no further chunk.
    Idle(SessionId),
    /// A frame has been open for long.
    Stalled(ConnectionId),
    /// A message that went through relays has no REPORT.
    Report(SessionId, u64),
    /// An AUTH has no response.
    Auth(RelayId),
    /// A lease ends, or is over.
    Lease(LeaseId),
    /// A relay of ours is not used.
    RelayIdle(RelayId),
    /// A peer's relay is not used.
    Unused(ConnectionId),
}

/// Octets of one spool.
#[derive(Debug)]
pub(crate) struct Spooling {
    pub(crate) connection: ConnectionId,
    pub(crate) session: SessionId,
    pub(crate) content_type: Box<str>,
    pub(crate) handed: u64,
    pub(crate) spooled: u64,
    /// Whether no more will be handed out.
    pub(crate) finished: bool,
}

impl Endpoint {
    /// An endpoint without sessions.
    pub fn new(limits: Limits, mut random: Random) -> Self {
        Endpoint {
            limits,
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            by_local: Table::new(random.hash_keys()),
            by_device: Table::new(random.hash_keys()),
            relays: BTreeMap::new(),
            leases: BTreeMap::new(),
            transactions: Table::new(random.hash_keys()),
            receipts: BTreeMap::new(),
            kept: Kept::default(),
            spools: BTreeMap::new(),
            fetches: Vec::new(),
            timers: Timers::default(),
            out: VecDeque::new(),
            dirty: BTreeSet::new(),
            now: Instant::ZERO,
            numbers: 0,
            random,
        }
    }

    /// Opens a session that SDP has negotiated. An active one connects, or shares a connection that we opened to the
    /// same host device; a passive one waits for its peer for [`Limits::bind`].
    ///
    /// The session-id of `spec.local` must be fresh and unguessable (128 random bits or more). By one that another session
    /// of ours has, peers could reach only one of the two: the new one fails at once ([`SessionFailure::Taken`]).
    //= IM M-15
    //= IM X-21
    pub fn open(&mut self, now: Instant, spec: SessionSpec) -> SessionId {
        self.now = self.now.max(now);
        let id = SessionId(self.number());
        let remote = spec.remote.clone();
        if self.register(id, spec) {
            self.assume(id, &remote);
        }
        id
    }

    /// Registers our end of an offer while its answer is on the way. A peer that will be active may connect before its
    /// answer is here: whoever knows our session-id binds, and [`agree`](Self::agree) then says who it has to be. With TLS,
    /// [`Event::Bound`] waits for that; see [`is_proven`](Self::is_proven). There is
    /// no deadline until then. Of `spec.remote` nothing counts: its path is a placeholder (our own URI will do).
    pub fn expect(&mut self, now: Instant, spec: SessionSpec) -> SessionId {
        self.now = self.now.max(now);
        let id = SessionId(self.number());
        if self.register(id, SessionSpec { remote: Remote::new(spec.remote.path, Role::Passive), ..spec })
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session.agreed = false;
        }
        id
    }

    /// Enters a session, behind its relay if it has one; false if its lease is gone, or its session-id another one's, and
    /// the session with it.
    fn register(&mut self, id: SessionId, spec: SessionSpec) -> bool {
        let local = spec.local.session_id().unwrap_or_default();
        if self.by_local.get(local).is_some() {
            let spec = SessionSpec { via: None, ..spec };
            self.sessions.insert(id, Box::new(Session::new(spec, None)));
            self.fail_session(id, SessionFailure::Taken);
            return false;
        }
        self.by_local.insert(local.into(), id);
        let via = spec.via;
        let use_path = via.and_then(|lease| self.use_lease(lease, id));
        let lost = via.is_some() && use_path.is_none();
        self.sessions.insert(id, Box::new(Session::new(spec, use_path)));
        if lost {
            self.fail_session(id, SessionFailure::ConnectFailed);
        }
        !lost
    }

    /// A session of which both ends are known takes its role.
    //= IM D-14
    fn assume(&mut self, id: SessionId, remote: &Remote) {
        let bind = match remote.role {
            Role::Passive => Bind::Waiting(self.timers.arm(self.now + self.limits.bind, Deadline::Bind(id))),
            Role::Active => match self.way(id, remote) {
                Some(connection) => Bind::Connecting(connection),
                None => return self.fail_session(id, SessionFailure::ConnectFailed),
            },
        };
        let connection = match bind {
            Bind::Connecting(connection) => Some(connection),
            Bind::Expected | Bind::Waiting(_) | Bind::Bound(_) => None,
        };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.bind = bind;
            session.greeted = remote.role == Role::Passive;
        }
        if let Some(connection) = connection
            && self.connections.get(&connection).is_some_and(|shared| shared.open)
        {
            self.bound(connection, id);
        }
    }

    /// The answer to an offer is here: who the peer of an expected session is, and which end connects. A session that
    /// is bound to somebody else by now fails.
    pub fn agree(&mut self, now: Instant, id: SessionId, remote: Remote) {
        self.now = self.now.max(now);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.agreed) else { return };
        let expected = matches!(session.bind, Bind::Expected);
        let came = session.peer.rightmost().clone();
        let wanted = remote.path.rightmost();
        let is_peer = expected || is_uri(wanted.as_str(), came.as_str(), session.matching, wanted);
        let proven = session.is_proven();
        session.set_peer(remote.path.clone());
        session.trust.clone_from(&remote.trust);
        session.agreed = true;
        session.peer_max_size = remote.max_size;
        let connection = session.connection();
        if !is_peer {
            return self.fail_session(id, SessionFailure::Refused(481));
        }
        if !expected {
            // RFC 8122 6.2: nothing that has come counts before the fingerprint of the answer matches.
            if let Some(connection) = connection
                && self.distrust(connection, id).is_some()
            {
                self.fail_untrusted(id, connection);
            } else if !proven {
                self.out.push_back(Output::Event(Event::Bound { session: id }));
            }
            return;
        }
        self.assume(id, &remote);
    }

    /// Ends a session. Messages that are not acknowledged fail with [`SendFailure::SessionEnded`], messages in
    /// reassembly become [`Event::Incomplete`]. The last session of a connection takes it along.
    pub fn close(&mut self, now: Instant, session: SessionId) {
        self.now = self.now.max(now);
        self.replace_now(session);
        let messages = self.sessions.get(&session).map(|session| session.messages.keys().copied().collect());
        for key in Option::unwrap_or_else(messages, Vec::new) {
            self.abandon(session, key, SendFailure::SessionEnded);
        }
        self.forget_session(session, Incomplete::Disconnected);
    }

    /// Tells what has happened. It never fails: a peer's fault becomes a response, a closed connection or an event.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.now = self.now.max(now);
        match input {
            Input::Connected { connection, peer, tls } => self.connected(connection, peer, tls),
            Input::Received { connection, bytes } => self.received(connection, bytes),
            Input::Writable { connection, room } => {
                if let Some(known) = self.connections.get_mut(&connection) {
                    known.grant(room);
                    self.dirty.insert(connection);
                }
            }
            Input::Closed { connection } => self.disconnected(connection),
            Input::Fetched { source, offset, bytes } => self.fetched(source, offset, bytes),
            Input::Spooled { spool, upto } => self.spooled(spool, upto),
            Input::Tick => {}
        }
        while let Some((_, deadline)) = self.timers.pop_due(self.now) {
            self.expire(deadline);
        }
    }

    /// What is to be done next. The responses and chunks for one connection leave together.
    pub fn poll(&mut self) -> Output {
        loop {
            if let Some(output) = self.out.pop_front() {
                return output;
            }
            let Some(connection) = self.dirty.pop_first() else {
                // A burst must not keep its memory for good.
                if self.out.capacity() > 64 {
                    self.out = VecDeque::new();
                }
                return Output::Idle(self.timers.next().map(|(at, _)| at));
            };
            self.pump(connection);
        }
    }

    /// The session whose message a spool is of, until all of its octets are taken care of.
    pub fn session_of(&self, spool: SpoolId) -> Option<SessionId> {
        self.spools.get(&spool).map(|state| state.session)
    }

    /// The Content-Type of the message that a spool is of, for as long.
    pub fn content_type_of(&self, spool: SpoolId) -> Option<&str> {
        self.spools.get(&spool).map(|state| &*state.content_type)
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What is kept at this moment. It counts, so do not call it for every input.
    pub fn load(&self) -> Load {
        let mut load = Load {
            sessions: self.sessions.len(),
            connections: self.connections.len(),
            receipts: self.receipts.len(),
            transactions: self.transactions.len(),
            leases: self.leases.len(),
            ..Load::default()
        };
        let mut count = |partial: &Partial| {
            load.incoming = load.incoming.saturating_add(1);
            load.octets = load.octets.saturating_add(partial.octets());
        };
        for connection in self.connections.values() {
            match &connection.current {
                Current::Chunk(chunk) => chunk.message.iter().for_each(&mut count),
                Current::Nothing | Current::Ignored { .. } => {}
            }
        }
        self.sessions.values().flat_map(|session| &session.partials).for_each(&mut count);
        for connection in self.connections.values() {
            let octets = connection.reader.buffered().saturating_add(connection.replies.len());
            load.octets = load.octets.saturating_add(octets);
        }
        for message in self.sessions.values().flat_map(|session| session.messages.values()) {
            load.outgoing = load.outgoing.saturating_add(1);
            load.octets = load.octets.saturating_add(message.octets());
        }
        load.octets = self.receipts.values().map(Held::octets).fold(load.octets, usize::saturating_add);
        load
    }

    fn expire(&mut self, deadline: Deadline) {
        match deadline {
            // Binding a session cancels it.
            Deadline::Unbound(id) => {
                self.explain(None, id, "X-21", "connection closed: it belongs to no session".to_owned());
                self.drop_connection(id);
            }
            Deadline::Bind(id) => self.fail_session(id, SessionFailure::NotBound),
            Deadline::Response(tid) => self.no_response(tid),
            Deadline::Idle(session) => self.idle(session),
            Deadline::Stalled(id) => self.stalled(id),
            Deadline::Report(session, message) => self.no_report(session, message),
            Deadline::Auth(relay) => self.auth_unanswered(relay),
            Deadline::Lease(lease) => self.lease_due(lease),
            Deadline::RelayIdle(relay) => self.relay_idle(relay),
            Deadline::Unused(id) => self.unused(id),
        }
    }

    /// The session cannot go on: tells all about it and forgets it.
    pub(crate) fn fail_session(&mut self, id: SessionId, why: SessionFailure) {
        if let Some(heir) = self.heir_of(id) {
            return self.hand_over(id, heir);
        }
        self.replace_now(id);
        let Some(unsent) = self.weighing(id, Session::withdraw) else { return };
        let messages = self.sessions.get(&id).map(|session| session.messages.keys().copied().collect());
        let rest: Vec<u64> = Option::unwrap_or_default(messages);
        for key in rest {
            self.abandon(id, key, SendFailure::SessionEnded);
        }
        self.forget_session(id, Incomplete::Disconnected);
        self.out.push_back(Output::Event(Event::SessionFailed { session: id, why, unsent }));
    }

    /// Forgets a session, tells of what it had in reassembly, and closes its connection if it was the last.
    pub(crate) fn forget_session(&mut self, id: SessionId, why: Incomplete) {
        let partials = self.unpark_all(id);
        self.weighing(id, Session::take_messages);
        let Some(mut session) = self.sessions.remove(&id) else { return };
        if let Some(local) = session.local.session_id()
            && self.by_local.get(local) == Some(&id)
        {
            self.by_local.remove(local);
        }
        if let Bind::Waiting(timer) = session.bind {
            self.timers.cancel(timer);
        }
        if let Some(lease) = session.via {
            self.forget_lease(lease);
        }
        let connection = session.connection();
        if session.unsettled > 0 {
            self.pass_receipts(id, None);
        }
        for partial in partials {
            self.lose(id, connection, partial, why);
        }
        self.out.extend(std::mem::take(&mut session.names).end(id).map(Output::Event));
        let Some(at) = connection else { return };
        if let Some(partial) = self.leave_connection(at, id) {
            self.lose(id, connection, partial, why);
        }
        self.close_unused(at);
    }

    fn spooled(&mut self, spool: SpoolId, upto: u64) {
        let Some(state) = self.spools.get_mut(&spool) else { return };
        let news = upto.min(state.handed).saturating_sub(state.spooled);
        state.spooled = state.spooled.saturating_add(news);
        let (id, over) = (state.connection, state.finished && state.spooled >= state.handed);
        if over {
            self.spools.remove(&spool);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.unspooled = connection.unspooled.saturating_sub(news);
            self.dirty.insert(id);
        }
    }

    /// Throws away what is here of a message, and says so.
    pub(crate) fn lose(
        &mut self,
        session: SessionId,
        connection: Option<ConnectionId>,
        partial: Partial,
        why: Incomplete,
    ) {
        self.clear(connection, &partial);
        let received = partial.ranges.octets();
        let message_id = partial.message_id;
        self.out.push_back(Output::Event(Event::Incomplete { session, message_id, received, why }));
    }

    /// Throws away what is here of a message.
    pub(crate) fn clear(&mut self, connection: Option<ConnectionId>, partial: &Partial) {
        if let Some(timer) = partial.idle {
            self.timers.cancel(timer);
        }
        if let Store::Spool { spool, .. } = partial.store {
            if let Some(state) = self.spools.remove(&spool)
                && let Some(connection) = self.connections.get_mut(&state.connection)
            {
                let rest = state.handed.saturating_sub(state.spooled);
                connection.unspooled = connection.unspooled.saturating_sub(rest);
                self.dirty.insert(state.connection);
            }
            self.out.push_back(Output::Discard { spool });
        }
        if let Some(connection) = connection.and_then(|id| self.connections.get_mut(&id)) {
            connection.incomplete = connection.incomplete.saturating_sub(1);
        }
    }

    pub(crate) fn explain(
        &mut self,
        session: Option<SessionId>,
        connection: ConnectionId,
        clause: &'static str,
        text: String,
    ) {
        self.out.push_back(Output::Event(Event::Explain { session, connection, clause, text }));
    }

    /// A number that was never used before.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }
}
