//! One SIP message: its octets and an index of where its header rows are (RFC 3261 7).

use std::sync::Arc;

use smallvec::SmallVec;

use super::fault::Fault;
use super::header::lex::{Elements, is_lws, is_token, number};
use super::header::{ContentLength, Header, HeaderFault, MethodSet, Via};
use super::method::Method;
use super::name::Name;

/// The longest Request-URI in octets (X-11).
//= IM X-11
pub const MAX_URI: usize = 2 << 10;
/// The longest header row in octets, folds included (X-11).
pub const MAX_ROW: usize = 8 << 10;
/// The most header rows (X-11).
pub const MAX_ROWS: usize = 200;
/// The most Via values (X-11).
pub const MAX_VIA: usize = 64;
/// The largest message in octets on a stream (X-11); a datagram cannot exceed 64 KiB anyway.
pub const MAX_MESSAGE: usize = 256 << 10;

/// A message. It borrows the octets; header values are typed on demand.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    octets: &'a [u8],
    index: Index,
}

/// Where everything is.
#[derive(Debug, Clone)]
struct Index {
    line: Line,
    /// One entry for each header row, in order.
    rows: SmallVec<[Row; 32]>,
    /// The names that occur.
    seen: u128,
    /// Where the body starts.
    body: u32,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    /// The Request-URI starts one octet after the method.
    Request { method: Method, method_length: u16, uri_length: u16 },
    /// The reason phrase starts after "SIP/2.0 200 ".
    Response { status: u16, reason_length: u16 },
}

/// One header row: name and value as offsets.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Where the name starts.
    at: u32,
    name_length: u16,
    /// Where the value starts, counted from `at`.
    value: u16,
    value_length: u16,
    name: Name,
}

/// The first line of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the parts of RFC 3261 7.1 and 7.2")]
pub enum Start<'a> {
    Request { method: Method, method_text: &'a [u8], uri: &'a [u8] },
    Response { status: u16, reason: &'a [u8] },
}

/// One header row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name.
    pub name: Name,
    /// The name as written.
    pub name_text: &'a [u8],
    /// The value, trimmed; folds are kept inside.
    pub value: &'a [u8],
}

/// Why a message was refused, and what could be read of it.
#[derive(Debug)]
pub struct ParseFault<'a> {
    /// What is wrong.
    pub fault: Fault,
    readable: Option<Box<Message<'a>>>,
}

impl<'a> ParseFault<'a> {
    /// A fault found outside of [`Message::parse`], with what can be read of the octets.
    pub(super) fn of(fault: Fault, octets: &'a [u8]) -> Self {
        ParseFault { fault, readable: read(octets, &mut None).map(Box::new) }
    }

    /// The message, if an answer can be built from it ([`Message::is_answerable`]); status and reason are those of `fault`.
    /// `None`: drop it silently.
    pub fn answerable(&self) -> Option<&Message<'a>> {
        self.readable.as_deref().filter(|message| message.is_answerable())
    }

    /// What was read, whether or not it can be answered.
    pub fn readable(&self) -> Option<&Message<'a>> {
        self.readable.as_deref()
    }
}

impl std::fmt::Display for ParseFault<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for ParseFault<'_> {}

impl<'a> Message<'a> {
    /// Reads one datagram, or one message that [`frame`](super::frame) cut out of a stream. Headers are indexed, not
    /// judged: that is [`door`](super::door)'s.
    ///
    /// # Errors
    /// The message has no readable first line, breaks a limit, or its body is shorter than Content-Length.
    pub fn parse(octets: &'a [u8]) -> Result<Message<'a>, ParseFault<'a>> {
        let mut fault = None;
        let Some(mut message) = read(octets, &mut fault) else {
            return Err(ParseFault { fault: fault.unwrap_or(Fault::NotSip), readable: None });
        };
        if let Err(bad) = message.cut_body() {
            fault.get_or_insert(bad);
        }
        match fault {
            None => Ok(message),
            Some(fault) => Err(ParseFault { fault, readable: Some(Box::new(message)) }),
        }
    }

