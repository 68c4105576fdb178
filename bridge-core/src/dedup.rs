//! One uplink becomes one message: recognises what was accepted before, and lets a copy that arrives while the first
//! is still under way wait for it. Not here: the memory over a restart ([`crate::ports::Dedup`]).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;

use crate::id::MessageId;
use crate::ports::{Clock, Dedup, StoreResult};
use crate::signal::{Signal, lock, write_behind};
use crate::time::Timestamp;

/// The settings of a deduplicator.
#[derive(Debug, Clone, Copy)]
pub struct DedupConfig {
    /// How long an accepted uplink is remembered. At least 75 minutes covers the longest retry schedule known (72).
    pub window: Duration,
    /// How many ids are kept in memory; beyond it the store is asked.
    pub max_in_memory: usize,
}

impl DedupConfig {
    /// So many of the newest ids are in memory whenever as many were accepted: the store is not asked for them.
    pub fn newest_in_memory(&self) -> usize {
        (self.max_in_memory / GENERATIONS).max(1)
    }
}

/// What a message id is, at this moment.
#[derive(Debug)]
pub enum Claim {
    /// Not seen before; the caller has it now and must [`settle`](Deduplicator::settle) it.
    New,
    /// Accepted before.
    Duplicate,
    /// Under way; the answer is whether it was accepted in the end.
    UnderWay(oneshot::Receiver<bool>),
}

/// Recognises duplicates.
pub struct Deduplicator {
    config: DedupConfig,
    store: Arc<dyn Dedup>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    noted: Signal,
    /// Others remember ids in the store, too.
    shared: bool,
}

struct State {
    under_way: HashMap<MessageId, Vec<oneshot::Sender<bool>>, IdHash>,
    /// Newest generation first; each with the time from which on it is complete.
    generations: VecDeque<(Timestamp, HashSet<Kept, IdHash>)>,
    /// Not yet in the store, or on the way there: the store cannot be asked for these.
    unwritten: HashMap<MessageId, Timestamp, IdHash>,
    /// The latest time of an id: clocks are set back.
    latest: Timestamp,
}

/// Ids are digests. Of each its first bytes are kept in memory, where there are most: that a new one is taken for one of half a million
/// others is to be expected once in 10^23 messages.
type Kept = [u8; 12];

fn kept(id: MessageId) -> Kept {
    let [kept @ .., _, _, _, _] = *id.as_bytes();
    kept
}

/// The next moment: more ids may have the time itself than are in memory.
fn after(time: Timestamp) -> Timestamp {
    time.plus(Duration::from_millis(1))
}

/// How long ids gather before they are written.
const WRITE_BEHIND: Duration = Duration::from_millis(100);
/// Ids that may wait to be written when the store fails; beyond it the newest are known in memory only.
const MAX_UNWRITTEN: usize = 1_000_000;
const GENERATIONS: usize = 2;

