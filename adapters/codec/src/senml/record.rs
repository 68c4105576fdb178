//! A resolved record, and why a pack has none. Not here: base fields.

use bridge_core::time::Timestamp;
use serde_json::Number;

use super::{FIRST_ABSOLUTE, LONGEST_NAME, VERSION};

/// A record that stands for itself: no base field applies to it any more (RFC 8428 section 4.6).
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Base name and name in one.
    pub name: String,
    /// Symbol of the SenML unit registry.
    pub unit: Option<String>,
    /// When it was measured; none is "now", as far as the device can tell.
    pub time: Option<Timestamp>,
    /// None in a record that has a sum alone, or asks for a value.
    pub value: Option<RecordValue>,
    /// Integral of the value over time.
    pub sum: Option<Number>,
    /// Seconds within which the next value is to be expected.
    pub update_time: Option<Number>,
}

impl Record {
    /// A record of now with a value, without a unit.
    pub fn new(name: impl Into<String>, value: RecordValue) -> Self {
        Self { name: name.into(), unit: None, time: None, value: Some(value), sum: None, update_time: None }
    }
}

/// The value of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordValue {
    /// `v`
    Number(Number),
    /// `vs`
    Text(String),
    /// `vb`
    Bool(bool),
    /// `vd`
    Data(Vec<u8>),
}

/// Why nothing of a pack can be used. The device's fault; the same bytes fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SenmlError {
    /// Neither JSON nor CBOR of a list of records; the text says where.
    #[error("{0}")]
    Malformed(String),
    /// RFC 8428 section 4.2.
    #[error("a SenML pack is a list of records")]
    NotAPack,
    /// A base field of the wrong type: it applies to every record that follows.
    #[error("the base field {0} is not of its type")]
    BaseField(&'static str),
    /// RFC 8428 section 4.4.
    #[error("version {0} of SenML is not known; the latest is {VERSION}")]
    Version(u64),
    /// RFC 8428 section 4.4: all records of a pack have the same version.
    #[error("the records are of different versions of SenML")]
    MixedVersions,
    /// RFC 8428 section 4.4: a label that ends with an underscore must be understood.
    #[error("a field that must be understood (its label ends with an underscore) is not known")]
    MustUnderstand,
}

/// RFC 8428 section 4.5.1, and names that begin with a slash, as LwM2M has them.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.len() > LONGEST_NAME {
        return Err("has a name of more than 256 characters");
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/') {
        return Err("has no name, or one that does not begin with a letter or a digit");
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-:./_".contains(&byte);
    if name.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err("has a name with other characters than letters, digits, - : . / and _")
    }
}

/// Whether a time can be written as an absolute one.
pub(super) fn is_absolute(time: Timestamp) -> bool {
    time.as_millis() >= FIRST_ABSOLUTE * 1000
}
