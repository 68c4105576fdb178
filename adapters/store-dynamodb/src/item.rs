//! Items: attributes in and out. What is read was written by this program, so that anything else is damage.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bridge_core::Timestamp;
use bridge_core::ports::{StoreError, StoreResult};

use crate::keys::Key;
use crate::table::{Index, KEYS};

/// Attributes by name.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn number(number: impl std::fmt::Display + Copy) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn bytes(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(crate) fn time(at: Timestamp) -> AttributeValue {
    number(at.as_millis())
}

/// Attributes by name.
pub(crate) fn attributes<const N: usize>(pairs: [(&str, AttributeValue); N]) -> Attributes {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The attributes that are the key.
pub(crate) fn key_attributes(key: &Key) -> Attributes {
    attributes([(KEYS.partition, text(&key.pk)), (KEYS.sort, text(&key.sk))])
}

/// An item that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item(pub(crate) Attributes);

impl Item {
    pub(crate) fn key(&self) -> StoreResult<Key> {
        Ok(Key::new(self.text(KEYS.partition)?, self.text(KEYS.sort)?))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.get(name)
    }

    /// Its place in an index or, without one, in the table.
    pub(crate) fn place(&self, index: Option<Index>) -> &str {
        let name = index.map_or(KEYS.sort, |index| index.keys.sort);
        self.maybe_text(name).unwrap_or_default()
    }

    pub(crate) fn maybe_text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_s().ok().map(String::as_str)
    }

    pub(crate) fn text(&self, name: &str) -> StoreResult<&str> {
        self.maybe_text(name).ok_or_else(|| self.damaged(name))
    }

    /// A text read back into its type.
    pub(crate) fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> StoreResult<T> {
        parse(self.text(name)?).ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.maybe_text(name).map(str::to_owned)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> StoreResult<T> {
        self.maybe_number(name).ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn maybe_number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.as_n().ok()?.parse().ok()
    }

    pub(crate) fn bytes(&self, name: &str) -> StoreResult<&[u8]> {
        self.get(name)
            .and_then(|value| value.as_b().ok())
            .map(AsRef::as_ref)
            .ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn time(&self, name: &str) -> StoreResult<Timestamp> {
        Timestamp::from_millis(self.number(name)?).ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn maybe_time(&self, name: &str) -> Option<Timestamp> {
        Timestamp::from_millis(self.maybe_number(name)?)
    }

    /// Names item and attribute, never the value.
    pub(crate) fn damaged(&self, name: &str) -> StoreError {
        let key = self.maybe_text(KEYS.partition).unwrap_or("without a key");
        StoreError::Damaged(format!("the attribute {name:?} of an item in {key} is missing or not ours"))
    }
}
