//! Time as a parameter. Not here: the system's clock (`deploy/app` reads it).

use std::time::Instant;

use super::BoxFuture;
use crate::time::Timestamp;

/// Tells the time and waits.
pub trait Clock: Send + Sync {
    /// Monotonic; for durations and deadlines.
    fn now(&self) -> Instant;
    /// Wall clock; for what people and other systems read.
    fn wall(&self) -> Timestamp;
    /// Completes at `at`, or at once when it is past.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'_, ()>;
}
