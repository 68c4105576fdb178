//! Identifiers as types: what parses is valid from then on. Not here: the rule that maps one to another ([`crate::naming`]).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a text is not the identifier that it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than the limit (in bytes).
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A character that the identifier may not hold.
    #[error("holds the character {0:?}; allowed are letters, digits and {1}")]
    Character(char, &'static str),
}

/// The id of a device in the hub: 1 to 128 of `A-Z a-z 0-9 - . _ :`.
///
/// The set is the intersection of what MQTT topics, Azure DPS and AWS thing names take, so that an id stays the same
/// when the hub changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// The longest id, in bytes.
    pub const MAX: usize = 128;

    /// Parses a device id.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a character outside the set.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check(text, Self::MAX, Self::allows, "- . _ :")?;
        Ok(Self(text.into()))
    }

    /// Whether the character may stand in a device id.
    pub fn allows(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':')
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as shared text.
    pub fn to_shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

/// The name of a configured integration: 1 to 64 of `A-Z a-z 0-9 - _`. It stands in the webhook URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IntegrationName(Arc<str>);

impl IntegrationName {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    /// Parses an integration's name.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a character outside the set.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check(text, Self::MAX, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'), "- _")?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a source calls a device (DevEUI, Sigfox id, coreid, endpoint name): 1 to 256 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExternalId(Arc<str>);

impl ExternalId {
    /// The longest external id, in bytes.
    pub const MAX: usize = 256;

    /// Parses an external id.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check(text, Self::MAX, |c| !c.is_control(), "everything but control characters")?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What makes an uplink the same uplink when its source sends it again. Built from the source's own fields
/// (sequence, session, time, event id); only its digest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey([u8; 32]);

impl IdempotencyKey {
    /// Digests the parts of a key. Parts are length-prefixed, so `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn from_parts(parts: &[&[u8]]) -> Self {
        Self::digest(parts.iter().copied())
    }

    /// Like [`from_parts`](Self::from_parts) for text.
    pub fn from_texts(parts: &[&str]) -> Self {
        Self::digest(parts.iter().map(|part| part.as_bytes()))
    }

    /// Like [`from_parts`](Self::from_parts) for parts that stand in several places.
    pub fn digest<'p>(parts: impl Iterator<Item = &'p [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// The id of a message in the hub: the first 128 bits of SHA-256 over integration and idempotency key, as 32 hex digits.
/// Should the bridge ever deliver twice, both deliveries carry the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// The id of the message that an uplink with this key becomes.
    pub fn new(integration: &IntegrationName, key: &IdempotencyKey) -> Self {
        let mut hash = Sha256::new();
        hash.update(integration.as_str().as_bytes());
        hash.update([0]);
        hash.update(key.0);
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The id of one of several messages that the uplink with this id becomes.
    #[must_use]
    pub fn part(&self, index: usize) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update((index as u64).to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The id of a message that stands for this one after a correction, by what is in it.
    #[must_use]
    pub fn corrected(&self, record: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(b"corrected");
        hash.update(record);
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// From its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its 32 hex digits.
    pub fn digits(&self) -> [u8; 32] {
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        text
    }

    /// Parses 32 hex digits.
    ///
    /// # Errors
    /// When the text is not exactly that.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut id = [0; 16];
        if text.len() != 32 {
            return Err(IdError::TooLong(32));
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |d: u8| {
                (d as char).to_digit(16).ok_or(IdError::Character(d as char, "a to f")).map(|d| d as u8)
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(id))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Once per message and more: the formatter's own way takes ten times as long. Digits alone: the default is never taken.
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        // As above.
        str::from_utf8(&id.digits()).unwrap_or_default().to_owned()
    }
}

impl TryFrom<String> for MessageId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

macro_rules! text_id {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    )*};
}
text_id!(DeviceId, IntegrationName, ExternalId);

pub(crate) fn check(
    text: &str,
    max: usize,
    allowed: impl Fn(char) -> bool,
    set: &'static str,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > max {
        return Err(IdError::TooLong(max));
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(IdError::Character(c, set)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_cannot_carry_topic_syntax() {
        for bad in ["", "a/b", "a+b", "#", "a b", "ü", &"x".repeat(129)] {
            assert!(DeviceId::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(DeviceId::parse("eui-70b3:d5.7_E").map(|id| id.to_string()), Ok("eui-70b3:d5.7_E".into()));
    }

    #[test]
    fn key_parts_do_not_run_into_each_other() {
        assert_ne!(IdempotencyKey::from_texts(&["ab", "c"]), IdempotencyKey::from_texts(&["a", "bc"]));
        assert_eq!(IdempotencyKey::from_texts(&["ab"]), IdempotencyKey::from_parts(&[b"ab"]));
    }

    #[test]
    fn message_ids_depend_on_integration_and_key_and_read_back() {
        let key = IdempotencyKey::from_texts(&["k"]);
        let farm = IntegrationName::parse("farm").unwrap();
        let id = MessageId::new(&farm, &key);
        assert_ne!(id, MessageId::new(&IntegrationName::parse("city").unwrap(), &key));
        assert_eq!(MessageId::parse(&id.to_string()), Ok(id));
        let all = std::array::from_fn(|place| u8::try_from(place * 17).unwrap());
        assert_eq!(MessageId::from_bytes(all).to_string(), "00112233445566778899aabbccddeeff");
        assert!(MessageId::parse("zz").is_err());
    }
}
