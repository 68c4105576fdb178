//! Writes SenML packs. Not here: when to send one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bridge_core::time::Timestamp;
use minicbor::Encoder;
use serde_json::{Map, Number, Value};

use super::pack::Label;
use super::record::{Record, RecordValue, check_name, is_absolute};

/// Why records have no pack. The sender's fault; the same records fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// RFC 8428 section 4.5.1.
    #[error("record {number} {flaw}")]
    Name {
        /// Which, from 1.
        number: usize,
        /// What is wrong with its name.
        flaw: &'static str,
    },
    /// RFC 8428 section 4.5.3: it would be read as a time relative to now.
    #[error("record {0} is of a time before July 1978, which SenML cannot write")]
    Time(usize),
}

/// Writes `application/senml+json` (RFC 8428 section 5). The base name is written once, when every name begins with it.
///
/// # Errors
/// When a name or a time cannot be written.
pub fn encode_json(base_name: &str, records: &[Record]) -> Result<Vec<u8>, EncodeError> {
    let records = fields(base_name, records)?;
    let records = records.into_iter().map(|fields| {
        let fields = fields.into_iter().map(|(label, field)| (label.text().to_owned(), field.into_json()));
        Value::Object(fields.collect::<Map<_, _>>())
    });
    Ok(records.collect::<Value>().to_string().into_bytes())
}

/// Writes `application/senml+cbor` (RFC 8428 section 6), otherwise the same as [`encode_json`].
///
/// # Errors
/// When a name or a time cannot be written.
pub fn encode_cbor(base_name: &str, records: &[Record]) -> Result<Vec<u8>, EncodeError> {
    let records = fields(base_name, records)?;
    let mut encoder = Encoder::new(Vec::new());
    // invariant: writing to a Vec cannot fail.
    let _ = encoder.array(records.len() as u64);
    for fields in records {
        let _ = encoder.map(fields.len() as u64);
        for (label, field) in fields {
            let _ = encoder.i64(label.number());
            field.write(&mut encoder);
        }
    }
    Ok(encoder.into_writer())
}

enum Field<'a> {
    Number(Number),
    Text(&'a str),
    Bool(bool),
    Data(&'a [u8]),
}

type Fields<'a> = Vec<(Label, Field<'a>)>;

fn fields<'a>(base_name: &'a str, records: &'a [Record]) -> Result<Vec<Fields<'a>>, EncodeError> {
    let is_common = records.iter().all(|record| record.name.starts_with(base_name));
    let base_name = if is_common { base_name } else { "" };
    let of_record = |(index, record): (usize, &'a Record)| {
        let number = index + 1;
        check_name(&record.name).map_err(|flaw| EncodeError::Name { number, flaw })?;
        let mut fields = Vec::new();
        if index == 0 && !base_name.is_empty() {
            fields.push((Label::BaseName, Field::Text(base_name)));
        }
        let name = &record.name[base_name.len()..];
        // A record of base fields alone is no record.
        if !name.is_empty() || (record.value.is_none() && record.sum.is_none()) {
            fields.push((Label::Name, Field::Text(name)));
        }
        if let Some(unit) = &record.unit {
            fields.push((Label::Unit, Field::Text(unit)));
        }
        if let Some(time) = record.time {
            fields.push((Label::Time, Field::Number(seconds(time).ok_or(EncodeError::Time(number))?)));
        }
        match &record.value {
            Some(RecordValue::Number(number)) => fields.push((Label::Value, Field::Number(number.clone()))),
            Some(RecordValue::Text(text)) => fields.push((Label::Text, Field::Text(text))),
            Some(RecordValue::Bool(flag)) => fields.push((Label::Bool, Field::Bool(*flag))),
            Some(RecordValue::Data(bytes)) => fields.push((Label::Data, Field::Data(bytes))),
            None => {}
        }
        let numbers = [(Label::Sum, &record.sum), (Label::UpdateTime, &record.update_time)];
        for (label, number) in numbers {
            fields.extend(number.clone().map(|number| (label, Field::Number(number))));
        }
        Ok(fields)
    };
    records.iter().enumerate().map(of_record).collect()
}

/// Whole seconds as an integer.
fn seconds(time: Timestamp) -> Option<Number> {
    let millis = time.as_millis();
    if !is_absolute(time) {
        return None;
    }
    if millis % 1000 == 0 { Some((millis / 1000).into()) } else { Number::from_f64(millis as f64 / 1000.0) }
}

impl Field<'_> {
    fn into_json(self) -> Value {
        match self {
            Self::Number(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::Bool(flag) => flag.into(),
            Self::Data(bytes) => URL_SAFE_NO_PAD.encode(bytes).into(),
        }
    }

    fn write(self, encoder: &mut Encoder<Vec<u8>>) {
        // invariant: writing to a Vec cannot fail.
        let _ = match self {
            Self::Text(text) => encoder.str(text),
            Self::Bool(flag) => encoder.bool(flag),
            Self::Data(bytes) => encoder.bytes(bytes),
            Self::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => encoder.u64(number),
                (_, Some(number)) => encoder.i64(number),
                _ => {
                    // invariant: without arbitrary_precision every number has a double.
                    let number = number.as_f64().unwrap_or_default();
                    let short = number as f32;
                    if f64::from(short) == number { encoder.f32(short) } else { encoder.f64(number) }
                }
            },
        };
    }
}
