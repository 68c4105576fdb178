//! `device-bridge commands`: send, list, show, cancel. The running service does it. Not here: the life of a command.

use std::time::Duration;

use anyhow::Context;
use app::config::Config;
use serde_json::{Value, json};

use crate::operator::Operator;
use crate::terminal::say;

/// What to do with commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CommandCommand {
    /// Send a command to a device.
    Send(Box<SendArgs>),
    /// List commands, the newest first: id, device, name, state, reason.
    List {
        /// Only of this device.
        #[arg(long)]
        device: Option<String>,
        /// Only in this state (`queued`, `sent`, `acknowledged`, `failed`, `expired`, `cancelled`, `unknown`).
        #[arg(long)]
        state: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one with everything that became of it, as JSON.
    Show {
        /// Its id.
        id: String,
    },
    /// Take one back. What is on its way already is not tried again.
    Cancel {
        /// Its id.
        id: String,
    },
}

/// A command.
#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// The device.
    device: String,
    /// What it is to do.
    name: String,
    /// With what: JSON, for the codec of the device or the network; or {"hex": "01aa", "port": 2}. Default: nothing.
    arguments: Option<String>,
    /// What its way understands beside: JSON, such as {"fPort": 3}.
    #[arg(long)]
    options: Option<String>,
    /// When it is of no use any more, RFC 3339.
    #[arg(long)]
    expires: Option<String>,
    /// lowest, low, below-normal, normal, above-normal, high, highest.
    #[arg(long)]
    priority: Option<String>,
    /// Makes sending it twice one command.
    #[arg(long)]
    key: Option<String>,
    /// Takes the place of commands that wait with the same word.
    #[arg(long)]
    replace: Option<String>,
    /// The device is to confirm it.
    #[arg(long)]
    confirmed: bool,
    /// Running it twice is as good as once: it may be sent again when an answer got lost.
    #[arg(long)]
    idempotent: bool,
    /// Wait until it is over; the exit code is 1 when it did not go well.
    #[arg(long)]
    wait: bool,
}

/// How often a command that is waited for is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// Runs it. False when a command that was waited for did not go well.
pub(crate) async fn run(command: CommandCommand, config: &Config) -> anyhow::Result<bool> {
    let operator = Operator::new(config)?;
    match command {
        CommandCommand::Send(args) => return send(&args, &operator).await,
        CommandCommand::List { device, state, limit } => {
            let mut query = format!("?limit={limit}");
            for (key, value) in [("device", device), ("state", state)] {
                if let Some(value) = value {
                    query += &format!("&{key}={}", escaped(&value));
                }
            }
            let commands = operator.get(&format!("commands{query}")).await?;
            for command in commands.as_array().into_iter().flatten() {
                say!("{}", line(command));
            }
        }
        CommandCommand::Show { id } => {
            say!("{:#}", operator.get(&format!("commands/{}", escaped(&id))).await?);
        }
        CommandCommand::Cancel { id } => {
            say!("{}", line(&operator.delete(&format!("commands/{}", escaped(&id))).await?));
        }
    }
    Ok(true)
}

async fn send(args: &SendArgs, operator: &Operator) -> anyhow::Result<bool> {
    let parse = |what: &'static str, text: &Option<String>| {
        text.as_deref()
            .map(serde_json::from_str::<Value>)
            .transpose()
            .with_context(|| format!("{what} is not JSON"))
    };
    let mut body = json!({
        "device": args.device, "name": args.name, "confirmed": args.confirmed, "idempotent": args.idempotent,
    });
    for (key, value) in [
        ("arguments", parse("the arguments", &args.arguments)?),
        ("options", parse("--options", &args.options)?),
        ("expires", args.expires.clone().map(Value::from)),
        ("priority", args.priority.clone().map(Value::from)),
        ("key", args.key.clone().map(Value::from)),
        ("replace", args.replace.clone().map(Value::from)),
    ] {
        if let Some(value) = value {
            body[key] = value;
        }
    }
    let mut command = operator.post("commands", &body).await?;
    let path = format!("commands/{}", command["id"].as_str().unwrap_or_default());
    while args.wait && command["done"] == false {
        tokio::time::sleep(EVERY).await;
        command = operator.get(&path).await?;
    }
    say!("{}", line(&command));
    let well = ["acknowledged", "sent"].contains(&command["state"].as_str().unwrap_or_default());
    Ok(!args.wait || well)
}

fn line(command: &Value) -> String {
    let text = |key: &str| command[key].as_str().unwrap_or("-").to_owned();
    let last = command["history"].as_array().and_then(|history| history.last());
    let why = last.map(|last| {
        let parts = ["reason", "detail"].iter().filter_map(|key| last[*key].as_str());
        parts.map(|part| format!(": {part}")).collect::<String>()
    });
    format!(
        "{}\t{}\t{}\t{}{}",
        text("id"),
        text("device"),
        text("name"),
        text("state"),
        why.unwrap_or_default()
    )
}

/// For a URL: everything but letters, digits and `-`.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
