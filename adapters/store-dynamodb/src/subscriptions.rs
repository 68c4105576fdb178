//! The port of callbacks. Not here: what one is (`bridge_core::subscription`).

use bridge_core::DeviceId;
use bridge_core::ports::{BoxFuture, StoreError, StoreResult, Subscriptions};
use bridge_core::subscription::{Subscription, SubscriptionKind, Told};

use crate::DynamoStore;
use crate::item::{Item, bytes, number, text, time};
use crate::keys::Key;
use crate::walk::Range;
use crate::write::Write;

impl Subscriptions for DynamoStore {
    fn get<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<Option<Subscription>>> {
        Box::pin(async move {
            self.read(&key(device, kind)).await?.map(|item| subscription(&item, kind)).transpose()
        })
    }

    fn put<'a>(&'a self, subscription: &'a Subscription) -> BoxFuture<'a, StoreResult<()>> {
        let Subscription { device, kind, callback_url, created, told } = subscription;
        Box::pin(async move {
            let put = Write::update(key(device, *kind))
                .set("url", text(callback_url))
                .set("created", time(*created))
                .set_if_absent("told", number(told.number))
                .set_if_absent("known", bytes(state(told)?));
            self.write(vec![put]).await.map(drop)
        })
    }

    fn remove<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let delete = Write::delete(key(device, kind)).when_present();
        Box::pin(async move { Ok(self.write(vec![delete]).await?.is_done()) })
    }

    fn list<'a>(
        &'a self,
        kind: SubscriptionKind,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Subscription>>> {
        let walk = self.walk(None, &shards_of(kind), Range::after(after), limit);
        Box::pin(walk.take(limit, move |item| subscription(item, kind).map(Some)))
    }

    fn tell<'a>(
        &'a self,
        subscription: &'a Subscription,
        told: &'a Told,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(async move {
            let tell = Write::update(key(&subscription.device, subscription.kind))
                .set("told", number(told.number))
                .set("known", bytes(state(told)?))
                .when("#url = :url AND #told < :told")
                .value("url", text(&subscription.callback_url));
            Ok(self.write(vec![tell]).await?.is_done())
        })
    }
}

fn shards_of(kind: SubscriptionKind) -> String {
    format!("callback#{}", kind.as_str())
}

fn key(device: &DeviceId, kind: SubscriptionKind) -> Key {
    Key::named(&shards_of(kind), device.as_str())
}

fn state(told: &Told) -> StoreResult<Vec<u8>> {
    serde_json::to_vec(&told.state).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn subscription(item: &Item, kind: SubscriptionKind) -> StoreResult<Subscription> {
    let state = serde_json::from_slice(item.bytes("known")?).map_err(|_| item.damaged("known"))?;
    Ok(Subscription {
        device: item.parsed("sk", |text| DeviceId::parse(text).ok())?,
        kind,
        callback_url: item.text("url")?.to_owned(),
        created: item.time("created")?,
        told: Told { number: item.number("told")?, state },
    })
}
