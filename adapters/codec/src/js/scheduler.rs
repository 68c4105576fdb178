//! Whose call runs next on which thread: one queue per script, in turns, bounded. Not here: running a call
//! ([`super::host`]), noticing that one hangs ([`super::watchdog`]).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::answer::Answer;
use super::error::{Fault, ScriptError};
use super::input::CallInput;
use super::script::{Entry, Function, Inner, Shape};

/// A thread that is late at so many looks in a row hangs.
const LOOKS: u32 = 3;
const NO_THREAD: &str = "no thread of the script host is left";

pub(super) type Reply = oneshot::Sender<Result<Done, ScriptError>>;

/// What a thread is asked to do.
pub(super) enum Work {
    /// Find out whether the script is good, and what it has.
    Check,
    /// Call one of its functions.
    Call { shape: Shape, entry: Entry, function: Function, input: Box<CallInput> },
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Checked(Shape),
    Answered(Answer),
}

pub(super) struct Job {
    pub(super) script: Arc<Inner>,
    pub(super) work: Work,
    pub(super) reply: Reply,
}

/// The part of the host that its threads share.
pub(super) struct Scheduler {
    state: Mutex<State>,
    work: Condvar,
    watch: Condvar,
    /// Copies of what the lock guards, for looking before locking.
    ready: AtomicUsize,
    stopped: AtomicBool,
    limits: Limits,
}

/// Bounds of the scheduler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Calls waiting in all.
    pub(super) queue: usize,
    /// Calls waiting of one script.
    pub(super) queue_per_script: usize,
    pub(super) workers: usize,
    pub(super) abandoned: usize,
    /// How long a script may take to be loaded, before its deadline counts.
    pub(super) loading: Duration,
    /// How long a thread without work looks for some before it sleeps.
    pub(super) spin: Duration,
}

#[derive(Default)]
struct State {
    queues: HashMap<u64, Queue>,
    /// Scripts that have work and do not run.
    ready: VecDeque<u64>,
    queued: usize,
    asleep: usize,
    /// Threads that take work.
    workers: usize,
    /// Threads that hang in a call.
    abandoned: usize,
    running: HashMap<u64, Running>,
    watching: bool,
    stop: bool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: bool,
}

struct Running {
    script: Arc<Inner>,
    reply: Reply,
    patience: Arc<Patience>,
    /// How often the watchdog found it late.
    late: u32,
}

/// Until when a thread may be busy with its call; moved by the thread itself.
pub(super) struct Patience(Mutex<Instant>);

/// What the watchdog is to do.
pub(super) enum Watch {
    /// These threads hang; each was taken out, and this many are to take their place.
    Abandoned {
        replace: usize,
        scripts: Vec<Arc<Inner>>,
    },
    Stop,
}

impl Patience {
    pub(super) fn new(time: Duration) -> Self {
        Self(Mutex::new(Instant::now() + time))
    }

    pub(super) fn set(&self, time: Duration) {
        *lock(&self.0) = Instant::now() + time;
    }
}

