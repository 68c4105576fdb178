//! The host of all scripts: compiling, calling, keeping engines for the next call. Not here: threads
//! ([`super::watchdog`]) and turns ([`super::scheduler`]).

use std::mem::ManuallyDrop;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::answer::Answer;
use super::error::{Fault, ScriptError};
use super::input::CallInput;
use super::realm::{self, Place, Realm};
use super::scheduler::{self, Done, Job, Patience, Scheduler, Work, hung, lock};
use super::script::{Entry, Function, Inner, Script, Shape};
use super::watchdog;

const SOURCE_LIMIT: usize = 256 * 1024;
/// A call may take so many deadlines before its thread is left behind.
const PATIENCE: u32 = 10;
/// The deadline on a caller's thread, where a call that is thrown out is made again.
const HERE: Duration = Duration::from_millis(2);
/// Loading is the host's own work and a parser's; milliseconds, where nobody else computes.
const LOADING: Duration = Duration::from_secs(2);
/// Shorter than two wake-ups of a thread, longer than a usual call.
const SPIN: Duration = Duration::from_micros(25);

/// Bounds of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostConfig {
    /// Threads that run scripts.
    pub workers: usize,
    /// For one call, by the clock on the wall.
    pub deadline: Duration,
    /// Heap of one script's engine, in bytes. An engine takes 190 kB of it by itself.
    pub heap_bytes: usize,
    /// Engines that are kept between calls, at some 400 kB each. A script has one, or one for each thread when it is
    /// called by many at a time. One that finds none is loaded again (4 ms).
    pub loaded: usize,
    /// Calls that may wait, per thread; half of them of one script.
    pub queue: usize,
    /// Threads that may hang at the same time before they are no longer replaced.
    pub abandoned: usize,
    /// Scripts that were quick for a while run on the thread of their caller. Not for scripts of authors who may want
    /// to do harm: see the limits of it in [`crate::js`].
    pub inline: bool,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            workers: parallelism().min(4),
            deadline: Duration::from_millis(20),
            heap_bytes: 8 * 1024 * 1024,
            loaded: 256,
            queue: 256,
            abandoned: 8,
            inline: true,
        }
    }
}

/// How the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Threads that take work.
    pub workers: usize,
    /// Threads that hang in a script.
    pub abandoned: usize,
    /// Calls that wait.
    pub queued: usize,
    /// Engines that are kept.
    pub loaded: usize,
}

/// Runs scripts on threads of its own. Dropping it ends them after their call; what waits is answered with
/// [`ScriptError::HostBusy`].
#[derive(Debug)]
pub struct JsHost(Arc<Shared>);

/// What the threads of the host share.
pub(super) struct Shared {
    pub(super) scheduler: Scheduler,
    pub(super) config: HostConfig,
    /// Name and source of scripts that hung.
    refused: Mutex<Vec<Arc<Inner>>>,
    loaded: Mutex<Vec<Weak<Inner>>>,
    ids: AtomicU64,
    calls: AtomicU64,
    pub(super) spin: Duration,
}

impl JsHost {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system's, when it has no thread to give.
    pub fn new(config: HostConfig) -> std::io::Result<Self> {
        let workers = config.workers.max(1);
        let spin = if parallelism() > 1 { SPIN } else { Duration::ZERO };
        let queue = config.queue.max(2) * workers;
        let scheduler = Scheduler::new(scheduler::Limits {
            queue,
            queue_per_script: queue / 2,
            workers,
            abandoned: config.abandoned,
            loading: LOADING + config.deadline * PATIENCE,
            spin,
        });
        let host = Self(Arc::new(Shared {
            scheduler,
            config,
            refused: Mutex::default(),
            loaded: Mutex::default(),
            ids: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            spin,
        }));
        watchdog::start_watchdog(&host.0)?;
        for _ in 0..workers {
            watchdog::start_worker(&host.0)?;
        }
        Ok(host)
    }

