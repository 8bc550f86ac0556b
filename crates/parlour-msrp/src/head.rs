//! The header section of one frame, read in place (RFC 4975 9).

use std::fmt;

use memchr::memchr;

use crate::io::FailureReport;

/// A transaction identifier: 4 to 32 characters of RFC 4975's `ident`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid {
    length: u8,
    octets: [u8; Tid::MAX],
}

impl Tid {
    /// The longest identifier, in octets.
    pub const MAX: usize = 32;

    /// Reads one; `None` if it is no `ident`.
    pub fn parse(octets: &[u8]) -> Option<Tid> {
        if !is_ident(octets) {
            return None;
        }
        let mut tid = Tid { length: u8::try_from(octets.len()).ok()?, octets: [0; Tid::MAX] };
        tid.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(tid)
    }

    /// Its characters.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// What the end-line says of the message (RFC 4975 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flag {
    /// `$`: this chunk holds the message's last octet.
    Last,
    /// `+`: more chunks follow.
    More,
    /// `#`: the message is given up.
    Abort,
}

impl Flag {
    /// The flag that an octet stands for.
    pub fn of(octet: u8) -> Option<Flag> {
        match octet {
            b'$' => Some(Flag::Last),
            b'+' => Some(Flag::More),
            b'#' => Some(Flag::Abort),
            _ => None,
        }
    }

    /// The octet that stands for it.
    pub const fn octet(self) -> u8 {
        match self {
            Flag::Last => b'$',
            Flag::More => b'+',
            Flag::Abort => b'#',
        }
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start<'a> {
    /// A SEND request.
    Send,
    /// A REPORT request.
    Report,
    /// A request with another method.
    Other(&'a str),
    /// A response.
    Response {
        /// Its status code.
        status: u16,
        /// What stands behind the code; may be empty.
        comment: &'a str,
    },
}

/// The Byte-Range header: which octets of the message the frame holds, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of the first octet.
    pub start: u64,
    /// Position of the last octet, if it was known when the frame was begun.
    pub end: Option<u64>,
    /// Octets of the whole message, if known.
    pub total: Option<u64>,
}

impl ByteRange {
    /// Reads a value such as `1-*/300`.
    ///
    /// # Errors
    /// If it is malformed, or if its numbers contradict each other.
    //= IM X-20
    pub fn parse(value: &str) -> Result<ByteRange, HeadFault> {
        let (start, rest) = range_number(value.as_bytes())?;
        let (end, rest) = range_number(rest.strip_prefix(b"-").ok_or(HeadFault::ByteRange)?)?;
        let (total, rest) = range_number(rest.strip_prefix(b"/").ok_or(HeadFault::ByteRange)?)?;
        let start = start.filter(|start| *start >= 1 && rest.is_empty()).ok_or(HeadFault::ByteRange)?;
        // An empty range ends before it starts: `1-0/0`.
        let before = start.saturating_sub(1);
        let low = end.unwrap_or(before);
        if low < before || total.is_some_and(|total| low > total) {
            return Err(HeadFault::ByteRange);
        }
        Ok(ByteRange { start, end, total })
    }
}

/// The Status header of a REPORT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// `000` for the codes of RFC 4975.
    pub namespace: u16,
    /// The status code.
    pub code: u16,
    /// What follows it.
    pub comment: &'a str,
}

/// What is wrong with a header section whose frame can nevertheless be told from the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HeadFault {
    /// The start line is neither a request's nor a response's.
    #[error("the start line names neither a method nor a status code")]
    StartLine,
    /// A line without a colon, or with octets that no header has.
    #[error("a header line is malformed")]
    Line,
    /// No To-Path.
    #[error("there is no To-Path")]
    ToPath,
    /// No From-Path.
    #[error("there is no From-Path")]
    FromPath,
    /// The Message-ID is empty, too long or has a character that may not stand there.
    #[error("the Message-ID is malformed")]
    MessageId,
    /// The Byte-Range is malformed, or its numbers contradict each other.
    #[error("the Byte-Range is malformed or contradicts itself")]
    ByteRange,
    /// The Success-Report or Failure-Report has an unknown value.
    #[error("the Success-Report or Failure-Report has an unknown value")]
    Report,
    /// The Status is malformed.
    #[error("the Status is malformed")]
    Status,
    /// The Content-Type is no media type.
    #[error("the Content-Type is malformed")]
    ContentType,
}

