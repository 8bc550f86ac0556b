//! The reader: its own connection, so that it never waits for the writer nor the writer for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parlour_proto::event::Peer;
use parlour_proto::text;
use rusqlite::{Connection, OpenFlags, params};

use super::{OpenFault, database_file};

const SINCE: &str = "
    SELECT seq, time, account, session, kind, json, NULL AS content_type, NULL AS body, NULL AS file
        FROM events WHERE seq > ?1 AND seq <= ?2
    UNION ALL
    SELECT seq, time, account, session, 'message', json, content_type, body, file
        FROM messages WHERE seq > ?1 AND seq <= ?2
    ORDER BY seq LIMIT ?3";
const HISTORY: &str = "
    SELECT seq, time, account, session, peer, incoming, state, why, json, content_type, body, file, receipt
        FROM messages WHERE ?1 IS NULL OR peer = ?1 OR session IN (
            SELECT session FROM events WHERE kind = 'established' AND json ->> 'conference'
                AND (json ->> 'session_identity' = ?2 OR instr(json ->> 'session_identity', '<' || ?2 || '>')))
    UNION ALL
    SELECT seq, time, account, session, NULL, NULL, NULL, NULL, json, NULL, NULL, NULL, NULL
        FROM events WHERE kind = 'missed'
    ORDER BY seq";
const MISSED: &str = "
    SELECT seq, time, account, session, json FROM events
        WHERE kind = 'missed' AND seq > (SELECT upto FROM looked) ORDER BY seq";
/// Rows fetched at once.
const PAGE: i64 = 512;
/// No more rows are fetched once so many octets are here.
const PAGE_OCTETS: usize = 4 * 1024 * 1024;

pub(crate) struct Reader {
    connection: Connection,
    dir: PathBuf,
}

/// One durable event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    /// Since 1970.
    pub(crate) time: Duration,
    pub(crate) account: String,
    pub(crate) session: Option<String>,
    pub(crate) kind: String,
    /// A JSON object: what is told besides the envelope and the body.
    pub(crate) json: String,
    pub(crate) body: Option<StoredBody>,
}

/// A message's octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredBody {
    pub(crate) content_type: String,
    pub(crate) octets: Vec<u8>,
    /// Where they lie if they are not in the database.
    pub(crate) file: Option<PathBuf>,
}

/// One message of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saying {
    pub(crate) row: Row,
    pub(crate) peer: String,
    pub(crate) incoming: bool,
    pub(crate) state: String,
    pub(crate) why: Option<String>,
    /// What the recipient has told of a message of ours.
    pub(crate) receipt: Option<String>,
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Message(Saying),
    /// An invitation that was not taken.
    Missed(Row),
}

impl Row {
    /// Why an invitation that was not taken is no missed one, in words: the user himself declined it, or took it elsewhere.
    pub(crate) fn seen_to(&self) -> Option<&'static str> {
        let json: serde_json::Value = serde_json::from_str(&self.json).unwrap_or_default();
        match (json["end"]["how"].as_str(), &self.session) {
            // What policy declines has no session.
            (Some("declined"), Some(_)) => Some("declined"),
            (Some("cancelled"), _) if json["end"]["elsewhere"] == true => Some("answered on another device"),
            (_, _) => None,
        }
    }

    /// Who called, for an invitation that was missed.
    pub(crate) fn peer(&self) -> Peer {
        party_of(&serde_json::from_str::<serde_json::Value>(&self.json).unwrap_or_default()["peer"])
    }

    /// Of a message of a conference: who wrote it, and to whom alone; made harmless.
    pub(crate) fn in_room(&self) -> Option<String> {
        let json: serde_json::Value = serde_json::from_str(&self.json).unwrap_or_default();
        let to = json["private_to"].as_str().map(|to| format!("to {} alone", text::neutral_within(to, 200)));
        let to = to.or_else(|| (json["private"] == true).then(|| "to you alone".to_owned()));
        let author = json["author"].is_object().then(|| {
            let Peer { address, display_name, verified } = party_of(&json["author"]);
            text::shown(display_name.as_deref(), &address, verified)
        });
        let words: Vec<String> = author.into_iter().chain(to).collect();
        (!words.is_empty()).then(|| format!("({})", words.join(", ")))
    }
}

/// An object such as `peer` or `author`.
fn party_of(json: &serde_json::Value) -> Peer {
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    Peer {
        address: text("address").unwrap_or_default(),
        display_name: text("display_name"),
        verified: json["verified"].as_bool().unwrap_or(false),
    }
}

