//! Headers that carry an address: From, To, Route and the like (RFC 3261 20.10, RFC 3325, RFC 3455).

use std::borrow::Cow;

use super::lex::{Cursor, Params, URI, is_lws, lossy, text, trim, unquote};
use super::{Header, HeaderFault};
use crate::sip::name::Name;
use crate::sip::uri::{Uri, UriFault};

/// A name-addr or addr-spec with header parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    display: Display<'a>,
    /// The URI as written, without brackets.
    pub uri: &'a [u8],
    /// The parameters of the header, not of the URI.
    pub params: Params<'a>,
    tag: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Display<'a> {
    None,
    Plain(&'a [u8]),
    Quoted(&'a [u8]),
}

impl<'a> Address<'a> {
    /// The display name with quotes, escapes and folds resolved; octets that are no UTF-8 become U+FFFD. It is hostile
    /// text: neutralise it before it reaches a screen.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        match self.display {
            Display::None => None,
            Display::Plain(name) => Some(lossy(name)),
            Display::Quoted(inside) => Some(unquote(inside)),
        }
    }

    /// The URI, read.
    ///
    /// # Errors
    /// It breaks the grammar of its scheme.
    pub fn uri(&self) -> Result<Uri<'a>, UriFault> {
        // Its characters were looked at when the header was read.
        Uri::of_characters(self.uri)
    }

    /// The tag parameter.
    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    pub(crate) fn read(value: &'a [u8]) -> Result<Self, &'static str> {
        let mut cursor = Cursor::new(value);
        cursor.lws();
        let display = match cursor.peek() {
            Some(b'<') => Display::None,
            Some(b'"') => {
                let inside = cursor.quoted().ok_or("has an open quoted string")?;
                cursor.lws();
                if cursor.peek() != Some(b'<') {
                    return Err("has a display name without <address>");
                }
                Display::Quoted(inside)
            }
            // A quote before any `<` belongs to a parameter of an address without brackets.
            _ => match memchr::memchr2(b'<', b'"', cursor.rest()) {
                Some(at) if cursor.rest().get(at) == Some(&b'<') => {
                    let name = trim(cursor.take(at));
                    // RFC 3261 25.1 wants tokens here; other octets do no harm, but these would split or end the value.
                    if memchr::memchr2(b',', b';', name).is_some() {
                        return Err("has an unquoted display name with a comma or semicolon");
                    }
                    Display::Plain(name)
                }
                Some(_) | None => return Address::without_brackets(cursor),
            },
        };
        cursor.eat(b'<');
        let end = memchr::memchr(b'>', cursor.rest()).ok_or("has no > after <")?;
        let uri = cursor.take(end);
        cursor.eat(b'>');
        Address::finish(display, uri, cursor.rest())
    }

    /// RFC 3261 20.10: without brackets, what follows a semicolon belongs to the header, and the URI may contain neither
    /// comma nor question mark.
    fn without_brackets(mut cursor: Cursor<'a>) -> Result<Self, &'static str> {
        let uri = cursor.take_while(|octet| !is_lws(octet) && !matches!(octet, b';' | b',' | b'?'));
        Address::finish(Display::None, uri, cursor.rest())
    }

    fn finish(display: Display<'a>, uri: &'a [u8], params: &'a [u8]) -> Result<Self, &'static str> {
        if uri.is_empty() {
            return Err("has no address");
        }
        if !URI.has_all(uri) {
            return Err("has a bad address");
        }
        let mut tag = None;
        let params = Params::read(params, |name, value| {
            if tag.is_none() && name.eq_ignore_ascii_case(b"tag") {
                tag = value.and_then(text);
            }
        })
        .ok_or("has a bad parameter")?;
        Ok(Address { display, uri, params, tag })
    }
}

/// Header types that are an address and nothing else.
macro_rules! address_headers {
    ($($(#[$doc:meta])* $header:ident list: $list:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $header<'a>(pub Address<'a>);

        impl<'a> Header<'a> for $header<'a> {
            const NAME: Name = Name::$header;
            const LIST: bool = $list;

            fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
                Address::read(value).map($header).map_err(|what| HeaderFault::bad(Name::$header, what))
            }
        }

        impl<'a> std::ops::Deref for $header<'a> {
            type Target = Address<'a>;

            fn deref(&self) -> &Address<'a> {
                &self.0
            }
        }
    )*};
}

address_headers! {
    /// Who calls (RFC 3261 20.20).
    From list: false,
    /// Who is called (RFC 3261 20.39).
    To list: false,
    /// A proxy that the request must visit (RFC 3261 20.34).
    Route list: true,
    /// A proxy that wants to stay in the dialog (RFC 3261 20.30).
    RecordRoute list: true,
    /// Who the core says that it is (RFC 3325 9.1).
    PAssertedIdentity list: true,
    /// Which identity the sender would like asserted (RFC 3325 9.2).
    PPreferredIdentity list: true,
    /// An address that belongs to the registered one (RFC 7315 4.1).
    PAssociatedUri list: true,
    /// The address that was dialled (RFC 7315 4.2).
    PCalledPartyId list: false,
    /// A proxy for what a registered user agent sends (RFC 3608).
    ServiceRoute list: true,
    /// A proxy between registrar and user agent (RFC 3327).
    Path list: true,
    /// Whom to refer to (RFC 3515).
    ReferTo list: false,
}
