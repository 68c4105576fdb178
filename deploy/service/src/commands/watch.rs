//! `device-bridge watch`: the traces of a running service, as they come. Not here: how the service is asked.

use std::time::Duration;

use anyhow::{Context, bail};
use app::config::Config;
use serde_json::Value;

use super::command::escaped;
use crate::events::EventReader;
use crate::operator::Operator;
use crate::terminal::say;

/// What to watch.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// Only of this integration.
    #[arg(long)]
    integration: Option<String>,
    /// Only of this device.
    #[arg(long)]
    device: Option<String>,
    /// One JSON object a line, with all steps.
    #[arg(long)]
    json: bool,
    /// Show what is there and end.
    #[arg(long)]
    once: bool,
}

/// The service says something at least every 15 s.
const PATIENCE: Duration = Duration::from_secs(45);

/// Runs until it is interrupted, or the service ends.
pub(crate) async fn run(args: &WatchArgs, config: &Config) -> anyhow::Result<()> {
    let operator = Operator::new(config)?;
    let chosen = [("integration", &args.integration), ("device", &args.device)];
    let query: Vec<String> = chosen
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", escaped(value.as_deref()?))))
        .collect();
    let query = query.join("&");
    // It listens first, so that nothing is missed between what is there and what comes.
    let mut coming = match args.once {
        true => None,
        false => Some(operator.follow(&format!("events?{query}")).await?),
    };
    let mut shown = 0;
    for trace in operator.get(&format!("traces?{query}")).await?.as_array().into_iter().flatten() {
        shown = trace["number"].as_u64().unwrap_or(shown);
        show(args, trace);
    }
    let Some(coming) = &mut coming else { return Ok(()) };
    let mut events = EventReader::default();
    while let Some(bytes) = coming.next(PATIENCE).await? {
        events.put(&bytes)?;
        while let Some(event) = events.next() {
            let data: Value = serde_json::from_str(&event.data).context("the service sent no JSON")?;
            match event.name.as_str() {
                "message" if data["number"].as_u64().is_some_and(|number| number <= shown) => {}
                "message" => show(args, &data),
                "missed" if args.json => say!("{data}"),
                "missed" => say!("{} more, which came too fast to be shown", data["missed"]),
                _ => {}
            }
        }
    }
    bail!("the service has ended")
}

fn show(args: &WatchArgs, trace: &Value) {
    if args.json { say!("{trace}") } else { say!("{}", line(trace)) }
}

/// `time integration device kind: received 0 > authenticated 12 > ... (µs) = delivered`.
fn line(trace: &Value) -> String {
    let text = |key: &str| trace[key].as_str().unwrap_or("-").to_owned();
    let steps: Vec<String> = trace["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| format!("{} {}", step["step"].as_str().unwrap_or("?"), step["micros"]))
        .collect();
    let mut end = text("end");
    for key in ["reason", "detail"] {
        if let Some(more) = trace[key].as_str() {
            end = format!("{end}: {more}");
        }
    }
    format!(
        "{} {} {} {} {}: {} (µs) = {end}",
        text("at"),
        text("integration"),
        text("device"),
        text("kind"),
        text("message"),
        steps.join(" > ")
    )
}
