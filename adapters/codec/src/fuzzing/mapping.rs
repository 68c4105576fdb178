//! Any mapping over any JSON: the text form of both, and their laws. Not here: how a configuration writes a mapping.

use serde_json::Value;

use super::{check_outcome, payload, received_at};
use crate::mapping::{Mapping, Rule, Split, Target, TimeFormat};
use crate::{Outcome, Sample, json};

/// Takes a mapping and a payload in their text form:
///
/// ```text
/// others split=log
/// from=a/b/0 to=t scale=0.1 offset=-4 unit=Cel part=north property
/// constant=5 to=height
/// from=at seconds
///
/// {"a": 1}
/// ```
///
/// The first line says what the mapping is, each further one is a rule, and what follows an empty line is JSON; each
/// element of an array is a sample. Words that mean nothing do not count.
pub(super) fn check(input: &[u8]) {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, body) = input.split_at(end.map_or(input.len(), |end| end + 1));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let options = lines.next().unwrap_or_default();
    let split =
        words(options).find(|(key, _)| *key == "split").map(|(_, field)| Split { field: field.into() });
    let rules: Vec<Rule> = lines.map(rule).collect();
    let parts = 1 + rules.iter().filter(|rule| rule.part.is_some()).count();
    let keep_others = words(options).any(|(key, _)| key == "others");
    let mapping = match Mapping::new(rules, split.clone(), keep_others) {
        Ok(mapping) => mapping,
        Err(error) => return assert!(error.to_string().len() <= 2 * head.len() + 256, "{error}"),
    };

    let outcome = samples(body);
    let elements = |sample: &Sample| {
        let is_split = |name: &str| split.as_ref().is_some_and(|split| split.field == name);
        let array = sample.measurements.iter().find(|one| is_split(&one.name));
        array.and_then(|one| one.value.as_array()).map_or(0, Vec::len)
    };
    let most: usize = outcome.samples.iter().map(|sample| (1 + elements(sample)) * parts).sum();
    let mapped = mapping.apply(outcome.clone(), received_at());
    assert_eq!(mapped, mapping.apply(outcome.clone(), received_at()), "the same outcome is mapped otherwise");
    assert!(mapped.samples.len() <= most, "there are {} samples, more than {most}", mapped.samples.len());
    assert!(mapped.warnings.len() <= 17 + outcome.warnings.len(), "{:?}", mapped.warnings);
    assert_eq!(mapped.errors, outcome.errors, "the errors are others");
    for sample in &mapped.samples {
        assert_ne!(
            *sample,
            Sample { time: sample.time, ..Sample::default() },
            "there is nothing in a sample"
        );
    }
    // Every rule can write the whole payload once, or its own text into every sample.
    check_outcome(&mapped, 32 * (head.len() + 64) * (body.len() + 64));
}

fn samples(body: &[u8]) -> Outcome {
    let outcome = json::decode(&payload(body), None);
    let is_list =
        outcome.samples.iter().flat_map(|sample| &sample.measurements).all(|one| one.name == "value");
    let list =
        outcome.samples.iter().flat_map(|sample| &sample.measurements).find_map(|one| one.value.as_array());
    match list.filter(|_| is_list) {
        Some(list) => {
            let sample = |element: &Value| Sample {
                measurements: json::measurements(element.clone()),
                ..Sample::default()
            };
            Outcome { samples: list.iter().map(sample).collect(), ..Outcome::default() }
        }
        None => outcome,
    }
}

fn rule(line: &str) -> Rule {
    let mut rule = Rule::default();
    for (word, value) in words(line) {
        let text = || Some(value.to_owned());
        match word {
            "from" => rule.from = text(),
            "to" => rule.to = text(),
            "unit" => rule.unit = text(),
            "part" => rule.part = text(),
            "scale" => rule.scale = value.parse().ok(),
            "offset" => rule.offset = value.parse().ok(),
            "constant" => rule.constant = serde_json::from_str(value).ok().or_else(|| Some(value.into())),
            "property" => rule.target = Target::Property,
            "drop" => rule.target = Target::Drop,
            "rfc3339" => rule.target = Target::Time(TimeFormat::Rfc3339),
            "seconds" => rule.target = Target::Time(TimeFormat::Seconds),
            "milliseconds" => rule.target = Target::Time(TimeFormat::Milliseconds),
            "ago" => rule.target = Target::Time(TimeFormat::SecondsAgo),
            _ => {}
        }
    }
    rule
}

/// `key=value` and `key`.
fn words(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, "")))
}
