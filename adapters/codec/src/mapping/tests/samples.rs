//! What decides which samples there are, and their times: rules for the time, parts, arrays that are split. Not here: the
//! values in them.

use bridge_core::message::Location;

use super::*;

#[test]
fn parts_are_samples_of_their_own() {
    let rules = [
        part("north", rename("t1", "t")),
        part("south", rename("t2", "t")),
        part("north", rename("h1", "h")),
        part("north", into(Target::Property, from("id"))),
        into(Target::Time(TimeFormat::Milliseconds), from("at")),
    ];
    let mapping = Mapping::new(rules.to_vec(), None, true).unwrap();
    let location = Location::new(52.0, 4.0);
    let first = Sample {
        location: location.clone(),
        aside: Map::from_iter([("x".to_owned(), json!(1))]),
        ..sample(json!({"t2": 2, "t1": 1, "at": 5000, "h1": 3, "id": "n", "other": 4}))
    };
    let outcome = mapping.apply(Outcome { samples: vec![first], ..Outcome::default() }, received_at());
    assert_eq!(values(&outcome), [json!({"other": 4}), json!({"t": 1, "h": 3}), json!({"t": 2})]);
    assert_eq!(object(&outcome.samples[1].properties), json!({"id": "n"}));
    assert!(outcome.samples.iter().all(|sample| sample.time == Timestamp::from_millis(5000)));
    let [first, others @ ..] = &*outcome.samples else { panic!("there are samples") };
    assert_eq!((&first.location, first.aside.len()), (&location, 1));
    assert!(others.iter().all(|sample| sample.location.is_none() && sample.aside.is_empty()));
    // Without anything of its own the first sample goes, unless it has the position.
    assert_eq!(values(&apply(&rules, None, true, json!({"t1": 1}))), [json!({"t": 1})]);
    let place = Sample { location, ..sample(json!({"t1": 1})) };
    let outcome = mapping.apply(Outcome { samples: vec![place], ..Outcome::default() }, received_at());
    assert_eq!(values(&outcome), [json!({}), json!({"t": 1})]);
}

#[test]
fn every_format_of_time() {
    use TimeFormat::{Milliseconds, Rfc3339, Seconds, SecondsAgo};
    for (format, value, want) in [
        (Rfc3339, json!("1970-01-01T00:00:01.5Z"), 1500),
        (Rfc3339, json!("2023-11-14T23:13:20.1239+01:00"), RECEIVED + 123),
        (Rfc3339, json!("9999-12-30T22:00:00Z"), 253_402_207_200_000),
        (Seconds, json!(0), 0),
        (Seconds, json!(1_700_000_000), RECEIVED),
        (Seconds, json!(1_700_000_000.001), RECEIVED + 1),
        (Seconds, json!(1_700_000_000.000_9), RECEIVED),
        (Seconds, json!("1700000000.999"), RECEIVED + 999),
        (Seconds, json!(253_402_207_199.999), 253_402_207_199_999),
        (Milliseconds, json!(RECEIVED), RECEIVED),
        (Milliseconds, json!(1_700_000_000_000.999_5), RECEIVED),
        (Milliseconds, json!(" 1700000000000 "), RECEIVED),
        (SecondsAgo, json!(0), RECEIVED),
        (SecondsAgo, json!(90), RECEIVED - 90_000),
        (SecondsAgo, json!("0.1"), RECEIVED - 100),
        (SecondsAgo, json!(1_700_000_000), 0),
    ] {
        let rules = [into(Target::Time(format), from("at/0"))];
        let outcome = apply(&rules, None, true, json!({"at": [value], "t": 1}));
        assert_eq!((values(&outcome), outcome.warnings.len()), (vec![json!({"t": 1})], 0));
        assert_eq!(outcome.samples[0].time, Timestamp::from_millis(want), "{format:?} {value}");
    }
}

#[test]
fn a_time_that_is_none_is_left_out() {
    use TimeFormat::{Milliseconds, Rfc3339, Seconds, SecondsAgo};
    const OUTSIDE: &str = "is not between the years 1970 and 9999";
    const RFC: &str = "is not a time of RFC 3339 between the years 1970 and 9999";
    for (format, value, reason) in [
        (Rfc3339, json!(1_700_000_000), RFC),
        (Rfc3339, json!("yesterday"), RFC),
        (Rfc3339, json!("1969-12-31T23:59:59Z"), RFC),
        (Rfc3339, json!("10000-01-01T00:00:00Z"), RFC),
        (Rfc3339, json!("2024-02-30T00:00:00Z"), RFC),
        (Seconds, json!("soon"), "is not a number"),
        (Seconds, json!(true), "is not a number"),
        (Seconds, json!({"s": 1}), "is not a number"),
        (Seconds, json!(-1), OUTSIDE),
        (Seconds, json!(-0.0001), OUTSIDE),
        (Seconds, json!(253_402_300_800_i64), OUTSIDE),
        (Seconds, json!(1e308), OUTSIDE),
        (Seconds, json!("-1e308"), OUTSIDE),
        (Milliseconds, json!(253_402_300_800_000_i64), OUTSIDE),
        (Milliseconds, json!(u64::MAX), OUTSIDE),
        (Milliseconds, json!(-1), OUTSIDE),
        (SecondsAgo, json!(-1), "is a time after the payload was received"),
        (SecondsAgo, json!(1_700_000_001), OUTSIDE),
        (SecondsAgo, json!(1e308), OUTSIDE),
    ] {
        let rules = [into(Target::Time(format), from("at"))];
        let outcome = apply(&rules, None, true, json!({"at": value, "t": 1}));
        assert_eq!(outcome.samples, [sample(json!({"t": 1}))], "{format:?} {value}");
        assert_eq!(outcome.warnings, [format!("at {reason}; it was left out")], "{value}");
    }
}

