//! docs/CONFORMANCE.md: what `parlour conformance` finds, made by playing all flows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use parlour_conformance::FLOWS;

use crate::ledger::{self, Clause, Places, Status};
use crate::repo;

/// Where the flows stand.
const FOLDER: &str = "crates/parlour-conformance/src/flows/";

#[test]
fn the_page_tells_how_the_flows_went() {
    let faults: Vec<_> = FLOWS
        .iter()
        .filter_map(|flow| Some(format!("{}: {}", flow.path(), flow.play(false).fault?)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let path = repo::root().join("docs/CONFORMANCE.md");
    let page = page(&ledger::ledger(), &ledger::marks());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).expect("docs/CONFORMANCE.md can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/CONFORMANCE.md is old: UPDATE=1 cargo test -p parlour --test tidy");
}

#[test]
fn the_suite_has_every_flow_that_is_marked() {
    let of_suite: BTreeSet<_> =
        FLOWS.iter().flat_map(|flow| flow.clauses.iter().map(|id| (*id, flow.path()))).collect();
    let marks = ledger::marks();
    let marked: BTreeSet<_> =
        marks.iter().flat_map(|(id, places)| flows(places).map(move |flow| (id.as_str(), flow))).collect();
    assert_eq!(of_suite, marked);
}

/// The flows among the tests of a clause, as the suite names them.
fn flows(places: &Places) -> impl Iterator<Item = String> {
    places.tests.iter().filter_map(|test| {
        let (file, name) = test.strip_prefix(FOLDER)?.split_once(": ")?;
        Some(format!("{}::{name}", file.strip_suffix(".rs")?))
    })
}

/// The page, if no flow failed.
fn page(ledger: &BTreeMap<String, Clause>, marks: &BTreeMap<String, Places>) -> String {
    let mut out = format!(
        "# Conformance\n\nMade by playing all flows; do not edit. `UPDATE=1 cargo test -p parlour --test tidy` makes it \
         again.\n\nA flow is a test in virtual time that the program itself can play: `parlour conformance` says what its own \
         came to, with `--ladder` it draws what crossed. `pass` is the verdict of flows; `elsewhere` are clauses that \
         only other tests show. [CLAUSES.md](CLAUSES.md) has the code beside each clause.\n\n{} flows, all pass.\n",
        FLOWS.len()
    );
    let none = Places::default();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut tables = String::new();
    for (letter, title) in ledger::GROUPS {
        writeln!(
            tables,
            "\n## {letter}: {title}\n\n| clause | level | verdict | gist | flows | other tests |"
        )
        .expect("a String takes all");
        tables.push_str("| --- | --- | --- | --- | --- | --- |\n");
        let mut group: Vec<_> = ledger.iter().filter(|(id, _)| id.starts_with(letter)).collect();
        group.sort_by_key(|(id, _)| ledger::order(id));
        for (id, clause) in group {
            let places = marks.get(id).unwrap_or(&none);
            let shown: BTreeSet<_> = flows(places).collect();
            let others: BTreeSet<_> =
                places.tests.iter().filter(|test| !test.starts_with(FOLDER)).cloned().collect();
            let verdict = match clause.status {
                Status::Todo => "todo",
                Status::Never => "never",
                Status::Done if !shown.is_empty() => "pass",
                Status::Done if !others.is_empty() => "elsewhere",
                Status::Done => "untested",
            };
            *counts.entry(verdict).or_default() += 1;
            let level = format!("{:?}", clause.level).to_uppercase();
            let gist = clause.gist.replace('|', "\\|");
            let (shown, others) = (ledger::list(&shown), ledger::list(&others));
            writeln!(tables, "| {id} | {level} | {verdict} | {gist} | {shown} | {others} |")
                .expect("a String");
        }
    }
    let counts: Vec<_> = counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    writeln!(out, "\nClauses: {}.", counts.join(", ")).expect("a String takes all");
    out + &tables
}
