//! What holds for any outcome under any mapping. Not here: what one rule does.

use std::collections::HashSet;

use bridge_core::message::Location;
use proptest::prelude::*;

use super::super::moment;
use super::*;

/// Few names, so that they meet.
const NAMES: &str = "[ab]|[ab]/[ab01]|[ab]/[ab]/0|log|é|/a";

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::ANY.prop_map(Value::from),
        (0..2_000_000_000_i64).prop_map(Value::from),
        "-?[0-9]{0,3}(\\.[0-9])?|\\PC{0,4}|2024-0[0-9]-01T00:00:00Z".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab01]", inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Each name once, as decoders promise.
fn any_measurements() -> impl Strategy<Value = Vec<Measurement>> {
    let unit = prop::option::of(Just("Cel"));
    prop::collection::btree_map(NAMES, (any_value(), unit), 0..5).prop_map(|all| {
        let one = |(name, (value, unit)): (String, (Value, Option<&'static str>))| {
            let measurement = Measurement::new(name, value);
            unit.map_or(measurement.clone(), |unit| measurement.with_unit(unit))
        };
        all.into_iter().map(one).collect()
    })
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let time =
        prop::option::of((0..4_000_000_000_000_i64).prop_map(|ms| Timestamp::from_millis(ms).unwrap()));
    let location = prop::option::of(Just(Location::new(1.0, 2.0).unwrap()));
    (time, any_measurements(), location, any_measurements()).prop_map(
        |(time, measurements, location, properties)| Sample {
            time,
            measurements,
            location,
            properties,
            aside: Map::new(),
        },
    )
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let target = prop_oneof![
        4 => Just(Target::Telemetry),
        2 => Just(Target::Property),
        1 => Just(Target::Drop),
        1 => prop::sample::select(vec![
            TimeFormat::Rfc3339, TimeFormat::Seconds, TimeFormat::Milliseconds, TimeFormat::SecondsAgo,
        ])
        .prop_map(Target::Time),
    ];
    let factor = || prop::option::weighted(0.3, prop_oneof![prop::num::f64::NORMAL, -9.0..9.0]);
    let part = prop::option::weighted(0.3, "p|q");
    let to = prop::option::of(NAMES);
    let unit = prop::option::weighted(0.2, "V");
    (NAMES, to, target, factor(), factor(), unit, part, prop::option::weighted(0.2, any_value())).prop_map(
        |(source, to, target, scale, offset, unit, part, constant)| match (target, constant) {
            (Target::Drop | Target::Time(_), _) => into(target, from(&source)),
            (_, Some(constant)) => {
                let to = Some(to.unwrap_or(source));
                Rule { to, unit, part, target, constant: Some(constant), ..Rule::default() }
            }
            _ => Rule { from: Some(source), to, constant: None, scale, offset, unit, target, part },
        },
    )
}

/// The rules that are sound together with those before them.
fn any_mapping() -> impl Strategy<Value = (Mapping, usize)> {
    let split = prop::option::of(NAMES.prop_map(|field| Split { field }));
    (prop::collection::vec(any_rule(), 0..8), split, any::<bool>()).prop_map(|(rules, split, keep_others)| {
        let sound = rules.into_iter().fold(Vec::new(), |mut sound, rule| {
            sound.push(rule);
            if Mapping::new(sound.clone(), None, true).is_err() {
                sound.pop();
            }
            sound
        });
        let parts: HashSet<_> = sound.iter().filter_map(|rule| rule.part.clone()).collect();
        (Mapping::new(sound, split, keep_others).unwrap(), parts.len() + 1)
    })
}

fn each_name_once(measurements: &[Measurement]) -> bool {
    let mut names = HashSet::new();
    measurements.iter().all(|measurement| names.insert(&measurement.name))
}

/// Whether it has no number that JSON has not.
fn reads_back(value: &Value) -> bool {
    serde_json::from_str::<Value>(&value.to_string()).is_ok_and(|read| read == *value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_outcome_under_any_mapping(
        (mapping, parts) in any_mapping(),
        samples in prop::collection::vec(any_sample(), 0..4),
    ) {
        let elements = |sample: &Sample| {
            let field = mapping.split.as_ref().map(|split| split.field.as_str());
            let array = sample.measurements.iter().find(|one| Some(one.name.as_str()) == field);
            array.and_then(|one| one.value.as_array()).map_or(0, Vec::len)
        };
        let most: usize = samples.iter().map(|sample| (1 + elements(sample)) * parts).sum();
        let outcome = Outcome { samples, ..Outcome::default() };
        let mapped = mapping.apply(outcome.clone(), received_at());
        prop_assert_eq!(&mapped, &mapping.apply(outcome, received_at()));
        prop_assert!(mapped.samples.len() <= most && mapped.warnings.len() <= 17 && mapped.errors.is_empty());
        for sample in &mapped.samples {
            prop_assert!(each_name_once(&sample.measurements) && each_name_once(&sample.properties), "{sample:?}");
            let mut all = sample.measurements.iter().chain(&sample.properties);
            prop_assert!(all.all(|one| reads_back(&one.value)));
            prop_assert!(*sample != Sample { time: sample.time, ..Sample::default() }, "there is nothing in it");
        }
    }

    #[test]
    fn without_rules_nothing_changes(samples in prop::collection::vec(any_sample(), 0..4)) {
        let mapping = Mapping::new(vec![], None, true).unwrap();
        let mut wanted = Outcome { samples, ..Outcome::default() };
        let mapped = mapping.apply(wanted.clone(), received_at());
        wanted.samples.retain(|sample| *sample != Sample { time: sample.time, ..Sample::default() });
        prop_assert_eq!(mapped, wanted);
    }

    #[test]
    fn seconds_are_read_to_the_millisecond(ms in 0..=253_402_207_200_000_i64) {
        let text = format!("{}.{:03}", ms / 1000, ms % 1000);
        let number: f64 = text.parse().unwrap();
        for value in [json!(text), json!(number)] {
            let time = moment::read(&value, TimeFormat::Seconds, received_at());
            prop_assert_eq!(time.map(Timestamp::as_millis), Ok(ms));
        }
    }
}
