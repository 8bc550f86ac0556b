//! The header section of one frame, read in place (RFC 4975 9).

use std::fmt;

use memchr::memchr;

use crate::io::FailureReport;
use crate::line::{Lines, all};

/// A transaction identifier: 4 to 32 characters of RFC 4975's `ident`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid {
    length: u8,
    /// With letters behind the identifier.
    octets: [u8; Tid::MAX],
}

impl Tid {
    /// The longest identifier, in octets.
    pub const MAX: usize = 32;

    /// Reads one; `None` if it is no `ident`: a letter or digit, then 3 to 31 of a few more (RFC 4975 9).
    pub fn parse(octets: &[u8]) -> Option<Tid> {
        let mut tid = Tid { length: u8::try_from(octets.len()).ok()?, octets: [b'x'; Tid::MAX] };
        tid.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        let belongs =
            |octet: &u8| octet.is_ascii_alphanumeric() | matches!(octet, b'.' | b'-' | b'+' | b'%' | b'=');
        // All that there is room for is looked at at once, as fast as one of them.
        let good =
            octets.len() >= 4 && tid.octets.first()?.is_ascii_alphanumeric() && all(&tid.octets, belongs);
        good.then_some(tid)
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
        ByteRange::of(value.as_bytes())
    }

    /// The same of octets.
    pub(crate) fn of(value: &[u8]) -> Result<ByteRange, HeadFault> {
        let (start, rest) = range_number(value)?;
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
    pub(crate) lines: &'a [u8],
    /// Octets of the start line, the header lines, and the blank line, or the end-line if there is no body.
    pub(crate) length: usize,
    /// The flag of the end-line if there is no body.
    pub(crate) flag: Option<Flag>,
}

impl<'a> Head<'a> {
    /// The values of any header, in order: of those that have no field here. What is no UTF-8 is passed over.
    pub fn rows(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let (octets, mut lines) = (self.lines, Lines::default());
        std::iter::from_fn(move || lines.next(octets)).filter_map(move |line| {
            let (found, value) = line.split_at_checked(memchr(b':', line)?)?;
            let value = value.strip_prefix(b":")?.trim_ascii();
            found.eq_ignore_ascii_case(name.as_bytes()).then_some(str::from_utf8(value).ok()?)
        })
    }
}

/// A number of a Byte-Range, `None` for `*`, and what follows it.
fn range_number(text: &[u8]) -> Result<(Option<u64>, &[u8]), HeadFault> {
    if let Some(rest) = text.strip_prefix(b"*") {
        return Ok((None, rest));
    }
    let [b'0'..=b'9', ..] = text else { return Err(HeadFault::ByteRange) };
    let (mut number, mut rest) = (0_u64, text);
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        let sum = number.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit - b'0')));
        number = sum.ok_or(HeadFault::ByteRange)?;
        rest = tail;
    }
    Ok((Some(number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

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
