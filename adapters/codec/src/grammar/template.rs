//! Downlinks without code: constant bytes, and the arguments of a command in the words of the grammar. Not here: which
//! command has which template, scripts.

use serde_json::{Map, Value};

use super::{Field, GrammarError, Kind, NumberKind, parse};

/// The longest payload, in bytes; beyond what any radio takes.
const LONGEST: usize = 1024;

/// How the arguments of a command become bytes: `01 seconds::uint:16 valve:3:bool:7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The constants; zero where a field is, or nothing.
    pub(super) bytes: Vec<u8>,
    pub(super) fields: Vec<Field>,
}

impl Template {
    /// Reads words between white space: constant bytes as hexadecimal digits, and fields as [`Grammar`](super::Grammar)
    /// has them. What has no index begins after all that stands before it, and a bool shares the byte of a bool before it.
    /// After a number or text, where the grammar reads a bool from their last byte, it needs an index. Bytes that nothing
    /// names are zero.
    ///
    /// # Errors
    /// When the text is not such a list, with the place of the mistake; when two words want the same byte or bit, or
    /// one name stands twice.
    pub fn parse(text: &str) -> Result<Self, GrammarError> {
        parse::parse_template(text, LONGEST)
    }

    /// The bytes of these arguments: an object with a value for every field and nothing else.
    ///
    /// # Errors
    /// Every argument that is missing, unknown or does not fit, for whoever sent the command.
    pub fn encode(&self, arguments: &Value) -> Result<Vec<u8>, Vec<String>> {
        let none = Map::new();
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => &none,
            _ => return Err(vec!["the arguments must be an object with the fields of the template".into()]),
        };
        let known = |name: &String| self.fields.iter().any(|field| field.name == *name);
        let unknown = arguments.keys().filter(|name| !known(name));
        let mut mistakes: Vec<String> = unknown.map(|name| format!("the template has no {name:?}")).collect();
        let mut bytes = self.bytes.clone();
        for Field { name, offset, kind, .. } in &self.fields {
            // invariant: the template is as long as its last field.
            let place = &mut bytes[*offset..*offset + kind.bytes()];
            match arguments.get(name) {
                None => mistakes.push(format!("{name} is missing")),
                Some(value) => {
                    if let Err(reason) = write(*kind, value, place) {
                        mistakes.push(format!("{name} {reason}"));
                    }
                }
            }
        }
        if mistakes.is_empty() { Ok(bytes) } else { Err(mistakes) }
    }
}

/// Writes a value into exactly its bytes.
///
/// # Errors
/// Why it does not fit, as the end of a sentence.
fn write(kind: Kind, value: &Value, place: &mut [u8]) -> Result<(), String> {
    match kind {
        Kind::Bool(bit) => {
            let set = match (value.as_bool(), value.as_u64()) {
                (Some(set), _) => set,
                (_, Some(number @ (0 | 1))) => number == 1,
                _ => return Err("must be true or false".into()),
            };
            place[0] |= u8::from(set) << bit;
        }
        Kind::Char(most) => {
            let text = value.as_str().filter(|text| text.is_ascii() && text.len() <= most);
            let text = text.ok_or_else(|| format!("must be a text of at most {most} ASCII characters"))?;
            place[..text.len()].copy_from_slice(text.as_bytes());
        }
        Kind::Number { number, bytes, little_endian } => {
            let bits = match number {
                NumberKind::Float => float(value, bytes)?,
                NumberKind::Uint => whole(value, 0, u64::MAX.into(), bytes)?,
                NumberKind::Int => whole(value, i64::MIN.into(), i64::MAX.into(), bytes)?,
            };
            place.copy_from_slice(&bits.to_be_bytes()[8 - bytes..]);
            if little_endian {
                place.reverse();
            }
        }
    }
    Ok(())
}

