//! The variables of one message as its callback sent them, whatever their keys and types. Not here: where they stood
//! in the request ([`super::request`]), what they mean.

use std::collections::{BTreeMap, BTreeSet};

use bridge_core::Timestamp;
use serde_json::{Map, Value};

use super::pattern::CUSTOM;
use super::service::Service;
use super::variables::{Keys, Variable};
use crate::connectors::fields;

/// Keys of template constants that name the service.
const SERVICE_KEYS: [&str; 3] = ["service", "type", "callback"];

/// The fields of one message. What is absent (`N/A`, null, an unsubstituted `{variable}`) is not in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    fields: Map<String, Value>,
    key_of: BTreeMap<Variable, String>,
    variable_of: BTreeMap<String, Variable>,
    /// What a template constant says that this is.
    pub(super) service: Option<Service>,
    /// What was not as it should be.
    pub(super) warnings: Vec<String>,
}

impl Record {
    /// Reads the fields of body and query. For each variable the body goes first. Other keys of the query count only
    /// when there is no body: beside one they are constants of the URL (keys of the receiver), not data.
    pub(super) fn read(keys: &Keys, body: Map<String, Value>, query: Map<String, Value>) -> Self {
        let mut record = Self::default();
        let only_query = body.is_empty();
        record.absorb(keys, body, true);
        record.absorb(keys, query, only_query);
        record
    }

    /// Reads a line: its names are those of the variables, whatever keys templates use. `service` is what stands
    /// beside the lines.
    pub(super) fn from_line(values: Vec<(String, String)>, service: Option<Service>) -> Self {
        let mut record = Self { service, ..Self::default() };
        for (name, value) in values {
            let variable = Variable::ALL.iter().copied().find(|variable| variable.name() == name);
            let name = name.strip_prefix(CUSTOM).unwrap_or(&name).to_owned();
            let is_data = variable == Some(Variable::Data);
            if let Some(value) = record.present(&name, Value::String(value), is_data) {
                if let Some(variable) = variable {
                    record.key_of.insert(variable, name.clone());
                    record.variable_of.insert(name.clone(), variable);
                }
                record.fields.insert(name, value);
            }
        }
        record
    }

    fn absorb(&mut self, keys: &Keys, fields: Map<String, Value>, with_unknown: bool) {
        let mut found = Map::new();
        for (key, value) in fields {
            let variable = keys.variable(&key);
            if let Some(value) = self.present(&key, value, variable == Some(Variable::Data)) {
                found.insert(key, value);
            }
        }
        let payload =
            keys.of(Variable::Data).iter().any(|key| found.get(key).and_then(fields::text).is_some());
        for key in SERVICE_KEYS {
            let named = found.get(key).and_then(fields::text).and_then(|text| Service::parse(&text));
            // Only messages have a payload: beside one, `type = "status"` is a field of the user's.
            let named = named.filter(|service| !payload || service.has_payload());
            if named.is_some() && keys.variable(key).is_none() {
                found.shift_remove(key);
                self.service = self.service.or(named);
            }
        }
        let candidates: BTreeSet<Variable> = found.keys().filter_map(|key| keys.variable(key)).collect();
        for variable in candidates {
            let fits = |key: &&String| found.get(*key).is_some_and(|value| variable.takes(value));
            if let Some(key) = keys.of(variable).iter().find(fits)
                && !self.key_of.contains_key(&variable)
            {
                self.key_of.insert(variable, key.clone());
                self.variable_of.insert(key.clone(), variable);
            }
        }
        for (key, value) in found {
            let chosen = self.variable_of.contains_key(&key);
            // A second key of the same variable is not data of the device; `payload` beside `data` is.
            let unknown = match keys.variable(&key) {
                None | Some(Variable::Data) => true,
                Some(_) => value.is_object() || value.is_array(),
            };
            if chosen || unknown && with_unknown {
                self.fields.entry(key).or_insert(value);
            }
        }
    }

