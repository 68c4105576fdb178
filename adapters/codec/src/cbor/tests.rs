//! CBOR payloads: what is read, what is refused, and bounds.

use super::*;
use bridge_core::measurement::Measurement;
use bridge_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

fn outcome(bytes: &[u8]) -> Outcome {
    decode(&Input { bytes, port: None, received_at: Timestamp::EPOCH })
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The measurement `value`, which must come without a warning.
fn value(hex: &str) -> Value {
    let outcome = outcome(&bytes(hex));
    assert_eq!((&outcome.warnings, &outcome.errors), (&vec![], &vec![]), "{hex}");
    let [measurement] = &outcome.samples[0].measurements[..] else { panic!("{hex}: {outcome:?}") };
    measurement.value.clone()
}

/// RFC 8949 appendix A.
#[test]
fn the_examples_of_the_rfc() {
    for (hex, want) in [
        ("00", json!(0)),
        ("1818", json!(24)),
        ("1b000000e8d4a51000", json!(1_000_000_000_000_u64)),
        ("1bffffffffffffffff", json!(u64::MAX)),
        ("c249010000000000000000", json!("18446744073709551616")),
        ("3bffffffffffffffff", json!("-18446744073709551616")),
        ("c349010000000000000000", json!("-18446744073709551617")),
        ("20", json!(-1)),
        ("3903e7", json!(-1000)),
        ("f90000", json!(0.0)),
        ("f98000", json!(-0.0)),
        ("f93c00", json!(1.0)),
        ("fb3ff199999999999a", json!(1.1)),
        ("f93e00", json!(1.5)),
        ("f97bff", json!(65504.0)),
        ("fa47c35000", json!(100_000.0)),
        ("fa7f7fffff", json!(3.402_823_466_385_288_6e38)),
        ("fb7e37e43c8800759c", json!(1.0e300)),
        ("f90001", json!(5.960_464_477_539_063e-8)),
        ("f90400", json!(6.103_515_625e-5)),
        ("f9c400", json!(-4.0)),
        ("f4", json!(false)),
        ("f5", json!(true)),
        ("c074323031332d30332d32315432303a30343a30305a", json!("2013-03-21T20:04:00Z")),
        ("c11a514b67b0", json!(1_363_896_240)),
        ("4401020304", json!("AQIDBA==")),
        ("6449455446", json!("IETF")),
        ("62c3bc", json!("ü")),
        ("8301820203820405", json!([1, [2, 3], [4, 5]])),
        ("c48221196ab3", json!(273.15)),
        ("5f42010243030405ff", json!("AQIDBAU=")),
        ("7f657374726561646d696e67ff", json!("streaming")),
        ("9f018202039f0405ffff", json!([1, [2, 3], [4, 5]])),
        ("826161a161626163", json!(["a", {"b": "c"}])),
    ] {
        assert_eq!(value(hex), want, "{hex}");
    }
    let members = outcome(&bytes("bf6346756ef563416d7421ff")).samples.remove(0).measurements;
    assert_eq!(members, [Measurement::new("Fun", true), Measurement::new("Amt", -2)]);
    let members = outcome(&bytes("a201020304")).samples.remove(0).measurements;
    assert_eq!(members, [Measurement::new("1", 2), Measurement::new("3", 4)]);
    assert_eq!(outcome(&bytes("f6")).samples[0].measurements, []);
}

#[test]
fn what_json_does_not_have_is_left_out_with_a_warning() {
    for hex in ["f97c00", "f97e00", "faff800000", "fb7ff8000000000000"] {
        let outcome = outcome(&bytes(hex));
        assert_eq!(outcome.samples[0].measurements, [], "{hex}");
        assert_eq!(outcome.warnings, ["the number at byte 0 is not finite"], "{hex}");
    }
    // {"a": NaN, "b": [1, NaN], [1]: 2, "a": 1, h'01': simple(16)}
    let outcome = outcome(&bytes("a56161f97e0061628201f97e00810102616101 4101f0".replace(' ', "").as_str()));
    assert_eq!(
        outcome.samples[0].measurements,
        [Measurement::new("b", json!([1, null])), Measurement::new("a", 1)]
    );
    assert_eq!(
        outcome.warnings,
        [
            "the number at byte 3 is not finite",
            "the number at byte 10 is not finite",
            "the key at byte 13 cannot be a name",
            "the simple value at byte 21 has no meaning here",
        ]
    );
}

#[test]
fn what_is_too_large_is_bounded() {
    let mut huge = bytes("c25820");
    huge.extend([0xFF; 32]);
    let huge = outcome(&huge);
    assert!(huge.samples[0].measurements[0].value.is_string() && huge.warnings.len() == 1);
    assert_eq!(value("c4821a7fffffff01"), json!([0x7fff_ffff, 1]));
    // Lengths that are not there, of an array, a map, a text and bytes.
    for hex in [
        "9bffffffffffffffff",
        "bbffffffffffffffff",
        "7bffffffffffffffff",
        "5bffffffffffffffff",
        "9a7fffffff00",
    ] {
        let outcome = outcome(&bytes(hex));
        assert_eq!((outcome.samples.len(), outcome.errors.len()), (0, 1), "{hex}");
    }
    let nested = |levels| outcome(&[vec![0x81; levels], vec![0]].concat());
    assert_eq!(nested(100).errors, [] as [&str; 0]);
    assert_eq!(
        nested(101).errors,
        ["the CBOR cannot be read at byte 100: it is nested deeper than 100 levels"]
    );
    assert_eq!(nested(1_000_000).errors.len(), 1);
    assert_eq!(outcome(&[vec![0xc1; 1_000_000], vec![0]].concat()).errors, [] as [&str; 0]);
}

#[test]
fn broken_items_and_what_follows() {
    assert_eq!(outcome(&[]), Outcome::default());
    assert_eq!(outcome(&bytes("1c")).errors, ["the CBOR is broken at byte 0"]);
    assert_eq!(outcome(&bytes("8201")).errors, ["the CBOR is cut off at byte 2"]);
    assert_eq!(outcome(&bytes("62ffff")).errors.len(), 1);
    assert_eq!(outcome(&bytes("ff")).errors, ["the CBOR is broken at byte 0"]);
    assert_eq!(outcome(&bytes("f9")).errors.len(), 1);
    assert_eq!(outcome(&bytes("0102")).warnings, ["1 bytes follow the CBOR item"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (prop::num::f64::NORMAL | prop::num::f64::ZERO).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn write(value: &Value, indefinite: bool, encoder: &mut minicbor::Encoder<Vec<u8>>) {
    match value {
        Value::Null => drop(encoder.null().unwrap()),
        Value::Bool(flag) => drop(encoder.bool(*flag).unwrap()),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => drop(encoder.u64(number).unwrap()),
            (_, Some(number)) => drop(encoder.i64(number).unwrap()),
            _ => drop(encoder.f64(number.as_f64().unwrap()).unwrap()),
        },
        Value::String(text) => drop(encoder.str(text).unwrap()),
        Value::Array(items) => {
            if indefinite { encoder.begin_array() } else { encoder.array(items.len() as u64) }.unwrap();
            items.iter().for_each(|item| write(item, indefinite, encoder));
        }
        Value::Object(members) => {
            if indefinite { encoder.begin_map() } else { encoder.map(members.len() as u64) }.unwrap();
            for (name, member) in members {
                write(member, indefinite, encoder.str(name).unwrap());
            }
        }
    }
    if indefinite && (value.is_array() || value.is_object()) {
        encoder.end().unwrap();
    }
}

proptest! {
    #[test]
    fn json_goes_through_unchanged(value in any_json(), indefinite in any::<bool>()) {
        let mut encoder = minicbor::Encoder::new(Vec::new());
        write(&value, indefinite, &mut encoder);
        prop_assert_eq!(outcome(&encoder.into_writer()), Outcome::of(measurements(value)));
    }

    #[test]
    fn any_bytes_give_one_outcome(noise in prop::collection::vec(any::<u8>(), 0..100), start in 0..6_usize) {
        let head: &[u8] = [&[][..], &[0x9f], &[0xbf], &[0xbf, 0x61, 0x61], &[0xc4], &[0x9b, 255, 255, 255]][start];
        let outcome = outcome(&[head, &noise].concat());
        prop_assert!(outcome.samples.len() + outcome.errors.len() <= 1 && outcome.warnings.len() <= 17);
    }
}
