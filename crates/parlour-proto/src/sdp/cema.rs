//! Where an active end connects if somebody on the way has changed the addresses: CEMA (RFC 6714), and the same without
//! being asked (OMA IM 5.8.2).

use std::net::IpAddr;

use parlour_msrp::uri::{MsrpPath, MsrpUri};

use super::judge::connection;
use super::{Capabilities, Media, Role, Session, Unfit};
use crate::config::Cema;

/// Of which half of a negotiation a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Offer,
    Answer,
}

/// What a line's addresses come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Anchor {
    /// Whether CEMA is agreed on: both ends know it.
    pub(super) agreed: bool,
    /// Where to connect, if not to the path.
    pub(super) hop: Option<MsrpUri>,
    /// Whether RFC 6714 4.2 wants another offer, without CEMA.
    pub(super) falls_back: bool,
}

//= IM D-15
//= IM D-16
/// Compares where a line says that it is (`c=`, `m=`) with its path.
pub(super) fn anchor(
    session: &Session,
    media: &Media,
    path: &MsrpPath,
    role: Role,
    half: Half,
    ours: &Capabilities,
) -> Result<Anchor, Unfit> {
    let knows = media.attributes.iter().any(|attribute| attribute.name.eq_ignore_ascii_case("msrp-cema"));
    let stated = stated(session, media, path);
    let moved = stated.as_ref().is_some_and(|stated| !path.uris().iter().any(|uri| is_at(stated, uri)));
    let relayed = path.uris().len() > 1;
    let active = role == Role::Active;
    let to_stated = || stated.clone().filter(|uri| moved && active && uri.port() != Some(9));
    match (ours.cema, half) {
        (Cema::Off | Cema::Auto, _) => Ok(Anchor::default()),
        // RFC 6714 4.3: a relay that connects cannot be told where to; both ends do as RFC 4975 says. That also covers
        // relays at both ends, as one of them connects.
        (_, Half::Offer) if knows && if active { ours.relay } else { relayed } => Ok(Anchor::default()),
        (_, Half::Offer | Half::Answer) if knows => {
            Ok(Anchor { agreed: true, hop: to_stated(), falls_back: false })
        }
        // RFC 6714 4.3: the addresses were changed by something that does not know CEMA.
        (Cema::Strict, Half::Offer) if moved => Err(Unfit::Rewritten),
        // RFC 6714 4.2: an answerer that does not know CEMA would connect past the middlebox, or a relay would.
        (Cema::Strict, Half::Answer) if moved && (!active || relayed || ours.relay) => {
            Ok(Anchor { falls_back: true, ..Anchor::default() })
        }
        // A relay is where the path says (RFC 4976 4.1); what stands in `c=` need not be it.
        _ if relayed || ours.relay => Ok(Anchor::default()),
        _ => Ok(Anchor { hop: to_stated(), ..Anchor::default() }),
    }
}

/// The host and port of `c=` and `m=`, as a URI of the peer; `None` if they name no host.
fn stated(session: &Session, media: &Media, path: &MsrpPath) -> Option<MsrpUri> {
    let host = connection(session, media)?.address.as_str();
    if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return None;
    }
    let hop = path.leftmost();
    MsrpUri::new(hop.is_secure(), host, media.port, hop.session_id().unwrap_or("anchor")).ok()
}

/// RFC 6714 4.4: whether both lead to the same place. A name and an address may do: a name is not looked up for that, so
/// then the port tells.
fn is_at(stated: &MsrpUri, uri: &MsrpUri) -> bool {
    let same_host = match (stated.ip(), uri.ip()) {
        (Some(one), Some(other)) => one.to_canonical() == other.to_canonical(),
        (None, None) => stated.host().eq_ignore_ascii_case(uri.host()),
        (Some(_), None) | (None, Some(_)) => true,
    };
    same_host && stated.port() == uri.port()
}
