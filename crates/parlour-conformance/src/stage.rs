//! The worlds of flows, and who watches them.

use std::cell::RefCell;
use std::rc::Rc;

use parlour_sim::{Ladders, World};

// A flow is called as `cargo test` calls it, without arguments, so whoever watches cannot be one.
#[expect(clippy::disallowed_types, reason = "it decides what is drawn, and nothing that happens")]
mod watcher {
    use super::*;

    thread_local! {
        /// Where the worlds that this thread makes leave their ladders.
        pub(super) static LADDERS: RefCell<Option<Ladders>> = const { RefCell::new(None) };
    }
}

/// A new world of a flow: everything that happens in it by chance follows from the seed.
pub(crate) fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    if let Some(ladders) = watcher::LADDERS.with_borrow(Clone::clone) {
        world.watch(ladders);
    }
    world
}

/// What `play` returns, and the ladders of all worlds that it made and ended.
pub(crate) fn watched<T>(play: impl FnOnce() -> T) -> (T, Vec<String>) {
    let ladders = Rc::default();
    watcher::LADDERS.set(Some(Rc::clone(&ladders)));
    let result = play();
    watcher::LADDERS.set(None);
    let ladders = ladders.take();
    (result, ladders)
}
