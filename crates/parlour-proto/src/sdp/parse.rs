//! Octets to [`Session`]: tolerant where no harm is done, exact about what is wrong where there is.

use super::{Attribute, Connection, Media, Origin, Session};

/// The largest description, octets.
const MAX_OCTETS: usize = 64 * 1024;
/// The most `m=` lines.
const MAX_MEDIA: usize = 32;

/// Why octets are no session description: the peer's fault, 400. Lines count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpFault {
    /// More than 64 KiB.
    #[error("Bad SDP: larger than {MAX_OCTETS} octets")]
    TooLarge,
    /// More than 32 `m=` lines.
    #[error("Bad SDP: line {line} is one m= line too many")]
    TooManyMedia {
        /// Where.
        line: usize,
    },
    /// A line that does not look like `x=value`.
    #[error("Bad SDP: line {line} is not of the form x=value")]
    NoType {
        /// Where.
        line: usize,
    },
    /// The first line is not `v=0`.
    #[error("Bad SDP: line {line} should be v=0")]
    Version {
        /// Where.
        line: usize,
    },
    /// There is no `o=` line.
    #[error("Bad SDP: no o= line")]
    NoOrigin,
    /// The `o=` line does not have its six fields, two of them numbers, or there are two such lines.
    #[error("Bad SDP: line {line}, o=, has {what}")]
    Origin {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A `c=` line does not have its three fields.
    #[error("Bad SDP: line {line}, c=, does not have three fields")]
    Connection {
        /// Where.
        line: usize,
    },
    /// An `m=` line lacks a field or its port is no port.
    #[error("Bad SDP: line {line}, m=, has {what}")]
    Media {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads a session description.
///
/// # Errors
/// The first line that cannot be read, or a bound that is exceeded.
//= IM D-8
// Lines of other types are not even looked at: a malformed b=, k=, r= or z= harms nobody.
pub fn parse(octets: &[u8]) -> Result<Session, SdpFault> {
    if octets.len() > MAX_OCTETS {
        return Err(SdpFault::TooLarge);
    }
    let mut lines = lines(octets);
    match lines.next() {
        Some((_, text)) if text.trim_end() == "v=0" => {}
        Some((line, _)) => return Err(SdpFault::Version { line }),
        None => return Err(SdpFault::Version { line: 1 }),
    }
    let mut origin = None;
    let mut connection = None;
    let mut times = Vec::new();
    let mut attributes = Vec::new();
    let mut media: Vec<Media> = Vec::new();
    for (line, text) in lines {
        let (kind, value) = text.split_once('=').ok_or(SdpFault::NoType { line })?;
        if kind.len() != 1 {
            return Err(SdpFault::NoType { line });
        }
        let value = value.trim_end();
        if kind == "m" {
            if media.len() == MAX_MEDIA {
                return Err(SdpFault::TooManyMedia { line });
            }
            media.push(medium(line, value)?);
            continue;
        }
        match (kind, media.last_mut()) {
            ("o", None) if origin.is_some() => {
                return Err(SdpFault::Origin { line, what: "a second one" });
            }
            ("o", None) => origin = Some(self::origin(line, value)?),
            ("t", None) => times.push(value.to_owned()),
            // A second c= line of one stream adds multicast layers (RFC 4566 5.7), which we never join.
            ("c", None) => connection = connection.or(Some(self::connection(line, value)?)),
            ("c", Some(last)) => {
                let read = self::connection(line, value)?;
                last.connection.get_or_insert(read);
            }
            ("a", None) => attributes.push(attribute(value)),
            ("a", Some(last)) => last.attributes.push(attribute(value)),
            ("i", Some(last)) => last.title = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(Session { origin: origin.ok_or(SdpFault::NoOrigin)?, connection, times, attributes, media })
}

/// The lines that are not empty, numbered from 1, as clean text.
fn lines(octets: &[u8]) -> impl Iterator<Item = (usize, String)> {
    octets
        .split(|&octet| octet == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .zip(1..)
        .filter(|(line, _)| !line.is_empty())
        .map(|(line, number)| (number, clean(line)))
}

/// Text without control characters, which would break our own lines when it is written again.
fn clean(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

// RFC 4566 5.2: o=<username> <sess-id> <sess-version> <nettype> <addrtype> <unicast-address>
fn origin(line: usize, value: &str) -> Result<Origin, SdpFault> {
    let mut fields = value.split_ascii_whitespace().map(str::to_owned);
    let mut next = || fields.next().ok_or(SdpFault::Origin { line, what: "fewer than six fields" });
    let origin = Origin {
        username: next()?,
        session_id: next()?,
        version: next()?,
        net_type: next()?,
        address_type: next()?,
        address: next()?,
    };
    let is_number = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if !is_number(&origin.session_id) || !is_number(&origin.version) {
        return Err(SdpFault::Origin { line, what: "a session id or version that is no number" });
    }
    if fields.next().is_some() {
        return Err(SdpFault::Origin { line, what: "more than six fields" });
    }
    Ok(origin)
}

// RFC 4566 5.7: c=<nettype> <addrtype> <connection-address>
fn connection(line: usize, value: &str) -> Result<Connection, SdpFault> {
    let mut fields = value.split_ascii_whitespace().map(str::to_owned);
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(net_type), Some(address_type), Some(address), None) => {
            Ok(Connection { net_type, address_type, address })
        }
        _ => Err(SdpFault::Connection { line }),
    }
}

// RFC 4566 5.14: m=<media> <port>[/<number of ports>] <proto> <fmt> ...
fn medium(line: usize, value: &str) -> Result<Media, SdpFault> {
    let mut fields = value.split_ascii_whitespace();
    let mut next = || fields.next().ok_or(SdpFault::Media { line, what: "fewer than four fields" });
    let media = next()?.to_owned();
    let port = next()?;
    let port = port.split_once('/').map_or(port, |(port, _)| port);
    let port = port.parse().map_err(|_| SdpFault::Media { line, what: "no port from 0 to 65535" })?;
    let protocol = next()?.to_owned();
    let mut formats = next()?.to_owned();
    for format in fields {
        formats.push(' ');
        formats.push_str(format);
    }
    Ok(Media { media, port, protocol, formats, title: None, connection: None, attributes: Vec::new() })
}

fn attribute(value: &str) -> Attribute {
    match value.split_once(':') {
        Some((name, value)) => Attribute { name: name.to_owned(), value: Some(value.to_owned()) },
        None => Attribute { name: value.to_owned(), value: None },
    }
}
