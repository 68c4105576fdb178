//! What bodies of requests to Azure's stateful bridge say (reference, section 2.1). Names of members are not sensitive to
//! case, as there; other members are ignored, as there. Not here: paths and answers.

use bridge_core::{Content, DeviceId, Kind, Timestamp};
use edge::body::json;
use edge::item::{measurements, named_values};
use edge::{Fault, Item, Items, member};
use serde_json::{Map, Value};

/// The longest URL of a callback, bytes.
const LONGEST_URL: usize = 2048;
/// The longest name of a component or model, bytes.
const LONGEST_NAME: usize = 256;

/// `{"data": {...}, "properties": {"k": "v"}, "componentName": "c", "creationTimeUtc": "..."}`.
pub(crate) fn event(body: &[u8]) -> Result<Items, Fault> {
    let mut object = object(body)?;
    let measurements = match take(&mut object, "data") {
        Some(Value::Object(data)) => measurements(data, "/data")?,
        Some(_) => return Err(Fault::at("/data", "must be an object")),
        None => return Err(Fault::at("/data", "must be provided")),
    };
    let mut content = Content { measurements, ..Content::default() };
    match take(&mut object, "properties") {
        None => {}
        Some(Value::Object(properties)) => {
            if let Some((name, _)) = properties.iter().find(|(_, value)| !value.is_string()) {
                return Err(Fault::at(member("/properties", name), "must be text"));
            }
            if !properties.is_empty() {
                content.data.insert("properties".into(), properties.into());
            }
        }
        Some(_) => return Err(Fault::at("/properties", "must be an object of texts")),
    }
    if let Some(component) = name(take(&mut object, "componentName"), "/componentName")? {
        content.data.insert("component".into(), component.into());
    }
    let time = time(take(&mut object, "creationTimeUtc"))?;
    Ok(Items::one(Kind::Telemetry, Item { id: None, time, content }))
}

/// `{"patch": {...}}`; no properties at all when it is empty.
pub(crate) fn reported(body: &[u8]) -> Result<Items, Fault> {
    let properties = match take(&mut object(body)?, "patch") {
        Some(Value::Object(patch)) => named_values(patch.into_iter(), "/patch")?,
        Some(_) => return Err(Fault::at("/patch", "must be an object")),
        None => return Err(Fault::at("/patch", "must be provided")),
    };
    let content = Content { measurements: properties, ..Content::default() };
    Ok(Items::one(Kind::Properties, Item { content, ..Item::default() }))
}

/// `{"modelId": "dtmi:..."}`: the device joins with that model; said again it is the same. The model is optional, and so
/// is the body, which that bridge insisted on.
pub(crate) fn registration(body: &[u8], device: &DeviceId) -> Result<Option<Items>, Fault> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let Some(model) = name(take(&mut object(body)?, "modelId"), "/modelId")? else { return Ok(None) };
    let mut content = Content::default();
    let id = Some(format!("registration {device} {model}"));
    content.data.insert("model".into(), model.into());
    Ok(Some(Items::one(Kind::Join, Item { id, content, ..Item::default() })))
}

/// `{"callbackUrl": "..."}`.
pub(crate) fn callback(body: &[u8]) -> Result<String, Fault> {
    match take(&mut object(body)?, "callbackUrl") {
        Some(Value::String(url)) if url.len() <= LONGEST_URL => Ok(url),
        Some(Value::String(_)) => {
            Err(Fault::at("/callbackUrl", format!("must be at most {LONGEST_URL} bytes long")))
        }
        Some(_) => Err(Fault::at("/callbackUrl", "must be text")),
        None => Err(Fault::at("/callbackUrl", "must be provided")),
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    match json(body)? {
        Value::Object(object) => Ok(object),
        _ => Err(Fault::at("", "must be an object")),
    }
}

/// A member by its name in any case; none when it is null. Of several the one that is written as it should be, else the first.
fn take(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = match object.contains_key(name) {
        true => name.to_owned(),
        false => object.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone(),
    };
    object.shift_remove(&key).filter(|value| !value.is_null())
}

fn name(value: Option<Value>, at: &str) -> Result<Option<String>, Fault> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text.len() <= LONGEST_NAME && !text.contains(char::is_control) => {
            Ok(Some(text))
        }
        Some(_) => Err(Fault::at(at, format!("must be text of at most {LONGEST_NAME} bytes"))),
    }
}

