//! Items of telemetry in JSON, and how each becomes an uplink. An object is in the *full form* when it has a member
//! `measurements` that is an object: `{"measurements": {...}, "time": ..., "id": ..., "units": {...}, "location": {...}}`.
//! Any other object is in the *short form*: each of its members is a measurement. Not here: other media types
//! ([`crate::body`]).

use std::borrow::Cow;

use bridge_core::members::Members;
use bridge_core::message::Location;
use bridge_core::{Content, DeviceId, ExternalDevice, IdempotencyKey, Kind, Measurement, Timestamp, Uplink};
use serde_json::{Map, Value};

use crate::fault::{Fault, member};
use crate::json::Json;

/// Items of one request at most: as many as messages of one payload.
pub const MOST_ITEMS: usize = 1000;
/// The longest name of a measurement, and the longest idempotency key, bytes.
const LONGEST_NAME: usize = 256;
/// The longest symbol of a unit, bytes.
const LONGEST_UNIT: usize = 64;

/// What was measured at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item {
    /// The sender's own idempotency key.
    pub id: Option<String>,
    /// When it was measured, as far as the sender knows.
    pub time: Option<Timestamp>,
    /// What was measured.
    pub content: Content,
}

/// All that a request says of one device.
#[derive(Debug, PartialEq)]
pub struct Items {
    /// What they are about.
    pub kind: Kind,
    /// In the order of the request.
    pub items: Vec<Item>,
    /// Its sender expects a result for each item.
    pub is_batch: bool,
}

impl Items {
    /// One item, for which its sender expects no result of its own.
    pub fn one(kind: Kind, item: Item) -> Self {
        Self { kind, items: vec![item], is_batch: false }
    }

    /// An object, or an array of objects.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(json: Json) -> Result<Self, Fault> {
        match json {
            Json::Object(object) => Ok(Self::one(Kind::Telemetry, Item::from_json(object, "")?)),
            Json::Array(values) => {
                check_count(values.len())?;
                let items = values.into_iter().enumerate().map(|(index, value)| match value {
                    Some(object) => Item::from_json(object, &format!("/{index}")),
                    None => Err(Fault::at(format!("/{index}"), "must be an object")),
                });
                Ok(Self { kind: Kind::Telemetry, items: items.collect::<Result<_, _>>()?, is_batch: true })
            }
            _ => Err(Fault::at("", "must be an object, or an array of objects")),
        }
    }

    /// One uplink for each item. What makes it the same when it is sent again is, in this order: its own `id`; the key of the
    /// request, with its place in a batch; its time and content. Without any of them nothing is the same.
    pub fn into_uplinks(
        self,
        device: &DeviceId,
        request_key: Option<&str>,
        unique: &dyn Fn() -> [u8; 16],
    ) -> Vec<Uplink> {
        let Self { kind, items, is_batch } = self;
        let uplink = |(index, item): (usize, Item)| {
            let name = device.as_str();
            let key = match (&item.id, request_key, item.time) {
                (Some(id), _, _) => IdempotencyKey::from_texts(&["id", name, id]),
                (None, Some(key), _) if is_batch => {
                    IdempotencyKey::from_texts(&["batch", name, key, &index.to_string()])
                }
                (None, Some(key), _) => IdempotencyKey::from_texts(&["id", name, key]),
                (None, None, Some(time)) => {
                    // invariant: text keys and finite numbers only, so this cannot fail.
                    let content = serde_json::to_vec(&item.content).unwrap_or_default();
                    let time = time.as_millis().to_be_bytes();
                    IdempotencyKey::from_parts(&[b"moment", name.as_bytes(), &time, &content])
                }
                (None, None, None) => IdempotencyKey::from_parts(&[b"unique", name.as_bytes(), &unique()]),
            };
            let device = Some(ExternalDevice::new(name));
            Uplink { time: item.time, content: item.content, ..Uplink::new(device, kind, key) }
        };
        items.into_iter().enumerate().map(uplink).collect()
    }
}

