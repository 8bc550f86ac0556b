//! Hostile text made harmless: all that comes from a peer passes here before it reaches a screen or a log.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

//= IM X-3
//= IM X-15
/// Text in one line that harms no terminal, no log and no reader's eye: control characters and line ends become
/// escapes such as `\n` and `\u{1b}`, and so does what turns the direction of writing, has no width or is no
/// character at all, such as `\u{202e}`.
pub fn neutral(text: &str) -> String {
    if text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut out, c));
    out
}

/// As [`neutral`], for octets that may not be UTF-8.
pub fn neutral_bytes(octets: &[u8]) -> String {
    neutral(&String::from_utf8_lossy(octets))
}

/// As [`neutral`], of at most the first `limit` characters of `text`; an ellipsis says that there were more.
pub fn neutral_within(text: &str, limit: usize) -> String {
    // No text has more characters than octets.
    let cut = if text.len() > limit { text.char_indices().nth(limit) } else { None };
    match cut {
        None => neutral(text),
        Some((end, _)) => neutral(text.get(..end).unwrap_or_default()) + "…",
    }
}

/// As [`neutral`], but line ends become `\n` and tabs stay: for the text of a message.
pub fn neutral_lines(text: &str) -> String {
    if text.bytes().all(|octet| is_plain(octet) || octet == b'\n') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' | '\t' => out.push(c),
            '\u{2028}' | '\u{2029}' => out.push('\n'),
            // A joiner between two emoji or two letters of scripts that need it is honest in running text.
            '\u{200c}' | '\u{200d}' if !out.is_empty() => out.push(c),
            _ => push(&mut out, c),
        }
    }
    out
}

/// An IP address as text, as its `Display` has it. Each call writes several, and this takes a fifth of the time.
pub(crate) fn address(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let digit = |value: u8| char::from(b'0'.saturating_add(value));
    let mut text = String::with_capacity(15);
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        if octet >= 100 {
            text.push(digit(octet / 100));
        }
        if octet >= 10 {
            text.push(digit(octet / 10 % 10));
        }
        text.push(digit(octet % 10));
    }
    text
}

//= IM X-3
/// Whether a display name could be taken for an address: it has an `@`, starts with a URI scheme of ours, or looks
/// like a telephone number.
pub fn looks_like_address(display_name: &str) -> bool {
    // Full-width letters and characters without width are the usual ways around such a test.
    let plain: Cow<'_, str> = if display_name.is_ascii() {
        display_name.into()
    } else {
        display_name.chars().filter(|&c| !is_hidden(c)).map(narrow).collect()
    };
    let plain = plain.trim();
    let has_scheme = ["sip:", "sips:", "tel:", "im:", "mailto:", "xmpp:"]
        .iter()
        .any(|scheme| plain.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    plain.contains('@') || has_scheme || is_number(plain)
}

//= IM X-3
/// How a peer is shown: the name never stands without the address, and what nobody vouches for says so, as in
/// `"bob@bank" <sip:evil@x> (unverified; the name looks like an address)`.
pub fn shown(display_name: Option<&str>, address: &str, verified: bool) -> String {
    let address = neutral_within(address, 200);
    let name = display_name.map(str::trim).filter(|name| !name.is_empty());
    let mut out = match name {
        // A quotation mark in the name must not end it.
        Some(name) => ["\"", &neutral_within(name, 64).replace('"', "'"), "\" <", &address, ">"].concat(),
        None => address,
    };
    let disguised = name.is_some_and(looks_like_address);
    out.push_str(match (verified, disguised) {
        (true, false) => "",
        (true, true) => " (the name looks like an address)",
        (false, false) => " (unverified)",
        (false, true) => " (unverified; the name looks like an address)",
    });
    out
}

fn push(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ if c.is_control() || is_hidden(c) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        _ => out.push(c),
    }
}

/// Whether it harms nobody: most text is of these alone.
const fn is_plain(octet: u8) -> bool {
    matches!(octet, b' '..=b'~')
}

/// Whether a character that is no control character shows nothing, or changes how others are shown.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        // Soft hyphen, combining grapheme joiner, Arabic letter mark, Hangul fillers, Khmer and Mongolian invisibles.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        // Zero width and marks, line and paragraph separator, embeddings and overrides.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        // Word joiner, invisible operators, isolates.
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        // Musical format characters, language tags and other default-ignorables, private planes.
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// The ASCII character that a full-width one imitates.
fn narrow(c: char) -> char {
    match u32::from(c) {
        code @ 0xff01..=0xff5e => char::from_u32(code.saturating_sub(0xfee0)).unwrap_or(c),
        _ => c,
    }
}

