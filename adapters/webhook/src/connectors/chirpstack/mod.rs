//! ChirpStack v4's HTTP integration in JSON. Not here: ChirpStack v3, protobuf, and the API that sends downlinks.
//!
//! The event stands in the query (`?event=up`); without it, the fields of the body tell. What becomes of what:
//!
//! | event | kind | `data` |
//! |---|---|---|
//! | `up` | telemetry | `devEui`, `deviceProfile`, `tags` (as their owner set them), `relay` |
//! | `join` | join | the same, and `devAddr` |
//! | `status` | status | the same, and `externalPowerSource`, `batteryLevelUnavailable` |
//! | `location` | location | the same |
//! | `ack`, `txack` | command | `state`, `correlationIds` (the id of the queue item), `counter`, `acknowledged`, `gateway` |
//! | `log` | log, or error when its level is ERROR | `level`, `code`, `description`, `context` |
//! | `integration` | service | `service`, `eventType`, `data` |

mod event;
mod queue;
#[cfg(test)]
mod tests;
mod uplink;
mod wire;

use std::borrow::Cow;
use std::sync::Arc;

use bridge_core::{Decoded, ExternalDevice, IdempotencyKey, Reason, Uplink, Verdict};
use http::Method;
use serde_json::{Map, Value};

use self::wire::Event;
use crate::connector::{
    ApiWay, AuthKind, Connector, Decode, Letter, Malformed, Reply, Request, Setting, SettingError, Settings,
    WayDown,
};
use crate::connectors::fields::{self, parse_pairs};
use crate::connectors::lenient::Field;
use crate::connectors::lora;
use crate::connectors::redact::{self, Redaction};

/// The connector.
pub(super) struct ChirpStack;

/// The request that an event came in.
type Part<'a> = &'a Request<'a>;

impl Connector for ChirpStack {
    fn name(&self) -> &'static str {
        "chirpstack"
    }
    fn title(&self) -> &'static str {
        "ChirpStack"
    }
    fn default_prefix(&self) -> &'static str {
        "eui-"
    }
    fn methods(&self) -> &'static [Method] {
        &[Method::POST]
    }
    /// A frame that many gateways heard, or the output of an integration.
    fn body_limit(&self) -> usize {
        512 * 1024
    }
    /// ChirpStack sends whatever headers the integration has; it signs nothing.
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

/// See [`queue::Queue`].
static WAY_DOWN: WayDown = WayDown::Api(ApiWay {
    default_url: None,
    token: "an API key of the tenant or the server",
    settings: &[],
    announced: None,
    make: |url, _settings| Ok(Arc::new(queue::Queue { url: url.to_owned() })),
});

impl Decode for ChirpStack {
    fn decode(&self, request: &Request<'_>) -> Result<Decoded, Malformed> {
        let advice = "the integration sends protobuf; choose JSON as its payload encoding in ChirpStack";
        lora::refuse_protobuf(request, advice)?;
        fields::refuse_deep_nesting(request.body)?;
        let event: Field<Event<'_>> = fields::from_json(request.body)?;
        let Field::Is(mut event) = event else {
            return Ok(Decoded::problem(Reason::Unmappable, "the JSON is not an object"));
        };
        if event.dev_eui_of_version_3.is_present() && !event.device_info.is_present() {
            return Ok(Decoded::problem(Reason::Unmappable, "an event of ChirpStack v3; only v4 is read"));
        }
        let decode = match event_name(request.query) {
            Some(name) => match decoder(&name) {
                Some(decode) => decode,
                None => {
                    let name: String = name.chars().take(64).collect();
                    return Ok(Decoded::problem(Reason::UnknownEvent, format!("unknown event {name:?}")));
                }
            },
            None => match detect(&event).and_then(decoder) {
                Some(decode) => decode,
                None => {
                    let detail = "the URL has no ?event=..., and the body looks like none";
                    return Ok(Decoded::problem(Reason::Unmappable, detail));
                }
            },
        };
        if !event.device_info.is_present() && detect(&event).is_none() {
            return Ok(Decoded::problem(Reason::Unmappable, "the body has no field of any event"));
        }
        Ok(match Sender::of(&event, request) {
            Some(sender) => Decoded::one(decode(&mut event, &sender, request)),
            None => {
                Decoded::problem(Reason::NoDevice, "neither deviceInfo.devEui nor the URL names the device")
            }
        })
    }

    fn reply(&self, _: &Request<'_>, _: &[Verdict], _: &[Letter]) -> Reply {
        Reply::Empty
    }

