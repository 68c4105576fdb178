//! Named values with units, and the table of names that the bridge itself gives. Not here: payload codecs.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A named value. The unit is a SenML/UCUM symbol (RFC 8428 section 12.1) where one is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// `temperature`, or whatever the device's codec calls it.
    pub name: String,
    /// Number, text, boolean, or a structure that the codec made.
    pub value: Value,
    /// `Cel`, `%RH`, `V`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Cow<'static, str>>,
}

impl Measurement {
    /// A measurement without a unit.
    pub fn new(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: value.into(), unit: None }
    }

    /// The same with a unit.
    #[must_use]
    pub fn with_unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(Cow::Borrowed(unit));
        self
    }
}

/// What became of a normalised payload: the good fields, and one line for each that is not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Normalised {
    /// In the order of the payload.
    pub measurements: Vec<Measurement>,
    /// For people.
    pub warnings: Vec<String>,
    /// The payload's own `time`, if it had one.
    pub time: Option<crate::time::Timestamp>,
    /// The payload's own `position`, if it had one.
    pub location: Option<crate::message::Location>,
}

/// What the tables say about a measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// SenML/UCUM symbol; none for what is no quantity.
    pub unit: Option<&'static str>,
    /// In that unit; endless where nothing is known.
    pub range: std::ops::RangeInclusive<f64>,
}

/// Looks a measurement up by its name, such as `humidity`: the names that the bridge gives, and those that decoders
/// commonly give.
pub fn known(name: &str) -> Option<Known> {
    let same_length = BY_LENGTH.get(name.len())?;
    same_length.iter().find(|(other, _)| *other == name).map(|(_, known)| known.clone())
}

/// The names of [`COMMON`] and [`TABLE`], by their length: a handful each.
static BY_LENGTH: LazyLock<Vec<Vec<(&str, Known)>>> = LazyLock::new(|| {
    let common = COMMON.iter().flat_map(|(names, unit, range)| {
        names.iter().map(|name| (*name, Known { unit: Some(*unit), range: range.clone() }))
    });
    let table =
        TABLE.iter().map(|Row(_, name, unit, range)| (*name, Known { unit: *unit, range: range.clone() }));
    let mut by_length = Vec::new();
    for (name, known) in common.chain(table) {
        if by_length.len() <= name.len() {
            by_length.resize_with(name.len() + 1, Vec::new);
        }
        by_length[name.len()].push((name, known));
    }
    by_length
});

