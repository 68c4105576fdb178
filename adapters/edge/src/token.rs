//! Whose token it is. Not here: how a request carries it (the edges), the store.

use bridge_core::DeviceId;
use bridge_core::keyring::Keyring;
use bridge_core::ports::{StoreResult, TokenDigest};

/// The device whose token that is. A token is looked up by its digest: how long that takes says nothing about the token.
///
/// # Errors
/// When the store does not answer.
pub async fn device_of(keyring: &Keyring, token: &[u8]) -> StoreResult<Option<DeviceId>> {
    /// 32 bytes in base64 without padding.
    const LENGTH: usize = 43;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // What cannot be a token is not worth a look at the store.
    if token.len() != LENGTH || !token.iter().all(is_plain) {
        return Ok(None);
    }
    keyring.device(&TokenDigest::of(token)).await
}
