//! `join_accept`, `location_solved` and `service_data`. Not here: uplinks and downlinks.

use bridge_core::{Content, IdempotencyKey, Kind, Uplink};
use serde_json::{Map, Value};

use super::identity::{Part, Sender, uplink_correlation, written_time};
use super::location;
use super::wire::{Envelope, JoinAccept};
use crate::connectors::lora;

/// A new session.
pub(super) fn join(
    join: JoinAccept<'_>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
) -> Uplink {
    let key = match (join.session_key_id.text(), uplink_correlation(envelope)) {
        (Some(session), _) => sender.key("join", &[session]),
        (None, Some(correlation)) => sender.key("join", &[correlation]),
        (None, None) => {
            let times = [written_time(&join.received_at), written_time(&envelope.received_at)];
            sender.key_without_sequence("join", &times, &[], false, part)
        }
    };
    let mut uplink = event(Kind::Join, key, envelope, sender);
    uplink.time = lora::time(&join.received_at).or(uplink.time);
    let data = &mut uplink.content.data;
    sender.describe(data, envelope);
    if let Some(ids) = envelope.end_device_ids.as_ref() {
        for (name, field) in [("joinEui", &ids.join_eui), ("devAddr", &ids.dev_addr)] {
            if let Some(text) = field.text() {
                data.insert(name.into(), text.into());
            }
        }
    }
    if let Some(list) = join.invalidated_downlinks.as_ref() {
        data.insert("invalidatedDownlinks".into(), (list.items.len() + list.left_out).into());
    }
    if let Some(pending) = join.pending_session.as_ref() {
        data.insert("pendingSession".into(), (*pending).into());
    }
    if let Some(attributes) = join.attributes.get().filter(|attributes| !attributes.is_empty()) {
        data.insert("attributes".into(), attributes.into());
    }
    uplink
}

/// A position that an application package computed.
pub(super) fn location_solved(
    mut solved: Map<String, Value>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
) -> Uplink {
    let key = key_of_body("location", &solved, envelope, sender, part);
    let mut uplink = event(Kind::Location, key, envelope, sender);
    let Content { location, warnings, data, .. } = &mut uplink.content;
    *location = solved.get("location").and_then(location::read);
    if location.is_none() {
        warnings.push("location_solved holds no position on the globe".into());
    }
    take(&mut solved, &["service", "attributes"], data);
    uplink
}

/// Output of an application package.
pub(super) fn service_data(
    mut service: Map<String, Value>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
) -> Uplink {
    let key = key_of_body("service", &service, envelope, sender, part);
    let mut uplink = event(Kind::Service, key, envelope, sender);
    take(&mut service, &["service", "data"], &mut uplink.content.data);
    uplink
}

fn event(kind: Kind, key: IdempotencyKey, envelope: &Envelope<'_>, sender: &Sender<'_>) -> Uplink {
    let mut uplink = Uplink::new(Some(sender.device()), kind, key);
    uplink.time = lora::time(&envelope.received_at);
    uplink.content.simulated = envelope.simulated.as_ref() == Some(&true);
    uplink
}

/// The content without its envelope, and the time of the envelope.
fn key_of_body(
    kind: &str,
    body: &Map<String, Value>,
    envelope: &Envelope<'_>,
    sender: &Sender<'_>,
    part: Part<'_>,
) -> IdempotencyKey {
    // invariant: a map of JSON values is always JSON, so this cannot fail.
    let text = serde_json::to_string(body).unwrap_or_default();
    let times = [written_time(&envelope.received_at)];
    let ids = envelope.correlation_ids.as_ref().map_or(&[][..], |ids| &ids.items);
    let is_one_moment =
        uplink_correlation(envelope).is_some() || ids.iter().any(|id| id.starts_with("as:packages:"));
    sender.key_without_sequence(kind, &times, &[&text], is_one_moment, part)
}

fn take(from: &mut Map<String, Value>, names: &[&str], into: &mut Map<String, Value>) {
    for name in names {
        if let Some(value) = from.remove(*name).filter(|value| !value.is_null()) {
            into.insert((*name).into(), value);
        }
    }
}
