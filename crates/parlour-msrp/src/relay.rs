//! Relays that act for us (RFC 4976): the connection to one, AUTH, and the URIs that it lends.
//!
//! A relay forwards only what comes from, or goes to, somebody who has authenticated to it. Each AUTH brings a Use-Path:
//! URIs that lead to us through the relay, for **one** session (RFC 4976 3.1 forbids to use them for two), valid on the
//! connection of the AUTH alone, and for a time. Such a Use-Path is a *lease* here:
//!
//! ```text
//! relay: Resting -- a lease is wanted --> Connecting -- connected --> Up -- nothing leased for 1 h --> Resting
//!                                         Connecting, Up -- closed --> Resting; all leases are lost
//!
//! lease: Waiting -- its turn --> (AUTH) -- 200 of the last relay --> Held -- expired --> lost
//!
//! AUTH:  Ask -- 401, a fresh challenge --> Ask with credentials          twice at most
//!        Ask -- 423 --> Ask with another Expires                         once
//!        Ask -- 200 --> Ask the next relay of the chain, through those before; or done
//!        Ask -- anything else, or silence --> lost, and all that wait with it
//! ```
//!
//! AUTHs of a relay go one after the other, as each one needs the nonce that the last one brought (RFC 4976 9.1). Nothing
//! is tried again unasked: whoever owns the endpoint knows whether a lease is still wanted.

use std::collections::VecDeque;
use std::time::Duration;

use crate::connection::Connection;
use crate::digest::{Asked, Authenticator, Chain, Challenge, Qop, Space};
use crate::endpoint::{Deadline, Endpoint};
use crate::head::{Flag, Head, Tid};
use crate::io::{
    ConnectionId, Event, LeaseFailure, LeaseId, Output, RelayId, RelaySpec, SessionFailure, SessionId,
};
use crate::settle::fresh_tid;
use crate::time::Instant;
use crate::timer::TimerId;
use crate::uri::{MsrpPath, MsrpUri};
use crate::write::FrameWriter;

/// The longest that a lease is taken to hold, whatever its Expires says.
const LONGEST: u64 = 7 * 24 * 3600;

/// What a lease has to hold, in seconds: each one costs an AUTH, and an offer to the peer before it ends.
const SHORTEST: u64 = 5;

/// What is left of a lease, at most, when its owner is told to get another one.
const NOTICE: Duration = Duration::from_secs(120);

/// A relay that acts for us, or a chain of them.
#[derive(Debug)]
pub(crate) struct Relay {
    spec: RelaySpec,
    link: Link,
    /// What each relay of the chain has challenged us with, by its place. RFC 4976 9.1: a protection space is an
    /// authority's, whatever `domain` says.
    auth: Authenticator<usize>,
    waiting: VecDeque<LeaseId>,
    asked: Option<Pending>,
}

#[derive(Debug)]
enum Link {
    Resting,
    Connecting,
    Up { connection: ConnectionId, idle: Option<TimerId> },
}

/// The AUTH that waits for its response.
#[derive(Debug)]
struct Pending {
    tid: Tid,
    timer: TimerId,
    asking: Asking,
}

/// How far the AUTHs for one lease are.
#[derive(Debug)]
struct Asking {
    lease: LeaseId,
    /// The place of the relay that is asked.
    hop: usize,
    /// The Use-Path of those before it.
    path: Vec<MsrpUri>,
    chain: Chain<usize>,
    /// The Expires that is asked for.
    expires: Option<u64>,
    /// Whether a 423 has changed it.
    bounded: bool,
    /// What was sent to prove that we know the password.
    proof: Option<Asked>,
    /// The first end of what was granted so far.
    until: Option<Instant>,
}

/// URIs of a relay, lent for one session.
#[derive(Debug)]
pub(crate) struct Lease {
    relay: RelayId,
    local: MsrpUri,
    session: Option<SessionId>,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    connection: ConnectionId,
    use_path: MsrpPath,
    /// Its next deadline, and whether that is the end.
    timer: Option<(TimerId, bool)>,
    until: Option<Instant>,
}

impl Lease {
    /// The connection over which it holds.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.held.as_ref().map(|held| held.connection)
    }
}

impl Endpoint {
    /// Registers a relay that acts for us, or a chain of them. Nothing is sent until a lease is wanted.
    pub fn add_relay(&mut self, spec: RelaySpec) -> RelayId {
        let id = RelayId(self.number());
        let relay = Relay {
            spec,
            link: Link::Resting,
            auth: Authenticator::default(),
            waiting: VecDeque::new(),
            asked: None,
        };
        self.relays.insert(id, Box::new(relay));
        id
    }

