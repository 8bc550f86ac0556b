//! The relays that act for our accounts (RFC 4976): when their URIs are asked for, who waits for them, and what becomes of
//! sessions whose URIs end. What is said to a relay is said by `parlour_msrp`.
//!
//! ```text
//! URIs of one stream: wanted --> asked -- they are here --> ready -- a description takes them --> the stream's
//!                               asked -- refused --> nothing is asked for a minute; unreachable --> for 2 s
//!                               ready -- their time is over, the connection is lost --> gone
//! ```
//!
//! URIs are asked for as soon as an invitation rings or leaves, so that they are here when a description needs them; what
//! needs them sooner waits. Without them a session does without the relay, unless `relay_required` says that it may not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use parlour_msrp::uri::{MsrpPath, MsrpUri};
use parlour_msrp::{ConnectionId, LeaseFailure, LeaseId, RelayId, RelaySpec, SessionFailure};

use crate::config;
use crate::event::What;
use crate::im::Core;
use crate::im::core::Errand;
use crate::im::flows::Stream;
use crate::im::recover::Lost;
use crate::im::session::Phase;
use crate::io::{
    AccountId, FlowId, Instant, Output, Security, Service, SessionId, Target, TlsExpect, Transport, Why,
};

/// The registered port of MSRP (RFC 4975 15.4), for relays whose URI names none.
const PORT: u16 = 2855;

/// How long a relay that has refused us is left alone: asking it at once again would bring the same.
const REFUSED: Duration = Duration::from_secs(60);

/// The same of one that is not there: it may be back in a moment, and sessions wait for it.
const AWAY: Duration = Duration::from_secs(2);

/// The relays of all accounts.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    accounts: BTreeMap<AccountId, Acting>,
    leases: BTreeMap<LeaseId, Lent>,
    /// Connections that are being made.
    dialling: BTreeMap<ConnectionId, Dial>,
}

/// What acts for one account.
#[derive(Debug)]
struct Acting {
    relay: RelayId,
    asked: Vec<LeaseId>,
    ready: Vec<LeaseId>,
    /// Why nothing is asked for until then.
    failed: Option<(String, Instant)>,
    /// Until when the user knows that it does not work.
    told: Option<Instant>,
    /// Sessions that need URIs to go on.
    waiting: Vec<SessionId>,
}

/// What a relay lends us.
#[derive(Debug)]
struct Lent {
    account: AccountId,
    own: MsrpUri,
    /// As SDP tells it; none until it is here.
    path: Option<MsrpPath>,
}

/// A connection to a relay.
#[derive(Debug)]
struct Dial {
    account: AccountId,
    to: MsrpUri,
    /// Where to try next.
    addresses: Vec<SocketAddr>,
}

impl Core {
    /// Registers the relays of the configuration with MSRP.
    pub(crate) fn add_relays(&mut self) {
        for id in self.account_ids() {
            let Some(relays) = self.relays_of(id).cloned() else { continue };
            let spec =
                RelaySpec::new(relays.chain, relays.credentials).with(|spec| spec.insecure = relays.insecure);
            let relay = self.msrp.add_relay(spec);
            let acting = Acting {
                relay,
                asked: Vec::new(),
                ready: Vec::new(),
                failed: None,
                told: None,
                waiting: Vec::new(),
            };
            self.relays.accounts.insert(id, acting);
        }
    }

    fn relays_of(&self, account: AccountId) -> Option<&config::Relays> {
        let at = usize::try_from(account.0).ok()?;
        self.config.accounts.get(at)?.relays.as_ref()
    }

    /// Whether a session of this account with this protection can be had behind a relay, as far as we know.
    pub(crate) fn acts_for(&self, account: AccountId, tls: Option<bool>) -> bool {
        let Some(relays) = self.relays_of(account) else { return false };
        let failed = self.relays.accounts.get(&account).and_then(|acting| acting.failed.as_ref());
        failed.is_none_or(|(_, until)| self.now.instant >= *until)
            && tls.is_none_or(|tls| relays.chain.leftmost().is_secure() == tls)
    }

