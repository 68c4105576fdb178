//! What a codec made of a payload, for people. Not here: the JSON form, which this is made of.

use serde_json::Value;

use crate::terminal::say;

/// A dry run: its steps, the messages, what is doubtful and what is wrong.
pub(super) fn dry_run(answer: &Value) {
    for step in list(&answer["steps"]) {
        let samples = list(&step["samples"]);
        let name = step["step"].as_str().unwrap_or_default();
        say!("{name}{}", if samples.is_empty() { ": nothing" } else { "" });
        for (index, sample) in samples.iter().enumerate() {
            if samples.len() > 1 {
                say!("  {} of {}", index + 1, samples.len());
            }
            lines(sample).iter().for_each(|line| say!("  {line}"));
        }
    }
    for message in list(&answer["messages"]) {
        say!("message {message}");
    }
    complaints(answer);
}

/// A downlink: bytes and port, or its values.
pub(super) fn downlink(answer: &Value) {
    let good = list(&answer["errors"]).is_empty();
    if let Some(bytes) = answer["bytes"].as_str().filter(|_| good) {
        say!("bytes {bytes}");
        match answer["fPort"].as_u64() {
            Some(port) => say!("port {port}"),
            None => say!("port not said"),
        }
    }
    for (name, value) in answer["data"].as_object().into_iter().flatten() {
        say!("{name} = {value}");
    }
    complaints(answer);
}

fn complaints(answer: &Value) {
    for (key, word) in [("warnings", "warning"), ("errors", "error")] {
        for line in list(&answer[key]) {
            say!("{word}: {}", line.as_str().unwrap_or_default());
        }
    }
}

/// Measurements with their units, and what else there is.
fn lines(sample: &Value) -> Vec<String> {
    let units = &sample["units"];
    let measurements = sample["measurements"].as_object().into_iter().flatten().map(|(name, value)| {
        let unit = units[name].as_str().map(|unit| format!(" {unit}")).unwrap_or_default();
        format!("{name} = {value}{unit}")
    });
    let others = sample.as_object().into_iter().flatten();
    let others = others.filter(|(key, _)| !["measurements", "units"].contains(&key.as_str()));
    measurements.chain(others.map(|(key, value)| format!("({key}) {value}"))).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sample_is_a_line_for_each_thing() {
        let sample = json!({
            "measurements": { "temperature": 21.5, "open": true }, "units": { "temperature": "Cel" },
            "properties": { "site": "roof" },
        });
        assert_eq!(
            lines(&sample),
            ["temperature = 21.5 Cel", "open = true", "(properties) {\"site\":\"roof\"}"]
        );
    }
}
