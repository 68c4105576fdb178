//! SenML packs in both formats: the examples of the RFC, bad packs, and decode after encode.

use super::*;
use crate::{Input, Outcome};
use bridge_core::measurement::Measurement;
use bridge_core::message::Location;
use bridge_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Number, json};

fn received_at() -> Timestamp {
    Timestamp::parse_rfc3339("2024-11-26T12:30:00Z").unwrap()
}

fn input(bytes: &[u8]) -> Input<'_> {
    Input { bytes, port: None, received_at: received_at() }
}

fn decode(pack: &serde_json::Value) -> Outcome {
    decode_json(&input(pack.to_string().as_bytes()), Options::default())
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn unit(name: &str, value: impl Into<serde_json::Value>, unit: &'static str) -> Measurement {
    Measurement::new(name, value).with_unit(unit)
}

/// RFC 8428 sections 5.1.1 and 5.1.2.
#[test]
fn records_of_now() {
    let outcome = decode(&json!([{"n": "urn:dev:ow:10e2073a01080063", "u": "Cel", "v": 23.1}]));
    assert_eq!(outcome, Outcome::of(vec![unit("urn:dev:ow:10e2073a01080063", 23.1, "Cel")]));

    let pack = json!([
        {"bn": "urn:dev:ow:10e2073a01080063:", "n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "u": "A", "v": 1.2},
    ]);
    assert_eq!(decode(&pack), Outcome::of(vec![unit("voltage", 120.1, "V"), unit("current", 1.2, "A")]));
    let whole = decode_json(&input(pack.to_string().as_bytes()), Options { strip_base_name: false });
    assert_eq!(whole.samples[0].measurements[1].name, "urn:dev:ow:10e2073a01080063:current");
}

/// RFC 8428 sections 5.1.3 and 6: the same pack in both formats.
#[test]
fn a_series_in_both_formats() {
    let pack = json!([
        {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e+09, "bu": "A", "bver": 5,
         "n": "voltage", "u": "V", "v": 120.1},
        {"n": "current", "t": -5, "v": 1.2},
        {"n": "current", "t": -4, "v": 1.3},
        {"n": "current", "v": 1.7},
    ]);
    let cbor = bytes(
        "84
         a7 21 781b 75726e3a6465763a6f773a3130653230373361303130383030363a
            22 fb41d303a15b001062 23 6141 20 05 00 67 766f6c74616765 01 6156 02 fb405e066666666666
         a3 00 67 63757272656e74 06 24 02 fb3ff3333333333333
         a3 00 67 63757272656e74 06 23 02 fb3ff4cccccccccccd
         a2 00 67 63757272656e74 02 fb3ffb333333333333",
    );
    let outcome = decode(&pack);
    assert_eq!(outcome, decode_cbor(&input(&cbor), Options::default()));
    let times: Vec<_> = outcome.samples.iter().map(|sample| sample.time.unwrap().to_string()).collect();
    assert_eq!(times, ["2010-06-08T18:01:11.001Z", "2010-06-08T18:01:12.001Z", "2010-06-08T18:01:16.001Z"]);
    assert_eq!(outcome.samples[0].measurements, [unit("current", 1.2, "A")]);
    assert_eq!(outcome.samples[2].measurements, [unit("voltage", 120.1, "V"), unit("current", 1.7, "A")]);
}

/// RFC 8428 section 5.1.4: names that are the base name alone, positions, sums and text.
#[test]
fn positions_and_other_values() {
    let outcome = decode(&json!([
        {"bn": "urn:dev:ow:10e2073a01080063", "bt": 1.320067464e+09, "bu": "%RH", "v": 20},
        {"u": "lon", "v": 24.30621}, {"u": "lat", "v": 60.07965},
        {"t": 60, "v": 20.3}, {"u": "lon", "t": 60, "v": 24.30622},
        {"n": ":motion", "t": 60, "vb": false, "s": 7}, {"n": ":energy", "t": 60, "u": "J", "s": 100.5},
        {"n": ":label", "t": 60, "vs": "Machine Room", "u": ""}, {"n": ":data", "t": 60, "u": "", "vd": "-_8"},
    ]));
    assert_eq!(outcome.warnings, [] as [&str; 0]);
    assert_eq!(outcome.samples[0].location, Location::new(60.07965, 24.30621));
    assert_eq!(outcome.samples[0].measurements, [unit("urn:dev:ow:10e2073a01080063", 20, "%RH")]);
    assert_eq!(
        outcome.samples[1].measurements,
        [
            unit("urn:dev:ow:10e2073a01080063", 20.3, "%RH"),
            Measurement::new(":motion_sum", 7),
            unit(":motion", false, "%RH"),
            Measurement::new(":energy", json!({"sum": 100.5})),
            Measurement::new(":label", "Machine Room"),
            Measurement::new(":data", "+/8="),
            unit("urn:dev:ow:10e2073a01080063_lon", 24.30622, "lon"),
        ]
    );
}

#[test]
fn base_values_are_added() {
    let outcome = decode(&json!([
        {"bn": "a:", "bv": 20, "bs": 1.5, "bu": "W"},
        {"n": "v", "v": 1},
        {"n": "none"},
        {"n": "text", "vs": "x"},
        {"bv": 0.5, "bs": 0, "n": "w", "v": 1, "s": 2},
        {"bv": u64::MAX, "n": "big", "v": 0, "s": 0},
    ]));
    assert_eq!(outcome.errors, [] as [&str; 0]);
    let values: serde_json::Map<_, _> =
        outcome.samples[0].measurements.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
    assert_eq!(
        serde_json::Value::Object(values),
        json!({"v_sum": 1.5, "v": 21, "none_sum": 1.5, "none": 20, "text_sum": 1.5, "text": "x", "w_sum": 2, "w": 1.5,
            "big_sum": 0, "big": u64::MAX})
    );
}

#[test]
fn times_are_relative_below_2_to_the_28() {
    let time = |t: f64| {
        let resolved = Pack::from_json(json!([{"n": "a", "v": 1, "t": t}]).to_string().as_bytes()).unwrap();
        let resolved = resolved.resolve(received_at());
        resolved.records.first().map(|record| record.time.map(|time| time.to_string()))
    };
    assert_eq!(time(0.0), Some(None));
    assert_eq!(time(-60.5), Some(Some("2024-11-26T12:28:59.500Z".into())));
    assert_eq!(time(60.0), Some(Some("2024-11-26T12:31:00.000Z".into())));
    assert_eq!(time(268_435_455.0), Some(Some("2033-05-30T09:54:15.000Z".into())));
    assert_eq!(time(268_435_456.0), Some(Some("1978-07-04T21:24:16.000Z".into())));
    for never in [1e300, -1e300, -1e12, 1e15] {
        assert_eq!(time(never), None, "{never}");
    }
    let outcome =
        decode(&json!([{"n": "a", "v": 1}, {"n": "a", "v": 2, "t": -9}, {"n": "a", "v": 3, "t": 9}]));
    let values: Vec<_> = outcome.samples.iter().map(|sample| sample.measurements[0].value.clone()).collect();
    assert_eq!(values, [json!(2), json!(1), json!(3)]);
    assert_eq!(outcome.samples[1].time, None);
}

#[test]
fn records_that_break_the_rules_are_left_out() {
    let outcome = decode(&json!([
        {"n": "good", "v": 1}, {"n": "a b", "v": 1}, {"v": 1}, {"n": "_a", "v": 1}, {"n": "é", "v": 1},
        {"n": "two", "v": 1, "vb": true}, {"n": "type", "v": "1"}, {"n": "data", "vd": "!"},
        {"n": "nothing"}, {"n": "a".repeat(257), "v": 1}, {"n": "u", "u": "u".repeat(65), "v": 1},
        {"n": "late", "v": 1, "t": 1e18}, {"n": "inf", "bv": 1e308, "v": 1e308}, {"n": "good", "v": 0.5, "bv": 0}, {},
    ]));
    assert_eq!(outcome.samples[0].measurements, [Measurement::new("good", 0.5)]);
    assert_eq!(
        outcome.warnings,
        [
            "record 2 has a name with other characters than letters, digits, - : . / and _",
            "record 3 has no name, or one that does not begin with a letter or a digit",
            "record 4 has no name, or one that does not begin with a letter or a digit",
            "record 5 has no name, or one that does not begin with a letter or a digit",
            "record 6 has more than one value",
            "record 7 has a field that is not of its type",
            "record 8 has data that is not base64",
            "record 10 has a name of more than 256 characters",
            "record 11 has a unit of more than 64 characters",
            "record 12 has a time outside the years 1970 to 9999",
            "record 13 has a value that is not finite",
            "nothing has no value",
            "good occurs more than once; the last value counts",
        ]
    );
    let nan = decode_cbor(&input(&bytes("82 a2 00 6161 02 f97e00 a2 00 6162 02 01")), Options::default());
    assert_eq!(nan.samples[0].measurements, [Measurement::new("b", 1)]);
    assert_eq!(nan.warnings, ["record 1 has a number that is not finite"]);
}

#[test]
fn packs_that_cannot_be_used_are_errors() {
    let error = |pack: serde_json::Value| Pack::from_json(pack.to_string().as_bytes()).unwrap_err();
    assert_eq!(error(json!({"n": "a", "v": 1})), SenmlError::NotAPack);
    assert_eq!(error(json!([1])), SenmlError::NotAPack);
    assert_eq!(error(json!([{"bver": 11}])), SenmlError::Version(11));
    assert_eq!(error(json!([{"bver": 9}, {"bver": 10}])), SenmlError::MixedVersions);
    assert_eq!(error(json!([{"bver": -1}])), SenmlError::BaseField("bver"));
    assert_eq!(error(json!([{"bn": 1}])), SenmlError::BaseField("bn"));
    assert_eq!(error(json!([{"n": "a", "v": 1, "x_": 1}])), SenmlError::MustUnderstand);
    assert_eq!(error(json!([{"bn": 1}, 2])), SenmlError::BaseField("bn"));
    assert_eq!(error(json!([[{"n": "a"}], {"bn": 1}])), SenmlError::NotAPack);
    assert!(matches!(Pack::from_json(b"[1, {\"n\": ]"), Err(SenmlError::Malformed(_))));
    let deep =
        |levels| format!("[{{\"n\": \"a\", \"v\": 1, \"x\": {}{}}}]", "[".repeat(levels), "]".repeat(levels));
    assert!(Pack::from_json(deep(100).as_bytes()).is_ok());
    assert!(matches!(Pack::from_json(deep(200).as_bytes()), Err(SenmlError::Malformed(_))));
    let twice = br#"[{"n": "a", "v": 1, "v": 2}, {"n": "b", "n": "c", "v": 3}]"#;
    let twice = decode_json(&input(twice), Options::default());
    assert_eq!(twice.samples[0].measurements, [Measurement::new("c", 3)]);
    assert_eq!(twice.warnings, ["record 1 has more than one value"]);
    assert!(!Pack::from_json(b"[{\"n\": secret}]").unwrap_err().to_string().contains("secret"));
    assert!(Pack::from_json(json!([{"n": "a", "v": 1, "x": {"y": 1}}]).to_string().as_bytes()).is_ok());

    let error = |hex: &str| Pack::from_cbor(&bytes(hex)).unwrap_err();
    assert_eq!(error("a0"), SenmlError::NotAPack);
    assert_eq!(error("8101"), SenmlError::NotAPack);
    assert_eq!(error("81a1 20 0b"), SenmlError::Version(11));
    assert_eq!(error("81a1 22 f97e00"), SenmlError::BaseField("bt"));
    assert_eq!(error("81a1 62785f 01"), SenmlError::MustUnderstand);
    assert_eq!(error("81a1"), SenmlError::Malformed("the CBOR is cut off at byte 2".into()));
    assert_eq!(error("81a000"), SenmlError::Malformed("something follows the pack at byte 2".into()));
    assert!(matches!(error("9bffffffffffffffff"), SenmlError::Malformed(_)));
    // Indefinite lengths, an unknown label, a decimal fraction and a name in pieces.
    let pack =
        Pack::from_cbor(&bytes("9f bf 00 7f 6161 6162 ff 1863 82 0102 02 c4 82 20 1866 ff ff")).unwrap();
    assert_eq!(
        pack.resolve(received_at()).records,
        [Record::new("ab", RecordValue::Number(Number::from_f64(10.2).unwrap()))]
    );
    assert_eq!(decode_cbor(&input(&[]), Options::default()), Outcome::default());
    assert_eq!(
        decode_json(&input(b"{}"), Options::default()),
        Outcome::error("a SenML pack is a list of records")
    );
}

#[test]
fn a_long_base_name_is_not_repeated() {
    let mut records = vec![json!({"bn": "a".repeat(100_000), "bu": "b".repeat(100_000)})];
    records.extend((0..10_000).map(|_| json!({"n": "x", "v": 1})));
    let outcome = decode(&records.into());
    assert_eq!((outcome.samples.len(), outcome.warnings.len()), (0, 17));
    assert_eq!(outcome.warnings[16], "9984 more warnings");
}

#[test]
fn packs_are_written_as_the_rfc_writes_them() {
    let records = [
        Record { unit: Some("V".into()), ..Record::new("dev:voltage", RecordValue::Number(3.into())) },
        Record {
            time: Timestamp::from_millis(1_700_000_000_500),
            ..Record::new("dev:on", RecordValue::Bool(true))
        },
        Record {
            time: Timestamp::from_seconds(1_700_000_000),
            ..Record::new("dev:d", RecordValue::Data(vec![0xFB, 0xFF]))
        },
    ];
    assert_eq!(
        String::from_utf8(encode_json("dev:", &records).unwrap()).unwrap(),
        r#"[{"bn":"dev:","n":"voltage","u":"V","v":3},{"n":"on","t":1700000000.5,"vb":true},{"n":"d","t":1700000000,"vd":"-_8"}]"#
    );
    assert_eq!(
        encode_cbor("dev:", &records[..1]).unwrap(),
        bytes("81 a4 21 64 6465763a 00 67 766f6c74616765 01 6156 02 03")
    );
    let one = [Record::new("other", RecordValue::Text("x".into()))];
    assert_eq!(encode_json("dev:", &one).unwrap(), br#"[{"n":"other","vs":"x"}]"#);
    let ask = [Record { value: None, ..Record::new("/3/0", RecordValue::Bool(true)) }];
    assert_eq!(encode_json("/3/0", &ask).unwrap(), br#"[{"bn":"/3/0","n":""}]"#);
    let bad = [one[0].clone(), Record::new("a b", RecordValue::Bool(true))];
    assert!(matches!(encode_json("", &bad), Err(EncodeError::Name { number: 2, .. })));
    let early = [Record { time: Some(Timestamp::EPOCH), ..one[0].clone() }];
    assert_eq!(encode_cbor("", &early), Err(EncodeError::Time(1)));
}

fn any_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL)
            .prop_map(|number| Number::from_f64(number).unwrap()),
        prop::num::f32::NORMAL.prop_map(|number| Number::from_f64(number.into()).unwrap()),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    let value = prop_oneof![
        any_number().prop_map(RecordValue::Number),
        "\\PC{0,12}".prop_map(RecordValue::Text),
        any::<bool>().prop_map(RecordValue::Bool),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(RecordValue::Data),
    ];
    let time =
        (FIRST_ABSOLUTE * 1000..=253_402_207_200_000).prop_map(|ms| Timestamp::from_millis(ms).unwrap());
    let option = prop::option::of::<BoxedStrategy<_>>;
    (
        "urn:(dev:)?[a-zA-Z0-9:./_-]{0,8}",
        option("[A-Za-z%/]{1,4}".boxed()),
        prop::option::of(time),
        prop::option::of(value),
        prop::option::of(any_number()),
        prop::option::of(any_number()),
    )
        .prop_map(|(name, unit, time, value, sum, update_time)| Record {
            name,
            unit,
            time,
            value,
            sum,
            update_time,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(records in prop::collection::vec(any_record(), 0..8), base in "urn:|urn:dev:|x|") {
        let json = encode_json(&base, &records).unwrap();
        let cbor = encode_cbor(&base, &records).unwrap();
        let from_json = Pack::from_json(&json).unwrap().resolve(received_at());
        let from_cbor = Pack::from_cbor(&cbor).unwrap().resolve(received_at());
        prop_assert_eq!(&from_json.warnings, &[] as &[String]);
        prop_assert_eq!(&from_json.records, &records);
        prop_assert_eq!(&from_cbor, &from_json);
        let options = Options::default();
        prop_assert_eq!(decode_json(&input(&json), options), decode_cbor(&input(&cbor), options));
    }

    #[test]
    fn any_bytes_give_something_bounded(
        noise in prop::collection::vec(any::<u8>(), 0..80),
        text in "[\\[\\]{}\":,0-9bnvtsu. -]{0,40}",
        fields in prop::collection::vec(("(b?[ntuvs]|bver|v[sbd]|ut|x_?)", any_number()), 0..6),
    ) {
        let pack: serde_json::Map<_, _> = fields.into_iter().map(|(label, number)| (label, number.into())).collect();
        let pack = json!([pack, {"n": "a", "v": 1}]).to_string();
        for bytes in [&noise, text.as_bytes(), pack.as_bytes(), &[&[0x81, 0xaf], &noise[..]].concat()] {
            for decode in [decode_json, decode_cbor] {
                let outcome = decode(&input(bytes), Options::default());
                prop_assert!(outcome.samples.len() <= bytes.len() && outcome.warnings.len() <= 17);
                prop_assert!(outcome.samples.is_empty() || outcome.errors.is_empty());
            }
        }
    }
}
