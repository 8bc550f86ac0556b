//! The writer: one thread, one connection, one transaction for all that waits.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parlour_msrp::Body;
use parlour_proto::client::{Blocked, StoreFault, Stored};
use parlour_proto::event::{Incoming, Progress, What};
use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::mpsc::UnboundedSender;

use super::read::{number, unsigned};
use super::spool::file_name;
use super::{
    Answer, Bulk, Done, Due, Job, Kept, NewPage, OpenFault, OwnBody, Refused, file, note, notice, party, pin,
    refusal, unsettled,
};
use crate::json;
use crate::model::SessionName;
use crate::pins::{Owner, Pin};
use crate::room::{Left, Room};

/// One step for each version of the schema; `user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE device (instance TEXT NOT NULL);
    INSERT INTO device VALUES (lower(hex(randomblob(16))));
    CREATE TABLE run (number INTEGER PRIMARY KEY, started INTEGER NOT NULL);
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, account TEXT NOT NULL, session TEXT, kind TEXT NOT NULL,
        json TEXT NOT NULL);
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, account TEXT NOT NULL, session TEXT, peer TEXT NOT NULL,
        incoming INTEGER NOT NULL, message_id TEXT NOT NULL, state TEXT NOT NULL, why TEXT,
        content_type TEXT NOT NULL, body BLOB, file TEXT, json TEXT NOT NULL);
    CREATE UNIQUE INDEX received ON messages (account, peer, message_id) WHERE incoming;
    CREATE INDEX sent ON messages (message_id) WHERE NOT incoming;
    CREATE INDEX conversation ON messages (peer, seq);
", "
    CREATE INDEX spooled ON messages (file) WHERE file IS NOT NULL;
", "
    CREATE INDEX missed ON events (seq) WHERE kind = 'missed';
    CREATE TABLE looked (upto INTEGER NOT NULL);
    INSERT INTO looked VALUES (0);
    CREATE TABLE blocked (
        party TEXT NOT NULL, verified INTEGER NOT NULL, address TEXT NOT NULL, PRIMARY KEY (party, verified));
    CREATE TABLE paths (
        id INTEGER PRIMARY KEY, time INTEGER NOT NULL, account TEXT NOT NULL, session TEXT, call_id TEXT,
        decisions TEXT NOT NULL);
", "
    ALTER TABLE messages ADD COLUMN receipt TEXT;
", "
    CREATE TABLE notices (
        id TEXT PRIMARY KEY, seq INTEGER NOT NULL, time INTEGER NOT NULL, account TEXT NOT NULL, due INTEGER NOT NULL,
        json TEXT NOT NULL);
    CREATE INDEX owed ON notices (seq);
", "
    CREATE INDEX refused ON events (seq) WHERE kind = 'type_refused';
", file::TABLE, pin::TABLE, "
    CREATE TABLE receipts (
        seq INTEGER NOT NULL, recipient TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (seq, recipient)) WITHOUT ROWID;
", file::WAYS, file::ATTEMPTS];

/// How long another program may hold the database before we call it broken.
const BUSY: Duration = Duration::from_secs(5);
/// Jobs in one transaction.
const GROUP: usize = 8192;