impl Deduplicator {
    /// Starts with what the store remembers.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(
        config: DedupConfig,
        store: Arc<dyn Dedup>,
        clock: Arc<dyn Clock>,
    ) -> StoreResult<Self> {
        let now = clock.wall();
        let per_generation = config.newest_in_memory();
        let since = now.minus(config.window);
        let ids = store.recent(since, per_generation).await?;
        // Fewer than asked for: these are all there are in the window. Else only from the oldest of them on.
        let complete_since = match ids.iter().map(|(_, at)| *at).min() {
            Some(oldest) if ids.len() >= per_generation => after(oldest),
            _ => since,
        };
        let latest = ids.iter().map(|(_, at)| *at).max().unwrap_or(since);
        let ids = ids.into_iter().map(|(id, _)| kept(id)).collect();
        let state = State {
            under_way: HashMap::default(),
            generations: [(complete_since, ids)].into(),
            unwritten: HashMap::default(),
            latest,
        };
        Ok(Self { config, store, clock, state: Mutex::new(state), noted: Signal::default(), shared: false })
    }

    /// One of several on a store: it asks the store about every id that it does not know, and reads nothing to start with.
    pub fn shared(config: DedupConfig, store: Arc<dyn Dedup>, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            under_way: HashMap::default(),
            generations: VecDeque::new(),
            unwritten: HashMap::default(),
            latest: Timestamp::EPOCH,
        };
        Self { config, store, clock, state: Mutex::new(state), noted: Signal::default(), shared: true }
    }

    /// Claims an id.
    ///
    /// # Errors
    /// When the store had to be asked and did not answer; the id is not claimed then.
    pub async fn claim(&self, id: MessageId) -> StoreResult<Claim> {
        let since = self.clock.wall().minus(self.config.window);
        let known_from;
        {
            let mut state = lock(&self.state);
            if state.generations.iter().any(|(_, ids)| ids.contains(&kept(id)))
                || state.unwritten.get(&id).is_some_and(|at| *at >= since)
            {
                return Ok(Claim::Duplicate);
            }
            if let Some(waiters) = state.under_way.get_mut(&id) {
                let (sender, receiver) = oneshot::channel();
                waiters.push(sender);
                return Ok(Claim::UnderWay(receiver));
            }
            state.under_way.insert(id, Vec::new());
            let complete = state.generations.back().filter(|_| !self.shared);
            known_from = complete.map(|(complete_since, _)| *complete_since);
            if known_from.is_some_and(|known_from| known_from <= since) {
                return Ok(Claim::New);
            }
        }
        match self.store.seen(id, since, known_from).await {
            Ok(false) => Ok(Claim::New),
            Ok(true) => {
                self.release(id, true);
                Ok(Claim::Duplicate)
            }
            Err(error) => {
                self.release(id, false);
                Err(error)
            }
        }
    }

    /// Ends a claim: an accepted id is remembered, any other may come again.
    pub fn settle(&self, id: MessageId, accepted: bool) {
        if accepted {
            self.remember(id);
        }
        self.release(id, accepted);
    }

    /// Remembers an id that nobody holds a claim on any more.
    pub fn remember(&self, id: MessageId) {
        let now = self.clock.wall();
        {
            let mut state = lock(&self.state);
            let per_generation = self.config.newest_in_memory();
            if state.generations.front().is_none_or(|(_, ids)| ids.len() >= per_generation) {
                state.generations.truncate(GENERATIONS - 1);
                // Ids of the one before have times up to the latest.
                let complete_since = after(state.latest.max(now));
                state.generations.push_front((complete_since, HashSet::default()));
            }
            state.latest = state.latest.max(now);
            if let Some((_, ids)) = state.generations.front_mut() {
                ids.insert(kept(id));
            }
            if state.unwritten.len() < MAX_UNWRITTEN {
                state.unwritten.insert(id, now);
            }
        }
        self.noted.notify();
    }

    /// Writes remembered ids behind, for ever. Run it as one task.
    pub async fn run(&self) {
        write_behind(&self.noted, &*self.clock, WRITE_BEHIND, || Box::pin(self.flush())).await;
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// When the store failed; nothing is forgotten then.
    pub async fn flush(&self) -> StoreResult<()> {
        let batch: Vec<(MessageId, Timestamp)> =
            lock(&self.state).unwritten.iter().map(|(id, at)| (*id, *at)).collect();
        if batch.is_empty() {
            return Ok(());
        }
        self.store.remember(&batch).await?;
        let unwritten = &mut lock(&self.state).unwritten;
        for (id, at) in batch {
            // Not what was remembered once more meanwhile.
            if unwritten.get(&id) == Some(&at) {
                unwritten.remove(&id);
            }
        }
        Ok(())
    }

    /// Forgets what is older than the window, in the store.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn forget_old(&self) -> StoreResult<()> {
        self.store.forget(self.clock.wall().minus(self.config.window)).await
    }

    fn release(&self, id: MessageId, accepted: bool) {
        let waiters = lock(&self.state).under_way.remove(&id).unwrap_or_default();
        for waiter in waiters {
            // A receiver that is gone does not want to know.
            let _ = waiter.send(accepted);
        }
    }
}

/// Message ids are digests already: their first bytes are the hash.
type IdHash = BuildHasherDefault<FirstBytes>;

/// See [`IdHash`].
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::testing::contract::message_id;
    use crate::testing::{Fault, Faulty, ManualClock, MemoryStore, block_on, poll_once};

    #[test]
    fn a_flush_writes_what_another_one_may_not_have_written() {
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let config = DedupConfig { window: Duration::from_secs(600), max_in_memory: 100 };
        let dedup =
            block_on(Deduplicator::open(config, store.clone(), Arc::new(ManualClock::default()))).unwrap();
        dedup.remember(message_id(1));
        store.set(Fault::Held);
        let mut first = pin!(dedup.flush());
        assert!(poll_once(&mut first).is_none());
        // The last one before the end must not say that all is written.
        let mut last = pin!(dedup.flush());
        assert!(poll_once(&mut last).is_none());
        store.set(Fault::None);
        block_on(last).unwrap();
    }
}