    /// URIs for one stream will be needed soon.
    pub(crate) fn want_relay(&mut self, account: AccountId) {
        self.want_relays(account, 1);
    }

    /// The same for so many streams.
    fn want_relays(&mut self, account: AccountId, streams: usize) {
        if !self.acts_for(account, None) {
            return;
        }
        let Some(acting) = self.relays.accounts.get(&account) else { return };
        let (relay, there) = (acting.relay, acting.asked.len().saturating_add(acting.ready.len()));
        for _ in there..streams {
            let Some(own) = self.own_uri(account) else { return };
            let lease = self.msrp.lease(self.now.instant, relay, own.clone());
            self.relays.leases.insert(lease, Lent { account, own, path: None });
            if let Some(acting) = self.relays.accounts.get_mut(&account) {
                acting.asked.push(lease);
            }
        }
    }

    /// Whether a session has to wait for the URIs of so many streams before it describes itself; [`Core::resume`] then goes
    /// on with it. `tls` says what its description is for, if that is known.
    pub(crate) fn waits_for_relay(
        &mut self,
        account: AccountId,
        session: SessionId,
        streams: usize,
        tls: Option<bool>,
    ) -> bool {
        if !self.acts_for(account, tls) {
            self.goes_past_relay(account, session, tls);
            return false;
        }
        self.want_relays(account, streams);
        let Some(acting) = self.relays.accounts.get_mut(&account) else { return false };
        if acting.ready.len() >= streams || acting.asked.is_empty() {
            return false;
        }
        if !acting.waiting.contains(&session) {
            acting.waiting.push(session);
        }
        true
    }

    /// A session has no URIs of the relay, where the account has one: why, and what comes of it.
    fn goes_past_relay(&mut self, account: AccountId, session: SessionId, tls: Option<bool>) {
        let now = self.now.instant;
        let Some(relays) = self.relays_of(account) else { return };
        let (required, secure) = (relays.required, relays.chain.leftmost().is_secure());
        let Some(acting) = self.relays.accounts.get(&account) else { return };
        let why = match &acting.failed {
            Some((why, until)) if now < *until => {
                format!("{why}; it may be asked again in {} s", (*until - now).as_secs())
            }
            // RFC 3264 6.1: an answer keeps to the transport of its offer, and the way to our relay is ours as it is.
            Some(_) | None => match tls {
                Some(false) if secure => "it has TLS, and the offer has none".to_owned(),
                Some(true) if !secure => "it has no TLS, and the offer has".to_owned(),
                Some(_) | None => return,
            },
        };
        let decision = match required {
            true => "no session, as `relay_required` is set and the relay cannot be used",
            false => "the session does without the relay, which cannot be used",
        };
        self.explain(account, Some(session), "M-20", decision, &why);
        self.tell_of_relay(account, why);
    }

    /// The user hears once a minute at most that a relay is not used.
    fn tell_of_relay(&mut self, account: AccountId, why: String) {
        let (now, required) = (self.now.instant, self.needs_relay(account));
        let Some(acting) = self.relays.accounts.get_mut(&account) else { return };
        if acting.told.is_none_or(|told| now >= told) {
            acting.told = Some(now + REFUSED);
            self.tell(account, None, What::RelayFailed { why, required });
        }
    }

    /// Whether sessions come about behind relays only.
    pub(crate) fn needs_relay(&self, account: AccountId) -> bool {
        self.relays_of(account).is_some_and(|relays| relays.required)
    }

    /// Why there can be no session, if it may not be without a relay and there is none for it.
    pub(crate) fn lacks_relay(&self, account: AccountId, tls: Option<bool>) -> Option<String> {
        let relays = self.relays_of(account).filter(|relays| relays.required)?;
        let secure = relays.chain.leftmost().is_secure();
        let failed = self.relays.accounts.get(&account).and_then(|acting| acting.failed.as_ref());
        if let Some((why, _)) = failed {
            return Some(format!("a relay is required, and {why}"));
        }
        let has = if secure { "TLS" } else { "no TLS" };
        tls.is_some_and(|tls| tls != secure)
            .then(|| format!("a relay is required, and ours has {has}: the offer asks for the other"))
    }