/// One row: where The Things Stack's normalised payload has it, our name, the unit, the valid range.
struct Row(&'static str, &'static str, Option<&'static str>, std::ops::RangeInclusive<f64>);

const ANY: std::ops::RangeInclusive<f64> = f64::NEG_INFINITY..=f64::INFINITY;
const FROM_ZERO: std::ops::RangeInclusive<f64> = 0.0..=f64::INFINITY;
const FROM_ABSOLUTE_ZERO: std::ops::RangeInclusive<f64> = -273.15..=f64::INFINITY;
const PPM: std::ops::RangeInclusive<f64> = 0.0..=1e6;

/// The schema of `lib/payload.json` in lorawan-devices and of lorawan-stack's `normalizedpayload` package.
const TABLE: &[Row] = &[
    Row("battery", "battery", Some("V"), ANY),
    Row("air.temperature", "temperature", Some("Cel"), FROM_ABSOLUTE_ZERO),
    Row("air.relativeHumidity", "humidity", Some("%RH"), 0.0..=100.0),
    Row("air.pressure", "pressure", Some("hPa"), 900.0..=1100.0),
    Row("air.co2", "co2", Some("ppm"), PPM),
    Row("air.lightIntensity", "illuminance", Some("lx"), FROM_ZERO),
    Row("air.location", "placement", None, ANY),
    Row("soil.depth", "soilDepth", Some("cm"), FROM_ZERO),
    Row("soil.moisture", "soilMoisture", Some("%"), 0.0..=100.0),
    Row("soil.temperature", "soilTemperature", Some("Cel"), FROM_ABSOLUTE_ZERO),
    Row("soil.ec", "soilConductivity", Some("dS/m"), 0.0..=621.0),
    Row("soil.pH", "soilPh", Some("pH"), 0.0..=14.0),
    Row("soil.n", "soilNitrogen", Some("ppm"), PPM),
    Row("soil.p", "soilPhosphorus", Some("ppm"), PPM),
    Row("soil.k", "soilPotassium", Some("ppm"), PPM),
    Row("wind.speed", "windSpeed", Some("m/s"), FROM_ZERO),
    Row("wind.direction", "windDirection", Some("deg"), 0.0..=359.999_999),
    Row("rain.intensity", "rainIntensity", Some("mm/h"), FROM_ZERO),
    Row("rain.cumulative", "rainTotal", Some("mm"), FROM_ZERO),
    Row("water.leak", "waterLeak", None, ANY),
    Row("water.temperature.min", "waterTemperatureMin", Some("Cel"), FROM_ABSOLUTE_ZERO),
    Row("water.temperature.max", "waterTemperatureMax", Some("Cel"), FROM_ABSOLUTE_ZERO),
    Row("water.temperature.avg", "waterTemperatureAverage", Some("Cel"), FROM_ABSOLUTE_ZERO),
    Row("water.temperature.current", "waterTemperature", Some("Cel"), FROM_ABSOLUTE_ZERO),
    Row("metering.water.total", "waterTotal", Some("l"), FROM_ZERO),
    Row("action.motion.detected", "motion", None, ANY),
    Row("action.motion.count", "motionCount", None, FROM_ZERO),
    Row("action.contactState", "contact", None, ANY),
];

/// Names that decoders give: those of Cayenne LPP, and of the objects of IPSO (3301 to 3350), in the units that their
/// registry has. `pressure` is here too, before [`TABLE`]: only there it is certainly that of the air.
const COMMON: &[(&[&str], &str, std::ops::RangeInclusive<f64>)] = &[
    (&["pressure"], "hPa", ANY),
    (&["barometric_pressure", "barometricPressure", "barometer"], "hPa", 300.0..=1100.0),
    (&["relative_humidity", "relativeHumidity"], "%RH", 0.0..=100.0),
    (&["luminosity", "light", "lux"], "lx", FROM_ZERO),
    (&["concentration"], "ppm", PPM),
    (&["percentage", "batteryLevel", "battery_level"], "%", 0.0..=100.0),
    (&["voltage"], "V", ANY),
    (&["current"], "A", ANY),
    (&["power"], "W", ANY),
    (&["energy"], "kWh", ANY),
    (&["distance", "depth"], "m", ANY),
    (&["altitude"], "m", ANY),
    (&["frequency"], "Hz", FROM_ZERO),
    (&["direction"], "deg", 0.0..=360.0),
    (&["conductivity"], "dS/m", FROM_ZERO),
    (&["speed"], "m/s", ANY),
    (&["latitude"], "deg", -90.0..=90.0),
    (&["longitude"], "deg", -180.0..=180.0),
];

/// Reads a normalised payload of The Things Stack: nested objects become names of the table; a value out of range is
/// left out with a warning; what the table does not know passes through under its dotted path.
pub fn from_normalized_payload(payload: &Map<String, Value>) -> Normalised {
    let mut out = Normalised::default();
    for (key, value) in payload {
        match (key.as_str(), value) {
            ("time", Value::String(text)) => match crate::time::Timestamp::parse_rfc3339(text) {
                Some(time) => out.time = Some(time),
                None => out.warnings.push(format!("normalized payload: time {text:?} is not RFC 3339")),
            },
            ("position", Value::Object(position)) => {
                let degrees = |name| position.get(name).and_then(Value::as_f64);
                out.location = match (degrees("latitude"), degrees("longitude")) {
                    (Some(latitude), Some(longitude)) => crate::message::Location::new(latitude, longitude),
                    _ => None,
                };
                if out.location.is_none() {
                    out.warnings.push("normalized payload: position is not a place on the globe".into());
                }
            }
            _ => walk(key.clone(), value, &mut out),
        }
    }
    out
}

fn walk(path: String, value: &Value, out: &mut Normalised) {
    if let Value::Object(fields) = value {
        for (key, value) in fields {
            walk(format!("{path}.{key}"), value, out);
        }
        return;
    }
    let Some(Row(_, name, unit, range)) = TABLE.iter().find(|row| row.0 == path) else {
        out.measurements.push(Measurement::new(path, value.clone()));
        return;
    };
    if value.as_f64().is_some_and(|number| !range.contains(&number)) {
        out.warnings.push(format!("normalized payload: {path} {value} is out of range"));
        return;
    }
    out.measurements.push(Measurement {
        name: (*name).into(),
        value: value.clone(),
        unit: unit.map(Cow::Borrowed),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn normalise(payload: &Value) -> Normalised {
        from_normalized_payload(payload.as_object().unwrap())
    }

    #[test]
    fn good_fields_go_through_and_bad_ones_are_reported() {
        let out = normalise(&json!({"air": {"temperature": -300, "relativeHumidity": 64}, "battery": 3.12}));
        assert_eq!(
            out.measurements,
            [
                Measurement::new("humidity", 64).with_unit("%RH"),
                Measurement::new("battery", 3.12).with_unit("V")
            ]
        );
        assert_eq!(out.warnings, ["normalized payload: air.temperature -300 is out of range"]);
    }

    #[test]
    fn time_position_and_unknown_keys() {
        let out = normalise(&json!({
            "time": "2024-11-26T12:30:00Z", "position": {"latitude": 52.1, "longitude": 4.9},
            "wind": {"elevation": 3, "direction": 360}
        }));
        assert_eq!(out.time, crate::time::Timestamp::parse_rfc3339("2024-11-26T12:30:00Z"));
        assert_eq!(out.location, crate::message::Location::new(52.1, 4.9));
        assert_eq!(out.measurements, [Measurement::new("wind.elevation", 3)]);
        assert_eq!(out.warnings.len(), 1);
    }

    #[test]
    fn the_table_is_looked_up_by_our_names() {
        assert_eq!(known("humidity"), Some(Known { unit: Some("%RH"), range: 0.0..=100.0 }));
        assert_eq!(known("relative_humidity"), Some(Known { unit: Some("%RH"), range: 0.0..=100.0 }));
        assert_eq!(known("pressure").map(|known| known.range), Some(ANY));
        assert_eq!(known("air.relativeHumidity"), None);
    }

    #[test]
    fn names_of_the_table_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|row| row.1).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
