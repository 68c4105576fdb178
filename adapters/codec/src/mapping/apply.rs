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
    let mut parts = vec![None];
    for rule in &mapping.rules {
        if !parts.contains(&rule.part.as_deref()) {
            parts.push(rule.part.as_deref());
        }
    }
    let mut run = Run { mapping, parts, received_at, samples: Vec::new(), warnings: Warnings::default() };
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
    /// None, which is the first sample, and the names of the others, in the order of the rules.
    parts: Vec<Option<&'a str>>,
    received_at: Timestamp,
    samples: Vec<Sample>,
    warnings: Warnings,
}

/// A rule that has found its value.
struct Find<'a> {
    rule: &'a Rule,
    /// The place of the measurement that has it.
    source: usize,
    /// Where it is in there; empty where it is the whole.
    pointer: &'a str,
}

/// What goes into one sample.
#[derive(Default)]
struct Part {
    measurements: Vec<Measurement>,
    properties: Vec<Measurement>,
}

impl Run<'_> {
    /// Adds a sample and its parts. Returns their time.
    fn map(&mut self, sample: Sample) -> Option<Timestamp> {
        let Sample { time, measurements, mut location, properties, mut aside } = sample;
        let mut finds = find(&self.mapping.rules, &measurements);
        let time = self.time(&finds, &measurements).or(time);
        let (telemetry, state) = (written(&finds, Target::Telemetry), written(&finds, Target::Property));

        let mut parts: Vec<Part> = self.parts.iter().map(|_| Part::default()).collect();
        parts[0].properties = properties;
        parts[0].properties.retain(|property| !self.is_replaced(property, &state));
        finds.sort_by_key(|find| find.source);
        let mut rest = finds.as_slice();
        for (source, measurement) in measurements.into_iter().enumerate() {
            let (finds, after) = rest.split_at(rest.partition_point(|find| find.source == source));
            rest = after;
            for find in finds {
                let part = self.parts.iter().position(|part| *part == find.rule.part.as_deref());
                let Some((made, part)) = self.make(find, &measurement).zip(part) else { continue };
                parts[part].list(find.rule).push(made);
            }
            let other = remainder(measurement, finds).filter(|_| self.mapping.keep_others);
            parts[0].measurements.extend(other.filter(|other| !self.is_replaced(other, &telemetry)));
        }

        for (place, mut part) in parts.into_iter().enumerate() {
            let (location, aside) = (location.take(), std::mem::take(&mut aside));
            let is_empty = part.measurements.is_empty() && part.properties.is_empty();
            if is_empty && location.is_none() && aside.is_empty() {
                continue;
            }
            self.add_constants(self.parts[place], &mut part);
            let Part { measurements, properties } = part;
            self.samples.push(Sample { time, measurements, location, properties, aside });
        }
        time
    }

    /// What the last of the rules that set the time says.
    fn time(&mut self, finds: &[Find<'_>], measurements: &[Measurement]) -> Option<Timestamp> {
        let mut time = None;
        for find in finds {
            let Target::Time(format) = find.rule.target else { continue };
            let Some(value) = find.value(&measurements[find.source]) else { continue };
            match moment::read(value, format, self.received_at) {
                Ok(found) => time = Some(found),
                Err(reason) => {
                    let from = find.rule.from.as_deref().unwrap_or_default();
                    self.warnings.push(format!("{from} {reason}; it was left out"));
                }
            }
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
            let (value, unit) = (value.clone(), rule.unit.clone().map(Cow::Owned));
            let list = into.list(rule);
            list.retain(|there| !self.is_replaced(there, &HashSet::from([name])));
            list.push(Measurement { name: name.to_owned(), value, unit });
        }
    }

    /// Whether the mapping writes something of that name, and says so.
    fn is_replaced(&mut self, other: &Measurement, written: &HashSet<&str>) -> bool {
        let is_replaced = written.contains(other.name.as_str());
        if is_replaced {
            self.warnings.push(format!("{} was replaced by what the mapping calls so", other.name));
        }
        is_replaced
    }
}

impl Part {
    /// Where a rule writes.
    fn list(&mut self, rule: &Rule) -> &mut Vec<Measurement> {
        match rule.target {
            Target::Property => &mut self.properties,
            _ => &mut self.measurements,
        }
    }
}

impl Find<'_> {
    fn value<'v>(&self, measurement: &'v Measurement) -> Option<&'v Value> {
        measurement.value.pointer(self.pointer)
    }
}

/// The rules that take something of these measurements, in their order.
fn find<'a>(rules: &'a [Rule], measurements: &[Measurement]) -> Vec<Find<'a>> {
    let names = measurements.iter().enumerate().map(|(place, measurement)| (&*measurement.name, place));
    let places: HashMap<&str, usize> = names.collect();
    let find = |rule: &'a Rule| {
        let from = rule.from.as_deref()?;
        let mut ends = std::iter::once(from.len()).chain(from.rmatch_indices('/').map(|(end, _)| end));
        ends.find_map(|end| {
            let (name, pointer) = from.split_at(end);
            let find = Find { rule, source: *places.get(name)?, pointer };
            let is_there = !find.value(&measurements[find.source])?.is_null();
            is_there.then_some(find)
        })
    };
    rules.iter().filter_map(find).collect()
}

/// The names that are written into the first sample.
fn written<'a>(finds: &[Find<'a>], target: Target) -> HashSet<&'a str> {
    let first =
        finds.iter().map(|find| find.rule).filter(|rule| rule.target == target && rule.part.is_none());
    first.filter_map(Rule::name).collect()
}

/// What the rules have left of a measurement. Elements of arrays become null, so that the others keep their places.
fn remainder(mut measurement: Measurement, finds: &[Find<'_>]) -> Option<Measurement> {
    for find in finds {
        // Without a slash there is no pointer, and the whole is taken.
        let (parent, last) = find.pointer.rsplit_once('/')?;
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
