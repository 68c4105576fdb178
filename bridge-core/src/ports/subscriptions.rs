//! The callbacks of devices. Not here: what one is ([`crate::subscription`]).

use super::{BoxFuture, StoreResult};
use crate::id::DeviceId;
use crate::subscription::{Subscription, SubscriptionKind, Told};

/// Keeps callbacks, one for each device and kind. Every write is durable when it completes.
pub trait Subscriptions: Send + Sync {
    /// The callback of a device for a kind.
    fn get<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<Option<Subscription>>>;
    /// Writes a callback. When one is there it gets the new URL and time, and what was told stays as it is.
    fn put<'a>(&'a self, subscription: &'a Subscription) -> BoxFuture<'a, StoreResult<()>>;
    /// Removes a callback; whether there was one.
    fn remove<'a>(&'a self, device: &'a DeviceId, kind: SubscriptionKind)
    -> BoxFuture<'a, StoreResult<bool>>;
    /// Up to `limit` callbacks for a kind with `device > after`, in order of the device.
    fn list<'a>(
        &'a self,
        kind: SubscriptionKind,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Subscription>>>;
    /// Notes that the callback of this subscription was told `told`; whether it was noted. It is not when the subscription
    /// has gone or has another URL now, and when as much or more was told already.
    fn tell<'a>(&'a self, subscription: &'a Subscription, told: &'a Told)
    -> BoxFuture<'a, StoreResult<bool>>;
}
