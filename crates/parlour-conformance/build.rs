//! Makes the table of flows from the marks above them, the table of clauses from the ledger, and keeps the ladders that
//! flows are compared with.
#![expect(
    clippy::disallowed_methods,
    reason = "a build script reads files; the crate that it serves does not"
)]

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the flows are, from the root of the repository.
const FLOWS: &str = "crates/parlour-conformance/src/flows";

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder of the crate"));
    let root = here.ancestors().nth(2).expect("the crate lies two folders below the root of the repository");
    let mut out = String::new();
    flows(&root.join(FLOWS), &mut out);
    clauses(root, &mut out);
    snapshots(&root.join(FLOWS).join("snapshots"), &mut out);
    let to = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the folder for what is made"));
    fs::write(to.join("tables.rs"), out).expect("the tables can be written");
}

/// `FLOWS`: in order of their modules, then as they stand in the file.
fn flows(folder: &Path, out: &mut String) {
    out.push_str("/// All flows.\npub const FLOWS: &[Flow] = &[\n");
    for path in sorted(folder, "rs") {
        let module = stem(&path);
        if module == "mod" {
            continue;
        }
        let text = read(&path);
        assert!(
            !text.contains("World::new("),
            "{}: `crate::stage::world` makes a flow's world",
            path.display()
        );
        let (mut marks, mut is_flow) = (Vec::new(), false);
        for (index, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", path.display(), index + 1);
            if let Some(mark) = line.trim_start().strip_prefix("//= IM ") {
                let id =
                    mark.strip_suffix(" test").unwrap_or_else(|| panic!("{}: a flow is a test", place()));
                assert!(!line.starts_with(' '), "{}: a mark stands above its flow", place());
                marks.push(id);
            } else if line == "#[cfg_attr(test, test)]" {
                is_flow = true;
            } else if let Some(rest) = line.strip_prefix("pub(crate) fn ").filter(|_| is_flow) {
                let name = rest.split('(').next().unwrap_or(rest);
                writeln!(
                    out,
                    "Flow {{ module: {module:?}, name: {name:?}, clauses: &{marks:?}, run: crate::flows::{module}::{name} }},"
                )
                .expect("a String takes all");
                (marks, is_flow) = (Vec::new(), false);
            } else if line.trim() == "#[test]" || is_flow {
                panic!("{}: a flow begins with `#[cfg_attr(test, test)]` and `pub(crate) fn`", place());
            } else if !(line.starts_with("//") || line.starts_with("#[")) {
                assert!(marks.is_empty(), "{}: marks {marks:?} stand above no flow", place());
            }
        }
    }
    out.push_str("];\n");
}

/// `CLAUSES`: as in the ledger, with the tests elsewhere that docs/CLAUSES.md tells.
fn clauses(root: &Path, out: &mut String) {
    let ledger: toml::Table = read(&root.join("docs/clauses.toml")).parse().expect("docs/clauses.toml");
    let page = read(&root.join("docs/CLAUSES.md"));
    let mut ids: Vec<_> = ledger.keys().collect();
    ids.sort_by_key(|id| order(id));
    out.push_str("/// All clauses of the ledger, in its order.\npub const CLAUSES: &[Clause] = &[\n");
    for id in ids {
        let field = |name: &str| ledger[id].get(name).and_then(toml::Value::as_str);
        let need =
            |name: &str| field(name).unwrap_or_else(|| panic!("docs/clauses.toml: {id} has no {name}"));
        let status = match need("status") {
            "done" => "Done",
            "todo" => "Todo",
            "never" => "Never",
            other => panic!("docs/clauses.toml: {id}: a status is not {other:?}"),
        };
        let row = page.lines().find(|line| line.starts_with(&format!("| {id} |"))).unwrap_or_default();
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let elsewhere: Vec<_> = tests
            .split("<br>")
            .map(|test| test.trim_matches('`'))
            .filter(|test| test.contains(": ") && !test.starts_with(FLOWS))
            .collect();
        writeln!(
            out,
            "Clause {{ id: {id:?}, level: {:?}, gist: {:?}, status: Status::{status}, reason: {:?}, elsewhere: &{elsewhere:?} }},",
            need("level"),
            need("gist"),
            field("reason"),
        )
        .expect("a String takes all");
    }
    out.push_str("];\n");
}

/// `SNAPSHOTS`: what `insta` compares in tests, for flows that run elsewhere.
fn snapshots(folder: &Path, out: &mut String) {
    out.push_str("/// The name of each ladder that is kept, and the ladder.\npub(crate) const SNAPSHOTS: &[(&str, &str)] = &[\n");
    for path in sorted(folder, "snap") {
        let text = read(&path);
        let (_, kept) = text
            .strip_prefix("---\n")
            .and_then(|rest| rest.split_once("\n---\n"))
            .unwrap_or_else(|| panic!("{}: it has no head", path.display()));
        writeln!(out, "({:?}, {kept:?}),", stem(&path)).expect("a String takes all");
    }
    out.push_str("];\n");
}

/// The letter's place in the ledger, then G-2 before G-10 and G-1 before G-1a.
fn order(id: &str) -> (Option<usize>, u32, String) {
    let (letter, rest) = id.split_once('-').unwrap_or((id, ""));
    let digits = rest.chars().take_while(char::is_ascii_digit).count();
    ("GSPRDMFX".find(letter), rest[..digits].parse().unwrap_or(0), rest[digits..].to_owned())
}

fn sorted(folder: &Path, extension: &str) -> Vec<PathBuf> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).expect("the names of our files are ASCII")
}

fn read(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path)
        .unwrap_or_else(|fault| panic!("{} (this crate needs the repository): {fault}", path.display()))
}
