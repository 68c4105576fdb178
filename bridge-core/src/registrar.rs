//! Which device an uplink is of: the cache in front of the [`Registry`], registration by rule, collisions. Not here:
//! the rule that names a device ([`crate::naming`]).

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};

use crate::hash::QuickHash;
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
    hash: QuickHash,
    state: Mutex<State>,
}

/// The hash of an integration and of what it calls a device. A key of the two texts would be made for every message.
type Called = u64;

struct State {
    cache: Recent<Called, Arc<DeviceRecord>, QuickHash>,
    seen: HashMap<DeviceId, Timestamp, QuickHash>,
    version: u64,
    /// Insertions of our own since `version` was read, and in it for certain.
    own: u64,
    /// Times that `version` was read. What was under way then belongs to neither side.
    epoch: u64,
}

impl State {
    /// What is cached of a device. Of two with one hash, which does not happen by itself, the registry is asked.
    fn cached(
        &mut self,
        called: Called,
        integration: &IntegrationName,
        device: &ExternalDevice,
    ) -> Option<Arc<DeviceRecord>> {
        let record = self.cache.get_cloned(&called)?;
        (record.external.as_str() == device.id && record.integration == *integration).then_some(record)
    }

    /// Whether the device may pass now.
    fn admit(&mut self, record: Arc<DeviceRecord>, device: &ExternalDevice, now: Timestamp) -> Resolved {
        if let (Some(known), Some(scope)) = (&record.scope, &device.scope)
            && known != scope
        {
            let detail = format!("{:?} is a device of {known:?} and of {scope:?}", device.id);
            return Err((Reason::DeviceIdCollision, detail));
        }
        if record.state == DeviceState::Parked {
            return Err((Reason::Parked, format!("{} waits for approval", record.id)));
        }
        match self.seen.get_mut(&record.id) {
            Some(at) => *at = now,
            None => drop(self.seen.insert(record.id.clone(), now)),
        }
        Ok(record)
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
        let state = State { cache: Recent::new(CACHE), seen: HashMap::default(), version, own: 0, epoch: 0 };
        Ok(Self { registry, hash: QuickHash::default(), state: Mutex::new(state) })
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
        let called = self.called(integration, device);
        let epoch = {
            let mut state = lock(&self.state);
            if let Some(record) = state.cached(called, integration, device) {
                return Ok(state.admit(record, device, now));
            }
            state.epoch
        };
        // Boxed: it is large and rare.
        match Box::pin(self.look_up(integration, rule, device, now)).await? {
            Ok(record) => {
                let record = Arc::new(record);
                let mut state = lock(&self.state);
                // What was read before somebody else's change was seen must not stay.
                if state.epoch == epoch {
                    state.cache.insert(called, record.clone());
                }
                Ok(state.admit(record, device, now))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// The device of an uplink that came lately, as [`resolve`](Self::resolve) knows it; none when the registry is to be asked.
    pub fn lately(
        &self,
        integration: &IntegrationName,
        device: &ExternalDevice,
    ) -> Option<Arc<DeviceRecord>> {
        lock(&self.state).cached(self.called(integration, device), integration, device)
    }

    fn called(&self, integration: &IntegrationName, device: &ExternalDevice) -> Called {
        self.hash.hash_one((integration.as_str(), device.id.as_str()))
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
        let (own, epoch) = {
            let state = lock(&self.state);
            (state.own, state.epoch)
        };
        let version = self.registry.version().await?;
        let mut state = lock(&self.state);
        // With another refresh in between, nobody knows which changes of our own it has seen.
        if state.epoch != epoch || version != state.version + own {
            state.cache.clear();
        }
        (state.version, state.own) = (version, 0);
        state.epoch += 1;
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
        let epoch = lock(&self.state).epoch;
        Ok(match self.registry.insert(&record).await? {
            Insert::Created => {
                let mut state = lock(&self.state);
                // A refresh in between may have counted it: counted twice, it would hide a change of somebody else.
                state.own += u64::from(state.epoch == epoch);
                drop(state);
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_channel::oneshot;

    use super::*;
    use crate::ports::{BoxFuture, DeviceFilter};
    use crate::testing::{MemoryStore, block_on, poll_once};

    /// A registry whose answer to an insertion comes when the test says so.
    struct Slow(MemoryStore, Mutex<Option<oneshot::Receiver<()>>>);

    impl Registry for Slow {
        fn find<'a>(
            &'a self,
            integration: &'a IntegrationName,
            external: &'a ExternalId,
        ) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
            self.0.find(integration, external)
        }

        fn get<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<Option<DeviceRecord>>> {
            Registry::get(&self.0, id)
        }

        fn insert<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<Insert>> {
            Box::pin(async move {
                let inserted = Registry::insert(&self.0, record).await;
                let answer = lock(&self.1).take();
                if let Some(answer) = answer {
                    answer.await.unwrap();
                }
                inserted
            })
        }

        fn update<'a>(&'a self, record: &'a DeviceRecord) -> BoxFuture<'a, StoreResult<bool>> {
            Registry::update(&self.0, record)
        }

        fn remove<'a>(&'a self, id: &'a DeviceId) -> BoxFuture<'a, StoreResult<bool>> {
            Registry::remove(&self.0, id)
        }

        fn list<'a>(
            &'a self,
            filter: &'a DeviceFilter,
            after: Option<&'a DeviceId>,
            limit: usize,
        ) -> BoxFuture<'a, StoreResult<Vec<DeviceRecord>>> {
            Registry::list(&self.0, filter, after, limit)
        }

        fn touch<'a>(&'a self, seen: &'a [(DeviceId, Timestamp)]) -> BoxFuture<'a, StoreResult<()>> {
            self.0.touch(seen)
        }

        fn version(&self) -> BoxFuture<'_, StoreResult<u64>> {
            Registry::version(&self.0)
        }
    }

    #[test]
    fn of_two_devices_with_one_hash_none_passes_for_the_other() {
        let registry = Arc::new(MemoryStore::default());
        let registrar = block_on(Registrar::open(registry)).unwrap();
        let (integration, rule) = (IntegrationName::parse("farm").unwrap(), DeviceRule::default());
        let device = |id: &str| ExternalDevice::new(id);
        let resolve = |id: &str| {
            let device = device(id);
            block_on(registrar.resolve(&integration, &rule, &device, Timestamp::EPOCH)).unwrap().unwrap()
        };
        let first = resolve("d1");
        let second = registrar.called(&integration, &device("d2"));
        lock(&registrar.state).cache.insert(second, first.clone());
        assert_eq!(registrar.lately(&integration, &device("d2")), None);
        assert_eq!(resolve("d2").external.as_str(), "d2");
        assert_eq!(registrar.lately(&integration, &device("d1")), Some(first));
    }

    #[test]
    fn a_change_is_seen_though_a_device_registered_while_the_version_was_read() {
        let (answer, waits) = oneshot::channel();
        let registry = Arc::new(Slow(MemoryStore::default(), Mutex::new(Some(waits))));
        let registrar = block_on(Registrar::open(registry.clone())).unwrap();
        let (integration, rule) = (IntegrationName::parse("farm").unwrap(), DeviceRule::default());
        let device = ExternalDevice::new("d1");
        let resolve = || registrar.resolve(&integration, &rule, &device, Timestamp::EPOCH);
        {
            let mut registering = pin!(resolve());
            assert!(poll_once(&mut registering).is_none(), "it is written, and nobody knows");
            block_on(registrar.refresh()).unwrap();
            answer.send(()).unwrap();
            assert!(block_on(registering).unwrap().is_ok());
        }
        let record = block_on(resolve()).unwrap().unwrap();
        let parked = DeviceRecord { state: DeviceState::Parked, ..(*record).clone() };
        assert!(block_on(Registry::update(&*registry, &parked)).unwrap());
        block_on(registrar.refresh()).unwrap();
        assert_eq!(block_on(resolve()).unwrap().unwrap_err().0, Reason::Parked);
    }
}