    /// Takes URIs that are ready for a stream with this protection, if there are any: those of the relays, and our own at
    /// the end.
    pub(crate) fn take_relay(&mut self, account: AccountId, tls: Option<bool>) -> Option<MsrpPath> {
        if !self.acts_for(account, tls) {
            return None;
        }
        let lease = self.relays.accounts.get_mut(&account)?.ready.pop()?;
        self.relays.leases.get(&lease)?.path.clone()
    }

    /// The lease under whose own URI a session begins; from now on it is the session's.
    pub(crate) fn use_lease(&mut self, own: &MsrpUri) -> Option<LeaseId> {
        let (lease, _) = self.relays.leases.iter().find(|(_, lent)| lent.own == *own)?;
        let lease = *lease;
        self.relays.leases.remove(&lease).map(|_| lease)
    }

    /// A relay lends us URIs.
    pub(crate) fn relay_lends(&mut self, lease: LeaseId, path: MsrpPath) {
        let Some(lent) = self.relays.leases.get_mut(&lease) else { return };
        let account = lent.account;
        self.explain(account, None, "M-20", "a relay lends us URIs for one session", &path.to_string());
        if let Some(lent) = self.relays.leases.get_mut(&lease) {
            lent.path = Some(path);
        }
        if let Some(acting) = self.relays.accounts.get_mut(&account) {
            acting.asked.retain(|asked| *asked != lease);
            acting.ready.insert(0, lease);
            (acting.failed, acting.told) = (None, None);
        }
        self.go_on_behind(account);
    }

    /// There are no URIs, or none any more.
    pub(crate) fn relay_refuses(&mut self, lease: LeaseId, why: &LeaseFailure) {
        let Some(lent) = self.relays.leases.remove(&lease) else { return };
        let is_away = matches!(
            why,
            LeaseFailure::ConnectFailed | LeaseFailure::Disconnected | LeaseFailure::Unresponsive
        );
        let pause = if is_away { AWAY } else { REFUSED };
        let (account, until) = (lent.account, self.now.instant + pause);
        let Some(acting) = self.relays.accounts.get_mut(&account) else { return };
        acting.ready.retain(|ready| *ready != lease);
        let before = acting.asked.len();
        acting.asked.retain(|asked| *asked != lease);
        if acting.asked.len() == before {
            return;
        }
        // Those that wait with it are told one by one.
        if acting.failed.as_ref().is_none_or(|(_, until)| self.now.instant >= *until) {
            acting.failed = Some((why.to_string(), until));
            self.tell_of_relay(account, why.to_string());
        }
        self.go_on_behind(account);
    }

    /// URIs end soon. Those that nobody has used go; a session gets new ones (RFC 4976 9.4).
    pub(crate) fn lease_ends(&mut self, lease: LeaseId, msrp: Option<parlour_msrp::SessionId>) {
        let Some(msrp) = msrp else {
            self.msrp.release(self.now.instant, lease);
            if let Some(lent) = self.relays.leases.remove(&lease)
                && let Some(acting) = self.relays.accounts.get_mut(&lent.account)
            {
                acting.ready.retain(|ready| *ready != lease);
            }
            return;
        };
        let Some(mut session) = self.sessions.by_msrp(msrp).and_then(|id| self.sessions.take(id)) else {
            return;
        };
        if let Phase::Live(live) = &mut session.phase
            && live.talk.lost.is_none()
            // The rest of a file goes, where they end before it does, in a session of its own (RFC 5547 8.7).
            && live.talk.chat().is_some_and(|chat| chat.msrp == msrp)
        {
            live.talk.lost = Some(Lost::new(SessionFailure::Disconnected, 0));
            let decision = "the relay's URIs end soon: a new MSRP session is offered";
            self.explain(session.account, Some(session.id), "M-20", decision, "");
            self.arm(&mut session, Why::Recover, self.now.instant);
        }
        self.sessions.put(session);
    }

