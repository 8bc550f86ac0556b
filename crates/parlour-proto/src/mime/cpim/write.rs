//! Making `message/cpim`.

use std::fmt::Write as _;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Mailbox;

//= IM M-30
//= IM M-32
/// The octets that go in front of a body: CPIM headers, blank line, MIME header, blank line. `unix` is the time since
/// 1970-01-01T00:00:00Z; `content_type` is the body's.
pub fn head(from: &Mailbox, to: &Mailbox, unix: Duration, content_type: &str) -> Vec<u8> {
    head_with(from, to, unix, content_type, &Rows::default())
}

/// Headers besides the usual ones, names and values.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Of the message, in order; a namespace is declared before it is used.
    pub message: Vec<(&'static str, String)>,
    /// Of its body.
    pub body: Vec<(&'static str, String)>,
    /// Whether the time is left out.
    pub undated: bool,
}

/// As [`head`], with more headers.
pub fn head_with(from: &Mailbox, to: &Mailbox, unix: Duration, content_type: &str, rows: &Rows) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    mailbox(&mut out, "From", from);
    mailbox(&mut out, "To", to);
    if let Some(date) = date_time(unix).filter(|_| !rows.undated) {
        // Writing to a String cannot fail.
        let _ = write!(out, "DateTime: {date}\r\n");
    }
    rows.message.iter().for_each(|(name, value)| row(&mut out, name, value));
    out.push_str("\r\n");
    row(&mut out, "Content-Type", content_type);
    rows.body.iter().for_each(|(name, value)| row(&mut out, name, value));
    out.push_str("\r\n");
    out.into_bytes()
}

/// A header whose value is not escaped; it ends no line.
fn row(out: &mut String, name: &str, value: &str) {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    // Writing to a String cannot fail.
    let _ = write!(out, "{name}: {value}\r\n");
}

fn mailbox(out: &mut String, header: &str, mailbox: &Mailbox) {
    out.push_str(header);
    out.push_str(": ");
    // RFC 3862 3.6: a quoted string takes every name.
    if let Some(name) = mailbox.name.as_deref().filter(|name| !name.is_empty()) {
        out.push('"');
        name.chars().for_each(|c| escape(out, c));
        out.push_str("\" ");
    }
    out.push('<');
    // A URI has none of these; a hostile one must not end the header.
    out.extend(
        mailbox.uri.chars().filter(|&c| !c.is_control() && !matches!(c, '<' | '>' | ' ' | '\\' | '"')),
    );
    out.push_str(">\r\n");
}

// RFC 3862 2.3.1: only these are escaped.
fn escape(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '"' => out.push_str("\\\""),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\0'..='\u{1f}' | '\u{7f}' => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        _ => out.push(c),
    }
}

/// RFC 3339 in whole seconds, which every peer reads; `None` after the year 9999.
fn date_time(unix: Duration) -> Option<String> {
    let date = OffsetDateTime::from_unix_timestamp(i64::try_from(unix.as_secs()).ok()?).ok()?;
    date.format(&Rfc3339).ok()
}
