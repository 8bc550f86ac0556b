//! SENDs that come in (RFC 4975 7.3.1).

use std::net::{IpAddr, Ipv4Addr};

use crate::bind::Refusal;
use crate::bounds::Host;
use crate::chunk::count;
use crate::connection::{Chunk, Current, Reply};
use crate::endpoint::{Deadline, Endpoint, Spooling};
use crate::head::{ByteRange, Flag, Head};
use crate::io::{ConnectionId, Event, FailureReport, Incomplete, Output, SessionId, SpoolId};
use crate::parts::ends_of;
use crate::reassembly::{Partial, Ranges, Sparse, Store, Told};
use crate::session::{MAX_VALUE, Session};
use crate::time::Instant;
use crate::uri::MAX_PATH_OCTETS;

/// How many octets of a spooled message are shown with it.
const HEAD: u64 = 16 * 1024;

/// Octets of one message that are handed out together, if they arrived together.
const PIECE: usize = 256 * 1024;

/// More holes than a sender makes who sends in order and is cut by relays.
const MAX_RANGES: usize = 256;

impl Endpoint {
    /// Stops a message that is coming: what is here of it is thrown away, the chunk that runs is answered 413 before it
    /// ends, and so is each one that follows (RFC 4975 10.5). [`Event::Incomplete`] tells that it is over; a message
    /// that is whole, or unknown, stays as it is.
    //= IM M-12
    pub fn stop(&mut self, now: Instant, id: SessionId, message_id: &str) {
        self.now = self.now.max(now);
        let Some(bound) = self.sessions.get(&id).map(|session| session.connection()) else { return };
        if let Some(partial) = self.unpark(id, message_id) {
            return self.lose_for_good(id, bound, partial, Incomplete::Refused);
        }
        let Some((at, known)) = bound.and_then(|at| Some((at, self.connections.get_mut(&at)?))) else {
            return;
        };
        match std::mem::replace(&mut known.current, Current::Ignored { left: u64::MAX }) {
            Current::Chunk(chunk) if chunk.is_of(id, message_id) => {
                let text = "its receiver does not want it any more";
                self.refuse_chunk(at, chunk, 413, text, Incomplete::Refused);
            }
            other @ (Current::Nothing | Current::Ignored { .. } | Current::Chunk(_)) => known.current = other,
        }
    }

    /// The head of a SEND.
    pub(crate) fn begin_send(&mut self, connection: ConnectionId, head: &Head<'_>) -> Option<Current> {
        let id = match self.place(connection, head) {
            Ok(id) => id,
            Err(refusal) => {
                self.refuse(connection, None, head, &refusal);
                return None;
            }
        };
        match self.begin_chunk(connection, id, head) {
            Ok(chunk) => chunk.map(Current::Chunk),
            Err(refusal) => {
                self.refuse(connection, Some(id), head, &refusal);
                None
            }
        }
    }