/// Digits, at least three, with nothing but a plus sign and the usual separators between them.
fn is_number(text: &str) -> bool {
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    digits >= 3 && text.chars().all(|c| c.is_numeric() || c.is_whitespace() || "+-.()/*#".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    //= IM X-15 test
    #[test]
    fn addresses_are_written_as_their_display_has_them() {
        for text in ["0.0.0.0", "255.255.255.255", "10.100.9.90", "1.20.105.250", "::1", "::ffff:192.0.2.1"] {
            let parsed: IpAddr = text.parse().expect("invariant: an address");
            assert_eq!(address(parsed), parsed.to_string());
        }
    }

    #[test]
    fn no_line_of_a_log_can_be_forged() {
        assert_eq!(neutral("ok\r\nERROR forged"), r"ok\r\nERROR forged");
        assert_eq!(neutral("\u{1b}[2J\u{7}\u{9b}1m\0"), r"\u{1b}[2J\u{7}\u{9b}1m\u{0}");
        assert_eq!(neutral("a\u{2028}b\u{85}c"), r"a\u{2028}b\u{85}c");
        assert_eq!(neutral_bytes(b"caf\xe9\n"), "caf\u{fffd}\\n");
    }

    //= IM X-3 test
    #[test]
    fn direction_and_invisible_characters_are_shown() {
        assert_eq!(neutral("gpj.\u{202e}exe"), r"gpj.\u{202e}exe");
        assert_eq!(neutral("b\u{200b}ob\u{feff}\u{2066}"), r"b\u{200b}ob\u{feff}\u{2066}");
        assert_eq!(neutral("Zoë 山田 😀 שלום"), "Zoë 山田 😀 שלום");
    }

    #[test]
    fn lengths_count_characters() {
        assert_eq!(neutral_within("äöü", 3), "äöü");
        assert_eq!(neutral_within("äöü!", 3), "äöü…");
        assert_eq!(neutral_within("x", 0), "…");
        assert_eq!(neutral_within("", 0), "");
    }

    #[test]
    fn a_message_keeps_its_lines() {
        assert_eq!(neutral_lines("a\r\nb\n\tc\rd\u{1b}"), "a\nb\n\tc\\rd\\u{1b}");
        assert_eq!(neutral_lines("👩\u{200d}🚀 \u{202e}"), "👩\u{200d}🚀 \\u{202e}");
    }

    //= IM X-3 test
    #[test]
    fn names_that_pose_as_addresses_are_flagged() {
        for name in [
            "bob@bank",
            "sip:bob",
            " SIPS:bob",
            "tel:123",
            "+49 (30) 123-456",
            "110",
            "bob＠bank",
            "s\u{200b}ip:bob",
        ] {
            assert!(looks_like_address(name), "{name}");
        }
        for name in ["Bob", "Bob 2", "R2", "Simple: a story", "Agent 007", ""] {
            assert!(!looks_like_address(name), "{name}");
        }
    }

    //= IM X-3 test
    #[test]
    fn a_name_never_replaces_the_address() {
        let peer = shown(Some("bob@bank"), "sip:evil@x", false);
        assert_eq!(peer, "\"bob@bank\" <sip:evil@x> (unverified; the name looks like an address)");
        assert_eq!(shown(Some("Bob"), "sip:bob@x", true), "\"Bob\" <sip:bob@x>");
        assert_eq!(shown(Some(" "), "sip:bob@x", false), "sip:bob@x (unverified)");
        assert_eq!(
            shown(Some("Bob\" <sip:bank@x>"), "sip:evil@x\n", false),
            "\"Bob' <sip:bank@x>\" <sip:evil@x\\n> (unverified; the name looks like an address)"
        );
    }

    /// Text of any characters, control characters too.
    fn any_text() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof![any::<char>(), proptest::char::range('\0', '\u{7f}')], 0..40)
            .prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn what_is_neutral_stays_so(text in any_text(), limit in 0..40_usize) {
            let once = neutral(&text);
            prop_assert!(!once.chars().any(|c| c.is_control() || is_hidden(c)));
            prop_assert_eq!(neutral(&once), once);
            let cut = neutral_within(&text, limit);
            prop_assert!(!cut.chars().any(|c| c.is_control() || is_hidden(c)));
            let _ = shown(Some(&text), &text, false);
        }
    }
}
