//! `device-bridge codec replay`: the codecs of now over payloads of the past. The running service does it. Not here: what
//! a replay does to a payload.

use app::config::Config;
use bridge_core::Timestamp;
use serde_json::{Value, json};

use super::arguments;
use crate::operator::Operator;
use crate::terminal::say;

/// Which payloads.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Only of this device.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Received at this time or later, RFC 3339.
    #[arg(long, value_parser = arguments::time)]
    from: Timestamp,
    /// Received before this time, RFC 3339. Default: now.
    #[arg(long, value_parser = arguments::time)]
    to: Option<Timestamp>,
    /// Show what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Payloads that are asked for at once: they reach even a far hub before the service has to answer.
const AT_ONCE: u64 = 50;

/// Runs it. False when anything could not be sent.
pub(super) async fn run(args: &ReplayArgs, config: &Config) -> anyhow::Result<bool> {
    let operator = Operator::new(config)?;
    // What comes in from now on is decoded by the codecs of now already.
    let to = args.to.map_or_else(super::now, Ok)?;
    let mut body = json!({
        "device": args.device, "from": args.from.to_string(), "to": to.to_string(), "limit": AT_ONCE,
        "dryRun": args.dry_run,
    });
    let mut counts = [0; 6];
    loop {
        let report = operator.post("replay", &body).await?;
        for (count, key) in counts.iter_mut().zip(KEYS) {
            *count += report[key].as_u64().unwrap_or_default();
        }
        for result in report["results"].as_array().into_iter().flatten() {
            if let Some(line) = line(result, args.dry_run) {
                say!("{line}");
            }
        }
        if report["next"].is_null() {
            break;
        }
        body["after"] = report["next"].clone();
    }
    let [payloads, corrected, duplicate, failed, undecoded, skipped] = counts;
    let done = if args.dry_run { "would be sent again" } else { "sent again" };
    say!(
        "{payloads} payloads: {corrected} {done}, {duplicate} had been before, {failed} could not be delivered, \
         {undecoded} cannot be decoded, {skipped} left out"
    );
    Ok(failed == 0)
}

/// See the report of `POST /admin/v1/replay`.
const KEYS: [&str; 6] = ["payloads", "corrected", "duplicate", "failed", "undecoded", "skipped"];

/// What somebody wants to see of it: in a dry run everything, else what did not go well.
fn line(result: &Value, dry_run: bool) -> Option<String> {
    let at = format!("{} {}", result["receivedAt"].as_str()?, result["device"].as_str()?);
    if let Some(why) = result["skipped"].as_str() {
        return Some(format!("{at}: left out: {why}"));
    }
    if let Some(errors) = result["errors"].as_array() {
        let errors: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
        return Some(format!("{at}: cannot be decoded: {}", errors.join("; ")));
    }
    if let Some(end @ ("retry" | "dead-letter")) = result["end"].as_str() {
        return Some(format!("{at}: not delivered: {}", result["reason"].as_str().unwrap_or(end)));
    }
    let messages = result["messages"].as_array()?.iter().map(|message| message["measurements"].to_string());
    dry_run.then(|| format!("{at}: {}", messages.collect::<Vec<_>>().join(" and ")))
}
