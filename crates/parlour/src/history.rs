//! `parlour history`: what was said, whether or not a client is running.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use parlour_proto::text;

use crate::Fault;
use crate::cli::History;
use crate::json;
use crate::line::who;
use crate::log;
use crate::shown::shown_again;
use crate::store::{self, Entry, ReadFault, Reader, Row, Saying};

/// Prints the messages, oldest first.
pub(crate) fn history(flags: &History) -> Result<ExitCode, Fault> {
    let dir = flags.data.clone().unwrap_or_else(store::default_dir);
    let reader = Reader::open(&dir)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut is_empty = true;
    let told = reader.history(flags.with.as_deref(), |entry| {
        is_empty = false;
        let line = match &entry {
            Entry::Message(saying) if flags.json => json::saying_line(saying),
            Entry::Message(saying) => readable(saying),
            Entry::Missed(row) if flags.json => json::row_line(row),
            Entry::Missed(row) => missed(row),
        };
        writeln!(out, "{line}")
    });
    match told.and_then(|()| out.flush().map_err(ReadFault::Output)) {
        // Whoever reads has seen enough.
        Err(ReadFault::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(fault) => Err(fault.into()),
        Ok(()) => {
            if is_empty && !flags.json {
                let with = flags.with.as_deref().map(|with| format!(" with {}", text::neutral(with)));
                let with = with.unwrap_or_default();
                log::say(&format!("parlour: nothing was said{with} yet, and no invitation was missed"));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `2026-01-02T03:04:05Z <sip:bob@example.com> (unverified): missed invitation`.
pub(crate) fn missed(row: &Row) -> String {
    let what = row.seen_to().map_or("missed invitation".to_owned(), |how| format!("invitation, {how}"));
    format!("{} {}: {what}", json::seconds(row.time), who(&row.peer()))
}

/// `2026-01-02T03:04:05Z sip:bob@example.com > text` for what came, `<` for what went. In a conference it says who wrote
/// it, and to whom alone.
fn readable(saying: &Saying) -> String {
    let Saying { row, peer, incoming, state, why, receipt } = saying;
    let arrow = if *incoming { ">" } else { "<" };
    let body = shown_again(saying);
    let state = match receipt {
        Some(receipt) => format!("{state}, {receipt}"),
        None => state.clone(),
    };
    let state = match (incoming, why) {
        (true, _) => String::new(),
        (false, None) => format!("  ({state})"),
        (false, Some(why)) => format!("  ({state}: {})", text::neutral(why)),
    };
    let who = match row.in_room() {
        Some(words) => format!("{} {words}", text::neutral(peer)),
        None => text::neutral(peer),
    };
    format!("{} {who} {arrow} {body}{state}", json::seconds(row.time))
}
