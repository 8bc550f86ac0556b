//! What becomes of our requests: responses, REPORTs, and neither (RFC 4975 7.3.2 and 10).

use crate::accept::essence;
use crate::connection::Current;
use crate::endpoint::{Deadline, Endpoint};
use crate::head::{Head, Tid};
use crate::io::{ConnectionId, Event, FailureReport, Output, SendFailure, SessionFailure, SessionId};
use crate::timer::TimerId;

/// Separate ranges that success REPORTs may leave of one message.
const REPORTED: usize = 1024;

/// A request of ours that has no response yet.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) connection: ConnectionId,
    pub(crate) session: SessionId,
    /// The message; none for a SEND without a body.
    pub(crate) message: Option<u64>,
    /// What it counts for in the window.
    pub(crate) cost: u64,
    pub(crate) timer: TimerId,
    /// Of two requests, the later one has the higher number.
    pub(crate) order: u64,
}

impl Endpoint {
    /// A response. One that answers nothing is ignored: some peers answer REPORTs.
    //= IM M-12
    //= IM X-24
    pub(crate) fn response(
        &mut self,
        connection: ConnectionId,
        head: &Head<'_>,
        status: u16,
        comment: &str,
    ) -> Option<Current> {
        if self.auth_response(connection, head, status, comment) {
            return None;
        }
        // RFC 4975 7.2: a response comes on the connection of its request.
        self.transactions.get(&head.tid).filter(|transaction| transaction.connection == connection)?;
        let transaction = self.transactions.remove(&head.tid)?;
        self.timers.cancel(transaction.timer);
        self.connections.get_mut(&connection)?.answered = (self.now, transaction.order);
        let id = transaction.session;
        let session =
            self.sessions.get_mut(&id).filter(|session| session.connection() == Some(connection))?;
        session.unacknowledged = session.unacknowledged.saturating_sub(transaction.cost);
        if transaction.message.is_none() {
            self.nickname_answered(id, head.tid, status, comment);
        }
        match (transaction.message, status) {
            // An unknown 2xx is a 200.
            (Some(key), 200..=299) => self.answered(id, key),
            (Some(key), _) => self.refused(id, key, status, comment),
            (None, 481 | 506) => self.fail_session(id, SessionFailure::Refused(status)),
            (None, _) => {}
        }
        self.wake(id);
        None
    }

    /// A chunk was answered 200, or needs no answer any more.
    fn answered(&mut self, id: SessionId, key: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(message) = session.messages.get_mut(&key) else { return };
        message.open = message.open.saturating_sub(1);
        self.finish(id, key);
    }

    /// Tells that all chunks of a message were answered, and forgets it when no REPORT is to come either.
    pub(crate) fn finish(&mut self, id: SessionId, key: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let relayed = session.is_relayed();
        let Some(message) = session.messages.get_mut(&key) else { return };
        if !message.finished || message.open > 0 {
            return;
        }
        let by_report = relayed && !message.control && message.failure_report == FailureReport::Yes;
        //= IM M-22
        // The first relay has it all; whether the peer has is told by a REPORT, and one of failure by the relay that
        // could not pass it on.
        if !message.acknowledged && !message.confirmed && by_report {
            if !std::mem::replace(&mut message.awaited, true) {
                self.timers.arm(self.now + self.limits.report, Deadline::Report(id, key));
            }
            return;
        }
        if message.failure_report == FailureReport::Yes && !message.acknowledged {
            let message_id = message.message_id.as_ref().to_owned();
            self.out.push_back(Output::Event(Event::Acknowledged { session: id, message_id }));
        }
        message.acknowledged = true;
        let over = !message.success_report;
        self.weighing(id, |session| {
            session.drop_body(key);
            if over {
                session.remove_message(key);
            }
        });
    }

    /// A chunk was refused, and with it the message.
    fn refused(&mut self, id: SessionId, key: u64, status: u16, comment: &str) {
        // RFC 4975 10.8 and 10.10: that is said of the session, not of the message, which may go again in another one.
        if matches!(status, 481 | 506) {
            return self.fail_session(id, SessionFailure::Refused(status));
        }
        // RFC 4975 10.4: 408 says what our own timer would say.
        let why = match status {
            408 => SendFailure::NoResponse,
            _ => SendFailure::Refused { status, comment: comment.to_owned() },
        };
        // A control message is no content: what becomes of it says nothing of content in the same wrapping.
        let message = self.sessions.get(&id).and_then(|session| session.messages.get(&key));
        let control = message.is_none_or(|message| message.control);
        if status == 415 {
            self.hand_back(id, key);
        }
        if status == 415 && !control {
            self.refused_type(id, key, &why);
        }
        self.abandon(id, key, why);
    }

