//! Where an active end connects if somebody on the way has changed the addresses: CEMA (RFC 6714), and the same without
//! being asked (OMA IM 5.8.2).

use std::net::IpAddr;

use parlour_msrp::uri::{MsrpPath, MsrpUri};

use super::judge::connection;
use super::{Capabilities, Media, Role, Session, Setup, Unfit};
use crate::config::Cema;

/// The port of who connects and does not listen (RFC 4145 4).
const DISCARD: u16 = 9;

/// The most names that one description makes us look up.
const MOST_NAMES: usize = 4;

/// Of which half of a negotiation a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Offer,
    /// The answer to an offer of ours, with CEMA or without.
    Answer {
        cema: bool,
    },
}

/// Whether an offer of ours with CEMA has to be made again without (RFC 6714 4.2). What its answer says in `c=` and `m=` is
/// kept as a URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FallBack {
    /// What was agreed on can be.
    #[default]
    No,
    /// `c=` and `m=` lead elsewhere than the path: to a middlebox that the other end knows nothing of.
    Due(MsrpUri),
    /// The same, unless both lead to the same place, which takes looking names up to tell.
    Unless(MsrpUri),
}

/// What names stand for, as far as it is known: addresses are compared by it (RFC 6714 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names(Vec<(String, Vec<IpAddr>)>);

/// What a line's addresses come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Anchor {
    /// Whether CEMA is agreed on: both ends know it.
    pub(super) agreed: bool,
    /// Where to connect, if not to the path.
    pub(super) hop: Option<MsrpUri>,
    pub(super) fall_back: FallBack,
}

impl Names {
    /// Keeps what a name stands for: nothing, if no address was found.
    pub fn learn(&mut self, name: &str, addresses: &[IpAddr]) {
        if self.of(name).is_none() && self.0.len() < MOST_NAMES {
            self.0.push((name.to_owned(), addresses.to_vec()));
        }
    }

    fn of(&self, name: &str) -> Option<&[IpAddr]> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, found)| found.as_slice())
    }

    fn at(&self, uri: &MsrpUri) -> Option<Vec<IpAddr>> {
        uri.ip().map(|ip| vec![ip]).or_else(|| self.of(uri.host()).map(<[IpAddr]>::to_vec))
    }
}

impl FallBack {
    /// Where `c=` and `m=` of the answer lead, if that matters.
    pub fn stated(&self) -> Option<&MsrpUri> {
        match self {
            FallBack::No => None,
            FallBack::Due(stated) | FallBack::Unless(stated) => Some(stated),
        }
    }

    /// Settles what had to be looked up; a name that is still unknown counts as another place.
    pub fn settle(&mut self, path: &MsrpPath, names: &Names) {
        if let FallBack::Unless(stated) = self {
            let same = meets(stated, path, Role::Active, names) == Some(true);
            *self = if same { FallBack::No } else { FallBack::Due(stated.clone()) };
        }
    }

    /// The names that have to be looked up to settle it.
    pub fn names(&self, path: &MsrpPath) -> Vec<String> {
        match self {
            FallBack::Unless(stated) => unknown(stated, path, &Names::default()),
            FallBack::No | FallBack::Due(_) => Vec::new(),
        }
    }
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
    let stated = stated(session, media, path);
    let meets = stated.as_ref().map_or(Some(true), |stated| meets(stated, path, role, &ours.names));
    let (knows, relayed, active) = (knows(media), is_relayed(path), role == Role::Active);
    // RFC 6714 4.2 and 4.3: whoever connects and has not fallen back goes by c= and m=.
    let unless = |same: bool| {
        let elsewhere = |uri: &MsrpUri| active && !same && uri.port() != Some(DISCARD);
        stated.clone().filter(elsewhere)
    };
    let path_alone = Anchor::default();
    match (ours.cema, half) {
        (Cema::Off | Cema::Auto, _) => Ok(path_alone),
        // RFC 6714 4.2: without the attribute in our offer, middleboxes answer for themselves, path and all.
        (Cema::Strict, Half::Answer { cema: false }) => Ok(path_alone),
        // RFC 6714 4.1: a relay that connects cannot be told where to. And 4.3: both ends do as RFC 4975 says where the
        // end that connects has a relay, which is always so if both have one.
        (_, Half::Offer | Half::Answer { cema: true })
            if knows && if active { ours.relay } else { relayed } =>
        {
            Ok(path_alone)
        }
        (_, Half::Offer | Half::Answer { cema: true }) if knows => {
            Ok(Anchor { agreed: true, hop: unless(meets == Some(true)), fall_back: FallBack::No })
        }
        // RFC 6714 4.3: the addresses were changed by something that does not know CEMA.
        (Cema::Strict, Half::Offer) if meets == Some(false) => Err(Unfit::Rewritten),
        // RFC 6714 4.2: an answerer that does not know CEMA connects past the middlebox, or a relay does. Where there is
        // no middlebox, the path leads there.
        (_, Half::Answer { cema: true }) if !active || relayed || ours.relay => {
            let fall_back = match (meets, stated) {
                (Some(true), _) | (_, None) => FallBack::No,
                (Some(false), Some(stated)) => FallBack::Due(stated),
                (None, Some(stated)) => FallBack::Unless(stated),
            };
            Ok(Anchor { fall_back, ..path_alone })
        }
        (_, Half::Answer { cema: true }) => Ok(Anchor { hop: unless(meets == Some(true)), ..path_alone }),
        // A relay is where the path says (RFC 4976 4.1); what stands in `c=` need not be it.
        (_, Half::Offer | Half::Answer { cema: false }) if relayed || ours.relay => Ok(path_alone),
        (_, Half::Offer | Half::Answer { cema: false }) => {
            Ok(Anchor { hop: unless(meets != Some(false)), ..path_alone })
        }
    }
}

