//! `device-bridge init`: a configuration to start from.

use crate::terminal::say;
use std::path::PathBuf;

/// Where to write.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The address under which the clouds reach the bridge, for the URLs that are printed.
    #[arg(long)]
    public_url: Option<String>,
}

/// Runs it.
pub(crate) fn run(args: &InitArgs) -> anyhow::Result<bool> {
    let output = app::config::init(&args.folder, args.public_url.as_deref())?;
    say!("{}", output.instructions());
    Ok(true)
}
