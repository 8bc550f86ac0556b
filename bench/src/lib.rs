//! Parlour's numbers beside their floors and peers: what is measured, and how. See docs/BENCHMARKS.md.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's report")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a benchmark looks at the few cases that it measures")]

pub mod calls;
pub mod frames;
pub mod invite;
pub mod memory;
pub mod micro;
pub mod msrp;
pub mod parse;
pub mod process;
pub mod report;
pub mod soak;

/// What a measurement can fail with.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Runs of which the median counts.
    pub runs: usize,
    /// Shorter runs, for a first look: the numbers are rough.
    pub quick: bool,
}

/// Tells whoever started this program as a server where it listens.
pub fn say_listening(address: std::net::SocketAddr) {
    println!("listening {address}");
}