    /// Checks all that the head tells before an octet is kept; `None` for a chunk that is here already.
    //= IM X-20
    //= IM M-13
    fn begin_chunk(
        &mut self,
        connection: ConnectionId,
        id: SessionId,
        head: &Head<'_>,
    ) -> Result<Option<Chunk>, Refusal> {
        let partial = head.message_id.and_then(|message_id| self.unpark(id, message_id));
        let session = self.sessions.get_mut(&id).ok_or_else(|| Refusal::new(481, "M-11", "no session"))?;
        let (previous, _) = ends_of(head.from_path);
        let reply = (head.failure_report != FailureReport::No).then(|| Reply {
            connection,
            tid: head.tid,
            errors_only: head.failure_report == FailureReport::Partial,
            to: Some(previous).filter(|uri| *uri != session.peer.leftmost().as_str()).map(Into::into),
        });
        if let Some(timer) = partial.as_ref().and_then(|partial| partial.idle) {
            self.timers.cancel(timer);
        }
        if !head.has_body && partial.is_none() {
            // RFC 4975 7.1: a SEND without a body is traffic, nothing to be shown.
            return Ok(Some(Chunk { session: id, reply, message: None, offset: 0 }));
        }
        let checked = check(session, partial.as_ref(), head);
        let (range, message_id, content_type) = match checked {
            Ok(checked) => checked,
            Err(refusal) => {
                // What follows of it is refused too, rather than taken for the start of another message.
                if let Some(message_id) =
                    head.message_id.filter(|_| refusal.status == 413 || partial.is_some())
                {
                    session.refused.add(message_id, ());
                }
                if let Some(partial) = partial {
                    self.lose(id, Some(connection), partial, Incomplete::Refused);
                }
                return Err(refusal);
            }
        };
        let start = range.start.saturating_sub(1);
        if partial.is_none() && start > 0 && session.finished.contains(message_id) {
            //= IM M-2
            self.repeat(id, message_id, reply);
            return Ok(None);
        }
        let mut partial = match partial {
            Some(partial) => partial,
            None => {
                let mut known = self.connections.get_mut(&connection);
                if let Some(known) = &mut known {
                    known.incomplete = known.incomplete.saturating_add(1);
                }
                let peer = known.and_then(|known| known.peer).map(|peer| peer.ip());
                Partial {
                    host: Host::of(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
                    message_id: message_id.to_owned(),
                    content_type: content_type.to_owned(),
                    content_disposition: head.content_disposition.map(str::to_owned),
                    success_report: head.success_report,
                    failure_report: head.failure_report,
                    report_to: Some(head.from_path).filter(|path| **path != *session.to()).map(Into::into),
                    store: Store::Memory(Sparse::default()),
                    ranges: Ranges::default(),
                    stated: None,
                    total: None,
                    chunks: 0,
                    told: Told::default(),
                    idle: None,
                }
            }
        };
        self.rehome(connection, &partial);
        partial.idle = None;
        partial.stated = partial.stated.or(range.total);
        Ok(Some(Chunk { session: id, reply, message: Some(partial), offset: start }))
    }

    /// Octets of the body that is being received.
    pub(crate) fn body(&mut self, id: ConnectionId, octets: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let current = match std::mem::replace(&mut connection.current, Current::Nothing) {
            Current::Nothing => return,
            Current::Ignored { left: u64::MAX } => Current::Ignored { left: u64::MAX },
            Current::Ignored { left } => match left.checked_sub(count(octets)) {
                Some(left) => Current::Ignored { left },
                None => {
                    let limit = self.limits.other_body;
                    let text =
                        format!("connection closed: more than {limit} octets in a frame that is no SEND");
                    self.explain(None, id, "X-23", text);
                    self.drop_connection(id);
                    return;
                }
            },
            Current::Chunk(chunk) => self.chunk_body(id, chunk, octets),
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.current = current;
        }
    }

    fn chunk_body(&mut self, id: ConnectionId, mut chunk: Chunk, octets: &[u8]) -> Current {
        let max = self.sessions.get(&chunk.session).map_or(0, |session| session.max_size);
        let end = chunk.offset.saturating_add(count(octets));
        let Some(partial) = &mut chunk.message else { return Current::Chunk(chunk) };
        if end > max || partial.ranges.len() > MAX_RANGES {
            // RFC 4975 10.5: stop at once, without waiting for the end of the chunk.
            let text = format!("the message is larger than {max} octets, or full of holes");
            self.refuse_chunk(id, chunk, 413, &text, Incomplete::Refused);
            return Current::Ignored { left: u64::MAX };
        }
        self.keep(id, chunk.session, partial, chunk.offset, octets);
        partial.ranges.add(chunk.offset, end);
        chunk.offset = end;
        if let Some(received) = partial.told.due(self.now, || partial.ranges.octets()) {
            let (message_id, total) = (partial.message_id.clone(), partial.total.or(partial.stated));
            let session = chunk.session;
            self.out.push_back(Output::Event(Event::Receiving { session, message_id, received, total }));
        }
        Current::Chunk(chunk)
    }

    /// Puts octets into memory, or hands them out once there are too many.
    //= IM M-6
    fn keep(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        partial: &mut Partial,
        offset: u64,
        octets: &[u8],
    ) {
        match &mut partial.store {
            Store::Memory(memory) => {
                memory.write(offset, octets, u64::MAX);
                // By the octets that are here, not by where they belong: a far one is no reason to make a file.
                if memory.octets() <= self.limits.inline_body {
                    return;
                }
                let memory = std::mem::take(memory);
                let spool = SpoolId(self.number());
                let content_type = partial.content_type.as_str().into();
                let state = Spooling {
                    connection: id,
                    session,
                    content_type,
                    handed: 0,
                    spooled: 0,
                    finished: false,
                };
                self.spools.insert(spool, state);
                let mut head = Sparse::default();
                for (start, piece) in memory.pieces() {
                    head.write(start, piece, HEAD);
                    self.hand_out(spool, start, piece);
                }
                partial.store = Store::Spool { spool, head };
            }
            Store::Spool { spool, head } => {
                head.write(offset, octets, HEAD);
                self.hand_out(*spool, offset, octets);
            }
        }
    }

    /// Hands octets out, in pieces of a bounded size.
    fn hand_out(&mut self, spool: SpoolId, offset: u64, octets: &[u8]) {
        let mut at = offset;
        for piece in octets.chunks(PIECE) {
            self.hand_out_piece(spool, at, piece);
            at = at.saturating_add(count(piece));
        }
    }

    /// Hands octets out, in one piece with those before them if nothing was handed out since.
    fn hand_out_piece(&mut self, spool: SpoolId, offset: u64, octets: &[u8]) {
        let length = count(octets);
        if let Some(state) = self.spools.get_mut(&spool) {
            state.handed = state.handed.saturating_add(length);
            if let Some(connection) = self.connections.get_mut(&state.connection) {
                connection.unspooled = connection.unspooled.saturating_add(length);
            }
        }
        if let Some(Output::Spool { spool: last, offset: from, bytes }) = self.out.back_mut()
            && *last == spool
            && from.checked_add(count(bytes)) == Some(offset)
            && bytes.len().saturating_add(octets.len()) <= PIECE
        {
            // More follows, mostly: growing fourfold copies less than twofold, and wastes no more than three times as much.
            if bytes.capacity().saturating_sub(bytes.len()) < octets.len() {
                bytes.reserve(bytes.len().saturating_mul(3).max(octets.len()));
            }
            bytes.extend_from_slice(octets);
        } else {
            self.out.push_back(Output::Spool { spool, offset, bytes: octets.to_vec() });
        }
    }

    /// The frame that is being received is over.
    pub(crate) fn end(&mut self, id: ConnectionId, flag: Flag) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut chunk = match std::mem::replace(&mut connection.current, Current::Nothing) {
            Current::Nothing | Current::Ignored { .. } => return,
            Current::Chunk(chunk) => chunk,
        };
        let Some(partial) = &mut chunk.message else {
            self.respond(chunk.session, chunk.reply.as_ref(), 200);
            return;
        };
        partial.chunks = partial.chunks.saturating_add(1);
        match flag {
            Flag::Abort => {
                self.respond(chunk.session, chunk.reply.as_ref(), 200);
                match chunk.message {
                    // Of a message that we have refused, or never heard of, there is nothing to tell.
                    Some(partial) if partial.chunks == 1 && partial.ranges.len() == 0 => {
                        self.clear(Some(id), &partial);
                    }
                    Some(partial) => {
                        self.lose_for_good(chunk.session, Some(id), partial, Incomplete::Aborted)
                    }
                    None => {}
                }
                return;
            }
            // RFC 4975 7.3.1: the chunk with `$` defines the total, by its octets and not by its Byte-Range.
            Flag::Last if partial.total.is_none_or(|total| total == chunk.offset) => {
                partial.total = Some(chunk.offset)
            }
            Flag::Last => {
                let text = "two chunks say that the message ends, in different places";
                self.refuse_chunk(id, chunk, 400, text, Incomplete::Refused);
                return;
            }
            Flag::More => {}
        }
        //= IM X-20
        if partial.total.is_some_and(|total| partial.ranges.end() > total) {
            let text = "a chunk lies beyond the end of the message";
            self.refuse_chunk(id, chunk, 400, text, Incomplete::Refused);
        } else if partial.is_whole() {
            self.complete(id, chunk);
        } else {
            self.wait_for_more(id, chunk);
        }
    }

