//! Every kind of rule and every fault. Not here: times, parts and elements (`samples.rs`), and what holds for any outcome
//! under any mapping (`laws.rs`).

mod laws;
mod samples;

use bridge_core::measurement::Measurement;
use serde_json::{Map, Value, json};

use super::*;
use crate::Sample;

const RECEIVED: i64 = 1_700_000_000_000;

fn received_at() -> Timestamp {
    Timestamp::from_millis(RECEIVED).unwrap()
}

fn from(from: &str) -> Rule {
    Rule { from: Some(from.into()), ..Rule::default() }
}

fn rename(source: &str, to: &str) -> Rule {
    Rule { to: Some(to.into()), ..from(source) }
}

fn linear(source: &str, scale: Option<f64>, offset: Option<f64>) -> Rule {
    Rule { scale, offset, ..from(source) }
}

fn constant(to: &str, value: Value) -> Rule {
    Rule { to: Some(to.into()), constant: Some(value), ..Rule::default() }
}

fn into(target: Target, rule: Rule) -> Rule {
    Rule { target, ..rule }
}

fn part(name: &str, rule: Rule) -> Rule {
    Rule { part: Some(name.into()), ..rule }
}

fn split(field: &str) -> Option<Split> {
    Some(Split { field: field.into() })
}

fn sample(members: Value) -> Sample {
    Sample { measurements: crate::json::measurements(members), ..Sample::default() }
}

fn apply(rules: &[Rule], split: Option<Split>, keep_others: bool, members: Value) -> Outcome {
    let mapping = Mapping::new(rules.to_vec(), split, keep_others).unwrap();
    mapping.apply(Outcome { samples: vec![sample(members)], ..Outcome::default() }, received_at())
}

/// The measurements of the samples, as objects.
fn values(outcome: &Outcome) -> Vec<Value> {
    outcome.samples.iter().map(|sample| object(&sample.measurements)).collect()
}

fn object(measurements: &[Measurement]) -> Value {
    measurements.iter().map(|one| (one.name.clone(), one.value.clone())).collect::<Map<_, _>>().into()
}

/// What the rules make of the members, without those that they do not take, when there is nothing to warn of.
#[track_caller]
fn mapped(rules: &[Rule], members: Value) -> Vec<Value> {
    let outcome = apply(rules, None, false, members);
    assert_eq!(outcome.warnings, [] as [&str; 0]);
    values(&outcome)
}

