//! Identity (RFC 8224 4) and the Date (RFC 3261 20.17) that it signs.

use std::borrow::Cow;

use super::lex::{Cursor, Param, number, param_value, text, trim};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// One signature over who calls, whom and when. Nothing in it is proven before it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The PASSporT, whole or only its signature.
    pub token: &'a str,
    /// Where its credential may be found: here only the name of a key.
    pub info: &'a str,
    /// The algorithm; ES256 if absent.
    pub alg: Option<Cow<'a, str>>,
    /// The type of the PASSporT, if it is an extended one.
    pub ppt: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> for Identity<'a> {
    const NAME: Name = Name::Identity;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let bad = |what| HeaderFault::bad(Name::Identity, what);
        let mut cursor = Cursor::new(trim(value));
        // The grammar has the letters of base64 and PASSporTs those of base64url: what is wrong shows in the decoding.
        let is_digest = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.+/=".contains(&octet);
        let token = text(cursor.take_while(is_digest)).filter(|token| !token.is_empty());
        let token = token.ok_or(bad("has no PASSporT"))?;
        let (mut info, mut alg, mut ppt) = (None, None, None);
        while !cursor.is_empty() {
            let (name, value) = param(&mut cursor).ok_or(bad("has a bad parameter"))?;
            let again = match name.to_ascii_lowercase().as_str() {
                "info" => info.replace(value).is_some(),
                "alg" => alg.replace(value).is_some(),
                "ppt" => ppt.replace(value).is_some(),
                _ => false,
            };
            if again {
                return Err(bad("has a parameter twice"));
            }
        }
        // RFC 8224 4: a URI in angle brackets.
        let info = info.flatten().and_then(|info| info.strip_prefix(b"<")?.strip_suffix(b">"));
        let info = info
            .and_then(text)
            .filter(|info| !info.is_empty() && !info.contains('<'))
            .ok_or(bad("has no info"))?;
        let word = |value: Option<&'a [u8]>| Param { name: "", value }.text();
        Ok(Identity { token, info, alg: alg.map(word), ppt: ppt.map(word) })
    }
}

/// `;name=value`, where the value may be a URI in angle brackets.
fn param<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a str, Option<&'a [u8]>)> {
    cursor.eat_spaced(b';').then_some(())?;
    let name = cursor.token()?;
    let value = if !cursor.eat_spaced(b'=') {
        None
    } else if cursor.peek() == Some(b'<') {
        let end = memchr::memchr(b'>', cursor.rest())?.checked_add(1)?;
        Some(cursor.take(end))
    } else {
        Some(param_value(cursor)?)
    };
    cursor.lws();
    Some((name, value))
}

/// When a request was made: seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(pub u64);

impl<'a> Header<'a> for Date {
    const NAME: Name = Name::Date;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        seconds(value).map(Date).ok_or(HeaderFault::bad(Name::Date, "is no date in GMT"))
    }
}

/// RFC 3261 25.1: `Sat, 13 Nov 2010 23:29:00 GMT`. What day of the week it was is not checked.
fn seconds(value: &[u8]) -> Option<u64> {
    let (_, rest) = text(trim(value))?.split_once(',')?;
    let mut words = rest.split_ascii_whitespace();
    let [day, month, year, clock, zone] = [(); 5].map(|()| words.next());
    if words.next().is_some() || !zone?.eq_ignore_ascii_case("GMT") {
        return None;
    }
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let month = months.iter().position(|name| month.is_some_and(|month| month.eq_ignore_ascii_case(name)))?;
    let month = time::Month::try_from(u8::try_from(month).ok()?.checked_add(1)?).ok()?;
    let year = number::<u16>(year?.as_bytes())?;
    let date = time::Date::from_calendar_date(year.into(), month, number(day?.as_bytes())?).ok()?;
    let mut parts = clock?.split(':').map(|part| number::<u8>(part.as_bytes()));
    let [hour, minute, second] = [(); 3].map(|()| parts.next().flatten());
    if parts.next().is_some() {
        return None;
    }
    let at = date.with_hms(hour?, minute?, second?).ok()?.assume_utc();
    u64::try_from(at.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        let read = |value: &'static str| Identity::parse(value.as_bytes());
        let plain =
            read(" a.b-_.c ; info = <https://x.example/a;b,c?d=e>;alg=ES256 ;ppt=\"shaken\";x=y ").unwrap();
        assert_eq!((plain.token, plain.info), ("a.b-_.c", "https://x.example/a;b,c?d=e"));
        assert_eq!((plain.alg.as_deref(), plain.ppt.as_deref()), (Some("ES256"), Some("shaken")));
        let compact = read("..abc;info=<https://x>").unwrap();
        assert_eq!((compact.token, compact.alg, compact.ppt), ("..abc", None, None));
        for wrong in [
            "",
            ";info=<https://x>",
            "a.b.c",
            "a.b.c;info=https",
            "a.b.c;info=<>",
            "a.b.c;info=<https://x",
            "a.b.c;info=<https://x;info=<https://y>",
            "a.b.c;info=<https://x>;info=<https://y>",
            "a.b.c;ppt=a;info=<https://x>;ppt=b",
            "a.b.c info=<https://x>",
            "\"a.b.c\";info=<https://x>",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_date_is_seconds() {
        let read = |value: &str| Date::parse(value.as_bytes()).ok().map(|date| date.0);
        assert_eq!(read("Fri, 25 Sep 2015 19:12:25 GMT"), Some(1_443_208_345));
        assert_eq!(read(" thu, 01 jan 1970 00:00:00 gmt "), Some(0));
        assert_eq!(read("Tue, 29 Feb 2000 23:59:59 GMT"), Some(951_868_799));
        for wrong in [
            "",
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Fri 25 Sep 2015 19:12:25 GMT",
            "Sun, 29 Feb 2015 19:12:25 GMT",
            "Fri, 25 Sep 2015 24:12:25 GMT",
            "Fri, 25 Sep 2015 19:12 GMT",
            "Fri, 25 Sep 2015 19:12:25:1 GMT",
            "Fri, 25 Sep 2015 19:12:25 GMT x",
            "Wed, 31 Dec 99999999999 23:59:59 GMT",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
