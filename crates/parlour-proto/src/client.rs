//! The client: owns all state, routes, decides nothing.

mod files;

use std::net::IpAddr;

use parlour_msrp::ConnectionId;

pub use self::files::{MAX_FILES, MAX_ICON};
use crate::config::{Config, Proxy};
pub use crate::event::Notice;
use crate::im::Core;
use crate::im::core::{Deadline, Errand};
use crate::im::flows::{Progress, Stream};
use crate::im::large::Large;
use crate::io::{
    AccountId, CloseReason, FlowId, Input, Now, Output, QueryId, Receipt, Security, Service, SessionId,
    Transport, Why,
};
use crate::sip::door::door;
use crate::sip::frame::{Frame, FrameLimits, Framer};
use crate::sip::message::Message;
use crate::sip::tx::{Incoming, TxOutput};
pub use crate::verb::{
    Blocked, Decline, FileAnswer, FileFault, FileOffer, FileRoom, Misuse, Page, Refusal, Say, Shortage,
    StoreFault, Stored,
};

/// How much the client holds: all zero when nothing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// IM Sessions whose end was not told.
    pub sessions: usize,
    /// Sessions that are over for the user, and whose BYE is not answered.
    pub parting: usize,
    /// Those of them that wait for the user.
    pub invitations: usize,
    /// Invitations that the user is not told of yet, as preconditions are not met.
    pub suspended: usize,
    /// SIP transactions, lingering ones included.
    pub transactions: usize,
    /// REGISTERs without a final response.
    pub registers: usize,
    /// Requests of ours whose answer, or its repetition, means something yet.
    pub requests: usize,
    /// Names that are being looked up.
    pub lookups: usize,
    /// MSRP sessions.
    pub msrp_sessions: usize,
    /// MSRP connections that stand or are being made.
    pub msrp_connections: usize,
    /// MSRP messages in reassembly, and those that are not acknowledged.
    pub msrp_messages: usize,
    /// MSRP messages that the store has not judged.
    pub msrp_receipts: usize,
    /// Messages of pager mode that the store has not judged.
    pub pages: usize,
    /// Addresses to which messages of pager mode, or notifications, are on their way.
    pub paging: usize,
    /// Subscriptions to conference state.
    pub subscriptions: usize,
    /// REFERs without a final response, or of which the focus still tells.
    pub referrals: usize,
    /// Files of sessions, also those whose transfer is over.
    pub files: usize,
    /// Streams.
    pub flows: usize,
    /// Deadlines of sessions, accounts and streams.
    pub timers: usize,
}

/// A SIP instant-messaging client without IO: it owns all state and routes what comes; the procedures decide.
///
/// **The drain rule**: one call that changes something, then [`poll`](Client::poll) until [`Output::Idle`].
#[derive(Debug)]
pub struct Client {
    core: Core,
}

