//! Writes Cayenne LPP frames. Values are rounded to the resolution of their type (the Go library cuts digits off, which
//! turns -4.10 into -4.09). Not here: polylines.

use serde_json::{Map, Value};

use super::END;
use super::table::{self, Part, Shape};

/// Why values have no Cayenne LPP frame. The sender's fault; the same values fail again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// No type, or no channel, of that name.
    #[error("{0} is not the name of a Cayenne LPP type, an underscore and a channel from 0 to {1}")]
    Name(String, u8),
    /// Not a number (nor a boolean, where the type is a single number).
    #[error("{0} is not a number")]
    NotANumber(String),
    /// Outside what the type can hold.
    #[error("{field} is not between {smallest} and {largest}")]
    OutOfRange {
        /// Which.
        field: String,
        /// The smallest value of the type.
        smallest: f64,
        /// The largest value of the type.
        largest: f64,
    },
    /// A type that can be decoded only.
    #[error("{0} cannot be encoded")]
    DecodeOnly(String),
}

/// Writes an uplink frame of fields such as `temperature_3`, in the order of the map. `true` and `false` are 1 and 0.
///
/// # Errors
/// When a field is not of the table, not a number, or does not fit.
pub fn encode_uplink(fields: &Map<String, Value>) -> Result<Vec<u8>, EncodeError> {
    let mut frame = Vec::new();
    for (field, value) in fields {
        let unknown = || EncodeError::Name(field.clone(), u8::MAX);
        let (name, channel) = split(field).ok_or_else(unknown)?;
        let kind = table::by_name(name).ok_or_else(unknown)?;
        frame.extend([channel, kind.code]);
        match kind.shape {
            Shape::Number(part) => write(part, field, Some(value), &mut frame)?,
            Shape::Object(parts) => {
                for (member, part) in parts {
                    write(*part, &format!("{field}.{member}"), value.get(member), &mut frame)?;
                }
            }
            Shape::Polyline => return Err(EncodeError::DecodeOnly(field.clone())),
        }
    }
    Ok(frame)
}

/// Writes a downlink frame of fields `value_CHANNEL`, in the order of the map, with its end mark. Channel 255 does not
/// exist here: its byte is the end mark.
///
/// # Errors
/// When a field is not `value_0` to `value_254`, not a number, or not between -327.68 and 327.67.
pub fn encode_downlink(fields: &Map<String, Value>) -> Result<Vec<u8>, EncodeError> {
    let mut frame = Vec::new();
    for (field, value) in fields {
        let channel = split(field).filter(|(name, channel)| *name == "value" && *channel != END);
        let (_, channel) = channel.ok_or_else(|| EncodeError::Name(field.clone(), END - 1))?;
        frame.push(channel);
        write(Part { bytes: 2, signed: true, divisor: 100 }, field, Some(value), &mut frame)?;
    }
    frame.push(END);
    Ok(frame)
}

/// `temperature_3`: the name and the channel. A channel has one spelling, so that no two fields are the same.
fn split(field: &str) -> Option<(&str, u8)> {
    let (name, channel) = field.rsplit_once('_')?;
    let number: u8 = channel.parse().ok()?;
    (number.to_string() == channel).then_some((name, number))
}

fn write(part: Part, field: &str, value: Option<&Value>, frame: &mut Vec<u8>) -> Result<(), EncodeError> {
    let number = match value {
        Some(Value::Bool(flag)) => Some(f64::from(u8::from(*flag))),
        Some(value) => value.as_f64(),
        None => None,
    };
    let number = number.ok_or_else(|| EncodeError::NotANumber(field.to_owned()))?;
    let divisor = f64::from(part.divisor);
    let integer = (number * divisor).round();
    let (smallest, largest) = part.range();
    if !(smallest as f64..=largest as f64).contains(&integer) {
        let field = field.to_owned();
        let (smallest, largest) = (smallest as f64 / divisor, largest as f64 / divisor);
        return Err(EncodeError::OutOfRange { field, smallest, largest });
    }
    let bytes = (integer as i64).to_be_bytes();
    frame.extend(&bytes[bytes.len() - part.bytes..]);
    Ok(())
}
