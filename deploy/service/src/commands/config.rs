//! `device-bridge config`: check and template.

use std::path::Path;

use crate::start;
use crate::terminal::say;

/// What to do with the configuration.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read it, secrets included, and list every mistake at once. Binds nothing.
    Check,
    /// Print a commented configuration with every key and its default.
    Template,
}

/// Runs it. False when there are mistakes.
pub(crate) fn run(command: &ConfigCommand, file: Option<&Path>) -> anyhow::Result<bool> {
    match command {
        ConfigCommand::Template => say!("{}", app::config::template(&app::connector_infos()).trim_end()),
        ConfigCommand::Check => match start::load(file)? {
            Ok(config) => {
                let name = start::path(file)
                    .map_or("the built-in configuration".into(), |p| p.display().to_string());
                say!("{name} is good: {} integrations", config.integrations.len());
            }
            Err(_) => return Ok(false),
        },
    }
    Ok(true)
}
