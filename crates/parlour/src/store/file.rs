//! What is known of each file that was sent or received: one row a file, however many transfers it takes.

use std::path::PathBuf;
use std::time::Duration;

use parlour_proto::config::Proxy;
use parlour_proto::sdp::FileHash;
use rusqlite::{Connection, Row, params};

use super::read::{number, unsigned};
use super::sqlite::micros;
use crate::config::{proxy, proxy_text};

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRow {
    /// The name of its first transfer.
    pub(crate) id: String,
    /// When that began, since 1970.
    pub(crate) time: Duration,
    pub(crate) account: String,
    /// The other side, as a key.
    pub(crate) peer: String,
    /// Where it is called.
    pub(crate) address: String,
    pub(crate) incoming: bool,
    /// As its sender calls it.
    pub(crate) name: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) hashes: Vec<FileHash>,
    /// `offered`, `running`, `interrupted`, `done`, `failed`.
    pub(crate) state: FileState,
    pub(crate) why: Option<String>,
    /// Octets at its beginning that need not be transferred again.
    pub(crate) octets: u64,
    /// Where it lies: whole, or the part that is here.
    pub(crate) path: Option<PathBuf>,
    /// When a file of ours was changed last, since 1970.
    pub(crate) modified: Duration,
    /// The next hop by which the user sent it, or asked for it.
    pub(crate) via: Option<Proxy>,
    /// How often the other side has declined what is left of it, since octets flowed last.
    pub(crate) tries: u8,
    /// The names of its later transfers, the last ones of them.
    pub(crate) attempts: Vec<String>,
    /// Whether somebody has vouched for the other side.
    pub(crate) verified: bool,
}

/// Transfers of one file whose names are kept.
const MOST_ATTEMPTS: usize = 32;

impl FileRow {
    /// A transfer of it has this name.
    pub(crate) fn called(&mut self, name: String) {
        if self.is_called(&name) {
            return;
        }
        if self.attempts.len() >= MOST_ATTEMPTS {
            self.attempts.remove(0);
        }
        self.attempts.push(name);
    }

    /// Whether it, or one of its transfers, has this name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.id == name || self.attempts.iter().any(|attempt| attempt == name)
    }
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    Offered,
    Running,
    Interrupted,
    Done,
    Failed,
}

impl FileState {
    pub(crate) fn text(self) -> &'static str {
        match self {
            FileState::Offered => "offered",
            FileState::Running => "running",
            FileState::Interrupted => "interrupted",
            FileState::Done => "done",
            FileState::Failed => "failed",
        }
    }

    fn parse(text: &str) -> FileState {
        let all = [FileState::Offered, FileState::Running, FileState::Interrupted, FileState::Done];
        all.into_iter().find(|state| state.text() == text).unwrap_or(FileState::Failed)
    }
}

pub(super) const TABLE: &str = "
    CREATE TABLE files (
        id TEXT PRIMARY KEY, time INTEGER NOT NULL, account TEXT NOT NULL, peer TEXT NOT NULL, address TEXT NOT NULL,
        incoming INTEGER NOT NULL, name TEXT, content_type TEXT, size INTEGER, hashes TEXT NOT NULL,
        state TEXT NOT NULL, why TEXT, octets INTEGER NOT NULL, path TEXT, modified INTEGER NOT NULL);
";

pub(super) const WAYS: &str = "
    ALTER TABLE files ADD COLUMN via TEXT;
    ALTER TABLE files ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
";

pub(super) const ATTEMPTS: &str = "
    ALTER TABLE files ADD COLUMN attempts TEXT NOT NULL DEFAULT '';
    ALTER TABLE files ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
";

/// Forgets files.
pub(super) fn forget(connection: &Connection, ids: &[String]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM files WHERE id = ?1")?;
    ids.iter().try_for_each(|id| statement.execute([id]).map(drop))
}

