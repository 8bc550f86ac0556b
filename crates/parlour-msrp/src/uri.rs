//! MSRP URIs and paths (RFC 4975 6 and 9).
//!
//! Parsing is strict but for two things that peers are known to write: a missing `;tcp` is added, and more than one
//! space between the URIs of a path is one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::parts::{Parts, same_id};

/// The longest URI that is taken, in octets.
pub const MAX_URI: usize = 2048;

/// The longest path that is taken, in URIs: a handful of relays at each end.
pub const MAX_PATH: usize = 16;

/// The same in octets. Each frame bears two paths or three, and whatever else is on a connection waits behind them.
pub const MAX_PATH_OCTETS: usize = 4096;

/// One `msrp:` or `msrps:` URI, kept as it was written.
///
/// `==` compares the octets; [`matches`](MsrpUri::matches) compares by the rules of RFC 4975 6.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MsrpUri {
    text: Box<str>,
    parts: Parts,
}

/// Why a text is no MSRP URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriFault {
    /// Longer than [`MAX_URI`].
    #[error("the MSRP URI is longer than {MAX_URI} octets")]
    TooLong,
    /// Neither `msrp://` nor `msrps://`.
    #[error("the MSRP URI does not start with msrp:// or msrps://")]
    Scheme,
    /// A userinfo part with a character that may not stand there; a password is one.
    #[error("the userinfo of the MSRP URI is malformed or holds a password")]
    UserInfo,
    /// No host, or a host with a character that may not stand there.
    #[error("the host of the MSRP URI is missing or malformed")]
    Host,
    /// The port is not 1 to 65535, or a numeric address has none.
    #[error("the port of the MSRP URI is malformed, or missing after a numeric address")]
    Port,
    /// An empty session-id or one with a character that may not stand there.
    #[error("the session-id of the MSRP URI is empty or malformed")]
    SessionId,
    /// A malformed transport or parameter.
    #[error("the transport or a parameter of the MSRP URI is malformed")]
    Parameter,
    /// A path without a URI.
    #[error("the MSRP path is empty")]
    EmptyPath,
    /// A path of more than [`MAX_PATH`] URIs, or [`MAX_PATH_OCTETS`] octets.
    #[error("the MSRP path has more than {MAX_PATH} URIs or {MAX_PATH_OCTETS} octets")]
    PathTooLong,
}

impl MsrpUri {
    /// The URI of a session: `msrp://host:port/session_id;tcp`, or `msrps` if `secure`. `host` is a name, or a numeric
    /// address with or without brackets.
    ///
    /// # Errors
    /// If a part has a character that may not stand in it.
    pub fn new(secure: bool, host: &str, port: u16, session_id: &str) -> Result<Self, UriFault> {
        let scheme = if secure { "msrps://" } else { "msrp://" };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.to_string();
        let with = |host: &str| Self::read([scheme, host, ":", &port, "/", session_id, ";tcp"].concat());
        match bare.parse::<Ipv6Addr>() {
            Ok(address) => with(&format!("[{address}]")),
            Err(_) => with(host),
        }
    }

    /// Reads one URI; nothing may stand before or after it.
    ///
    /// # Errors
    /// Which part of it is malformed.
    pub fn parse(text: &str) -> Result<Self, UriFault> {
        let parts = Parts::of(text)?;
        if !parts.transport.is_empty() {
            return Ok(MsrpUri { text: text.into(), parts });
        }
        // RFC 4975 9 asks for a transport; some peers leave it out and mean TCP.
        Self::read([text, ";tcp"].concat())
    }

    /// A whole URI.
    fn read(text: String) -> Result<Self, UriFault> {
        let parts = Parts::of(&text)?;
        Ok(MsrpUri { text: text.into(), parts })
    }

    /// [`parse`](MsrpUri::parse) of octets, which must be ASCII.
    ///
    /// # Errors
    /// Which part of it is malformed.
    pub fn parse_bytes(octets: &[u8]) -> Result<Self, UriFault> {
        Self::parse(str::from_utf8(octets).map_err(|_| UriFault::Host)?)
    }

    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the scheme is `msrps`: MSRP over TLS.
    pub fn is_secure(&self) -> bool {
        self.parts.secure
    }

    /// The part before `@`.
    pub fn userinfo(&self) -> Option<&str> {
        Some(self.parts.userinfo.of(&self.text)).filter(|text| !text.is_empty())
    }

