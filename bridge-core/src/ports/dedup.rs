//! Which messages were accepted before. Not here: the memory in front of it ([`crate::dedup`]).

use super::{BoxFuture, StoreResult};
use crate::id::MessageId;
use crate::time::Timestamp;

/// Remembers accepted messages over a restart.
pub trait Dedup: Send + Sync {
    /// Whether the id was remembered at or after `since`. The caller knows all that were remembered at or after `known_from`, and
    /// the answer may leave them out.
    fn seen(
        &self,
        id: MessageId,
        since: Timestamp,
        known_from: Option<Timestamp>,
    ) -> BoxFuture<'_, StoreResult<bool>>;
    /// Up to `limit` ids remembered at or after `since`, the newest.
    fn recent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(MessageId, Timestamp)>>>;
    /// Remembers ids with the time of acceptance; an id that is there keeps its newer time.
    fn remember<'a>(&'a self, ids: &'a [(MessageId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>>;
    /// Lets go of what was remembered before `before`, in the course of several calls: from now on nobody asks for it.
    fn forget(&self, before: Timestamp) -> BoxFuture<'_, StoreResult<()>>;
}
