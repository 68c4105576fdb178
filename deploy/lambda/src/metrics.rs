//! Metrics in CloudWatch's embedded metric format: one line of JSON per event on standard output, from which CloudWatch makes
//! metrics without a call ("Specification: Embedded metric format"). Not here: what is counted.

use std::io::Write;

use serde_json::{Map, Value, json};

/// The counts of one event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measures {
    counts: Vec<(&'static str, &'static str, f64)>,
}

impl Measures {
    /// Counts something; nothing is written of what did not happen.
    pub fn count(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            self.counts.push((name, "Count", count as f64));
        }
    }

    /// Notes a time.
    pub fn milliseconds(&mut self, name: &'static str, milliseconds: f64) {
        self.counts.push((name, "Milliseconds", milliseconds));
    }

    /// The line, for this namespace and function. `kind` and `request` are properties: they can be searched for, and make
    /// no metrics of their own.
    pub fn line(&self, at_ms: i64, (namespace, function): (&str, &str), kind: &str, request: &str) -> String {
        let metrics: Vec<Value> =
            self.counts.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        let mut line = Map::new();
        line.insert(
            "_aws".into(),
            json!({
                "Timestamp": at_ms,
                "CloudWatchMetrics": [{ "Namespace": namespace, "Dimensions": [["FunctionName"]], "Metrics": metrics }],
            }),
        );
        line.insert("FunctionName".into(), function.into());
        line.insert("event".into(), kind.into());
        line.insert("requestId".into(), request.into());
        for (name, _, value) in &self.counts {
            line.insert((*name).into(), json!(value));
        }
        Value::Object(line).to_string()
    }
}

/// Writes a line as a whole.
pub fn write(line: &str) {
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_cloudwatch_reads() {
        let mut measures = Measures::default();
        measures.count("Stored", 2);
        measures.count("Delivered", 0);
        measures.milliseconds("Handled", 12.5);
        let line: Value = serde_json::from_str(&measures.line(5, ("N", "f"), "http", "r")).unwrap();
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "N");
        assert_eq!(directive["Dimensions"], json!([["FunctionName"]]));
        assert_eq!(
            directive["Metrics"],
            json!([
                { "Name": "Stored", "Unit": "Count" }, { "Name": "Handled", "Unit": "Milliseconds" }
            ])
        );
        assert_eq!(
            (&line["Stored"], &line["Handled"], &line["FunctionName"]),
            (&json!(2.0), &json!(12.5), &json!("f"))
        );
        assert!(line.get("Delivered").is_none());
    }
}
