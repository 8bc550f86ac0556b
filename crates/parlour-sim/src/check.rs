//! What must hold for every client at all times, judged from what crosses its boundary.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parlour_proto::client::Load;
use parlour_proto::config::Config;
use parlour_proto::io::{FlowId, Input, Instant, Output, Service, SpoolId};

use crate::model::{Model, Stage};
use crate::text::{self, Splitter};

/// How the branch of a well-formed request of a script begins: such an INVITE must be answered.
pub const WELL_FORMED: &str = "z9hG4bK-ok";

/// What any fresh stream takes, in octets, before the driver has told its room.
const FIRST_ROOM: usize = 16 * 1024;

/// The invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Each INVITE gets a final response.
    OneFinal,
    /// No INVITE gets two different final responses.
    NoSecondFinal,
    /// All responses of one INVITE bear one To tag (RFC 3261 8.2.6.2).
    OneTag,
    /// Every response but 100 bears the release version (G-6).
    Stamped,
    /// Nothing is asked of a flow that is gone.
    LiveFlow,
    /// No chunk leaves without room for it.
    Room,
    /// What is acknowledged was stored before.
    StoredFirst,
    /// When all is over, nothing is left.
    Empty,
    /// Nothing grows beyond the limits.
    Limits,
    /// Events follow each other as a user interface expects, and tell of every session that is there.
    Model,
    /// The client comes to rest.
    Idles,
    /// What the user says is acknowledged, or fails.
    Delivered,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub rule: Rule,
    /// How.
    pub text: String,
}

/// Watches one client.
#[derive(Debug)]
pub struct Checker {
    violations: Vec<Violation>,
    flows: BTreeMap<FlowId, Flow>,
    invites: BTreeMap<String, Invite>,
    messages: BTreeMap<MessageKey, Coverage>,
    stored: BTreeSet<String>,
    /// What the client has said in message/cpim: a conference may send it back, and it is durable already.
    said: BTreeSet<String>,
    /// The names that messages bear inside, by the MSRP Message-ID.
    names: BTreeMap<String, String>,
    spools: BTreeMap<SpoolId, (u64, u64)>,
    limits: Bounds,
}

#[derive(Debug)]
struct Bounds {
    transactions: usize,
    pending: usize,
    unspooled: u64,
    stored_before_ack: bool,
    reassembly_idle: Duration,
}

#[derive(Debug)]
struct Flow {
    service: Service,
    room: usize,
    received: Splitter,
    sent: Splitter,
    /// SENDs that were not answered yet: their message, and whether they completed it.
    unanswered: BTreeMap<String, (MessageKey, bool)>,
    /// Transactions of chunks that were refused before they were whole.
    refused: BTreeSet<String>,
}

#[derive(Debug)]
struct Invite {
    at: Instant,
    /// A script vouches for it: only then do we know how it is to be read.
    well_formed: bool,
    /// Its flow is gone.
    excused: bool,
    flow: FlowId,
    tag: Option<String>,
    last: Option<Vec<u8>>,
}

/// To-Path and Message-ID.
type MessageKey = (String, String);

/// Which octets of a message have arrived.
#[derive(Debug, Default)]
struct Coverage {
    ranges: Vec<(u64, u64)>,
    total: Option<u64>,
    /// A chunk was refused, or the message given up: what comes later proves nothing.
    spoilt: bool,
    last: Instant,
}

impl Checker {
    /// A checker for a client with this configuration.
    pub fn new(config: &Config) -> Self {
        let bound =
            |value: u32| if value == 0 { usize::MAX } else { usize::try_from(value).unwrap_or(usize::MAX) };
        Checker {
            violations: Vec::new(),
            flows: BTreeMap::new(),
            invites: BTreeMap::new(),
            messages: BTreeMap::new(),
            stored: BTreeSet::new(),
            said: BTreeSet::new(),
            names: BTreeMap::new(),
            spools: BTreeMap::new(),
            limits: Bounds {
                transactions: config.limits.transactions,
                pending: bound(config.max_pending_invites),
                unspooled: config.limits.msrp.unspooled + 2 * 64 * 1024,
                reassembly_idle: config.limits.msrp.reassembly_idle,
                stored_before_ack: config.ack == parlour_proto::config::Ack::Stored,
            },
        }
    }

