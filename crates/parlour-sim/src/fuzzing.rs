//! The bodies of this crate's fuzz targets: they panic on what is wrong.

use crate::scenario::{self, Dice};

/// Plays the scenario that these octets choose.
///
/// # Panics
/// If a client breaks a rule.
pub fn scenario(octets: &[u8]) {
    let outcome = scenario::play(Dice::Octets(octets), None);
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, outcome.ladder);
}
