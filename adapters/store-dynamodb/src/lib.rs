//! The ports of the bridge on one DynamoDB table, and the outbox of a serverless deployment on SQS ([`Queue`]). Usable by
//! several processes at once, but for the outbox in the table, which belongs to one ([`DynamoStore::claim_outbox`]).
//! Not here: any rule of the bridge; creating queues and tables for real use (Terraform does, from [`table::FACTS`]).
//!
//! # Layout
//!
//! Every item has `pk` and `sk` (texts). `S` is one of 8 shards, by a hash of the id or by the number, so that no
//! partition takes more than its share; a list in order merges the shards. Numbers have 20 digits, so that they sort.
//!
//! | what | `pk` | `sk` | written with |
//! |---|---|---|---|
//! | device | `device#S` | device id | its external id, version |
//! | external id → device | `external#INTEGRATION#EXTERNAL` | `-` | the device |
//! | message id | `seen#ID` | `-` | alone; has a TTL |
//! | state of a device | `twin#S` | device id | alone |
//! | dead letter | `letter#S` | number | the count |
//! | credential: token, certificate, signing key, pre-shared key | `token#S` | `DEVICE#DIGEST` | its digest, version |
//! | digest → credential | `digest#DIGEST` | `-` | the credential, whole |
//! | sealed secret | `vault#S` | name | alone |
//! | callback of a device | `callback#KIND#S` | device id | alone |
//! | archived uplink | `archive#S` | number | its batch |
//! | command | `command#S` | command id | its device's queue, counts |
//! | open commands of a device | `queue#DEVICE` | `-` | the command |
//! | request key → command | `request#DEVICE#KEY` | `-` | the command |
//! | reference → command | `reference#DEVICE#REFERENCE` | command id | the command |
//! | outbox entry | `outbox#S` | seq | the head |
//! | head of the outbox: owner, last seq | `outbox` | `-` | entries |
//! | message that waits in SQS | `lane#LANE` | `TIME#ID` | alone; has a TTL |
//! | part of a large value | `part#NAME` | place | alone |
//! | counter | `counter#NAME#S` | `-` | what is counted |
//! | last number given out | `number#NAME` | `-` | alone |
//!
//! Three sparse indexes hold keys only: `time` (message ids by time, commands by due time or end), `owner` (commands of a
//! device) and `flag` (what needs attention: untold commands, devices with something to send, states with something
//! wanted, letters to be replayed). An index may be behind the table: whatever it names is read from the table again, and
//! checked again. Nothing that has to be exact is asked of an index, and nothing is ever scanned.

mod access;
mod archive;
mod commands;
mod credentials;
mod dead_letters;
mod dedup;
mod error;
mod item;
mod keys;
mod numbers;
mod outbox;
mod parts;
mod queue;
mod registry;
mod settings;
mod subscriptions;
pub mod table;
mod twins;
mod vault;
mod walk;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

pub use queue::{Queue, Queued, Unread, Waiting};
pub use settings::{Aws, Settings};

/// The store. Cheap to clone. Its futures need a tokio runtime with time and I/O.
#[derive(Clone)]
pub struct DynamoStore {
    inner: Arc<Inner>,
}

struct Inner {
    client: aws_sdk_dynamodb::Client,
    settings: Settings,
    /// Under which number this process owns the outbox; 0: it does not.
    epoch: AtomicU64,
    conditions_lost: AtomicU64,
    put_aside: AtomicU64,
}

/// What a store has met so far, for those who watch it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes that did nothing because somebody else had been quicker, or had been there before.
    pub conditions_lost: u64,
    /// Values that were too large for their place and were kept beside it.
    pub put_aside: u64,
}

impl DynamoStore {
    /// The store in the table that the settings name. Nothing is asked of DynamoDB yet.
    pub fn new(aws: &Aws, settings: Settings) -> Self {
        let client = aws_sdk_dynamodb::Client::from_conf(aws.dynamodb(&settings));
        let [epoch, conditions_lost, put_aside] = [(); 3].map(|()| AtomicU64::new(0));
        Self { inner: Arc::new(Inner { client, settings, epoch, conditions_lost, put_aside }) }
    }

    /// What it has met so far.
    pub fn counts(&self) -> Counts {
        Counts {
            conditions_lost: self.inner.conditions_lost.load(Relaxed),
            put_aside: self.inner.put_aside.load(Relaxed),
        }
    }

    /// The name of its table.
    pub fn table(&self) -> &str {
        &self.inner.settings.table
    }

    pub(crate) fn client(&self) -> &aws_sdk_dynamodb::Client {
        &self.inner.client
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }
}
