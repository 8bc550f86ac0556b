//! Whole messages, the driver's verdict on them, and what the sender is told (RFC 4975 7.1.3, 7.1.4, 7.2).

use crate::connection::{Chunk, Reply};
use crate::endpoint::Endpoint;
use crate::head::{Flag, Tid};
use crate::io::{Body, ConnectionId, Event, FailureReport, Output, Receipt, SessionId, Verdict};
use crate::outcome::Transaction;
use crate::random::Random;
use crate::reassembly::Store;
use crate::table::Table;
use crate::time::Instant;
use crate::write::{FrameWriter, comment, status_digits};

/// Responses that wait for one verdict: the last chunk's, and those of its repetitions.
const MOST_REPLIES: usize = 16;

/// A message that was handed out and waits for the verdict.
#[derive(Debug)]
pub(crate) struct Held {
    session: SessionId,
    /// The connection that counts it.
    counted: Option<ConnectionId>,
    message_id: Box<str>,
    /// Responses that wait: the last chunk's, and those of its repetitions.
    replies: Vec<Reply>,
    /// Whether the responses have left.
    answered: bool,
    success_report: bool,
    failure_report: FailureReport,
    report_to: Option<Box<str>>,
    /// The status of a REPORT that waits for the session to have a connection again.
    owed: Option<u16>,
    size: u64,
    /// What it counts for: the octets that were handed out with it, and those of its labels.
    weight: u64,
}

impl Held {
    /// Octets in memory.
    pub(crate) fn octets(&self) -> usize {
        let to = |to: &Option<Box<str>>| to.as_ref().map_or(0, |to| to.len());
        let replies = self.replies.iter().map(|reply| to(&reply.to).saturating_add(size_of::<Reply>()));
        replies.fold(self.message_id.len().saturating_add(to(&self.report_to)), usize::saturating_add)
    }
}

impl Endpoint {
    /// Gives the verdict on a message: only now the response to its last chunk, and the REPORT, leave. A receipt that
    /// is unknown, or whose session is gone, is ignored.
    //= IM M-7
    //= IM M-8
    //= IM M-9
    pub fn settle(&mut self, now: Instant, receipt: Receipt, verdict: Verdict) {
        self.now = self.now.max(now);
        let Some(mut held) = self.receipts.remove(&receipt) else { return };
        if held.owed.is_some() {
            // The verdict was given.
            self.receipts.insert(receipt, held);
            return;
        }
        let verdict = match verdict {
            // Whatever it is, it is no error that a sender would know.
            Verdict::Refused(status) if !(400..600).contains(&status) => Verdict::Refused(413),
            Verdict::Accepted | Verdict::Received | Verdict::Refused(_) => verdict,
        };
        let yes = held.failure_report == FailureReport::Yes;
        // RFC 4975 7.1.4: with `partial` no 200, with `no` no response at all.
        let status = match verdict {
            Verdict::Accepted | Verdict::Received => Some(200).filter(|_| yes),
            Verdict::Refused(status) => Some(status).filter(|_| held.failure_report != FailureReport::No),
        };
        let answered = held.answered;
        held.answered |= yes && status.is_some();
        if let Some(status) = status.filter(|_| !answered) {
            for reply in std::mem::take(&mut held.replies) {
                self.respond_with(held.session, &reply, status);
            }
        }
        match verdict {
            Verdict::Received => {
                self.receipts.insert(receipt, held);
                return;
            }
            Verdict::Accepted if held.success_report => held.owed = Some(200),
            Verdict::Accepted => {}
            Verdict::Refused(status) => {
                if let Some(session) = self.sessions.get_mut(&held.session) {
                    session.refused.add(&held.message_id, ());
                }
                // The error comes too late for a response.
                if answered && yes {
                    held.owed = Some(status);
                }
            }
        }
        self.uncount_receipt(&mut held);
        if let Some(held) = self.report_on(held) {
            self.receipts.insert(receipt, held);
        }
    }

    /// Sends the REPORT that is owed on a message, if one is, and forgets the message; gives it back if its session has no
    /// connection at this moment, as its peer moves.
    fn report_on(&mut self, held: Held) -> Option<Held> {
        let session = self.sessions.get_mut(&held.session)?;
        if held.owed.is_some() && !session.is_bound() {
            return Some(held);
        }
        session.unsettled = session.unsettled.saturating_sub(1);
        if let Some(status) = held.owed {
            self.send_report(&held, status);
        }
        None
    }

