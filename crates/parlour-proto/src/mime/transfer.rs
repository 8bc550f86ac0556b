//! Content-Transfer-Encoding (RFC 2045 6): MSRP carries octets as they are, gateways from mail and SIP do not.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::parameter::hex;

/// How octets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Coding {
    /// As they are: `7bit`, `8bit`, `binary`.
    #[default]
    Identity,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
}

impl Coding {
    /// What the value of a Content-Transfer-Encoding says; `None` if nobody knows it.
    pub fn of(value: Option<&[u8]>) -> Option<Coding> {
        let value = value.unwrap_or_default().trim_ascii().to_ascii_lowercase();
        match value.as_slice() {
            b"" | b"7bit" | b"8bit" | b"binary" | b"identity" => Some(Coding::Identity),
            b"base64" => Some(Coding::Base64),
            b"quoted-printable" => Some(Coding::QuotedPrintable),
            _ => None,
        }
    }

    /// The octets that were written so; never more of them than were read.
    pub fn decode(self, octets: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Coding::Identity => Cow::Borrowed(octets),
            Coding::Base64 => Cow::Owned(base64(octets)),
            Coding::QuotedPrintable => Cow::Owned(quoted_printable(octets)),
        }
    }
}

// RFC 2045 6.8: what is not of the alphabet is passed over, and `=` ends the data.
fn base64(octets: &[u8]) -> Vec<u8> {
    let of_alphabet = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    let mut digits: Vec<u8> =
        octets.iter().copied().take_while(|octet| *octet != b'=').filter(of_alphabet).collect();
    // One digit more than whole groups is less than an octet.
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config).decode(digits).unwrap_or_default()
}

// RFC 2045 6.7: space at the end of a line was added on the way; an `=` that writes nothing stays.
fn quoted_printable(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let (text, end) = match line.strip_suffix(b"\n") {
            Some(text) => match text.strip_suffix(b"\r") {
                Some(text) => (text, b"\r\n".as_slice()),
                None => (text, b"\n".as_slice()),
            },
            None => (line, b"".as_slice()),
        };
        let text = text.trim_ascii_end();
        // A soft break; at the end of everything it breaks nothing.
        let (mut rest, end) = text.strip_suffix(b"=").map_or((text, end), |text| (text, b"".as_slice()));
        while let Some((first, after)) = rest.split_first() {
            let code = after.get(..2).filter(|_| *first == b'=').and_then(hex);
            out.push(code.unwrap_or(*first));
            rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
        }
        out.extend_from_slice(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(coding: Coding, octets: &str) -> String {
        String::from_utf8_lossy(&coding.decode(octets.as_bytes())).into_owned()
    }

    #[test]
    fn names_have_no_case_and_unknown_ones_are_told() {
        assert_eq!(Coding::of(None), Some(Coding::Identity));
        assert_eq!(Coding::of(Some(b" Base64 ")), Some(Coding::Base64));
        assert_eq!(Coding::of(Some(b"Quoted-Printable")), Some(Coding::QuotedPrintable));
        assert_eq!(Coding::of(Some(b"x-uuencode")), None);
    }

    #[test]
    fn base64_survives_lines_and_what_is_lost_of_it() {
        for (octets, expected) in [
            ("aGVs\r\nbG8=", "hello"),
            ("aGVsbG8", "hello"),
            ("a G-V s b G 8 = = aGVs", "hello"),
            ("aGVsbG9v", "helloo"),
            ("aGVsb", "hel"),
            ("====", ""),
            ("", ""),
        ] {
            assert_eq!(text(Coding::Base64, octets), expected, "{octets}");
        }
    }

    #[test]
    fn quoted_printable_breaks_lines_softly() {
        for (octets, expected) in [
            ("caf=C3=A9 =3d=\r\n done  \r\nnext\n", "caf\u{e9} = done\r\nnext\n"),
            ("50=25 =", "50% "),
            ("a=b=\ta=4", "a=b=\ta=4"),
            ("=+1", "=+1"),
        ] {
            assert_eq!(text(Coding::QuotedPrintable, octets), expected, "{octets}");
        }
    }
}
