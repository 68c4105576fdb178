//! Seals secrets with fresh nonces. Not here: sealing itself (`bridge_core::seal`, which has no randomness of its own), and
//! the keys ([`crate::config::Secrets`]).

use anyhow::Context;
use bridge_core::seal::{SealKeys, SealNonce, Sealed};

/// Seals a secret for an owner, under a nonce that is used only here.
///
/// # Errors
/// When the system gives no random numbers, or the secret is longer than 64 GiB.
pub fn seal(keys: &SealKeys, secret: &[u8], owner: &str) -> anyhow::Result<Sealed> {
    let mut nonce = SealNonce::default();
    getrandom::fill(&mut nonce).context("no random bytes")?;
    Ok(keys.seal(secret, owner, nonce)?)
}