    /// A session has a connection again: the REPORTs leave that waited for it.
    pub(crate) fn report_owed(&mut self, id: SessionId) {
        let owed = self.receipts.iter().filter(|(_, held)| held.session == id && held.owed.is_some());
        for receipt in owed.map(|(receipt, _)| *receipt).collect::<Vec<_>>() {
            if let Some(held) = self.receipts.remove(&receipt).and_then(|held| self.report_on(held)) {
                self.receipts.insert(receipt, held);
            }
        }
    }

    fn uncount_receipt(&mut self, held: &mut Held) {
        if let Some(id) = held.counted.take()
            && let Some(known) = self.connections.get_mut(&id)
        {
            known.unsettled = known.unsettled.saturating_sub(1);
            known.unsettled_octets = known.unsettled_octets.saturating_sub(held.weight);
            self.dirty.insert(id);
        }
    }

    /// A session ends whose messages have no verdict: nobody waits for those any more, unless another session goes on for
    /// it. There a chunk that comes again waits for the verdict, and the REPORT goes to where the peer is now.
    pub(crate) fn pass_receipts(&mut self, id: SessionId, heir: Option<SessionId>) {
        let of_session = |held: &Held| held.session == id;
        let mut left: Vec<Receipt> = Vec::new();
        left.extend(self.receipts.iter().filter(|(_, held)| of_session(held)).map(|(receipt, _)| *receipt));
        for receipt in left {
            let Some(mut held) = self.receipts.remove(&receipt) else { continue };
            self.uncount_receipt(&mut held);
            if let Some(heir) = heir
                && let Some(session) = self.sessions.get_mut(&heir)
            {
                session.unsettled = session.unsettled.saturating_add(1);
                (held.session, held.report_to) = (heir, None);
                held.replies.clear();
                self.receipts.insert(receipt, held);
            }
        }
    }

    /// Hands a whole message out.
    pub(crate) fn complete(&mut self, connection: ConnectionId, chunk: Chunk) {
        let Chunk { session: id, reply, message: Some(partial), .. } = chunk else { return };
        let size = partial.total.unwrap_or(0);
        let receipt = Receipt(self.number());
        if let Some(session) = self.sessions.get_mut(&id) {
            session.unsettled = session.unsettled.saturating_add(1);
            session.refused.remove(&partial.message_id);
            if partial.chunks > 1 {
                session.finished.add(&partial.message_id, receipt);
            }
        }
        let (body, inline) = match partial.store {
            Store::Memory(octets) => (Body::Inline(octets.into_first()), size),
            Store::Spool { spool, head } => {
                if let Some(state) = self.spools.get_mut(&spool) {
                    state.finished = true;
                    if state.spooled >= state.handed {
                        self.spools.remove(&spool);
                    }
                }
                (Body::Spooled { spool, size, head: head.into_first() }, 0)
            }
        };
        let mut held = Held {
            session: id,
            counted: Some(connection),
            message_id: partial.message_id.as_str().into(),
            replies: reply.into_iter().collect(),
            answered: false,
            success_report: partial.success_report,
            failure_report: partial.failure_report,
            report_to: partial.report_to,
            owed: None,
            size,
            weight: inline,
        };
        held.weight = held.weight.saturating_add(u64::try_from(held.octets()).unwrap_or(u64::MAX));
        if let Some(known) = self.connections.get_mut(&connection) {
            known.incomplete = known.incomplete.saturating_sub(1);
            known.unsettled = known.unsettled.saturating_add(1);
            known.unsettled_octets = known.unsettled_octets.saturating_add(held.weight);
        }
        self.receipts.insert(receipt, held);
        self.out.push_back(Output::Event(Event::Message {
            session: id,
            receipt,
            message_id: partial.message_id,
            content_type: partial.content_type,
            content_disposition: partial.content_disposition,
            body,
            success_report: partial.success_report,
        }));
    }

