//! A wake-up for one waiting future, without a runtime, and what is built on it. Not a channel: several calls of `notify` may
//! be one wake-up.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::ports::{BoxFuture, Clock, StoreResult};

/// Set by [`notify`](Signal::notify), taken by [`wait`](Signal::wait).
#[derive(Debug, Default)]
pub(crate) struct Signal(Mutex<(bool, Option<Waker>)>);

impl Signal {
    /// Wakes the waiting future, or the next one that waits.
    pub(crate) fn notify(&self) {
        let waker = {
            let mut state = lock(&self.0);
            state.0 = true;
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Completes after the next notification, or at once when there was one since the last wait. One waiter at a time.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| {
            let mut state = lock(&self.0);
            if std::mem::take(&mut state.0) {
                return Poll::Ready(());
            }
            state.1 = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Flushes for ever what is noted with `noted`: `gather` after it was, and after ten times that when flushing failed.
pub(crate) async fn write_behind<'a>(
    noted: &Signal,
    clock: &dyn Clock,
    gather: Duration,
    flush: impl Fn() -> BoxFuture<'a, StoreResult<()>>,
) {
    loop {
        noted.wait().await;
        clock.sleep_until(clock.now() + gather).await;
        if flush().await.is_err() {
            clock.sleep_until(clock.now() + gather * 10).await;
            noted.notify();
        }
    }
}

/// Waits for the first of two futures; true when it was `first`.
pub(crate) async fn either<A: Future, B: Future>(first: A, second: B) -> bool {
    let mut first = std::pin::pin!(first);
    let mut second = std::pin::pin!(second);
    poll_fn(|context| {
        if first.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        second.as_mut().poll(context).map(|_| false)
    })
    .await
}

/// Locks, also after a panic elsewhere: what these locks guard is whole between any two statements that may panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
