//! What the front end is told: gathered for a round, then passed on together, so that its thread wakes once.

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Told;

/// What a front end may lag behind before events are no longer queued for it.
const TOLD: usize = 16 * 1024;
/// Places in that queue that only answers to commands may use.
const RESERVED: usize = 512;

/// The way to the front end. It never waits: a front end that is too slow misses events, and is told how many.
pub(super) struct Teller {
    told: Sender<Told>,
    /// What this round brought; the queue has room for it.
    gathered: Vec<Told>,
    missed: u64,
}

impl Teller {
    /// And the front end's end.
    pub(super) fn new() -> (Teller, Receiver<Told>) {
        let (told, receiver) = channel(TOLD);
        (Teller { told, gathered: Vec::new(), missed: 0 }, receiver)
    }

    /// Tells it at the end of this round, if there is room.
    pub(super) fn tell(&mut self, told: Told) {
        // Nobody else fills the queue, so room does not shrink until the end of the round.
        let room = self.told.capacity().saturating_sub(self.gathered.len());
        // One place is for the word that something was missed.
        let kept_free = if matches!(told, Told::Outcome(_)) { 1 } else { RESERVED };
        if room <= kept_free {
            self.missed = self.missed.saturating_add(1);
            return;
        }
        if self.missed > 0 {
            self.gathered.push(Told::Missed(std::mem::take(&mut self.missed)));
        }
        self.gathered.push(told);
    }

    /// The end of a round.
    pub(super) fn pass_on(&mut self) {
        for told in self.gathered.drain(..) {
            // It fails only where the front end has ended.
            let _ = self.told.try_send(told);
        }
    }

    /// Whether the front end keeps up, so that more commands may be taken.
    pub(super) fn keeps_up(&self) -> bool {
        self.told.capacity() > RESERVED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Achieved, Outcome};

    fn trouble(number: usize) -> Told {
        Told::Trouble(number.to_string())
    }

    fn outcome() -> Told {
        Told::Outcome(Outcome { id: None, what: Ok(Achieved::default()) })
    }

    /// All that has come, in short.
    fn heard(told: &mut Receiver<Told>) -> Vec<String> {
        let short = |told| match told {
            Told::Trouble(number) => number,
            Told::Outcome(_) => "outcome".into(),
            Told::Missed(count) => format!("missed {count}"),
            Told::Event(_) | Told::Said { .. } => "event".into(),
        };
        std::iter::from_fn(|| told.try_recv().ok()).map(short).collect()
    }

    #[test]
    fn a_round_is_told_at_its_end_and_in_order() {
        let (mut teller, mut told) = Teller::new();
        teller.tell(trouble(1));
        teller.tell(outcome());
        teller.tell(trouble(2));
        assert_eq!(heard(&mut told), Vec::<String>::new());
        teller.pass_on();
        assert_eq!(heard(&mut told), ["1", "outcome", "2"]);
    }

    #[test]
    fn a_slow_front_end_stalls_nobody_and_hears_how_much_it_missed() {
        let (mut teller, mut told) = Teller::new();
        for number in 0..TOLD {
            teller.tell(trouble(number));
            // Whether a round is long or short.
            if number % 1000 == 0 {
                teller.pass_on();
            }
        }
        assert!(teller.keeps_up());
        teller.pass_on();
        assert!(!teller.keeps_up());
        // Answers have places of their own.
        teller.tell(outcome());
        teller.tell(trouble(TOLD));
        teller.pass_on();
        let all = heard(&mut told);
        let events = TOLD - RESERVED;
        assert_eq!(
            all.get(..events).unwrap(),
            (0..events).map(|number| number.to_string()).collect::<Vec<_>>()
        );
        assert_eq!(all.get(events..).unwrap(), [format!("missed {RESERVED}"), "outcome".into()]);
        teller.tell(trouble(0));
        teller.pass_on();
        assert_eq!(heard(&mut told), ["missed 1", "0"]);
    }

    #[test]
    fn a_front_end_that_has_ended_holds_nothing_up() {
        let (mut teller, told) = Teller::new();
        drop(told);
        (0..2 * TOLD).for_each(|number| teller.tell(trouble(number)));
        teller.pass_on();
        assert!(teller.gathered.is_empty());
    }
}
