//! Measurements that mean what their names say: symbols of units in one spelling, values in the unit that the table has
//! for their name, and what cannot be true kept aside. Not here: the table (`bridge_core::measurement`), renaming
//! (`mapping`).

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use bridge_core::Measurement;
use bridge_core::measurement::{Known, known};
use serde_json::Value;

use crate::gather::{Warnings, linear};
use crate::{Outcome, Sample};

/// Normalises every sample. A value is converted only when its unit is known and the table has another one for its
/// name. A number that is out of the table's range goes aside with a warning, and the rest goes on; when nobody said
/// its unit, it goes aside only if it is out of range in every unit that such a value comes in. Units are never guessed.
#[must_use]
pub(crate) fn normalise(outcome: Outcome) -> Outcome {
    let Outcome { mut samples, warnings: mut lines, errors } = outcome;
    let mut warnings = Warnings::default();
    samples.iter_mut().for_each(|sample| normalise_sample(sample, &mut warnings));
    lines.extend(warnings.into_lines());
    Outcome { samples, warnings: lines, errors }
}

fn normalise_sample(sample: &mut Sample, warnings: &mut Warnings) {
    let Sample { measurements, aside, .. } = sample;
    measurements.retain_mut(|measurement| {
        let Err(reason) = normalise_measurement(measurement) else { return true };
        let Measurement { name, value, .. } = measurement;
        warnings.push_with(|| format!("{name} {value} {reason}"));
        aside.insert(std::mem::take(name), value.take());
        false
    });
}

/// Why a value cannot be true; displayed as the end of a sentence.
enum Untrue {
    OutOfRange { unit: Option<Cow<'static, str>>, range: RangeInclusive<f64>, target: &'static str },
    TooLarge { unit: Option<Cow<'static, str>>, target: &'static str },
}

impl fmt::Display for Untrue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::OutOfRange { unit, .. } | Self::TooLarge { unit, .. }) = self;
        if let Some(unit) = unit {
            write!(f, "{unit} ")?;
        }
        match self {
            Self::TooLarge { target, .. } => write!(f, "is too large to be converted to {target}"),
            Self::OutOfRange { range, target, .. } => {
                let (from, to) = (range.start(), range.end());
                match (from.is_finite(), to.is_finite()) {
                    (true, true) => write!(f, "is out of range ({from} to {to} {target})"),
                    (true, false) => write!(f, "is out of range (from {from} {target})"),
                    _ => write!(f, "is out of range (to {to} {target})"),
                }
            }
        }
    }
}

/// # Errors
/// When the value cannot be true; then its unit is gone.
fn normalise_measurement(measurement: &mut Measurement) -> Result<(), Untrue> {
    if let Some(unit) = &mut measurement.unit
        && let Some(symbol) = symbol(unit)
    {
        *unit = Cow::Borrowed(symbol);
    }
    let Value::Number(number) = &measurement.value else { return Ok(()) };
    let Some(Known { unit: Some(target), range }) = look_up(&measurement.name) else { return Ok(()) };
    let value = number.as_f64().unwrap_or_default();
    let Some(unit) = &measurement.unit else {
        let possible = range.contains(&value)
            || conversions(target).any(|(_, scale, offset)| range.contains(&(value * scale + offset)));
        return if possible { Ok(()) } else { Err(Untrue::OutOfRange { unit: None, range, target }) };
    };
    if unit == target {
        let possible = range.contains(&value);
        return if possible { Ok(()) } else { Err(Untrue::OutOfRange { unit: None, range, target }) };
    }
    let Some((_, scale, offset)) = conversions(target).find(|(from, ..)| from == unit) else {
        return Ok(());
    };
    let Some(converted) = linear(number, *scale, *offset) else {
        return Err(Untrue::TooLarge { unit: measurement.unit.take(), target });
    };
    if !range.contains(&converted.as_f64().unwrap_or_default()) {
        return Err(Untrue::OutOfRange { unit: measurement.unit.take(), range, target });
    }
    (measurement.value, measurement.unit) = (converted, Some(Cow::Borrowed(target)));
    Ok(())
}

