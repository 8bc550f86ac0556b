//! The content of a signed message in `application/pkcs7-mime` (RFC 5652 5): found, and not verified.
//!
//! BER is read only as far as the way there: definite and indefinite lengths, strings in pieces, nothing nested deeply.

/// Constructed values inside each other.
const DEEPEST: usize = 8;
/// Pieces of a string.
const MOST_PIECES: usize = 4096;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const CONSTRUCTED: u8 = 0x20;
/// `[0]`, constructed.
const EXPLICIT: u8 = 0xa0;

/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// What was signed: a MIME entity. `None` if it is nothing signed, bears no content, or cannot be read.
//= IM M-34
pub(super) fn signed_content(octets: &[u8]) -> Option<Vec<u8>> {
    // ContentInfo ::= SEQUENCE { contentType, content [0] EXPLICIT }
    let mut info = enter(octets, SEQUENCE)?;
    if take(&mut info, OBJECT_IDENTIFIER)? != SIGNED_DATA {
        return None;
    }
    let content = enter(info, EXPLICIT)?;
    // SignedData ::= SEQUENCE { version, digestAlgorithms SET, encapContentInfo SEQUENCE, .. }
    let mut signed = enter(content, SEQUENCE)?;
    take(&mut signed, INTEGER)?;
    take(&mut signed, SET)?;
    let mut encapsulated = enter(signed, SEQUENCE)?;
    take(&mut encapsulated, OBJECT_IDENTIFIER)?;
    let mut string = enter(encapsulated, EXPLICIT)?;
    let mut out = Vec::new();
    octet_string(&mut string, &mut out, DEEPEST, &mut MOST_PIECES.clone())?;
    Some(out)
}

/// A value: its tag, and its contents, which end where the octets do if its length is indefinite.
struct Value<'o> {
    tag: u8,
    contents: &'o [u8],
    /// What follows it; `None` if its length is indefinite.
    rest: Option<&'o [u8]>,
}

fn value(octets: &[u8]) -> Option<Value<'_>> {
    let (&tag, after) = octets.split_first()?;
    // Tags of several octets stand nowhere on the way.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, after) = after.split_first()?;
    if first == 0x80 {
        return (tag & CONSTRUCTED != 0).then_some(Value { tag, contents: after, rest: None });
    }
    let (length, after) = if first < 0x80 {
        (usize::from(first), after)
    } else {
        let (digits, after) =
            after.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
        let length = digits.iter().fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit));
        (length, after)
    };
    let (contents, rest) = after.split_at_checked(length)?;
    Some(Value { tag, contents, rest: Some(rest) })
}

/// The contents of the value at the start, which has that tag.
fn enter(octets: &[u8], tag: u8) -> Option<&[u8]> {
    value(octets).filter(|value| value.tag == tag).map(|value| value.contents)
}

/// The same, and goes on behind it: nothing of indefinite length has to be passed on the way.
fn take<'o>(octets: &mut &'o [u8], tag: u8) -> Option<&'o [u8]> {
    let value = value(octets).filter(|value| value.tag == tag)?;
    *octets = value.rest?;
    Some(value.contents)
}

/// An OCTET STRING, whole or in pieces, and goes on behind it.
fn octet_string(octets: &mut &[u8], out: &mut Vec<u8>, depth: usize, room: &mut usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    *room = room.checked_sub(1)?;
    let value = value(octets)?;
    match value.tag {
        OCTET_STRING => {
            out.extend_from_slice(value.contents);
            *octets = value.rest?;
        }
        tag if tag == OCTET_STRING | CONSTRUCTED => {
            let mut pieces = value.contents;
            let end_mark: &[u8] = if value.rest.is_some() { b"" } else { &[0, 0] };
            loop {
                if end_mark.is_empty() && pieces.is_empty() {
                    break;
                }
                if let Some(after) = pieces.strip_prefix(end_mark).filter(|_| !end_mark.is_empty()) {
                    pieces = after;
                    break;
                }
                octet_string(&mut pieces, out, depth, room)?;
            }
            *octets = value.rest.unwrap_or(pieces);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], contents].concat()
    }

    /// The end of contents stands where the length is indefinite.
    fn ber(tag: u8, contents: &[u8]) -> Vec<u8> {
        [&[tag, 0x80], contents, &[0, 0]].concat()
    }

    fn signed(wrap: fn(u8, &[u8]) -> Vec<u8>, string: &[u8]) -> Vec<u8> {
        let data = der(OBJECT_IDENTIFIER, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01]);
        let encapsulated = wrap(SEQUENCE, &[data, wrap(EXPLICIT, string)].concat());
        let parts = [der(INTEGER, &[1]), der(SET, &[]), encapsulated, der(SET, b"signers")].concat();
        let info = [der(OBJECT_IDENTIFIER, SIGNED_DATA), wrap(EXPLICIT, &wrap(SEQUENCE, &parts))].concat();
        wrap(SEQUENCE, &info)
    }

    //= IM M-34 test
    #[test]
    fn what_was_signed_is_found_in_either_form() {
        let whole = der(OCTET_STRING, b"hello");
        assert_eq!(signed_content(&signed(der, &whole)).as_deref(), Some(b"hello".as_slice()));
        let pieces = [der(OCTET_STRING, b"hel"), der(OCTET_STRING, b"lo")].concat();
        let pieces = ber(OCTET_STRING | CONSTRUCTED, &pieces);
        assert_eq!(signed_content(&signed(ber, &pieces)).as_deref(), Some(b"hello".as_slice()));
    }

    //= IM X-25 test
    #[test]
    fn x_25_what_is_no_cms_is_bounded() {
        let whole = signed(der, &der(OCTET_STRING, b"hello"));
        for cut in 0..whole.len() {
            let _ = signed_content(&whole[..cut]);
        }
        let mut deep = der(OCTET_STRING, b"x");
        for _ in 0..DEEPEST {
            deep = ber(OCTET_STRING | CONSTRUCTED, &deep);
        }
        assert_eq!(signed_content(&signed(ber, &deep)), None);
        let many = der(OCTET_STRING, b"").repeat(MOST_PIECES);
        assert_eq!(signed_content(&signed(ber, &ber(OCTET_STRING | CONSTRUCTED, &many))), None);
        let longest = [SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(signed_content(&longest), None);
        assert_eq!(signed_content(&[SEQUENCE, 0x80].repeat(10_000)), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(octets in proptest::collection::vec(any::<u8>(), 0..100), at in 0..90_usize, octet in any::<u8>()) {
            let _ = signed_content(&octets);
            let mut whole = signed(ber, &ber(OCTET_STRING | CONSTRUCTED, &der(OCTET_STRING, b"hello")));
            if let Some(place) = whole.get_mut(at) {
                *place = octet;
            }
            let _ = signed_content(&whole);
        }
    }
}
