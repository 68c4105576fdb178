//! The outbox of a serverless deployment: an SQS FIFO queue whose message groups are lanes, so that order is kept per device
//! and no device waits for another. A record that SQS does not take is put aside in the table (claim check). Which messages
//! of a lane wait is noted in the table, so that a newer one does not overtake them.
//! Not here: who delivers (`deploy/`), and the outbox of a long-running service (the table itself, [`crate::DynamoStore`]).

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bridge_core::ports::{StoreError, StoreResult};
use bridge_core::{MessageId, Timestamp};
use futures_util::TryFutureExt;
use serde_json::{Value, json};

use crate::error::store_error;
use crate::item::{attributes, number};
use crate::keys::{Key, moment};
use crate::parts::Claim;
use crate::table::TTL;
use crate::walk::Range;
use crate::write::Write;
use crate::{Aws, DynamoStore};

/// The longest body that goes through SQS as it is; with the rest it stays below 256 KiB.
const LONGEST: usize = 240 * 1024;
/// How long SQS waits for a message at most.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How long SQS keeps a message at most, and a day more: what is put aside or noted goes by itself after that.
const KEPT: Duration = Duration::from_secs(15 * 24 * 3600);
/// A note is older than every message that still waits when it is so much older than one of its lane that is delivered: no
/// [`Queue::put`] takes so long.
const SETTLED: Duration = Duration::from_secs(120);

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    /// The same with more patience: waiting for messages is part of the request.
    receiving: aws_sdk_sqs::Client,
    url: String,
    store: DynamoStore,
}

/// A message to be kept until the hub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its id.
    pub id: MessageId,
    /// What order is kept within: as in [`bridge_core::ports::OutboxEntry`].
    pub lane: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// The message at rest.
    pub record: Vec<u8>,
}

/// A message that SQS has handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The message.
    pub message: Waiting,
    /// Names this hand-out to SQS.
    pub receipt: String,
    /// How often it was handed out, this time included. Above 1 the hub may have it already: its id is the same.
    pub times: u32,
    claim: Option<Claim>,
}

/// A message that SQS has handed out and that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Names this hand-out to SQS.
    pub receipt: String,
    /// How often it was handed out, this time included.
    pub times: u32,
    /// Why: `Damaged` when it is not ours or what was put aside is gone, `Unavailable` when that cannot be read now.
    pub error: StoreError,
}

impl Queue {
    /// The queue at this URL. Nothing is asked of SQS yet. `store` has what does not fit and who waits.
    pub fn new(aws: &Aws, url: impl Into<String>, store: DynamoStore) -> Self {
        let client = |long| aws_sdk_sqs::Client::from_conf(aws.sqs(store.settings(), long));
        let (client, receiving) = (client(Duration::ZERO), client(LONGEST_WAIT));
        Self { client, receiving, url: url.into(), store }
    }

    /// Says what is wrong with the queue, if anything.
    ///
    /// # Errors
    /// `Damaged` when it is not a FIFO queue, `Unavailable` when SQS does not say.
    pub async fn check(&self) -> StoreResult<()> {
        let get = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = get.attribute_names(QueueAttributeName::FifoQueue).send();
        let answer = answer.await.map_err(|error| store_error(&error, &self.url))?;
        let kind = answer.attributes().and_then(|all| all.get(&QueueAttributeName::FifoQueue));
        if kind.map(String::as_str) == Some("true") {
            return Ok(());
        }
        Err(StoreError::Damaged(format!(
            "{} is not a FIFO queue: the order of devices would be lost",
            self.url
        )))
    }