/// What an offer of `actpass` leaves us, if CEMA is to work: an end behind a relay can only be passive (RFC 6714 4.2, 4.3).
pub(super) fn narrowed(
    said: Option<Setup>,
    media: &Media,
    path: &MsrpPath,
    ours: &Capabilities,
) -> Option<Setup> {
    match (said, ours.relay, is_relayed(path)) {
        (Some(Setup::Actpass), true, false) if knows(media) && ours.knows_cema() => Some(Setup::Active),
        (Some(Setup::Actpass), false, true) if knows(media) && ours.knows_cema() => Some(Setup::Passive),
        (said, _, _) => said,
    }
}

/// The names without which nobody can tell whether an offer was changed on its way (RFC 6714 4.3): look them up, and let
/// [`Capabilities::names`] know.
pub fn names_to_compare(offer: &Session, ours: &Capabilities) -> Vec<String> {
    let mut names = Vec::new();
    if !ours.knows_cema() {
        return names;
    }
    let messages = offer.media.iter().filter(|media| media.media.eq_ignore_ascii_case("message"));
    for media in messages.filter(|media| media.port != 0 && !knows(media)) {
        let path = media.attribute("path").and_then(|path| MsrpPath::parse(path.trim()).ok());
        let Some(path) = path else { continue };
        // Who does not refuse and does not connect need not know.
        let connects = matches!(Setup::of(offer, media), Ok(Some(Setup::Passive | Setup::Actpass)));
        if ours.cema == Cema::Strict || (connects && !is_relayed(&path) && !ours.relay) {
            let stated = stated(offer, media, &path);
            names.extend(stated.into_iter().flat_map(|stated| unknown(&stated, &path, &ours.names)));
        }
    }
    names.sort_unstable();
    names.dedup();
    names.truncate(MOST_NAMES);
    names
}

/// Whether a line has the attribute (RFC 6714 5).
fn knows(media: &Media) -> bool {
    media.attributes.iter().any(|attribute| attribute.name.eq_ignore_ascii_case("msrp-cema"))
}

/// RFC 6714 4.3: by more than one URI in its path the other end is known to use a relay.
fn is_relayed(path: &MsrpPath) -> bool {
    path.uris().len() > 1
}

/// The host and port of `c=` and `m=`, as a URI of the peer; `None` if they name no host, or say what the path says.
fn stated(session: &Session, media: &Media, path: &MsrpPath) -> Option<MsrpUri> {
    let host = connection(session, media)?.address.as_str();
    let hop = path.leftmost();
    if hop.host() == host && hop.port() == Some(media.port) {
        return None;
    }
    if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return None;
    }
    MsrpUri::new(hop.is_secure(), host, media.port, hop.session_id().unwrap_or("anchor")).ok()
}

/// RFC 6714 4.4: whether `c=` and `m=` lead to a URI of the path; `None` if that takes looking a name up.
fn meets(stated: &MsrpUri, path: &MsrpPath, role: Role, names: &Names) -> Option<bool> {
    let uris = path.uris();
    let verdict = |uri| is_at(stated, uri, role, names);
    if uris.iter().any(|uri| verdict(uri) == Some(true)) {
        Some(true)
    } else if uris.iter().any(|uri| verdict(uri).is_none()) {
        None
    } else {
        Some(false)
    }
}

