//! What is kept besides what happened: the user's wishes, and why things were decided. It has no number.

use std::time::Duration;

use parlour_proto::client::Blocked;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::file::{self, FileRow};
use super::notice::{self, Due, Seen};
use super::read::{number, unsigned};
use super::sqlite::micros;
use super::{party, pin};
use crate::pins::Pinned;

/// Invitations whose paths of decision are kept.
pub(crate) const PATHS: usize = 1000;
/// Callers that the user may block.
pub(crate) const BLOCKED: usize = 10_000;

/// One thing to be kept.
#[derive(Debug)]
pub(crate) enum Note {
    /// A caller is blocked.
    Block(Blocked),
    /// An address is not blocked any more.
    Unblock(String),
    /// The user has seen the invitations missed up to this number.
    Looked(u64),
    /// The user was shown messages: their authors are told that are owed it.
    Seen(Seen),
    /// A notification is told, or never will be: its name.
    Settled(String),
    /// Why things were decided about these invitations.
    Paths(Vec<Path>),
    /// How a file is.
    File(Box<FileRow>),
    /// Files that are not to be remembered any more.
    ForgetFiles(Vec<String>),
    /// The certificates of a peer.
    Pinned(Box<Pinned>),
}

/// What was decided about one invitation, or one session of ours, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// Counts over all runs.
    pub(crate) id: u64,
    /// When it began, since 1970.
    pub(crate) time: Duration,
    pub(crate) account: String,
    pub(crate) session: Option<String>,
    /// The Call-ID; for invitations to us only.
    pub(crate) call_id: Option<String>,
    pub(crate) decisions: Vec<Decision>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// Microseconds since 1970.
    pub(crate) time: u64,
    pub(crate) clause: String,
    pub(crate) decision: String,
    pub(crate) input: String,
}

impl Note {
    /// Octets in memory, roughly.
    pub(super) fn weight(&self) -> usize {
        match self {
            Note::Block(_) | Note::Unblock(_) | Note::Looked(_) | Note::Seen(_) | Note::Settled(_) => 0,
            Note::Paths(paths) => paths.len().saturating_mul(1024),
            Note::File(_) | Note::Pinned(_) => 1024,
            Note::ForgetFiles(ids) => ids.len().saturating_mul(32),
        }
    }

    pub(super) fn write(&self, connection: &Connection, due: &mut Vec<Due>) -> rusqlite::Result<()> {
        match self {
            Note::Block(blocked) => {
                let sql = "INSERT OR REPLACE INTO blocked (party, verified, address) VALUES (?1, ?2, ?3)";
                let row = params![party(&blocked.address), blocked.verified, blocked.address];
                connection.prepare_cached(sql)?.execute(row)?;
            }
            Note::Unblock(address) => {
                connection.execute("DELETE FROM blocked WHERE party = ?1", params![party(address)])?;
            }
            Note::File(row) => file::write(connection, row)?,
            Note::ForgetFiles(ids) => file::forget(connection, ids)?,
            Note::Pinned(pinned) => pin::write(connection, pinned)?,
            Note::Looked(upto) => {
                connection.execute("UPDATE looked SET upto = ?1", params![number(*upto)])?;
            }
            Note::Seen(seen) => due.extend(notice::seen(connection, seen)?),
            Note::Settled(id) => notice::settled(connection, id)?,
            Note::Paths(paths) => {
                let sql = "INSERT OR REPLACE INTO paths (id, time, account, session, call_id, decisions) \
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let mut statement = connection.prepare_cached(sql)?;
                for path in paths {
                    let decisions = serde_json::to_string(&path.decisions).unwrap_or_default();
                    let Path { id, time, account, session, call_id, .. } = path;
                    statement.execute(params![
                        number(*id),
                        micros(*time),
                        account,
                        session,
                        call_id,
                        decisions
                    ])?;
                }
                let most = i64::try_from(PATHS).unwrap_or(i64::MAX);
                let sql = "DELETE FROM paths WHERE id <= (SELECT max(id) FROM paths) - ?1";
                connection.prepare_cached(sql)?.execute(params![most])?;
            }
        }
        Ok(())
    }
}

/// Whom the user has blocked.
pub(super) fn blocked(connection: &Connection) -> rusqlite::Result<Vec<Blocked>> {
    let mut statement = connection.prepare("SELECT address, verified FROM blocked ORDER BY rowid")?;
    let rows = statement.query_map([], |row| Ok(Blocked { address: row.get(0)?, verified: row.get(1)? }))?;
    rows.collect()
}

/// The number of the last path.
pub(super) fn last_path(connection: &Connection) -> rusqlite::Result<u64> {
    let last: i64 = connection.query_row("SELECT ifnull(max(id), 0) FROM paths", [], |row| row.get(0))?;
    Ok(unsigned(last))
}

/// The paths of the last invitation, or of those with this session or Call-ID; oldest first.
pub(super) fn paths(connection: &Connection, which: Option<&str>) -> rusqlite::Result<Vec<Path>> {
    let there = "SELECT 1 FROM sqlite_schema WHERE name = 'paths'";
    if !connection.prepare(there)?.exists([])? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(
        "SELECT id, time, account, session, call_id, decisions FROM paths WHERE session = ?1 OR call_id = ?1 \
         OR (?1 IS NULL AND id = (SELECT max(id) FROM paths WHERE call_id IS NOT NULL)) ORDER BY id",
    )?;
    let rows = statement.query_map(params![which], |row| {
        let decisions: String = row.get(5)?;
        Ok(Path {
            id: unsigned(row.get(0)?),
            time: Duration::from_micros(unsigned(row.get(1)?)),
            account: row.get(2)?,
            session: row.get(3)?,
            call_id: row.get(4)?,
            decisions: serde_json::from_str(&decisions).unwrap_or_default(),
        })
    })?;
    rows.collect()
}
