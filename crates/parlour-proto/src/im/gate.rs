//! Token buckets against floods.

use std::net::IpAddr;

use parlour_msrp::table::{HashKeys, Table};

use crate::io::Instant;

/// Sources that are remembered at once; when there are more, all begin anew.
const SOURCES: usize = 4096;

/// Admits new requests at a bounded rate, from each source and altogether.
#[derive(Debug)]
pub(crate) struct Gate {
    per_source: u32,
    all: Bucket,
    sources: Table<IpAddr, Bucket>,
    keys: HashKeys,
}

impl Gate {
    /// Rates are a second's; a burst may be as large.
    pub(crate) fn new(per_source: u32, altogether: u32, keys: HashKeys) -> Self {
        Gate { per_source, all: Bucket::full(altogether, Instant::ZERO), sources: Table::new(keys), keys }
    }

    /// Whether one more new request from `source` is taken.
    //= IM X-10
    pub(crate) fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.sources.len() >= SOURCES && !self.sources.contains(&source) {
            self.sources = Table::new(self.keys);
        }
        if !self.sources.contains(&source) {
            self.sources.insert(source, Bucket::full(self.per_source, now));
        }
        let own = self.sources.get_mut(&source).is_some_and(|bucket| bucket.take(now));
        own && self.all.take(now)
    }
}

/// Holds up to one second's worth of tokens, and is refilled at that rate.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: u32,
    /// Millionths of a token.
    level: u64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: u32, now: Instant) -> Self {
        Bucket { rate, level: u64::from(rate).saturating_mul(1_000_000), filled: now }
    }

    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let capacity = u64::from(self.rate).saturating_mul(1_000_000);
        let elapsed = u64::try_from((now - self.filled).as_micros()).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(elapsed.saturating_mul(u64::from(self.rate))).min(capacity);
        self.filled = now;
        match self.level.checked_sub(1_000_000) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    //= IM X-10 test
    fn a_source_is_held_to_its_rate_and_others_are_not_hurt() {
        let mut gate = Gate::new(10, 1000, HashKeys(1, 2));
        let (greedy, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let at = Instant::from_micros;
        assert_eq!((0..50).filter(|_| gate.admit(at(5), greedy)).count(), 10);
        assert!(gate.admit(at(5), other));
        assert!(!gate.admit(at(99_999), greedy));
        assert!(gate.admit(at(100_005), greedy), "a tenth of a second is one token");
        assert!(!gate.admit(at(100_006), greedy));
    }

    #[test]
    fn the_whole_is_bounded_whatever_the_sources() {
        let mut gate = Gate::new(10, 100, HashKeys(1, 2));
        let admitted =
            (0..20_000_u32).filter(|n| gate.admit(Instant::ZERO, IpAddr::from(n.to_be_bytes()))).count();
        assert_eq!(admitted, 100);
    }
}
