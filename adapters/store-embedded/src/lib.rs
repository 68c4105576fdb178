//! The ports of the bridge on SQLite, one file in the data directory: registry, outbox, dead letters, message ids, archive, tokens of devices. One
//! writer thread groups what comes into one transaction and answers after its fsync; reads run on threads of their own.
//! Not here: any rule of the bridge, and any runtime.

mod archive;
mod batch;
mod commands;
mod credentials;
mod dead_letters;
mod dedup;
mod outbox;
mod reader;
mod registry;
mod sorting;
mod sqlite;
mod subscriptions;
#[cfg(test)]
mod tests;
mod twins;
mod vault;
mod writer;

use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use bridge_core::ports::{BoxFuture, StoreError, StoreResult};
use rusqlite::Connection;

use crate::reader::Readers;
use crate::sorting::{Shared, Sorting};
use crate::writer::{Session, Writer};

/// The name of the database in the data directory.
pub const FILE: &str = "bridge.db";

/// Who opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The bridge itself: only one at a time.
    Service,
    /// A tool beside it.
    Tool,
}

/// Why a store cannot be opened. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another bridge works on the directory.
    #[error("{0} is in use by another bridge")]
    InUse(PathBuf),
    /// The directory or a file in it cannot be created or read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database is damaged, or not ours, or of a newer bridge.
    #[error("{path}: {source}")]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
}

/// The store. Cheap to clone; closed when the last clone is dropped, after everything that was asked for is written.
#[derive(Clone)]
pub struct EmbeddedStore {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    sorting: Arc<Shared>,
    /// How often message ids were forgotten: a part of them each time.
    forgotten: Arc<AtomicU8>,
    _lock: Option<Arc<File>>,
}

impl EmbeddedStore {
    /// Opens or creates the store in `directory`. `max_bytes` bounds the file.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(directory: &Path, mode: Mode, max_bytes: u64) -> Result<Self, OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        sqlite::create_private_directory(directory).map_err(io(directory))?;
        let lock = match mode {
            Mode::Tool => None,
            Mode::Service => {
                let path = directory.join("bridge.lock");
                let file = File::create(&path).map_err(io(&path))?;
                match file.try_lock() {
                    Ok(()) => Some(Arc::new(file)),
                    Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(directory.to_owned())),
                    Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
                }
            }
        };
        let path = directory.join(FILE);
        sqlite::create_private_file(&path).map_err(io(&path))?;
        let store = |source| OpenError::Store { path: path.clone(), source };
        let connection = sqlite::open_for_writing(&path, max_bytes).map_err(store)?;
        let sorting = Sorting::open(&connection).map_err(|error| store(sqlite::store_error(&error)))?;
        let shared = sorting.shared();
        let readers = Readers::open(&path).map_err(store)?;
        Ok(Self {
            writer: Arc::new(Writer::start(Session::new(connection, sorting))),
            readers: Arc::new(readers),
            sorting: shared,
            // Anywhere: a bridge that is started again and again comes to all of them.
            forgotten: Arc::new(RandomState::new().hash_one(()).to_le_bytes()[0].into()),
            _lock: lock,
        })
    }

    /// The bridge keeps so many of the newest message ids in memory: the store is asked for older ones alone, and may take its
    /// time with these.
    #[must_use]
    pub fn beside_ids_in_memory(self, newest: usize) -> Self {
        self.sorting.known.store(newest, Relaxed);
        self
    }

    /// Transactions committed so far; for tests and curiosity.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Runs in the next transaction; completes after its fsync.
    fn write<'a, T: Send + 'static>(
        &self,
        job: impl FnOnce(&Session) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'a, StoreResult<T>> {
        self.write_alone((), |session, ()| session.savepoint(job))
    }

    /// As [`write`](Self::write), for a job that undoes by itself what it did when it fails, on data of its own.
    fn write_alone<'a, D: Send + 'static, T: Send + 'static>(
        &self,
        data: D,
        job: impl FnOnce(&Session, &D) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'a, StoreResult<T>> {
        let answer = self.writer.submit(data, job);
        Box::pin(async move { answer?.await.map_or_else(|_| Err(closed()), |(answer, _)| answer) })
    }

    /// Runs on a reading thread.
    fn read<'a, T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'a, StoreResult<T>> {
        let answer = self.readers.submit(job);
        Box::pin(async move { answer?.await.unwrap_or_else(|_| Err(closed())) })
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}
