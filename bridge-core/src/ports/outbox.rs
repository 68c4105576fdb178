//! Accepted, not yet acknowledged by the hub. Not here: when a message goes there ([`crate::mux`]).

use super::{BoxFuture, StoreResult};
use crate::id::MessageId;
use crate::time::Timestamp;

/// The place of an entry in the outbox. Assigned by the bridge, strictly increasing, never used twice.
pub type Seq = u64;

/// One accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its place.
    pub seq: Seq,
    /// The id of the message.
    pub id: MessageId,
    /// What order is kept within: a device id, or `integration/NAME` for events of no device.
    pub lane: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// [`crate::Message::to_record`].
    pub record: Vec<u8>,
}

/// What waits in the outbox, as far as counts tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Entries per lane; lanes without entries are absent.
    pub lanes: Vec<(String, u64)>,
    /// The highest `seq` that was ever stored here, also if that entry is gone.
    pub last_seq: Seq,
    /// When the oldest entry was accepted.
    pub oldest: Option<Timestamp>,
    /// Sum of the records, bytes.
    pub bytes: u64,
}

/// Keeps accepted messages until the hub has acknowledged them.
pub trait Outbox: Send + Sync {
    /// Stores all entries or none; durable (fsync) when it completes. `seq`s are above every earlier one.
    fn append<'a>(&'a self, entries: &'a [OutboxEntry]) -> BoxFuture<'a, StoreResult<()>>;
    /// Removes entries; unknown ones are ignored.
    fn remove<'a>(&'a self, seqs: &'a [Seq]) -> BoxFuture<'a, StoreResult<()>>;
    /// Up to `limit` entries with `seq > after`, in order.
    fn load(&self, after: Seq, limit: usize) -> BoxFuture<'_, StoreResult<Vec<OutboxEntry>>>;
    /// What waits. Called at start and by operators, not per message.
    fn backlog(&self) -> BoxFuture<'_, StoreResult<Backlog>>;
}
