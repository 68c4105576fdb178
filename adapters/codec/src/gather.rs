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

/// `value * scale + offset` without the digits that binary fractions leave behind: 12 significant digits, counted from
/// the larger summand, so that `3 * 0.1 - 0.3` is 0. None when the result is not finite. Whole operands give a whole
/// number.
pub(crate) fn linear(value: &Number, scale: f64, offset: f64) -> Option<Value> {
    let number = value.as_f64()?;
    let (product, exact) = (number * scale, EXACT as f64);
    let sum = product + offset;
    if !sum.is_finite() {
        return None;
    }
    let whole = !value.is_f64() && [scale, offset].iter().all(|operand| operand.fract() == 0.0);
    if whole && [number, product, offset, sum].iter().all(|number| number.abs() <= exact) {
        return Some((sum as i64).into());
    }
    finite(clean(sum, product.abs().max(offset.abs())))
}

/// Rounds to the last of 12 significant digits of `largest`.
fn clean(sum: f64, largest: f64) -> f64 {
    const SIGNIFICANT: f64 = 12.0;
    if sum == 0.0 {
        return 0.0;
    }
    let digits = SIGNIFICANT - (largest.log10().floor() - sum.abs().log10().floor()).max(0.0);
    if digits < 1.0 {
        return 0.0;
    }
    format!("{sum:.*e}", digits as usize - 1).parse().unwrap_or(sum)
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
    /// Where each name is, once there are more than [`FEW`](Self::FEW).
    places: HashMap<String, usize>,
}

impl Gather {
    /// So many names are compared one by one, which is quicker than hashing.
    const FEW: usize = 16;

    /// Takes a measurement; one of the same name is replaced in its place, with a warning.
    pub(crate) fn set(&mut self, measurement: Measurement, warnings: &mut Warnings) {
        if let Some(place) = self.place(&measurement.name) {
            warnings
                .push_with(|| format!("{} occurs more than once; the last value counts", measurement.name));
            self.measurements[place] = measurement;
            return;
        }
        self.measurements.push(measurement);
        let known = match self.measurements.len() {
            0..=Self::FEW => return,
            length if self.places.is_empty() => 0..length,
            length => length - 1..length,
        };
        self.places.extend(known.map(|place| (self.measurements[place].name.clone(), place)));
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.measurements.len() > Self::FEW {
            return self.places.get(name).copied();
        }
        self.measurements.iter().position(|measurement| measurement.name == name)
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
        self.push_with(|| line.into());
    }

    /// The same for a line that has to be made, which one that is only counted is not.
    pub(crate) fn push_with(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < Self::MOST {
            self.lines.push(line());
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
    fn scaled_numbers_have_no_digits_too_many() {
        for (value, scale, offset, want) in [
            (json!(27), 0.1, 0.0, json!(2.7)),
            (json!(3), 0.1, -0.3, json!(0.0)),
            (json!(300), 0.1, 0.0, json!(30.0)),
            (json!(273.151), 1.0, -273.15, json!(0.001)),
            (json!(32), 5.0 / 9.0, -160.0 / 9.0, json!(0.0)),
            (json!(72), 5.0 / 9.0, -160.0 / 9.0, json!(22.2222222222)),
            (json!(7), 10.0, -1.0, json!(69)),
            (json!(0), -1.0, 0.0, json!(0)),
            (json!(0.0), -1.0, 0.0, json!(0.0)),
            (json!(i64::MAX), 1.0, 0.0, json!(9.22337203685e18)),
            (json!(5e-324), 0.5, 0.0, json!(0.0)),
            (json!(5e-324), 1.0, 0.0, json!(5e-324)),
        ] {
            assert_eq!(
                linear(value.as_number().unwrap(), scale, offset),
                Some(want),
                "{value} {scale} {offset}"
            );
        }
        assert_eq!(linear(json!(1e308).as_number().unwrap(), 10.0, 0.0), None);
    }

    #[test]
    fn many_names_are_told_apart_as_few_are() {
        let (mut gather, mut warnings) = (Gather::default(), Warnings::default());
        for round in 0..2 {
            for name in 0..40 {
                gather.set(Measurement::new(name.to_string(), round), &mut warnings);
                assert!(gather.has(&name.to_string()) && !gather.has("other"));
            }
        }
        let want: Vec<_> = (0..40).map(|name| Measurement::new(name.to_string(), 1)).collect();
        assert_eq!(gather.into_measurements(), want);
        assert_eq!(warnings.into_lines().last().unwrap(), "24 more warnings");
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
