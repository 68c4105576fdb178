//! The state of a device as operators read and write it: JSON. Not here: routes.

use bridge_core::twin::Twin;
use bridge_core::{DeviceId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    desired: Map<String, Value>,
}

/// Reads a change: `{"desired": {...}}`, a merge patch.
///
/// # Errors
/// A sentence for its author.
pub(crate) fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| format!("The body is not what it should be: {error}."))?;
    Ok(body.desired)
}

/// Writes a state.
pub(crate) fn write(device: &DeviceId, twin: &Twin) -> Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "device": device.as_str(),
        "desired": twin.desired,
        "desiredVersion": twin.desired_version,
        "desiredAt": text(twin.desired_at),
        "reported": twin.reported,
        "reportedVersion": twin.reported_version,
        "reportedAt": text(twin.reported_at),
        "delta": twin.delta(),
        "sends": twin.sends,
        "sentAt": text(twin.sent_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_one_member() {
        assert_eq!(parse(br#"{"desired":{"a":null}}"#).unwrap()["a"], Value::Null);
        for body in ["{}", r#"{"desired":[]}"#, r#"{"desired":{},"reported":{}}"#, "x"] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