    /// What was broken so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The client is told this.
    pub(crate) fn input(&mut self, now: Instant, input: &Input<'_>) {
        match input {
            Input::Opened { flow, service, .. } => {
                self.flows.entry(*flow).or_insert_with(|| Flow::new(*service));
            }
            Input::Writable { flow, room } => {
                if let Some(flow) = self.flows.get_mut(flow) {
                    flow.room = *room;
                }
            }
            Input::Closed { flow, .. } => {
                self.flows.remove(flow);
                self.invites
                    .values_mut()
                    .filter(|invite| invite.flow == *flow)
                    .for_each(|invite| invite.excused = true);
            }
            Input::Received { flow: flow @ FlowId::Udp { .. }, bytes } => {
                self.sip_received(now, *flow, bytes)
            }
            Input::Received { flow, bytes } => self.stream_received(now, *flow, bytes),
            Input::Spooled { spool, upto } => {
                self.spools.entry(*spool).or_default().1 = *upto;
            }
            Input::Listening { .. }
            | Input::Resolved { .. }
            | Input::Located { .. }
            | Input::Fetched { .. }
            | Input::Tick => {}
        }
    }

    /// The client asks for this.
    pub(crate) fn output(&mut self, now: Instant, output: &Output) {
        match output {
            Output::Send { flow: FlowId::Udp { .. }, bytes } => self.sip_sent(now, bytes),
            Output::Send { flow, bytes } => self.stream_sent(now, *flow, bytes),
            Output::Open { flow, to } => {
                self.flows.insert(*flow, Flow::new(to.service));
            }
            Output::Hold { flow } | Output::Resume { flow } => self.alive(now, *flow, "Hold or Resume"),
            Output::Close { flow } => {
                self.alive(now, *flow, "Close");
                self.flows.remove(flow);
            }
            Output::Spool { spool, bytes, .. } => {
                let entry = self.spools.entry(*spool).or_default();
                entry.0 += bytes.len() as u64;
                let unspooled: u64 = self.spools.values().map(|(out, back)| out.saturating_sub(*back)).sum();
                let bound = self.limits.unspooled.saturating_mul(self.flows.len().max(1) as u64);
                if unspooled > bound {
                    self.broken(
                        Rule::Limits,
                        format!("{unspooled} octets handed out for spooling and not yet spooled"),
                    );
                }
            }
            Output::Discard { spool } => {
                self.spools.remove(spool);
            }
            Output::Resolve { .. }
            | Output::Locate { .. }
            | Output::Fetch { .. }
            | Output::Keep { .. }
            | Output::Settled { .. }
            | Output::Event(_)
            | Output::Idle(_) => {}
        }
    }

    /// The store keeps a message now.
    pub(crate) fn stored(&mut self, message_id: &str) {
        self.stored.insert(message_id.to_owned());
    }

    /// The client rests.
    pub(crate) fn idle(&mut self, now: Instant, load: &Load, model: &Model) {
        if load.transactions > self.limits.transactions || load.invitations > self.limits.pending {
            self.broken(Rule::Limits, format!("{load:?} at {} ms", now.as_millis()));
        }
        // A changed path keeps the old MSRP session until the new one is bound.
        // Each file has one of its own.
        if load.msrp_sessions > (load.sessions + load.suspended).saturating_mul(2) + load.files {
            self.broken(
                Rule::Empty,
                format!("an MSRP session outlives its session: {load:?} at {} ms", now.as_millis()),
            );
        }
        let invited = model.sessions.values().filter(|talk| talk.stage == Stage::Invited).count();
        if model.sessions.len() != load.sessions || invited < load.invitations {
            let sessions = &model.sessions;
            self.broken(
                Rule::Model,
                format!("events tell of {sessions:?}, but {load:?} at {} ms", now.as_millis()),
            );
        }
    }

    /// An event came that cannot follow those before.
    pub(crate) fn out_of_order(&mut self, wrong: String) {
        self.broken(Rule::Model, wrong);
    }

    /// The client does not come to rest.
    pub(crate) fn stuck(&mut self, how: String) {
        self.broken(Rule::Idles, how);
    }

    /// The world is over: nothing may be left.
    pub fn finish(&mut self, load: &Load, model: &Model) {
        if *load != Load::default() {
            self.broken(Rule::Empty, format!("{load:?} is left"));
        }
        if !model.sessions.is_empty() {
            self.broken(Rule::Model, format!("events leave {:?}", model.sessions));
        }
        for message_id in model.said.iter().filter(|(_, told)| !**told).map(|(id, _)| id.clone()) {
            self.broken(Rule::Delivered, format!("nobody told what became of {message_id}"));
        }
        let open = |invite: &&Invite| invite.well_formed && !invite.excused && invite.last.is_none();
        let open: Vec<u64> = self.invites.values().filter(open).map(|invite| invite.at.as_millis()).collect();
        for at in open {
            self.broken(Rule::OneFinal, format!("the INVITE of {at} ms was never answered"));
        }
    }