impl Reader {
    /// Opens what a store has written in `dir`; the store may be live.
    pub(crate) fn open(dir: &Path) -> Result<Reader, OpenFault> {
        let file = database_file(dir);
        if !file.exists() {
            return Err(OpenFault::NoHistory { dir: dir.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&file, flags)
            .and_then(|connection| connection.busy_timeout(Duration::from_secs(5)).map(|()| connection));
        let connection = opened.map_err(|error| OpenFault::Database { file, error })?;
        Ok(Reader { connection, dir: dir.to_owned() })
    }

    /// The events after number `after`, up to number `upto`, oldest first: a page of them, empty at the end.
    pub(crate) fn since(&self, after: u64, upto: u64) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.connection.prepare_cached(SINCE)?;
        let mut rows = statement.query_map(params![number(after), number(upto), PAGE], |row| {
            let content_type: Option<String> = row.get(6)?;
            Ok(Row {
                seq: unsigned(row.get(0)?),
                time: Duration::from_micros(unsigned(row.get(1)?)),
                account: row.get(2)?,
                session: row.get(3)?,
                kind: row.get(4)?,
                json: row.get(5)?,
                body: match content_type {
                    Some(content_type) => Some(self.body(content_type, row.get(7)?, row.get(8)?)),
                    None => None,
                },
            })
        })?;
        let (mut page, mut octets) = (Vec::new(), 0_usize);
        while octets < PAGE_OCTETS
            && let Some(row) = rows.next().transpose()?
        {
            let body = row.body.as_ref().map_or(0, |body| body.octets.len());
            octets = octets.saturating_add(row.json.len()).saturating_add(body);
            page.push(row);
        }
        Ok(page)
    }

    /// All messages and missed invitations, or those of one peer, or of the sessions with one conference: the URI of its
    /// IM Session Identity, or the identity as it was told; oldest first.
    //= IM G-4u
    pub(crate) fn history(
        &self,
        with: Option<&str>,
        mut tell: impl FnMut(Entry) -> std::io::Result<()>,
    ) -> Result<(), ReadFault> {
        let party = with.map(super::party);
        // A store that no newer program has written does not know it.
        let column = "SELECT 1 FROM pragma_table_info('messages') WHERE name = 'receipt'";
        let sql = match self.connection.prepare(column)?.exists([])? {
            true => HISTORY.to_owned(),
            false => HISTORY.replacen("file, receipt", "file, NULL", 1),
        };
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(params![party, with])?;
        while let Some(row) = rows.next()? {
            if row.get::<_, Option<String>>(4)?.is_none() {
                let row = missed(row, 8)?;
                if party.as_ref().is_none_or(|party| super::party(&row.peer().address) == *party) {
                    tell(Entry::Missed(row))?;
                }
                continue;
            }
            let body = self.body(row.get(9)?, row.get(10)?, row.get(11)?);
            let saying = Saying {
                row: Row {
                    seq: unsigned(row.get(0)?),
                    time: Duration::from_micros(unsigned(row.get(1)?)),
                    account: row.get(2)?,
                    session: row.get(3)?,
                    kind: "message".into(),
                    json: row.get(8)?,
                    body: Some(body),
                },
                peer: row.get(4)?,
                incoming: row.get(5)?,
                state: row.get(6)?,
                why: row.get(7)?,
                receipt: row.get(12)?,
            };
            tell(Entry::Message(saying))?;
        }
        Ok(())
    }

    /// The invitations that were missed since the user last looked, oldest first.
    pub(crate) fn missed(&self) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.connection.prepare(MISSED)?;
        let rows = statement.query_map([], |row| missed(row, 4))?;
        rows.filter(|row| row.as_ref().map_or(true, |row| row.seen_to().is_none())).collect()
    }

    /// Files that were sent and received, oldest first.
    pub(crate) fn files(&self) -> rusqlite::Result<Vec<super::FileRow>> {
        super::file::all(&self.connection)
    }

    /// What was decided about the last invitation, or about those with this session or Call-ID; oldest first.
    pub(crate) fn paths(&self, which: Option<&str>) -> rusqlite::Result<Vec<super::Decided>> {
        super::note::paths(&self.connection, which)
    }

    fn body(&self, content_type: String, octets: Option<Vec<u8>>, file: Option<String>) -> StoredBody {
        let file = file.map(|name| self.dir.join("spool").join(name));
        StoredBody { content_type, octets: octets.unwrap_or_default(), file }
    }
}

/// A missed invitation; its payload is column `json`.
fn missed(row: &rusqlite::Row<'_>, json: usize) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: unsigned(row.get(0)?),
        time: Duration::from_micros(unsigned(row.get(1)?)),
        account: row.get(2)?,
        session: row.get(3)?,
        kind: "missed".into(),
        json: row.get(json)?,
        body: None,
    })
}

/// The history cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    #[error("the history cannot be read: {error}. {}", super::advice(error))]
    Database {
        #[from]
        error: rusqlite::Error,
    },
    #[error("the history cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

pub(super) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
