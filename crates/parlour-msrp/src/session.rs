//! What an endpoint keeps of one session.

use std::collections::{BTreeMap, VecDeque};

use crate::accept::AcceptTypes;
use crate::io::{
    ConnectionId, FailureReport, LeaseId, Matching, Outgoing, Receipt, Remote, SessionId, SessionSpec,
    Source, Trust,
};
use crate::nickname::Names;
use crate::reassembly::{Partial, Ranges, Told};
use crate::time::Instant;
use crate::timer::TimerId;
use crate::uri::{MsrpPath, MsrpUri};

/// How many identifiers of refused, and of finished, messages are remembered: as many as may be in reassembly.
const REMEMBERED: usize = 32;

/// The longest Content-Type and Content-Disposition, in octets.
pub(crate) const MAX_VALUE: usize = 1024;

/// Bounds of what leaves in one piece: RFC 4975 7.1.1 wants no smaller chunks, and whatever interrupts a message has to
/// wait for the end of a larger one.
const SMALLEST: usize = 2048;
const LARGEST: usize = 128 * 1024;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) local: MsrpUri,
    pub(crate) peer: MsrpPath,
    /// Who has to be at the other end of its connection.
    pub(crate) trust: Trust,
    /// The To-Path of our requests if it is not a single URI, the peer's.
    to: Option<Box<str>>,
    /// The relay that acts for us, and what it lends us.
    pub(crate) via: Option<LeaseId>,
    pub(crate) use_path: Option<MsrpPath>,
    pub(crate) matching: Matching,
    pub(crate) accept: AcceptTypes,
    pub(crate) max_size: u64,
    pub(crate) peer_max_size: Option<u64>,
    pub(crate) chunk_size: usize,
    pub(crate) relayed_chunk_size: usize,
    pub(crate) bind: Bind,
    /// Whether `peer` is known from SDP; until then it is whoever binds.
    pub(crate) agreed: bool,
    /// Whether no SEND is owed: the one that binds the connection, or one that keeps it alive.
    pub(crate) greeted: bool,
    /// Since when none of our messages may leave.
    pub(crate) paused: Option<Instant>,
    /// The session that takes the place of this one once it is bound.
    pub(crate) heir: Option<SessionId>,
    /// The session whose place this one takes.
    pub(crate) replaces: Option<SessionId>,
    /// Whether a differing host or port was told.
    pub(crate) explained: bool,
    /// Messages in reassembly, but for the one whose chunk is being received.
    pub(crate) partials: Vec<Partial>,
    /// Identifiers of messages that we refused or lost: their further chunks are refused too.
    pub(crate) refused: Recent<()>,
    /// Identifiers of messages that came in chunks and are whole.
    pub(crate) finished: Recent<Receipt>,
    /// Receipts without a verdict.
    pub(crate) unsettled: u32,
    /// Our messages, by the order in which they were given to us.
    pub(crate) messages: BTreeMap<u64, Sending>,
    /// The same by Message-ID.
    ids: BTreeMap<Box<str>, u64>,
    /// Those of which octets are still to be sent.
    pub(crate) queue: VecDeque<u64>,
    /// The same of control messages.
    pub(crate) control: VecDeque<u64>,
    /// Octets sent and not answered.
    pub(crate) unacknowledged: u64,
    /// Octets in memory of bodies that nobody has acknowledged.
    pub(crate) queued: usize,
    /// Media types that the peer has answered 415 to, in lower case.
    pub(crate) refused_types: Recent<()>,
    /// What we want to be called.
    pub(crate) names: Names,
}

impl Session {
    /// A session that takes its role next. `use_path` is what its relay lends.
    pub(crate) fn new(spec: SessionSpec, use_path: Option<MsrpPath>) -> Self {
        let Remote { path, hop: _, role: _, max_size, trust } = spec.remote;
        Session {
            to: to_path(use_path.as_ref(), &path),
            via: spec.via,
            use_path,
            local: spec.local,
            peer: path,
            trust,
            matching: spec.matching,
            accept: spec.accept,
            max_size: spec.max_size,
            peer_max_size: max_size,
            chunk_size: spec.chunk_size.clamp(SMALLEST, LARGEST),
            relayed_chunk_size: spec.relayed_chunk_size.clamp(SMALLEST, LARGEST),
            agreed: true,
            bind: Bind::Expected,
            greeted: true,
            paused: None,
            heir: None,
            replaces: None,
            explained: false,
            partials: Vec::new(),
            refused: Recent::default(),
            finished: Recent::default(),
            unsettled: 0,
            messages: BTreeMap::new(),
            ids: BTreeMap::new(),
            queue: VecDeque::new(),
            control: VecDeque::new(),
            unacknowledged: 0,
            queued: 0,
            refused_types: Recent::default(),
            names: Names::default(),
        }
    }

