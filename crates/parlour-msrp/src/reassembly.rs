//! One message put together from its chunks (RFC 4975 7.3.1).

use std::time::Duration;

use crate::bounds::Host;
use crate::chunk::count;
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
    /// Whom its first chunk came from.
    pub(crate) host: Host,
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
    /// Here.
    Memory(Sparse),
    /// With the driver, but for a copy of the first octets.
    Spool { spool: SpoolId, head: Sparse },
}

impl Store {
    /// Octets in memory.
    fn octets(&self) -> usize {
        match self {
            Store::Memory(octets) | Store::Spool { head: octets, .. } => octets.size(),
        }
    }
}

/// Octets with holes, which take no memory: pieces in order that neither touch nor overlap, each with where it begins.
#[derive(Debug, Default)]
pub(crate) struct Sparse(Vec<(u64, Vec<u8>)>);

impl Sparse {
    /// Puts `bytes` at `offset`, over what is there; what would lie at or beyond `limit` is left out.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], limit: u64) {
        let room = usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let end = offset.saturating_add(count(bytes));
        if bytes.is_empty() {
            return;
        }
        if let Some((start, last)) = self.0.last_mut()
            && start.saturating_add(count(last)) == offset
        {
            last.extend_from_slice(bytes);
            return;
        }
        let first = self.0.partition_point(|(start, piece)| start.saturating_add(count(piece)) < offset);
        let after = self.0.partition_point(|(start, _)| *start <= end);
        let touched = self.0.get_mut(first..after).unwrap_or_default();
        if let Some((start, piece)) = touched.first_mut()
            && let Ok(from) = usize::try_from(offset.saturating_sub(*start))
            && *start <= offset
            && let Some(place) = piece.get_mut(from..from.saturating_add(bytes.len()))
        {
            place.copy_from_slice(bytes);
            return;
        }
        // What was there behind the new octets, and before them.
        let mut rest = Vec::new();
        if let Some((start, last)) = touched.last_mut() {
            let from = usize::try_from(end.saturating_sub(*start)).unwrap_or(usize::MAX);
            if from < last.len() {
                rest = last.split_off(from);
            }
        }
        let (start, mut joined) = match touched.first_mut() {
            Some((start, piece)) if *start <= offset => (*start, std::mem::take(piece)),
            Some(_) | None => (offset, Vec::new()),
        };
        joined.truncate(usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX));
        joined.extend_from_slice(bytes);
        joined.extend_from_slice(&rest);
        self.0.splice(first..after, [(start, joined)]);
    }

    /// How many octets are in.
    pub(crate) fn octets(&self) -> usize {
        self.0.iter().fold(0, |sum, (_, piece)| sum.saturating_add(piece.len()))
    }

    /// Octets in memory, with what says where they belong.
    fn size(&self) -> usize {
        self.0.len().saturating_mul(size_of::<(u64, Vec<u8>)>()).saturating_add(self.octets())
    }

    /// The pieces in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.0.iter().map(|(start, piece)| (*start, piece.as_slice()))
    }

    /// The octets from the first to the first hole.
    pub(crate) fn into_first(self) -> Vec<u8> {
        self.0.into_iter().next().filter(|(start, _)| *start == 0).map(|(_, piece)| piece).unwrap_or_default()
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
        fn writing_with_holes_equals_a_reference(writes in prop::collection::vec((0_usize..60, "[a-z]{0,12}"), 0..24)) {
            let mut sparse = Sparse::default();
            let mut reference = [None; 80];
            for (offset, bytes) in &writes {
                sparse.write(*offset as u64, bytes.as_bytes(), 64);
                for (at, byte) in bytes.bytes().enumerate().filter(|(at, _)| offset + at < 64) {
                    reference[offset + at] = Some(byte);
                }
            }
            let mut seen = [None; 80];
            let mut before = None;
            for (start, piece) in sparse.pieces() {
                prop_assert!(!piece.is_empty() && before.is_none_or(|end| end < start), "pieces neither touch nor overlap");
                before = Some(start + piece.len() as u64);
                piece.iter().enumerate().for_each(|(at, byte)| seen[start as usize + at] = Some(*byte));
            }
            prop_assert_eq!(seen, reference);
            prop_assert_eq!(sparse.octets(), reference.iter().flatten().count());
            let first: Vec<u8> = reference.iter().map_while(|byte| *byte).collect();
            prop_assert_eq!(sparse.into_first(), first);
        }
    }
}
