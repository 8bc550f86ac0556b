//! Which messages came lately, for a store that keeps nothing else of them.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use parlour_msrp::Body;
use parlour_proto::event::{Event, What};

use super::{Job, party};

/// So many are remembered: more than come while a peer waits for the answer to one of them.
const MOST: usize = 16_384;

/// The last messages that came. 64 bits of a keyed hash stand for each: nobody can find two messages that share them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hasher: RandomState,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    /// Whether the job is a message that came before: of the same sender, with the same Message-ID and the same octets, if
    /// they are here.
    //= IM M-2
    pub(super) fn knows(&mut self, job: &Job) -> bool {
        let Job::Event { account, event: Event { what: What::Message(message), .. }, .. } = job else {
            return false;
        };
        let octets: &[u8] = match &message.body {
            Body::Inline(octets) => octets,
            Body::Spooled { .. } => &[],
        };
        let peer = party(&message.from.address);
        let mut hasher = self.hasher.build_hasher();
        for part in [account.as_bytes(), peer.as_bytes(), message.message_id.as_bytes(), octets] {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        let mark = hasher.finish();
        if !self.known.insert(mark) {
            return true;
        }
        self.order.push_back(mark);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{received, text};
    use super::*;

    //= IM M-2 test
    #[test]
    fn what_comes_again_is_known_and_no_more_than_the_last_are_remembered() {
        let mut recent = Recent::default();
        let message = |id: &str, from: &str, words: &str| received(id, from, text(words));
        assert!(!recent.knows(&message("m1", "sip:a@x", "one")));
        assert!(recent.knows(&message("m1", "sip:a@X;user=ip", "one")), "the same sender");
        assert!(!recent.knows(&message("m1", "sip:b@x", "one")));
        assert!(!recent.knows(&message("m1", "sip:a@x", "two")), "a peer that counts from 1 in each session");
        for number in 0..MOST - 3 {
            assert!(!recent.knows(&message(&number.to_string(), "sip:c@x", "one")));
        }
        assert!(recent.knows(&message("m1", "sip:a@x", "one")));
        assert!(!recent.knows(&message("last", "sip:c@x", "one")));
        assert!(!recent.knows(&message("m1", "sip:a@x", "one")), "the oldest is forgotten");
        assert_eq!((recent.known.len(), recent.order.len()), (MOST, MOST));
    }
}