    /// The first line.
    pub fn start(&self) -> Start<'a> {
        match self.index.line {
            Line::Request { method, method_length, uri_length } => {
                let uri_at = usize::from(method_length).saturating_add(1);
                Start::Request {
                    method,
                    method_text: self.slice(0, method_length.into()),
                    uri: self.slice(uri_at, uri_length.into()),
                }
            }
            Line::Response { status, reason_length } => {
                Start::Response { status, reason: self.slice(STATUS_LINE, reason_length.into()) }
            }
        }
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method> {
        match self.index.line {
            Line::Request { method, .. } => Some(method),
            Line::Response { .. } => None,
        }
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<u16> {
        match self.index.line {
            Line::Request { .. } => None,
            Line::Response { status, .. } => Some(status),
        }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        self.method().is_some()
    }

    /// The Request-URI of a request, as written.
    pub fn request_uri(&self) -> Option<&'a [u8]> {
        match self.start() {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The value of each row of that name: trimmed, folds kept inside.
    pub fn rows(&self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        // A name that does not occur costs no walk.
        let rows = if self.has(name) { self.index.rows.as_slice() } else { &[] };
        rows.iter().filter(move |row| row.name == name).map(|row| self.value(row))
    }

    /// All rows in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        self.index.rows.iter().map(|row| Field {
            name: row.name,
            name_text: self.slice(to_usize(row.at), row.name_length.into()),
            value: self.value(row),
        })
    }

    /// The rows of that name, split at commas outside quoted strings, `<>` and comments. Empty elements are left out.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        self.rows(name).flat_map(Elements::new)
    }

    /// Whether there is a row of that name.
    pub fn has(&self, name: Name) -> bool {
        self.index.seen & name.bit() != 0
    }

    /// The header's only value.
    ///
    /// # Errors
    /// It is missing, repeated or malformed.
    pub fn one<H: Header<'a>>(&self) -> Result<H, HeaderFault> {
        self.maybe()?.ok_or(HeaderFault::missing(H::NAME))
    }

    /// The header's only value, if there is one.
    ///
    /// # Errors
    /// It is repeated or malformed.
    pub fn maybe<H: Header<'a>>(&self) -> Result<Option<H>, HeaderFault> {
        let mut rows = self.rows(H::NAME);
        let Some(mut value) = rows.next() else { return Ok(None) };
        if rows.next().is_some() {
            return Err(HeaderFault::repeated(H::NAME));
        }
        if H::LIST {
            let mut elements = Elements::new(value);
            let Some(first) = elements.next() else { return Ok(None) };
            if elements.next().is_some() {
                return Err(HeaderFault::repeated(H::NAME));
            }
            value = first;
        }
        H::parse(value).map(Some)
    }

    /// All values of a header, each read.
    pub fn list<H: Header<'a>>(&self) -> impl Iterator<Item = Result<H, HeaderFault>> {
        self.rows(H::NAME).flat_map(|row| {
            let (elements, whole) =
                if H::LIST { (Elements::new(row), None) } else { (Elements::new(b""), Some(row)) };
            elements.chain(whole).map(H::parse)
        })
    }

    /// The methods of all Allow rows together; elements that are no methods are passed over.
    pub fn allow(&self) -> MethodSet {
        if !self.has(Name::Allow) {
            return MethodSet::UNKNOWN;
        }
        MethodSet::of(self.values(Name::Allow).map(Method::of))
    }

    /// The topmost Via.
    ///
    /// # Errors
    /// It is missing or malformed.
    pub fn top_via(&self) -> Result<Via<'a>, HeaderFault> {
        self.list().next().unwrap_or(Err(HeaderFault::missing(Name::Via)))
    }

    /// The topmost Via, as far as it tells the way back for a refusal: malformed parameters are left out.
    pub fn return_path(&self) -> Option<Via<'a>> {
        self.values(Name::Via).next().and_then(Via::return_path)
    }

    /// Whether a refusal finds its way back: a request other than ACK with a [`return_path`](Message::return_path). RFC 4475 3.3.1 wants
    /// a 400 even where From, To and Call-ID are missing; without a Via there is nobody to tell.
    pub fn is_answerable(&self) -> bool {
        // RFC 3261 17.1.1.1: nothing answers an ACK.
        self.method().is_some_and(|method| method != Method::Ack) && self.return_path().is_some()
    }

    /// The body.
    pub fn body(&self) -> &'a [u8] {
        self.octets.get(to_usize(self.index.body)..).unwrap_or_default()
    }

    /// The whole message, without what followed it in the datagram.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Copies the message, once and exactly, for what outlives the octets.
    pub fn keep(&self) -> Kept {
        Kept(Arc::new(KeptMessage {
            octets: self.octets.into(),
            line: self.index.line,
            rows: self.index.rows.as_slice().into(),
            seen: self.index.seen,
            body: self.index.body,
        }))
    }

    /// Cuts the octets to Content-Length.
    fn cut_body(&mut self) -> Result<(), Fault> {
        let body_at = to_usize(self.index.body);
        let Some(length) = content_length(self.rows(Name::ContentLength))? else {
            // RFC 3261 18.3: without Content-Length the body of a datagram goes to its end.
            return Ok(());
        };
        let end = body_at.checked_add(length).ok_or(Fault::BodyTooShort)?;
        // RFC 3261 18.3: octets beyond Content-Length are thrown away; a body that is shorter earns a 400.
        self.octets = self.octets.get(..end).ok_or(Fault::BodyTooShort)?;
        Ok(())
    }

    fn value(&self, row: &Row) -> &'a [u8] {
        self.slice(to_usize(row.at).saturating_add(row.value.into()), row.value_length.into())
    }

    fn slice(&self, at: usize, length: usize) -> &'a [u8] {
        self.octets.get(at..at.saturating_add(length)).unwrap_or_default()
    }
}

