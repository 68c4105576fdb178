//! `device-bridge codec run`: one payload through one codec. Not here: the downlink functions.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use app::tryout::Trial;
use bridge_core::Timestamp;
use codec::{Codec, Downlinks, Format};
use serde_json::{Value, json};

use super::arguments::{self, Payload};
use super::downlink::{self, Downlink};
use super::source::Source;
use super::{misused, now, print, script_host, well_or_not};
use crate::terminal::say;

/// Standard input is read no further, bytes. No payload is so long.
const MAX_PAYLOAD: u64 = 256 * 1024;

/// What to run, and on what.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    subject: Subject,
    /// LoRaWAN port.
    #[arg(long)]
    port: Option<u8>,
    /// The device's id, for scripts that ask for it.
    #[arg(long)]
    device: Option<String>,
    /// When it was received, RFC 3339. Default: now.
    #[arg(long, value_parser = arguments::time)]
    time: Option<Timestamp>,
    /// The name of the command whose arguments are encoded, where a codec has templates.
    #[arg(long, requires = "encode", default_value = Downlinks::OTHERS, hide_default_value = true)]
    command: String,
    /// Handed to the script as variables, beside those of the configuration.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = arguments::pair)]
    variables: Vec<(String, String)>,
    /// A tag of the device, for scripts that ask for it.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = arguments::pair)]
    tags: Vec<(String, String)>,
    /// Run decodeDownlink instead.
    #[arg(long, conflicts_with = "encode")]
    decode_downlink: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A payload, or what becomes one.
#[derive(Debug, clap::Args)]
#[group(id = "subject", required = true, multiple = false)]
struct Subject {
    /// The payload in hexadecimal digits; blanks are allowed.
    #[arg(long, value_name = "HEX", value_parser = arguments::hex)]
    bytes: Option<Payload>,
    /// The payload in base64.
    #[arg(long, value_parser = arguments::base64)]
    base64: Option<Payload>,
    /// The payload as text.
    #[arg(long, value_parser = arguments::text)]
    text: Option<Payload>,
    /// Read the payload, byte by byte, from standard input.
    #[arg(long)]
    stdin: bool,
    /// Encode these arguments of a command instead, and print bytes and port.
    #[arg(long, value_name = "JSON", value_parser = arguments::json)]
    encode: Option<Value>,
}

/// Runs it. The exit code is 1 when the codec gives errors.
pub(super) async fn run(args: &RunArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut spec = match args.source.spec(config)? {
        Ok(spec) => spec,
        Err(code) => return Ok(code),
    };
    if !args.variables.is_empty() && !matches!(spec.format, Format::JavaScript { .. }) {
        return Ok(misused("--variable is for scripts"));
    }
    spec.variables.extend(args.variables.iter().cloned());
    let Some(Payload(bytes)) = args.subject.payload()? else {
        return Ok(misused(&format!("the payload is larger than {} KiB", MAX_PAYLOAD / 1024)));
    };
    let received_at = args.time.map_or_else(now, Ok)?;
    if args.subject.encode.is_some() || args.decode_downlink {
        let tags = args.tags.iter().cloned().collect();
        let data = args.subject.encode.clone();
        let downlink = Downlink {
            bytes,
            port: args.port,
            received_at,
            device: args.device.clone(),
            tags,
            data,
            command: args.command.clone(),
        };
        return match downlink::run(spec, downlink).await {
            Ok(answer) => Ok(show(args, &answer, print::downlink)),
            Err(code) => Ok(code),
        };
    }
    let name = spec.name.clone();
    let answer = match Codec::new(spec, script_host) {
        Ok(codec) => {
            codec.warnings().iter().for_each(|warning| eprintln!("doubtful codec: {warning}"));
            args.trial(&bytes).run(&codec, received_at).await
        }
        Err(error) => json!({
            "codec": name, "messages": [], "warnings": [], "errors": [error.to_string()], "steps": [],
        }),
    };
    Ok(show(args, &answer, print::dry_run))
}

fn show(args: &RunArgs, answer: &Value, for_people: fn(&Value)) -> ExitCode {
    if args.json {
        say!("{answer:#}");
    } else {
        for_people(answer);
    }
    well_or_not(answer["errors"].as_array().is_none_or(Vec::is_empty))
}

impl RunArgs {
    fn trial(&self, bytes: &[u8]) -> Trial {
        Trial {
            hex: Some(arguments::to_hex(bytes)),
            port: self.port,
            device: self.device.clone(),
            tags: self.tags.iter().cloned().collect(),
            ..Trial::default()
        }
    }
}

impl Subject {
    /// The bytes; none when there are too many. Empty when there is something to encode.
    fn payload(&self) -> anyhow::Result<Option<Payload>> {
        if let Some(given) = [&self.bytes, &self.base64, &self.text].into_iter().flatten().next() {
            return Ok(Some(given.clone()));
        }
        let mut bytes = Vec::new();
        if self.stdin {
            let mut input = std::io::stdin().lock().take(MAX_PAYLOAD + 1);
            input.read_to_end(&mut bytes).context("cannot read standard input")?;
        }
        Ok((bytes.len() as u64 <= MAX_PAYLOAD).then_some(Payload(bytes)))
    }
}
