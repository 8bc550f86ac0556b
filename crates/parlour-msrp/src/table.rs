//! A hash table that a peer cannot attack: keyed from the seed, and never walked.
//!
//! For the other crates of Parlour; no promise is made to others.
#![expect(
    clippy::disallowed_types,
    reason = "the one place that keys a hash map from the seed and hides its order"
)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

/// Hash keys drawn from the seed, so that a run is repeatable and a peer who picks the strings cannot pick the
/// buckets.
#[derive(Debug, Clone, Copy)]
pub struct HashKeys(pub u64, pub u64);

impl BuildHasher for HashKeys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// A map for keys that contain the peer's strings. It has no iteration, as its order would differ from seed to seed.
#[derive(Debug)]
pub struct Table<K, V> {
    map: HashMap<K, V, HashKeys>,
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// An empty table with the given hash keys.
    pub fn new(keys: HashKeys) -> Self {
        Table { map: HashMap::with_hasher(keys) }
    }

    /// The value under `key`.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.map.get(key)
    }

    /// The value under `key`, to be changed.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.map.get_mut(key)
    }

    /// Whether there is a value under `key`.
    pub fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.map.contains_key(key)
    }

    /// Puts `value` under `key` and returns what stood there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.map.insert(key, value)
    }

    /// Takes the value under `key` out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let value = self.map.remove(key);
        // A burst must not keep its memory for good.
        if self.map.capacity() > 64 && self.map.len() * 8 < self.map.capacity() {
            self.map.shrink_to(self.map.len() * 2);
        }
        value
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}