/// The one Content-Length: several rows must agree (RFC 4475 3.3.9).
fn content_length<'v>(rows: impl Iterator<Item = &'v [u8]>) -> Result<Option<usize>, HeaderFault> {
    let mut agreed = None;
    for row in rows {
        let ContentLength(length) = ContentLength::parse(row)?;
        let length = to_usize(length);
        if agreed.replace(length).is_some_and(|before| before != length) {
            return Err(HeaderFault::bad(Name::ContentLength, "has conflicting values"));
        }
    }
    Ok(agreed)
}

/// A message that outlives the octets that it came in. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Kept(Arc<KeptMessage>);

#[derive(Debug)]
struct KeptMessage {
    octets: Box<[u8]>,
    line: Line,
    rows: Box<[Row]>,
    seen: u128,
    body: u32,
}

impl Kept {
    /// The message again, without reading it again.
    pub fn message(&self) -> Message<'_> {
        let KeptMessage { octets, line, rows, seen, body } = &*self.0;
        let index = Index { line: *line, rows: SmallVec::from_slice(rows), seen: *seen, body: *body };
        Message { octets, index }
    }
}

/// Length of "SIP/2.0 200 ".
const STATUS_LINE: usize = 12;

/// Indexes everything that can be indexed; the first fault goes to `fault`. `None`: there is no message.
fn read<'a>(octets: &'a [u8], fault: &mut Option<Fault>) -> Option<Message<'a>> {
    if octets.len() > MAX_MESSAGE {
        *fault = Some(Fault::TooLarge);
    }
    let octets = octets.get(..octets.len().min(MAX_MESSAGE))?;
    // RFC 3261 7.5: empty lines before the message are passed over.
    let blank = octets.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
    let octets = octets.get(blank..)?;
    let line_end = memchr::memchr(b'\n', octets)?;
    let first = octets.get(..line_end)?;
    let line = read_start(first.strip_suffix(b"\r").unwrap_or(first), fault)?;
    let mut message = Message {
        octets,
        index: Index { line, rows: SmallVec::new(), seen: 0, body: to_u32(octets.len())? },
    };
    read_rows(&mut message, line_end.checked_add(1)?, fault);
    Some(message)
}

