//! DATA/UPLINK and DATA/BIDIR: a message of a device, with what the user's template adds. Not here: decoding the
//! payload.

use std::collections::HashSet;

use bridge_core::{Content, Kind, Measurement, Raw};
use serde_json::Value;

use super::message::{COMMON, describe};
use super::record::Record;
use super::variables::Variable as V;
use crate::connectors::fields;

/// Variables of a message beside the common ones. What else has the name of a variable is the user's own field here:
/// `temp` in a message is what its payload says, not the temperature of a STATUS.
const OWN: &[V] = &[V::Data, V::Ack, V::LongPolling, V::Duplicate, V::FixedLat, V::FixedLng];

/// Reads a message.
pub(super) fn read(record: &mut Record, content: &mut Content) -> Kind {
    content.raw = raw(record);
    describe(record, content);
    for (variable, name) in [(V::Ack, "downlinkRequested"), (V::LongPolling, "longPolling")] {
        if let Some(flag) = record.boolean(variable) {
            content.data.insert(name.into(), flag.into());
        }
    }
    if record.boolean(V::Duplicate) == Some(true) {
        content.data.insert("duplicate".into(), true.into());
    }
    content.measurements = measurements(record);
    Kind::Telemetry
}

/// The bytes of the payload. None with a warning when it is not hex: the rest of the message goes on.
fn raw(record: &mut Record) -> Option<Raw> {
    let value = record.value(V::Data)?;
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        other => fields::text(other)?,
    };
    match fields::hex(&text) {
        Some(data) => Some(Raw { data, ..Raw::default() }),
        None => {
            record
                .warnings
                .push("data is not hex of whole bytes (is the variable quoted in the template?)".into());
            None
        }
    }
}

/// The template's own fields. The fields of an object become measurements by their own names, one level deep; where
/// two would share a name, the later one is named with its object.
fn measurements(record: &Record) -> Vec<Measurement> {
    let mut names = HashSet::new();
    let mut out = Vec::new();
    let mut measure = |name: &str, longer: Option<String>, value: &Value| {
        let Some(value) = fields::unquoted(value) else { return };
        let name = match longer {
            Some(longer) if names.contains(name) => longer,
            _ => name.to_owned(),
        };
        if names.insert(name.clone()) {
            out.push(Measurement::new(name, value));
        }
    };
    for (key, value) in record.others(&[COMMON, OWN]) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    measure(name, Some(format!("{key}.{name}")), value);
                }
            }
            _ => measure(key, Some(format!("{key}.{key}")), value),
        }
    }
    out
}
