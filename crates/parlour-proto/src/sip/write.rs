//! Writing messages.

use std::fmt::Write as _;

use super::header::{Header, To};
use super::message::Message;
use super::name::Name;

/// Builds one message, row by row, in the order of the calls. Values cannot break out of their row: CR and LF become
/// spaces.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts a request.
    pub fn request(method: &str, uri: &[u8]) -> Self {
        let mut writer = Writer { out: Vec::with_capacity(ROOM) };
        writer.clean(method.as_bytes());
        writer.out.push(b' ');
        writer.clean(uri);
        writer.out.extend_from_slice(b" SIP/2.0\r\n");
        writer
    }

    /// Starts a response. RFC 3261 7.2: the status code has three digits.
    pub fn response(status: u16, reason: &str) -> Self {
        let mut writer = Writer { out: Vec::with_capacity(ROOM) };
        writer.out.extend_from_slice(b"SIP/2.0 ");
        writer.decimal(status.into());
        writer.out.push(b' ');
        writer.clean(reason.as_bytes());
        writer.out.extend_from_slice(b"\r\n");
        writer
    }

    /// Starts the response to `request` (RFC 3261 8.2.6.2): all of its Via rows, From, To, Call-ID and CSeq, as far as they
    /// are there. A To without tag gets `to_tag`.
    pub fn reply(request: &Message<'_>, status: u16, reason: &str, to_tag: Option<&str>) -> Self {
        let mut writer = Writer::response(status, reason);
        writer.copy(request, Name::Via);
        // Where a row is repeated, which is a fault, one will do.
        writer.copy_first(request, Name::From).to_with_tag(request, to_tag);
        writer.copy_first(request, Name::CallId).copy_first(request, Name::CSeq);
        writer
    }

    /// Copies To. One without a tag gets `tag` (RFC 3261 8.2.6.2).
    pub fn to_with_tag(&mut self, from: &Message<'_>, tag: Option<&str>) -> &mut Self {
        let Some(value) = from.rows(Name::To).next() else { return self };
        self.start_row(Name::To);
        self.clean(value);
        if let Some(tag) = tag
            && !To::parse(value).is_ok_and(|to| to.tag().is_some())
        {
            self.out.extend_from_slice(b";tag=");
            self.clean(tag.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    fn copy_first(&mut self, from: &Message<'_>, name: Name) -> &mut Self {
        if let Some(value) = from.rows(name).next() {
            self.start_row(name);
            self.clean(value);
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Starts the same message again, octet by octet, without its body, its Content-Length and the rows of these names.
    pub fn again(message: &Message<'_>, without: &[Name]) -> Self {
        let mut writer = Writer { out: Vec::with_capacity(ROOM.max(message.octets().len())) };
        let left_out = |name| name == Name::ContentLength || without.contains(&name);
        for piece in message.head_without(left_out) {
            writer.out.extend_from_slice(piece);
        }
        writer
    }

    /// Adds a header row.
    pub fn row(&mut self, name: Name, value: impl AsRef<[u8]>) -> &mut Self {
        self.start_row(name);
        self.clean(value.as_ref());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header row with these elements.
    pub fn list(&mut self, name: Name, elements: &[&str]) -> &mut Self {
        self.start_row(name);
        let from = self.out.len();
        for (at, element) in elements.iter().enumerate() {
            if at > 0 {
                self.out.extend_from_slice(b", ");
            }
            self.out.extend_from_slice(element.as_bytes());
        }
        self.clean_from(from);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header row under any name.
    pub fn raw(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.clean(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.clean(value.as_ref());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header row with a formatted value: `writer.fmt(Name::CSeq, format_args!("{n} BYE"))`.
    pub fn fmt(&mut self, name: Name, args: std::fmt::Arguments<'_>) -> &mut Self {
        self.start_row(name);
        let from = self.out.len();
        // Raw never fails, so neither does the formatting.
        let _ = Raw(self).write_fmt(args);
        self.clean_from(from);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Copies all rows of that name; a fold becomes spaces, which RFC 3261 7.3.1 says is the same, so that no stray CR or LF
    /// of a broken request is echoed.
    pub fn copy(&mut self, from: &Message<'_>, name: Name) -> &mut Self {
        for value in from.rows(name) {
            self.start_row(name);
            self.clean(value);
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Ends the message: Content-Type if there is a body (its type and octets), Content-Length always.
    pub fn finish(mut self, body: Option<(&str, &[u8])>) -> Vec<u8> {
        let (content_type, body) = body.unwrap_or(("", b""));
        if !content_type.is_empty() {
            self.row(Name::ContentType, content_type);
        }
        self.out.extend_from_slice(b"Content-Length: ");
        self.decimal(body.len());
        self.out.reserve(4_usize.saturating_add(body.len()));
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(body);
        self.out
    }

    fn start_row(&mut self, name: Name) {
        self.out.extend_from_slice(name.text().as_bytes());
        self.out.extend_from_slice(b": ");
    }

    fn clean(&mut self, octets: &[u8]) {
        let from = self.out.len();
        self.out.extend_from_slice(octets);
        self.clean_from(from);
    }

    /// Cleans what was written from there on.
    fn clean_from(&mut self, from: usize) {
        let written = self.out.get_mut(from..).unwrap_or_default();
        if memchr::memchr2(b'\r', b'\n', written).is_some() {
            written.iter_mut().filter(|octet| matches!(octet, b'\r' | b'\n')).for_each(|octet| *octet = b' ');
        }
    }

    fn decimal(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut used = 0;
        for (count, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b'0'.saturating_add(u8::try_from(number % 10).unwrap_or(0));
            number /= 10;
            used = count.saturating_add(1);
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
    }
}

/// Most messages of an IM client fit, so that one allocation is all; allocators keep pieces up to about this size at
/// hand.
const ROOM: usize = 1_024;

/// Takes pieces that are cleaned together.
struct Raw<'w>(&'w mut Writer);

impl std::fmt::Write for Raw<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"BYE sip:bob@h SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1,\r\n SIP/2.0/TCP b\r\n\
        Via: SIP/2.0/UDP c\r\nf: \"\xe9\" <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 7 BYE\r\nl: 0\r\n\r\n";

    #[test]
    fn a_reply_copies_what_names_the_transaction() {
        let request = Message::parse(REQUEST).unwrap();
        let octets = Writer::reply(&request, 200, "OK", Some("ours")).finish(Some(("text/plain", b"hi")));
        let expected = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1,   SIP/2.0/TCP b\r\nVia: SIP/2.0/UDP c\r\n\
            From: \"\xe9\" <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=ours\r\nCall-ID: 1\r\nCSeq: 7 BYE\r\n\
            Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(octets.escape_ascii().to_string(), expected.escape_ascii().to_string());
        let tagged = String::from_utf8_lossy(REQUEST).replace("<sip:b@h>", "<sip:b@h>;tag=old");
        let request = Message::parse(tagged.as_bytes()).unwrap();
        let octets = Writer::reply(&request, 200, "OK", Some("ours")).finish(None);
        assert_eq!(Message::parse(&octets).unwrap().one::<To<'_>>().unwrap().tag(), Some("old"));
    }

    #[test]
    fn no_value_breaks_out_of_its_row() {
        let mut writer = Writer::request("MESSAGE\r\n", b"sip:a@b\r\nX: y");
        writer.row(Name::Subject, "a\r\nVia: evil\n\rb").raw("X\r\nY", "z");
        writer.fmt(Name::Reason, format_args!("{}", "x\r\ny"));
        let octets = writer.finish(None);
        assert_eq!(
            octets.escape_ascii().to_string(),
            "MESSAGE   sip:a@b  X: y SIP/2.0\\r\\nSubject: a  Via: evil  b\\r\\nX  Y: z\\r\\nReason: x  y\\r\\n\
             Content-Length: 0\\r\\n\\r\\n"
        );
    }

    #[test]
    fn a_message_is_written_again_octet_by_octet() {
        let request = Message::parse(REQUEST).unwrap();
        let octets = Writer::again(&request, &[]).finish(None);
        let expected = String::from_utf8_lossy(REQUEST).replace("l: 0", "Content-Length: 0");
        assert_eq!(String::from_utf8_lossy(&octets), expected);
        let mut writer = Writer::again(&request, &[Name::Via, Name::CSeq]);
        writer.row(Name::CSeq, "8 BYE");
        let octets = writer.finish(None);
        let again = Message::parse(&octets).unwrap();
        assert_eq!(
            again.fields().map(|field| field.name_text).collect::<Vec<_>>(),
            [b"f".as_slice(), b"To", b"Call-ID", b"CSeq", b"Content-Length"]
        );
        assert_eq!(again.one::<To<'_>>(), request.one::<To<'_>>());
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 7, 10, 699, 65_536, usize::MAX] {
            let mut writer = Writer { out: Vec::new() };
            writer.decimal(number);
            assert_eq!(writer.out, number.to_string().into_bytes());
        }
    }
}
