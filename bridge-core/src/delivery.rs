//! Runs the [`mux`](crate::mux) against hub, outbox and clock. Its lock is held only for steps that neither block nor
//! wait; the store is worked by one future ([`Delivery::run_store`]), so that its commands keep their order and group
//! themselves while one batch is being written. Not here: any decision.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::id::MessageId;
use crate::message::Message;
use crate::mux::{Mux, MuxConfig, Outcome, Output, Stats};
use crate::ports::{
    Clock, DeadLetters, Deliver, Hub, HubEvents, HubRefusal, LinkId, NewDeadLetter, Outbox, OutboxEntry, Seq,
    StoreResult, Token, TokenHash,
};
use crate::signal::{Signal, either, lock};
use crate::verdict::Reason;

/// Carries messages to the hub.
pub struct Delivery {
    inner: Mutex<Inner>,
    hub: Arc<dyn Hub>,
    outbox: Arc<dyn Outbox>,
    dead_letters: Arc<dyn DeadLetters>,
    clock: Arc<dyn Clock>,
    /// Called with messages that were delivered after their sender was told otherwise.
    on_late: Box<dyn Fn(MessageId) + Send + Sync>,
    store_work: Signal,
    timer: Signal,
    changed: Signal,
    /// Messages that the hub refused after they were stored, and records that could not be read.
    buried: AtomicU64,
}

struct Inner {
    mux: Mux,
    waiters: HashMap<Token, oneshot::Sender<Outcome>, TokenHash>,
    commands: VecDeque<Output>,
    armed: Option<Instant>,
    /// Commands handed to the store and not yet done.
    busy: bool,
    /// The last that the store did not take, for operators.
    store_error: Option<String>,
}

/// Commands that one round of the store takes at most.
const BATCH: usize = 512;
/// How long the store rests after it failed.
const STORE_RETRY: Duration = Duration::from_secs(1);

