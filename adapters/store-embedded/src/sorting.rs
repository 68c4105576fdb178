//! Sorts message ids from their batches into the table, a step with each batch that comes. Digests are all over the tree of
//! the table: many at a time are neighbours there, and few pages change. Not here: who asks for an id.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicUsize};

use bridge_core::{MessageId, Timestamp};
use rusqlite::{Connection, params};

use crate::batch::{self, ENTRY};
use crate::outbox::meta;

/// A round is sorted in as so many parts by their ids: of 128 Ki ids some 400 KiB are in memory.
const PARTS: usize = 8;
/// One step sorts in twice as many as have come, and at least this part of a round.
const STEPS: usize = 32;
/// Ids of a round at most.
const GATHER: usize = 128 * 1024;
/// The key in `meta`.
const SORTED: &str = "seen_sorted";

/// What the sorting and those who ask for ids both know.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Batches up to this number are in the table.
    pub(crate) sorted: AtomicI64,
    /// No id in the other batches is older, milliseconds.
    oldest: AtomicI64,
    /// So many of the newest ids the bridge keeps in memory.
    pub(crate) known: AtomicUsize,
}

impl Shared {
    /// The batches after this number may have what was remembered before then; none: what there is, is in the table. Whoever
    /// looks into the table afterwards misses nothing.
    pub(crate) fn unsorted(&self, until: i64) -> Option<i64> {
        let sorted = self.sorted.load(Acquire);
        (until > self.oldest.load(Acquire)).then_some(sorted)
    }
}

/// Works inside the transactions of the writer. When one of them fails, the round that is under way begins again: what is in
/// the table already is put there once more.
pub(crate) struct Sorting {
    shared: Arc<Shared>,
    /// Ids in batches that are not sorted in; none: to be counted.
    waiting: Cell<Option<usize>>,
    round: RefCell<Option<Round>>,
    /// A round ends with this transaction.
    ended: Cell<Option<Ended>>,
}

struct Round {
    /// Up to this batch.
    last: i64,
    /// How many ids they are.
    size: usize,
    /// Parts that are read.
    parts: usize,
    /// Of the last part that was read, in reverse order.
    left: Vec<(MessageId, Timestamp)>,
}

/// What [`Shared`] becomes.
#[derive(Clone, Copy)]
struct Ended {
    sorted: i64,
    oldest: i64,
}

