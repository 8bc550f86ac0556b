//! How fast a file moves, and how long the rest of it takes.

use std::time::{Duration, Instant};

/// Octets that have moved for this long, or up to twice as long, tell the rate.
const WINDOW: Duration = Duration::from_secs(5);

/// How fast something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speed {
    /// Octets a second.
    pub(crate) rate: u64,
    /// Seconds until the end, if its size is known and something moves.
    pub(crate) left: Option<u64>,
    /// Whether a person may be told once more.
    pub(crate) is_news: bool,
}

/// What was seen of a file that moves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Track {
    /// Two looks, the first one up to two windows ago.
    looks: Option<((Instant, u64), (Instant, u64))>,
}

impl Track {
    /// So many octets are there now.
    pub(crate) fn look(&mut self, now: Instant, octets: u64, size: Option<u64>) -> Speed {
        let (mut from, mut mark) = self.looks.unwrap_or(((now, octets), (now, octets)));
        let is_news = now.duration_since(mark.0) >= WINDOW;
        if is_news {
            (from, mark) = (mark, (now, octets));
        }
        self.looks = Some((from, mark));
        let millis = u64::try_from(now.duration_since(from.0).as_millis()).unwrap_or(u64::MAX);
        let rate = octets.saturating_sub(from.1).saturating_mul(1000).checked_div(millis).unwrap_or(0);
        let left = size.and_then(|size| size.saturating_sub(octets).checked_div(rate));
        Speed { rate, left, is_news }
    }
}

/// `42 % of 300.0 MB, 12.3 MB/s, 14 s left`.
pub(crate) fn progress(octets: u64, size: Option<u64>, speed: Speed) -> String {
    let so_far = match size {
        Some(size) => {
            let percent = octets.saturating_mul(100).checked_div(size).unwrap_or(100).min(100);
            format!("{percent} % of {}", megabytes(size))
        }
        None => megabytes(octets),
    };
    let left = speed.left.map(|seconds| format!(", {seconds} s left")).unwrap_or_default();
    format!("{so_far}, {}/s{left}", megabytes(speed.rate))
}

fn megabytes(octets: u64) -> String {
    let tenths = octets / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_last_seconds_and_of_this_transfer_alone() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut track = Track::default();
        // What was there before does not count.
        let speed = track.look(at(0), 100_000_000, Some(300_000_000));
        assert_eq!((speed.rate, speed.left, speed.is_news), (0, None, false));
        let speed = track.look(at(1_000), 110_000_000, Some(300_000_000));
        assert_eq!((speed.rate, speed.left, speed.is_news), (10_000_000, Some(19), false));
        assert_eq!(progress(110_000_000, Some(300_000_000), speed), "36 % of 300.0 MB, 10.0 MB/s, 19 s left");
        assert!(track.look(at(5_000), 150_000_000, None).is_news);
        // It has slowed down: after two windows nothing of before is left.
        for (millis, octets) in [(10_000, 155_000_000), (15_000, 160_000_000)] {
            track.look(at(millis), octets, None);
        }
        let speed = track.look(at(20_000), 165_000_000, None);
        assert_eq!((speed.rate, speed.left), (1_000_000, None));
        assert_eq!(progress(165_000_000, None, speed), "165.0 MB, 1.0 MB/s");
        assert_eq!(
            progress(0, Some(0), Speed { rate: 0, left: None, is_news: false }),
            "100 % of 0.0 MB, 0.0 MB/s"
        );
    }
}