/// Of several addresses of a name one is enough (RFC 6714 4.4).
fn is_at(stated: &MsrpUri, uri: &MsrpUri, role: Role, names: &Names) -> Option<bool> {
    // D-12: a peer that connects says the discard port in m=, whether or not its path does, and nobody has changed that.
    let silent = role == Role::Passive && stated.port() == Some(DISCARD);
    if stated.port() != uri.port() && !silent {
        return Some(false);
    }
    // RFC 4975 6.1: special characters in names mean what they stand for.
    if stated.same_device(uri) || stated.host().eq_ignore_ascii_case(uri.host()) {
        return Some(true);
    }
    // RFC 5952: an address is compared as a number, whatever it was written like.
    let (one, other) = (names.at(stated)?, names.at(uri)?);
    Some(one.iter().any(|one| other.iter().any(|other| one.to_canonical() == other.to_canonical())))
}

/// The names that stand between us and an answer of [`meets`].
fn unknown(stated: &MsrpUri, path: &MsrpPath, names: &Names) -> Vec<String> {
    // Which of the two connects is not known yet: the discard port is no reason not to look.
    if meets(stated, path, Role::Passive, names).is_some() {
        return Vec::new();
    }
    let hosts = path.uris().iter().chain([stated]);
    let unknown = hosts.filter(|uri| names.at(uri).is_none());
    unknown.map(|uri| uri.host().to_ascii_lowercase()).take(MOST_NAMES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> MsrpUri {
        MsrpPath::parse(text).unwrap().leftmost().clone()
    }

    //= IM D-15 test
    #[test]
    fn names_are_compared_by_what_they_stand_for() {
        let mut names = Names::default();
        let told = |stated: &str, path: &str, names: &Names| {
            meets(&uri(stated), &MsrpPath::parse(path).unwrap(), Role::Active, names)
        };
        let (stated, path) = ("msrp://192.0.2.7:2855/a;tcp", "msrp://Relay.example:2855/a;tcp");
        assert_eq!(told(stated, path, &names), None);
        assert_eq!(told("msrp://192.0.2.7:2856/a;tcp", path, &names), Some(false), "the port tells alone");
        assert_eq!(told("msrp://relay.EXAMPLE:2855/a;tcp", path, &names), Some(true), "the same name");
        assert_eq!(told("msrp://r%65lay.example:2855/a;tcp", path, &names), Some(true));
        let two = format!("msrp://198.51.100.1:2855/b;tcp {path}");
        assert_eq!(told(stated, &two, &names), None, "one of them may be it");
        assert_eq!(unknown(&uri(stated), &MsrpPath::parse(&two).unwrap(), &names), ["relay.example"]);
        names.learn("relay.example", &["2001:db8::7".parse().unwrap(), "::ffff:192.0.2.7".parse().unwrap()]);
        assert_eq!(told(stated, path, &names), Some(true), "one address of several");
        assert_eq!(told("msrp://192.0.2.8:2855/a;tcp", path, &names), Some(false));
        assert_eq!(told("msrp://[2001:db8:0::0:7]:2855/a;tcp", path, &names), Some(true));
        names.learn("nowhere.example", &[]);
        assert_eq!(told(stated, "msrp://nowhere.example:2855/a;tcp", &names), Some(false));
        for number in 0..9 {
            names.learn(&format!("host{number}.example"), &[]);
        }
        assert_eq!(names.0.len(), MOST_NAMES);
    }

    #[test]
    fn what_is_unsettled_is_settled_by_names() {
        let path = MsrpPath::parse("msrp://peer.example:2855/a;tcp").unwrap();
        for (found, settled) in [
            (Some("192.0.2.7"), FallBack::No),
            (Some("192.0.2.8"), FallBack::Due(uri("msrp://192.0.2.7:2855/a;tcp"))),
            (None, FallBack::Due(uri("msrp://192.0.2.7:2855/a;tcp"))),
        ] {
            let mut fall_back = FallBack::Unless(uri("msrp://192.0.2.7:2855/a;tcp"));
            assert_eq!(fall_back.names(&path), ["peer.example"]);
            let mut names = Names::default();
            if let Some(found) = found {
                names.learn("peer.example", &[found.parse().unwrap()]);
            }
            fall_back.settle(&path, &names);
            assert_eq!(fall_back, settled);
        }
    }
}
