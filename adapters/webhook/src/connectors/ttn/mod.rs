//! The Things Stack v3 (The Things Network, The Things Industries, open source) in JSON; v2 as a courtesy. Not here:
//! the network's management API, the sending of downlinks, and protobuf.
//!
//! What becomes of what:
//!
//! | message | kind | `data` |
//! |---|---|---|
//! | `uplink_message`, `uplink_normalized` | telemetry | `devEui`, `model` (`brand/model`), `attributes` (as their owner set them), `batteryLevelTime` |
//! | `join_accept` | join | `devEui`, `joinEui`, `devAddr`, `invalidatedDownlinks` (how many), `pendingSession`, `attributes` |
//! | `downlink_*` | command | `state`, `correlationIds` (the sender's own), `port`, `counter`, `confirmed`, `attempt`, `maxAttempts`, `priority`, `error` |
//! | `location_solved` | location | `service`, `attributes` |
//! | `service_data` | service | `service`, `data` |
//!
//! - The device is `end_device_ids.device_id`; the body wins over the URL, which says what a field mask took away.
//! - `decoded_payload` passes under its own names. The first normalised measurement is laid over it and wins; further
//!   ones become further uplinks with their own time. An integration should subscribe to `uplink_message` or to
//!   `uplink_normalized`, not to both: they are two reports of one frame.
//! - `last_battery_percentage` becomes `batteryLevel` unless the codec gave one; `batteryLevelTime` says how old it is.
//! - Wrapped messages (`payload` of an AWS IoT rule, `result` of the storage API), arrays of messages and NDJSON are read.

mod announced;
mod downlink;
mod event;
mod identity;
mod location;
mod push;
mod radio;
#[cfg(test)]
mod tests;
mod uplink;
mod v2;
mod wire;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use bridge_core::{Decoded, Problem, Reason, Verdict};
use http::Method;
use serde_json::{Map, Value};

use self::downlink::State;
use self::identity::{Part, Sender};
use self::uplink::Form;
use self::wire::{DISCRIMINATORS, Envelope};
use crate::connector::{
    Announces, ApiWay, AuthKind, Connector, Decode, Letter, Malformed, Reply, Request, Setting, SettingError,
    Settings, WayDown, one,
};
use crate::connectors::fields;
use crate::connectors::lenient::Field;
use crate::connectors::lora;
use crate::connectors::redact::{self, Redaction};

/// The connector.
pub(super) struct Ttn;

/// Most messages that one request may hold. The storage API is asked for fewer at a time.
const MOST_MESSAGES: usize = 1000;

impl Connector for Ttn {
    fn name(&self) -> &'static str {
        "ttn"
    }
    fn title(&self) -> &'static str {
        "The Things Stack"
    }
    /// Device ids are chosen by people or start with `eui-` already.
    fn default_prefix(&self) -> &'static str {
        ""
    }
    fn methods(&self) -> &'static [Method] {
        &[Method::POST]
    }
    /// A frame that many gateways heard.
    fn body_limit(&self) -> usize {
        512 * 1024
    }
    /// The Things Stack sends whatever headers a webhook has; it signs nothing.
    fn auth(&self) -> &'static [AuthKind] {
        AuthKind::ALL
    }
    fn settings(&self) -> &'static [Setting] {
        &[]
    }
    fn downlink(&self) -> Option<&'static WayDown> {
        Some(&WAY_DOWN)
    }
    fn configure(&self, _settings: &Settings) -> Result<Box<dyn Decode>, Vec<SettingError>> {
        Ok(Box::new(Self))
    }
}

/// See [`push::Push`].
static WAY_DOWN: WayDown = WayDown::Api(ApiWay {
    default_url: Some("https://eu1.cloud.thethings.network"),
    token: "an API key with the right to write downlink traffic",
    settings: &[
        Setting { key: "webhook", help: "the id of the webhook at The Things Stack" },
        Setting { key: "application", help: "for devices whose application is not known from an uplink" },
    ],
    announced: Some(Announces { settings: &["webhook"], read: announced::read }),
    make: |url, settings| {
        let Some(webhook) = one(settings, "webhook") else {
            return Err(vec![SettingError {
                key: "webhook",
                message: "is missing: the id of the webhook".into(),
            }]);
        };
        Ok(Arc::new(push::Push {
            url: url.to_owned(),
            webhook: webhook.to_owned(),
            application: one(settings, "application").map(str::to_owned),
        }))
    },
});

impl Decode for Ttn {
    fn decode(&self, request: &Request<'_>) -> Result<Decoded, Malformed> {
        let advice = "the webhook sends protobuf; choose the format JSON in the console";
        lora::refuse_protobuf(request, advice)?;
        fields::refuse_deep_nesting(request.body)?;
        let mut decoded = Decoded::default();
        if request.content_type == "application/x-ndjson" {
            let lines =
                request.body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            decode_all(lines.map(Cow::Borrowed), request, &mut decoded)?;
        } else if request.body.trim_ascii_start().starts_with(b"[") {
            let elements: Vec<Value> = serde_json::from_slice(request.body)?;
            // invariant: a JSON value is always JSON, so this cannot fail.
            let texts = elements.into_iter().map(|element| Cow::Owned(element.to_string().into_bytes()));
            decode_all(texts, request, &mut decoded)?;
        } else {
            decode_one(request, request.body, 0, &mut decoded)?;
        }
        Ok(decoded)
    }