/// A time with its offset becomes UTC, also where that bridge did not; one without is UTC, as the member's name says.
fn time(value: Option<Value>) -> Result<Option<Timestamp>, Fault> {
    let wrong = || {
        let wanted = "must be a time of RFC 3339, such as \"2026-11-20T23:40:11Z\"";
        Fault::at("/creationTimeUtc", wanted)
    };
    match value {
        None => Ok(None),
        Some(Value::String(text)) => {
            let time =
                Timestamp::parse_rfc3339(&text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")));
            time.map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whatever_the_case() {
        let items = event(
            br#"{"DATA":{"temp":20.5,"none":null},"Properties":{"k":"v"},"componentName":"thermostat1",
                 "CreationTimeUTC":"2021-04-21T13:30:16.5+02:00","more":1}"#,
        )
        .unwrap();
        let Item { time, content, .. } = &items.items[0];
        assert_eq!(time.unwrap().to_string(), "2021-04-21T11:30:16.500Z");
        assert_eq!((content.measurements.len(), items.kind), (1, Kind::Telemetry));
        assert_eq!(content.data["properties"]["k"], "v");
        assert_eq!(content.data["component"], "thermostat1");
        let bare = event(br#"{"data":{},"creationTimeUtc":"2021-04-21T11:30:16"}"#).unwrap();
        assert_eq!(bare.items[0].time.unwrap().to_string(), "2021-04-21T11:30:16.000Z");
        assert!(bare.items[0].content.data.is_empty());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (body, pointer) in [
            ("{}", "/data"),
            (r#"{"data":null}"#, "/data"),
            (r#"{"data":[1]}"#, "/data"),
            (r#"{"data":{"":1}}"#, "/data/"),
            (r#"{"data":{},"properties":{"a/b":1}}"#, "/properties/a~1b"),
            (r#"{"data":{},"properties":[]}"#, "/properties"),
            (r#"{"data":{},"componentName":7}"#, "/componentName"),
            (r#"{"data":{},"creationTimeUtc":"yesterday"}"#, "/creationTimeUtc"),
            (r#"{"data":{},"creationTimeUtc":7}"#, "/creationTimeUtc"),
            ("[]", ""),
        ] {
            assert_eq!(event(body.as_bytes()).unwrap_err().pointer, pointer, "{body}");
        }
        assert!(event(b"").unwrap_err().is_syntax && event(b"{").unwrap_err().is_syntax);
        assert_eq!(reported(br#"{"Patch":{"a":null}}"#).unwrap().items[0].content.measurements.len(), 1);
        for body in ["{}", r#"{"patch":7}"#] {
            assert_eq!(reported(body.as_bytes()).unwrap_err().pointer, "/patch", "{body}");
        }
        let device = DeviceId::parse("d1").unwrap();
        let registration = |body: &str| registration(body.as_bytes(), &device);
        for body in ["", " ", "{}", r#"{"modelId":""}"#] {
            assert_eq!(registration(body).unwrap(), None, "{body}");
        }
        let items = registration(r#"{"MODELID":"dtmi:a;1"}"#).unwrap().unwrap();
        assert_eq!(
            (items.kind, &items.items[0].content.data["model"]),
            (Kind::Join, &Value::from("dtmi:a;1"))
        );
        assert!(registration("[]").is_err() && registration(r#"{"modelId":7}"#).is_err());
        assert_eq!(callback(br#"{"callbackurl":"x"}"#).unwrap(), "x");
        for body in [
            "{}".to_owned(),
            r#"{"callbackUrl":7}"#.into(),
            format!(r#"{{"callbackUrl":"{}"}}"#, "x".repeat(2049)),
        ] {
            assert_eq!(callback(body.as_bytes()).unwrap_err().pointer, "/callbackUrl");
        }
    }
}