impl Scheduler {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State { workers: limits.workers, ..State::default() }),
            work: Condvar::new(),
            watch: Condvar::new(),
            ready: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            limits,
        }
    }

    /// Takes a job, or answers at once why not.
    pub(super) fn submit(&self, job: Job) {
        let mut state = lock(&self.state);
        let refusal = if state.workers == 0 || state.stop {
            Some(NO_THREAD)
        } else if state.queued >= self.limits.queue {
            Some("too many calls of scripts are waiting")
        } else if state
            .queues
            .get(&job.script.id)
            .is_some_and(|q| q.jobs.len() >= self.limits.queue_per_script)
        {
            Some("too many calls of this script are waiting")
        } else {
            None
        };
        if let Some(message) = refusal {
            drop(state);
            let _ = job.reply.send(Err(busy(&job.script, message)));
            return;
        }
        let id = job.script.id;
        let queue = state.queues.entry(id).or_default();
        queue.jobs.push_back(job);
        let ready = !queue.running && queue.jobs.len() == 1;
        state.queued += 1;
        if ready {
            state.ready.push_back(id);
            self.ready.store(state.ready.len(), Ordering::Release);
            let wake = state.asleep > 0;
            drop(state);
            if wake {
                self.work.notify_one();
            }
        }
    }

    /// The next job for this thread, whose reply stays here. None when the host stops.
    pub(super) fn next(&self, worker: u64, patience: &Arc<Patience>) -> Option<(Arc<Inner>, Work)> {
        self.look_for_work();
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return None;
            }
            if let Some(job) = state.pop() {
                self.ready.store(state.ready.len(), Ordering::Release);
                if job.reply.is_canceled() {
                    state.done_with(job.script.id);
                    continue;
                }
                patience.set(self.limits.loading);
                let running = Running {
                    script: Arc::clone(&job.script),
                    reply: job.reply,
                    patience: Arc::clone(patience),
                    late: 0,
                };
                state.running.insert(worker, running);
                if !state.watching {
                    state.watching = true;
                    self.watch.notify_one();
                }
                return Some((job.script, job.work));
            }
            state.asleep += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
    }

    /// Answers the job of this thread. False when the thread was given up and is not to go on.
    pub(super) fn finish(&self, worker: u64, result: Result<Done, ScriptError>) -> bool {
        let mut state = lock(&self.state);
        let Some(Running { script, reply, .. }) = state.running.remove(&worker) else {
            // It came back after all. Its place may still be free.
            state.abandoned -= 1;
            let needed = state.workers < self.limits.workers && !state.stop;
            state.workers += usize::from(needed);
            return needed;
        };
        state.done_with(script.id);
        self.ready.store(state.ready.len(), Ordering::Release);
        drop(state);
        // First, so that with the answer the caller has the last of the script.
        drop(script);
        let _ = reply.send(result);
        true
    }

    /// Waits until a call hangs: it was late at several looks in a row. One look may be the first after the whole
    /// process or machine stood still. Sleeps without a timeout while nothing runs.
    pub(super) fn watch(&self, pace: Duration) -> Watch {
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return Watch::Stop;
            }
            if state.running.is_empty() {
                state.watching = false;
                state = self.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (woken, timeout) =
                self.watch.wait_timeout(state, pace).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() {
                let hanging = state.look(Instant::now());
                if !hanging.is_empty() {
                    return self.abandon(state, &hanging);
                }
            }
        }
    }

    fn abandon(&self, mut state: MutexGuard<'_, State>, hanging: &[u64]) -> Watch {
        let (mut replies, mut scripts, mut replace) = (Vec::new(), Vec::new(), 0);
        for worker in hanging {
            let Some(running) = state.running.remove(worker) else { continue };
            running.script.refused.store(true, Ordering::Release);
            let waiting = state.queues.remove(&running.script.id).unwrap_or_default().jobs;
            state.queued -= waiting.len();
            replies.extend(
                waiting
                    .into_iter()
                    .map(|job| job.reply)
                    .chain([running.reply])
                    .map(|reply| (reply, hung(&running.script))),
            );
            scripts.push(running.script);
            state.abandoned += 1;
            if state.abandoned <= self.limits.abandoned {
                replace += 1;
            } else {
                state.workers -= 1;
            }
        }
        if state.workers == 0 {
            replies.extend(state.drain(NO_THREAD));
        }
        self.ready.store(state.ready.len(), Ordering::Release);
        drop(state);
        for (reply, error) in replies {
            let _ = reply.send(Err(error));
        }
        Watch::Abandoned { replace, scripts }
    }

    /// A thread could not be started.
    pub(super) fn lose_worker(&self) {
        let mut state = lock(&self.state);
        state.workers -= 1;
        let replies = if state.workers == 0 { state.drain(NO_THREAD) } else { Vec::new() };
        drop(state);
        for (reply, error) in replies {
            let _ = reply.send(Err(error));
        }
    }

    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stop = true;
        let replies = state.drain("the script host stops");
        drop(state);
        self.stopped.store(true, Ordering::Release);
        self.work.notify_all();
        self.watch.notify_all();
        for (reply, error) in replies {
            let _ = reply.send(Err(error));
        }
    }

    /// Threads at work, threads left behind, calls that wait.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let state = lock(&self.state);
        (state.workers, state.abandoned, state.queued)
    }

    fn look_for_work(&self) {
        let start = Instant::now();
        while self.ready.load(Ordering::Acquire) == 0
            && !self.stopped.load(Ordering::Acquire)
            && start.elapsed() < self.limits.spin
        {
            std::hint::spin_loop();
        }
    }
}

impl State {
    /// The threads that were late often enough.
    fn look(&mut self, now: Instant) -> Vec<u64> {
        for running in self.running.values_mut() {
            running.late = if *lock(&running.patience.0) <= now { running.late + 1 } else { 0 };
        }
        let hanging = self.running.iter().filter(|(_, running)| running.late >= LOOKS);
        hanging.map(|(worker, _)| *worker).collect()
    }

    fn pop(&mut self) -> Option<Job> {
        let id = self.ready.pop_front()?;
        let queue = self.queues.get_mut(&id)?;
        let job = queue.jobs.pop_front()?;
        queue.running = true;
        self.queued -= 1;
        Some(job)
    }

    /// The script's next call queues behind those of the others.
    fn done_with(&mut self, id: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.running = false;
        if queue.jobs.is_empty() {
            self.queues.remove(&id);
        } else {
            self.ready.push_back(id);
        }
    }

    fn drain(&mut self, message: &str) -> Vec<(Reply, ScriptError)> {
        self.ready.clear();
        self.queued = 0;
        let jobs = self.queues.values_mut().flat_map(|queue| queue.jobs.drain(..));
        jobs.map(|job| (job.reply, busy(&job.script, message))).collect()
    }
}

/// The lock's data stays whole when a thread dies: every change is made in one go.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// None while another thread has it.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn busy(script: &Inner, message: &str) -> ScriptError {
    ScriptError::HostBusy(Fault::new(&script.name, message))
}

/// The error of a script that hung.
pub(super) fn hung(script: &Inner) -> ScriptError {
    ScriptError::Abandoned(Fault::new(
        &script.name,
        "hung where it cannot be stopped; it is refused until a restart",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_stood_still_is_not_a_script_that_hangs() {
        let patience = Arc::new(Patience::new(Duration::from_secs(1)));
        let (reply, _receiver) = oneshot::channel();
        let script = Arc::new(Inner::new(1, "farm.js", ""));
        let mut state = State::default();
        state.running.insert(7, Running { script, reply, patience: Arc::clone(&patience), late: 0 });
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(state.look(start).is_empty());
        // An hour in a freezer: late, and late again, but then the next call has begun.
        assert!(state.look(at(3600)).is_empty());
        assert!(state.look(at(3601)).is_empty());
        patience.set(Duration::from_secs(4000));
        assert!(state.look(at(3602)).is_empty());
        for look in [4001, 4002] {
            assert!(state.look(at(look)).is_empty());
        }
        assert_eq!(state.look(at(4003)), [7]);
    }
}
