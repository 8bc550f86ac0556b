//! What all sessions together may keep: a peer with many of them, or many peers, get no more than one does.
//!
//! Each session has bounds of its own. Where these add up to more than the endpoint may keep, whoever has most gives way:
//! of messages in reassembly those of the host that has most, first those that have been idle for longest, so that what
//! moves goes on. Of messages to be sent those sessions take no more that have much already.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::endpoint::Endpoint;
use crate::io::{Incomplete, SessionId};
use crate::reassembly::{Partial, Store};
use crate::session::Session;

/// What a message in reassembly counts for beside its octets.
const MESSAGE: usize = 1024;

/// The same if it lies in a spool, which holds a file open, say. Not much more than a message in memory may take, or whoever
/// has a large one would be taken for the one that has most.
const SPOOL: usize = 64 * 1024;

/// A session of the host that has most is left alone if it has less than one part in so many of what the largest has.
const SMALL: usize = 8;

/// Room is made for one part in so many at a time: looking for those that are idle costs as much for one as for many.
const STEP: usize = 8;

/// Octets that each session may have waiting, whatever others have.
const FREE: usize = 64 * 1024;

/// What is kept of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// What the messages that wait for a chunk count for, by the host that they come from and their session.
    parked: BTreeMap<(Host, SessionId), usize>,
    /// The same for all sessions of a host.
    hosts: BTreeMap<Host, usize>,
    /// What those of all sessions count for.
    weight: usize,
    /// Octets of messages to be sent.
    pub(crate) queued: usize,
}

impl Kept {
    /// Whether nothing is counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.hosts.is_empty() && self.weight == 0 && self.queued == 0
    }

    fn add(&mut self, host: Host, id: SessionId, weight: usize) {
        let raise = |sum: &mut usize| *sum = sum.saturating_add(weight);
        raise(self.parked.entry((host, id)).or_default());
        raise(self.hosts.entry(host).or_default());
        raise(&mut self.weight);
    }

    fn remove(&mut self, host: Host, id: SessionId, weight: usize) {
        fn lower<K: Ord>(sums: &mut BTreeMap<K, usize>, key: K, weight: usize) {
            let left = sums.get(&key).map_or(0, |sum| sum.saturating_sub(weight));
            if left == 0 {
                sums.remove(&key);
            } else {
                sums.insert(key, left);
            }
        }
        lower(&mut self.parked, (host, id), weight);
        lower(&mut self.hosts, host, weight);
        self.weight = self.weight.saturating_sub(weight);
    }

    /// The host whose messages count for most, and its sessions that are not small beside the largest.
    fn heaviest(&self) -> Option<(Host, Vec<SessionId>)> {
        let (host, _) = self.hosts.iter().max_by_key(|(_, weight)| **weight)?;
        let sessions = || {
            let all = self.parked.range((*host, SessionId(0))..=(*host, SessionId(u64::MAX)));
            all.map(|((_, id), weight)| (*id, *weight))
        };
        let largest = sessions().map(|(_, weight)| weight).max()?;
        let large = sessions().filter(|(_, weight)| weight.saturating_mul(SMALL) >= largest);
        Some((*host, large.map(|(id, _)| id).collect()))
    }
}

/// Whom addresses belong to: of IPv6, whoever has one has a whole network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host(u64);

