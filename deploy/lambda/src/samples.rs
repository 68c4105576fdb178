//! Messages for unit tests. Not here: anything that the function needs.

use bridge_core::testing::contract;
use bridge_core::{Content, DeviceId, IntegrationName, Kind, Message, Timestamp};

/// A message of this device; its id is made of the number.
pub(crate) fn message(number: u64, device: &str) -> Message {
    Message {
        id: contract::message_id(number),
        device: Some(DeviceId::parse(device).unwrap()),
        source: "test".into(),
        integration: IntegrationName::parse("farm").unwrap(),
        kind: Kind::Telemetry,
        time: None,
        received_at: Timestamp::EPOCH,
        superseded: false,
        replayed: false,
        corrects: None,
        reply: None,
        content: Content::default(),
    }
}
