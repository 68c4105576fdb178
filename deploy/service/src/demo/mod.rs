//! `device-bridge demo`: the whole bridge in one process with sample uplinks of three clouds. Everything is real: the
//! webhooks go over HTTP, and what is printed is what a separate MQTT connection received. Not here: any short cut.

mod samples;
mod subscriber;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use app::config::{Broker, Config};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use samples::{SAMPLES, Sample};
use subscriber::{Received, Subscriber};

use crate::serve::{Running, Stop};
use crate::terminal::say;
use crate::{http_client, start};

/// How to run the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// End after one round; fail when a message is missing.
    #[arg(long)]
    once: bool,
    /// Where the webhooks are received.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where operators are served.
    #[arg(long, default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Where the embedded MQTT broker listens.
    #[arg(long, default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Where the store is.
    #[arg(long, default_value = "device-bridge-data")]
    data_dir: PathBuf,
}

/// How long a message may take from the webhook to the subscriber.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two rounds.
const ROUND: Duration = Duration::from_secs(20);

/// Runs the demo.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let (config, secrets) = configuration(&args)?;
    start::log(&config)?;
    let mut stop = Stop::new()?;
    let running = Running::start(&config)
        .await
        .context("the demo needs all of its ports free: --http, --admin, --mqtt")?;
    let mut subscriber = Subscriber::connect(args.mqtt).await?;
    say!("device-bridge demo: webhooks on http://{}, MQTT on {}\n", running.address, args.mqtt);

    let mut missing = round(running.address, &secrets, &mut subscriber, true).await?;
    if args.once {
        running.stop().await;
        say!("{} webhooks, {missing} without their message", SAMPLES.len());
        return Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    say!("{}", hints(running.address, args.mqtt, &secrets));
    loop {
        tokio::select! {
            _ = stop.asked() => break,
            () = tokio::time::sleep(ROUND) => {}
        }
        missing += round(running.address, &secrets, &mut subscriber, false).await?;
    }
    running.stop().await;
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the four bytes of the Sigfox samples mean.
const TANK: &str = "[codecs.tank]\nformat = \"sigfox\"\n\
                    grammar = \"lid::bool:0 temperature:1:int:8 level::uint:8 battery::uint:8\"\n\
                    map = [{ from = \"temperature\", unit = \"Cel\" }, \
                    { from = \"battery\", scale = 0.015, unit = \"V\" }]\n";

/// The built-in configuration with three integrations, and their secrets, new in each run.
fn configuration(args: &DemoArgs) -> anyhow::Result<(Config, BTreeMap<&'static str, String>)> {
    let mut secrets = BTreeMap::new();
    let mut text = String::new();
    for name in ["sigfox", "particle", "ttn"] {
        let secret = app::config::fresh_secret()?.expose().to_owned();
        text += &format!(
            "[integrations.{name}]\nconnector = \"{name}\"\n\
             auth = {{ scheme = \"header\", header = \"X-Bridge-Secret\", secrets = [{{ env = \"{name}\" }}] }}\n"
        );
        if name == "sigfox" {
            text += "codec = \"tank\"\n";
        }
        secrets.insert(name, secret);
    }
    text += TANK;
    let env = |name: &str| secrets.get(name).cloned();
    let parsed = Config::parse(&text, std::path::Path::new("."), &env, &app::connector_infos());
    let Config { integrations, codecs, .. } = parsed.map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    let mut config = Config { integrations, codecs, ..Config::builtin() };
    config.http.listen = args.http;
    config.admin.listen = args.admin;
    config.hub.broker = Broker::Embedded { listen: args.mqtt };
    config.bridge.data_dir.clone_from(&args.data_dir);
    config.log.level = "warn".into();
    Ok((config, secrets))
}

/// Posts every sample and waits for its message; how many are missing.
async fn round(
    server: SocketAddr,
    secrets: &BTreeMap<&'static str, String>,
    subscriber: &mut Subscriber,
    print: bool,
) -> anyhow::Result<usize> {
    let mut missing = 0;
    for sample in SAMPLES {
        let body = sample.body();
        let answer = post(server, sample, &body, &secrets[sample.integration]).await?;
        let received = subscriber.wait_for(&sample.topic(), sample.integration, PATIENCE).await;
        if print {
            say!("POST /webhooks/{} ({}) -> {}", sample.integration, sample.title, answer.status().as_u16());
            say!("  {}", shortened(&body));
        }
        match received {
            Some(Received { topic, payload }) if print => say!("  => {topic}\n  {payload}\n"),
            Some(_) => {}
            None => {
                say!("  => nothing on {} within {} s\n", sample.topic(), PATIENCE.as_secs());
                missing += 1;
            }
        }
    }
    Ok(missing)
}

async fn post(
    server: SocketAddr,
    sample: &Sample,
    body: &str,
    secret: &str,
) -> anyhow::Result<http::Response<Bytes>> {
    let request = Request::post(format!("/webhooks/{}", sample.integration))
        .header(header::HOST, server.to_string())
        .header(header::CONTENT_TYPE, sample.content_type)
        .header("X-Bridge-Secret", secret)
        .body(Full::new(Bytes::from(body.to_owned())))?;
    http_client::send(server, request).await
}

fn shortened(body: &str) -> String {
    let line: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{} … ({} bytes)", &line[..end], body.len()),
        None => line,
    }
}

fn hints(http: SocketAddr, mqtt: SocketAddr, secrets: &BTreeMap<&'static str, String>) -> String {
    let ttn = r#"{"end_device_ids":{"device_id":"my-sensor"},"uplink_message":{"f_port":1,"f_cnt":1,"session_key_id":"AX==","decoded_payload":{"temperature":21.5}}}"#;
    let (host, port) = (mqtt.ip(), mqtt.port());
    let curl = |name: &str, content_type: &str, body: &str| {
        format!(
            "curl -i http://{http}/webhooks/{name} -H 'X-Bridge-Secret: {}' -H 'Content-Type: {content_type}' -d '{body}'",
            secrets[name]
        )
    };
    format!(
        "Now yours. See what the hub receives:\n\n  mosquitto_sub -h {host} -p {port} -t 'devices/#' -v\n\nand send something:\n\n  {}\n\n  {}\n\n  {}\n\n\
         The samples go round again every {} s. Ctrl-C ends the demo.",
        curl("ttn", "application/json", ttn),
        curl(
            "sigfox",
            "application/json",
            r#"{"device":"1A2B3C","time":1718000000,"seqNumber":7,"data":"00ff"}"#
        ),
        curl(
            "particle",
            "application/x-www-form-urlencoded",
            "event=temperature&data=21.5&published_at=2026-11-20T12:00:00.000Z&coreid=e00fce68ece1d3d21a73dcc9"
        ),
        ROUND.as_secs()
    )
}
