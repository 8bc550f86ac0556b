//! Parlour's conformance suite: [`FLOWS`] in virtual time, and the [`CLAUSES`] that they show.
//!
//! A flow is a test under `cargo test` and an ordinary function elsewhere, so that a program can run the suite wherever
//! it is: `parlour conformance` does. It panics if the client does not do what it must, and says why. It reads no file
//! and no clock.
//!
//! The marks above a flow, `//= IM <clause> test`, say what it shows; the build script makes the tables from them.

use std::panic::catch_unwind;

mod common;
mod snapshot;
mod stage;

/// Compares what a flow drew with what is kept: with insta under `cargo test`, with a copy inside the program elsewhere.
macro_rules! assert_snapshot {
    ($drawn:expr) => {{
        #[cfg(test)]
        insta::assert_snapshot!($drawn);
        #[cfg(not(test))]
        {
            fn here() {}
            $crate::snapshot::compare(std::any::type_name_of_val(&here), &$drawn);
        }
    }};
}

mod flows;

/// What a flow is and how it is run.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// The file that it stands in, without its ending.
    pub module: &'static str,
    /// What it shows, as a sentence with underscores.
    pub name: &'static str,
    /// The ids of the clauses that it shows; none for what no clause asks for.
    pub clauses: &'static [&'static str],
    /// Plays it in virtual time. Panics if the client does not do what it must.
    pub run: fn(),
}

/// How a flow went.
#[derive(Debug, Clone)]
pub struct Played {
    /// What the client did wrong, in the words of the flow; none if it did what it must.
    pub fault: Option<String>,
    /// What crossed each of its worlds, if it was asked for.
    pub ladders: Vec<String>,
}

impl Flow {
    /// Its module and name, as `cargo test` knows it.
    pub fn path(&self) -> String {
        format!("{}::{}", self.module, self.name)
    }

    /// Plays it, and draws the ladders of its worlds if `draw` says so. The panic of a flow that fails is caught here;
    /// before that, it passes through the hook of the process as any other.
    pub fn play(&self, draw: bool) -> Played {
        let (end, ladders) = if draw {
            stage::watched(|| catch_unwind(self.run))
        } else {
            (catch_unwind(self.run), Vec::new())
        };
        let fault = end.err().map(|payload| match payload.downcast::<String>() {
            Ok(words) => *words,
            Err(payload) => payload.downcast_ref::<&str>().copied().unwrap_or("it panicked").to_owned(),
        });
        Played { fault, ladders }
    }

    /// Plays it where all that happens by chance (tags, identifiers, the spread of delays) happens otherwise: by another
    /// number, in another way. What a flow asserts must hold in all of them. Its ladders are not drawn.
    pub fn play_by_chance(&self, chance: u64) -> Played {
        stage::by_chance(chance, || self.play(false))
    }
}

/// A requirement.
#[derive(Debug, Clone, Copy)]
pub struct Clause {
    /// Its id, such as `P-4`.
    pub id: &'static str,
    /// `SHALL`, `SHOULD`, `MAY`, or `POL` where the standards leave it to us.
    pub level: &'static str,
    /// What it asks for, in our words.
    pub gist: &'static str,
    /// Whether the client does it.
    pub status: Status,
    /// Why it is never done.
    pub reason: Option<&'static str>,
    /// Its tests that are no flows, as `file: function`.
    pub elsewhere: &'static [&'static str],
}

/// Whether the client does what a clause asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Done,
    /// Not yet.
    Todo,
    /// It will not.
    Never,
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(run: fn()) -> Flow {
        Flow { module: "planted", name: "flow", clauses: &["G-1"], run }
    }

    fn plays() {
        let mut world = stage::world(1);
        let (alice, bob) = (world.peer("alice"), world.peer("bob"));
        let way = world.udp(alice, bob);
        world.send(way, "OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\n\r\n");
    }

    fn fails() {
        plays();
        let status = 200;
        panic!("{status} did not come");
    }

    #[test]
    fn a_flow_that_fails_says_why_and_shows_what_crossed_until_then() {
        let played = flow(fails).play(true);
        assert_eq!(played.fault.as_deref(), Some("200 did not come"));
        assert!(matches!(&played.ladders[..], [ladder] if ladder.contains("OPTIONS")), "{played:?}");
        assert_eq!(flow(|| panic!("never")).play(false).fault.as_deref(), Some("never"));
    }

    #[test]
    fn nobody_draws_what_nobody_asked_for() {
        assert_eq!(flow(plays).play(true).ladders.len(), 1);
        let played = flow(plays).play(false);
        assert!(played.fault.is_none() && played.ladders.is_empty(), "{played:?}");
    }

    #[test]
    fn chance_is_another_by_another_number_and_the_same_again() {
        fn draws() {
            let call = common::Call::ringing();
            panic!("{:?}", call.script.remote_tag);
        }
        let by = |chance| flow(draws).play_by_chance(chance).fault.expect("it says what was drawn");
        assert_eq!(by(1), by(1));
        assert_ne!(by(1), by(2));
        assert_eq!(by(0), flow(draws).play(false).fault.expect("it says what was drawn"));
    }

    #[test]
    fn every_flow_names_clauses_of_the_ledger() {
        for flow in FLOWS {
            for id in flow.clauses {
                assert!(CLAUSES.iter().any(|clause| clause.id == *id), "{}: {id}", flow.path());
            }
        }
    }
}
