//! Frames into octets, always in the order of RFC 4975 9: To-Path, From-Path, the rest, Content-Type last.

use crate::head::{Flag, Tid};

/// Appends one frame to a buffer.
///
/// Values are written as they are, but for control characters, which become spaces: no value can start a line.
pub struct FrameWriter<'o> {
    out: &'o mut Vec<u8>,
    tid: Tid,
}

impl<'o> FrameWriter<'o> {
    /// Begins a request.
    pub fn request(out: &'o mut Vec<u8>, tid: Tid, method: &str, to: &str, from: &str) -> Self {
        Self::start(out, tid, &[method], to, from)
    }

    /// Begins a response. The comment is never left out: a relay in use takes a response without one for a request.
    pub fn response(out: &'o mut Vec<u8>, tid: Tid, status: u16, to: &str, from: &str) -> Self {
        let digits = status_digits(status);
        let digits = str::from_utf8(&digits).expect("invariant: digits are ASCII");
        Self::start(out, tid, &[digits, " ", comment(status)], to, from)
    }

    fn start(out: &'o mut Vec<u8>, tid: Tid, words: &[&str], to: &str, from: &str) -> Self {
        // Once for all of a frame without further headers.
        out.reserve(to.len().saturating_add(from.len()).saturating_add(2 * Tid::MAX + 96));
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(tid.as_bytes());
        out.push(b' ');
        words.iter().for_each(|word| out.extend_from_slice(word.as_bytes()));
        out.extend_from_slice(b"\r\n");
        FrameWriter { out, tid }.row("To-Path", &[to]).row("From-Path", &[from])
    }

    /// Adds a header line; the parts of its value are joined.
    #[must_use]
    pub fn row(self, name: &str, value: &[&str]) -> Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        let start = self.out.len();
        value.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
        let written = self.out.get_mut(start..).unwrap_or_default();
        written.iter_mut().filter(|octet| octet.is_ascii_control()).for_each(|octet| *octet = b' ');
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds the body; call it after the last header, which must be Content-Type, and end the frame next.
    #[must_use]
    pub fn body(self, octets: &[u8]) -> Self {
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(octets);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Ends the frame.
    pub fn end(self, flag: Flag) {
        self.out.extend_from_slice(b"-------");
        self.out.extend_from_slice(self.tid.as_bytes());
        self.out.extend_from_slice(&[flag.octet(), b'\r', b'\n']);
    }
}

/// The three digits of a status code.
pub(crate) fn status_digits(status: u16) -> [u8; 3] {
    let digit = |value: u16| b'0'.saturating_add(u8::try_from(value % 10).unwrap_or(0));
    [digit(status / 100), digit(status / 10), digit(status)]
}

/// What is written after a status code (RFC 4975 10, RFC 4976 11, RFC 7701 11).
pub(crate) fn comment(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Timeout",
        413 => "Stop Sending",
        415 => "Media Type Not Supported",
        423 => "Out Of Bounds",
        481 => "No Such Session",
        501 => "Unknown Method",
        506 => "Session In Use",
        _ => "Refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_order_of_the_grammar() {
        let tid = Tid::parse(b"d93kswow").expect("an ident");
        let mut out = Vec::new();
        FrameWriter::request(&mut out, tid, "SEND", "msrp://b:2/y;tcp", "msrp://a:1/x;tcp")
            .row("Message-ID", &["12339s\r\nX: y"])
            .row("Content-Type", &["text/plain"])
            .body(b"Hi")
            .end(Flag::Last);
        FrameWriter::response(&mut out, tid, 200, "msrp://a:1/x;tcp", "msrp://b:2/y;tcp").end(Flag::Last);
        let text = "MSRP d93kswow SEND\r\nTo-Path: msrp://b:2/y;tcp\r\nFrom-Path: msrp://a:1/x;tcp\r\n\
                    Message-ID: 12339s  X: y\r\nContent-Type: text/plain\r\n\r\nHi\r\n-------d93kswow$\r\n\
                    MSRP d93kswow 200 OK\r\nTo-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:2/y;tcp\r\n\
                    -------d93kswow$\r\n";
        assert_eq!(String::from_utf8_lossy(&out), text);
    }
}