    /// Whether whoever is at the other end may be taken for the peer.
    pub(crate) fn is_proven(&self) -> bool {
        self.agreed || !self.local.is_secure()
    }

    pub(crate) fn is_bound(&self) -> bool {
        matches!(self.bind, Bind::Bound(_))
    }

    /// Its connection, standing or being made.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.bind {
            Bind::Expected | Bind::Waiting(_) => None,
            Bind::Connecting(connection) | Bind::Bound(connection) => Some(connection),
        }
    }

    /// The To-Path of our requests: that of our relays, then the peer's path in full.
    pub(crate) fn to(&self) -> &str {
        self.to.as_deref().unwrap_or(self.peer.leftmost().as_str())
    }

    /// Learns who the peer is.
    pub(crate) fn set_peer(&mut self, peer: MsrpPath) {
        self.to = to_path(self.use_path.as_ref(), &peer);
        self.peer = peer;
    }

    /// The largest chunk that leaves in one piece.
    pub(crate) fn chunk(&self) -> usize {
        if self.is_relayed() { self.chunk_size.min(self.relayed_chunk_size) } else { self.chunk_size }
    }

    /// Whether a response says only that the next hop has a chunk.
    pub(crate) fn is_relayed(&self) -> bool {
        self.via.is_some() || self.peer.uris().len() > 1
    }

    /// Adds one of our messages.
    pub(crate) fn add_message(&mut self, key: u64, message: Sending) {
        let queue = if message.control { &mut self.control } else { &mut self.queue };
        queue.push_back(key);
        self.keep_message(key, message);
    }

    /// Adds one of our messages that has left.
    pub(crate) fn keep_message(&mut self, key: u64, message: Sending) {
        self.queued = self.queued.saturating_add(message.source.octets());
        self.ids.insert(message.message_id.clone(), key);
        self.messages.insert(key, message);
    }

    /// Takes all our messages out.
    pub(crate) fn take_messages(&mut self) -> BTreeMap<u64, Sending> {
        (self.ids, self.queue, self.control, self.queued) = Default::default();
        std::mem::take(&mut self.messages)
    }

    /// Takes one of our messages out.
    pub(crate) fn remove_message(&mut self, key: u64) -> Option<Sending> {
        let message = self.messages.remove(&key)?;
        self.queued = self.queued.saturating_sub(message.source.octets());
        self.ids.remove(&message.message_id);
        Some(message)
    }

    /// Forgets the octets of one of our messages: nobody will want them again.
    pub(crate) fn drop_body(&mut self, key: u64) {
        if let Some(message) = self.messages.get_mut(&key) {
            let source = std::mem::replace(&mut message.source, Source::Inline(Vec::new()));
            self.queued = self.queued.saturating_sub(source.octets());
        }
    }

    /// Takes out our messages that nobody has acknowledged, in order; control messages stay, and those that only a
    /// REPORT is to come of.
    pub(crate) fn withdraw(&mut self) -> Vec<Outgoing> {
        self.queue.clear();
        let content = self.messages.iter().filter(|(_, message)| !message.control && !message.acknowledged);
        let content: Vec<u64> = content.map(|(key, _)| *key).collect();
        content.into_iter().filter_map(|key| self.remove_message(key)?.back()).collect()
    }

    /// The message of ours with this Message-ID.
    pub(crate) fn message_key(&self, message_id: &str) -> Option<u64> {
        self.ids.get(message_id).copied()
    }

    /// The message whose octets leave next. Control messages keep their place among whole messages, and wait neither for a
    /// message that takes several chunks nor for the end of a pause.
    pub(crate) fn next_message(&self) -> Option<u64> {
        let content = self.queue.front().copied().filter(|_| self.paused.is_none());
        let Some(control) = self.control.front().copied() else { return content };
        let is_short = |key: &u64| {
            let size = self.messages.get(key).map_or(0, |message| message.size);
            size <= u64::try_from(self.chunk()).unwrap_or(u64::MAX)
        };
        content.filter(|content| *content < control && is_short(content)).or(Some(control))
    }

    /// Whether there is something to send.
    pub(crate) fn has_work(&self) -> bool {
        !self.greeted || self.owes_nickname() || self.next_message().is_some()
    }
}

