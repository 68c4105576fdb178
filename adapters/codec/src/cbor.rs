//! CBOR (RFC 8949) as JSON values. Not here: what the values mean (SenML has a module of its own).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;
use serde_json::{Map, Number, Value};

use crate::gather::{Warnings, finite};
use crate::json::{DEEPEST, measurements};
use crate::{Input, Outcome};

/// Decodes one CBOR item. The members of a map are the measurements; anything else is the measurement `value`.
///
/// Byte strings become base64 text, keys text, integers beyond 64 bits their decimal digits. A tag is dropped and its
/// value kept (an epoch time stays a number), apart from decimal fractions and large integers, which become numbers.
/// What has no JSON (NaN, infinity, a structure as a key) is left out of maps, and null in lists, with a warning.
pub fn decode(input: &Input<'_>) -> Outcome {
    let mut decoder = Decoder::new(input.bytes);
    let mut warnings = Warnings::default();
    if input.bytes.is_empty() {
        return Outcome::default();
    }
    let value = match item(&mut decoder, DEEPEST, &mut warnings) {
        Ok(value) => value,
        Err(error) => return Outcome::error(explain(&error, &decoder)),
    };
    let after = input.bytes.len() - decoder.position();
    if after > 0 {
        warnings.push(format!("{after} bytes follow the CBOR item"));
    }
    let found = measurements(value.unwrap_or_default());
    Outcome { warnings: warnings.into_lines(), ..Outcome::of(found) }
}

/// What a broken item is told with: where, and never the bytes.
pub(crate) fn explain(error: &Error, decoder: &Decoder<'_>) -> String {
    let at = error.position().unwrap_or(decoder.position());
    if error.is_end_of_input() {
        format!("the CBOR is cut off at byte {at}")
    } else if error.is_message() {
        // Of the errors here `deeper` alone has a message of its own.
        format!("the CBOR cannot be read at byte {at}: it is nested deeper than {DEEPEST} levels")
    } else {
        format!("the CBOR is broken at byte {at}")
    }
}

/// Reads one item, with at most `levels` structures inside each other. None when it has no JSON, which has been warned
/// of. A length is never believed before its items are there.
///
/// # Errors
/// When the bytes are not CBOR, or nested too deep.
pub(crate) fn item(
    decoder: &mut Decoder<'_>,
    levels: usize,
    warnings: &mut Warnings,
) -> Result<Option<Value>, Error> {
    let (mut tag, mut kind) = (None, decoder.datatype()?);
    while kind == Type::Tag {
        tag = Some(decoder.tag()?.as_u64());
        kind = decoder.datatype()?;
    }
    let start = decoder.position();
    Ok(match (kind, tag) {
        (Type::Array, Some(4)) => {
            let fraction = decimal_fraction(decoder)?;
            if fraction.is_some() {
                return Ok(fraction.map(Value::Number));
            }
            decoder.set_position(start);
            list(decoder, levels, warnings)?
        }
        (Type::Bytes, Some(tag @ (2 | 3))) => Some(large_integer(decoder.bytes()?, tag == 3, warnings)),
        (Type::Array | Type::ArrayIndef, _) => list(decoder, levels, warnings)?,
        (Type::Map | Type::MapIndef, _) => map(decoder, levels, warnings)?,
        _ => scalar(decoder, kind, warnings)?,
    })
}

fn is_integer(kind: Type) -> bool {
    use Type::{I8, I16, I32, I64, Int, U8, U16, U32, U64};
    matches!(kind, U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 | Int)
}

/// Anything but a structure or a tag.
fn scalar(decoder: &mut Decoder<'_>, kind: Type, warnings: &mut Warnings) -> Result<Option<Value>, Error> {
    let at = decoder.position();
    Ok(match kind {
        Type::Bool => Some(decoder.bool()?.into()),
        Type::Null => {
            decoder.null()?;
            Some(Value::Null)
        }
        Type::Undefined => {
            decoder.undefined()?;
            Some(Value::Null)
        }
        Type::Simple => {
            decoder.simple()?;
            warnings.push(format!("the simple value at byte {at} has no meaning here"));
            None
        }
        Type::Bytes | Type::BytesIndef => Some(STANDARD.encode(bytes(decoder)?).into()),
        Type::String => Some(decoder.str()?.into()),
        Type::StringIndef => Some(text(decoder)?.into()),
        kind if is_integer(kind) => Some(integer(decoder)?),
        Type::F16 | Type::F32 | Type::F64 => {
            let value = match kind {
                Type::F16 => f16(decoder)?,
                Type::F32 => f64::from(decoder.f32()?),
                _ => decoder.f64()?,
            };
            let value = finite(value);
            if value.is_none() {
                warnings.push(format!("the number at byte {at} is not finite"));
            }
            value
        }
        other => return Err(Error::type_mismatch(other).at(at)),
    })
}

