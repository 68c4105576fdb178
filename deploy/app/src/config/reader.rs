//! A reader for TOML that goes on after a mistake: each value is asked for by key and type, every mistake goes into one
//! report with its path and line, and keys that nobody asked for are refused. Not here: which keys there are.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistakes::Report;
use super::suggest::suggest;
use super::units::{self, UnitError, duration_range, parse_duration, parse_size, size_range};

/// Texts up to this length are quoted in messages. A secret that went astray is longer.
const LONGEST_QUOTED: usize = 24;

/// A table. Empty when it is absent, so that reading it gives the defaults.
pub(super) struct Section<'d> {
    report: &'d Report,
    path: String,
    at: Option<usize>,
    table: Option<&'d DeTable<'d>>,
    known: RefCell<Vec<&'static str>>,
}

/// A value and where it stands.
pub(super) struct Field<'d> {
    report: &'d Report,
    path: String,
    at: usize,
    value: &'d DeValue<'d>,
}

impl<'d> Section<'d> {
    /// The whole text.
    pub(super) fn root(report: &'d Report, table: &'d DeTable<'d>) -> Self {
        Self { report, path: String::new(), at: None, table: Some(table), known: RefCell::default() }
    }

    /// Whether it stands in the text.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.field(key).is_some()
    }

    /// The value of a key.
    pub(super) fn field(&self, key: &'static str) -> Option<Field<'d>> {
        self.known.borrow_mut().push(key);
        let path = join(&self.path, key);
        #[cfg(test)]
        self.report.asked.borrow_mut().insert(path.clone());
        let value = self.table?.get(key)?;
        Some(Field { report: self.report, path, at: value.span().start, value: value.get_ref() })
    }

    /// The table of a key; an empty one when it is absent, or (reported) not a table.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        self.field(key).and_then(|field| field.section()).unwrap_or_else(|| Section {
            report: self.report,
            path: join(&self.path, key),
            at: self.at,
            table: None,
            known: RefCell::default(),
        })
    }

    /// The value of a key, or the default when it is absent or (reported) wrong.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Field<'d>) -> Option<T>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// The value of a key; none when it is absent or (reported) wrong.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Field<'d>) -> Option<T>,
    ) -> Option<T> {
        self.field(key).as_ref().and_then(read)
    }

    /// The value of a key, which must be there.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        help: &str,
        read: impl FnOnce(&Field<'d>) -> Option<T>,
    ) -> Option<T> {
        match self.field(key) {
            Some(field) => read(&field),
            None => {
                self.missing(key, help);
                None
            }
        }
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, help: &str) {
        self.report.add(&join(&self.path, key), self.at, format!("is missing: {help}"));
    }

    /// Reports a key that must not stand beside others.
    pub(super) fn refuse(&self, key: &'static str, why: &str) {
        if let Some(field) = self.field(key) {
            field.mistake(why);
        }
    }

    /// Every value, of a table whose keys are free.
    pub(super) fn entries(&self) -> Vec<(&'d str, Field<'d>)> {
        let entries = self.table.into_iter().flat_map(DeTable::iter);
        let field = |(key, value): (&'d Spanned<_>, &'d Spanned<DeValue<'d>>)| {
            let key: &'d std::borrow::Cow<'d, str> = key.get_ref();
            let (path, at) = (join(&self.path, key), value.span().start);
            (key.as_ref(), Field { report: self.report, path, at, value: value.get_ref() })
        };
        entries.map(field).collect()
    }

    /// Ends the reading: keys that were not asked for are mistakes.
    pub(super) fn finish(self) {
        self.finish_by_reference();
    }

    /// The same where the section is still needed.
    pub(super) fn finish_by_reference(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            if !known.contains(&key.get_ref().as_ref()) {
                let message = unknown_key(key.get_ref(), known.iter().copied());
                self.report.add(&join(&self.path, key.get_ref()), Some(key.span().start), message);
            }
        }
    }
}

impl<'d> Field<'d> {
    /// Reports that the value is wrong; what is wrong is a sentence about it without subject.
    pub(super) fn mistake(&self, message: impl Into<String>) {
        self.report.add(&self.path, Some(self.at), message);
    }