    /// Asks a relay for the URIs of one session whose own URI is `local`: [`Event::Leased`] or [`Event::LeaseLost`]
    /// follows. Name the lease in [`SessionSpec::via`](crate::SessionSpec::via); it ends with its session.
    //= IM M-20
    //= IM M-21
    pub fn lease(&mut self, now: Instant, relay: RelayId, local: MsrpUri) -> LeaseId {
        self.now = self.now.max(now);
        let id = LeaseId(self.number());
        let Some(known) = self.relays.get_mut(&relay) else {
            self.out
                .push_back(Output::Event(Event::LeaseLost { lease: id, why: LeaseFailure::ConnectFailed }));
            return id;
        };
        self.leases.insert(id, Lease { relay, local, session: None, held: None });
        known.waiting.push_back(id);
        // RFC 4976 9.2: AUTH goes over TLS, as whoever reads a Use-Path can use it.
        if !known.spec.insecure && known.spec.chain.uris().iter().any(|uri| !uri.is_secure()) {
            self.refuse_all(relay, None, &LeaseFailure::Insecure);
            return id;
        }
        match known.link {
            Link::Resting => {
                let connection = self.new_connection();
                if let Some(known) = self.relays.get_mut(&relay) {
                    known.link = Link::Connecting;
                    let to = known.spec.chain.leftmost().clone();
                    self.out.push_back(Output::ConnectRelay { connection, relay, to });
                }
                let made = Connection { relay: Some(relay), ..Connection::new(&self.limits) };
                self.connections.insert(connection, Box::new(made));
            }
            Link::Connecting => {}
            Link::Up { .. } => self.next_lease(relay),
        }
        id
    }

    /// Gives a lease back that no session uses. One of a session ends with it.
    pub fn release(&mut self, now: Instant, id: LeaseId) {
        self.now = self.now.max(now);
        if self.leases.get(&id).is_some_and(|lease| lease.session.is_none()) {
            self.forget_lease(id);
        }
    }

    /// The relay's connection is there.
    pub(crate) fn relay_connected(&mut self, id: RelayId, connection: ConnectionId) {
        if let Some(relay) = self.relays.get_mut(&id) {
            relay.link = Link::Up { connection, idle: None };
            self.next_lease(id);
        }
    }