    /// Parses a script and runs its top level once. Keep the result: the engine is kept with it.
    ///
    /// # Errors
    /// Whatever is wrong with the script, or [`ScriptError::HostBusy`].
    pub fn compile(&self, name: &str, source: &str) -> Result<Script, ScriptError> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        if source.len() > SOURCE_LIMIT {
            let message = format!("the source is larger than {} KiB", SOURCE_LIMIT / 1024);
            return Err(ScriptError::Syntax(Fault::new(name, message)));
        }
        let inner = Arc::new(Inner::new(self.0.ids.fetch_add(1, Ordering::Relaxed), name, source));
        if lock(&self.0.refused)
            .iter()
            .any(|script| script.name == inner.name && script.source == inner.source)
        {
            return Err(hung(&inner));
        }
        match self.0.wait(self.0.submit(&inner, Work::Check)) {
            Some(Ok(Done::Checked(shape))) => Ok(Script { inner, shape }),
            Some(Err(error)) => Err(error),
            Some(Ok(Done::Answered(_))) | None => Err(gone(&inner)),
        }
    }

    /// Calls a function of a script now and here, when the script has earned it. None when it has to be asked for by
    /// [`call`](Self::call), also for a call that was begun here and needs more than it is given: nothing of it is left.
    ///
    /// # Errors
    /// See [`ScriptError`]; it costs other scripts nothing.
    pub fn call_here(
        &self,
        script: &Script,
        function: Function,
        input: &CallInput,
    ) -> Option<Result<Answer, ScriptError>> {
        match self.0.admit(script, function) {
            Ok(entry) => self.0.call_here(script, entry, function, input),
            Err(error) => Some(Err(error)),
        }
    }

    /// Calls a function of a script: now and here when the script has earned it, else on a thread of the host. Dropping
    /// the future before a call there has begun takes it back.
    ///
    /// # Errors
    /// See [`ScriptError`]; it costs other scripts nothing.
    pub fn call(
        &self,
        script: &Script,
        function: Function,
        input: CallInput,
    ) -> impl Future<Output = Result<Answer, ScriptError>> + Send + use<> {
        let asked = self.0.ask(script, function, input);
        let inner = Arc::clone(&script.inner);
        async move {
            match asked? {
                Asked::Answered(answer) => Ok(answer),
                Asked::Waiting(reply) => answer(&inner, reply.await.ok()),
            }
        }
    }

    /// The same, on a thread that may wait.
    ///
    /// # Errors
    /// See [`ScriptError`].
    pub fn call_blocking(
        &self,
        script: &Script,
        function: Function,
        input: CallInput,
    ) -> Result<Answer, ScriptError> {
        match self.0.ask(script, function, input)? {
            Asked::Answered(answer) => Ok(answer),
            Asked::Waiting(reply) => answer(&script.inner, self.0.wait(reply)),
        }
    }

    /// How the host is now.
    pub fn stats(&self) -> Stats {
        let (workers, abandoned, queued) = self.0.scheduler.counts();
        let loaded =
            lock(&self.0.loaded).iter().filter_map(Weak::upgrade).map(|script| script.engines.count()).sum();
        Stats { workers, abandoned, queued, loaded }
    }
}

