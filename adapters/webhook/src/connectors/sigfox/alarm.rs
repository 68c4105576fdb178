//! ERROR and EVENT callbacks: what the backend noticed about a device or the network. Not here: what anybody does
//! about it.

use bridge_core::{Content, Kind};
use serde_json::Value;

use super::message::{COMMON, device_id, keep_others};
use super::record::Record;
use super::variables::Variable as V;
use crate::connectors::fields;

/// Reads an ERROR callback: a silent device (ERROR) or an outage (WARN).
pub(super) fn read_error(record: &mut Record, content: &mut Content) -> Kind {
    for variable in [V::Severity, V::Info, V::DeviceTypeId] {
        if let Some(text) = record.text(variable) {
            content.data.insert(variable.name().into(), text.into());
        }
    }
    keep_others(record, &[V::Severity, V::Info], content);
    Kind::Error
}

/// Reads an EVENT callback. Its variables differ by the type of event, so all of them go through under their names.
pub(super) fn read_event(record: &mut Record, content: &mut Content) -> Kind {
    if let Some(text) = record.text(V::DeviceTypeId) {
        content.data.insert(V::DeviceTypeId.name().into(), text.into());
    }
    for (key, value) in record.others(&[COMMON]) {
        // Ids are hex and may look like numbers, so only what counts or times becomes a number.
        let counts = key.ends_with("Seqnumber") || key.ends_with("Time");
        let number = if counts { fields::integer(value).map(Value::from) } else { None };
        content.data.insert(key.clone(), number.unwrap_or_else(|| value.clone()));
    }
    match record.text(V::Severity).as_deref().map(str::to_ascii_uppercase).as_deref() {
        Some("ERROR" | "WARN" | "WARNING") => Kind::Error,
        _ => Kind::Log,
    }
}

/// The device of an EVENT: its source when that is a device, else what names one. Events of groups and device types
/// have none. A text that is no id leaves the event without a device, and stands among the details.
pub(super) fn device_of_event(record: &Record, path_device: Option<&str>) -> Option<String> {
    let is_device = record.text(V::SourceType).is_some_and(|text| text.eq_ignore_ascii_case("device"));
    let source = if is_device { record.text(V::SourceId) } else { None };
    let named = [source, record.text(V::Device), record.text(V::DeviceInfo), path_device.map(str::to_owned)];
    named.into_iter().flatten().find_map(|text| device_id(text.trim()))
}
