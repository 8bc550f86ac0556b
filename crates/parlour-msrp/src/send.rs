//! Messages that go out: the queue, the chunks, and whose turn it is (RFC 4975 5.1, 7.1, 7.1.1).
//!
//! A frame is always written whole, so it needs no interrupting: what would interrupt a chunk - responses, REPORTs,
//! another session's turn - goes between two of them, and the next chunk continues at the next octet.

use crate::accept::essence;
use crate::chunk::{COST, count, fit, write_chunk};
use crate::endpoint::{Deadline, Endpoint};
use crate::head::{Flag, Tid};
use crate::io::{
    ConnectionId, Event, FailureReport, Outgoing, Output, SendError, SendFailure, SessionId, Source, SourceId,
};
use crate::outcome::Transaction;
use crate::reassembly::{Ranges, Told};
use crate::session::{Bind, Sending, Session};
use crate::settle::fresh_tid;
use crate::time::Instant;
use crate::write::FrameWriter;

/// Octets that leave as one [`Output::Send`] where there is more.
const BATCH: usize = 256 * 1024;

/// Octets that are asked of a source at once.
const FETCH: usize = 64 * 1024;

/// A source that was asked for octets.
#[derive(Debug)]
pub(crate) struct Fetching {
    source: SourceId,
    offset: u64,
    pub(crate) session: SessionId,
    message: u64,
}

impl Endpoint {
    /// Queues a message. It leaves, after those queued before it, as soon as the session is bound and there is room.
    ///
    /// # Errors
    /// Why it is not taken; nothing is sent then.
    //= IM M-2
    pub fn send(&mut self, now: Instant, id: SessionId, message: Outgoing) -> Result<(), SendError> {
        self.enqueue(now, id, message, false)
    }

    /// Queues a control message, such as a typing state: it is of the moment. It leaves on a paused session too
    /// (RFC 4975 8.9) and between the chunks of a message that takes several, it is never handed back to be sent again
    /// (who asks for responses is told that it failed), and [`Event::Sent`] is not told of it.
    ///
    /// # Errors
    /// As [`send`](Self::send); also if its body is no [`Source::Inline`] that fits one chunk.
    pub fn send_control(&mut self, now: Instant, id: SessionId, message: Outgoing) -> Result<(), SendError> {
        self.enqueue(now, id, message, true)
    }

    fn enqueue(
        &mut self,
        now: Instant,
        id: SessionId,
        message: Outgoing,
        control: bool,
    ) -> Result<(), SendError> {
        self.now = self.now.max(now);
        let key = self.number();
        let session = self.sessions.get_mut(&id).ok_or(SendError::UnknownSession)?;
        message.check()?;
        let Outgoing { message_id, content_type, content_disposition, body, success_report, failure_report } =
            message;
        //= IM M-12
        if session.refused_types.contains(&essence(&content_type).to_ascii_lowercase()) {
            return Err(SendError::RefusedContentType);
        }
        if session.message_key(&message_id).is_some() {
            return Err(SendError::DuplicateMessageId);
        }
        let size = match &body {
            Source::Inline(octets) => count(octets),
            Source::Fetched { size, head, .. } => size.saturating_add(count(head)),
        };
        if let Some(max) = session.peer_max_size.filter(|max| size > *max) {
            return Err(SendError::TooLarge(max));
        }
        let queue = if control { &session.control } else { &session.queue };
        let full = queue.len() >= self.limits.queued_messages;
        let session = self.sessions.get(&id).ok_or(SendError::UnknownSession)?;
        //= IM M-17
        // Of control messages there are few, and each has one chunk at most.
        if full || !control && !self.may_queue(session, body.octets()) {
            return Err(SendError::QueueFull);
        }
        let one_chunk = u64::try_from(session.chunk()).unwrap_or(u64::MAX);
        if control && (size > one_chunk || !matches!(body, Source::Inline(_))) {
            return Err(SendError::TooLarge(one_chunk));
        }
        // Success REPORTs may never come; those awaited for longest are given up.
        if session.messages.len() >= self.limits.queued_messages.saturating_mul(2)
            && let Some((&oldest, _)) = session.messages.iter().find(|(_, old)| old.finished && old.open == 0)
        {
            let removed = self.weighing(id, |session| session.remove_message(oldest)).flatten();
            self.out.extend(removed.and_then(|message| message.unreported(id)).map(Output::Event));
        }
        let sending = Sending {
            message_id: message_id.into(),
            content_type: content_type.into(),
            content_disposition: content_disposition.map(Into::into),
            success_report,
            failure_report,
            fetched: body.head().to_vec(),
            source: body,
            fetched_from: 0,
            fetching: false,
            size,
            sent: 0,
            finished: false,
            open: 0,
            acknowledged: false,
            confirmed: false,
            awaited: false,
            reported: Ranges::default(),
            told: Told::default(),
            told_reported: Told::default(),
            control,
        };
        self.weighing(id, |session| session.add_message(key, sending));
        self.wake(id);
        Ok(())
    }