    /// Reports that the key is not one of those that are known.
    pub(super) fn unknown_among<'a>(&self, key: &str, known: impl Iterator<Item = &'a str> + Clone) {
        self.mistake(unknown_key(key, known));
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&'d str> {
        self.typed("text in quotes", DeValue::as_str)
    }

    /// True or false.
    pub(super) fn flag(&self) -> Option<bool> {
        self.typed("true or false", DeValue::as_bool)
    }

    /// A whole number without unit.
    pub(super) fn number<T: TryFrom<u64>>(&self, range: &RangeInclusive<u64>) -> Option<T> {
        let integer = self.typed("a whole number", DeValue::as_integer)?;
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number =
            number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.mistake(format!("must be {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A duration with its unit.
    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        self.with_unit(units::TIME_UNITS, parse_duration, range, duration_range)
    }

    /// A number of bytes with its unit.
    pub(super) fn size(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        self.with_unit(units::SIZE_UNITS, parse_size, range, size_range)
    }

    /// A text that parses; the error is a sentence about it without subject.
    pub(super) fn parse<T, E: Display>(&self, parse: impl FnOnce(&'d str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).map_err(|error| self.mistake(error.to_string())).ok()
    }

    /// One of several words.
    pub(super) fn one_of<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let word = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice);
        if found.is_none() {
            self.mistake(unknown_word(word, choices.iter().map(|(name, _)| *name)));
        }
        found
    }

    /// The elements of an array.
    pub(super) fn items(&self) -> Option<Vec<Field<'d>>> {
        let items = self.typed("a list in brackets", DeValue::as_array)?;
        let field = |(index, value): (usize, &'d Spanned<DeValue<'d>>)| Field {
            report: self.report,
            path: format!("{}[{index}]", self.path),
            at: value.span().start,
            value: value.get_ref(),
        };
        Some(items.iter().enumerate().map(field).collect())
    }

    /// What every element of an array parses to; elements that do not are reported and left out.
    pub(super) fn parse_items<T, E: Display>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        Some(self.items()?.iter().filter_map(|item| item.parse(&parse)).collect())
    }

    /// A table.
    pub(super) fn section(&self) -> Option<Section<'d>> {
        let table = self.typed("a table", DeValue::as_table)?;
        Some(Section {
            report: self.report,
            path: self.path.clone(),
            at: Some(self.at),
            table: Some(table),
            known: RefCell::default(),
        })
    }

    /// Whether it is a text. Says nothing when it is not.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// The text, number or boolean, or those in an array, as texts.
    pub(super) fn scalars(&self) -> Option<Vec<String>> {
        let wanted = "text, a number, true or false, or a list of those";
        match self.value {
            DeValue::Array(_) => self.items()?.iter().map(|item| item.typed(wanted, scalar)).collect(),
            _ => Some(vec![self.typed(wanted, scalar)?]),
        }
    }

    fn with_unit<T: PartialOrd>(
        &self,
        names: &'static str,
        parse: impl FnOnce(&str) -> Result<T, UnitError>,
        range: &RangeInclusive<T>,
        show: impl FnOnce(&RangeInclusive<T>) -> String,
    ) -> Option<T> {
        if self.value.is_integer() || self.value.is_float() {
            self.mistake(UnitError::NoUnit(names).to_string());
            return None;
        }
        let amount = self.parse(parse)?;
        if range.contains(&amount) {
            return Some(amount);
        }
        self.mistake(format!("must be {}", show(range)));
        None
    }

    fn typed<T>(&self, wanted: &str, get: impl FnOnce(&'d DeValue<'d>) -> Option<T>) -> Option<T> {
        let value = get(self.value);
        if value.is_none() {
            self.mistake(format!("must be {wanted}, not {}", kind(self.value)));
        }
        value
    }
}

/// Adds a key to a path; a key that TOML would quote is quoted.
fn join(path: &str, key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let key = match key.chars().all(is_bare) && !key.is_empty() && key.len() <= LONGEST_QUOTED * 4 {
        true => key.to_owned(),
        false => format!("\"{}\"", key.chars().take(LONGEST_QUOTED).collect::<String>().escape_debug()),
    };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn unknown_key<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut names: Vec<&str> = known.clone().collect();
    names.sort_unstable();
    names.dedup();
    match suggest(key, known) {
        Some(meant) => format!("is not a known key; did you mean {meant}?"),
        None if names.is_empty() => "is not a known key; there are none here".into(),
        None => format!("is not a known key; known are {}", names.join(", ")),
    }
}

fn unknown_word<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let names: Vec<String> = known.clone().map(|name| format!("\"{name}\"")).collect();
    let given = match word.len() <= LONGEST_QUOTED {
        true => format!("\"{}\" is not", word.escape_debug()),
        false => "is not".to_owned(),
    };
    let meant = suggest(word, known).map(|meant| format!("; did you mean \"{meant}\"?")).unwrap_or_default();
    let one_of = if names.len() == 1 { "the only choice" } else { "one of" };
    format!("{given} {one_of} {}{meant}", names.join(", "))
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => {
            let decimal = i128::from_str_radix(integer.as_str(), integer.radix());
            Some(decimal.map_or_else(|_| integer.as_str().to_owned(), |number| number.to_string()))
        }
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