impl Drop for JsHost {
    fn drop(&mut self) {
        self.0.scheduler.stop();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

type Receiver = oneshot::Receiver<Result<Done, ScriptError>>;

/// How far a call has come.
enum Asked {
    Answered(Answer),
    Waiting(Receiver),
}

impl Shared {
    /// Does one job, on a thread of the host.
    pub(super) fn run(
        &self,
        script: &Arc<Inner>,
        work: Work,
        patience: &Patience,
    ) -> Result<Done, ScriptError> {
        match work {
            Work::Check => realm::check(script, self.limits()).map(Done::Checked),
            Work::Call { shape, entry, function, input } => {
                let mut engine = script.engines.take_turn(self.config.workers);
                let realm = match engine.take() {
                    Some(realm) => realm,
                    None => self.load(script, shape)?,
                };
                // Not dropped when the engine's wrapper panics, as it may panic again.
                let mut realm = ManuallyDrop::new(realm);
                patience.set(self.patience());
                let called = realm.call(script, entry, function, &input, Place::Worker);
                let realm = ManuallyDrop::into_inner(realm);
                if called.keep {
                    *engine = Some(realm);
                }
                script.standing.record(called.took, called.light);
                called.answer.map(Done::Answered)
            }
        }
    }

    /// How long a call may hang.
    pub(super) fn patience(&self) -> Duration {
        self.config.deadline * PATIENCE
    }

    pub(super) fn next_worker(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Remembers scripts that hung, for when they are compiled again.
    pub(super) fn refuse(&self, scripts: Vec<Arc<Inner>>) {
        lock(&self.refused).extend(scripts);
    }

    fn ask(&self, script: &Script, function: Function, input: CallInput) -> Result<Asked, ScriptError> {
        let entry = self.admit(script, function)?;
        match self.call_here(script, entry, function, &input) {
            Some(answer) => answer.map(Asked::Answered),
            None => {
                Ok(Asked::Waiting(self.submit(&script.inner, call(script.shape, entry, function, input))))
            }
        }
    }

    /// The function, when the script has it and may run.
    fn admit(&self, script: &Script, function: Function) -> Result<Entry, ScriptError> {
        let inner = &script.inner;
        let Some(entry) = script.shape.entries[function as usize] else {
            return Err(missing(inner, function));
        };
        if inner.refused.load(Ordering::Acquire) {
            return Err(hung(inner));
        }
        inner.used.store(self.calls.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok(entry)
    }

    fn submit(&self, script: &Arc<Inner>, work: Work) -> Receiver {
        let (reply, receiver) = oneshot::channel();
        self.scheduler.submit(Job { script: Arc::clone(script), work, reply });
        receiver
    }

    fn load(&self, script: &Arc<Inner>, shape: Shape) -> Result<Realm, ScriptError> {
        let realm = Realm::load(script, shape, self.limits())?;
        let mut loaded = lock(&self.loaded);
        loaded.retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(script)));
        loaded.push(Arc::downgrade(script));
        let mut scripts: Vec<Arc<Inner>> = loaded.iter().filter_map(Weak::upgrade).collect();
        // This one's place is locked, so it counts.
        let mut engines: usize = scripts.iter().map(|script| script.engines.count()).sum();
        scripts.retain(|other| other.id != script.id);
        scripts.sort_by_key(|other| other.used.load(Ordering::Relaxed));
        let mut evicted = Vec::new();
        for oldest in scripts {
            if engines <= self.config.loaded.max(1) {
                break;
            }
            engines -= oldest.engines.count();
            loaded.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&oldest)));
            evicted.push(oldest);
        }
        drop(loaded);
        // One that runs at this moment keeps its engine: one too many for as long as it is used.
        evicted.iter().for_each(|oldest| oldest.engines.drop_idle());
        Ok(realm)
    }

    fn limits(&self) -> realm::Limits {
        let deadline = self.config.deadline;
        realm::Limits { heap_bytes: self.config.heap_bytes, deadline, deadline_here: deadline.min(HERE) }
    }

    /// Looks for a moment, as most calls are shorter than going to sleep; then sleeps.
    fn wait(&self, mut reply: Receiver) -> Option<Result<Done, ScriptError>> {
        let start = Instant::now();
        while start.elapsed() < self.spin {
            match reply.try_recv() {
                Ok(Some(result)) => return Some(result),
                Ok(None) => std::hint::spin_loop(),
                Err(oneshot::Canceled) => return None,
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut reply = pin!(reply);
        loop {
            match reply.as_mut().poll(&mut context) {
                Poll::Ready(result) => return result.ok(),
                Poll::Pending => thread::park(),
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn call(shape: Shape, entry: Entry, function: Function, input: CallInput) -> Work {
    Work::Call { shape, entry, function, input: Box::new(input) }
}

fn answer(script: &Inner, reply: Option<Result<Done, ScriptError>>) -> Result<Answer, ScriptError> {
    match reply {
        Some(Ok(Done::Answered(answer))) => Ok(answer),
        Some(Err(error)) => Err(error),
        Some(Ok(Done::Checked(_))) | None => Err(gone(script)),
    }
}

fn missing(script: &Inner, function: Function) -> ScriptError {
    ScriptError::Missing(Fault::new(&script.name, format!("has no function {}", function.name())))
}

fn gone(script: &Inner) -> ScriptError {
    ScriptError::HostBusy(Fault::new(&script.name, "the script host stopped"))
}

fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
