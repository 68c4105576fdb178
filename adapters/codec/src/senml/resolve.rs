//! Applies base fields, so that every record stands for itself (RFC 8428 section 4.6). Not here: the formats.

use bridge_core::time::Timestamp;
use serde_json::Number;

use super::pack::{Entry, Pack};
use super::record::{Record, RecordValue, check_name};
use super::{FIRST_ABSOLUTE, LONGEST_UNIT};
use crate::gather::Warnings;

/// The records of a pack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    /// In the order of the pack, without those that could not be used.
    pub records: Vec<Record>,
    /// One for each record that could not be used, for people.
    pub warnings: Vec<String>,
    /// The base name of the first record, which usually is the device.
    pub base_name: String,
}

impl Pack {
    /// Applies the base fields. Times below 2^28 seconds are relative to `received_at`.
    pub fn resolve(self, received_at: Timestamp) -> Resolved {
        let mut warnings = Warnings::default();
        let (records, base_name) = self.into_records(received_at, &mut warnings);
        Resolved { records, warnings: warnings.into_lines(), base_name }
    }

    /// The records that can be used, and the base name of the first.
    pub(super) fn into_records(
        self,
        received_at: Timestamp,
        warnings: &mut Warnings,
    ) -> (Vec<Record>, String) {
        let mut base = Base::default();
        let (mut records, mut base_name) = (Vec::with_capacity(self.entries.len()), String::new());
        for (index, entry) in self.entries.into_iter().enumerate() {
            let number = index + 1;
            let entry = base.take(entry);
            if index == 0 {
                base_name.clone_from(&base.name);
            }
            if let Some(flaw) = entry.flaw {
                warnings.push_with(|| format!("record {number} {flaw}"));
                continue;
            }
            let has_base_fields_only = entry.name.is_none() && entry.value.is_none() && entry.sum.is_none();
            if has_base_fields_only {
                continue;
            }
            match base.apply(entry, received_at) {
                Ok(record) => records.push(record),
                Err(flaw) => warnings.push_with(|| format!("record {number} {flaw}")),
            }
        }
        (records, base_name)
    }
}

/// What applies to a record until another one says otherwise.
#[derive(Debug, Default)]
struct Base {
    name: String,
    time: f64,
    unit: Option<String>,
    value: Option<Number>,
    sum: Option<Number>,
}

impl Base {
    /// Takes the base fields out of a record.
    fn take(&mut self, mut entry: Entry) -> Entry {
        if let Some(name) = entry.base_name.take() {
            self.name = name;
        }
        self.time = entry.base_time.unwrap_or(self.time);
        self.unit = entry.base_unit.take().or_else(|| self.unit.take());
        self.value = entry.base_value.take().or_else(|| self.value.take());
        self.sum = entry.base_sum.take().or_else(|| self.sum.take());
        entry
    }

    fn apply(&self, entry: Entry, received_at: Timestamp) -> Result<Record, &'static str> {
        let mut name = entry.name.unwrap_or_default();
        if !self.name.is_empty() {
            // A long base name is refused before it is copied.
            check_name(&self.name)?;
            name.insert_str(0, &self.name);
        }
        check_name(&name)?;
        let unit = entry.unit.or_else(|| self.unit.clone()).filter(|unit| !unit.is_empty());
        if unit.as_ref().is_some_and(|unit| unit.len() > LONGEST_UNIT) {
            return Err("has a unit of more than 64 characters");
        }
        let value = match entry.value {
            Some(RecordValue::Number(number)) => Some(RecordValue::Number(
                add(self.value.as_ref(), number).ok_or("has a value that is not finite")?,
            )),
            Some(value) => Some(value),
            None => self.value.clone().map(RecordValue::Number),
        };
        let sum = match entry.sum {
            Some(sum) => Some(add(self.sum.as_ref(), sum).ok_or("has a sum that is not finite")?),
            None => self.sum.clone(),
        };
        let time = time(self.time + entry.time.unwrap_or(0.0), received_at)?;
        Ok(Record { name, unit, time, value, sum, update_time: entry.update_time })
    }
}

/// Whole numbers stay whole, where 64 bits hold them.
fn add(base: Option<&Number>, number: Number) -> Option<Number> {
    let Some(base) = base else { return Some(number) };
    if let (Some(left), Some(right)) = (base.as_i128(), number.as_i128()) {
        let sum = left + right;
        let whole = u64::try_from(sum).map(Number::from).or_else(|_| i64::try_from(sum).map(Number::from));
        if let Ok(whole) = whole {
            return Some(whole);
        }
    }
    Number::from_f64(base.as_f64()? + number.as_f64()?)
}

/// RFC 8428 section 4.5.3: zero is now, below 2^28 is relative to now.
fn time(seconds: f64, received_at: Timestamp) -> Result<Option<Timestamp>, &'static str> {
    if seconds == 0.0 {
        return Ok(None);
    }
    let start = if seconds < FIRST_ABSOLUTE as f64 { received_at.as_millis() as f64 } else { 0.0 };
    // A cast of a float stops at the ends of the range, which are no timestamps.
    let millis = (start + seconds * 1000.0).round() as i64;
    Timestamp::from_millis(millis).map(Some).ok_or("has a time outside the years 1970 to 9999")
}