    /// The relay's connection is gone, and with it all that was leased on it (RFC 4976 6.3).
    pub(crate) fn relay_lost(&mut self, id: RelayId, why: SessionFailure) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        if let Link::Up { idle: Some(idle), .. } = std::mem::replace(&mut relay.link, Link::Resting) {
            self.timers.cancel(idle);
        }
        let why = match why {
            SessionFailure::ConnectFailed => LeaseFailure::ConnectFailed,
            SessionFailure::Disconnected
            | SessionFailure::NotBound
            | SessionFailure::Refused(_)
            | SessionFailure::Unresponsive
            | SessionFailure::Untrusted
            | SessionFailure::Taken => LeaseFailure::Disconnected,
        };
        self.refuse_all(id, None, &why);
        let lost: Vec<_> =
            self.leases.iter().filter(|(_, lease)| lease.relay == id).map(|(id, _)| *id).collect();
        for lease in lost {
            self.lose_lease(lease, why.clone());
        }
    }

    /// The connection over which a lease holds.
    pub(crate) fn lease_connection(&self, id: LeaseId) -> Option<ConnectionId> {
        self.leases.get(&id)?.connection()
    }

    /// RFC 4976 5.1: what stands before the peer's path in the To-Path of a session with this lease. The lease is the
    /// session's from now on, and no other's.
    pub(crate) fn use_lease(&mut self, id: LeaseId, session: SessionId) -> Option<MsrpPath> {
        let lease = self.leases.get_mut(&id).filter(|lease| lease.session.is_none())?;
        let held = lease.held.as_ref()?;
        lease.session = Some(session);
        Some(held.use_path.clone())
    }

    /// A lease ends. The connection stays for a while: the next session finds it.
    //= IM M-22
    pub(crate) fn forget_lease(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        if let Some((timer, _)) = lease.held.and_then(|held| held.timer) {
            self.timers.cancel(timer);
        }
        if let Some(relay) = self.relays.get_mut(&lease.relay) {
            relay.waiting.retain(|waiting| *waiting != id);
            self.rest(lease.relay);
        }
    }

    /// Starts the time after which a connection that nobody uses is closed.
    fn rest(&mut self, id: RelayId) {
        let Some(relay) = self.relays.get_mut(&id).filter(|relay| relay.asked.is_none()) else { return };
        let used = !relay.waiting.is_empty() || self.leases.values().any(|lease| lease.relay == id);
        if let Link::Up { idle: idle @ None, .. } = &mut relay.link
            && !used
        {
            // RFC 4976 5.4: an hour by default.
            *idle = Some(self.timers.arm(self.now + self.limits.relay_idle, Deadline::RelayIdle(id)));
        }
    }

    /// No session has used the relay for an hour.
    pub(crate) fn relay_idle(&mut self, id: RelayId) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        if let Link::Up { connection, .. } = std::mem::replace(&mut relay.link, Link::Resting) {
            self.close_connection(connection);
            self.forget_connection(connection);
        }
    }

    /// A lease has a deadline: its owner should get another one, or it is over.
    pub(crate) fn lease_due(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let session = lease.session;
        let Some(held) = lease.held.as_mut() else { return };
        let last = held.timer.take().is_none_or(|(_, last)| last);
        match held.until.filter(|_| !last) {
            Some(until) => {
                held.timer = Some((self.timers.arm(until, Deadline::Lease(id)), true));
                self.out.push_back(Output::Event(Event::LeaseEnding { lease: id, session }));
            }
            None => self.lose_lease(id, LeaseFailure::Expired),
        }
    }

    /// An AUTH has no response.
    pub(crate) fn auth_unanswered(&mut self, id: RelayId) {
        self.refuse_all(id, None, &LeaseFailure::Unresponsive);
        // What does not answer will not forward either.
        if let Some(Link::Up { connection, .. }) = self.relays.get(&id).map(|relay| &relay.link)
            && !self.leases.values().any(|lease| lease.relay == id)
        {
            self.drop_connection(*connection);
        }
    }

    /// A response to an AUTH; false if it is none.
    pub(crate) fn auth_response(
        &mut self,
        connection: ConnectionId,
        head: &Head<'_>,
        status: u16,
        comment: &str,
    ) -> bool {
        let Some(id) = self.connections.get(&connection).and_then(|known| known.relay) else { return false };
        let Some(relay) = self.relays.get_mut(&id) else { return false };
        let Some(Pending { timer, asking, .. }) = relay.asked.take_if(|asked| asked.tid == head.tid) else {
            return false;
        };
        self.timers.cancel(timer);
        let lease = asking.lease;
        let verdict = match status {
            200..=299 => self.granted(id, connection, asking, head),
            401 => self.challenged(id, asking, head),
            423 => self.out_of_bounds(id, asking, head),
            _ => Err(LeaseFailure::Refused { status, comment: comment.to_owned() }),
        };
        if let Err(why) = verdict {
            self.explain(None, connection, "M-20", format!("no URIs from the relay: {why}"));
            self.refuse_all(id, Some(lease), &why);
        }
        true
    }

    /// 401: the same again, with credentials.
    fn challenged(&mut self, id: RelayId, mut asking: Asking, head: &Head<'_>) -> Result<(), LeaseFailure> {
        let Some(relay) = self.relays.get_mut(&id) else { return Ok(()) };
        let rows = head.rows("WWW-Authenticate").map(|row| {
            let challenge = Challenge::parse(row);
            // RFC 4976 9.1: no Basic, no auth-int, no MD5-sess.
            let understood =
                challenge.and_then(|it| Space::understand(|name| it.param(name), Qop::AuthAlone));
            (asking.hop, understood)
        });
        let verdict = relay.auth.challenged(rows, &relay.spec.credentials, &mut asking.chain);
        if let Err(refusal) = verdict {
            relay.auth.forget(&asking.hop);
            return Err(LeaseFailure::Challenge(refusal));
        }
        self.ask(id, asking);
        Ok(())
    }

    /// 423: the same again, with an Expires that the relay allows.
    //= IM M-12
    fn out_of_bounds(
        &mut self,
        id: RelayId,
        mut asking: Asking,
        head: &Head<'_>,
    ) -> Result<(), LeaseFailure> {
        let (least, most) = (seconds(head, "Min-Expires"), seconds(head, "Max-Expires"));
        let wanted = asking.expires.unwrap_or(0);
        let allowed = match (least, most) {
            (Some(least), Some(most)) if least > most => None,
            (Some(least), _) if wanted < least => Some(least),
            (_, Some(most)) if asking.expires.is_none() || wanted > most => Some(most),
            (Some(_) | None, Some(_) | None) => None,
        };
        let allowed = allowed.filter(|allowed| *allowed > 0 && !asking.bounded);
        asking.bounded = true;
        asking.expires = Some(allowed.ok_or(LeaseFailure::OutOfBounds)?);
        self.ask(id, asking);
        Ok(())
    }

    /// 200: the URIs of one relay of the chain.
    fn granted(
        &mut self,
        id: RelayId,
        connection: ConnectionId,
        mut asking: Asking,
        head: &Head<'_>,
    ) -> Result<(), LeaseFailure> {
        self.take_grant(id, connection, &mut asking, head)?;
        let Some(relay) = self.relays.get(&id) else { return Ok(()) };
        let next = asking.hop.saturating_add(1);
        if next < relay.spec.chain.uris().len() {
            (asking.hop, asking.chain, asking.bounded) = (next, Chain::default(), false);
            asking.expires = relay.spec.expires.map(u64::from);
            self.ask(id, asking);
        } else {
            self.hold(connection, asking);
            self.next_lease(id);
        }
        Ok(())
    }

    /// Checks a 200, and takes its Use-Path, Expires and next nonce.
    fn take_grant(
        &mut self,
        id: RelayId,
        connection: ConnectionId,
        asking: &mut Asking,
        head: &Head<'_>,
    ) -> Result<(), LeaseFailure> {
        let Some(relay) = self.relays.get_mut(&id) else { return Ok(()) };
        let uri = relay.spec.chain.uris().get(asking.hop).map_or("", MsrpUri::as_str);
        let info = head.rows("Authentication-Info").next().map(Challenge::info);
        let space = relay.auth.spaces().find(|(hop, _)| **hop == asking.hop).map(|(_, space)| space);
        if let (Some(asked), Some(space)) = (asking.proof.take(), space) {
            let rspauth = info.and_then(|info| info.param("rspauth"));
            match rspauth {
                Some(rspauth) if !space.proves(&relay.spec.credentials, &asked, uri, &rspauth) => {
                    return Err(LeaseFailure::NotProven);
                }
                Some(_) => {}
                // The first relay is known by its certificate, one behind it by this alone (RFC 4976 9.4).
                None if asking.hop > 0 => return Err(LeaseFailure::NotProven),
                None => {}
            }
            if let Some(next) = info.and_then(|info| info.param("nextnonce")) {
                space.renew(&next);
            }
        }
        let path = head.rows("Use-Path").next().and_then(|row| MsrpPath::parse(row).ok());
        let path = path.ok_or(LeaseFailure::UsePath("it is missing or malformed"))?;
        let secure = !relay.spec.insecure;
        self.check_use_path(&path, asking, secure)?;
        let named = path.leftmost().host();
        let known = self.relays.get(&id).map(|relay| relay.spec.chain.leftmost().host().to_owned());
        if asking.hop == 0 && known.as_deref().is_some_and(|known| !known.eq_ignore_ascii_case(named)) {
            // A farm names one of its machines, and all goes over the connection that stands.
            let text = format!("the relay lends URIs of {named}; its connection is used all the same");
            self.explain(None, connection, "M-20", text);
        }
        if let Some(expires) = seconds(head, "Expires") {
            if expires < SHORTEST {
                return Err(LeaseFailure::Expired);
            }
            let until = self.now + Duration::from_secs(expires.min(LONGEST));
            asking.until = Some(asking.until.map_or(until, |before| before.min(until)));
        }
        asking.path = path.uris().to_vec();
        Ok(())
    }

    /// RFC 4976 4.2 and 5.1: what a Use-Path may be.
    fn check_use_path(&self, path: &MsrpPath, asking: &Asking, secure: bool) -> Result<(), LeaseFailure> {
        let uris = path.uris();
        if uris.iter().any(|uri| uri.port().is_none() || uri.session_id().is_none()) {
            return Err(LeaseFailure::UsePath("a URI has no port or no session-id"));
        }
        if secure && uris.iter().any(|uri| !uri.is_secure()) {
            return Err(LeaseFailure::UsePath("a URI is not msrps"));
        }
        // RFC 4976 5.1: a relay behind another one is reached through it.
        let before = asking.path.len();
        if uris.len() <= before || uris.get(..before) != Some(asking.path.as_slice()) {
            return Err(LeaseFailure::UsePath("it does not lead through the relays before"));
        }
        // RFC 4976 3.1: no URI is for two sessions.
        let own = uris.get(before..).unwrap_or_default();
        let used = |uri: &MsrpUri| {
            self.leases
                .values()
                .filter_map(|lease| lease.held.as_ref())
                .any(|held| held.use_path.uris().contains(uri))
        };
        if own.iter().any(used) {
            return Err(LeaseFailure::UsePath("a URI is another session's"));
        }
        Ok(())
    }

    /// A lease is complete.
    fn hold(&mut self, connection: ConnectionId, asking: Asking) {
        let now = self.now;
        let Some(lease) = self.leases.get_mut(&asking.lease) else { return };
        let Ok(use_path) = MsrpPath::new(asking.path) else { return };
        let timer = asking.until.map(|until| {
            let notice = ((until - now) / 4).min(NOTICE);
            let at = now + (until - now).saturating_sub(notice);
            (self.timers.arm(at, Deadline::Lease(asking.lease)), false)
        });
        // RFC 4976 5.1: for the peer, the way is the other way round, and we are at its end.
        let mut path: Vec<_> = use_path.uris().iter().rev().cloned().collect();
        path.push(lease.local.clone());
        lease.held = Some(Held { connection, use_path, timer, until: asking.until });
        match MsrpPath::new(path) {
            Ok(path) => self.out.push_back(Output::Event(Event::Leased {
                lease: asking.lease,
                path,
                lifetime: asking.until.map(|until| until - now),
            })),
            Err(_) => self.lose_lease(asking.lease, LeaseFailure::UsePath("it is too long")),
        }
    }

    /// Sends the first AUTH for the next lease that waits, unless another one is under way.
    fn next_lease(&mut self, id: RelayId) {
        let Some(relay) = self.relays.get_mut(&id).filter(|relay| relay.asked.is_none()) else { return };
        let Some(lease) = relay.waiting.pop_front() else { return self.rest(id) };
        if let Link::Up { idle, .. } = &mut relay.link
            && let Some(idle) = idle.take()
        {
            self.timers.cancel(idle);
        }
        let asking = Asking {
            lease,
            hop: 0,
            path: Vec::new(),
            chain: Chain::default(),
            expires: relay.spec.expires.map(u64::from),
            bounded: false,
            proof: None,
            until: None,
        };
        self.ask(id, asking);
    }

    /// Sends an AUTH.
    fn ask(&mut self, id: RelayId, mut asking: Asking) {
        let (Some(relay), Some(lease)) = (self.relays.get_mut(&id), self.leases.get(&asking.lease)) else {
            // Nobody wants it any more.
            return self.next_lease(id);
        };
        let Link::Up { connection, .. } = relay.link else { return };
        let Some(known) = self.connections.get_mut(&connection) else { return };
        let Some(target) = relay.spec.chain.uris().get(asking.hop) else { return };
        let tid = fresh_tid(&mut self.random, &self.transactions, &[]);
        let timer = self.timers.arm(self.now + self.limits.response, Deadline::Auth(id));
        let mut to = String::new();
        for uri in &asking.path {
            to.push_str(uri.as_str());
            to.push(' ');
        }
        to.push_str(target.as_str());
        let mut frame = FrameWriter::request(&mut known.replies, tid, "AUTH", &to, lease.local.as_str());
        let space = relay.auth.spaces().find(|(hop, _)| **hop == asking.hop).map(|(_, space)| space);
        if let Some(space) = space {
            // RFC 4976 9.1: H(A2) is over the rightmost URI of To-Path.
            let cnonce = self.random.ident(24);
            let (value, asked) = space.answer(&relay.spec.credentials, "AUTH", target.as_str(), &cnonce);
            frame = frame.row("Authorization", &[&value]);
            asking.proof = Some(asked);
        }
        if let Some(expires) = asking.expires {
            frame = frame.row("Expires", &[&expires.to_string()]);
        }
        frame.end(Flag::Last);
        relay.asked = Some(Pending { tid, timer, asking });
        self.dirty.insert(connection);
    }

    /// Nothing comes of the AUTH that is, or was, under way, nor of those that wait: they would fare no better.
    fn refuse_all(&mut self, id: RelayId, first: Option<LeaseId>, why: &LeaseFailure) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let asked = relay.asked.take().map(|asked| {
            self.timers.cancel(asked.timer);
            asked.asking.lease
        });
        let waiting = std::mem::take(&mut relay.waiting);
        for lease in first.into_iter().chain(asked).chain(waiting) {
            self.lose_lease(lease, why.clone());
        }
    }

    /// A lease is over before its session is: the session fails, or whoever wanted it is told.
    fn lose_lease(&mut self, id: LeaseId, why: LeaseFailure) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        match lease.session.take() {
            Some(session) => {
                self.forget_lease(id);
                self.fail_session(session, SessionFailure::Disconnected);
            }
            None => {
                self.forget_lease(id);
                self.out.push_back(Output::Event(Event::LeaseLost { lease: id, why }));
            }
        }
    }
}

/// The value of a header that counts seconds.
fn seconds(head: &Head<'_>, name: &str) -> Option<u64> {
    let value = head.rows(name).next()?;
    let digits = !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit());
    // More than fits is as good as for ever.
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}
