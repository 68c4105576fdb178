//! Cayenne frames: the published vectors, bad frames, and decode after encode.

use super::*;
use bridge_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use table::KINDS;

fn input(bytes: &[u8]) -> Input<'_> {
    Input { bytes, port: None, received_at: Timestamp::EPOCH }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// What an encoder takes: the measurements of the only sample.
fn fields(outcome: Outcome) -> Map<String, Value> {
    let measurements = outcome.samples.into_iter().flat_map(|sample| sample.measurements);
    measurements.map(|measurement| (measurement.name, measurement.value)).collect()
}

/// The vectors have the numbers of an object as a list.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Object(object) => object.values().flat_map(numbers).collect(),
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

#[test]
fn the_shared_vectors() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures/codecs/cayenne-lpp-vectors.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("NOT RUN: {path} is not there");
        return;
    };
    let vectors: Vec<Value> = serde_json::from_slice(&text).unwrap();
    for vector in &vectors {
        let frame = bytes(vector["hex"].as_str().unwrap());
        let down = vector["direction"] == "down";
        let outcome = if down { decode_downlink(&input(&frame)) } else { decode(&input(&frame)) };
        let Value::Array(expected) = &vector["expected"] else {
            assert_eq!(outcome.warnings.len() + outcome.errors.len(), 1, "{vector} {outcome:?}");
            continue;
        };
        assert_eq!((outcome.warnings.len(), outcome.errors.len()), (0, 0), "{vector} {outcome:?}");
        let found = fields(outcome);
        let wanted = expected.iter().map(|one| {
            let name = one["name"].as_str().unwrap_or("value");
            (format!("{name}_{}", one["channel"]), numbers(&one["value"]))
        });
        let read: Vec<_> = found.iter().map(|(name, value)| (name.clone(), numbers(value))).collect();
        assert_eq!(read, wanted.collect::<Vec<_>>(), "{vector}");
        let again = if down { encode_downlink(&found) } else { encode_uplink(&found) };
        assert_eq!(again.unwrap(), frame, "{vector}");
    }
}

#[test]
fn values_have_units_and_no_digits_too_many() {
    let outcome = decode(&input(&bytes(
        "0367011005680001 0771fe58000f0682 0a8807fd8700bef500086a".replace(' ', "").as_str(),
    )));
    assert_eq!(
        outcome.samples[0].measurements,
        [
            Measurement::new("temperature_3", 27.2).with_unit("Cel"),
            Measurement::new("relative_humidity_5", 0.0).with_unit("%RH"),
        ]
    );
    assert_eq!(outcome.warnings, ["unknown type 7 at byte 7; the rest of the frame was not read"]);

    let outcome = decode(&input(&bytes("0771fe58000f06820a8807fd8700bef500086a")));
    let sample = &outcome.samples[0];
    assert_eq!(
        sample.measurements,
        [
            Measurement::new("accelerometer_7", json!({"x": -0.424, "y": 0.015, "z": 1.666})).with_unit("g"),
            Measurement::new("gps_10", json!({"latitude": 52.3655, "longitude": 4.8885, "altitude": 21.54})),
        ]
    );
    let location = sample.location.as_ref().unwrap();
    assert_eq!((location.latitude, location.longitude, location.altitude), (52.3655, 4.8885, Some(21.54)));
}

#[test]
fn the_first_position_on_the_globe_is_the_location() {
    let outcome =
        decode(&input(&bytes("01887fffff00000000000002880000010000020000030388000009000009000009")));
    assert_eq!(outcome.warnings, ["gps_1 is not a place on the globe"]);
    assert_eq!(outcome.samples[0].location.as_ref().unwrap().latitude, 0.0001);
    assert_eq!(outcome.samples[0].measurements.len(), 3);
}

#[test]
fn a_frame_that_goes_wrong_keeps_what_was_read() {
    let outcome = decode(&input(&bytes("0367008504688000ff0138")));
    assert_eq!(
        fields(outcome.clone()),
        *json!({"temperature_3": 13.3, "relative_humidity_4": 64.0}).as_object().unwrap()
    );
    assert_eq!(outcome.warnings, ["unknown type 255 at byte 7; the rest of the frame was not read"]);

    let outcome = decode(&input(&bytes("0c8807fd8700be")));
    assert_eq!(outcome, Outcome::error("not Cayenne LPP: gps_12 is cut off at byte 0"));
    assert_eq!(decode(&input(&[1])), Outcome::error("not Cayenne LPP: a channel without a type at byte 0"));
    assert_eq!(decode(&input(&[])), Outcome::default());
}

#[test]
fn a_channel_twice_and_a_polyline() {
    let outcome = decode(&input(&bytes(
        "01670001016700020 1f00302 0301f008e301fbd101d4c10167ffff".replace(' ', "").as_str(),
    )));
    // The first polyline says three bytes, which is no polyline but a known length.
    assert_eq!(
        outcome.warnings,
        [
            "temperature_1 occurs more than once; the last value counts",
            "polyline_1 is not a polyline; it was left out",
            "temperature_1 occurs more than once; the last value counts",
        ]
    );
    assert_eq!(
        outcome.samples[0].measurements,
        [
            Measurement::new("temperature_1", -0.1).with_unit("Cel"),
            Measurement::new("polyline_1", json!([{"latitude": 13.0001, "longitude": 12.0001}])),
        ]
    );
}

