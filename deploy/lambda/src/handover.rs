//! The delivery of a process that may be frozen or ended after every answer: a message is acknowledged by the hub before its
//! sender is answered, or it is in the shared outbox before. What waits in the outbox is never overtaken. Nothing is kept in
//! memory beyond the answer. Not here: who empties the outbox ([`crate::drain`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::Message;
use bridge_core::mux::{Outcome, Stats};
use bridge_core::ports::{BoxFuture, Clock, Deliver, HubRefusal, StoreResult};
use futures_channel::oneshot;
use store_dynamodb::{Queue, Waiting};
use tokio::runtime::Handle;

use crate::links::{Answer, Links};

/// The outbox that all environments share.
pub trait SharedOutbox: Send + Sync {
    /// Whether messages of the lane may wait there.
    fn is_busy<'a>(&'a self, lane: &'a str) -> BoxFuture<'a, StoreResult<bool>>;
    /// Keeps a message; durable when it completes.
    fn put<'a>(&'a self, message: &'a Waiting) -> BoxFuture<'a, StoreResult<()>>;
}

impl SharedOutbox for Queue {
    fn is_busy<'a>(&'a self, lane: &'a str) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(Queue::is_busy(self, lane))
    }

    fn put<'a>(&'a self, message: &'a Waiting) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(Queue::put(self, message))
    }
}

/// The settings of a handover.
#[derive(Debug, Clone, Copy)]
pub struct HandoverConfig {
    /// How long the hub has to acknowledge, connecting included.
    pub ack_wait: Duration,
    /// Every message goes to the outbox, none to the hub at once.
    pub outbox_first: bool,
    /// Senders that may wait at once.
    pub max_waiting: usize,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Handover(Arc<Inner>);

struct Inner {
    config: HandoverConfig,
    links: Arc<Links>,
    outbox: Arc<dyn SharedOutbox>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    /// Lanes that are being worked, and what has come for them meanwhile.
    lanes: Mutex<HashMap<Arc<str>, Vec<Pending>>>,
    waiting: AtomicUsize,
    counts: Counts,
    error: Mutex<Option<String>>,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    stored: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

/// What became of messages since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handed {
    /// The hub acknowledged them.
    pub delivered: u64,
    /// They went into the outbox.
    pub stored: u64,
    /// The hub will never take them.
    pub refused: u64,
    /// Neither; their senders were told so.
    pub unavailable: u64,
}

struct Pending {
    message: Arc<Message>,
    sender: oneshot::Sender<Outcome>,
}

impl Handover {
    /// A handover whose work runs on this runtime.
    pub fn new(
        config: HandoverConfig,
        links: Arc<Links>,
        outbox: Arc<dyn SharedOutbox>,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            links,
            outbox,
            clock,
            runtime,
            lanes: Mutex::default(),
            waiting: AtomicUsize::new(0),
            counts: Counts::default(),
            error: Mutex::default(),
        }))
    }

    /// What became of messages so far.
    pub fn handed(&self) -> Handed {
        let Counts { delivered, stored, refused, unavailable } = &self.0.counts;
        Handed {
            delivered: delivered.load(Relaxed),
            stored: stored.load(Relaxed),
            refused: refused.load(Relaxed),
            unavailable: unavailable.load(Relaxed),
        }
    }
}

impl Deliver for Handover {
    fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Outcome> {
        let inner = &self.0;
        let (sender, receiver) = oneshot::channel();
        if inner.waiting.fetch_add(1, Relaxed) >= inner.config.max_waiting {
            inner.answer(sender, Outcome::Unavailable);
            return receiver;
        }
        let lane = message.lane();
        let pending = Pending { message, sender };
        let mut lanes = inner.lanes();
        if let Some(queue) = lanes.get_mut(&lane) {
            queue.push(pending);
        } else {
            lanes.insert(lane.clone(), vec![pending]);
            let inner = inner.clone();
            self.0.runtime.spawn(async move { inner.work(lane).await });
        }
        receiver
    }

