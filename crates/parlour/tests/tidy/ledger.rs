//! docs/clauses.toml against the marks in code and tests, and docs/CLAUSES.md made from both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use serde::Deserialize;

use crate::repo;

/// The groups of clauses in the order of the ledger.
pub(crate) const GROUPS: [(&str, &str); 8] = [
    ("G", "General: every initial INVITE and every response"),
    ("S", "The invited client"),
    ("P", "Replaces"),
    ("R", "Limits, conference state, versions, identities, features, IMS"),
    ("D", "SDP for MSRP"),
    ("M", "MSRP and what it carries"),
    ("F", "Features of a useful client"),
    ("X", "Errors and security"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clause {
    pub(crate) level: Level,
    pub(crate) gist: String,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    reading: Option<String>,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Level {
    Shall,
    Should,
    May,
    Pol,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Done,
    Todo,
    Never,
}

/// The places that carry the mark of one clause, as `file: function`.
#[derive(Default)]
pub(crate) struct Places {
    pub(crate) code: BTreeSet<String>,
    pub(crate) tests: BTreeSet<String>,
}

#[test]
fn a_done_clause_has_code_and_test() {
    let (ledger, marks) = (ledger(), marks());
    let mut faults = Vec::new();
    for (id, clause) in &ledger {
        let bound = matches!(clause.level, Level::Shall | Level::Should);
        let places = marks.get(id);
        if clause.status == Status::Done && bound {
            if places.is_none_or(|places| places.code.is_empty()) {
                faults.push(format!("{id} is done, but no line of code is marked `//= IM {id}`"));
            }
            if places.is_none_or(|places| places.tests.is_empty()) {
                faults.push(format!("{id} is done, but no test is marked `//= IM {id} test`"));
            }
        }
        if clause.status == Status::Never && clause.reason.is_none() {
            faults.push(format!("{id} is never done, but has no reason"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_mark_names_a_clause() {
    let ledger = ledger();
    let unknown: Vec<_> = marks()
        .into_iter()
        .filter(|(id, _)| !ledger.contains_key(id))
        .map(|(id, places)| format!("{id} in {:?} {:?}", places.code, places.tests))
        .collect();
    assert!(
        unknown.is_empty(),
        "marks of clauses that docs/clauses.toml does not have:\n{}",
        unknown.join("\n")
    );
}

#[test]
fn the_page_is_made_from_the_ledger() {
    let path = repo::root().join("docs/CLAUSES.md");
    let page = page(&ledger(), &marks());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).expect("docs/CLAUSES.md can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/CLAUSES.md is old: UPDATE=1 cargo test -p parlour --test tidy");
}

pub(crate) fn ledger() -> BTreeMap<String, Clause> {
    let text = fs::read_to_string(repo::root().join("docs/clauses.toml")).expect("docs/clauses.toml");
    toml::from_str(&text).unwrap_or_else(|fault| panic!("docs/clauses.toml: {fault}"))
}

pub(crate) fn marks() -> BTreeMap<String, Places> {
    let mut marks = BTreeMap::<String, Places>::new();
    for file in repo::rust("crates").into_iter().chain(repo::rust("fuzz")) {
        let lines: Vec<_> = file.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(mark) = line.trim_start().strip_prefix("//= IM ") else { continue };
            let (id, kind) = mark.trim().split_once(' ').unwrap_or((mark.trim(), ""));
            let place = format!("{}: {}", file.path, owner(&lines, index));
            let places = marks.entry(id.to_owned()).or_default();
            match kind {
                "" => places.code.insert(place),
                "test" => places.tests.insert(place),
                other => panic!(
                    "{}:{}: a mark is `//= IM ID` or `//= IM ID test`, not {other:?}",
                    file.path,
                    index + 1
                ),
            };
        }
    }
    marks
}

/// The item that a mark at line `at` belongs to: the one that begins right below it, else the function around it.
fn owner(lines: &[&str], at: usize) -> String {
    let below = lines.iter().skip(at + 1).find(|line| {
        let line = line.trim_start();
        !(line.starts_with("//") || line.starts_with("#[") || line.is_empty())
    });
    if let Some(name) = below.and_then(|line| item(line)) {
        return name;
    }
    let depth = indent(lines[at]);
    let around = lines[..at].iter().rev().filter(|line| indent(line) < depth).find_map(|line| item(line));
    around.unwrap_or_else(|| "the file".to_owned())
}

/// The name of the item that `line` begins, if it begins one.
fn item(line: &str) -> Option<String> {
    let mut words =
        line.trim_start().split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        match word {
            "pub" | "crate" | "super" | "const" | "async" | "in" => {
                // `const NAME`, but not `const fn`.
                if word == "const" && !line.contains("fn ") {
                    return words.next().map(str::to_owned);
                }
            }
            "fn" | "struct" | "enum" | "trait" | "mod" | "type" | "static" => {
                return words.next().map(str::to_owned);
            }
            _ => return None,
        }
    }
    None
}

fn indent(line: &str) -> usize {
    if line.trim().is_empty() { usize::MAX } else { line.len() - line.trim_start().len() }
}

fn page(ledger: &BTreeMap<String, Clause>, marks: &BTreeMap<String, Places>) -> String {
    let mut out = String::from(
        "# Clauses\n\nMade from [clauses.toml](clauses.toml) and the marks in the code; do not edit. \
         `UPDATE=1 cargo test -p parlour --test tidy` makes it again.\n",
    );
    let count = |status| ledger.values().filter(|clause| clause.status == status).count();
    let (done, todo, never) = (count(Status::Done), count(Status::Todo), count(Status::Never));
    writeln!(out, "\n{done} done, {todo} to do, {never} never.").expect("a String takes all");
    for (letter, title) in GROUPS {
        writeln!(out, "\n## {letter}: {title}\n\n| clause | level | status | gist | code | tests |")
            .expect("a String");
        out.push_str("| --- | --- | --- | --- | --- | --- |\n");
        let mut group: Vec<_> = ledger.iter().filter(|(id, _)| id.starts_with(letter)).collect();
        group.sort_by_key(|(id, _)| order(id));
        for (id, clause) in group {
            let level = format!("{:?}", clause.level).to_uppercase();
            let status = format!("{:?}", clause.status).to_lowercase();
            let mut gist = clause.gist.replace('|', "\\|");
            for (label, more) in [("Why not", &clause.reason), ("Reading", &clause.reading)] {
                if let Some(more) = more {
                    write!(gist, " *{label}: {more}*").expect("a String takes all");
                }
            }
            let none = Places::default();
            let places = marks.get(id).unwrap_or(&none);
            let (code, tests) = (list(&places.code), list(&places.tests));
            writeln!(out, "| {id} | {level} | {status} | {gist} | {code} | {tests} |")
                .expect("a String takes all");
        }
    }
    out
}

pub(crate) fn list(places: &BTreeSet<String>) -> String {
    places.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join("<br>")
}

/// G-2 before G-10, G-1 before G-1a.
pub(crate) fn order(id: &str) -> (u32, String) {
    let rest = id.split_once('-').map_or("", |(_, rest)| rest);
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    (rest[..digits].parse().unwrap_or(0), rest[digits..].to_owned())
}

#[test]
fn a_mark_finds_its_function() {
    let text = "impl A {\n    fn outer() {\n        let a = 1;\n        //= IM G-1\n        a\n    }\n\n    //= IM G-2\n    \
                /// Doc.\n    #[inline]\n    pub const fn inner() {}\n}\n//= IM G-3\npub const LIMIT: u8 = 1;\n";
    let lines: Vec<_> = text.lines().collect();
    let owners: Vec<_> =
        (0..lines.len()).filter(|&at| lines[at].contains("//=")).map(|at| owner(&lines, at)).collect();
    assert_eq!(owners, ["outer", "inner", "LIMIT"]);
}
