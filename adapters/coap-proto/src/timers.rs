//! What is due when: tasks by time, each removable. Not here: a clock.

use std::collections::BTreeMap;
use std::time::Instant;

/// Names a scheduled task.
pub(crate) type TimerKey = (Instant, u64);

#[derive(Debug)]
pub(crate) struct Timers<T> {
    due: BTreeMap<TimerKey, T>,
    next: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers { due: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn schedule(&mut self, at: Instant, task: T) -> TimerKey {
        let key = (at, self.next);
        self.next += 1;
        self.due.insert(key, task);
        key
    }

    pub(crate) fn cancel(&mut self, key: Option<TimerKey>) {
        if let Some(key) = key {
            self.due.remove(&key);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The oldest task that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }
}