    fn stats(&self) -> Stats {
        let (is_up, in_flight) = self.0.links.now();
        Stats {
            waiting: self.0.waiting.load(Relaxed),
            in_flight,
            // What this process has put there; others may have taken it out.
            stored: self.0.counts.stored.load(Relaxed),
            resident: 0,
            links_open: 1,
            links_up: usize::from(is_up),
        }
    }

    fn buried(&self) -> u64 {
        self.0.counts.refused.load(Relaxed)
    }

    fn store_error(&self) -> Option<String> {
        self.0.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    /// Works a lane until nothing of it is left.
    async fn work(&self, lane: Arc<str>) {
        loop {
            let batch = {
                let mut lanes = self.lanes();
                match lanes.get_mut(&lane) {
                    Some(queue) if !queue.is_empty() => std::mem::take(queue),
                    _ => {
                        lanes.remove(&lane);
                        return;
                    }
                }
            };
            self.hand_over(&lane, batch).await;
        }
    }

    /// Brings messages of one lane, in order, to the hub or into the outbox.
    async fn hand_over(&self, lane: &Arc<str>, batch: Vec<Pending>) {
        let busy = match self.config.outbox_first {
            true => Ok(true),
            false => self.outbox.is_busy(lane).await,
        };
        self.note(&busy);
        let Ok(busy) = busy else {
            batch.into_iter().for_each(|pending| self.answer(pending.sender, Outcome::Unavailable));
            return;
        };
        let answers = match busy {
            true => vec![Answer::Unknown; batch.len()],
            false => self.publish(&batch).await,
        };
        for (pending, answer) in batch.into_iter().zip(answers) {
            let outcome = match answer {
                Answer::Taken => Outcome::Delivered,
                Answer::Refused(HubRefusal::Never(why)) => Outcome::Refused(why),
                Answer::Refused(HubRefusal::Later(_)) | Answer::Unknown => self.store(lane, &pending).await,
            };
            self.answer(pending.sender, outcome);
        }
    }

    /// Publishes what it can, in order; what was not published because something before it was not has no answer either.
    async fn publish(&self, batch: &[Pending]) -> Vec<Answer> {
        let until = Instant::now() + self.config.ack_wait;
        let mut flying = Vec::with_capacity(batch.len());
        if let Some(fresh) = self.links.fresh(until).await {
            for pending in batch {
                match self.links.publish(&fresh, pending.message.clone(), until).await {
                    Some(publish) => flying.push(publish),
                    None => break,
                }
            }
        }
        let mut answers = Vec::with_capacity(batch.len());
        for publish in flying {
            answers.push(self.links.answer(publish, until).await);
        }
        answers.resize(batch.len(), Answer::Unknown);
        answers
    }

    async fn store(&self, lane: &Arc<str>, pending: &Pending) -> Outcome {
        let message = Waiting {
            id: pending.message.id,
            lane: lane.to_string(),
            at: self.clock.wall(),
            record: pending.message.to_record(),
        };
        let stored = self.outbox.put(&message).await;
        self.note(&stored);
        match stored {
            Ok(()) => Outcome::Stored,
            Err(error) => {
                tracing::warn!(%error, message = %message.id, "the outbox did not take a message; its sender keeps it");
                Outcome::Unavailable
            }
        }
    }

    fn answer(&self, sender: oneshot::Sender<Outcome>, outcome: Outcome) {
        let counts = &self.counts;
        match &outcome {
            Outcome::Delivered => &counts.delivered,
            Outcome::Stored => &counts.stored,
            Outcome::Refused(_) => &counts.refused,
            Outcome::Unavailable => &counts.unavailable,
        }
        .fetch_add(1, Relaxed);
        self.waiting.fetch_sub(1, Relaxed);
        // A sender that has gone away does not want to know; the message is safe all the same.
        let _ = sender.send(outcome);
    }

    fn note<T>(&self, result: &StoreResult<T>) {
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        *error = result.as_ref().err().map(ToString::to_string);
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Pending>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
