//! A script, its functions and their styles. Not here: running it ([`super::realm`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::engines::Engines;
use super::standing::Standing;

/// What a script can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `decodeUplink({bytes, fPort, recvTime, …})`, ChirpStack v3's `Decode(fPort, bytes, variables)`, or the old
    /// `Decoder(bytes, port)`.
    DecodeUplink,
    /// `normalizeUplink({data})`.
    NormalizeUplink,
    /// `encodeDownlink({data})`, ChirpStack v3's `Encode(fPort, obj, variables)`, or the old `Encoder(object, port)`.
    EncodeDownlink,
    /// `decodeDownlink({bytes, fPort})`.
    DecodeDownlink,
}

/// A script that was compiled once and found good. Cheap to clone; its engine is freed with the last clone.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) inner: Arc<Inner>,
    pub(super) shape: Shape,
}

/// What the host keeps of a script, alike before and after it is known to be good.
#[derive(Debug)]
pub(super) struct Inner {
    /// Unique in the host's life.
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) source: Arc<str>,
    /// Its top level can be a function that lives longer than a call: the text has no way to get hold of that.
    pub(super) is_plain: bool,
    /// Hung once; never again.
    pub(super) refused: AtomicBool,
    /// The host's count of calls when this one was called last.
    pub(super) used: AtomicU64,
    pub(super) engines: Engines,
    pub(super) standing: Standing,
}

/// What was learnt by running the top level once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// By [`Function`].
    pub(super) entries: [Option<Entry>; 4],
    /// It adds to built-in objects, so every call needs a new context.
    pub(super) changes_built_ins: bool,
    /// It speaks of `module` or `exports`.
    pub(super) wants_module: bool,
    /// It writes whole numbers without bound (`1n`), whose arithmetic nobody can stop.
    pub(super) writes_big_integers: bool,
    /// It may go on after an error.
    pub(super) catches: bool,
    /// It speaks of `device`, of `radio`, and of `previous`.
    pub(super) wants_device: bool,
    pub(super) wants_radio: bool,
    pub(super) wants_previous: bool,
}

/// A function of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) style: Style,
}

/// How a function wants its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// One object in, one object out.
    Object,
    /// `(fPort, bytes or object, variables)`; the value itself out.
    PortFirst,
    /// `(bytes or object, port)`; the value itself out.
    PortLast,
}

/// Every function that is looked for, the newer style first.
pub(super) const ENTRIES: [(Function, Entry); 8] = [
    (Function::DecodeUplink, Entry { name: "decodeUplink", style: Style::Object }),
    (Function::DecodeUplink, Entry { name: "Decode", style: Style::PortFirst }),
    (Function::DecodeUplink, Entry { name: "Decoder", style: Style::PortLast }),
    (Function::NormalizeUplink, Entry { name: "normalizeUplink", style: Style::Object }),
    (Function::EncodeDownlink, Entry { name: "encodeDownlink", style: Style::Object }),
    (Function::EncodeDownlink, Entry { name: "Encode", style: Style::PortFirst }),
    (Function::EncodeDownlink, Entry { name: "Encoder", style: Style::PortLast }),
    (Function::DecodeDownlink, Entry { name: "decodeDownlink", style: Style::Object }),
];

impl Script {
    /// Its name in errors.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Whether it has this function.
    pub fn has(&self, function: Function) -> bool {
        self.shape.entries[function as usize].is_some()
    }

    /// Whether it speaks of `device`. A script that does not is not told of it.
    pub fn wants_device(&self) -> bool {
        self.shape.wants_device
    }

    /// Whether it speaks of `radio`. A script that does not is not told of it.
    pub fn wants_radio(&self) -> bool {
        self.shape.wants_radio
    }

    /// Whether it speaks of `previous`. A script that does not is not told of it.
    pub fn wants_previous(&self) -> bool {
        self.shape.wants_previous
    }
}

impl Function {
    /// Its name in the new style, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::DecodeUplink => "decodeUplink",
            Self::NormalizeUplink => "normalizeUplink",
            Self::EncodeDownlink => "encodeDownlink",
            Self::DecodeDownlink => "decodeDownlink",
        }
    }
}

