//! The worlds of flows: who watches them, and what chance there is in them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use parlour_sim::{Ladders, World};

// A flow is called as `cargo test` calls it, without arguments, so whoever watches or throws the dice cannot be one.
#[expect(clippy::disallowed_types, reason = "a flow takes no arguments; each play sets them anew")]
mod around {
    use super::*;

    thread_local! {
        /// Where the worlds that this thread makes leave their ladders.
        pub(super) static LADDERS: RefCell<Option<Ladders>> = const { RefCell::new(None) };
        /// What is added to the seeds of the worlds that this thread makes.
        pub(super) static CHANCE: Cell<u64> = const { Cell::new(0) };
    }
}

/// A new world of a flow: everything that happens in it by chance follows from the seed, and from [`by_chance`].
pub(crate) fn world(seed: u64) -> World {
    // So that neighbours have nothing in common.
    let chance = around::CHANCE.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut world = World::new(seed.wrapping_add(chance));
    if let Some(ladders) = around::LADDERS.with_borrow(Clone::clone) {
        world.watch(ladders);
    }
    world
}

/// What `play` returns, and the ladders of all worlds that it made and ended.
pub(crate) fn watched<T>(play: impl FnOnce() -> T) -> (T, Vec<String>) {
    let ladders = Rc::default();
    around::LADDERS.set(Some(Rc::clone(&ladders)));
    let result = play();
    around::LADDERS.set(None);
    let ladders = ladders.take();
    (result, ladders)
}

/// What `play` returns where all that happens by chance happens otherwise; 0 is as ever.
pub(crate) fn by_chance<T>(chance: u64, play: impl FnOnce() -> T) -> T {
    around::CHANCE.set(chance);
    let result = play();
    around::CHANCE.set(0);
    result
}
