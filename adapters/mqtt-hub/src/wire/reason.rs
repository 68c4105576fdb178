//! What reason codes mean (section 2.4, and table 3.1 of MQTT 3.1.1), for people and for the outbox.

use bridge_core::ports::HubRefusal;

use super::read::ConnAck;
use crate::config::Protocol;

/// Why the broker did not take the connection; none when it did and is of use.
pub(crate) fn connect_refusal(connack: &ConnAck, protocol: Protocol) -> Option<String> {
    if connack.code == 0 {
        return (!connack.takes_qos1).then(|| "the hub takes QoS 0 only, which loses messages".into());
    }
    let why = match (protocol, connack.code) {
        (Protocol::V311, 1) | (Protocol::V5, 0x84) => {
            "it does not speak this version of MQTT: set hub.protocol"
        }
        (Protocol::V311, 2) | (Protocol::V5, 0x85) => "it does not take this client id",
        (Protocol::V311, 3) | (Protocol::V5, 0x88) => "it is not available",
        (Protocol::V311, 4) | (Protocol::V5, 0x86) => "bad user name or password",
        (Protocol::V311, 5) | (Protocol::V5, 0x87) => "not authorised",
        (Protocol::V5, 0x89) => "it is busy",
        (Protocol::V5, 0x8A) => "this client is banned",
        (Protocol::V5, 0x97) => "a quota is used up",
        (Protocol::V5, 0x9C | 0x9D) => "it has moved to another server",
        (Protocol::V5, 0x9F) => "it sees too many connections",
        _ => "",
    };
    Some(worded("the hub refused the connection", connack.code, why, connack.reason.as_deref()))
}

/// Why the broker ended the connection (section 3.14.2.1).
pub(crate) fn disconnect_reason(code: u8, reason: Option<&str>) -> String {
    let why = match code {
        0x8B => "it is shutting down",
        0x8D => "it heard nothing for too long",
        0x8E => "another client has the same client id",
        0x93 => "more was in flight than it granted",
        0x95 => "a packet was too large for it",
        0x96 => "too many messages",
        0x97 => "a quota is used up",
        0x98 => "by its administrator",
        0x9C | 0x9D => "it has moved to another server",
        _ => "",
    };
    worded("the hub ended the connection", code, why, reason)
}

/// What the answer to a publish means (section 3.4.2.1). From 0x80 on a code is an error; 0x10 is a success that
/// nobody subscribed to.
pub(crate) fn publish_answer(code: u8) -> Result<(), HubRefusal> {
    match code {
        0..0x80 => Ok(()),
        0x87 => Err(HubRefusal::Never("the hub does not allow publishing to this topic".into())),
        0x90 => Err(HubRefusal::Never("the hub does not take this topic name".into())),
        0x99 => Err(HubRefusal::Never("the hub says that the payload is malformed".into())),
        0x97 => Err(HubRefusal::Later("the hub's quota is used up".into())),
        _ => Err(HubRefusal::Later(format!("the hub answered with code {code:#04x}"))),
    }
}

fn worded(what: &str, code: u8, why: &str, reason: Option<&str>) -> String {
    let separator = if why.is_empty() { "" } else { ": " };
    match reason {
        Some(reason) => format!("{what}{separator}{why} (code {code:#04x}, {reason:?})"),
        None => format!("{what}{separator}{why} (code {code:#04x})"),
    }
}