impl Client {
    /// All randomness comes from the seed: take it from the operating system.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Client { core: Core::new(config, seed) }
    }

    /// Takes one input. Never fails: a peer's fault becomes a reply or an event.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.core.now = now;
        match input {
            Input::Listening { service, transport, socket, local } => {
                self.core.flows.listening(service, transport, socket, local);
            }
            Input::Opened { flow, service, local, peer, security } => {
                self.opened(flow, service, local, peer, security);
            }
            Input::Received { flow, bytes } => self.received(flow, bytes),
            Input::Writable { flow, room } => {
                if let FlowId::Stream(connection) = flow
                    && self.core.flows.stream(flow).is_some_and(|stream| stream.service == Service::Msrp)
                {
                    let connection = ConnectionId(connection);
                    self.msrp(parlour_msrp::Input::Writable { connection, room });
                }
            }
            Input::Closed { flow, why } => self.closed(flow, why),
            Input::Resolved { query, addresses } => self.resolved(query, addresses),
            Input::Located { query, addresses } => self.located(query, addresses),
            Input::Fetched { source, offset, bytes } => {
                self.msrp(parlour_msrp::Input::Fetched { source, offset, bytes });
            }
            Input::Spooled { spool, upto } => {
                let upto = self.core.spooled(spool, upto);
                self.msrp(parlour_msrp::Input::Spooled { spool, upto });
            }
            Input::Tick => self.tick(),
        }
    }

    /// What to do next.
    pub fn poll(&mut self) -> Output {
        loop {
            if let Some(output) = self.core.outputs.pop_front() {
                return output;
            }
            let Some(output) = self.core.tx.poll() else { break };
            self.transaction_says(output);
        }
        self.core.pump_msrp();
        if let Some(output) = self.core.outputs.pop_front() {
            return output;
        }
        let timer = self.core.timers.next().map(|(at, deadline)| (at, deadline.why()));
        let transaction = self.core.tx.next_deadline();
        let msrp = self.core.msrp_deadline.map(|at| (at, Why::Msrp));
        Output::Idle([timer, transaction, msrp].into_iter().flatten().min_by_key(|(at, _)| *at))
    }

    /// Starts, or renews at once, an account's registration.
    ///
    /// # Errors
    /// There is no such account.
    pub fn register(&mut self, now: Now, account: AccountId) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.register(account)
    }

    /// Removes an account's registration.
    ///
    /// # Errors
    /// There is no such account.
    pub fn unregister(&mut self, now: Now, account: AccountId) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.unregister(account)
    }

    /// Invites `to` to a 1-1 session, through `via`, else the account's proxy, else straight to its host.
    ///
    /// # Errors
    /// `to` is no SIP address, or there is no way to it.
    pub fn invite(
        &mut self,
        now: Now,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
    ) -> Result<SessionId, Misuse> {
        self.core.now = now;
        let session = self.reserve();
        self.core.invite(session, account, to, via, None).map(|()| session)
    }

    /// A number for a session that is begun later, by [`invite_as`](Self::invite_as): what is said first in it can be kept
    /// before anybody hears of it.
    pub fn reserve(&mut self) -> SessionId {
        self.core.sessions.fresh_id()
    }

    /// Invites `to` in a session whose number was [reserved](Self::reserve), to take one large message if `large`.
    ///
    /// # Errors
    /// As [`invite`](Self::invite).
    pub fn invite_as(
        &mut self,
        now: Now,
        session: SessionId,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
        large: bool,
    ) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.invite(session, account, to, via, large.then_some(Large::Ours))
    }

    /// Invites `to` to take one large message (F-15): the first that is said in the session, of any size that `to` takes.
    /// The session ends when it is acknowledged, or has failed.
    ///
    /// # Errors
    /// As [`invite`](Self::invite).
    pub fn invite_to_large(
        &mut self,
        now: Now,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
    ) -> Result<SessionId, Misuse> {
        self.core.now = now;
        let session = self.reserve();
        self.core.invite(session, account, to, via, Some(Large::Ours)).map(|()| session)
    }

    /// Accepts an invitation, with all the files that it offers; those that it asks for are refused.
    ///
    /// # Errors
    /// It is not, or not any more, an unanswered invitation; or there are as many sessions as configured.
    pub fn accept(&mut self, now: Now, session: SessionId) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.accept(session)
    }

    /// Declines an invitation.
    ///
    /// # Errors
    /// It is not, or not any more, an unanswered invitation.
    pub fn decline(&mut self, now: Now, session: SessionId, how: Decline) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.decline(session, how)
    }

    /// Sends a message in a session; before it is established, as soon as it is.
    ///
    /// # Errors
    /// The session ends or has ended, or the message is one that the peer does not take.
    pub fn say(&mut self, now: Now, session: SessionId, message: Say) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.say(session, message)
    }

    /// The user is writing in a session: call it for each piece of input. The peer is told at most once a minute, and that
    /// he has stopped when no input came for 15 s. A message that is sent ends it.
    ///
    /// # Errors
    /// The session does not stand, the peer does not take typing states, or the configuration does not want them sent.
    pub fn composing(&mut self, now: Now, session: SessionId) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.composing(session)
    }

    /// Sends a message of pager mode (RFC 3428) to `to`, through `via`, else the account's proxy, else straight to its host.
    /// One at a time leaves to each address. What becomes of it is told by [`What::Progress`](crate::event::What::Progress)
    /// without a session: acknowledged means that the next hop has it.
    ///
    /// # Errors
    /// `to` is no SIP address, or the message is too large, or too many wait for this address.
    pub fn page(
        &mut self,
        now: Now,
        account: AccountId,
        to: &str,
        via: Option<Proxy>,
        page: Page,
    ) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.page(account, to, via, page)
    }

    /// Sends notifications that authors are owed, and that were told with their messages
    /// ([`Incoming::notices`](crate::event::Incoming::notices)): those that [wait](crate::event::Notice::waits) when the user
    /// was shown the message; and at start all that were due when the program ended and are not
    /// [settled](Output::Settled). They leave in a session with the author if one stands, else in a MESSAGE, several
    /// together where that is possible, and again until somebody takes them.
    ///
    /// # Errors
    /// There is no such account.
    pub fn owe(&mut self, now: Now, account: AccountId, notices: Vec<Notice>) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.account(account).ok_or(Misuse::NoAccount)?;
        self.core.owe(account, notices);
        Ok(())
    }

    /// Leaves a session, or takes an invitation back.
    ///
    /// # Errors
    /// The session ends already, or has ended.
    pub fn leave(&mut self, now: Now, session: SessionId) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.leave(session)
    }

    /// Asks the focus of a conference that a session is in to invite somebody.
    ///
    /// # Errors
    /// `whom` is no address, the session does not stand or is no conference, or the conference does not take REFER.
    pub fn add(&mut self, now: Now, session: SessionId, whom: &str) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.add(session, whom)
    }

    /// Asks the conference that a session is in to call us `nickname` from now on (RFC 7701 7), and an empty one to call us
    /// by none. [`What::Nickname`](crate::event::What::Nickname) or
    /// [`What::NicknameRefused`](crate::event::What::NicknameRefused) tells what it says.
    ///
    /// # Errors
    /// The session does not stand or is no conference, the conference does not know nicknames or allows none, it has not
    /// answered to the last one, or this is none by RFC 8266.
    pub fn nick(&mut self, now: Now, session: SessionId, nickname: &str) -> Result<(), Misuse> {
        self.core.now = now;
        self.core.nick(session, nickname)
    }

    /// Says what became of a received message: only now its last response leaves.
    pub fn stored(&mut self, now: Now, receipt: Receipt, outcome: Result<Stored, StoreFault>) {
        self.core.now = now;
        self.core.stored(receipt, outcome);
    }

    /// Sets whose invitations never reach the user, besides those of the configuration. Invitations of theirs that ring are
    /// refused.
    pub fn set_blocked(&mut self, now: Now, blocked: &[Blocked]) {
        self.core.now = now;
        self.core.set_blocked(blocked);
    }

    /// Says what peers have refused before the client was made: it is not sent to them again while that counts.
    pub fn set_refusals(&mut self, now: Now, refusals: &[Refusal]) {
        self.core.now = now;
        self.core.set_refusals(refusals);
    }

    /// Sets how far local time is ahead of UTC, seconds: `quiet_hours` are in local time.
    pub fn set_utc_offset(&mut self, seconds: i32) {
        self.core.utc_offset = seconds;
    }

    /// Sets what there is too little of: as long as there is, no invitation is taken; if it is the disk, no message either
    /// that does not fit into memory.
    pub fn set_shortage(&mut self, shortage: Option<Shortage>) {
        self.core.shortage = shortage;
    }

    /// Leaves all sessions, declines all invitations and those that still come, removes all registrations. Done when
    /// [`Client::load`] shows no session, no BYE and no REGISTER, or the driver has waited long enough.
    pub fn shutdown(&mut self, now: Now) {
        self.core.now = now;
        self.core.leaving = true;
        self.core.refuse_all_held();
        for id in self.core.sessions.ids() {
            // An invitation may still be answered elsewhere; what is no invitation is left, and what ends already needs
            // nothing.
            let _ = self.core.decline(id, Decline::Unavailable);
            let _ = self.core.leave(id);
        }
        for id in self.core.account_ids() {
            let _ = self.core.unregister(id);
        }
    }

    /// How much the client holds.
    pub fn load(&self) -> Load {
        let msrp = self.core.msrp.load();
        Load {
            sessions: self.core.sessions.len(),
            parting: self.core.sessions.parting(),
            invitations: self.core.sessions.ringing().saturating_sub(self.core.sessions.suspended()),
            suspended: self.core.sessions.suspended(),
            transactions: self.core.tx.len(),
            registers: self.core.registering(),
            requests: self.core.requests.len(),
            lookups: self.core.lookups.len(),
            msrp_sessions: msrp.sessions,
            msrp_connections: msrp.connections,
            msrp_messages: msrp.incoming.saturating_add(msrp.outgoing),
            msrp_receipts: msrp.receipts,
            pages: self.core.pages.unstored(),
            paging: self.core.lanes.busy(),
            subscriptions: self.core.subscriptions.len(),
            referrals: self.core.referrals.len(),
            files: self.core.files.len(),
            flows: self.core.flows.len(),
            timers: self.core.timers.len(),
        }
    }
}