#[test]
fn the_last_rule_that_finds_a_time_sets_it() {
    let seconds = |source| into(Target::Time(TimeFormat::Seconds), from(source));
    let rules = [seconds("a"), seconds("b"), seconds("c")];
    let time = |members| {
        let outcome = apply(&rules, None, true, members);
        outcome.samples[0].time.map(Timestamp::as_millis)
    };
    assert_eq!(time(json!({"c": 3, "b": 2, "a": 1, "t": 0})), Some(3000));
    assert_eq!(time(json!({"b": 2, "a": 1, "t": 0})), Some(2000));
    assert_eq!(time(json!({"c": "?", "a": 1, "t": 0})), Some(1000));
    assert_eq!(time(json!({"t": 0})), None);
    let own = Sample { time: Some(received_at()), ..sample(json!({"a": -1, "t": 1})) };
    let mapping = Mapping::new(rules.to_vec(), None, true).unwrap();
    let outcome = mapping.apply(Outcome { samples: vec![own], ..Outcome::default() }, received_at());
    assert_eq!((outcome.samples[0].time, outcome.warnings.len()), (Some(received_at()), 1));
}

#[test]
fn the_elements_of_an_array_become_samples() {
    let rules = [
        into(Target::Time(TimeFormat::SecondsAgo), from("age")),
        rename("v", "temperature"),
        constant("site", json!("n")),
        part("raw", rename("adc", "value")),
    ];
    let members =
        json!({"age": 10, "log": [{"v": 1, "adc": 5}, {"v": 2, "age": 60}, 3, null, {}, [4], "x"], "b": 9});
    let outcome = apply(&rules, split("log"), true, members.clone());
    assert_eq!(
        values(&outcome),
        [
            json!({"b": 9, "site": "n"}),
            json!({"temperature": 1, "site": "n"}),
            json!({"value": 5}),
            json!({"temperature": 2, "site": "n"}),
            json!({"log": 3, "site": "n"}),
            json!({"log": [4], "site": "n"}),
            json!({"log": "x", "site": "n"}),
        ]
    );
    let ages = outcome.samples.iter().map(|sample| (RECEIVED - sample.time.unwrap().as_millis()) / 1000);
    assert_eq!(ages.collect::<Vec<_>>(), [10, 10, 10, 60, 10, 10, 10]);
    assert_eq!(outcome.warnings, [] as [&str; 0]);
    // Rules see the elements and not the array.
    let outcome = apply(&[rename("log", "x"), rename("log/0/v", "y")], split("log"), false, members);
    assert_eq!(values(&outcome), [json!({"x": 3}), json!({"x": [4]}), json!({"x": "x"})]);
}

#[test]
fn elements_that_are_no_objects_have_the_unit_of_their_array() {
    let mapping = Mapping::new(vec![], split("t"), true).unwrap();
    let outcome = Outcome::of(vec![Measurement::new("t", json!([1, 2])).with_unit("Cel")]);
    let wanted = [1, 2].map(|value| Sample {
        measurements: vec![Measurement::new("t", value).with_unit("Cel")],
        ..Sample::default()
    });
    assert_eq!(mapping.apply(outcome, received_at()).samples, wanted);
}

#[test]
fn what_is_no_array_or_too_long_is_not_split() {
    for value in [json!({"v": 1}), json!(5), json!("text")] {
        let outcome = apply(&[], split("log"), true, json!({"log": value}));
        assert_eq!(values(&outcome), [json!({"log": value})]);
        assert_eq!(outcome.warnings, ["log is not an array; it was not split"]);
    }
    for (length, samples, warnings) in [(0, 0, 0), (1, 1, 0), (1024, 1024, 0), (1025, 1, 1)] {
        let outcome = apply(&[], split("log"), true, json!({"log": vec![7; length]}));
        assert_eq!((outcome.samples.len(), outcome.warnings.len()), (samples, warnings), "{length}");
    }
    let outcome = apply(&[], split("log"), true, json!({"log": vec![7; 1025]}));
    assert_eq!(outcome.warnings, ["log has more than 1024 elements; it was not split"]);
    let outcome = apply(&[], split("log"), true, json!({"a": 1}));
    assert_eq!((values(&outcome), outcome.warnings.len()), (vec![json!({"a": 1})], 0));
}

#[test]
fn warnings_are_few_and_errors_stay() {
    let rules = [linear("t", Some(2.0), None)];
    let outcome = apply(&rules, split("log"), true, json!({"log": vec![json!({"t": "x"}); 1000]}));
    assert_eq!((outcome.samples.len(), outcome.warnings.len()), (1000, 17));
    assert_eq!(outcome.warnings.last().unwrap(), "984 more warnings");
    let mapping = Mapping::new(rules.to_vec(), None, false).unwrap();
    let error = Outcome::error("broken").with_warning("before");
    assert_eq!(mapping.apply(error.clone(), received_at()), error);
}

#[test]
fn every_sample_is_mapped_by_itself() {
    let mapping = Mapping::new(vec![rename("a", "x")], None, false).unwrap();
    let time = Timestamp::from_millis(1);
    let samples = vec![sample(json!({"a": 1})), sample(json!({"b": 1})), sample(json!({"a": 2}))];
    let mut outcome = Outcome { samples, ..Outcome::default() };
    outcome.samples[2].time = time;
    let outcome = mapping.apply(outcome, received_at());
    assert_eq!(values(&outcome), [json!({"x": 1}), json!({"x": 2})]);
    assert_eq!((outcome.samples[0].time, outcome.samples[1].time), (None, time));
}
