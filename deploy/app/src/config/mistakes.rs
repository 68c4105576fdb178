//! What is wrong with a configuration: everything, each with its place. Not here: finding it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as a path of keys: `integrations.farm.auth.secrets[0].env`. Empty when the text is not TOML.
    pub path: String,
    /// Where, as a line of the text, from 1.
    pub line: Option<usize>,
    /// What is wrong and what is allowed. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration, in the order of the text. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// How many are written out.
    const SHOWN: usize = 100;

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} mistake{s} in the configuration:", self.0.len())?;
        for mistake in self.0.iter().take(Self::SHOWN) {
            write!(f, "\n  {mistake}")?;
        }
        match self.0.len().saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for Mistakes {}

/// Where mistakes are gathered while a text is read.
pub(super) struct Report {
    /// The offset of the first byte of each line.
    line_starts: Vec<usize>,
    found: RefCell<Vec<Mistake>>,
    /// Every key that was asked for, to compare with what the template explains.
    #[cfg(test)]
    pub(super) asked: RefCell<BTreeSet<String>>,
}

impl Report {
    /// An empty report about a text.
    pub(super) fn about(text: &str) -> Self {
        let after_newlines =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
            found: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// Adds a mistake; `at` is an offset in bytes.
    pub(super) fn add(&self, path: &str, at: Option<usize>, message: impl Into<String>) {
        let line = at.map(|at| self.line_of(at));
        self.found.borrow_mut().push(Mistake { path: path.to_owned(), line, message: message.into() });
    }

    /// Adds what makes the text no TOML: the first error of each line, without the line itself, which may hold a secret.
    pub(super) fn not_toml(&self, errors: &[toml::de::Error]) {
        let mut reported = BTreeSet::new();
        for error in errors {
            let at = error.span().map(|span| span.start);
            if reported.insert(at.map(|at| self.line_of(at))) {
                self.add("", at, format!("not TOML: {}", error.message()));
            }
        }
    }

    /// The value when nothing was wrong.
    pub(super) fn conclude<T>(self, value: T) -> Result<T, Mistakes> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(value);
        }
        found.sort_by_key(|mistake| mistake.line);
        Err(Mistakes(found))
    }

    fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }
}