    /// Whether messages of the lane wait: then a newer one has to wait behind them. It may say so for a while after the last
    /// one is delivered, never the other way round.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn is_busy(&self, lane: &str) -> StoreResult<bool> {
        let mut walk = self.store.walk_in(None, vec![partition(lane)], Range::All, 1);
        Ok(walk.next().await?.is_some())
    }

    /// Keeps a message until [`done`](Self::done). Durable when it completes; after an error it may or may not be kept. The
    /// same again is kept again: an operator may want it so.
    ///
    /// # Errors
    /// When the table or SQS does not take it.
    pub async fn put(&self, message: &Waiting) -> StoreResult<()> {
        self.store.bounded(self.keep(message)).await
    }

    async fn keep(&self, message: &Waiting) -> StoreResult<()> {
        let until = message.at.plus(KEPT);
        let note = attributes([(TTL, number(until.as_millis() / 1000))]);
        // First, so that from the moment in which SQS has it nothing overtakes it.
        self.store.write(vec![Write::put(note_key(message), note)]).await?;
        let mut body = body(message, &json!(BASE64.encode(&message.record)));
        let mut claim = None;
        if body.len() > LONGEST {
            let aside = self.store.put_aside(&message.record, Some(until)).await?;
            body = self::body(message, &json!({ "name": aside.name, "parts": aside.parts }));
            claim = Some(aside);
        }
        let send = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_group_id(&message.lane)
            // Of this call and not of the message: SQS would swallow what is replayed within five minutes.
            .message_deduplication_id(format!("{:032x}", fastrand::u128(..)))
            .message_body(body);
        let sent = send.send().map_err(|error| store_error(&error, &self.url));
        match (sent.await, claim) {
            // Whether SQS has it is not known; then it needs what was put aside. That goes by itself.
            (Err(error), Some(_)) if matches!(error, StoreError::Unavailable(_)) => Err(error),
            (Err(error), Some(claim)) => {
                self.store.drop_claim(&claim).await?;
                Err(error)
            }
            (sent, _) => sent.map(drop),
        }
    }

    /// Up to 10 messages, the first of their lanes in order; waits up to `wait` (20 seconds at most) for one. They are handed
    /// out again when they are not [`done`](Self::done) within `mine`; so is one that cannot be read, and those of its lane
    /// that come after it are not to be delivered before it.
    ///
    /// # Errors
    /// When SQS does not answer.
    pub async fn take(&self, wait: Duration, mine: Duration) -> StoreResult<Vec<Result<Queued, Unread>>> {
        let seconds =
            |duration: Duration, most: i32| i32::try_from(duration.as_secs()).unwrap_or(most).min(most);
        let receive = self
            .receiving
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .wait_time_seconds(seconds(wait, 20))
            .visibility_timeout(seconds(mine, 43_200))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let answer = receive.send().await.map_err(|error| store_error(&error, &self.url))?;
        let mut taken = Vec::new();
        for message in answer.messages() {
            let times = message
                .attributes()
                .and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
            let times = times.and_then(|times| times.parse().ok()).unwrap_or(1);
            let (receipt, body) = (message.receipt_handle(), message.body());
            let receipt = receipt.unwrap_or_default();
            let opened = self.open(body.unwrap_or_default(), receipt, times).await;
            taken.push(opened.map_err(|error| Unread { receipt: receipt.to_owned(), times, error }));
        }
        Ok(taken)
    }

    /// Makes a message of what an event of SQS carries: body, receipt handle, `ApproximateReceiveCount`.
    ///
    /// # Errors
    /// `Damaged` when the body is not ours or what was put aside is gone, `Unavailable` when that cannot be read now.
    pub async fn open(&self, body: &str, receipt: &str, times: u32) -> StoreResult<Queued> {
        let foreign = || StoreError::Damaged(format!("a message in {} is not of this bridge", self.url));
        let (mut message, claim) = parse(body).ok_or_else(foreign)?;
        if let Some(claim) = &claim {
            message.record = self.store.fetch(claim).await?.ok_or_else(|| {
                StoreError::Damaged(format!("what was put aside of message {} is gone", message.id))
            })?;
        }
        Ok(Queued { message, receipt: receipt.to_owned(), times, claim })
    }

    /// The hub has it, or it is buried. Once this completes it is not handed out again, and nothing waits for it.
    ///
    /// # Errors
    /// When SQS or the table does not take it; it may be handed out again then.
    pub async fn done(&self, queued: &Queued) -> StoreResult<()> {
        self.discard(&queued.receipt).await?;
        self.settle(queued).await
    }

    /// It is not handed out again: for one that cannot be read, and never will be.
    ///
    /// # Errors
    /// When SQS does not take it; it is handed out again then.
    pub async fn discard(&self, receipt: &str) -> StoreResult<()> {
        let delete = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt);
        delete.send().await.map(drop).map_err(|error| store_error(&error, &self.url))
    }

    /// What [`done`](Self::done) does after SQS knows: for a caller whose event source deletes messages by itself.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn settle(&self, queued: &Queued) -> StoreResult<()> {
        let message = &queued.message;
        // Notes of messages that never came into the queue, and of those whose settling failed.
        let old = moment(message.at.minus(SETTLED));
        let walk = self.store.walk_in(None, vec![partition(&message.lane)], Range::Before(old), 100);
        let mut gone = walk.take(100, |note| note.key().map(Some)).await?;
        gone.push(note_key(message));
        self.store.write_each(gone.into_iter().map(Write::delete).collect()).await?;
        match &queued.claim {
            None => Ok(()),
            Some(claim) => self.store.drop_claim(claim).await,
        }
    }

    /// It could not be delivered now; it is handed out again after this time, and its lane waits for it.
    ///
    /// # Errors
    /// When SQS does not take it; it is handed out again at the time that was said when it was taken.
    pub async fn give_back(&self, queued: &Queued, after: Duration) -> StoreResult<()> {
        let seconds = i32::try_from(after.as_secs()).unwrap_or(43_200).min(43_200);
        let change = self.client.change_message_visibility().queue_url(&self.url);
        let change = change.receipt_handle(&queued.receipt).visibility_timeout(seconds);
        change.send().await.map(drop).map_err(|error| store_error(&error, &self.url))
    }
}

