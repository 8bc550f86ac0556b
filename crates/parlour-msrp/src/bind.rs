//! Which session a request belongs to, and the binding of sessions to connections (RFC 4975 5.4 and 7.3).

use crate::connection::Current;
use crate::endpoint::Endpoint;
use crate::head::{Flag, Head, Start};
use crate::io::{ConnectionId, Event, FailureReport, Matching, Output, SessionFailure, SessionId};
use crate::parts::{Parts, ends_of, same_id};
use crate::relay::Lease;
use crate::session::{Bind, Session};
use crate::uri::MsrpPath;
use crate::write::FrameWriter;

/// Why a request is refused: a status code, the clause, and the reason in words.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) clause: &'static str,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, clause: &'static str, text: impl Into<String>) -> Self {
        Refusal { status, clause, text: text.into() }
    }
}

/// Why a session may not be bound to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// The session is for TLS, and the connection has none.
    Plain,
    /// It has not shown in TLS to be the peer.
    Stranger,
}

impl Distrust {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Distrust::Plain => "the session is for TLS, and the connection is not",
            Distrust::Stranger => "the certificate of the other end is not the peer's, or it showed none",
        }
    }
}

impl Endpoint {
    /// The session that a request belongs to. A SEND binds a waiting session to its connection.
    //= IM M-11
    //= IM X-21
    pub(crate) fn place(&mut self, connection: ConnectionId, head: &Head<'_>) -> Result<SessionId, Refusal> {
        if let Some(fault) = head.fault {
            return Err(Refusal::new(400, "M-13", fault.to_string()));
        }
        let unknown = |text: &str| Refusal::new(481, "M-11", text);
        // RFC 4975 7.3: To-Path has exactly one URI, and it is ours. Some peers write it twice.
        let (to, _) = ends_of(head.to_path);
        let leads_on = |path: &str| path.split(' ').any(|uri| !uri.is_empty() && uri != to);
        if to.len() < head.to_path.len() && leads_on(head.to_path) {
            return Err(unknown("To-Path leads on to somewhere else"));
        }
        let to_parts =
            Parts::of(to).map_err(|fault| Refusal::new(400, "M-13", format!("To-Path: {fault}")))?;
        let id = to_parts.session_id(to).and_then(|id| self.by_local.get(id)).copied();
        let Some((id, session)) = id.and_then(|id| Some((id, self.sessions.get_mut(&id)?))) else {
            return Err(unknown("there is no session with the URI of To-Path"));
        };
        if !is_uri(session.local.as_str(), to, session.matching, &session.local) {
            return Err(unknown("the URI of To-Path is not the one of our SDP"));
        }
        // RFC 4976 6.4: what is for a session behind a relay comes from that relay.
        let relay = session.via.and_then(|lease| self.leases.get(&lease)).map(Lease::connection);
        match &session.bind {
            _ if relay.is_some_and(|relay| relay != Some(connection)) => {
                return Err(Refusal::new(
                    506,
                    "M-22",
                    "the session is behind a relay, and this is not its connection",
                ));
            }
            Bind::Bound(bound) if *bound == connection => {}
            //= IM M-13
            Bind::Bound(_) | Bind::Connecting(_) => {
                return Err(Refusal::new(506, "M-11", "the session is bound to another connection"));
            }
            Bind::Expected | Bind::Waiting(_) if head.start == Start::Send => {}
            Bind::Expected | Bind::Waiting(_) => {
                return Err(unknown("the session is not bound by a SEND yet"));
            }
        }
        let (_, from) = ends_of(head.from_path);
        if !session.agreed && matches!(session.bind, Bind::Expected) {
            // The answer that names the peer is still on its way: until it is here, who knows the session-id is the peer.
            let path = MsrpPath::parse(head.from_path)
                .map_err(|fault| Refusal::new(400, "M-13", format!("From-Path: {fault}")))?;
            // What it came through last are our own relays.
            let own = session.use_path.as_ref().map_or(0, |ours| ours.uris().len());
            let uris = path.uris().get(own..).filter(|uris| !uris.is_empty()).unwrap_or(path.uris());
            let peer = MsrpPath::new(uris.to_vec())
                .map_err(|fault| Refusal::new(400, "M-13", format!("From-Path: {fault}")))?;
            session.set_peer(peer);
        }
        if !is_uri(session.peer.rightmost().as_str(), from, session.matching, session.peer.rightmost()) {
            return Err(unknown("the last URI of From-Path is not the peer's of SDP"));
        }
        if !self.sessions.get(&id).is_some_and(|session| session.is_bound()) {
            match self.distrust(connection, id) {
                None => {}
                // Whoever it is has not spoiled anything: the peer may still come.
                Some(why @ Distrust::Plain) => return Err(Refusal::new(403, "D-20", why.text())),
                // RFC 4975 14.4: the session ends at once.
                Some(why @ Distrust::Stranger) => {
                    self.fail_untrusted(id, connection);
                    if self.connections.get(&connection).is_some_and(|known| known.sessions.is_empty()) {
                        self.drop_connection(connection);
                    }
                    return Err(Refusal::new(403, "D-20", why.text()));
                }
            }
        }
        self.explain_difference(connection, id, to, from);
        self.bind_waiting(connection, id);
        Ok(id)
    }