    /// Sends something, so that a peer, or a NAT on the way, sees that the session is alive: the next message, or a
    /// SEND without a body. It does nothing on a session that is not bound.
    //= IM M-10
    pub fn keep_alive(&mut self, now: Instant, id: SessionId) {
        self.now = self.now.max(now);
        if let Some(session) = self.sessions.get_mut(&id)
            && matches!(session.bind, Bind::Bound(_))
        {
            session.greeted = false;
            self.wake(id);
        }
    }

    /// Gives a message up: it fails with [`SendFailure::Aborted`]. If a part of it has left, the peer is told to forget
    /// it; if all of it has left, the peer may have it.
    //= IM M-5
    pub fn abort(&mut self, now: Instant, id: SessionId, message_id: &str) {
        self.now = self.now.max(now);
        if let Some(key) = self.sessions.get(&id).and_then(|session| session.message_key(message_id)) {
            self.abandon(id, key, SendFailure::Aborted);
        }
    }

    /// Takes back all messages that nobody has acknowledged, whole and in order, and tells nobody: for a session that
    /// takes over from this one. Those that left in part stay open at the peer until this session closes.
    //= IM M-2
    pub fn withdraw(&mut self, now: Instant, id: SessionId) -> Vec<Outgoing> {
        self.now = self.now.max(now);
        self.replace_now(id);
        self.weighing(id, Session::withdraw).unwrap_or_default()
    }

    /// Forgets a message of ours and says why it failed.
    pub(crate) fn abandon(&mut self, id: SessionId, key: u64, why: SendFailure) {
        let removed = self.weighing(id, |session| session.remove_message(key)).flatten();
        let (Some(message), Some(session)) = (removed, self.sessions.get_mut(&id)) else { return };
        session.queue.retain(|queued| *queued != key);
        session.control.retain(|queued| *queued != key);
        // RFC 4975 7.1 and 7.3.2: `#` says that no more chunks come, also to who has not refused the message but stands
        // behind who did. 10.5: after a 413 nothing of it is sent.
        let silent = matches!(why, SendFailure::Refused { status: 413, .. });
        if let (Bind::Bound(connection), true) =
            (&session.bind, message.sent > 0 && !message.finished && !silent)
            && let Some(known) = self.connections.get_mut(connection)
        {
            let tid = fresh_tid(&mut self.random, &self.transactions, &[]);
            write_chunk(&mut known.replies, tid, session, &message, &[], Flag::Abort);
            self.dirty.insert(*connection);
        }
        self.out.extend(message.failure(id, why).or_else(|| message.unreported(id)).map(Output::Event));
        // The next one need not wait for it any more.
        self.wake(id);
    }

    /// Octets that a source was asked for.
    pub(crate) fn fetched(&mut self, source: SourceId, offset: u64, bytes: &[u8]) {
        let Some(at) = self.fetches.iter().position(|asked| asked.source == source && asked.offset == offset)
        else {
            return;
        };
        let Fetching { session: id, message: key, .. } = self.fetches.swap_remove(at);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(message) = session.messages.get_mut(&key) else { return };
        message.fetching = false;
        let wanted = message.size.saturating_sub(count(message.source.head())).saturating_sub(offset);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let bytes = bytes.get(..wanted).unwrap_or(bytes);
        if bytes.is_empty() {
            self.abandon(id, key, SendFailure::Unreadable);
        } else {
            message.fetched.extend_from_slice(bytes);
            self.wake(id);
        }
    }

