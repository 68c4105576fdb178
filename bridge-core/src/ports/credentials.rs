//! What devices prove with who they are: tokens, as digests; fingerprints of client certificates and raw public keys; keys that sign and
//! pre-shared keys, sealed.
//! Not here: making them (`deploy/`), and the cache in front ([`crate::keyring`]).

use std::fmt;

use sha2::{Digest, Sha256};

use super::{BoxFuture, StoreResult};
use crate::id::DeviceId;
use crate::seal::Sealed;
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

    /// Where the signing key of that id is found. A key that signs has to be known to verify, so that its id is no digest:
    /// it is what [`Display`](fmt::Display) shows of this, and nothing digests to it.
    pub fn of_signing_key(id: [u8; 8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&id);
        Self(bytes)
    }

    /// Where the pre-shared key of that identity (RFC 4279) is found.
    pub fn of_psk_identity(identity: &[u8]) -> Self {
        Self(
            Sha256::new()
                .chain_update(b"device-bridge: a PSK identity\0")
                .chain_update(identity)
                .finalize()
                .into(),
        )
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

/// How a credential is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The device says a token: the digest is the token's.
    Token,
    /// The device has shown a client certificate: the digest is the SHA-256 fingerprint of its DER form.
    Certificate,
    /// The device shows in a DTLS handshake that it holds the private key of a raw public key (RFC 7250): the digest is the
    /// SHA-256 fingerprint of its DER SubjectPublicKeyInfo.
    RawPublicKey,
    /// The device signs requests with this secret, sealed for the credential's [owner](Credential::owner).
    SigningKey(Sealed),
    /// The device shows in a DTLS handshake that it holds this pre-shared key, sealed for the credential's
    /// [PSK owner](Credential::psk_owner). The digest is that [of its identity](TokenDigest::of_psk_identity).
    Psk(Sealed),
}

impl Proof {
    /// What is sealed, when something is.
    pub fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::SigningKey(sealed) | Self::Psk(sealed) => Some(sealed),
            Self::Token | Self::Certificate | Self::RawPublicKey => None,
        }
    }
}

/// One credential of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its digest. Unique.
    pub digest: TokenDigest,
    /// How it is used.
    pub proof: Proof,
    /// Who it proves to be.
    pub device: DeviceId,
    /// When it was made.
    pub created: Timestamp,
}

impl Credential {
    /// What its secret is sealed for: moved to another device or id it cannot be opened.
    pub fn owner(digest: &TokenDigest, device: &DeviceId) -> String {
        format!("signing key {digest} of {device}")
    }

    /// The same for a pre-shared key.
    pub fn psk_owner(digest: &TokenDigest, device: &DeviceId) -> String {
        format!("pre-shared key {digest} of {device}")
    }
}

/// Keeps the credentials of devices; none of them in clear.
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
    /// Puts another sealing of a signing or pre-shared key in the place of the one that is there; whether there was one.
    fn reseal<'a>(&'a self, digest: &'a TokenDigest, sealed: &'a Sealed) -> BoxFuture<'a, StoreResult<bool>>;
    /// Removes a token; whether it was there.
    fn remove<'a>(&'a self, digest: &'a TokenDigest) -> BoxFuture<'a, StoreResult<bool>>;
    /// Removes every token of a device; how many there were.
    fn remove_all<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<u64>>;
    /// Grows with every insertion, sealing and removal, by whichever process. A cache is stale when it has changed.
    fn version(&self) -> BoxFuture<'_, StoreResult<u64>>;
}