/// Whether a request may hold so many items.
///
/// # Errors
/// When it may not.
pub fn check_count(items: usize) -> Result<(), Fault> {
    match items {
        0 => Err(Fault::at("", "must hold an item")),
        1..=MOST_ITEMS => Ok(()),
        _ => Err(Fault::at(
            "",
            format!("must hold at most {MOST_ITEMS} items; send the rest in another request"),
        )),
    }
}

impl Item {
    fn from_json(object: Members, at: &str) -> Result<Self, Fault> {
        let item = match object.get("measurements") {
            Some(Value::Object(_)) => Self::from_full(object, at)?,
            _ => {
                let content = Content { measurements: measurements(object, at)?, ..Content::default() };
                Self { content, ..Self::default() }
            }
        };
        match item.content.measurements.is_empty() && item.content.location.is_none() {
            true => Err(Fault::at(at, "must hold a measurement")),
            false => Ok(item),
        }
    }

    fn from_full(mut object: Members, at: &str) -> Result<Self, Fault> {
        let mut item = Self::default();
        if let Some(Value::Object(named)) = object.take("measurements") {
            item.content.measurements = measurements(named, &member(at, "measurements"))?;
        }
        for (name, value) in object {
            let at = member(at, &name);
            match (name.as_str(), value) {
                ("time" | "id" | "units" | "location", Value::Null) => {}
                ("time", value) => item.time = Some(time(&value, &at)?),
                ("id", Value::String(id)) => item.id = Some(key(id, &at)?),
                ("id", _) => return Err(Fault::at(at, "must be text")),
                ("units", Value::Object(units)) => set_units(&mut item.content.measurements, units, &at)?,
                ("location", Value::Object(place)) => item.content.location = Some(location(&place, &at)?),
                ("units" | "location", _) => return Err(Fault::at(at, "must be an object")),
                _ => {
                    let known =
                        "is not a member of an item; those are measurements, time, id, units, location";
                    return Err(Fault::at(at, known));
                }
            }
        }
        Ok(item)
    }
}

/// The members of an object as measurements; null is no measurement.
///
/// # Errors
/// When a name is none.
pub fn measurements(
    object: impl IntoIterator<Item = (String, Value)>,
    at: &str,
) -> Result<Vec<Measurement>, Fault> {
    let present = object.into_iter().filter(|(_, value)| !value.is_null());
    named_values(present, at)
}

/// The members of an object, whose names must be names.
///
/// # Errors
/// When a name is none.
pub fn named_values(
    members: impl Iterator<Item = (String, Value)>,
    at: &str,
) -> Result<Vec<Measurement>, Fault> {
    members
        .map(|(name, value)| {
            let wrong = match name.as_str() {
                "" => Some("has an empty name".to_owned()),
                name if name.len() > LONGEST_NAME => {
                    Some(format!("has a name of more than {LONGEST_NAME} bytes"))
                }
                name if name.contains(char::is_control) => {
                    Some("has a control character in its name".to_owned())
                }
                _ => None,
            };
            match wrong {
                Some(wrong) => Err(Fault::at(member(at, &name.chars().take(64).collect::<String>()), wrong)),
                None => Ok(Measurement::new(name, value)),
            }
        })
        .collect()
}

fn time(value: &Value, at: &str) -> Result<Timestamp, Fault> {
    value.as_str().and_then(Timestamp::parse_rfc3339).ok_or_else(|| {
        Fault::at(at, "must be a time of RFC 3339 from 1970 to 9999, such as \"2026-11-20T23:40:11Z\"")
    })
}

fn key(text: String, at: &str) -> Result<String, Fault> {
    match text.len() {
        1..=LONGEST_NAME => Ok(text),
        _ => Err(Fault::at(at, format!("must be 1 to {LONGEST_NAME} bytes long"))),
    }
}