pub(super) const EVENT: &str =
    "INSERT INTO events (seq, time, account, session, kind, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const MESSAGE: &str = "INSERT INTO messages (seq, time, account, session, peer, incoming, message_id, state, \
    content_type, body, file, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
    ON CONFLICT (account, peer, message_id) WHERE incoming DO NOTHING";
/// A `#` cannot stand in a Message-ID: behind it stands what tells messages apart that have the same one.
const SAME: &str = "SELECT 1 FROM messages WHERE account = ?1 AND peer = ?2 AND incoming AND body IS ?4 \
    AND (message_id = ?3 OR (message_id > ?3 || '#' AND message_id < ?3 || '$'))";
const PROGRESS: &str = "UPDATE messages SET state = ?2, why = ?3 WHERE message_id = ?1 AND NOT incoming \
    AND session IS ?4 AND state IN ('queued', 'sent')";
const MOVED: &str = "UPDATE messages SET session = ?2, state = 'queued' WHERE message_id = ?1 AND NOT incoming \
    AND session = ?3 AND state IN ('queued', 'sent')";

/// RFC 5438 7.2.1: one delivery notification for each message; that it was shown says more.
const RECEIPT: &str = "UPDATE messages SET receipt = ?4 WHERE message_id = ?1 AND NOT incoming AND account = ?2 \
    AND peer = ?3 AND (receipt IS NULL OR (receipt <> 'displayed' AND ?4 = 'displayed'))";

/// The same for each of those who have a message of a conference, or of a list; of more than so many nobody is told.
const RECIPIENT: &str = "INSERT INTO receipts SELECT seq, ?5, ?4 FROM messages WHERE message_id = ?1 AND NOT incoming \
    AND account = ?2 AND peer = ?3 AND (SELECT COUNT(*) FROM receipts AS told WHERE told.seq = messages.seq) < 256 \
    ON CONFLICT (seq, recipient) DO UPDATE SET state = excluded.state \
    WHERE receipts.state <> 'displayed' AND excluded.state = 'displayed'";

pub(super) struct Database {
    connection: Connection,
    run: u64,
    last_seq: u64,
    instance: String,
    /// Notifications that the last transaction has made due.
    due: Vec<Due>,
    room: Room,
}

impl Database {
    pub(super) fn open(file: &Path, room: Room) -> Result<Database, OpenFault> {
        let fault = |error| OpenFault::Database { file: file.to_owned(), error };
        // SQLite would make it with what the umask leaves; its journals get the mode of the database.
        let own = OpenOptions::new().create(true).append(true).mode(0o600).open(file);
        let dir = file.parent().unwrap_or(file);
        own.map_err(|error| OpenFault::Directory { dir: dir.to_owned(), error })?;
        let mut connection = Connection::open(file).map_err(fault)?;
        prepare(&connection).map_err(fault)?;
        migrate(&mut connection, file)?;
        let (run, last_seq) = begin_run(&mut connection).map_err(fault)?;
        let instance = instance(&connection).map_err(fault)?;
        Ok(Database { connection, run, last_seq, instance, due: Vec::new(), room })
    }

    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Who is blocked, and the number of the last path.
    pub(super) fn notes(&self) -> rusqlite::Result<(Vec<Blocked>, u64)> {
        Ok((note::blocked(&self.connection)?, note::last_path(&self.connection)?))
    }

    /// What peers have refused lately.
    pub(super) fn refusals(&self) -> rusqlite::Result<Vec<Refused>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        refusal::refusals(&self.connection, now)
    }

    /// What authors are owed since before.
    pub(super) fn due(&self) -> rusqlite::Result<Vec<Due>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        notice::due(&self.connection, now)
    }

    pub(super) fn pins(&self) -> rusqlite::Result<Vec<(Owner, Pin)>> {
        pin::all(&self.connection)
    }

    pub(super) fn files(&self) -> rusqlite::Result<Vec<super::FileRow>> {
        file::all(&self.connection)
    }

    pub(super) fn instance(&self) -> String {
        self.instance.clone()
    }

    /// Whether a message lies in the file of that name in the spool directory.
    pub(super) fn knows_file(&self, name: &str) -> rusqlite::Result<bool> {
        self.connection.prepare_cached("SELECT 1 FROM messages WHERE file = ?1")?.exists([name])
    }

    /// Does all jobs until nobody can send any more.
    pub(super) fn serve(mut self, jobs: &mpsc::Receiver<Vec<Job>>, answers: &UnboundedSender<Answer>) {
        while let Ok(mut group) = jobs.recv() {
            while group.len() < GROUP
                && let Ok(more) = jobs.try_recv()
            {
                group.extend(more);
            }
            if !group.is_empty() && answers.send(Answer::Done(self.commit(group))).is_err() {
                return;
            }
            let due = std::mem::take(&mut self.due);
            if !due.is_empty() && answers.send(Answer::Due(due)).is_err() {
                return;
            }
        }
    }

    /// All of the group, or nothing of it; but without what peers have said where the disk has too little room.
    pub(super) fn commit(&mut self, group: Vec<Job>) -> Vec<Done> {
        match self.transact(&group) {
            Ok(kept) => group.into_iter().zip(kept).map(|(job, outcome)| Done { outcome, job }).collect(),
            Err(error) => {
                tracing::error!(%error, jobs = group.len(), "the store failed: nothing of this is kept or acknowledged");
                let fault = match error.sqlite_error_code() {
                    Some(ErrorCode::DiskFull) => StoreFault::Full,
                    Some(_) | None => StoreFault::Broken,
                };
                group.into_iter().map(|job| Done { outcome: Err(fault), job }).collect()
            }
        }
    }

    /// Lets the database grow by so many pages only, as a full disk does.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, more: Option<i64>) {
        let used: i64 =
            self.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a page count");
        let most = more.map_or(i64::from(u32::MAX) - 1, |more| used + more);
        self.connection
            .query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))
            .expect("a limit");
    }

    fn transact(&mut self, group: &[Job]) -> rusqlite::Result<Vec<Result<Kept, StoreFault>>> {
        let mut seq = self.last_seq;
        let run = self.run;
        let is_full = group.iter().any(Job::is_received) && self.room.left() == Left::Little;
        let transaction = self.connection.transaction()?;
        let (mut kept, mut due) = (Vec::with_capacity(group.len()), Vec::new());
        for job in group {
            if is_full && job.is_received() {
                kept.push(Err(StoreFault::Full));
                continue;
            }
            let next = seq.saturating_add(1);
            let fresh = insert(&transaction, run, next, job, &mut due)?;
            if fresh {
                seq = next;
            }
            kept.push(Ok(Kept { seq, stored: if fresh { Stored::Fresh } else { Stored::Duplicate } }));
        }
        transaction.commit()?;
        self.last_seq = seq;
        self.due.append(&mut due);
        Ok(kept)
    }
}

