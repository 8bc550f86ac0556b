//! The lines of our own descriptions.

use std::borrow::Cow;
use std::net::IpAddr;

use parlour_msrp::accept::AcceptTypes;
use parlour_msrp::uri::{MsrpPath, MsrpUri, UriFault};

use super::{Capabilities, Direction, Role, Setup};
use crate::text;

/// The port of who connects and never listens (RFC 4145 4).
const DISCARD: u16 = 9;

/// Our own end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The address that peers are told.
    pub address: IpAddr,
    /// The number in `o=`, different for each session.
    pub session_id: u64,
    /// The version in `o=`: one more for each change (D-6).
    pub version: u64,
    /// Whether our offers say nothing of CEMA, as it did not work (RFC 6714 4.2).
    pub without_cema: bool,
    /// The relays that act for us, in the order in which a peer's messages pass them.
    relays: Option<MsrpPath>,
    listening: MsrpUri,
    /// Whether the path is the same for both roles.
    settled: bool,
}

impl Local {
    //= IM D-5
    /// Our end at `address`, with or without TLS, where our MSRP listener has `port` (any but 0 if there is none). `ident` is the
    /// session-id of our MSRP URI: fresh for each session, at least 80 random bits.
    ///
    /// # Errors
    /// `port` is 0, or `ident` cannot stand in a URI.
    pub fn new(
        tls: bool,
        address: IpAddr,
        port: u16,
        ident: &str,
        session_id: u64,
        version: u64,
    ) -> Result<Self, UriFault> {
        // A dual-stack socket shows its IPv4 addresses as IPv6 ones.
        let address = address.to_canonical();
        let listening = MsrpUri::new(tls, &text::address(address), port, ident)?;
        let (without_cema, relays, settled) = (false, None, false);
        Ok(Local { address, session_id, version, without_cema, relays, listening, settled })
    }

    //= IM M-21
    /// Our end behind relays of ours (RFC 4976 5.1): `path` names them, and our own URI at its end. `address` is told where a
    /// URI of ours has none.
    pub fn behind(address: IpAddr, path: MsrpPath, session_id: u64, version: u64) -> Self {
        let listening = path.rightmost().clone();
        let address = listening.ip().unwrap_or(address).to_canonical();
        Local {
            address,
            session_id,
            version,
            without_cema: false,
            relays: Some(path),
            listening,
            settled: true,
        }
    }

    /// Whether relays of ours act for us: then peers reach us through them, and nobody connects to us.
    pub fn is_relayed(&self) -> bool {
        self.relays.is_some()
    }

    /// What our description tells of the way to us, for that role.
    pub fn told(&self, role: Role) -> MsrpPath {
        self.relays.clone().unwrap_or_else(|| MsrpPath::from(self.path(role).into_owned()))
    }

    /// The same end of a session that stands: its path stays the same, whoever of the two is said to connect.
    #[must_use]
    pub fn settled(self, path: MsrpUri) -> Self {
        Local { listening: path, settled: true, ..self }
    }

    /// The same end in a description that says something new (RFC 3264 8).
    #[must_use]
    pub fn revised(self) -> Self {
        Local { version: self.version.saturating_add(1), ..self }
    }

    /// Whether our path is for TLS.
    pub fn is_secure(&self) -> bool {
        self.listening.is_secure()
    }

    /// Whether peers can connect to our path.
    pub fn can_listen(&self) -> bool {
        self.listening.port() != Some(DISCARD)
    }

    //= IM D-12
    /// Our own MSRP URI as our description tells it for that role: the MSRP session goes by this one. The active side's has
    /// the discard port, the same as in its `m=` line (RFC 4975 8.1).
    pub fn path(&self, role: Role) -> Cow<'_, MsrpUri> {
        let listening = &self.listening;
        if role == Role::Passive || self.settled {
            return Cow::Borrowed(listening);
        }
        let ident = listening.session_id().unwrap_or_default();
        let connecting = MsrpUri::new(listening.is_secure(), listening.host(), DISCARD, ident);
        connecting.map_or(Cow::Borrowed(listening), Cow::Owned)
    }
}

/// A description in the making.
pub(super) struct Lines(String);

