//! Declarative mapping: renames, scales, moves and splits what any decoder made of a payload, without code. Not here:
//! decoding, and reading a mapping from a configuration.

mod apply;
mod moment;
mod split;

use std::collections::HashMap;

use bridge_core::time::Timestamp;
use serde_json::Value;

use crate::Outcome;

/// Rules that are sound together.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    rules: Vec<Rule>,
    split: Option<Split>,
    keep_others: bool,
}

/// Where a value comes from and what becomes of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// The name of a measurement, or `NAME/inner/0`: a name and a JSON pointer (RFC 6901) into its value. Names may
    /// contain slashes; the longest name that fits counts. Where there is no such value, the rule does nothing.
    pub from: Option<String>,
    /// The new name; without it the whole text of `from`.
    pub to: Option<String>,
    /// A value that does not come from the payload. It joins what the sample (or its part) has otherwise, and makes no
    /// sample by itself.
    pub constant: Option<Value>,
    /// The number, or the text that is one, is multiplied by this; without it by 1.
    pub scale: Option<f64>,
    /// Added after `scale`; without it 0. With one of both the result has 12 significant digits.
    pub offset: Option<f64>,
    /// The new unit, a SenML/UCUM symbol; without it that of the measurement stays.
    pub unit: Option<String>,
    /// What becomes of the value.
    pub target: Target,
    /// The value goes into a sample of this name, of its own, instead of the first one. The name itself is not sent.
    pub part: Option<String>,
}

/// What becomes of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// A measurement.
    #[default]
    Telemetry,
    /// State of the device.
    Property,
    /// The time of the sample, and no measurement. Of several such rules the last one counts.
    Time(TimeFormat),
    /// Left out.
    Drop,
}

/// How a moment is written. Numbers may be text and have fractions; what is finer than a millisecond is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeFormat {
    /// Text of RFC 3339.
    Rfc3339,
    /// Seconds since 1970-01-01T00:00:00Z.
    Seconds,
    /// Milliseconds since then.
    Milliseconds,
    /// Seconds before the payload was received, 0 or more.
    SecondsAgo,
}

/// A measurement that is an array of samples: each element becomes a sample of its own, after the first one, where the
/// other measurements stay. The members of an object are its measurements; any other element is a measurement of the
/// field's name. Elements have the first sample's time unless a rule finds their own. Rules see the samples, not the
/// array. An array of more than 1024 elements is not split, with a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The name of the measurement.
    pub field: String,
}

/// Why a mapping is none. The configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// One of the rules.
    #[error("rule {rule}: {fault}")]
    Rule {
        /// Its place among the rules, from 0.
        rule: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The name of the field to split is empty.
    #[error("the field to split needs a name")]
    Split,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A rule has one source.
    #[error("a rule has either \"from\" or \"constant\"")]
    Source,
    /// A constant has no name of its own.
    #[error("a constant needs \"to\"")]
    ConstantName,
    /// A constant can be written as it shall be.
    #[error("a constant takes neither \"scale\" nor \"offset\"")]
    ConstantScaled,
    /// `from`, `to`, `unit` or `part` is there but empty.
    #[error("{0:?} is empty")]
    Empty(&'static str),
    /// Every value would be lost.
    #[error("\"scale\" is a finite number other than 0, \"offset\" a finite number")]
    Factor,
    /// Such a rule writes nothing that could have them.
    #[error("a rule that drops a value or sets the time takes a \"from\" and nothing else")]
    NothingToWrite,
    /// A name occurs once in a sample.
    #[error("rule {other} writes {name:?} too")]
    SameName {
        /// The name.
        name: String,
        /// The earlier rule.
        other: usize,
    },
}

impl Mapping {
    /// A mapping of these rules. Measurements that no rule takes go through as they are with `keep_others`, and are left
    /// out without it.
    ///
    /// # Errors
    /// At the first rule that makes no sense, alone or with an earlier one.
    pub fn new(rules: Vec<Rule>, split: Option<Split>, keep_others: bool) -> Result<Self, MappingError> {
        let mut written = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let at = |fault| MappingError::Rule { rule: index, fault };
            rule.check().map_err(at)?;
            let Some(name) = rule.name() else { continue };
            if let Some(other) = written.insert((rule.target, rule.part.as_deref(), name), index) {
                return Err(at(Fault::SameName { name: name.to_owned(), other }));
            }
        }
        if split.as_ref().is_some_and(|split| split.field.is_empty()) {
            return Err(MappingError::Split);
        }
        Ok(Self { rules, split, keep_others })
    }

    /// Maps what a decoder made of a payload that was received at this time. Each sample is mapped by itself: a value
    /// keeps its place under a new name, constants come last, and named parts follow as samples of their own with the
    /// same time (the location stays in the first). What is not taken out of a structured value stays in it, where
    /// others are kept. A value that cannot be scaled goes through as it is, and a time that is none is left out, each
    /// with a warning. Where the mapping writes the name of a measurement that no rule takes, or of a property, the
    /// mapping wins, with a warning. Samples with nothing in them are left out.
    #[must_use]
    pub fn apply(&self, outcome: Outcome, received_at: Timestamp) -> Outcome {
        apply::apply(self, outcome, received_at)
    }
}

impl Rule {
    fn check(&self) -> Result<(), Fault> {
        if self.from.is_some() == self.constant.is_some() {
            return Err(Fault::Source);
        }
        let texts = [("from", &self.from), ("to", &self.to), ("unit", &self.unit), ("part", &self.part)];
        if let Some((field, _)) = texts.iter().find(|(_, text)| text.as_ref().is_some_and(String::is_empty)) {
            return Err(Fault::Empty(field));
        }
        if !self.writes() {
            let more = self.constant.is_some() || self.to.is_some() || self.is_scaled();
            let more = more || self.unit.is_some() || self.part.is_some();
            return if more { Err(Fault::NothingToWrite) } else { Ok(()) };
        }
        if self.constant.is_some() && self.to.is_none() {
            return Err(Fault::ConstantName);
        }
        if self.constant.is_some() && self.is_scaled() {
            return Err(Fault::ConstantScaled);
        }
        let sound = |factor: Option<f64>| factor.is_none_or(f64::is_finite);
        if !sound(self.scale) || !sound(self.offset) || self.scale == Some(0.0) {
            return Err(Fault::Factor);
        }
        Ok(())
    }

    fn is_scaled(&self) -> bool {
        self.scale.is_some() || self.offset.is_some()
    }

    fn writes(&self) -> bool {
        matches!(self.target, Target::Telemetry | Target::Property)
    }

    /// What the rule writes, if anything.
    fn name(&self) -> Option<&str> {
        self.to.as_deref().or(self.from.as_deref()).filter(|_| self.writes())
    }
}

#[cfg(test)]
mod tests;
