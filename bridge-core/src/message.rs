//! What the bridge delivers to the hub, whatever the source was. Not here: how a hub writes it (the dialects of
//! `mqtt-hub`). The serde forms are the bridge's own form at rest (outbox), not a wire format.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::command::Reply;
use crate::id::{DeviceId, IntegrationName, MessageId};
use crate::measurement::Measurement;
use crate::time::Timestamp;

/// One message for the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Digest of the idempotency key.
    pub id: MessageId,
    /// The device in the hub; none for events of an integration as a whole.
    pub device: Option<DeviceId>,
    /// The connector that decoded it: `ttn`, `sigfox`, ...
    pub source: Cow<'static, str>,
    /// The configured integration that it came in by.
    pub integration: IntegrationName,
    /// What it is about.
    pub kind: Kind,
    /// When the source says that it happened.
    pub time: Option<Timestamp>,
    /// When the bridge received it.
    pub received_at: Timestamp,
    /// A newer state of the same thing went to the hub before it (see [`crate::uplink::StateMark`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
    /// Sent again by an operator, from the dead letters or by a corrected codec.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The message in whose place this one stands: its payload was decoded again by a corrected codec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<MessageId>,
    /// Where somebody waits for it, instead of the topic that its kind has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Box<Reply>>,
    /// Measurements, place, radio, raw bytes, details.
    #[serde(flatten)]
    pub content: Content,
}

/// What an uplink carries and a message hands on unchanged. Absent stays absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Named values, in the order in which they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// Where the device is. Never the place of a gateway or base station.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// How it was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radio: Option<Radio>,
    /// The payload as the device sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
    /// Details of an event (join, status, error, command, ...).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
    /// What was not as it should be, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Made up in the source's console, not sent by a device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

impl Content {
    /// The first measurement of that name.
    pub fn measurement(&self, name: &str) -> Option<&Measurement> {
        self.measurements.iter().find(|m| m.name == name)
    }

    /// Sets a measurement; one of the same name is replaced in its place.
    pub fn measure(&mut self, measurement: Measurement) {
        match self.measurements.iter_mut().find(|m| m.name == measurement.name) {
            Some(old) => *old = measurement,
            None => self.measurements.push(measurement),
        }
    }
}

/// Under this name, `data` of reported properties has the version of the state that they are.
pub const STATE_VERSION: &str = "version";

/// What a message is about. The names stand in topics and JSON; they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Measurements.
    Telemetry,
    /// A device joined its network: a new session.
    Join,
    /// A position that was computed apart from telemetry.
    Location,
    /// The state of the device itself: battery, margin, temperature of the chip, reset cause, vitals.
    Status,
    /// The device came online or went offline.
    Connection,
    /// What a source says about a command, whoever sent it.
    Command,
    /// The life of the device's firmware.
    Firmware,
    /// Output of a service of the source cloud.
    Service,
    /// A line of the source's log about the device.
    Log,
    /// Something is wrong, says the source.
    Error,
    /// State of the device, as its payload reports it.
    Properties,
    /// A change of a command of the bridge's own ([`crate::command`]); `data` is its body.
    #[serde(rename = "command-status")]
    CommandStatus,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Telemetry,
        Self::Join,
        Self::Location,
        Self::Status,
        Self::Connection,
        Self::Command,
        Self::Firmware,
        Self::Service,
        Self::Log,
        Self::Error,
        Self::Properties,
        Self::CommandStatus,
    ];

    /// The name in topics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Join => "join",
            Self::Location => "location",
            Self::Status => "status",
            Self::Connection => "connection",
            Self::Command => "command",
            Self::Firmware => "firmware",
            Self::Service => "service",
            Self::Log => "log",
            Self::Error => "error",
            Self::Properties => "properties",
            Self::CommandStatus => "command-status",
        }
    }
}

/// A position, WGS 84.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altitude: Option<f64>,
    /// Radius, metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// `gps`, `network`, `wifi`, `registry`, ...: how it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Location {
    /// A position, when both coordinates are on the globe.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let on_globe = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        on_globe.then_some(Self { latitude, longitude, altitude: None, accuracy: None, source: None })
    }
}

