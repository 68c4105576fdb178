//! A pack as it was written: records with base fields that apply to those after them. Not here: applying them.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Number;

use super::record::{RecordValue, SenmlError};
use super::{VERSION, cbor, json};

/// A pack that has been read, not yet resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    pub(super) entries: Vec<Entry>,
}

impl Pack {
    /// Reads `application/senml+json` (RFC 8428 section 5).
    ///
    /// # Errors
    /// When it is not a list of records, or asks for something that is not known here.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SenmlError> {
        json::read(bytes)?.check_version()
    }

    /// Reads `application/senml+cbor` (RFC 8428 section 6).
    ///
    /// # Errors
    /// When it is not a list of records, or asks for something that is not known here.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, SenmlError> {
        cbor::read(bytes)?.check_version()
    }

    fn check_version(self) -> Result<Self, SenmlError> {
        let mut versions = self.entries.iter().filter_map(|entry| entry.version);
        let first = versions.next().unwrap_or(VERSION);
        if versions.any(|version| version != first) {
            return Err(SenmlError::MixedVersions);
        }
        if first > VERSION { Err(SenmlError::Version(first)) } else { Ok(self) }
    }
}

/// A record with its base fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) base_name: Option<String>,
    pub(super) base_time: Option<f64>,
    pub(super) base_unit: Option<String>,
    pub(super) base_value: Option<Number>,
    pub(super) base_sum: Option<Number>,
    pub(super) version: Option<u64>,
    pub(super) name: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) time: Option<f64>,
    pub(super) update_time: Option<Number>,
    pub(super) value: Option<RecordValue>,
    pub(super) sum: Option<Number>,
    /// Why the record (but not its base fields) cannot be used.
    pub(super) flaw: Option<&'static str>,
}

/// What a label says (RFC 8428 table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    BaseVersion,
    BaseName,
    BaseTime,
    BaseUnit,
    BaseValue,
    BaseSum,
    Name,
    Unit,
    Value,
    Text,
    Bool,
    Sum,
    Time,
    UpdateTime,
    Data,
}

/// The label in JSON and the label in CBOR.
const LABELS: [(Label, &str, i64); 15] = [
    (Label::BaseVersion, "bver", -1),
    (Label::BaseName, "bn", -2),
    (Label::BaseTime, "bt", -3),
    (Label::BaseUnit, "bu", -4),
    (Label::BaseValue, "bv", -5),
    (Label::BaseSum, "bs", -6),
    (Label::Name, "n", 0),
    (Label::Unit, "u", 1),
    (Label::Value, "v", 2),
    (Label::Text, "vs", 3),
    (Label::Bool, "vb", 4),
    (Label::Sum, "s", 5),
    (Label::Time, "t", 6),
    (Label::UpdateTime, "ut", 7),
    (Label::Data, "vd", 8),
];

impl Label {
    /// The label of this text; none when it may be ignored.
    pub(super) fn from_text(text: &str) -> Result<Option<Self>, SenmlError> {
        let found = match text {
            "bver" => Self::BaseVersion,
            "bn" => Self::BaseName,
            "bt" => Self::BaseTime,
            "bu" => Self::BaseUnit,
            "bv" => Self::BaseValue,
            "bs" => Self::BaseSum,
            "n" => Self::Name,
            "u" => Self::Unit,
            "v" => Self::Value,
            "vs" => Self::Text,
            "vb" => Self::Bool,
            "s" => Self::Sum,
            "t" => Self::Time,
            "ut" => Self::UpdateTime,
            "vd" => Self::Data,
            _ if text.ends_with('_') => return Err(SenmlError::MustUnderstand),
            _ => return Ok(None),
        };
        Ok(Some(found))
    }

    pub(super) fn from_number(number: i64) -> Option<Self> {
        LABELS.iter().find(|label| label.2 == number).map(|label| label.0)
    }

    pub(super) fn text(self) -> &'static str {
        self.row().1
    }

    pub(super) fn number(self) -> i64 {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, i64) {
        // invariant: the table is in the order of the variants, which a test checks.
        &LABELS[self as usize]
    }
}

/// The value of a field, whichever format it came in.
#[derive(Debug)]
pub(super) enum Item {
    Number(Number),
    NotFinite,
    Text(String),
    Bool(bool),
    Bytes(Vec<u8>),
    Other,
}

impl Entry {
    /// Takes a field. A base field of the wrong type is an error; any other leaves the record out.
    pub(super) fn put(&mut self, label: Label, item: Item) -> Result<(), SenmlError> {
        let base = || SenmlError::BaseField(label.text());
        match (label, item) {
            (Label::BaseVersion, item) => {
                self.version = Some(item.number().and_then(|number| number.as_u64()).ok_or_else(base)?);
            }
            (Label::BaseName, item) => self.base_name = Some(item.text().ok_or_else(base)?),
            (Label::BaseUnit, item) => self.base_unit = Some(item.text().ok_or_else(base)?),
            (Label::BaseTime, item) => self.base_time = Some(item.seconds().ok_or_else(base)?),
            (Label::BaseValue, item) => self.base_value = Some(item.number().ok_or_else(base)?),
            (Label::BaseSum, item) => self.base_sum = Some(item.number().ok_or_else(base)?),
            (_, Item::NotFinite) => self.flaw = Some("has a number that is not finite"),
            (Label::Name, Item::Text(name)) => self.name = Some(name),
            (Label::Unit, Item::Text(unit)) => self.unit = Some(unit),
            (Label::Time, Item::Number(time)) => self.time = time.as_f64(),
            (Label::UpdateTime, Item::Number(seconds)) => self.update_time = Some(seconds),
            (Label::Sum, Item::Number(sum)) => self.sum = Some(sum),
            (Label::Value, Item::Number(number)) => self.put_value(RecordValue::Number(number)),
            (Label::Text, Item::Text(text)) => self.put_value(RecordValue::Text(text)),
            (Label::Bool, Item::Bool(flag)) => self.put_value(RecordValue::Bool(flag)),
            (Label::Data, Item::Bytes(bytes)) => self.put_value(RecordValue::Data(bytes)),
            (Label::Data, Item::Text(text)) => match from_base64(&text) {
                Some(bytes) => self.put_value(RecordValue::Data(bytes)),
                None => self.flaw = Some("has data that is not base64"),
            },
            _ => self.flaw = Some("has a field that is not of its type"),
        }
        Ok(())
    }

    fn put_value(&mut self, value: RecordValue) {
        if self.value.replace(value).is_some() {
            self.flaw = Some("has more than one value");
        }
    }
}

impl Item {
    fn number(self) -> Option<Number> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    fn seconds(self) -> Option<f64> {
        self.number().and_then(|number| number.as_f64())
    }

    fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// RFC 8428 section 5 wants the URL-safe alphabet without padding; devices send all four kinds.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = |alphabet| GeneralPurpose::new(alphabet, lenient);
    engine(&URL_SAFE).decode(text).or_else(|_| engine(&STANDARD).decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_are_in_order() {
        for (index, (label, text, number)) in LABELS.into_iter().enumerate() {
            assert_eq!(label as usize, index);
            assert_eq!((label.text(), label.number()), (text, number));
            assert_eq!(Label::from_text(text), Ok(Some(label)));
            assert_eq!(Label::from_number(number), Some(label));
        }
    }
}