    /// RFC 4975 10.6: no more messages of that type in this session, those that wait included.
    fn refused_type(&mut self, id: SessionId, key: u64, why: &SendFailure) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(refused) = session.messages.get(&key).map(|message| essence(&message.content_type)) else {
            return;
        };
        // What stands inside another may be what is not taken: something else in it may be.
        let family = refused.split('/').next().unwrap_or_default();
        if ["message", "multipart"].iter().any(|container| family.eq_ignore_ascii_case(container)) {
            return;
        }
        let same = |other: &str| essence(other).eq_ignore_ascii_case(refused);
        let waiting = session.queue.iter().filter(|other| {
            **other != key
                && session
                    .messages
                    .get(other)
                    .is_some_and(|other| other.sent == 0 && same(&other.content_type))
        });
        let waiting: Vec<u64> = waiting.copied().collect();
        let refused = refused.to_ascii_lowercase();
        session.refused_types.add(&refused, ());
        for other in waiting {
            self.hand_back(id, other);
            self.abandon(id, other, why.clone());
        }
    }

    /// Hands a message back whose media type was refused.
    fn hand_back(&mut self, id: SessionId, key: u64) {
        let Some(message) = self.sessions.get(&id).and_then(|session| session.messages.get(&key)) else {
            return;
        };
        if let Some(outgoing) = message.copy() {
            let control = message.control;
            self.out.push_back(Output::Event(Event::TypeRefused { session: id, message: outgoing, control }));
        }
    }

    /// A REPORT. It is never answered, whatever is wrong with it.
    //= IM M-8
    //= IM M-9
    //= IM X-24
    pub(crate) fn report(&mut self, connection: ConnectionId, head: &Head<'_>) -> Option<Current> {
        let id = self.place(connection, head).ok()?;
        // RFC 4975 7.1.3: only namespace 000 means what the response codes mean.
        let status = head.status.filter(|status| status.namespace == 0)?;
        let session = self.sessions.get_mut(&id)?;
        let relayed = session.is_relayed();
        let key = session.message_key(head.message_id?)?;
        let message = session.messages.get_mut(&key)?;
        if !(200..=299).contains(&status.code) {
            self.refused(id, key, status.code, status.comment);
            // RFC 4975 7.3.2: octets did not arrive, so the session has failed. What is only not wanted has arrived.
            if head.byte_range.is_some() && !matches!(status.code, 400 | 403 | 413 | 415) {
                self.fail_session(id, SessionFailure::Refused(status.code));
            }
            return None;
        }
        let (start, end) = match head.byte_range {
            Some(range) => (range.start.saturating_sub(1), range.end.or(range.total).unwrap_or(message.size)),
            None => (0, message.size),
        };
        let asked = message.success_report || relayed;
        if asked {
            // whoever reports octet by octet is heard until it becomes a burden; and nobody has what has not left.
            message.reported.add_within(start, end.min(message.sent), REPORTED);
        }
        if asked && message.finished && !message.confirmed && message.reported.covers(message.size) {
            message.confirmed = true;
            let message_id = message.message_id.as_ref().to_owned();
            let reported = std::mem::take(&mut message.success_report);
            // Whoever has it all has each chunk of it, whether it answers them or not.
            message.open = 0;
            self.finish(id, key);
            if reported {
                self.out.push_back(Output::Event(Event::Reported { session: id, message_id }));
            }
        } else if asked
            && let Some(reported) = message.told_reported.due(self.now, || message.reported.octets())
        {
            let total = message.size;
            let message_id = message.message_id.as_ref().to_owned();
            self.out.push_back(Output::Event(Event::Reporting { session: id, message_id, reported, total }));
        }
        None
    }

    /// A message went through relays, and nobody has reported: neither that it has arrived, nor that it could not be
    /// passed on, which takes a relay 30 s (RFC 4976 6.4.1). So the peer is one who sends no REPORTs.
    pub(crate) fn no_report(&mut self, id: SessionId, key: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let connection = session.connection();
        let Some(message) = session.messages.get_mut(&key).filter(|message| message.finished) else { return };
        if message.acknowledged || message.confirmed || message.open > 0 {
            return;
        }
        message.confirmed = true;
        message.success_report = false;
        let text =
            format!("no REPORT on {} came, and no failure: it is taken to have arrived", message.message_id);
        if let Some(connection) = connection {
            self.explain(Some(id), connection, "M-22", text);
        }
        self.finish(id, key);
    }

    /// 30 s have passed without a response.
    //= IM M-7
    pub(crate) fn no_response(&mut self, tid: Tid) {
        let wait = self.limits.response;
        let Some(transaction) = self.transactions.get_mut(&tid) else { return };
        // RFC 4975 7.1.1: from when the last octet was sent. Over a slow link it was not, as long as responses to earlier
        // requests come: theirs were sent before.
        let known = self.connections.get(&transaction.connection);
        let earlier = known.map(|known| known.answered).filter(|(_, order)| *order < transaction.order);
        if let Some(until) = earlier.map(|(at, _)| at + wait).filter(|until| *until > self.now) {
            transaction.timer = self.timers.arm(until, Deadline::Response(tid));
            return;
        }
        let Some(transaction) = self.transactions.remove(&tid) else { return };
        let id = transaction.session;
        // A session that has moved to another connection sends again what it sent on the former one.
        let here = Some(transaction.connection);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.connection() == here) else {
            return;
        };
        session.unacknowledged = session.unacknowledged.saturating_sub(transaction.cost);
        if let Some(key) = transaction.message {
            let report = session.messages.get(&key).map(|message| message.failure_report);
            match report {
                Some(FailureReport::Yes) => self.abandon(id, key, SendFailure::NoResponse),
                // Silence is consent.
                Some(FailureReport::Partial | FailureReport::No) => self.answered(id, key),
                None => {}
            }
            if report != Some(FailureReport::Yes) {
                return;
            }
        } else {
            self.nickname_unanswered(id, tid);
        }
        let heard = self.connections.get(&transaction.connection).map(|connection| connection.heard);
        if heard.is_none_or(|heard| self.now - heard >= wait) {
            self.fail_session(id, SessionFailure::Unresponsive);
        } else {
            self.wake(id);
        }
    }
}