impl Lines {
    //= IM D-6
    /// The session's own lines; `times` are the values of the `t=` lines.
    pub(super) fn new<'t>(
        address: IpAddr,
        session_id: u64,
        version: u64,
        times: impl Iterator<Item = &'t str>,
    ) -> Self {
        let family = if address.is_ipv4() { "IP4 " } else { "IP6 " };
        let (address, session_id, version) =
            (text::address(address), session_id.to_string(), version.to_string());
        let mut lines = Lines(String::with_capacity(512));
        lines.put(&["v=0"]);
        lines.put(&["o=- ", &session_id, " ", &version, " IN ", family, &address]);
        lines.put(&["s=-"]);
        lines.put(&["c=IN ", family, &address]);
        let mut times = times.peekable();
        if times.peek().is_none() {
            lines.put(&["t=0 0"]);
        }
        times.for_each(|time| lines.put(&["t=", time]));
        lines
    }

    /// An `m=` line.
    pub(super) fn media(&mut self, media: &str, port: u16, protocol: &str, formats: &str) {
        self.put(&["m=", media, " ", &port.to_string(), " ", protocol, " ", formats]);
    }

    //= IM D-31
    //= IM D-4
    /// The `m=` line of a message stream with its path and what we say of connecting, and whether we know CEMA.
    pub(super) fn stream(
        &mut self,
        media: &str,
        protocol: &str,
        path: &MsrpPath,
        setup: Setup,
        cema: bool,
        ours: &Capabilities,
    ) {
        // RFC 4975 8.1: the port is that of our own URI. RFC 6714 4.2 and 4.3: with CEMA, c= and m= say where our relay is.
        let relay = Some(path.leftmost()).filter(|_| cema && path.uris().len() > 1);
        let port = relay.unwrap_or(path.rightmost()).port();
        self.media(media, port.unwrap_or(DISCARD), protocol, "*");
        if let Some(relay) = relay {
            let family = if relay.ip().is_some_and(|ip| ip.is_ipv6()) { "IP6" } else { "IP4" };
            self.connection("IN", family, relay.host());
        }
        //= IM R-62
        // RFC 4566 5: b= stands above the attributes.
        if let Some(kilobits) = ours.bandwidth {
            self.put(&["b=AS:", &kilobits.to_string()]);
        }
        self.attribute("path", &path.to_string());
        // RFC 6135 4.2.1: setup is always explicit.
        self.attribute("setup", setup.text());
        //= IM D-20
        // RFC 4975 14.4 and RFC 8122 5: whoever does TLS says by what its certificate is known.
        // Behind a relay of ours it is the relay that peers see.
        let shown = path.leftmost().is_secure() && path.uris().len() == 1;
        for fingerprint in ours.fingerprints.iter().filter(|_| shown) {
            self.attribute("fingerprint", &fingerprint.to_string());
        }
        // RFC 6714 5
        if cema {
            self.flag("msrp-cema");
        }
    }

    /// A `c=` line of the `m=` line above it.
    pub(super) fn connection(&mut self, network: &str, family: &str, address: &str) {
        self.put(&["c=", network, " ", family, " ", address]);
    }

    /// What we take, and the size of the largest message.
    pub(super) fn types(&mut self, types: &AcceptTypes, max_size: u64) {
        self.attribute("accept-types", types.types_attribute());
        if let Some(wrapped) = types.wrapped_types_attribute() {
            self.attribute("accept-wrapped-types", wrapped);
        }
        self.attribute("max-size", &max_size.to_string());
    }

    /// Which way messages flow. Both ways is not said: it is the default (RFC 4566 6), and some peers stumble over it.
    pub(super) fn direction(&mut self, direction: Direction) {
        if direction != Direction::SendRecv {
            self.flag(direction.text());
        }
    }

    /// An attribute with a value, which ends no line (RFC 4566 9: a byte-string has no NUL, CR or LF), whoever it is from.
    pub(super) fn attribute(&mut self, name: &str, value: &str) {
        if value.bytes().any(|octet| matches!(octet, b'\0' | b'\r' | b'\n')) {
            return self.put(&["a=", name, ":", &value.replace(['\0', '\r', '\n'], " ")]);
        }
        self.put(&["a=", name, ":", value]);
    }

    /// An attribute without a value.
    pub(super) fn flag(&mut self, name: &str) {
        self.put(&["a=", name]);
    }

    /// The octets.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    /// One line, made of these pieces.
    fn put(&mut self, line: &[&str]) {
        line.iter().for_each(|piece| self.0.push_str(piece));
        self.0.push_str("\r\n");
    }
}
