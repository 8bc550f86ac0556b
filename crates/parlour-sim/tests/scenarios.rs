//! Seeded random scenarios, and proof that the checks see faults.
//!
//! `PARLOUR_SCENARIOS=10000 cargo test --release -p parlour-sim --test scenarios` plays ten thousand;
//! `PARLOUR_SEED=17` plays one and prints its ladder.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "settings come from the environment, a replayed scenario is printed, faults let most outputs pass"
)]

use std::cell::RefCell;

use parlour_proto::event::{Event, Progress, What};
use parlour_proto::io::{FlowId, Output};
use parlour_sim::check::Rule;
use parlour_sim::client_node::Tamper;
use parlour_sim::scenario::{Dice, Outcome, play};
use parlour_sim::text;

const DEFAULT: u64 = 500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

fn judge(seed: u64, outcome: &Outcome) {
    assert!(
        outcome.violations.is_empty(),
        "replay with PARLOUR_SEED={seed}\n{:#?}\n{}",
        outcome.violations,
        outcome.ladder
    );
}

#[test]
fn no_rule_is_broken_whatever_happens() {
    if let Some(seed) = number("PARLOUR_SEED") {
        let outcome = play(Dice::seeded(seed), None);
        println!("{}", outcome.ladder);
        return judge(seed, &outcome);
    }
    let (mut messages, mut events, mut referrals) = (0, 0, 0);
    let scenarios = number("PARLOUR_SCENARIOS").unwrap_or(DEFAULT);
    for seed in 0..scenarios {
        let outcome = std::panic::catch_unwind(|| play(Dice::seeded(seed), None));
        let outcome = outcome.unwrap_or_else(|_| panic!("replay with PARLOUR_SEED={seed}"));
        judge(seed, &outcome);
        messages += outcome.messages;
        events += outcome.events;
        referrals += outcome.referrals;
    }
    println!("{scenarios} scenarios: {events} events, {messages} messages stored, {referrals} referrals");
    assert!(messages as u64 > scenarios / 4, "only {messages} messages were stored");
    assert!(referrals as u64 >= scenarios / 100, "only {referrals} referrals had an outcome");
}

#[test]
fn one_seed_is_one_scenario() {
    let first = play(Dice::seeded(5), None);
    assert_eq!(first.ladder, play(Dice::seeded(5), None).ladder);
    assert_ne!(first.ladder, play(Dice::seeded(6), None).ladder);
}

/// Each rule, seen to fail by a fault planted between a client and the world.
mod planted {
    use super::*;

    /// Plays scenarios with a fault in Bob until a rule is seen broken; it must be the one expected.
    #[track_caller]
    fn breaks(rule: Rule, fault: impl Fn() -> Tamper) {
        let outcomes = (0..200).map(|seed| play(Dice::seeded(seed), Some(fault())));
        let mut rules = outcomes.flat_map(|outcome| outcome.violations).map(|(_, violation)| violation.rule);
        assert!(rules.any(|broken| broken == rule), "{rule:?} was never seen broken");
    }

    /// A fault that changes what is sent.
    fn sending(change: impl Fn(FlowId, Vec<u8>) -> Vec<Output> + 'static) -> Tamper {
        Box::new(move |output| match output {
            Output::Send { flow, bytes } => change(flow, bytes),
            other => vec![other],
        })
    }

    fn send(flow: FlowId, bytes: Vec<u8>) -> Vec<Output> {
        vec![Output::Send { flow, bytes }]
    }

    fn is_final_to_invite(bytes: &[u8]) -> bool {
        text::status(bytes).is_some_and(|status| status >= 200)
            && text::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"))
    }

    #[test]
    fn an_invite_that_is_never_answered() {
        breaks(Rule::OneFinal, || {
            sending(|flow, bytes| if is_final_to_invite(&bytes) { vec![] } else { send(flow, bytes) })
        });
    }

