//! Work that outlives its request, and the end of all of it. Not fire-and-forget: shutdown waits here.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Counts running work.
#[derive(Clone, Default)]
pub struct Tasks(Arc<(AtomicUsize, Notify)>);

/// The work panicked; what it said went to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bug: the work panicked")]
pub struct Panicked;

impl Tasks {
    /// Runs a future as a task, whatever becomes of the handle.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let running = Running::new(self);
        tokio::spawn(async move {
            let _running = running;
            future.await
        })
    }

    /// Runs a future in the caller's task for as long as the caller waits; when the caller is dropped before, the
    /// future goes on as a task of its own. Dearer than neither, cheaper than a task for each.
    pub fn to_the_end<F>(&self, future: F) -> ToTheEnd<F>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        ToTheEnd { future: Some(Box::pin(future)), running: Some(Running::new(self)) }
    }

    /// Completes when no work is running.
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

/// See [`Tasks::to_the_end`].
pub struct ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// None after its end.
    future: Option<Pin<Box<F>>>,
    running: Option<Running>,
}

impl<F> Future for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Ready(Err(Panicked)) };
        // After a panic the future is dropped and never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        let ended = match polled {
            Ok(polled) => Ok(ready!(polled)),
            Err(_) => Err(Panicked),
        };
        self.future = None;
        self.running = None;
        Poll::Ready(ended)
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime nothing can go on: the process has ended its work.
        if let (Some(future), Some(running), Ok(runtime)) =
            (self.future.take(), self.running.take(), Handle::try_current())
        {
            runtime.spawn(async move {
                let _running = running;
                future.await;
            });
        }
    }
}

struct Running(Tasks);

impl Running {
    fn new(tasks: &Tasks) -> Self {
        tasks.0.0.fetch_add(1, SeqCst);
        Self(tasks.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.0.0.fetch_sub(1, SeqCst) == 1 {
            self.0.0.1.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_for_it_any_more() {
        let tasks = Tasks::default();
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let mut work = tasks.to_the_end(async move {
            begun.await.unwrap();
            end.send(7).unwrap();
        });
        let polled = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut work).poll(context))).await;
        assert!(polled.is_pending());
        drop(work);
        begin.send(()).unwrap();
        assert_eq!(ended.await, Ok(7));
        tasks.idle().await;
    }

    #[tokio::test]
    async fn a_panic_stays_with_its_request() {
        let tasks = Tasks::default();
        let ended = tasks.to_the_end(async { assert_eq!(1, 2, "meant to panic") }).await;
        assert_eq!(ended, Err(Panicked));
        tasks.idle().await;
        assert_eq!(tasks.to_the_end(async { 1 }).await, Ok(1));
    }
}
