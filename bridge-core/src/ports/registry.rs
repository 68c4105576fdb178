//! Which devices there are. Not here: the rule that names them ([`crate::naming`]) and the cache ([`crate::registrar`]).

use super::{BoxFuture, StoreResult};
use crate::id::{DeviceId, ExternalId, IntegrationName};
use crate::time::Timestamp;

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its id in the bridge. Unique.
    pub id: DeviceId,
    /// The integration that it belongs to.
    pub integration: IntegrationName,
    /// What the source calls it. Unique within the integration.
    pub external: ExternalId,
    /// What the external id is unique in, as far as the source said.
    pub scope: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// Its id in the hub where that differs from `id`.
    pub hub_id: Option<String>,
    /// The payload codec, by name.
    pub codec: Option<String>,
    /// Free words for people and filters.
    pub tags: Vec<String>,
    /// Whether its messages go through.
    pub state: DeviceState,
    /// When the bridge first heard of it.
    pub first_seen: Timestamp,
    /// When it was last heard; none until then (imported devices).
    pub last_seen: Option<Timestamp>,
}

/// Whether a device's messages go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// They do.
    Active,
    /// They wait as dead letters until an operator approves the device.
    Parked,
}

impl DeviceState {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Parked => "parked",
        }
    }
}

/// What became of an insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insert {
    /// It is new.
    Created,
    /// That external id of that integration is registered already; this is its record.
    Exists(DeviceRecord),
    /// The device id belongs to another device; this is its record. Nothing was stored.
    IdTaken(DeviceRecord),
}

/// Which devices; empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Only of this integration.
    pub integration: Option<IntegrationName>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only in this state.
    pub state: Option<DeviceState>,
}

/// Keeps the devices.
pub trait Registry: Send + Sync {
    /// The device that a source calls so.
    fn find<'a>(
        &'a self,
        integration: &'a IntegrationName,
        external: &'a ExternalId,
    ) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>>;
    /// The device with that id.
    fn get<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>>;
    /// Adds a device, unless its external id or its id is taken. Atomic.
    fn insert<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<Insert>>;
    /// Replaces name, hub id, codec, tags and state of a device; whether it was there.
    fn update<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<bool>>;
    /// Removes a device; whether it was there.
    fn remove<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>>;
    /// Up to `limit` devices with `id > after` that match, in order of id.
    fn list<'a>(
        &'a self,
        filter: &'a DeviceFilter,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceRecord>>>;
    /// Notes when devices were last heard; unknown ones are ignored; never goes back in time.
    fn touch<'a>(&'a self, seen: &'a [(DeviceId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>>;
    /// Grows with every insert, update and removal, by whichever process. A cache is stale when it has changed.
    fn version(&self) -> BoxFuture<'_, StoreResult<u64>>;
}