/// The bits of a whole number between the limits of 64 bits that also fits into so many bytes. Text has the numbers that
/// a double cannot hold, as in what is decoded.
fn whole(value: &Value, smallest: i128, largest: i128, bytes: usize) -> Result<u64, String> {
    let unused = 64 - 8 * bytes;
    let (smallest, largest) = (smallest >> unused, largest >> unused);
    let exact = |number: f64| number.fract() == 0.0 && number.abs() <= 2f64.powi(53);
    let number = match value {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            // Whole and within 2^53.
            .or_else(|| number.as_f64().filter(|number| exact(*number)).map(|number| number as i128)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number
        .filter(|number| (smallest..=largest).contains(number))
        // The lower 64 bits are the number's two's complement.
        .map(|number| number as u64)
        .ok_or_else(|| format!("must be a whole number from {smallest} to {largest}"))
}

fn float(value: &Value, bytes: usize) -> Result<u64, String> {
    let number = value.as_f64().ok_or("must be a number")?;
    if bytes == 8 {
        return Ok(number.to_bits());
    }
    let short = number as f32;
    if short.is_finite() { Ok(short.to_bits().into()) } else { Err("is too large for 32 bits".into()) }
}

#[cfg(test)]
mod tests {
    use bridge_core::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Input;
    use crate::grammar::Grammar;

    fn encode(template: &str, arguments: &Value) -> Result<Vec<u8>, Vec<String>> {
        Template::parse(template).unwrap().encode(arguments)
    }

    #[test]
    fn constants_and_arguments_become_bytes() {
        for (template, arguments, bytes) in [
            ("01ff", json!({}), &[1, 0xff][..]),
            ("01 02", Value::Null, &[1, 2]),
            ("01 seconds::uint:16", json!({ "seconds": 300 }), &[1, 1, 44]),
            ("t::int:16:little-endian 0A", json!({ "t": -2 }), &[0xfe, 0xff, 10]),
            ("a:0:bool:7 b::bool:0 n::uint:8", json!({ "a": true, "b": 1, "n": 5.0 }), &[0x81, 5]),
            ("01 on::bool:0 late::bool:1 02", json!({ "on": true, "late": true }), &[1, 3, 2]),
            ("on:2:bool:0 00", json!({ "on": true }), &[0, 0, 1, 0]),
            ("name::char:4 ff", json!({ "name": "ab" }), &[b'a', b'b', 0, 0, 0xff]),
            ("x::float:32", json!({ "x": 1.5 }), &[0x3f, 0xc0, 0, 0]),
            ("n::uint:64", json!({ "n": "18446744073709551615" }), &[0xff; 8]),
            ("n::int:64", json!({ "n": i64::MIN }), &[0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(encode(template, &arguments).as_deref(), Ok(bytes), "{template} {arguments}");
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_told_each() {
        let mistakes = encode(
            "n::uint:8 i::int:8 on:2:bool:0 s::char:2 f::float:32",
            &json!({ "n": 256, "i": 1.5, "on": 2, "s": "\u{e9}", "f": 1e300, "x": 1 }),
        );
        assert_eq!(
            mistakes.unwrap_err(),
            [
                "the template has no \"x\"",
                "n must be a whole number from 0 to 255",
                "i must be a whole number from -128 to 127",
                "on must be true or false",
                "s must be a text of at most 2 ASCII characters",
                "f is too large for 32 bits",
            ]
        );
        assert_eq!(encode("n::uint:8", &json!({})).unwrap_err(), ["n is missing"]);
        assert!(encode("n::uint:8", &json!([1])).is_err());
    }

    #[test]
    fn mistakes_of_its_author_name_their_place() {
        for (template, position, reason) in [
            ("", 1, "there is nothing in it"),
            ("01 0", 4, "constant bytes are pairs of hexadecimal digits"),
            ("01 xy", 4, "constant bytes are pairs of hexadecimal digits"),
            ("n::uint:9", 9, "the number of bits is not a multiple of 8"),
            ("n::uint:16 m:1:uint:8", 12, "something else is in its place already"),
            ("a:0:bool:1 b:0:bool:1", 12, "something else is in its place already"),
            ("n::uint:8 b::bool:1", 11, "after a number or text, a bool needs a byte index"),
            ("n::uint:8 n::uint:8", 11, "the name occurs more than once"),
            ("n:60000:uint:8", 1, "the payload would be longer than 1024 bytes"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert_eq!((error.position, error.reason.as_str()), (position, reason), "{template}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_by_the_same_words(
            a in any::<bool>(), b in any::<bool>(), i in any::<i16>(), u in any::<u32>(),
            f in (-1e6f32..1e6).prop_map(f64::from), s in "[a-z]{3}", big in (1u64 << 53) + 1..,
        ) {
            let words = "a:0:bool:7 b::bool:2 i::int:16:little-endian u::uint:32 f::float:64 s::char:3 big::uint:64";
            let arguments = json!({ "a": a, "b": b, "i": i, "u": u, "f": f, "s": s, "big": big.to_string() });
            let bytes = encode(words, &arguments).unwrap();
            let input = Input { bytes: &bytes, port: None, received_at: Timestamp::EPOCH };
            let outcome = Grammar::parse(words).unwrap().decode(&input);
            let decoded = outcome.samples[0].measurements.iter().map(|one| (one.name.clone(), one.value.clone()));
            prop_assert_eq!(Value::Object(decoded.collect()), arguments);
        }
    }
}