/// The header section of one frame. Values are trimmed; of a repeated header the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The transaction identifier.
    pub tid: Tid,
    /// Request or response.
    pub start: Start<'a>,
    /// To-Path, empty if there is none.
    pub to_path: &'a str,
    /// From-Path, empty if there is none.
    pub from_path: &'a str,
    /// Message-ID.
    pub message_id: Option<&'a str>,
    /// Byte-Range.
    pub byte_range: Option<ByteRange>,
    /// Success-Report: yes.
    pub success_report: bool,
    /// Failure-Report.
    pub failure_report: FailureReport,
    /// Status.
    pub status: Option<Status<'a>>,
    /// Content-Type with its parameters.
    pub content_type: Option<&'a str>,
    /// Content-Disposition.
    pub content_disposition: Option<&'a str>,
    /// Whether a body follows, be it empty.
    pub has_body: bool,
    /// The first thing that is wrong with it.
    pub fault: Option<HeadFault>,
    /// The header lines.
    lines: &'a [u8],
    /// What the first Success-Report and the first Failure-Report say.
    reports: (Option<bool>, Option<FailureReport>),
}

impl<'a> Head<'a> {
    /// Reads the start line and the header lines: from where to where each goes in the section, with its CRLF.
    pub(crate) fn parse(
        tid: Tid,
        section: &'a [u8],
        mut lines: impl Iterator<Item = (usize, usize)>,
        has_body: bool,
    ) -> Head<'a> {
        // Once for all of them: it is cheaper than value by value.
        let whole = str::from_utf8(section).ok();
        let line = |(from, to): (usize, usize)| section.get(from..to.saturating_sub(2)).unwrap_or_default();
        let text = |(from, to): (usize, usize)| whole.and_then(|whole| whole.get(from..to.saturating_sub(2)));
        let first = lines.next().unwrap_or_default();
        let mut fault = None;
        let start = start_line(tid, line(first)).unwrap_or_else(|| {
            fault = Some(HeadFault::StartLine);
            Start::Other("")
        });
        let mut head = Head {
            tid,
            start,
            to_path: "",
            from_path: "",
            message_id: None,
            byte_range: None,
            success_report: false,
            failure_report: FailureReport::Yes,
            status: None,
            content_type: None,
            content_disposition: None,
            has_body,
            fault,
            lines: &[],
            reports: (None, None),
        };
        let mut end = first.1;
        for place in lines {
            end = place.1;
            if let Err(fault) = head.read_line(line(place), text(place)) {
                head.fault.get_or_insert(fault);
            }
        }
        head.lines = section.get(first.1..end).unwrap_or_default();
        if head.to_path.is_empty() {
            head.fault.get_or_insert(HeadFault::ToPath);
        }
        if head.from_path.is_empty() {
            head.fault.get_or_insert(HeadFault::FromPath);
        }
        head
    }

    /// The values of any header, in order: of those that have no field here. What is no UTF-8 is passed over.
    pub fn rows(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let mut rest = self.lines;
        std::iter::from_fn(move || {
            let (line, tail) = split_line(rest);
            let more = !rest.is_empty();
            rest = tail;
            more.then_some(line)
        })
        .filter_map(move |line| {
            let (found, value) = line.split_at_checked(memchr(b':', line)?)?;
            let value = value.strip_prefix(b":")?.trim_ascii();
            found.eq_ignore_ascii_case(name.as_bytes()).then_some(str::from_utf8(value).ok()?)
        })
    }

    /// Reads a header line; `text` is the same line if all of the section is UTF-8.
    fn read_line(&mut self, line: &'a [u8], whole: Option<&'a str>) -> Result<(), HeadFault> {
        let Some((field, length)) = Field::of(line) else {
            // Headers that we do not know pass, whatever they say.
            return if memchr(b':', line).is_some_and(|colon| colon > 0) {
                Ok(())
            } else {
                Err(HeadFault::Line)
            };
        };
        let (from, to) = trimmed(line, length);
        let value = line.get(from..to).unwrap_or_default();
        let text = |fault| match whole {
            Some(whole) => Ok(whole.get(from..to).unwrap_or_default()),
            None => str::from_utf8(value).map_err(|_| fault),
        };
        match field {
            Field::ToPath => keep_first(&mut self.to_path, text(HeadFault::ToPath)?),
            Field::FromPath => keep_first(&mut self.from_path, text(HeadFault::FromPath)?),
            Field::MessageId => {
                let good = (1..=MAX_MESSAGE_ID).contains(&value.len()) && all(value, u8::is_ascii_graphic);
                let value = text(HeadFault::MessageId)?;
                self.message_id.get_or_insert(Some(value).filter(|_| good).ok_or(HeadFault::MessageId)?);
            }
            Field::ByteRange => {
                let range = ByteRange::parse(text(HeadFault::ByteRange)?)?;
                self.byte_range.get_or_insert(range);
            }
            Field::SuccessReport => {
                let asked = match value {
                    _ if value.eq_ignore_ascii_case(b"yes") => true,
                    _ if value.eq_ignore_ascii_case(b"no") => false,
                    _ => return Err(HeadFault::Report),
                };
                self.success_report = *self.reports.0.get_or_insert(asked);
            }
            Field::FailureReport => {
                let asked = match value {
                    _ if value.eq_ignore_ascii_case(b"yes") => FailureReport::Yes,
                    _ if value.eq_ignore_ascii_case(b"partial") => FailureReport::Partial,
                    _ if value.eq_ignore_ascii_case(b"no") => FailureReport::No,
                    _ => return Err(HeadFault::Report),
                };
                self.failure_report = *self.reports.1.get_or_insert(asked);
            }
            Field::Status => {
                let status = status_value(text(HeadFault::Status)?).ok_or(HeadFault::Status)?;
                self.status.get_or_insert(status);
            }
            Field::ContentType => {
                let good = value.contains(&b'/') && all(value, |octet| !octet.is_ascii_control());
                let value = text(HeadFault::ContentType)?;
                self.content_type.get_or_insert(Some(value).filter(|_| good).ok_or(HeadFault::ContentType)?);
            }
            Field::ContentDisposition => {
                let value = text(HeadFault::Line)?;
                self.content_disposition.get_or_insert(value);
            }
        }
        Ok(())
    }
}

