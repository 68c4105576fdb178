//! Makes samples of a measurement that is an array. Not here: rules.

use bridge_core::measurement::Measurement;
use serde_json::Value;

use crate::gather::Warnings;
use crate::{Sample, json};

use super::Split;

/// A sample is some hundred bytes even where its element is two.
const MOST: usize = 1024;

/// Takes the elements out of the sample.
pub(super) fn split(split: &Split, sample: &mut Sample, warnings: &mut Warnings) -> Vec<Sample> {
    let field = &split.field;
    let Some(place) = sample.measurements.iter().position(|measurement| measurement.name == *field) else {
        return Vec::new();
    };
    match &sample.measurements[place].value {
        Value::Array(elements) if elements.len() > MOST => {
            warnings.push(format!("{field} has more than {MOST} elements; it was not split"));
            return Vec::new();
        }
        Value::Array(_) => {}
        _ => {
            warnings.push(format!("{field} is not an array; it was not split"));
            return Vec::new();
        }
    }
    let Measurement { name, value, unit } = sample.measurements.remove(place);
    let Value::Array(elements) = value else { return Vec::new() };
    let measurements = |element| match element {
        Value::Object(_) => json::measurements(element),
        Value::Null => Vec::new(),
        value => vec![Measurement { name: name.clone(), value, unit: unit.clone() }],
    };
    let sample = |element| Sample { measurements: measurements(element), ..Sample::default() };
    elements.into_iter().map(sample).collect()
}
