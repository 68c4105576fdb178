//! The writing thread: group commit. Whatever waits when a transaction begins becomes part of it; everybody is answered
//! after the fsync. A job that fails is undone alone.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bridge_core::ports::{StoreError, StoreResult};
use futures_channel::oneshot;
use rusqlite::{Connection, params};

use crate::commands::Untold;
use crate::outbox::{OPEN_COMMANDS, meta};
use crate::sorting::Sorting;
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
type Job = Box<dyn FnOnce(&Session) -> Finish + Send>;
type Finish = Box<dyn FnOnce(&Result<(), StoreError>)>;

/// The writing connection, and what is written once for all jobs of a transaction.
pub(crate) struct Session {
    connection: Connection,
    /// Commands that were open before this transaction, once somebody has asked.
    open: Cell<Option<u64>>,
    /// Commands that were opened in this transaction, less those that are over.
    opened: Cell<i64>,
    sorting: Sorting,
    untold: Untold,
}

impl Deref for Session {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Session {
    pub(crate) fn new(connection: Connection, sorting: Sorting) -> Self {
        Self { connection, open: Cell::new(None), opened: Cell::new(0), sorting, untold: Untold::default() }
    }

    /// What becomes of the message ids that were appended.
    pub(crate) fn sorting(&self) -> &Sorting {
        &self.sorting
    }

    /// Commands that are known to have something untold.
    pub(crate) fn untold(&self) -> &Untold {
        &self.untold
    }

    /// One more command is open, or one less.
    pub(crate) fn count_open(&self, change: i64) {
        self.opened.set(self.opened.get() + change);
    }

    /// How many commands are open.
    pub(crate) fn open_commands(&self) -> rusqlite::Result<u64> {
        let open = match self.open.get() {
            Some(open) => open,
            None => meta(self, OPEN_COMMANDS)?,
        };
        self.open.set(Some(open));
        Ok(open.saturating_add_signed(self.opened.get()))
    }

    /// Undoes what was done by something that fails.
    pub(crate) fn savepoint<T>(&self, job: impl FnOnce(&Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let opened = self.opened.get();
        self.prepare_cached("SAVEPOINT job")?.execute([])?;
        let result = job(self);
        if result.is_err() {
            self.prepare_cached("ROLLBACK TO job")?.execute([])?;
            self.opened.set(opened);
            self.untold.forget_all();
        }
        self.prepare_cached("RELEASE job")?.execute([])?;
        result
    }

    /// Writes what was counted.
    fn settle(&self) -> rusqlite::Result<()> {
        self.open.set(None);
        match self.opened.take() {
            0 => Ok(()),
            change => self
                .prepare_cached("UPDATE meta SET value = value + ?2 WHERE key = ?1")?
                .execute(params![OPEN_COMMANDS, change])
                .map(drop),
        }
    }
}

pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    pub(crate) fn start(session: Session) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = commits.clone();
        let builder = std::thread::Builder::new().name("store-writer".into());
        let thread = builder.spawn(move || run(&session, &receiver, &counter)).ok();
        Self { jobs: Some(sender), thread, commits }
    }

    /// Runs in the next transaction. A job that fails after it has changed something undoes that itself. What it works on
    /// comes back with the answer: it is freed by whoever asked, for this thread is everybody's.
    pub(crate) fn submit<D: Send + 'static, T: Send + 'static>(
        &self,
        data: D,
        job: impl FnOnce(&Session, &D) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<oneshot::Receiver<(StoreResult<T>, D)>> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            let result = job(session, &data);
            Box::new(move |committed| {
                let answer = match (result, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Ok(_), Err(error)) => Err(error.clone()),
                    (Err(error), _) => Err(store_error(&error)),
                };
                // Whoever asked may have gone.
                let _ = sender.send((answer, data));
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

fn run(session: &Session, jobs: &Receiver<Job>, commits: &AtomicU64) {
    loop {
        match jobs.recv_timeout(IDLE) {
            Ok(first) => {
                let group =
                    std::iter::once(first).chain(std::iter::from_fn(|| jobs.try_recv().ok())).take(GROUP);
                commit(session, group, commits);
            }
            Err(RecvTimeoutError::Timeout) => give_back(session),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn commit(session: &Session, group: impl Iterator<Item = Job>, commits: &AtomicU64) {
    let run = |statement| session.prepare_cached(statement)?.execute([]).map(drop);
    let begun = run("BEGIN IMMEDIATE");
    if begun.is_err() || session.untold.look_around(session).is_err() {
        session.untold.forget_all();
    }
    let mut lost = false;
    let finishes: Vec<Finish> = group
        .map(|job| {
            let finish = job(session);
            // As SQLite does when there is no room: what comes after it must not be stored either.
            if begun.is_ok() && session.is_autocommit() {
                lost = true;
                session.sorting.undo();
                // Without one the jobs are stored one by one, and whoever asked for them asks again.
                let _ = run("BEGIN IMMEDIATE");
            }
            finish
        })
        .collect();
    let committed = if lost {
        session.open.set(None);
        session.opened.set(0);
        Err(StoreError::Unavailable("a job had to be undone together with its transaction".into()))
    } else {
        begun.and(session.settle()).and_then(|()| run("COMMIT")).map_err(|error| store_error(&error))
    };
    match &committed {
        Ok(()) => {
            session.sorting.committed();
            commits.fetch_add(1, Relaxed);
        }
        Err(error) => {
            session.sorting.undo();
            tracing::error!(%error, "a transaction failed");
            session.untold.forget_all();
            // Fails when there is none to roll back, which is as good.
            let _ = run("ROLLBACK");
        }
    }
    for finish in finishes {
        finish(&committed);
    }
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
