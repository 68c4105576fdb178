//! Connections: pragmas, schema, errors. Not here: what is stored.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::Duration;

use bridge_core::ports::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// The steps from an empty file to the schema of today; the number of those that were taken is `PRAGMA user_version`.
/// A step that was released never changes.
pub(crate) const STEPS: [&str; 11] = [
    include_str!("schema.sql"),
    include_str!("schema_archive.sql"),
    include_str!("schema_commands.sql"),
    include_str!("schema_credentials.sql"),
    include_str!("schema_states.sql"),
    include_str!("schema_proofs.sql"),
    include_str!("schema_vault.sql"),
    include_str!("schema_subscriptions.sql"),
    include_str!("schema_lives.sql"),
    include_str!("schema_seen_log.sql"),
    include_str!("schema_seen_batches.sql"),
];
/// Statements that a connection keeps compiled: more than there are.
const STATEMENTS: usize = 128;
/// How long a connection waits for another process (a tool that writes).
const BUSY: Duration = Duration::from_secs(5);

/// The connection of the writer; creates the schema when the file is empty, and brings an older one up to date.
pub(crate) fn open_for_writing(path: &Path, max_bytes: u64) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(|error| store_error(&error))?;
    prepare(&connection, path, max_bytes).map_err(|error| store_error(&error))?;
    let (version, known) = (version(&connection).map_err(|error| store_error(&error))?, STEPS.len());
    if version == known {
        return Ok(connection);
    }
    Err(StoreError::Damaged(format!(
        "it has schema version {version}, this bridge knows {known}: use the bridge that wrote it, or a newer one"
    )))
}

/// A connection that only reads.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "cache_size", -512)?;
        connection.pragma_update(None, "query_only", true)?;
        keep_plans(&connection)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| store_error(&error))
}

/// A number to compare a row's with. SQLite's end at 2^63 - 1, and no row has a greater one.
pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A statement is compiled once. Without the second line SQLite compiles one with `LIMIT ?` anew for every value, which takes
/// longer than most of our statements run (sqlite.org/c3ref/c_dbconfig_defensive.html, `SQLITE_DBCONFIG_ENABLE_QPSG`).
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn prepare(connection: &Connection, _path: &Path, max_bytes: u64) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    // Before the first table: freed pages can go back to the file system in small steps.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    // Whoever commits last before a checkpoint waits for it; and the same pages change again and again, so that a longer log
    // is less to copy. 16 MiB are read in some tens of milliseconds after a crash.
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    connection.pragma_update(None, "journal_size_limit", 32 * 1024 * 1024)?;
    keep_plans(connection)?;
    if version(connection)? < STEPS.len() {
        // Two processes may come here at once: the second one finds the first one's schema.
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let taken = version(connection)?;
        let upgraded = STEPS.iter().skip(taken).try_for_each(|step| connection.execute_batch(step));
        let upgraded = upgraded.and_then(|()| match taken < STEPS.len() {
            true => connection.pragma_update(None, "user_version", STEPS.len()),
            false => Ok(()),
        });
        connection.execute_batch(if upgraded.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        upgraded?;
    }
    // Afterwards: a full store of an earlier version needs some room before it gives more back.
    let page: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let pages = (max_bytes / page.max(1)).clamp(64, u64::from(u32::MAX) - 2);
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    Ok(())
}

/// Whose fault an error is, and whether to retry.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SchemaChanged) => {
            StoreError::Damaged(text)
        }
        Some(_) => StoreError::Unavailable(text),
        // Not SQLite itself: a row of another shape than ours.
        None => StoreError::Damaged(text),
    }
}

/// Creates the directory, readable by its owner alone, unless it is there.
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates the file, readable by its owner alone, unless it is there. SQLite gives its side files the same rights.
pub(crate) fn create_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
