//! `parlour files`: which files were sent and received, and where they lie.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use parlour_proto::config::Account;
use parlour_proto::text;

use crate::cli::FilesList;
use crate::command::Command;
use crate::room::Room;
use crate::store::{self, FileRow, FileState, OpenFault, Reader, Store};
use crate::{Fault, json, log, run, send, send_files};

/// Prints the files, oldest first.
pub(crate) fn files(flags: &FilesList) -> Result<ExitCode, Fault> {
    if let Some(id) = &flags.resume {
        return resume(flags, id);
    }
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

/// Goes on with one, as the account that had it.
fn resume(flags: &FilesList, id: &str) -> Result<ExitCode, Fault> {
    let mut settings = run::settings(flags.way.config.as_deref())?;
    let dir = flags.data.clone().or(settings.data.clone()).unwrap_or_else(store::default_dir);
    let rows = Reader::open(&dir)?.files()?;
    let row = rows.into_iter().find(|row| row.is_called(id));
    let row = row.ok_or_else(|| format!("there is no file {id} in {}: see parlour files", dir.display()))?;
    let store = match Store::open_within(&dir, Room::of(&dir, settings.disk_reserve)) {
        Err(OpenFault::Locked { .. }) => {
            let how = format!("say `resume {id}` there, or {{\"do\":\"resume_file\",\"file\":\"{id}\"}}");
            return Err(format!("another parlour uses {}: {how}", dir.display()).into());
        }
        opened => opened?,
    };
    let known = settings.proto.accounts.iter().any(|account| account.address == row.account);
    if !known && flags.way.address.is_none() {
        let account = Account { address: row.account.clone(), ..Account::default() };
        settings.proto.accounts.insert(0, account);
    }
    let (to, via) = (row.address, flags.via.clone().or(row.via));
    let command = Command::ResumeFile { file: row.id, via: via.clone() };
    send::errand(&flags.way, (&to, via.as_ref()), settings, store, |controls| {
        send_files::tell(controls, &to, command)
    })
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
