//! `device-bridge watch`: the traces of a running service, as they come. It asks the service over HTTP with the
//! operator's token from the data directory.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use app::config::Config;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use crate::http_client;
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
    let path = app::operator_token_path(config);
    let token = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}; has the service been started?", path.display()))?;
    let mut server = config.http.listen;
    if server.ip().is_unspecified() {
        server.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut after = None;
    loop {
        let traces = fetch(server, token.trim(), after).await?;
        for trace in &traces {
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

async fn fetch(server: SocketAddr, token: &str, after: Option<u64>) -> anyhow::Result<Vec<Value>> {
    let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
    let request = Request::get(format!("/operator/traces{query}"))
        .header(header::HOST, server.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::new(Bytes::new()))?;
    let answer = http_client::send(server, request).await?;
    if answer.status() != StatusCode::OK {
        bail!("the service at {server} answered {}", answer.status());
    }
    Ok(serde_json::from_slice(answer.body())?)
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