    #[test]
    fn a_second_final_response() {
        breaks(Rule::NoSecondFinal, || {
            sending(|flow, bytes| match is_final_to_invite(&bytes) {
                true => {
                    let other = text::lossy(&bytes).replacen("SIP/2.0 ", "SIP/2.0 4", 1).replacen(
                        "SIP/2.0 4",
                        "SIP/2.0 499 ",
                        1,
                    );
                    [send(flow, bytes), send(flow, other.into_bytes())].concat_all()
                }
                false => send(flow, bytes),
            })
        });
    }

    #[test]
    fn a_response_with_another_tag() {
        breaks(Rule::OneTag, || {
            let count = RefCell::new(0);
            sending(move |flow, bytes| {
                *count.borrow_mut() += 1;
                let tagged = text::lossy(&bytes).replacen(";tag=", &format!(";tag={}", count.borrow()), 5);
                match text::status(&bytes) {
                    Some(_) => send(
                        flow,
                        tagged.replacen(&format!("tag={}tag", count.borrow()), "tag=tag", 1).into_bytes(),
                    ),
                    None => send(flow, bytes),
                }
            })
        });
    }

    #[test]
    fn a_response_without_server() {
        breaks(Rule::Stamped, || {
            sending(|flow, bytes| {
                send(flow, text::lossy(&bytes).replace("Server:", "X-Server:").into_bytes())
            })
        });
    }

    #[test]
    fn octets_for_a_flow_that_is_gone() {
        breaks(Rule::LiveFlow, || {
            Box::new(|output| match output {
                Output::Close { flow } => {
                    vec![Output::Close { flow }, Output::Send { flow, bytes: b"late".to_vec() }]
                }
                other => vec![other],
            })
        });
    }

    #[test]
    fn chunks_without_room() {
        breaks(Rule::Room, || {
            sending(|flow, bytes| match text::method(&bytes).as_deref() {
                Some("SEND") => (0..40).flat_map(|_| send(flow, bytes.repeat(4))).collect(),
                _ => send(flow, bytes),
            })
        });
    }

    #[test]
    fn an_acknowledgement_before_the_store() {
        breaks(Rule::StoredFirst, || {
            Box::new(|mut output| {
                if let Output::Event(Event { what: What::Message(message), .. }) = &mut output {
                    // Another message is stored than the one that will be acknowledged.
                    message.message_id.push_str("-other");
                }
                vec![output]
            })
        });
    }

    #[test]
    fn a_message_whose_fate_nobody_tells() {
        breaks(Rule::Delivered, || {
            Box::new(|output| match output {
                Output::Event(Event {
                    what: What::Progress { progress: Progress::Acknowledged | Progress::Failed { .. }, .. },
                    ..
                }) => vec![],
                other => vec![other],
            })
        });
    }

    #[test]
    fn a_session_that_ends_without_a_word() {
        breaks(Rule::Model, || {
            Box::new(|output| match output {
                Output::Event(event) if matches!(event.what, What::Ended(_)) => vec![],
                other => vec![other],
            })
        });
    }

    #[test]
    fn a_client_that_never_comes_to_rest() {
        breaks(Rule::Idles, || {
            Box::new(|output| match output {
                Output::Idle(Some((_, why))) => {
                    vec![Output::Idle(Some((parlour_proto::io::Instant::ZERO, why)))]
                }
                other => vec![other],
            })
        });
    }

    #[test]
    fn timers_that_never_run() {
        breaks(Rule::Empty, || {
            Box::new(|output| match output {
                Output::Idle(_) => vec![Output::Idle(None)],
                other => vec![other],
            })
        });
    }

    #[test]
    fn spools_that_are_filled_without_waiting() {
        breaks(Rule::Limits, || {
            Box::new(|output| match output {
                Output::Spool { spool, offset, bytes } => {
                    let copy = |_| Output::Spool { spool, offset, bytes: bytes.clone() };
                    (0..2000).map(copy).collect()
                }
                other => vec![other],
            })
        });
    }

    trait ConcatAll {
        fn concat_all(self) -> Vec<Output>;
    }

    impl ConcatAll for [Vec<Output>; 2] {
        fn concat_all(self) -> Vec<Output> {
            self.into_iter().flatten().collect()
        }
    }
}
