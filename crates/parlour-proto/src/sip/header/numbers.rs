//! Headers that are one number (RFC 3261 20).

use super::lex::{Cursor, number, trim};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// How many more hops the request may take (RFC 3261 20.22): 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxForwards(pub u8);

/// Seconds of validity (RFC 3261 20.19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expires(pub u32);

/// The shortest registration in seconds that the registrar takes (RFC 3261 20.23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinExpires(pub u32);

/// Octets of the body (RFC 3261 20.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentLength(pub u32);

/// Seconds until a new attempt makes sense (RFC 3261 20.33); the comment and parameters are left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub u32);

macro_rules! numbers {
    ($($header:ident)*) => {$(
        impl<'a> Header<'a> for $header {
            const NAME: Name = Name::$header;

            fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
                number(trim(value)).map($header).ok_or(HeaderFault::bad(Name::$header, "is no number in range"))
            }
        }
    )*};
}

numbers! { MaxForwards Expires MinExpires ContentLength }

impl<'a> Header<'a> for RetryAfter {
    const NAME: Name = Name::RetryAfter;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let digits = Cursor::new(trim(value)).take_while(|octet| octet.is_ascii_digit());
        number(digits).map(RetryAfter).ok_or(HeaderFault::bad(Name::RetryAfter, "is no number in range"))
    }
}
