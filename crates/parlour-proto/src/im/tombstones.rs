//! Dialogs that ended not long ago: an INVITE that would replace one of them is late, not mistaken (P-3).

use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::time::Duration;

use parlour_msrp::table::HashKeys;

use crate::io::Instant;
use crate::sip::dialog::DialogKey;

/// How long they are remembered; RFC 3261 would do with the 32 s of its timers.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(300);

/// At most so many: those of 32 s at a thousand calls a second.
const MOST: usize = 32_768;

/// Dialogs that ended, by a hash with our own keys: nobody can make another dialog look like one of them.
#[derive(Debug)]
pub(crate) struct Tombstones {
    keys: HashKeys,
    hashes: BTreeSet<u64>,
    /// In the order of their ends.
    order: VecDeque<(Instant, u64)>,
}

impl Tombstones {
    pub(crate) fn new(keys: HashKeys) -> Self {
        Tombstones { keys, hashes: BTreeSet::new(), order: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, now: Instant, key: &DialogKey) {
        let hash = self.keys.hash_one(key);
        if self.hashes.insert(hash) {
            self.order.push_back((now, hash));
        }
        if self.order.len() > MOST {
            self.drop_oldest();
        }
    }

    pub(crate) fn has(&self, key: &DialogKey) -> bool {
        self.hashes.contains(&self.keys.hash_one(key))
    }

    /// Forgets those whose time is over, and says when the next one's is.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&(ended, _)) = self.order.front() {
            if ended + REMEMBERED > now {
                return Some(ended + REMEMBERED);
            }
            self.drop_oldest();
        }
        self.order = VecDeque::new();
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn drop_oldest(&mut self) {
        if let Some((_, hash)) = self.order.pop_front() {
            self.hashes.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_bounded_and_go_by_themselves() {
        let mut tombstones = Tombstones::new(HashKeys(1, 2));
        let key = |n: usize| DialogKey::new(&n.to_string(), "to", "from");
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        for n in 0..=MOST {
            tombstones.add(at(n as u64 / 4096), &key(n));
        }
        assert!(!tombstones.has(&key(0)), "the oldest makes room");
        assert!(tombstones.has(&key(1)) && tombstones.has(&key(MOST)) && !tombstones.has(&key(MOST + 1)));
        assert_eq!(tombstones.expire(at(299)), Some(at(300)));
        assert!(tombstones.has(&key(4095)));
        assert_eq!(tombstones.expire(at(300)), Some(at(301)));
        assert!(!tombstones.has(&key(4095)) && tombstones.has(&key(4096)));
        assert_eq!(tombstones.expire(at(400)), None);
        assert!(tombstones.is_empty());
    }
}
