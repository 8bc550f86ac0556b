//! Counts allocations and kept octets; a program of its own because counting costs time.
#![expect(clippy::print_stdout, reason = "the other program reads it")]

use std::alloc::System;

use parlour_bench::{Outcome, memory};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Outcome<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    for line in memory::report(ALLOCATOR, quick)? {
        println!("{line}");
    }
    Ok(())
}
