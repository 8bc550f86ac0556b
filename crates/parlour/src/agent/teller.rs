//! What the front end is told: gathered for a round and passed on together, so that its thread wakes once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Happening, Told};

/// What a front end may lag behind before events are no longer queued for it.
const TOLD: usize = 16 * 1024;
/// The same in octets. A peer can say 64 KiB at a time, and who reads our output may have stopped.
const OCTETS: usize = 16 * 1024 * 1024;
/// Places in that queue that only answers to commands may use. No more commands are taken long before they are used up.
const RESERVED: usize = 512;

/// The way to the front end. It never waits: a front end that is too slow misses events, and is told how many.
pub(super) struct Teller {
    rounds: UnboundedSender<Round>,
    lag: Arc<Lag>,
    /// What this round brought.
    gathered: Round,
    /// Something was missed: nothing more is queued until half of the queue is free, so that there are few gaps.
    is_behind: bool,
}

/// The front end's end.
pub(crate) struct Hearer {
    rounds: UnboundedReceiver<Round>,
    lag: Arc<Lag>,
    /// What is left of a round.
    rest: std::vec::IntoIter<Told>,
    /// What was handed out: it counts until the front end asks for more.
    out: (usize, usize),
}

#[derive(Default)]
struct Round {
    told: Vec<Told>,
    /// What they weigh.
    octets: usize,
}

/// What both ends know. All in one order ([`SeqCst`]): what is missed while the front end finds nothing more is told by
/// one of the two.
#[derive(Default)]
struct Lag {
    /// How much is on its way or in the hands of the front end, in [`Told`] and in octets.
    queued: AtomicUsize,
    octets: AtomicUsize,
    /// How much was not queued and is not told.
    missed: AtomicU64,
    /// The number of the last of it that is durable.
    upto: AtomicU64,
}

impl Teller {
    pub(super) fn new() -> (Teller, Hearer) {
        let (sender, receiver) = unbounded_channel();
        let lag = Arc::new(Lag::default());
        let (rest, out) = (Vec::new().into_iter(), (0, 0));
        let hearer = Hearer { rounds: receiver, lag: lag.clone(), rest, out };
        (Teller { rounds: sender, lag, gathered: Round::default(), is_behind: false }, hearer)
    }

    /// Tells it at the end of this round, if there is room.
    pub(super) fn tell(&mut self, told: Told) {
        self.catch_up();
        let weight = told.weight();
        if !self.has_room(&told, weight) {
            self.is_behind = true;
            return self.lag.miss(told.seq());
        }
        self.gathered.octets = self.gathered.octets.saturating_add(weight);
        self.gathered.told.push(told);
    }

    /// The end of a round.
    pub(super) fn pass_on(&mut self) {
        self.catch_up();
        if self.gathered.told.is_empty() {
            return;
        }
        let round = std::mem::take(&mut self.gathered);
        self.lag.queued.fetch_add(round.told.len(), SeqCst);
        self.lag.octets.fetch_add(round.octets, SeqCst);
        // It fails only where the front end has ended.
        let _ = self.rounds.send(round);
    }

    /// Whether the front end keeps up, so that more commands may be taken.
    pub(super) fn keeps_up(&self) -> bool {
        let (queued, octets) = self.waiting();
        !self.is_behind && queued < TOLD.saturating_sub(RESERVED) && octets < OCTETS
    }

    fn has_room(&self, told: &Told, weight: usize) -> bool {
        let (queued, octets) = self.waiting();
        // One place is for the word that something was missed.
        if let Told::Outcome(_) = told {
            return queued.saturating_add(1) < TOLD;
        }
        // What is larger than the queue is told when nothing else waits.
        let fits = octets == 0 || octets.saturating_add(weight) <= OCTETS;
        !self.is_behind && fits && queued < TOLD.saturating_sub(RESERVED)
    }

    /// Goes on where something was missed, once there is room, and says how much it was.
    fn catch_up(&mut self) {
        let (queued, octets) = self.waiting();
        if self.is_behind && queued <= TOLD / 2 && octets <= OCTETS / 2 {
            self.is_behind = false;
            self.gathered.told.extend(self.lag.take_missed());
        }
    }

    /// How much waits, in [`Told`] and in octets. It grows by nobody's doing but ours.
    fn waiting(&self) -> (usize, usize) {
        let queued = self.lag.queued.load(SeqCst).saturating_add(self.gathered.told.len());
        (queued, self.lag.octets.load(SeqCst).saturating_add(self.gathered.octets))
    }
}

impl Lag {
    fn miss(&self, seq: Option<u64>) {
        if let Some(seq) = seq {
            self.upto.store(seq, SeqCst);
        }
        self.missed.fetch_add(1, SeqCst);
    }

    /// The word that something was missed, if it was.
    fn take_missed(&self) -> Option<Told> {
        let count = self.missed.swap(0, SeqCst);
        (count > 0).then(|| Told::Missed { count, upto: self.upto.load(SeqCst) })
    }
}

impl Told {
    /// Its number, if it is durable.
    fn seq(&self) -> Option<u64> {
        match self {
            Told::Event(Happening { seq, .. }) => *seq,
            Told::Said { seq, .. } | Told::Paged { seq, .. } => Some(*seq),
            Told::Outcome(_) | Told::Trouble(_) | Told::Missed { .. } => None,
        }
    }
}

