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

#[cfg(test)]
mod tests {
    use super::*;

    //= IM X-13 test
    #[test]
    fn a_stream_counts_until_it_is_gone_and_not_twice() {
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut quota = Quota::new(2);
        assert!(quota.admit(1, one) && quota.admit(2, one) && !quota.admit(3, one));
        assert!(quota.admit(4, other), "each address has its own");
        // Nobody has the third; the first is gone once, whoever says it again.
        for stream in [3, 1, 1] {
            quota.release(stream);
        }
        assert!(quota.admit(5, one) && !quota.admit(6, one));
        for stream in [2, 4, 5] {
            quota.release(stream);
        }
        assert!(quota.held.is_empty() && quota.holders.is_empty());
    }
}
