//! The log, on standard error, from where Lambda takes it to CloudWatch. Not here: what is logged.

use anyhow::Context;
use app::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts it; a second call changes nothing.
///
/// # Errors
/// When the filter of the configuration is none.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log.level)
        .with_context(|| format!("log.level {:?} is not a filter", config.log.level))?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // It was started already when a test opens several functions.
    let _ = match config.log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
