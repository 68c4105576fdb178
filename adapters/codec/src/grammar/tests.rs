//! Grammars and frames: the published vectors, doubtful grammars, bad frames.

use super::*;
use bridge_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn decode(grammar: &str, payload: &[u8]) -> Outcome {
    let input = Input { bytes: payload, port: None, received_at: Timestamp::EPOCH };
    Grammar::parse(grammar).unwrap().decode(&input)
}

fn values(outcome: &Outcome) -> Value {
    let measurements = outcome.samples[0].measurements.iter();
    measurements.map(|one| (one.name.clone(), one.value.clone())).collect::<Map<_, _>>().into()
}

#[test]
fn the_shared_vectors() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures/sigfox/custom-grammar-vectors.json");
    let Ok(text) = std::fs::read(path) else {
        eprintln!("NOT RUN: {path} is not there");
        return;
    };
    let vectors: Vec<Value> = serde_json::from_slice(&text).unwrap();
    for vector in &vectors {
        let outcome = decode(vector["format"].as_str().unwrap(), &bytes(vector["data"].as_str().unwrap()));
        assert_eq!(values(&outcome), vector["expected"], "{vector}");
        assert_eq!(outcome.warnings, [] as [&str; 0], "{vector}");
    }
}

#[test]
fn what_is_not_there_or_not_a_number_is_left_out() {
    let outcome = decode("a::uint:8 b::uint:16 c:1:uint:8 d:99:bool:1", &[1, 2]);
    assert_eq!(values(&outcome), json!({"a": 1, "c": 2}));
    assert_eq!(
        outcome.warnings,
        ["b lies beyond the end of the payload", "d lies beyond the end of the payload"]
    );
    let outcome = decode(
        "nan::float:32 inf::float:64:little-endian one:12:uint:8",
        &bytes("7fc00000000000000000f07f01"),
    );
    assert_eq!(values(&outcome), json!({"one": 1}));
    assert_eq!(outcome.warnings, ["nan is not a finite number", "inf is not a finite number"]);
    assert_eq!(decode("a::uint:8", &[]).warnings.len(), 1);
}

#[test]
fn no_integer_loses_a_digit() {
    let outcome = decode(
        "u::uint:64 i:0:int:64 e:8:uint:56 f:8:int:56:little-endian",
        &bytes("ffffffffffffffff20000000000000"),
    );
    assert_eq!(
        values(&outcome),
        json!({"u": "18446744073709551615", "i": -1, "e": 9_007_199_254_740_992_i64, "f": 32})
    );
    assert_eq!(
        values(&decode("i::int:64", &bytes("8000000000000000"))),
        json!({"i": "-9223372036854775808"})
    );
    assert_eq!(values(&decode("i::int:24", &bytes("ff0000"))), json!({"i": -65536}));
}

#[test]
fn text_that_is_not_ascii_has_its_bytes_beside_it() {
    let outcome = decode("s::char:2 t::char:2", &[b'a', 0xff, b'o', b'k']);
    assert_eq!(values(&outcome), json!({"s": "a\u{fffd}", "s_hex": "61ff", "t": "ok"}));
    assert_eq!(outcome.warnings, ["s is not ASCII"]);
    let outcome = decode("s::char:1 s_hex::uint:8", &[0xff, 7]);
    assert_eq!(values(&outcome), json!({"s": "\u{fffd}", "s_hex": 7}));
}

#[test]
fn what_is_ambiguous_is_said() {
    let warnings = |text: &str| Grammar::parse(text).unwrap().warnings().to_vec();
    assert_eq!(
        warnings("b1::bool:7 i1::uint:8"),
        ["i1 has no byte index and begins at the byte after the bool b1; give it one"]
    );
    assert_eq!(
        warnings("i1::uint:16 b1::bool:7"),
        ["b1 has no byte index and is read from the last byte of i1; give it one"]
    );
    assert_eq!(warnings("a::uint:8 a::uint:8"), ["the name a occurs more than once; the last value counts"]);
    for clear in ["b1::bool:7 b2::bool:6 i1:1:uint:16", "a::uint:16 b:1:uint:8", "a:3:bool:0 b:3:bool:1"] {
        assert_eq!(warnings(clear), [] as [&str; 0], "{clear}");
    }
    // The byte after the bools, not the bit after them.
    assert_eq!(values(&decode("b1::bool:7 i1::uint:8", &[0x80, 5])), json!({"b1": true, "i1": 5}));
    assert_eq!(
        values(&decode("a::uint:16 b::bool:0 c::uint:8", &[0, 1, 9])),
        json!({"a": 1, "b": true, "c": 9})
    );
    let twice = decode("a::uint:8 a::uint:8", &[1, 2]);
    assert_eq!((values(&twice), twice.warnings.len()), (json!({"a": 2}), 0));
}

