//! Who sent a request, as far as the flow it came on lets us believe it.
//!
//! No other file reads P-Asserted-Identity: what an untrusted peer asserts does not exist for the rest of the code.

use crate::event::Peer;
use crate::im::flows::TrustedCore;
use crate::sip::header::{Address, From, HeaderFault, PAssertedIdentity};
use crate::sip::message::Message;
use crate::sip::uri::{Scheme, Uri};

/// The caller: asserted by a trusted core, else what From claims.
//= IM R-32
pub(crate) fn caller(message: &Message<'_>, core: Option<TrustedCore>) -> Result<Peer, HeaderFault> {
    let from = message.one::<From<'_>>()?;
    Ok(core.and_then(|core| asserted(message, core)).unwrap_or_else(|| claimed(&from.0)))
}

/// Who answered, if a trusted core says so. To says nothing: it is a copy of ours, or a lie (RFC 3261 8.2.6.2).
pub(crate) fn callee(message: &Message<'_>, core: Option<TrustedCore>) -> Option<Peer> {
    core.and_then(|core| asserted(message, core))
}

/// RFC 3325 9.1: one or two values, of which one is a SIP or SIPS URI.
fn asserted(message: &Message<'_>, _: TrustedCore) -> Option<Peer> {
    // RFC 5876 4.5: values of other schemes, and a second one of the same kind, are ignored. The SIP one is shown.
    let mut tel = None;
    for value in message.list::<PAssertedIdentity<'_>>().flatten() {
        let Ok(uri) = Uri::parse(value.0.uri) else { continue };
        match uri.scheme() {
            Scheme::Sip | Scheme::Sips => return Some(Peer { verified: true, ..claimed(&value.0) }),
            Scheme::Tel => {
                tel.get_or_insert_with(|| Peer { verified: true, ..claimed(&value.0) });
            }
            Scheme::Other => {}
        }
    }
    tel
}

fn claimed(address: &Address<'_>) -> Peer {
    let display_name = address.display_name().map(|name| name.into_owned()).filter(|name| !name.is_empty());
    Peer { address: plain(address.uri), display_name, verified: false }
}

/// A URI without the parameters and headers that say nothing about who it is.
pub(crate) fn plain(uri: &[u8]) -> String {
    let text = String::from_utf8_lossy(uri);
    let Ok(parsed) = Uri::parse(uri) else { return text.into_owned() };
    match parsed.scheme() {
        Scheme::Sip | Scheme::Sips => {
            let mut plain = String::from(if parsed.scheme() == Scheme::Sips { "sips:" } else { "sip:" });
            if let Some(user) = parsed.user() {
                plain.push_str(user);
                plain.push('@');
            }
            plain.push_str(&parsed.host().to_ascii_lowercase());
            if let Some(port) = parsed.port() {
                plain.push(':');
                plain.push_str(&port.to_string());
            }
            plain
        }
        Scheme::Tel | Scheme::Other => text.split(';').next().unwrap_or_default().to_owned(),
    }
}