    /// The host as written, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.parts.host.of(&self.text)
    }

    /// The host's address if it is numeric.
    pub fn ip(&self) -> Option<IpAddr> {
        self.parts.ip(&self.text)
    }

    /// The port.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// What names the session at its host; none in the URI of a host device.
    pub fn session_id(&self) -> Option<&str> {
        self.parts.session_id(&self.text)
    }

    /// The transport as written, `tcp` as a rule.
    pub fn transport(&self) -> &str {
        self.parts.transport.of(&self.text)
    }

    /// The parameters after the transport, without the first `;`.
    pub fn parameters(&self) -> &str {
        self.parts.parameters.of(&self.text)
    }

    /// Whether both name the same thing by RFC 4975 6.1.
    pub fn matches(&self, other: &MsrpUri) -> bool {
        self.parts.matches(&self.text, &other.parts, &other.text)
    }

    /// Whether both have a session-id and the same one. It takes the same time wherever two ids of one length differ,
    /// as the id is what keeps strangers out (RFC 4975 14.1).
    pub fn same_session(&self, other: &MsrpUri) -> bool {
        same_id(self.session_id(), other.session_id())
    }

    /// Whether both lead to the same host device: scheme, host and port (RFC 4975 5.4).
    pub fn same_device(&self, other: &MsrpUri) -> bool {
        self.parts.same_device(&self.text, &other.parts, &other.text)
    }
}

impl fmt::Display for MsrpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for MsrpUri {
    type Err = UriFault;

    fn from_str(text: &str) -> Result<Self, UriFault> {
        Self::parse(text)
    }
}

/// The value of `a=path`, To-Path or From-Path: one URI or more, the first hop leftmost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MsrpPath {
    uris: Box<[MsrpUri]>,
}

impl MsrpPath {
    /// A path of the given URIs.
    ///
    /// # Errors
    /// If there is none, or more than [`MAX_PATH`], or if they have more than [`MAX_PATH_OCTETS`].
    pub fn new(uris: Vec<MsrpUri>) -> Result<Self, UriFault> {
        let octets =
            uris.iter().fold(0_usize, |sum, uri| sum.saturating_add(uri.as_str().len()).saturating_add(1));
        match uris.len() {
            0 => Err(UriFault::EmptyPath),
            1..=MAX_PATH if octets <= MAX_PATH_OCTETS => Ok(MsrpPath { uris: uris.into() }),
            _ => Err(UriFault::PathTooLong),
        }
    }

    /// Reads URIs with spaces between them.
    ///
    /// # Errors
    /// What is wrong with the first malformed one, or that there are none or too many.
    pub fn parse(text: &str) -> Result<Self, UriFault> {
        let mut uris = Vec::new();
        for uri in text.split(' ').filter(|uri| !uri.is_empty()) {
            if uris.len() == MAX_PATH {
                return Err(UriFault::PathTooLong);
            }
            uris.push(MsrpUri::parse(uri)?);
        }
        Self::new(uris)
    }

    /// [`parse`](MsrpPath::parse) of octets, which must be ASCII.
    ///
    /// # Errors
    /// As [`parse`](MsrpPath::parse).
    pub fn parse_bytes(octets: &[u8]) -> Result<Self, UriFault> {
        Self::parse(str::from_utf8(octets).map_err(|_| UriFault::Host)?)
    }

    /// The hop to connect to.
    pub fn leftmost(&self) -> &MsrpUri {
        self.uris.first().expect("invariant: a path is never empty")
    }

    /// The far end.
    pub fn rightmost(&self) -> &MsrpUri {
        self.uris.last().expect("invariant: a path is never empty")
    }

    /// All of them, the first hop first.
    pub fn uris(&self) -> &[MsrpUri] {
        &self.uris
    }
}

impl From<MsrpUri> for MsrpPath {
    fn from(uri: MsrpUri) -> Self {
        MsrpPath { uris: Box::new([uri]) }
    }
}

impl fmt::Display for MsrpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, uri) in self.uris.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(uri.as_str())?;
        }
        Ok(())
    }
}

impl std::str::FromStr for MsrpPath {
    type Err = UriFault;

