//! Octets to [`Session`]: tolerant where no harm is done, exact about what is wrong where there is.

use std::borrow::Cow;

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
        let (kind, value) = text.split_at_checked(1).ok_or(SdpFault::NoType { line })?;
        let value = value.strip_prefix('=').ok_or(SdpFault::NoType { line })?.trim_end();
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
fn lines(octets: &[u8]) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    // As nearly always: where the whole is text, its lines are.
    let text = str::from_utf8(octets).ok();
    let mut start = 0_usize;
    memchr::memchr_iter(b'\n', octets).chain([octets.len()]).zip(1..).filter_map(move |(end, number)| {
        let (from, line) = (start, octets.get(start..end)?);
        start = end.saturating_add(1);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = text.and_then(|text| text.get(from..from.saturating_add(line.len())));
        let text = text.filter(|_| is_plain(line)).map_or_else(|| clean(line), Cow::Borrowed);
        (!line.is_empty()).then_some((number, text))
    })
}

/// Whether there is nothing to clean. It looks at all octets, as that is quicker than to stop at the first that has to be.
fn is_plain(line: &[u8]) -> bool {
    line.iter().fold(true, |plain, octet| plain & matches!(octet, b'\t' | b' '..=b'~'))
}

/// Text without control characters, which would break our own lines when it is written again.
fn clean(octets: &[u8]) -> Cow<'_, str> {
    let breaks = |c: char| c.is_control() && c != '\t';
    let text = String::from_utf8_lossy(octets);
    if text.contains(breaks) { text.replace(breaks, "\u{fffd}").into() } else { text }
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
    let colon = memchr::memchr(b':', value.as_bytes()).unwrap_or(value.len());
    let (name, value) = value.split_at_checked(colon).unwrap_or((value, ""));
    Attribute { name: name.to_owned(), value: value.strip_prefix(':').map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    //= IM D-8 test
    #[test]
    fn what_does_not_matter_is_ignored() {
        let text = b"v=0\r\no=- 1 2 IN IP4 192.0.2.1\ns=caf\xe9\nb=\nk\x3d\nz=nonsense\nr=\nb=AS:x\nq=?\n\n\
            a=tool:\xff\x00\na\x3d\nm=message  2855 TCP/MSRP  *  \nb=:::\ni=caf\xe9\na=path:x\r\n";
        let session = parse(text).unwrap();
        assert_eq!(session.attributes.first().unwrap().value.as_deref(), Some("\u{fffd}\u{fffd}"));
        let media = session.media.first().unwrap();
        assert_eq!((media.port, media.formats.as_str(), media.attribute("PATH")), (2855, "*", Some("x")));
        assert_eq!(media.title.as_deref(), Some("caf\u{fffd}"));
        assert!(session.times.is_empty());
    }

    #[test]
    fn connections_belong_to_the_line_above() {
        let text =
            "v=0\no=- 1 2 IN IP4 a\nc=IN IP4 b\nm=a 1 b c\nc=IN IP6 ::1\nc=IN IP6 ::2\nm=d 2/3 e f g\n";
        let session = parse(text.as_bytes()).unwrap();
        assert_eq!(session.connection.as_ref().unwrap().address, "b");
        assert_eq!(session.media[0].connection.as_ref().unwrap().address, "::1");
        assert_eq!(session.media[1].connection, None);
        assert_eq!((session.media[1].port, session.media[1].formats.as_str()), (2, "f g"));
    }

    #[test]
    fn faults_name_the_line() {
        let start = "v=0\no=- 1 1 IN IP4 a\n";
        assert_eq!(fault(""), "Bad SDP: line 1 should be v=0");
        assert_eq!(fault("\r\n\nv=1\n"), "Bad SDP: line 3 should be v=0");
        assert_eq!(fault("o=- 1 1 IN IP4 a\nv=0\n"), "Bad SDP: line 1 should be v=0");
        assert_eq!(fault("v=0\nm=message 1 TCP/MSRP *\n"), "Bad SDP: no o= line");
        assert_eq!(fault("v=0\no=- 1 1 IN IP4\n"), "Bad SDP: line 2, o=, has fewer than six fields");
        assert_eq!(fault("v=0\no=- 1 1 IN IP4 a b\n"), "Bad SDP: line 2, o=, has more than six fields");
        let number = "Bad SDP: line 2, o=, has a session id or version that is no number";
        assert_eq!(fault("v=0\no=- x 1 IN IP4 a\n"), number);
        assert_eq!(fault("v=0\no=- 1 -1 IN IP4 a\n"), number);
        assert_eq!(fault(&format!("{start}o=- 1 1 IN IP4 a\n")), "Bad SDP: line 3, o=, has a second one");
        assert_eq!(fault(&format!("{start}hello\n")), "Bad SDP: line 3 is not of the form x=value");
        assert_eq!(fault(&format!("{start}\nmm=1\n")), "Bad SDP: line 4 is not of the form x=value");
        assert_eq!(fault(&format!("{start}c=IN IP4\n")), "Bad SDP: line 3, c=, does not have three fields");
        assert_eq!(
            fault(&format!("{start}m=message 1 TCP/MSRP\n")),
            "Bad SDP: line 3, m=, has fewer than four fields"
        );
        for port in ["x", "65536", "-1", "+", ""] {
            let text = format!("{start}m=message {port}/2 TCP/MSRP *\n");
            assert_eq!(fault(&text), "Bad SDP: line 3, m=, has no port from 0 to 65535", "{port}");
        }
    }

    //= IM D-8 test
    #[test]
    fn bounds() {
        let with =
            |count: usize| format!("v=0\no=- 1 1 IN IP4 a\n{}", "m=message 1 TCP/MSRP *\n".repeat(count));
        assert_eq!(parse(with(MAX_MEDIA).as_bytes()).unwrap().media.len(), MAX_MEDIA);
        assert_eq!(
            parse(with(MAX_MEDIA + 1).as_bytes()),
            Err(SdpFault::TooManyMedia { line: MAX_MEDIA + 3 })
        );
        let mut full = with(0) + "a=";
        full.extend(std::iter::repeat_n('x', MAX_OCTETS - full.len()));
        assert!(parse(full.as_bytes()).is_ok());
        assert_eq!(parse((full + "a").as_bytes()), Err(SdpFault::TooLarge));
    }

    proptest! {
        #[test]
        fn line_ends_do_not_matter(lines in proptest::collection::vec("[voctami]=[ -~\u{80}-\u{ff}]{0,30}", 0..12)) {
            let lines = [vec!["v=0".to_owned(), "o=- 1 1 IN IP4 a".to_owned()], lines].concat();
            prop_assert_eq!(parse(lines.join("\n").as_bytes()), parse(lines.join("\r\n").as_bytes()));
        }

        #[test]
        fn nothing_panics(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&octets);
            let _ = parse(&[b"v=0\no=- 1 1 IN IP4 a\n", octets.as_slice()].concat());
        }
    }
}
