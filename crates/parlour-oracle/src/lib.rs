//! What other implementations make of the same octets. The comparisons are this crate's tests; it is never published
//! and nothing depends on it.
