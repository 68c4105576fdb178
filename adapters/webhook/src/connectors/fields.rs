//! Reading request fields that may come in JSON, form or query, and as string or native type. Shared by connectors;
//! not here: what a field means.

use bridge_core::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Number, Value};

use crate::connector::Malformed;

/// Texts that clouds send where they have no value. Absent stays absent.
const ABSENT: [&str; 6] = ["", "N/A", "n/a", "NA", "null", "undefined"];

/// Whether the text stands for "no value".
pub(super) fn is_absent(text: &str) -> bool {
    ABSENT.contains(&text.trim())
}

/// Parses `a=1&b=x%20y` (query or `application/x-www-form-urlencoded`), in order. Text that is not UTF-8 after
/// decoding is replaced, as browsers do.
pub(super) fn parse_pairs(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// The pairs as an object of strings; of equal keys the first one counts.
pub(super) fn object_of_pairs(pairs: Vec<(String, String)>) -> Map<String, Value> {
    let mut object = Map::new();
    for (key, value) in pairs {
        object.entry(key).or_insert(Value::String(value));
    }
    object
}

/// Levels of nesting that are read. serde_json reads 128, and a message holds what came some levels deeper: its record
/// must be read back too.
const DEEPEST: usize = 100;

/// Parses JSON of any type.
///
/// # Errors
/// When the text is not JSON, or nested deeper than 100 levels.
pub(super) fn parse_json(text: &[u8]) -> Result<Value, Malformed> {
    refuse_deep_nesting(text)?;
    from_json(text)
}

/// Reads known fields. Checked as a whole first, text need not be checked string by string; a body with a bad byte in a
/// field that nobody reads is still read.
///
/// # Errors
/// When the text is not JSON.
pub(super) fn from_json<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, Malformed> {
    Ok(match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text)?,
        Err(_) => serde_json::from_slice(json)?,
    })
}

/// Looks at brackets alone, before anything is parsed.
///
/// # Errors
/// When the text is nested deeper than 100 levels.
pub(super) fn refuse_deep_nesting(json: &[u8]) -> Result<(), Malformed> {
    // Most have fewer brackets than that in all, and counting takes a fraction of the time.
    // `[` and `{` differ in one bit; sums of bytes over short chunks become vector instructions.
    let brackets = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    if json.chunks(128).map(|chunk| usize::from(brackets(chunk))).sum::<usize>() <= DEEPEST {
        return Ok(());
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(Malformed(format!("the JSON is nested deeper than {DEEPEST} levels")));
        }
    }
    Ok(())
}

/// Parses a JSON object.
///
/// # Errors
/// When the body is not JSON, nested deeper than 100 levels, or not an object.
pub(super) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, Malformed> {
    match parse_json(body)? {
        Value::Object(object) => Ok(object),
        _ => Err(Malformed("the JSON body is not an object".into())),
    }
}

/// A field as text: strings as they are, numbers and booleans as they are written. None when absent (see
/// [`is_absent`]), null, or a structure.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !is_absent(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A field as a number, from a number or from text that is one. Never NaN or infinite.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

/// A field as an integer, from an integer or from text that is one.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A field as a boolean, from `true`, `"true"`, `1`, `"1"` and their opposites.
pub(super) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => {
            number.as_i64().and_then(|n| [false, true].get(usize::try_from(n).ok()?).copied())
        }
        Value::String(text) => match text.trim() {
            "true" | "True" | "TRUE" | "1" => Some(true),
            "false" | "False" | "FALSE" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A finite number as JSON; whole numbers without a fraction.
pub(super) fn json_number(number: f64) -> Option<Value> {
    match whole(Some(number)?) {
        Some(whole) => Some(Value::from(whole)),
        None => Number::from_f64(number).map(Value::Number),
    }
}

/// The value of a template field: text that is written like a JSON number or boolean is that number or boolean,
/// because whether a template quotes its variables says nothing about them. Text such as `0012`, `1E5` or a number
/// that floats cannot hold stays text. None when absent (see [`is_absent`]) or null; structures stay as they are.
pub(super) fn unquoted(value: &Value) -> Option<Value> {
    let Value::String(text) = value else {
        return (!value.is_null()).then(|| value.clone());
    };
    let text = text.trim();
    if is_absent(text) {
        return None;
    }
    Some(match text {
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => plain_number(text).map_or_else(|| text.into(), Value::Number),
    })
}

/// The JSON number that the text is, without exponent, when floats can hold it.
fn plain_number(text: &str) -> Option<Number> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.');
    let number: Number = plain.then(|| serde_json::from_str(text).ok()).flatten()?;
    (text.contains('.') || whole(number.as_f64()?).is_some()).then_some(number)
}

