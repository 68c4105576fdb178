//! The states of devices. Not here: what a state is ([`crate::twin`]).

use super::{BoxFuture, StoreResult};
use crate::id::DeviceId;
use crate::twin::Twin;

/// Keeps the states of devices. Every write is durable when it completes.
pub trait Twins: Send + Sync {
    /// The state of a device, with its `version`.
    fn get<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<Twin>>>;
    /// Writes a state when the one that is there still has `twin.version` (0: when none is there); the version grows by one.
    /// Whether it did.
    fn put<'a>(&'a self, device: &'a DeviceId, twin: &'a Twin) -> BoxFuture<'a, StoreResult<bool>>;
    /// Up to `limit` devices with `id > after` whose [`Twin::delta`] is not empty, in order.
    fn pending<'a>(
        &'a self,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>>;
    /// Removes the state of a device; whether there was one.
    fn remove<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>>;
}
