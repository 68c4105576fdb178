//! Whose token it is: the cache in front of [`Credentials`]. Not here: how a request carries a token (the edges).

use std::sync::{Arc, Mutex};

use crate::id::DeviceId;
use crate::ports::{Credentials, StoreResult, TokenDigest};
use crate::recent::Recent;
use crate::signal::lock;

/// Looks tokens up.
pub struct Keyring {
    store: Arc<dyn Credentials>,
    state: Mutex<State>,
}

struct State {
    known: Recent<TokenDigest, DeviceId>,
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
        let asked_at = {
            let mut state = lock(&self.state);
            if let Some(device) = state.known.get(token) {
                return Ok(Some(device.clone()));
            }
            if state.unknown.get(token).is_some() {
                return Ok(None);
            }
            state.version
        };
        let device = self.store.find(token).await?.map(|credential| credential.device);
        let mut state = lock(&self.state);
        // What was read before a change must not outlive it.
        if state.version == asked_at {
            match &device {
                Some(device) => drop(state.known.insert(*token, device.clone())),
                None => drop(state.unknown.insert(*token, ())),
            }
        }
        Ok(device)
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
    use crate::ports::Credential;
    use crate::testing::{Fault, Faulty, MemoryStore, block_on};
    use crate::time::Timestamp;

    #[test]
    fn what_it_knows_is_not_asked_again_until_the_tokens_change() {
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let device = DeviceId::parse("d1").unwrap();
        let (good, later) = (TokenDigest::of(b"good"), TokenDigest::of(b"later"));
        let insert = |digest| {
            let credential = Credential { digest, device: device.clone(), created: Timestamp::EPOCH };
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
}