    /// A chunk came again whose message is whole: it is answered as the message was, or will be.
    pub(crate) fn repeat(&mut self, id: SessionId, message_id: &str, reply: Option<Reply>) {
        let receipt = self.sessions.get(&id).and_then(|session| session.finished.get(message_id));
        let held = receipt.and_then(|receipt| self.receipts.get_mut(receipt));
        match held.filter(|held| !held.answered) {
            Some(held) if held.replies.len() < MOST_REPLIES => held.replies.extend(reply),
            // Nobody repeats a chunk that often who wants an answer.
            Some(_) => {}
            None => self.respond(id, reply.as_ref(), 200),
        }
    }

    /// Answers a chunk at once, if it wants an answer.
    pub(crate) fn respond(&mut self, session: SessionId, reply: Option<&Reply>, status: u16) {
        if let Some(reply) = reply.filter(|reply| status >= 300 || !reply.errors_only) {
            self.respond_with(session, reply, status);
        }
    }

    /// Writes a response; it leaves with the next octets for the connection.
    fn respond_with(&mut self, session: SessionId, reply: &Reply, status: u16) {
        let id = reply.connection;
        let (Some(known), Some(session)) = (self.connections.get_mut(&id), self.sessions.get(&session))
        else {
            return;
        };
        let to = reply.to.as_deref().unwrap_or(session.peer.leftmost().as_str());
        FrameWriter::response(&mut known.replies, reply.tid, status, to, session.local.as_str())
            .end(Flag::Last);
        self.dirty.insert(id);
    }

    /// Writes a REPORT on a whole message. It is a request, but nobody answers it. It goes where the session is now, and
    /// not at all without one (RFC 4975 7.1.2).
    fn send_report(&mut self, held: &Held, status: u16) {
        let tid = fresh_tid(&mut self.random, &self.transactions, &[]);
        let Some(session) = self.sessions.get(&held.session).filter(|session| session.is_bound()) else {
            return;
        };
        let Some(id) = session.connection() else { return };
        let Some(known) = self.connections.get_mut(&id) else { return };
        let to = held.report_to.as_deref().unwrap_or(session.to());
        let size = held.size.to_string();
        // An empty range ends before it starts: `1-0/0`.
        let digits = status_digits(status);
        let digits = str::from_utf8(&digits).unwrap_or("200");
        FrameWriter::request(&mut known.replies, tid, "REPORT", to, session.local.as_str())
            .row("Message-ID", &[&held.message_id])
            .row("Byte-Range", &["1-", &size, "/", &size])
            .row("Status", &["000 ", digits, " ", comment(status)])
            .end(Flag::Last);
        self.dirty.insert(id);
    }
}

/// A new transaction identifier, of 96 random bits, that is no other's and does not stand in the body.
//= IM M-1
pub(crate) fn fresh_tid(random: &mut Random, transactions: &Table<Tid, Transaction>, body: &[u8]) -> Tid {
    loop {
        let text = random.ident(16);
        let Some(tid) = Tid::parse(text.as_bytes()) else { continue };
        let stands_in_body = || memchr::memmem::find(body, format!("-------{text}").as_bytes()).is_some();
        if !transactions.contains(&tid) && !stands_in_body() {
            return tid;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::Timers;

    //= IM M-1 test
    #[test]
    fn an_identifier_is_no_other_request_s_and_stands_nowhere_in_the_body() {
        let transaction = || Transaction {
            connection: ConnectionId(1),
            session: SessionId(1),
            message: None,
            cost: 0,
            timer: Timers::default().arm(Instant::ZERO, ()),
            order: 1,
        };
        // The same seed draws the same identifiers, one after the other.
        let mut random = Random::new([1; 32]);
        let mut drawn = || random.ident(16);
        let (first, second, third) = (drawn(), drawn(), drawn());
        let mut open = Table::new(Random::new([2; 32]).hash_keys());
        open.insert(Tid::parse(first.as_bytes()).expect("an ident"), transaction());
        let body = format!("xyz-------{second}");
        let tid = fresh_tid(&mut Random::new([1; 32]), &open, body.as_bytes());
        assert_eq!(tid.as_bytes(), third.as_bytes());
        // RFC 4975 7.1: 64 random bits at least; 16 characters of 64 have 95.
        assert_eq!(tid.as_bytes().len(), 16);
    }
}
