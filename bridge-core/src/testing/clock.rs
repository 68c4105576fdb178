//! A clock that only moves when a test says so.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::ports::{BoxFuture, Clock};
use crate::signal::lock;
use crate::time::Timestamp;

/// Starts at 2026-01-01T00:00:00Z.
#[derive(Debug)]
pub struct ManualClock {
    started: Instant,
    state: Mutex<(Duration, Vec<Waker>)>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { started: Instant::now(), state: Mutex::default() }
    }
}

impl ManualClock {
    /// Moves on, and wakes whoever waited for that.
    pub fn advance(&self, by: Duration) {
        let wakers = {
            let mut state = lock(&self.state);
            state.0 += by;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.started + lock(&self.state).0
    }

    fn wall(&self) -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap().plus(lock(&self.state).0)
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'_, ()> {
        Box::pin(poll_fn(move |context| {
            let mut state = lock(&self.state);
            if self.started + state.0 >= at {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        }))
    }
}