/// The name itself, or without its `_CHANNEL`.
fn look_up(name: &str) -> Option<Known> {
    known(name).or_else(|| {
        let (base, channel) = name.rsplit_once('_')?;
        let is_channel = !channel.is_empty() && channel.bytes().all(|byte| byte.is_ascii_digit());
        is_channel.then(|| known(base)).flatten()
    })
}

/// The one spelling of a unit, where it has another one: symbols of SenML (RFC 8428 section 12.1, RFC 8798), else of
/// UCUM, and how else they are written.
fn symbol(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "\u{b0}C" | "\u{2103}" | "degC" | "celsius" | "Celsius" => "Cel",
        "\u{b0}F" | "\u{2109}" | "[degF]" | "fahrenheit" | "Fahrenheit" => "degF",
        "kelvin" | "Kelvin" => "K",
        "%rh" | "%r.H." | "% RH" | "%rH" => "%RH",
        "percent" | "pct" => "%",
        "mbar" | "hpa" => "hPa",
        "volt" | "volts" | "Volt" => "V",
        "lux" | "Lux" => "lx",
        "mps" | "m/sec" => "m/s",
        "kmh" | "kph" => "km/h",
        "knots" | "kt" | "kts" => "kn",
        "\u{b0}" | "degree" | "degrees" => "deg",
        "\u{b5}S/cm" | "\u{3bc}S/cm" => "uS/cm",
        "L" | "litre" | "liter" => "l",
        "m\u{b3}" | "m^3" => "m3",
        "\"Hg" | "[in_i'Hg]" => "inHg",
        _ => return None,
    })
}

fn conversions(target: &str) -> impl Iterator<Item = &'static (&'static str, f64, f64)> {
    CONVERSIONS.iter().find(|(to, _)| *to == target).map_or(&[] as &[_], |(_, rows)| rows).iter()
}

