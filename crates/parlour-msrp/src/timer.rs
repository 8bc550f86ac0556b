//! One ordered queue of deadlines, each with the reason for which it was set.
//!
//! For the other crates of Parlour; no promise is made to others.

use std::collections::BTreeMap;
use std::num::NonZero;

use crate::time::Instant;

/// Names one armed deadline. It stays valid until the deadline is cancelled or has fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    at: Instant,
    /// Not zero, so that an optional id needs no more room.
    order: NonZero<u64>,
}

impl TimerId {
    /// When the deadline falls due.
    pub fn at(self) -> Instant {
        self.at
    }
}

/// Deadlines in order of time; those of one instant fire in the order in which they were armed.
#[derive(Debug)]
pub struct Timers<T> {
    queue: BTreeMap<TimerId, T>,
    armed: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { queue: BTreeMap::new(), armed: 0 }
    }
}

impl<T> Timers<T> {
    /// Arms a deadline at `at` that yields `what`.
    pub fn arm(&mut self, at: Instant, what: T) -> TimerId {
        let order = NonZero::<u64>::MIN.saturating_add(self.armed);
        self.armed = order.get();
        let id = TimerId { at, order };
        self.queue.insert(id, what);
        id
    }

    /// Takes a deadline out; `None` if it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.queue.remove(&id)
    }

    /// The earliest deadline and what it is for.
    pub fn next(&self) -> Option<(Instant, &T)> {
        self.queue.first_key_value().map(|(id, what)| (id.at, what))
    }

    /// Takes the earliest deadline that is due at `now`. Call it until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<(TimerId, T)> {
        let entry = self.queue.first_entry()?;
        (entry.key().at <= now).then(|| entry.remove_entry())
    }

    /// How many deadlines are armed.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no deadline is armed.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_of_time_then_of_arming() {
        let mut timers = Timers::default();
        let at = Instant::from_micros;
        timers.arm(at(20), "c");
        timers.arm(at(10), "a");
        let dropped = timers.arm(at(10), "x");
        timers.arm(at(10), "b");
        assert_eq!(timers.cancel(dropped), Some("x"));
        assert_eq!(timers.cancel(dropped), None);
        assert_eq!(timers.next(), Some((at(10), &"a")));
        assert!(timers.pop_due(at(9)).is_none());
        assert_eq!(timers.pop_due(at(10)).map(|(_, what)| what), Some("a"));
        assert_eq!(timers.pop_due(at(10)).map(|(_, what)| what), Some("b"));
        assert!(timers.pop_due(at(10)).is_none());
        assert_eq!(timers.pop_due(at(99)).map(|(_, what)| what), Some("c"));
        assert!(timers.is_empty());
    }
}