    /// Goes on with the sessions that waited.
    fn go_on_behind(&mut self, account: AccountId) {
        let Some(acting) = self.relays.accounts.get_mut(&account) else { return };
        for id in std::mem::take(&mut acting.waiting) {
            self.resume(id);
        }
    }

    fn resume(&mut self, id: SessionId) {
        let Some(session) = self.sessions.take(id) else { return };
        match &session.phase {
            Phase::Inviting(inviting) if inviting.own.is_none() => self.start_invite(session),
            Phase::Invited(_) => {
                // Whoever accepted it was told what became of it.
                let _ = self.answer(session);
            }
            Phase::Live(_) => {
                self.sessions.put(session);
                self.recovery_due(id);
            }
            Phase::Inviting(_) | Phase::Answered(_) | Phase::Leaving(_) => self.sessions.put(session),
        }
    }

    /// Our own URI behind a relay: nobody connects to it, so it needs no listener. RFC 7977 5 names a host that is none
    /// where there is no address to tell.
    fn own_uri(&mut self, account: AccountId) -> Option<MsrpUri> {
        let relays = self.relays_of(account)?;
        let first = relays.chain.leftmost();
        let (secure, transport) = (first.is_secure(), first.transport().to_owned());
        let flow = self.account(account).and_then(|account| account.registered_flow());
        let address = self.config.advertised_address.or_else(|| Some(self.flows.local(flow?)?.ip()));
        let address = address.filter(|address| !address.is_unspecified());
        let port = address.and_then(|address| self.flows.msrp_port(address, secure)).unwrap_or(PORT);
        let (host, ident) = (self.random.ident(12), self.random.ident(24));
        let host = match address {
            Some(address) if address.is_ipv6() => format!("[{address}]"),
            Some(address) => address.to_string(),
            None => format!("{}.invalid", host.replace(['.', '-'], "x")),
        };
        let scheme = if secure { "msrps" } else { "msrp" };
        MsrpUri::parse(&format!("{scheme}://{host}:{port}/{ident};{transport}")).ok()
    }
}

/// Whether a URI is for MSRP over WebSocket (RFC 7977 5.2.1).
fn is_websocket(uri: &MsrpUri) -> bool {
    uri.transport().eq_ignore_ascii_case("ws")
}

/// The way to a relay.
impl Core {
    /// MSRP wants a connection to a relay.
    //= IM M-20
    pub(crate) fn connect_relay(&mut self, connection: ConnectionId, relay: RelayId, to: MsrpUri) {
        let of = self.relays.accounts.iter().find(|(_, acting)| acting.relay == relay);
        let Some(account) = of.map(|(account, _)| *account) else { return };
        let (address, port, host) = (to.ip(), to.port(), to.host().to_owned());
        self.relays.dialling.insert(connection, Dial { account, to: to.clone(), addresses: Vec::new() });
        match (address, port) {
            (Some(address), port) => {
                let address = SocketAddr::new(address, port.unwrap_or(PORT));
                self.relay_found(connection, vec![address]);
            }
            (None, Some(port)) => self.look_up_relay(connection, host, port),
            // RFC 6455 3: the ports of the web.
            (None, None) if is_websocket(&to) => {
                let port = if to.is_secure() { 443 } else { 80 };
                self.look_up_relay(connection, host, port);
            }
            // RFC 4976 8: without a port the name is that of a service.
            (None, None) => {
                let query = self.flows.query();
                self.outputs.push_back(Output::Locate { query, service: "_msrps._tcp", name: host.clone() });
                self.relays_asked(query, connection, host);
            }
        }
    }

    fn relays_asked(&mut self, query: crate::io::QueryId, connection: ConnectionId, host: String) {
        let hop = config::Proxy { host, port: None, transport: Transport::Tls };
        self.lookups.insert(query, (Errand::Relay(connection), hop));
    }

