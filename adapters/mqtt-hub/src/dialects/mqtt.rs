//! The dialect `mqtt`: any MQTT broker, one topic tree per device.

use bridge_core::{DeviceId, Kind, Message, Timestamp};
use serde_json::{Value, json};

use super::json::{Measurements, MessageJson};
use super::senml;
use crate::dialect::{Dialect, Origin, Publication};

/// Topics `devices/{id}/…`, `integrations/{name}/…`, `bridges/{bridge}/…` below a prefix.
#[derive(Debug, Clone)]
pub struct MqttDialect {
    /// The bridge's name.
    pub bridge: String,
    /// Stands before every topic; empty or ending in `/`.
    pub prefix: String,
    /// How telemetry is written. Everything else is always the JSON message.
    pub encoding: Encoding,
}

/// How telemetry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The whole message.
    Json,
    /// The object of the measurements alone.
    Flat,
    /// A SenML pack.
    Senml,
}

impl MqttDialect {
    fn topic(&self, message: &Message) -> (String, bool) {
        let prefix = &self.prefix;
        let kind = message.kind.as_str();
        if let Some(reply) = &message.reply {
            return (reply.topic.clone(), false);
        }
        match (&message.device, message.kind) {
            (None, _) => (format!("{prefix}integrations/{}/events/{kind}", message.integration), false),
            (Some(id), Kind::Telemetry) => ([prefix, "devices/", id.as_str(), "/telemetry"].concat(), false),
            (Some(id), Kind::Connection) if !message.superseded => {
                (format!("{prefix}devices/{id}/connection"), true)
            }
            // What an operator sends again is not the newest state, and what came too late is not either.
            (Some(id), Kind::Properties) if !message.replayed && !message.superseded => {
                (format!("{prefix}devices/{id}/properties"), true)
            }
            (Some(id), Kind::CommandStatus) => {
                let command = message.content.data.get("command").and_then(Value::as_str).unwrap_or_default();
                (format!("{prefix}devices/{id}/commands/{command}/status"), false)
            }
            (Some(id), _) => (format!("{prefix}devices/{id}/events/{kind}"), false),
        }
    }

    fn bridge_connection(&self, payload: &Value) -> Publication<'static> {
        Publication {
            topic: format!("{}bridges/{}/connection", self.prefix, self.bridge),
            payload: payload.to_string().into_bytes(),
            retain: true,
            content_type: "application/json",
            correlation: &[],
            origin: None,
        }
    }
}

impl Dialect for MqttDialect {
    fn publication<'m>(&self, message: &'m Message) -> Publication<'m> {
        let (topic, retain) = self.topic(message);
        let telemetry = message.kind == Kind::Telemetry;
        let (payload, content_type) = match self.encoding {
            _ if message.kind == Kind::Connection && retain => (connection(message), "application/json"),
            _ if message.kind == Kind::CommandStatus => (to_json(&message.content.data), "application/json"),
            Encoding::Flat if telemetry => (to_json(&Measurements(message)), "application/json"),
            Encoding::Senml if telemetry => (to_json(&senml::pack(message)), "application/senml+json"),
            Encoding::Json | Encoding::Flat | Encoding::Senml => {
                (to_json(&MessageJson::of(message)), "application/json")
            }
        };
        let origin = Some(Origin {
            id: message.id.digits(),
            source: &message.source,
            integration: message.integration.as_str(),
        });
        let correlation = message.reply.as_ref().map_or(&[][..], |reply| &reply.correlation);
        Publication { topic, payload, retain, content_type, correlation, origin }
    }

    fn birth(&self, since: Timestamp) -> Publication<'static> {
        let version = env!("CARGO_PKG_VERSION");
        self.bridge_connection(&json!({ "online": true, "since": since.to_string(), "version": version }))
    }

    fn command_filter(&self) -> String {
        format!("{}devices/+/commands/+", self.prefix)
    }

    fn command<'t>(&self, topic: &'t str) -> Option<(DeviceId, &'t str)> {
        let (device, name) =
            topic.strip_prefix(&*self.prefix)?.strip_prefix("devices/")?.split_once("/commands/")?;
        Some((DeviceId::parse(device).ok()?, name))
    }

    fn desired_filter(&self) -> String {
        format!("{}devices/+{DESIRED}", self.prefix)
    }

    fn desired(&self, topic: &str) -> Option<DeviceId> {
        let device = topic.strip_prefix(&*self.prefix)?.strip_prefix("devices/")?.strip_suffix(DESIRED)?;
        DeviceId::parse(device).ok()
    }

    fn death(&self) -> Publication<'static> {
        self.bridge_connection(&json!({ "online": false }))
    }
}

