//! Indexing: one pass over the octets, nothing copied. It reads on past faults, so that a refusal can be built.

use super::{Index, Line, MAX_MESSAGE, MAX_ROW, MAX_ROWS, MAX_URI, MAX_VIA, Message, Row};
use crate::sip::fault::Fault;
use crate::sip::header::lex::{Elements, is_token_text, number, trim_end, trim_start};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// Indexes everything that can be indexed; the first fault goes to `fault`. `None`: there is no message.
#[inline]
pub(super) fn read<'a>(octets: &'a [u8], fault: &mut Option<Fault>) -> Option<Message<'a>> {
    if octets.len() > MAX_MESSAGE {
        *fault = Some(Fault::TooLarge);
    }
    let octets = octets.get(..octets.len().min(MAX_MESSAGE))?;
    // RFC 3261 7.5: empty lines before the message are passed over.
    let blank = octets.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
    let octets = octets.get(blank..)?;
    let line_end = memchr::memchr(b'\n', octets)?;
    let first = octets.get(..line_end)?;
    let first = first.strip_suffix(b"\r").unwrap_or(first);
    let line = read_start(first, fault)?;
    if memchr::memchr(b'\r', first).is_some() {
        fault.get_or_insert(Fault::BareCr);
    }
    // RFC 3261 7.3.1: only header rows fold.
    if matches!(octets.get(line_end.checked_add(1)?), Some(b' ' | b'\t')) {
        fault.get_or_insert(Fault::RequestLine);
    }
    let mut message = Message { octets, index: Index::new(line, u32::try_from(octets.len()).ok()?) };
    read_rows(&mut message, line_end.checked_add(1)?, fault);
    Some(message)
}

fn read_start(line: &[u8], fault: &mut Option<Fault>) -> Option<Line> {
    match line.strip_prefix(b"SIP/2.0 ") {
        Some(rest) => {
            let line = read_status(rest);
            if line.is_none() {
                *fault = Some(Fault::StatusLine);
            }
            line
        }
        None => read_request(line, fault),
    }
}

/// RFC 3261 7.2: three digits, a space, any text.
fn read_status(rest: &[u8]) -> Option<Line> {
    let (status, reason) = rest.split_at_checked(3)?;
    let status = number(status).filter(|status| (100..700).contains(status))?;
    // RFC 4475 3.1.1.13: the reason may be empty; a liberal reader does without the space before it, too.
    if !matches!(reason.first(), None | Some(b' ')) {
        return None;
    }
    Some(Line::Response { status, reason_length: u16::try_from(reason.len().saturating_sub(1)).ok()? })
}

/// RFC 3261 7.1: single spaces, and none within the URI. A line that breaks this still tells its method.
fn read_request(line: &[u8], fault: &mut Option<Fault>) -> Option<Line> {
    let (method_text, rest) = split_at_space(line)?;
    if !is_token_text(method_text) {
        return None;
    }
    let (uri, version) = split_at_space(rest).unwrap_or((rest, b""));
    if uri.len() > MAX_URI {
        fault.get_or_insert(Fault::UriTooLong);
    } else if uri.is_empty() || !version.get(..4).is_some_and(|sip| sip.eq_ignore_ascii_case(b"SIP/")) {
        fault.get_or_insert(Fault::RequestLine);
    } else if version.get(4..) != Some(b"2.0") {
        let is_version = version.iter().all(u8::is_ascii_graphic);
        fault.get_or_insert(if is_version { Fault::Version } else { Fault::RequestLine });
    }
    Some(Line::Request {
        method: Method::of(method_text),
        method_length: u16::try_from(method_text.len()).ok()?,
        uri_length: u16::try_from(uri.len()).unwrap_or(u16::MAX),
    })
}

fn split_at_space(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = text.split_at_checked(memchr::memchr(b' ', text)?)?;
    Some((before, rest.get(1..)?))
}

/// Indexes the rows that start at `at`, up to the empty line.
fn read_rows(message: &mut Message<'_>, mut at: usize, fault: &mut Option<Fault>) {
    let mut vias = 0_usize;
    while let Some(rest) = message.octets.get(at..) {
        let empty_line = match rest {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => 0,
        };
        if empty_line > 0 {
            message.index.body = u32::try_from(at.saturating_add(empty_line)).unwrap_or(u32::MAX);
            return;
        }
        let Some((end, length)) = row_end(rest, fault) else { break };
        if length > MAX_ROW {
            fault.get_or_insert(Fault::RowTooLong);
        } else if let Some(row) = read_row(rest, end, at) {
            if message.index.rows.len() == MAX_ROWS {
                fault.get_or_insert(Fault::TooManyRows);
                return;
            }
            message.index.push(row);
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

/// Where the row that `rest` starts with ends, without its line end and with it. Lines may be folded into it (RFC 3261
/// 7.3.1).
fn row_end(rest: &[u8], fault: &mut Option<Fault>) -> Option<(usize, usize)> {
    let mut at = 0_usize;
    loop {
        let end = at.checked_add(memchr::memchr2(b'\r', b'\n', rest.get(at..)?)?)?;
        at = match rest.get(end..)? {
            // As nearly always: a line end, and no fold after it.
            [b'\r', b'\n', next, ..] if !matches!(next, b' ' | b'\t') => {
                return Some((end, end.checked_add(2)?));
            }
            [b'\r', b'\n', ..] => end.checked_add(2)?,
            // A line end without CR is read as one: nobody means anything else by it.
            [b'\n', ..] => end.checked_add(1)?,
            // A CR alone would end the line for others: two readings of one message are an attack.
            _ => {
                fault.get_or_insert(Fault::BareCr);
                at = end.checked_add(1)?;
                continue;
            }
        };
        if !matches!(rest.get(at), Some(b' ' | b'\t')) {
            return Some((end, at));
        }
    }
}

/// The row that `rest` starts with and that ends at `end`; `None` for a line that is no header: RFC 3261 8.2.2 has malformed
/// headers ignored that nothing needs.
fn read_row(rest: &[u8], end: usize, at: usize) -> Option<Row> {
    let row = rest.get(..end)?;
    let (name, name_length, colon) = match Name::at_start(rest) {
        Some((name, length)) => (name, length, length),
        None => read_name(row)?,
    };
    let value = trim_start(row.get(colon.checked_add(1)?..)?);
    Some(Row {
        at: u32::try_from(at).ok()?,
        name_length: u16::try_from(name_length).ok()?,
        value: u16::try_from(row.len().checked_sub(value.len())?).ok()?,
        value_length: u16::try_from(trim_end(value).len()).ok()?,
        name,
        repeated: false,
    })
}

/// Any name: what it is, its length, and where the colon is.
fn read_name(row: &[u8]) -> Option<(Name, usize, usize)> {
    let colon = memchr::memchr(b':', row)?;
    let mut text = row.get(..colon)?;
    // RFC 3261 25.1, HCOLON: white space may stand before the colon, and LWS after it.
    while let [before @ .., b' ' | b'\t'] = text {
        text = before;
    }
    let name = Name::of(text);
    (name != Name::Other || is_token_text(text)).then_some((name, text.len(), colon))
}
