//! The deadline of a call, as the engine's interrupt handler sees it. Not here: what becomes of a call that it strikes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Armed while a call runs.
pub(super) struct Clock {
    start: Instant,
    /// Both in microseconds after `start`.
    armed: AtomicU64,
    until: AtomicU64,
    struck: AtomicBool,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            armed: AtomicU64::new(0),
            until: AtomicU64::new(u64::MAX),
            struck: AtomicBool::new(false),
        }
    }

    pub(super) fn since_armed(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_micros(self.armed.load(Ordering::Relaxed)))
    }

    /// Whether it struck since it was armed.
    pub(super) fn struck(&self) -> bool {
        self.struck.load(Ordering::Relaxed)
    }

    pub(super) fn arm(&self, deadline: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let now = self.start.elapsed();
        self.struck.store(false, Ordering::Relaxed);
        self.armed.store(micros(now), Ordering::Relaxed);
        self.until.store(micros(now + deadline), Ordering::Relaxed);
    }

    pub(super) fn disarm(&self) {
        self.until.store(u64::MAX, Ordering::Relaxed);
    }

    /// Asked by the engine now and then.
    pub(super) fn strikes(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        let struck = until != u64::MAX && self.start.elapsed() > Duration::from_micros(until);
        if struck {
            self.struck.store(true, Ordering::Relaxed);
        }
        struck
    }
}
