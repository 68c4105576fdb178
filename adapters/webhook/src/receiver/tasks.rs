//! Tasks that outlive their request, and the end of all of them. Not fire-and-forget: shutdown waits here.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Counts running tasks.
#[derive(Clone, Default)]
pub struct Tasks(Arc<(AtomicUsize, Notify)>);

impl Tasks {
    /// Runs a future to its end, whatever becomes of the handle.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.0.fetch_add(1, SeqCst);
        let guard = Running(self.clone());
        tokio::spawn(async move {
            let _guard = guard;
            future.await
        })
    }

    /// Completes when no task is running.
    pub async fn idle(&self) {
        loop {
            let notified = self.0.1.notified();
            if self.0.0.load(SeqCst) == 0 {
                return;
            }
            notified.await;
        }
    }
}

struct Running(Tasks);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.0.0.fetch_sub(1, SeqCst) == 1 {
            self.0.0.1.notify_waiters();
        }
    }
}
