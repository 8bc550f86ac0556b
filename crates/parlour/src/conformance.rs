//! `parlour conformance`: each clause with its verdict. The flows that show it are played here and now, in virtual time.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use parlour_conformance::{CLAUSES, Clause, FLOWS, Flow, Status};
use serde::Serialize;

use crate::cli::Conformance as Flags;
use crate::{Fault, json};

/// Characters of a reason in a line.
const REASON: usize = 300;

/// Plays the flows of the clauses that are asked for, and tells of each clause.
pub(crate) fn conformance(flags: &Flags) -> Result<ExitCode, Fault> {
    let places = Places::listen();
    let mut suite = Suite::new(CLAUSES, FLOWS, || places.take());
    match suite.tell(flags, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the verdicts cannot be written: {error}").into())
        }
        Ok(()) | Err(_) if suite.failed() > 0 => Ok(ExitCode::FAILURE),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// An id of a clause, or the beginning of some up to its hyphen, if the ledger has such.
pub(crate) fn wanted(word: &str) -> Result<String, String> {
    if CLAUSES.iter().any(|clause| is_wanted(word, clause.id)) {
        return Ok(word.to_owned());
    }
    Err("no such clause: name one, such as P-4, or a group, such as P-; docs/CLAUSES.md lists all".to_owned())
}

fn is_wanted(word: &str, id: &str) -> bool {
    id == word || (word.len() > 1 && word.ends_with('-') && id.starts_with(word))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Fail,
    Elsewhere,
    Untested,
    Todo,
    Never,
}

impl Verdict {
    const ALL: [Verdict; 6] =
        [Verdict::Pass, Verdict::Fail, Verdict::Elsewhere, Verdict::Untested, Verdict::Todo, Verdict::Never];

    fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Elsewhere => "elsewhere",
            Verdict::Untested => "untested",
            Verdict::Todo => "todo",
            Verdict::Never => "never",
        }
    }
}

/// A flow that was played.
#[derive(Debug, Serialize)]
struct Played {
    flow: String,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ladders: Vec<String>,
    /// The clause below which its ladders were drawn.
    #[serde(skip)]
    drawn_at: Option<&'static str>,
}

struct Suite<P> {
    clauses: &'static [Clause],
    flows: &'static [Flow],
    /// By their places in `flows`: a flow shows many clauses and is played once.
    played: BTreeMap<usize, Played>,
    clauses_told: BTreeMap<Verdict, usize>,
    /// Where the last flow failed.
    place: P,
}

/// What the last line of `--json` says: how many clauses came to each verdict, and how many flows failed.
#[derive(Serialize)]
struct Summary {
    v: u32,
    r#type: &'static str,
    clauses: BTreeMap<Verdict, usize>,
    flows: usize,
    failed: usize,
}

#[derive(Serialize)]
struct ClauseLine<'a> {
    v: u32,
    r#type: &'static str,
    clause: &'static str,
    level: &'static str,
    verdict: Verdict,
    gist: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    flows: Vec<&'a Played>,
    elsewhere: &'static [&'static str],
}

#[derive(Serialize)]
struct FlowLine<'a> {
    v: u32,
    r#type: &'static str,
    #[serde(flatten)]
    played: &'a Played,
}

impl<P: Fn() -> Option<String>> Suite<P> {
    fn new(clauses: &'static [Clause], flows: &'static [Flow], place: P) -> Suite<P> {
        Suite { clauses, flows, played: BTreeMap::new(), clauses_told: BTreeMap::new(), place }
    }

    /// How many flows failed.
    fn failed(&self) -> usize {
        self.played.values().filter(|played| played.fault.is_some()).count()
    }