    /// Gives a session a turn if it is bound.
    pub(crate) fn wake(&mut self, id: SessionId) {
        if let Some(Bind::Bound(connection)) = self.sessions.get(&id).map(|session| &session.bind)
            && let Some(known) = self.connections.get_mut(connection)
        {
            known.make_ready(id);
            self.dirty.insert(*connection);
        }
    }

    /// Hands out what may leave on a connection: replies first, then chunks, a session's chunk at a time.
    //= IM M-4
    //= IM M-15
    pub(crate) fn pump(&mut self, id: ConnectionId) {
        let mut batch = self.take_replies(id);
        let mut told = Vec::new();
        while let Some(known) = self.connections.get_mut(&id).filter(|known| known.open) {
            let Some(&session) = known.ready.front() else { break };
            match self.next_frame(id, session, &mut batch, &mut told) {
                Turn::Taken => {
                    if let Some(known) = self.connections.get_mut(&id) {
                        known.ready.pop_front();
                        known.ready.push_back(session);
                    }
                }
                Turn::Waived => {
                    if let Some(known) = self.connections.get_mut(&id) {
                        known.ready.pop_front();
                    }
                }
                Turn::NoRoom => break,
            }
            if batch.len() >= BATCH {
                self.out.push_back(Output::Send { connection: id, bytes: std::mem::take(&mut batch) });
            }
        }
        if !batch.is_empty() {
            self.out.push_back(Output::Send { connection: id, bytes: batch });
        }
        self.out.extend(told.into_iter().map(Output::Event));
        self.balance(id);
    }

    /// Hands out the responses and REPORTs that wait.
    pub(crate) fn pump_replies(&mut self, id: ConnectionId) {
        let bytes = self.take_replies(id);
        if !bytes.is_empty() {
            self.out.push_back(Output::Send { connection: id, bytes });
        }
    }

    fn take_replies(&mut self, id: ConnectionId) -> Vec<u8> {
        let Some(known) = self.connections.get_mut(&id).filter(|known| known.open) else { return Vec::new() };
        let bytes = std::mem::take(&mut known.replies);
        known.spend(bytes.len());
        bytes
    }

    /// Stops or restarts reading.
    fn balance(&mut self, id: ConnectionId) {
        let Some(known) = self.connections.get_mut(&id) else { return };
        let hold = known.should_hold(&self.limits);
        if std::mem::replace(&mut known.held, hold) != hold {
            let output =
                if hold { Output::Hold { connection: id } } else { Output::Resume { connection: id } };
            self.out.push_back(output);
        }
    }

