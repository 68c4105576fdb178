//! Reads SenML JSON (RFC 8428 section 5). Not here: what the fields mean.

use serde_json::Value;

use super::pack::{Entry, Item, Label, Pack};
use super::record::SenmlError;

/// Reads the records, in order.
pub(super) fn read(bytes: &[u8]) -> Result<Pack, SenmlError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        SenmlError::Malformed(format!(
            "line {line}, column {column}: not JSON that can be read, or nested too deep"
        ))
    })?;
    let Value::Array(records) = value else { return Err(SenmlError::NotAPack) };
    let entries = records.into_iter().map(|record| {
        let Value::Object(fields) = record else { return Err(SenmlError::NotAPack) };
        let mut entry = Entry::default();
        for (label, value) in fields {
            if let Some(label) = Label::from_text(&label)? {
                entry.put(label, item(value))?;
            }
        }
        Ok(entry)
    });
    Ok(Pack { entries: entries.collect::<Result<_, _>>()? })
}

fn item(value: Value) -> Item {
    match value {
        Value::Number(number) => Item::Number(number),
        Value::String(text) => Item::Text(text),
        Value::Bool(flag) => Item::Bool(flag),
        Value::Null | Value::Array(_) | Value::Object(_) => Item::Other,
    }
}
