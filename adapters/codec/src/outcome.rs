//! What goes into every decoder and what comes out. Not here: a decoder.

use bridge_core::measurement::Measurement;
use bridge_core::message::Location;
use bridge_core::time::Timestamp;

/// A payload and what a decoder may know about it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// As the device sent it.
    pub bytes: &'a [u8],
    /// LoRaWAN port, where the source has ports.
    pub port: Option<u8>,
    /// When the source or the bridge received it; relative times are resolved against it.
    pub received_at: Timestamp,
}

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
}