#[test]
fn encoding_rounds_and_says_which_field_is_wrong() {
    let frame = |fields: Value| encode_uplink(fields.as_object().unwrap());
    let error = |fields: Value| frame(fields).unwrap_err().to_string();
    assert_eq!(frame(json!({"temperature_1": -4.10})), Ok(bytes("0167ffd7")));
    assert_eq!(frame(json!({"temperature_1": 27.14, "digital_out_2": true})), Ok(bytes("0167010f020101")));
    assert_eq!(error(json!({"temperature_1": 4000})), "temperature_1 is not between -3276.8 and 3276.7");
    assert_eq!(error(json!({"gps_1": {"latitude": 1, "longitude": 2}})), "gps_1.altitude is not a number");
    assert_eq!(error(json!({"voltage_1": "3"})), "voltage_1 is not a number");
    assert_eq!(error(json!({"polyline_1": []})), "polyline_1 cannot be encoded");
    for name in ["temperature", "temperature_256", "temperature_01", "temperature_+1", "heat_1", "_1", ""] {
        assert!(matches!(frame(json!({name: 1})), Err(EncodeError::Name(..))), "{name}");
    }
}

#[test]
fn downlinks_end_with_their_mark() {
    let frame = |fields: Value| encode_downlink(fields.as_object().unwrap());
    assert_eq!(frame(json!({"value_1": 1, "value_2": -54.5})), Ok(bytes("01006402eab6ff")));
    assert_eq!(frame(json!({})), Ok(vec![END]));
    assert!(matches!(frame(json!({"value_255": 1})), Err(EncodeError::Name(..))));
    assert!(matches!(frame(json!({"value_1": 327.68})), Err(EncodeError::OutOfRange { .. })));

    let outcome = decode_downlink(&input(&bytes("010064ff0200")));
    assert_eq!(outcome.warnings, ["2 bytes follow the end of the frame"]);
    let outcome = decode_downlink(&input(&bytes("01006402")));
    assert_eq!(fields(outcome.clone()), *json!({"value_1": 1.0}).as_object().unwrap());
    assert_eq!(outcome.warnings, ["the frame ends before its end mark"]);
    assert_eq!(decode_downlink(&input(&[1])).errors.len(), 1);
}

/// A value of the type, on the grid that it can represent.
fn on_the_grid(part: Part) -> impl Strategy<Value = Value> {
    let (smallest, largest) = part.range();
    (smallest..=largest).prop_map(move |integer| scaled(integer, part.divisor))
}

fn any_field() -> impl Strategy<Value = (String, Value)> {
    let kinds: Vec<_> = KINDS.iter().filter(|kind| kind.shape != Shape::Polyline).collect();
    (any::<u8>(), prop::sample::select(kinds)).prop_flat_map(|(channel, kind)| {
        let value = match kind.shape {
            Shape::Number(part) => on_the_grid(part).boxed(),
            Shape::Object(parts) => {
                let values: Vec<_> = parts.iter().map(|(_, part)| on_the_grid(*part)).collect();
                let names = parts.iter().map(|(name, _)| (*name).to_owned());
                let names: Vec<String> = names.collect();
                values
                    .prop_map(move |values| names.iter().cloned().zip(values).collect::<Map<_, _>>().into())
                    .boxed()
            }
            Shape::Polyline => unreachable!("left out above"),
        };
        value.prop_map(move |value| (format!("{}_{channel}", kind.name), value))
    })
}

/// Frames, more often than chance would have them.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let code = prop::sample::select(KINDS.iter().map(|kind| kind.code).collect::<Vec<_>>());
    let field = (any::<u8>(), code, prop::collection::vec(any::<u8>(), 1..10))
        .prop_map(|(channel, code, value)| [&[channel, code], value.as_slice()].concat());
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(field, 0..8).prop_map(|fields| fields.concat()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_something_bounded(frame in any_frame()) {
        for outcome in [decode(&input(&frame)), decode_downlink(&input(&frame))] {
            prop_assert!(outcome.samples.len() <= 1 && outcome.warnings.len() <= 17);
            let measurements = fields(outcome);
            prop_assert!(measurements.len() <= frame.len() / 2);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(uplink in prop::collection::vec(any_field(), 0..12)) {
        let uplink: Map<String, Value> = uplink.into_iter().collect();
        let outcome = decode(&input(&encode_uplink(&uplink).unwrap()));
        prop_assert_eq!(&outcome.errors, &[] as &[String]);
        prop_assert_eq!(fields(outcome), uplink);
    }

    #[test]
    fn a_frame_that_is_read_whole_is_encoded_to_itself(frame in any_frame()) {
        let outcome = decode(&input(&frame));
        if outcome.warnings.iter().all(|line| line.contains("globe")) && outcome.errors.is_empty() {
            let found = fields(outcome);
            if !found.keys().any(|name| name.starts_with("polyline")) {
                prop_assert_eq!(encode_uplink(&found).unwrap(), frame);
            }
        }
    }

    #[test]
    fn downlinks_both_ways(values in prop::collection::btree_map(0..=254_u8, any::<i16>(), 0..12)) {
        let mut frame = Vec::new();
        for (channel, value) in &values {
            frame.push(*channel);
            frame.extend(value.to_be_bytes());
        }
        frame.push(END);
        let outcome = decode_downlink(&input(&frame));
        prop_assert_eq!(&outcome.warnings, &[] as &[String]);
        let found = fields(outcome);
        prop_assert_eq!(found.len(), values.len());
        prop_assert_eq!(encode_downlink(&found).unwrap(), frame);
    }
}
