//! From a file to a configuration, and the log. Not here: what is in either.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use app::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

/// Looked for when no file is named.
const DEFAULT_FILE: &str = "device-bridge.toml";
/// EX_CONFIG of sysexits.h: a service manager need not restart us for this.
const BAD_CONFIG: u8 = 78;

/// The configuration, or the exit code after its mistakes were printed.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Result<Config, ExitCode>> {
    let Some(path) = path(file) else { return Ok(Ok(Config::builtin())) };
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let env = |name: &str| std::env::var(name).ok();
    match Config::parse(&text, base, &env, &app::connector_infos()) {
        Ok(config) => Ok(Ok(config)),
        Err(mistakes) => {
            eprintln!("{}: {mistakes}", path.display());
            Ok(Err(ExitCode::from(BAD_CONFIG)))
        }
    }
}

/// The file to read: the one that is named, else the default one when it is there.
pub(crate) fn path(file: Option<&Path>) -> Option<PathBuf> {
    match file {
        Some(file) => Some(file.to_owned()),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
    }
}

/// Starts the log, on standard error.
pub(crate) fn log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log.level)
        .with_context(|| format!("log.level {:?} is not a filter", config.log.level))?;
    // The embedded broker logs every client that hangs up as an error.
    let filter = filter.add_directive("rumqttd=off".parse()?).add_directive("rumqttc=warn".parse()?);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
