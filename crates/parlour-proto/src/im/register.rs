//! Registration, the simple case: REGISTER through the proxy, refreshed, and removed at the end (RFC 3261 10).

use std::time::Duration;

use parlour_msrp::random::Random;
use parlour_msrp::timer::TimerId;

use crate::config::Proxy;
use crate::event::What;
use crate::im::Core;
use crate::im::account::Account;
use crate::im::core::{Deadline, Errand, Purpose};
use crate::im::flows::Source;
use crate::im::originating::reason_phrase;
use crate::im::stamp::{ALLOW, Draft};
use crate::im::trust::plain;
use crate::io::{AccountId, FlowId, Transport, Why};
use crate::sip::digest::Chain;
use crate::sip::header::{
    Challenge, Contact, Expires, FeatureCaps, MinExpires, PAssociatedUri, ProxyAuthenticate, RetryAfter,
    WwwAuthenticate,
};
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::uri::Uri;
use crate::verb::Misuse;

/// RFC 5626 4.5: the first pause after a failure, and the longest one.
const BASE_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);
/// However soon the registrar wants us again.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// The longest Min-Expires that we go along with, and how often in a row a registrar may raise it.
const LONGEST_MINIMUM: Duration = Duration::from_secs(24 * 3600);
const RAISES: u32 = 2;

/// RFC 5626 4.4.1: a stream is kept alive every two minutes or so. Over UDP, NATs forget sooner.
const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(100);
const DATAGRAM_KEEP_ALIVE: Duration = Duration::from_secs(25);

/// RFC 8197 5.2: the registrar's proxy takes 607.
const SIP_607: &str = "+sip.607";

/// Where an account's registration stands, and what all its REGISTERs share (RFC 3261 10.2).
#[derive(Debug)]
pub(crate) struct Registration {
    state: State,
    /// What the user wants.
    wanted: bool,
    call_id: String,
    tag: String,
    cseq: u32,
    /// Where the last REGISTER went.
    registrar: Option<Source>,
    /// The Contact that it bound.
    contact: Option<String>,
    /// Whether it takes 607 (RFC 8197 5.2).
    takes_unwanted: bool,
    /// Whether a REGISTER is out: the next one has to wait for its final response (RFC 3261 10.2).
    pending: bool,
    /// The challenges answered so far.
    chain: Chain,
    failures: u32,
    /// What the registrar asked for with 423.
    min_expires: Option<Duration>,
    /// How often it has, since a registration last succeeded or failed.
    raises: u32,
    refresh: Option<TimerId>,
    keep_alive: Option<TimerId>,
}

/// ```text
/// Off --register--> Trying --200--> Registered --refresh--> Trying
///  ^                  |--failed--> Off (and a deadline to try again)
///  +---200 to Expires: 0 (Removing)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    /// A REGISTER is out, or waits for its next hop. `held`: the flow of a registration that is still valid.
    Trying {
        held: Option<FlowId>,
        over: Option<FlowId>,
    },
    Registered {
        flow: FlowId,
    },
    /// A REGISTER with Expires: 0 is out.
    Removing {
        flow: FlowId,
    },
}

impl Registration {
    pub(crate) fn new(random: &mut Random) -> Self {
        Registration {
            state: State::Off,
            wanted: false,
            call_id: random.ident(24),
            tag: random.ident(20),
            cseq: 0,
            registrar: None,
            contact: None,
            takes_unwanted: false,
            pending: false,
            chain: Chain::default(),
            failures: 0,
            min_expires: None,
            raises: 0,
            refresh: None,
            keep_alive: None,
        }
    }

    /// The flow on which the registrar knows us.
    pub(crate) fn flow(&self) -> Option<FlowId> {
        match self.state {
            State::Registered { flow } | State::Removing { flow } => Some(flow),
            State::Trying { held, .. } => held,
            State::Off => None,
        }
    }

    /// The Contact by which the registrar knows us.
    pub(crate) fn contact(&self) -> Option<&str> {
        self.contact.as_deref().filter(|_| self.flow().is_some())
    }

