//! Two JSON values side by side. Not here: which of them is right.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// How far two numbers may lie apart, as a part of the larger one: arithmetic of doubles in another order.
const TOLERANCE: f64 = 1e-9;
/// Characters of a value that are shown to people.
const SHOWN: usize = 200;

/// A place where two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// `data.probes[1].temperature`
    pub path: String,
    /// Absent when nothing was expected there.
    pub expected: Option<Value>,
    /// Absent when nothing is there.
    pub found: Option<Value>,
}

/// Every place where they differ, below `path`. Numbers are equal when they are so as doubles within a billionth: 21 is
/// 21.0. The order of an object's members does not matter.
pub fn differences(path: &str, expected: &Value, found: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(path, Some(expected), Some(found), &mut all);
    all
}

fn compare(path: &str, expected: Option<&Value>, found: Option<&Value>, all: &mut Vec<Difference>) {
    match (expected, found) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, one.get(name), other.get(name), all);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                compare(&format!("{path}[{index}]"), one.get(index), other.get(index), all);
            }
        }
        (Some(one), Some(other)) if equal(one, other) => {}
        _ => {
            all.push(Difference {
                path: path.to_owned(),
                expected: expected.cloned(),
                found: found.cloned(),
            });
        }
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()),
        _ => one == other,
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match text.char_indices().nth(SHOWN) {
                    Some((end, _)) => format!("{}…", &text[..end]),
                    None => text,
                }
            }
        };
        write!(f, "{}: expected {}, found {}", self.path, show(&self.expected), show(&self.found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_equal_as_doubles() {
        for (one, other, want) in [
            (json!(21), json!(21.0), true),
            (json!(0), json!(-0.0), true),
            (json!(0.1), json!(0.1 + 1e-11), true),
            (json!(0.1), json!(0.1 + 1e-9), false),
            (json!(0), json!(1e-12), false),
            (json!(-4.1), json!(-4.1000000000000005), true),
            (json!(1e300), json!(-1e300), false),
            (json!(21), json!("21"), false),
            (json!(1), json!(true), false),
            (json!(null), json!(0), false),
        ] {
            assert_eq!(differences("", &one, &other).is_empty(), want, "{one} {other}");
        }
    }

    #[test]
    fn each_place_is_named() {
        let expected = json!({"data": {"a": 1, "list": [1, {"b": 2}], "gone": null}, "errors": []});
        let found = json!({"errors": ["no"], "data": {"more": "x", "list": [1, {"b": 3}, 4], "a": 1.0}});
        let lines: Vec<String> = differences("", &expected, &found).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "data.gone: expected null, found nothing",
                "data.list[1].b: expected 2, found 3",
                "data.list[2]: expected nothing, found 4",
                "data.more: expected nothing, found \"x\"",
                "errors[0]: expected nothing, found \"no\"",
            ]
        );
        let long = differences("p", &json!(1), &json!("ä".repeat(500)));
        assert!(long[0].to_string().chars().count() < 250);
    }
}
