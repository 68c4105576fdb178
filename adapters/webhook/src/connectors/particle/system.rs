//! Events of Particle's cloud and Device OS (docs.particle.io, "System events"): `spark/*`, `particle/*`, and what it
//! says about webhooks. Not here: events of the device's own.

use bridge_core::{Kind, StateMark, Timestamp, Uplink};
use serde_json::Value;

use super::payload::Payload;
use super::vitals;

/// Reads a system event; false when it is none.
pub(super) fn read(uplink: &mut Uplink, event: &str, payload: &Payload, received_at: Timestamp) -> bool {
    if is_about_webhooks(event) {
        uplink.kind = Kind::Log;
        note(uplink, "value", payload.to_value());
        return true;
    }
    // Device OS writes "started " with a trailing blank.
    let text = match payload {
        Payload::One(Value::String(text)) => Some(text.trim().to_owned()),
        _ => None,
    };
    let value = text.clone().map(Value::String).or_else(|| payload.to_value());
    match event {
        "spark/status" => read_status(uplink, text.as_deref(), value, received_at),
        "spark/flash/status" => {
            uplink.kind = Kind::Firmware;
            note(uplink, "status", value);
        }
        "spark/device/app-hash" => {
            uplink.kind = Kind::Firmware;
            note(uplink, "appHash", value);
        }
        "spark/device/last_reset" => {
            uplink.kind = Kind::Status;
            note(uplink, "resetReason", value);
        }
        "spark/device/diagnostics/update" => {
            uplink.kind = Kind::Status;
            if let Payload::Object(diagnostics) = payload {
                vitals::read(diagnostics, &mut uplink.content);
            }
            note(uplink, "diagnostics", value);
        }
        _ if is_about_firmware(event) => {
            uplink.kind = Kind::Firmware;
            note(uplink, "value", value);
        }
        _ if event.starts_with("spark/") || event.starts_with("particle/") => {
            uplink.kind = Kind::Status;
            note(uplink, "value", value);
        }
        _ => return false,
    }
    true
}

/// `online`, `offline`, or `auto-update`: the device goes on to update its firmware. The two reports of one reboot can
/// be milliseconds apart and arrive in any order, so their rank is the time; of two at the same time online wins.
fn read_status(uplink: &mut Uplink, status: Option<&str>, value: Option<Value>, received_at: Timestamp) {
    let online = match status {
        Some("online") => true,
        Some("offline") => false,
        Some("auto-update") => {
            uplink.kind = Kind::Firmware;
            return note(uplink, "status", value);
        }
        _ => {
            uplink.kind = Kind::Status;
            return note(uplink, "status", value);
        }
    };
    uplink.kind = Kind::Connection;
    note(uplink, "online", Some(online.into()));
    note(uplink, "status", value);
    let at = u64::try_from(uplink.time.unwrap_or(received_at).as_millis()).unwrap_or(0);
    uplink.state = Some(StateMark { subject: "connection".into(), rank: at * 2 + u64::from(online) });
}

/// `hook-sent/...`, `hook-response/...`, `hook-error/...`; products put the device id in front.
fn is_about_webhooks(event: &str) -> bool {
    let starts =
        |name: &str| ["hook-sent/", "hook-response/", "hook-error/"].iter().any(|p| name.starts_with(p));
    let is_id = |text: &str| text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit());
    starts(event) || event.split_once('/').is_some_and(|(id, rest)| is_id(id) && starts(rest))
}

fn is_about_firmware(event: &str) -> bool {
    event == "spark/safe-mode-updater/updating"
        || event.starts_with("particle/device/updates/")
        || event.starts_with("particle/firmware/")
}

fn note(uplink: &mut Uplink, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        uplink.content.data.insert(name.to_owned(), value);
    }
}