    fn from_str(text: &str) -> Result<Self, UriFault> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> MsrpUri {
        MsrpUri::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    #[test]
    fn every_part_is_found() {
        let uri = uri("MSRPS://ali;ce@Host.example.com:8493/asfd/34+=;TCP;a=b;c");
        assert!(uri.is_secure());
        assert_eq!(uri.userinfo(), Some("ali;ce"));
        assert_eq!(uri.host(), "Host.example.com");
        assert_eq!(uri.port(), Some(8493));
        assert_eq!(uri.session_id(), Some("asfd/34+="));
        assert_eq!(uri.transport(), "TCP");
        assert_eq!(uri.parameters(), "a=b;c");
        assert_eq!(uri.ip(), None);
        let six = MsrpUri::parse("msrp://[2001:db8::1]:2855/s;tcp").expect("an IPv6 URI");
        assert_eq!(six.ip(), "2001:db8::1".parse().ok());
    }

    #[test]
    fn a_missing_transport_is_tcp() {
        assert_eq!(uri("msrp://host:1/s").as_str(), "msrp://host:1/s;tcp");
        assert_eq!(uri("msrp://relay.example.com").as_str(), "msrp://relay.example.com;tcp");
    }

    #[test]
    fn faults_name_the_part() {
        for (text, fault) in [
            ("sip:alice@example.com", UriFault::Scheme),
            ("http://host:1/s;tcp", UriFault::Scheme),
            ("msrp://a:secret@host:1/s;tcp", UriFault::UserInfo),
            ("msrp://:1/s;tcp", UriFault::Host),
            ("msrp://[::1/s;tcp", UriFault::Host),
            ("msrp://[::1]x:1/s;tcp", UriFault::Host),
            ("msrp://h\u{e9}:1/s;tcp", UriFault::Host),
            ("msrp://host:0/s;tcp", UriFault::Port),
            ("msrp://host:65536/s;tcp", UriFault::Port),
            ("msrp://host:+1/s;tcp", UriFault::Port),
            ("msrp://192.0.2.1/s;tcp", UriFault::Port),
            ("msrp://host:1/;tcp", UriFault::SessionId),
            ("msrp://host:1/a?b;tcp", UriFault::SessionId),
            ("msrp://host:1/s;", UriFault::Parameter),
            ("msrp://host:1/s;tcp;", UriFault::Parameter),
            ("msrp://host:1/s;tcp;a=", UriFault::Parameter),
        ] {
            assert_eq!(MsrpUri::parse(text), Err(fault), "{text}");
        }
        let long = format!("msrp://host:1/{};tcp", "s".repeat(MAX_URI));
        assert_eq!(MsrpUri::parse(&long), Err(UriFault::TooLong));
        assert_eq!(MsrpPath::parse("  "), Err(UriFault::EmptyPath));
        assert_eq!(MsrpPath::parse(&"msrp://h:1;tcp ".repeat(17)), Err(UriFault::PathTooLong));
    }

    //= IM D-17 test
    #[test]
    fn comparison_follows_rfc_4975_6_1() {
        let base = uri("msrp://host.example.com:7777/abc;tcp");
        for same in [
            "MSRP://HOST.example.COM:7777/abc;TCP",
            "msrp://user@host.example.com:7777/abc;tcp",
            "msrp://h%6fst.example.com:7777/abc;tcp",
            "msrp://host.example.com:7777/abc;tcp;extra=1",
            "msrp://host.example.com:7777/abc",
        ] {
            assert!(base.matches(&uri(same)), "{same}");
        }
        for other in [
            "msrps://host.example.com:7777/abc;tcp",
            "msrp://host.example.com:7778/abc;tcp",
            "msrp://host.example.com/abc;tcp",
            "msrp://host.example.com:7777/ABC;tcp",
            "msrp://host.example.com:7777;tcp",
            "msrp://host.example.com:7777/abc;ws",
            "msrp://other.example.com:7777/abc;tcp",
        ] {
            assert!(!base.matches(&uri(other)), "{other}");
        }
        assert!(uri("msrp://[2001:db8::1]:1/s;tcp").matches(&uri("msrp://[2001:DB8:0::1]:1/s;tcp")));
        assert!(uri("msrp://relay:1;tcp").matches(&uri("msrp://relay:1;tcp")));
        assert!(base.same_session(&uri("msrp://elsewhere:1/abc;tcp")));
        assert!(!base.same_session(&uri("msrp://host.example.com:7777/abd;tcp")));
        assert!(!uri("msrp://h:1;tcp").same_session(&uri("msrp://h:1;tcp")));
    }

    #[test]
    fn the_constructor_brackets_ipv6() {
        let six = MsrpUri::new(true, "2001:db8::7", 2855, "id").expect("a good host");
        assert_eq!(six.as_str(), "msrps://[2001:db8::7]:2855/id;tcp");
        assert_eq!(MsrpUri::new(true, "[2001:db8::7]", 2855, "id"), Ok(six));
        assert_eq!(MsrpUri::new(false, "a b", 1, "id"), Err(UriFault::Host));
    }

    #[test]
    fn a_path_keeps_its_order() {
        let path = MsrpPath::parse("msrps://relay:9/x;tcp  msrp://bob:8/y;tcp").expect("two URIs");
        assert_eq!(path.leftmost().host(), "relay");
        assert_eq!(path.rightmost().host(), "bob");
        assert_eq!(path.to_string(), "msrps://relay:9/x;tcp msrp://bob:8/y;tcp");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_uri_that_reads_back_or_a_fault(text in "(msrps?://)?[a-z0-9@:/;.=+~%\\[\\]]{0,40}") {
            if let Ok(uri) = MsrpUri::parse(&text) {
                proptest::prop_assert_eq!(MsrpUri::parse(uri.as_str()), Ok(uri.clone()));
                proptest::prop_assert!(uri.matches(&uri));
            }
        }
    }
}
