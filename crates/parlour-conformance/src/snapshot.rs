//! Ladders compared with those that were kept when this was built.

/// Compares a ladder with the one that is kept for the flow. `here` is the path of a function inside it.
///
/// # Panics
/// Panics if they differ or none is kept.
#[track_caller]
pub(crate) fn compare(here: &str, drawn: &str) {
    let flow = here.rsplit_once("::").map_or(here, |(flow, _)| flow);
    let name = flow.replace("::", "__");
    let kept = crate::SNAPSHOTS.iter().find(|(kept, _)| *kept == name).map(|(_, ladder)| *ladder);
    let Some(kept) = kept else { panic!("no ladder is kept as {name}") };
    let differs = kept.trim_end().lines().zip(drawn.trim_end().lines()).find(|(kept, drawn)| kept != drawn);
    if let Some((kept, drawn)) = differs {
        panic!("the ladder has\n{drawn}\nwhere it had\n{kept}");
    }
    let (was, is) = (kept.trim_end().lines().count(), drawn.trim_end().lines().count());
    assert!(was == is, "the ladder has {is} lines where it had {was}");
}

#[cfg(test)]
mod tests {
    use super::compare;

    const FLOW: &str = "parlour_conformance::flows::answering::cancelled_while_it_rings::here";

    fn kept() -> &'static str {
        let (_, ladder) = crate::SNAPSHOTS
            .iter()
            .find(|(name, _)| name.ends_with("__cancelled_while_it_rings"))
            .expect("the ladder is kept");
        ladder
    }

    #[test]
    fn the_ladder_that_is_kept_is_the_one_that_insta_compares() {
        assert!(kept().contains("- CANCEL -"), "{}", kept());
        compare(FLOW, kept());
        compare(FLOW, &format!("{}\n", kept()));
    }

    #[test]
    #[should_panic(expected = "- INFO -")]
    fn another_message_is_told() {
        compare(FLOW, &kept().replace("CANCEL", "INFO"));
    }

    #[test]
    #[should_panic(expected = "lines where it had")]
    fn a_message_too_few_is_told() {
        compare(FLOW, kept().trim_end().rsplit_once('\n').expect("two lines").0);
    }

    #[test]
    #[should_panic(expected = "no ladder is kept")]
    fn a_ladder_that_nobody_kept_is_no_match() {
        compare("parlour_conformance::flows::answering::unknown::here", kept());
    }
}