    /// Why a session may not be bound to a connection.
    //= IM D-20
    pub(crate) fn distrust(&self, connection: ConnectionId, id: SessionId) -> Option<Distrust> {
        let (session, known) = (self.sessions.get(&id)?, self.connections.get(&connection)?);
        // Of a relay of ours the driver has made sure when it connected (RFC 4976 9.2).
        if session.via.is_some() {
            return None;
        }
        // RFC 4975 5.4: a URI with `msrps` is reached over TLS, or not at all.
        if (session.local.is_secure() || known.secure) && known.tls.is_none() {
            return Some(Distrust::Plain);
        }
        (!known.is_trusted(&session.trust)).then_some(Distrust::Stranger)
    }

    /// A session whose connection leads to somebody else ends.
    pub(crate) fn fail_untrusted(&mut self, session: SessionId, connection: ConnectionId) {
        self.out.push_back(Output::Event(Event::Untrusted { session, connection }));
        self.fail_session(session, SessionFailure::Untrusted);
    }

    /// With matching by session-id, tells once that a host or port differs.
    //= IM D-17
    fn explain_difference(&mut self, connection: ConnectionId, id: SessionId, to: &str, from: &str) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.explained) else { return };
        let same = |ours: &str, theirs: &str| {
            ours == theirs
                || matches!((Parts::of(ours), Parts::of(theirs)),
                    (Ok(one), Ok(two)) if one.matches(ours, &two, theirs))
        };
        let Session { local, peer, .. } = &**session;
        let text = if !same(local.as_str(), to) {
            format!("To-Path says {to} for {local}; the session-id is the same")
        } else if !same(peer.rightmost().as_str(), from) {
            format!("From-Path says {from} for {}; the session-id is the same", peer.rightmost())
        } else {
            return;
        };
        session.explained = true;
        self.explain(Some(id), connection, "D-17", text);
    }

    /// The first SEND binds its session to the connection.
    //= IM M-10
    fn bind_waiting(&mut self, connection: ConnectionId, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let timer = match session.bind {
            Bind::Expected => None,
            Bind::Waiting(timer) => Some(timer),
            Bind::Connecting(_) | Bind::Bound(_) => return,
        };
        let stated = session.peer.leftmost().ip().filter(|_| session.via.is_none());
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        if let Some(known) = self.connections.get_mut(&connection) {
            known.sessions.push(id);
            if let Some(timer) = known.unbound.take() {
                self.timers.cancel(timer);
            }
            let source = known.peer.map(|peer| peer.ip());
            if let (Some(stated), Some(source)) = (stated, source)
                && stated != source
            {
                let text = format!("the peer connects from {source}, its path says {stated}");
                self.explain(Some(id), connection, "X-21", text);
            }
        }
        self.bound(connection, id);
    }

    /// A request that is neither SEND nor REPORT.
    //= IM M-13
    pub(crate) fn unknown_method(&mut self, connection: ConnectionId, head: &Head<'_>) -> Option<Current> {
        let refusal = match self.place(connection, head) {
            Ok(session) => (Some(session), Refusal::new(501, "M-13", "the method is unknown")),
            Err(refusal) => (None, refusal),
        };
        self.refuse(connection, refusal.0, head, &refusal.1);
        None
    }

    /// Refuses a request: says why, and answers unless the peer wants no response.
    //= IM X-24
    //= IM M-7
    pub(crate) fn refuse(
        &mut self,
        connection: ConnectionId,
        session: Option<SessionId>,
        head: &Head<'_>,
        refusal: &Refusal,
    ) {
        let Refusal { status, clause, text } = refusal;
        self.explain(session, connection, clause, format!("{status} to a request: {text}"));
        let mut previous = head.from_path.split(' ').filter(|uri| !uri.is_empty());
        // RFC 4975 7.2: the response to a SEND goes to the previous hop, others the whole way back.
        let to = match head.start {
            Start::Send => previous.next(),
            Start::Other(_) => Some(head.from_path).filter(|path| !path.is_empty()),
            Start::Report | Start::Response { .. } => None,
        };
        let from = head.to_path.split(' ').next().filter(|uri| !uri.is_empty());
        if let (Some(to), Some(from), true) = (to, from, head.failure_report != FailureReport::No)
            && let Some(known) = self.connections.get_mut(&connection)
        {
            FrameWriter::response(&mut known.replies, head.tid, *status, to, from).end(Flag::Last);
            self.dirty.insert(connection);
        }
    }
}

/// Whether the URI that a peer wrote is `ours`.
pub(crate) fn is_uri(ours: &str, written: &str, matching: Matching, uri: &crate::uri::MsrpUri) -> bool {
    if same_id(Some(ours), Some(written)) {
        return true;
    }
    let (Ok(parts), Ok(known)) = (Parts::of(written), Parts::of(ours)) else { return false };
    match (matching, uri.session_id()) {
        (Matching::SessionId, Some(id)) => same_id(Some(id), parts.session_id(written)),
        (Matching::SessionId, None) | (Matching::Strict, _) => known.matches(ours, &parts, written),
    }
}
