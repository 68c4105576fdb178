//! Which codec is meant: a script, a name, or a grammar. Not here: running it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use codec::{Format, Spec};

use super::{files, misused};
use crate::start;

/// The codec to run.
#[derive(Debug, clap::Args)]
#[group(id = "codec", required = true, multiple = false)]
pub(super) struct Source {
    /// A script, the name of a codec of the configuration, or cayenne, senml, cbor, json, text or auto.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A custom payload grammar of Sigfox instead, such as "temperature::int:16 battery::uint:8".
    #[arg(long)]
    grammar: Option<String>,
}

impl Source {
    /// What it is made of, or the exit code after it was said what is wrong. The configuration is read only when a
    /// name has to be looked up.
    pub(super) fn spec(&self, config: Option<&Path>) -> anyhow::Result<Result<Spec, ExitCode>> {
        if let Some(grammar) = &self.grammar {
            return Ok(Ok(Spec::plain("grammar", Format::Sigfox { grammar: grammar.clone() })));
        }
        // The group asks for one of both.
        let path = self.file.as_deref().unwrap_or(Path::new(""));
        if files::is_script(path) && path.is_file() {
            return Ok(script(path));
        }
        let name = path.to_string_lossy();
        let mut known: Vec<Spec> = match start::load(config)? {
            Ok(config) => config.codecs.into_iter().map(|codec| codec.spec).collect(),
            Err(code) => return Ok(Err(code)),
        };
        for (name, format) in app::codecs::built_in() {
            if known.iter().all(|spec| spec.name != name) {
                known.push(Spec::plain(name, format));
            }
        }
        if let Some(spec) = known.iter().find(|spec| spec.name == name) {
            return Ok(Ok(spec.clone()));
        }
        if path.is_file() {
            return Ok(script(path));
        }
        let names: Vec<&str> = known.iter().map(|spec| spec.name.as_str()).collect();
        Ok(Err(misused(&format!(
            "{name} is neither a file nor a codec; the codecs are {}",
            names.join(", ")
        ))))
    }
}

fn script(path: &Path) -> Result<Spec, ExitCode> {
    let source = files::script(path).map_err(|why| misused(&why))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(Spec::plain(name, Format::JavaScript { source }))
}