    fn sip_received(&mut self, now: Instant, flow: FlowId, octets: &[u8]) {
        if text::method(octets).as_deref() != Some("INVITE") {
            return;
        }
        // On a stream, what a script vouches for may follow half a message: then it is not what was sent.
        let alone = text::start_line(octets).split(' ').count() == 3
            && text::lossy(octets).matches(" SIP/2.0\r\n").count() == 1
            && text::header(octets, "CSeq").is_some_and(|cseq| cseq.ends_with(" INVITE"));
        let well_formed = alone && text::header(octets, "Via").is_some_and(|via| via.contains(WELL_FORMED));
        let tag = text::header(octets, "To").and_then(|to| text::param(&to, "tag"));
        self.invites.entry(key(octets)).or_insert(Invite {
            at: now,
            well_formed,
            excused: false,
            flow,
            tag,
            last: None,
        });
    }

    fn sip_sent(&mut self, now: Instant, octets: &[u8]) {
        let Some(status) = text::status(octets).filter(|status| *status > 100) else { return };
        let line = format!("{} at {} ms", text::label(octets), now.as_millis());
        if !text::header(octets, "Server").is_some_and(|server| server.starts_with("IM-client/OMA1.0 ")) {
            self.broken(Rule::Stamped, format!("{line} has no Server"));
        }
        let Some(invite) = self.invites.get_mut(&key(octets)).filter(|invite| invite.well_formed) else {
            return;
        };
        let tag = text::header(octets, "To").and_then(|to| text::param(&to, "tag"));
        let known = invite.tag.get_or_insert_with(|| tag.clone().unwrap_or_default()).clone();
        let other = (status >= 200).then(|| invite.last.replace(octets.to_vec())).flatten();
        if tag.as_deref().is_none_or(|tag| tag.is_empty() || tag != known) {
            self.broken(Rule::OneTag, format!("{line} has To tag {tag:?}, {known:?} was used"));
        }
        if let Some(other) = other.filter(|other| other != octets) {
            self.broken(Rule::NoSecondFinal, format!("{line} after {}", text::label(&other)));
        }
    }

