//! Where we listen, and what can go wrong there.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::str::FromStr;
use std::task::{Context, Poll, Waker};

use parlour_proto::io::{Service, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::tls::TlsFault;

/// Connections that the kernel may hold until we accept them.
const BACKLOG: i32 = 1024;

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) service: Service,
    pub(crate) transport: Transport,
    pub(crate) host: String,
    /// 0 for any free port.
    pub(crate) port: u16,
}

/// Why we do not listen there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenFault {
    #[error("cannot listen on {at}: {error}. {}", advice(at, error))]
    Bind { at: Listen, error: io::Error },
    #[error("cannot listen on {at}: no address for {:?}: {why}", at.host)]
    NoAddress { at: Listen, why: String },
    #[error("cannot listen: {0}")]
    Tls(#[from] TlsFault),
}

impl Listen {
    /// For MSRP: `HOST:PORT`.
    pub(crate) fn msrp(text: &str) -> Result<Listen, String> {
        Listen::for_msrp(text, Transport::Tcp)
    }

    /// For MSRP over TLS: `HOST:PORT`.
    pub(crate) fn msrps(text: &str) -> Result<Listen, String> {
        Listen::for_msrp(text, Transport::Tls)
    }

    fn for_msrp(text: &str, transport: Transport) -> Result<Listen, String> {
        let (host, port) = host_port(text)?;
        let port =
            port.ok_or_else(|| format!("{text:?} has no port: write HOST:PORT, such as 0.0.0.0:2855"))?;
        Ok(Listen { service: Service::Msrp, transport, host, port })
    }

    /// The same with the address and port that it got.
    pub(crate) fn bound_to(self, local: SocketAddr) -> Listen {
        Listen { host: local.ip().to_string(), port: local.port(), ..self }
    }

    pub(super) fn resolve(&self) -> Result<SocketAddr, ListenFault> {
        let fault = |why: String| ListenFault::NoAddress { at: self.clone(), why };
        let host = self.host.as_str();
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, self.port));
        }
        let mut found = (host, self.port).to_socket_addrs().map_err(|error| fault(error.to_string()))?;
        found.next().ok_or_else(|| fault("the name has none".into()))
    }
}

impl FromStr for Listen {
    type Err = String;

    /// For SIP: `udp:HOST:PORT`, `tcp:HOST:PORT` or `tls:HOST:PORT`.
    fn from_str(text: &str) -> Result<Listen, String> {
        let form = "write udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT, such as udp:0.0.0.0:5060";
        let (transport, rest) = transport_prefix(text);
        let transport = transport.ok_or_else(|| format!("{text:?} names no transport: {form}"))?;
        let (host, port) = host_port(rest)?;
        let port = port.ok_or_else(|| format!("{text:?} has no port: {form}"))?;
        Ok(Listen { service: Service::Sip, transport, host, port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.service, self.transport) {
            (Service::Msrp, Transport::Tls) => f.write_str("msrps:")?,
            (Service::Msrp, Transport::Tcp | Transport::Udp) => f.write_str("msrp:")?,
            (Service::Sip, Transport::Udp) => f.write_str("udp:")?,
            (Service::Sip, Transport::Tcp) => f.write_str("tcp:")?,
            (Service::Sip, Transport::Tls) => f.write_str("tls:")?,
        }
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

/// Splits `udp:`, `tcp:` or `tls:` off.
pub(crate) fn transport_prefix(text: &str) -> (Option<Transport>, &str) {
    let transports = [("udp:", Transport::Udp), ("tcp:", Transport::Tcp), ("tls:", Transport::Tls)];
    for (prefix, transport) in transports {
        if let Some((head, rest)) = text.split_at_checked(prefix.len())
            && head.eq_ignore_ascii_case(prefix)
        {
            return (Some(transport), rest);
        }
    }
    (None, text)
}

/// Splits `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`; the brackets go.
pub(crate) fn host_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| format!("{text:?} lacks the closing ]"))?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(format!("{host:?} is not an IPv6 address"));
            }
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(format!(
                    "{text:?} is ambiguous: put an IPv6 address in brackets, such as [::1]:5060"
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(format!("{text:?} names no host: write HOST:PORT"));
    }
    let port = match port {
        None => None,
        Some(port) => {
            Some(port.parse().map_err(|_| format!("{port:?} is not a port: a number from 0 to 65535"))?)
        }
    };
    Ok((host.to_owned(), port))
}

/// The address that stands for "all of ours": the one that leads to the world, else loopback.
pub(super) fn concrete(local: IpAddr) -> IpAddr {
    if !local.is_unspecified() {
        return local;
    }
    // Documentation addresses (RFC 5737, RFC 3849): nothing is sent there, the kernel is asked for the route only.
    let (world, here) = match local {
        IpAddr::V4(_) => (IpAddr::from([192, 0, 2, 1]), IpAddr::from(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(_) => (IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)),
    };
    route_to(world).unwrap_or(here)
}

/// The address from which the kernel would send to `peer`.
pub(super) fn route_to(peer: IpAddr) -> Option<IpAddr> {
    let any = match peer {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let probe = UdpSocket::bind((any, 0)).ok()?;
    probe.connect((peer, 9)).ok()?;
    let local = probe.local_addr().ok()?.ip();
    (!local.is_unspecified()).then_some(local)
}

pub(super) struct Listener {
    pub(super) service: Service,
    pub(super) acceptor: Option<TlsAcceptor>,
    socket: TcpListener,
    bell: Waker,
}

impl Listener {
    pub(super) fn bind(
        address: SocketAddr,
        service: Service,
        acceptor: Option<TlsAcceptor>,
        bell: Waker,
    ) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of an earlier process in TIME_WAIT do not keep the port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener { service, acceptor, socket: TcpListener::from_std(socket.into())?, bell })
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, if there is one; if not, the bell rings when there is.
    pub(super) fn accept(&mut self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        match self.socket.poll_accept(&mut Context::from_waker(&self.bell)) {
            Poll::Ready(accepted) => Some(accepted),
            Poll::Pending => None,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's kinds of errors")]
fn advice(at: &Listen, error: &io::Error) -> String {
    let flag = match (at.service, at.transport) {
        (Service::Sip, _) => "--sip",
        (Service::Msrp, Transport::Tls) => "--msrps",
        (Service::Msrp, Transport::Tcp | Transport::Udp) => "--msrp",
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "Another program has this port: end it, or choose another port with {flag} (0 takes any free one)"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "This machine does not have that address: choose one of its own with {flag}, or 0.0.0.0 or [::]"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("Ports below 1024 are reserved: choose a higher one with {flag}")
        }
        _ => format!("Choose another place with {flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_as_they_were_written() {
        for text in ["udp:0.0.0.0:5060", "tcp:[::1]:0", "tls:example.com:5061"] {
            assert_eq!(text.parse::<Listen>().map(|at| at.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Listen::msrp("[::1]:2855").map(|at| at.to_string()), Ok("msrp:[::1]:2855".into()));
        assert_eq!(Listen::msrps("[::1]:2856").map(|at| at.to_string()), Ok("msrps:[::1]:2856".into()));
    }

    #[test]
    fn a_wrong_place_is_told_with_its_remedy() {
        for (text, part) in [
            ("0.0.0.0:5060", "names no transport"),
            ("udp:0.0.0.0", "has no port"),
            ("udp:::1:5060", "in brackets"),
            ("udp:h:66000", "from 0 to 65535"),
            ("udp::5060", "names no host"),
            ("tcp:[::g]:1", "not an IPv6 address"),
        ] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
