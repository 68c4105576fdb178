//! The dedup port.

use bridge_core::ports::{BoxFuture, Dedup, StoreResult};
use bridge_core::{MessageId, Timestamp};
use rusqlite::params;

use crate::EmbeddedStore;

impl Dedup for EmbeddedStore {
    fn seen(&self, id: MessageId, since: Timestamp) -> BoxFuture<'_, StoreResult<bool>> {
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
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT id, at FROM seen WHERE at >= ?1 ORDER BY at DESC LIMIT ?2")?
                .query_map(params![since.as_millis(), limit], |row| {
                    let at = Timestamp::from_millis(row.get(1)?).unwrap_or(Timestamp::EPOCH);
                    Ok((MessageId::from_bytes(row.get(0)?), at))
                })?
                .collect()
        })
    }

    fn remember<'a>(&'a self, ids: &'a [(MessageId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        let mut ids = ids.to_vec();
        // In the order of the table: neighbours share pages.
        ids.sort_unstable();
        self.write(move |connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO seen (id, at) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)",
            )?;
            ids.iter().try_for_each(|(id, at)| insert.execute(params![id.as_bytes(), at.as_millis()]).map(drop))
        })
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, StoreResult<u64>> {
        self.write(move |connection| {
            let mut delete = connection.prepare_cached("DELETE FROM seen WHERE at < ?1")?;
            Ok(delete.execute([before.as_millis()])? as u64)
        })
    }
}
