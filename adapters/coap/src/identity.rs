//! Whose identity it is that a device shows over DTLS: that of a pre-shared key, a raw public key, or a certificate. Not here:
//! handshakes (`dtls`), enrolment (`deploy/`).

use std::sync::Arc;

use bridge_core::Timestamp;
use bridge_core::ports::{Credential, StoreResult, TokenDigest};
use dtls::{Identity, Psk};
use sha2::{Digest, Sha256};

use crate::api::CoapApi;
use crate::carrier::Caller;
use crate::certificate::Shown;

/// A credential that is enrolled.
pub(crate) struct Enrolled {
    /// When it was made.
    pub(crate) created: Timestamp,
    /// What an identity that is no proof by itself has to be proven with.
    pub(crate) psk: Option<Psk>,
}

/// What is enrolled under that identity; none when nothing is, or its key cannot be opened.
pub(crate) async fn enrolled(api: &CoapApi, identity: &Identity) -> StoreResult<Option<Enrolled>> {
    let Some(credential) = credential(api, identity).await? else { return Ok(None) };
    let created = credential.created;
    let Some(sealed) = credential.proof.sealed() else { return Ok(Some(Enrolled { created, psk: None })) };
    let owner = Credential::psk_owner(&credential.digest, &credential.device);
    let settings = api.settings();
    let opened = settings.seal_keys.as_ref().map(|keys| keys.open(sealed, &owner));
    match opened {
        Some(Ok(key)) => {
            let psk = Psk::new(&zeroize::Zeroizing::new(key));
            Ok(psk.map(|psk| Enrolled { created, psk: Some(psk) }))
        }
        None | Some(Err(_)) => {
            let device = &credential.device;
            tracing::warn!(%device, "its pre-shared key cannot be opened: see [secrets] keys");
            Ok(None)
        }
    }
}

/// The device of that identity, if the credential that it was proven with, made at that time, is still there.
pub(crate) async fn caller(api: &CoapApi, identity: &Identity, created: Timestamp) -> Caller {
    match credential(api, identity).await {
        Ok(Some(credential)) if credential.created == created => Caller::Device(credential.device.clone()),
        Ok(_) => Caller::Revoked,
        Err(error) => {
            tracing::warn!(%error, "a device could not be looked up");
            Caller::Unknown
        }
    }
}

async fn credential(api: &CoapApi, identity: &Identity) -> StoreResult<Option<Arc<Credential>>> {
    let found = match identity {
        Identity::Psk(identity) => return api.keyring().psk(identity).await,
        Identity::PublicKey(der) => api.keyring().raw_public_key(Sha256::digest(der).into()).await?,
        Identity::Certificate(der) => Shown::of(der).credential(api).await?,
    };
    if let (None, Identity::PublicKey(der) | Identity::Certificate(der)) = (&found, identity) {
        let id = TokenDigest::from_bytes(Sha256::digest(der).into());
        tracing::debug!(%id, "a device has shown a certificate or raw public key that is nobody's");
    }
    Ok(found)
}
