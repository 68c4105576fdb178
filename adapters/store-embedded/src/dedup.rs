//! The dedup port: ids go into a log, and from there sorted into the table, see [`crate::young`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::ports::{BoxFuture, Dedup, StoreResult};
use bridge_core::{MessageId, Timestamp};
use rusqlite::{Connection, params};

use crate::EmbeddedStore;
use crate::writer::Session;
use crate::young::{Step, Young};

impl Dedup for EmbeddedStore {
    fn seen(&self, id: MessageId, since: Timestamp) -> BoxFuture<'_, StoreResult<bool>> {
        // First: what leaves the young ones is in the table by then.
        if lock(&self.young).has(id, since) {
            return Box::pin(std::future::ready(Ok(true)));
        }
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT 1 FROM seen WHERE id = ?1 AND at >= ?2")?
                .exists(params![id.as_bytes(), since.as_millis()])
        })
    }

    fn recent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(MessageId, Timestamp)>>> {
        let young = lock(&self.young).since(since);
        self.read(move |connection| {
            let mut newest: HashMap<MessageId, Timestamp> = connection
                .prepare_cached("SELECT id, at FROM seen WHERE at >= ?1 ORDER BY at DESC LIMIT ?2")?
                .query_map(params![since.as_millis(), limit], row)?
                .collect::<Result<_, _>>()?;
            for (id, at) in young {
                let known = newest.entry(id).or_insert(at);
                *known = at.max(*known);
            }
            let mut newest: Vec<_> = newest.into_iter().collect();
            newest.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(*at));
            newest.truncate(limit);
            Ok(newest)
        })
    }

    fn remember<'a>(&'a self, ids: &'a [(MessageId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        let ids = ids.to_vec();
        self.write(move |session| {
            let mut append = session.prepare_cached("INSERT INTO seen_log (id, at) VALUES (?1, ?2)")?;
            for (id, at) in &ids {
                append.execute(params![id.as_bytes(), at.as_millis()])?;
            }
            let step = {
                let mut young = lock(session.young());
                // Also when the transaction fails in the end: they are accepted all the same.
                ids.iter().for_each(|(id, at)| young.insert(*id, *at));
                young.step(ids.len(), session.last_insert_rowid())
            };
            step.map_or(Ok(()), |step| sort_in(session, &step))
        })
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, StoreResult<u64>> {
        self.write(move |session| {
            let before_millis = [before.as_millis()];
            // Too old for anybody to ask, whatever becomes of the transaction.
            let young = lock(session.young()).forget(before);
            if young > 0 {
                session.prepare_cached("DELETE FROM seen_log WHERE at < ?1")?.execute(before_millis)?;
            }
            let old = session.prepare_cached("DELETE FROM seen WHERE at < ?1")?.execute(before_millis)?;
            Ok((young + old) as u64)
        })
    }
}

/// What the log has.
pub(crate) fn young(connection: &Connection) -> rusqlite::Result<Young> {
    let mut young = Young::default();
    let mut log = connection.prepare("SELECT id, at FROM seen_log")?;
    for entry in log.query_map([], row)? {
        let (id, at) = entry?;
        young.insert(id, at);
    }
    Ok(young)
}

/// Locks, also after a panic elsewhere: every change of what this guards is whole.
pub(crate) fn lock(young: &Mutex<Young>) -> MutexGuard<'_, Young> {
    young.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sort_in(session: &Session, step: &Step) -> rusqlite::Result<()> {
    let mut insert = session.prepare_cached(
        "INSERT INTO seen (id, at) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)",
    )?;
    for (id, at) in &step.ids {
        insert.execute(params![id.as_bytes(), at.as_millis()])?;
    }
    if let Some(last) = step.emptied {
        session.prepare_cached("DELETE FROM seen_log WHERE number <= ?1")?.execute([last])?;
    }
    Ok(())
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(MessageId, Timestamp)> {
    let at = Timestamp::from_millis(row.get(1)?).unwrap_or(Timestamp::EPOCH);
    Ok((MessageId::from_bytes(row.get(0)?), at))
}
