//! Prints Parlour's numbers beside their floors and peers: `cargo run --release -p parlour-bench -- all`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's report")]

use std::path::PathBuf;
use std::process::Command;

use clap::{Parser, Subcommand, ValueEnum};
use parlour_bench::report::Row;
use parlour_bench::{Effort, Outcome, calls, memory, micro, msrp, report, soak};

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// What to measure
    #[arg(value_enum, required = true)]
    what: Vec<What>,
    /// Shorter runs: a first look, rough numbers
    #[arg(long)]
    quick: bool,
    /// Where the stores and spools of the measured programs lie: a directory on a real disk
    #[arg(long, value_name = "DIR", default_value = "target")]
    disk: PathBuf,
    /// Do not build the measured programs first
    #[arg(long)]
    built: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Refused invitations and short sessions against `parlour run`, until a leak would show
    Soak(soak::Options),
    /// The least that a soak can run against; serves until it is killed
    #[command(hide = true)]
    ServeSoakFloor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Everything
    All,
    /// Parsing and writing one message
    Parse,
    /// Calls over UDP
    Calls,
    /// Small MSRP messages, with and without the store
    Small,
    /// Large MSRP messages, to a sink and to disk
    Large,
    /// Memory kept for finished calls and idle sessions
    Memory,
    /// The least that answers a call; serves until it is killed
    #[value(hide = true)]
    ServeFloor,
    /// Our MSRP endpoint and sockets alone; serves until it is killed
    #[value(hide = true)]
    ServeMsrp,
    /// The least that answers MSRP; serves until it is killed
    #[value(hide = true)]
    ServeMsrpFloor,
}

fn main() -> Outcome<()> {
    let cli = Cli::parse();
    match &cli.verb {
        Some(Verb::Soak(options)) => {
            if !options.built {
                build(&PROGRAMS[..1])?;
            }
            std::fs::create_dir_all(&options.disk)?;
            return match options.large {
                Some(megabytes) => soak::large::soak(megabytes, &options.disk),
                None => soak::soak(options),
            };
        }
        Some(Verb::ServeSoakFloor) => return soak::floor::serve(),
        None => {}
    }
    match cli.what.as_slice() {
        [What::ServeFloor] => return calls::floor::serve(),
        [What::ServeMsrp] => return msrp::answerer::serve(1_000),
        [What::ServeMsrpFloor] => return msrp::floors::serve(),
        _ => {}
    }
    let effort = Effort { runs: if cli.quick { 1 } else { 3 }, quick: cli.quick };
    let asked = |what| cli.what.contains(&What::All) || cli.what.contains(&what);
    if !cli.built {
        build(&PROGRAMS)?;
    }
    std::fs::create_dir_all(&cli.disk)?;
    let disk = tempfile::tempdir_in(&cli.disk)?;
    println!("{}", report::HEAD);
    let print = |rows: Vec<Row>| rows.iter().for_each(|row| println!("{}", row.line()));
    let (allocations, memory) =
        if asked(What::Parse) || asked(What::Memory) { memory::rows(effort)? } else { Default::default() };
    if asked(What::Parse) {
        print(micro::rows(effort, &allocations));
    }
    if asked(What::Memory) {
        print(memory);
    }
    if asked(What::Calls) {
        print(calls::measure::rows(effort, disk.path().to_owned())?);
    }
    if asked(What::Small) {
        print(msrp::measure::small(effort, disk.path())?);
    }
    if asked(What::Large) {
        print(msrp::measure::large(effort, disk.path())?);
    }
    Ok(())
}

/// The programs that are measured, as cargo is told to build them.
const PROGRAMS: [&[&str]; 3] = [
    &["-p", "parlour", "--bin", "parlour"],
    &["-p", "parlour-bench", "--bins"],
    &["-p", "parlour-oracle", "--example", "rsipstack_uas"],
];

/// Builds programs in the profile and target directory of this one.
fn build(programs: &[&[&str]]) -> Outcome<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for arguments in programs {
        eprintln!("building {}", arguments.join(" "));
        let built = Command::new(&cargo).args(["build", "--release", "--quiet"]).args(*arguments).status()?;
        if !built.success() {
            eprintln!("not built: what needs it is left out");
        }
    }
    Ok(())
}
