//! SenML records as samples: one for each moment. Not here: resolving them.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridge_core::measurement::Measurement;
use bridge_core::message::Location;
use bridge_core::time::Timestamp;
use serde_json::{Value, json};

use super::pack::Pack;
use super::record::{Record, RecordValue, SenmlError};
use crate::gather::{Gather, Warnings};
use crate::{Input, Outcome, Sample};

/// How names become measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Leave out the first record's base name, which usually is the device's own (`urn:dev:mac:...:`), wherever
    /// something is left of the name.
    pub strip_base_name: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { strip_base_name: true }
    }
}

/// Decodes SenML JSON.
///
/// There is one sample for each moment, in the order of time. Units `lat` and `lon` of one moment are its location; data
/// become base64 text; a sum is `{"sum": n}`, or `NAME_sum` beside a value. Records that break RFC 8428 are left out with
/// a warning; a pack of an unknown version, or with a field that must be understood and is not, is an error.
pub fn decode_json(input: &Input<'_>, options: Options) -> Outcome {
    decode(input, options, Pack::from_json)
}

/// Decodes SenML CBOR, otherwise the same as [`decode_json`].
pub fn decode_cbor(input: &Input<'_>, options: Options) -> Outcome {
    decode(input, options, Pack::from_cbor)
}

fn decode(input: &Input<'_>, options: Options, read: fn(&[u8]) -> Result<Pack, SenmlError>) -> Outcome {
    if input.bytes.is_empty() {
        return Outcome::default();
    }
    match read(input.bytes) {
        Ok(pack) => {
            let mut warnings = Warnings::default();
            let (records, base_name) = pack.into_records(input.received_at, &mut warnings);
            let base_name = if options.strip_base_name { base_name.as_str() } else { "" };
            let samples = samples(records, base_name, input.received_at, &mut warnings);
            Outcome { samples, warnings: warnings.into_lines(), errors: Vec::new() }
        }
        Err(error) => Outcome::error(error.to_string()),
    }
}

/// What was measured at one moment.
#[derive(Default)]
struct Moment {
    time: Option<Timestamp>,
    gather: Gather,
    latitude: Option<Measurement>,
    longitude: Option<Measurement>,
}

fn samples(
    records: Vec<Record>,
    base_name: &str,
    received_at: Timestamp,
    warnings: &mut Warnings,
) -> Vec<Sample> {
    // Most packs are of one: room for four, as a vector begins with, is more than the allocator hands out quickly.
    let mut moments: Vec<Moment> = Vec::with_capacity(1);
    let mut places: HashMap<Option<Timestamp>, usize> = HashMap::new();
    for record in records {
        // Most packs are of one moment, or go from one to the next.
        let place = match moments.last() {
            Some(last) if last.time == record.time => moments.len() - 1,
            Some(_) => places.get(&record.time).copied().unwrap_or(moments.len()),
            None => 0,
        };
        if place == moments.len() {
            if let Some(last) = moments.last() {
                places.insert(last.time, place - 1);
            }
            moments.push(Moment { time: record.time, ..Moment::default() });
        }
        moments[place].take(record, base_name, warnings);
    }
    moments.sort_by_key(|moment| moment.time.unwrap_or(received_at));
    let samples = moments.into_iter().map(|moment| moment.into_sample(warnings));
    samples.filter(|sample| !sample.measurements.is_empty() || sample.location.is_some()).collect()
}

impl Moment {
    fn take(&mut self, record: Record, base_name: &str, warnings: &mut Warnings) {
        let Record { name, unit, value, sum, .. } = record;
        let name = match name.strip_prefix(base_name) {
            Some(rest) if !rest.is_empty() && !base_name.is_empty() => rest.to_owned(),
            _ => name,
        };
        if value.is_none() && sum.is_none() {
            warnings.push_with(|| format!("{name} has no value"));
            return;
        }
        if let Some(sum) = sum {
            // The unit is the value's; a sum has it times seconds.
            let sum = match value {
                Some(_) => Measurement::new(format!("{name}_sum"), Value::Number(sum)),
                None => Measurement::new(name.clone(), json!({"sum": sum})),
            };
            self.gather.set(sum, warnings);
        }
        let Some(value) = value else { return };
        let is_number = matches!(value, RecordValue::Number(_));
        let measurement = Measurement { name, value: json(value), unit: unit.map(Cow::Owned) };
        match measurement.unit.as_deref() {
            Some("lat") if is_number && self.latitude.is_none() => self.latitude = Some(measurement),
            Some("lon") if is_number && self.longitude.is_none() => self.longitude = Some(measurement),
            _ => self.gather.set(measurement, warnings),
        }
    }

    /// What is no position after all is an ordinary measurement.
    fn into_sample(mut self, warnings: &mut Warnings) -> Sample {
        let degrees = |half: &Option<Measurement>| half.as_ref().and_then(|half| half.value.as_f64());
        let location = match (degrees(&self.latitude), degrees(&self.longitude)) {
            (Some(latitude), Some(longitude)) => {
                let location = Location::new(latitude, longitude);
                if location.is_none() {
                    warnings.push("the position is not a place on the globe");
                }
                location
            }
            _ => None,
        };
        if location.is_none() {
            for (suffix, half) in [("lat", self.latitude), ("lon", self.longitude)] {
                let Some(mut half) = half else { continue };
                // RFC 8428 section 5.1.4 has a value and a position of one name.
                if self.gather.has(&half.name) {
                    half.name = format!("{}_{suffix}", half.name);
                }
                self.gather.set(half, warnings);
            }
        }
        Sample {
            time: self.time,
            measurements: self.gather.into_measurements(),
            location,
            ..Sample::default()
        }
    }
}

fn json(value: RecordValue) -> Value {
    match value {
        RecordValue::Number(number) => number.into(),
        RecordValue::Text(text) => text.into(),
        RecordValue::Bool(flag) => flag.into(),
        RecordValue::Data(bytes) => STANDARD.encode(bytes).into(),
    }
}
