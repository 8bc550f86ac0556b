//! A client under test, with what a real program puts around it: a store, spools, a record of events, and the checks.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parlour_proto::client::{Client, FileFault, Misuse, Notice, StoreFault, Stored};
use parlour_proto::config::Config;
use parlour_proto::event::{Event, FileNews, Incoming, What};
use parlour_proto::io::{
    AccountId, Body, FileId, FlowId, Input, Instant, Now, Output, Receipt, SessionId, SourceId, SpoolId, Why,
};

use crate::check::{Checker, Violation};
use crate::model::Model;
use crate::stream::{Side, StreamId};
use crate::world::{Arrival, NodeId, World};

/// Polls without idling after which a client is held to be stuck.
const MOST_OUTPUTS: usize = 100_000;

/// Changes what a client puts out before the world and the checks see it: a planted fault.
pub type Tamper = Box<dyn FnMut(Output) -> Vec<Output>>;

/// A client and its surroundings.
pub struct ClientNode {
    /// The client. Verbs go through [`World::act`].
    pub client: Client,
    /// All it told, and when.
    pub events: Vec<(Instant, Event)>,
    /// What user interfaces make of it.
    pub model: Model,
    /// Where messages are kept.
    pub store: Store,
    /// Bodies to be fetched.
    pub sources: BTreeMap<SourceId, Vec<u8>>,
    /// A planted fault.
    pub tamper: Option<Tamper>,
    pub(crate) checker: Checker,
    pub(crate) flows: BTreeMap<FlowId, (StreamId, Side)>,
    /// What is here of each file that we receive.
    pub files: BTreeMap<FileId, Vec<u8>>,
    kept: BTreeMap<SpoolId, FileId>,
    spools: BTreeMap<SpoolId, Spool>,
    deadline: Option<(Instant, Why)>,
    stuck: usize,
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct Store {
    /// How long a commit takes.
    pub delay: Duration,
    /// How the store fails, if it does.
    pub fault: Option<StoreFault>,
    /// How files that are here as a whole cannot be kept, if so.
    pub file_fault: Option<FileFault>,
    /// What is durable, under the store's unique key: account, peer, Message-ID.
    pub messages: BTreeMap<(AccountId, String, String), Kept>,
    /// Notifications that authors are owed, by name: whose they are, for which message, and whether they are due.
    pub notices: BTreeMap<String, Owed>,
    pending: BTreeMap<Receipt, (AccountId, Incoming)>,
}

/// A notification in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Whose it is.
    pub account: AccountId,
    /// The message that it is about, by our name for it.
    pub message_id: String,
    /// What the client needs to send it.
    pub notice: Notice,
    /// Whether it may be sent: the user was shown the message, or need not be.
    pub due: bool,
}

/// A message in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// When it was committed.
    pub at: Instant,
    /// The media type of the body.
    pub content_type: String,
    /// The innermost body.
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Spool {
    octets: Vec<u8>,
    taken: u64,
}

impl ClientNode {
    pub(crate) fn new(config: Config, seed: [u8; 32]) -> Self {
        ClientNode {
            checker: Checker::new(&config),
            client: Client::new(config, seed),
            events: Vec::new(),
            model: Model::default(),
            store: Store::default(),
            sources: BTreeMap::new(),
            tamper: None,
            flows: BTreeMap::new(),
            files: BTreeMap::new(),
            kept: BTreeMap::new(),
            spools: BTreeMap::new(),
            deadline: None,
            stuck: 0,
        }
    }

    /// When the client wants to be called, and why.
    pub fn deadline(&self) -> Option<(Instant, Why)> {
        self.deadline
    }

    /// What was told, without the time and without explanations.
    pub fn told(&self) -> impl Iterator<Item = &What> {
        self.events.iter().map(|(_, event)| &event.what).filter(|what| !matches!(what, What::Explain(_)))
    }

    /// The session that was told of last.
    pub fn last_session(&self) -> Option<SessionId> {
        self.events.iter().rev().find_map(|(_, event)| event.session)
    }

