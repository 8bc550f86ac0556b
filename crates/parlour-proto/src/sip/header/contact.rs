//! Contact (RFC 3261 20.10) and caller preferences (RFC 3841).

use super::lex::{Cursor, Params, trim};
use super::{Address, Header, HeaderFault};
use crate::sip::name::Name;

/// Where a user agent can be reached, or `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: all bindings, in REGISTER only.
    Star,
    /// One address.
    Address(Address<'a>),
}

impl<'a> Contact<'a> {
    /// The address; `None` for `*`.
    pub fn address(&self) -> Option<&Address<'a>> {
        match self {
            Contact::Star => None,
            Contact::Address(address) => Some(address),
        }
    }
}

impl<'a> Header<'a> for Contact<'a> {
    const NAME: Name = Name::Contact;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        if trim(value) == b"*" {
            return Ok(Contact::Star);
        }
        Address::read(value).map(Contact::Address).map_err(|what| HeaderFault::bad(Name::Contact, what))
    }
}

/// One set of features that the caller wants (RFC 3841 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptContact<'a> {
    /// The features, and `require` and `explicit`.
    pub params: Params<'a>,
}

/// One set of features that the caller does not want (RFC 3841 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectContact<'a> {
    /// The features.
    pub params: Params<'a>,
}

impl<'a> Header<'a> for AcceptContact<'a> {
    const NAME: Name = Name::AcceptContact;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        features(value)
            .map(|params| AcceptContact { params })
            .ok_or(HeaderFault::bad(Self::NAME, "is malformed"))
    }
}

impl<'a> Header<'a> for RejectContact<'a> {
    const NAME: Name = Name::RejectContact;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        features(value)
            .map(|params| RejectContact { params })
            .ok_or(HeaderFault::bad(Self::NAME, "is malformed"))
    }
}

/// What the server at the other end can do besides SIP itself (RFC 6809 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureCaps<'a> {
    /// The capabilities, each with its `+`.
    pub params: Params<'a>,
}

impl<'a> Header<'a> for FeatureCaps<'a> {
    const NAME: Name = Name::FeatureCaps;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        features(value)
            .map(|params| FeatureCaps { params })
            .ok_or(HeaderFault::bad(Self::NAME, "is malformed"))
    }
}

/// RFC 3841 10 and RFC 6809 6.2: `*` and then feature parameters.
fn features(value: &[u8]) -> Option<Params<'_>> {
    let mut cursor = Cursor::new(value);
    cursor.lws();
    if !cursor.eat(b'*') {
        return None;
    }
    Params::read(cursor.rest(), |_, _| {})
}
