//! One uplink as the messages that it becomes once its payload is decoded: one for each moment that the payload tells
//! of, and one for properties. Not here: decoding, and delivering them.

use crate::message::{Content, Kind};
use crate::payload::{Outcome, Sample};
use crate::time::Timestamp;

/// What one message is made of.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) time: Option<Timestamp>,
    pub(crate) content: Content,
}

/// Most messages that one payload may become. A frame of 242 bytes holds fewer moments, a long SenML pack may not.
const MOST_PARTS: usize = 1000;

/// The parts of an uplink, at least one. The first carries the raw payload, the warnings and what the source itself said,
/// under what the codec made of it; further ones carry their own measurements, and how they were heard.
pub(crate) fn parts(
    kind: Kind,
    time: Option<Timestamp>,
    mut content: Content,
    outcome: Outcome,
) -> Vec<Part> {
    let Outcome { mut samples, warnings, errors } = outcome;
    content.warnings.extend(warnings);
    content.warnings.extend(errors);
    if samples.len() > MOST_PARTS {
        let left_out = samples.len() - MOST_PARTS;
        samples.truncate(MOST_PARTS);
        content.warnings.push(format!("{left_out} further samples of the payload were left out"));
    }
    let bare = Content {
        radio: content.radio.as_ref().filter(|_| samples.len() > 1).cloned(),
        simulated: content.simulated,
        ..Content::default()
    };
    let mut samples = samples.into_iter();
    let first = samples.next().unwrap_or_default();
    let mut parts = Vec::with_capacity(1 + samples.len());
    let mut properties = Vec::new();
    let mut push = |content: Content, sample: Sample| {
        let mut content = content;
        let time = sample.time.or(time);
        sample.measurements.into_iter().for_each(|measurement| content.measure(measurement));
        content.location = sample.location.or(content.location);
        if !sample.aside.is_empty() {
            content.data.insert("outOfRange".into(), sample.aside.into());
        }
        parts.push(Part { kind, time, content });
        if !sample.properties.is_empty() {
            let content =
                Content { measurements: sample.properties, simulated: bare.simulated, ..Content::default() };
            properties.push(Part { kind: Kind::Properties, time, content });
        }
    };
    push(content, first);
    samples.for_each(|sample| push(bare.clone(), sample));
    parts.extend(properties);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Measurement;
    use crate::message::{Location, Radio, Raw};

    fn sample(name: &str, value: u32, seconds: Option<i64>) -> Sample {
        Sample {
            time: seconds.and_then(Timestamp::from_seconds),
            measurements: vec![Measurement::new(name, value)],
            ..Sample::default()
        }
    }

    fn content() -> Content {
        let mut content = Content {
            raw: Some(Raw { data: vec![1], port: Some(2), encrypted: false }),
            ..Content::default()
        };
        content.radio = Radio { rssi: Some(-1.0), ..Radio::default() }.known();
        content.measure(Measurement::new("a", 1));
        content.measure(Measurement::new("b", 2));
        content
    }

    #[test]
    fn the_first_sample_is_laid_over_and_further_ones_stand_alone() {
        let time = Timestamp::from_seconds(100);
        let mut second = sample("c", 5, Some(50));
        second.location = Location::new(1.0, 2.0);
        second.properties = vec![Measurement::new("version", "1.2")];
        let outcome = Outcome {
            samples: vec![sample("b", 3, None), second],
            warnings: vec!["odd".into()],
            errors: Vec::new(),
        };
        let parts = parts(Kind::Telemetry, time, content(), outcome);
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0].content.measurements, [Measurement::new("a", 1), Measurement::new("b", 3)]);
        assert_eq!((parts[0].time, parts[0].content.warnings.len()), (time, 1));
        assert_eq!(parts[1].time, Timestamp::from_seconds(50));
        assert_eq!(parts[1].content.measurements, [Measurement::new("c", 5)]);
        assert!(parts[1].content.raw.is_none() && parts[1].content.radio.is_some());
        assert_eq!((parts[2].kind, parts[2].time), (Kind::Properties, Timestamp::from_seconds(50)));
        assert_eq!(parts[2].content.measurements, [Measurement::new("version", "1.2")]);
    }

    #[test]
    fn what_cannot_be_decoded_goes_on_raw_with_the_reason() {
        let parts = parts(Kind::Telemetry, None, content(), Outcome::error("not a frame"));
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].content.raw, content().raw);
        assert_eq!(parts[0].content.warnings, ["not a frame"]);
    }

    #[test]
    fn a_payload_becomes_a_bounded_number_of_messages() {
        let outcome = Outcome { samples: vec![sample("a", 1, None); 1005], ..Outcome::default() };
        let parts = parts(Kind::Telemetry, None, content(), outcome);
        assert_eq!(parts.len(), 1000);
        assert_eq!(parts[0].content.warnings, ["5 further samples of the payload were left out"]);
    }
}
