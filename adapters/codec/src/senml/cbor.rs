//! Reads SenML CBOR (RFC 8428 section 6): the labels are integers, and data are byte strings. Not here: what the fields
//! mean.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;
use serde_json::Value;

use super::pack::{Entry, Item, Label, Pack};
use super::record::SenmlError;
use crate::cbor;
use crate::gather::Warnings;
use crate::json::DEEPEST;

/// Reads the records, in order.
pub(super) fn read(bytes: &[u8]) -> Result<Pack, SenmlError> {
    let mut decoder = Decoder::new(bytes);
    let entries = entries(&mut decoder)?;
    if decoder.position() < bytes.len() {
        let at = decoder.position();
        return Err(SenmlError::Malformed(format!("something follows the pack at byte {at}")));
    }
    Ok(Pack { entries })
}

fn entries(decoder: &mut Decoder<'_>) -> Result<Vec<Entry>, SenmlError> {
    if !matches!(decoder.datatype(), Ok(Type::Array | Type::ArrayIndef)) {
        return Err(SenmlError::NotAPack);
    }
    let mut entries = Vec::new();
    let mut length = or_malformed(decoder, Decoder::array)?;
    while or_malformed(decoder, |decoder| cbor::goes_on(decoder, &mut length))? {
        if !matches!(or_malformed(decoder, |decoder| decoder.datatype())?, Type::Map | Type::MapIndef) {
            return Err(SenmlError::NotAPack);
        }
        entries.push(entry(decoder)?);
    }
    Ok(entries)
}

fn entry(decoder: &mut Decoder<'_>) -> Result<Entry, SenmlError> {
    let mut entry = Entry::default();
    let mut length = or_malformed(decoder, Decoder::map)?;
    while or_malformed(decoder, |decoder| cbor::goes_on(decoder, &mut length))? {
        let label = match or_malformed(decoder, item)? {
            Item::Number(number) => number.as_i64().and_then(Label::from_number),
            Item::Text(text) => Label::from_text(&text)?,
            _ => None,
        };
        let item = or_malformed(decoder, item)?;
        if let Some(label) = label {
            entry.put(label, item)?;
        }
    }
    Ok(entry)
}

fn item(decoder: &mut Decoder<'_>) -> Result<Item, Error> {
    if matches!(decoder.datatype()?, Type::Bytes | Type::BytesIndef) {
        return cbor::bytes(decoder).map(Item::Bytes);
    }
    // Its warnings are about NaN and about values of labels that nobody knows.
    let value = cbor::item(decoder, DEEPEST, &mut Warnings::default())?;
    Ok(match value {
        Some(Value::Number(number)) => Item::Number(number),
        Some(Value::String(text)) => Item::Text(text),
        Some(Value::Bool(flag)) => Item::Bool(flag),
        Some(_) => Item::Other,
        None => Item::NotFinite,
    })
}

fn or_malformed<'b, T>(
    decoder: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Error>,
) -> Result<T, SenmlError> {
    read(decoder).map_err(|error| SenmlError::Malformed(cbor::explain(&error, decoder)))
}
