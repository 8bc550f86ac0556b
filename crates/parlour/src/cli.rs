//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use parlour_proto::config::{Accept, Hop, Proxy};

use crate::config;
use crate::conformance;
use crate::history;
use crate::net::Listen;

/// An instant-messaging client for SIP networks: it answers and starts OMA SIMPLE IM sessions.
#[derive(Debug, Parser)]
#[command(
    name = "parlour",
    version,
    after_help = "Example: parlour demo

Logs go to stderr: warnings and errors, or what PARLOUR_LOG asks for, such as PARLOUR_LOG=debug"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show two clients talk to each other over this machine's loopback, with every SIP and MSRP message
    #[command(after_help = "Example: parlour demo")]
    Demo,
    /// Be there for others: answer invitations, show and send messages
    #[command(after_help = "Examples:
  parlour run --address sip:alice@192.0.2.1 --sip udp:192.0.2.1:5060
  parlour run --address sip:alice@example.com --register --proxy tls:sip.example.com \\
      --user alice --password-file ~/.parlour-password
  parlour run --accept all --echo

Signals:
  SIGINT, SIGTERM, SIGHUP  leave all sessions and end, in 8 s at most; the second time, end at once
  SIGUSR1                  say on stderr how much is held in each table

Exit codes:
  0  it was told to end, or the program that read its JSON lines is gone
  1  this machine's fault (configuration, ports, store, a full disk, one that hangs at the end)
  2  wrong command line
  130  it was told to end twice")]
    Run(Box<Run>),
    /// Send one message, or files, wait until the other side has it, leave
    #[command(after_help = "Examples:
  parlour send --to sip:bob@192.0.2.2 \"Dinner at eight?\"
  parlour send --to sip:bob@example.com --via proxy.example.com:5060 \"Dinner at eight?\"
  parlour send --pager --to sip:bob@example.com \"Running late\"
  parlour send --to sip:bob@192.0.2.2 --file menu.pdf --file map.png
  parlour send --to sip:bob@192.0.2.2 --via tcp:192.0.2.2 --file party.mp4 --icon party.jpg
  parlour send --to sip:bob@example.com --large - < novel.txt

Exit codes:
  0  the other side has it; with --pager, the next hop at least
  1  this machine's fault (configuration, ports, store, a file that cannot be sent)
  2  wrong command line
  3  refused or declined
  4  no answer or no way there
  5  the session stood, but the message was not acknowledged, or a file did not arrive")]
    Send(Box<Send>),
    /// Show which files were sent and received, and where they lie; go on with one that broke off
    #[command(after_help = "Examples:
  parlour files
  parlour files --json --data ~/bob
  parlour files --resume 3-7

A file that was interrupted goes on when `parlour run` starts with the same data directory, by its command resume, or by
--resume where no `parlour run` has the data directory.

Exit codes, with --resume as of send:
  0  it is shown, or here, or the other side has it
  1  this machine's fault (configuration, ports, store), or there is nothing to go on with
  2  wrong command line
  3  refused or declined
  4  no answer or no way there
  5  the file did not arrive")]
    Files(Box<FilesList>),
    /// Show what was said
    #[command(after_help = "Examples:
  parlour history --with sip:bob@example.com --last 20
  parlour history --search dinner --since 2026-11-01")]
    History(History),
    /// Show why an invitation was answered as it was
    #[command(after_help = "Examples:
  parlour explain
  parlour explain 3-17 --data ~/bob")]
    Explain(Explain),
    /// Show clause by clause whether this program does what the standards ask for
    #[command(after_help = "Examples:
  parlour conformance
  parlour conformance P- S-1a --ladder

Each line has a verdict, the clause, its level, and the flows that show it: tests in virtual time, inside this program.
  pass, fail  what its flows show
  elsewhere   shown by tests in the source tree only, which are named: unit tests, real peers
  untested    done, without a test
  todo        not yet done
  never       not done, and why
docs/CLAUSES.md says what each clause asks for.

