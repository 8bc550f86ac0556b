//! Single values of the configuration, as they are written: their errors tell what is wrong and how to write it.

use std::net::IpAddr;
use std::str::FromStr;

use parlour_proto::config::{AnonymousAnswer, BlockedAnswer, Hop, Hours, Proxy, Unwanted};
use parlour_proto::io::Transport;
use parlour_proto::sip::message::MAX_MESSAGE;
use parlour_proto::sip::uri::{Scheme, Uri};
use serde::{Deserialize, Deserializer};

use crate::net::{Listen, host_port, transport_prefix};

/// An IM Address: a SIP or SIPS URI.
pub(crate) fn address(text: &str) -> Result<String, String> {
    match Uri::parse(text.as_bytes()).map(|uri| uri.scheme()) {
        Ok(Scheme::Sip | Scheme::Sips) => Ok(text.to_owned()),
        Ok(Scheme::Tel | Scheme::Other) | Err(_) => {
            Err(format!("{text:?} is not a SIP address: write it as sip:user@host"))
        }
    }
}

/// Who calls: a SIP, SIPS or tel URI.
pub(crate) fn caller(text: &str) -> Result<String, String> {
    match Uri::parse(text.as_bytes()).map(|uri| uri.scheme()) {
        Ok(Scheme::Sip | Scheme::Sips | Scheme::Tel) => Ok(text.to_owned()),
        Ok(Scheme::Other) | Err(_) => Err(format!("{text:?} is not an address: write it as sip:user@host")),
    }
}

/// A proxy: `HOST`, `HOST:PORT`, or with `udp:`, `tcp:` or `tls:` before it. Without one of these, UDP.
pub(crate) fn proxy(text: &str) -> Result<Proxy, String> {
    let (transport, rest) = transport_prefix(text);
    let (host, port) = host_port(rest)?;
    Ok(Proxy { host, port, transport: transport.unwrap_or(Transport::Udp) })
}

/// The same, to be read again.
pub(crate) fn proxy_text(proxy: &Proxy) -> String {
    let host = if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
    let port = proxy.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}:{host}{port}", proxy.transport.name().to_ascii_lowercase())
}

/// A hop: `ADDRESS` or `ADDRESS/LENGTH`.
pub(crate) fn hop(text: &str) -> Result<Hop, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{address:?} is not an IP address, such as 192.0.2.7 or 2001:db8::/32"))?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => all,
        Some(bits) => bits
            .parse()
            .ok()
            .filter(|bits| *bits <= all)
            .ok_or_else(|| format!("{bits:?} is not a prefix length from 0 to {all}"))?,
    };
    Ok(Hop { address, bits })
}

/// A value written as a string. Its own error text reaches the user with the line that it stands in.
pub(super) struct Text<T>(pub(super) T);

impl<'de> Deserialize<'de> for Text<Hop> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hop(&String::deserialize(deserializer)?).map(Text).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Text<Hours> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Hours::from_str(&String::deserialize(deserializer)?).map(Text).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Text<Listen> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Listen::from_str(&String::deserialize(deserializer)?).map(Text).map_err(serde::de::Error::custom)
    }
}

pub(super) fn each<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Vec::deserialize(deserializer)
}

pub(super) fn an_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    address(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

pub(super) fn a_caller<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    caller(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

pub(super) fn maybe_blocked_answer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BlockedAnswer>, D::Error> {
    match u16::deserialize(deserializer)? {
        480 => Ok(Some(BlockedAnswer::Unavailable)),
        486 => Ok(Some(BlockedAnswer::Busy)),
        603 => Ok(Some(BlockedAnswer::Decline)),
        status => Err(serde::de::Error::custom(format!("{status} is not 480, 486 or 603"))),
    }
}

pub(super) fn maybe_unwanted<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Unwanted>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Status(u16),
        Word(String),
    }
    let wrong = |told: String| Err(serde::de::Error::custom(format!("{told} is not \"auto\", 603 or 607")));
    match Told::deserialize(deserializer)? {
        Told::Status(603) => Ok(Some(Unwanted::Decline)),
        Told::Status(607) => Ok(Some(Unwanted::Unwanted)),
        Told::Word(word) if word == "auto" => Ok(Some(Unwanted::Auto)),
        Told::Status(status) => wrong(status.to_string()),
        Told::Word(word) => wrong(format!("{word:?}")),
    }
}

pub(super) fn maybe_anonymous_answer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<AnonymousAnswer>, D::Error> {
    match u16::deserialize(deserializer)? {
        433 => Ok(Some(AnonymousAnswer::Disallowed)),
        603 => Ok(Some(AnonymousAnswer::Decline)),
        status => Err(serde::de::Error::custom(format!("{status} is not 433 or 603"))),
    }
}

pub(super) fn maybe_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    an_address(deserializer).map(Some)
}

pub(super) fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let all = Vec::<String>::deserialize(deserializer)?;
    all.iter().map(|text| address(text).map_err(serde::de::Error::custom)).collect()
}

/// Public identities: SIP, SIPS or tel URIs.
pub(super) fn identities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let all = Vec::<String>::deserialize(deserializer)?;
    let other = |uri: &&String| !Uri::parse(uri.as_bytes()).is_ok_and(|uri| uri.scheme() != Scheme::Other);
    match all.iter().find(other) {
        Some(uri) => Err(serde::de::Error::custom(format!("{uri:?} is neither a SIP nor a tel URI"))),
        None => Ok(all),
    }
}

/// The value of a header: one line that is not empty.
pub(super) fn maybe_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let line = String::deserialize(deserializer)?;
    if line.is_empty() || line.contains(|c: char| c.is_control()) {
        return Err(serde::de::Error::custom("the value of a header is one line that is not empty"));
    }
    Ok(Some(line))
}

pub(super) fn maybe_proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Proxy>, D::Error> {
    proxy(&String::deserialize(deserializer)?).map(Some).map_err(serde::de::Error::custom)
}

pub(super) fn maybe_msrps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Listen>, D::Error> {
    Listen::msrps(&String::deserialize(deserializer)?).map(Some).map_err(serde::de::Error::custom)
}

pub(super) fn maybe_msrp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Listen>, D::Error> {
    Listen::msrp(&String::deserialize(deserializer)?).map(Some).map_err(serde::de::Error::custom)
}

/// No more than the parser takes.
pub(super) fn maybe_stream_message<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    let octets = usize::deserialize(deserializer)?;
    if !(1..=MAX_MESSAGE).contains(&octets) {
        return Err(serde::de::Error::custom(format!("{octets} is not between 1 and {MAX_MESSAGE} octets")));
    }
    Ok(Some(octets))
}

/// RFC 4028 5: nothing below 90 s.
pub(super) fn maybe_min_se<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let seconds = u32::deserialize(deserializer)?;
    if seconds < 90 {
        return Err(serde::de::Error::custom(format!("{seconds} is below 90 seconds")));
    }
    Ok(Some(seconds))
}