fn read_start(line: &[u8], fault: &mut Option<Fault>) -> Option<Line> {
    if let Some(rest) = line.strip_prefix(b"SIP/2.0 ") {
        let status = rest.get(..3).and_then(number).filter(|status| (100..700).contains(status));
        // RFC 4475 3.1.1.13: the reason may be empty; strictly, the space before it may not.
        let reason = rest.get(3..).filter(|after| matches!(after.first(), None | Some(b' ')));
        let (Some(status), Some(reason)) = (status, reason) else {
            *fault = Some(Fault::StatusLine);
            return None;
        };
        let reason_length = u16::try_from(reason.len().saturating_sub(1)).ok()?;
        return Some(Line::Response { status, reason_length });
    }
    let method_length = line.iter().position(|&octet| !is_token(octet))?;
    let (method_text, rest) = line.split_at_checked(method_length)?;
    let rest = rest.strip_prefix(b" ").filter(|_| method_length > 0)?;
    // RFC 3261 7.1: single spaces, and none within the URI; a line that breaks this still tells its method.
    let uri_length = rest.iter().position(|&octet| octet == b' ').unwrap_or(rest.len());
    let version = rest.get(uri_length..)?;
    let version = version.strip_prefix(b" ").unwrap_or_default();
    let is_sip = version.get(..4).is_some_and(|sip| sip.eq_ignore_ascii_case(b"SIP/"));
    if uri_length > MAX_URI {
        fault.get_or_insert(Fault::UriTooLong);
    } else if version.eq_ignore_ascii_case(b"SIP/2.0") && uri_length > 0 {
        // As it should be.
    } else if is_sip && version.iter().all(|octet| octet.is_ascii_graphic()) {
        fault.get_or_insert(Fault::Version);
    } else {
        fault.get_or_insert(Fault::RequestLine);
    }
    let method_length = u16::try_from(method_length).ok()?;
    let uri_length = u16::try_from(uri_length).unwrap_or(u16::MAX);
    Some(Line::Request { method: Method::of(method_text), method_length, uri_length })
}

/// Indexes the rows that start at `at`, up to the empty line.
fn read_rows(message: &mut Message<'_>, mut at: usize, fault: &mut Option<Fault>) {
    let octets = message.octets;
    let mut vias = 0_usize;
    while let Some(rest) = octets.get(at..) {
        let empty_line = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => 0,
        };
        if empty_line > 0 {
            message.index.body = to_u32(at.saturating_add(empty_line)).unwrap_or(u32::MAX);
            return;
        }
        let Some(length) = row_length(rest, fault) else { break };
        if let Some(row) = rest.get(..length).and_then(|row| read_row(row, at, fault)) {
            if message.index.rows.len() == MAX_ROWS {
                fault.get_or_insert(Fault::TooManyRows);
                return;
            }
            message.index.seen |= row.name.bit();
            message.index.rows.push(row);
            if row.name == Name::Via {
                vias = vias.saturating_add(Elements::new(message.value(&row)).count());
                if vias > MAX_VIA {
                    fault.get_or_insert(Fault::TooManyVia);
                }
            }
        }
        at = at.saturating_add(length);
    }
    fault.get_or_insert(Fault::NoHeaderEnd);
}

/// The length of the row that `rest` starts with: with its line ends and the lines folded into it (RFC 3261 7.3.1).
fn row_length(rest: &[u8], fault: &mut Option<Fault>) -> Option<usize> {
    let mut at = 0_usize;
    loop {
        let found = memchr::memchr2(b'\r', b'\n', rest.get(at..)?)?;
        at = at.checked_add(found)?;
        match rest.get(at..)? {
            [b'\r', b'\n', ..] => at = at.checked_add(2)?,
            // A line end without CR is read as one: nobody means anything else by it.
            [b'\n', ..] => at = at.checked_add(1)?,
            // A CR alone would end the line for others: two readings of one message are an attack.
            _ => {
                fault.get_or_insert(Fault::BareCr);
                at = at.checked_add(1)?;
                continue;
            }
        }
        if !matches!(rest.get(at), Some(b' ' | b'\t')) {
            return Some(at);
        }
    }
}