/// Where inputs go.
impl Client {
    fn opened(
        &mut self,
        flow: FlowId,
        service: Service,
        local: std::net::SocketAddr,
        peer: std::net::SocketAddr,
        security: Security,
    ) {
        let limits = FrameLimits::within(self.core.config.limits.stream_message);
        let framer = (service == Service::Sip).then(|| Box::new(Framer::new(limits)));
        let now = self.core.now.instant;
        if !self.core.relay_is_good(flow, &security) {
            return self.hang_up(flow);
        }
        if let Some(stream) = self.core.flows.stream(flow) {
            (stream.local, stream.peer, stream.security) = (Some(local), peer, security);
            (stream.framer, stream.heard) = (framer, now);
        } else {
            let stream = Stream { framer, ..Stream::accepted(service, local, peer, security, now) };
            if !self.core.flows.opened(flow, stream, self.core.config.limits.streams_per_source) {
                self.core.outputs.push_back(Output::Close { flow });
                return;
            }
        }
        if service == Service::Sip {
            self.watch(flow);
        }
        match (service, flow) {
            (Service::Msrp, FlowId::Stream(connection)) => {
                let tls = self.core.shown(flow);
                let connection = ConnectionId(connection);
                self.msrp(parlour_msrp::Input::Connected { connection, peer, tls });
            }
            (Service::Sip | Service::Msrp, _) => {
                self.core.flow_stands(flow);
                self.core.subscribe_on_stream(flow);
                self.core.register_on_stream(flow);
            }
        }
    }

