//! Packets that the broker sends, cut out of what was received.

use bytes::{Buf, BytesMut};

use super::properties::Properties;
use crate::config::Protocol;

/// A packet from the broker, as far as the bridge heeds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The answer to CONNECT.
    ConnAck(ConnAck),
    /// The answer to a PUBLISH: its packet identifier and reason code (0 in MQTT 3.1.1).
    PubAck(u16, u8),
    /// A message for a subscription.
    Publish(Received),
    /// The answer to a SUBSCRIBE to one filter: its packet identifier and reason code; from 0x80 on it was refused.
    SubAck(u16, u8),
    /// MQTT 5: the broker ends the connection; reason code and text.
    Disconnect(u8, Option<String>),
    /// Nothing that matters here.
    Other,
}

/// A PUBLISH from the broker (section 3.3).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// To be acknowledged; none with QoS 0.
    pub(crate) packet_id: Option<u16>,
    /// It may have come before.
    pub(crate) duplicate: bool,
    pub(crate) retained: bool,
    /// MQTT 5: where the answer is waited for, and with which correlation data.
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation: Vec<u8>,
}

/// What the broker grants (section 3.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnAck {
    /// 0 is success.
    pub(crate) code: u8,
    /// Why, in the broker's words.
    pub(crate) reason: Option<String>,
    /// Publishes in flight; absent means 65,535.
    pub(crate) receive_maximum: Option<u16>,
    /// Bytes; absent means no limit.
    pub(crate) maximum_packet: Option<u32>,
    /// False: the broker takes QoS 0 only.
    pub(crate) takes_qos1: bool,
    /// False: a retained publish would be an error.
    pub(crate) takes_retained: bool,
    /// Seconds; replaces the client's own.
    pub(crate) keep_alive: Option<u16>,
    /// The broker remembers this client.
    pub(crate) session_present: bool,
}

/// Why the connection cannot go on. The broker's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// Not MQTT.
    #[error("the hub sent a malformed packet: {0}")]
    Malformed(&'static str),
    /// Over our limit.
    #[error("the hub sent a packet of {0} bytes, which is over the limit")]
    TooLarge(usize),
}

/// Takes the next whole packet out of `buffer`; none when it is not complete yet. `max` bounds a packet, in bytes.
///
/// # Errors
/// When this is not MQTT, or more than `max`.
pub(crate) fn next_packet(
    buffer: &mut BytesMut,
    protocol: Protocol,
    max: usize,
) -> Result<Option<Incoming>, WireError> {
    let Some((header, length)) = fixed_header(buffer)? else { return Ok(None) };
    if header + length > max {
        return Err(WireError::TooLarge(header + length));
    }
    if buffer.len() < header + length {
        return Ok(None);
    }
    // invariant: there are as many bytes as a header has, and as it announces.
    let first = buffer[0];
    let incoming = parse(first, Reader(&buffer[header..header + length]), protocol)?;
    buffer.advance(header + length);
    Ok(Some(incoming))
}

/// Bytes of the fixed header, and bytes after it.
fn fixed_header(buffer: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut length = 0;
    for (n, byte) in buffer.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Ok(Some((n + 2, length)));
        }
    }
    if buffer.len() > 4 { Err(WireError::Malformed("its length has no end")) } else { Ok(None) }
}

fn parse(first: u8, mut packet: Reader<'_>, protocol: Protocol) -> Result<Incoming, WireError> {
    let v5 = protocol == Protocol::V5;
    Ok(match first >> 4 {
        2 => {
            let session_present = packet.byte()? & 0x01 != 0;
            let code = packet.byte()?;
            let granted = if v5 && !packet.0.is_empty() {
                Properties::read(&mut packet)?
            } else {
                Properties::default()
            };
            Incoming::ConnAck(ConnAck {
                code,
                reason: granted.reason,
                receive_maximum: granted.receive_maximum,
                maximum_packet: granted.maximum_packet,
                takes_qos1: granted.maximum_qos != Some(0),
                takes_retained: granted.retain_available != Some(0),
                keep_alive: granted.server_keep_alive,
                session_present,
            })
        }
        3 => Incoming::Publish(publish(first, packet, v5)?),
        9 => {
            let id = packet.two()?;
            if v5 {
                Properties::read(&mut packet)?;
            }
            Incoming::SubAck(id, packet.byte()?)
        }
        4 => {
            let id = packet.two()?;
            // The reason may be left out when it is success (section 3.4.2.1); its properties are of no use here.
            let reason = if v5 && !packet.0.is_empty() { packet.byte()? } else { 0 };
            Incoming::PubAck(id, reason)
        }
        14 if v5 => {
            let code = if packet.0.is_empty() { 0 } else { packet.byte()? };
            let reason = if packet.0.is_empty() { None } else { Properties::read(&mut packet)?.reason };
            Incoming::Disconnect(code, reason)
        }
        0 | 1 | 8 | 10 | 12 | 14 => return Err(WireError::Malformed("a broker never sends this type")),
        _ => Incoming::Other,
    })
}

fn publish(first: u8, mut packet: Reader<'_>, v5: bool) -> Result<Received, WireError> {
    let topic =
        std::str::from_utf8(packet.binary()?).map_err(|_| WireError::Malformed("its topic is not UTF-8"))?;
    let packet_id = match (first >> 1) & 0x03 {
        0 => None,
        1 => Some(packet.two()?),
        // Nothing is subscribed to with QoS 2.
        _ => return Err(WireError::Malformed("a QoS that was not asked for")),
    };
    let properties = if v5 { Properties::read(&mut packet)? } else { Properties::default() };
    Ok(Received {
        topic: topic.to_owned(),
        payload: packet.0.to_vec(),
        packet_id,
        duplicate: first & 0x08 != 0,
        retained: first & 0x01 != 0,
        response_topic: properties.response_topic,
        correlation: properties.correlation,
    })
}

/// Reads from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(WireError::Malformed("it ends before its end"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn two(&mut self) -> Result<u16, WireError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn four(&mut self) -> Result<u32, WireError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.two()?;
        self.take(usize::from(length))
    }

    pub(super) fn variable_integer(&mut self) -> Result<usize, WireError> {
        let mut value = 0;
        for n in 0..4 {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7F) << (7 * n);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed("a length has no end"))
    }
}
