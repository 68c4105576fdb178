//! Secrets, which the configuration only refers to: `{ env = "NAME" }` or `{ file = "path" }`. Not here: comparing them.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::reader::{Field, Section};
use super::units::format_size;

/// The largest secret, bytes: no cloud sends a longer header.
const MAX_SECRET: usize = 4096;
/// The largest certificate or key file, bytes.
const MAX_PEM: usize = 1024 * 1024;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever proves or checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A PEM file (RFC 7468) and what was in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Where it is.
    pub path: PathBuf,
    /// What was in it when the configuration was read.
    pub pem: Secret,
}

/// What a configuration refers to: variables and files.
pub struct Surroundings<'a> {
    /// Where relative paths start: the folder of the configuration file.
    pub base_dir: &'a Path,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file of at most so many bytes.
    pub file: &'a dyn Fn(&Path, usize) -> io::Result<Vec<u8>>,
}

impl Surroundings<'_> {
    /// A path of the configuration as a path of the system.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base_dir.join(path)
    }

    /// Reads a certificate or key file; `kind` is what its label must hold (`CERTIFICATE`, `PRIVATE KEY`).
    pub(super) fn pem_file(&self, field: &Field<'_>, kind: &str) -> Option<PemFile> {
        let path = self.resolve(field.text()?);
        let text = self.read(field, &path, MAX_PEM)?;
        let has_kind = |line: &str| line.starts_with("-----BEGIN ") && line.contains(kind);
        if !text.lines().any(has_kind) {
            field.mistake(format!("the file holds no {kind} in PEM form"));
            return None;
        }
        Some(PemFile { path, pem: Secret(text) })
    }

    /// Reads a text file that is no secret.
    pub(super) fn text_file(&self, field: &Field<'_>, limit: usize) -> Option<String> {
        self.read(field, &self.resolve(field.text()?), limit)
    }

    /// Reads the secret that a value refers to, without the end of its line. Neither values nor what stands in their
    /// place by mistake is in the messages.
    pub(super) fn secret(&self, field: &Field<'_>) -> Option<Secret> {
        if field.is_text() {
            field.mistake(
                "a secret does not stand here itself; refer to it: { env = \"NAME\" } or { file = \"path\" }",
            );
            return None;
        }
        let reference = field.section()?;
        let secret = match (reference.field("env"), reference.field("file")) {
            (Some(env), None) => self.variable(&env),
            (None, Some(file)) => {
                file.text().and_then(|path| self.read(&file, &self.resolve(path), MAX_SECRET))
            }
            _ => {
                field.mistake("must name one of env and file: { env = \"NAME\" } or { file = \"path\" }");
                None
            }
        };
        reference.finish();
        let secret = secret?.trim_end_matches(['\r', '\n']).to_owned();
        if secret.is_empty() {
            field.mistake("the secret is empty");
            return None;
        }
        Some(Secret(secret))
    }

    fn variable(&self, field: &Field<'_>) -> Option<String> {
        let name = field.text()?;
        // The environment of the system cannot hold other names, and asking for them may panic.
        if name.is_empty() || name.contains(['=', '\0']) {
            field.mistake("must be the name of an environment variable");
            return None;
        }
        let value = (self.env)(name);
        if value.is_none() {
            // What is not written as variables usually are may be the secret itself.
            let is_usual = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            let name = if name.chars().all(is_usual) && name.len() <= 64 {
                format!(" {name}")
            } else {
                String::new()
            };
            field.mistake(format!("the environment variable{name} is not set (or is not UTF-8)"));
        }
        value
    }

    fn read(&self, field: &Field<'_>, path: &Path, limit: usize) -> Option<String> {
        let text = match (self.file)(path, limit) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned()),
            Err(error) => Err(why_unreadable(&error, limit)),
        };
        text.map_err(|message| field.mistake(message)).ok()
    }
}

fn why_unreadable(error: &io::Error, limit: usize) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such file; a relative path starts at the folder of the configuration".into()
        }
        io::ErrorKind::PermissionDenied => "the bridge may not read the file".into(),
        io::ErrorKind::FileTooLarge => format!("the file is larger than {}", format_size(limit as u64)),
        kind => format!("the file cannot be read: {kind}"),
    }
}

/// Reads a file of the disk.
///
/// # Errors
/// When it cannot be read, or is larger than the limit.
pub(super) fn read_at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// The user name of a pair of credentials (RFC 7617 section 2: no colon).
pub(super) fn user(section: &Section<'_>, key: &'static str, help: &str) -> Option<String> {
    section.required(key, help, |field| field.parse(parse_user))
}

fn parse_user(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("must not be empty"),
        _ if text.len() > 128 => Err("must be at most 128 bytes long"),
        _ if text.contains(|c: char| c == ':' || c.is_control()) => {
            Err("must not hold colons or control characters")
        }
        _ => Ok(text.to_owned()),
    }
}
