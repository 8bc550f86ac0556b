//! The binary `parlour`.

mod agent;
mod cli;
mod command;
mod config;
mod conformance;
mod demo;
mod diary;
mod ending;
mod explain;
mod files;
mod files_list;
mod history;
mod json;
mod json_front;
mod large;
mod line;
mod log;
mod model;
mod net;
mod pins;
mod room;
mod roster;
mod run;
mod secured;
mod send;
mod send_files;
mod shown;
mod speed;
mod stderr;
mod store;
mod typed;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Verb};

/// A call is many small pieces that live for 32 s (RFC 3261 Timer J and its like) beside pieces that live for
/// microseconds; an allocator that keeps sizes apart spends half of what the C library's does on such a heap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start();
    let outcome = match cli.verb {
        Verb::Demo => demo::demo(),
        Verb::Run(flags) => run::run(*flags),
        Verb::Send(flags) => send::send(*flags),
        Verb::Files(flags) => files_list::files(&flags),
        Verb::History(flags) => history::history(&flags),
        Verb::Explain(flags) => explain::explain(&flags),
        Verb::Conformance(flags) => conformance::conformance(&flags),
    };
    let code = outcome.unwrap_or_else(|fault| {
        log::say(&format!("parlour: {fault}"));
        ExitCode::FAILURE
    });
    stderr::finish();
    code
}

/// Why a command could not do its work; its text is for people, and says what to do next.
type Fault = Box<dyn std::error::Error>;