    /// Whether what is told to the registrar's proxy may be that the user wants nothing of a caller.
    pub(crate) fn takes_unwanted(&self) -> bool {
        self.takes_unwanted && self.flow().is_some()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(crate) fn registrar(&self) -> Option<Source> {
        self.registrar
    }

    fn over(&self) -> Option<FlowId> {
        match self.state {
            State::Trying { over, .. } => over,
            State::Registered { flow } | State::Removing { flow } => Some(flow),
            State::Off => None,
        }
    }
}

impl Account {
    /// RFC 3261 10.2: the Request-URI of a REGISTER is the domain.
    fn registrar_uri(&self) -> String {
        let scheme = if self.address.starts_with("sips:") { "sips" } else { "sip" };
        format!("{scheme}:{}", self.host)
    }

    /// The next hop of a REGISTER.
    fn registrar_hop(&self) -> Proxy {
        let transport = if self.address.starts_with("sips:") { Transport::Tls } else { Transport::Udp };
        self.proxy.clone().unwrap_or_else(|| Proxy { host: self.host.clone(), port: None, transport })
    }

    /// The Route rows of a request outside a dialog that goes to `hop`: the outbound proxy, then the Service-Route of
    /// our registration, or the configured one (RFC 3608 6.1).
    //= IM R-51
    pub(crate) fn routes(&self, hop: &Proxy, target: &str) -> Vec<String> {
        let target_host = Uri::parse(target.as_bytes()).map(|uri| uri.host().to_owned()).unwrap_or_default();
        let mut routes = Vec::new();
        // RFC 3261 8.1.1.1 and 8.1.2: an outbound proxy is a route set of one, unless it is the target itself.
        if !hop.host.eq_ignore_ascii_case(&target_host) {
            let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
            let transport = match hop.transport {
                Transport::Udp => "",
                Transport::Tcp => ";transport=tcp",
                Transport::Tls => ";transport=tls",
            };
            routes.push(format!("<sip:{}{port}{transport};lr>", hop.host));
        }
        if self.proxy.as_ref() == Some(hop) {
            routes.extend(self.service_route.iter().cloned());
        }
        routes
    }
}

impl Core {
    /// REGISTERs without a final response.
    pub(crate) fn registering(&self) -> usize {
        self.accounts.iter().filter(|account| account.registration.pending).count()
    }

    /// Starts a registration, or renews it now.
    pub(crate) fn register(&mut self, id: AccountId) -> Result<(), Misuse> {
        let account = self.account_mut(id).ok_or(Misuse::NoAccount)?;
        account.registration.wanted = true;
        self.begin_register(id);
        Ok(())
    }

    /// Removes a registration.
    pub(crate) fn unregister(&mut self, id: AccountId) -> Result<(), Misuse> {
        let registration = &mut self.account_mut(id).ok_or(Misuse::NoAccount)?.registration;
        let was_wanted = std::mem::replace(&mut registration.wanted, false);
        let (state, pending, held) = (registration.state, registration.pending, registration.flow());
        self.cancel_register_timers(id);
        match (state, held) {
            // The answer that is still to come says what there is to be removed.
            (State::Trying { .. }, _) if pending => {}
            (State::Removing { .. }, _) => {}
            (State::Off, _) if !was_wanted => {}
            (State::Off | State::Trying { .. } | State::Registered { .. }, held) => {
                self.remove_binding(id, held)
            }
        }
        Ok(())
    }

    /// Sends the REGISTER that removes what the registrar holds for us, if it holds anything.
    fn remove_binding(&mut self, id: AccountId, held: Option<FlowId>) {
        let Some(flow) = held else { return self.unregistered(id) };
        let Some(account) = self.account_mut(id) else { return };
        account.registration.state = State::Removing { flow };
        account.registration.chain = Chain::default();
        self.send_register(id, flow, &[]);
    }

    fn begin_register(&mut self, id: AccountId) {
        let Some(account) = self.account(id) else { return };
        // One attempt at a time: whoever removes a binding sees at its end that it is wanted again.
        if matches!(account.registration.state, State::Trying { .. } | State::Removing { .. }) {
            return;
        }
        self.cancel_register_timers(id);
        let Some(account) = self.account_mut(id) else { return };
        let held = account.registration.flow();
        account.registration.state = State::Trying { held, over: held };
        account.registration.chain = Chain::default();
        let hop = account.registrar_hop();
        match held.filter(|flow| self.flows.is_usable(*flow)) {
            Some(flow) => self.send_register(id, flow, &[]),
            None => {
                if let Some(flow) = self.reach(Errand::Register(id), &hop) {
                    self.register_over(id, flow);
                }
            }
        }
    }