/// The headers that have a field in [`Head`].
#[derive(Clone, Copy)]
enum Field {
    ToPath,
    FromPath,
    MessageId,
    ByteRange,
    SuccessReport,
    FailureReport,
    Status,
    ContentType,
    ContentDisposition,
}

impl Field {
    /// The header that a line starts with, and the length of its name and colon.
    #[inline]
    fn of(line: &[u8]) -> Option<(Field, usize)> {
        fn named<const N: usize>(line: &[u8], name: &[u8; N], field: Field) -> Option<(Field, usize)> {
            let found = line.first_chunk::<N>()?;
            // Nearly all peers write it as the RFC does, and that is seen at once.
            (found == name || found.eq_ignore_ascii_case(name)).then_some((field, N))
        }
        // The first letters tell most of them apart.
        match line.first()?.to_ascii_lowercase() {
            b't' => named(line, b"To-Path:", Field::ToPath),
            b'f' => named(line, b"From-Path:", Field::FromPath)
                .or_else(|| named(line, b"Failure-Report:", Field::FailureReport)),
            b'm' => named(line, b"Message-ID:", Field::MessageId),
            b'b' => named(line, b"Byte-Range:", Field::ByteRange),
            b's' => named(line, b"Status:", Field::Status)
                .or_else(|| named(line, b"Success-Report:", Field::SuccessReport)),
            b'c' => named(line, b"Content-Type:", Field::ContentType)
                .or_else(|| named(line, b"Content-Disposition:", Field::ContentDisposition)),
            _ => None,
        }
    }
}

