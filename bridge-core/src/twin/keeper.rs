//! Changes the states of devices by compare-and-set, wakes who waits for a wish, and keeps what goes to the hub in the order
//! of its versions. Not here: what a change is ([`super::Twin`]), and delivery.

use std::sync::{Arc, Mutex, MutexGuard};

use futures_channel::oneshot;
use serde_json::{Map, Value};

use super::{Merged, TooLarge, Twin, TwinLimits};
use crate::arrivals::Arrivals;
use crate::id::{DeviceId, MessageId};
use crate::measurement::Measurement;
use crate::ports::{Clock, StoreError, StoreResult, Twins};
use crate::recent::Recent;
use crate::signal::{Signal, lock};
use crate::time::Timestamp;

/// See the module.
pub struct TwinKeeper {
    store: Arc<dyn Twins>,
    clock: Arc<dyn Clock>,
    limits: TwinLimits,
    told: Mutex<Recent<DeviceId, Told>>,
    arrivals: Arrivals,
    wished: Mutex<Vec<DeviceId>>,
    more: Signal,
}

/// What the hub was told of a device's reported state, by version.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    submitted: u64,
    accepted: u64,
}

/// The right to submit a reported state to the hub: what is submitted while it is held is in the order of the versions.
/// Not to be held while waiting.
pub(crate) struct Turn<'a>(
    #[allow(dead_code, reason = "held for its lock")] MutexGuard<'a, Recent<DeviceId, Told>>,
);

/// Why a version is not to be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoTurn {
    /// The hub or the outbox has this version or a newer one.
    Told,
    /// A newer version went before it, and nobody knows yet whether it arrives.
    Overtaken,
}

/// Something that is wanted of a device.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// A merge patch of what is wanted.
    pub patch: &'a Map<String, Value>,
    /// A digest of what the hub sent; none from others.
    pub digest: Option<MessageId>,
    /// It may be a copy of what came before (retained, redelivered): with a digest that is known it is none.
    pub is_copy: bool,
}

/// What a report did.
#[derive(Debug, Clone, PartialEq)]
pub enum Reported {
    /// The state is this now, or was it before.
    State(Box<Twin>),
    /// All of it is older than what is known; the state is not touched.
    Stale,
}

/// Why a state was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwinError {
    /// The author's fault.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The bridge's fault; later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often a change is tried when others change the same state.
const CONTENDED: usize = 32;
/// Devices of which it is remembered what the hub was told. Of others it is told again.
const TOLD: usize = 100_000;
/// Devices whose wish waits to be looked at; the others are found in the store.
const WISHED: usize = 10_000;

impl TwinKeeper {
    /// A keeper over this store.
    pub fn new(store: Arc<dyn Twins>, clock: Arc<dyn Clock>, limits: TwinLimits) -> Self {
        Self {
            store,
            clock,
            limits,
            told: Mutex::new(Recent::new(TOLD)),
            arrivals: Arrivals::default(),
            wished: Mutex::default(),
            more: Signal::default(),
        }
    }

