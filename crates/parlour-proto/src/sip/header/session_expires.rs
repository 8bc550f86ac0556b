//! Session-Expires and Min-SE (RFC 4028 4 and 5).

use super::lex::{Cursor, Params, trim};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// For how long the session stands without being refreshed, and who refreshes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds; more than fit are 4294967295.
    pub seconds: u32,
    /// Who refreshes: the UAC or the UAS of the request that bears the header, or that is answered with it.
    pub refresher: Option<Refresher>,
}

/// Which end of a transaction refreshes the session from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answered it.
    Uas,
}

impl Refresher {
    /// As the parameter says it.
    pub const fn text(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

/// The shortest session interval that somebody on the way takes, in seconds; more than fit are 4294967295.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinSe(pub u32);

impl<'a> Header<'a> for SessionExpires {
    const NAME: Name = Name::SessionExpires;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = |what| HeaderFault::bad(Name::SessionExpires, what);
        let (seconds, params) = delta(value).ok_or(bad("is no number of seconds"))?;
        let mut refreshers = 0_usize;
        let count = |name: &[u8], _: Option<&[u8]>| {
            refreshers = refreshers.saturating_add(name.eq_ignore_ascii_case(b"refresher").into());
        };
        let params = Params::read(params, count).ok_or(bad("has a bad parameter"))?;
        // RFC 3261 7.3.1: a parameter name stands once; two could name both sides.
        if refreshers > 1 {
            return Err(bad("has more than one refresher"));
        }
        // RFC 4028 4: the parameter knows two values and no default.
        let refresher = match params.get("refresher").map(|param| param.value.unwrap_or_default()) {
            None => None,
            Some(value) if value.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
            Some(value) if value.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
            Some(_) => return Err(bad("has a refresher that is neither uac nor uas")),
        };
        Ok(SessionExpires { seconds, refresher })
    }
}

impl<'a> Header<'a> for MinSe {
    const NAME: Name = Name::MinSe;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let (seconds, params) =
            delta(value).ok_or(HeaderFault::bad(Name::MinSe, "is no number of seconds"))?;
        Params::read(params, |_, _| {}).ok_or(HeaderFault::bad(Name::MinSe, "has a bad parameter"))?;
        Ok(MinSe(seconds))
    }
}

/// RFC 3261 25.1 delta-seconds, and what follows them.
fn delta(value: &[u8]) -> Option<(u32, &[u8])> {
    let mut cursor = Cursor::new(trim(value));
    let digits = cursor.take_while(|octet| octet.is_ascii_digit());
    let add = |sum: u32, digit: &u8| sum.saturating_mul(10).saturating_add(u32::from(digit & 0x0f));
    (!digits.is_empty()).then(|| (digits.iter().fold(0, add), cursor.rest()))
}
