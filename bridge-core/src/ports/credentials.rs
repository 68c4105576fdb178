//! Tokens with which devices prove who they are, as digests. Not here: making tokens (`deploy/`), and the cache in front
//! ([`crate::keyring`]).

use std::fmt;

use sha2::{Digest, Sha256};

use super::{BoxFuture, StoreResult};
use crate::id::DeviceId;
use crate::time::Timestamp;

/// The SHA-256 digest of a token. A token has 256 random bits, so that its digest can neither be reversed nor guessed,
/// and may be looked up and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Digests a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// From its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What people call a token that they cannot see: the first 16 hex digits of the digest.
impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One token of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its digest. Unique.
    pub digest: TokenDigest,
    /// Who it proves to be.
    pub device: DeviceId,
    /// When it was made.
    pub created: Timestamp,
}

/// Keeps the tokens of devices, as digests.
pub trait Credentials: Send + Sync {
    /// Adds a token; false, and nothing changes, when that digest is there.
    fn insert<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, StoreResult<bool>>;
    /// The token with that digest.
    fn find<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<Option<Credential>>>;
    /// Up to `limit` tokens after this one, of one device or of all, in order of device and digest.
    fn list<'a>(
        &'a self,
        device: Option<&'a DeviceId>,
        after: Option<&'a Credential>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Credential>>>;
    /// Removes a token; whether it was there.
    fn remove<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<bool>>;
    /// Removes every token of a device; how many there were.
    fn remove_all<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<u64>>;
    /// Grows with every insertion and removal, by whichever process. A cache is stale when it has changed.
    fn version(&self) -> BoxFuture<'_, StoreResult<u64>>;
}
