//! Messages of ours whose fate the last run left open: each gets its end when the store is opened.

use std::time::Duration;

use parlour_proto::event::{Progress, What};
use rusqlite::{Connection, params};

use super::read::number;
use super::sqlite::{EVENT, micros};
use crate::json;

/// Of one that was only queued too: that it left is noted after it has.
const WHY: &str = "not confirmed: the program ended before the other side had answered";

/// Tells of each that it failed, in an event of its own. Returns the number of the last event.
pub(super) fn settle(connection: &Connection, now: Duration, last_seq: u64) -> rusqlite::Result<u64> {
    let mut select = connection.prepare(
        "SELECT seq, account, session, message_id FROM messages \
         WHERE NOT incoming AND state IN ('queued', 'sent') ORDER BY seq",
    )?;
    let open = select.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?, row.get(3)?))
    })?;
    let open = open.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut seq = last_seq;
    for (row, account, session, message_id) in open {
        seq = seq.saturating_add(1);
        let what = What::Progress { message_id, progress: Progress::Failed { why: WHY.to_owned() } };
        connection
            .prepare_cached("UPDATE messages SET state = 'failed', why = ?2 WHERE seq = ?1")?
            .execute(params![row, WHY])?;
        let event =
            params![number(seq), micros(now), account, session, json::kind(&what), json::payload(&what, 0)];
        connection.prepare_cached(EVENT)?.execute(event)?;
    }
    Ok(seq)
}
