//! What has to be done from time to time: writing behind, forgetting, replaying. Each part has one owner task, and an
//! error of the store only means that it is tried again. Not here: the parts themselves.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::Verdict;
use bridge_core::pipeline::Pipeline;
use bridge_core::ports::{DeadLetter, DeadLetters, Outbox, StoreResult};
use http_api::DeviceApi;
use webhook::receiver::Receiver;

use crate::commands::{Commands, KEEP_AT_MOST};
use crate::ops::{Backlog, Operations};

/// Marked dead letters that one round sends.
const REPLAY_BATCH: usize = 100;
/// Commands that one round removes.
const PURGE_BATCH: usize = 10_000;

/// The parts that need care. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Housekeeping {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) receiver: Receiver,
    pub(crate) device_api: DeviceApi,
    pub(crate) operations: Operations,
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) keep_dead_letters: u64,
    pub(crate) commands: Commands,
}

impl Housekeeping {
    /// Runs for ever.
    pub(crate) async fn run(self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for round in 0u64.. {
            tick.tick().await;
            note("read the registry's version", self.pipeline.registrar.refresh().await);
            note("read the tokens' version", self.device_api.keyring().refresh().await);
            note("replay dead letters", self.replay().await);
            if round % 5 == 0 {
                note("look at the backlog", self.look().await);
            }
            if round % 10 == 9 {
                note("write when devices were heard", self.pipeline.registrar.flush().await);
            }
            if round % 60 == 59 {
                self.let_go().await;
            }
        }
    }

    /// One round of everything, for a process that is woken from time to time. False when a part of it failed: the next
    /// round does that.
    pub(crate) async fn once(&self) -> bool {
        let replayed = note("replay dead letters", self.replay().await);
        let looked = note("look at the backlog", self.look().await);
        let flushed = note("write when devices were heard", self.pipeline.registrar.flush().await);
        self.let_go().await && replayed && looked && flushed
    }

    /// Removes what is kept long enough.
    async fn let_go(&self) -> bool {
        let forgot = note("forget old message ids", self.pipeline.dedup.forget_old().await);
        let before = self.pipeline.clock.wall().minus(self.commands.keep);
        let purged = self.commands.store.purge(before, KEEP_AT_MOST, PURGE_BATCH).await;
        let mut done = forgot && note("let go of old commands", purged);
        if let Some(archive) = &self.pipeline.archive {
            done &= note("let go of old payloads", archive.discard_old().await);
        }
        match self.dead_letters.trim(self.keep_dead_letters).await {
            Ok(0) => done,
            Ok(removed) => {
                tracing::warn!(removed, "the oldest dead letters were removed to make room");
                done
            }
            Err(error) => note("trim dead letters", Err::<(), _>(error)),
        }
    }

    async fn look(&self) -> StoreResult<()> {
        let mut backlog = Backlog { dead_letters: self.dead_letters.count().await?, ..Backlog::default() };
        if self.pipeline.delivery.stats().stored > 0 {
            // Entries are in the order of their acceptance. Sums over the whole outbox are for the command line.
            backlog.oldest = self.outbox.load(0, 1).await?.first().map(|entry| entry.at);
        }
        self.operations.set_backlog(backlog);
        Ok(())
    }

    async fn replay(&self) -> StoreResult<()> {
        for letter in self.dead_letters.marked(REPLAY_BATCH).await? {
            match self.send_again(&letter).await {
                Ok(()) => self.dead_letters.remove(&[letter.number]).await?,
                Err(why) => self.dead_letters.unmark(letter.number, &why).await?,
            }
        }
        Ok(())
    }

    /// Sends a letter's request, or its message, through again.
    async fn send_again(&self, letter: &DeadLetter) -> Result<(), String> {
        let verdicts = match (&letter.letter.request, &letter.letter.record) {
            (Some(request), _) if letter.letter.integration.as_str() == http_api::INTEGRATION => {
                self.device_api.replay(request).await
            }
            (Some(request), _) => {
                let Some(source) = self.receiver.table().find(letter.letter.integration.as_str()) else {
                    return Err(format!("integration {} is not configured", letter.letter.integration));
                };
                self.receiver.replay(&source, request).await
            }
            (None, Some(record)) => vec![self.pipeline.replay_record(record).await],
            (None, None) => return Err("nothing is left of it to send".into()),
        };
        let failed = verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Rejected(reason) => Some(format!("replayed, and again: {reason}")),
            Verdict::Retry(_) => Some("replayed, but the bridge could not take it; try again".to_owned()),
            Verdict::Delivered | Verdict::Stored | Verdict::Duplicate => None,
        });
        failed.map_or(Ok(()), Err)
    }
}

/// Whether it was done.
fn note<T>(what: &'static str, result: StoreResult<T>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, what, "housekeeping failed; it is tried again");
            false
        }
    }
}