/// Ends the topics of what is wanted of a device.
const DESIRED: &str = "/properties/desired";
/// Bytes that the JSON of most messages fits into.
const USUAL: usize = 1024;

/// `online`, `since`, `source`.
fn connection(message: &Message) -> Vec<u8> {
    let online = message.content.data.get("online").cloned().unwrap_or(Value::Bool(true));
    let since = message.time.unwrap_or(message.received_at).to_string();
    let device = message.device.as_ref().map(DeviceId::as_str);
    let body = json!({
        "online": online, "since": since, "source": message.source, "device": device, "id": message.id.to_string(),
    });
    body.to_string().into_bytes()
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(USUAL);
    match serde_json::to_writer(&mut json, value) {
        Ok(()) => json,
        // invariant: text keys and finite numbers only (serde_json::Value holds no others), so this cannot fail.
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::{
        Content, IdempotencyKey, IntegrationName, Location, Measurement, MessageId, Radio, Raw,
    };

    use super::*;

    fn dialect(encoding: Encoding) -> MqttDialect {
        MqttDialect { bridge: "b1".into(), prefix: String::new(), encoding }
    }

    fn message() -> Message {
        let integration = IntegrationName::parse("farm").unwrap();
        let mut content = Content::default();
        content.measure(Measurement::new("temperature", 21.5).with_unit("Cel"));
        content.measure(Measurement::new("door open", true));
        content.location = Location::new(52.1, 4.9);
        content.radio = Some(Radio {
            rssi: Some(-113.0),
            snr: Some(-2.5),
            gateways: Some(3),
            spreading_factor: Some(9),
            counter: Some(0),
            port: Some(2),
            ..Radio::default()
        });
        content.raw = Some(Raw { data: vec![1, 2, 3, 4], port: Some(2), encrypted: false });
        Message {
            id: MessageId::new(&integration, &IdempotencyKey::from_texts(&["k"])),
            device: DeviceId::parse("eui-70b3d57ed005a4b2").ok(),
            source: "ttn".into(),
            integration,
            kind: Kind::Telemetry,
            time: Timestamp::parse_rfc3339("2026-11-20T23:40:11.123Z"),
            received_at: Timestamp::parse_rfc3339("2026-11-20T23:40:11.301Z").unwrap(),
            superseded: false,
            replayed: false,
            corrects: None,
            reply: None,
            content,
        }
    }

    fn body(publication: &Publication<'_>) -> Value {
        serde_json::from_slice(&publication.payload).unwrap()
    }

    #[test]
    fn telemetry_as_json() {
        let message = message();
        let publication = dialect(Encoding::Json).publication(&message);
        assert_eq!(publication.topic, "devices/eui-70b3d57ed005a4b2/telemetry");
        assert!(!publication.retain);
        assert_eq!(
            body(&publication),
            json!({
                "id": message.id.to_string(), "device": "eui-70b3d57ed005a4b2", "source": "ttn", "integration": "farm",
                "kind": "telemetry", "time": "2026-11-20T23:40:11.123Z", "receivedAt": "2026-11-20T23:40:11.301Z",
                "measurements": { "temperature": 21.5, "door open": true }, "units": { "temperature": "Cel" },
                "location": { "latitude": 52.1, "longitude": 4.9 },
                "radio": { "rssi": -113.0, "snr": -2.5, "gateways": 3, "spreadingFactor": 9, "counter": 0, "port": 2 },
                "raw": { "data": "AQIDBA==", "port": 2 }, "warnings": []
            })
        );
        let properties = publication.origin.as_ref().unwrap().properties();
        let want = [("id", message.id.to_string()), ("source", "ttn".into()), ("integration", "farm".into())];
        assert!(properties.iter().copied().eq(want.iter().map(|(name, value)| (*name, value.as_bytes()))));
    }

    #[test]
    fn absent_stays_absent() {
        let message = Message { content: Content::default(), time: None, ..message() };
        let body = body(&dialect(Encoding::Json).publication(&message));
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        let want =
            ["id", "device", "source", "integration", "kind", "receivedAt", "measurements", "warnings"];
        assert_eq!(keys, want);
    }

    #[test]
    fn a_reported_state_is_retained_with_its_version_and_others_are_events() {
        let mut state = Message { kind: Kind::Properties, ..message() };
        state.content.data.insert("version".into(), 7.into());
        let dialect = dialect(Encoding::Json);
        let publication = dialect.publication(&state);
        assert_eq!(
            (publication.topic.as_str(), publication.retain),
            ("devices/eui-70b3d57ed005a4b2/properties", true)
        );
        let written = body(&publication);
        assert_eq!((&written["version"], &written["properties"]["temperature"]), (&json!(7), &json!(21.5)));
        assert!(written.get("data").is_none());
        for old in [Message { superseded: true, ..state.clone() }, Message { replayed: true, ..state }] {
            let publication = dialect.publication(&old);
            assert_eq!(
                (publication.topic.as_str(), publication.retain),
                ("devices/eui-70b3d57ed005a4b2/events/properties", false)
            );
        }
    }

    #[test]
    fn topics_of_wishes_name_devices() {
        let dialect = MqttDialect { prefix: "site/".into(), ..dialect(Encoding::Json) };
        assert_eq!(dialect.desired_filter(), "site/devices/+/properties/desired");
        let named = |topic| dialect.desired(topic).map(|device| device.to_string());
        assert_eq!(named("site/devices/d1/properties/desired").as_deref(), Some("d1"));
        for topic in [
            "devices/d1/properties/desired",
            "site/devices/d1/properties",
            "site/devices/d 1/properties/desired",
        ] {
            assert_eq!(named(topic), None, "{topic}");
        }
    }

    #[test]
    fn flat_and_senml() {
        let message = message();
        let flat = dialect(Encoding::Flat).publication(&message);
        assert_eq!(body(&flat), json!({ "temperature": 21.5, "door open": true }));
        let senml = dialect(Encoding::Senml).publication(&message);
        assert_eq!(
            body(&senml),
            json!([
                { "bn": "eui-70b3d57ed005a4b2/", "bt": 1_795_218_011.123, "n": "temperature", "u": "Cel", "v": 21.5 },
                { "n": "door_open", "vb": true }
            ])
        );
        assert_eq!(senml.content_type, "application/senml+json");
        let join = Message { kind: Kind::Join, ..message };
        assert_eq!(body(&dialect(Encoding::Senml).publication(&join))["kind"], "join");
    }

    #[test]
    fn topics_of_events_connections_and_integrations() {
        let mut message = Message { kind: Kind::Connection, ..message() };
        message.content.data.insert("online".into(), false.into());
        let dialect = MqttDialect { prefix: "site/".into(), ..dialect(Encoding::Json) };
        let connection = dialect.publication(&message);
        assert_eq!(
            (connection.topic.as_str(), connection.retain),
            ("site/devices/eui-70b3d57ed005a4b2/connection", true)
        );
        assert_eq!(body(&connection)["online"], false);
        message.superseded = true;
        let old = dialect.publication(&message);
        assert_eq!(
            (old.topic.as_str(), old.retain),
            ("site/devices/eui-70b3d57ed005a4b2/events/connection", false)
        );
        assert_eq!(body(&old)["superseded"], true);
        message.content.data = json!({ "command": "c1", "state": "sent" }).as_object().unwrap().clone();
        message.kind = Kind::CommandStatus;
        let status = dialect.publication(&message);
        assert_eq!(
            (status.topic.as_str(), status.retain),
            ("site/devices/eui-70b3d57ed005a4b2/commands/c1/status", false)
        );
        assert_eq!(body(&status), json!({ "command": "c1", "state": "sent" }));
        let outage = Message { device: None, kind: Kind::Error, ..message };
        assert_eq!(dialect.publication(&outage).topic, "site/integrations/farm/events/error");
        assert_eq!(dialect.death().topic, "site/bridges/b1/connection");
        assert!(dialect.birth(Timestamp::EPOCH).retain);
    }
}