    /// The next hop is known, or cannot be.
    pub(crate) fn register_over(&mut self, id: AccountId, flow: Result<FlowId, String>) {
        let Some(account) = self.account_mut(id) else { return };
        // Else nobody waits for it any more.
        let State::Trying { over, .. } = &mut account.registration.state else { return };
        match flow {
            Ok(flow) => {
                *over = Some(flow);
                // A stream tells its local address, which Contact needs, once it stands.
                if self.flows.local(flow).is_some() {
                    self.send_register(id, flow, &[]);
                }
            }
            Err(why) => self.register_failed(id, None, why, None),
        }
    }

    /// A SIP stream of ours stands: registrations that waited for it go on.
    pub(crate) fn register_on_stream(&mut self, flow: FlowId) {
        for id in self.account_ids() {
            let waits = self.account(id).is_some_and(|account| {
                matches!(account.registration.state, State::Trying { over, .. } if over == Some(flow))
            });
            if waits {
                self.send_register(id, flow, &[]);
            }
        }
    }

    /// A stream is gone: registrations on it have to be made again.
    pub(crate) fn registered_flow_closed(&mut self, flow: FlowId, why: &str) {
        for id in self.account_ids() {
            let Some(account) = self.account_mut(id) else { continue };
            let registration = &mut account.registration;
            if registration.over() == Some(flow) {
                // What the transaction on it will say is no news.
                registration.pending = false;
            }
            match registration.state {
                State::Registered { flow: own } if own == flow => {
                    registration.state = State::Off;
                    self.register_failed(id, None, format!("the registered flow is gone: {why}"), None);
                }
                State::Trying { over, .. } if over == Some(flow) => {
                    registration.state = State::Off;
                    self.register_failed(id, None, format!("no connection to the registrar: {why}"), None);
                }
                State::Removing { flow: own } if own == flow => self.unregistered(id),
                State::Off | State::Trying { .. } | State::Registered { .. } | State::Removing { .. } => {}
            }
        }
    }

    fn send_register(&mut self, id: AccountId, flow: FlowId, rows: &[(Name, String)]) {
        let registrar = self.source(flow);
        let Some(account) = self.account_mut(id) else { return };
        let registration = &mut account.registration;
        registration.registrar = Some(registrar);
        // RFC 3261 10.2: one Call-ID, and a CSeq that rises.
        registration.cseq = registration.cseq.saturating_add(1);
        registration.pending = true;
        let removing = matches!(registration.state, State::Removing { .. });
        let expires = if removing {
            Duration::ZERO
        } else {
            account.register_expires.max(account.registration.min_expires.unwrap_or_default())
        };
        let Some(account) = self.account(id) else { return };
        let uri = account.registrar_uri();
        let from = format!("<{}>;tag={}", account.address, account.registration.tag);
        let to = format!("<{}>", account.address);
        let hop = account.registrar_hop();
        let mut routes = account.routes(&hop, &uri);
        // RFC 3608 6.1: the Service-Route is not for REGISTER.
        routes.truncate(usize::from(!hop.host.eq_ignore_ascii_case(&account.host)));
        let contact = self.contact_uri(flow, Some(id), uri.starts_with("sips:")).unwrap_or_default();
        let instance = match &self.config.instance {
            // RFC 5626 4.1: the same for all registrations of this device, for ever.
            Some(instance) => format!(";+sip.instance=\"<{instance}>\""),
            None => String::new(),
        };
        // RFC 3840 10.2.7: callers may choose a device by what it takes.
        let mut all = vec![
            //= IM R-40
            (Name::Contact, format!("<{contact}>;{}{instance};methods=\"{ALLOW}\"", self.features())),
            (Name::Expires, expires.as_secs().to_string()),
            // RFC 3327 5.1: proxies may put themselves on the way to us; that is all that concerns us.
            //= IM R-52
            (Name::Supported, "path".to_owned()),
        ];
        all.extend(rows.iter().cloned());
        if let Some(account) = self.account_mut(id) {
            account.registration.contact = Some(contact);
        }
        let Some(account) = self.account(id) else { return };
        let draft = Draft {
            method: Method::Register,
            uri: &uri,
            flow,
            account: id,
            routes: &routes,
            from: &from,
            to: &to,
            call_id: &account.registration.call_id.clone(),
            cseq: account.registration.cseq,
            rows: &all,
            body: None,
        };
        let request = self.request(&draft);
        self.dispatch(flow, request, Purpose::Register(id));
    }

