//! Reads the head of a frame in one walk over its lines (RFC 4975 9).

use std::ops::Range;

use crate::head::{ByteRange, Flag, Head, HeadFault, Start, Status, Tid};
use crate::io::FailureReport;
use crate::line::{Lines, all, find};

/// Reads the head that the octets start with; `None` if not all of it is here, or if it is none. Unless text is checked
/// value by value, all of the head has to be UTF-8: that is nearly always so, and cheaper.
#[inline(always)]
pub(crate) fn read(octets: &[u8], by_value: bool) -> Option<Head<'_>> {
    let mut lines = Lines::default();
    let (tid, method) = start_line(lines.next(octets)?)?;
    let first = lines.start;
    let mut fields = Fields::default();
    let (last, flag) = loop {
        let at = lines.start;
        let line = lines.next(octets)?;
        if let Some(flag) = ends(line, &tid) {
            break (at, flag);
        }
        if let Err(fault) = fields.take(line, at, by_value) {
            fields.fault.get_or_insert(fault);
        }
    };
    let whole = if by_value { "" } else { str::from_utf8(octets.get(..lines.start)?).ok()? };
    let text = |place: &Range<usize>| match by_value {
        true => str::from_utf8(octets.get(place.clone())?).ok(),
        false => whole.get(place.clone()),
    };
    let (start, mut fault) = match start(method) {
        Some(start) => (start, fields.fault),
        None => (Start::Other(""), Some(HeadFault::StartLine)),
    };
    let to_path = text(&fields.to_path).unwrap_or_default();
    let from_path = text(&fields.from_path).unwrap_or_default();
    if to_path.is_empty() {
        fault.get_or_insert(HeadFault::ToPath);
    }
    if from_path.is_empty() {
        fault.get_or_insert(HeadFault::FromPath);
    }
    Some(Head {
        tid,
        start,
        to_path,
        from_path,
        message_id: fields.message_id.as_ref().and_then(text),
        byte_range: fields.byte_range,
        success_report: fields.success_report.unwrap_or(false),
        failure_report: fields.failure_report.unwrap_or(FailureReport::Yes),
        status: fields.status,
        content_type: fields.content_type.as_ref().and_then(text),
        content_disposition: fields.content_disposition.as_ref().and_then(text),
        has_body: flag.is_none(),
        fault,
        lines: octets.get(first..last).unwrap_or_default(),
        length: lines.start,
        flag,
    })
}

/// The transaction identifier of a start line, and what stands behind it.
pub(crate) fn start_line(line: &[u8]) -> Option<(Tid, &[u8])> {
    if line.len() > MAX_START_LINE {
        return None;
    }
    let rest = line.strip_prefix(b"MSRP ")?;
    let (tid, method) = rest.split_at_checked(find::<b' '>(rest)?)?;
    Some((Tid::parse(tid)?, method.strip_prefix(b" ")?))
}

/// Whether a line behind the start line ends the head: a blank line, or an end-line with its flag.
#[inline]
pub(crate) fn ends(line: &[u8], tid: &Tid) -> Option<Option<Flag>> {
    // Most lines are neither.
    match line.first() {
        None => Some(None),
        Some(b'-') => match line.strip_prefix(b"-------")?.strip_prefix(tid.as_bytes())? {
            [flag] => Flag::of(*flag).map(Some),
            _ => None,
        },
        Some(_) => None,
    }
}

/// Start lines hold a method or a comment; longer ones are no MSRP.
pub(crate) const MAX_START_LINE: usize = 1024;

/// `SEND`, or `200 comment`: what stands behind the transaction identifier.
fn start(rest: &[u8]) -> Option<Start<'_>> {
    match rest.trim_ascii_end() {
        b"SEND" => Some(Start::Send),
        b"REPORT" => Some(Start::Report),
        rest if rest.first()?.is_ascii_digit() => {
            let (status, comment) = code(str::from_utf8(rest).ok()?)?;
            Some(Start::Response { status, comment })
        }
        rest if rest.iter().all(u8::is_ascii_uppercase) => Some(Start::Other(str::from_utf8(rest).ok()?)),
        _ => None,
    }
}

