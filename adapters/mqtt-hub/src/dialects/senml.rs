//! Measurements as a SenML pack (RFC 8428, JSON). Not here: reading SenML.

use bridge_core::Message;
use serde_json::{Map, Value, json};

/// One record per measurement; the first carries base name `{device}/` and base time. A value that SenML cannot hold
/// (a structure, null) becomes its JSON text, so that nothing is lost. A message without measurements is a pack with
/// the base record alone.
pub(super) fn pack(message: &Message) -> Value {
    let mut base = Map::new();
    let device = message.device.as_ref().map_or("", bridge_core::DeviceId::as_str);
    base.insert("bn".into(), format!("{device}/").into());
    let time = message.time.unwrap_or(message.received_at);
    base.insert("bt".into(), json!(time.as_millis() as f64 / 1000.0));
    let mut records = vec![base];
    for (index, measurement) in message.content.measurements.iter().enumerate() {
        let mut record = if index == 0 { std::mem::take(&mut records[0]) } else { Map::new() };
        record.insert("n".into(), name(&measurement.name).into());
        if let Some(unit) = &measurement.unit {
            record.insert("u".into(), unit.as_ref().into());
        }
        let (key, value) = match &measurement.value {
            number @ Value::Number(_) => ("v", number.clone()),
            flag @ Value::Bool(_) => ("vb", flag.clone()),
            text @ Value::String(_) => ("vs", text.clone()),
            other => ("vs", other.to_string().into()),
        };
        record.insert(key.into(), value);
        if index == 0 { records[0] = record } else { records.push(record) }
    }
    Value::Array(records.into_iter().map(Value::Object).collect())
}

/// RFC 8428 section 4.5.1: letters, digits and `- : . / _`, starting with a letter or digit (the base name does).
fn name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '/' | '_');
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}