fn fault(rule: Rule) -> Option<Fault> {
    match Mapping::new(vec![from("fine"), rule], None, true) {
        Ok(_) => None,
        Err(MappingError::Rule { rule: 1, fault }) => Some(fault),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_value_gets_another_name_and_keeps_its_place_and_unit() {
    let measurements = vec![
        Measurement::new("a", 1),
        Measurement::new("t", 21.5).with_unit("Cel"),
        Measurement::new("z", "last"),
    ];
    let rules = [rename("z", "end"), rename("t", "temperature"), rename("lost", "found")];
    let mapping = Mapping::new(rules.to_vec(), None, true).unwrap();
    let outcome = mapping.apply(Outcome::of(measurements), received_at());
    let wanted = [
        Measurement::new("a", 1),
        Measurement::new("temperature", 21.5).with_unit("Cel"),
        Measurement::new("end", "last"),
    ];
    assert_eq!(outcome, Outcome::of(wanted.to_vec()));
}

#[test]
fn others_are_kept_or_dropped() {
    let members = json!({"a": 1, "b": 2});
    assert_eq!(values(&apply(&[rename("a", "x")], None, true, members.clone())), [json!({"x": 1, "b": 2})]);
    assert_eq!(values(&apply(&[rename("a", "x")], None, false, members.clone())), [json!({"x": 1})]);
    assert_eq!(apply(&[from("c")], None, false, members.clone()), Outcome::default());
    assert_eq!(values(&apply(&[], None, true, members.clone())), [members]);
}

#[test]
fn a_value_without_a_new_name_is_called_as_it_is_found() {
    assert_eq!(mapped(&[from("a/b/0")], json!({"a": {"b": [7]}})), [json!({"a/b/0": 7})]);
    assert_eq!(mapped(&[from("a"), from("b")], json!({"b": 1})), [json!({"b": 1})]);
}

#[test]
fn a_pointer_leads_into_a_value_and_the_longest_name_counts() {
    for (source, members, want) in [
        ("a/b/0", json!({"a": {"b": [7, 8]}}), Some(json!(7))),
        ("a/b/0", json!({"a/b": [9], "a": {"b": [7]}}), Some(json!(9))),
        // The longer name has no such value, the shorter one has.
        ("a/b/0", json!({"a/b": 5, "a": {"b": [7]}}), Some(json!(7))),
        ("a/b/0", json!({"a/b": [null], "a": {"b": [7]}}), Some(json!(7))),
        ("a/b/0", json!({"a/b/0": 1, "a/b": [9]}), Some(json!(1))),
        ("a/b~1c/~0", json!({"a": {"b/c": {"~": 3}}}), Some(json!(3))),
        ("/a", json!({"": {"a": 4}}), Some(json!(4))),
        ("a/", json!({"a": {"": 6}}), Some(json!(6))),
        ("a/b", json!({"a": {"b": {"c": 1}}}), Some(json!({"c": 1}))),
        ("a/1", json!({"a": [0]}), None),
        ("a/01", json!({"a": [0, 1]}), None),
        ("a/-", json!({"a": [0]}), None),
        ("a/b", json!({"a": 1}), None),
        ("a/b", json!({"a": {"b": null}}), None),
        ("b", json!({"a": {"b": 1}}), None),
    ] {
        let want: Vec<Value> = want.into_iter().map(|value| json!({"x": value})).collect();
        assert_eq!(mapped(&[rename(source, "x")], members.clone()), want, "{source} {members}");
    }
}

#[test]
fn what_is_not_taken_out_of_a_structure_stays_in_it() {
    let members = json!({"a": {"b": [7, 8], "c": 1, "x/y": 2}, "d": [[1], {}]});
    for (rules, want) in [
        (
            vec![rename("a/b/0", "n")],
            json!({"n": 7, "a": {"b": [null, 8], "c": 1, "x/y": 2}, "d": [[1], {}]}),
        ),
        (vec![rename("a/b", "n")], json!({"n": [7, 8], "a": {"c": 1, "x/y": 2}, "d": [[1], {}]})),
        (vec![rename("a/x~1y", "n")], json!({"n": 2, "a": {"b": [7, 8], "c": 1}, "d": [[1], {}]})),
        (vec![rename("a", "n"), rename("a/c", "m")], json!({"n": members["a"], "m": 1, "d": [[1], {}]})),
        (
            vec![rename("a/b/1", "n"), rename("a/b", "m"), rename("a/c", "o"), rename("a/x~1y", "p")],
            json!({"n": 8, "m": [7, 8], "o": 1, "p": 2, "d": [[1], {}]}),
        ),
        (vec![rename("d/0/0", "n")], json!({"a": members["a"], "n": 1})),
        (vec![into(Target::Drop, from("a")), into(Target::Drop, from("d/1"))], json!({"d": [[1], null]})),
    ] {
        let outcome = apply(&rules, None, true, members.clone());
        assert_eq!((values(&outcome), outcome.warnings.len()), (vec![want], 0), "{rules:?}");
    }
}

#[test]
fn one_value_can_be_written_more_than_once() {
    let rules = [rename("t", "b"), rename("t", "a"), into(Target::Property, from("t")), part("p", from("t"))];
    let outcome = apply(&rules, None, true, json!({"t": 1}));
    assert_eq!(values(&outcome), [json!({"b": 1, "a": 1}), json!({"t": 1})]);
    assert_eq!(outcome.samples[0].measurements[0].name, "b");
    assert_eq!(outcome.samples[0].properties, [Measurement::new("t", 1)]);
}

#[test]
fn numbers_are_scaled_without_digits_too_many() {
    for (value, scale, offset, want) in [
        (json!(27), Some(0.1), None, json!(2.7)),
        (json!(3), Some(0.1), Some(-0.3), json!(0.0)),
        (json!(1.1), None, Some(2.2), json!(3.3)),
        (json!(7), Some(10.0), Some(-1.0), json!(69)),
        (json!(-5), Some(-1.0), None, json!(5)),
        (json!(" 655 "), Some(0.01), Some(-40.0), json!(-33.45)),
        (json!("2.50"), Some(2.0), None, json!(5.0)),
        (json!("+7"), Some(2.0), None, json!(14)),
        (json!("1e2"), None, Some(0.5), json!(100.5)),
        (json!(72), Some(5.0 / 9.0), Some(-160.0 / 9.0), json!(22.2222222222)),
        (json!(u64::MAX), Some(1.0), None, json!(1.84467440737e19)),
    ] {
        let found = mapped(&[linear("t", scale, offset)], json!({"t": value}));
        assert_eq!(found, [json!({"t": want})], "{value} {scale:?} {offset:?}");
    }
}

#[test]
fn what_cannot_be_scaled_goes_through_as_it_is() {
    for (value, warning) in [
        (json!("warm"), "x is not a number; it was not scaled"),
        (json!(""), "x is not a number; it was not scaled"),
        (json!("inf"), "x is not a number; it was not scaled"),
        (json!("NaN"), "x is not a number; it was not scaled"),
        (json!("1e999"), "x is not a number; it was not scaled"),
        (json!(true), "x is not a number; it was not scaled"),
        (json!([1]), "x is not a number; it was not scaled"),
        (json!(1e308), "x is too large to be scaled"),
        (json!("-1e308"), "x is too large to be scaled"),
    ] {
        let unit = Some("kPa".to_owned());
        let rule = Rule { to: Some("x".into()), unit, ..linear("t", Some(100.0), None) };
        let mapping = Mapping::new(vec![rule], None, false).unwrap();
        let outcome = Outcome::of(vec![Measurement::new("t", value.clone()).with_unit("hPa")]);
        let outcome = mapping.apply(outcome.with_warning("before"), received_at());
        assert_eq!(outcome.samples[0].measurements, [Measurement::new("x", value).with_unit("hPa")]);
        assert_eq!(outcome.warnings, ["before", warning]);
    }
}

#[test]
fn a_unit_replaces_the_measurement_s_own() {
    let rule = Rule { unit: Some("Cel".into()), ..from("t") };
    let mapping = Mapping::new(vec![rule.clone(), rename("u", "v")], None, true).unwrap();
    let measurements = vec![
        Measurement::new("t", "21.50").with_unit("K"),
        Measurement::new("u", 1).with_unit("V"),
        Measurement::new("w", 2).with_unit("W"),
    ];
    let outcome = mapping.apply(Outcome::of(measurements), received_at());
    let wanted = [
        // Nothing is scaled, so text stays text.
        Measurement::new("t", "21.50").with_unit("Cel"),
        Measurement::new("v", 1).with_unit("V"),
        Measurement::new("w", 2).with_unit("W"),
    ];
    assert_eq!(outcome, Outcome::of(wanted.to_vec()));
}

#[test]
fn properties_are_no_measurements() {
    let rules = [
        into(Target::Property, rename("fw", "firmware")),
        into(Target::Property, constant("model", json!("m1"))),
        into(Target::Property, linear("mv", Some(0.001), None)),
    ];
    let mapping = Mapping::new(rules.to_vec(), None, true).unwrap();
    let mut outcome = Outcome::of(crate::json::measurements(json!({"fw": "1.2", "t": 3, "mv": 3300})));
    let already = ["firmware", "serial", "model"];
    outcome.samples[0].properties = already.map(|name| Measurement::new(name, "old")).to_vec();
    let outcome = mapping.apply(outcome, received_at());
    let sample = &outcome.samples[0];
    assert_eq!(object(&sample.measurements), json!({"t": 3}));
    assert_eq!(
        object(&sample.properties),
        json!({"serial": "old", "firmware": "1.2", "mv": 3.3, "model": "m1"})
    );
    let replaced = |name| format!("{name} was replaced by what the mapping calls so");
    assert_eq!(outcome.warnings, [replaced("firmware"), replaced("model")]);
}

#[test]
fn constants_join_a_sample_and_make_none() {
    let rules = [
        Rule { unit: Some("m".into()), ..constant("height", json!(2)) },
        constant("list", json!([1, "a"])),
        part("p", constant("in_part", json!(true))),
        part("p", from("b")),
    ];
    let outcome = apply(&rules, None, true, json!({"a": 1, "height": 9}));
    assert_eq!(
        outcome.samples[0].measurements,
        [
            Measurement::new("a", 1),
            Measurement::new("height", 2).with_unit("m"),
            Measurement::new("list", json!([1, "a"])),
        ]
    );
    assert_eq!(outcome.warnings, ["height was replaced by what the mapping calls so"]);
    assert_eq!(outcome.samples.len(), 1);
    assert_eq!(values(&apply(&rules, None, true, json!({"b": 1}))), [json!({"b": 1, "in_part": true})]);
    assert_eq!(apply(&rules, None, true, json!({})), Outcome::default());
    assert_eq!(apply(&rules, None, false, json!({"other": 1})), Outcome::default());
}

#[test]
fn the_mapping_wins_over_a_measurement_of_the_same_name() {
    let outcome = apply(&[rename("a", "b")], None, true, json!({"b": 1, "a": 2}));
    assert_eq!(values(&outcome), [json!({"b": 2})]);
    assert_eq!(outcome.warnings, ["b was replaced by what the mapping calls so"]);
    // What is left of a structure is no measurement of its own either.
    let outcome = apply(&[rename("a/b", "a")], None, true, json!({"a": {"b": 1, "c": 2}}));
    assert_eq!((values(&outcome), outcome.warnings.len()), (vec![json!({"a": 1})], 1));
    // Two names that change places.
    let outcome = apply(&[rename("a", "b"), rename("b", "a")], None, true, json!({"a": 1, "b": 2}));
    assert_eq!((values(&outcome), outcome.warnings.len()), (vec![json!({"b": 1, "a": 2})], 0));
    // The mapping writes it only where it finds its value, and a property or another part is no such name.
    for rules in [
        vec![rename("lost", "b")],
        vec![into(Target::Property, rename("a", "b"))],
        vec![part("p", rename("a", "b"))],
    ] {
        let outcome = apply(&rules, None, true, json!({"b": 1, "a": 2}));
        assert_eq!((&values(&outcome)[0]["b"], outcome.warnings.len()), (&json!(1), 0), "{rules:?}");
    }
}

#[test]
fn every_fault_of_a_rule() {
    let text = || Some("x".to_owned());
    let nothing = || Some(String::new());
    let time = Target::Time(TimeFormat::Seconds);
    for (rule, want) in [
        (Rule::default(), Fault::Source),
        (Rule { constant: Some(json!(1)), ..from("a") }, Fault::Source),
        (from(""), Fault::Empty("from")),
        (rename("a", ""), Fault::Empty("to")),
        (Rule { unit: nothing(), ..from("a") }, Fault::Empty("unit")),
        (Rule { part: nothing(), ..from("a") }, Fault::Empty("part")),
        (Rule { constant: Some(json!(1)), ..Rule::default() }, Fault::ConstantName),
        (Rule { scale: Some(1.0), ..constant("a", json!(1)) }, Fault::ConstantScaled),
        (Rule { offset: Some(0.0), ..constant("a", json!(1)) }, Fault::ConstantScaled),
        (linear("a", Some(0.0), None), Fault::Factor),
        (linear("a", Some(-0.0), None), Fault::Factor),
        (linear("a", Some(f64::NAN), None), Fault::Factor),
        (linear("a", Some(f64::INFINITY), None), Fault::Factor),
        (linear("a", None, Some(f64::NAN)), Fault::Factor),
        (linear("a", Some(1.0), Some(f64::NEG_INFINITY)), Fault::Factor),
        (into(Target::Drop, rename("a", "b")), Fault::NothingToWrite),
        (into(Target::Drop, constant("a", json!(1))), Fault::NothingToWrite),
        (into(Target::Drop, linear("a", Some(1.0), None)), Fault::NothingToWrite),
        (into(time, linear("a", None, Some(1.0))), Fault::NothingToWrite),
        (into(time, Rule { unit: text(), ..from("a") }), Fault::NothingToWrite),
        (into(time, part("p", from("a"))), Fault::NothingToWrite),
        (rename("a", "fine"), Fault::SameName { name: "fine".into(), other: 0 }),
        (from("fine"), Fault::SameName { name: "fine".into(), other: 0 }),
        (constant("fine", json!(1)), Fault::SameName { name: "fine".into(), other: 0 }),
    ] {
        assert_eq!(fault(rule.clone()), Some(want), "{rule:?}");
    }
    for sound in [
        into(Target::Property, from("fine")),
        part("p", from("fine")),
        into(Target::Drop, from("fine")),
        into(time, from("fine")),
        rename("fine", "other"),
        constant("null", Value::Null),
        linear("a", Some(-1e-300), Some(0.0)),
        Rule { unit: text(), ..constant("a", json!(1)) },
    ] {
        assert_eq!(fault(sound.clone()), None, "{sound:?}");
    }
    assert_eq!(Mapping::new(vec![], split(""), true), Err(MappingError::Split));
    let error = Mapping::new(vec![from("a"), from("b"), rename("c", "a")], None, true).unwrap_err();
    assert_eq!(error.to_string(), "rule 2: rule 0 writes \"a\" too");
}
