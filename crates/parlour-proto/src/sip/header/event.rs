//! Event and Subscription-State: what a NOTIFY is about, and how its subscription is (RFC 6665 8.2).

use super::lex::{Cursor, Params, trim};
use super::{Header, HeaderFault};
use crate::sip::name::Name;

/// The event package (RFC 6665 8.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The name of the package, compared octet by octet.
    pub package: &'a str,
    /// Its parameters: `id`.
    pub params: Params<'a>,
}

/// How a subscription is (RFC 6665 8.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// `active`, `pending`, `terminated`, or an extension; compare it without regard to case.
    pub state: &'a str,
    /// Its parameters: `expires`, `reason`, `retry-after`.
    pub params: Params<'a>,
}

impl SubscriptionState<'_> {
    /// Whether the subscription is no more.
    pub fn is_terminated(&self) -> bool {
        self.state.eq_ignore_ascii_case("terminated")
    }

    /// A parameter that counts seconds.
    pub fn seconds(&self, name: &str) -> Option<u32> {
        self.params.token(name)?.parse().ok()
    }

    /// Why the subscription is no more.
    pub fn reason(&self) -> Option<&str> {
        self.params.token("reason")
    }
}

impl<'a> Header<'a> for Event<'a> {
    const NAME: Name = Name::Event;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let (package, params) = word(value, HeaderFault::bad(Name::Event, "is malformed"))?;
        Ok(Event { package, params })
    }
}

impl<'a> Header<'a> for SubscriptionState<'a> {
    const NAME: Name = Name::SubscriptionState;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let (state, params) = word(value, HeaderFault::bad(Name::SubscriptionState, "is malformed"))?;
        Ok(SubscriptionState { state, params })
    }
}

/// A token and its parameters.
fn word(value: &[u8], bad: HeaderFault) -> Result<(&str, Params<'_>), HeaderFault> {
    let mut cursor = Cursor::new(trim(value));
    let token = cursor.token().ok_or(bad)?;
    let params = Params::read(cursor.rest(), |_, _| {}).ok_or(bad)?;
    Ok((token, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read() {
        let event = Event::parse(b"conference;id=7").unwrap();
        assert_eq!((event.package, event.params.token("id")), ("conference", Some("7")));
        assert!(Event::parse(b"a, b").is_err() && Event::parse(b"").is_err());
        let state = SubscriptionState::parse(b" Terminated ;reason=giveup;retry-after=10").unwrap();
        assert!(state.is_terminated());
        assert_eq!(
            (state.reason(), state.seconds("retry-after"), state.seconds("expires")),
            (Some("giveup"), Some(10), None)
        );
        assert_eq!(SubscriptionState::parse(b"active;expires=99999999999").unwrap().seconds("expires"), None);
    }
}