    fn received(&mut self, flow: FlowId, bytes: &[u8]) {
        match flow {
            FlowId::Udp { .. } => self.datagram(flow, bytes),
            FlowId::Stream(connection) => match self.core.flows.stream(flow).map(|stream| stream.service) {
                Some(Service::Sip) => self.sip_stream(flow, bytes),
                Some(Service::Msrp) => {
                    let connection = ConnectionId(connection);
                    self.msrp(parlour_msrp::Input::Received { connection, bytes });
                }
                None => {}
            },
        }
    }

    fn datagram(&mut self, flow: FlowId, bytes: &[u8]) {
        // RFC 3261 7.5: CRLFs before a message are skipped; a datagram of nothing else keeps a NAT open.
        let start = bytes.iter().position(|octet| !matches!(octet, b'\r' | b'\n' | 0)).unwrap_or(bytes.len());
        let octets = bytes.get(start..).unwrap_or_default();
        if !octets.is_empty() {
            self.sip(flow, octets);
        }
    }

    fn sip_stream(&mut self, flow: FlowId, bytes: &[u8]) {
        let Some(mut framer) = self.core.flows.stream(flow).and_then(|stream| stream.framer.take()) else {
            return;
        };
        framer.push(bytes);
        let mut heard = false;
        let mut lost = false;
        while let Some(frame) = framer.next() {
            match frame {
                Frame::Message(octets) => {
                    heard = true;
                    self.sip(flow, octets);
                }
                // RFC 5626 4.4.1
                Frame::Ping => {
                    heard = true;
                    self.core.send(flow, b"\r\n".to_vec());
                }
                Frame::Pong => {}
                Frame::Fault(fault) => {
                    lost = true;
                    self.core.malformed(flow, &fault);
                    break;
                }
            }
        }
        if lost {
            return self.hang_up(flow);
        }
        let mid = framer.is_mid_message();
        self.note(flow, heard, mid);
        if let Some(stream) = self.core.flows.stream(flow) {
            stream.framer = Some(framer);
        }
    }

