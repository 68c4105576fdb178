//! Secrets at rest: sealed with AES-256-GCM (NIST SP 800-38D) under a key that is not in the store. Not here: where keys come
//! from (configuration), and where what is sealed is kept (the ports).
//!
//! A sealed secret is: format (1 byte, 1), id of the key (4), nonce (12), ciphertext, tag (16). All of it, and who it is sealed
//! for, is authenticated: a secret that is moved to another owner cannot be opened.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// A nonce: random, never used twice.
pub type SealNonce = [u8; NONCE_LEN];

const FORMAT: u8 = 1;
const KEY_ID: usize = 4;
const HEAD: usize = 1 + KEY_ID + NONCE_LEN;

/// A sealed secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// As it was kept. Whether it is one is seen when it is opened.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// To be kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Why a secret cannot be sealed or opened. The operator's to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed with a key that is not among these.
    #[error("it was sealed with a key that the configuration does not have any more")]
    UnknownKey,
    /// It was changed, or is sealed for another owner, or is no sealed secret.
    #[error("it is damaged, or was not sealed for this")]
    Damaged,
}

/// The keys that seal. The first one seals, every one opens: so a key is replaced without a gap.
pub struct SealKeys(Vec<Key>);

struct Key {
    id: [u8; KEY_ID],
    key: LessSafeKey,
}

impl SealKeys {
    /// Keys made of these texts, which must be random: at least 32 bytes each. None when there are none.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let keys: Option<Vec<Key>> = texts.into_iter().map(Key::of).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }

    /// Seals a secret for an owner.
    ///
    /// # Errors
    /// When it is longer than AES-GCM can take (64 GiB).
    pub fn seal(&self, secret: &[u8], owner: &str, nonce: SealNonce) -> Result<Sealed, SealError> {
        let Key { id, key } = self.0.first().ok_or(SealError::UnknownKey)?;
        let mut sealed = Vec::with_capacity(HEAD + secret.len() + MAX_TAG_LEN);
        sealed.push(FORMAT);
        sealed.extend(id);
        sealed.extend(nonce);
        let mut text = secret.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, bound(&sealed, owner), &mut text)
            .map_err(|_| SealError::Damaged)?;
        sealed.extend(text);
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed for this owner.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn open(&self, sealed: &Sealed, owner: &str) -> Result<Vec<u8>, SealError> {
        let (head, text) = sealed.0.split_at_checked(HEAD).ok_or(SealError::Damaged)?;
        let (&format, rest) = head.split_first().ok_or(SealError::Damaged)?;
        let (id, nonce) = rest.split_at(KEY_ID);
        if format != FORMAT {
            return Err(SealError::Damaged);
        }
        // Two keys may have the same id, as improbable as it is.
        let mut error = SealError::UnknownKey;
        for key in self.0.iter().filter(|key| key.id == id) {
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
            let mut text = text.to_vec();
            match key.key.open_in_place(nonce, bound(head, owner), &mut text) {
                Ok(secret) => return Ok(secret.to_vec()),
                Err(_) => error = SealError::Damaged,
            }
        }
        Err(error)
    }

    /// Whether it is sealed with the key that seals now; if not, the key that it needs cannot be taken away yet.
    pub fn is_current(&self, sealed: &Sealed) -> bool {
        self.0.first().is_some_and(|key| sealed.0.get(1..1 + KEY_ID) == Some(&key.id[..]))
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({})", self.0.len())
    }
}

impl Key {
    /// As in HKDF-Extract (RFC 5869): the text is random already, and only has to become 32 bytes.
    fn of(text: &[u8]) -> Option<Self> {
        let derive = |label: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, label), text);
        let id = derive(b"device-bridge: the id of a key for secrets at rest");
        let key = derive(b"device-bridge: a key for secrets at rest");
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?);
        Some(Self { id: id.as_ref().get(..KEY_ID)?.try_into().ok()?, key })
    }
}

fn bound(head: &[u8], owner: &str) -> Aad<Vec<u8>> {
    Aad::from([head, owner.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"an old key with thirty-two bytes.";
    const NEW: &[u8] = b"a new key with thirty-two bytes..";

    fn keys(texts: &[&'static [u8]]) -> SealKeys {
        SealKeys::new(texts.iter().copied()).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_for_its_owner() {
        let old = keys(&[OLD]);
        let sealed = old.seal(b"secret", "d1", [3; NONCE_LEN]).unwrap();
        assert!(!sealed.as_bytes().windows(6).any(|six| six == b"secret"));
        assert_eq!(old.open(&sealed, "d1"), Ok(b"secret".to_vec()));
        assert_eq!(old.open(&sealed, "d2"), Err(SealError::Damaged));
        assert_eq!(keys(&[NEW]).open(&sealed, "d1"), Err(SealError::UnknownKey));
        let both = keys(&[NEW, OLD]);
        assert_eq!(both.open(&sealed, "d1"), Ok(b"secret".to_vec()));
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert_ne!(both.seal(b"secret", "d1", [3; NONCE_LEN]), Ok(sealed));
    }

    #[test]
    fn what_was_changed_anywhere_is_not_opened() {
        let keys = keys(&[OLD]);
        let sealed = keys.seal(b"", "d1", [3; NONCE_LEN]).unwrap();
        assert_eq!(keys.open(&sealed, "d1"), Ok(Vec::new()));
        for at in 0..sealed.0.len() {
            let mut bytes = sealed.0.clone();
            bytes[at] ^= 1;
            assert!(keys.open(&Sealed(bytes), "d1").is_err(), "{at}");
            assert!(keys.open(&Sealed(sealed.0[..at].to_vec()), "d1").is_err(), "{at}");
        }
        assert!(SealKeys::new([]).is_none());
    }
}
