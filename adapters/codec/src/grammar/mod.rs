//! Sigfox's custom payload grammar: a line of text that says where the fields of a payload are, such as
//! `lightAmbi::uint:16 temperature:2:int:8` (Sigfox backend documentation; reference page "webhooks", section 5.1).
//! Not here: the backend's other payload types, which are codecs of their own.

mod decode;
mod parse;
mod template;

pub use parse::GrammarError;
pub use template::Template;

use crate::{Input, Outcome};

/// A grammar that has been read: every field has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grammar {
    /// Each name once.
    fields: Vec<Field>,
    warnings: Vec<String>,
}

/// A field and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    /// Where its first byte is.
    offset: usize,
    kind: Kind,
    /// Of the bytes of a text that is not ASCII, where no field has it already.
    hex_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The bit, 7 the most significant.
    Bool(u8),
    /// ASCII text of so many bytes.
    Char(usize),
    Number {
        number: NumberKind,
        bytes: usize,
        little_endian: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberKind {
    Float,
    Uint,
    Int,
}

impl Grammar {
    /// Reads `name:[byte-index]:type:params`, separated by white space. The types are `bool:BIT`, `char:BYTES`,
    /// `float:32|64`, `uint:BITS` and `int:BITS`; numbers are big endian unless `:little-endian` follows. Without an
    /// index a bool is in the byte that was read last, anything else begins after it, and the first field begins at 0.
    ///
    /// # Errors
    /// When the text is not such a list, with the place of the mistake.
    pub fn parse(text: &str) -> Result<Self, GrammarError> {
        parse::parse(text)
    }

    /// What may not mean what its author meant, for people: a place that the backend's documentation leaves open, and
    /// names that occur twice.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Reads the fields of a payload. A field that is not wholly inside it, or that is not a finite number, is left out
    /// with a warning. Integers beyond 2^53 become text. Text that is not ASCII is read as well as it goes, with its
    /// bytes in hexadecimal digits beside it as `NAME_hex`.
    pub fn decode(&self, input: &Input<'_>) -> Outcome {
        decode::decode(&self.fields, input.bytes)
    }
}

impl Kind {
    /// How many bytes it reads.
    fn bytes(self) -> usize {
        match self {
            Self::Bool(_) => 1,
            Self::Char(bytes) | Self::Number { bytes, .. } => bytes,
        }
    }
}

#[cfg(test)]
mod tests;