    /// whoever opens a stream has something to say, a message that has begun ends in time, and a stream that is
    /// silent for long is closed.
    //= IM X-13
    fn watch(&mut self, flow: FlowId) {
        let limits = &self.core.config.limits;
        let (first, slow, idle) = (limits.first_message, limits.slow_message, limits.idle_stream);
        let Some(stream) = self.core.flows.stream(flow) else { return };
        let patience = match stream.progress {
            Progress::Silent => first,
            Progress::MidMessage => slow,
            Progress::Resting => idle,
        };
        let armed = stream.deadline.take();
        if let Some(armed) = armed {
            self.core.timers.cancel(armed);
        }
        let timer = self.core.timers.arm(self.core.now.instant + patience, Deadline::Flow(flow));
        if let Some(stream) = self.core.flows.stream(flow) {
            stream.deadline = Some(timer);
        }
    }

    /// Notes how far a stream is. The deadline moves only when that changes: between messages it is looked at when it
    /// falls due.
    fn note(&mut self, flow: FlowId, heard: bool, mid_message: bool) {
        let now = self.core.now.instant;
        let Some(stream) = self.core.flows.stream(flow) else { return };
        if heard {
            stream.heard = now;
        }
        let progress = match (mid_message, stream.progress) {
            (_, Progress::Silent) if !heard => Progress::Silent,
            (true, _) => Progress::MidMessage,
            (false, _) => Progress::Resting,
        };
        let begun = progress == Progress::MidMessage && heard;
        if stream.progress != progress || begun {
            stream.progress = progress;
            self.watch(flow);
        }
    }

    fn flow_due(&mut self, flow: FlowId) {
        let (now, idle) = (self.core.now.instant, self.core.config.limits.idle_stream);
        let Some(stream) = self.core.flows.stream(flow) else { return };
        stream.deadline = None;
        let (resting, heard) = (stream.progress == Progress::Resting, stream.heard);
        let registered = self.core.accounts.iter().any(|account| account.registered_flow() == Some(flow));
        if !resting || (now - heard >= idle && !registered) {
            return self.hang_up(flow);
        }
        let at = if registered { now + idle } else { heard + idle };
        let timer = self.core.timers.arm(at, Deadline::Flow(flow));
        if let Some(stream) = self.core.flows.stream(flow) {
            stream.deadline = Some(timer);
        }
    }

    fn hang_up(&mut self, flow: FlowId) {
        self.core.outputs.push_back(Output::Close { flow });
        self.forget_stream(flow, "we closed it");
    }

    fn closed(&mut self, flow: FlowId, why: CloseReason) {
        if matches!(flow, FlowId::Udp { .. }) {
            return self.core.datagram_failed(flow);
        }
        if matches!(why, CloseReason::Connect | CloseReason::Tls) && self.core.dial_again(flow) {
            return;
        }
        let why = match why {
            CloseReason::Peer => "the other side closed the connection",
            CloseReason::Connect => "the connection could not be made",
            CloseReason::Tls => "the TLS handshake failed, or the certificate is not valid for the name",
            CloseReason::Error => "the connection broke",
            CloseReason::Local => "we closed the connection",
        };
        self.forget_stream(flow, why);
    }

    fn forget_stream(&mut self, flow: FlowId, why: &str) {
        let Some(stream) = self.core.flows.closed(flow) else { return };
        if let Some(deadline) = stream.deadline {
            self.core.timers.cancel(deadline);
        }
        match (stream.service, flow) {
            (Service::Msrp, FlowId::Stream(connection)) => {
                self.msrp(parlour_msrp::Input::Closed { connection: ConnectionId(connection) });
            }
            (Service::Sip | Service::Msrp, _) => {
                self.core.tx.flow_closed(self.core.now.instant, flow);
                self.core.flow_failed(flow, why);
                self.core.subscribing_flow_closed(flow, why);
                self.core.registered_flow_closed(flow, why);
            }
        }
    }

