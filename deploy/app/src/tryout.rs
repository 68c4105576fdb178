//! Codecs tried before they are trusted: a payload in, every step and the messages out, as JSON. Nothing is sent or kept.
//! Not here: routes, the command line.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::payload::{Outcome, Sample};
use bridge_core::{Measurement, Timestamp};
use codec::{Codec, CodecSet, Context, Input, TrialCount};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admin::Fault;

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
    /// Whether it says a payload, and when it came.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.bytes()?;
        self.time().map(drop)
    }

    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        match (&self.hex, &self.base64, &self.text) {
            (Some(hex), None, None) => parse_hex(hex).map_err(|why| Fault::at("/hex", why)),
            (None, Some(text), None) => parse_base64(text).map_err(|why| Fault::at("/base64", why)),
            (None, None, Some(text)) => Ok(text.as_bytes().to_vec()),
            _ => Err(Fault::at("", "must hold one of \"hex\", \"base64\" and \"text\"")),
        }
    }

    fn time(&self) -> Result<Option<Timestamp>, Fault> {
        let Some(text) = &self.received_at else { return Ok(None) };
        let fault = || Fault::at("/receivedAt", "is not a time of RFC 3339");
        Timestamp::parse_rfc3339(text).map(Some).ok_or_else(fault)
    }

    /// Every step, and the messages that would go to the hub.
    pub async fn run(&self, codec: &Codec, now: Timestamp) -> Value {
        let bytes = match self.bytes() {
            Ok(bytes) => bytes,
            Err(fault) => return json!({ "errors": [fault.detail] }),
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
        Some(_) => Err("the hexadecimal digits do not come in pairs".into()),
        None => Err("a payload is written in hexadecimal digits, such as 01aa".into()),
    }
}

/// Standard base64 (RFC 4648 section 4).
///
/// # Errors
/// A sentence for its author.
pub fn parse_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(text.trim()).map_err(|_| "this is not base64".to_owned())
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
        let read = |body: &str| serde_json::from_str::<Trial>(body).unwrap();
        let bytes = |body: &str| read(body).bytes();
        assert_eq!(bytes(r#"{"hex":"0x01 Aa:ff"}"#), Ok(vec![1, 0xAA, 0xFF]));
        assert_eq!(bytes(r#"{"base64":"AQI="}"#), Ok(vec![1, 2]));
        assert_eq!(bytes(r#"{"text":"21.5"}"#), Ok(b"21.5".to_vec()));
        for (wrong, pointer) in [
            (r#"{"hex":"1"}"#, "/hex"),
            (r#"{"hex":"xx"}"#, "/hex"),
            (r#"{"base64":"-"}"#, "/base64"),
            (r#"{}"#, ""),
            (r#"{"hex":"01","text":"a"}"#, ""),
        ] {
            assert_eq!(bytes(wrong).unwrap_err().pointer, pointer, "{wrong}");
        }
        let late = read(r#"{"hex":"01","receivedAt":"yesterday"}"#);
        assert_eq!(late.check().unwrap_err().pointer, "/receivedAt");
    }
}