    /// Appends the next SEND of a session, if it has one and there is room for it.
    fn next_frame(
        &mut self,
        at: ConnectionId,
        id: SessionId,
        batch: &mut Vec<u8>,
        told: &mut Vec<Event>,
    ) -> Turn {
        self.prefetch(id);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.has_work()) else {
            return Turn::Waived;
        };
        // It is no content, so neither a pause nor a long message holds it up (RFC 4975 8.9).
        if session.owes_nickname() {
            return self.write_nickname(at, id, batch);
        }
        let Some(known) = self.connections.get_mut(&at) else { return Turn::Waived };
        let plan = session.plan(self.limits.unacknowledged);
        let fits = plan.and_then(|(key, length)| {
            Some((key, fit(length, session.overhead(Some(key)), known.room, known.granted)?))
        });
        let before = batch.len();
        match fits {
            Some((key, length)) => {
                let Some(message) = session.messages.get(&key) else { return Turn::Waived };
                let body = message.next_octets(length);
                let tid = fresh_tid(&mut self.random, &self.transactions, body);
                let sent = message.sent.saturating_add(count(body));
                //= IM M-5
                let flag = if sent == message.size { Flag::Last } else { Flag::More };
                write_chunk(batch, tid, session, message, body, flag);
                known.spend(batch.len().saturating_sub(before));
                self.chunk_left(at, id, key, tid, sent, told);
            }
            None if !session.greeted && session.overhead(None) > known.room => return Turn::NoRoom,
            // RFC 4975 5.4: who connects sends at once, with or without something to say.
            //= IM M-10
            None if !session.greeted => {
                let tid = fresh_tid(&mut self.random, &self.transactions, &[]);
                let message_id = self.random.ident(16);
                FrameWriter::request(batch, tid, "SEND", session.to(), session.local.as_str())
                    .row("Message-ID", &[&message_id])
                    .row("Byte-Range", &["1-0/0"])
                    .end(Flag::Last);
                known.spend(batch.len().saturating_sub(before));
                self.await_response(at, id, None, tid, 0, FailureReport::Yes);
            }
            None if plan.is_some() => return Turn::NoRoom,
            None => return Turn::Waived,
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.greeted = true;
        }
        self.prefetch(id);
        Turn::Taken
    }

    /// Counts a chunk that was just written.
    //= IM M-17
    fn chunk_left(
        &mut self,
        at: ConnectionId,
        id: SessionId,
        key: u64,
        tid: Tid,
        sent: u64,
        told: &mut Vec<Event>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(message) = session.messages.get_mut(&key) else { return };
        let length = sent.saturating_sub(message.sent);
        let failure_report = message.failure_report;
        message.advance(sent);
        let message_id = || message.message_id.as_ref().to_owned();
        if sent == message.size {
            if !message.control {
                told.push(Event::Sent { session: id, message_id: message_id() });
            }
            message.finished = true;
            message.fetched = Vec::new();
            let queue = if message.control { &mut session.control } else { &mut session.queue };
            queue.pop_front();
        } else if message.told.due(self.now, || sent).is_some() {
            let total = message.size;
            let message_id = message.message_id.as_ref().to_owned();
            told.push(Event::Progress { session: id, message_id, sent, total });
        }
        if failure_report != FailureReport::No {
            message.open = message.open.saturating_add(1);
            self.await_response(at, id, Some(key), tid, length, failure_report);
        }
        self.finish(id, key);
    }

    /// Starts the 30 s in which a response must come (RFC 4975 7.1.1).
    //= IM M-7
    pub(crate) fn await_response(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        message: Option<u64>,
        tid: Tid,
        length: u64,
        failure_report: FailureReport,
    ) {
        let order = self.number();
        let timer = self.timers.arm(self.now + self.limits.response, Deadline::Response(tid));
        // Only `yes` brings a response for sure, so only then is there something to wait for.
        let cost = if failure_report == FailureReport::Yes { length.saturating_add(COST) } else { 0 };
        if let Some(session) = self.sessions.get_mut(&session) {
            session.unacknowledged = session.unacknowledged.saturating_add(cost);
        }
        let transaction = Transaction { connection, session, message, cost, timer, order };
        self.transactions.insert(tid, transaction);
    }

    /// Asks the source of a session's next message for octets before they are needed.
    fn prefetch(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let chunk = session.chunk();
        let Some(key) = session.queue.front().copied() else { return };
        let Some(message) = session.messages.get_mut(&key) else { return };
        let Source::Fetched { source, size, .. } = message.source else { return };
        let offset = message.next_fetch();
        let most = FETCH.checked_div(chunk).unwrap_or(0).max(1).saturating_mul(chunk);
        let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(most);
        if length > 0 && !message.fetching && message.next_octets(usize::MAX).len() < most {
            message.fetching = true;
            self.fetches.push(Fetching { source, offset, session: id, message: key });
            self.out.push_back(Output::Fetch { source, offset, length });
        }
    }
}

/// What a session did with its turn.
pub(crate) enum Turn {
    /// It has sent a frame.
    Taken,
    /// It has nothing to send for now.
    Waived,
    /// There is not enough room.
    NoRoom,
}
