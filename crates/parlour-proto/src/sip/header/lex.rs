//! The lexical pieces that header values are made of (RFC 3261 25.1).

use std::borrow::Cow;

/// LWS (RFC 3261 25.1): inside a value, CR and LF can only belong to a fold.
pub(crate) const fn is_lws(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// What an octet may be part of; classes are bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Class(u8);

/// A token (RFC 3261 25.1).
pub(crate) const TOKEN: Class = Class(1);
/// A host name or IPv4 address. RFC 3261 25.1 has no underscore in host names; the wild does.
pub(crate) const HOST: Class = Class(2);
/// A URI: no space, control, quote or angle bracket.
pub(crate) const URI: Class = Class(4);
/// What is visible in ASCII.
pub(crate) const VISIBLE: Class = Class(8);
/// An unquoted parameter value: more than a token or a host, as peers write more; never what would end the value.
const VALUE: Class = Class(16);
/// What means nothing when a row is split at commas.
const PLAIN: Class = Class(32);

impl Class {
    pub(crate) const fn has(self, octet: u8) -> bool {
        CLASSES[octet as usize] & self.0 != 0
    }

    /// Whether all of these are in the class. It looks at all of them, as that is quicker than to stop at the first that
    /// is not.
    pub(crate) fn has_all(self, octets: &[u8]) -> bool {
        octets.iter().fold(self.0, |common, &octet| common & CLASSES[octet as usize]) != 0
    }
}

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let octet = at as u8;
        let members = [
            (
                TOKEN,
                octet.is_ascii_alphanumeric()
                    || matches!(octet, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'),
            ),
            (HOST, octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_')),
            (URI, octet > b' ' && !matches!(octet, b'"' | b'<' | b'>' | 0x7f)),
            (VISIBLE, octet.is_ascii_graphic()),
            (VALUE, octet > b' ' && !matches!(octet, b';' | b',' | b'"' | b'<' | b'>' | b'?' | 0x7f)),
            (PLAIN, !matches!(octet, b',' | b'"' | b'<' | b'(')),
        ];
        let mut member = 0;
        while member < members.len() {
            let (class, is_member) = members[member];
            classes[at] |= if is_member { class.0 } else { 0 };
            member += 1;
        }
        at += 1;
    }
    classes
};

/// A character of a token (RFC 3261 25.1).
pub(crate) const fn is_token(octet: u8) -> bool {
    TOKEN.has(octet)
}

/// Whether this is a token.
pub(crate) fn is_token_text(text: &[u8]) -> bool {
    !text.is_empty() && TOKEN.has_all(text)
}

/// Without the LWS at both ends.
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    trim_end(trim_start(value))
}

/// Without the LWS at its start.
pub(crate) fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_lws(*first)
    {
        value = rest;
    }
    value
}

/// Without the LWS at its end.
pub(crate) fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., last] = value
        && is_lws(*last)
    {
        value = rest;
    }
    value
}

/// Reads a value from left to right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Cursor { rest: value }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes this octet if it is next.
    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes this octet with the LWS around it if it is next.
    pub(crate) fn eat_spaced(&mut self, octet: u8) -> bool {
        self.lws();
        let found = self.eat(octet);
        self.lws();
        found
    }

    pub(crate) fn lws(&mut self) {
        self.rest = trim_start(self.rest);
    }

    /// Takes `length` octets, or all that are left.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    pub(crate) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|&octet| !wanted(octet)).unwrap_or(self.rest.len());
        self.take(length)
    }

    /// A token, or nothing.
    pub(crate) fn token(&mut self) -> Option<&'a str> {
        text(self.take_while(is_token)).filter(|token| !token.is_empty())
    }

    /// The inside of a quoted string, its escapes untouched; nothing unless a whole quoted string is next.
    pub(crate) fn quoted(&mut self) -> Option<&'a [u8]> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let mut end = 0_usize;
        loop {
            let found = memchr::memchr2(b'"', b'\\', inside.get(end..)?)?.checked_add(end)?;
            if inside.get(found) == Some(&b'"') {
                let (quoted, rest) = inside.split_at_checked(found)?;
                self.rest = rest.get(1..)?;
                return Some(quoted);
            }
            // RFC 3261 25.1: a backslash escapes the octet after it.
            end = found.checked_add(2)?;
        }
    }
}

pub(crate) fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}

/// A number without sign; any count of leading zeros; nothing if it does not fit.
pub(crate) fn number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0_u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit & 0x0f))?;
    }
    N::try_from(number).ok()
}

/// Text for people: octets that are no UTF-8 become U+FFFD, and the line ends of folds go.
pub(crate) fn lossy(octets: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(octets);
    if memchr::memchr2(b'\r', b'\n', octets).is_none() {
        return text;
    }
    Cow::Owned(text.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect())
}

/// The inside of a quoted string with its escapes resolved, as [`lossy`] text.
pub(crate) fn unquote(inside: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', inside).is_none() {
        return lossy(inside);
    }
    let mut octets = Vec::with_capacity(inside.len());
    let mut escaped = false;
    for &octet in inside {
        if octet == b'\\' && !escaped {
            escaped = true;
        } else {
            octets.push(octet);
            escaped = false;
        }
    }
    Cow::Owned(lossy(&octets).into_owned())
}