/// A point in time from epoch seconds, or milliseconds when the number is too large for seconds (above 1e11, the
/// year 5138), as number or text.
pub(super) fn epoch(value: &Value) -> Option<Timestamp> {
    const LARGEST_SECONDS: f64 = 1e11;
    let number = number(value)?;
    let ms = if number > LARGEST_SECONDS { number } else { number * 1000.0 };
    // The cast saturates; what is outside the years 1970 to 9999 is none.
    Timestamp::from_millis(ms.round() as i64)
}

/// The integer that a float is, when it is one that floats represent exactly.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    // The cast is exact: the range and the missing fraction were checked.
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Bytes from an even number of hex digits of either case.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |d: u8| (d as char).to_digit(16);
    digits.chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_come_as_text_or_native() {
        assert_eq!(number(&json!("-123.00")), Some(-123.0));
        assert_eq!(number(&json!("NaN")), None);
        assert_eq!(number(&json!("N/A")), None);
        assert_eq!(integer(&json!("1508")), Some(1508));
        assert_eq!(integer(&json!(1508.0)), Some(1508));
        assert_eq!(integer(&json!(1508.5)), None);
        assert_eq!(boolean(&json!("true")), Some(true));
        assert_eq!(boolean(&json!(2)), None);
        assert_eq!(text(&json!("N/A")), None);
        assert_eq!(text(&json!(7)), Some("7".into()));
        assert_eq!(json_number(3.0), Some(json!(3)));
        assert_eq!(json_number(f64::NAN), None);
        assert_eq!(hex("00fF"), Some(vec![0, 255]));
        assert_eq!(hex("0"), None);
        assert_eq!(hex("é"), None);
    }

    #[test]
    fn quotes_of_a_template_do_not_matter() {
        for (text, want) in [
            ("18", json!(18)),
            ("-20.50", json!(-20.5)),
            ("true", json!(true)),
            ("0012", json!("0012")),
            ("1E5", json!("1E5")),
            ("1.2.3", json!("1.2.3")),
            ("12345678901234567890", json!("12345678901234567890")),
            ("0.8465958833694458", json!(0.846_595_883_369_445_8)),
            ("-", json!("-")),
            (" open ", json!("open")),
        ] {
            assert_eq!(unquoted(&json!(text)), Some(want), "{text}");
        }
        assert_eq!(unquoted(&json!("N/A")), None);
        assert_eq!(unquoted(&json!(null)), None);
        assert_eq!(unquoted(&json!({"a": "1"})), Some(json!({"a": "1"})));
    }

    #[test]
    fn epochs_come_in_seconds_and_milliseconds() {
        let want = Timestamp::from_seconds(1_718_000_000);
        assert_eq!(epoch(&json!(1_718_000_000)), want);
        assert_eq!(epoch(&json!("1718000000")), want);
        assert_eq!(epoch(&json!(1_718_000_000_000_i64)), want);
        assert_eq!(epoch(&json!(1e300)), None);
        assert_eq!(epoch(&json!(-1)), None);
        assert_eq!(epoch(&json!("soon")), None);
    }

    #[test]
    fn pairs_are_decoded_once() {
        let pairs = parse_pairs("a=1%3B2&b=x+y&c&=&a=3&d=%ff");
        let object = object_of_pairs(pairs);
        assert_eq!(object["a"], "1;2");
        assert_eq!(object["b"], "x y");
        assert_eq!(object["c"], "");
        assert_eq!(object["d"], "\u{fffd}");
    }

    #[test]
    fn brackets_in_texts_are_not_levels() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse_json(nested(100).as_bytes()).is_ok());
        assert!(parse_json(nested(101).as_bytes()).is_err());
        let texts = format!(r#"{{"a":"{}","b":"\\\"{}"}}"#, "[".repeat(500), "{".repeat(500));
        assert!(parse_json(texts.as_bytes()).is_ok());
        let siblings = format!("[{}]", vec!["[]"; 500].join(","));
        assert!(parse_json(siblings.as_bytes()).is_ok());
    }

    #[test]
    fn deep_json_is_malformed_not_a_crash() {
        let deep = "[".repeat(100_000);
        assert!(parse_object(deep.as_bytes()).is_err());
        assert!(parse_object(b"[]").is_err());
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse_json(nested(DEEPEST).as_bytes()).is_ok());
        assert!(parse_json(nested(DEEPEST + 1).as_bytes()).is_err());
    }
}
