//! Accepted uplinks as they came, before any codec, for a while: so that a corrected codec can be run over them again.
//! Not here: when one is kept ([`crate::archive`]), and what is made of it ([`crate::correction`]).

use super::{BoxFuture, StoreResult};
use crate::id::DeviceId;
use crate::time::Timestamp;

/// An accepted uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Whose it is.
    pub device: DeviceId,
    /// When the bridge received it.
    pub at: Timestamp,
    /// The message that it would be without a codec ([`crate::Message::to_record`]).
    pub record: Vec<u8>,
}

/// Which uplinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFilter {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Received at this time or later.
    pub from: Timestamp,
    /// Received before this time.
    pub to: Timestamp,
}

/// Keeps accepted uplinks. It may lose the newest of them in a crash: each is in the hub or the outbox already.
pub trait Archive: Send + Sync {
    /// Stores all or none.
    fn keep<'a>(&'a self, uplinks: &'a [Archived]) -> BoxFuture<'a, StoreResult<()>>;
    /// Up to `limit` uplinks with a number above `after` that match, in the order in which they were kept.
    fn uplinks<'a>(
        &'a self,
        filter: &'a ArchiveFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<(u64, Archived)>>>;
    /// Removes what was received before that time, and the oldest beyond `most`; how many went.
    fn discard(&self, before: Timestamp, most: u64) -> BoxFuture<'_, StoreResult<u64>>;
}
