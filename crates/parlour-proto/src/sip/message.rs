//! One SIP message: its octets and an index of where its header rows are (RFC 3261 7).

mod read;

use std::sync::Arc;

use smallvec::SmallVec;

use self::read::read;
use super::fault::Fault;
use super::header::lex::Elements;
use super::header::{ContentLength, Header, HeaderFault, MethodSet, Via};
use super::method::Method;
use super::name::Name;

/// The longest Request-URI in octets.
//= IM X-11
pub const MAX_URI: usize = 2 << 10;
/// The longest header row in octets, folds included.
pub const MAX_ROW: usize = 8 << 10;
/// The most header rows.
pub const MAX_ROWS: usize = 200;
/// The most Via values.
pub const MAX_VIA: usize = 64;
/// The largest message in octets on a stream; a datagram cannot exceed 64 KiB anyway.
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
    /// The first row of each name, or `NO_ROW`.
    first: [u8; Name::COUNT],
    /// Where the body starts.
    body: u32,
}

impl Index {
    fn new(line: Line, body: u32) -> Self {
        Index { line, rows: SmallVec::new(), first: [NO_ROW; Name::COUNT], body }
    }

    #[inline]
    fn push(&mut self, row: Row) {
        if let Some(first) = self.first.get_mut(row.name as usize) {
            match self.rows.get_mut(usize::from(*first)) {
                Some(first) => first.repeated = true,
                None => *first = u8::try_from(self.rows.len()).unwrap_or(NO_ROW),
            }
        }
        self.rows.push(row);
    }

    /// The rows among which those of that name are: just one in most cases.
    fn rows(&self, name: Name) -> &[Row] {
        let first = self.first.get(name as usize).copied().map_or(usize::MAX, usize::from);
        match self.rows.get(first..) {
            Some([row, ..]) if !row.repeated => std::slice::from_ref(row),
            rows => rows.unwrap_or_default(),
        }
    }
}

/// More than `MAX_ROWS`.
const NO_ROW: u8 = u8::MAX;

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
    /// There are more rows of this name; told of the first only.
    repeated: bool,
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
        self.index.rows(name).iter().filter(move |row| row.name == name).map(|row| self.value(row))
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
        !self.index.rows(name).is_empty()
    }

    /// The header's only value.
    ///
    /// # Errors
    /// It is missing, repeated or malformed.
    pub fn one<H: Header<'a>>(&self) -> Result<H, HeaderFault> {
        H::parse(self.only(H::NAME, H::LIST)?.ok_or(HeaderFault::missing(H::NAME))?)
    }

    /// The header's only value, if there is one.
    ///
    /// # Errors
    /// It is repeated or malformed.
    pub fn maybe<H: Header<'a>>(&self) -> Result<Option<H>, HeaderFault> {
        self.only(H::NAME, H::LIST)?.map(H::parse).transpose()
    }

    /// The only value of that name, if there is one; `list`: a row may hold several.
    fn only(&self, name: Name, list: bool) -> Result<Option<&'a [u8]>, HeaderFault> {
        let mut rows = self.rows(name);
        let Some(value) = rows.next() else { return Ok(None) };
        if rows.next().is_some() {
            return Err(HeaderFault::repeated(name));
        }
        if !list {
            return Ok(Some(value));
        }
        let mut elements = Elements::new(value);
        match (elements.next(), elements.next()) {
            (_, Some(_)) => Err(HeaderFault::repeated(name)),
            (only, None) => Ok(only),
        }
    }

    /// All values of a header, each read.
    pub fn list<H: Header<'a>>(&self) -> impl Iterator<Item = Result<H, HeaderFault>> {
        let mut rows = self.rows(H::NAME);
        let mut elements = Elements::new(b"");
        std::iter::from_fn(move || {
            if !H::LIST {
                return rows.next().map(H::parse);
            }
            loop {
                match elements.next() {
                    Some(element) => return Some(H::parse(element)),
                    None => elements = Elements::new(rows.next()?),
                }
            }
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
            body: self.index.body,
        }))
    }

    /// The octets of the first line and of all rows but those left out, in as few pieces as possible.
    pub(super) fn head_without(&self, left_out: impl Fn(Name) -> bool) -> impl Iterator<Item = &'a [u8]> {
        let rows = self.index.rows.as_slice();
        // A row goes up to where the next one starts; what follows the last one is the empty line, or lines that are no
        // headers, so it ends with its value.
        let ends = rows.iter().skip(1).map(|row| to_usize(row.at));
        let last_end = rows.last().map(|row| self.row_end(row));
        let mut from = 0_usize;
        let mut pieces = SmallVec::<[&'a [u8]; 8]>::new();
        for (row, end) in rows.iter().zip(ends.chain(last_end)) {
            if left_out(row.name) {
                pieces.push(self.octets.get(from..to_usize(row.at)).unwrap_or_default());
                from = end;
            }
        }
        pieces.push(self.octets.get(from..last_end.unwrap_or_default()).unwrap_or_default());
        pieces.into_iter()
    }

    /// Where the line end after a row's value is over.
    fn row_end(&self, row: &Row) -> usize {
        let value_end =
            to_usize(row.at).saturating_add(row.value.into()).saturating_add(row.value_length.into());
        let rest = self.octets.get(value_end..).unwrap_or_default();
        value_end.saturating_add(memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at.saturating_add(1)))
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
    body: u32,
}

impl Kept {
    /// The message again, without reading it again.
    pub fn message(&self) -> Message<'_> {
        let mut index = Index::new(self.0.line, self.0.body);
        self.0.rows.iter().for_each(|row| index.push(*row));
        Message { octets: &self.0.octets, index }
    }
}

/// Length of "SIP/2.0 200 ".
const STATUS_LINE: usize = 12;

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

/// Never loses anything: a message is smaller than 4 GiB.
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
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
