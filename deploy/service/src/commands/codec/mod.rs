//! `device-bridge codec`: payload codecs tried by hand and against golden vectors, which
//! sends nothing and keeps nothing; and what the running service does with codecs. Not here: decoding.

mod arguments;
mod downlink;
mod files;
mod print;
mod replay;
mod run;
mod source;
mod test;
mod trials;
mod yaml;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bridge_core::Timestamp;
use codec::js::{HostConfig, JsHost};

use crate::start;

/// What to do with codecs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CodecCommand {
    /// Show what a codec makes of a payload, step by step, or run the downlink functions of a script. The exit code is 1
    /// when the codec gives errors.
    Run(Box<run::RunArgs>),
    /// Run golden vectors: the codec files of the LoRaWAN device repository, lists of examples, and lists of payloads for
    /// Cayenne LPP and Sigfox grammars. The exit code is 1 when any fails or cannot be run.
    Test(test::TestArgs),
    /// Run the codecs of now over payloads that the running service has kept (archive.keep), and send what comes out.
    Replay(replay::ReplayArgs),
    /// Show what the codecs on trial in the running service make otherwise. The exit code is 1 when they do.
    Trials(trials::TrialsArgs),
}

/// Runs it. The exit code is 0 when all is well, 1 when a codec or a vector is not, 2 when it was asked wrongly.
pub(crate) async fn run(command: &CodecCommand, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        CodecCommand::Run(args) => run::run(args, config).await,
        CodecCommand::Test(args) => test::run(args).await,
        CodecCommand::Replay(args) => match start::load(config)? {
            Ok(config) => Ok(well_or_not(replay::run(args, &config).await?)),
            Err(code) => Ok(code),
        },
        CodecCommand::Trials(args) => match start::load(config)? {
            Ok(config) => Ok(well_or_not(trials::run(args, &config).await?)),
            Err(code) => Ok(code),
        },
    }
}

/// What `clap` ends with too.
fn misused(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(2)
}

fn well_or_not(all_well: bool) -> ExitCode {
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One thread for scripts, with the bounds that they have in the bridge.
fn script_host() -> std::io::Result<Arc<JsHost>> {
    JsHost::new(HostConfig { workers: 1, ..HostConfig::default() }).map(Arc::new)
}

fn now() -> anyhow::Result<Timestamp> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Timestamp::from_millis(since.as_millis().try_into()?).context("the clock is wrong")
}
