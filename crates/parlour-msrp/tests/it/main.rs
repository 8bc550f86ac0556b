//! Behaviour of an endpoint in virtual time, one file a subject.

#![expect(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]
#![expect(unreachable_pub, reason = "nothing uses a test binary")]

mod binding;
mod bounds;
mod chunking;
mod fairness;
mod hostile;
mod nickname;
mod pair;
mod reassembly;
mod receiving;
mod relaying;
mod reports;
mod script;
mod sending;
mod succeeding;
mod timing;