    fn resolved(&mut self, query: QueryId, addresses: &[IpAddr]) {
        let Some((errand, hop)) = self.core.lookups.remove(&query) else { return };
        match errand {
            Errand::Invite(session) => {
                let flow = self.core.reach_at(&hop, addresses);
                self.core.invite_over(session, flow);
            }
            Errand::Register(account) => {
                let flow = self.core.reach_at(&hop, addresses);
                self.core.register_over(account, flow);
            }
            Errand::Page(lane) => {
                let flow = self.core.reach_at(&hop, addresses);
                self.core.page_over(lane, flow);
            }
            Errand::Subscribe(session) => self.core.subscribe_resolved(session, &hop, addresses),
            Errand::Bye(session) => self.core.bye_resolved(session, &hop, addresses),
            Errand::Renew(session) => self.core.renewal_resolved(session, &hop, addresses),
            Errand::Compare(asker) => self.core.name_found(asker, &hop.host, addresses),
            Errand::Relay(connection) => {
                let port = hop.port.unwrap_or(0);
                let found = addresses.iter().map(|address| std::net::SocketAddr::new(*address, port));
                self.core.relay_found(connection, found.collect());
                self.core.pump_msrp();
            }
            Errand::Connect(connection, session) => {
                let tls = hop.transport == Transport::Tls;
                self.core.connect_to(connection, session, tls, hop.port.unwrap_or(0), addresses);
                self.core.pump_msrp();
            }
        }
    }

    fn located(&mut self, query: QueryId, addresses: Option<&[std::net::SocketAddr]>) {
        if let Some((Errand::Relay(connection), hop)) = self.core.lookups.remove(&query) {
            self.core.relay_located(connection, hop.host, addresses);
            self.core.pump_msrp();
        }
    }

    fn tick(&mut self) {
        let now = self.core.now.instant;
        self.core.tx.tick(now);
        while let Some((_, deadline)) = self.core.timers.pop_due(now) {
            match deadline {
                Deadline::Session(id, why) => self.core.session_due(id, why),
                Deadline::Account(id, why) => self.core.account_due(id, why),
                Deadline::Subscription(id, why) => self.core.subscription_due(id, why),
                Deadline::Referral(number) => self.core.referral_due(number),
                Deadline::Page(lane) => self.core.page_due(lane),
                Deadline::Flow(flow) => self.flow_due(flow),
                Deadline::Tombstones => self.core.tombstones_due(),
                Deadline::Accepted(client) => {
                    self.core.tx.forget_client(client);
                    self.core.requests.remove(&client);
                }
            }
        }
        self.msrp(parlour_msrp::Input::Tick);
    }

    fn msrp(&mut self, input: parlour_msrp::Input<'_>) {
        self.core.msrp.handle(self.core.now.instant, input);
        self.core.pump_msrp();
    }

    /// One SIP message.
    fn sip(&mut self, flow: FlowId, octets: &[u8]) {
        let message = match Message::parse(octets) {
            Ok(message) => message,
            Err(fault) => return self.core.malformed(flow, &fault),
        };
        let core = match door(&message) {
            Ok(core) => core,
            Err(fault) => return self.core.turned_away(flow, &message, fault),
        };
        let Some(source) = self.core.flows.peer(flow) else { return };
        if !self.core.admit(flow, &message, &core) {
            return;
        }
        match self.core.tx.receive(self.core.now.instant, flow, source, &message, &core.via) {
            Incoming::Request { id, merged } => self.core.request_came(flow, id, merged, &message, &core),
            Incoming::Cancel { id, invite } => self.core.cancel_came(flow, id, invite, &message, &core),
            Incoming::Ack => self.core.ack_came(&message, &core),
            Incoming::Response { id } => self.core.response_came(flow, id, &message),
            Incoming::Overload => self.core.overloaded(flow, &message),
            Incoming::Stray | Incoming::Absorbed | Incoming::Dropped(_) => {}
        }
    }

    fn transaction_says(&mut self, output: TxOutput) {
        match output {
            TxOutput::Send { flow, bytes } => self.core.send(flow, bytes),
            TxOutput::ClientTimeout { id } => self.core.no_response(id, "no answer came in time"),
            TxOutput::ClientUnreachable { id } => self.core.no_response(id, "the way there is closed"),
            // RFC 3261 17.2.1: the transaction user is told, and an INVITE that was refused needs nothing more.
            TxOutput::ServerNoAck { .. } => {}
            TxOutput::ServerGone { id } => self.core.invite_gone(id),
        }
    }
}

impl Deadline {
    fn why(&self) -> Why {
        match self {
            Deadline::Session(_, why) | Deadline::Account(_, why) | Deadline::Subscription(_, why) => *why,
            Deadline::Page(_) => Why::Notify,
            Deadline::Flow(_) => Why::FlowIdle,
            Deadline::Accepted(_) | Deadline::Tombstones | Deadline::Referral(_) => Why::TransactionLinger,
        }
    }
}

#[cfg(test)]
mod tests;