/// A unit, and what a value in it is multiplied by before the last number is added.
type Conversion = (&'static str, f64, f64);

/// For each unit of the table the units that such values come in.
const CONVERSIONS: &[(&str, &[Conversion])] = &[
    ("Cel", &[("K", 1.0, -273.15), ("degF", 5.0 / 9.0, -160.0 / 9.0)]),
    (
        "hPa",
        &[
            ("Pa", 0.01, 0.0),
            ("kPa", 10.0, 0.0),
            ("MPa", 1e4, 0.0),
            ("bar", 1000.0, 0.0),
            ("inHg", 33.863_89, 0.0),
            ("mmHg", 1.333_224, 0.0),
            ("psi", 68.947_57, 0.0),
        ],
    ),
    ("%RH", &[("%", 1.0, 0.0), ("/", 100.0, 0.0)]),
    ("%", &[("%EL", 1.0, 0.0), ("/", 100.0, 0.0)]),
    ("V", &[("mV", 0.001, 0.0), ("kV", 1000.0, 0.0)]),
    ("A", &[("mA", 0.001, 0.0), ("uA", 1e-6, 0.0)]),
    ("W", &[("mW", 0.001, 0.0), ("kW", 1000.0, 0.0)]),
    (
        "kWh",
        &[
            ("Wh", 0.001, 0.0),
            ("MWh", 1000.0, 0.0),
            ("J", 1.0 / 3.6e6, 0.0),
            ("kJ", 1.0 / 3600.0, 0.0),
            ("MJ", 1.0 / 3.6, 0.0),
        ],
    ),
    (
        "m/s",
        &[
            ("km/h", 1.0 / 3.6, 0.0),
            ("mph", 0.447_04, 0.0),
            ("kn", 1852.0 / 3600.0, 0.0),
            ("ft/s", 0.3048, 0.0),
        ],
    ),
    (
        "m",
        &[
            ("mm", 0.001, 0.0),
            ("cm", 0.01, 0.0),
            ("km", 1000.0, 0.0),
            ("ft", 0.3048, 0.0),
            ("in", 0.0254, 0.0),
        ],
    ),
    ("cm", &[("mm", 0.1, 0.0), ("m", 100.0, 0.0), ("in", 2.54, 0.0)]),
    ("mm", &[("cm", 10.0, 0.0), ("m", 1000.0, 0.0), ("in", 25.4, 0.0)]),
    ("mm/h", &[("in/h", 25.4, 0.0)]),
    ("l", &[("ml", 0.001, 0.0), ("m3", 1000.0, 0.0)]),
    ("dS/m", &[("uS/cm", 0.001, 0.0), ("mS/cm", 1.0, 0.0), ("mS/m", 0.01, 0.0), ("S/m", 10.0, 0.0)]),
    ("ppm", &[("ppb", 0.001, 0.0), ("mg/kg", 1.0, 0.0)]),
    ("lx", &[("klx", 1000.0, 0.0)]),
    ("deg", &[("rad", 180.0 / std::f64::consts::PI, 0.0)]),
    ("Hz", &[("kHz", 1000.0, 0.0), ("MHz", 1e6, 0.0)]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn of(name: &str, value: Value, unit: Option<&str>) -> Outcome {
        let unit = unit.map(|unit| Cow::Owned(unit.to_owned()));
        normalise(Outcome::of(vec![
            Measurement { name: name.into(), value, unit },
            Measurement::new("other", 1),
        ]))
    }

    #[test]
    fn values_come_in_the_unit_of_the_table() {
        for (name, value, unit, want, symbol) in [
            ("temperature", json!(72), "degF", json!(22.2222222222), "Cel"),
            ("temperature_3", json!(300), "K", json!(26.85), "Cel"),
            ("temperature", json!(21.5), "\u{b0}C", json!(21.5), "Cel"),
            ("pressure", json!(101_325), "Pa", json!(1013.25), "hPa"),
            ("pressure", json!(29.92), "inHg", json!(1013.2075888), "hPa"),
            ("battery", json!(3300), "mV", json!(3.3), "V"),
            ("humidity", json!(0.5), "/", json!(50.0), "%RH"),
            ("relative_humidity_1", json!(50), "%", json!(50), "%RH"),
            ("windSpeed", json!(36), "km/h", json!(10.0), "m/s"),
            ("windSpeed", json!(10), "kn", json!(5.14444444444), "m/s"),
            ("waterTotal", json!(1.5), "m3", json!(1500.0), "l"),
            ("soilConductivity", json!(250), "uS/cm", json!(0.25), "dS/m"),
            ("rainTotal", json!(1), "in", json!(25.4), "mm"),
            ("energy", json!(3_600_000), "J", json!(1.0), "kWh"),
        ] {
            let outcome = of(name, value.clone(), Some(unit));
            let found = &outcome.samples[0].measurements[0];
            assert_eq!((&found.value, found.unit.as_deref()), (&want, Some(symbol)), "{name} {value} {unit}");
            assert!(outcome.warnings.is_empty(), "{:?}", outcome.warnings);
        }
    }

    #[test]
    fn what_cannot_be_true_goes_aside_and_the_rest_goes_on() {
        for (name, value, unit, warning) in [
            ("humidity", json!(130), Some("%RH"), "humidity 130 is out of range (0 to 100 %RH)"),
            ("humidity", json!(1.2), Some("/"), "humidity 1.2 / is out of range (0 to 100 %RH)"),
            ("temperature", json!(-500), None, "temperature -500 is out of range (from -273.15 Cel)"),
            ("temperature", json!(-300), Some("Cel"), "temperature -300 is out of range (from -273.15 Cel)"),
            (
                "relative_humidity_1",
                json!(127.5),
                None,
                "relative_humidity_1 127.5 is out of range (0 to 100 %RH)",
            ),
            ("distance", json!(1e308), Some("km"), "distance 1e+308 km is too large to be converted to m"),
        ] {
            let outcome = of(name, value.clone(), unit);
            assert_eq!(outcome.warnings, [warning]);
            assert_eq!(outcome.samples[0].measurements, [Measurement::new("other", 1)]);
            assert_eq!(outcome.samples[0].aside.get(name), Some(&value));
        }
    }

    #[test]
    fn nothing_is_guessed() {
        for (name, value, unit) in [
            ("pressure", json!(3.2), None),
            ("pressure", json!(101_325), None),
            ("temperature", json!(-300), None),
            ("temperature", json!(72), Some("furlong")),
            ("supply", json!(72), Some("degF")),
            ("temperature", json!("warm"), Some("degF")),
            ("temperature_out", json!(-500), None),
        ] {
            let outcome = of(name, value.clone(), unit);
            let found = &outcome.samples[0].measurements[0];
            assert_eq!((&found.value, found.unit.as_deref()), (&value, unit), "{name}");
            assert!(outcome.warnings.is_empty());
        }
    }

    #[test]
    fn the_tables_are_sound() {
        for (to, rows) in CONVERSIONS {
            assert!(symbol(to).is_none(), "{to}");
            for (from, scale, _) in *rows {
                assert!(from != to && symbol(from).is_none() && *scale > 0.0, "{from}");
            }
        }
    }

    /// Names and units of the tables, right and wrong together, beside others.
    fn any_measurements() -> impl Strategy<Value = Vec<Measurement>> {
        let symbols =
            ["\u{b0}C", "Cel", "\u{b0}F", "kelvin", "%rH", "pct", "mbar", "volt", "lux", "mps", "kph", "kt"];
        let converted = CONVERSIONS.iter().flat_map(|(to, rows)| rows.iter().map(|row| &row.0).chain([to]));
        let units: Vec<&str> = symbols.iter().chain(converted).copied().collect();
        let name = "(temperature|humidity|battery|pressure|windSpeed|windDirection|energy|co2|distance|latitude\
            |soilMoisture|illuminance|relative_humidity|percentage|motion|supply|t)(_[0-9]|_a)?";
        let value = prop_oneof![
            4 => (-2000.0..2000.0).prop_map(Value::from),
            2 => any::<i16>().prop_map(Value::from),
            1 => prop::num::f64::ANY.prop_map(Value::from),
            1 => any::<u64>().prop_map(Value::from),
            1 => "[0-9a-z]{0,3}".prop_map(Value::from),
            1 => Just(json!([1, {"temperature": -500}])),
        ];
        let unit = prop_oneof![4 => prop::sample::select(units).prop_map(Into::into), 1 => "[a-zA-Z]{0,4}"];
        let measurement = (value, prop::option::of(unit));
        prop::collection::btree_map(name, measurement, 0..8).prop_map(|all| {
            let one = |(name, (value, unit)): (_, (_, Option<String>))| Measurement {
                name,
                value,
                unit: unit.map(Cow::Owned),
            };
            all.into_iter().map(one).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn twice_is_once_and_nothing_is_lost(measurements in any_measurements(), other in any_measurements()) {
            let samples = [measurements, other];
            let samples = samples.map(|measurements| Sample { measurements, ..Sample::default() });
            let outcome = Outcome { samples: samples.to_vec(), warnings: vec!["before".into()], errors: Vec::new() };
            let normalised = normalise(outcome.clone());
            prop_assert_eq!(&normalise(normalised.clone()), &normalised);
            for (before, after) in outcome.samples.iter().zip(&normalised.samples) {
                prop_assert_eq!(before.measurements.len(), after.measurements.len() + after.aside.len());
                let mut kept = after.measurements.iter();
                for measurement in &before.measurements {
                    match after.aside.get(&measurement.name) {
                        Some(value) => prop_assert_eq!(value, &measurement.value),
                        None => prop_assert_eq!(kept.next().map(|kept| &kept.name), Some(&measurement.name)),
                    }
                }
            }
            let aside: usize = normalised.samples.iter().map(|sample| sample.aside.len()).sum();
            prop_assert_eq!(normalised.warnings.len(), 1 + aside);
        }
    }
}