Exit codes:
  0  no flow failed
  1  a flow failed
  2  wrong command line")]
    Conformance(Conformance),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Configuration file (TOML, docs/configuration.md); flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Our IM Address [default: your user name at this machine's address]
    #[arg(long, value_name = "SIP-URI", value_parser = config::address)]
    pub(crate) address: Option<String>,
    /// Where SIP listens: udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT; may be repeated [default: udp and tcp
    /// 0.0.0.0:5060; with --register any free port]
    #[arg(long, value_name = "PLACE")]
    pub(crate) sip: Vec<Listen>,
    /// Where MSRP listens [default: 0.0.0.0:2855]
    #[arg(long, value_name = "HOST:PORT", value_parser = Listen::msrp)]
    pub(crate) msrp: Option<Listen>,
    /// Where MSRP over TLS listens [default: nowhere; 0.0.0.0:2856 if media_security is prefer_tls or require_tls]
    #[arg(long, value_name = "HOST:PORT", value_parser = Listen::msrps)]
    pub(crate) msrps: Option<Listen>,
    /// Register at the proxy
    #[arg(long)]
    pub(crate) register: bool,
    #[command(flatten)]
    pub(crate) account: AccountFlags,
    /// The outbound proxy; udp:, tcp: or tls: may stand before it
    #[arg(long, value_name = "HOST:PORT", value_parser = config::proxy)]
    pub(crate) proxy: Option<Proxy>,
    /// A hop whose word on who is calling counts: an address or a prefix; may be repeated
    #[arg(long, value_name = "ADDR[/LEN]", value_parser = config::hop)]
    pub(crate) trust: Vec<Hop>,
    /// Who is accepted without asking: nobody, callers for whom a trusted core or a signature vouches, or everybody
    /// [default: ask]
    #[arg(long, value_enum)]
    pub(crate) accept: Option<AcceptFlag>,
    /// Answer each message with its own text. Two that do so don't stop: leave it to one side
    #[arg(long)]
    pub(crate) echo: bool,
    /// Speak JSON lines: commands on stdin, events on stdout (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Tell first all events after this number [default: new events only]
    #[arg(long, value_name = "N", requires = "json")]
    pub(crate) after: Option<u64>,
    /// Where everything is kept [default: ~/.local/share/parlour]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Tell why each decision was taken, with its clause
    #[arg(long)]
    pub(crate) explain: bool,
    /// Certificate authorities trusted besides the system's (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Who is to have it
    #[arg(long, value_name = "SIP-URI", value_parser = config::address)]
    pub(crate) to: String,
    /// Without a session, in one SIP MESSAGE (RFC 3428): a short text, and whoever takes it may pass it on later
    #[arg(long)]
    pub(crate) pager: bool,
    /// The next hop; udp:, tcp: or tls: may stand before it [default: the address's own host]
    #[arg(long, value_name = "HOST:PORT", value_parser = config::proxy)]
    pub(crate) via: Option<Proxy>,
    #[command(flatten)]
    pub(crate) way: Way,
    /// Where the message is kept [default: ~/.local/share/parlour, unless another parlour is using it]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A file to send instead of a text; up to eight
    #[arg(long, value_name = "PATH", conflicts_with_all = ["text", "pager"])]
    pub(crate) file: Vec<PathBuf>,
    /// A picture to show beside the --file of the same place while it is offered: PNG, JPEG, GIF or WebP, at most 16 KiB.
    /// It goes over TCP or TLS only
    #[arg(long, value_name = "PATH", requires = "file")]
    pub(crate) icon: Vec<PathBuf>,
    /// As one large message, which is no chat (OMA Large Message Mode): for what is too large for a chat of the other side
    #[arg(long, conflicts_with_all = ["pager", "file"])]
    pub(crate) large: bool,
    /// What to say; - reads it from stdin
    #[arg(required_unless_present = "file")]
    pub(crate) text: Option<String>,
}

