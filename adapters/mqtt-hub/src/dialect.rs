//! How a hub names things: topics and payloads. Pure; not here: connections.

use bridge_core::{Message, Timestamp};
use bytes::Bytes;

/// One publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
    /// Kept by the hub for later subscribers.
    pub retain: bool,
    /// MQTT 5 content type.
    pub content_type: &'static str,
    /// MQTT 5 user properties.
    pub properties: Vec<(String, String)>,
}

/// A hub's conventions.
pub trait Dialect: Send + Sync {
    /// What a message becomes.
    fn publication(&self, message: &Message) -> Publication;
    /// What the bridge says of itself when it has come online.
    fn birth(&self, since: Timestamp) -> Publication;
    /// What the hub says when the bridge is lost, and the bridge itself when it goes.
    fn death(&self) -> Publication;
}
