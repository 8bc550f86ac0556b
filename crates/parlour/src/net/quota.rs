//! How many connections one address may have, counted from the accept on: a TLS handshake under way is one.

use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) struct Quota {
    per_source: usize,
    held: BTreeMap<IpAddr, usize>,
    holders: BTreeMap<u64, IpAddr>,
}

impl Quota {
    pub(super) fn new(per_source: usize) -> Quota {
        Quota { per_source, held: BTreeMap::new(), holders: BTreeMap::new() }
    }

    /// Whether `source` may have one more, which is then counted until it is released.
    //= IM X-13
    pub(super) fn admit(&mut self, stream: u64, source: IpAddr) -> bool {
        let held = self.held.entry(source).or_insert(0);
        if *held >= self.per_source {
            return false;
        }
        *held = held.saturating_add(1);
        self.holders.insert(stream, source);
        true
    }

    /// A stream is gone, whoever opened it.
    pub(super) fn release(&mut self, stream: u64) {
        let Some(source) = self.holders.remove(&stream) else { return };
        if let Some(held) = self.held.get_mut(&source) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&source);
            }
        }
    }
}
