//! Empties the outbox: messages that SQS hands to the function go to the hub, in order per lane, each one acknowledged
//! before the next. What fails is reported alone (partial batch response), with everything of its lane behind it.
//! Not here: how messages get into the outbox ([`crate::handover`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::delivery::refused_by_hub;
use bridge_core::ports::{Clock, DeadLetters, HubRefusal, NewDeadLetter, StoreError, StoreResult};
use bridge_core::{IntegrationName, Message, Reason};
use futures_util::future::join_all;
use store_dynamodb::{Queue, Queued};

use crate::event::SqsRecord;
use crate::links::{Answer, Links};

/// How long one message waits for the hub, connecting included: the time of a function costs, and SQS hands it out again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a drain works with.
pub struct Drain {
    /// The outbox.
    pub queue: Queue,
    /// The way to the hub.
    pub links: Arc<Links>,
    /// What the hub will never take.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// The hub acknowledged them.
    pub delivered: u64,
    /// They are dead letters now.
    pub buried: u64,
    /// Those of them that were not of this bridge.
    pub foreign: u64,
    /// The `messageId`s of those that SQS shall hand out again.
    pub failures: Vec<String>,
}

impl Drain {
    /// Takes a batch; nothing is begun after `until`.
    pub async fn run(&self, records: &[SqsRecord], until: Instant) -> Drained {
        // In the order of the batch, which is that of each group.
        let mut lanes: Vec<(&str, Vec<&SqsRecord>)> = Vec::new();
        for record in records {
            match lanes.iter_mut().find(|(group, _)| *group == record.group) {
                Some((_, lane)) => lane.push(record),
                None => lanes.push((&record.group, vec![record])),
            }
        }
        let lanes = join_all(lanes.iter().map(|(_, lane)| self.lane(lane, until))).await;
        lanes.into_iter().fold(Drained::default(), |mut all, lane| {
            all.delivered += lane.delivered;
            all.buried += lane.buried;
            all.foreign += lane.foreign;
            all.failures.extend(lane.failures);
            all
        })
    }

    async fn lane(&self, records: &[&SqsRecord], until: Instant) -> Drained {
        let mut drained = Drained::default();
        for (index, record) in records.iter().enumerate() {
            let done = match Instant::now() < until {
                true => self.one(record, until, &mut drained).await,
                false => Err("there was no time left".to_owned()),
            };
            if let Err(why) = done {
                tracing::warn!(
                    why,
                    message = record.id,
                    "a message stays in the outbox, and its lane behind it"
                );
                drained.failures = records[index..].iter().map(|record| record.id.clone()).collect();
                break;
            }
        }
        drained
    }

    /// One message to its end.
    ///
    /// # Errors
    /// Why it has to come again.
    async fn one(&self, record: &SqsRecord, until: Instant, drained: &mut Drained) -> Result<(), String> {
        let queued = match self.queue.open(&record.body, &record.receipt, record.times).await {
            Ok(queued) => queued,
            Err(StoreError::Unavailable(why)) => return Err(why),
            Err(StoreError::Damaged(why)) => {
                return self.set_aside(record.body.as_bytes(), why, drained).await;
            }
        };
        let message = match Message::from_record(&queued.message.record) {
            Ok(message) => Arc::new(message),
            Err(error) => {
                let why = format!("the record of message {} cannot be read: {error}", queued.message.id);
                self.set_aside(&queued.message.record, why, drained).await?;
                self.settle(&queued).await;
                return Ok(());
            }
        };
        let until = until.min(Instant::now() + PATIENCE);
        let answer = match self.links.fresh(until).await {
            None => return Err("there is no connection to the hub".into()),
            Some(fresh) => match self.links.publish(&fresh, message.clone(), until).await {
                None => Answer::Unknown,
                Some(flying) => self.links.answer(flying, until).await,
            },
        };
        match answer {
            Answer::Taken => drained.delivered += 1,
            Answer::Refused(HubRefusal::Never(why)) => {
                let letter = refused_by_hub(&message, why, self.clock.wall());
                self.bury(letter).await.map_err(|error| error.to_string())?;
                drained.buried += 1;
            }
            Answer::Refused(HubRefusal::Later(why)) => return Err(format!("the hub takes it later: {why}")),
            Answer::Unknown => return Err("the hub did not acknowledge it".into()),
        }
        self.settle(&queued).await;
        Ok(())
    }

    /// Something that cannot be delivered by anybody.
    async fn set_aside(&self, record: &[u8], detail: String, drained: &mut Drained) -> Result<(), String> {
        let integration = IntegrationName::parse("outbox").map_err(|error| error.to_string())?;
        tracing::error!(detail, "something in the outbox cannot be delivered; it becomes a dead letter");
        let letter = NewDeadLetter {
            at: self.clock.wall(),
            integration,
            device: None,
            reason: Reason::Unreadable,
            detail,
            request: None,
            record: Some(record.to_vec()),
        };
        self.bury(letter).await.map_err(|error| error.to_string())?;
        drained.buried += 1;
        drained.foreign += 1;
        Ok(())
    }

    async fn bury(&self, letter: NewDeadLetter) -> StoreResult<()> {
        self.dead_letters.bury(&[letter]).await.map(drop)
    }

    /// Nothing waits for it any more. When that cannot be noted, newer messages of the lane take the way of the outbox until
    /// one of them settles it, too.
    async fn settle(&self, queued: &Queued) {
        if let Err(error) = self.queue.settle(queued).await {
            tracing::warn!(%error, message = %queued.message.id, "a delivered message still counts as waiting");
        }
    }
}
