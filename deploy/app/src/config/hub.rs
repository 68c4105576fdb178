//! `[hub]`: how the bridge speaks to the hub. Not here: which broker it is ([`super::broker`]).

use std::ops::RangeInclusive;
use std::time::Duration;

use super::broker::Broker;
use super::choice::choices;
use super::reader::Section;
use super::secret::Surroundings;
use super::sheet::{Sheet, quoted, words};
use super::units::{duration_range, format_duration, format_size, size_range};

const CONNECTIONS: RangeInclusive<u64> = 1..=1000;
const WINDOW: RangeInclusive<u64> = 1..=65_535;
/// Keep Alive is a 16-bit number of seconds (MQTT 5 section 3.1.2.10).
const KEEP_ALIVE: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_hours(18);
const CONNECT_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(2);
const PACKET: RangeInclusive<u64> = 4096..=64 * 1024 * 1024;

choices! {
    /// The version of MQTT.
    Protocol {
        /// MQTT 5.
        V5 = "5",
        /// MQTT 3.1.1.
        V311 = "3.1.1",
    }
}

choices! {
    /// The conventions of the hub.
    Dialect {
        /// Any broker.
        Mqtt = "mqtt",
    }
}

choices! {
    /// What a telemetry message looks like.
    Encoding {
        /// The whole message as JSON.
        Json = "json",
        /// The measurements alone.
        Flat = "flat",
        /// A SenML pack (RFC 8428).
        Senml = "senml",
    }
}

/// `[hub]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// Which broker.
    pub broker: Broker,
    /// The version of MQTT.
    pub protocol: Protocol,
    /// Its conventions.
    pub dialect: Dialect,
    /// What a telemetry message looks like.
    pub encoding: Encoding,
    /// Stands before every topic, without a slash at either end; empty for none.
    pub topic_prefix: String,
    /// What the client ids of the connections begin with.
    pub client_id: String,
    /// How many connections the bridge holds.
    pub connections: Connections,
    /// Publishes in flight per connection, unless the broker grants fewer.
    pub window: u16,
    /// The longest silence on a connection.
    pub keep_alive: Duration,
    /// For a connection to stand.
    pub connect_timeout: Duration,
    /// The largest MQTT packet, bytes.
    pub max_packet: usize,
}

/// How many connections the bridge holds; between the bounds, the load decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Always.
    pub min: usize,
    /// At most.
    pub max: usize,
}

impl Hub {
    /// The version that is spoken with a broker by URL. The embedded one speaks 3.1.1.
    pub const PROTOCOL: Protocol = Protocol::V5;

    /// The hub without any configuration: the embedded broker.
    pub(super) fn of_bridge(name: &str) -> Self {
        Self {
            broker: Broker::default(),
            protocol: Protocol::V311,
            dialect: Dialect::Mqtt,
            encoding: Encoding::Json,
            topic_prefix: String::new(),
            client_id: name.to_owned(),
            connections: Connections { min: 1, max: 64 },
            window: 1024,
            keep_alive: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            max_packet: 256 * 1024,
        }
    }

    pub(super) fn read(section: Section<'_>, bridge: &str, surroundings: &Surroundings<'_>) -> Self {
        let default = Self::of_bridge(bridge);
        let broker = Broker::read(&section, surroundings);
        let is_embedded = matches!(broker, Some(Broker::Embedded { .. }));
        let protocol =
            section.or("protocol", if is_embedded { default.protocol } else { Self::PROTOCOL }, |field| {
                field.one_of(Protocol::CHOICES)
            });
        if is_embedded && protocol != default.protocol {
            section.refuse("protocol", "must be \"3.1.1\" (or absent) with the embedded broker");
        }
        let hub = Self {
            broker: broker.unwrap_or(default.broker),
            protocol,
            dialect: section.or("dialect", default.dialect, |field| field.one_of(Dialect::CHOICES)),
            encoding: section.or("encoding", default.encoding, |field| field.one_of(Encoding::CHOICES)),
            topic_prefix: section.or("topic_prefix", default.topic_prefix, |field| field.parse(parse_prefix)),
            client_id: section.or("client_id", default.client_id, |field| field.parse(parse_client_id)),
            connections: Connections::read(&section, default.connections),
            window: section.or("window", default.window, |field| field.number(&WINDOW)),
            keep_alive: section.or("keep_alive", default.keep_alive, |field| field.duration(&KEEP_ALIVE)),
            connect_timeout: section
                .or("connect_timeout", default.connect_timeout, |field| field.duration(&CONNECT_TIMEOUT)),
            max_packet: section.or("max_packet", default.max_packet, |field| {
                field.size(&PACKET).and_then(|bytes| usize::try_from(bytes).ok())
            }),
        };
        section.finish();
        hub
    }

