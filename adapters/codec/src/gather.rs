//! Collects what a decoder finds: each name once, and no more warnings than somebody reads. Also the rules for numbers
//! that every decoder shares. Not here: a decoder.

use std::collections::HashMap;

use bridge_core::measurement::Measurement;
use serde_json::{Number, Value};

/// Beyond this an IEEE 754 double, and so most readers of JSON, cannot hold every integer.
const EXACT: i128 = 1 << 53;

/// A number, unless it is NaN or infinite.
pub(crate) fn finite(number: f64) -> Option<Value> {
    Number::from_f64(number).map(Value::Number)
}

/// A whole number: a number where every reader of JSON gets all of its digits, else its decimal digits as text.
pub(crate) fn exact_integer(number: i128) -> Value {
    match i64::try_from(number) {
        Ok(small) if number.abs() <= EXACT => small.into(),
        _ => number.to_string().into(),
    }
}

/// Measurements in the order of their first occurrence.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    measurements: Vec<Measurement>,
    places: HashMap<String, usize>,
}

impl Gather {
    /// Takes a measurement; one of the same name is replaced in its place, with a warning.
    pub(crate) fn set(&mut self, measurement: Measurement, warnings: &mut Warnings) {
        match self.places.get(&measurement.name) {
            Some(place) => {
                warnings.push(format!("{} occurs more than once; the last value counts", measurement.name));
                self.measurements[*place] = measurement;
            }
            None => {
                self.places.insert(measurement.name.clone(), self.measurements.len());
                self.measurements.push(measurement);
            }
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.measurements.is_empty()
    }

    pub(crate) fn into_measurements(self) -> Vec<Measurement> {
        self.measurements
    }
}

/// Warnings, the first few of them word for word.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    lines: Vec<String>,
    left_out: usize,
}

impl Warnings {
    /// Lines beyond this are only counted: a payload of nothing but mistakes must not become a larger message.
    const MOST: usize = 16;

    pub(crate) fn push(&mut self, line: impl Into<String>) {
        if self.lines.len() < Self::MOST {
            self.lines.push(line.into());
        } else {
            self.left_out += 1;
        }
    }

    pub(crate) fn into_lines(mut self) -> Vec<String> {
        if self.left_out > 0 {
            self.lines.push(format!("{} more warnings", self.left_out));
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn integers_that_a_double_cannot_hold_become_text() {
        let edge = 9_007_199_254_740_992_i128;
        assert_eq!(exact_integer(edge), json!(9_007_199_254_740_992_i64));
        assert_eq!(exact_integer(-edge), json!(-9_007_199_254_740_992_i64));
        assert_eq!(exact_integer(edge + 1), json!("9007199254740993"));
        assert_eq!(exact_integer(-edge - 1), json!("-9007199254740993"));
    }

    #[test]
    fn a_name_occurs_once_and_warnings_are_few() {
        let (mut gather, mut warnings) = (Gather::default(), Warnings::default());
        for value in 0..100 {
            gather.set(Measurement::new("a", value), &mut warnings);
        }
        assert_eq!(gather.into_measurements(), [Measurement::new("a", 99)]);
        let lines = warnings.into_lines();
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (17, "83 more warnings"));
    }
}
