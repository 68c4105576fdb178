//! Golden vectors: payloads with what a codec must make of them, and whether it does. Compared is what the codec itself
//! gives, before any mapping. Not here: files and YAML (the command line reads them), printing.

mod compare;
mod read;

pub use compare::{Difference, differences};
pub use read::read;

use bridge_core::Timestamp;
use serde_json::{Map, Value, json};

use crate::grammar::Grammar;
use crate::js::{CallInput, Decoded, Encoded, Function, JsHost, Normalized, Script};
use crate::{Input, Outcome, cayenne};

/// One payload, or the values of a downlink, and what must come out.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// For people: the function, a number from 1, and the description where there is one.
    pub title: String,
    /// Whose work it is.
    pub subject: Subject,
    /// What is asked for.
    pub function: Function,
    /// The payload; empty for an encoder.
    pub bytes: Vec<u8>,
    /// LoRaWAN port.
    pub port: Option<u8>,
    /// When it was received; any time will do when absent.
    pub received_at: Option<Timestamp>,
    /// What an encoder works on.
    pub data: Option<Value>,
    /// What must come out.
    pub expected: Expected,
}

/// Whose work an example is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A script's, with its file as the vectors name it, relative to their own.
    Script(Option<String>),
    /// The Cayenne LPP decoder's.
    Cayenne,
    /// Of a Sigfox custom payload grammar.
    Grammar(String),
}

/// What must come out of an example.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// `data`, `warnings` and `errors`, or `bytes` and `fPort` in their place; what is absent must be empty. Also what
    /// `normalizeUplink` must make of the data, where the vectors say it.
    Output {
        /// An object.
        output: Value,
        /// An object with `data` (one measurement or a list), `warnings` and `errors`.
        normalized: Option<Value>,
    },
    /// A warning or an error, in whatever words: the payload cannot be read to its end.
    Complaint,
}

/// How an example went.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Otherwise; at least one difference.
    Different(Vec<Difference>),
    /// No output at all, with the reason.
    Failed(String),
}

impl Example {
    /// Whether it has to be run by a script: [`check`](Self::check), else [`check_native`](Self::check_native).
    pub fn is_for_script(&self) -> bool {
        matches!(self.subject, Subject::Script(_))
    }

    /// Runs it with a script. `now` stands in for a time of reception that the example does not say.
    pub async fn check(&self, host: &JsHost, script: &Script, now: Timestamp) -> Verdict {
        let call = CallInput {
            data: self.data.clone(),
            ..CallInput::new(self.bytes.clone(), self.port, self.received_at.unwrap_or(now))
        };
        let answer = match host.call(script, self.function, call.clone()).await {
            Ok(answer) => answer,
            Err(error) => return Verdict::Failed(error.to_string()),
        };
        if self.function == Function::EncodeDownlink {
            return self.verdict(&encoded(answer.into_encoded().unwrap_or_default()), None);
        }
        let Decoded { data, warnings, errors } = answer.into_decoded().unwrap_or_default();
        let mut normalized = None;
        if matches!(&self.expected, Expected::Output { normalized: Some(_), .. }) {
            let call = CallInput { bytes: Vec::new(), data: Some(Value::Object(data.clone())), ..call };
            match host.call(script, Function::NormalizeUplink, call).await {
                Ok(answer) => normalized = answer.into_normalized().map(normalised),
                Err(error) => return Verdict::Failed(error.to_string()),
            }
        }
        self.verdict(&json!({ "data": data, "warnings": warnings, "errors": errors }), normalized.as_ref())
    }

    /// Runs it with the decoder that it names. It fails when that is a script's.
    pub fn check_native(&self, now: Timestamp) -> Verdict {
        let received_at = self.received_at.unwrap_or(now);
        let input = Input { bytes: &self.bytes, port: self.port, received_at };
        let outcome = match &self.subject {
            Subject::Script(_) => return Verdict::Failed("only a script can run it".into()),
            Subject::Cayenne if self.function == Function::DecodeDownlink => cayenne::decode_downlink(&input),
            Subject::Cayenne => cayenne::decode(&input),
            Subject::Grammar(grammar) => match Grammar::parse(grammar) {
                Ok(grammar) => grammar.decode(&input),
                Err(error) => return Verdict::Failed(error.to_string()),
            },
        };
        let Outcome { samples, warnings, errors } = outcome;
        let mut data: Map<String, Value> =
            samples.into_iter().flat_map(|sample| sample.measurements).map(|m| (m.name, m.value)).collect();
        if let Expected::Output { output, .. } = &self.expected {
            lists_as_expected(&mut data, &output["data"]);
        }
        self.verdict(&json!({ "data": data, "warnings": warnings, "errors": errors }), None)
    }

    fn verdict(&self, found: &Value, found_normalized: Option<&Value>) -> Verdict {
        let Expected::Output { output, normalized } = &self.expected else {
            let complains = ["warnings", "errors"].iter().any(|key| found[*key] != json!([]));
            return if complains {
                Verdict::Passed
            } else {
                Verdict::Failed("a warning or an error was expected, there is none".into())
            };
        };
        let mut differences = differences("", &whole(output, found), found);
        if let (Some(expected), Some(found)) = (normalized, found_normalized) {
            let mut expected = whole(expected, found);
            if expected["data"].is_object() {
                expected["data"] = json!([expected["data"]]);
            }
            differences.extend(compare::differences("normalizedOutput", &expected, found));
        }
        if differences.is_empty() { Verdict::Passed } else { Verdict::Different(differences) }
    }
}

/// The expected output with what it leaves out, and nothing that no codec gives: vectors carry notes, such as the bytes
/// in hexadecimal.
fn whole(expected: &Value, found: &Value) -> Value {
    let keys = found.as_object().into_iter().flatten();
    let all = keys.map(|(key, found)| {
        let absent = match found {
            Value::Object(_) => json!({}),
            Value::Array(_) => json!([]),
            // A port that is not written is not asked for.
            other => other.clone(),
        };
        (key.clone(), expected.get(key).filter(|value| !value.is_null()).cloned().unwrap_or(absent))
    });
    all.collect::<Map<_, _>>().into()
}

fn encoded(encoded: Encoded) -> Value {
    let Encoded { bytes, port, warnings, errors } = encoded;
    // The Things Stack sends on port 1 when the script does not say.
    json!({ "bytes": bytes, "fPort": port.unwrap_or(1), "warnings": warnings, "errors": errors })
}

fn normalised(normalized: Normalized) -> Value {
    let Normalized { data, warnings, errors } = normalized;
    json!({ "data": data, "warnings": warnings, "errors": errors })
}

/// The vectors of Cayenne LPP have the axes of a value as a list; they are compared in their order.
fn lists_as_expected(found: &mut Map<String, Value>, expected: &Value) {
    for (name, value) in found {
        if let Value::Object(axes) = value
            && expected.get(name).is_some_and(Value::is_array)
        {
            *value = axes.values().cloned().collect();
        }
    }
}

#[cfg(test)]
mod tests;