fn set_units(measurements: &mut [Measurement], units: Map<String, Value>, at: &str) -> Result<(), Fault> {
    for (name, unit) in units {
        let at = member(at, &name);
        let Some(measurement) = measurements.iter_mut().find(|measurement| measurement.name == name) else {
            return Err(Fault::at(at, "is the unit of no measurement"));
        };
        match unit {
            Value::String(unit) if (1..=LONGEST_UNIT).contains(&unit.len()) => {
                measurement.unit = Some(Cow::Owned(unit));
            }
            _ => {
                return Err(Fault::at(
                    at,
                    format!("must be text of 1 to {LONGEST_UNIT} bytes, such as \"Cel\""),
                ));
            }
        }
    }
    Ok(())
}

fn location(object: &Map<String, Value>, at: &str) -> Result<Location, Fault> {
    let number = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(Fault::at(member(at, name), "must be a number")),
        },
    };
    let (altitude, accuracy) = (number("altitude")?, number("accuracy")?);
    let place = match (number("latitude")?, number("longitude")?) {
        (Some(latitude), Some(longitude)) => Location::new(latitude, longitude),
        _ => return Err(Fault::at(at, "must have latitude and longitude, in degrees")),
    };
    let place = place.ok_or_else(|| Fault::at(at, "is not a place on the globe"))?;
    let source = match object.get("source") {
        None | Some(Value::Null) => None,
        Some(Value::String(source)) if source.len() <= LONGEST_UNIT => Some(source.clone()),
        Some(_) => return Err(Fault::at(member(at, "source"), "must be a word, such as \"gps\"")),
    };
    let known = ["latitude", "longitude", "altitude", "accuracy", "source"];
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Fault::at(
            member(at, name),
            format!("is not a member of a location; those are {}", known.join(", ")),
        )),
        None => Ok(Location { altitude, accuracy, source, ..place }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Items, Fault> {
        Items::from_json(serde_json::from_str(&value.to_string()).unwrap())
    }

    fn items(value: &Value) -> Vec<Item> {
        read(value).unwrap().items
    }

    fn pointer(value: &Value) -> String {
        let fault = read(value).unwrap_err();
        assert!(!fault.is_syntax && !fault.detail.is_empty());
        fault.pointer
    }

    #[test]
    fn the_two_forms_are_told_apart_by_measurements() {
        let short = items(
            &json!({ "temperature": 21.5, "open": true, "note": "x", "axes": { "x": 1 }, "time": "noon", "none": null }),
        );
        let names: Vec<&str> = short[0].content.measurements.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["temperature", "open", "note", "axes", "time"], "null is no measurement");
        assert_eq!((short[0].time, &short[0].id), (None, &None));
        // A measurement of that name that is no object leaves the form short.
        assert_eq!(items(&json!({ "measurements": 7 }))[0].content.measurements[0].value, 7);

        let full = items(&json!({
            "measurements": { "temperature": 21.5, "humidity": 48 }, "time": "2026-11-20T23:40:11+01:00", "id": "a-1",
            "units": { "temperature": "Cel" },
            "location": { "latitude": 52.1, "longitude": 4.9, "accuracy": 12, "source": "gps" }
        }));
        let Item { id, time, content } = &full[0];
        assert_eq!(
            (id.as_deref(), time.unwrap().to_string().as_str()),
            (Some("a-1"), "2026-11-20T22:40:11.000Z")
        );
        assert_eq!(content.measurements[0], Measurement::new("temperature", 21.5).with_unit("Cel"));
        assert_eq!(content.measurements[1].unit, None);
        let place = content.location.as_ref().unwrap();
        assert_eq!(
            (place.accuracy, place.altitude, place.source.as_deref()),
            (Some(12.0), None, Some("gps"))
        );
        // A place without measurements is something, too.
        assert_eq!(
            items(&json!({ "measurements": {}, "location": { "latitude": 0, "longitude": 0 } })).len(),
            1
        );
    }

    #[test]
    fn a_fault_has_its_place() {
        for (value, wanted) in [
            (json!(7), ""),
            (json!([]), ""),
            (json!(vec![json!({ "a": 1 }); MOST_ITEMS + 1]), ""),
            (json!({}), ""),
            (json!({ "a": null }), ""),
            (json!({ "measurements": {} }), ""),
            (json!([{ "a": 1 }, 7]), "/1"),
            (json!([{ "a": 1 }, {}]), "/1"),
            (json!({ "": 1 }), "/"),
            (json!({ "a\nb": 1 }), "/a\nb"),
            (json!({ "measurements": { "a": 1 }, "tme": 1 }), "/tme"),
            (json!([{ "measurements": { "a": 1 }, "time": "yesterday" }]), "/0/time"),
            (json!({ "measurements": { "a": 1 }, "time": 7 }), "/time"),
            (json!({ "measurements": { "a": 1 }, "id": "" }), "/id"),
            (json!({ "measurements": { "a": 1 }, "id": 7 }), "/id"),
            (json!({ "measurements": { "a": 1 }, "units": { "b/c": "Cel" } }), "/units/b~1c"),
            (json!({ "measurements": { "a": 1 }, "units": { "a": 1 } }), "/units/a"),
            (json!({ "measurements": { "a": 1 }, "units": "Cel" }), "/units"),
            (json!({ "measurements": { "a": 1 }, "location": [52, 4] }), "/location"),
            (json!({ "measurements": { "a": 1 }, "location": { "latitude": 52 } }), "/location"),
            (
                json!({ "measurements": { "a": 1 }, "location": { "latitude": 99, "longitude": 0 } }),
                "/location",
            ),
            (
                json!({ "measurements": { "a": 1 }, "location": { "latitude": "52", "longitude": 0 } }),
                "/location/latitude",
            ),
            (
                json!({ "measurements": { "a": 1 }, "location": { "latitude": 1, "longitude": 0, "lat": 1 } }),
                "/location/lat",
            ),
        ] {
            assert_eq!(pointer(&value), wanted, "{value}");
        }
    }

    #[test]
    fn what_makes_two_items_the_same() {
        let counter = std::sync::atomic::AtomicU8::new(0);
        let unique = || [counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed); 16];
        let device = DeviceId::parse("d1").unwrap();
        let keys = |value: Value, header: Option<&str>| -> Vec<IdempotencyKey> {
            let items = read(&value).unwrap();
            items.into_uplinks(&device, header, &unique).iter().map(|uplink| uplink.key).collect()
        };
        let timed = json!({ "measurements": { "a": 1 }, "time": "2026-11-20T23:40:11Z" });
        let named = json!({ "measurements": { "a": 1 }, "id": "k" });
        let plain = json!({ "a": 1 });
        assert_eq!(keys(timed.clone(), None), keys(timed.clone(), None));
        let other = json!({ "measurements": { "a": 2 }, "time": "2026-11-20T23:40:11Z" });
        assert_ne!(keys(timed.clone(), None), keys(other, None), "the same moment, something else");
        assert_ne!(keys(plain.clone(), None), keys(plain.clone(), None));
        assert_eq!(keys(plain.clone(), Some("k")), keys(named.clone(), None));
        assert_eq!(
            keys(named.clone(), Some("h")),
            keys(named.clone(), None),
            "an item's own key comes first"
        );
        let batch = json!([plain, plain, named, timed]);
        let first = keys(batch.clone(), Some("h"));
        assert_eq!(first, keys(batch.clone(), Some("h")));
        assert_eq!(first.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_ne!(first[0], keys(batch, None)[0]);
        let elsewhere = read(&json!({ "measurements": { "a": 1 }, "id": "k" })).unwrap();
        let elsewhere = elsewhere.into_uplinks(&DeviceId::parse("d2").unwrap(), None, &unique);
        assert_ne!(elsewhere[0].key, keys(json!({ "measurements": { "a": 1 }, "id": "k" }), None)[0]);
    }
}
