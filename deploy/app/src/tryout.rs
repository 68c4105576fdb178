//! Codecs tried before they are trusted: a payload in, every step and the messages out, as JSON. Nothing is sent or kept.
//! Not here: routes, the command line.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::payload::{Outcome, Sample};
use bridge_core::{Measurement, Timestamp};
use codec::{Codec, CodecSet, Context, Input, TrialCount};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A payload to be tried.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Trial {
    /// Hexadecimal, blanks allowed.
    #[serde(default)]
    pub hex: Option<String>,
    /// Or base64.
    #[serde(default)]
    pub base64: Option<String>,
    /// Or text.
    #[serde(default)]
    pub text: Option<String>,
    /// LoRaWAN port.
    #[serde(default)]
    pub port: Option<u8>,
    /// RFC 3339; now when absent.
    #[serde(default)]
    pub received_at: Option<String>,
    /// The device's id.
    #[serde(default)]
    pub device: Option<String>,
    /// Its tags.
    #[serde(default)]
    pub tags: std::collections::BTreeMap<String, String>,
    /// Its measurements before.
    #[serde(default)]
    pub previous: Option<Map<String, Value>>,
}

impl Trial {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// A sentence for its author.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let trial: Self = serde_json::from_slice(body)
            .map_err(|error| format!("The body is not what it should be: {error}."))?;
        trial.bytes()?;
        trial.time()?;
        Ok(trial)
    }

    /// The payload.
    ///
    /// # Errors
    /// A sentence for its author.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.hex, &self.base64, &self.text) {
            (Some(hex), None, None) => parse_hex(hex),
            (None, Some(text), None) => {
                BASE64_STANDARD.decode(text.trim()).map_err(|_| "\"base64\" is not base64.".to_owned())
            }
            (None, None, Some(text)) => Ok(text.as_bytes().to_vec()),
            _ => Err("Give one of \"hex\", \"base64\" and \"text\".".into()),
        }
    }

    fn time(&self) -> Result<Option<Timestamp>, String> {
        let Some(text) = &self.received_at else { return Ok(None) };
        Timestamp::parse_rfc3339(text).map(Some).ok_or_else(|| "\"receivedAt\" is not RFC 3339.".to_owned())
    }

    /// Every step, and the messages that would go to the hub.
    pub async fn run(&self, codec: &Codec, now: Timestamp) -> Value {
        let bytes = match self.bytes() {
            Ok(bytes) => bytes,
            Err(why) => return json!({ "errors": [why] }),
        };
        let received_at = self.time().ok().flatten().unwrap_or(now);
        let input = Input { bytes: &bytes, port: self.port, received_at };
        let context = Context {
            device: self.device.clone(),
            tags: self.tags.clone(),
            radio: None,
            previous: self.previous.clone(),
        };
        let explained = codec.explain(&input, context).await;
        let mut steps = vec![json!({ "step": "decoded", "samples": samples(&explained.decoded) })];
        if let Some(mapped) = &explained.mapped {
            steps.push(json!({ "step": "mapped", "samples": samples(mapped) }));
        }
        steps.push(json!({ "step": "normalised", "samples": samples(&explained.normalised) }));
        json!({
            "codec": codec.name(),
            "messages": samples(&explained.normalised),
            "warnings": explained.normalised.warnings,
            "errors": explained.normalised.errors,
            "steps": steps,
        })
    }
}

/// Hexadecimal digits; blanks, and `0x` in front, are allowed.
///
/// # Errors
/// A sentence for its author.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, ':' | '-'))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => {
            Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        Some(_) => Err("The hexadecimal digits do not come in pairs.".into()),
        None => Err("A payload is written in hexadecimal digits, such as 01aa.".into()),
    }
}

/// The codecs by name, and the trials among them.
pub(crate) fn overview(set: &CodecSet) -> Value {
    let table = set.table();
    let codecs: Vec<Value> = table
        .codecs
        .values()
        .map(|codec| {
            let trial_of = table.trials.iter().find(|(_, trial)| trial.name() == codec.name()).map(|(live, _)| live);
            json!({ "name": codec.name(), "script": codec.is_script(), "trialOf": trial_of, "warnings": codec.warnings() })
        })
        .collect();
    let counts = set.trial_counts().into_iter();
    let trials: Vec<Value> = counts
        .map(|(name, count)| {
            let TrialCount { payloads, different, skipped } = count;
            json!({ "codec": name, "payloads": payloads, "different": different, "skipped": skipped })
        })
        .collect();
    let differences: Vec<Value> = set
        .differences()
        .iter()
        .map(|difference| {
            json!({
                "at": difference.at.to_string(),
                "device": difference.device.as_str(),
                "live": difference.live,
                "trial": difference.trial,
                "base64": BASE64_STANDARD.encode(&difference.bytes),
                "port": difference.port,
                "fromLive": outcome(&difference.from_live),
                "fromTrial": outcome(&difference.from_trial),
            })
        })
        .collect();
    json!({ "codecs": codecs, "trials": trials, "differences": differences })
}

fn outcome(outcome: &Outcome) -> Value {
    json!({ "samples": samples(outcome), "warnings": outcome.warnings, "errors": outcome.errors })
}

fn samples(outcome: &Outcome) -> Vec<Value> {
    outcome.samples.iter().map(sample).collect()
}

fn sample(sample: &Sample) -> Value {
    let mut out = Map::new();
    if let Some(time) = sample.time {
        out.insert("time".into(), time.to_string().into());
    }
    out.insert("measurements".into(), values(&sample.measurements).into());
    let units: Map<String, Value> = sample
        .measurements
        .iter()
        .filter_map(|m| Some((m.name.clone(), m.unit.as_deref()?.into())))
        .collect();
    for (name, fields) in
        [("units", units), ("properties", values(&sample.properties)), ("outOfRange", sample.aside.clone())]
    {
        if !fields.is_empty() {
            out.insert(name.into(), fields.into());
        }
    }
    if let Some(location) = &sample.location {
        out.insert("location".into(), json!({ "latitude": location.latitude, "longitude": location.longitude, "altitude": location.altitude }));
    }
    out.into()
}

/// Names and values.
pub(crate) fn values(measurements: &[Measurement]) -> Map<String, Value> {
    measurements.iter().map(|m| (m.name.clone(), m.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_written_in_three_ways() {
        let bytes = |body: &str| Trial::parse(body.as_bytes()).and_then(|trial| trial.bytes());
        assert_eq!(bytes(r#"{"hex":"0x01 Aa:ff"}"#), Ok(vec![1, 0xAA, 0xFF]));
        assert_eq!(bytes(r#"{"base64":"AQI="}"#), Ok(vec![1, 2]));
        assert_eq!(bytes(r#"{"text":"21.5"}"#), Ok(b"21.5".to_vec()));
        for wrong in [
            r#"{"hex":"1"}"#,
            r#"{"hex":"xx"}"#,
            r#"{}"#,
            r#"{"hex":"01","text":"a"}"#,
            r#"{"hexx":"01"}"#,
            "[]",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert!(Trial::parse(br#"{"hex":"01","receivedAt":"yesterday"}"#).is_err());
    }
}
