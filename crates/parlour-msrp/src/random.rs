//! All randomness of the protocol crates: one ChaCha12 stream from the driver's seed.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::table::HashKeys;

/// Characters of the identifiers that we generate: RFC 3261 tokens, RFC 4975 idents and RFC 3986 unreserved alike.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";

/// A cryptographically strong generator that is repeatable from its seed. Seed it from the operating system.
#[derive(Debug)]
pub struct Random(ChaCha12Rng);

impl Random {
    /// A generator that yields the same values for the same seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Random(ChaCha12Rng::from_seed(seed))
    }

    /// A seed for a generator of its own, for another owner.
    pub fn fork(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }

    /// Keys for a table of Parlour's.
    #[doc(hidden)]
    pub fn hash_keys(&mut self) -> HashKeys {
        HashKeys(self.0.next_u64(), self.0.next_u64())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A value in `0..bound`; 0 for a bound of 0. The bias is below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.next_u64() % bound }
    }

    /// An identifier of `length` characters (6 bits of randomness each) that starts with a letter or digit: 16 make a
    /// Message-ID, 22 the session-id of a URI.
    pub fn ident(&mut self, length: usize) -> String {
        let mut bits = 0_u64;
        (0..length)
            .map(|at| {
                if at % 10 == 0 {
                    bits = self.0.next_u64();
                }
                let six = usize::try_from(bits & 63).unwrap_or(0);
                bits >>= 6;
                // RFC 4975 9: an ident starts with ALPHANUM.
                let six = if at == 0 { six % 62 } else { six };
                char::from(ALPHABET.get(six).copied().unwrap_or(b'a'))
            })
            .collect()
    }
}