impl Shape {
    /// From the names of the functions that were found.
    pub(super) fn new(found: &[String]) -> Self {
        let mut entries = [None; 4];
        for (function, entry) in ENTRIES {
            let place = &mut entries[function as usize];
            if place.is_none() && found.iter().any(|name| name == entry.name) {
                *place = Some(entry);
            }
        }
        Self { entries, ..Self::default() }
    }

    /// Where a function is among [`names`](Self::names).
    pub(super) fn place(self, function: Function) -> i32 {
        self.entries[..function as usize].iter().map(|entry| i32::from(entry.is_some())).sum()
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        self.entries.into_iter().flatten().map(|entry| entry.name)
    }
}

impl Inner {
    pub(super) fn new(id: u64, name: &str, source: &str) -> Self {
        Self {
            id,
            name: name.into(),
            source: source.into(),
            // `arguments.callee` is that function, and in strict mode it would need a `this`.
            is_plain: !speaks_of(source, &["arguments", "use strict", "module", "exports"]),
            refused: AtomicBool::new(false),
            used: AtomicU64::new(0),
            engines: Engines::default(),
            standing: Standing::default(),
        }
    }

    /// Whether the source may speak of one of these, escaped letters included.
    pub(super) fn speaks_of(&self, words: &[&str]) -> bool {
        speaks_of(&self.source, words)
    }

    /// Whether the text has a literal such as `1n` or `0xffn`; also in a comment.
    pub(super) fn writes_big_integers(&self) -> bool {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        self.source
            .split(|c: char| !is_word(c))
            .any(|word| word.ends_with('n') && word.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Whether the text assigns to a member of a built-in prototype.
    pub(super) fn assigns_to_prototype(&self) -> bool {
        const BUILT_INS: [&str; 11] = [
            "Object",
            "Array",
            "String",
            "Number",
            "Boolean",
            "Date",
            "Function",
            "RegExp",
            "Math",
            "Uint8Array",
            "Error",
        ];
        self.source.match_indices(".prototype").any(|(at, word)| {
            let before = &self.source[..at];
            BUILT_INS.iter().any(|name| {
                before
                    .strip_suffix(name)
                    .is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            }) && assigns_to_member(&self.source[at + word.len()..])
        })
    }
}

fn speaks_of(source: &str, words: &[&str]) -> bool {
    words.iter().chain(&["\\u"]).any(|word| source.contains(word))
}

/// `.name =` or `['name'] =`, but not `==` nor `=>`.
fn assigns_to_member(text: &str) -> bool {
    let rest = if let Some(rest) = text.strip_prefix('.') {
        rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '$')
    } else if text.starts_with('[') {
        text.split_once(']').map_or("", |(_, rest)| rest)
    } else {
        return false;
    };
    rest.trim_start().strip_prefix('=').is_some_and(|rest| !rest.starts_with(['=', '>']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_to_a_built_in_prototype_is_seen() {
        for (source, want) in [
            ("Array.prototype.sum = function () {}", true),
            ("String.prototype['hex']=1", true),
            ("Object.prototype.hasOwnProperty.call(a, 'b')", false),
            ("if (Array.prototype.at == null) {}", false),
            ("Object.prototype", false),
            ("MyArray.prototype.sum = 1", false),
            ("Reader.prototype.next = 1", false),
        ] {
            assert_eq!(Inner::new(0, "x", source).assigns_to_prototype(), want, "{source}");
        }
    }

    #[test]
    fn a_big_integer_in_the_text_is_seen() {
        for (source, want) in [
            ("x = 1n", true),
            ("x=[0xFFn]", true),
            ("a*1_000n*b", true),
            ("x = an + b1n + $1n", false),
            ("x = 10; name", false),
        ] {
            assert_eq!(Inner::new(0, "x", source).writes_big_integers(), want, "{source}");
        }
    }

    #[test]
    fn the_newer_style_wins() {
        let shape = Shape::new(&["Decoder".into(), "decodeUplink".into(), "Encode".into()]);
        assert_eq!(shape.entries[0].map(|entry| entry.name), Some("decodeUplink"));
        assert_eq!(shape.entries[1], None);
        assert_eq!(shape.entries[2].map(|entry| entry.style), Some(Style::PortFirst));
    }
}
