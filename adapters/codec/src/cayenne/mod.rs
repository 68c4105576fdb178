//! Cayenne Low Power Payload (myDevices): `[channel][type][value]`, big endian, repeated; the reference page
//! "webhooks", section 5.2, has the table. Measurements are named as The Things Stack names them: `temperature_3`. Not
//! here: the packed forms of LPP 2.0, which no device that we know of sends.

mod encode;
mod polyline;
mod table;

pub use encode::{EncodeError, encode_downlink, encode_uplink};

use bridge_core::measurement::Measurement;
use bridge_core::message::Location;
use serde_json::{Map, Value};

use crate::gather::{Gather, Warnings};
use crate::{Input, Outcome, Sample};
use table::{Kind, Part, Shape};

/// Ends a downlink frame.
const END: u8 = 0xFF;

/// Decodes an uplink frame. At a type that is not in the table, or a value that is cut off, nobody knows where the next
/// value begins: what was read until then stays, with a warning; when that is nothing, it is an error. The first
/// `gps_N` that is on the globe is the sample's location too.
pub fn decode(input: &Input<'_>) -> Outcome {
    let (mut gather, mut warnings, mut location) = (Gather::default(), Warnings::default(), None);
    let mut rest = input.bytes;
    while !rest.is_empty() {
        let offset = input.bytes.len() - rest.len();
        match read(rest, &mut warnings) {
            Ok((field, after)) => {
                if let Some(measurement) = field {
                    if location.is_none() && measurement.name.starts_with("gps_") {
                        location = place(&measurement, &mut warnings);
                    }
                    gather.set(measurement, &mut warnings);
                }
                rest = after;
            }
            Err(reason) if offset == 0 => {
                return Outcome::error(format!("not Cayenne LPP: {reason} at byte 0"));
            }
            Err(reason) => {
                warnings.push(format!("{reason} at byte {offset}; the rest of the frame was not read"));
                break;
            }
        }
    }
    if input.bytes.is_empty() {
        return Outcome::default();
    }
    let sample = Sample { measurements: gather.into_measurements(), location, ..Sample::default() };
    Outcome { samples: vec![sample], warnings: warnings.into_lines(), errors: Vec::new() }
}

/// Decodes a downlink frame: `[channel][value x 100, 16 bits signed]`, repeated, ended by 0xFF. The measurements are
/// `value_CHANNEL`. A frame that is cut off or goes on after its end gives a warning.
pub fn decode_downlink(input: &Input<'_>) -> Outcome {
    let (mut gather, mut warnings) = (Gather::default(), Warnings::default());
    let mut rest = input.bytes;
    loop {
        match rest {
            [END, after @ ..] => {
                if !after.is_empty() {
                    warnings.push(format!("{} bytes follow the end of the frame", after.len()));
                }
                break;
            }
            [channel, high, low, after @ ..] => {
                let value = f64::from(i16::from_be_bytes([*high, *low])) / 100.0;
                gather.set(Measurement::new(format!("value_{channel}"), value), &mut warnings);
                rest = after;
            }
            _ => {
                warnings.push("the frame ends before its end mark");
                break;
            }
        }
    }
    if gather.is_empty() && rest.first() != Some(&END) {
        return Outcome::error("not a Cayenne LPP downlink: the frame ends before its end mark");
    }
    Outcome { warnings: warnings.into_lines(), ..Outcome::of(gather.into_measurements()) }
}

/// A field at the start of `bytes` (none when it has no value that can be used), and what follows it.
type Field<'a> = (Option<Measurement>, &'a [u8]);

fn read<'a>(bytes: &'a [u8], warnings: &mut Warnings) -> Result<Field<'a>, String> {
    let [channel, code, rest @ ..] = bytes else { return Err("a channel without a type".into()) };
    let Some(kind) = table::by_code(*code) else { return Err(format!("unknown type {code}")) };
    let name = named(kind.name, *channel);
    let cut_off = || format!("{name} is cut off");
    let (value, rest) = match kind.shape {
        Shape::Number(part) => {
            let (value, rest) = read_part(part, rest).ok_or_else(cut_off)?;
            (Some(value), rest)
        }
        Shape::Object(parts) => {
            let (mut object, mut rest) = (Map::new(), rest);
            for (member, part) in parts {
                let (value, after) = read_part(*part, rest).ok_or_else(cut_off)?;
                object.insert((*member).to_owned(), value);
                rest = after;
            }
            (Some(Value::Object(object)), rest)
        }
        Shape::Polyline => {
            let (line, rest) = polyline::split(rest).ok_or_else(cut_off)?;
            let points = polyline::decode(line);
            if points.is_none() {
                warnings.push(format!("{name} is not a polyline; it was left out"));
            }
            (points, rest)
        }
    };
    Ok((value.map(|value| measurement(kind, name, value)), rest))
}

/// `temperature_3`; without the formatter, which would be most of the time that a frame takes.
fn named(name: &str, channel: u8) -> String {
    let mut text = String::with_capacity(name.len() + "_255".len());
    text.push_str(name);
    text.push('_');
    let digits = [channel / 100, channel / 10 % 10, channel % 10];
    let leading = if channel < 10 { 2 } else { usize::from(channel < 100) };
    text.extend(digits[leading..].iter().map(|digit| char::from(b'0' + digit)));
    text
}

fn measurement(kind: &Kind, name: String, value: Value) -> Measurement {
    let measurement = Measurement::new(name, value);
    match kind.unit {
        Some(unit) => measurement.with_unit(unit),
        None => measurement,
    }
}

/// A number at the start of `bytes`, and what follows it.
fn read_part(part: Part, bytes: &[u8]) -> Option<(Value, &[u8])> {
    let (number, rest) = bytes.split_at_checked(part.bytes)?;
    let first = if part.signed && number[0] >= 0x80 { -1 } else { 0 };
    let integer = number.iter().fold(first, |sum: i64, byte| (sum << 8) | i64::from(*byte));
    Some((scaled(integer, part.divisor), rest))
}

/// A whole number where the type has whole numbers, else the double nearest to the decimal fraction: both operands are
/// exact, so the quotient has no digits too many.
fn scaled(integer: i64, divisor: u32) -> Value {
    if divisor == 1 { integer.into() } else { (integer as f64 / f64::from(divisor)).into() }
}

fn place(gps: &Measurement, warnings: &mut Warnings) -> Option<Location> {
    let number = |member: &str| gps.value.get(member).and_then(Value::as_f64);
    let found = Location::new(number("latitude")?, number("longitude")?);
    if found.is_none() {
        warnings.push(format!("{} is not a place on the globe", gps.name));
    }
    found.map(|found| Location { altitude: number("altitude"), source: Some("gps".into()), ..found })
}

#[cfg(test)]
mod tests;
