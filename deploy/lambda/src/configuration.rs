//! From where it is to a configuration: the text of the package, Parameter Store or S3, and the secrets that it refers to by
//! `{ env = "X" }`, whose variables may hold references into AWS. Not here: what is in a configuration (`app`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, anyhow};
use app::config::{Config, Mistakes};

use crate::remote::{Reference, Remote};
use crate::settings::{Place, Settings};

/// A configuration, and where it came from.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Something of it came from AWS, and may change there.
    pub is_remote: bool,
}

/// Reads everything anew.
///
/// # Errors
/// What cannot be read, or every mistake of the configuration; the operator's to mend. Never with a secret in it.
pub async fn load(
    settings: &Settings,
    remote: &Remote,
    env: &(dyn Fn(&str) -> Option<String> + Send + Sync),
) -> anyhow::Result<Loaded> {
    let (text, base) = match &settings.config {
        Place::File(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            (text, path.parent().unwrap_or(Path::new("/")).to_owned())
        }
        Place::Remote(reference) => {
            let text = remote.read(reference).await.map_err(|error| anyhow!(error))?;
            (text, std::env::var_os("LAMBDA_TASK_ROOT").unwrap_or_else(|| "/".into()).into())
        }
    };
    // Which variables it asks for, and which of them are references. What is wrong with it is said by the second look.
    let asked = Mutex::new(BTreeMap::new());
    let note = |name: &str| {
        let value = env(name)?;
        if let Some(reference) = Reference::parse(&value)
            && let Ok(mut asked) = asked.lock()
        {
            asked.insert(name.to_owned(), reference);
        }
        Some(value)
    };
    drop(parse(&text, &base, &note));
    let asked = asked.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_remote = !asked.is_empty() || matches!(settings.config, Place::Remote(_));
    let mut found = BTreeMap::new();
    for (name, reference) in asked {
        let secret = remote.read(&reference).await;
        found.insert(name.clone(), secret.map_err(|error| anyhow!("{name}: {error}"))?);
    }
    let resolved = |name: &str| found.get(name).cloned().or_else(|| env(name));
    let config = parse(&text, &base, &resolved)
        .map_err(|mistakes| anyhow!("the configuration has mistakes: {mistakes}"))?;
    Ok(Loaded { config, is_remote })
}

fn parse(text: &str, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
    Config::parse(text, base, env, &app::connector_infos())
}