    /// Keeps a message until its next chunk comes; this chunk's octets are safe, so it is answered.
    fn wait_for_more(&mut self, id: ConnectionId, mut chunk: Chunk) {
        let most = self.limits.incomplete_messages;
        let crowded =
            self.connections.get(&id).is_some_and(|known| known.incomplete > most.saturating_mul(8));
        let Some(session) = self.sessions.get_mut(&chunk.session) else { return };
        if crowded || session.partials.len() >= most {
            self.refuse_chunk(id, chunk, 413, "too many messages are incomplete", Incomplete::Refused);
            return;
        }
        if let Some(mut partial) = chunk.message.take() {
            let at = self.now + self.limits.reassembly_idle;
            partial.idle = Some(self.timers.arm(at, Deadline::Idle(chunk.session)));
            self.park(chunk.session, partial);
        }
        self.respond(chunk.session, chunk.reply.as_ref(), 200);
        self.make_room();
    }

    /// Refuses the message that a chunk belongs to.
    fn refuse_chunk(&mut self, id: ConnectionId, chunk: Chunk, status: u16, text: &str, why: Incomplete) {
        let session = chunk.session;
        self.explain(Some(session), id, "X-20", format!("{status} to a chunk: {text}"));
        self.respond(session, chunk.reply.as_ref(), status);
        if let Some(partial) = chunk.message {
            self.lose_for_good(session, Some(id), partial, why);
        }
    }

