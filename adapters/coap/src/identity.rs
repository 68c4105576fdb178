//! Whose pre-shared key an identity has. Not here: handshakes (`dtls`), enrolment (`deploy/`).

use bridge_core::Timestamp;
use bridge_core::ports::{Credential, StoreResult};
use dtls::Psk;

use crate::api::CoapApi;
use crate::carrier::Caller;

/// A key, and when it was made.
pub(crate) struct Key {
    pub(crate) psk: Psk,
    pub(crate) created: Timestamp,
}

/// The key of that identity; none when there is none, or it cannot be opened.
pub(crate) async fn of(api: &CoapApi, identity: &[u8]) -> StoreResult<Option<Key>> {
    let Some(credential) = api.keyring().psk(identity).await? else { return Ok(None) };
    let Some(sealed) = credential.proof.sealed() else { return Ok(None) };
    let owner = Credential::psk_owner(&credential.digest, &credential.device);
    let settings = api.settings();
    let opened = settings.seal_keys.as_ref().map(|keys| keys.open(sealed, &owner));
    match opened {
        Some(Ok(key)) => {
            Ok(Psk::new(&zeroize::Zeroizing::new(key)).map(|psk| Key { psk, created: credential.created }))
        }
        None | Some(Err(_)) => {
            let device = &credential.device;
            tracing::warn!(%device, "its pre-shared key cannot be opened: see [secrets] keys");
            Ok(None)
        }
    }
}

/// The device of that identity, if the key that it proved, made at that time, is still its key.
pub(crate) async fn caller(api: &CoapApi, identity: &[u8], created: Timestamp) -> Caller {
    match api.keyring().psk(identity).await {
        Ok(Some(credential)) if credential.created == created => Caller::Device(credential.device.clone()),
        Ok(_) => Caller::Revoked,
        Err(error) => {
            tracing::warn!(%error, "a device could not be looked up");
            Caller::Unknown
        }
    }
}
