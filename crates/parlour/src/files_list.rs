//! `parlour files`: which files were sent and received, and where they lie.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use parlour_proto::text;

use crate::Fault;
use crate::cli::FilesList;
use crate::json;
use crate::log;
use crate::store::{self, FileRow, FileState, Reader};

/// Prints the files, oldest first.
pub(crate) fn files(flags: &FilesList) -> Result<ExitCode, Fault> {
    let dir = flags.data.clone().unwrap_or_else(store::default_dir);
    let rows = Reader::open(&dir)?.files()?;
    let mut out = BufWriter::new(io::stdout().lock());
    for row in &rows {
        let line = if flags.json { json::file::row_line(row) } else { readable(row) };
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written?,
        }
    }
    if rows.is_empty() && !flags.json {
        log::say("parlour: no file was sent or received yet");
    }
    Ok(ExitCode::SUCCESS)
}

/// `3-7 2026-01-02T03:04:05Z sip:bob@example.com > "a.jpg" 4092 octets, done: /var/files/a.jpg`.
fn readable(row: &FileRow) -> String {
    let arrow = if row.incoming { ">" } else { "<" };
    let name = text::neutral_within(row.name.as_deref().unwrap_or("a file"), 80);
    let size = row.size.map(|size| format!(" {size} octets,")).unwrap_or_default();
    let so_far = match row.state {
        FileState::Running | FileState::Interrupted => format!(" at {}", row.octets),
        FileState::Offered | FileState::Done | FileState::Failed => String::new(),
    };
    let why = row.why.as_deref().map(|why| format!(" ({})", text::neutral(why))).unwrap_or_default();
    let path = row.path.as_ref().map(|path| format!(": {}", path.display())).unwrap_or_default();
    let hash = row.hashes.last().map(|hash| format!(" {} {}", hash.algorithm(), hash.text()));
    let (id, time, peer) = (&row.id, json::seconds(row.time), text::neutral(&row.peer));
    let (state, hash) = (row.state.text(), hash.unwrap_or_default());
    format!("{id} {time} {peer} {arrow} {name:?}{size} {state}{so_far}{why}{path}{hash}")
}