/// A number of a Byte-Range, `None` for `*`, and what follows it.
fn range_number(text: &[u8]) -> Result<(Option<u64>, &[u8]), HeadFault> {
    if let Some(rest) = text.strip_prefix(b"*") {
        return Ok((None, rest));
    }
    let (mut number, mut rest) = (None, text);
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        let before: u64 = number.unwrap_or(0);
        let sum = before.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit - b'0')));
        number = Some(sum.ok_or(HeadFault::ByteRange)?);
        rest = tail;
    }
    number.map(|number| (Some(number), rest)).ok_or(HeadFault::ByteRange)
}

/// The longest Message-ID that is taken: RFC 4975 allows 32 characters, and some peers write more.
const MAX_MESSAGE_ID: usize = 128;

/// Whether the octets are an `ident` of RFC 4975 9: a letter or digit, then 3 to 31 of a few more.
pub(crate) fn is_ident(octets: &[u8]) -> bool {
    let belongs = |octet: &u8| IDENT.get(usize::from(*octet)).copied().unwrap_or(false);
    (4..=Tid::MAX).contains(&octets.len())
        && octets.first().is_some_and(u8::is_ascii_alphanumeric)
        && all(octets, belongs)
}

const IDENT: [bool; 256] = {
    let (mut table, mut octet) = ([false; 256], 0_u8);
    loop {
        table[octet as usize] =
            octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'+' | b'%' | b'=');
        if octet == u8::MAX {
            break table;
        }
        octet += 1;
    }
};

/// The first line without its CRLF, and what follows it.
fn split_line(section: &[u8]) -> (&[u8], &[u8]) {
    let length = memchr(b'\n', section).map_or(section.len(), |at| at.saturating_add(1));
    let (line, rest) = section.split_at_checked(length).unwrap_or((section, &[]));
    (line.strip_suffix(b"\r\n").unwrap_or(line), rest)
}

/// `MSRP tid METHOD` or `MSRP tid 200 comment`; the caller has read what stands before the second space.
fn start_line(tid: Tid, line: &[u8]) -> Option<Start<'_>> {
    let rest = line.get(usize::from(tid.length).saturating_add("MSRP  ".len())..)?;
    let rest = str::from_utf8(rest).ok()?.trim_ascii_end();
    match rest {
        "SEND" => return Some(Start::Send),
        "REPORT" => return Some(Start::Report),
        _ => {}
    }
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        let (code, comment) = code(rest)?;
        return Some(Start::Response { status: code, comment });
    }
    (!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(Start::Other(rest))
}

/// `000 200 OK`.
fn status_value(value: &str) -> Option<Status<'_>> {
    let (namespace, rest) = code(value)?;
    let (code, comment) = code(rest)?;
    Some(Status { namespace, code, comment })
}

/// Three digits, and what stands after the space behind them.
fn code(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(3)?;
    let good =
        digits.bytes().all(|digit| digit.is_ascii_digit()) && (rest.is_empty() || rest.starts_with(' '));
    Some((digits.parse().ok().filter(|_| good)?, rest.trim_start()))
}

/// Whether all of the octets are as they should be: without a branch for each, since nearly all are.
fn all(octets: &[u8], good: impl Fn(&u8) -> bool) -> bool {
    octets.iter().fold(true, |all, octet| all & good(octet))
}

/// From where to where the value goes that begins at `from`, without the white space around it.
fn trimmed(line: &[u8], from: usize) -> (usize, usize) {
    let (mut from, mut to) = (from, line.len());
    while line.get(from).is_some_and(u8::is_ascii_whitespace) {
        from = from.saturating_add(1);
    }
    while to > from && line.get(to.saturating_sub(1)).is_some_and(u8::is_ascii_whitespace) {
        to = to.saturating_sub(1);
    }
    (from, to)
}

