//! What the front end is told: gathered for a round and passed on together, so that its thread wakes once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Told;

/// What a front end may lag behind before events are no longer queued for it.
const TOLD: usize = 16 * 1024;
/// Places in that queue that only answers to commands may use.
const RESERVED: usize = 512;

/// The way to the front end. It never waits: a front end that is too slow misses events, and is told how many.
pub(super) struct Teller {
    rounds: UnboundedSender<Vec<Told>>,
    /// How much is on its way, in [`Told`]: at most [`TOLD`].
    queued: Arc<AtomicUsize>,
    /// What this round brought.
    gathered: Vec<Told>,
    missed: u64,
}

/// The front end's end.
pub(crate) struct Hearer {
    rounds: UnboundedReceiver<Vec<Told>>,
    queued: Arc<AtomicUsize>,
    /// What is left of a round.
    rest: std::vec::IntoIter<Told>,
}

impl Teller {
    pub(super) fn new() -> (Teller, Hearer) {
        let (sender, receiver) = unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let hearer = Hearer { rounds: receiver, queued: queued.clone(), rest: Vec::new().into_iter() };
        (Teller { rounds: sender, queued, gathered: Vec::new(), missed: 0 }, hearer)
    }

    /// Tells it at the end of this round, if there is room.
    pub(super) fn tell(&mut self, told: Told) {
        let room = self.room().saturating_sub(self.gathered.len());
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
        if self.gathered.is_empty() {
            return;
        }
        let round = std::mem::take(&mut self.gathered);
        self.queued.fetch_add(round.len(), Ordering::Relaxed);
        // It fails only where the front end has ended.
        let _ = self.rounds.send(round);
    }

    /// Whether the front end keeps up, so that more commands may be taken.
    pub(super) fn keeps_up(&self) -> bool {
        self.room() > RESERVED
    }

    /// How much more may be on its way. It shrinks by nobody's doing but ours.
    fn room(&self) -> usize {
        TOLD.saturating_sub(self.queued.load(Ordering::Relaxed))
    }
}

impl Hearer {
    /// What comes next, in order; `None` when the agent has ended.
    pub(crate) async fn hear(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.rest.next() {
                return Some(told);
            }
            let round = self.rounds.recv().await?;
            self.rest = self.taken(round).into_iter();
        }
    }

    /// All that the rounds until now have brought, for a thread that waits; `None` when the agent has ended.
    pub(crate) fn wait(&mut self) -> Option<Vec<Told>> {
        let mut round = self.rounds.blocking_recv()?;
        while let Ok(next) = self.rounds.try_recv() {
            round.extend(next);
        }
        Some(self.taken(round))
    }

    fn taken(&self, round: Vec<Told>) -> Vec<Told> {
        self.queued.fetch_sub(round.len(), Ordering::Relaxed);
        round
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
    fn heard(told: &mut Hearer) -> Vec<String> {
        let short = |told| match told {
            Told::Trouble(number) => number,
            Told::Outcome(_) => "outcome".into(),
            Told::Missed(count) => format!("missed {count}"),
            Told::Event(_) | Told::Said { .. } | Told::Paged { .. } => "event".into(),
        };
        let rounds = std::iter::from_fn(|| told.rounds.try_recv().ok()).collect::<Vec<_>>();
        rounds.into_iter().flat_map(|round| told.taken(round)).map(short).collect()
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
                assert_eq!(teller.keeps_up(), number < TOLD - RESERVED);
            }
        }
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

    #[tokio::test]
    async fn a_round_can_be_heard_piece_by_piece() {
        let (mut teller, mut told) = Teller::new();
        for round in [&[1, 2][..], &[3]] {
            round.iter().for_each(|number| teller.tell(trouble(*number)));
            teller.pass_on();
        }
        drop(teller);
        for number in ["1", "2", "3"] {
            assert!(matches!(told.hear().await, Some(Told::Trouble(heard)) if heard == number));
        }
        assert!(told.hear().await.is_none());
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
