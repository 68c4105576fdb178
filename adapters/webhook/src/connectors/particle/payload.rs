//! What the data of an event holds: an object, a data URL, JSON as text, or plain text. Not here: what the event means.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::connectors::fields;

/// Base64 whose padding a template may have lost.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The data of an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Payload {
    /// Nothing: an event can be its name alone.
    Nothing,
    /// Named values.
    Object(Map<String, Value>),
    /// One value: number, text, boolean, list.
    One(Value),
    /// Bytes, of a data URL or a structured buffer.
    Bytes {
        /// The bytes.
        data: Vec<u8>,
        /// Their media type.
        content_type: Option<String>,
    },
}

impl Payload {
    /// Reads data. An unreadable data URL or buffer is what it looks like otherwise, with a warning.
    pub(super) fn read(data: &Value, warnings: &mut Vec<String>) -> Self {
        match data {
            Value::Null => Self::Nothing,
            Value::Object(object) => Self::of_object(object, warnings),
            Value::String(text) => Self::of_text(text, warnings),
            other => Self::One(other.clone()),
        }
    }

    /// The value as JSON, for the details of system events.
    pub(super) fn to_value(&self) -> Option<Value> {
        match self {
            Self::Nothing | Self::Bytes { .. } => None,
            Self::Object(object) => Some(Value::Object(object.clone())),
            Self::One(value) => Some(value.clone()),
        }
    }

    fn of_text(text: &str, warnings: &mut Vec<String>) -> Self {
        match data_url(text) {
            Some(Ok(bytes)) => return bytes,
            Some(Err(NotBase64)) => warnings.push("the data URL is not base64".into()),
            None => {}
        }
        match fields::parse_json(text.as_bytes()) {
            Ok(Value::Object(object)) => Self::of_object(&object, warnings),
            Ok(Value::Null) => Self::Nothing,
            Ok(value) => Self::One(value),
            Err(_) if fields::is_absent(text) => Self::Nothing,
            Err(_) => Self::One(text.into()),
        }
    }

    /// Structured events write bytes as `{"_type":"buffer","_data":"base64"}` (docs.particle.io, "Typed publish").
    fn of_object(object: &Map<String, Value>, warnings: &mut Vec<String>) -> Self {
        let data = match (object.get("_type").and_then(Value::as_str), object.get("_data")) {
            (Some("buffer"), Some(Value::String(data))) => data,
            _ => return Self::Object(object.clone()),
        };
        match BASE64.decode(data) {
            Ok(data) => Self::Bytes { data, content_type: None },
            Err(_) => {
                warnings.push("the buffer is not base64".into());
                Self::Object(object.clone())
            }
        }
    }
}

struct NotBase64;

/// `data:[<media type>][;base64],<data>` (RFC 2397). Text that only begins with `data:` is none.
fn data_url(text: &str) -> Option<Result<Payload, NotBase64>> {
    let (head, data) = text.trim().strip_prefix("data:")?.split_once(',')?;
    let (media_type, is_base64) = match head.strip_suffix(";base64") {
        Some(media_type) => (media_type, true),
        None => (head, false),
    };
    let is_media_type = media_type.is_empty() && is_base64
        || media_type.contains('/') && !media_type.contains(char::is_whitespace);
    if !is_media_type {
        return None;
    }
    let content_type = (!media_type.is_empty()).then(|| media_type.to_owned());
    if !is_base64 {
        return Some(Ok(Payload::Bytes { data: percent_decode_str(data).collect(), content_type }));
    }
    // A `+` that a form did not escape arrives as a blank, one that it escaped twice as %2B.
    let data: Vec<u8> = percent_decode_str(data).map(|b| if b == b' ' { b'+' } else { b }).collect();
    Some(BASE64.decode(data).map(|data| Payload::Bytes { data, content_type }).map_err(|_| NotBase64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(data: &Value) -> (Payload, usize) {
        let mut warnings = Vec::new();
        let payload = Payload::read(data, &mut warnings);
        (payload, warnings.len())
    }

    fn bytes(data: &[u8], content_type: Option<&str>) -> Payload {
        Payload::Bytes { data: data.to_vec(), content_type: content_type.map(str::to_owned) }
    }

    #[test]
    fn every_form_of_data() {
        let object = Payload::Object(Map::from_iter([("a".to_owned(), json!(1))]));
        for (data, want, warnings) in [
            (json!({"a": 1}), object.clone(), 0),
            (json!("{\"a\":1}"), object, 0),
            (json!("21.5"), Payload::One(json!(21.5)), 0),
            (json!(21.5), Payload::One(json!(21.5)), 0),
            (json!("true"), Payload::One(json!(true)), 0),
            (json!("[1,2]"), Payload::One(json!([1, 2])), 0),
            (json!("0012"), Payload::One(json!("0012")), 0),
            (json!("door open"), Payload::One(json!("door open")), 0),
            (json!("{broken"), Payload::One(json!("{broken")), 0),
            (json!(""), Payload::Nothing, 0),
            (json!(null), Payload::Nothing, 0),
            (json!("undefined"), Payload::Nothing, 0),
            (
                json!("data:application/octet-stream;base64,AP8="),
                bytes(&[0, 255], Some("application/octet-stream")),
                0,
            ),
            (
                json!("data:application/octet-stream;base64,++ /"),
                bytes(&[0xfb, 0xef, 0xbf], Some("application/octet-stream")),
                0,
            ),
            (json!("data:image/png;base64,AA"), bytes(&[0], Some("image/png")), 0),
            (json!("data:;base64,AA=="), bytes(&[0], None), 0),
            (json!("data:text/plain,a%20b"), bytes(b"a b", Some("text/plain")), 0),
            (json!("data:a/b;base64,???"), Payload::One(json!("data:a/b;base64,???")), 1),
            (json!("data: 1, 2"), Payload::One(json!("data: 1, 2")), 0),
            (json!({"_type": "buffer", "_data": "AP8="}), bytes(&[0, 255], None), 0),
        ] {
            assert_eq!(read(&data), (want, warnings), "{data}");
        }
        assert_eq!(read(&json!({"_type": "buffer", "_data": "?"})).1, 1);
    }
}
