//! `device-bridge init`: a commented configuration with three integrations, fresh secrets, and what to paste into each
//! cloud. Not here: what the clouds' consoles look like ([`clouds`]).

mod clouds;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::http::{Http, parse_public_url};
use super::secret::Secret;
use super::sheet::{Sheet, quoted};
use super::template::describe_all_but_integrations;
use clouds::{CLOUDS, Cloud};

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "device-bridge.toml";
/// The folder of the secrets beside it.
const SECRETS: &str = "secrets";
/// The size of a fresh secret, bytes.
const SECRET_BYTES: usize = 32;

/// What was made.
#[derive(Debug)]
pub struct InitOutput {
    /// The configuration.
    pub config_file: PathBuf,
    /// One secret for each integration.
    pub secret_files: Vec<PathBuf>,
    instructions: Secret,
}

impl InitOutput {
    /// What to paste into each cloud. Holds the secrets: for the terminal of whoever called, not for a log.
    pub fn instructions(&self) -> &str {
        self.instructions.expose()
    }
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Nothing is overwritten. The caller's to decide.
    #[error("{0} exists already; nothing was changed. Remove it, or choose another folder")]
    Exists(PathBuf),
    /// The system did not let us. Whether a retry helps depends on the reason.
    #[error("cannot write {path}: {error}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The caller's mistake.
    #[error("the public URL {0}")]
    PublicUrl(&'static str),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Writes `device-bridge.toml` and `secrets/NAME` into a folder, which is made when it is absent. `public_url` is how
/// clouds reach the bridge.
///
/// # Errors
/// When one of the files exists already, or cannot be written; then nothing is left behind.
pub fn init(dir: &Path, public_url: Option<&str>) -> Result<InitOutput, InitError> {
    let public_url = public_url.map(parse_public_url).transpose().map_err(InitError::PublicUrl)?;
    let config_file = dir.join(CONFIG_FILE);
    let secret_file = |cloud: &Cloud| dir.join(SECRETS).join(cloud.name);
    let mut files = vec![(config_file.clone(), config_text(public_url.as_deref()))];
    let mut secrets = Vec::new();
    for cloud in &CLOUDS {
        let secret = fresh_secret()?;
        files.push((secret_file(cloud), format!("{}\n", secret.expose())));
        secrets.push((cloud, secret));
    }
    if let Some((path, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(InitError::Exists(path.clone()));
    }
    make_private_dir(&dir.join(SECRETS))?;
    for (index, (path, text)) in files.iter().enumerate() {
        if let Err(error) = write_private(path, text) {
            for (written, _) in &files[..index] {
                // It was made a moment ago; that it cannot be removed now is no worse than the error that is returned.
                let _ = std::fs::remove_file(written);
            }
            return Err(error);
        }
    }
    let instructions = Secret::new(clouds::instructions(dir, public_url.as_deref(), &secrets));
    Ok(InitOutput { config_file, secret_files: CLOUDS.iter().map(secret_file).collect(), instructions })
}

fn config_text(public_url: Option<&str>) -> String {
    let mut sheet = Sheet::default();
    sheet.prose(
        "The configuration of device-bridge. A line \"#key = value\" shows a default (or an example where it says so) \
         and comes into force when its # is removed. After a change: device-bridge config check",
    );
    describe_all_but_integrations(&mut sheet);
    let mut text = sheet.finish();
    if let Some(url) = public_url {
        let line_in_force = |line: &str| match line.starts_with("#public_url = ") {
            true => format!("public_url = {}\n", quoted(url)),
            false => format!("{line}\n"),
        };
        text = text.lines().map(line_in_force).collect();
    }
    for cloud in &CLOUDS {
        text.push_str(&cloud.section(SECRETS));
    }
    text
}

/// 256 bits from the system, as text that may stand in headers, URLs and shells.
///
/// # Errors
/// When the system gives no random numbers.
pub fn fresh_secret() -> Result<Secret, InitError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(InitError::Random)?;
    Ok(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

fn make_private_dir(path: &Path) -> Result<(), InitError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| InitError::Write { path: path.to_owned(), error })
}

/// Writes a file that was not there, for its owner alone.
fn write_private(path: &Path, text: &str) -> Result<(), InitError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = std::fs::remove_file(path);
        }
        written
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists(path.to_owned()),
        _ => InitError::Write { path: path.to_owned(), error },
    })
}

/// Where clouds reach a bridge whose public URL is not known: only from the same machine.
fn local_url() -> String {
    Http::default().base_url()
}
