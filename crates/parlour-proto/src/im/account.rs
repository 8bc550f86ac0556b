//! One of our IM Addresses.

use parlour_msrp::random::Random;

use crate::config::{self, Credentials, Proxy};
use crate::im::register::Registration;
use crate::im::trust::plain;
use crate::io::FlowId;
use crate::sip::digest::Authenticator;
use crate::sip::uri::Uri;

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
    /// P-Associated-URI of the last registration, default first.
    pub(crate) identities: Vec<String>,
    /// Service-Route of the last registration (RFC 3608).
    pub(crate) service_route: Vec<String>,
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
            identities: Vec::new(),
            service_route: Vec::new(),
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

    /// What others are shown as our address.
    pub(crate) fn public_identity(&self) -> &str {
        if self.privacy { ANONYMOUS } else { self.identity() }
    }

    /// What From bears.
    pub(crate) fn from(&self) -> String {
        // RFC 3323 4.1.1.3: the From of somebody who wants to stay unknown.
        if self.privacy { format!("\"Anonymous\" <{ANONYMOUS}>") } else { self.name_addr() }
    }

    /// The identity with its display name, as P-Preferred-Identity bears it.
    pub(crate) fn name_addr(&self) -> String {
        match &self.display_name {
            Some(name) => format!("\"{}\" <{}>", quoted(name), self.identity()),
            None => format!("<{}>", self.identity()),
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
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

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
