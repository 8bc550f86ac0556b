//! The lines of a header section, and searches through a few octets. Lines are short, and a search that is not called but
//! stands in its place is over before another has begun.

/// Where a walk through the lines of a header section is.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Lines {
    /// Where the next line starts.
    pub(crate) start: usize,
    /// How far it was looked at.
    looked: usize,
}

impl Lines {
    /// The next line without its CR LF, or `None` if not all of it is here. What was looked at is not looked at again when
    /// the same octets and more come.
    #[inline]
    pub(crate) fn next<'a>(&mut self, octets: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            let Some(length) = octets.get(self.looked..).and_then(find::<b'\n'>) else {
                self.looked = octets.len();
                return None;
            };
            self.looked += length + 1;
            // A line ends with CR LF; a lone LF is one of its octets.
            if let Some(line) = octets.get(self.start..self.looked)?.strip_suffix(b"\r\n") {
                self.start = self.looked;
                return Some(line);
            }
        }
    }
}

/// Where an octet stands first.
#[inline(never)]
pub(crate) fn find<const WANTED: u8>(octets: &[u8]) -> Option<usize> {
    let (blocks, rest) = octets.as_chunks::<16>();
    for (at, block) in blocks.iter().enumerate() {
        // Without a branch for each octet the compiler looks at all of them with one instruction.
        if block.iter().fold(false, |found, octet| found | (*octet == WANTED)) {
            let [low, high] = block.as_chunks::<8>().0 else { return None };
            let place = find_in_word::<WANTED>(*low).or_else(|| Some(8 + find_in_word::<WANTED>(*high)?));
            return place.map(|place| at * 16 + place);
        }
    }
    Some(blocks.len() * 16 + rest.iter().position(|octet| *octet == WANTED)?)
}

#[inline]
fn find_in_word<const WANTED: u8>(word: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    let difference = u64::from_le_bytes(word) ^ (ONES * WANTED as u64);
    // Of octets whose highest bit is not set, the lowest that gets it by this subtraction is zero.
    let zeros = difference.wrapping_sub(ONES) & !difference & (ONES << 7);
    (zeros != 0).then(|| zeros.trailing_zeros() as usize / 8)
}

/// Whether all of the octets are as they should be: without a branch for each, since nearly all are.
#[inline]
pub(crate) fn all(octets: &[u8], good: impl Fn(&u8) -> bool) -> bool {
    octets.iter().fold(true, |all, octet| all & good(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_octet_is_found_where_it_stands_first() {
        for length in 0..100 {
            assert_eq!(find::<b'\n'>(&vec![b'\x0b'; length]), None);
            for at in 0..length {
                for other in [b'\x0b', b'\0', b'\x8a', b'\xff', b'\t'] {
                    let mut octets = vec![other; length];
                    octets[at..].fill(b'\n');
                    assert_eq!(find::<b'\n'>(&octets), Some(at), "{octets:?}");
                    octets[at + 1..].fill(other);
                    assert_eq!(find::<b'\n'>(&octets), Some(at), "{octets:?}");
                }
            }
        }
    }

    #[test]
    fn lines_are_the_same_in_any_pieces() {
        let octets = b"one\r\n\r\ntwo\nof two\rparts\r\n\nthree\r\r\nno end";
        let lines: [&[u8]; 4] = [b"one", b"", b"two\nof two\rparts", b"\nthree\r"];
        for step in 1..octets.len() {
            let mut walk = Lines::default();
            let found: Vec<_> = (step..octets.len())
                .step_by(step)
                .chain([octets.len()])
                .flat_map(|length| std::iter::from_fn(|| walk.next(&octets[..length])).collect::<Vec<_>>())
                .collect();
            assert_eq!(found, lines, "{step} octets at a time");
        }
    }
}
