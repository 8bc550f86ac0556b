//! What became of the calls of a run.

use std::collections::BTreeMap;
use std::time::Duration;

/// Times in microseconds, of which the few that count are told.
#[derive(Debug, Default, Clone)]
pub struct Times {
    micros: Vec<u32>,
}

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.micros.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.micros.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.micros.is_empty()
    }

    /// The time in ms that so many thousandths of them do not exceed (nearest rank); 1000 gives the longest. NaN if there
    /// is none.
    pub fn at(&self, thousandths: usize) -> f64 {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
        sorted.get(rank - 1).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    }
}

/// What became of the calls of a run.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Sessions placed and sessions with every answer right, those that keep shared connections open included.
    pub sessions: (u32, u32),
    /// How many of them keep connections open.
    pub kept: u32,
    /// The same of calls that were to be refused.
    pub refused: (u32, u32),
    /// From INVITE to 2xx.
    pub set_up: Times,
    /// From INVITE to 486 or 488.
    pub refusal: Times,
    /// How much later than due calls were placed.
    pub lateness: Times,
    /// Requests that we sent again.
    pub resent: u32,
    /// What the peer sent again.
    pub repeated: u32,
    /// MSRP connections opened.
    pub opened: u32,
    /// How often what went wrong, and the first instance of it.
    pub failures: BTreeMap<&'static str, (u32, String)>,
    /// From the first call, without those that keep connections open, to the last one's end, less the time for which
    /// sessions are kept.
    pub took: Duration,
}

impl Tally {
    /// Notes a failure, and what was heard with it.
    pub fn fail(&mut self, why: &'static str, heard: &[u8]) {
        let first =
            || String::from_utf8_lossy(heard.get(..heard.len().min(300)).unwrap_or_default()).into_owned();
        self.failures.entry(why).or_insert_with(|| (0, first())).0 += 1;
    }

    /// All failures.
    pub fn failed(&self) -> u32 {
        self.failures.values().map(|(count, _)| count).sum()
    }

    /// Sessions ended well, a second, without those that keep connections open.
    pub fn session_rate(&self) -> f64 {
        f64::from(self.sessions.1.saturating_sub(self.kept)) / self.took.as_secs_f64()
    }

    /// Refusals, a second.
    pub fn refusal_rate(&self) -> f64 {
        f64::from(self.refused.1) / self.took.as_secs_f64()
    }

    /// One line for each kind of failure.
    pub fn reasons(&self) -> Vec<String> {
        let line = |(why, (count, first)): (&&str, &(u32, String))| {
            format!("{count} times: {why}; the first: {first:?}")
        };
        self.failures.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sorted_times() {
        let mut times = Times::default();
        assert!(times.at(500).is_nan());
        (1..=200).rev().for_each(|ms| times.add(Duration::from_millis(ms)));
        assert_eq!([times.at(0), times.at(500), times.at(990), times.at(1000)], [1.0, 100.0, 198.0, 200.0]);
        let mut one = Times::default();
        one.add(Duration::from_micros(1500));
        assert_eq!([one.at(500), one.at(990), one.at(1000)], [1.5, 1.5, 1.5]);
    }

    #[test]
    fn sessions_that_keep_connections_open_make_no_rate() {
        let took = Duration::from_secs(2);
        let tally = Tally { sessions: (30, 30), kept: 10, refused: (8, 6), took, ..Tally::default() };
        assert_eq!((tally.session_rate(), tally.refusal_rate()), (10.0, 3.0));
    }

    #[test]
    fn failures_are_counted_by_kind_and_keep_their_first_instance() {
        let mut tally = Tally::default();
        tally.fail("b", b"first");
        tally.fail("a", b"");
        tally.fail("b", b"second");
        assert_eq!(tally.failed(), 3);
        assert_eq!(tally.reasons(), ["1 times: a; the first: \"\"", "2 times: b; the first: \"first\""]);
    }
}
