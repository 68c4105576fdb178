//! The downlinks of a codec: by a script's functions, Cayenne LPP's own form, or templates. Not here: sending anything.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bridge_core::Timestamp;
use codec::js::{Answer, CallInput, Function, ScriptError};
use codec::{Format, Input, Outcome, Spec, cayenne};
use serde_json::{Map, Value, json};

use super::arguments::to_hex;
use super::{misused, script_host};

/// What is encoded or decoded, and for whom.
#[derive(Debug)]
pub(super) struct Downlink {
    /// To be decoded.
    pub(super) bytes: Vec<u8>,
    pub(super) port: Option<u8>,
    pub(super) received_at: Timestamp,
    pub(super) device: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// To be encoded, where there is something.
    pub(super) data: Option<Value>,
    /// The command's name.
    pub(super) command: String,
}

/// `bytes` (hexadecimal) and `fPort`, or `data`; and `codec`, `warnings` and `errors`. An exit code when the codec is
/// none that knows downlinks, or no thread can be had.
pub(super) async fn run(spec: Spec, downlink: Downlink) -> Result<Value, ExitCode> {
    let template = spec.downlinks.of(&downlink.command).zip(downlink.data.as_ref());
    let mut answer = match spec.format {
        _ if let Some((template, data)) = template => by_template(template, data),
        Format::JavaScript { source } => {
            match by_script(&spec.name, &source, spec.variables, downlink).await {
                Ok(answer) => answer,
                Err(error) => failed(&error),
            }
        }
        Format::Cayenne => by_cayenne(&downlink),
        _ => {
            return Err(misused("only scripts, cayenne and a codec's templates for commands know downlinks"));
        }
    };
    answer["codec"] = spec.name.into();
    Ok(answer)
}

async fn by_script(
    name: &str,
    source: &str,
    variables: BTreeMap<String, String>,
    downlink: Downlink,
) -> Result<Value, String> {
    let Downlink { bytes, port, received_at, device, tags, data, command: _ } = downlink;
    let host = script_host().map_err(|error| format!("there is no thread for scripts: {error}"))?;
    let function = if data.is_some() { Function::EncodeDownlink } else { Function::DecodeDownlink };
    let call = CallInput { device, tags, variables, data, ..CallInput::new(bytes, port, received_at) };
    let say = |error: ScriptError| error.to_string();
    let script = host.compile(name, source).map_err(say)?;
    Ok(match host.call(&script, function, call).await.map_err(say)? {
        Answer::Encoded(encoded) => json!({
            "bytes": to_hex(&encoded.bytes), "fPort": encoded.port,
            "warnings": encoded.warnings, "errors": encoded.errors,
        }),
        Answer::Decoded(decoded) => {
            json!({ "data": decoded.data, "warnings": decoded.warnings, "errors": decoded.errors })
        }
        Answer::Normalized(_) => failed("the script answered what it was not asked"),
    })
}

fn by_template(downlink: &codec::Downlink, data: &Value) -> Value {
    match downlink.template.encode(data) {
        Ok(bytes) => {
            json!({ "bytes": to_hex(&bytes), "fPort": downlink.port, "warnings": [], "errors": [] })
        }
        Err(errors) => json!({ "warnings": [], "errors": errors }),
    }
}

fn by_cayenne(downlink: &Downlink) -> Value {
    match &downlink.data {
        Some(Value::Object(fields)) => match cayenne::encode_downlink(fields) {
            Ok(bytes) => json!({ "bytes": to_hex(&bytes), "fPort": null, "warnings": [], "errors": [] }),
            Err(error) => failed(&error.to_string()),
        },
        Some(_) => failed("the values must be an object, such as {\"value_1\": 21.5}"),
        None => {
            let Downlink { bytes, port, received_at, .. } = downlink;
            let input = Input { bytes, port: *port, received_at: *received_at };
            let Outcome { samples, warnings, errors } = cayenne::decode_downlink(&input);
            let measurements = samples.into_iter().flat_map(|sample| sample.measurements);
            let data: Map<String, Value> = measurements.map(|one| (one.name, one.value)).collect();
            json!({ "data": data, "warnings": warnings, "errors": errors })
        }
    }
}

fn failed(why: &str) -> Value {
    json!({ "warnings": [], "errors": [why] })
}

#[cfg(test)]
mod tests {
    use codec::grammar::Template;

    use super::*;

    #[tokio::test]
    async fn cayenne_goes_both_ways_and_others_do_not() {
        let spec = |format| Spec::plain("c", format);
        let downlink = |bytes: &[u8], data| Downlink {
            bytes: bytes.to_vec(),
            port: None,
            received_at: Timestamp::EPOCH,
            device: None,
            tags: BTreeMap::new(),
            data,
            command: "blink".into(),
        };
        let encoded = run(spec(Format::Cayenne), downlink(&[], Some(json!({ "value_1": 1 })))).await.unwrap();
        assert_eq!(encoded["bytes"], "010064ff");
        let decoded = run(spec(Format::Cayenne), downlink(&[1, 0, 100, 255], None)).await.unwrap();
        assert_eq!(decoded["data"], json!({ "value_1": 1.0 }));
        let wrong = run(spec(Format::Cayenne), downlink(&[], Some(json!([1])))).await.unwrap();
        assert_eq!(wrong["errors"].as_array().map(Vec::len), Some(1));
        assert!(run(spec(Format::Text), downlink(&[], None)).await.is_err());
        let mut with_template = spec(Format::Text);
        let template = Template::parse("01 seconds::uint:16").unwrap();
        with_template.downlinks.0.insert("blink".into(), codec::Downlink { template, port: Some(3) });
        let encoded = run(with_template, downlink(&[], Some(json!({ "seconds": 2 })))).await.unwrap();
        assert_eq!((&encoded["bytes"], &encoded["fPort"]), (&json!("010002"), &json!(3)));
    }
}