/// The elements of a row that is a list: split at commas outside quoted strings, `<>` and comments. Empty elements are
/// left out.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
    commas: Commas,
}

/// What the commas of a row are.
#[derive(Debug, Clone, Copy)]
enum Commas {
    /// There are none.
    None,
    /// Each separates two elements: nothing in the row hides one.
    Plain,
    /// Some may stand inside quotes, angles or comments.
    Hidden,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(row: &'a [u8]) -> Self {
        let commas = match (memchr::memchr(b',', row), || memchr::memchr3(b'"', b'<', b'(', row)) {
            (None, _) => Commas::None,
            (Some(_), hides) if hides().is_none() => Commas::Plain,
            (Some(_), _) => Commas::Hidden,
        };
        Elements { rest: row, commas }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = match self.commas {
                Commas::None => self.rest.len(),
                // Elements are short: to look at each octet is quicker than to search.
                Commas::Plain => self.rest.iter().position(|octet| *octet == b',').unwrap_or(self.rest.len()),
                Commas::Hidden => element_end(self.rest),
            };
            let (element, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
            self.rest = rest.get(1..).unwrap_or_default();
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// Where the first element ends: at a comma or at the end of the row.
fn element_end(row: &[u8]) -> usize {
    let mut at = 0_usize;
    // Parentheses and angles that nothing closes are plain characters; an open quote swallows the rest.
    let (mut comments, mut angles) = (true, true);
    while let Some(left) = row.get(at..) {
        let Some(plain) = left.iter().position(|&octet| !PLAIN.has(octet)) else { break };
        at = at.saturating_add(plain);
        let Some(left @ [octet, ..]) = left.get(plain..) else { break };
        let length = match octet {
            b',' => return at,
            b'"' => {
                let mut quoted = Cursor::new(left);
                if quoted.quoted().is_none() {
                    return row.len();
                }
                left.len().saturating_sub(quoted.rest().len())
            }
            b'<' if angles => memchr::memchr(b'>', left).unwrap_or_else(|| {
                angles = false;
                1
            }),
            b'(' if comments => comment_length(left).unwrap_or_else(|| {
                comments = false;
                1
            }),
            _ => 1,
        };
        at = at.saturating_add(length);
    }
    row.len()
}

/// The length of the comment that starts here (RFC 3261 25.1: comments nest and have escapes).
fn comment_length(from: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut octets = from.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => {
                octets.next();
            }
            b'(' => depth = depth.saturating_add(1),
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at.checked_add(1);
                }
            }
            _ => {}
        }
    }
    None
}

/// One `;name=value` of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as written; names are case-insensitive.
    pub name: &'a str,
    /// The value as written, quotes included; `None` for a parameter without one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// The value with quotes and escapes resolved; octets that are no UTF-8 become U+FFFD. Empty if there is none.
    pub fn text(&self) -> Cow<'a, str> {
        let value = self.value.unwrap_or_default();
        match Cursor::new(value).quoted() {
            Some(inside) => unquote(inside),
            None => lossy(value),
        }
    }
}

/// The parameters of a header value, checked once, read on demand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'a> {
    /// From the first `;`, or empty.
    octets: &'a [u8],
}

impl<'a> Params<'a> {
    /// Checks everything up to the end of the value and hands name and value of each parameter to `seen`.
    #[inline]
    pub(crate) fn read(octets: &'a [u8], mut seen: impl FnMut(&'a [u8], Option<&'a [u8]>)) -> Option<Self> {
        let octets = trim(octets);
        let mut cursor = Cursor::new(octets);
        while !cursor.is_empty() {
            let (name, value) = next_param(&mut cursor)?;
            seen(name, value);
        }
        Some(Params { octets })
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.octets);
        std::iter::from_fn(move || {
            let (name, value) = next_param(&mut cursor)?;
            Some(Param { name: text(name)?, value })
        })
    }

    /// The first parameter of that name.
    pub fn get(&self, name: &str) -> Option<Param<'a>> {
        let mut cursor = Cursor::new(self.octets);
        loop {
            let (found, value) = next_param(&mut cursor)?;
            if found.eq_ignore_ascii_case(name.as_bytes()) {
                return Some(Param { name: text(found)?, value });
            }
        }
    }

    /// The value of the first parameter of that name, if it has one and it is neither quoted nor outside UTF-8.
    pub fn token(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.value.filter(|value| value.first() != Some(&b'"')).and_then(text)
    }

    /// Whether there is a parameter of that name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// As written, from the first `;` on.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }
}

fn next_param<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    if !cursor.eat_spaced(b';') {
        return None;
    }
    let name = cursor.take_while(is_token);
    if name.is_empty() {
        return None;
    }
    cursor.lws();
    let value = if cursor.eat(b'=') {
        cursor.lws();
        Some(param_value(cursor)?)
    } else {
        None
    };
    Some((name, value))
}

/// A token, host or quoted string (with its quotes).
pub(crate) fn param_value<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    if cursor.peek() == Some(b'"') {
        let from = cursor.rest();
        cursor.quoted()?;
        return from.get(..from.len().checked_sub(cursor.rest().len())?);
    }
    Some(cursor.take_while(|octet| VALUE.has(octet))).filter(|value| !value.is_empty())
}