/// One row; `None` for a line that is no header: RFC 3261 8.2.2 has malformed headers ignored that nothing needs.
fn read_row(row: &[u8], at: usize, fault: &mut Option<Fault>) -> Option<Row> {
    if row.len() > MAX_ROW {
        fault.get_or_insert(Fault::RowTooLong);
        return None;
    }
    let name_length = row.iter().position(|&octet| !is_token(octet))?;
    let (name_text, mut rest) = row.split_at_checked(name_length)?;
    // RFC 3261 25.1, HCOLON: white space may stand before the colon, and LWS after it.
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest = rest.strip_prefix(b":").filter(|_| name_length > 0)?;
    while let [first, after @ ..] = rest
        && is_lws(*first)
    {
        rest = after;
    }
    let value = row.len().checked_sub(rest.len())?;
    while let [before @ .., last] = rest
        && is_lws(*last)
    {
        rest = before;
    }
    Some(Row {
        at: to_u32(at)?,
        name_length: u16::try_from(name_length).ok()?,
        value: u16::try_from(value).ok()?,
        value_length: u16::try_from(rest.len()).ok()?,
        name: Name::of(name_text),
    })
}

fn to_u32(number: usize) -> Option<u32> {
    u32::try_from(number).ok()
}

/// Never loses anything: a message is smaller than 4 GiB.
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Content-Length of a header block that ends with an empty line, for framing.
pub(super) fn read_head(head: &[u8]) -> Result<Option<usize>, Fault> {
    let mut fault = None;
    let Some(message) = read(head, &mut fault) else { return Err(fault.unwrap_or(Fault::NotSip)) };
    // Past this bound there may be another Content-Length that was not seen.
    if let Some(fault) = fault.filter(|fault| *fault == Fault::TooManyRows) {
        return Err(fault);
    }
    Ok(content_length(message.rows(Name::ContentLength))?)
}

#[cfg(test)]
mod tests {
    use super::super::door::door;
    use super::super::header::Contact;
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP pc33.example.com:5060;branch=z9hG4bK776asdhds;rport, SIP/2.0/TCP [2001:db8::1]\r\n\
        Max-Forwards: 70\r\n\
        t: Bob <sip:bob@example.com>\r\n\
        From: \"Al \\\"ice, \xe9\" <sip:alice@example.com;x=y>;tag=1928301774\r\n\
        Subject: \xff\xfe\r\n\
        Call-ID: a84b4c76e66710@pc33.example.com\r\n\
        CSEQ : 314159\r\n\t INVITE\r\n\
        m: <sip:alice@pc33.example.com>;isfocus\r\n\
        Content-Length: 4\r\n\r\nbodyrest";

    #[test]
    fn an_invite_is_read() {
        let message = Message::parse(INVITE).unwrap();
        let core = door(&message).unwrap();
        assert_eq!(core.via.branch(), Some("z9hG4bK776asdhds"));
        assert_eq!(core.via.rport(), Some(None));
        assert_eq!(core.from.display_name().as_deref(), Some("Al \"ice, \u{fffd}"));
        assert_eq!(core.from.tag(), Some("1928301774"));
        assert_eq!(core.to.display_name().as_deref(), Some("Bob"));
        assert_eq!((core.cseq.number, core.cseq.method), (314_159, Method::Invite));
        assert_eq!(message.list::<Via<'_>>().count(), 2);
        assert!(message.one::<Contact<'_>>().unwrap().address().unwrap().params.has("isfocus"));
        assert_eq!(message.body(), b"body");
        let kept = message.keep();
        assert_eq!(kept.message().octets(), message.octets());
        assert_eq!(door(&kept.message()).unwrap(), core);
    }
}
