//! Callbacks with their URLs sealed at rest ([`bridge_core::seal`], the `[secrets]` keys): they often hold a secret. What is
//! at rest is the base64 of a sealed secret, good for that callback alone. Not here: where they are kept.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::DeviceId;
use bridge_core::ports::{BoxFuture, StoreError, StoreResult, Subscriptions};
use bridge_core::seal::{SealKeys, Sealed};
use bridge_core::subscription::{Subscription, SubscriptionKind, Told};
use tokio::sync::Mutex;

/// See the module.
pub(super) struct Vault {
    store: Arc<dyn Subscriptions>,
    keys: RwLock<Option<Arc<SealKeys>>>,
    /// Held while an URL is written: what is sealed anew must not undo what a client has just put.
    writing: Mutex<()>,
}

impl Vault {
    /// Opens nothing until it has keys.
    pub(super) fn new(store: Arc<dyn Subscriptions>) -> Self {
        Self { store, keys: RwLock::default(), writing: Mutex::default() }
    }

    /// Takes over the keys of a configuration.
    pub(super) fn replace(&self, keys: Option<Arc<SealKeys>>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn keys(&self) -> Option<Arc<SealKeys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sealed(&self, subscription: &Subscription) -> StoreResult<Subscription> {
        let sealed = self.keys().and_then(|keys| {
            crate::seal::seal(&keys, subscription.callback_url.as_bytes(), &owner(subscription)).ok()
        });
        let sealed = sealed.ok_or_else(|| StoreError::Unavailable("the URL cannot be sealed".into()))?;
        Ok(Subscription { callback_url: BASE64_STANDARD.encode(sealed.as_bytes()), ..subscription.clone() })
    }

    /// The callback with its URL, and whether the key that seals now has sealed it; none when no key opens it.
    fn open(&self, kept: &Subscription) -> Option<(Subscription, bool)> {
        let keys = self.keys()?;
        let sealed = Sealed::from_bytes(BASE64_STANDARD.decode(&kept.callback_url).unwrap_or_default());
        match keys.open(&sealed, &owner(kept)).map(String::from_utf8) {
            Ok(Ok(callback_url)) => {
                Some((Subscription { callback_url, ..kept.clone() }, keys.is_current(&sealed)))
            }
            Ok(Err(_)) => None,
            Err(error) => {
                let (device, kind) = (&kept.device, kept.kind.as_str());
                tracing::warn!(%device, kind, %error, "a callback's URL cannot be opened: it counts as none");
                None
            }
        }
    }

    /// Seals anew what another key than the first has sealed.
    async fn renew(&self, device: &DeviceId, kind: SubscriptionKind) -> StoreResult<()> {
        let _writing = self.writing.lock().await;
        let kept = self.store.get(device, kind).await?;
        match kept.and_then(|kept| self.open(&kept)) {
            Some((subscription, false)) => self.store.put(&self.sealed(&subscription)?).await,
            _ => Ok(()),
        }
    }
}

impl Subscriptions for Vault {
    fn get<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<Option<Subscription>>> {
        Box::pin(async move {
            let kept = self.store.get(device, kind).await?;
            Ok(kept.and_then(|kept| self.open(&kept)).map(|(subscription, _)| subscription))
        })
    }

