//! What a new description does to a session that stands (RFC 4975 5.4 and 8.4): it pauses, another one takes its
//! place, or its peer is elsewhere.

use std::collections::BTreeMap;

use crate::accept::AcceptTypes;
use crate::connection::Current;
use crate::endpoint::{Deadline, Endpoint};
use crate::io::{ConnectionId, Event, Incomplete, Output, Remote, SessionId};
use crate::reassembly::{Partial, Store, Told};
use crate::session::{Bind, Recent, Sending, Session};
use crate::time::Instant;

impl Endpoint {
    /// Stops the messages of a session, between two chunks, or lets them go on. What is given to
    /// [`send`](Self::send) meanwhile waits; responses, REPORTs and SENDs without a body do not (RFC 4975 8.9).
    pub fn pause(&mut self, now: Instant, id: SessionId, paused: bool) {
        self.now = self.now.max(now);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.paused.is_some() != paused)
        else {
            return;
        };
        let since = session.paused.take();
        if paused {
            session.paused = Some(self.now);
            return;
        }
        // A peer forgets what it has of a message after a while, as we do: it gets all of it then.
        if since.is_some_and(|since| self.now - since >= self.limits.reassembly_idle / 2)
            && let Some(key) = session.queue.front()
            && let Some(begun) = session.messages.get_mut(key)
        {
            begun.restart();
            self.fetches.retain(|fetch| fetch.session != id);
        }
        self.wake(id);
    }

    /// Takes a later description of the same session on the same path: what ours lists now, besides what it listed, as
    /// messages may be on their way (RFC 3264 8.3.2), and the peer's max-size.
    pub fn revise(&mut self, id: SessionId, listed: &AcceptTypes, peer_max_size: Option<u64>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.accept.add_types(listed.types_attribute());
        session.accept.add_wrapped_types(listed.wrapped_types_attribute().unwrap_or_default());
        session.peer_max_size = peer_max_size;
    }

    /// The peer lists other types now than when it answered 415: what it has refused may be sent again. RFC 4975 10.6 keeps
    /// it back for the session as it was agreed.
    pub fn forget_refusals(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.refused_types = Recent::default();
        }
    }

    /// Lets `new` take the place of `old`, which stays until `new` is bound, or until one of them ends. Then what it has
    /// not brought to its peer, and what its peer has not brought to the end, goes on in `new`, before all that waits
    /// there already, and [`Event::Succeeded`] tells that `old` is closed. The peer may get, and send, octets twice.
    //= IM M-15
    pub fn succeed(&mut self, now: Instant, old: SessionId, new: SessionId) {
        self.now = self.now.max(now);
        let Some(heir) = self.sessions.get(&new) else { return };
        let ready = matches!(heir.bind, Bind::Bound(_));
        let Some(session) = self.sessions.get_mut(&old) else { return };
        let stands = matches!(session.bind, Bind::Bound(_));
        let older = session.replaces.take();
        if ready || !stands {
            self.hand_over(old, new);
        } else {
            self.link(old, new);
        }
        // What `old` was to replace, and never did, `new` replaces.
        match older {
            Some(older) if ready => self.hand_over(older, new),
            Some(older) => self.link(older, new),
            None => {}
        }
    }

    fn link(&mut self, old: SessionId, new: SessionId) {
        if let Some(session) = self.sessions.get_mut(&old) {
            session.heir = Some(new);
            if let Some(heir) = self.sessions.get_mut(&new) {
                heir.replaces = Some(old);
            }
        }
    }

    /// The peer of a session is at another path now, and our own URI is still the same: the connection is left, a new
    /// one is made or awaited, and what is not acknowledged goes again.
    pub fn rejoin(&mut self, now: Instant, id: SessionId, remote: Remote) {
        self.now = self.now.max(now);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let connection = session.connection();
        if let Bind::Waiting(timer) = session.bind {
            self.timers.cancel(timer);
        }
        let partial = connection.and_then(|at| self.leave_connection(at, id));
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let waiting = session.partials.len();
        session.bind = Bind::Expected;
        session.agreed = false;
        session.explained = false;
        session.unacknowledged = 0;
        let messages = session.take_messages();
        session.adopt(messages);
        session.names = session.names.anew();
        self.fetches.retain(|fetch| fetch.session != id);
        if let Some(at) = connection {
            self.uncount(at, waiting.saturating_add(usize::from(partial.is_some())));
            self.close_unused(at);
        }
        self.keep_partials(id, partial.into_iter().collect());
        self.agree(now, id, remote);
    }

    /// Whether there is such a session: it was not closed, and has not failed.
    pub fn is_open(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Takes no message of more octets from now on: one that is on its way, and larger, is refused with 413.
    pub fn limit(&mut self, id: SessionId, max_size: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.max_size = max_size;
        }
    }

    /// The connection that a session is bound to.
    pub fn connection_of(&self, id: SessionId) -> Option<ConnectionId> {
        match self.sessions.get(&id)?.bind {
            Bind::Bound(connection) => Some(connection),
            Bind::Expected | Bind::Waiting(_) | Bind::Connecting(_) => None,
        }
    }

    /// Whether what comes in a session is the peer's: in one over TLS it is not known before the answer to our offer tells
    /// who has to be there (RFC 8122 6.2).
    pub fn is_proven(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.is_proven())
    }

    /// Whether a session has its connection.
    pub fn is_bound(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| matches!(session.bind, Bind::Bound(_)))
    }

    /// The session that is to take the place of this one.
    pub(crate) fn heir_of(&self, id: SessionId) -> Option<SessionId> {
        let heir = self.sessions.get(&id)?.heir?;
        self.sessions.contains_key(&heir).then_some(heir)
    }

    /// The session whose place this one was to take ends.
    pub(crate) fn replace_now(&mut self, new: SessionId) {
        if let Some(old) = self.sessions.get_mut(&new).and_then(|session| session.replaces.take()) {
            self.hand_over(old, new);
        }
    }

    /// `new` goes on where `old` ends.
    pub(crate) fn hand_over(&mut self, old: SessionId, new: SessionId) {
        let Some(session) = self.sessions.get_mut(&old) else { return };
        let connection = session.connection();
        let names = std::mem::take(&mut session.names);
        let (finished, refused) =
            (std::mem::take(&mut session.finished), std::mem::take(&mut session.refused));
        let unsettled = std::mem::take(&mut session.unsettled) > 0;
        let messages = self.weighing(old, Session::take_messages).unwrap_or_default();
        let mut partials = self.unpark_all(old);
        if let Some(at) = connection {
            partials.extend(self.leave_connection(at, old));
            self.uncount(at, partials.len());
        }
        self.fetches.retain(|fetch| fetch.session != old);
        if unsettled {
            self.pass_receipts(old, Some(new));
        }
        self.forget_session(old, Incomplete::Disconnected);
        connection.into_iter().for_each(|at| self.close_unused(at));
        self.weighing(new, |heir| heir.adopt(messages));
        if let Some(heir) = self.sessions.get_mut(&new) {
            heir.names.inherit(names);
            heir.finished.inherit(finished);
            heir.refused.inherit(refused);
            if let Bind::Bound(at) = heir.bind
                && let Some(known) = self.connections.get_mut(&at)
            {
                known.incomplete = known.incomplete.saturating_add(partials.len());
            }
        }
        self.keep_partials(new, partials);
        if unsettled {
            self.report_owed(new);
        }
        self.out.push_back(Output::Event(Event::Succeeded { session: old, by: new }));
        self.wake(new);
    }

    /// Lets messages that came in part wait for their next chunk in this session.
    fn keep_partials(&mut self, id: SessionId, partials: Vec<Partial>) {
        let at = self.now + self.limits.reassembly_idle;
        for mut partial in partials {
            if let Some(timer) = partial.idle.take() {
                self.timers.cancel(timer);
            }
            partial.idle = Some(self.timers.arm(at, Deadline::Idle(id)));
            self.park(id, partial);
        }
    }

    fn uncount(&mut self, at: ConnectionId, partials: usize) {
        if let Some(known) = self.connections.get_mut(&at) {
            known.incomplete = known.incomplete.saturating_sub(partials);
        }
    }

    /// Takes a session off its connection, and what it has of a message whose chunk is being received there.
    pub(crate) fn leave_connection(&mut self, at: ConnectionId, id: SessionId) -> Option<Partial> {
        let connection = self.connections.get_mut(&at)?;
        connection.sessions.retain(|other| *other != id);
        connection.ready.retain(|other| *other != id);
        match std::mem::replace(&mut connection.current, Current::Nothing) {
            Current::Chunk(chunk) if chunk.session == id => {
                connection.current = Current::Ignored { left: u64::MAX };
                chunk.message
            }
            other @ (Current::Nothing | Current::Ignored { .. } | Current::Chunk(_)) => {
                connection.current = other;
                None
            }
        }
    }

    /// RFC 4975 5.4: a connection stays as long as it has sessions. One to a relay stays for longer: ours, as long as
    /// [`crate::relay`] says, and a peer's for some minutes (RFC 4976 5.4).
    //= IM M-15
    //= IM M-22
    pub(crate) fn close_unused(&mut self, at: ConnectionId) {
        let Some(known) = self.connections.get_mut(&at).filter(|known| known.sessions.is_empty()) else {
            return;
        };
        if known.relay.is_some() {
            return;
        }
        if known.foreign && known.open {
            if known.unused.is_none() {
                let until = self.now + self.limits.foreign_idle;
                known.unused = Some(self.timers.arm(until, Deadline::Unused(at)));
            }
            return;
        }
        self.unused(at);
    }

    /// Nobody needs a connection any more.
    pub(crate) fn unused(&mut self, at: ConnectionId) {
        self.close_connection(at);
        self.forget_connection(at);
    }

    /// The octets of a message now come on this connection, which is to stop when they cannot be spooled.
    pub(crate) fn rehome(&mut self, at: ConnectionId, partial: &Partial) {
        let Store::Spool { spool, .. } = partial.store else { return };
        let Some(state) = self.spools.get_mut(&spool).filter(|state| state.connection != at) else { return };
        let rest = state.handed.saturating_sub(state.spooled);
        let before = std::mem::replace(&mut state.connection, at);
        if let Some(known) = self.connections.get_mut(&before) {
            known.unspooled = known.unspooled.saturating_sub(rest);
            self.dirty.insert(before);
        }
        if let Some(known) = self.connections.get_mut(&at) {
            known.unspooled = known.unspooled.saturating_add(rest);
        }
    }
}

impl Session {
    /// Takes over messages that were given to another session, before its own.
    fn adopt(&mut self, messages: BTreeMap<u64, Sending>) {
        let own = std::mem::take(&mut self.queue);
        for (key, mut message) in messages {
            if self.message_key(&message.message_id).is_some() {
                continue;
            }
            if message.acknowledged {
                self.keep_message(key, message);
            } else {
                message.restart();
                self.add_message(key, message);
            }
        }
        self.queue.extend(own);
    }
}

impl Sending {
    /// Forgets that octets of it have left.
    fn restart(&mut self) {
        (self.sent, self.open, self.finished, self.awaited) = (0, 0, false, false);
        self.told = Told::default();
        (self.fetched, self.fetched_from, self.fetching) = (self.source.head().to_vec(), 0, false);
    }
}
