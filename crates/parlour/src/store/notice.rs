//! Notifications that authors of messages are owed (RFC 5438): written with the message, due once the user was shown it or
//! at once, and gone when they are told. Those that are due when the program ends are told by the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parlour_proto::event::{Event, Notice, NoticeKind, NoticeStatus, What};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::read::number;
use super::sqlite::micros;
use super::{Job, Note};
use crate::model::SessionName;

/// How long one is owed: of older messages nobody wants to hear.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Those that are given to the client at start; more than these wait for the start after.
const MOST: i64 = 4096;

/// Those that wait in a store that keeps nothing.
const MOST_WAITING: usize = 1024;

/// A notification that may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// Whose it is.
    pub(crate) account: Arc<str>,
    pub(crate) notice: Notice,
}

/// Which messages the user was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The one with this number.
    Number(u64),
    /// Those with this Message-ID, of this session if one is named.
    Named { session: Option<SessionName>, message_id: String },
}

/// What a store that keeps nothing remembers: the notifications that wait for the user, the last so many.
#[derive(Debug, Default)]
pub(crate) struct Waiting(VecDeque<(u64, Option<SessionName>, String, Due)>);

impl Waiting {
    /// Takes a job in, and gives what is due by it.
    pub(super) fn take_in(&mut self, seq: u64, job: &Job) -> Vec<Due> {
        let mut due = Vec::new();
        if let Job::Event { account, session, event: Event { what: What::Message(message), .. }, .. } = job {
            for notice in message.notices.iter().filter(|notice| notice.waits()).cloned() {
                if self.0.len() >= MOST_WAITING {
                    self.0.pop_front();
                }
                let due = Due { account: account.clone(), notice };
                self.0.push_back((seq, *session, message.message_id.clone(), due));
            }
        }
        if let Job::Note { note: Note::Seen(seen), .. } = job {
            self.0.retain(|(number, of, name, owed)| {
                let is_it = match seen {
                    Seen::Number(seen) => seen == number,
                    Seen::Named { session, message_id } => {
                        message_id == name && (session.is_none() || session == of)
                    }
                };
                due.extend(is_it.then(|| owed.clone()));
                !is_it
            });
        }
        due
    }
}

/// Keeps what is owed for the message with this number.
pub(super) fn promise(
    connection: &Connection,
    seq: u64,
    time: Duration,
    account: &str,
    notices: &[Notice],
) -> rusqlite::Result<()> {
    let sql =
        "INSERT OR IGNORE INTO notices (id, seq, time, account, due, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for notice in notices {
        let json = serde_json::to_string(&Row(notice.clone())).unwrap_or_default();
        let row = params![notice.id, number(seq), micros(time), account, !notice.waits(), json];
        connection.prepare_cached(sql)?.execute(row)?;
    }
    Ok(())
}

/// The user was shown messages: what waited for that is due from now on.
pub(super) fn seen(connection: &Connection, seen: &Seen) -> rusqlite::Result<Vec<Due>> {
    let found = "UPDATE notices SET due = TRUE WHERE NOT due AND seq";
    match seen {
        Seen::Number(seq) => {
            let sql = format!("{found} = ?1 RETURNING account, json");
            read(connection, &sql, params![number(*seq)])
        }
        Seen::Named { session, message_id } => {
            let session = session.map(|session| session.to_string());
            let sql = format!(
                "{found} IN (SELECT seq FROM messages WHERE incoming AND message_id = ?1 AND (?2 IS NULL OR session = ?2)) \
                 RETURNING account, json"
            );
            read(connection, &sql, params![message_id, session])
        }
    }
}

/// It is told, or never will be.
pub(super) fn settled(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM notices WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// What was due when the program ended, oldest first.
pub(super) fn due(connection: &Connection, now: Duration) -> rusqlite::Result<Vec<Due>> {
    let oldest = micros(now.saturating_sub(LONGEST));
    connection.execute("DELETE FROM notices WHERE time < ?1", params![oldest])?;
    let sql = "SELECT account, json FROM notices WHERE due ORDER BY seq, rowid LIMIT ?1";
    read(connection, sql, params![MOST])
}

fn read(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<Due>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut due = Vec::new();
    for row in rows {
        let (account, json) = row?;
        // What another version has written and this one cannot read is not told.
        if let Ok(Row(notice)) = serde_json::from_str(&json) {
            due.push(Due { account: account.into(), notice });
        }
    }
    Ok(due)
}

/// A notification as it is written.
#[derive(Serialize, Deserialize)]
struct Row(#[serde(with = "Fields")] Notice);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Notice")]
struct Fields {
    id: String,
    to: String,
    verified: bool,
    recipient: String,
    message_id: String,
    date_time: Option<String>,
    author: Option<String>,
    original_to: Option<String>,
    routes: Vec<String>,
    routed: bool,
    #[serde(default)]
    in_room: bool,
    #[serde(with = "Kind")]
    kind: NoticeKind,
    #[serde(with = "Status")]
    status: NoticeStatus,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NoticeKind", rename_all = "snake_case")]
enum Kind {
    Delivery,
    Processing,
    Display,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NoticeStatus", rename_all = "snake_case")]
enum Status {
    Delivered,
    Failed,
    Displayed,
    Processed,
    Stored,
    Forbidden,
    Error,
}