    /// Writes a line for each clause as soon as its flows are played, then of flows that show none, then the sums.
    fn tell(&mut self, flags: &Flags, out: &mut impl Write) -> io::Result<()> {
        let all = flags.clauses.is_empty();
        for clause in self.clauses {
            if all || flags.clauses.iter().any(|word| is_wanted(word, clause.id)) {
                self.clause(clause, flags, out)?;
            }
        }
        if all {
            for at in (0..self.flows.len()).filter(|at| self.flows[*at].clauses.is_empty()) {
                self.flow(at, flags, out)?;
            }
        }
        let clauses = std::mem::take(&mut self.clauses_told);
        let (flows, failed) = (self.played.len(), self.failed());
        if flags.json {
            let summary = Summary { v: json::VERSION, r#type: "conformance", clauses, flows, failed };
            return line(out, &summary);
        }
        let counts: Vec<_> = Verdict::ALL
            .iter()
            .filter_map(|verdict| Some(format!("{} {}", clauses.get(verdict)?, verdict.word())))
            .collect();
        writeln!(out, "clauses: {}; flows: {flows} played, {failed} failed", counts.join(", "))
    }

    fn clause(&mut self, clause: &'static Clause, flags: &Flags, out: &mut impl Write) -> io::Result<()> {
        let show = |flow: &Flow| flow.clauses.contains(&clause.id);
        let flows: Vec<usize> = (0..self.flows.len()).filter(|at| show(&self.flows[*at])).collect();
        for at in &flows {
            self.play(*at, flags.ladder);
        }
        let shown: Vec<&Played> = flows.iter().map(|at| &self.played[at]).collect();
        let verdict = verdict(clause, &shown);
        *self.clauses_told.entry(verdict).or_default() += 1;
        if flags.json {
            let Clause { id, level, gist, status: _, reason, elsewhere } = *clause;
            let (v, r#type) = (json::VERSION, "clause");
            let flows = shown;
            return line(
                out,
                &ClauseLine { v, r#type, clause: id, level, verdict, gist, reason, flows, elsewhere },
            );
        }
        let words = words(clause, verdict, &shown);
        writeln!(out, "{:9}  {:5}  {:6}  {words}", verdict.word(), clause.id, clause.level)?;
        if flags.ladder {
            for at in &flows {
                if let Some(played) = self.played.get_mut(at) {
                    draw(played, clause.id, out)?;
                }
            }
        }
        Ok(())
    }

    /// A flow that no clause asks for: people hear of it only if it fails.
    fn flow(&mut self, at: usize, flags: &Flags, out: &mut impl Write) -> io::Result<()> {
        self.play(at, flags.ladder);
        let played = &self.played[&at];
        if flags.json {
            return line(out, &FlowLine { v: json::VERSION, r#type: "flow", played });
        }
        let Some(fault) = &played.fault else { return Ok(()) };
        writeln!(out, "{:9}  {:5}  {:6}  {}: {}", "fail", "-", "-", played.flow, short(fault))
    }

    fn play(&mut self, at: usize, draw: bool) {
        let flow = &self.flows[at];
        self.played.entry(at).or_insert_with(|| {
            let parlour_conformance::Played { fault, ladders } = flow.play(draw);
            let verdict = if fault.is_some() { Verdict::Fail } else { Verdict::Pass };
            let place = (self.place)().map(|place| format!(" ({place})")).unwrap_or_default();
            let fault = fault.map(|fault| format!("{}{place}", without_ladder(&fault)));
            Played { flow: flow.path(), verdict, fault, ladders, drawn_at: None }
        });
    }
}

fn verdict(clause: &Clause, flows: &[&Played]) -> Verdict {
    match clause.status {
        _ if flows.iter().any(|flow| flow.fault.is_some()) => Verdict::Fail,
        Status::Todo => Verdict::Todo,
        Status::Never => Verdict::Never,
        Status::Done if !flows.is_empty() => Verdict::Pass,
        Status::Done if !clause.elsewhere.is_empty() => Verdict::Elsewhere,
        Status::Done => Verdict::Untested,
    }
}

/// What follows the verdict: who says so, or why not.
fn words(clause: &Clause, verdict: Verdict, flows: &[&Played]) -> String {
    match verdict {
        Verdict::Pass => {
            let names: Vec<_> = flows.iter().map(|played| played.flow.as_str()).collect();
            names.join(", ")
        }
        Verdict::Fail => {
            let fault =
                |played: &&Played| Some(format!("{}: {}", played.flow, short(played.fault.as_ref()?)));
            let faults: Vec<_> = flows.iter().filter_map(fault).collect();
            faults.join("; ")
        }
        Verdict::Elsewhere => clause.elsewhere.join(", "),
        Verdict::Never => clause.reason.unwrap_or(clause.gist).to_owned(),
        Verdict::Untested | Verdict::Todo => clause.gist.to_owned(),
    }
}

/// The ladders of a flow, below the first clause that it shows.
fn draw(played: &mut Played, id: &'static str, out: &mut impl Write) -> io::Result<()> {
    if let Some(before) = played.drawn_at {
        return writeln!(out, "    {}: drawn at {before}", played.flow);
    }
    played.drawn_at = Some(id);
    writeln!(out, "    {}", played.flow)?;
    for alike in played.ladders.chunk_by(|one, next| one == next) {
        let rows = alike.first().map_or("", String::as_str).lines();
        rows.into_iter().try_for_each(|row| writeln!(out, "      {row}"))?;
        if alike.len() > 1 {
            writeln!(out, "      the same {} times", alike.len())?;
        }
    }
    Ok(())
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// What a flow says about its fault, on one line, without the ladder that tests show below it.
fn without_ladder(fault: &str) -> String {
    let is_row = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.parse::<f64>().is_ok())
            && words.next().is_some_and(|word| word.starts_with(['|', '>']))
    };
    let words = fault
        .lines()
        .filter(|line| !is_row(line))
        .map(|line| line.split_once("        ms  ").map_or(line, |(words, _)| words))
        .flat_map(str::split_whitespace);
    words.collect::<Vec<_>>().join(" ")
}

fn short(fault: &str) -> String {
    match fault.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}...", &fault[..end]),
        None => fault.to_owned(),
    }
}

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// Hears where flows on this thread fail, in place of what a panic writes to stderr. Other threads panic as before.
struct Places {
    last: Arc<Mutex<Option<String>>>,
    before: Arc<Hook>,
}

impl Places {
    fn listen() -> Places {
        let last = Arc::new(Mutex::new(None));
        let before: Arc<Hook> = Arc::from(panic::take_hook());
        let (heard, otherwise, here) = (Arc::clone(&last), Arc::clone(&before), thread::current().id());
        panic::set_hook(Box::new(move |panic| {
            if thread::current().id() != here {
                return otherwise(panic);
            }
            let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }));
        Places { last, before }
    }

    /// Where the last one failed, once.
    fn take(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // The hook cannot be changed by a thread that is panicking.
        if !thread::panicking() {
            let before = Arc::clone(&self.before);
            panic::set_hook(Box::new(move |panic| before(panic)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(clauses: &[&str], ladder: bool, json: bool) -> Flags {
        Flags { clauses: clauses.iter().map(|word| (*word).to_owned()).collect(), ladder, json }
    }

    fn suite(clauses: &'static [Clause], flows: &'static [Flow]) -> Suite<impl Fn() -> Option<String>> {
        Suite::new(clauses, flows, || Some("a.rs:7".to_owned()))
    }

    fn told(suite: &mut Suite<impl Fn() -> Option<String>>, flags: &Flags) -> String {
        let mut out = Vec::new();
        suite.tell(flags, &mut out).expect("a Vec takes all");
        String::from_utf8(out).expect("UTF-8")
    }

    const fn clause(id: &'static str, status: Status, elsewhere: &'static [&'static str]) -> Clause {
        Clause { id, level: "SHALL", gist: "Do it.", status, reason: Some("It hurts."), elsewhere }
    }

    const PLANTED: &[Clause] = &[
        clause("G-1", Status::Done, &[]),
        clause("G-2", Status::Done, &["a.rs: test"]),
        clause("P-1", Status::Done, &["a.rs: test"]),
        clause("P-2", Status::Todo, &[]),
        clause("P-3", Status::Never, &[]),
        clause("P-4", Status::Done, &[]),
    ];

    const GOOD: Flow = Flow { module: "m", name: "good", clauses: &["G-1", "G-2"], run: || {} };
    const BAD: Flow = Flow {
        module: "m",
        name: "bad",
        clauses: &["G-2"],
        run: || panic!("200 did not come\n        ms  alice   bob\n       0.5  |- INVITE ->|\n  left: 1"),
    };
    const OTHER: Flow = Flow { module: "m", name: "other", clauses: &[], run: || panic!("never") };

    #[test]
    fn a_clause_passes_if_all_its_flows_do_and_the_rest_says_why_not() {
        let mut suite = suite(PLANTED, &[GOOD, BAD, OTHER]);
        let told = told(&mut suite, &flags(&[], false, false));
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[0], "pass       G-1    SHALL   m::good");
        let failed = "fail       G-2    SHALL   m::bad: 200 did not come left: 1 (a.rs:7)";
        assert_eq!(lines[1], failed);
        assert_eq!(lines[2], "elsewhere  P-1    SHALL   a.rs: test");
        assert_eq!(lines[3], "todo       P-2    SHALL   Do it.");
        assert_eq!(lines[4], "never      P-3    SHALL   It hurts.");
        assert_eq!(lines[5], "untested   P-4    SHALL   Do it.");
        assert_eq!(lines[6], "fail       -      -       m::other: never (a.rs:7)");
        let sums =
            "clauses: 1 pass, 1 fail, 1 elsewhere, 1 untested, 1 todo, 1 never; flows: 3 played, 2 failed";
        assert_eq!(&lines[7..], [sums]);
        assert_eq!(suite.failed(), 2);
    }

    #[test]
    fn what_is_not_asked_for_is_not_played() {
        let mut suite = suite(PLANTED, &[GOOD, BAD, OTHER]);
        let told = told(&mut suite, &flags(&["P-", "G-1"], false, false));
        assert!(
            told.ends_with(
                "clauses: 1 pass, 1 elsewhere, 1 untested, 1 todo, 1 never; flows: 1 played, 0 failed\n"
            ),
            "{told}"
        );
        assert_eq!(suite.failed(), 0);
    }

    #[test]
    fn replaces_passes_and_its_ladder_shows_the_invitation() {
        let mut suite = suite(CLAUSES, FLOWS);
        let told = told(&mut suite, &flags(&["P-4"], true, false));
        assert!(told.starts_with("pass       P-4    SHALL "), "{told}");
        assert!(told.contains("-- INVITE --") && told.contains("-- BYE --"), "{told}");
        assert_eq!(suite.failed(), 0);
    }

    #[test]
    fn a_ladder_is_drawn_once() {
        let mut suite = suite(CLAUSES, FLOWS);
        let told = told(&mut suite, &flags(&["P-"], true, false));
        assert!(told.contains(": drawn at P-1\n"), "{told}");
        let headings = told.lines().filter(|line| line.starts_with("              ms  ")).count();
        let different = |played: &Played| played.ladders.chunk_by(|one, next| one == next).count();
        assert_eq!(headings, suite.played.values().map(different).sum::<usize>());
        assert!(told.contains("\n      the same "), "{told}");
    }

    #[test]
    fn lines_of_json_say_all_of_it() {
        let mut suite = suite(PLANTED, &[GOOD, BAD, OTHER]);
        let told = told(&mut suite, &flags(&[], false, true));
        let lines: Vec<serde_json::Value> =
            told.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!(lines[0]["clause"], "G-1");
        assert_eq!(lines[1]["verdict"], "fail");
        assert_eq!(lines[1]["flows"][0]["verdict"], "pass");
        assert_eq!(lines[1]["flows"][1]["flow"], "m::bad");
        assert!(
            lines[1]["flows"][1]["fault"].as_str().is_some_and(|fault| fault.starts_with("200 did not come"))
        );
        assert_eq!(lines[6]["type"], "flow");
        let sums = &lines[7];
        assert_eq!(
            (&sums["type"], &sums["failed"], &sums["clauses"]["fail"]),
            (&"conformance".into(), &2.into(), &1.into())
        );
    }

    #[test]
    fn where_a_flow_fails_is_heard_once_and_only_of_this_thread() {
        let places = Places::listen();
        assert!(GOOD.play(false).fault.is_none());
        assert_eq!(places.take(), None);
        std::thread::spawn(|| BAD.play(false)).join().expect("it is caught");
        assert_eq!(places.take(), None);
        assert!(BAD.play(false).fault.is_some());
        let place = places.take().expect("it was heard");
        assert!(place.starts_with("crates/parlour/src/conformance.rs:"), "{place}");
        assert_eq!(places.take(), None);
    }
}
