//! Codecs on trial: they decode what the live ones have decoded, on a thread of their own, and only what they make
//! otherwise is kept. However slow one is, no message waits for it. Not here: which codec is on trial ([`crate::set`]).

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};

use bridge_core::payload::Outcome;
use bridge_core::{DeviceId, Timestamp};

use crate::codec::{Codec, Context};
use crate::outcome::Input;

/// What a codec on trial made otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// When.
    pub at: Timestamp,
    /// The codec that counts.
    pub live: String,
    /// The one on trial.
    pub trial: String,
    /// Whose payload.
    pub device: DeviceId,
    /// The payload and its port.
    pub bytes: Vec<u8>,
    /// See `bytes`.
    pub port: Option<u8>,
    /// What went on.
    pub from_live: Outcome,
    /// What would have.
    pub from_trial: Outcome,
}

/// How a trial goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrialCount {
    /// Payloads that both codecs decoded.
    pub payloads: u64,
    /// Those of which they made different things.
    pub different: u64,
    /// Payloads that the trial did not see: it could not keep up.
    pub skipped: u64,
}

/// Something that the live codec has decoded.
pub(crate) struct Trial {
    pub(crate) live: Arc<Codec>,
    pub(crate) trial: Arc<Codec>,
    pub(crate) device: DeviceId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) port: Option<u8>,
    pub(crate) received_at: Timestamp,
    pub(crate) context: Context,
    pub(crate) outcome: Outcome,
}

/// Runs trials. The thread begins with the first one and ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    state: Arc<Mutex<State>>,
    queue: OnceLock<Option<(SyncSender<Trial>, JoinHandle<()>)>>,
}

#[derive(Debug, Default)]
struct State {
    /// Newest last.
    differences: VecDeque<Difference>,
    /// By the name of the codec on trial.
    counts: BTreeMap<String, TrialCount>,
}

/// Differences that are kept.
const MOST_DIFFERENCES: usize = 100;
/// Payloads that wait for their trial.
const MOST_WAITING: usize = 256;

impl Trials {
    /// Has a trial run soon; never waits.
    pub(crate) fn put(&self, trial: Trial) {
        let queue = self.queue.get_or_init(|| {
            let (sender, receiver) = sync_channel(MOST_WAITING);
            let state = self.state.clone();
            let thread = std::thread::Builder::new().name("codec-trials".into());
            Some((sender, thread.spawn(move || run(&receiver, &state)).ok()?))
        });
        let name = trial.trial.name().to_owned();
        let taken = queue.as_ref().is_some_and(|(queue, _)| queue.try_send(trial).is_ok());
        if !taken {
            lock(&self.state).counts.entry(name).or_default().skipped += 1;
        }
    }

    /// The last differences, oldest first.
    pub(crate) fn differences(&self) -> Vec<Difference> {
        lock(&self.state).differences.iter().cloned().collect()
    }

    /// By the name of the codec on trial.
    pub(crate) fn counts(&self) -> BTreeMap<String, TrialCount> {
        lock(&self.state).counts.clone()
    }

    /// Counts from the beginning.
    pub(crate) fn restart(&self) {
        lock(&self.state).counts.clear();
    }

    /// Waits for everything that was put.
    #[cfg(test)]
    pub(crate) fn finish(&mut self) {
        if let Some(Some((sender, thread))) = self.queue.take() {
            drop(sender);
            thread.join().unwrap();
        }
    }
}

fn run(queue: &Receiver<Trial>, state: &Mutex<State>) {
    for trial in queue {
        let Trial { live, trial, device, bytes, port, received_at, context, outcome } = trial;
        let input = Input { bytes: &bytes, port, received_at };
        let other = wait_for(trial.decode(&input, context));
        let differ = outcome.samples != other.samples || outcome.errors != other.errors;
        let mut state = lock(state);
        let count = state.counts.entry(trial.name().to_owned()).or_default();
        count.payloads += 1;
        count.different += u64::from(differ);
        if !differ {
            continue;
        }
        if state.differences.len() >= MOST_DIFFERENCES {
            state.differences.pop_front();
        }
        state.differences.push_back(Difference {
            at: received_at,
            live: live.name().to_owned(),
            trial: trial.name().to_owned(),
            device,
            bytes,
            port,
            from_live: outcome,
            from_trial: other,
        });
    }
}

/// Brings a future to its end on this thread.
fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

/// Locks, also after a panic elsewhere: the state is whole between any two statements that may panic.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