    /// The text of all stored messages, in the order of storing.
    pub fn stored_texts(&self) -> Vec<String> {
        let mut kept: Vec<&Kept> = self.store.messages.values().collect();
        kept.sort_by_key(|kept| kept.at);
        kept.into_iter().map(|kept| String::from_utf8_lossy(&kept.body).into_owned()).collect()
    }

    /// What it did against the rules.
    pub fn violations(&self) -> &[Violation] {
        self.checker.violations()
    }

    fn body(&self, message: &Incoming) -> Vec<u8> {
        match &message.body {
            Body::Inline(octets) => octets.clone(),
            Body::Spooled { spool, .. } => {
                let start = usize::try_from(message.body_offset).unwrap_or(usize::MAX);
                let octets = self.spools.get(spool).map_or(&[][..], |spool| &spool.octets);
                octets.get(start..).unwrap_or(&[]).to_vec()
            }
        }
    }
}

impl fmt::Debug for ClientNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientNode")
            .field("client", &self.client)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl World {
    /// Calls a verb of a client and lets its outputs out.
    pub fn act<T>(
        &mut self,
        node: NodeId,
        verb: impl FnOnce(&mut Client, Now) -> Result<T, Misuse>,
    ) -> Result<T, Misuse> {
        let now = self.now();
        let Some(at) = self.client_at_mut(node) else { return Err(Misuse::NoAccount) };
        let result = verb(&mut at.client, now);
        self.drain(node);
        result
    }

    /// The user was shown these messages: what their authors are owed for that is due now.
    pub fn shown(&mut self, node: NodeId, message_ids: &[&str]) {
        let now = self.now();
        let Some(at) = self.client_at_mut(node) else { return };
        let mut due: BTreeMap<AccountId, Vec<Notice>> = BTreeMap::new();
        let waits = |owed: &&mut Owed| !owed.due && message_ids.contains(&owed.message_id.as_str());
        for owed in at.store.notices.values_mut().filter(waits) {
            owed.due = true;
            due.entry(owed.account).or_default().push(owed.notice.clone());
        }
        for (account, notices) in due {
            // It is an account of this client.
            let _ = at.client.owe(now, account, notices);
        }
        self.drain(node);
    }

    /// The program of a client is killed and started again, with what its store has: its connections break.
    pub fn restart(&mut self, node: NodeId, config: Config) {
        let seed = self.random.fork();
        let now = self.now();
        let streams = self.client_at(node).map(|at| at.flows.values().map(|(stream, _)| *stream).collect());
        for stream in Option::unwrap_or_else(streams, Vec::new) {
            self.reset(stream);
        }
        let Some(at) = self.client_at_mut(node) else { return };
        let tls = !config.fingerprints.is_empty();
        let mut fresh = ClientNode::new(config, seed);
        fresh.events = std::mem::take(&mut at.events);
        fresh.store = std::mem::take(&mut at.store);
        fresh.store.pending.clear();
        let mut due: BTreeMap<AccountId, Vec<Notice>> = BTreeMap::new();
        for owed in fresh.store.notices.values().filter(|owed| owed.due) {
            due.entry(owed.account).or_default().push(owed.notice.clone());
        }
        *at = fresh;
        self.listen(node, tls);
        if let Some(at) = self.client_at_mut(node) {
            for (account, notices) in due {
                let _ = at.client.owe(now, account, notices);
            }
        }
        self.drain(node);
    }

    /// The world is over: judges every client by what is left of it. What it did against the rules, then and before,
    /// stands in [`ClientNode::violations`].
    pub fn judge(&mut self) {
        for node in self.clients() {
            self.with_client(node, |at| at.checker.finish(&at.client.load(), &at.model));
        }
    }

    /// Gives a client one input and lets its outputs out.
    pub(crate) fn tell(&mut self, node: NodeId, input: Input<'_>) {
        let now = self.now();
        let Some(at) = self.client_at_mut(node) else { return };
        at.checker.input(now.instant, &input);
        if let Input::Closed { flow, .. } = &input {
            at.flows.remove(flow);
        }
        let tick = matches!(input, Input::Tick);
        at.client.handle(now, input);
        self.drain(node);
        self.notice_standstill(node, tick);
    }

    pub(crate) fn opened_at_client(
        &mut self,
        node: NodeId,
        stream: StreamId,
        side: Side,
        opened: Input<'static>,
    ) {
        if let (Some(at), Input::Opened { flow, .. }) = (self.client_at_mut(node), &opened) {
            at.flows.insert(*flow, (stream, side));
        }
        self.tell(node, opened);
    }

    /// The store has committed, or failed.
    pub(crate) fn store(&mut self, node: NodeId, receipt: Receipt) {
        let now = self.now();
        let Some(at) = self.client_at_mut(node) else { return };
        let Some((account, message)) = at.store.pending.remove(&receipt) else { return };
        let key = (account, message.from.address.clone(), message.message_id.clone());
        let outcome = match at.store.fault {
            Some(fault) => Err(fault),
            None if at.store.messages.contains_key(&key) => Ok(Stored::Duplicate),
            None => {
                for notice in message.notices.clone() {
                    let (message_id, due) = (message.message_id.clone(), !notice.waits());
                    let owed = Owed { account, message_id, due, notice };
                    at.store.notices.insert(owed.notice.id.clone(), owed);
                }
                let body = at.body(&message);
                at.store
                    .messages
                    .insert(key, Kept { at: now.instant, content_type: message.content_type.clone(), body });
                Ok(Stored::Fresh)
            }
        };
        if outcome.is_ok() {
            at.checker.stored(&message.message_id);
        }
        at.client.stored(now, receipt, outcome);
        self.drain(node);
    }

    /// A file that is here as a whole was looked at.
    pub(crate) fn look_at(&mut self, node: NodeId, file: FileId, message_id: &str) {
        let now = self.now();
        let Some(at) = self.client_at_mut(node) else { return };
        let outcome = at.store.file_fault.map_or(Ok(()), Err);
        if outcome.is_ok() {
            at.checker.stored(message_id);
        }
        // Its transfer may be over.
        let _ = at.client.file_kept(now, file, outcome);
        self.drain(node);
    }

    fn drain(&mut self, node: NodeId) {
        for _ in 0..MOST_OUTPUTS {
            let now = self.now;
            let Some(at) = self.client_at_mut(node) else { return };
            let output = at.client.poll();
            let outputs = match &mut at.tamper {
                Some(tamper) => tamper(output),
                None => vec![output],
            };
            for output in outputs {
                let Some(at) = self.client_at_mut(node) else { return };
                at.checker.output(now, &output);
                if let Output::Idle(deadline) = output {
                    at.deadline = deadline;
                    at.checker.idle(now, &at.client.load(), &at.model);
                    return;
                }
                self.perform(node, output);
            }
        }
        if let Some(at) = self.client_at_mut(node) {
            at.deadline = None;
            at.checker.stuck("it put out more and more and never idled".to_owned());
        }
    }

    fn perform(&mut self, node: NodeId, output: Output) {
        let now = self.now;
        match output {
            Output::Resolve { query, name } => {
                self.queue.arm(now + self.look_up, Arrival::Resolved { node, query, name });
            }
            Output::Locate { query, service, name } => {
                let name = format!("{service}.{name}");
                self.queue.arm(now + self.look_up, Arrival::Located { node, query, name });
            }
            Output::Open { flow, to } => {
                let address = self.first_that_answers(node, &to);
                let stream = self.connect(node, Some(flow), to.service, address, to.tls);
                self.with_client(node, |at| at.flows.insert(flow, (stream, Side::Opener)));
            }
            Output::Send { flow: FlowId::Udp { peer, .. }, bytes } => {
                self.send_datagram(self.address(node, 5060), peer, bytes);
            }
            Output::Send { flow, bytes } => {
                if let Some((stream, side)) = self.flow(node, flow) {
                    self.send_stream(stream, side, &bytes);
                }
            }
            Output::Hold { flow } | Output::Resume { flow } if self.flow(node, flow).is_none() => {}
            Output::Hold { flow } => {
                if let Some((stream, side)) = self.flow(node, flow) {
                    self.hold(stream, side, true);
                }
            }
            Output::Resume { flow } => {
                if let Some((stream, side)) = self.flow(node, flow) {
                    self.hold(stream, side, false);
                }
            }
            Output::Close { flow } => {
                if let Some((stream, side)) = self.flow(node, flow) {
                    self.close_stream(stream, side);
                }
            }
            Output::Spool { spool, offset, bytes } => self.spool(node, spool, offset, &bytes),
            Output::Keep { spool, file } => self.with_client(node, |at| {
                at.kept.insert(spool, file);
            }),
            Output::Discard { spool } => self.with_client(node, |at| {
                let octets = at.spools.remove(&spool).map(|spool| spool.octets).unwrap_or_default();
                if let Some(file) = at.kept.remove(&spool) {
                    at.files.insert(file, octets);
                }
            }),
            Output::Fetch { source, offset, length } => self.fetch(node, source, offset, length),
            Output::Settled { notice } => self.with_client(node, |at| at.store.notices.remove(&notice)),
            Output::Event(event) => self.event(node, event),
            Output::Idle(_) => {}
        }
    }

    fn spool(&mut self, node: NodeId, spool: SpoolId, offset: u64, bytes: &[u8]) {
        let (now, mut taken, mut delay) = (self.now, 0, Duration::ZERO);
        self.with_client(node, |at| {
            let entry = at.spools.entry(spool).or_default();
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(bytes.len());
            if end <= 1 << 30 {
                entry.octets.resize(entry.octets.len().max(end), 0);
                if let Some(place) = entry.octets.get_mut(start..end) {
                    place.copy_from_slice(bytes);
                }
            }
            entry.taken += bytes.len() as u64;
            (taken, delay) = (entry.taken, at.store.delay);
        });
        self.queue.arm(now + delay, Arrival::Spooled { node, spool, upto: taken });
    }

    fn fetch(&mut self, node: NodeId, source: SourceId, offset: u64, length: usize) {
        let octets =
            self.client_at(node).and_then(|at| at.sources.get(&source)).map_or(&[][..], Vec::as_slice);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = octets.get(start..).unwrap_or(&[]);
        let bytes = rest.get(..length).unwrap_or(rest).to_vec();
        self.queue.arm(self.now, Arrival::Fetched { node, source, offset, bytes });
    }

    fn event(&mut self, node: NodeId, event: Event) {
        let now = self.now;
        let (mut commit, mut whole) = (None, None);
        self.with_client(node, |at| {
            if let Err(wrong) = at.model.fold(&event) {
                at.checker.out_of_order(wrong);
            }
            if let What::Message(message) = &event.what {
                at.store.pending.insert(message.receipt, (event.account, message.clone()));
                commit = Some((message.receipt, at.store.delay));
            }
            if let What::File { file, news: FileNews::Whole { message_id, body } } = &event.what {
                let octets = match body {
                    Body::Inline(octets) => octets.clone(),
                    Body::Spooled { spool, .. } => {
                        at.kept.remove(spool);
                        at.spools.remove(spool).map(|spool| spool.octets).unwrap_or_default()
                    }
                };
                at.files.insert(*file, octets);
                whole = Some((*file, message_id.clone(), at.store.delay));
            }
            at.events.push((now, event));
        });
        if let Some((file, message_id, delay)) = whole {
            self.queue.arm(now + delay, Arrival::File { node, file, message_id });
        }
        if let Some((receipt, delay)) = commit {
            self.queue.arm(now + delay, Arrival::Store { node, receipt });
        }
    }

    /// A client that asks for an instant that has passed again and again would stop the clock.
    fn notice_standstill(&mut self, node: NodeId, tick: bool) {
        let now = self.now;
        self.with_client(node, |at| {
            let late = at.deadline.is_some_and(|(deadline, _)| deadline <= now);
            at.stuck = if tick && late { at.stuck + 1 } else { 0 };
            if at.stuck > 1000 {
                let why = at.deadline.map(|(_, why)| why);
                at.deadline = None;
                at.checker.stuck(format!("its deadline ({why:?}) does not pass"));
            }
        });
    }

    fn flow(&self, node: NodeId, flow: FlowId) -> Option<(StreamId, Side)> {
        self.client_at(node)?.flows.get(&flow).copied()
    }

    fn with_client<T>(&mut self, node: NodeId, change: impl FnOnce(&mut ClientNode) -> T) {
        if let Some(at) = self.client_at_mut(node) {
            change(at);
        }
    }
}
