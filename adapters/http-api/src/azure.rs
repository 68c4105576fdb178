//! The request of Azure's stateless device bridge (iotc-device-bridge, function `IoTCIntegration`):
//! `{"device":{"deviceId":...,"modelId":...},"measurements":{...},"timestamp":...,"modelId":...}`. What it took is taken here,
//! but for what it took by mistake (reference, section 1.3): arrays as measurements, and times of which nobody can say
//! when they were. Not here: its key ([`crate::caller`]).

use bridge_core::{Content, DeviceId, Kind, Timestamp};
use serde_json::{Map, Value};

use edge::body::json;
use edge::item::measurements;
use edge::{Fault, Item, Items};

/// Reads a body. Members that are not known are ignored, as there.
pub(crate) fn read(body: &[u8]) -> Result<(DeviceId, Items), Fault> {
    let Value::Object(mut object) = json(body)? else { return Err(Fault::at("", "must be an object")) };
    let device = match object.shift_remove("device") {
        Some(Value::Object(device)) => device,
        None | Some(Value::Null) => {
            return Err(Fault::at("/device", "a device specification must be provided"));
        }
        Some(_) => return Err(Fault::at("/device", "must be an object with a deviceId")),
    };
    let id = device_id(&device)?;
    let mut content = Content::default();
    // The code of that bridge reads the first, its documentation promises the second.
    let model = match model(&device, "/device/modelId")? {
        Some(model) => Some(model),
        None => model_of(object.get("modelId"), "/modelId")?,
    };
    if let Some(model) = model {
        content.data.insert("model".into(), model.into());
    }
    content.measurements = match object.shift_remove("measurements") {
        Some(Value::Object(named)) => measurements(named, "/measurements")?,
        None | Some(Value::Null) => return Err(Fault::at("/measurements", "must be provided")),
        Some(_) => return Err(Fault::at("/measurements", "must be an object")),
    };
    let time = time(object.get("timestamp"))?;
    Ok((id, Items::one(Kind::Telemetry, Item { id: None, time, content })))
}

/// `^[a-zA-Z0-9-._:]*[a-zA-Z0-9-]+$`, and at most 128 characters, which is the limit of Azure's provisioning service.
fn device_id(device: &Map<String, Value>) -> Result<DeviceId, Fault> {
    let at = "/device/deviceId";
    let Some(Value::String(text)) = device.get("deviceId") else { return Err(Fault::at(at, "must be text")) };
    let id = DeviceId::parse(text).map_err(|error| Fault::at(at, error.to_string()))?;
    match text.ends_with(['.', '_', ':']) {
        true => Err(Fault::at(at, "must end with a letter, a digit or -")),
        false => Ok(id),
    }
}

fn model<'v>(device: &'v Map<String, Value>, at: &str) -> Result<Option<&'v str>, Fault> {
    model_of(device.get("modelId"), at)
}

fn model_of<'v>(value: Option<&'v Value>, at: &str) -> Result<Option<&'v str>, Fault> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(model)) => Ok(Some(model.as_str()).filter(|model| !model.is_empty())),
        Some(_) => Err(Fault::at(at, "must be text")),
    }
}

