//! One of our IM Addresses.

use std::cell::LazyCell;

use parlour_msrp::random::Random;

use crate::config::{self, CoreKind, Credentials, Imdn, Proxy};
use crate::im::register::Registration;
use crate::im::trust::plain;
use crate::io::FlowId;
use crate::sip::digest::Authenticator;
use crate::sip::uri::{Uri, same_identity};

/// One of our IM Addresses, and what the network told us about it.
#[derive(Debug)]
pub(crate) struct Account {
    /// The public identity, without parameters.
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) display_name: Option<String>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) direct: bool,
    pub(crate) register_expires: std::time::Duration,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) privacy: bool,
    pub(crate) core: CoreKind,
    pub(crate) access_network: Option<String>,
    /// P-Associated-URI of the last registration, default first; before, what is configured.
    pub(crate) imdn: Imdn,
    pub(crate) max_size: Option<u64>,
    pub(crate) chunk_size: Option<usize>,
    pub(crate) identities: Vec<String>,
    /// Service-Route of the last registration (RFC 3608); before, what is configured.
    pub(crate) service_route: Vec<String>,
    /// What is configured for when no registration tells them: identities and Service-Route.
    unregistered: (Vec<String>, Vec<String>),
    pub(crate) auth: Authenticator,
    pub(crate) registration: Registration,
}

impl Account {
    pub(crate) fn new(config: &config::Account, random: &mut Random) -> Self {
        let address = plain(config.address.as_bytes());
        let (user, host) = match Uri::parse(address.as_bytes()) {
            Ok(uri) => (uri.user().unwrap_or_default().to_owned(), uri.host().to_owned()),
            Err(_) => (String::new(), String::new()),
        };
        let identities: Vec<_> = config.identities.iter().map(|uri| plain(uri.as_bytes())).collect();
        let service_route: Vec<_> = config.service_route.iter().map(|uri| format!("<{uri}>")).collect();
        Account {
            address,
            user,
            host,
            display_name: config.display_name.clone(),
            proxy: config.proxy.clone(),
            direct: config.direct,
            register_expires: config.register_expires,
            credentials: config.credentials.clone(),
            privacy: config.privacy,
            core: config.core,
            access_network: config.access_network.clone(),
            imdn: config.imdn,
            max_size: config.max_size,
            chunk_size: config.chunk_size,
            identities: identities.clone(),
            service_route: service_route.clone(),
            unregistered: (identities, service_route),
            auth: Authenticator::default(),
            registration: Registration::new(random),
        }
    }

    /// Whether there is no core at all: callers reach us, and we them, without a proxy.
    pub(crate) fn is_direct(&self) -> bool {
        self.proxy.is_none()
    }

    /// The address that we go by: what the network calls us by default, else what we are configured as.
    //= IM R-31
    pub(crate) fn identity(&self) -> &str {
        if self.identities.contains(&self.address) {
            return &self.address;
        }
        self.identities.first().unwrap_or(&self.address)
    }

    /// The one of our identities that this URI is. None but those that the network has registered for us are ours.
    //= IM R-53
    pub(crate) fn identity_named(&self, uri: &[u8]) -> Option<&str> {
        let parsed = LazyCell::new(|| Uri::parse(uri).ok());
        let is_same = |own: &str| {
            let own = Uri::parse(own.as_bytes()).ok();
            own.zip(*parsed).is_some_and(|(own, named)| same_identity(&own, &named))
        };
        // Most peers write our address as we do.
        let named = |own: &&str| own.as_bytes() == uri || is_same(own);
        if self.identities.is_empty() {
            return Some(self.address.as_str()).filter(named);
        }
        self.identities.iter().map(String::as_str).find(named)
    }

    /// What others are shown as our address, in a session in which we go by `identity`.
    pub(crate) fn public_identity<'s>(&'s self, identity: Option<&'s str>) -> &'s str {
        if self.privacy { ANONYMOUS } else { identity.unwrap_or_else(|| self.identity()) }
    }

    /// No registration tells anything any more.
    pub(crate) fn forget_registered(&mut self) {
        (self.identities, self.service_route) = self.unregistered.clone();
    }

    /// What From bears.
    pub(crate) fn from(&self) -> String {
        // RFC 3323 4.1.1.3: the From of somebody who wants to stay unknown.
        if self.privacy { format!("\"Anonymous\" <{ANONYMOUS}>") } else { self.name_addr(self.identity()) }
    }

    /// An identity of ours with the display name, as P-Preferred-Identity bears it.
    pub(crate) fn name_addr(&self, identity: &str) -> String {
        match &self.display_name {
            Some(name) => ["\"", &quoted(name), "\" <", identity, ">"].concat(),
            None => ["<", identity, ">"].concat(),
        }
    }

    /// Whether a Request-URI names this account's own address.
    pub(crate) fn is_named_by(&self, uri: &Uri<'_>) -> bool {
        uri.user() == Some(self.user.as_str()) && uri.host().eq_ignore_ascii_case(&self.host)
    }

    /// Whether a Request-URI with this user part is meant for us. Hosts are not compared: proxies rewrite them, and an
    /// account's Contact has the host of the flow (interop: match on the user, never on a host).
    pub(crate) fn serves(&self, user: Option<&str>) -> bool {
        user.is_none_or(|user| user == self.user)
    }

    pub(crate) fn registered_flow(&self) -> Option<FlowId> {
        self.registration.flow()
    }
}

/// RFC 3323 4.1.1.3.
pub(crate) const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// RFC 3261 25.1: a quoted-string escapes its quotes and backslashes.
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars().filter(|c| !c.is_control()) {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
