//! The state of a device as operators read and write it: JSON. Not here: routes.

use bridge_core::twin::Twin;
use bridge_core::{DeviceId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A change: `{"desired": {...}}`, a merge patch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) desired: Map<String, Value>,
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