    /// No final response came to a REGISTER.
    pub(crate) fn register_unanswered(&mut self, id: AccountId, why: &str) {
        let awaited =
            self.account_mut(id).is_some_and(|account| std::mem::take(&mut account.registration.pending));
        if awaited {
            self.register_failed(id, None, format!("the registrar does not answer: {why}"), None);
        }
    }

    /// A final response to a REGISTER.
    pub(crate) fn register_answered(&mut self, id: AccountId, flow: FlowId, response: &Message<'_>) {
        let Some(account) = self.account_mut(id) else { return };
        let status = response.status().unwrap_or(0);
        let registration = &mut account.registration;
        if !std::mem::take(&mut registration.pending) {
            return;
        }
        if let State::Trying { held, .. } = registration.state
            && !registration.wanted
        {
            // It was taken back meanwhile: what is bound now, by this answer or an earlier one, goes.
            let bound = if (200..300).contains(&status) { Some(flow) } else { held };
            return self.remove_binding(id, bound);
        }
        match status {
            200..300 => {
                registration.chain = Chain::default();
                (registration.failures, registration.raises) = (0, 0);
                match registration.state {
                    State::Removing { .. } => self.unregistered(id),
                    State::Off | State::Trying { .. } | State::Registered { .. } => {
                        self.registered(id, flow, response)
                    }
                }
            }
            401 | 407 => {
                let over = registration.over().unwrap_or(flow);
                let mut chain = std::mem::take(&mut registration.chain);
                let uri = account.registrar_uri();
                let rows = self.credentials_for(id, &mut chain, Method::Register, &uri, response);
                if let Some(account) = self.account_mut(id) {
                    account.registration.chain = chain;
                }
                match rows {
                    Some(rows) => self.send_register(id, over, &rows),
                    None => {
                        let why =
                            "the registrar's challenge cannot be answered: check user, password and realm";
                        self.register_failed(id, Some(status), why.into(), None);
                    }
                }
            }
            423 => {
                let over = registration.over().unwrap_or(flow);
                match self.longer_lifetime(id, response) {
                    Ok(()) => self.send_register(id, over, &[]),
                    Err(why) => self.register_failed(id, Some(status), why, None),
                }
            }
            _ => {
                let reason = reason_phrase(response);
                let after = response.maybe::<RetryAfter>().ok().flatten();
                let after = after.map(|RetryAfter(seconds)| Duration::from_secs(seconds.into()));
                self.register_failed(id, Some(status), format!("{status} {reason}"), after);
            }
        }
    }

    /// RFC 3261 10.2.8: a 423 asks for a longer lifetime. A registrar that is never content does not keep us busy.
    fn longer_lifetime(&mut self, id: AccountId, response: &Message<'_>) -> Result<(), String> {
        let least = response.maybe::<MinExpires>().ok().flatten();
        let asked = self.account(id).map(|account| account.register_expires).unwrap_or_default();
        let registration = &mut self.account_mut(id).ok_or_else(String::new)?.registration;
        let before = registration.min_expires.unwrap_or_default().max(asked);
        let longer = least.map(|MinExpires(seconds)| Duration::from_secs(seconds.into()));
        let Some(longer) = longer.filter(|longer| *longer > before) else {
            return Err(format!(
                "423 without a Min-Expires above the {} s that were asked for",
                before.as_secs()
            ));
        };
        if longer > LONGEST_MINIMUM {
            let (seconds, most) = (longer.as_secs(), LONGEST_MINIMUM.as_secs());
            return Err(format!("423 asks for {seconds} s, more than the {most} s that we go along with"));
        }
        if registration.raises >= RAISES {
            return Err(format!("423 after {RAISES} longer lifetimes: the registrar is never content"));
        }
        registration.raises = registration.raises.saturating_add(1);
        registration.min_expires = Some(longer);
        Ok(())
    }

