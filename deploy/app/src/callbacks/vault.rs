//! Callbacks with their URLs sealed at rest: they often hold a secret. ChaCha20-Poly1305 (RFC 8439) with keys derived from
//! the signing secrets: the first one seals, all of them open. The nonce is a MAC of what is sealed, so that the same URL of
//! the same callback has one form, and different ones have different nonces. Not here: where they are kept.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::DeviceId;
use bridge_core::ports::{BoxFuture, StoreResult, Subscriptions};
use bridge_core::subscription::{Subscription, SubscriptionKind, Told};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use tokio::sync::Mutex;

/// See the module.
pub(super) struct Vault {
    store: Arc<dyn Subscriptions>,
    seals: RwLock<Arc<Vec<Seal>>>,
    /// Held while an URL is written: what is sealed anew must not undo what a client has just put.
    writing: Mutex<()>,
}

/// What the form at rest begins with.
const SEALED: &str = "sealed1:";

struct Seal {
    key: LessSafeKey,
    nonces: hmac::Key,
}

impl Vault {
    /// Opens nothing until it has secrets.
    pub(super) fn new(store: Arc<dyn Subscriptions>) -> Self {
        Self { store, seals: RwLock::default(), writing: Mutex::default() }
    }

    /// Takes over the secrets of a configuration.
    pub(super) fn replace<'s>(&self, secrets: impl Iterator<Item = &'s str>) {
        let seals = secrets.filter_map(Seal::of).collect();
        *self.seals.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seals);
    }

    fn seals(&self) -> Arc<Vec<Seal>> {
        self.seals.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sealed(&self, subscription: &Subscription) -> Subscription {
        let sealed = self.seals().first().and_then(|seal| seal.seal(subscription));
        // Without a secret nobody can put one, and nothing is opened either.
        Subscription { callback_url: sealed.unwrap_or_default(), ..subscription.clone() }
    }

    /// The callback with its URL, and whether the first secret has sealed it; none when no secret has.
    fn open(&self, kept: &Subscription) -> Option<(Subscription, bool)> {
        let seals = self.seals();
        let opened = seals.iter().enumerate().find_map(|(n, seal)| Some((seal.open(kept)?, n == 0)));
        let Some((callback_url, is_first)) = opened else {
            if !seals.is_empty() {
                let (device, kind) = (&kept.device, kept.kind.as_str());
                tracing::warn!(%device, kind, "a callback's URL was sealed with a signing secret that is not configured any more");
            }
            return None;
        };
        Some((Subscription { callback_url, ..kept.clone() }, is_first))
    }

    /// Seals anew what another secret than the first has sealed.
    async fn renew(&self, device: &DeviceId, kind: SubscriptionKind) -> StoreResult<()> {
        let _writing = self.writing.lock().await;
        let kept = self.store.get(device, kind).await?;
        match kept.and_then(|kept| self.open(&kept)) {
            Some((subscription, false)) => self.store.put(&self.sealed(&subscription)).await,
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
            self.store.put(&self.sealed(subscription)).await
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
        let sealed = self.sealed(subscription);
        Box::pin(async move {
            if self.store.tell(&sealed, told).await? {
                return Ok(true);
            }
            // It may be sealed with an older secret still, so that it does not look like itself.
            self.renew(&subscription.device, subscription.kind).await?;
            self.store.tell(&sealed, told).await
        })
    }
}

impl Seal {
    fn of(secret: &str) -> Option<Self> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let derived = |label: &[u8]| hmac::sign(&secret, label);
        let key = UnboundKey::new(&CHACHA20_POLY1305, derived(b"callback urls: key").as_ref()).ok()?;
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, derived(b"callback urls: nonces").as_ref());
        Some(Self { key: LessSafeKey::new(key), nonces })
    }

    fn seal(&self, subscription: &Subscription) -> Option<String> {
        let (about, url) = (about(subscription), subscription.callback_url.as_bytes());
        let mac = hmac::sign(&self.nonces, &[about.as_bytes(), b"\0", url].concat());
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(mac.as_ref().get(..NONCE_LEN)?);
        let mut text = url.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(unique, Aad::from(about.as_bytes()), &mut text).ok()?;
        Some(format!("{SEALED}{}", BASE64_STANDARD.encode([&nonce[..], &text, tag.as_ref()].concat())))
    }

    fn open(&self, kept: &Subscription) -> Option<String> {
        let mut bytes = BASE64_STANDARD.decode(kept.callback_url.strip_prefix(SEALED)?).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let url = self.key.open_in_place(nonce, Aad::from(about(kept).as_bytes()), text).ok()?;
        String::from_utf8(url.to_vec()).ok()
    }
}

/// What is sealed is good for this callback alone.
fn about(subscription: &Subscription) -> String {
    format!("{}\n{}", subscription.kind.as_str(), subscription.device)
}

#[cfg(test)]
mod tests {
    use bridge_core::testing::{MemoryStore, block_on, contract};

    use super::*;

    const URL: &str = "https://example.com/?code=a-secret";
    const KIND: SubscriptionKind = SubscriptionKind::Methods;

    fn vault(store: &Arc<MemoryStore>, secrets: &[&str]) -> Vault {
        let vault = Vault::new(store.clone());
        vault.replace(secrets.iter().copied());
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
    fn urls_are_sealed_for_their_callback_and_secrets_are_rotated() {
        let store: Arc<MemoryStore> = Arc::default();
        let (one, both) = (vault(&store, &["one"]), vault(&store, &["two", "one"]));
        let (two, d1) = (vault(&store, &["two"]), subscription("d1"));
        let id = d1.device.clone();
        let kept = || block_on(Subscriptions::get(&*store, &id, KIND)).unwrap().unwrap();
        let device = d1.device.clone();
        let of = |vault: &Vault| block_on(vault.get(&device, KIND)).unwrap();
        block_on(one.put(&d1)).unwrap();
        assert!(kept().callback_url.starts_with(SEALED) && !kept().callback_url.contains("example"));
        assert_eq!((of(&one), of(&both), of(&two)), (Some(d1.clone()), Some(d1.clone()), None));
        let before = kept();
        block_on(one.put(&d1)).unwrap();
        assert_eq!(kept(), before, "the same has one form");

        // Of another callback it is worth nothing.
        let moved = Subscription { callback_url: kept().callback_url, ..subscription("d2") };
        block_on(Subscriptions::put(&*store, &moved)).unwrap();
        assert_eq!(block_on(one.get(&moved.device, KIND)).unwrap(), None);
        let listed = block_on(one.list(KIND, None, 9)).unwrap();
        assert_eq!(listed.iter().map(|one| one.callback_url.as_str()).collect::<Vec<_>>(), [URL, ""]);

        let told = |number| Told { number, ..Told::default() };
        assert!(block_on(both.tell(&d1, &told(1))).unwrap(), "whichever secret has sealed it");
        let d1 = Subscription { told: told(1), ..d1 };
        block_on(one.put(&d1)).unwrap();
        block_on(both.list(KIND, None, 9)).unwrap();
        assert_eq!((of(&two), of(&one)), (Some(d1.clone()), None), "it was sealed anew");
    }
}