/// A text, in one piece or several.
///
/// # Errors
/// When the item is not a text.
pub(crate) fn text(decoder: &mut Decoder<'_>) -> Result<String, Error> {
    decoder.str_iter()?.collect()
}

/// A byte string, in one piece or several.
///
/// # Errors
/// When the item is not a byte string.
pub(crate) fn bytes(decoder: &mut Decoder<'_>) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    for piece in decoder.bytes_iter()? {
        whole.extend_from_slice(piece?);
    }
    Ok(whole)
}

/// Whether another item follows in a structure of this length; the end mark of one without a length is read.
///
/// # Errors
/// When the input ends.
pub(crate) fn goes_on(decoder: &mut Decoder<'_>, length: &mut Option<u64>) -> Result<bool, Error> {
    match length {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.set_position(decoder.position() + 1);
            Ok(false)
        }
        None => Ok(true),
    }
}

fn deeper(levels: usize, decoder: &Decoder<'_>) -> Result<usize, Error> {
    levels.checked_sub(1).ok_or_else(|| Error::message("too deep").at(decoder.position()))
}

fn list(decoder: &mut Decoder<'_>, levels: usize, warnings: &mut Warnings) -> Result<Option<Value>, Error> {
    let levels = deeper(levels, decoder)?;
    let mut length = decoder.array()?;
    let mut items = Vec::new();
    while goes_on(decoder, &mut length)? {
        items.push(item(decoder, levels, warnings)?.unwrap_or(Value::Null));
    }
    Ok(Some(items.into()))
}

fn map(decoder: &mut Decoder<'_>, levels: usize, warnings: &mut Warnings) -> Result<Option<Value>, Error> {
    let levels = deeper(levels, decoder)?;
    let mut length = decoder.map()?;
    let mut members = Map::new();
    while goes_on(decoder, &mut length)? {
        let at = decoder.position();
        let key = match item(decoder, levels, warnings)? {
            Some(Value::Array(_) | Value::Object(_)) | None => None,
            Some(Value::String(key)) => Some(key),
            Some(key) => Some(key.to_string()),
        };
        let value = item(decoder, levels, warnings)?;
        match (key, value) {
            (None, _) => warnings.push(format!("the key at byte {at} cannot be a name")),
            (Some(key), Some(value)) => {
                if members.insert(key, value).is_some() {
                    warnings
                        .push(format!("the key at byte {at} occurs more than once; the last value counts"));
                }
            }
            (Some(_), None) => {}
        }
    }
    Ok(Some(members.into()))
}

/// An integer of the major types 0 and 1: -2^64 to 2^64 - 1. What JSON's 64 bits do not hold becomes text.
fn integer(decoder: &mut Decoder<'_>) -> Result<Value, Error> {
    Ok(whole(decoder.int()?.into()))
}

fn whole(number: i128) -> Value {
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ => number.to_string().into(),
    }
}

/// Tags 2 and 3 (RFC 8949 section 3.4.3). More than 15 bytes are kept as base64: nobody counts that far.
fn large_integer(bytes: &[u8], negative: bool, warnings: &mut Warnings) -> Value {
    let significant = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &bytes[first..]);
    if significant.len() > 15 {
        warnings.push("an integer of more than 120 bits was kept as base64");
        return STANDARD.encode(bytes).into();
    }
    let magnitude = significant.iter().fold(0, |sum: i128, byte| (sum << 8) | i128::from(*byte));
    whole(if negative { -1 - magnitude } else { magnitude })
}

/// Tag 4 (RFC 8949 section 3.4.4): `[exponent, mantissa]`, as the double nearest to it. None when the array is
/// something else, or the number is too large.
fn decimal_fraction(decoder: &mut Decoder<'_>) -> Result<Option<Number>, Error> {
    if decoder.datatype()? != Type::Array || decoder.array()? != Some(2) {
        return Ok(None);
    }
    let mut parts = [0_i128; 2];
    for part in &mut parts {
        if !is_integer(decoder.datatype()?) {
            return Ok(None);
        }
        *part = decoder.int()?.into();
    }
    let [exponent, mantissa] = parts;
    Ok(format!("{mantissa}e{exponent}").parse().ok().and_then(Number::from_f64))
}

/// RFC 8949 appendix D.
fn f16(decoder: &mut Decoder<'_>) -> Result<f64, Error> {
    let start = decoder.position();
    let Some(&[_, high, low]) = decoder.input().get(start..).and_then(|rest| rest.first_chunk()) else {
        return Err(Error::end_of_input());
    };
    decoder.set_position(start + 3);
    let bits = u16::from_be_bytes([high, low]);
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    let magnitude = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent - 25),
    };
    Ok(if bits & 0x8000 == 0 { magnitude } else { -magnitude })
}

#[cfg(test)]
mod tests;
