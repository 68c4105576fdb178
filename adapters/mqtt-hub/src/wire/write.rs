//! Packets that the bridge sends, appended to a buffer.

use crate::config::{Credentials, Protocol};
use crate::dialect::{Origin, Publication};

/// What stands in a CONNECT (section 3.1).
pub(crate) struct Connect<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: &'a str,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) credentials: Option<&'a Credentials>,
    pub(crate) will: Option<&'a Publication<'a>>,
    /// The largest packet that is taken; MQTT 5 tells the broker.
    pub(crate) max_packet: u32,
    pub(crate) session: Session,
}

/// What the broker remembers of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// Nothing: for publishers, whose only memory is the outbox.
    Clean,
    /// Its subscriptions, and what is for them while it is away: for so many seconds (MQTT 5), or as long as the broker
    /// likes (3.1.1).
    Kept(u32),
}

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const PINGREQ: u8 = 0xC0;
const DISCONNECT: u8 = 0xE0;

const QOS1: u8 = 0x02;
const RETAIN: u8 = 0x01;

/// Appends a CONNECT.
pub(crate) fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let v5 = connect.protocol == Protocol::V5;
    let mut body = Vec::with_capacity(256);
    text(&mut body, "MQTT");
    body.push(if v5 { 5 } else { 4 });
    let mut flags = if connect.session == Session::Clean { 0x02 } else { 0 };
    if let Some(will) = connect.will {
        flags |= 0x04 | 0x08 | if will.retain { 0x20 } else { 0 };
    }
    if connect.credentials.is_some() {
        flags |= 0x80 | 0x40;
    }
    body.push(flags);
    body.extend(connect.keep_alive_seconds.to_be_bytes());
    if v5 {
        let kept = match connect.session {
            Session::Clean => None,
            Session::Kept(seconds) => Some(seconds),
        };
        variable_integer(&mut body, if kept.is_some() { 10 } else { 5 });
        body.push(0x27);
        body.extend(connect.max_packet.to_be_bytes());
        if let Some(seconds) = kept {
            body.push(0x11);
            body.extend(seconds.to_be_bytes());
        }
    }
    text(&mut body, connect.client_id);
    if let Some(will) = connect.will {
        if v5 {
            variable_integer(&mut body, 0);
        }
        text(&mut body, &will.topic);
        binary(&mut body, &will.payload);
    }
    if let Some(credentials) = connect.credentials {
        text(&mut body, &credentials.user);
        binary(&mut body, credentials.password.reveal().as_bytes());
    }
    out.push(CONNECT);
    variable_integer(out, body.len());
    out.extend(body);
}

/// Appends a PUBLISH with QoS 1 (section 3.3).
pub(crate) fn publish(out: &mut Vec<u8>, protocol: Protocol, packet_id: u16, publication: &Publication<'_>) {
    let Publication { topic, payload, retain, content_type, correlation, origin } = publication;
    let properties = origin.as_ref().map(Origin::properties);
    let properties = properties.as_ref().map_or(&[][..], |properties| properties);
    let properties_length = match protocol {
        Protocol::V311 => None,
        Protocol::V5 => {
            let user: usize = properties.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
            let correlated = if correlation.is_empty() { 0 } else { 3 + correlation.len() };
            Some(2 + 3 + content_type.len() + correlated + user)
        }
    };
    let body =
        2 + topic.len() + 2 + properties_length.map_or(0, |length| prefix(length) + length) + payload.len();
    out.reserve(1 + prefix(body) + body);
    out.push(PUBLISH | QOS1 | if *retain { RETAIN } else { 0 });
    variable_integer(out, body);
    text(out, topic);
    out.extend(packet_id.to_be_bytes());
    if let Some(length) = properties_length {
        variable_integer(out, length);
        out.extend([0x01, 1]); // payload format: UTF-8
        out.push(0x03);
        text(out, content_type);
        if !correlation.is_empty() {
            out.push(0x09);
            binary(out, correlation);
        }
        for (name, value) in properties {
            out.push(0x26);
            text(out, name);
            binary(out, value);
        }
    }
    out.extend(payload);
}

/// What of that which is retained a subscription brings (section 3.8.3.1). MQTT 3.1.1 brings all of it each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nothing.
    Never,
    /// All, when the session is new.
    Once,
}

/// Appends a SUBSCRIBE to one filter with QoS 1 (section 3.8).
pub(crate) fn subscribe(out: &mut Vec<u8>, protocol: Protocol, packet_id: u16, filter: &str, kept: Kept) {
    let v5 = protocol == Protocol::V5;
    out.push(SUBSCRIBE);
    variable_integer(out, 2 + usize::from(v5) + 2 + filter.len() + 1);
    out.extend(packet_id.to_be_bytes());
    if v5 {
        variable_integer(out, 0);
    }
    text(out, filter);
    out.push(match (protocol, kept) {
        (Protocol::V311, _) => 0x01,
        (Protocol::V5, Kept::Never) => 0x01 | 0x20,
        (Protocol::V5, Kept::Once) => 0x01 | 0x10,
    });
}

/// Appends a PUBACK: the publish with this packet identifier is taken.
pub(crate) fn puback(out: &mut Vec<u8>, packet_id: u16) {
    out.extend([PUBACK, 2]);
    out.extend(packet_id.to_be_bytes());
}

/// Appends a PINGREQ.
pub(crate) fn pingreq(out: &mut Vec<u8>) {
    out.extend([PINGREQ, 0]);
}

/// Appends a DISCONNECT in good order: the broker drops the will.
pub(crate) fn disconnect(out: &mut Vec<u8>) {
    out.extend([DISCONNECT, 0]);
}

/// A text with its length. What is longer than the format can say is cut at the limit; nothing that the bridge sends is.
fn text(out: &mut Vec<u8>, text: &str) {
    binary(out, text.as_bytes());
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(&bytes[..usize::from(length)]);
}

/// Section 1.5.5. The caller keeps packets below 256 MiB.
fn variable_integer(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}

/// Bytes of a variable byte integer.
fn prefix(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}