    /// The value unless it stands for "none". An empty payload is a payload of no bytes.
    fn present(&mut self, key: &str, value: Value, is_data: bool) -> Option<Value> {
        match &value {
            Value::Null => None,
            Value::String(text) if is_data && text.trim().is_empty() => Some(value),
            Value::String(text) if fields::is_absent(text) => None,
            Value::String(text) if is_placeholder(text) => {
                // Sigfox substitutes only what the service has; for its own variables that is the usual absence.
                if text.contains('#') {
                    self.warnings.push(format!("{key}: the variable was not substituted; check its name"));
                }
                None
            }
            _ => Some(value),
        }
    }

    /// Whether the variable is there; an empty payload is.
    pub(super) fn has(&self, variable: Variable) -> bool {
        self.key_of.contains_key(&variable)
    }

    /// Whether there is any field that is no variable of Sigfox.
    pub(super) fn has_custom(&self) -> bool {
        self.fields.keys().any(|key| !self.variable_of.contains_key(key))
    }

    /// The variable as it was sent.
    pub(super) fn value(&self, variable: Variable) -> Option<&Value> {
        self.fields.get(self.key_of.get(&variable)?)
    }

    /// The variable as text, none when empty.
    pub(super) fn text(&self, variable: Variable) -> Option<String> {
        self.value(variable).and_then(fields::text)
    }

    /// The variable as a number; when it is there and is none, a warning.
    pub(super) fn number(&mut self, variable: Variable) -> Option<f64> {
        self.typed(variable, fields::number, "a number")
    }

    /// The variable as a whole number, likewise.
    pub(super) fn integer(&mut self, variable: Variable) -> Option<i64> {
        self.typed(variable, fields::integer, "a whole number")
    }

    /// The variable as a boolean, likewise.
    pub(super) fn boolean(&mut self, variable: Variable) -> Option<bool> {
        self.typed(variable, fields::boolean, "true or false")
    }

    /// The variable as a time, likewise.
    pub(super) fn time(&mut self, variable: Variable) -> Option<Timestamp> {
        self.typed(variable, fields::epoch, "a time in epoch seconds")
    }

    /// The variable as a JSON structure, also when the template quoted it; likewise.
    pub(super) fn structure(&mut self, variable: Variable) -> Option<Value> {
        let read = |value: &Value| match value {
            Value::Object(_) | Value::Array(_) => Some(value.clone()),
            Value::String(text) => {
                fields::parse_json(text.as_bytes()).ok().filter(|value| value.is_object() || value.is_array())
            }
            _ => None,
        };
        self.typed(variable, read, "a JSON structure")
    }

    fn typed<T>(&mut self, variable: Variable, read: impl Fn(&Value) -> Option<T>, what: &str) -> Option<T> {
        let value = read(self.value(variable)?);
        if value.is_none() {
            self.warnings.push(format!("{} is not {what}", variable.name()));
        }
        value
    }

    /// The fields, in the order of the template, that are none of these variables.
    pub(super) fn others<'a>(
        &'a self,
        consumed: &'a [&'a [Variable]],
    ) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let is_consumed = |key: &str| {
            self.variable_of
                .get(key)
                .is_some_and(|variable| consumed.iter().any(|set| set.contains(variable)))
        };
        self.fields.iter().filter(move |(key, _)| !is_consumed(key))
    }
}

impl Variable {
    /// Whether a value of this form can be the variable: `payload` is one when it is text, custom data when an object.
    fn takes(self, value: &Value) -> bool {
        let structure = value.is_object() || value.is_array();
        !structure || matches!(self, Self::Duplicates | Self::ComputedLocation)
    }
}

/// `{snr}`, `{customData#x}`: a variable that Sigfox did not know.
fn is_placeholder(text: &str) -> bool {
    let name = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"#_-".contains(&b))
    })
}