/// Whether the job is new.
fn insert(
    connection: &Connection,
    run: u64,
    seq: u64,
    job: &Job,
    due: &mut Vec<Due>,
) -> rusqlite::Result<bool> {
    match job {
        Job::Event { time, account, session, event } => {
            let session_text = session.map(|session| session.to_string());
            let json = json::payload(&event.what, run);
            if let What::Message(message) = &event.what {
                let Incoming { message_id, content_type, body, .. } = message;
                let (inline, file) = match body {
                    Body::Inline(octets) => (Some(octets.as_slice()), None),
                    Body::Spooled { spool, .. } => (None, Some(file_name(run, Bulk::Received(*spool)))),
                };
                let peer = party(&message.from.address);
                let insert = |key: &str| {
                    let row = params![
                        number(seq),
                        micros(*time),
                        account,
                        session_text,
                        peer,
                        true,
                        key,
                        "received",
                        content_type,
                        inline,
                        file,
                        json
                    ];
                    let fresh = connection.prepare_cached(MESSAGE)?.execute(row)? > 0;
                    //= IM M-52
                    if fresh {
                        notice::promise(connection, seq, *time, account, &message.notices)?;
                    }
                    Ok(fresh)
                };
                if insert(message_id)? {
                    return Ok(true);
                }
                // RFC 4975 7.1.1: an endpoint does not use a Message-ID twice. One that counts from 1 in each session
                // does: what says something else is no duplicate, and is not lost.
                let same = params![account, peer, message_id, inline];
                let is_duplicate = inline.is_none() || connection.prepare_cached(SAME)?.exists(same)?;
                return if is_duplicate { Ok(false) } else { insert(&format!("{message_id}#{seq}")) };
            }
            if let What::Progress { message_id, progress } = &event.what {
                let (state, why) = match progress {
                    Progress::Sent => ("sent", None),
                    Progress::Acknowledged => ("acknowledged", None),
                    Progress::Failed { why } => ("failed", Some(why)),
                };
                connection.prepare_cached(PROGRESS)?.execute(params![
                    message_id,
                    state,
                    why,
                    session_text
                ])?;
            }
            //= IM M-52
            if let What::Receipt { message_id, from, recipient, fate } = &event.what {
                let (peer, state) = (party(&from.address), json::fate_word(*fate));
                let recipient = recipient.as_ref().map_or_else(|| peer.clone(), |recipient| party(recipient));
                let row = params![message_id, account, peer, state, recipient];
                // Of no message of ours to this one, or nothing new.
                if connection.prepare_cached(RECIPIENT)?.execute(row)? == 0 {
                    return Ok(false);
                }
                connection.prepare_cached(RECEIPT)?.execute(params![message_id, account, peer, state])?;
            }
            if let What::Moved { message_id, to } = &event.what {
                let to = SessionName { run, session: *to }.to_string();
                connection.prepare_cached(MOVED)?.execute(params![message_id, to, session_text])?;
            }
            let row =
                params![number(seq), micros(*time), account, session_text, json::kind(&event.what), json];
            connection.prepare_cached(EVENT)?.execute(row)?;
        }
        Job::Say { time, account, session, peer, message, by: _ } => {
            let json = json::saying(peer, message);
            let inline = match &message.body {
                OwnBody::Inline(octets) => Some(octets.as_slice()),
                OwnBody::Kept(..) => None,
            };
            let file = message.body.bulk().map(|bulk| file_name(run, bulk));
            let row = params![
                number(seq),
                micros(*time),
                account,
                session.to_string(),
                party(peer),
                false,
                message.message_id,
                "queued",
                message.content_type,
                inline,
                file,
                json
            ];
            connection.prepare_cached(MESSAGE)?.execute(row)?;
        }
        Job::Page { time, account, message: NewPage { to, page, .. }, by: _ } => {
            let row = params![
                number(seq),
                micros(*time),
                account,
                None::<String>,
                party(to),
                false,
                page.message_id,
                "queued",
                page.content_type,
                page.body,
                None::<String>,
                json::paging(to, page)
            ];
            connection.prepare_cached(MESSAGE)?.execute(row)?;
        }
        // It gets no number.
        Job::Note { note, by: _ } => {
            note.write(connection, due)?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(())
}

fn migrate(connection: &mut Connection, file: &Path) -> Result<(), OpenFault> {
    let fault = |error| OpenFault::Database { file: PathBuf::from(file), error };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fault)?;
    if found > known {
        return Err(OpenFault::Newer { file: PathBuf::from(file), found, known });
    }
    for (step, version) in MIGRATIONS.iter().zip(1_i64..).skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction().map_err(fault)?;
        transaction.execute_batch(step).map_err(fault)?;
        transaction.pragma_update(None, "user_version", version).map_err(fault)?;
        transaction.commit().map_err(fault)?;
    }
    Ok(())
}

/// RFC 4122 4.4: a random UUID as a URN.
fn instance(connection: &Connection) -> rusqlite::Result<String> {
    let hex: String = connection.query_row("SELECT instance FROM device", [], |row| row.get(0))?;
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!(
        "urn:uuid:{}-{}-4{}-a{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    ))
}

/// Counts this opening, and says of what was under way at the last one that nobody knows how it went.
fn begin_run(connection: &mut Connection) -> rusqlite::Result<(u64, u64)> {
    let connection = connection.transaction()?;
    connection.execute(
        "INSERT INTO run (number, started) SELECT 1 + ifnull(max(number), 0), unixepoch() FROM run",
        [],
    )?;
    let run = connection.query_row("SELECT max(number) FROM run", [], |row| row.get(0))?;
    let last = connection.query_row(
        "SELECT max(ifnull((SELECT max(seq) FROM events), 0), ifnull((SELECT max(seq) FROM messages), 0))",
        [],
        |row| row.get(0),
    )?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let last = unsettled::settle(&connection, now, unsigned(last))?;
    connection.commit()?;
    Ok((unsigned(run), last))
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
