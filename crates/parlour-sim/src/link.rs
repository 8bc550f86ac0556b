//! What the way between two nodes does to packets.

use std::time::Duration;

use parlour_msrp::random::Random;

/// One direction between two nodes.
#[derive(Debug, Clone)]
pub struct Link {
    /// How long a packet travels.
    pub delay: Duration,
    /// Up to so much is added to each packet's delay, by the seed; datagrams overtake each other by it, streams keep
    /// their order.
    pub jitter: Duration,
    /// Which datagrams are lost. Streams lose nothing.
    pub loss: Loss,
    /// How many of 100 datagrams arrive twice.
    pub duplicate: u8,
    /// How a stream's octets are cut.
    pub segments: Segments,
    /// Octets that a stream takes before the receiver has read them.
    pub window: usize,
    /// Whether streams can be opened.
    pub refuse: bool,
}

/// Which datagrams are lost.
#[derive(Debug, Clone)]
pub enum Loss {
    /// So many of 100, by the seed.
    Percent(u8),
    /// Those with these numbers, counted from 1 from when the link was set.
    These(Vec<u64>),
    /// Those whose [label](crate::text::label) starts so, such as `ACK` or `200`.
    Labelled(String),
}

/// How a stream's octets are cut.
#[derive(Debug, Clone, Copy)]
pub enum Segments {
    /// As they were written.
    Whole,
    /// Pieces of so many octets.
    Every(usize),
    /// Pieces of 1 to so many octets, by the seed.
    Random(usize),
}

impl Default for Link {
    /// Without delay or loss.
    fn default() -> Self {
        Link {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Loss::Percent(0),
            duplicate: 0,
            segments: Segments::Whole,
            window: 64 * 1024,
            refuse: false,
        }
    }
}

impl Link {
    /// A link without loss that takes `millis` milliseconds.
    pub fn delayed(millis: u64) -> Self {
        Link { delay: Duration::from_millis(millis), ..Link::default() }
    }

    /// Whether the datagram with this number and label is lost.
    pub(crate) fn loses(&self, random: &mut Random, number: u64, label: &str) -> bool {
        match &self.loss {
            Loss::Percent(percent) => random.below(100) < u64::from(*percent),
            Loss::These(numbers) => numbers.contains(&number),
            Loss::Labelled(start) => label.starts_with(start),
        }
    }

    pub(crate) fn travel(&self, random: &mut Random) -> Duration {
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(0);
        self.delay + Duration::from_micros(random.below(jitter.saturating_add(1)))
    }

    pub(crate) fn doubles(&self, random: &mut Random) -> bool {
        random.below(100) < u64::from(self.duplicate)
    }

    /// How long the next piece of `left` octets is.
    pub(crate) fn cut(&self, random: &mut Random, left: usize) -> usize {
        let piece = match self.segments {
            Segments::Whole => left,
            Segments::Every(size) => size,
            Segments::Random(most) => 1 + usize::try_from(random.below(most as u64)).unwrap_or(0),
        };
        piece.clamp(1, left.max(1))
    }
}
