//! `device-bridge codec trials`: how the codecs on trial in the running service do. Not here: putting one on trial
//! (`trial_of` in the configuration).

use app::config::Config;
use serde_json::Value;

use crate::operator::Operator;
use crate::terminal::say;

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct TrialsArgs {
    /// The whole report as JSON: codecs, counts, differences with their payloads.
    #[arg(long)]
    json: bool,
}

/// Runs it. False when any codec on trial made something otherwise.
pub(super) async fn run(args: &TrialsArgs, config: &Config) -> anyhow::Result<bool> {
    let report = Operator::new(config)?.get("codecs").await?;
    if args.json {
        say!("{report}");
    } else {
        show(&report);
    }
    let trials = report["trials"].as_array();
    Ok(trials.into_iter().flatten().all(|trial| trial["different"] == 0))
}

fn show(report: &Value) {
    let list = |key: &str| report[key].as_array().map_or(&[] as &[Value], Vec::as_slice).to_vec();
    for codec in list("codecs") {
        if let Some(live) = codec["trialOf"].as_str() {
            let name = codec["name"].as_str().unwrap_or("?");
            let counts = list("trials").into_iter().find(|trial| trial["codec"] == name).unwrap_or_default();
            let count = |key: &str| counts[key].as_u64().unwrap_or_default();
            say!(
                "{name} beside {live}: {} payloads, {} different, {} not tried",
                count("payloads"),
                count("different"),
                count("skipped")
            );
        }
    }
    for difference in list("differences") {
        let text = |key: &str| difference[key].as_str().unwrap_or("?").to_owned();
        say!("\n{} {} {} port {}", text("at"), text("device"), text("base64"), difference["port"]);
        for (name, from) in [(text("live"), "fromLive"), (text("trial"), "fromTrial")] {
            say!("  {name}: {}", difference[from]);
        }
    }
}