/// How an agent with one errand gets there.
#[derive(Debug, Args)]
pub(crate) struct Way {
    /// Configuration file (TOML, docs/configuration.md); flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Our IM Address [default: your user name at this machine's address]
    #[arg(long, value_name = "SIP-URI", value_parser = config::address)]
    pub(crate) address: Option<String>,
    #[command(flatten)]
    pub(crate) account: AccountFlags,
    /// Tell why each decision was taken, with its clause
    #[arg(long)]
    pub(crate) explain: bool,
    /// Certificate authorities trusted besides the system's (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FilesList {
    /// As JSON lines (docs/json.md)
    #[arg(long, conflicts_with = "resume")]
    pub(crate) json: bool,
    /// Where everything is kept [default: ~/.local/share/parlour]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Go on with this file, which broke off or failed: offer the rest of one of ours, ask for the rest of another
    #[arg(long, value_name = "ID")]
    pub(crate) resume: Option<String>,
    /// The next hop with --resume [default: the one by which it went before]
    #[arg(long, value_name = "HOST:PORT", value_parser = config::proxy, requires = "resume")]
    pub(crate) via: Option<Proxy>,
    #[command(flatten, next_help_heading = "With --resume")]
    pub(crate) way: Way,
}

#[derive(Debug, Args)]
pub(crate) struct AccountFlags {
    /// Our user name for Digest
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,
    /// A file with the password in its first line, readable by us alone
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Only what was said with this address, or in the conference of this session identity
    #[arg(long, value_name = "SIP-URI", value_parser = config::caller)]
    pub(crate) with: Option<String>,
    /// Only messages whose text has these words as they stand here, in capitals or not
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only what was said since then: 2026-11-30, or 2026-11-30T18:00:00Z; dates are in UTC
    #[arg(long, value_name = "DATE", value_parser = history::date)]
    pub(crate) since: Option<Duration>,
    /// Only the last N of what the other options leave
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,
    /// As JSON lines (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Where it is kept [default: ~/.local/share/parlour]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A session, such as 3-17, a Call-ID, or last
    #[arg(value_name = "SESSION", default_value = "last")]
    pub(crate) which: String,
    /// As JSON lines (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Where it is kept [default: ~/.local/share/parlour]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Conformance {
    /// Clauses, such as P-4, or groups of them, such as P- [default: all]
    #[arg(value_name = "CLAUSE", value_parser = conformance::wanted)]
    pub(crate) clauses: Vec<String>,
    /// Draw what crossed the virtual world in each flow
    #[arg(long)]
    pub(crate) ladder: bool,
    /// As JSON lines (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcceptFlag {
    Ask,
    Auto,
    All,
}

impl From<AcceptFlag> for Accept {
    fn from(flag: AcceptFlag) -> Accept {
        match flag {
            AcceptFlag::Ask => Accept::Ask,
            AcceptFlag::Auto => Accept::Auto,
            AcceptFlag::All => Accept::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_shows_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("parlour {}", verb.get_name())), "{}", verb.get_name());
        }
    }

    #[test]
    fn a_user_without_a_password_file_is_refused() {
        assert!(Cli::try_parse_from(["parlour", "run", "--user", "a"]).is_err());
        assert!(Cli::try_parse_from(["parlour", "run", "--after", "3"]).is_err(), "--after goes with --json");
    }

    #[test]
    fn a_clause_that_nobody_knows_is_a_wrong_command_line() {
        for clauses in [&["P-"][..], &["P-4", "S-"], &[]] {
            let words = ["parlour", "conformance"].iter().chain(clauses);
            assert!(Cli::try_parse_from(words).is_ok(), "{clauses:?}");
        }
        for clause in ["P", "P-4444", "Q-", "", "-"] {
            let fault = Cli::try_parse_from(["parlour", "conformance", clause]).expect_err(clause);
            assert_eq!(fault.exit_code(), 2, "{clause}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_a_wrong_command_line() {
        for address in ["bob", "tel:+123", "sip:", "sip:a b@x"] {
            assert!(Cli::try_parse_from(["parlour", "run", "--address", address]).is_err(), "{address}");
            assert!(Cli::try_parse_from(["parlour", "send", "--to", address, "hi"]).is_err(), "{address}");
        }
    }
}