#[test]
fn mistakes_have_a_place() {
    for (text, position, reason) in [
        ("", 1, "there is no field"),
        (" \n ", 1, "there is no field"),
        ("a", 2, "a byte index (which may be empty, but not its colon) is missing"),
        ("a:", 3, "the type"),
        ("a::uint", 8, "the size of the type, or its bit, is missing"),
        ("a::uint:8 b::text:8", 14, "the type is not bool, char, float, uint or int"),
        (" é::uint:8", 2, "a name has letters, digits, - and _ only"),
        ("aé::uint:8", 2, "a name has letters, digits, - and _ only"),
        ("::uint:8", 1, "a name is missing"),
        ("a:x:uint:8", 3, "not a number from 0 to 65535"),
        ("a:+1:uint:8", 3, "not a number from 0 to 65535"),
        ("a:65536:uint:8", 3, "not a number from 0 to 65535"),
        ("a::bool:8", 9, "not a number from 0 to 7"),
        ("a::char:0", 9, "not a number from 1 to 65535"),
        ("a::char:3:little-endian", 11, "char has no byte order"),
        ("a::uint:12", 9, "the number of bits is not a multiple of 8"),
        ("a::uint:72", 9, "not a number from 8 to 64"),
        ("a::float:16", 10, "a float has 32 or 64 bits"),
        ("a::int:16:middle-endian", 11, "the byte order is not little-endian or big-endian"),
        ("a::int:16:little-endian:", 25, "nothing may follow the byte order"),
    ] {
        let error = Grammar::parse(text).unwrap_err();
        assert_eq!(error.position, position, "{text:?} {error}");
        assert!(error.reason.starts_with(reason) || text == "a:", "{text:?} {error}");
    }
    assert_eq!(
        Grammar::parse("a::x:8").unwrap_err().to_string(),
        "at character 4: the type is not bool, char, float, uint or int"
    );
}

/// A field with an explicit index, its bytes and its value.
fn any_field() -> impl Strategy<Value = (String, Vec<u8>, Value)> {
    let integer = (1..=8_usize, any::<i64>(), any::<bool>(), any::<bool>()).prop_map(
        |(width, bits, signed, little)| {
            let number = if signed { i128::from(bits) } else { i128::from(bits.cast_unsigned()) };
            let modulus = 1_i128 << (8 * width);
            let mut number = number.rem_euclid(modulus);
            let mut bytes = number.to_be_bytes()[16 - width..].to_vec();
            if signed && number >= modulus / 2 {
                number -= modulus;
            }
            if little {
                bytes.reverse();
            }
            let (kind, order) =
                (if signed { "int" } else { "uint" }, if little { ":little-endian" } else { "" });
            (format!("{kind}:{}{order}", 8 * width), bytes, crate::gather::exact_integer(number))
        },
    );
    let single = prop::num::f32::NORMAL
        .prop_map(|number| ("float:32".to_owned(), number.to_be_bytes().to_vec(), json!(f64::from(number))));
    let double = prop::num::f64::NORMAL.prop_map(|number| {
        ("float:64:little-endian".to_owned(), number.to_le_bytes().to_vec(), json!(number))
    });
    let text = "[ -~]{1,8}"
        .prop_map(|text| (format!("char:{}", text.len()), text.clone().into_bytes(), json!(text)));
    let flag = (any::<u8>(), 0..8_u8)
        .prop_map(|(byte, bit)| (format!("bool:{bit}"), vec![byte], json!(byte >> bit & 1 == 1)));
    prop_oneof![integer, single, double, text, flag]
}

proptest! {
    #[test]
    fn fields_are_read_as_they_were_written(fields in prop::collection::vec(any_field(), 1..10)) {
        let (mut grammar, mut payload, mut expected) = (String::new(), Vec::new(), Map::new());
        for (number, (kind, bytes, value)) in fields.into_iter().enumerate() {
            grammar += &format!(" f{number}:{}:{kind}", payload.len());
            payload.extend(bytes);
            expected.insert(format!("f{number}"), value);
        }
        let outcome = decode(&grammar, &payload);
        prop_assert_eq!(values(&outcome), Value::Object(expected));
        prop_assert_eq!(outcome.warnings.len(), 0);
    }

    #[test]
    fn any_text_and_any_bytes(text in "[a-c:0-9 éuintboflachrd-]{0,40}", payload in prop::collection::vec(any::<u8>(), 0..40)) {
        let likely = text.replace("::", "::uint:8 x::char:3 y::float:");
        for text in [text, likely] {
            match Grammar::parse(&text) {
                Ok(grammar) => {
                    let input = Input { bytes: &payload, port: None, received_at: Timestamp::EPOCH };
                    let outcome = grammar.decode(&input);
                    prop_assert!(outcome.samples[0].measurements.len() <= 2 * grammar.fields.len());
                }
                Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.position)),
            }
        }
    }
}