    pub(super) fn describe(sheet: &mut Sheet, bridge: &str) {
        let default = Self::of_bridge(bridge);
        sheet.table("hub", "The MQTT broker that receives everything.");
        Broker::describe(sheet);
        sheet.explained(
            "protocol",
            &quoted(Self::PROTOCOL.as_str()),
            &format!("The version of MQTT: {}. The embedded broker speaks 3.1.1.", words(Protocol::CHOICES)),
        );
        sheet.explained(
            "dialect",
            &quoted(default.dialect.as_str()),
            &format!("The conventions of the hub: {}.", words(Dialect::CHOICES)),
        );
        sheet.explained(
            "encoding",
            &quoted(default.encoding.as_str()),
            &format!(
                "What telemetry looks like: {}: the whole message, the measurements alone, or a SenML pack (RFC 8428).",
                words(Encoding::CHOICES)
            ),
        );
        sheet.explained(
            "topic_prefix",
            &quoted(&default.topic_prefix),
            "Stands before every topic: \"acme\" makes acme/devices/...",
        );
        sheet.explained(
            "client_id",
            &quoted(&default.client_id),
            "What the client ids of its connections begin with. Default: the name of the bridge.",
        );
        sheet.explained(
            "connections",
            &format!("{{ min = {}, max = {} }}", default.connections.min, default.connections.max),
            "How many connections the bridge holds; between the two, the load decides. A device stays on one.",
        );
        sheet.explained(
            "window",
            &default.window.to_string(),
            "Publishes in flight per connection. The broker may grant fewer (mosquitto: 20, max_inflight_messages).",
        );
        sheet.explained(
            "keep_alive",
            &quoted(&format_duration(default.keep_alive)),
            &format!("The longest silence on a connection: {}.", duration_range(&KEEP_ALIVE)),
        );
        sheet.explained(
            "connect_timeout",
            &quoted(&format_duration(default.connect_timeout)),
            &format!("For a connection to stand: {}.", duration_range(&CONNECT_TIMEOUT)),
        );
        sheet.explained(
            "max_packet",
            &quoted(&format_size(default.max_packet as u64)),
            &format!(
                "The largest MQTT packet: {}. A message that does not fit becomes a dead letter.",
                size_range(&PACKET)
            ),
        );
    }
}

impl Connections {
    fn read(hub: &Section<'_>, default: Self) -> Self {
        let section = hub.section("connections");
        let connections = Self {
            min: section.or("min", default.min, |field| field.number(&CONNECTIONS)),
            max: section.or("max", default.max, |field| field.number(&CONNECTIONS)),
        };
        if connections.min > connections.max {
            let why = format!("min ({}) is more than max ({})", connections.min, connections.max);
            hub.refuse("connections", &why);
        }
        section.finish();
        connections
    }
}

fn parse_prefix(text: &str) -> Result<String, &'static str> {
    if text.len() > 128 || text.contains(|c: char| matches!(c, '+' | '#') || c.is_control()) {
        return Err("must be at most 128 bytes, without +, # and control characters");
    }
    if text.starts_with(['/', '$']) || text.ends_with('/') {
        return Err("must not begin with / or $, nor end with /: the bridge adds the slash");
    }
    Ok(text.to_owned())
}

fn parse_client_id(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    match !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 64 letters, digits and - _ . :"),
    }
}