impl Hearer {
    /// What comes next, in order; `None` when the agent has ended.
    pub(crate) async fn hear(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.rest.next() {
                return Some(told);
            }
            let round = match self.next() {
                Some(told) => told,
                None => {
                    let round = self.rounds.recv().await?;
                    self.handed_out(round)
                }
            };
            self.rest = round.into_iter();
        }
    }

    /// All that the rounds until now have brought, for a thread that waits; `None` when the agent has ended. What was
    /// handed out before counts as dealt with.
    pub(crate) fn wait(&mut self) -> Option<Vec<Told>> {
        if let Some(told) = self.next() {
            return Some(told);
        }
        let round = self.rounds.blocking_recv()?;
        let mut all = self.handed_out(round);
        while let Ok(next) = self.rounds.try_recv() {
            all.extend(self.handed_out(next));
        }
        Some(all)
    }

    /// What is there: rounds, else the word that something was missed that would have come after them.
    fn next(&mut self) -> Option<Vec<Told>> {
        let (queued, octets) = std::mem::take(&mut self.out);
        self.lag.queued.fetch_sub(queued, SeqCst);
        self.lag.octets.fetch_sub(octets, SeqCst);
        let mut all = Vec::new();
        while let Ok(round) = self.rounds.try_recv() {
            all.extend(self.handed_out(round));
        }
        if all.is_empty() {
            all.extend(self.lag.take_missed());
        }
        (!all.is_empty()).then_some(all)
    }

    fn handed_out(&mut self, round: Round) -> Vec<Told> {
        let (queued, octets) = self.out;
        self.out = (queued.saturating_add(round.told.len()), octets.saturating_add(round.octets));
        round.told
    }
}

#[cfg(test)]
mod tests {
    use parlour_msrp::Body;
    use parlour_proto::event::{Event, Incoming, What};

    use super::*;
    use crate::agent::weight::tests::message;
    use crate::command::{Achieved, Outcome};

    fn trouble(number: usize) -> Told {
        Told::Trouble(number.to_string())
    }

    fn outcome() -> Told {
        Told::Outcome(Outcome { id: None, what: Ok(Achieved::default()) })
    }

    /// All that has come, in short; it counts as dealt with.
    fn heard(told: &mut Hearer) -> Vec<String> {
        let short = |told| match told {
            Told::Trouble(number) => number,
            Told::Outcome(_) => "outcome".into(),
            Told::Missed { count, upto } => format!("missed {count} up to {upto}"),
            Told::Event(_) | Told::Said { .. } | Told::Paged { .. } => "event".into(),
        };
        std::iter::from_fn(|| told.next()).flatten().map(short).collect()
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
        // What was missed came after all that was queued, and is told though nothing more happens.
        assert_eq!(
            all.get(events..).unwrap(),
            ["outcome".into(), format!("missed {} up to 0", RESERVED + 1)]
        );
        teller.tell(trouble(0));
        teller.pass_on();
        assert_eq!(heard(&mut told), ["0"]);
    }

    #[test]
    fn a_front_end_that_stands_still_has_peers_fill_no_memory() {
        let (mut teller, mut told) = Teller::new();
        let all = 3000;
        let kept = |lag: &Lag| lag.octets.load(SeqCst);
        for seq in 1..=all {
            teller.tell(message(seq, 64 * 1024));
            teller.pass_on();
            assert!(kept(&teller.lag) <= OCTETS, "{} octets wait", kept(&teller.lag));
        }
        assert!(!teller.keeps_up(), "no more commands are taken");
        // What the front end is about to write still counts.
        let first = told.next().unwrap();
        let octets = |told: &Told| {
            if let Told::Event(Happening {
                event: Event { what: What::Message(Incoming { body: Body::Inline(octets), .. }), .. },
                ..
            }) = told
            {
                octets.len()
            } else {
                unreachable!("only texts were told")
            }
        };
        let written: usize = first.iter().map(octets).sum();
        assert!((OCTETS / 4..=OCTETS).contains(&written), "{written} octets were queued");
        teller.tell(message(all + 1, 64 * 1024));
        teller.pass_on();
        assert!(kept(&teller.lag) > OCTETS / 2 && kept(&teller.lag) <= OCTETS);
        // Then the rest is told as missed, up to which number, and it goes on.
        let missed = all + 1 - u64::try_from(first.len()).unwrap();
        assert_eq!(heard(&mut told), [format!("missed {missed} up to {}", all + 1)]);
        assert_eq!(kept(&teller.lag), 0);
        teller.tell(message(all + 2, 64 * 1024));
        teller.pass_on();
        assert_eq!(heard(&mut told), ["event"]);
        assert!(teller.keeps_up());
    }

    #[test]
    fn gaps_are_few() {
        let (mut teller, mut told) = Teller::new();
        (1..=1000).for_each(|seq| teller.tell(message(seq, 64 * 1024)));
        teller.pass_on();
        // A small one does not slip in between, or each message would be a gap of its own.
        teller.tell(trouble(1));
        teller.pass_on();
        let all = told.next().unwrap();
        assert!(all.iter().all(|told| matches!(told, Told::Event(_))));
        assert_eq!(heard(&mut told).len(), 1, "one word for all that was missed");
    }

    #[test]
    fn what_is_larger_than_the_queue_is_told_where_nothing_waits() {
        let (mut teller, mut told) = Teller::new();
        teller.tell(trouble(1));
        teller.tell(message(1, OCTETS));
        teller.pass_on();
        assert_eq!(heard(&mut told), ["1", "missed 1 up to 1"]);
        teller.tell(message(2, OCTETS));
        teller.pass_on();
        assert_eq!(heard(&mut told), ["event"]);
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
        assert!(teller.gathered.told.is_empty());
    }
}