impl Sorting {
    /// Reads how far it is.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn open(connection: &Connection) -> rusqlite::Result<Self> {
        let sorted = meta(connection, SORTED)?.cast_signed();
        let oldest = oldest_after(connection, sorted)?;
        let shared = Shared { sorted: sorted.into(), oldest: oldest.into(), known: (2 * GATHER).into() };
        Ok(Self {
            shared: Arc::new(shared),
            waiting: Cell::new(None),
            round: RefCell::default(),
            ended: Cell::new(None),
        })
    }

    /// See [`Shared`].
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// What comes now is as old as that.
    pub(crate) fn note_oldest(&self, first: i64) {
        self.shared.oldest.fetch_min(first, Release);
        let ended = self.ended.get().map(|ended| Ended { oldest: ended.oldest.min(first), ..ended });
        self.ended.set(ended);
    }

    /// Goes on after so many ids were appended, the last of them in this batch.
    ///
    /// # Errors
    /// SQLite's; what the job did is undone then, and [`Sorting::undo`] is to be called.
    pub(crate) fn step(&self, connection: &Connection, appended: usize, last: i64) -> rusqlite::Result<()> {
        let waiting = match self.waiting.get() {
            Some(waiting) => waiting + appended,
            None => count_after(connection, self.shared.sorted.load(Relaxed))?,
        };
        self.waiting.set(Some(waiting));
        // A round takes as long as half as many need to come: it is over before memory forgets the first of them.
        let gather = (self.shared.known.load(Relaxed) / 2).clamp(1, GATHER);
        let mut round = self.round.borrow_mut();
        if round.is_none() && waiting >= gather {
            *round = Some(Round { last, size: waiting, parts: 0, left: Vec::new() });
        }
        let Some(under_way) = &mut *round else { return Ok(()) };
        let mut most = (2 * appended).max(under_way.size / STEPS);
        let mut insert = connection.prepare_cached(
            "INSERT INTO seen (id, at) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)",
        )?;
        while most > 0 {
            if let Some((id, at)) = under_way.left.pop() {
                insert.execute(params![id.as_bytes(), at.as_millis()])?;
                most -= 1;
            } else if under_way.parts < PARTS {
                let after = self.shared.sorted.load(Relaxed);
                under_way.left = read(connection, after, under_way.last, under_way.parts)?;
                under_way.parts += 1;
            } else {
                self.end(connection, under_way)?;
                self.waiting.set(Some(waiting.saturating_sub(under_way.size)));
                *round = None;
                break;
            }
        }
        Ok(())
    }

    /// A job that appended ids failed, or a transaction.
    pub(crate) fn undo(&self) {
        *self.round.borrow_mut() = None;
        self.ended.set(None);
        self.waiting.set(None);
    }

    /// The transaction was committed.
    pub(crate) fn committed(&self) {
        if let Some(Ended { sorted, oldest }) = self.ended.take() {
            self.shared.sorted.store(sorted, Release);
            self.shared.oldest.store(oldest, Release);
        }
    }

    /// Batches of the newest ids stay, for whoever opens the store again.
    fn end(&self, connection: &Connection, round: &Round) -> rusqlite::Result<()> {
        let first = first_of_newest(connection, self.shared.known.load(Relaxed))?;
        connection
            .prepare_cached("DELETE FROM seen_batches WHERE number < ?1 AND number <= ?2")?
            .execute([first, round.last])?;
        connection
            .prepare_cached("UPDATE meta SET value = ?2 WHERE key = ?1")?
            .execute(params![SORTED, round.last])?;
        let oldest = oldest_after(connection, round.last)?;
        self.ended.set(Some(Ended { sorted: round.last, oldest }));
        Ok(())
    }
}

/// The oldest time in the batches after this one; without any, one that nothing is older than.
fn oldest_after(connection: &Connection, batch: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(min(first), ?2) FROM seen_batches WHERE number > ?1")?
        .query_row([batch, i64::MAX], |row| row.get(0))
}

/// How many ids are in the batches after this one.
fn count_after(connection: &Connection, batch: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("SELECT coalesce(sum(length(ids)), 0) FROM seen_batches WHERE number > ?1")?
        .query_row([batch], |row| row.get::<_, usize>(0))
        .map(|bytes| bytes / ENTRY)
}

/// The first batch of those that hold so many of the newest ids: whoever opens the store again reads them.
fn first_of_newest(connection: &Connection, known: usize) -> rusqlite::Result<i64> {
    let mut select =
        connection.prepare_cached("SELECT number, length(ids) FROM seen_batches ORDER BY number DESC")?;
    let mut newest = select.query([])?;
    let (mut first, mut count) = (0, 0);
    while count < known
        && let Some(row) = newest.next()?
    {
        first = row.get(0)?;
        count += row.get::<_, usize>(1)? / ENTRY;
    }
    Ok(first)
}

/// One part of the ids of these batches, in reverse order.
fn read(
    connection: &Connection,
    after: i64,
    last: i64,
    part: usize,
) -> rusqlite::Result<Vec<(MessageId, Timestamp)>> {
    let mut select =
        connection.prepare_cached("SELECT ids FROM seen_batches WHERE number > ?1 AND number <= ?2")?;
    let mut batches = select.query([after, last])?;
    let mut ids = Vec::new();
    while let Some(row) = batches.next()? {
        let bytes = row.get_ref(0)?.as_blob()?;
        ids.extend(
            batch::decode(bytes).filter(|(id, _)| usize::from(id.as_bytes()[0]) * PARTS / 256 == part),
        );
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    Ok(ids)
}
