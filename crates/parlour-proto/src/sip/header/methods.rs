//! Allow (RFC 3261 20.5).

use super::lex::{is_token_text, trim};
use super::{Header, HeaderFault};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// One method of an Allow row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow(pub Method);

impl<'a> Header<'a> for Allow {
    const NAME: Name = Name::Allow;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, HeaderFault> {
        let token = trim(value);
        if !is_token_text(token) {
            return Err(HeaderFault::bad(Name::Allow, "has a bad method"));
        }
        Ok(Allow(Method::of(token)))
    }
}

/// The methods that a peer says it takes. Nothing said (no Allow) is not the same as no methods (an empty Allow).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MethodSet {
    bits: u16,
    present: bool,
}

impl MethodSet {
    /// No Allow at all.
    pub const UNKNOWN: MethodSet = MethodSet { bits: 0, present: false };

    /// A set that was told, of these methods.
    pub fn of(methods: impl IntoIterator<Item = Method>) -> Self {
        let bits = methods.into_iter().fold(0, |bits, method| bits | bit(method));
        MethodSet { bits, present: true }
    }

    /// Whether the peer said anything.
    pub fn is_known(&self) -> bool {
        self.present
    }

    /// Whether the set names this method.
    pub fn contains(&self, method: Method) -> bool {
        self.bits & bit(method) != 0
    }

    /// The known methods of the set.
    pub fn iter(&self) -> impl Iterator<Item = Method> + use<> {
        let set = *self;
        Method::KNOWN.into_iter().filter(move |&method| set.contains(method))
    }
}

fn bit(method: Method) -> u16 {
    1 << (method as u8)
}
