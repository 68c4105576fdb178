//! The live flow: every trace as it is kept, to whoever listens. Bounded: a listener that is slow loses the oldest of what
//! waits for it and is told how many, and nobody waits for it. Without listeners it costs the look at one number. Not
//! here: what is sent to whom, over what.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::signal::lock;
use crate::trace::{Trace, TraceFilter};

/// The listeners.
#[derive(Debug, Default)]
pub struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    listening: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ears: Vec<Arc<Ear>>,
    closed: bool,
}

#[derive(Debug)]
struct Ear {
    filter: TraceFilter,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    traces: VecDeque<Arc<Trace>>,
    missed: u64,
    closed: bool,
    waker: Option<Waker>,
}

/// What a listener hears next.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A trace.
    Trace(Arc<Trace>),
    /// So many that came before the next one were lost, because the listener was slow.
    Missed(u64),
}

/// Why nobody can listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// As many listen as may; later.
    #[error("as many listen as may")]
    Full,
    /// The bridge is going down.
    #[error("the bridge is going down")]
    Closed,
}

/// Hears the flow until it is dropped.
#[derive(Debug)]
pub struct Listening {
    feed: Arc<Shared>,
    ear: Arc<Ear>,
}

impl Feed {
    /// Listeners at once.
    pub const MOST: usize = 32;
    /// Traces that wait for one listener.
    pub const WAITING: usize = 256;

    /// From now on.
    ///
    /// # Errors
    /// See [`FeedError`].
    pub fn listen(&self, filter: TraceFilter) -> Result<Listening, FeedError> {
        let mut state = lock(&self.0.state);
        if state.closed {
            return Err(FeedError::Closed);
        }
        if state.ears.len() >= Self::MOST {
            return Err(FeedError::Full);
        }
        let ear = Arc::new(Ear { filter, queue: Mutex::default() });
        state.ears.push(ear.clone());
        self.0.listening.store(state.ears.len(), Relaxed);
        Ok(Listening { feed: self.0.clone(), ear })
    }

    /// How many listen.
    pub fn listening(&self) -> usize {
        self.0.listening.load(Relaxed)
    }

    /// Ends it for everybody, after what waits for them.
    pub fn close(&self) {
        let mut state = lock(&self.0.state);
        state.closed = true;
        for ear in &state.ears {
            ear.change(|queue| queue.closed = true);
        }
    }

    /// Passes a trace to whoever wants it.
    pub(crate) fn publish(&self, trace: &Trace) {
        if self.listening() == 0 {
            return;
        }
        let mut shared = None;
        for ear in &lock(&self.0.state).ears {
            if ear.filter.matches(trace) {
                let trace = shared.get_or_insert_with(|| Arc::new(trace.clone())).clone();
                ear.change(|queue| queue.push(trace));
            }
        }
    }
}

impl Listening {
    /// What comes next; none at the end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        let mut queue = lock(&self.ear.queue);
        if queue.missed > 0 {
            return Poll::Ready(Some(Heard::Missed(std::mem::take(&mut queue.missed))));
        }
        match queue.traces.pop_front() {
            Some(trace) => Poll::Ready(Some(Heard::Trace(trace))),
            None if queue.closed => Poll::Ready(None),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The same as a future.
    pub async fn next(&mut self) -> Option<Heard> {
        poll_fn(|context| self.poll_next(context)).await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = lock(&self.feed.state);
        state.ears.retain(|ear| !Arc::ptr_eq(ear, &self.ear));
        self.feed.listening.store(state.ears.len(), Relaxed);
    }
}

impl Ear {
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let waker = {
            let mut queue = lock(&self.queue);
            change(&mut queue);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Queue {
    fn push(&mut self, trace: Arc<Trace>) {
        if self.traces.len() >= Feed::WAITING {
            self.traces.pop_front();
            self.missed += 1;
        }
        self.traces.push_back(trace);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::id::IntegrationName;
    use crate::time::Timestamp;
    use crate::trace::{End, Tracer};
    use crate::verdict::Verdict;

    fn publish(feed: &Feed, number: u64, integration: &str) {
        let name = IntegrationName::parse(integration).unwrap();
        let tracer = Tracer::start(0, name, Timestamp::EPOCH, Instant::now());
        let mut trace = tracer.end(End::Verdict(Verdict::Delivered), None);
        trace.number = number;
        feed.publish(&trace);
    }

    /// What is there: numbers of traces, and misses below zero.
    fn heard(listening: &mut Listening) -> Vec<i64> {
        let mut context = Context::from_waker(Waker::noop());
        let mut heard = Vec::new();
        while let Poll::Ready(Some(next)) = listening.poll_next(&mut context) {
            heard.push(match next {
                Heard::Trace(trace) => trace.number as i64,
                Heard::Missed(missed) => -(missed as i64),
            });
        }
        heard
    }

    #[test]
    fn everybody_hears_what_matches_from_then_on() {
        let feed = Feed::default();
        publish(&feed, 1, "farm");
        let mut all = feed.listen(TraceFilter::default()).unwrap();
        let of_city =
            TraceFilter { integration: IntegrationName::parse("city").ok(), ..TraceFilter::default() };
        let mut city = feed.listen(of_city).unwrap();
        publish(&feed, 2, "farm");
        publish(&feed, 3, "city");
        assert_eq!((heard(&mut all), heard(&mut city)), (vec![2, 3], vec![3]));
        drop(all);
        assert_eq!(feed.listening(), 1);
    }

    #[test]
    fn who_is_slow_loses_the_oldest_and_is_told() {
        let feed = Feed::default();
        let mut slow = feed.listen(TraceFilter::default()).unwrap();
        let last = Feed::WAITING as u64 + 3;
        (1..=last).for_each(|number| publish(&feed, number, "farm"));
        let heard = heard(&mut slow);
        assert_eq!(heard[..2], [-3, 4]);
        assert_eq!((heard.len(), heard.last()), (Feed::WAITING + 1, Some(&(last as i64))));
    }

    #[test]
    fn listeners_are_counted_and_sent_home() {
        let feed = Feed::default();
        let mut all: Vec<Listening> =
            (0..Feed::MOST).map(|_| feed.listen(TraceFilter::default()).unwrap()).collect();
        assert_eq!(feed.listen(TraceFilter::default()).unwrap_err(), FeedError::Full);
        all.pop();
        all.push(feed.listen(TraceFilter::default()).unwrap());
        publish(&feed, 1, "farm");
        feed.close();
        assert_eq!(feed.listen(TraceFilter::default()).unwrap_err(), FeedError::Closed);
        assert_eq!(heard(&mut all[0]), [1]);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(all[0].poll_next(&mut context), Poll::Ready(None));
    }
}
