//! JSON payloads. Not here: envelopes of clouds, which are JSON too (the connectors read those).

use bridge_core::measurement::Measurement;
use serde_json::Value;

use crate::gather::{Gather, Warnings};
use crate::{Input, Outcome};

/// The deepest nesting of a value. The store reads messages back with a parser that stops at 128 levels, and a message
/// wraps its measurements in a few of its own.
pub(crate) const DEEPEST: usize = 100;

/// Which parts of a payload become measurements, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    entries: Vec<(String, String)>,
}

/// Why a mapping is none. The configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// RFC 6901 section 3: a pointer is empty or begins with a slash, and after `~` comes 0 or 1.
    #[error("{0:?} is not a JSON pointer: it is empty or begins with \"/\", and ~ is written ~0")]
    Pointer(String),
    /// Two values cannot have one name.
    #[error("the name {0:?} occurs more than once, or is empty")]
    Name(String),
}

impl Mapping {
    /// A mapping from pairs of a measurement's name and a JSON pointer (RFC 6901).
    ///
    /// # Errors
    /// When a pointer is not one, or a name is empty or occurs more than once.
    pub fn new(entries: Vec<(String, String)>) -> Result<Self, MappingError> {
        let mut names = std::collections::HashSet::new();
        for (name, pointer) in &entries {
            if name.is_empty() || !names.insert(name) {
                return Err(MappingError::Name(name.clone()));
            }
            if !is_pointer(pointer) {
                return Err(MappingError::Pointer(pointer.clone()));
            }
        }
        Ok(Self { entries })
    }
}

/// Decodes JSON. With a mapping its names are the measurements, and a pointer that finds nothing (or null) gives a
/// warning; without one the members of an object are the measurements, and anything else is the measurement `value`.
/// Members that are null are no measurements. JSON nested deeper than 100 levels is refused.
pub fn decode(input: &Input<'_>, mapping: Option<&Mapping>) -> Outcome {
    if input.bytes.is_empty() {
        return Outcome::default();
    }
    let value: Value = match serde_json::from_slice(input.bytes) {
        Ok(value) => value,
        Err(error) if error.is_eof() => return Outcome::error("the JSON is cut off"),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return Outcome::error(format!(
                "line {line}, column {column}: not JSON that can be read, or nested too deep"
            ));
        }
    };
    if is_deeper_than(DEEPEST, &value) {
        return Outcome::error(format!("the JSON is nested deeper than {DEEPEST} levels"));
    }
    match mapping {
        Some(mapping) => mapped(&value, mapping),
        None => Outcome::of(measurements(value)),
    }
}

/// The members of an object, or a single `value`; null is no measurement.
pub(crate) fn measurements(value: Value) -> Vec<Measurement> {
    match value {
        Value::Object(members) => {
            let mut found = Vec::with_capacity(members.len());
            let present = members.into_iter().filter(|(_, value)| !value.is_null());
            found.extend(present.map(|(name, value)| Measurement { name, value, unit: None }));
            found
        }
        Value::Null => Vec::new(),
        value => vec![Measurement::new("value", value)],
    }
}

fn mapped(value: &Value, mapping: &Mapping) -> Outcome {
    let (mut gather, mut warnings) = (Gather::default(), Warnings::default());
    for (name, pointer) in &mapping.entries {
        match value.pointer(pointer).filter(|found| !found.is_null()) {
            Some(found) => gather.set(Measurement::new(name.clone(), found.clone()), &mut warnings),
            None => warnings.push(format!("{name}: there is nothing at {pointer:?}")),
        }
    }
    Outcome { warnings: warnings.into_lines(), ..Outcome::of(gather.into_measurements()) }
}

fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    (text.is_empty() || text.starts_with('/')) && escapes.all(|after| after.starts_with(['0', '1']))
}

/// The parser itself stops at 128 levels, so this does not recurse deeper.
fn is_deeper_than(levels: usize, value: &Value) -> bool {
    let Some(inside) = levels.checked_sub(1) else { return value.is_array() || value.is_object() };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper_than(inside, item)),
        Value::Object(members) => members.values().any(|member| is_deeper_than(inside, member)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_core::time::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn decode(text: &str, mapping: Option<&Mapping>) -> Outcome {
        let input = Input { bytes: text.as_bytes(), port: None, received_at: Timestamp::EPOCH };
        super::decode(&input, mapping)
    }

    fn mapping(entries: &[(&str, &str)]) -> Result<Mapping, MappingError> {
        Mapping::new(entries.iter().map(|(name, pointer)| ((*name).into(), (*pointer).into())).collect())
    }

    #[test]
    fn members_are_measurements() {
        let outcome =
            decode(r#"{"t": 21.50, "id": 18446744073709551615, "gone": null, "at": {"x": null}}"#, None);
        assert_eq!(
            outcome,
            Outcome::of(vec![
                Measurement::new("t", 21.5),
                Measurement::new("id", u64::MAX),
                Measurement::new("at", json!({"x": null})),
            ])
        );
        assert_eq!(decode("[1]", None), Outcome::of(vec![Measurement::new("value", json!([1]))]));
        assert_eq!(decode(" true ", None), Outcome::of(vec![Measurement::new("value", true)]));
        assert_eq!(decode("null", None), Outcome::of(vec![]));
        assert_eq!(decode("", None), Outcome::default());
    }

    #[test]
    fn a_mapping_takes_what_it_names() {
        let map =
            mapping(&[("temperature", "/air/0/t"), ("all", ""), ("slash", "/a~1b"), ("lost", "/x")]).unwrap();
        let outcome = decode(r#"{"air": [{"t": 4}], "a/b": "c"}"#, Some(&map));
        assert_eq!(
            outcome.samples[0].measurements,
            [
                Measurement::new("temperature", 4),
                Measurement::new("all", json!({"air": [{"t": 4}], "a/b": "c"})),
                Measurement::new("slash", "c"),
            ]
        );
        assert_eq!(outcome.warnings, ["lost: there is nothing at \"/x\""]);
    }

    #[test]
    fn a_mapping_must_be_one() {
        assert_eq!(mapping(&[("a", "b")]), Err(MappingError::Pointer("b".into())));
        assert_eq!(mapping(&[("a", "/~2")]), Err(MappingError::Pointer("/~2".into())));
        assert_eq!(mapping(&[("a", "/~")]), Err(MappingError::Pointer("/~".into())));
        assert_eq!(mapping(&[("a", "/x"), ("a", "/y")]), Err(MappingError::Name("a".into())));
        assert_eq!(mapping(&[("", "/x")]), Err(MappingError::Name(String::new())));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_without_the_payload() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(decode(&nested(100), None).errors, [] as [&str; 0]);
        assert_eq!(decode(&nested(101), None).errors, ["the JSON is nested deeper than 100 levels"]);
        assert_eq!(decode(&nested(100_000), None).errors.len(), 1);
        assert_eq!(decode("{\"a\": ", None), Outcome::error("the JSON is cut off"));
        for text in ["secret", "{\"secret\": secret}", "NaN", "1e999", "1 2"] {
            let outcome = decode(text, None);
            assert!(outcome.samples.is_empty() && !outcome.errors[0].contains("secret"), "{outcome:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_one_outcome(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\":,0-9a-e. -]{0,40}") {
            let map = mapping(&[("a", "/a"), ("all", "")]).unwrap();
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let input = Input { bytes, port: None, received_at: Timestamp::EPOCH };
                for outcome in [super::decode(&input, None), super::decode(&input, Some(&map))] {
                    prop_assert!(outcome.samples.len() + outcome.errors.len() <= 1);
                }
            }
        }
    }
}
