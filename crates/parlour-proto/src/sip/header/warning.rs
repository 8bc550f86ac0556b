//! Warning (RFC 3261 20.43).

use super::lex::{Cursor, number, trim, unquote};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// One warning: what is wrong with a request, beyond the status. Who warns is left aside: it is often a pseudonym.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// 300 to 399.
    pub code: u16,
    /// For people, as received.
    pub text: String,
}

impl<'a> Header<'a> for Warning {
    const NAME: Name = Name::Warning;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let mut cursor = Cursor::new(trim(value));
        let code = number(cursor.take_while(|octet| octet.is_ascii_digit()));
        cursor.lws();
        let agent = cursor.take_while(|octet| !matches!(octet, b' ' | b'\t' | b'"'));
        cursor.lws();
        match (code, cursor.quoted()) {
            (Some(code), Some(text)) if !agent.is_empty() => {
                Ok(Warning { code, text: unquote(text).into_owned() })
            }
            (_, _) => Err(HeaderFault::bad(Name::Warning, "is not code, agent and quoted text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_its_code_and_its_text() {
        let read =
            |value: &'static str| Warning::parse(value.as_bytes()).ok().map(|read| (read.code, read.text));
        let said = |code, text: &str| Some((code, text.to_owned()));
        assert_eq!(read("399 sip.example.com \"Bad \\\"offer\\\"\""), said(399, "Bad \"offer\""));
        assert_eq!(read("305 [2001:db8::1]:5060   \"\""), said(305, ""));
        assert_eq!(read("392 192.0.2.7:5060 \"Noisy feedback tells:  pid=1, uas=2\" "), {
            said(392, "Noisy feedback tells:  pid=1, uas=2")
        });
        for wrong in ["", "399", "399 \"no agent\"", "399 host no quotes", "x host \"y\"", "399 host \"open"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
