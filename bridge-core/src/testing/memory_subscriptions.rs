//! The port of callbacks in memory.

use super::MemoryStore;
use crate::id::DeviceId;
use crate::ports::{BoxFuture, StoreResult, Subscriptions};
use crate::subscription::{Subscription, SubscriptionKind, Told};

impl Subscriptions for MemoryStore {
    fn get<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<Option<Subscription>>> {
        self.run(|state| state.subscriptions.get(&(kind, device.clone())).cloned())
    }

    fn put<'a>(&'a self, subscription: &'a Subscription) -> BoxFuture<'a, StoreResult<()>> {
        self.run(|state| {
            let key = (subscription.kind, subscription.device.clone());
            let told = state.subscriptions.get(&key).map(|known| known.told.clone());
            let told = told.unwrap_or_else(|| subscription.told.clone());
            state.subscriptions.insert(key, Subscription { told, ..subscription.clone() });
        })
    }

    fn remove<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| state.subscriptions.remove(&(kind, device.clone())).is_some())
    }

    fn list<'a>(
        &'a self,
        kind: SubscriptionKind,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Subscription>>> {
        self.run(|state| {
            let of_kind = state.subscriptions.iter().filter(|((of, _), _)| *of == kind);
            let later = of_kind.filter(|((_, device), _)| after.is_none_or(|after| device > after));
            later.take(limit).map(|(_, subscription)| subscription.clone()).collect()
        })
    }

    fn tell<'a>(
        &'a self,
        subscription: &'a Subscription,
        told: &'a Told,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.run(|state| {
            let key = (subscription.kind, subscription.device.clone());
            let known = state.subscriptions.get_mut(&key);
            let is_it = |known: &&mut Subscription| {
                known.callback_url == subscription.callback_url && known.told.number < told.number
            };
            known.filter(is_it).map(|known| known.told = told.clone()).is_some()
        })
    }
}
