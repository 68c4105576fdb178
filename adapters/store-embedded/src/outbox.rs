//! The outbox port.

use bridge_core::ports::{Backlog, BoxFuture, Outbox, OutboxEntry, Seq, StoreResult};
use bridge_core::{MessageId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::EmbeddedStore;

impl Outbox for EmbeddedStore {
    fn append<'a>(&'a self, entries: &'a [OutboxEntry]) -> BoxFuture<'a, StoreResult<()>> {
        self.write_alone(entries.to_vec(), |session, entries| session.savepoint(|_| append(session, entries)))
    }

    fn remove<'a>(&'a self, seqs: &'a [Seq]) -> BoxFuture<'a, StoreResult<()>> {
        let seqs = seqs.to_vec();
        self.write(move |connection| {
            let mut delete = connection.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?;
            seqs.iter().try_for_each(|seq| delete.execute([seq]).map(drop))
        })
    }

    fn load(&self, after: Seq, limit: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxEntry>>> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT seq, id, lane, at, record FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                )?
                .query_map(params![after, limit], entry)?
                .collect()
        })
    }

    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>> {
        self.read(|connection| {
            let lanes = connection
                .prepare_cached("SELECT lane, count(*) FROM outbox GROUP BY lane")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let (bytes, oldest) = connection
                .prepare_cached("SELECT coalesce(sum(length(record)), 0), min(at) FROM outbox")?
                .query_row([], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
            let last_seq = meta(connection, "last_seq")?;
            Ok(Backlog { lanes, last_seq, oldest: oldest.and_then(Timestamp::from_millis), bytes })
        })
    }
}

fn append(connection: &Connection, entries: &[OutboxEntry]) -> rusqlite::Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT INTO outbox (seq, id, lane, at, record) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for entry in entries {
        let at = entry.at.as_millis();
        insert.execute(params![entry.seq, entry.id.as_bytes(), entry.lane, at, entry.record])?;
    }
    if let Some(last) = entries.last() {
        connection
            .prepare_cached("UPDATE meta SET value = max(value, ?1) WHERE key = 'last_seq'")?
            .execute([last.seq])?;
    }
    Ok(())
}

/// The number of open commands in the `meta` table.
pub(crate) const OPEN_COMMANDS: &str = "open_commands";

/// A number of the `meta` table; 0 when it is not there.
pub(crate) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(select.query_row([key], |row| row.get(0)).optional()?.unwrap_or(0))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<OutboxEntry> {
    Ok(OutboxEntry {
        seq: row.get(0)?,
        id: MessageId::from_bytes(row.get(1)?),
        lane: row.get(2)?,
        at: Timestamp::from_millis(row.get(3)?).unwrap_or(Timestamp::EPOCH),
        record: row.get(4)?,
    })
}