    fn registered(&mut self, id: AccountId, flow: FlowId, response: &Message<'_>) {
        let now = self.now.instant;
        let asked = self.account(id).map_or(Duration::ZERO, |account| account.register_expires);
        let own = self.contact_uri(flow, Some(id), false).unwrap_or_default();
        let lifetime = granted(response, &own).unwrap_or(asked);
        let refresh = refresh_after(lifetime);
        self.cancel_register_timers(id);
        let refresh = self.timers.arm(now + refresh, Deadline::Account(id, Why::Register));
        let keep_alive = self.timers.arm(now + keep_alive(flow), Deadline::Account(id, Why::KeepAlive));
        let Some(account) = self.account_mut(id) else { return };
        account.registration.state = State::Registered { flow };
        account.registration.refresh = Some(refresh);
        account.registration.keep_alive = Some(keep_alive);
        // RFC 6809 4.3.3: what one 200 says holds until the next.
        account.registration.takes_unwanted =
            response.list::<FeatureCaps<'_>>().flatten().any(|caps| caps.params.has(SIP_607));
        // RFC 3608 6.1 and RFC 7315 4.1: each 200 replaces what the one before said.
        //= IM R-51
        //= IM R-53
        account.service_route = response
            .values(Name::ServiceRoute)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        account.identities =
            response.list::<PAssociatedUri<'_>>().flatten().map(|value| plain(value.uri)).collect();
        let identities = account.identities.clone();
        self.tell(id, None, What::Registered { identities, expires: lifetime });
        self.resume_notices(id);
    }

    fn unregistered(&mut self, id: AccountId) {
        self.cancel_register_timers(id);
        if let Some(account) = self.account_mut(id) {
            account.registration.state = State::Off;
            account.forget_registered();
        }
        self.tell(id, None, What::Unregistered);
        if self.account(id).is_some_and(|account| account.registration.wanted) {
            self.begin_register(id);
        }
    }

    /// Tries again later, unless the registrar said no for good (RFC 3261 10.2.7, RFC 5626 4.5).
    fn register_failed(&mut self, id: AccountId, status: Option<u16>, why: String, after: Option<Duration>) {
        self.cancel_register_timers(id);
        let dice = self.random.below(1 << 20);
        let Some(account) = self.account_mut(id) else { return };
        let registration = &mut account.registration;
        if !registration.wanted || matches!(registration.state, State::Removing { .. }) {
            return self.unregistered(id);
        }
        registration.state = State::Off;
        registration.raises = 0;
        //= IM R-66
        let hopeless = matches!(status, Some(401 | 403 | 404 | 407));
        let own = pause(registration.failures, dice);
        let retry = (!hopeless).then(|| after.map_or(own, |after| after.max(LEAST_PAUSE)));
        registration.failures = registration.failures.saturating_add(1);
        if hopeless {
            account.forget_registered();
        }
        if let Some(retry) = retry {
            let timer = self.timers.arm(self.now.instant + retry, Deadline::Account(id, Why::Register));
            if let Some(account) = self.account_mut(id) {
                account.registration.refresh = Some(timer);
            }
        }
        self.tell(id, None, What::RegistrationFailed { status, why, retry });
    }

    /// A refresh, a new try or a keep-alive is due.
    pub(crate) fn account_due(&mut self, id: AccountId, why: Why) {
        if why == Why::KeepAlive {
            let Some(flow) = self.account(id).and_then(Account::registered_flow) else { return };
            // RFC 5626 4.4.1
            self.send(flow, b"\r\n\r\n".to_vec());
            let timer =
                self.timers.arm(self.now.instant + keep_alive(flow), Deadline::Account(id, Why::KeepAlive));
            if let Some(account) = self.account_mut(id) {
                account.registration.keep_alive = Some(timer);
            }
        } else {
            self.begin_register(id);
        }
    }

    fn cancel_register_timers(&mut self, id: AccountId) {
        let Some(account) = self.account_mut(id) else { return };
        let timers = [account.registration.refresh.take(), account.registration.keep_alive.take()];
        for timer in timers.into_iter().flatten() {
            self.timers.cancel(timer);
        }
    }

    /// The Authorization and Proxy-Authorization rows that answer a challenge, if there are any to give.
    pub(crate) fn credentials_for(
        &mut self,
        id: AccountId,
        chain: &mut Chain,
        method: Method,
        uri: &str,
        response: &Message<'_>,
    ) -> Option<Vec<(Name, String)>> {
        self.credentials(
            id,
            chain,
            method,
            uri,
            response,
            matches!(method, Method::Invite | Method::Subscribe | Method::Refer | Method::Message),
        )
    }

    /// The same inside a dialog, where no proxy was named by the user.
    pub(crate) fn credentials_inside(
        &mut self,
        id: AccountId,
        chain: &mut Chain,
        method: Method,
        uri: &str,
        response: &Message<'_>,
    ) -> Option<Vec<(Name, String)>> {
        self.credentials(id, chain, method, uri, response, false)
    }