    /// Throws away what is here of a message, and refuses what comes of it later: octets that are gone were answered 200,
    /// and a sender that gets a 200 for each of the others, too, would take the message for delivered.
    pub(crate) fn lose_for_good(
        &mut self,
        id: SessionId,
        at: Option<ConnectionId>,
        partial: Partial,
        why: Incomplete,
    ) {
        // Unless it is here from an earlier attempt.
        if let Some(session) = self.sessions.get_mut(&id)
            && !session.finished.contains(&partial.message_id)
        {
            session.refused.add(&partial.message_id, ());
        }
        self.lose(id, at, partial, why);
    }

    /// Messages of this session wait for a chunk that does not come.
    pub(crate) fn idle(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get(&id) else { return };
        let connection = session.connection();
        let due = |partial: &&Partial| partial.idle.is_some_and(|timer| timer.at() <= now);
        let late = session.partials.iter().filter(due).map(|partial| partial.message_id.clone());
        for message_id in late.collect::<Vec<_>>() {
            let Some(partial) = self.unpark(id, &message_id) else { continue };
            self.lose_for_good(id, connection, partial, Incomplete::Idle);
        }
    }

    /// A frame has been open for as long as a message may wait for a chunk.
    pub(crate) fn stalled(&mut self, id: ConnectionId) {
        let idle = self.limits.reassembly_idle;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stalled = None;
        if !connection.reader.is_mid_frame() {
            return;
        }
        if self.now - connection.heard < idle {
            connection.stalled = Some(self.timers.arm(connection.heard + idle, Deadline::Stalled(id)));
            return;
        }
        match std::mem::replace(&mut connection.current, Current::Ignored { left: u64::MAX }) {
            // RFC 4975 7.2: whoever wants a response gets one, and need not wait for 30 s after the rest of the chunk.
            Current::Chunk(chunk) => {
                self.refuse_chunk(id, chunk, 413, "nothing more of it came", Incomplete::Idle);
            }
            other @ (Current::Nothing | Current::Ignored { .. }) => connection.current = other,
        }
    }
}

/// What the head of a chunk says of its message, if it may be taken: Byte-Range, Message-ID and Content-Type.
fn check<'h>(
    session: &Session,
    partial: Option<&Partial>,
    head: &Head<'h>,
) -> Result<(ByteRange, &'h str, &'h str), Refusal> {
    let message_id = head.message_id.ok_or_else(|| Refusal::new(400, "M-13", "there is no Message-ID"))?;
    let content_type = match head.content_type {
        Some(content_type) if session.accept.accepts_root(content_type) => content_type,
        Some(content_type) => {
            return Err(Refusal::new(415, "M-13", format!("our SDP does not list {content_type}")));
        }
        None if head.has_body => {
            return Err(Refusal::new(400, "M-13", "there is a body and no Content-Type"));
        }
        None => "",
    };
    // What is kept with a message until it is whole has to be small.
    let long = |label: Option<&str>, most| label.is_some_and(|label| label.len() > most);
    if long(head.content_type, MAX_VALUE) || long(head.content_disposition, MAX_VALUE) {
        let text = format!("Content-Type or Content-Disposition is longer than {MAX_VALUE} octets");
        return Err(Refusal::new(400, "X-20", text));
    }
    if head.from_path.len() > MAX_PATH_OCTETS {
        return Err(Refusal::new(400, "X-20", format!("From-Path is longer than {MAX_PATH_OCTETS} octets")));
    }
    let range = head.byte_range.unwrap_or(ByteRange { start: 1, end: None, total: None });
    let largest = range.start.saturating_sub(1).max(range.end.unwrap_or(0)).max(range.total.unwrap_or(0));
    if largest > session.max_size {
        let text = format!("Byte-Range states more than our max-size of {}", session.max_size);
        return Err(Refusal::new(413, "X-20", text));
    }
    // A new attempt starts at 1.
    if partial.is_none() && range.start > 1 && session.refused.contains(message_id) {
        return Err(Refusal::new(413, "M-13", "the message was refused before"));
    }
    let stated = partial.and_then(|partial| partial.stated);
    if stated.is_some() && range.total.is_some() && stated != range.total {
        return Err(Refusal::new(400, "X-20", "the total of Byte-Range changes between chunks"));
    }
    Ok((range, message_id, content_type))
}
