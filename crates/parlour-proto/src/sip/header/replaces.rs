//! Replaces (RFC 3891), Referred-By (RFC 3892), and the names of a conversation that outlive its dialogs.

use std::borrow::Cow;

use super::lex::{Cursor, Params, VISIBLE, is_token_text, text, trim};
use super::{Address, Header, HeaderFault};
use crate::sip::name::Name;

/// The dialog that an INVITE is to replace (RFC 3891 6.1), as its receiver names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaces<'a> {
    /// The Call-ID.
    pub call_id: &'a str,
    /// The tag of the receiver of the INVITE.
    pub to_tag: &'a str,
    /// The tag of the other party; `0` stands for none, too.
    pub from_tag: &'a str,
    /// Whether a confirmed dialog is to be left alone.
    pub early_only: bool,
}

impl<'a> Header<'a> for Replaces<'a> {
    const NAME: Name = Name::Replaces;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = |what| HeaderFault::bad(Name::Replaces, what);
        let mut cursor = Cursor::new(trim(value));
        let call_id = cursor.take_while(|octet| VISIBLE.has(octet) && !matches!(octet, b';' | b','));
        let call_id = text(call_id).filter(|call_id| !call_id.is_empty()).ok_or(bad("has no Call-ID"))?;
        let (mut to_tag, mut from_tag, mut early_only) = (OneTag::None, OneTag::None, false);
        Params::read(cursor.rest(), |name, value| {
            if name.eq_ignore_ascii_case(b"to-tag") {
                to_tag.see(value);
            } else if name.eq_ignore_ascii_case(b"from-tag") {
                from_tag.see(value);
            }
            early_only |= name.eq_ignore_ascii_case(b"early-only");
        })
        .ok_or(bad("is malformed"))?;
        // RFC 3891 6.1: exactly one of each.
        let to_tag = to_tag.value().ok_or(bad("needs exactly one to-tag"))?;
        let from_tag = from_tag.value().ok_or(bad("needs exactly one from-tag"))?;
        Ok(Replaces { call_id, to_tag, from_tag, early_only })
    }
}

/// A tag that must be there once.
enum OneTag<'a> {
    None,
    One(&'a str),
    Wrong,
}

impl<'a> OneTag<'a> {
    fn see(&mut self, value: Option<&'a [u8]>) {
        let tag = value.filter(|value| is_token_text(value)).and_then(text);
        *self = match (&self, tag) {
            (OneTag::None, Some(tag)) => OneTag::One(tag),
            (OneTag::None | OneTag::One(_) | OneTag::Wrong, _) => OneTag::Wrong,
        };
    }

    fn value(self) -> Option<&'a str> {
        match self {
            OneTag::One(tag) => Some(tag),
            OneTag::None | OneTag::Wrong => None,
        }
    }
}

/// Who referred the sender to us (RFC 3892 3). Nothing in it is proven: whoever shows it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferredBy<'a> {
    /// The referrer.
    pub address: Address<'a>,
    /// The Content-ID of the part that is to prove it, without brackets.
    pub cid: Option<&'a str>,
}

impl<'a> Header<'a> for ReferredBy<'a> {
    const NAME: Name = Name::ReferredBy;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = |what| HeaderFault::bad(Name::ReferredBy, what);
        let address = Address::read(value).map_err(bad)?;
        let mut cids = address.params.iter().filter(|param| param.name.eq_ignore_ascii_case("cid"));
        let cid = match (cids.next(), cids.next()) {
            (None, _) => None,
            (Some(cid), None) => Some(content_id(cid.value.unwrap_or_default()).ok_or(bad("has a bad cid"))?),
            (Some(_), Some(_)) => return Err(bad("has two cid")),
        };
        Ok(ReferredBy { address, cid })
    }
}

/// RFC 3892 3: a quoted string with one `@` between atoms.
fn content_id(value: &[u8]) -> Option<&str> {
    let inside = text(Cursor::new(value).quoted()?)?;
    let (id, host) = inside.split_once('@')?;
    let is_atoms = |text: &str| text.split('.').all(|atom| is_token_text(atom.as_bytes()));
    (is_atoms(id) && (is_atoms(host) || is_address_literal(host))).then_some(inside)
}

fn is_address_literal(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Headers that are one opaque word.
macro_rules! words {
    ($($(#[$doc:meta])* $header:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $header<'a>(pub &'a str);

        impl<'a> Header<'a> for $header<'a> {
            const NAME: Name = Name::$header;

            fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
                let value = trim(value);
                text(value)
                    .filter(|_| !value.is_empty() && VISIBLE.has_all(value))
                    .map($header)
                    .ok_or(HeaderFault::bad(Name::$header, "is not one word"))
            }
        }
    )*};
}

words! {
    /// Names a conversation, whatever dialogs it has on its way (OMA CPM; RCS).
    ContributionId,
    /// The Contribution-ID of the conversation that an INVITE continues (OMA CPM; RCS).
    SessionReplaces,
}

/// A header's value as a URI bears it (RFC 3261 19.1.1: `?Replaces=...`), with its escapes resolved once.
pub fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let escaped =
            after.split_first_chunk::<2>().filter(|_| *first == b'%').and_then(|(digits, after)| {
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let [high, low] = *digits;
                Some((u8::try_from(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?).ok()?, after))
            });
        let (octet, after) = escaped.unwrap_or((*first, after));
        plain.push(octet);
        rest = after;
    }
    Cow::Owned(plain)
}
