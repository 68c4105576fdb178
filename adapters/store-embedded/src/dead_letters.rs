//! The dead letter port.

use bridge_core::ports::{
    BoxFuture, DeadLetter, DeadLetterFilter, DeadLetters, NewDeadLetter, RawRequest, StoreResult,
};
use bridge_core::{IntegrationName, Reason, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::EmbeddedStore;

const COLUMNS: &str = "number, at, integration, device, reason, detail, replay, method, path_device, query, \
                       content_type, body, record";
/// Null means any.
const MATCHES: &str = "(?1 IS NULL OR integration = ?1) AND (?2 IS NULL OR device = ?2) \
                       AND (?3 IS NULL OR reason = ?3) AND (?4 IS NULL OR number = ?4)";

impl DeadLetters for EmbeddedStore {
    fn bury<'a>(&'a self, letters: &'a [NewDeadLetter]) -> BoxFuture<'a, StoreResult<()>> {
        let letters = letters.to_vec();
        self.write(move |connection| letters.iter().try_for_each(|letter| insert(connection, letter)))
    }

    fn list<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetter>>> {
        let (integration, device, reason, number) = values(filter);
        let after = crate::sqlite::number(after);
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM dead_letters WHERE {MATCHES} AND number > ?5 ORDER BY number LIMIT ?6"
                ))?
                .query_map(params![integration, device, reason, number, after, limit], letter)?
                .collect()
        })
    }

    fn mark_for_replay<'a>(&'a self, filter: &'a DeadLetterFilter) -> BoxFuture<'a, StoreResult<u64>> {
        let (integration, device, reason, number) = values(filter);
        self.write(move |connection| {
            connection
                .prepare_cached(&format!(
                    "UPDATE dead_letters SET replay = 1 WHERE replay = 0 AND {MATCHES}"
                ))?
                .execute(params![integration, device, reason, number])
                .map(|marked| marked as u64)
        })
    }

    fn marked(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<DeadLetter>>> {
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM dead_letters WHERE replay = 1 ORDER BY number LIMIT ?1"
                ))?
                .query_map([limit], letter)?
                .collect()
        })
    }

    fn unmark<'a>(&'a self, number: u64, detail: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        let detail = detail.to_owned();
        self.write(move |connection| {
            connection
                .prepare_cached("UPDATE dead_letters SET replay = 0, detail = ?2 WHERE number = ?1")?
                .execute(params![number, detail])
                .map(drop)
        })
    }

    fn remove<'a>(&'a self, numbers: &'a [u64]) -> BoxFuture<'a, StoreResult<()>> {
        let numbers = numbers.to_vec();
        self.write(move |connection| {
            let mut delete = connection.prepare_cached("DELETE FROM dead_letters WHERE number = ?1")?;
            numbers.iter().try_for_each(|number| delete.execute([number]).map(drop))
        })
    }

    fn remove_matching<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        let (integration, device, reason, number) = values(filter);
        self.write(move |connection| {
            connection
                .prepare_cached(&format!(
                    "DELETE FROM dead_letters WHERE number IN \
                     (SELECT number FROM dead_letters WHERE {MATCHES} ORDER BY number LIMIT ?5)"
                ))?
                .execute(params![integration, device, reason, number, limit])
                .map(|removed| removed as u64)
        })
    }

    fn trim(&self, keep: u64) -> BoxFuture<'_, StoreResult<u64>> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM dead_letters WHERE number <= \
                     (SELECT number FROM dead_letters ORDER BY number DESC LIMIT 1 OFFSET ?1)",
                )?
                .execute([keep])
                .map(|removed| removed as u64)
        })
    }

    fn count(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.read(|connection| {
            connection.prepare_cached("SELECT count(*) FROM dead_letters")?.query_row([], |row| row.get(0))
        })
    }
}

type FilterValues = (Option<String>, Option<String>, Option<&'static str>, Option<i64>);

fn values(filter: &DeadLetterFilter) -> FilterValues {
    let integration = filter.integration.as_ref().map(ToString::to_string);
    let number = filter.number.map(crate::sqlite::number);
    (integration, filter.device.clone(), filter.reason.map(Reason::as_str), number)
}

fn insert(connection: &Connection, letter: &NewDeadLetter) -> rusqlite::Result<()> {
    let request = letter.request.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO dead_letters \
             (at, integration, device, reason, detail, method, path_device, query, content_type, body, record) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            letter.at.as_millis(),
            letter.integration.as_str(),
            letter.device,
            letter.reason.as_str(),
            letter.detail,
            request.map(|request| &request.method),
            request.and_then(|request| request.path_device.as_ref()),
            request.map(|request| &request.query),
            request.and_then(|request| request.content_type.as_ref()),
            request.map(|request| &request.body),
            letter.record,
        ])
        .map(drop)
}

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let request = match row.get::<_, Option<String>>(7)? {
        None => None,
        Some(method) => Some(RawRequest {
            method,
            path_device: row.get(8)?,
            query: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
            content_type: row.get(10)?,
            body: row.get::<_, Option<Vec<u8>>>(11)?.unwrap_or_default(),
        }),
    };
    let letter = NewDeadLetter {
        at: Timestamp::from_millis(row.get(1)?).unwrap_or(Timestamp::EPOCH),
        integration: parsed(2, &row.get::<_, String>(2)?, |text| IntegrationName::parse(text).ok())?,
        device: row.get(3)?,
        reason: parsed(4, &row.get::<_, String>(4)?, Reason::parse)?,
        detail: row.get(5)?,
        request,
        record: row.get(12)?,
    };
    Ok(DeadLetter { number: row.get(0)?, letter, replay: row.get(6)? })
}

/// A text that only this program writes, read back into its type.
pub(crate) fn parsed<T>(column: usize, text: &str, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    parse(text).ok_or_else(|| {
        let unknown = format!("{text:?} is not a value of this column").into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, unknown)
    })
}