    /// Empty: The Things Stack keeps what is answered in its event log.
    fn reply(&self, _: &Request<'_>, _: &[Verdict], _: &[Letter]) -> Reply {
        Reply::Empty
    }

    /// Session keys, the tokens of gateways, and the key in v2's `downlink_url`. The fields stay, as marks.
    fn redact<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        redact::json_fields(body, |name| match name {
            "app_s_key" | "app_key" | "nwk_key" | "uplink_token" | "downlink_api_key" => Redaction::Replace,
            "downlink_url" => Redaction::CutQuery,
            name if redact::is_credential(name) => Redaction::Replace,
            _ => Redaction::Keep,
        })
    }
}

fn decode_all<'a>(
    texts: impl Iterator<Item = Cow<'a, [u8]>>,
    request: &Request<'_>,
    decoded: &mut Decoded,
) -> Result<(), Malformed> {
    let mut index = 0;
    for json in texts {
        if index == MOST_MESSAGES {
            return Err(Malformed(format!("more than {MOST_MESSAGES} messages in one request; send fewer")));
        }
        decode_one(request, &json, index, decoded)?;
        index += 1;
    }
    if index == 0 {
        push_problem(decoded, Reason::Unmappable, "there is no message in it");
    }
    Ok(())
}

fn decode_one(
    request: &Request<'_>,
    json: &[u8],
    index: usize,
    decoded: &mut Decoded,
) -> Result<(), Malformed> {
    let part = Part { request, json, index, digest: &OnceCell::new() };
    let mut envelope: Field<Envelope<'_>> = fields::from_json(json)?;
    let Field::Is(envelope) = &mut envelope else {
        push_problem(decoded, Reason::Unmappable, "the JSON is not an object");
        return Ok(());
    };
    envelope.unwrap_message();
    if !envelope.is_known() {
        return decode_unknown(part, decoded);
    }
    decode_known(envelope, part, decoded);
    Ok(())
}

/// Decodes every known field there is; a message has one.
fn decode_known(envelope: &mut Envelope<'_>, part: Part<'_>, decoded: &mut Decoded) {
    use std::mem::take;
    // Taken out of the envelope before the sender borrows from it.
    let uplinks = [
        (Form::Message, take(&mut envelope.uplink_message)),
        (Form::Normalized, take(&mut envelope.uplink_normalized)),
    ];
    let join = take(&mut envelope.join_accept);
    let solved = take(&mut envelope.location_solved);
    let service = take(&mut envelope.service_data);
    let envelope = &*envelope;
    let sender = match Sender::of(&envelope.end_device_ids, part.request) {
        Ok(sender) => sender,
        Err(problem) => return decoded.problems.push(problem),
    };
    let sender = &sender;
    for (form, message) in uplinks {
        if let Field::Is(message) = message {
            uplink::decode(form, message, envelope, sender, part, decoded);
        }
    }
    if let Field::Is(join) = join {
        decoded.push(event::join(*join, envelope, sender, part));
    }
    if let Field::Is(solved) = solved {
        decoded.push(event::location_solved(solved, envelope, sender, part));
    }
    if let Field::Is(service) = service {
        decoded.push(event::service_data(service, envelope, sender, part));
    }
    for (state, downlink) in [
        (State::Queued, &envelope.downlink_queued),
        (State::Sent, &envelope.downlink_sent),
        (State::NotAcknowledged, &envelope.downlink_nack),
        (State::Acknowledged, &envelope.downlink_ack),
    ] {
        if let Field::Is(downlink) = downlink {
            downlink::decode(state, downlink, None, envelope, sender, part, decoded);
        }
    }
    if let Field::Is(failed) = &envelope.downlink_failed {
        let none = wire::Downlink::default();
        let downlink = failed.downlink.as_ref().unwrap_or(&none);
        downlink::decode(State::Failed, downlink, failed.error.as_ref(), envelope, sender, part, decoded);
    }
    if let Field::Is(queue) = &envelope.downlink_queue_invalidated {
        downlink::decode_invalidated(queue, envelope, sender, part, decoded);
    }
}

/// Says what an object is that holds no known message.
fn decode_unknown(part: Part<'_>, decoded: &mut Decoded) -> Result<(), Malformed> {
    const ENVELOPE: [&str; 4] = ["end_device_ids", "correlation_ids", "received_at", "simulated"];
    let object: Map<String, Value> = serde_json::from_slice(part.json)?;
    if v2::is_uplink(&object) {
        return v2::decode(part, decoded);
    }
    if let Some(name) = DISCRIMINATORS.iter().find(|name| object.get(**name).is_some_and(|v| !v.is_null())) {
        push_problem(decoded, Reason::Unmappable, format!("{name} is not an object"));
        return Ok(());
    }
    let is_enveloped = ENVELOPE.iter().any(|name| object.contains_key(*name));
    match object.keys().find(|name| !ENVELOPE.contains(&name.as_str())) {
        Some(name) if is_enveloped => {
            let name: String = name.chars().take(64).collect();
            push_problem(decoded, Reason::UnknownEvent, format!("unknown kind of message: {name:?}"));
        }
        _ => push_problem(decoded, Reason::Unmappable, "not a message of The Things Stack"),
    }
    Ok(())
}

fn push_problem(decoded: &mut Decoded, reason: Reason, detail: impl Into<String>) {
    decoded.problems.push(Problem { reason, detail: detail.into() });
}
