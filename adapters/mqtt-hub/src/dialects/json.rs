//! The JSON of a message, written straight from it: this is the hot path. Not here: topics.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::{Kind, Location, Message, Radio, Raw, Timestamp};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

/// The message as the hub's consumers read it. What is absent stays absent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageJson<'a> {
    #[serde(serialize_with = "digits")]
    id: [u8; 32],
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    source: &'a str,
    integration: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_digits")]
    time: Option<[u8; 24]>,
    #[serde(serialize_with = "digits")]
    received_at: [u8; 24],
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    superseded: bool,
    #[serde(skip_serializing_if = "is_false")]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_digits")]
    corrects: Option<[u8; 32]>,
    #[serde(skip_serializing_if = "is_false")]
    simulated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    measurements: Option<Measurements<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Measurements<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<Units<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a Location>,
    #[serde(skip_serializing_if = "Option::is_none")]
    radio: Option<&'a Radio>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<RawJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Map<String, Value>>,
    warnings: &'a [String],
}

impl<'a> MessageJson<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        let content = &message.content;
        let reported = message.kind == Kind::Properties;
        let measured = message.kind == Kind::Telemetry || (!reported && !content.measurements.is_empty());
        let has_units = content.measurements.iter().any(|measurement| measurement.unit.is_some());
        Self {
            id: message.id.digits(),
            device: message.device.as_ref().map(bridge_core::DeviceId::as_str),
            source: &message.source,
            integration: message.integration.as_str(),
            kind: message.kind.as_str(),
            time: message.time.map(Timestamp::digits),
            received_at: message.received_at.digits(),
            version: message.state_version(),
            superseded: message.superseded,
            replayed: message.replayed,
            corrects: message.corrects.map(|id| id.digits()),
            simulated: content.simulated,
            measurements: measured.then_some(Measurements(message)),
            properties: reported.then_some(Measurements(message)),
            units: has_units.then_some(Units(message)),
            location: content.location.as_ref(),
            radio: content.radio.as_ref(),
            raw: content.raw.as_ref().map(RawJson::of),
            data: (!content.data.is_empty() && message.state_version().is_none()).then_some(&content.data),
            warnings: &content.warnings,
        }
    }
}

/// `{ name: value }`.
pub(super) struct Measurements<'a>(pub(super) &'a Message);

impl Serialize for Measurements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let measurements = &self.0.content.measurements;
        let mut map = serializer.serialize_map(Some(measurements.len()))?;
        for measurement in measurements {
            map.serialize_entry(&measurement.name, &measurement.value)?;
        }
        map.end()
    }
}

/// `{ name: unit }` of those that have one.
struct Units<'a>(&'a Message);

impl Serialize for Units<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for measurement in &self.0.content.measurements {
            if let Some(unit) = &measurement.unit {
                map.serialize_entry(&measurement.name, unit)?;
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct RawJson<'a> {
    #[serde(serialize_with = "base64_text")]
    data: &'a [u8],
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u8>,
    #[serde(skip_serializing_if = "is_false")]
    encrypted: bool,
}

impl<'a> RawJson<'a> {
    fn of(raw: &'a Raw) -> Self {
        Self { data: &raw.data, port: raw.port, encrypted: raw.encrypted }
    }
}

// serde's `serialize_with` and `skip_serializing_if` hand over references.

fn digits<const N: usize, S: Serializer>(ascii: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
    // Of ids and times, and so ASCII: the default is never taken.
    serializer.serialize_str(str::from_utf8(ascii).unwrap_or_default())
}

fn optional_digits<const N: usize, S: Serializer>(
    ascii: &Option<[u8; N]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match ascii {
        Some(ascii) => digits(ascii, serializer),
        None => serializer.serialize_none(),
    }
}

fn base64_text<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn is_false(flag: &bool) -> bool {
    !flag
}
