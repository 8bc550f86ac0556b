//! Flows hold whatever is drawn by chance. `PARLOUR_SEED=n` has them played by that number alone.

use parlour_conformance::FLOWS;

/// Other numbers than that of the flows themselves.
const NUMBERS: std::ops::RangeInclusive<u64> = 1..=2;

#[test]
fn no_flow_rests_on_what_is_drawn() {
    #[expect(clippy::disallowed_methods, reason = "whoever runs a test says by which number")]
    let wished = std::env::var("PARLOUR_SEED").ok();
    let numbers = match wished {
        Some(number) => vec![number.parse().expect("PARLOUR_SEED is a number")],
        None => NUMBERS.collect(),
    };
    let mut faults = Vec::new();
    for number in numbers {
        let plays = FLOWS.iter().map(|flow| (flow, flow.play_by_chance(number)));
        let failed = plays.filter_map(|(flow, played)| Some((flow.path(), played.fault?)));
        faults.extend(failed.map(|(flow, fault)| format!("PARLOUR_SEED={number}: {flow}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