    fn put<'a>(&'a self, subscription: &'a Subscription) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let _writing = self.writing.lock().await;
            self.store.put(&self.sealed(subscription)?).await
        })
    }

    fn remove<'a>(
        &'a self,
        device: &'a DeviceId,
        kind: SubscriptionKind,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(async move {
            let _writing = self.writing.lock().await;
            self.store.remove(device, kind).await
        })
    }

    /// Those that cannot be opened are there without a URL.
    fn list<'a>(
        &'a self,
        kind: SubscriptionKind,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Subscription>>> {
        Box::pin(async move {
            let mut listed = Vec::new();
            for kept in self.store.list(kind, after, limit).await? {
                listed.push(match self.open(&kept) {
                    Some((subscription, is_first)) => {
                        if !is_first {
                            self.renew(&kept.device, kind).await?;
                        }
                        subscription
                    }
                    None => Subscription { callback_url: String::new(), ..kept },
                });
            }
            Ok(listed)
        })
    }

    fn tell<'a>(
        &'a self,
        subscription: &'a Subscription,
        told: &'a Told,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(async move {
            // The same URL is sealed otherwise each time: what is there is compared opened, and named as it is there.
            for _ in 0..TELLS {
                let Some(kept) = self.store.get(&subscription.device, subscription.kind).await? else {
                    return Ok(false);
                };
                let is_it = self
                    .open(&kept)
                    .is_some_and(|(opened, _)| opened.callback_url == subscription.callback_url);
                if !is_it || kept.told.number >= told.number {
                    return Ok(false);
                }
                if self.store.tell(&kept, told).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

/// Looks that noting what was told takes at most, when others write meanwhile. What is not noted is told again.
const TELLS: usize = 3;

/// What is sealed is good for this callback alone.
fn owner(subscription: &Subscription) -> String {
    format!("callback/{}/{}", subscription.kind.as_str(), subscription.device)
}

#[cfg(test)]
mod tests {
    use bridge_core::testing::{MemoryStore, block_on, contract};

    use super::*;

    const URL: &str = "https://example.com/?code=a-secret";
    const KIND: SubscriptionKind = SubscriptionKind::Methods;

    fn vault(store: &Arc<MemoryStore>, secrets: &[&str]) -> Vault {
        let vault = Vault::new(store.clone());
        vault.replace(SealKeys::new(secrets.iter().map(|secret| secret.as_bytes())).map(Arc::new));
        vault
    }

    fn subscription(device: &str) -> Subscription {
        Subscription {
            device: DeviceId::parse(device).unwrap(),
            kind: KIND,
            callback_url: URL.into(),
            created: bridge_core::Timestamp::EPOCH,
            told: Told::default(),
        }
    }

    #[test]
    fn it_keeps_the_contract() {
        block_on(contract::subscriptions(&vault(&Arc::default(), &["one"])));
    }

    #[test]
    fn urls_are_sealed_for_their_callback_and_keys_are_rotated() {
        let store: Arc<MemoryStore> = Arc::default();
        let (one, both) = (vault(&store, &["one"]), vault(&store, &["two", "one"]));
        let (two, d1) = (vault(&store, &["two"]), subscription("d1"));
        let id = d1.device.clone();
        let kept = || block_on(Subscriptions::get(&*store, &id, KIND)).unwrap().unwrap();
        let device = d1.device.clone();
        let of = |vault: &Vault| block_on(vault.get(&device, KIND)).unwrap();
        block_on(one.put(&d1)).unwrap();
        let opaque = BASE64_STANDARD.decode(kept().callback_url).unwrap();
        assert!(!String::from_utf8_lossy(&opaque).contains("example"));
        assert_eq!((of(&one), of(&both), of(&two)), (Some(d1.clone()), Some(d1.clone()), None));
        let before = kept();
        block_on(one.put(&d1)).unwrap();
        assert_ne!(kept(), before, "no nonce is used twice");
        assert!(block_on(vault(&store, &[]).put(&d1)).is_err(), "nothing is kept in clear");

        // Of another callback it is worth nothing.
        let moved = Subscription { callback_url: kept().callback_url, ..subscription("d2") };
        block_on(Subscriptions::put(&*store, &moved)).unwrap();
        assert_eq!(block_on(one.get(&moved.device, KIND)).unwrap(), None);
        let listed = block_on(one.list(KIND, None, 9)).unwrap();
        assert_eq!(listed.iter().map(|one| one.callback_url.as_str()).collect::<Vec<_>>(), [URL, ""]);

        let told = |number| Told { number, ..Told::default() };
        assert!(block_on(both.tell(&d1, &told(1))).unwrap(), "whichever key has sealed it");
        let d1 = Subscription { told: told(1), ..d1 };
        block_on(one.put(&d1)).unwrap();
        block_on(both.list(KIND, None, 9)).unwrap();
        assert_eq!((of(&two), of(&one)), (Some(d1.clone()), None), "it was sealed anew");
    }
}
