//! From one event to an uplink: kind by event name, key, measurements of the device's own events. Not here: what the
//! cloud's own events say ([`super::system`], [`super::tracker`], [`super::vitals`]).

use bridge_core::{IdempotencyKey, Kind, Measurement, Raw, Timestamp, Uplink};
use serde_json::Value;

use super::envelope::Envelope;
use super::payload::Payload;
use super::{system, tracker};

/// The name of events whose webhook and integration give none.
const UNNAMED: &str = "webhook";

/// Makes the uplink of one event.
pub(super) fn uplink(mut envelope: Envelope, default_event: Option<&str>, received_at: Timestamp) -> Uplink {
    let mut warnings = std::mem::take(&mut envelope.warnings);
    let data = envelope.data.take().unwrap_or(Value::Null);
    let payload = Payload::read(&data, &mut warnings);
    let event = envelope
        .event
        .clone()
        .or_else(|| default_event.map(str::to_owned))
        .or_else(|| tracker::event_of(&payload).map(str::to_owned))
        .unwrap_or_else(|| UNNAMED.to_owned());
    let key = key(&envelope, &event, &data, received_at);
    let mut uplink = Uplink::new(envelope.device.clone(), Kind::Telemetry, key);
    uplink.time = envelope.time;
    uplink.content.warnings = warnings;
    describe(&mut uplink, &event, &envelope);
    if let Payload::Bytes { data, content_type } = &payload {
        uplink.content.raw = Some(Raw { data: data.clone(), ..Raw::default() });
        if let Some(content_type) = content_type {
            uplink.content.data.insert("contentType".into(), content_type.clone().into());
        }
    }
    let understood = system::read(&mut uplink, &event, &payload, received_at)
        || tracker::read(&mut uplink, &event, &payload);
    if !understood {
        measure(&mut uplink, &event, &data, payload);
    }
    for (key, value) in envelope.others {
        uplink.content.data.entry(key).or_insert(value);
    }
    uplink
}

/// The idempotency key: the event id, else publisher, name, time and data, as Particle gives no sequence number.
/// Without id and readable time, the time of reception counts as well: two equal readings in a row are two messages, even if
/// then a retry is one more.
fn key(envelope: &Envelope, event: &str, data: &Value, received_at: Timestamp) -> IdempotencyKey {
    if let Some(id) = &envelope.event_id {
        return IdempotencyKey::from_texts(&["event-id", id]);
    }
    let data = match data {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let time = match (&envelope.published_at, envelope.time) {
        (Some(text), Some(_)) => text.clone(),
        _ => format!("received {}", received_at.as_millis()),
    };
    let others = Value::Object(envelope.others.clone()).to_string();
    IdempotencyKey::from_texts(&["event", &envelope.publisher, event, &time, &data, &others])
}

fn describe(uplink: &mut Uplink, event: &str, envelope: &Envelope) {
    let details = &mut uplink.content.data;
    details.insert("event".into(), event.into());
    if let Some(product) = &envelope.product {
        details.insert("productId".into(), product.clone());
    }
    if let Some(version) = &envelope.version {
        details.insert("firmwareVersion".into(), version.clone());
    }
}

/// An event of the device's own: the fields of an object are measurements, one value is the measurement named like
/// the event, bytes are left to a codec.
fn measure(uplink: &mut Uplink, event: &str, data: &Value, payload: Payload) {
    let content = &mut uplink.content;
    if let (Value::String(text), false, None) = (data, data == "", &content.raw) {
        content.raw = Some(Raw { data: text.clone().into_bytes(), ..Raw::default() });
    }
    match payload {
        Payload::Object(object) => {
            let present = object.into_iter().filter(|(_, value)| !value.is_null());
            content.measurements.extend(present.map(|(name, value)| Measurement::new(name, value)));
        }
        Payload::One(value) => content.measurements.push(Measurement::new(event, value)),
        Payload::Nothing | Payload::Bytes { .. } => {}
    }
}
