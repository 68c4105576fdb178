//! Which device an uplink is of: the cache in front of the [`Registry`], registration by rule, collisions. Not here:
//! the rule that names a device ([`crate::naming`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::id::{DeviceId, ExternalId, IntegrationName};
use crate::naming::NamingRule;
use crate::ports::{DeviceRecord, DeviceState, Insert, Registry, StoreResult};
use crate::recent::Recent;
use crate::signal::lock;
use crate::time::Timestamp;
use crate::uplink::ExternalDevice;
use crate::verdict::Reason;

/// How an integration treats its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceRule {
    /// What happens to a device that is heard for the first time.
    pub register: Register,
    /// How it is named.
    pub naming: NamingRule,
}

/// What happens to a device that is heard for the first time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Register {
    /// It is registered, and its messages go through.
    #[default]
    Auto,
    /// Its messages become dead letters.
    Off,
    /// It is registered as parked; its messages become dead letters until it is approved, and can be replayed then.
    Park,
}

/// A device that may pass, or why not.
pub type Resolved = Result<Arc<DeviceRecord>, (Reason, String)>;

/// Resolves devices.
pub struct Registrar {
    registry: Arc<dyn Registry>,
    state: Mutex<State>,
}

struct State {
    cache: Recent<(IntegrationName, String), Arc<DeviceRecord>>,
    seen: HashMap<DeviceId, Timestamp>,
    version: u64,
    /// Insertions of our own since `version` was read.
    own: u64,
}

impl State {
    /// Whether the device may pass now.
    fn admit(&mut self, record: &Arc<DeviceRecord>, device: &ExternalDevice, now: Timestamp) -> Resolved {
        if let (Some(known), Some(scope)) = (&record.scope, &device.scope)
            && known != scope
        {
            let detail = format!("{:?} is a device of {known:?} and of {scope:?}", device.id);
            return Err((Reason::DeviceIdCollision, detail));
        }
        if record.state == DeviceState::Parked {
            return Err((Reason::Parked, format!("{} waits for approval", record.id)));
        }
        self.seen.insert(record.id.clone(), now);
        Ok(record.clone())
    }
}

/// Devices kept in memory; beyond it the store is asked.
const CACHE: usize = 100_000;

impl Registrar {
    /// A registrar over a registry.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn open(registry: Arc<dyn Registry>) -> StoreResult<Self> {
        let version = registry.version().await?;
        let state = State { cache: Recent::new(CACHE), seen: HashMap::new(), version, own: 0 };
        Ok(Self { registry, state: Mutex::new(state) })
    }

    /// The device of an uplink, registered when the rule says so.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn resolve(
        &self,
        integration: &IntegrationName,
        rule: &DeviceRule,
        device: &ExternalDevice,
        now: Timestamp,
    ) -> StoreResult<Resolved> {
        let key = (integration.clone(), device.id.clone());
        {
            let mut state = lock(&self.state);
            if let Some(record) = state.cache.get(&key).cloned() {
                return Ok(state.admit(&record, device, now));
            }
        }
        // Boxed: it is large and rare.
        match Box::pin(self.look_up(integration, rule, device, now)).await? {
            Ok(record) => {
                let record = Arc::new(record);
                let mut state = lock(&self.state);
                state.cache.insert(key, record.clone());
                Ok(state.admit(&record, device, now))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// The device with this id.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn known(&self, id: &DeviceId) -> StoreResult<Option<DeviceRecord>> {
        self.registry.get(id).await
    }

    /// When a device was last heard, where that is not written yet.
    pub fn heard(&self, id: &DeviceId) -> Option<Timestamp> {
        lock(&self.state).seen.get(id).copied()
    }

    /// Writes when devices were last heard. Call it from time to time.
    ///
    /// # Errors
    /// When the registry failed; the times are kept for the next call.
    pub async fn flush(&self) -> StoreResult<()> {
        let seen = std::mem::take(&mut lock(&self.state).seen);
        if seen.is_empty() {
            return Ok(());
        }
        let batch: Vec<(DeviceId, Timestamp)> = seen.into_iter().collect();
        let result = self.registry.touch(&batch).await;
        if result.is_err() {
            let mut state = lock(&self.state);
            for (id, at) in batch {
                state.seen.entry(id).or_insert(at);
            }
        }
        result
    }

    /// Forgets the cache when somebody else changed the registry. Call it from time to time.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn refresh(&self) -> StoreResult<()> {
        let own = lock(&self.state).own;
        let version = self.registry.version().await?;
        let mut state = lock(&self.state);
        if version != state.version + own {
            state.cache.clear();
        }
        state.version = version;
        // Another refresh at the same time may have taken them away already.
        state.own = state.own.saturating_sub(own);
        Ok(())
    }

    async fn look_up(
        &self,
        integration: &IntegrationName,
        rule: &DeviceRule,
        device: &ExternalDevice,
        now: Timestamp,
    ) -> StoreResult<Result<DeviceRecord, (Reason, String)>> {
        let invalid = |why: String| Ok(Err((Reason::InvalidDeviceId, why)));
        let external = match ExternalId::parse(&device.id) {
            Ok(external) => external,
            Err(error) => return invalid(format!("the device's id {error}")),
        };
        if let Some(record) = self.registry.find(integration, &external).await? {
            return Ok(Ok(record));
        }
        let state = match rule.register {
            Register::Auto => DeviceState::Active,
            Register::Park => DeviceState::Parked,
            Register::Off => {
                return Ok(Err((Reason::UnknownDevice, format!("{:?} is not registered", device.id))));
            }
        };
        let id = match rule.naming.device_id(&device.id) {
            Ok(id) => id,
            Err(error) => return invalid(format!("the device id made of {:?} {error}", device.id)),
        };
        let record = DeviceRecord {
            id,
            integration: integration.clone(),
            external,
            scope: device.scope.clone(),
            name: device.name.clone(),
            hub_id: None,
            codec: None,
            tags: Vec::new(),
            state,
            first_seen: now,
            last_seen: Some(now),
        };
        Ok(match self.registry.insert(&record).await? {
            Insert::Created => {
                lock(&self.state).own += 1;
                Ok(record)
            }
            Insert::Exists(record) => Ok(record),
            Insert::IdTaken(other) => Err((
                Reason::DeviceIdCollision,
                format!(
                    "{} belongs to {:?} of {}; map {:?} to another id",
                    other.id,
                    other.external.as_str(),
                    other.integration,
                    device.id
                ),
            )),
        })
    }
}
