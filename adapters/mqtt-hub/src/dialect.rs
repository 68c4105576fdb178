//! How a hub names things: topics and payloads. Pure; not here: connections.

use bridge_core::{DeviceId, Message, Timestamp};

/// One publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication<'m> {
    /// The topic.
    pub topic: String,
    /// The payload: UTF-8.
    pub payload: Vec<u8>,
    /// Kept by the hub for later subscribers.
    pub retain: bool,
    /// MQTT 5 content type.
    pub content_type: &'static str,
    /// MQTT 5 correlation data: this answers a request (section 4.10).
    pub correlation: &'m [u8],
    /// MQTT 5 user properties: whose message it is; none for what the bridge says of itself.
    pub origin: Option<Origin<'m>>,
}

/// Which message a publish is of. Lent: there is one with every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'m> {
    /// The digits of the message's id.
    pub id: [u8; 32],
    /// The connector.
    pub source: &'m str,
    /// The integration.
    pub integration: &'m str,
}

impl Origin<'_> {
    /// Names and values, in UTF-8.
    pub(crate) fn properties(&self) -> [(&'static str, &[u8]); 3] {
        [("id", &self.id), ("source", self.source.as_bytes()), ("integration", self.integration.as_bytes())]
    }
}

/// A hub's conventions.
pub trait Dialect: Send + Sync {
    /// What a message becomes.
    fn publication<'m>(&self, message: &'m Message) -> Publication<'m>;
    /// What the bridge says of itself when it has come online.
    fn birth(&self, since: Timestamp) -> Publication<'static>;
    /// The subscription that commands come by.
    fn command_filter(&self) -> String;
    /// Which device a topic of that subscription means, and the name of the command.
    fn command<'t>(&self, topic: &'t str) -> Option<(DeviceId, &'t str)>;
    /// The subscription that wishes for the state of devices come by.
    fn desired_filter(&self) -> String;
    /// Which device a topic of that subscription means.
    fn desired(&self, topic: &str) -> Option<DeviceId>;
    /// What the hub says when the bridge is lost, and the bridge itself when it goes.
    fn death(&self) -> Publication<'static>;
}