impl Delivery {
    /// Starts over what the outbox holds.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub async fn open(
        config: MuxConfig,
        hub: Arc<dyn Hub>,
        outbox: Arc<dyn Outbox>,
        dead_letters: Arc<dyn DeadLetters>,
        clock: Arc<dyn Clock>,
        on_late: Box<dyn Fn(MessageId) + Send + Sync>,
    ) -> StoreResult<Self> {
        let backlog = outbox.backlog().await?;
        let mux = Mux::new(config, backlog.lanes, backlog.last_seq, clock.now());
        let inner = Inner {
            mux,
            waiters: HashMap::default(),
            commands: VecDeque::new(),
            armed: None,
            busy: false,
            store_error: None,
        };
        Ok(Self {
            inner: Mutex::new(inner),
            hub,
            outbox,
            dead_letters,
            clock,
            on_late,
            store_work: Signal::default(),
            timer: Signal::default(),
            changed: Signal::default(),
            buried: AtomicU64::new(0),
        })
    }

    /// Opens the first links. Call it once, when [`HubEvents`] can arrive.
    pub fn start(&self) {
        self.step(|_, _| ());
    }

    /// Takes a message; the answer comes by the receiver. A receiver that is dropped changes nothing.
    pub fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.step(|inner, now| {
            let token = inner.mux.submit(message, now);
            inner.waiters.insert(token, sender);
        });
        receiver
    }

    /// Does what the mux asks of the store, for ever. Run it as one task.
    pub async fn run_store(&self) {
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                self.store_work.wait().await;
                continue;
            }
            let failed = self.work(batch).await;
            let rest = !failed.is_empty();
            {
                let mut inner = lock(&self.inner);
                for command in failed.into_iter().rev() {
                    inner.commands.push_front(command);
                }
                inner.busy = false;
            }
            self.changed.notify();
            if rest {
                let at = self.clock.now() + STORE_RETRY;
                // New appends may not wait for a removal that failed: whatever comes first.
                either(self.clock.sleep_until(at), self.store_work.wait()).await;
            }
        }
    }

    /// Wakes the mux when it is due, for ever. Run it as one task.
    pub async fn run_timer(&self) {
        loop {
            let due = lock(&self.inner).armed;
            match due {
                Some(at) => {
                    if either(self.clock.sleep_until(at), self.timer.wait()).await {
                        self.step(|inner, now| {
                            inner.armed = None;
                            inner.mux.handle_timeout(now);
                        });
                    }
                }
                None => self.timer.wait().await,
            }
        }
    }

    /// Stops taking messages, lets what is in flight end for at most `wait`, and puts the rest into the outbox. Completes
    /// when all that was accepted is at the hub or in the outbox.
    pub async fn drain(&self, wait: Duration) {
        self.step(|inner, _| inner.mux.close());
        let deadline = self.clock.now() + wait;
        let quiet = async {
            while !lock(&self.inner).mux.is_quiet() {
                self.changed.wait().await;
            }
        };
        if !either(quiet, self.clock.sleep_until(deadline)).await {
            self.step(|inner, _| inner.mux.close_now());
        }
        let flushed = async {
            loop {
                {
                    let inner = lock(&self.inner);
                    if inner.mux.stats().waiting == 0 && inner.commands.is_empty() && !inner.busy {
                        return;
                    }
                }
                self.changed.wait().await;
            }
        };
        either(flushed, self.clock.sleep_until(deadline + wait)).await;
    }

    /// Counts for operators.
    pub fn stats(&self) -> Stats {
        lock(&self.inner).mux.stats()
    }

    /// Messages that became dead letters after they had been stored.
    pub fn buried(&self) -> u64 {
        self.buried.load(Relaxed)
    }

    /// Why the store did not take the last batch; none when it did.
    pub fn store_error(&self) -> Option<String> {
        lock(&self.inner).store_error.clone()
    }

    /// One step of the mux, and its outputs carried out in order.
    fn step(&self, input: impl FnOnce(&mut Inner, Instant)) {
        let now = self.clock.now();
        let mut answers = Vec::new();
        let (mut late, mut commands) = (Vec::new(), false);
        {
            let mut inner = lock(&self.inner);
            input(&mut inner, now);
            while let Some(output) = inner.mux.poll_output() {
                match output {
                    Output::Open { link } => self.hub.open(link),
                    Output::Close { link } => self.hub.close(link),
                    Output::Publish { link, token, message } => self.hub.publish(link, token, message),
                    Output::Answer { token, outcome } => {
                        answers.extend(inner.waiters.remove(&token).map(|waiter| (waiter, outcome)));
                    }
                    Output::LateDelivery(id) => late.push(id),
                    command => {
                        inner.commands.push_back(command);
                        commands = true;
                    }
                }
            }
            let due = inner.mux.poll_timeout().map(|(at, _)| at);
            if due.is_some_and(|at| inner.armed.is_none_or(|armed| at < armed)) {
                inner.armed = due;
                self.timer.notify();
            }
            if inner.mux.is_quiet() {
                self.changed.notify();
            }
        }
        if commands {
            self.store_work.notify();
        }
        late.into_iter().for_each(|id| (self.on_late)(id));
        for (waiter, outcome) in answers {
            // A sender that has gone away does not want to know; the message is safe all the same.
            let _ = waiter.send(outcome);
        }
    }

    fn next_batch(&self) -> Vec<Output> {
        let mut inner = lock(&self.inner);
        let take = inner.commands.len().min(BATCH);
        inner.busy = take > 0;
        inner.commands.drain(..take).collect()
    }

    /// Carries out a batch: appends, then removals and burials, then loads. What has to be tried again is handed back.
    async fn work(&self, batch: Vec<Output>) -> Vec<Output> {
        let mut appends = Vec::new();
        let (mut removals, mut burials, mut load) = (Vec::new(), Vec::new(), None);
        for command in batch {
            match command {
                Output::Append { seq, lane, message } => appends.push(OutboxEntry {
                    seq,
                    id: message.id,
                    lane: lane.to_string(),
                    at: message.received_at,
                    record: message.to_record(),
                }),
                Output::Remove { seq } => removals.push(seq),
                Output::Bury { seq, message, detail } => burials.push((seq, message, detail)),
                Output::Load { after, limit } => load = Some((after, limit)),
                // Carried out in `step`.
                Output::Open { .. }
                | Output::Close { .. }
                | Output::Publish { .. }
                | Output::Answer { .. }
                | Output::LateDelivery(_) => {}
            }
        }
        if !appends.is_empty() {
            let stored = self.outbox.append(&appends).await;
            self.note(&stored);
            self.step(|inner, now| {
                for entry in &appends {
                    inner.mux.handle_appended(entry.seq, stored.is_ok(), now);
                }
            });
        }
        let mut failed = self.remove(removals).await;
        failed.extend(self.bury(burials).await);
        if let Some((after, limit)) = load {
            if failed.is_empty() {
                self.load(after, limit).await;
            } else {
                failed.push(Output::Load { after, limit });
            }
        }
        failed
    }

    async fn remove(&self, seqs: Vec<Seq>) -> Vec<Output> {
        if seqs.is_empty() {
            return Vec::new();
        }
        let result = self.outbox.remove(&seqs).await;
        self.note(&result);
        match result {
            Ok(()) => Vec::new(),
            Err(_) => seqs.into_iter().map(|seq| Output::Remove { seq }).collect(),
        }
    }

    async fn bury(&self, burials: Vec<(Seq, Arc<Message>, String)>) -> Vec<Output> {
        if burials.is_empty() {
            return Vec::new();
        }
        let letters: Vec<NewDeadLetter> = burials
            .iter()
            .map(|(_, message, detail)| refused_by_hub(message, detail.clone(), self.clock.wall()))
            .collect();
        let result = self.dead_letters.bury(&letters).await;
        self.note(&result);
        match result {
            Ok(()) => {
                self.buried.fetch_add(letters.len() as u64, Relaxed);
                self.remove(burials.into_iter().map(|(seq, ..)| seq).collect()).await
            }
            Err(_) => burials
                .into_iter()
                .map(|(seq, message, detail)| Output::Bury { seq, message, detail })
                .collect(),
        }
    }

    async fn load(&self, after: Seq, limit: usize) {
        let loaded = self.outbox.load(after, limit).await;
        self.note(&loaded);
        let Ok(entries) = loaded else {
            let retry_at = self.clock.now() + STORE_RETRY;
            return self.step(|inner, now| inner.mux.handle_loaded(Vec::new(), Some(retry_at), now));
        };
        let (mut readable, mut unreadable) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            match Message::from_record(&entry.record) {
                Ok(message) => readable.push((entry.seq, Arc::from(entry.lane), Arc::new(message))),
                Err(error) => unreadable.push((entry, error.to_string())),
            }
        }
        if !unreadable.is_empty() && !self.set_aside(&unreadable).await {
            let retry_at = self.clock.now() + STORE_RETRY;
            return self.step(|inner, now| inner.mux.handle_loaded(Vec::new(), Some(retry_at), now));
        }
        self.step(|inner, now| {
            for (entry, _) in &unreadable {
                inner.mux.handle_unreadable(&Arc::from(entry.lane.as_str()));
            }
            inner.mux.handle_loaded(readable, None, now);
        });
    }

    /// Takes damaged entries out of the way; false when the store failed.
    async fn set_aside(&self, entries: &[(OutboxEntry, String)]) -> bool {
        let Ok(integration) = crate::id::IntegrationName::parse("outbox") else { return false };
        let letters: Vec<NewDeadLetter> = entries
            .iter()
            .map(|(entry, error)| NewDeadLetter {
                at: self.clock.wall(),
                integration: integration.clone(),
                device: Some(entry.lane.clone()),
                reason: Reason::Unreadable,
                detail: format!("the stored record of message {} cannot be read: {error}", entry.id),
                request: None,
                record: Some(entry.record.clone()),
            })
            .collect();
        let seqs: Vec<Seq> = entries.iter().map(|(entry, _)| entry.seq).collect();
        self.dead_letters.bury(&letters).await.is_ok() && self.outbox.remove(&seqs).await.is_ok()
    }

    fn note<T>(&self, result: &StoreResult<T>) {
        lock(&self.inner).store_error = result.as_ref().err().map(ToString::to_string);
    }
}

