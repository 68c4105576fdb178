//! Writes accepted uplinks behind, and lets go of the old ones. Not here: which uplinks (`pipeline`), the place
//! ([`crate::ports::Archive`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::ports::{Archive, Archived, Clock, StoreResult};
use crate::signal::{Signal, lock, write_behind};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// For how long.
    pub keep: Duration,
    /// How many uplinks at most; the oldest go first.
    pub most: u64,
}

/// Keeps accepted uplinks.
pub struct Archivist {
    config: ArchiveConfig,
    store: Arc<dyn Archive>,
    clock: Arc<dyn Clock>,
    unwritten: Mutex<VecDeque<Archived>>,
    noted: Signal,
}

/// How long uplinks gather before they are written.
const WRITE_BEHIND: Duration = Duration::from_millis(200);
/// Uplinks that may wait while the store fails; beyond it the oldest are not archived.
const MAX_UNWRITTEN: usize = 10_000;
/// Uplinks that are written together.
const BATCH: usize = 1000;

impl Archivist {
    /// An archivist of this store.
    pub fn new(config: ArchiveConfig, store: Arc<dyn Archive>, clock: Arc<dyn Clock>) -> Self {
        Self { config, store, clock, unwritten: Mutex::default(), noted: Signal::default() }
    }

    /// The store behind it. What was noted a moment ago may not be there yet.
    pub fn store(&self) -> &dyn Archive {
        &*self.store
    }

    /// Keeps an uplink.
    pub fn note(&self, uplink: Archived) {
        let mut unwritten = lock(&self.unwritten);
        if unwritten.len() >= MAX_UNWRITTEN {
            unwritten.pop_front();
        }
        unwritten.push_back(uplink);
        drop(unwritten);
        self.noted.notify();
    }

    /// Writes behind, for ever. Run it as one task.
    pub async fn run(&self) {
        write_behind(&self.noted, &*self.clock, WRITE_BEHIND, || Box::pin(self.flush())).await;
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// When the store failed; what was not written stays.
    pub async fn flush(&self) -> StoreResult<()> {
        loop {
            let batch: Vec<Archived> = {
                let mut unwritten = lock(&self.unwritten);
                let count = unwritten.len().min(BATCH);
                unwritten.drain(..count).collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.store.keep(&batch).await {
                let mut unwritten = lock(&self.unwritten);
                batch.into_iter().rev().for_each(|uplink| unwritten.push_front(uplink));
                let excess = unwritten.len().saturating_sub(MAX_UNWRITTEN);
                unwritten.drain(..excess);
                return Err(error);
            }
        }
    }

    /// Lets go of what is too old or too much; how many.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn discard_old(&self) -> StoreResult<u64> {
        self.store.discard(self.clock.wall().minus(self.config.keep), self.config.most).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeviceId;
    use crate::ports::ArchiveFilter;
    use crate::testing::{ManualClock, MemoryStore, block_on};
    use crate::time::Timestamp;

    fn uplink(device: &str, at: Timestamp) -> Archived {
        Archived { device: DeviceId::parse(device).unwrap(), at, record: vec![1] }
    }

    #[test]
    fn uplinks_are_kept_for_a_while() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::default()));
        let config = ArchiveConfig { keep: Duration::from_secs(60), most: 2 };
        let archivist = Archivist::new(config, store.clone(), clock.clone());
        let start = clock.wall();
        ["a", "b", "c"].iter().for_each(|device| archivist.note(uplink(device, start)));
        let all = ArchiveFilter { device: None, from: start, to: start.plus(Duration::from_hours(1)) };
        assert!(block_on(store.uplinks(&all, 0, 9)).unwrap().is_empty());
        block_on(archivist.flush()).unwrap();
        assert_eq!(block_on(store.uplinks(&all, 0, 9)).unwrap().len(), 3);
        assert_eq!(block_on(archivist.discard_old()), Ok(1));
        clock.advance(Duration::from_secs(61));
        archivist.note(uplink("d", clock.wall()));
        block_on(archivist.flush()).unwrap();
        assert_eq!(block_on(archivist.discard_old()), Ok(2));
        let left = block_on(archivist.store().uplinks(&all, 0, 9)).unwrap();
        assert_eq!(left.iter().map(|(_, uplink)| uplink.device.as_str()).collect::<Vec<_>>(), ["d"]);
    }
}
