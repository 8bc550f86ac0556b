//! Challenges (RFC 3261 20.44, 20.27; RFC 7616).

use std::borrow::Cow;

use super::lex::{Cursor, Param, param_value, trim};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// One challenge: a scheme and its parameters. Challenges are one a row, as their parameters are themselves separated by
/// commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// `Digest` ...; compare it without regard to case.
    pub scheme: &'a str,
    params: &'a [u8],
}

impl<'a> Challenge<'a> {
    /// The parameters in order.
    pub fn params(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.params);
        std::iter::from_fn(move || next_param(&mut cursor))
    }

    /// The value of a parameter with quotes and escapes resolved. Names are case-insensitive.
    pub fn param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.params().find(|param| param.name.eq_ignore_ascii_case(name)).map(|param| param.text())
    }

    fn read(value: &'a [u8]) -> Result<Self, &'static str> {
        let mut cursor = Cursor::new(trim(value));
        let scheme = cursor.token().ok_or("has no scheme")?;
        cursor.lws();
        let params = cursor.rest();
        while !cursor.is_empty() {
            next_param(&mut cursor).ok_or("has a bad parameter")?;
        }
        Ok(Challenge { scheme, params })
    }
}

fn next_param<'a>(cursor: &mut Cursor<'a>) -> Option<Param<'a>> {
    let name = cursor.token()?;
    if !cursor.eat_spaced(b'=') {
        return None;
    }
    let value = Some(param_value(cursor)?);
    cursor.lws();
    // Stray commas do no harm.
    let mut separated = cursor.is_empty();
    while cursor.eat_spaced(b',') {
        separated = true;
    }
    separated.then_some(Param { name, value })
}

macro_rules! challenges {
    ($($(#[$doc:meta])* $header:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $header<'a>(pub Challenge<'a>);

        impl<'a> Header<'a> for $header<'a> {
            const NAME: Name = Name::$header;

            fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
                Challenge::read(value).map($header).map_err(|what| HeaderFault::bad(Name::$header, what))
            }
        }
    )*};
}

challenges! {
    /// A user agent server's or registrar's challenge (401).
    WwwAuthenticate,
    /// A proxy's challenge (407).
    ProxyAuthenticate,
}