impl Host {
    pub(crate) fn of(address: IpAddr) -> Host {
        match address.to_canonical() {
            IpAddr::V4(address) => Host(address.to_bits().into()),
            IpAddr::V6(address) => Host(u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }
}

impl Partial {
    /// What it counts for while it waits for a chunk.
    fn weight(&self) -> usize {
        let spool = match self.store {
            Store::Memory(_) => 0,
            Store::Spool { .. } => SPOOL,
        };
        self.octets().saturating_add(MESSAGE).saturating_add(spool)
    }
}

impl Endpoint {
    /// Lets a message wait for its next chunk.
    pub(crate) fn park(&mut self, id: SessionId, partial: Partial) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.kept.add(partial.host, id, partial.weight());
        session.partials.push(partial);
    }

    /// Takes the message with this identifier out of reassembly.
    pub(crate) fn unpark(&mut self, id: SessionId, message_id: &str) -> Option<Partial> {
        let session = self.sessions.get_mut(&id)?;
        let at = session.partials.iter().position(|partial| partial.message_id == message_id)?;
        let partial = session.partials.swap_remove(at);
        if session.partials.is_empty() {
            session.partials = Vec::new();
        }
        self.kept.remove(partial.host, id, partial.weight());
        Some(partial)
    }

    /// Takes all messages of a session out of reassembly.
    pub(crate) fn unpark_all(&mut self, id: SessionId) -> Vec<Partial> {
        let Some(session) = self.sessions.get_mut(&id) else { return Vec::new() };
        let partials = std::mem::take(&mut session.partials);
        partials.iter().for_each(|partial| self.kept.remove(partial.host, id, partial.weight()));
        partials
    }

    /// Gives messages up as long as all of them together take too much.
    //= IM X-20
    pub(crate) fn make_room(&mut self) {
        if self.kept.weight <= self.limits.reassembly {
            return;
        }
        let enough = self.limits.reassembly.saturating_sub(self.limits.reassembly / STEP);
        while self.kept.weight > enough {
            let Some((host, sessions)) = self.kept.heaviest() else { return };
            let of_session = |id: SessionId| {
                let partials = self.sessions.get(&id).map(|session| session.partials.iter());
                let its = partials.into_iter().flatten().filter(move |partial| partial.host == host);
                its.map(move |partial| (partial.idle, id, partial.message_id.clone()))
            };
            let mut oldest: Vec<_> = sessions.into_iter().flat_map(of_session).collect();
            oldest.sort_unstable();
            if oldest.is_empty() {
                return;
            }
            for (_, id, message_id) in oldest {
                if self.kept.weight <= enough {
                    return;
                }
                self.give_up(id, &message_id);
            }
        }
    }

    fn give_up(&mut self, id: SessionId, message_id: &str) {
        let connection = self.sessions.get(&id).and_then(|session| session.connection());
        let Some(partial) = self.unpark(id, message_id) else { return };
        if let Some(connection) = connection {
            let text = format!(
                "{message_id} is given up: messages of all sessions together take too much, its sender's host's most"
            );
            self.explain(Some(id), connection, "X-20", text);
        }
        self.lose_for_good(id, connection, partial, Incomplete::Refused);
    }

    /// Changes what a session has to send.
    pub(crate) fn weighing<T>(&mut self, id: SessionId, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let session = self.sessions.get_mut(&id)?;
        let before = session.queued;
        let result = act(session);
        self.kept.queued = self.kept.queued.saturating_sub(before).saturating_add(session.queued);
        Some(result)
    }

    /// Whether a session may have so many octets more to send.
    pub(crate) fn may_queue(&self, session: &Session, octets: usize) -> bool {
        let own = session.queued.saturating_add(octets);
        let all = self.kept.queued.saturating_add(octets);
        // A large message that is alone is its owner's own affair.
        session.queued == 0
            || own <= self.limits.queued_octets && (own <= FREE || all <= self.limits.queued_octets_of_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::AcceptTypes;
    use crate::random::Random;
    use crate::time::Instant;
    use crate::{ConnectionId, Input, Limits, Outgoing, Output, Remote, Role, SessionSpec};

    fn open(endpoint: &mut Endpoint, local: &str) -> SessionId {
        let spec = SessionSpec::new(
            local.parse().expect("a URI"),
            "msrp://a:1/a;tcp".parse().expect("a path"),
            Role::Passive,
            AcceptTypes::parse("text/plain", None),
        );
        endpoint.open(Instant::ZERO, spec)
    }

    fn receive(endpoint: &mut Endpoint, connection: u64, local: &str, id: &str) {
        let text = format!(
            "MSRP abcd SEND\r\nTo-Path: {local}\r\nFrom-Path: msrp://a:1/a;tcp\r\nMessage-ID: {id}\r\n\
             Byte-Range: 1-*/9\r\nContent-Type: text/plain\r\n\r\nhalf\r\n-------abcd+\r\n"
        );
        endpoint.handle(
            Instant::ZERO,
            Input::Received { connection: ConnectionId(connection), bytes: text.as_bytes() },
        );
        drain(endpoint);
    }

    fn drain(endpoint: &mut Endpoint) {
        while !matches!(endpoint.poll(), Output::Idle(_)) {}
    }

    /// What is counted is what is there, wherever sessions, connections and messages go.
    fn check(endpoint: &Endpoint) {
        let mut parked = BTreeMap::<(Host, SessionId), usize>::new();
        for (id, session) in &endpoint.sessions {
            for partial in &session.partials {
                *parked.entry((partial.host, *id)).or_default() += partial.weight();
            }
        }
        let weight = parked.values().sum::<usize>();
        let queued = endpoint
            .sessions
            .values()
            .flat_map(|session| session.messages.values())
            .map(|message| message.source.octets())
            .sum::<usize>();
        assert_eq!((endpoint.kept.weight, endpoint.kept.queued), (weight, queued));
        assert_eq!(endpoint.kept.hosts.values().sum::<usize>(), weight);
        assert_eq!(endpoint.kept.parked, parked);
    }

    #[test]
    fn nothing_is_counted_twice_or_forgotten_when_sessions_move() {
        let (one, two) = ("msrp://b:2/one;tcp", "msrp://b:2/two;tcp");
        let mut endpoint = Endpoint::new(Limits::default(), Random::new([1; 32]));
        let now = Instant::ZERO;
        for connection in [1, 2] {
            let peer = ([192, 0, 2, 1], 7).into();
            endpoint.handle(now, Input::Connected { connection: ConnectionId(connection), peer, tls: None });
        }
        let old = open(&mut endpoint, one);
        receive(&mut endpoint, 1, one, "came1");
        receive(&mut endpoint, 1, one, "came2");
        for id in ["said1", "said2"] {
            endpoint.send(now, old, Outgoing::new(id, "text/plain", "twelve bytes")).expect("it is taken");
            drain(&mut endpoint);
        }
        check(&endpoint);
        assert!(endpoint.kept.weight > 2048 && endpoint.kept.queued == 24);
        endpoint.rejoin(now, old, Remote::new("msrp://a:1/a;tcp".parse().expect("a path"), Role::Passive));
        drain(&mut endpoint);
        check(&endpoint);
        let new = open(&mut endpoint, two);
        endpoint.send(now, new, Outgoing::new("said3", "text/plain", "four")).expect("it is taken");
        endpoint.succeed(now, old, new);
        drain(&mut endpoint);
        check(&endpoint);
        receive(&mut endpoint, 2, two, "came3");
        check(&endpoint);
        assert_eq!((endpoint.sessions.len(), endpoint.kept.queued), (1, 28));
        endpoint.stop(now, new, "came1");
        endpoint.abort(now, new, "said1");
        drain(&mut endpoint);
        check(&endpoint);
        assert_eq!(endpoint.withdraw(now, new).len(), 2);
        check(&endpoint);
        endpoint.handle(now, Input::Closed { connection: ConnectionId(2) });
        drain(&mut endpoint);
        assert!(endpoint.kept.is_empty() && endpoint.sessions.is_empty());
    }
}