    /// ChirpStack sends no credentials; the variables of a codec's log line may hold some.
    fn redact<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        redact::json_fields(body, |name| match name {
            "appSKey" | "nwkSEncKey" | "appKey" | "nwkKey" => Redaction::Replace,
            name if redact::is_credential(name) => Redaction::Replace,
            _ => Redaction::Keep,
        })
    }
}

/// The value of `event` in the query.
fn event_name(query: &str) -> Option<String> {
    let (_, name) = parse_pairs(query).into_iter().find(|(key, _)| key == "event")?;
    (!name.is_empty()).then_some(name)
}

type Decoder = fn(&mut Event<'_>, &Sender, Part<'_>) -> Uplink;

fn decoder(name: &str) -> Option<Decoder> {
    Some(match name {
        "up" => uplink::decode,
        "join" => event::join,
        "ack" => event::ack,
        "txack" => event::txack,
        "log" => event::log,
        "status" => event::status,
        "location" => event::location,
        "integration" => event::integration,
        _ => return None,
    })
}

/// Which event a body is, by the fields that only that event has.
fn detect(event: &Event<'_>) -> Option<&'static str> {
    let is_battery = event.battery_level.is_present() || event.battery_level_unavailable.is_present();
    let is_command = event.queue_item_id.is_present() || event.downlink_id.is_present();
    let is_frame = event.rx_info.is_present() || event.f_cnt.is_present() || event.data.is_present();
    Some(match event {
        _ if event.acknowledged.is_present() => "ack",
        _ if is_command && (event.gateway_id.is_present() || event.tx_info.is_present()) => "txack",
        _ if event.integration_name.is_present() => "integration",
        _ if event.margin.is_present() || is_battery || event.external_power_source.is_present() => "status",
        _ if event.level.is_present() && event.code.is_present() => "log",
        _ if is_frame || event.object.is_present() => "up",
        _ if event.location.is_present() => "location",
        _ if event.dev_addr.is_present() => "join",
        _ => return None,
    })
}

/// Who sent an event.
struct Sender {
    device: ExternalDevice,
}

impl Sender {
    /// The device by `deviceInfo`, else by the URL. EUIs are lower case in ChirpStack.
    fn of(event: &Event<'_>, request: &Request<'_>) -> Option<Self> {
        let info = event.device_info.as_ref();
        let field = info.and_then(|info| info.dev_eui.text());
        let id = field.or(request.path_device.filter(|id| !id.is_empty()))?.to_ascii_lowercase();
        let scope = info.and_then(|info| info.application_id.text()).map(str::to_owned);
        let name = info.and_then(|info| info.device_name.text()).map(str::to_owned);
        Some(Self { device: ExternalDevice { id, scope, name } })
    }

    /// Adds what the cloud knows of the device beside its id and name.
    fn describe(&self, event: &Event<'_>, data: &mut Map<String, Value>) {
        data.insert("devEui".into(), self.device.id.as_str().into());
        let info = event.device_info.as_ref();
        if let Some(profile) = info.and_then(|info| info.device_profile_name.text()) {
            data.insert("deviceProfile".into(), profile.into());
        }
        if let Some(tags) = info.and_then(|info| info.tags.as_ref()).filter(|tags| !tags.is_empty()) {
            data.insert("tags".into(), tags.clone().into());
        }
        let relay = event.relay_rx_info.as_ref().and_then(|relay| relay.get("devEui"));
        if let Some(Value::String(relay)) = relay {
            data.insert("relay".into(), relay.as_str().into());
        }
    }

    /// The key of an event of this device.
    fn key(&self, event: &str, parts: &[&str]) -> IdempotencyKey {
        let scope = self.device.scope.as_deref().unwrap_or_default();
        IdempotencyKey::from_texts(&[&["chirpstack", scope, &self.device.id, event], parts].concat())
    }

    /// The key of an event that has no id: by its time and content. Without a time either, equal bodies may be two
    /// events, and a lost one is worse than a doubled one: then the time of the request is part of the key.
    fn key_without_id(
        &self,
        event: &str,
        time: Option<&str>,
        content: &[&str],
        request: &Request<'_>,
    ) -> IdempotencyKey {
        if let Some(time) = time {
            return self.key(event, &[&["at", time], content].concat());
        }
        let received_at = request.received_at.as_millis().to_be_bytes();
        let device = self.device.id.as_bytes();
        IdempotencyKey::from_parts(&[
            b"chirpstack whole",
            device,
            event.as_bytes(),
            request.body,
            &received_at,
        ])
    }
}