/// That bridge took whatever JavaScript's `Date.parse` takes. A date without a time, or a time without an offset, is no
/// moment: which one it became depended on where that bridge ran.
fn time(value: Option<&Value>) -> Result<Option<Timestamp>, Fault> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if Timestamp::parse_rfc3339(text).is_some() => {
            Ok(Timestamp::parse_rfc3339(text))
        }
        Some(_) => Err(Fault::at(
            "/timestamp",
            "must be a time of RFC 3339 with its offset, such as \"2026-11-20T23:40:11Z\" or \"2026-11-21T00:40:11+01:00\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(id: &str) -> Value {
        json!({ "device": { "deviceId": id }, "measurements": { "temp": 20.31, "ledColor": "blue" } })
    }

    fn with(changes: Value) -> Result<(DeviceId, Items), Fault> {
        let mut body = body("my-cloud-device");
        if let (Value::Object(body), Value::Object(changes)) = (&mut body, changes) {
            body.extend(changes);
        }
        read(body.to_string().as_bytes())
    }

    /// The rows of reference 1.1 that are about the body.
    #[test]
    fn what_that_bridge_takes() {
        let (device, items) = with(json!({})).unwrap();
        assert_eq!(device.as_str(), "my-cloud-device");
        assert_eq!(items.items[0].content.measurements.len(), 2);
        assert!(!items.is_batch && items.items[0].time.is_none() && items.items[0].content.data.is_empty());
        for changes in [
            json!({ "measurements": { "location": { "lat": 1, "lon": 2, "alt": 3 }, "any": [1, { "x": null }] } }),
            json!({ "measurements": {} }),
            json!({ "timestamp": null }),
            json!({ "timestamp": "" }),
            json!({ "more": "is ignored" }),
        ] {
            assert!(with(changes.clone()).is_ok(), "{changes}");
        }
        for (text, time) in [
            ("2020-02-12T15:15:00Z", "2020-02-12T15:15:00.000Z"),
            ("2020-02-12T15:15:00.5+01:00", "2020-02-12T14:15:00.500Z"),
        ] {
            let (_, items) = with(json!({ "timestamp": text })).unwrap();
            assert_eq!(items.items[0].time.unwrap().to_string(), time, "the hub wants UTC");
        }
    }

    #[test]
    fn its_device_ids() {
        for good in ["a", "A-1", "dev.1", "a_b:c-", "-", "9", &"x".repeat(128)] {
            assert!(read(body(good).to_string().as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", "a.", "a_", "a:", "a#", &"x".repeat(129)] {
            let fault = read(body(bad).to_string().as_bytes()).unwrap_err();
            assert_eq!(fault.pointer, "/device/deviceId", "{bad}");
        }
    }

    #[test]
    fn the_model_stands_at_either_level() {
        for (changes, model) in [
            (json!({ "modelId": "dtmi:a;1" }), Some("dtmi:a;1")),
            (json!({ "device": { "deviceId": "d", "modelId": "dtmi:b;1" } }), Some("dtmi:b;1")),
            (
                json!({ "device": { "deviceId": "d", "modelId": "dtmi:b;1" }, "modelId": "dtmi:a;1" }),
                Some("dtmi:b;1"),
            ),
            (
                json!({ "device": { "deviceId": "d", "modelId": "" }, "modelId": "dtmi:a;1" }),
                Some("dtmi:a;1"),
            ),
            (json!({ "modelId": null }), None),
        ] {
            let (_, items) = with(changes.clone()).unwrap();
            let found = items.items[0].content.data.get("model").and_then(Value::as_str);
            assert_eq!(found, model, "{changes}");
        }
    }

    #[test]
    fn what_it_refuses_or_should_have() {
        for (changes, pointer) in [
            (json!({ "device": null }), "/device"),
            (json!({ "device": "my-device" }), "/device"),
            (json!({ "device": {} }), "/device/deviceId"),
            (json!({ "device": { "deviceId": 7 } }), "/device/deviceId"),
            (json!({ "device": { "deviceId": "d", "modelId": 7 } }), "/device/modelId"),
            (json!({ "modelId": {} }), "/modelId"),
            (json!({ "measurements": null }), "/measurements"),
            (json!({ "measurements": [1, 2] }), "/measurements"),
            (json!({ "measurements": "21" }), "/measurements"),
            (json!({ "measurements": { "": 1 } }), "/measurements/"),
            (json!({ "timestamp": "Wed, 12 Feb 2020 15:15:00 GMT" }), "/timestamp"),
            (json!({ "timestamp": "2020-02-12" }), "/timestamp"),
            (json!({ "timestamp": "2020-02-12T15:15:00" }), "/timestamp"),
            (json!({ "timestamp": "yesterday" }), "/timestamp"),
            (json!({ "timestamp": 1_581_520_500 }), "/timestamp"),
        ] {
            assert_eq!(with(changes.clone()).unwrap_err().pointer, pointer, "{changes}");
        }
        assert!(read(b"").unwrap_err().is_syntax && read(b"not json").unwrap_err().is_syntax);
        assert_eq!(read(b"[]").unwrap_err().pointer, "");
        assert_eq!(read(b"{}").unwrap_err().detail, "a device specification must be provided");
    }
}
