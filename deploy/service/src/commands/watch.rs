//! `device-bridge watch`: the traces of a running service, as they come. Not here: how the service is asked.

use std::time::Duration;

use app::config::Config;
use serde_json::Value;

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

/// How often the service is asked.
const EVERY: Duration = Duration::from_millis(500);

/// Runs until it is interrupted.
pub(crate) async fn run(args: &WatchArgs, config: &Config) -> anyhow::Result<()> {
    let operator = Operator::new(config)?;
    let mut after = None;
    loop {
        let query = after.map(|after: u64| format!("?after={after}")).unwrap_or_default();
        let traces = operator.get(&format!("traces{query}")).await?;
        for trace in traces.as_array().into_iter().flatten() {
            after = trace["number"].as_u64().or(after);
            let is = |key: &str, wanted: &Option<String>| {
                wanted.as_deref().is_none_or(|wanted| trace[key].as_str() == Some(wanted))
            };
            if is("integration", &args.integration) && is("device", &args.device) {
                if args.json { say!("{trace}") } else { say!("{}", line(trace)) }
            }
        }
        if args.once {
            return Ok(());
        }
        // With nothing there yet, ask for what comes after nothing.
        after = after.or(Some(0));
        tokio::time::sleep(EVERY).await;
    }
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