fn keep_first<'a>(slot: &mut &'a str, value: &'a str) {
    if slot.is_empty() {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(section: &str) -> Head<'_> {
        let tid = Tid::parse(b"a786hjs2").expect("an ident");
        let ends = section.match_indices('\n').map(|(at, _)| at + 1);
        let places = std::iter::once(0).chain(ends.clone()).zip(ends);
        Head::parse(tid, section.as_bytes(), places, false)
    }

    const PATHS: &str = "To-Path: msrp://b:2/y;tcp\r\nFrom-Path: msrp://a:1/x;tcp\r\n";

    #[test]
    fn names_and_values_compare_without_case() {
        let text = format!(
            "MSRP a786hjs2 SEND\r\n{PATHS}MESSAGE-ID: 87652491 \r\nbyte-range: 1-*/*\r\nSuccess-Report: YES\r\n\
             Failure-Report: Partial\r\nX-New: \u{fc}\r\nContent-Type: message/CPIM\r\n"
        );
        let head = head(&text);
        assert_eq!(head.fault, None);
        assert_eq!(head.start, Start::Send);
        assert_eq!(head.to_path, "msrp://b:2/y;tcp");
        assert_eq!(head.message_id, Some("87652491"));
        assert_eq!(head.byte_range, Some(ByteRange { start: 1, end: None, total: None }));
        assert_eq!((head.success_report, head.failure_report), (true, FailureReport::Partial));
        assert_eq!(head.content_type, Some("message/CPIM"));
    }

    #[test]
    fn of_a_repeated_header_the_first_counts() {
        let text = format!(
            "MSRP a786hjs2 SEND\r\n{PATHS}Success-Report: yes\r\nSuccess-Report: no\r\n\
             Failure-Report: no\r\nFailure-Report: yes\r\nMessage-ID: one\r\nMessage-ID: two\r\n"
        );
        let head = head(&text);
        assert_eq!((head.success_report, head.failure_report), (true, FailureReport::No));
        assert_eq!((head.message_id, head.fault), (Some("one"), None));
    }

    #[test]
    fn a_response_may_lack_its_comment() {
        for (line, comment) in [("200", ""), ("200 ", ""), ("200 OK so far", "OK so far")] {
            let text = format!("MSRP a786hjs2 {line}\r\n{PATHS}");
            assert_eq!(head(&text).start, Start::Response { status: 200, comment });
        }
    }

    #[test]
    fn faults_name_the_line() {
        for (lines, fault) in [
            (format!("MSRP a786hjs2 send\r\n{PATHS}"), HeadFault::StartLine),
            (format!("MSRP a786hjs2 20\r\n{PATHS}"), HeadFault::StartLine),
            (format!("MSRP a786hjs2 SEND\r\n{PATHS}nonsense\r\n"), HeadFault::Line),
            ("MSRP a786hjs2 SEND\r\nTo-Path: msrp://b:2/y;tcp\r\n".to_owned(), HeadFault::FromPath),
            ("MSRP a786hjs2 SEND\r\nFrom-Path: msrp://b:2/y;tcp\r\n".to_owned(), HeadFault::ToPath),
            (format!("MSRP a786hjs2 SEND\r\n{PATHS}Message-ID: a b\r\n"), HeadFault::MessageId),
            (format!("MSRP a786hjs2 SEND\r\n{PATHS}Failure-Report: maybe\r\n"), HeadFault::Report),
            (format!("MSRP a786hjs2 REPORT\r\n{PATHS}Status: 200 OK\r\n"), HeadFault::Status),
            (format!("MSRP a786hjs2 SEND\r\n{PATHS}Content-Type: text\r\n"), HeadFault::ContentType),
        ] {
            assert_eq!(head(&lines).fault, Some(fault), "{lines}");
        }
    }

    //= IM X-20 test
    #[test]
    fn byte_ranges_that_contradict_themselves_are_refused() {
        for good in ["1-0/0", "1-*/*", "5-8/8", "5-4/8", "18446744073709551615-*/*"] {
            assert!(ByteRange::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "0-0/0",
            "5-3/8",
            "1-9/8",
            "9-*/7",
            "*-1/1",
            "+1-2/2",
            "1-2",
            "1/2",
            "",
            "1-18446744073709551616/*",
        ] {
            assert_eq!(ByteRange::parse(bad), Err(HeadFault::ByteRange), "{bad}");
        }
    }

    #[test]
    fn idents_have_4_to_32_characters() {
        for (text, good) in
            [("abcd", true), ("abc", false), ("-bcd", false), ("a.-+%=", true), ("ab d", false)]
        {
            assert_eq!(Tid::parse(text.as_bytes()).is_some(), good, "{text}");
        }
        assert!(Tid::parse(&[b'a'; 32]).is_some() && Tid::parse(&[b'a'; 33]).is_none());
    }
}