    fn credentials(
        &mut self,
        id: AccountId,
        chain: &mut Chain,
        method: Method,
        uri: &str,
        response: &Message<'_>,
        named: bool,
    ) -> Option<Vec<(Name, String)>> {
        // RFC 3261 22.2 and 22.3: no other response is a challenge.
        response.status().filter(|status| matches!(status, 401 | 407))?;
        let account = self.accounts.get_mut(usize::try_from(id.0).ok()?)?;
        let credentials = account.credentials.as_ref()?;
        // X-41: whoever answers an INVITE or a BYE may be anybody, and names the realm for which he wants to crack a
        // password. So he gets an answer only for a realm that is ours: the configured one, our own domain, or one
        // that was answered before. The registrar may have any, and so may, for an INVITE, the proxy that was named.
        let ours = |challenge: &Challenge<'_>| {
            let is_ours =
                |realm: &str| realm.eq_ignore_ascii_case(&account.host) || account.auth.knows(realm);
            credentials.realm.is_some() || challenge.param("realm").is_some_and(|realm| is_ours(&realm))
        };
        let servers = response.list::<WwwAuthenticate<'_>>().flatten().all(|challenge| ours(&challenge.0));
        let proxies = response.list::<ProxyAuthenticate<'_>>().flatten().all(|challenge| ours(&challenge.0));
        let safe = method == Method::Register || (servers && (proxies || named));
        if !safe {
            let input = "it is for a realm that is not ours: set `realm` if it is";
            self.explain(id, None, "X-41", "the challenge was not answered", input);
            return None;
        }
        let refusal = account.auth.challenged(response, credentials, chain).err();
        if let Some(refusal) = refusal {
            let status = response.status().unwrap_or(0);
            self.explain(id, None, "X-41", "the challenge was not answered", &format!("{status}: {refusal}"));
            return None;
        }
        Some(account.auth.rows(credentials, method.text(), uri, &mut self.random))
    }

    pub(crate) fn account_ids(&self) -> impl Iterator<Item = AccountId> + use<> {
        let count = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
        (0..count).map(AccountId)
    }
}

/// For how long the registrar keeps our binding (RFC 3261 10.2.4).
fn granted(response: &Message<'_>, own: &str) -> Option<Duration> {
    let ours = Uri::parse(own.as_bytes()).ok();
    let bound = response.list::<Contact<'_>>().flatten().find_map(|contact| {
        let address = *contact.address()?;
        let same = ours.as_ref().is_some_and(|ours| {
            Uri::parse(address.uri).is_ok_and(|uri| uri.host() == ours.host() && uri.port() == ours.port())
        });
        same.then(|| address.params.token("expires")?.parse::<u64>().ok()).flatten()
    });
    let general = || response.maybe::<Expires>().ok().flatten().map(|Expires(seconds)| u64::from(seconds));
    bound.or_else(general).map(Duration::from_secs)
}

/// When to refresh what lives so long: at half of a short lifetime, ten minutes before the end of a long one (R-50).
pub(crate) fn refresh_after(lifetime: Duration) -> Duration {
    if lifetime > Duration::from_secs(1200) {
        lifetime - Duration::from_secs(600)
    } else {
        (lifetime / 2).max(Duration::from_secs(1))
    }
}

/// RFC 5626 4.5: doubled with each failure, and between half and all of it by chance.
pub(crate) fn pause(failures: u32, dice: u64) -> Duration {
    let whole = BASE_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    let part = u32::try_from(dice.min((1 << 20) - 1)).unwrap_or(0);
    whole / 2 + (whole / 2).mul_f64(f64::from(part) / f64::from(1_u32 << 20))
}

fn keep_alive(flow: FlowId) -> Duration {
    match flow {
        FlowId::Udp { .. } => DATAGRAM_KEEP_ALIVE,
        FlowId::Stream(_) => STREAM_KEEP_ALIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_an_hour_and_are_spread() {
        assert_eq!(pause(0, 0), Duration::from_secs(15));
        assert!(pause(0, u64::MAX) < Duration::from_secs(30));
        assert_eq!(pause(1, 0), Duration::from_secs(30));
        assert_eq!(pause(40, 0), Duration::from_secs(900));
    }
}
