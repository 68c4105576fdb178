//! Keeps a log short: one line of a kind in ten seconds. Not here: the lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one log line pass in ten seconds and counts the others.
#[derive(Debug, Default)]
pub struct LogGate(Mutex<(Option<Instant>, u64)>);

impl LogGate {
    const EVERY: Duration = Duration::from_secs(10);

    /// How many lines were held back since the last one that passed, when one may pass now.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut gate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.0.is_some_and(|last| now.saturating_duration_since(last) < Self::EVERY) {
            gate.1 += 1;
            return None;
        }
        gate.0 = Some(now);
        Some(std::mem::take(&mut gate.1))
    }
}
