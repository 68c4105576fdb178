//! The writing thread: group commit. Whatever waits when a transaction begins becomes part of it; everybody is answered
//! after the fsync. A job that fails is undone alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bridge_core::ports::{StoreError, StoreResult};
use futures_channel::oneshot;
use rusqlite::Connection;

use crate::sqlite::store_error;

/// Jobs that may wait.
const QUEUE: usize = 8192;
/// Jobs in one transaction, at most.
const GROUP: usize = 512;
/// After this long without work, free pages go back to the file system.
const IDLE: Duration = Duration::from_secs(2);
/// Pages given back in one idle step: a few milliseconds.
const VACUUM_STEP: u32 = 256;
/// Free pages that are kept for reuse.
const KEEP_FREE: u32 = 512;

/// Runs inside the transaction; hands back what is to happen when its outcome is known.
type Job = Box<dyn FnOnce(&Connection) -> Finish + Send>;
type Finish = Box<dyn FnOnce(&Result<(), StoreError>)>;

pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = commits.clone();
        let builder = std::thread::Builder::new().name("store-writer".into());
        let thread = builder.spawn(move || run(&connection, &receiver, &counter)).ok();
        Self { jobs: Some(sender), thread, commits }
    }

    pub(crate) fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<oneshot::Receiver<StoreResult<T>>> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = in_savepoint(connection, job);
            Box::new(move |committed| {
                let answer = match (result, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Ok(_), Err(error)) => Err(error.clone()),
                    (Err(error), _) => Err(store_error(&error)),
                };
                // Whoever asked may have gone.
                let _ = sender.send(answer);
            })
        });
        let jobs = self.jobs.as_ref().ok_or_else(crate::closed)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Unavailable("too many writes are waiting".into()),
            TrySendError::Disconnected(_) => crate::closed(),
        })?;
        Ok(receiver)
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when it has worked off the queue and the sender is gone.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, jobs: &Receiver<Job>, commits: &AtomicU64) {
    loop {
        match jobs.recv_timeout(IDLE) {
            Ok(first) => {
                let group =
                    std::iter::once(first).chain(std::iter::from_fn(|| jobs.try_recv().ok())).take(GROUP);
                commit(connection, group, commits);
            }
            Err(RecvTimeoutError::Timeout) => give_back(connection),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn commit(connection: &Connection, group: impl Iterator<Item = Job>, commits: &AtomicU64) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| store_error(&error));
    let finishes: Vec<Finish> = group.map(|job| job(connection)).collect();
    let committed =
        begun.and_then(|()| connection.execute_batch("COMMIT").map_err(|error| store_error(&error)));
    match &committed {
        Ok(()) => drop(commits.fetch_add(1, Relaxed)),
        Err(error) => {
            tracing::error!(%error, "a transaction failed");
            // Fails when there is none to roll back, which is as good.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    for finish in finishes {
        finish(&committed);
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = job(connection);
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    result
}

fn give_back(connection: &Connection) {
    let free: rusqlite::Result<u32> = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0));
    if free.is_ok_and(|free| free > KEEP_FREE) {
        let step = connection.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_STEP})"));
        if let Err(error) = step {
            tracing::debug!(%error, "cannot give free pages back now");
        }
    }
}
