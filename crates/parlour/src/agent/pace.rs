//! Moderation: under a stream of datagrams, one round serves several of them.

use std::time::{Duration, Instant};

/// How long the agent rests between two rounds while datagrams stream. So much later, at the most, than without a rest
/// is anything answered: a 125th of T1 (RFC 3261 17.1.1.1), after which a request is sent again, and at the rates that
/// we can serve a few dozen datagrams, which the kernel's buffer holds.
pub(super) const REST: Duration = Duration::from_millis(4);
/// Datagrams that come closer to each other than this are a stream: four at least are served after each rest.
const APART: Duration = Duration::from_millis(1);
/// How long datagrams are counted before the rate is judged.
const SPAN: Duration = Duration::from_millis(8);

/// Knows how fast datagrams come, and whether a rest pays: a round costs the more for each datagram, in waking this
/// thread, asking the kernel which sockets are ready and waking the front end, the fewer it finds. When few come there
/// is no rest, and each is served at once.
#[derive(Debug)]
pub(super) struct Pace {
    /// Since then datagrams are counted.
    since: Instant,
    datagrams: u32,
    is_fast: bool,
    /// Datagrams were served since the last rest.
    is_due: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { since: now, datagrams: 0, is_fast: false, is_due: false }
    }

    /// A datagram was served.
    pub(super) fn count(&mut self) {
        self.datagrams = self.datagrams.saturating_add(1);
        self.is_due = true;
    }

    /// Whether to rest now, when nothing is left to do. Says so once for the datagrams since it was last asked.
    pub(super) fn rests(&mut self, now: Instant) -> bool {
        let span = now.saturating_duration_since(self.since);
        if span >= SPAN {
            self.is_fast = span < APART.saturating_mul(self.datagrams);
            (self.since, self.datagrams) = (now, 0);
        }
        std::mem::take(&mut self.is_due) && self.is_fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `rounds`, each with one datagram and each `apart` from the one before, end with a rest.
    fn rests(pace: &mut Pace, now: &mut Instant, rounds: u32, apart: Duration) -> u32 {
        let mut rests = 0;
        for _ in 0..rounds {
            *now += apart;
            pace.count();
            rests += u32::from(pace.rests(*now));
        }
        rests
    }

    #[test]
    fn only_a_stream_of_datagrams_brings_rests() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(rests(&mut pace, &mut now, 100, Duration::from_millis(2)), 0);
        // The first 8 ms are needed to know.
        assert_eq!(rests(&mut pace, &mut now, 100, Duration::from_micros(100)), 100 - 79);
        // The first one after a pause is served without a rest.
        assert_eq!(rests(&mut pace, &mut now, 1, Duration::from_millis(20)), 0);
        assert_eq!(rests(&mut pace, &mut now, 100, APART), 0);
    }

    #[test]
    fn a_burst_after_a_pause_is_no_stream() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        now += Duration::from_secs(1);
        (0..100).for_each(|_| pace.count());
        assert!(!pace.rests(now));
    }

    #[test]
    fn there_is_no_rest_where_nothing_was_served() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(rests(&mut pace, &mut now, 100, Duration::from_micros(100)) > 0);
        assert!(!pace.rests(now));
    }
}