pub(super) fn write(connection: &Connection, file: &FileRow) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO files (id, time, account, peer, incoming, name, content_type, size, hashes, state, \
        why, octets, path, modified, address, via, tries, attempts, verified) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    let hashes: Vec<String> =
        file.hashes.iter().map(|hash| format!("{}:{}", hash.algorithm(), hash.text())).collect();
    connection.prepare_cached(sql)?.execute(params![
        file.id,
        micros(file.time),
        file.account,
        file.peer,
        file.incoming,
        file.name,
        file.content_type,
        file.size.map(number),
        hashes.join(" "),
        file.state.text(),
        file.why,
        number(file.octets),
        file.path.as_ref().map(|path| path.to_string_lossy()),
        nanos(file.modified),
        file.address,
        file.via.as_ref().map(proxy_text),
        file.tries,
        file.attempts.join(" "),
        file.verified,
    ])?;
    Ok(())
}

/// All of them, oldest first; none in a store of before there were files.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<FileRow>> {
    let there = "SELECT 1 FROM sqlite_schema WHERE name = 'files'";
    if !connection.prepare(there)?.exists([])? {
        return Ok(Vec::new());
    }
    // An older store is only read.
    let has = |column: &str| {
        connection.prepare("SELECT 1 FROM pragma_table_info('files') WHERE name = ?1")?.exists([column])
    };
    let ways = if has("via")? { "via, tries" } else { "NULL, 0" };
    let attempts = if has("attempts")? { "attempts, verified" } else { "'', FALSE" };
    let mut statement = connection.prepare(&format!(
        "SELECT id, time, account, peer, incoming, name, content_type, size, hashes, state, why, octets, path, modified, \
         address, {ways}, {attempts} FROM files ORDER BY time, rowid"
    ))?;
    let rows = statement.query_map([], read)?;
    rows.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<FileRow> {
    let (hashes, state): (String, String) = (row.get(8)?, row.get(9)?);
    let size: Option<i64> = row.get(7)?;
    let path: Option<String> = row.get(12)?;
    let attempts: String = row.get(17)?;
    Ok(FileRow {
        id: row.get(0)?,
        time: Duration::from_micros(unsigned(row.get(1)?)),
        account: row.get(2)?,
        peer: row.get(3)?,
        incoming: row.get(4)?,
        name: row.get(5)?,
        content_type: row.get(6)?,
        size: size.map(unsigned),
        hashes: hashes.split(' ').filter_map(FileHash::parse).collect(),
        state: FileState::parse(&state),
        why: row.get(10)?,
        octets: unsigned(row.get(11)?),
        path: path.map(PathBuf::from),
        modified: Duration::from_nanos(unsigned(row.get(13)?)),
        address: row.get(14)?,
        via: row.get::<_, Option<String>>(15)?.and_then(|text| proxy(&text).ok()),
        tries: row.get(16)?,
        attempts: attempts.split_whitespace().map(str::to_owned).collect(),
        verified: row.get(18)?,
    })
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM D-43 test
    #[test]
    fn a_file_is_called_by_the_name_of_any_of_its_transfers_also_after_a_restart() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        // A store of before there were such names has its files all the same.
        connection
            .execute(
                "INSERT INTO files VALUES ('1-1', 5, 'us', 'p', 'sip:p', 1, NULL, NULL, 7, '', 'interrupted', NULL, 3, \
                 NULL, 0)",
                [],
            )
            .unwrap();
        let mut row = all(&connection).unwrap().remove(0);
        assert!(row.is_called("1-1") && row.attempts.is_empty() && !row.verified);
        connection.execute_batch(WAYS).unwrap();
        connection.execute_batch(ATTEMPTS).unwrap();
        assert_eq!(all(&connection).unwrap(), [row.clone()]);
        for name in ["2-4", "1-1", "2-4", "3-9"] {
            row.called(name.to_owned());
        }
        row.verified = true;
        write(&connection, &row).unwrap();
        let read = all(&connection).unwrap().remove(0);
        assert_eq!(read, row);
        assert_eq!(read.attempts, ["2-4", "3-9"]);
        assert!(read.is_called("1-1") && read.is_called("2-4") && read.is_called("3-9"));
        assert!(!read.is_called("3") && !read.is_called("2-4 3-9"));
        // They are bounded: the oldest give way.
        (0..100).for_each(|number| row.called(format!("4-{number}")));
        assert_eq!(row.attempts.len(), MOST_ATTEMPTS);
        assert!(row.is_called("4-99") && row.is_called("1-1") && !row.is_called("2-4"));
    }
}
