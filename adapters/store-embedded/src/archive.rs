//! The archive port.

use bridge_core::ports::{Archive, ArchiveFilter, Archived, BoxFuture, StoreResult};
use bridge_core::{DeviceId, Timestamp};
use rusqlite::{Row, params};

use crate::EmbeddedStore;
use crate::dead_letters::parsed;

/// Rows that one transaction removes at most: nobody else's write waits longer.
const REMOVED_AT_ONCE: u64 = 10_000;

impl Archive for EmbeddedStore {
    fn keep<'a>(&'a self, uplinks: &'a [Archived]) -> BoxFuture<'a, StoreResult<()>> {
        let uplinks = uplinks.to_vec();
        self.write(move |connection| {
            let mut insert =
                connection.prepare_cached("INSERT INTO archive (device, at, record) VALUES (?1, ?2, ?3)")?;
            uplinks.iter().try_for_each(|uplink| {
                insert
                    .execute(params![uplink.device.as_str(), uplink.at.as_millis(), uplink.record])
                    .map(drop)
            })
        })
    }

    fn uplinks<'a>(
        &'a self,
        filter: &'a ArchiveFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<(u64, Archived)>>> {
        let device = filter.device.as_ref().map(ToString::to_string);
        let (from, to) = (filter.from.as_millis(), filter.to.as_millis());
        let after = crate::sqlite::number(after);
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT number, device, at, record FROM archive WHERE number > ?1 AND at >= ?2 AND at < ?3 \
                     AND (?4 IS NULL OR device = ?4) ORDER BY number LIMIT ?5",
                )?
                .query_map(params![after, from, to, device, limit], archived)?
                .collect()
        })
    }

    fn discard(&self, before: Timestamp, most: u64) -> BoxFuture<'_, StoreResult<u64>> {
        // Times are almost in the order of the numbers: what is too old stands at the beginning.
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM archive WHERE number IN \
                     (SELECT number FROM archive WHERE at < ?1 OR number <= \
                      coalesce((SELECT number FROM archive ORDER BY number DESC LIMIT 1 OFFSET ?2), 0) \
                      ORDER BY number LIMIT ?3)",
                )?
                .execute(params![before.as_millis(), most, REMOVED_AT_ONCE])
                .map(|removed| removed as u64)
        })
    }
}

fn archived(row: &Row<'_>) -> rusqlite::Result<(u64, Archived)> {
    let device = parsed(1, &row.get::<_, String>(1)?, |text| DeviceId::parse(text).ok())?;
    let at = Timestamp::from_millis(row.get(2)?).unwrap_or(Timestamp::EPOCH);
    Ok((row.get(0)?, Archived { device, at, record: row.get(3)? }))
}
