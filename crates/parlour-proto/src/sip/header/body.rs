//! Headers about the body (RFC 3261 20.11, 20.15) and its subject.

use std::borrow::Cow;

use super::lex::{Cursor, Params, is_token, lossy, text, trim};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// What the body is (RFC 3261 20.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// `type/subtype` as written; compare it without regard to case.
    pub media_type: &'a str,
    /// Its parameters: `boundary`, `charset` ...
    pub params: Params<'a>,
}

impl ContentType<'_> {
    /// Whether the body is of that type.
    pub fn is(&self, media_type: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type)
    }
}

impl<'a> Header<'a> for ContentType<'a> {
    const NAME: Name = Name::ContentType;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = HeaderFault::bad(Name::ContentType, "is no type/subtype");
        let mut cursor = Cursor::new(trim(value));
        let media_type = cursor.take_while(|octet| is_token(octet) || octet == b'/');
        let media_type = text(media_type).ok_or(bad)?;
        match media_type.split_once('/') {
            Some((kind, subtype)) if !kind.is_empty() && !subtype.is_empty() && !subtype.contains('/') => {}
            Some(_) | None => return Err(bad),
        }
        let params = Params::read(cursor.rest(), |_, _| {})
            .ok_or(HeaderFault::bad(Name::ContentType, "has a bad parameter"))?;
        Ok(ContentType { media_type, params })
    }
}

/// How the body is meant (RFC 3261 20.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDisposition<'a> {
    /// `session`, `render` ...; compare it without regard to case.
    pub kind: &'a str,
    /// Its parameters: `handling` ...
    pub params: Params<'a>,
}

impl<'a> Header<'a> for ContentDisposition<'a> {
    const NAME: Name = Name::ContentDisposition;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = HeaderFault::bad(Name::ContentDisposition, "is malformed");
        let mut cursor = Cursor::new(trim(value));
        let kind = cursor.token().ok_or(bad)?;
        let params = Params::read(cursor.rest(), |_, _| {}).ok_or(bad)?;
        Ok(ContentDisposition { kind, params })
    }
}

/// What the session is about (RFC 3261 20.36), as it came; hostile text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject<'a>(pub Cow<'a, str>);

impl<'a> Header<'a> for Subject<'a> {
    const NAME: Name = Name::Subject;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        Ok(Subject(lossy(trim(value))))
    }
}
