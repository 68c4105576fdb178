//! The port of the states of devices in memory.

use std::ops::Bound;

use super::MemoryStore;
use crate::id::DeviceId;
use crate::ports::{BoxFuture, StoreResult, Twins};
use crate::twin::Twin;

impl Twins for MemoryStore {
    fn get<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<Twin>>> {
        self.run(|state| state.twins.get(device).cloned())
    }

    fn put<'a>(&'a self, device: &'a DeviceId, twin: &'a Twin) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| {
            if state.twins.get(device).map_or(0, |known| known.version) != twin.version {
                return false;
            }
            state.twins.insert(device.clone(), twin.clone().at_version(twin.version + 1));
            true
        })
    }

    fn pending<'a>(
        &'a self,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>> {
        self.run(|state| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let pending =
                state.twins.range((from, Bound::Unbounded)).filter(|(_, twin)| !twin.delta().is_empty());
            pending.take(limit).map(|(device, _)| device.clone()).collect()
        })
    }

    fn remove<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| state.twins.remove(device).is_some())
    }
}
