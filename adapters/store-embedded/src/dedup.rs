//! The dedup port: ids go into batches, and from there sorted into the table, see [`crate::sorting`].

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use bridge_core::ports::{BoxFuture, Dedup, StoreResult};
use bridge_core::{MessageId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::EmbeddedStore;
use crate::batch::{self, Batch};
use crate::writer::Session;

/// Parts of the table by the first byte of an id. What is old goes from one part at a time: most of a part's pages change, and
/// others want to write.
const PARTS: u8 = 32;

impl Dedup for EmbeddedStore {
    fn seen(
        &self,
        id: MessageId,
        since: Timestamp,
        known_from: Option<Timestamp>,
    ) -> BoxFuture<'_, StoreResult<bool>> {
        let until = known_from.map_or(i64::MAX, Timestamp::as_millis);
        // First: what is not in the batches that follow is in the table by then.
        let unsorted = self.sorting.unsorted(until);
        self.read(move |connection| {
            if let Some(sorted) = unsorted
                && is_in_batches(connection, sorted, until, (id, since))?
            {
                return Ok(true);
            }
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
            let mut newest = in_batches(connection, since, limit)?;
            if newest.len() < limit {
                let mut select = connection
                    .prepare_cached("SELECT id, at FROM seen WHERE at >= ?1 ORDER BY at DESC LIMIT ?2")?;
                for row in select.query_map(params![since.as_millis(), limit], row)? {
                    let (id, at) = row?;
                    note(&mut newest, id, at);
                }
            }
            let mut newest: Vec<_> = newest.into_iter().collect();
            newest.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(*at));
            newest.truncate(limit);
            Ok(newest)
        })
    }

    fn remember<'a>(&'a self, ids: &'a [(MessageId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
        let batches = batch::batches(ids);
        self.write(move |session| {
            let appended = append(session, &batches);
            if appended.is_err() {
                session.sorting().undo();
            }
            appended
        })
    }

    fn forget(&self, before: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        let part = self.forgotten.fetch_add(1, Relaxed) % PARTS;
        self.write(move |session| {
            forget_batches(session, before)?;
            forget_part(session, part, before)
        })
    }
}

/// Whether it is in a batch after that one which holds something older than `until`.
fn is_in_batches(
    connection: &Connection,
    after: i64,
    until: i64,
    (id, since): (MessageId, Timestamp),
) -> rusqlite::Result<bool> {
    let mut select = connection
        .prepare_cached("SELECT ids FROM seen_batches WHERE number > ?1 AND last >= ?2 AND first < ?3")?;
    let mut batches = select.query(params![after, since.as_millis(), until])?;
    while let Some(row) = batches.next()? {
        let mut ids = batch::decode(row.get_ref(0)?.as_blob()?);
        if ids.any(|(other, at)| other == id && at >= since) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn append(session: &Session, batches: &[Batch]) -> rusqlite::Result<()> {
    if batches.is_empty() {
        return Ok(());
    }
    let mut insert =
        session.prepare_cached("INSERT INTO seen_batches (first, last, ids) VALUES (?1, ?2, ?3)")?;
    for batch in batches {
        // Before it is there for anybody.
        session.sorting().note_oldest(batch.first);
        insert.execute(params![batch.first, batch.last, batch.bytes])?;
    }
    let count = batches.iter().map(|batch| batch.count).sum();
    session.sorting().step(session, count, session.last_insert_rowid())
}

/// At least as many of the newest as are asked for, if there are so many in batches.
fn in_batches(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<HashMap<MessageId, Timestamp>> {
    let mut newest = HashMap::new();
    let mut oldest = i64::MAX;
    let mut select = connection
        .prepare_cached("SELECT last, ids FROM seen_batches WHERE last >= ?1 ORDER BY last DESC")?;
    let mut batches = select.query([since.as_millis()])?;
    while let Some(row) = batches.next()? {
        if newest.len() >= limit && row.get::<_, i64>(0)? < oldest {
            break;
        }
        for (id, at) in batch::decode(row.get_ref(1)?.as_blob()?).filter(|(_, at)| *at >= since) {
            oldest = oldest.min(at.as_millis());
            note(&mut newest, id, at);
        }
    }
    Ok(newest)
}

fn note(newest: &mut HashMap<MessageId, Timestamp>, id: MessageId, at: Timestamp) {
    let known = newest.entry(id).or_insert(at);
    *known = at.max(*known);
}

fn forget_batches(session: &Session, before: Timestamp) -> rusqlite::Result<()> {
    let millis = before.as_millis();
    session.prepare_cached("DELETE FROM seen_batches WHERE last < ?1")?.execute([millis])?;
    let oldest = session
        .prepare_cached("SELECT number, first, ids FROM seen_batches ORDER BY number LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    // Of the oldest that is left, a part may be old.
    let Some((number, first, ids)): Option<(i64, i64, Vec<u8>)> = oldest else { return Ok(()) };
    if first >= millis {
        return Ok(());
    }
    let young: Vec<_> = batch::decode(&ids).filter(|(_, at)| *at >= before).collect();
    session
        .prepare_cached("UPDATE seen_batches SET first = ?2, ids = ?3 WHERE number = ?1")?
        .execute(params![number, millis, batch::encode(&young)])
        .map(drop)
}

fn forget_part(session: &Session, part: u8, before: Timestamp) -> rusqlite::Result<()> {
    let width = u8::MAX / PARTS + 1;
    let (mut first, mut last) = ([0; 16], [u8::MAX; 16]);
    first[0] = part * width;
    last[0] = first[0] + (width - 1);
    session
        .prepare_cached("DELETE FROM seen WHERE id BETWEEN ?1 AND ?2 AND at < ?3")?
        .execute(params![first, last, before.as_millis()])
        .map(drop)
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(MessageId, Timestamp)> {
    let at = Timestamp::from_millis(row.get(1)?).unwrap_or(Timestamp::EPOCH);
    Ok((MessageId::from_bytes(row.get(0)?), at))
}
