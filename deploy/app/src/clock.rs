//! The system's clock. Not here: anything that decides by it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bridge_core::Timestamp;
use bridge_core::ports::{BoxFuture, Clock};

/// Reads the system's clock and waits by tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        // A clock outside 1970 to 9999 is not set: the epoch says so to everybody who reads it.
        Timestamp::from_millis(ms).unwrap_or(Timestamp::EPOCH)
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}
