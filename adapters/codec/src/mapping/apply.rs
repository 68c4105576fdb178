//! Applies a mapping. Not here: its rules' meaning ([`super::Rule`]) and soundness ([`super::Mapping::new`]).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use bridge_core::measurement::Measurement;
use bridge_core::time::Timestamp;
use serde_json::{Number, Value};

use crate::gather::{Warnings, linear};
use crate::{Outcome, Sample};

use super::{Mapping, Rule, Target, moment, split};

pub(super) fn apply(mapping: &Mapping, outcome: Outcome, received_at: Timestamp) -> Outcome {
    let Outcome { samples, warnings: mut lines, errors } = outcome;
    let mut run = Run { mapping, received_at, samples: Vec::new(), warnings: Warnings::default() };
    for mut sample in samples {
        let elements = match &mapping.split {
            Some(field) => split::split(field, &mut sample, &mut run.warnings),
            None => Vec::new(),
        };
        let time = run.map(sample);
        for element in elements {
            run.map(Sample { time, ..element });
        }
    }
    lines.extend(run.warnings.into_lines());
    Outcome { samples: run.samples, warnings: lines, errors }
}

/// A number, or text that is one.
pub(super) fn number(value: &Value) -> Option<Cow<'_, Number>> {
    match value {
        Value::Number(number) => Some(Cow::Borrowed(number)),
        Value::String(text) => {
            let text = text.trim();
            let whole = text.parse::<i64>().ok().map(Number::from);
            whole.or_else(|| Number::from_f64(text.parse().ok()?)).map(Cow::Owned)
        }
        _ => None,
    }
}

struct Run<'a> {
    mapping: &'a Mapping,
    received_at: Timestamp,
    samples: Vec<Sample>,
    warnings: Warnings,
}

/// A rule that has found its value: the measurement itself, or a pointer into it.
struct Find<'a> {
    rule: &'a Rule,
    pointer: Option<&'a str>,
}

/// What goes into one sample.
#[derive(Default)]
struct Part {
    measurements: Vec<Measurement>,
    properties: Vec<Measurement>,
}

impl Part {
    fn take(&mut self, target: Target, measurement: Measurement) {
        match target {
            Target::Telemetry => self.measurements.push(measurement),
            Target::Property => self.properties.push(measurement),
            Target::Time(_) | Target::Drop => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.measurements.is_empty() && self.properties.is_empty()
    }
}

impl Run<'_> {
    /// Adds a sample and its parts. Returns their time.
    fn map(&mut self, sample: Sample) -> Option<Timestamp> {
        let Sample { mut time, measurements, location, properties, mut aside } = sample;
        let finds = find(&self.mapping.rules, &measurements);
        for (source, find) in in_order(&self.mapping.rules, &finds) {
            let Target::Time(format) = find.rule.target else { continue };
            let Some(value) = find.value(&measurements[source]) else { continue };
            match moment::read(value, format, self.received_at) {
                Ok(found) => time = Some(found),
                Err(reason) => {
                    let from = find.rule.from.as_deref().unwrap_or_default();
                    self.warnings.push(format!("{from} {reason}; it was left out"));
                }
            }
        }

        let mut parts: Vec<(Option<&str>, Part)> = vec![(None, Part { properties, ..Part::default() })];
        for rule in &self.mapping.rules {
            if parts.iter().all(|(name, _)| *name != rule.part.as_deref()) {
                parts.push((rule.part.as_deref(), Part::default()));
            }
        }
        let places: HashMap<Option<&str>, usize> =
            parts.iter().enumerate().map(|(place, (name, _))| (*name, place)).collect();

        let written = |target| written(finds.iter().flatten(), target);
        let (telemetry, state) = (written(Target::Telemetry), written(Target::Property));
        parts[0].1.properties.retain(|property| !state.contains(property.name.as_str()));
        for (measurement, finds) in measurements.into_iter().zip(&finds) {
            for find in finds {
                let Some(made) = self.make(find, &measurement) else { continue };
                parts[places[&find.rule.part.as_deref()]].1.take(find.rule.target, made);
            }
            if !self.mapping.keep_others {
                continue;
            }
            let Some(other) = remainder(measurement, finds) else { continue };
            if telemetry.contains(other.name.as_str()) {
                self.warnings.push(format!("{} was replaced by what the mapping calls so", other.name));
            } else {
                parts[0].1.measurements.push(other);
            }
        }

        let mut location = location;
        for (name, mut part) in parts {
            let location = location.take();
            let aside = std::mem::take(&mut aside);
            if part.is_empty() && location.is_none() && aside.is_empty() {
                continue;
            }
            self.add_constants(name, &mut part);
            let Part { measurements, properties } = part;
            self.samples.push(Sample { time, measurements, location, properties, aside });
        }
        time
    }

