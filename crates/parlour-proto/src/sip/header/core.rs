//! Call-ID and CSeq (RFC 3261 20.8, 20.16).

use super::lex::{Cursor, VISIBLE, is_token, number, text, trim};
use super::{Header, HeaderFault};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// Names the call; compared octet by octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId<'a>(pub &'a str);

impl<'a> Header<'a> for CallId<'a> {
    const NAME: Name = Name::CallId;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let value = trim(value);
        if value.is_empty() {
            return Err(HeaderFault::bad(Name::CallId, "is empty"));
        }
        // RFC 3261 25.1: word [ "@" word ]. Other visible characters do no harm.
        text(value)
            .filter(|_| VISIBLE.has_all(value))
            .map(CallId)
            .ok_or(HeaderFault::bad(Name::CallId, "is malformed"))
    }
}

/// The number and method of a request within its dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number.
    pub number: u32,
    /// The method.
    pub method: Method,
    /// The method as written.
    pub method_text: &'a [u8],
}

impl<'a> Header<'a> for CSeq<'a> {
    const NAME: Name = Name::CSeq;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let mut cursor = Cursor::new(trim(value));
        let digits = cursor.take_while(|octet| octet.is_ascii_digit());
        // RFC 3261 20.16: 32 bits without sign.
        let number = number(digits).ok_or(HeaderFault::bad(Name::CSeq, "has a bad number"))?;
        let spaced = cursor.rest();
        cursor.lws();
        let is_spaced = cursor.rest().len() < spaced.len();
        let method_text = cursor.take_while(is_token);
        if !is_spaced || method_text.is_empty() || !cursor.is_empty() {
            return Err(HeaderFault::bad(Name::CSeq, "has a bad method"));
        }
        Ok(CSeq { number, method: Method::of(method_text), method_text })
    }
}
