//! Payloads that are plain text, as simple firmware prints it: a number, `true`, or pairs such as `t=21.5,h=40`. Not
//! here: JSON.

use bridge_core::measurement::Measurement;
use serde_json::Value;

use crate::gather::{Gather, Warnings, finite};
use crate::{Input, Outcome};

/// Decodes UTF-8 text; what is not UTF-8 is read as well as it goes, with a warning. White space and zero bytes around
/// it do not count.
///
/// Pairs `key=value` and `key: value`, separated by comma, semicolon or white space, become measurements; the rest of
/// the text must be pairs too, or the whole text is the measurement `value`. A number and `true` or `false` (in any
/// case) become a number and a boolean. A number with zeros in front, or with more digits than 64 bits hold, is an
/// identifier and stays text.
pub fn decode(input: &Input<'_>) -> Outcome {
    let mut warnings = Warnings::default();
    let text = String::from_utf8_lossy(input.bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        warnings.push("the text is not UTF-8");
    }
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{feff}');
    if text.is_empty() {
        return Outcome { warnings: warnings.into_lines(), ..Outcome::default() };
    }
    let measurements = match pairs(text) {
        Some(pairs) => {
            let mut gather = Gather::default();
            for (key, text) in pairs {
                if text.is_empty() {
                    warnings.push(format!("{key} has no value"));
                } else {
                    gather.set(Measurement::new(key, value(text)), &mut warnings);
                }
            }
            gather.into_measurements()
        }
        None => vec![Measurement::new("value", value(text))],
    };
    Outcome { warnings: warnings.into_lines(), ..Outcome::of(measurements) }
}

fn value(text: &str) -> Value {
    if let Some(flag) = [true, false].into_iter().find(|flag| text.eq_ignore_ascii_case(&flag.to_string())) {
        return flag.into();
    }
    number(text).unwrap_or_else(|| text.into())
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let has_zeros_in_front =
        digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    // Rust's parser also knows "inf" and "nan".
    let is_decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if has_zeros_in_front || !is_decimal {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let signed = text.parse::<i64>().map(Value::from);
        return signed.or_else(|_| text.parse::<u64>().map(Value::from)).ok();
    }
    text.parse().ok().and_then(finite)
}

/// The pairs of a text that is nothing but pairs.
fn pairs(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_at(rest.find(|c| !is_key(c))?);
        if !key.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return None;
        }
        let (mark, after) = split_first(after.trim_start_matches(is_blank))?;
        let value_at = after.trim_start_matches(is_blank);
        let has_blank = value_at.len() < after.len();
        let (value, after) = value_at.split_at(value_at.find(separates).unwrap_or(value_at.len()));
        // "http://example.org" and "urn:dev:1" are no pairs.
        let is_pair = match mark {
            '=' => true,
            ':' => has_blank || !(value.starts_with('/') || value.contains(':')),
            _ => false,
        };
        if !is_pair {
            return None;
        }
        pairs.push((key, value));
        rest = after.trim_start_matches(separates);
    }
    Some(pairs)
}

fn split_first(text: &str) -> Option<(char, &str)> {
    let first = text.chars().next()?;
    Some((first, &text[first.len_utf8()..]))
}

fn is_key(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn separates(c: char) -> bool {
    c.is_whitespace() || c == ',' || c == ';'
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_core::time::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn decode(bytes: &[u8]) -> Outcome {
        super::decode(&Input { bytes, port: None, received_at: Timestamp::EPOCH })
    }

    fn values(text: &str) -> Value {
        let outcome = decode(text.as_bytes());
        let measurements = outcome.samples.into_iter().flat_map(|sample| sample.measurements);
        measurements.map(|one| (one.name, one.value)).collect::<Map<_, _>>().into()
    }

    #[test]
    fn a_single_value() {
        for (text, want) in [
            ("21.5", json!(21.5)),
            ("-4\r\n", json!(-4)),
            ("+7\0\0", json!(7)),
            ("0", json!(0)),
            ("-0.5", json!(-0.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("18446744073709551615", json!(u64::MAX)),
            ("89014103211118510720", json!("89014103211118510720")),
            ("007", json!("007")),
            ("inf", json!("inf")),
            ("NaN", json!("NaN")),
            ("-infinity", json!("-infinity")),
            ("1e999", json!("1e999")),
            ("1_000", json!("1_000")),
            ("-", json!("-")),
            (".", json!(".")),
            ("true", json!(true)),
            ("False", json!(false)),
            ("hello", json!("hello")),
            ("door open", json!("door open")),
            ("12:30:45", json!("12:30:45")),
            ("http://example.org/a", json!("http://example.org/a")),
            ("urn:dev:mac:00", json!("urn:dev:mac:00")),
            ("status: all good", json!("status: all good")),
            ("=5", json!("=5")),
            ("5=5", json!("5=5")),
        ] {
            assert_eq!(values(text), json!({"value": want}), "{text}");
        }
        for text in ["", " \r\n", "\0"] {
            assert_eq!(decode(text.as_bytes()), Outcome::default());
        }
    }

    #[test]
    fn pairs_of_every_kind() {
        for (text, want) in [
            ("t=21.5,h=40", json!({"t": 21.5, "h": 40})),
            ("t = 21.5; h = 40;", json!({"t": 21.5, "h": 40})),
            ("t: 21.5\nh: 40\r\n", json!({"t": 21.5, "h": 40})),
            ("t:21.5 open:TRUE", json!({"t": 21.5, "open": true})),
            ("key=abc= x=a:b", json!({"key": "abc=", "x": "a:b"})),
            ("at: 12:30 up=true", json!({"at": "12:30", "up": true})),
            ("größe=3", json!({"größe": 3})),
        ] {
            assert_eq!(values(text), want, "{text}");
            assert_eq!(decode(text.as_bytes()).warnings, [] as [&str; 0], "{text}");
        }
        let outcome = decode(b"a=1,b=,a=2");
        assert_eq!(outcome.samples[0].measurements, [Measurement::new("a", 2)]);
        assert_eq!(outcome.warnings, ["b has no value", "a occurs more than once; the last value counts"]);
    }

    #[test]
    fn bytes_that_are_not_text() {
        let outcome = decode(&[b'o', 0xff, b'k']);
        assert_eq!(outcome.samples[0].measurements, [Measurement::new("value", "o\u{fffd}k")]);
        assert_eq!(outcome.warnings, ["the text is not UTF-8"]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_one_outcome(noise in prop::collection::vec(any::<u8>(), 0..60), text in "[a-c0-9=:;, .e+/é-]{0,40}") {
            for bytes in [noise.as_slice(), text.as_bytes()] {
                let outcome = decode(bytes);
                prop_assert!(outcome.samples.len() <= 1 && outcome.errors.is_empty());
            }
        }

        #[test]
        fn numbers_are_read_as_they_are(whole in any::<i64>(), real in prop::num::f64::NORMAL) {
            prop_assert_eq!(values(&whole.to_string()), json!({"value": whole}));
            prop_assert_eq!(values(&format!("x={real:e}")), json!({"x": real}));
        }
    }
}