    fn make(&mut self, find: &Find<'_>, measurement: &Measurement) -> Option<Measurement> {
        let rule = find.rule;
        let name = rule.name()?.to_owned();
        let value = find.value(measurement)?;
        let unit = || rule.unit.clone().map(Cow::Owned).or_else(|| measurement.unit.clone());
        if !rule.is_scaled() {
            return Some(Measurement { name, value: value.clone(), unit: unit() });
        }
        let (scale, offset) = (rule.scale.unwrap_or(1.0), rule.offset.unwrap_or(0.0));
        match number(value).map(|number| linear(&number, scale, offset)) {
            Some(Some(value)) => return Some(Measurement { name, value, unit: unit() }),
            Some(None) => self.warnings.push(format!("{name} is too large to be scaled")),
            None => self.warnings.push(format!("{name} is not a number; it was not scaled")),
        }
        Some(Measurement { name, value: value.clone(), unit: measurement.unit.clone() })
    }

    fn add_constants(&mut self, part: Option<&str>, into: &mut Part) {
        for rule in self.mapping.rules.iter().filter(|rule| rule.part.as_deref() == part) {
            let (Some(value), Some(name)) = (&rule.constant, rule.name()) else { continue };
            let list = match rule.target {
                Target::Property => &mut into.properties,
                _ => &mut into.measurements,
            };
            let before = list.len();
            list.retain(|there| there.name != name);
            if list.len() < before {
                self.warnings.push(format!("{name} was replaced by what the mapping calls so"));
            }
            let unit = rule.unit.clone().map(Cow::Owned);
            into.take(rule.target, Measurement { name: name.to_owned(), value: value.clone(), unit });
        }
    }
}

impl Find<'_> {
    fn value<'v>(&self, measurement: &'v Measurement) -> Option<&'v Value> {
        match self.pointer {
            Some(pointer) => measurement.value.pointer(pointer),
            None => Some(&measurement.value),
        }
    }
}

/// For each measurement the rules that take something of it, in their order.
fn find<'a>(rules: &'a [Rule], measurements: &[Measurement]) -> Vec<Vec<Find<'a>>> {
    let names =
        measurements.iter().enumerate().map(|(place, measurement)| (measurement.name.as_str(), place));
    let places: HashMap<&str, usize> = names.collect();
    let mut finds: Vec<Vec<Find<'a>>> = measurements.iter().map(|_| Vec::new()).collect();
    for rule in rules {
        let Some(from) = rule.from.as_deref() else { continue };
        let ends = std::iter::once(from.len()).chain(from.rmatch_indices('/').map(|(end, _)| end));
        let found = ends.filter_map(|end| {
            let place = *places.get(&from[..end])?;
            let find = Find { rule, pointer: (end < from.len()).then_some(&from[end..]) };
            find.value(&measurements[place]).is_some_and(|value| !value.is_null()).then_some((place, find))
        });
        if let Some((place, find)) = { found }.next() {
            finds[place].push(find);
        }
    }
    finds
}

/// All finds, with the place of their measurement, in the order of the rules.
fn in_order<'f, 'a>(rules: &'a [Rule], finds: &'f [Vec<Find<'a>>]) -> Vec<(usize, &'f Find<'a>)> {
    let all = finds.iter().enumerate().flat_map(|(place, finds)| finds.iter().map(move |find| (place, find)));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, find)| rules.iter().position(|rule| std::ptr::eq(rule, find.rule)));
    all
}

/// The names that are written into the first sample.
fn written<'a, 'f>(finds: impl Iterator<Item = &'f Find<'a>>, target: Target) -> HashSet<&'a str>
where
    'a: 'f,
{
    let first = finds.map(|find| find.rule).filter(|rule| rule.target == target && rule.part.is_none());
    first.filter_map(Rule::name).collect()
}

/// What the rules have left of a measurement. Elements of arrays become null, so that the others keep their places.
fn remainder(mut measurement: Measurement, finds: &[Find<'_>]) -> Option<Measurement> {
    for find in finds {
        let (parent, last) = find.pointer?.rsplit_once('/')?;
        match measurement.value.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.shift_remove(&last.replace("~1", "/").replace("~0", "~"));
            }
            Some(Value::Array(elements)) => {
                if let Some(element) = last.parse().ok().and_then(|place: usize| elements.get_mut(place)) {
                    *element = Value::Null;
                }
            }
            _ => {}
        }
    }
    let gone = !finds.is_empty() && holds_nothing(&measurement.value);
    (!gone).then_some(measurement)
}

fn holds_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.iter().all(holds_nothing),
        Value::Object(members) => members.values().all(holds_nothing),
        _ => false,
    }
}
