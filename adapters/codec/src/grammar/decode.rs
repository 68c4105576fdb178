//! Reads the fields of a grammar from a payload. Not here: where they are, which the grammar has worked out.

use std::fmt::Write as _;

use bridge_core::measurement::Measurement;
use serde_json::Value;

use super::{Field, Kind, NumberKind};
use crate::Outcome;
use crate::gather::{Warnings, exact_integer, finite};

/// Reads every field that is inside the payload.
pub(super) fn decode(fields: &[Field], payload: &[u8]) -> Outcome {
    let (mut measurements, mut warnings) = (Vec::with_capacity(fields.len()), Warnings::default());
    for Field { name, offset, kind, hex_name } in fields {
        let Some(bytes) = payload.get(*offset..).and_then(|rest| rest.get(..kind.bytes())) else {
            warnings.push_with(|| format!("{name} lies beyond the end of the payload"));
            continue;
        };
        let Some(value) = value(*kind, bytes) else {
            warnings.push_with(|| format!("{name} is not a finite number"));
            continue;
        };
        measurements.push(Measurement::new(name.clone(), value));
        if matches!(kind, Kind::Char(_)) && !bytes.is_ascii() {
            warnings.push_with(|| format!("{name} is not ASCII"));
            if let Some(hex_name) = hex_name {
                measurements.push(Measurement::new(hex_name.clone(), hex(bytes)));
            }
        }
    }
    Outcome { warnings: warnings.into_lines(), ..Outcome::of(measurements) }
}

/// The value of exactly these bytes; none when it is NaN or infinite.
fn value(kind: Kind, bytes: &[u8]) -> Option<Value> {
    match kind {
        Kind::Bool(bit) => Some((bytes[0] >> bit & 1 == 1).into()),
        Kind::Char(_) => Some(String::from_utf8_lossy(bytes).into()),
        Kind::Number { number, little_endian, .. } => {
            let bits = if little_endian { bits(bytes.iter().rev()) } else { bits(bytes.iter()) };
            match (number, bytes.len()) {
                (NumberKind::Float, 4) => finite(f64::from(f32::from_bits(bits as u32))),
                (NumberKind::Float, _) => finite(f64::from_bits(bits)),
                (NumberKind::Uint, _) => Some(exact_integer(bits.into())),
                (NumberKind::Int, width) => {
                    let unused = 64 - 8 * width as u32;
                    Some(exact_integer(((bits << unused).cast_signed() >> unused).into()))
                }
            }
        }
    }
}

/// At most eight bytes, the most significant first.
fn bits<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // invariant: writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
