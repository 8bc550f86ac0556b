//! Texts in the character sets that peers write (RFC 2046 4.1.2).

use std::borrow::Cow;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, X_USER_DEFINED};

/// The octets of a text, where `charset` is the parameter of its Content-Type; `None` if nobody knows that charset, so
/// that showing the octets would show something else than was written. What is malformed becomes U+FFFD.
//= IM X-25
pub fn decode<'a>(octets: &'a [u8], charset: Option<&str>) -> Option<Cow<'a, str>> {
    let charset = charset.unwrap_or_default().trim();
    // RFC 2046 4.1.2 says US-ASCII where nothing is said; what writes nothing writes UTF-8.
    let encoding = if charset.is_empty() || is_ascii(charset) {
        UTF_8
    } else if charset.eq_ignore_ascii_case("utf-16") {
        // RFC 2781 4.3: without a byte order mark it is big-endian.
        UTF_16BE
    } else {
        let known = Encoding::for_label_no_replacement(charset.as_bytes())?;
        Some(known).filter(|known| *known != X_USER_DEFINED && *known != REPLACEMENT)?
    };
    Some(encoding.decode(octets).0)
}

fn is_ascii(charset: &str) -> bool {
    ["us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_write_is_read() {
        for (octets, charset, expected) in [
            (b"caf\xc3\xa9".as_slice(), None, "caf\u{e9}"),
            (b"caf\xc3\xa9", Some("UTF-8"), "caf\u{e9}"),
            (b"caf\xc3\xa9", Some("us-ascii"), "caf\u{e9}"),
            (b"caf\xe9", Some("US-ASCII"), "caf\u{fffd}"),
            (b"caf\xe9", Some("ISO-8859-1"), "caf\u{e9}"),
            (b"\xa4 5", Some("iso-8859-15"), "\u{20ac} 5"),
            (b"\x80 5 \x93x\x94", Some("windows-1252"), "\u{20ac} 5 \u{201c}x\u{201d}"),
            (b"\x00h\x00i", Some("utf-16"), "hi"),
            (b"\xff\xfeh\x00i\x00", Some("UTF-16"), "hi"),
            (b"h\x00i\x00", Some("utf-16le"), "hi"),
            (b"\xef\xbb\xbfhi", None, "hi"),
            (b"\x82\xa0", Some("Shift_JIS"), "\u{3042}"),
        ] {
            assert_eq!(decode(octets, charset).as_deref(), Some(expected), "{charset:?}");
        }
    }

    //= IM X-25 test
    #[test]
    fn x_25_absurd_charsets_are_not_shown_as_something_else() {
        let long = "x".repeat(10_000);
        for charset in ["x-unknown", "utf-7", "hz-gb-2312", "x-user-defined", "replacement", "\0", &long] {
            assert_eq!(decode(b"+ADw-script+AD4-", Some(charset)), None, "{charset}");
        }
    }
}