/// How an uplink was heard. Every field may be unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Radio {
    /// Of the best gateway, dBm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rssi: Option<f64>,
    /// Of the best gateway, dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snr: Option<f64>,
    /// How many gateways or base stations heard it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateways: Option<u32>,
    /// The id of the best gateway or base station.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// LoRa spreading factor, 5 to 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spreading_factor: Option<u8>,
    /// Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u32>,
    /// FSK, bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_rate: Option<u32>,
    /// `4/5`, `1/3`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coding_rate: Option<String>,
    /// Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<u64>,
    /// Seconds on air.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub airtime: Option<f64>,
    /// The source's sequence number: `f_cnt`, `seqNumber`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter: Option<u32>,
    /// LoRaWAN port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u8>,
    /// The device asked for an acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<bool>,
    /// Link quality as the source names it: `limit`, `average`, `good`, `excellent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
    /// The network or operator that carried it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

impl Radio {
    /// This, or none when nothing is known.
    pub fn known(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

/// A payload as the device sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raw {
    /// The bytes.
    pub data: Vec<u8>,
    /// LoRaWAN port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u8>,
    /// The bytes are still encrypted: nothing can decode them here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
}

impl Message {
    /// What order is kept within: the device, or the integration for events of no device. A device id holds no `/`, so
    /// the two cannot meet.
    pub fn lane(&self) -> Arc<str> {
        match &self.device {
            Some(device) => device.to_shared(),
            None => format!("integration/{}", self.integration).into(),
        }
    }

    /// The version of the reported state of its device, when it is that: the whole of it, and the newest then.
    pub fn state_version(&self) -> Option<u64> {
        let is_state = self.kind == Kind::Properties && !self.superseded && !self.replayed;
        // In this order: a look-up is dear beside what most messages are.
        if is_state { self.content.data.get(STATE_VERSION)?.as_u64() } else { None }
    }

    /// The form at rest: what a store keeps and hands back to [`from_record`](Self::from_record).
    pub fn to_record(&self) -> Vec<u8> {
        // invariant: every map of a message has text keys and every number is finite, so this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the form at rest.
    ///
    /// # Errors
    /// When the record is not a message of this version or an older one.
    pub fn from_record(record: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdempotencyKey;

    #[test]
    fn a_record_reads_back_as_the_same_message() {
        let integration = IntegrationName::parse("farm").unwrap();
        let mut content = Content { warnings: vec!["late".into()], simulated: true, ..Content::default() };
        content.measure(Measurement::new("temperature", 21.5).with_unit("Cel"));
        content.measure(Measurement::new("big", u64::MAX));
        content.measure(Measurement::new("precise", -5.859_676_653_261_373_6e227));
        content.location = Location::new(52.1, 4.9);
        content.radio = Radio { rssi: Some(-113.0), counter: Some(0), ..Radio::default() }.known();
        content.raw = Some(Raw { data: vec![0, 255], port: Some(2), encrypted: false });
        content.data.insert("devAddr".into(), "260B1234".into());
        let message = Message {
            id: MessageId::new(&integration, &IdempotencyKey::from_texts(&["x"])),
            device: DeviceId::parse("d1").ok(),
            source: "ttn".into(),
            integration,
            kind: Kind::Telemetry,
            time: Timestamp::from_seconds(1),
            received_at: Timestamp::from_seconds(2).unwrap(),
            superseded: false,
            replayed: false,
            corrects: None,
            reply: None,
            content,
        };
        assert_eq!(Message::from_record(&message.to_record()).unwrap(), message);
        let bare = Message { content: Content::default(), time: None, device: None, ..message };
        assert_eq!(Message::from_record(&bare.to_record()).unwrap(), bare);
    }

    #[test]
    fn a_position_off_the_globe_is_none() {
        assert!(Location::new(90.1, 0.0).is_none());
        assert!(Location::new(f64::NAN, 0.0).is_none());
        assert!(Radio::default().known().is_none());
    }
}
