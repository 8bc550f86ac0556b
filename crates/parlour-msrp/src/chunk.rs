//! One chunk of a message: which octets, how many, and how they are written (RFC 4975 7.1 and 7.1.1).

use crate::head::{Flag, Tid};
use crate::io::{Event, FailureReport, SendFailure, SessionId, Source};
use crate::session::{Sending, Session};
use crate::write::FrameWriter;

/// RFC 4975 7.1.1: no chunk is smaller, but a message's last; and no larger one may state where it ends.
const SMALLEST: usize = 2048;

/// Octets that a chunk counts for in the window besides its body.
pub(crate) const COST: u64 = 256;

impl Session {
    /// The next message and how many of its octets may leave, if they are here and the window is open.
    pub(crate) fn plan(&self, window: u64) -> Option<(u64, usize)> {
        let key = self.next_message()?;
        let message = self.messages.get(&key)?;
        let left = usize::try_from(message.size.saturating_sub(message.sent)).unwrap_or(usize::MAX);
        let length = left.min(self.chunk());
        let cost = COST.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let shut = message.failure_report == FailureReport::Yes
            && self.unacknowledged > 0
            && self.unacknowledged.saturating_add(cost) > window;
        (!shut && message.next_octets(length).len() == length).then_some((key, length))
    }

    /// At least the octets of a chunk that are not its body; `None` is the SEND without a body that binds.
    pub(crate) fn overhead(&self, key: Option<u64>) -> usize {
        let message = key.and_then(|key| self.messages.get(&key));
        let own = message.map_or(0, Sending::labels);
        [self.to().len(), self.local.as_str().len(), own]
            .iter()
            .fold(320, |sum, part| sum.saturating_add(*part))
    }
}

impl Sending {
    /// Whether only a REPORT says that the peer has it.
    pub(crate) fn is_confirmed_by_report(&self, session: &Session) -> bool {
        session.is_relayed() && !self.control && self.failure_report == FailureReport::Yes
    }

    /// Octets of it in memory, and of what REPORTs say of it.
    pub(crate) fn octets(&self) -> usize {
        let body = match &self.source {
            Source::Inline(octets) => octets.len(),
            Source::Fetched { head, .. } => self.fetched.len().saturating_add(head.len()),
        };
        body.saturating_add(self.labels()).saturating_add(self.reported.size())
    }

    /// Octets of its own header values.
    fn labels(&self) -> usize {
        let disposition = self.content_disposition.as_ref().map_or(0, |disposition| disposition.len());
        self.message_id.len().saturating_add(self.content_type.len()).saturating_add(disposition)
    }

    /// Up to `length` octets that leave next, as far as they are here.
    pub(crate) fn next_octets(&self, length: usize) -> &[u8] {
        let (octets, from) = match &self.source {
            Source::Inline(octets) => (octets, 0),
            Source::Fetched { .. } => (&self.fetched, self.fetched_from),
        };
        let start = usize::try_from(self.sent.saturating_sub(from)).unwrap_or(usize::MAX);
        let rest = octets.get(start..).unwrap_or_default();
        rest.get(..length).unwrap_or(rest)
    }

    /// Which octet of its source is asked for next.
    pub(crate) fn next_fetch(&self) -> u64 {
        let here = self.fetched_from.saturating_add(count(&self.fetched));
        here.saturating_sub(count(self.source.head()))
    }

    /// Notes that all octets before `sent` have left, and drops those of a source.
    pub(crate) fn advance(&mut self, sent: u64) {
        self.sent = sent;
        let gone = usize::try_from(sent.saturating_sub(self.fetched_from)).unwrap_or(usize::MAX);
        // Dropping half of them at once moves each octet once at most.
        if gone >= self.fetched.len() / 2 && gone <= self.fetched.len() {
            self.fetched.drain(..gone);
            self.fetched_from = sent;
        }
    }

    /// What its owner is told when it fails; nothing if all of it was acknowledged, or if nobody waits for that.
    pub(crate) fn failure(&self, session: SessionId, why: SendFailure) -> Option<Event> {
        let message_id = self.message_id.as_ref().to_owned();
        let awaited = !self.control || self.failure_report != FailureReport::No;
        (!self.acknowledged && awaited).then_some(Event::Failed { session, message_id, why })
    }

    /// What its owner is told when nobody waits any more for the success REPORT that was asked for.
    pub(crate) fn unreported(&self, session: SessionId) -> Option<Event> {
        let message_id = || self.message_id.as_ref().to_owned();
        (self.acknowledged && self.success_report)
            .then(|| Event::Unreported { session, message_id: message_id() })
    }
}

/// How many of the `length` octets of a chunk may leave now, with `overhead` octets around them. A frame that fits the
/// whole room is never cut; one that does not is cut, unless that would make a chunk that is too small.
pub(crate) fn fit(length: usize, overhead: usize, room: usize, granted: usize) -> Option<usize> {
    let need = length.saturating_add(overhead);
    if need <= room {
        return Some(length);
    }
    let cut = room.saturating_sub(overhead);
    let worth = room >= SMALLEST.saturating_mul(2) && cut >= SMALLEST;
    (need > granted && worth).then_some(cut)
}

/// Writes one SEND.
//= IM M-3
//= IM M-4
pub(crate) fn write_chunk(
    out: &mut Vec<u8>,
    tid: Tid,
    session: &Session,
    message: &Sending,
    body: &[u8],
    flag: Flag,
) {
    // RFC 4975 7.1.1: where there are no octets, as in a chunk that only gives a message up, the range starts at 1.
    let before = if body.is_empty() { 0 } else { message.sent };
    let first = before.saturating_add(1).to_string();
    let last = before.saturating_add(count(body)).to_string();
    let total = message.size.to_string();
    // RFC 4975 7.1.1: a chunk above 2048 octets does not say where it ends.
    let last = if body.len() > SMALLEST { "*" } else { last.as_str() };
    let mut frame = FrameWriter::request(out, tid, "SEND", session.to(), session.local.as_str())
        .row("Message-ID", &[&message.message_id]);
    // RFC 4976 6.4.1: a relay's 200 says nothing of the peer.
    if message.success_report || message.is_confirmed_by_report(session) {
        frame = frame.row("Success-Report", &["yes"]);
    }
    frame = match message.failure_report {
        FailureReport::Yes => frame,
        FailureReport::Partial => frame.row("Failure-Report", &["partial"]),
        FailureReport::No => frame.row("Failure-Report", &["no"]),
    };
    frame = frame.row("Byte-Range", &[&first, "-", last, "/", &total]);
    if let Some(disposition) = &message.content_disposition {
        frame = frame.row("Content-Disposition", &[disposition]);
    }
    frame.row("Content-Type", &[&message.content_type]).body(body).end(flag);
}

pub(crate) fn count(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}
