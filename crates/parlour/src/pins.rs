//! The certificates that peers have shown before: what comes first is trusted, and another one is told.

use std::collections::BTreeMap;
use std::time::Duration;

use parlour_proto::event::{Secured, Voucher};
use parlour_proto::sip::uri::{Uri, is_anonymous};

use crate::store::party;

/// Peers that are remembered. Of more, those go whose addresses nobody vouched for, then the others, the oldest first.
const PEERS: usize = 10_000;
/// Certificates that are remembered of one peer: each of its devices may have its own.
const CERTIFICATES: usize = 4;
/// Octets of an address. Of longer ones nothing is remembered.
const LONGEST: usize = 256;

/// Whose certificates they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The account that the peer speaks with.
    pub(crate) account: String,
    /// The peer's address, as a key.
    pub(crate) party: String,
    /// Whether somebody vouched for that address: who only claims it has a memory of his own.
    pub(crate) verified: bool,
}

/// A certificate that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) fingerprint: String,
    /// When it was shown first and last, since 1970.
    pub(crate) first: Duration,
    pub(crate) last: Duration,
    /// Whether its fingerprint ever came through protected signalling.
    pub(crate) protected: bool,
    /// It is the one that was there first; those that came as a change are not.
    pub(crate) confirmed: bool,
}

/// What is to be written of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pinned {
    pub(crate) owner: Owner,
    /// All of its certificates.
    pub(crate) pins: Vec<Pin>,
    /// Who had to go for it.
    pub(crate) forgotten: Option<Owner>,
}

/// What a certificate is, compared with those before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// There were none.
    First,
    /// It was shown before.
    Known,
    /// It is another one: than this, which was shown last.
    Changed(&'a Pin),
}

/// Compares the certificate that is shown with those that are known.
//= IM X-43
pub(crate) fn compare<'a>(known: impl Iterator<Item = &'a Pin>, shown: &str) -> Verdict<'a> {
    let mut last: Option<&Pin> = None;
    for pin in known {
        if pin.fingerprint == shown {
            return Verdict::Known;
        }
        if last.is_none_or(|last| last.last <= pin.last) {
            last = Some(pin);
        }
    }
    last.map_or(Verdict::First, Verdict::Changed)
}

/// The memory of all peers.
#[derive(Debug, Default)]
pub(crate) struct Pins(BTreeMap<Owner, Vec<Pin>>);

impl Pins {
    pub(crate) fn new(known: impl IntoIterator<Item = (Owner, Pin)>) -> Pins {
        let mut pins = Pins::default();
        for (owner, pin) in known {
            pins.0.entry(owner).or_default().push(pin);
        }
        pins
    }

    /// Takes in what a peer has shown: what is to be written, and the certificate that it is not.
    pub(crate) fn see(
        &mut self,
        account: &str,
        now: Duration,
        secured: &Secured,
    ) -> Option<(Pinned, Option<Pin>)> {
        let Secured { peer, by, fingerprint, protected } = secured;
        // An authority says each time who it is; and where nobody says it, nothing is learned.
        let fingerprint = fingerprint.as_deref().filter(|_| *by == Voucher::Fingerprint)?;
        if peer.address.len() > LONGEST
            || Uri::parse(peer.address.as_bytes()).is_ok_and(|uri| is_anonymous(&uri))
        {
            return None;
        }
        let (account, party) = (account.to_owned(), party(&peer.address));
        let owner = Owner { account, party, verified: peer.verified };
        // Who only claims an address is held against what is known of it for certain, too.
        let certain = Owner { verified: true, ..owner.clone() };
        let beside = self.0.get(&certain).filter(|_| !peer.verified).into_iter().flatten();
        let known = self.0.get(&owner).into_iter().flatten();
        let (before, confirmed) = match compare(known.chain(beside), fingerprint) {
            Verdict::Changed(before) => (Some(before.clone()), false),
            Verdict::First | Verdict::Known => (None, true),
        };
        let forgotten = self.make_room(&owner);
        let pins = self.0.entry(owner.clone()).or_default();
        match pins.iter_mut().find(|pin| pin.fingerprint == fingerprint) {
            Some(pin) => {
                pin.last = now;
                pin.protected |= protected;
            }
            None => {
                if pins.len() >= CERTIFICATES {
                    let oldest = pins.iter().enumerate().min_by_key(|(_, pin)| (pin.confirmed, pin.last));
                    let oldest = oldest.map(|(at, _)| at);
                    oldest.into_iter().for_each(|at| drop(pins.remove(at)));
                }
                let fingerprint = fingerprint.to_owned();
                pins.push(Pin { fingerprint, first: now, last: now, protected: *protected, confirmed });
            }
        }
        Some((Pinned { owner, pins: pins.clone(), forgotten }, before))
    }