/// What the header lines say: where the values are that stay text, and what the others mean. Of a repeated header the first
/// counts.
#[derive(Default)]
struct Fields<'a> {
    to_path: Range<usize>,
    from_path: Range<usize>,
    message_id: Option<Range<usize>>,
    byte_range: Option<ByteRange>,
    success_report: Option<bool>,
    failure_report: Option<FailureReport>,
    status: Option<Status<'a>>,
    content_type: Option<Range<usize>>,
    content_disposition: Option<Range<usize>>,
    /// The first fault.
    fault: Option<HeadFault>,
}

impl<'a> Fields<'a> {
    /// Reads the header line that starts at `at`.
    fn take(&mut self, line: &'a [u8], at: usize, by_value: bool) -> Result<(), HeadFault> {
        let Some((field, length)) = Field::of(line) else {
            // Headers that we do not know pass, whatever they say.
            return if find::<b':'>(line).is_some_and(|colon| colon > 0) {
                Ok(())
            } else {
                Err(HeadFault::Line)
            };
        };
        let rest = line.get(length..).unwrap_or_default().trim_ascii_end();
        let value = rest.trim_ascii_start();
        let end = at.saturating_add(length).saturating_add(rest.len());
        let place = end.saturating_sub(value.len())..end;
        let text = |fault| if by_value && str::from_utf8(value).is_err() { Err(fault) } else { Ok(()) };
        match field {
            Field::ToPath => {
                text(HeadFault::ToPath)?;
                keep_first(&mut self.to_path, place);
            }
            Field::FromPath => {
                text(HeadFault::FromPath)?;
                keep_first(&mut self.from_path, place);
            }
            Field::MessageId => {
                if !is_message_id(value) {
                    return Err(HeadFault::MessageId);
                }
                self.message_id.get_or_insert(place);
            }
            Field::ByteRange => {
                let range = ByteRange::of(value)?;
                self.byte_range.get_or_insert(range);
            }
            Field::SuccessReport => {
                let asked = match value {
                    _ if value.eq_ignore_ascii_case(b"yes") => true,
                    _ if value.eq_ignore_ascii_case(b"no") => false,
                    _ => return Err(HeadFault::Report),
                };
                self.success_report.get_or_insert(asked);
            }
            Field::FailureReport => {
                let asked = match value {
                    _ if value.eq_ignore_ascii_case(b"yes") => FailureReport::Yes,
                    _ if value.eq_ignore_ascii_case(b"partial") => FailureReport::Partial,
                    _ if value.eq_ignore_ascii_case(b"no") => FailureReport::No,
                    _ => return Err(HeadFault::Report),
                };
                self.failure_report.get_or_insert(asked);
            }
            Field::Status => {
                let status = str::from_utf8(value).ok().and_then(status).ok_or(HeadFault::Status)?;
                self.status.get_or_insert(status);
            }
            Field::ContentType => {
                if !is_media_type(value) {
                    return Err(HeadFault::ContentType);
                }
                text(HeadFault::ContentType)?;
                self.content_type.get_or_insert(place);
            }
            Field::ContentDisposition => {
                text(HeadFault::Line)?;
                self.content_disposition.get_or_insert(place);
            }
        }
        Ok(())
    }
}

/// RFC 4975 allows 32 characters, and some peers write more.
#[inline(never)]
fn is_message_id(value: &[u8]) -> bool {
    (1..=128).contains(&value.len()) && all(value, u8::is_ascii_graphic)
}

#[inline(never)]
fn is_media_type(value: &[u8]) -> bool {
    let look = |(slash, good), octet: &u8| (slash | (*octet == b'/'), good & !octet.is_ascii_control());
    value.iter().fold((false, true), look) == (true, true)
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

/// `000 200 OK`.
fn status(value: &str) -> Option<Status<'_>> {
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

/// Some peers write a path that is empty before one that is not.
fn keep_first(slot: &mut Range<usize>, place: Range<usize>) {
    if Range::is_empty(slot) {
        *slot = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Head<'static> {
        read(format!("{lines}\r\n").leak().as_bytes(), true).expect("a whole head")
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
}
