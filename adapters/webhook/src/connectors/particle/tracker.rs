//! Positions of Particle's trackers (docs.particle.io, "Tracker Edge": `loc`, and `loc-enhanced` by the cloud's
//! location fusion). Not here: positions in events of the user's own.

use bridge_core::{Kind, Location, Measurement, Timestamp, Uplink};
use serde_json::{Map, Value};

use super::payload::Payload;
use crate::connectors::fields;

const EVENTS: [&str; 2] = ["loc", "loc-enhanced"];

/// What a number of the position is called, and its unit. Others go by their own names: users add fields here.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("spd", "speed", "m/s"),
    ("hd", "heading", "deg"),
    ("cell", "cellularSignal", "%"),
    ("batt", "batteryLevel", "%"),
    ("v_acc", "verticalAccuracy", "m"),
];

/// Fields of the position that are no measurements.
const PLACE: [&str; 7] = ["lck", "time", "lat", "lon", "alt", "h_acc", "src"];

/// The event that a payload is by its own word: for webhooks that send the data alone.
pub(super) fn event_of(payload: &Payload) -> Option<&'static str> {
    let Payload::Object(object) = payload else { return None };
    let command = object.get("cmd")?.as_str()?;
    EVENTS.into_iter().find(|&event| event == command && position(object).is_some())
}

/// Reads a tracker's report; false when it is none. A location when there is a position, else the state of the
/// device with the towers that it saw.
pub(super) fn read(uplink: &mut Uplink, event: &str, payload: &Payload) -> bool {
    let Payload::Object(object) = payload else { return false };
    let Some((name, position)) = position(object).filter(|_| EVENTS.contains(&event)) else { return false };
    let number = |key: &str| position.get(key).and_then(fields::number);
    let epoch = |object: &Map<String, Value>| object.get("time").and_then(fields::epoch);
    // A report can wait on the device for a connection: its own time is when it happened.
    let own_time: Option<Timestamp> = epoch(position).or_else(|| epoch(object));
    uplink.time = own_time.or(uplink.time);
    let locked = position.get("lck").and_then(fields::integer) != Some(0);
    if let (true, Some(latitude), Some(longitude)) = (locked, number("lat"), number("lon")) {
        match Location::new(latitude, longitude) {
            Some(place) => {
                let (altitude, accuracy) = (number("alt"), number("h_acc"));
                let source = source(position.get("src").or_else(|| object.get("src")), name);
                uplink.content.location = Some(Location { altitude, accuracy, source, ..place });
            }
            None => uplink.content.warnings.push("the position is not a place on the globe".into()),
        }
    }
    for (key, value) in position.iter().filter(|(key, _)| !PLACE.contains(&key.as_str())) {
        let measurement = match NUMBERS.iter().find(|(own, _, _)| own == key) {
            Some((_, name, unit)) => Measurement::new(*name, value.clone()).with_unit(unit),
            None => Measurement::new(key.clone(), value.clone()),
        };
        if !value.is_null() {
            uplink.content.measurements.push(measurement);
        }
    }
    for (key, value) in object.iter().filter(|(key, _)| *key != name) {
        uplink.content.data.entry(key.clone()).or_insert_with(|| value.clone());
    }
    uplink.kind = if uplink.content.location.is_some() { Kind::Location } else { Kind::Status };
    true
}

/// The object with the position, and its key.
fn position(object: &Map<String, Value>) -> Option<(&str, &Map<String, Value>)> {
    EVENTS.into_iter().find_map(|name| Some((name, object.get(name)?.as_object()?)))
}

/// How the position is known: what the report says, else its receiver; location fusion does not always say.
fn source(said: Option<&Value>, name: &str) -> Option<String> {
    let said: Vec<&str> =
        said.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let best = [("gnss", "gps"), ("wifi", "wifi"), ("cell", "network")]
        .into_iter()
        .find(|(own, _)| said.contains(own));
    match best {
        Some((_, source)) => Some(source.to_owned()),
        None => (name == "loc").then(|| "gps".to_owned()),
    }
}
