//! `ttn.lorawan.v3.Location` of a device. The places of gateways are never read.

use bridge_core::Location;
use serde_json::{Map, Value};

use crate::connectors::{fields, lora};

/// The device's position among its named ones: from the frame itself, else from whatever solver gave one, else as its
/// owner put it on the map (`user`). A position that cannot be one is reported.
pub(super) fn of_device(locations: &Map<String, Value>, warnings: &mut Vec<String>) -> Option<Location> {
    let rank = |name: &str| match name {
        "frm-payload" => 0,
        "user" => 2,
        _ => 1,
    };
    let mut named: Vec<_> = locations.iter().filter(|(_, value)| !value.is_null()).collect();
    named.sort_by_key(|(name, _)| rank(name));
    let found = named.iter().find_map(|(_, value)| read(value));
    if found.is_none() && !named.is_empty() {
        warnings.push("locations hold no position on the globe".into());
    }
    found
}

/// Reads a `Location`.
pub(super) fn read(value: &Value) -> Option<Location> {
    let field = |name| value.get(name).and_then(fields::number);
    let position =
        lora::location(field("latitude"), field("longitude"), field("altitude"), field("accuracy"))?;
    let source = value.get("source").and_then(Value::as_str).and_then(lora::location_source);
    Some(Location { source, ..position })
}
