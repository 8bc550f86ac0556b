//! The certificates that peers have shown: one row each.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::read::unsigned;
use super::sqlite::micros;
use crate::pins::{Owner, Pin, Pinned};

pub(super) const TABLE: &str = "
    CREATE TABLE certificates (
        account TEXT NOT NULL, party TEXT NOT NULL, verified INTEGER NOT NULL, fingerprint TEXT NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, protected INTEGER NOT NULL, confirmed INTEGER NOT NULL,
        PRIMARY KEY (account, party, verified, fingerprint)) WITHOUT ROWID;
";

/// Replaces what is kept of a peer.
pub(super) fn write(connection: &Connection, pinned: &Pinned) -> rusqlite::Result<()> {
    let Pinned { owner, pins, forgotten } = pinned;
    let sql = "DELETE FROM certificates WHERE account = ?1 AND party = ?2 AND verified = ?3";
    for Owner { account, party, verified } in forgotten.iter().chain([owner]) {
        connection.prepare_cached(sql)?.execute(params![account, party, verified])?;
    }
    let sql = "INSERT INTO certificates (account, party, verified, fingerprint, first, last, protected, confirmed) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let Owner { account, party, verified } = owner;
    for Pin { fingerprint, first, last, protected, confirmed } in pins {
        let (first, last) = (micros(*first), micros(*last));
        let row = params![account, party, verified, fingerprint, first, last, protected, confirmed];
        connection.prepare_cached(sql)?.execute(row)?;
    }
    Ok(())
}

/// All that are kept.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<(Owner, Pin)>> {
    let mut statement = connection.prepare(
        "SELECT account, party, verified, fingerprint, first, last, protected, confirmed FROM certificates",
    )?;
    let rows = statement.query_map([], |row| {
        let time = |at: usize| row.get(at).map(|micros: i64| Duration::from_micros(unsigned(micros)));
        let owner = Owner { account: row.get(0)?, party: row.get(1)?, verified: row.get(2)? };
        let (fingerprint, protected, confirmed) = (row.get(3)?, row.get(6)?, row.get(7)?);
        Ok((owner, Pin { fingerprint, first: time(4)?, last: time(5)?, protected, confirmed }))
    })?;
    rows.collect()
}
