//! Nicknames of chat rooms as strings (RFC 8266, which RFC 7701 names as RFC 7700).

use precis_profiles::Nickname;
use precis_profiles::precis_core::profile::Profile as _;

/// The form in which a nickname is asked for: blanks at its ends are gone, others single, characters in their normal form.
///
/// # Errors
/// What the profile does not allow, such as control characters and text of no length, in words.
pub fn prepare(nickname: &str) -> Result<String, String> {
    let prepared = Nickname::new().enforce(nickname).map_err(|fault| fault.to_string())?;
    Ok(prepared.into_owned())
}

/// Whether two nicknames are the same, whatever their case and blanks. Which ones clash is the room's to say.
pub fn same(one: &str, other: &str) -> bool {
    Nickname::new().compare(one, other).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8266 3: its examples.
    //= IM M-61 test
    #[test]
    fn the_examples_of_the_profile() {
        for (one, other) in
            [("Foo", "foo"), ("foo", "foo "), ("Foo   Bar", "foo bar"), ("\u{ff21}lice", "alice")]
        {
            assert!(same(one, other), "{one:?} {other:?}");
        }
        assert!(!same("foo", "foobar") && !same("", "") && !same("BOY", "B0Y"));
        assert_eq!(prepare("  Foo   \u{3000}Bar ").as_deref(), Ok("Foo Bar"), "case is kept");
        assert_eq!(prepare("Henry \u{2163}").as_deref(), Ok("Henry IV"));
        assert!(prepare("").is_err() && prepare(" ").is_err());
        assert!(prepare("a\u{0}b").is_err() && prepare("a\u{202e}b").is_err() && prepare("a\nb").is_err());
    }
}
