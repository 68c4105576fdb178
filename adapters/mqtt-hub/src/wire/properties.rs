//! MQTT 5 properties (section 2.2.2.2): those that the bridge heeds; all others are passed over by their type.

use super::read::{Reader, WireError};

/// What the bridge heeds of a CONNACK, DISCONNECT or PUBLISH.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) receive_maximum: Option<u16>,
    pub(super) maximum_packet: Option<u32>,
    pub(super) maximum_qos: Option<u8>,
    pub(super) retain_available: Option<u8>,
    pub(super) server_keep_alive: Option<u16>,
    pub(super) reason: Option<String>,
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Vec<u8>,
}

impl Properties {
    /// Reads a property list with its length.
    pub(super) fn read(packet: &mut Reader<'_>) -> Result<Self, WireError> {
        let length = packet.variable_integer()?;
        let mut list = Reader(packet.take(length)?);
        let mut found = Self::default();
        while !list.0.is_empty() {
            match list.byte()? {
                0x21 => found.receive_maximum = Some(list.two()?),
                0x27 => found.maximum_packet = Some(list.four()?),
                0x24 => found.maximum_qos = Some(list.byte()?),
                0x25 => found.retain_available = Some(list.byte()?),
                0x13 => found.server_keep_alive = Some(list.two()?),
                0x1F => found.reason = Some(String::from_utf8_lossy(list.binary()?).into_owned()),
                0x08 => {
                    let topic = std::str::from_utf8(list.binary()?);
                    let topic = topic.map_err(|_| WireError::Malformed("its response topic is not UTF-8"))?;
                    found.response_topic = Some(topic.to_owned());
                }
                0x09 => found.correlation = list.binary()?.to_vec(),
                0x01 | 0x17 | 0x19 | 0x28 | 0x29 | 0x2A => drop(list.byte()?),
                0x22 | 0x23 => drop(list.two()?),
                0x02 | 0x11 | 0x18 => drop(list.four()?),
                0x0B => drop(list.variable_integer()?),
                0x03 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C => drop(list.binary()?),
                0x26 => {
                    list.binary()?;
                    list.binary()?;
                }
                _ => return Err(WireError::Malformed("it holds an unknown property")),
            }
        }
        Ok(found)
    }
}
