//! Whose token, certificate or key it is: the cache in front of [`Credentials`]. Not here: how a request carries a token (the edges).

use std::sync::{Arc, Mutex};

use crate::hash::QuickHash;
use crate::id::DeviceId;
use crate::ports::{Credential, Credentials, Proof, StoreResult, TokenDigest};
use crate::recent::Recent;
use crate::signal::lock;

/// Looks tokens up.
pub struct Keyring {
    store: Arc<dyn Credentials>,
    state: Mutex<State>,
}

struct State {
    known: Recent<TokenDigest, Arc<Credential>, QuickHash>,
    /// Apart, so that guesses do not drive good tokens out.
    unknown: Recent<TokenDigest, ()>,
    version: u64,
}

/// Tokens kept in memory; beyond it the store is asked.
const KNOWN: usize = 100_000;
/// The same for tokens that are nobody's.
const UNKNOWN: usize = 10_000;

impl Keyring {
    /// A keyring over a store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Arc<dyn Credentials>) -> StoreResult<Self> {
        let version = store.version().await?;
        let state = State { known: Recent::new(KNOWN), unknown: Recent::new(UNKNOWN), version };
        Ok(Self { store, state: Mutex::new(state) })
    }

    /// The device that a token belongs to.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn device(&self, token: &TokenDigest) -> StoreResult<Option<DeviceId>> {
        let found = self.find(token).await?.filter(|credential| credential.proof == Proof::Token);
        Ok(found.map(|credential| credential.device.clone()))
    }

    /// The device that a client certificate of this fingerprint belongs to.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn of_certificate(&self, fingerprint: [u8; 32]) -> StoreResult<Option<DeviceId>> {
        Ok(self.certificate(fingerprint).await?.map(|credential| credential.device.clone()))
    }

    /// The same as a credential: one with [`Proof::Certificate`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn certificate(&self, fingerprint: [u8; 32]) -> StoreResult<Option<Arc<Credential>>> {
        let found = self.find(&TokenDigest::from_bytes(fingerprint)).await?;
        Ok(found.filter(|credential| credential.proof == Proof::Certificate))
    }

    /// The raw public key of this fingerprint: a credential with [`Proof::RawPublicKey`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn raw_public_key(&self, fingerprint: [u8; 32]) -> StoreResult<Option<Arc<Credential>>> {
        let found = self.find(&TokenDigest::from_bytes(fingerprint)).await?;
        Ok(found.filter(|credential| credential.proof == Proof::RawPublicKey))
    }

    /// The signing key of that id: a credential with [`Proof::SigningKey`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn signing_key(&self, id: [u8; 8]) -> StoreResult<Option<Arc<Credential>>> {
        let found = self.find(&TokenDigest::of_signing_key(id)).await?;
        Ok(found.filter(|credential| matches!(credential.proof, Proof::SigningKey(_))))
    }

    /// The pre-shared key of that identity: a credential with [`Proof::Psk`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn psk(&self, identity: &[u8]) -> StoreResult<Option<Arc<Credential>>> {
        let found = self.find(&TokenDigest::of_psk_identity(identity)).await?;
        Ok(found.filter(|credential| matches!(credential.proof, Proof::Psk(_))))
    }

    async fn find(&self, token: &TokenDigest) -> StoreResult<Option<Arc<Credential>>> {
        let asked_at = {
            let mut state = lock(&self.state);
            if let Some(known) = state.known.get(token) {
                return Ok(Some(known.clone()));
            }
            if state.unknown.get(token).is_some() {
                return Ok(None);
            }
            state.version
        };
        let found = self.store.find(token).await?.map(Arc::new);
        let mut state = lock(&self.state);
        // What was read before a change must not outlive it.
        if state.version == asked_at {
            match &found {
                Some(found) => drop(state.known.insert(*token, found.clone())),
                None => drop(state.unknown.insert(*token, ())),
            }
        }
        Ok(found)
    }

    /// Forgets the cache when the tokens have changed. Call it from time to time: a token that was removed is good until
    /// then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn refresh(&self) -> StoreResult<()> {
        let version = self.store.version().await?;
        let mut state = lock(&self.state);
        if version != state.version {
            state.known.clear();
            state.unknown.clear();
            state.version = version;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Sealed;
    use crate::testing::{Fault, Faulty, MemoryStore, block_on};
    use crate::time::Timestamp;

    #[test]
    fn what_it_knows_is_not_asked_again_until_the_tokens_change() {
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let device = DeviceId::parse("d1").unwrap();
        let (good, later) = (TokenDigest::of(b"good"), TokenDigest::of(b"later"));
        let insert = |digest| {
            let credential =
                Credential { digest, proof: Proof::Token, device: device.clone(), created: Timestamp::EPOCH };
            block_on(Credentials::insert(store.inner(), &credential)).unwrap()
        };
        assert!(insert(good));
        let keyring = block_on(Keyring::open(store.clone())).unwrap();
        assert_eq!(block_on(keyring.device(&good)), Ok(Some(device.clone())));
        assert_eq!(block_on(keyring.device(&later)), Ok(None));
        store.set(Fault::Before);
        assert_eq!(block_on(keyring.device(&good)), Ok(Some(device.clone())));
        assert_eq!(block_on(keyring.device(&later)), Ok(None));
        assert!(block_on(keyring.device(&TokenDigest::of(b"third"))).is_err());
        store.set(Fault::None);
        assert!(insert(later) && block_on(Credentials::remove(store.inner(), &good)).unwrap());
        block_on(keyring.refresh()).unwrap();
        assert_eq!(block_on(keyring.device(&good)), Ok(None));
        assert_eq!(block_on(keyring.device(&later)), Ok(Some(device)));
    }

    #[test]
    fn each_proof_is_good_for_its_own_use_alone() {
        let store = Arc::new(MemoryStore::default());
        let device = DeviceId::parse("d1").unwrap();
        let token = TokenDigest::of(b"good");
        let sealed = Sealed::from_bytes(vec![1]);
        let key = TokenDigest::of_signing_key([7; 8]);
        let psk = TokenDigest::of_psk_identity(b"d1");
        for (digest, proof) in [
            (token, Proof::Token),
            (TokenDigest::from_bytes([9; 32]), Proof::Certificate),
            (TokenDigest::from_bytes([8; 32]), Proof::RawPublicKey),
            (key, Proof::SigningKey(sealed.clone())),
            (psk, Proof::Psk(sealed)),
        ] {
            let credential = Credential { digest, proof, device: device.clone(), created: Timestamp::EPOCH };
            assert!(block_on(Credentials::insert(&*store, &credential)).unwrap());
        }
        let keyring = block_on(Keyring::open(store)).unwrap();
        assert_eq!(block_on(keyring.of_certificate([9; 32])), Ok(Some(device.clone())));
        assert_eq!(block_on(keyring.signing_key([7; 8])).unwrap().unwrap().device, device);
        assert_eq!(key.to_string(), "0707070707070707");
        assert_eq!(block_on(keyring.device(&TokenDigest::from_bytes([9; 32]))), Ok(None));
        assert_eq!(block_on(keyring.device(&key)), Ok(None));
        assert_eq!(block_on(keyring.of_certificate(*token.as_bytes())), Ok(None));
        assert_eq!(block_on(keyring.signing_key([9; 8])), Ok(None));
        assert_eq!(block_on(keyring.psk(b"d1")).unwrap().unwrap().device, device);
        assert_eq!(block_on(keyring.psk(b"good")), Ok(None));
        assert_eq!(block_on(keyring.raw_public_key([8; 32])).unwrap().unwrap().device, device);
        assert_eq!(block_on(keyring.raw_public_key([9; 32])), Ok(None));
        assert_eq!(block_on(keyring.certificate([8; 32])), Ok(None));
        assert_eq!(block_on(keyring.device(&psk)), Ok(None));
    }
}
