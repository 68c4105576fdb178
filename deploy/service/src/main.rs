//! `device-bridge`: the bridge as a service, and its command line. Not here: the bridge (`app`).

#![allow(clippy::print_stderr, reason = "a command line talks to its terminal")]

mod commands;
mod demo;
mod events;
mod http_client;
mod operator;
mod serve;
mod start;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    CodecCommand, CommandCommand, ConfigCommand, DeadLetterCommand, Devices, InitArgs, OutboxArgs, WatchArgs,
};

/// Why: `docs/decisions/0023-allocator.md`.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Webhooks of Sigfox, Particle, The Things Stack and ChirpStack reach an MQTT hub, normalised, and nothing accepted is lost.
#[derive(Debug, Parser)]
#[command(name = "device-bridge", version, propagate_version = true)]
struct Cli {
    /// The configuration; without it ./device-bridge.toml if that exists, else the built-in one.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge. SIGTERM drains and ends it, SIGHUP reads the integrations again.
    Serve,
    /// The whole bridge in one process, fed with sample payloads, printing what the hub receives.
    Demo(demo::DemoArgs),
    /// Write a commented configuration with fresh secrets, and print what to paste into each cloud.
    Init(InitArgs),
    /// Check the configuration, or print a template of it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Try payload codecs, run golden vectors, decode the past again.
    #[command(subcommand)]
    Codec(CodecCommand),
    /// Send commands to devices, and see what became of them.
    #[command(subcommand)]
    Commands(CommandCommand),
    /// List, import, approve and remove devices, and their tokens.
    #[command(subcommand)]
    Devices(Devices),
    /// List, show, replay and remove what could not be delivered.
    #[command(subcommand)]
    DeadLetters(DeadLetterCommand),
    /// Show what was accepted and waits for the hub.
    Outbox(OutboxArgs),
    /// Follow messages step by step through a running service.
    Watch(WatchArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("device-bridge: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("device-bridge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let file = cli.config.as_deref();
    let all_well = match cli.command {
        Command::Init(args) => commands::init(&args)?,
        Command::Config(command) => commands::config(&command, file)?,
        Command::Codec(command) => return commands::codec(&command, file).await,
        Command::Demo(args) => return demo::run(args).await,
        Command::Serve => match start::load(file)? {
            Ok(config) => {
                serve::run(config, file).await?;
                true
            }
            Err(code) => return Ok(code),
        },
        command => {
            let config = match start::load(file)? {
                Ok(config) => config,
                Err(code) => return Ok(code),
            };
            match command {
                Command::Watch(args) => {
                    commands::watch(&args, &config).await?;
                    true
                }
                Command::Commands(command) => commands::command(command, &config).await?,
                Command::Devices(command) => {
                    let store = app::open_tool_store(&config).await?;
                    commands::devices(command, &*store, &*store, (&*store, &*store), &config).await?
                }
                Command::DeadLetters(command) => {
                    commands::dead_letters(command, &*app::open_tool_store(&config).await?).await?
                }
                Command::Outbox(args) => {
                    commands::outbox(&args, &*app::open_tool_store(&config).await?).await?;
                    true
                }
                // Taken above.
                Command::Serve
                | Command::Codec(_)
                | Command::Demo(_)
                | Command::Init(_)
                | Command::Config(_) => true,
            }
        }
    };
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
