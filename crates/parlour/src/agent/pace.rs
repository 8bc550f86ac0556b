//! Moderation: under a stream of datagrams, one round serves several of them.

use std::time::{Duration, Instant};

/// The longest rest between two rounds while datagrams stream. So much later, at the most, than without a rest is
/// anything answered: a 60th of T1 (RFC 3261 17.1.1.1), after which a request is sent again.
const REST: Duration = Duration::from_millis(8);
/// Datagrams that are awaited in a rest, if they come within [`REST`]: the kernel holds twice as many with the 208 KiB
/// that Linux grants unless it is told otherwise.
const BATCH: u32 = 96;
/// Datagrams that come closer to each other than this are a stream.
const APART: Duration = Duration::from_millis(1);
/// How long datagrams are counted before the rate is judged.
const SPAN: Duration = Duration::from_millis(8);

/// Knows how fast datagrams come, and what rest pays: a round costs the more for each datagram the fewer it finds, in
/// waking this thread, asking the kernel which sockets are ready, waking the front end, and most of all in code and data
/// that have left the processor's caches. When few come there is no rest, and each is served at once.
#[derive(Debug)]
pub(super) struct Pace {
    /// Since then datagrams are counted.
    since: Instant,
    datagrams: u32,
    /// What pays at the rate that was seen last.
    rest: Option<Duration>,
    /// Datagrams were served since the last rest.
    is_due: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { since: now, datagrams: 0, rest: None, is_due: false }
    }

    /// A datagram was served.
    pub(super) fn count(&mut self) {
        self.datagrams = self.datagrams.saturating_add(1);
        self.is_due = true;
    }

    /// How long to rest now, when nothing is left to do. Says so once for the datagrams since it was last asked.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Duration> {
        let span = now.saturating_duration_since(self.since);
        if span >= SPAN {
            let is_stream = span < APART.saturating_mul(self.datagrams);
            self.rest = is_stream.then(|| REST.min(span.saturating_mul(BATCH) / self.datagrams.max(1)));
            (self.since, self.datagrams) = (now, 0);
        }
        if std::mem::take(&mut self.is_due) { self.rest } else { None }
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
            rests += u32::from(pace.rest(*now).is_some());
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
        assert_eq!(pace.rest(now), None);
    }

    #[test]
    fn there_is_no_rest_where_nothing_was_served() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(rests(&mut pace, &mut now, 100, Duration::from_micros(100)) > 0);
        assert_eq!(pace.rest(now), None);
    }

    #[test]
    fn a_rest_is_as_long_as_a_batch_takes_to_come_but_never_long() {
        let mut now = Instant::now();
        let rest_at = |now: &mut Instant, apart: Duration| {
            let mut pace = Pace::new(*now);
            rests(&mut pace, now, 1000, apart);
            pace.count();
            pace.rest(*now)
        };
        assert_eq!(rest_at(&mut now, Duration::from_micros(25)), Some(Duration::from_micros(2400)));
        assert_eq!(rest_at(&mut now, Duration::from_micros(100)), Some(REST));
        assert_eq!(rest_at(&mut now, Duration::from_millis(1)), None);
    }
}
