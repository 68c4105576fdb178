//! What a payload codec makes of the bytes of a device: samples, warnings, errors. Not here: any codec (`adapters/codec`).

use crate::measurement::Measurement;
use crate::message::Location;
use crate::time::Timestamp;
use serde_json::{Map, Value};

/// What a decoder made of a payload. A decoder never fails as a whole: what could be read is in `samples`, and each
/// thing that could not is a line in `warnings` or `errors`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// One for each moment that the payload tells of; most payloads have one.
    pub samples: Vec<Sample>,
    /// What was not as it should be, for people; the samples are good.
    pub warnings: Vec<String>,
    /// Why the payload as a whole could not be decoded, for people; then there are no samples.
    pub errors: Vec<String>,
}

impl Outcome {
    /// One sample of these measurements, taken when the payload was sent.
    pub fn of(measurements: Vec<Measurement>) -> Self {
        Self { samples: vec![Sample { measurements, ..Sample::default() }], ..Self::default() }
    }

    /// Nothing but an error.
    pub fn error(text: impl Into<String>) -> Self {
        Self { errors: vec![text.into()], ..Self::default() }
    }

    /// The same with a warning more.
    #[must_use]
    pub fn with_warning(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }
}

/// Measurements of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// When they were taken, where the payload says so.
    pub time: Option<Timestamp>,
    /// In the order of the payload; each name once.
    pub measurements: Vec<Measurement>,
    /// Where the device was, where the payload says so.
    pub location: Option<Location>,
    /// State of the device, as far as a mapping says that a field is one; each name once.
    pub properties: Vec<Measurement>,
    /// Values that cannot be true, by name: kept aside, not among the measurements.
    pub aside: Map<String, Value>,
}