/// RFC 4976 5.1: our relays first, then what the peer's path says.
//= IM M-3
//= IM M-21
fn to_path(use_path: Option<&MsrpPath>, peer: &MsrpPath) -> Option<Box<str>> {
    match use_path {
        Some(ours) => Some(format!("{ours} {peer}").into()),
        None => (peer.uris().len() > 1).then(|| peer.to_string().into()),
    }
}

/// How a session stands to its connection.
///
/// ```text
/// offer without answer: Expected -- SEND to our URI --> Bound
///                       Expected -- agreed --> Waiting or Connecting
/// passive: Waiting -- SEND to our URI --> Bound
/// active:  Connecting -- connected --> Bound
/// ```
#[derive(Debug)]
pub(crate) enum Bind {
    /// The peer may come before its answer does.
    Expected,
    /// The peer's SEND is to come until the timer fires.
    Waiting(TimerId),
    /// Our connection is being made.
    Connecting(ConnectionId),
    /// Messages flow.
    Bound(ConnectionId),
}

/// One of our messages.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) message_id: Box<str>,
    pub(crate) content_type: Box<str>,
    pub(crate) content_disposition: Option<Box<str>>,
    pub(crate) success_report: bool,
    pub(crate) failure_report: FailureReport,
    pub(crate) source: Source,
    /// Octets of a fetched body that are here, and the position of the first of them.
    pub(crate) fetched: Vec<u8>,
    pub(crate) fetched_from: u64,
    /// Whether more of them were asked for.
    pub(crate) fetching: bool,
    pub(crate) size: u64,
    pub(crate) sent: u64,
    /// Whether the last chunk has left.
    pub(crate) finished: bool,
    /// Chunks without a response.
    pub(crate) open: u32,
    /// Whether the owner was told that the peer has it: that all chunks were answered, and where relays answer, that a
    /// REPORT came too.
    pub(crate) acknowledged: bool,
    /// Whether REPORTs say that the peer has all of it.
    pub(crate) confirmed: bool,
    /// Whether a REPORT is waited for.
    pub(crate) awaited: bool,
    /// What success REPORTs cover.
    pub(crate) reported: Ranges,
    /// How far it was when the owner was last told: what has left, and what REPORTs cover.
    pub(crate) told: Told,
    pub(crate) told_reported: Told,
    /// Whether it is of the moment, and no content.
    pub(crate) control: bool,
}

impl Sending {
    /// A copy of the message as it was given to us, unless it was acknowledged.
    pub(crate) fn copy(&self) -> Option<Outgoing> {
        (!self.acknowledged).then(|| Outgoing {
            message_id: self.message_id.as_ref().to_owned(),
            content_type: self.content_type.as_ref().to_owned(),
            content_disposition: self.content_disposition.as_deref().map(str::to_owned),
            body: self.source.clone(),
            success_report: self.success_report,
            failure_report: self.failure_report,
        })
    }

    /// The message as it was given to us, unless it was acknowledged.
    pub(crate) fn back(self) -> Option<Outgoing> {
        let Sending { message_id, content_type, content_disposition, source, .. } = self;
        let (success_report, failure_report) = (self.success_report, self.failure_report);
        (!self.acknowledged).then(|| Outgoing {
            message_id: message_id.into(),
            content_type: content_type.into(),
            content_disposition: content_disposition.map(Into::into),
            body: source,
            success_report,
            failure_report,
        })
    }
}

/// The last few identifiers of some kind, each with what belongs to it. Most sessions have none.
#[derive(Debug)]
pub(crate) struct Recent<T>(Option<Box<Known<T>>>);

type Known<T> = VecDeque<(Box<str>, T)>;

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Recent(None)
    }
}

impl<T> Recent<T> {
    pub(crate) fn add(&mut self, id: &str, what: T) {
        self.remove(id);
        let known = self.0.get_or_insert_default();
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back((id.into(), what));
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(known) = &mut self.0 {
            known.retain(|(known, _)| **known != *id);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.0.iter().flat_map(|known| known.iter()).find(|(known, _)| **known == *id).map(|(_, what)| what)
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    /// Adds what another one has.
    pub(crate) fn inherit(&mut self, other: Self) {
        other.0.into_iter().flat_map(|known| *known).for_each(|(id, what)| self.add(&id, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        // Its URIs and lists come on top. There may be a hundred thousand of them.
        assert!(size_of::<Session>() <= 512, "{} octets", size_of::<Session>());
    }
}
