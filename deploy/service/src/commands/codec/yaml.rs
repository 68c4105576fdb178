//! YAML 1.2 (core schema) as JSON: one document, bounded in depth and, with its aliases, in size. `On` and `NO` are
//! texts. Not here: what the document means.

use std::collections::HashMap;
use std::mem;

use serde_json::{Map, Value};
use yaml_rust2::Event;
use yaml_rust2::parser::{Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};

/// How deep lists and maps may lie in each other.
const MAX_DEPTH: usize = 64;
/// How many values there may be, those that aliases repeat included.
const MAX_VALUES: usize = 500_000;

/// Reads the first document; nothing at all is null.
///
/// # Errors
/// A sentence with line and column.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    loop {
        let (event, at) = parser.next_token().map_err(|error| place(error.info(), error.marker()))?;
        match event {
            Event::DocumentEnd | Event::StreamEnd => return Ok(builder.done.unwrap_or_default()),
            event => builder.take(event).map_err(|why| place(why, &at))?,
        }
    }
}

fn place(why: &str, at: &Marker) -> String {
    format!("line {}, column {}: {why}", at.line(), at.col() + 1)
}

#[derive(Default)]
struct Builder {
    /// Begun and not ended, the outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
    done: Option<Value>,
}

/// A list or a map.
struct Open {
    anchor: usize,
    /// How many values there were before it.
    before: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

impl Builder {
    fn take(&mut self, event: Event) -> Result<(), &'static str> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let before = self.values;
                self.count(1)?;
                self.put(scalar(text, style, tag.as_ref()), anchor, before)
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, Kind::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(anchor, Kind::Map(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { anchor, before, kind: Kind::List(items) }) => {
                    self.put(Value::Array(items), anchor, before)
                }
                Some(Open { anchor, before, kind: Kind::Map(map, _) }) => {
                    self.put(Value::Object(map), anchor, before)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let (value, size) = self.anchors.get(&anchor).ok_or("the alias is inside its own anchor")?;
                let (size, before) = (*size, self.values);
                // Counted before it is copied.
                let values = before.saturating_add(size);
                if values > MAX_VALUES {
                    return Err(TOO_MANY);
                }
                let value = value.clone();
                self.values = values;
                self.put(value, 0, before)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, anchor: usize, kind: Kind) -> Result<(), &'static str> {
        if self.open.len() >= MAX_DEPTH {
            return Err("lists and maps lie too deep in each other");
        }
        let before = self.values;
        self.count(1)?;
        self.open.push(Open { anchor, before, kind });
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), &'static str> {
        self.values += more;
        if self.values > MAX_VALUES { Err(TOO_MANY) } else { Ok(()) }
    }

    /// A value that is complete goes where it belongs.
    fn put(&mut self, value: Value, anchor: usize, before: usize) -> Result<(), &'static str> {
        if anchor > 0 {
            // What an anchor keeps is a copy too.
            let size = self.values - before;
            self.count(size)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.done = Some(value),
            Some(Kind::List(items)) => items.push(value),
            Some(Kind::Map(map, name)) => match mem::take(name) {
                None => *name = Some(key(value)?),
                Some(name) if map.contains_key(&name) => return Err("the key is there twice"),
                Some(name) => {
                    map.insert(name, value);
                }
            },
        }
        Ok(())
    }
}

const TOO_MANY: &str = "the document has too many values";

fn key(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(_) | Value::Object(_) => Err("a list or a map cannot be a key"),
        simple => Ok(simple.to_string()),
    }
}

/// By the core schema (YAML 1.2.2, section 10.3.2): plain text may be null, a boolean or a number.
fn scalar(text: String, style: TScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = match tag {
        Some(tag) => tag.suffix == "str" || (tag.handle == "!" && tag.suffix.is_empty()),
        None => false,
    };
    if is_text || style != TScalarStyle::Plain {
        return Value::String(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(&text).unwrap_or(Value::String(text)),
    }
}

fn number(text: &str) -> Option<Value> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let only_digits = digits.chars().all(|c| c.is_digit(radix));
            return only_digits.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Value::from);
        }
    }
    let looks_like_one = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if !looks_like_one {
        return None;
    }
    let integer = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from));
    // Infinity is no JSON.
    integer.ok().or_else(|| text.parse().ok().and_then(serde_json::Number::from_f64).map(Value::Number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_texts_follow_the_core_schema() {
        let text = "a: On\nb: NO\nc: true\nd: ~\ne: -12\nf: 0x1F\ng: 1e3\nh: '7'\ni: !!str 7\nj: 1.2.3\nk:\nl: .5\n\
                    m: 18446744073709551615\nn: 12:30\no: e\np: 1e999\nq: |\n  two\n  lines\nr: +3\ns: 0x-1\n7: seven\n";
        let want = json!({
            "a": "On", "b": "NO", "c": true, "d": null, "e": -12, "f": 31, "g": 1000.0, "h": "7", "i": "7",
            "j": "1.2.3", "k": null, "l": 0.5, "m": 18_446_744_073_709_551_615_u64, "n": "12:30", "o": "e",
            "p": "1e999", "q": "two\nlines\n", "r": 3, "s": "0x-1", "7": "seven",
        });
        assert_eq!(parse(text), Ok(want));
    }

    #[test]
    fn lists_maps_and_aliases_nest() {
        let text =
            "x: &one [1, {a: [2, 3]}]\ny: *one\nz:\n  - b: &two c\n    d: *two\n  - []\n---\nsecond: 1\n";
        let one = json!([1, {"a": [2, 3]}]);
        assert_eq!(parse(text), Ok(json!({"x": one, "y": one, "z": [{"b": "c", "d": "c"}, []]})));
        assert_eq!(parse(""), Ok(Value::Null));
    }

    #[test]
    fn what_is_too_much_or_wrong_is_refused_with_its_place() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert!(parse(&bomb).unwrap_err().ends_with(TOO_MANY), "{:?}", parse(&bomb));
        let deep = "- ".repeat(100) + "x";
        assert!(parse(&deep).unwrap_err().contains("too deep"), "{:?}", parse(&deep));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse("a: 1\nb: 2\na: 3\n").unwrap_err().starts_with("line 3"));
        assert!(parse("? [a]\n: b\n").is_err());
        assert!(parse("a: &x [*x]").is_err());
        assert!(parse("a: [1\nb: 2").unwrap_err().contains("line"));
        assert!(parse("a: *nowhere").is_err());
    }
}