fn partition(lane: &str) -> String {
    format!("lane#{lane}")
}

fn note_key(message: &Waiting) -> Key {
    Key::new(partition(&message.lane), format!("{}#{}", moment(message.at), message.id))
}

fn body(message: &Waiting, record: &Value) -> String {
    let (id, at) = (message.id.to_string(), message.at.as_millis());
    json!({ "v": 1, "id": id, "lane": message.lane, "at": at, "record": record }).to_string()
}

fn parse(body: &str) -> Option<(Waiting, Option<Claim>)> {
    let body: Value = serde_json::from_str(body).ok()?;
    if body.get("v")? != 1 {
        return None;
    }
    let (record, claim) = match body.get("record")? {
        Value::String(record) => (BASE64.decode(record).ok()?, None),
        aside => {
            let parts = usize::try_from(aside.get("parts")?.as_u64()?).ok()?;
            (Vec::new(), Some(Claim { name: aside.get("name")?.as_str()?.to_owned(), parts }))
        }
    };
    let message = Waiting {
        id: MessageId::parse(body.get("id")?.as_str()?).ok()?,
        lane: body.get("lane")?.as_str()?.to_owned(),
        at: Timestamp::from_millis(body.get("at")?.as_i64()?)?,
        record,
    };
    Some((message, claim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_they_were_written_and_foreign_ones_are_not() {
        let message = Waiting {
            id: MessageId::from_bytes([7; 16]),
            lane: "d1".into(),
            at: Timestamp::from_millis(5).unwrap(),
            record: b"{}".to_vec(),
        };
        let text = body(&message, &json!(BASE64.encode(&message.record)));
        assert_eq!(parse(&text), Some((message.clone(), None)));
        let aside = body(&message, &json!({ "name": "n", "parts": 2 }));
        let claim = Claim { name: "n".into(), parts: 2 };
        assert_eq!(parse(&aside), Some((Waiting { record: Vec::new(), ..message }, Some(claim))));
        for foreign in ["", "{}", "hello", "{\"v\":2}", "{\"v\":1,\"record\":{\"parts\":1e99}}"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
