//! RSeq and RAck: what makes provisional responses reliable (RFC 3262 7).

use super::lex::{Cursor, is_token, number, trim};
use super::{Header, HeaderFault};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// The number of a reliable provisional response: 1 to 2^32-1 (RFC 3262 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RSeq(pub u32);

/// Which provisional response a PRACK acknowledges (RFC 3262 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RAck {
    /// Its RSeq.
    pub response: u32,
    /// The number of its CSeq.
    pub cseq: u32,
    /// The method of its CSeq.
    pub method: Method,
}

impl<'a> Header<'a> for RSeq {
    const NAME: Name = Name::RSeq;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let positive = number(trim(value)).filter(|number| *number > 0);
        positive.map(RSeq).ok_or(HeaderFault::bad(Name::RSeq, "is no number in range"))
    }
}

impl<'a> Header<'a> for RAck {
    const NAME: Name = Name::RAck;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = |what| HeaderFault::bad(Name::RAck, what);
        let mut cursor = Cursor::new(trim(value));
        let mut spaced_number = |what| {
            let digits = cursor.take_while(|octet| octet.is_ascii_digit());
            let before = cursor.rest().len();
            cursor.lws();
            number(digits).filter(|_| cursor.rest().len() < before).ok_or(bad(what))
        };
        let response = spaced_number("has a bad response number")?;
        let cseq = spaced_number("has a bad CSeq number")?;
        let method = cursor.take_while(is_token);
        if method.is_empty() || !cursor.is_empty() {
            return Err(bad("has a bad method"));
        }
        Ok(RAck { response, cseq, method: Method::of(method) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read() {
        assert_eq!(RSeq::parse(b" 988789 "), Ok(RSeq(988_789)));
        assert_eq!(RSeq::parse(b"4294967295"), Ok(RSeq(u32::MAX)));
        for bad in ["", "0", "4294967296", "-1", "1 2", "one"] {
            assert!(RSeq::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let rack = |text: &'static str| RAck::parse(text.as_bytes());
        let expected = RAck { response: 776_656, cseq: 1, method: Method::Invite };
        assert_eq!(rack("776656 1 INVITE"), Ok(expected));
        assert_eq!(rack(" 776656\r\n 1\tINVITE"), Ok(expected));
        // RFC 3262 7.2: the method is case-sensitive.
        assert_eq!(rack("1 2 invite").map(|rack| rack.method), Ok(Method::Other));
        for bad in [
            "",
            "1",
            "1 2",
            "1 2 ",
            "1 2INVITE",
            "1 INVITE",
            "x 2 INVITE",
            "1 2 INVITE x",
            "4294967296 1 INVITE",
        ] {
            let what = rack(bad).expect_err(bad).to_string();
            assert!(what.starts_with("RAck has a bad"), "{bad:?}: {what}");
        }
    }
}
