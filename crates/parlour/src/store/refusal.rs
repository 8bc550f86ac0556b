//! What peers have refused lately: read back from the events that told it, so that a restart does not forget it.

use std::time::Duration;

use parlour_proto::mime::cpim;
use rusqlite::Connection;

/// Refusals that are read back.
const MOST: i64 = 4096;

/// One of them, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) account: String,
    pub(crate) peer: String,
    pub(crate) pager: bool,
    pub(crate) wrapped: bool,
    pub(crate) media_type: String,
    /// Since 1970.
    pub(crate) until: Duration,
}

/// Those that still count, the oldest first.
pub(super) fn refusals(connection: &Connection, now: Duration) -> rusqlite::Result<Vec<Refused>> {
    let mut statement = connection.prepare(
        "SELECT account, json ->> '$.peer.address', json ->> '$.wrapped', json ->> '$.media_type', json ->> '$.until', json ->> '$.pager' \
         FROM events WHERE kind = 'type_refused' ORDER BY seq DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([MOST], |row| {
        let until: String = row.get(4)?;
        Ok(Refused {
            account: row.get(0)?,
            peer: row.get(1)?,
            pager: row.get::<_, Option<bool>>(5)?.unwrap_or_default(),
            wrapped: row.get(2)?,
            media_type: row.get(3)?,
            until: cpim::date(&until).unwrap_or_default(),
        })
    })?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    found.retain(|refused| refused.until > now);
    found.reverse();
    Ok(found)
}