    fn stream_received(&mut self, now: Instant, id: FlowId, octets: &[u8]) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let (service, messages) = (flow.service, flow.received.push(octets));
        for message in messages {
            match service {
                Service::Sip => self.sip_received(now, id, &message),
                Service::Msrp => self.msrp_received(now, id, &message),
            }
        }
    }

    fn stream_sent(&mut self, now: Instant, id: FlowId, octets: &[u8]) {
        self.alive(now, id, "Send");
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let (service, messages, room) = (flow.service, flow.sent.push(octets), flow.room);
        flow.room = room.saturating_sub(octets.len());
        let mut free = 0;
        for message in messages {
            match service {
                Service::Sip => self.sip_sent(now, &message),
                Service::Msrp if text::method(&message).as_deref() != Some("SEND") => {
                    free += message.len();
                    self.msrp_answered(now, id, &message);
                }
                Service::Msrp if text::flag(&message) == Some('#') => free += message.len(),
                Service::Msrp => self.said.extend(inside(&message)),
            }
        }
        // Responses, REPORTs and words that a message is given up may always leave; what else is written needs room.
        let owed = octets.len().saturating_sub(free);
        if service == Service::Msrp && owed > room {
            self.broken(
                Rule::Room,
                format!("{owed} octets at {} ms, there was room for {room}", now.as_millis()),
            );
        }
    }

    fn msrp_received(&mut self, now: Instant, id: FlowId, frame: &[u8]) {
        // Typing states and notifications are no messages to be stored, wrapped or not.
        let is_control = |kind: &str| {
            let cpim = if kind.contains("cpim") { text::lossy(frame) } else { String::new() };
            let control = ["application/im-iscomposing+xml", "message/imdn+xml"];
            control.iter().any(|control| kind.contains(control) || cpim.contains(control))
        };
        if inside(frame).is_some_and(|words| self.said.contains(&words)) {
            return;
        }
        let content = text::header(frame, "Content-Type").filter(|kind| !is_control(kind));
        let message_id = text::header(frame, "Message-ID").filter(|_| content.is_some());
        let Some((message_id, tid)) = message_id.zip(text::transaction(frame)) else { return };
        if text::method(frame).as_deref() != Some("SEND") {
            return;
        }
        if let Some((_, rest)) = text::lossy(frame).split_once("\nimdn.Message-ID: ") {
            let name = rest.lines().next().unwrap_or("").to_owned();
            self.names.insert(message_id.clone(), name);
        }
        let key = (text::header(frame, "To-Path").unwrap_or_default(), message_id);
        // A chunk may be refused by its head alone, before the last octet of it is here.
        let refused = self.flows.get_mut(&id).is_some_and(|flow| flow.refused.remove(&tid));
        let coverage = self.messages.entry(key.clone()).or_default();
        let idle = now - coverage.last >= self.limits.reassembly_idle;
        coverage.spoilt |= refused || text::flag(frame) == Some('#') || idle && !coverage.ranges.is_empty();
        coverage.last = now;
        let start = text::byte_range(frame).map_or(1, |(start, _, _)| start);
        let end = start.saturating_add(text::body(frame).len() as u64);
        coverage.ranges.push((start, end));
        if text::flag(frame) == Some('$') {
            coverage.total = Some(end);
        }
        let complete = coverage.complete();
        if complete {
            self.messages.remove(&key);
        }
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.unanswered.insert(tid, (key, complete));
        }
    }

    fn msrp_answered(&mut self, now: Instant, id: FlowId, frame: &[u8]) {
        let good = text::header(frame, "Status").is_some_and(|status| status.starts_with("000 200"));
        let report = text::method(frame).as_deref() == Some("REPORT") && good;
        let tid = text::transaction(frame).unwrap_or_default();
        let send = self.flows.get_mut(&id).and_then(|flow| flow.unanswered.remove(&tid));
        let acknowledged = match (text::status(frame), send) {
            (Some(200), Some(((_, message_id), true))) => Some(message_id),
            (Some(200), Some((_, false))) => None,
            (Some(_), Some((key, _))) => {
                self.messages.entry(key).or_default().spoilt = true;
                None
            }
            (Some(status), None) if status != 200 => {
                self.flows.get_mut(&id).map(|flow| flow.refused.insert(tid));
                None
            }
            (..) if report => text::header(frame, "Message-ID"),
            (..) => None,
        };
        let known = |id: &String| self.stored.contains(self.names.get(id).unwrap_or(id));
        let unstored = |id: &String| self.limits.stored_before_ack && !known(id);
        if let Some(message_id) = acknowledged.filter(unstored) {
            let (label, at) = (text::label(frame), now.as_millis());
            self.broken(
                Rule::StoredFirst,
                format!("{label} at {at} ms for {message_id}, which is not stored"),
            );
        }
    }

    fn alive(&mut self, now: Instant, flow: FlowId, what: &str) {
        let gone = matches!(flow, FlowId::Stream(_)) && !self.flows.contains_key(&flow);
        if gone {
            self.broken(
                Rule::LiveFlow,
                format!("{what} on {flow:?} at {} ms, which is gone", now.as_millis()),
            );
        }
    }

    fn broken(&mut self, rule: Rule, text: String) {
        if self.violations.len() < 100 {
            self.violations.push(Violation { rule, text });
        }
    }
}

impl Flow {
    fn new(service: Service) -> Self {
        let (received, sent) = (Splitter::new(service), Splitter::new(service));
        Flow {
            service,
            room: FIRST_ROOM,
            received,
            sent,
            unanswered: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }
}

impl Coverage {
    fn complete(&mut self) -> bool {
        let Some(total) = self.total.filter(|_| !self.spoilt) else { return false };
        self.ranges.sort_unstable();
        let reached = self
            .ranges
            .iter()
            .fold(1, |reached, (start, end)| if *start <= reached { reached.max(*end) } else { reached });
        reached >= total
    }
}

/// What stands inside a message/cpim.
fn inside(frame: &[u8]) -> Option<String> {
    text::header(frame, "Content-Type").filter(|kind| kind.contains("cpim"))?;
    text::lossy(text::body(frame)).rsplit_once("\r\n\r\n").map(|(_, words)| words.to_owned())
}

/// What a response shares with its request.
fn key(octets: &[u8]) -> String {
    let value = |name| text::header(octets, name).unwrap_or_default();
    let branch = text::param(&value("Via"), "branch").unwrap_or_default();
    format!("{branch} {} {} {}", value("Call-ID"), value("CSeq"), value("From"))
}