    /// The state of a device; an empty one when nothing was ever said.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn get(&self, device: &DeviceId) -> StoreResult<Twin> {
        Ok(self.store.get(device).await?.unwrap_or_default())
    }

    /// Merges a wish; the state, and whether the wish changed it. It is durable when this completes.
    ///
    /// # Errors
    /// See [`TwinError`].
    pub async fn desire(&self, device: &DeviceId, wish: Wish<'_>) -> Result<(Twin, bool), TwinError> {
        let now = self.clock.wall();
        let desire = |twin: &mut Twin| {
            let known = wish.digest.map(|digest| twin.hear(digest));
            if known == Some(true) && wish.is_copy {
                return Ok((false, false));
            }
            let changed = twin.desire(wish.patch, now, &self.limits)?;
            Ok((changed || known == Some(false), changed))
        };
        let (twin, changed) = self.change(device, desire).await?;
        if changed {
            self.arrivals.wake(device);
            let mut wished = lock(&self.wished);
            if wished.len() < WISHED {
                wished.push(device.clone());
            }
            drop(wished);
            self.more.notify();
        }
        Ok((twin, changed))
    }

    /// Merges what a device reported at `at`. It is durable when this completes.
    ///
    /// # Errors
    /// See [`TwinError`].
    pub async fn report(
        &self,
        device: &DeviceId,
        properties: &[Measurement],
        at: Timestamp,
    ) -> Result<Reported, TwinError> {
        let now = self.clock.wall();
        let report = |twin: &mut Twin| {
            let before = twin.clone();
            let merged = twin.report(properties, at, now, &self.limits)?;
            Ok((*twin != before, merged))
        };
        let (twin, merged) = self.change(device, report).await?;
        Ok(match merged {
            Merged::Stale => Reported::Stale,
            Merged::Changed | Merged::Unchanged => Reported::State(Box::new(twin)),
        })
    }

    /// Notes that this desired version went to the device once more. Of another version it is not noted.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn sent(&self, device: &DeviceId, desired_version: u64) -> StoreResult<()> {
        let now = self.clock.wall();
        let sent = |twin: &mut Twin| {
            let is_it = twin.desired_version == desired_version && twin.version > 0;
            if is_it {
                (twin.sends, twin.sent_at) = (twin.sends.saturating_add(1), Some(now));
            }
            Ok((is_it, ()))
        };
        match self.change(device, sent).await {
            Ok(_) | Err(TwinError::TooLarge(_)) => Ok(()),
            Err(TwinError::Store(error)) => Err(error),
        }
    }

    /// Up to `limit` devices after `after` of which something is wanted that they have not reported, in order.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn pending(&self, after: Option<&DeviceId>, limit: usize) -> StoreResult<Vec<DeviceId>> {
        self.store.pending(after, limit).await
    }

    /// The devices of which something new is wanted since the last call; waits for the first. For one caller at a time.
    pub async fn wished(&self) -> Vec<DeviceId> {
        loop {
            let wished = self.take_wished();
            if !wished.is_empty() {
                return wished;
            }
            self.more.wait().await;
        }
    }

    /// Like [`wished`](Self::wished), without waiting.
    pub fn take_wished(&self) -> Vec<DeviceId> {
        std::mem::take(&mut *lock(&self.wished))
    }

    /// Completes when something new is wanted of the device after this call. Ask for this first, then [`get`](Self::get).
    pub fn arrival(&self, device: &DeviceId) -> oneshot::Receiver<()> {
        self.arrivals.wait(device)
    }

    /// Forgets waiting requests that have gone.
    pub fn tidy(&self) {
        self.arrivals.tidy();
    }

    /// The right to submit a reported state to the hub, and the state: the given one, or a newer one if that went before
    /// and may not have arrived. None when the hub or the outbox has it.
    pub(crate) async fn turn(
        &self,
        device: &DeviceId,
        mut twin: Twin,
    ) -> StoreResult<Option<(Twin, Turn<'_>)>> {
        loop {
            match self.try_turn(device, twin.reported_version) {
                Ok(turn) => return Ok(Some((twin, turn))),
                Err(NoTurn::Told) => return Ok(None),
                Err(NoTurn::Overtaken) => {}
            }
            twin = self.get(device).await?;
        }
    }

    fn try_turn(&self, device: &DeviceId, version: u64) -> Result<Turn<'_>, NoTurn> {
        let mut told = lock(&self.told);
        let mut known = told.get(device).copied().unwrap_or_default();
        if version <= known.accepted {
            return Err(NoTurn::Told);
        }
        if version < known.submitted {
            return Err(NoTurn::Overtaken);
        }
        known.submitted = version;
        told.insert(device.clone(), known);
        Ok(Turn(told))
    }

    /// The hub or the outbox has this version.
    pub(crate) fn accepted(&self, device: &DeviceId, version: u64) {
        let mut told = lock(&self.told);
        let mut known = told.get(device).copied().unwrap_or_default();
        known.accepted = known.accepted.max(version);
        told.insert(device.clone(), known);
    }

    /// Changes a state by compare-and-set. `by` says whether it changed anything.
    async fn change<R>(
        &self,
        device: &DeviceId,
        by: impl Fn(&mut Twin) -> Result<(bool, R), TooLarge>,
    ) -> Result<(Twin, R), TwinError> {
        for _ in 0..CONTENDED {
            let mut twin = self.get(device).await?;
            let (changed, result) = by(&mut twin)?;
            if !changed {
                return Ok((twin, result));
            }
            if self.store.put(device, &twin).await? {
                twin.version += 1;
                return Ok((twin, result));
            }
        }
        Err(StoreError::Unavailable("too many changes of one device's state at once".into()).into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::{IdempotencyKey, IntegrationName};
    use crate::testing::{Fault, Faulty, ManualClock, MemoryStore, block_on, poll_once};

    fn keeper() -> (TwinKeeper, Arc<Faulty<MemoryStore>>) {
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        (TwinKeeper::new(store.clone(), Arc::new(ManualClock::default()), TwinLimits::default()), store)
    }

    fn wish(keeper: &TwinKeeper, patch: &Value, copy_of: Option<&str>, is_copy: bool) -> (Value, bool) {
        let integration = IntegrationName::parse("hub").unwrap();
        let digest = copy_of.map(|text| MessageId::new(&integration, &IdempotencyKey::from_texts(&[text])));
        let wish = Wish { patch: patch.as_object().unwrap(), digest, is_copy };
        let (twin, changed) = block_on(keeper.desire(&DeviceId::parse("d1").unwrap(), wish)).unwrap();
        (twin.desired.into(), changed)
    }

    #[test]
    fn a_copy_of_an_old_wish_of_the_hub_does_not_undo_a_newer_one() {
        let (keeper, _) = keeper();
        let (one, two) = (json!({ "a": 1 }), json!({ "a": 2 }));
        assert_eq!(wish(&keeper, &one, Some("1"), false), (one.clone(), true));
        assert_eq!(wish(&keeper, &two, None, false), (two.clone(), true));
        assert_eq!(
            wish(&keeper, &one, Some("1"), true),
            (two, false),
            "retained, and sent at every subscription"
        );
        assert_eq!(wish(&keeper, &one, Some("1"), false), (one, true), "sent anew");
    }

    #[test]
    fn who_waits_is_woken_by_changes_alone() {
        let (keeper, _) = keeper();
        let device = DeviceId::parse("d1").unwrap();
        let mut arrival = keeper.arrival(&device);
        wish(&keeper, &json!({}), None, false);
        assert_eq!(arrival.try_recv(), Ok(None));
        wish(&keeper, &json!({ "a": 1 }), None, false);
        assert_eq!(arrival.try_recv(), Ok(Some(())));
        assert_eq!(block_on(keeper.wished()), [device]);
        assert!(poll_once(&mut std::pin::pin!(keeper.wished())).is_none());
    }

    #[test]
    fn a_failed_store_is_said_and_a_lost_answer_is_found_again() {
        let (keeper, store) = keeper();
        let device = DeviceId::parse("d1").unwrap();
        let report = || block_on(keeper.report(&device, &[Measurement::new("a", 1)], Timestamp::EPOCH));
        store.set(Fault::Before);
        assert!(matches!(report(), Err(TwinError::Store(_))));
        store.set(Fault::None);
        for _ in 0..2 {
            let Ok(Reported::State(twin)) = report() else { panic!("a report") };
            assert_eq!(twin.reported_version, 1);
        }
    }

    #[test]
    fn the_hub_is_told_in_the_order_of_versions_and_once() {
        let (keeper, _) = keeper();
        let device = DeviceId::parse("d1").unwrap();
        let turn = |version| keeper.try_turn(&device, version).err();
        assert_eq!([turn(2), turn(1), turn(2)], [None, Some(NoTurn::Overtaken), None], "not accepted yet");
        keeper.accepted(&device, 2);
        assert_eq!([turn(2), turn(1), turn(3)], [Some(NoTurn::Told), Some(NoTurn::Told), None]);
    }

    #[test]
    fn a_state_that_was_overtaken_goes_as_the_newest() {
        let (keeper, _) = keeper();
        let device = DeviceId::parse("d1").unwrap();
        let report = |value: u32| match block_on(keeper.report(
            &device,
            &[Measurement::new("a", value)],
            Timestamp::EPOCH,
        )) {
            Ok(Reported::State(twin)) => *twin,
            other => panic!("{other:?}"),
        };
        let (older, newer) = (report(1), report(2));
        let submitted =
            |twin| block_on(keeper.turn(&device, twin)).unwrap().map(|(twin, _)| twin.reported_version);
        assert_eq!(
            [submitted(newer), submitted(older.clone())],
            [Some(2), Some(2)],
            "the newer one may fail yet"
        );
        keeper.accepted(&device, 2);
        assert_eq!(submitted(older), None);
    }
}