impl Deliver for Delivery {
    fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Outcome> {
        Self::submit(self, message)
    }

    fn stats(&self) -> Stats {
        Self::stats(self)
    }

    fn buried(&self) -> u64 {
        Self::buried(self)
    }

    fn store_error(&self) -> Option<String> {
        Self::store_error(self)
    }
}

impl HubEvents for Delivery {
    fn link_up(&self, link: LinkId, window: usize) {
        self.step(|inner, now| inner.mux.handle_link_up(link, window, now));
    }

    fn link_down(&self, link: LinkId, _reason: &str) {
        self.step(|inner, now| inner.mux.handle_link_down(link, now));
    }

    fn acknowledged(&self, tokens: &[Token]) {
        self.step(|inner, now| tokens.iter().for_each(|token| inner.mux.handle_acknowledged(*token, now)));
    }

    fn refused(&self, token: Token, refusal: HubRefusal) {
        self.step(|inner, now| inner.mux.handle_refused(token, refusal, now));
    }
}

/// The dead letter of a message that the hub will never take.
pub fn refused_by_hub(message: &Message, detail: String, at: crate::time::Timestamp) -> NewDeadLetter {
    NewDeadLetter {
        at,
        integration: message.integration.clone(),
        device: message.device.as_ref().map(ToString::to_string),
        reason: Reason::RefusedByHub,
        detail,
        request: None,
        record: Some(message.to_record()),
    }
}
