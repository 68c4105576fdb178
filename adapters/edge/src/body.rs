//! A body of telemetry becomes items, by its media type. Not here: JSON items themselves ([`crate::item`]).

use bridge_core::payload::{Outcome, Sample};
use bridge_core::{Content, Kind, Raw, Timestamp};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::fault::Fault;
use crate::formats::{Format, Formats};
use crate::item::{Item, Items, check_count};

/// The media types that [`read`] takes.
pub const MEDIA_TYPES: &[&str] = &[
    "application/json",
    "application/senml+json",
    "application/senml+cbor",
    "application/cbor",
    "text/plain",
    "application/octet-stream",
];

/// Reads a body of telemetry; `media_type` is one of [`MEDIA_TYPES`].
///
/// # Errors
/// What is wrong with it.
pub fn read(
    media_type: &str,
    body: &Bytes,
    formats: &dyn Formats,
    received_at: Timestamp,
) -> Result<Items, Fault> {
    if body.is_empty() {
        return Err(Fault::syntax("the body is empty"));
    }
    let format = match media_type {
        "application/senml+json" => Format::SenmlJson,
        "application/senml+cbor" => Format::SenmlCbor,
        "application/cbor" => Format::Cbor,
        // For the device's codec; without one it goes on as it is.
        "text/plain" | "application/octet-stream" => {
            let raw = Raw { data: body.to_vec(), ..Raw::default() };
            let content = Content { raw: Some(raw), ..Content::default() };
            return Ok(Items::one(Kind::Telemetry, Item { content, ..Item::default() }));
        }
        _ => return Items::from_json(json(body)?),
    };
    let Outcome { samples, warnings, errors } = formats.decode(format, body, received_at);
    if !errors.is_empty() {
        return Err(Fault::syntax(errors.join("; ")));
    }
    let samples = samples.into_iter().filter(|sample| {
        !sample.measurements.is_empty() || sample.location.is_some() || !sample.aside.is_empty()
    });
    let mut items: Vec<Item> = samples.map(item).collect();
    check_count(items.len())?;
    if let Some(first) = items.first_mut() {
        first.content.warnings = warnings;
    }
    // Of a pack the sender does not know how many moments the bridge sees in it.
    let is_batch = format != Format::Cbor || items.len() > 1;
    Ok(Items { kind: Kind::Telemetry, items, is_batch })
}

/// Parses JSON.
///
/// # Errors
/// When it is none.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    if body.is_empty() {
        return Err(Fault::syntax("the body is empty"));
    }
    serde_json::from_slice(body).map_err(|error| Fault::syntax(format!("the body is not JSON: {error}")))
}

fn item(sample: Sample) -> Item {
    let mut content =
        Content { measurements: sample.measurements, location: sample.location, ..Content::default() };
    if !sample.aside.is_empty() {
        content.data.insert("outOfRange".into(), sample.aside.into());
    }
    Item { id: None, time: sample.time, content }
}

#[cfg(test)]
mod tests {
    use bridge_core::Measurement;

    use super::*;

    struct Fake(Outcome);

    impl Formats for Fake {
        fn decode(&self, _: Format, _: &[u8], _: Timestamp) -> Outcome {
            self.0.clone()
        }
    }

    fn read_as(media_type: &str, outcome: Outcome) -> Result<Items, Fault> {
        read(media_type, &Bytes::from_static(b"x"), &Fake(outcome), Timestamp::EPOCH)
    }

    #[test]
    fn each_moment_of_a_pack_is_an_item() {
        let sample = |name: &str, seconds| Sample {
            time: Timestamp::from_seconds(seconds),
            measurements: vec![Measurement::new(name, 1)],
            ..Sample::default()
        };
        let outcome = Outcome {
            samples: vec![sample("a", 1), Sample::default(), sample("b", 2)],
            warnings: vec!["odd".into()],
            errors: vec![],
        };
        let items = read_as("application/senml+json", outcome).unwrap();
        assert!(items.is_batch && items.items.len() == 2);
        assert_eq!((items.items[0].content.warnings.len(), items.items[1].content.warnings.len()), (1, 0));
        assert!(
            read_as("application/senml+cbor", Outcome::of(vec![Measurement::new("a", 1)])).unwrap().is_batch
        );
        assert!(!read_as("application/cbor", Outcome::of(vec![Measurement::new("a", 1)])).unwrap().is_batch);
    }

    #[test]
    fn nothing_is_a_fault_and_broken_is_another() {
        assert!(!read_as("application/cbor", Outcome::default()).unwrap_err().is_syntax);
        assert!(read_as("application/cbor", Outcome::error("cut off")).unwrap_err().is_syntax);
        for body in ["", "{", "{} x", "1e999"] {
            let read =
                read("application/json", &Bytes::from(body), &Fake(Outcome::default()), Timestamp::EPOCH);
            assert!(read.unwrap_err().is_syntax, "{body}");
        }
    }
}
