//! One message put together from its chunks (RFC 4975 7.3.1).

use std::time::Duration;

use crate::io::{FailureReport, SpoolId};
use crate::time::Instant;
use crate::timer::TimerId;

/// A message that is not whole yet.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) message_id: String,
    pub(crate) content_type: String,
    pub(crate) content_disposition: Option<String>,
    pub(crate) success_report: bool,
    pub(crate) failure_report: FailureReport,
    /// Where REPORTs go, if it is not the peer's path of the SDP.
    pub(crate) report_to: Option<Box<str>>,
    pub(crate) store: Store,
    pub(crate) ranges: Ranges,
    /// The size that Byte-Range states.
    pub(crate) stated: Option<u64>,
    /// The size that the chunk with `$` fixed.
    pub(crate) total: Option<u64>,
    /// Chunks that have ended.
    pub(crate) chunks: u32,
    pub(crate) told: Told,
    /// Runs between chunks.
    pub(crate) idle: Option<TimerId>,
}

impl Partial {
    /// Octets of it in memory, of its labels, and of what says which are here.
    pub(crate) fn octets(&self) -> usize {
        let label = |label: Option<&str>| label.map_or(0, str::len);
        let labels = [
            label(Some(&self.message_id)),
            label(Some(&self.content_type)),
            label(self.content_disposition.as_deref()),
            label(self.report_to.as_deref()),
        ];
        labels
            .iter()
            .fold(self.store.octets(), |sum, part| sum.saturating_add(*part))
            .saturating_add(self.ranges.size())
    }

    /// Whether every octet is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.total.is_some_and(|total| self.ranges.covers(total))
    }
}

/// When the owner of a large message was last told how far it is.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Told {
    octets: u64,
    at: Option<Instant>,
}

impl Told {
    /// Octets between two tellings, at least.
    const STEP: u64 = 256 * 1024;

    /// Time between two tellings, at least: nobody reads faster.
    const PAUSE: Duration = Duration::from_millis(100);

    /// How many octets the owner is to be told of now, if so; that is noted. They are not counted between two tellings.
    pub(crate) fn due(&mut self, now: Instant, count: impl FnOnce() -> u64) -> Option<u64> {
        if self.at.is_some_and(|at| now - at < Self::PAUSE) {
            return None;
        }
        let octets = count();
        let due = octets.saturating_sub(self.octets) >= Self::STEP;
        due.then(|| {
            *self = Told { octets, at: Some(now) };
            octets
        })
    }
}

/// Where the octets of a message lie.
#[derive(Debug)]
pub(crate) enum Store {
    /// Here; holes are zero.
    Memory(Vec<u8>),
    /// With the driver, but for a copy of the first octets.
    Spool { spool: SpoolId, head: Vec<u8> },
}

impl Store {
    /// Octets in memory.
    fn octets(&self) -> usize {
        match self {
            Store::Memory(octets) | Store::Spool { head: octets, .. } => octets.len(),
        }
    }
}

/// Puts `bytes` at `offset` into `octets`, over what is there, and fills a hole before with zeros; what would lie at or
/// beyond `limit` is left out.
pub(crate) fn overwrite(octets: &mut Vec<u8>, offset: usize, bytes: &[u8], limit: usize) {
    let end = offset.saturating_add(bytes.len()).min(limit);
    let Some(bytes) = bytes.get(..end.saturating_sub(offset)).filter(|bytes| !bytes.is_empty()) else {
        return;
    };
    if octets.len() == offset {
        octets.extend_from_slice(bytes);
        return;
    }
    if octets.len() < end {
        octets.resize(end, 0);
    }
    if let Some(place) = octets.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

/// Sets of octets, as sorted ranges that do not touch: start inclusive, end exclusive.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds the octets from `start` to before `end`, unless that would make more than `most` ranges.
    pub(crate) fn add_within(&mut self, start: u64, end: u64, most: usize) {
        let touches = || self.0.iter().any(|range| range.0 <= end && start <= range.1);
        if self.0.len() < most || touches() {
            self.add(start, end);
        }
    }

    /// Adds the octets from `start` to before `end`.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && last.0 <= start
            && start <= last.1
        {
            last.1 = last.1.max(end);
            return;
        }
        let first = self.0.partition_point(|range| range.1 < start);
        let after = self.0.partition_point(|range| range.0 <= end);
        let joined = self.0.get(first..after).unwrap_or_default();
        let low = joined.first().map_or(start, |range| range.0.min(start));
        let high = joined.last().map_or(end, |range| range.1.max(end));
        self.0.splice(first..after, [(low, high)]);
    }

    /// Whether all octets below `total` are in.
    pub(crate) fn covers(&self, total: u64) -> bool {
        total == 0 || self.0.first().is_some_and(|range| range.0 == 0 && range.1 >= total)
    }

    /// The end of the last range.
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.1)
    }

    /// How many octets are in.
    pub(crate) fn octets(&self) -> u64 {
        self.0.iter().fold(0, |sum, range| sum.saturating_add(range.1.saturating_sub(range.0)))
    }

    /// Octets in memory.
    pub(crate) fn size(&self) -> usize {
        self.0.len().saturating_mul(size_of::<(u64, u64)>())
    }

    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_join_where_they_touch() {
        let mut ranges = Ranges::default();
        for (start, end) in [(5, 8), (0, 2), (3, 4), (9, 9)] {
            ranges.add(start, end);
        }
        assert_eq!(ranges.0, [(0, 2), (3, 4), (5, 8)]);
        ranges.add(2, 3);
        assert_eq!(ranges.0, [(0, 4), (5, 8)]);
        assert!(ranges.covers(4) && !ranges.covers(5));
        ranges.add(1, 20);
        assert_eq!(ranges.0, [(0, 20)]);
        assert_eq!((ranges.octets(), ranges.end(), ranges.len()), (20, 20, 1));
    }

    proptest! {
        #[test]
        fn ranges_equal_a_set_of_octets(adds in prop::collection::vec((0_u64..64, 0_u64..16), 0..24)) {
            let mut ranges = Ranges::default();
            let mut set = std::collections::BTreeSet::new();
            for (start, length) in adds {
                ranges.add(start, start + length);
                set.extend(start..start + length);
            }
            prop_assert_eq!(ranges.octets(), set.len() as u64);
            prop_assert_eq!(ranges.end(), set.last().map_or(0, |last| last + 1));
            let gap = (0..).find(|octet| !set.contains(octet)).unwrap_or(0);
            prop_assert!(ranges.covers(gap) && !ranges.covers(gap + 1));
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }

        #[test]
        fn overwriting_equals_a_reference(writes in prop::collection::vec((0_usize..40, "[a-z]{0,12}"), 0..12)) {
            let mut octets = Vec::new();
            let mut reference = [0_u8; 64];
            let mut end = 0;
            for (offset, bytes) in &writes {
                overwrite(&mut octets, *offset, bytes.as_bytes(), 48);
                for (at, byte) in bytes.bytes().enumerate().filter(|(at, _)| offset + at < 48) {
                    reference[offset + at] = byte;
                    end = end.max(offset + at + 1);
                }
            }
            prop_assert_eq!(&octets[..], &reference[..end]);
        }
    }
}