    fn look_up_relay(&mut self, connection: ConnectionId, host: String, port: u16) {
        let hop = config::Proxy { host, port: Some(port), transport: Transport::Tls };
        self.look_up(Errand::Relay(connection), hop);
    }

    /// The answer to a search for the service of a relay.
    //= IM M-20
    pub(crate) fn relay_located(
        &mut self,
        connection: ConnectionId,
        host: String,
        found: Option<&[SocketAddr]>,
    ) {
        match found {
            // RFC 2782: whoever has records for the service has it where they say, or not at all.
            Some(found) => self.relay_found(connection, found.to_vec()),
            // RFC 4976 8: else it is a host's name.
            None => self.look_up_relay(connection, host, PORT),
        }
    }

    /// The addresses of a relay, in the order in which to try them.
    pub(crate) fn relay_found(&mut self, connection: ConnectionId, addresses: Vec<SocketAddr>) {
        if let Some(dial) = self.relays.dialling.get_mut(&connection) {
            dial.addresses = addresses;
            self.dial(connection);
        }
    }

    /// Tries the next address of a relay.
    fn dial(&mut self, connection: ConnectionId) {
        let now = self.now.instant;
        let Some(dial) = self.relays.dialling.get_mut(&connection) else { return };
        if dial.addresses.is_empty() {
            let (account, host) = (dial.account, dial.to.host().to_owned());
            self.relays.dialling.remove(&connection);
            self.explain(account, None, "M-20", "the relay cannot be reached", &host);
            return self.msrp.handle(now, parlour_msrp::Input::Closed { connection });
        }
        let (address, account) = (dial.addresses.remove(0), dial.account);
        // RFC 4976 9.2: its certificate is for the host of the URI, wherever an SRV record led.
        let tls = dial.to.is_secure();
        let dialled = dial.to.clone();
        let insecure = self.relays_of(account).is_some_and(|relays| relays.insecure);
        let to = Target {
            service: Service::Msrp,
            transport: if tls { Transport::Tls } else { Transport::Tcp },
            address,
            others: Vec::new(),
            tls: tls.then(|| TlsExpect {
                name: dialled.host().to_owned(),
                // Else it is judged when it stands.
                must_verify: !insecure,
                present_certificate: false,
            }),
            websocket: is_websocket(&dialled).then(|| {
                let host = dialled.host();
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                format!("{host}:{}", address.port())
            }),
        };
        let flow = FlowId::Stream(connection.0);
        self.flows.opened(flow, Stream::asked_for(&to, now), usize::MAX);
        self.outputs.push_back(Output::Open { flow, to });
    }

    /// A connection to a relay could not be made: whether it is tried elsewhere.
    pub(crate) fn dial_again(&mut self, flow: FlowId) -> bool {
        let FlowId::Stream(number) = flow else { return false };
        let connection = ConnectionId(number);
        if !self.relays.dialling.contains_key(&connection) {
            return false;
        }
        self.flows.closed(flow);
        self.dial(connection);
        self.pump_msrp();
        true
    }

    /// A connection to a relay stands: whether it may be used.
    //= IM M-20
    pub(crate) fn relay_is_good(&mut self, flow: FlowId, security: &Security) -> bool {
        let FlowId::Stream(number) = flow else { return true };
        let Some(dial) = self.relays.dialling.remove(&ConnectionId(number)) else { return true };
        let insecure = self.relays_of(dial.account).is_some_and(|relays| relays.insecure);
        // RFC 4976 9.2: who reads an AUTH can have our messages.
        let good = insecure || matches!(security, Security::Tls { verified: true, .. });
        if !good {
            let decision = "the relay's connection is not used: its certificate is not valid for its name";
            self.explain(dial.account, None, "M-20", decision, dial.to.as_str());
        }
        good
    }

    /// MSRP does not want a connection any more.
    pub(crate) fn hang_up_relay(&mut self, connection: ConnectionId) {
        self.relays.dialling.remove(&connection);
    }
}
