//! Who sent a request, as far as the flow it came on lets us believe it.
//!
//! No other file reads P-Asserted-Identity or P-Called-Party-ID, or takes Referred-By for an identity: what an untrusted
//! peer asserts does not exist for the rest of the code.

use crate::event::Peer;
use crate::im::flows::TrustedCore;
use crate::im::stir::Signed;
use crate::sip::header::{Address, From, HeaderFault, PAssertedIdentity, PCalledPartyId, ReferredBy};
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::uri::{Scheme, Uri, aor, is_anonymous};

/// The caller: asserted by a trusted core, else signed for, else what From claims.
//= IM R-32
pub(crate) fn caller(
    message: &Message<'_>,
    core: Option<TrustedCore>,
    signed: Option<&Signed>,
) -> Result<Peer, HeaderFault> {
    let from = message.one::<From<'_>>()?;
    if let Some(asserted) = core.and_then(|core| asserted(message, core)) {
        return Ok(asserted);
    }
    let claimed = claimed(&from.0);
    Ok(match signed {
        Some(signed) => Peer { address: signed.address().to_owned(), verified: true, ..claimed },
        None => claimed,
    })
}

/// Why a caller is known as he is, in words.
pub(crate) fn reason(message: &Message<'_>, caller: &Peer, signed: Option<&Signed>) -> &'static str {
    match (caller.verified, message.has(Name::PAssertedIdentity)) {
        (true, _) if signed.is_some_and(|signed| signed.address() == caller.address) => {
            "a signature vouches for the caller (Identity)"
        }
        (true, _) => "a trusted core vouches for the caller (P-Asserted-Identity)",
        (false, true) => {
            "the caller is who From claims: P-Asserted-Identity counts from a trusted hop only, if it is a SIP or tel URI"
        }
        (false, false) => "the caller is who From claims: nobody vouches for it",
    }
}

/// Who answered, if a trusted core says so. To says nothing: it is a copy of ours, or a lie (RFC 3261 8.2.6.2).
pub(crate) fn callee(message: &Message<'_>, core: Option<TrustedCore>) -> Option<Peer> {
    core.and_then(|core| asserted(message, core))
}

/// The addresses that a trusted core asserts of somebody, as keys ([`aor`]): of SIP, a telephone number, or both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Asserted {
    sip: Option<Box<str>>,
    tel: Option<Box<str>>,
}

impl Asserted {
    /// Whether this is an address of the same person (P-5). Who is anonymous is nobody.
    //= IM P-5
    pub(crate) fn is(&self, uri: &Uri<'_>) -> bool {
        !is_anonymous(uri) && self.keys().any(|key| key == aor(uri))
    }

    /// Whether both are the same person: one common address is enough.
    pub(crate) fn is_same(&self, other: &Asserted) -> bool {
        self.keys().any(|key| other.keys().any(|other| other == key))
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        [&self.sip, &self.tel].into_iter().flatten().map(AsRef::as_ref)
    }
}

impl std::fmt::Display for Asserted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.keys().collect();
        f.write_str(if keys.is_empty() { "anonymous" } else { "" })?;
        f.write_str(&keys.join(" and "))
    }
}

/// Who a trusted core says that the sender is; `None` if it says nothing.
pub(crate) fn identity(message: &Message<'_>, core: Option<TrustedCore>) -> Option<Asserted> {
    let Identities { sip, tel } = identities(message, core?);
    let key = |address: &Address<'_>| {
        let uri = address.uri().ok().filter(|uri| !is_anonymous(uri))?;
        Some(aor(&uri).into())
    };
    let asserted = Asserted { sip: sip.as_ref().and_then(key), tel: tel.as_ref().and_then(key) };
    (sip.is_some() || tel.is_some()).then_some(asserted)
}

/// Which address of ours the caller asked for, before a trusted core put our Contact in its place (RFC 7315 4.2.2.1).
//= IM R-54
pub(crate) fn called_party<'a>(message: &Message<'a>, _: TrustedCore) -> Option<Address<'a>> {
    message.maybe::<PCalledPartyId<'a>>().ok().flatten().map(|called| called.0)
}

/// Who sent the caller to us, as a trusted core passed it on. The core does not vouch for it (RFC 3892 2.3).
//= IM X-7
pub(crate) fn referrer<'a>(message: &Message<'a>, _: TrustedCore) -> Option<Address<'a>> {
    message.maybe::<ReferredBy<'a>>().ok().flatten().map(|referrer| referrer.address)
}

/// How a referrer is shown: never as verified.
//= IM P-6
pub(crate) fn referrer_shown(message: &Message<'_>, core: Option<TrustedCore>) -> Option<Peer> {
    referrer(message, core?).map(|address| claimed(&address))
}

fn asserted(message: &Message<'_>, core: TrustedCore) -> Option<Peer> {
    let Identities { sip, tel } = identities(message, core);
    sip.or(tel).map(|address| Peer { verified: true, ..claimed(&address) })
}

#[derive(Default)]
struct Identities<'a> {
    sip: Option<Address<'a>>,
    tel: Option<Address<'a>>,
}

/// RFC 3325 9.1: one or two values, of which one is a SIP or SIPS URI. RFC 5876 4.5: values of other schemes, and a second
/// one of the same kind, are ignored.
fn identities<'a>(message: &Message<'a>, _: TrustedCore) -> Identities<'a> {
    let mut found = Identities::default();
    for PAssertedIdentity(address) in message.list::<PAssertedIdentity<'_>>().flatten() {
        match address.uri().map(|uri| uri.scheme()) {
            Ok(Scheme::Sip | Scheme::Sips) => drop(found.sip.get_or_insert(address)),
            Ok(Scheme::Tel) => drop(found.tel.get_or_insert(address)),
            Ok(Scheme::Other) | Err(_) => {}
        }
    }
    found
}

fn claimed(address: &Address<'_>) -> Peer {
    let display_name = address.display_name().map(|name| name.into_owned()).filter(|name| !name.is_empty());
    Peer { address: plain(address.uri), display_name, verified: false }
}

/// A URI without the parameters and headers that say nothing about who it is.
pub(crate) fn plain(uri: &[u8]) -> String {
    let Ok(parsed) = Uri::parse(uri) else { return String::from_utf8_lossy(uri).into_owned() };
    match parsed.scheme() {
        Scheme::Sip | Scheme::Sips => {
            let mut plain = String::from(if parsed.scheme() == Scheme::Sips { "sips:" } else { "sip:" });
            if let Some(user) = parsed.user() {
                plain.push_str(user);
                plain.push('@');
            }
            plain.extend(parsed.host().chars().map(|letter| letter.to_ascii_lowercase()));
            if let Some(port) = parsed.port() {
                plain.push(':');
                plain.push_str(&port.to_string());
            }
            plain
        }
        Scheme::Tel | Scheme::Other => parsed.as_str().split(';').next().unwrap_or_default().to_owned(),
    }
}