    /// Forgets somebody, if a newcomer needs the room.
    fn make_room(&mut self, newcomer: &Owner) -> Option<Owner> {
        if self.0.len() < PEERS || self.0.contains_key(newcomer) {
            return None;
        }
        let last = |pins: &[Pin]| pins.iter().map(|pin| pin.last).max();
        let (owner, _) = self.0.iter().min_by_key(|(owner, pins)| (owner.verified, last(pins)))?;
        let owner = owner.clone();
        self.0.remove(&owner);
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use parlour_proto::event::Peer;

    use super::*;

    fn shows(address: &str, verified: bool, fingerprint: &str) -> Secured {
        let peer = Peer { address: address.into(), display_name: None, verified };
        Secured { peer, by: Voucher::Fingerprint, fingerprint: Some(fingerprint.into()), protected: true }
    }

    /// At each second something is shown: the certificates that were expected instead.
    fn told(shown: &[Secured]) -> Vec<Option<String>> {
        let mut pins = Pins::default();
        let see = |(second, secured): (u64, &Secured)| {
            let seen = pins.see("sip:us@x", Duration::from_secs(second), secured);
            seen.and_then(|(_, before)| before).map(|pin| pin.fingerprint)
        };
        (0..).zip(shown).map(see).collect()
    }

    //= IM X-43 test
    #[test]
    fn x_43_another_certificate_is_told_once() {
        let alice = |print: &str| shows("sip:alice@x;transport=tcp", true, print);
        let old = |print: &str| Some(print.to_owned());
        assert_eq!(
            told(&[alice("A"), alice("A"), alice("B"), alice("B"), alice("A"), alice("C")]),
            [None, None, old("A"), None, None, old("A")],
            "the one shown last is the old one, and devices alternate in silence"
        );
        let five: Vec<Secured> = ["A", "B", "C", "D", "E", "B", "A"].map(alice).into();
        let expected = [None, old("A"), old("B"), old("C"), old("D"), old("E"), None];
        assert_eq!(told(&five), expected, "of five, the oldest but the first is forgotten");
    }

    //= IM X-43 test
    #[test]
    fn x_43_who_only_claims_an_address_changes_nothing_of_it() {
        let (sure, claims) =
            (|print| shows("sip:alice@x", true, print), |print| shows("sip:alice@x", false, print));
        let old = |print: &str| Some(print.to_owned());
        assert_eq!(
            told(&[sure("A"), claims("A"), claims("M"), claims("M"), sure("A"), sure("M")]),
            [None, None, old("A"), None, None, old("A")],
            "M is not known to be Alice's by having been claimed to be"
        );
        assert_eq!(told(&[claims("M"), sure("A")]), [None, None]);
        assert_eq!(told(&[sure("A"), claims("M")]), [None, old("A")], "held against what is certain");
        let anonymous = |print| shows("sip:anonymous@anonymous.invalid", false, print);
        assert_eq!(told(&[anonymous("A"), anonymous("B")]), [None, None]);
        let by = Voucher::Authority { name: "x".into() };
        let vouched = |print| Secured { by: by.clone(), ..sure(print) };
        assert_eq!(told(&[vouched("A"), vouched("B"), sure("C")]), [None, None, None]);
    }

    //= IM X-43 test
    #[test]
    fn x_43_a_crowd_that_only_claims_its_addresses_drives_nobody_else_out() {
        let mut pins = Pins::default();
        pins.see("sip:us@x", Duration::ZERO, &shows("sip:alice@x", true, "A"));
        let mut forgotten = Vec::new();
        for number in 1..=10_001 {
            let crowd = shows(&format!("sip:{number}@x"), false, "M");
            let seen = pins.see("sip:us@x", Duration::from_secs(number), &crowd);
            forgotten.extend(seen.and_then(|(pinned, _)| pinned.forgotten).map(|owner| owner.party));
        }
        assert_eq!(forgotten, ["sip:1@x", "sip:2@x"]);
        assert_eq!(pins.0.len(), PEERS);
        let seen = pins.see("sip:us@x", Duration::from_secs(20_000), &shows("sip:alice@x", true, "B"));
        assert_eq!(seen.and_then(|(_, before)| before).map(|pin| pin.fingerprint), Some("A".to_owned()));
    }
}
