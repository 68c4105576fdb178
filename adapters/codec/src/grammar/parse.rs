//! Reads the text of a grammar and gives every field its place. Not here: payloads.

use std::collections::HashSet;

use super::{Field, Grammar, Kind, NumberKind, Template};

/// Far beyond any payload: keeps the sum of all places small.
const LARGEST: usize = 65_535;

/// Why a text is not a grammar. The configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {reason}")]
pub struct GrammarError {
    /// Where, in characters from 1.
    pub position: usize,
    /// What is wrong there.
    pub reason: String,
}

/// A part of the text, and its place in it.
#[derive(Clone, Copy)]
struct Span<'a> {
    /// In bytes from 0.
    at: usize,
    text: &'a str,
}

/// Reads a grammar.
pub(super) fn parse(text: &str) -> Result<Grammar, GrammarError> {
    let mut grammar = Grammar { fields: Vec::new(), warnings: Vec::new() };
    let mut names = HashSet::new();
    for word in words(text) {
        let (name, index, kind) = field(word).map_err(|(at, reason)| mistake(text, at, reason))?;
        if !names.insert(name) {
            grammar.warnings.push(format!("the name {name} occurs more than once; the last value counts"));
        }
        let previous = grammar.fields.last();
        if let Some(warning) = ambiguity(name, index, kind, previous) {
            grammar.warnings.push(warning);
        }
        let offset = index.unwrap_or_else(|| place_after(previous, kind));
        grammar.fields.push(Field { name: name.to_owned(), offset, kind, hex_name: None });
    }
    if grammar.fields.is_empty() {
        return Err(GrammarError { position: 1, reason: "there is no field".into() });
    }
    Ok(settled(grammar, &mut names))
}

/// Reads a template of at most so many bytes.
pub(super) fn parse_template(text: &str, longest: usize) -> Result<Template, GrammarError> {
    let mut template = Template { bytes: Vec::new(), fields: Vec::new() };
    // The bits that have a meaning already.
    let mut taken: Vec<u8> = Vec::new();
    let mut before = None;
    for word in words(text) {
        let mistake = |(at, reason): Mistake| mistake(text, at, reason);
        let (offset, length, bits) = if word.text.contains(':') {
            let (name, index, kind) = field(word).map_err(mistake)?;
            if template.fields.iter().any(|field| field.name == name) {
                return Err(mistake((word.at, "the name occurs more than once".into())));
            }
            let offset = match (index, kind, before) {
                (Some(index), ..) => index,
                (None, Kind::Bool(_), Some((Kind::Bool(_), offset))) => offset,
                (None, Kind::Bool(_), Some(_)) => {
                    return Err(mistake((
                        word.at,
                        "after a number or text, a bool needs a byte index".into(),
                    )));
                }
                _ => taken.len(),
            };
            template.fields.push(Field { name: name.to_owned(), offset, kind, hex_name: None });
            before = Some((kind, offset));
            (offset, kind.bytes(), if let Kind::Bool(bit) = kind { 1 << bit } else { 0xFF })
        } else {
            let bytes = constant(word).map_err(mistake)?;
            let place = (taken.len(), bytes.len(), 0xFF);
            template.bytes.extend(bytes);
            before = None;
            place
        };
        let end = offset + length;
        if end > longest {
            return Err(mistake((word.at, format!("the payload would be longer than {longest} bytes"))));
        }
        taken.resize(end.max(taken.len()), 0);
        template.bytes.resize(taken.len(), 0);
        if taken[offset..end].iter().any(|byte| byte & bits != 0) {
            return Err(mistake((word.at, "something else is in its place already".into())));
        }
        taken[offset..end].iter_mut().for_each(|byte| *byte |= bits);
    }
    if template.bytes.is_empty() {
        return Err(GrammarError { position: 1, reason: "there is nothing in it".into() });
    }
    Ok(template)
}

/// Pairs of hexadecimal digits.
fn constant(word: Span<'_>) -> Result<Vec<u8>, Mistake> {
    let wrong = || (word.at, "constant bytes are pairs of hexadecimal digits".to_owned());
    let digits = word.text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| word.text.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<_>>().ok_or_else(wrong)
}

/// At a place in bytes.
fn mistake(text: &str, at: usize, reason: String) -> GrammarError {
    GrammarError { position: text[..at].chars().count() + 1, reason }
}

/// Of a name that occurs twice only the last field counts. `names` are all of them.
fn settled(mut grammar: Grammar, names: &mut HashSet<&str>) -> Grammar {
    for field in grammar.fields.iter_mut().filter(|field| matches!(field.kind, Kind::Char(_))) {
        let hex_name = format!("{}_hex", field.name);
        field.hex_name = (!names.contains(hex_name.as_str())).then_some(hex_name);
    }
    let mut last_first: Vec<Field> = Vec::with_capacity(names.len());
    for field in grammar.fields.into_iter().rev() {
        if names.remove(field.name.as_str()) {
            last_first.push(field);
        }
    }
    last_first.reverse();
    Grammar { fields: last_first, warnings: grammar.warnings }
}

/// Where a field without an index is: a bool in the last byte of the field before it, anything else after it.
fn place_after(previous: Option<&Field>, kind: Kind) -> usize {
    let Some(previous) = previous else { return 0 };
    let next = previous.offset + previous.kind.bytes();
    if matches!(kind, Kind::Bool(_)) { next - 1 } else { next }
}

/// A place that the documentation does not settle.
fn ambiguity(name: &str, index: Option<usize>, kind: Kind, previous: Option<&Field>) -> Option<String> {
    let previous = previous.filter(|_| index.is_none())?;
    let before = &previous.name;
    match (kind, previous.kind) {
        (Kind::Bool(_), Kind::Bool(_)) => None,
        (Kind::Bool(_), _) => {
            Some(format!("{name} has no byte index and is read from the last byte of {before}; give it one"))
        }
        (_, Kind::Bool(_)) => Some(format!(
            "{name} has no byte index and begins at the byte after the bool {before}; give it one"
        )),
        _ => None,
    }
}

type Mistake = (usize, String);

fn field(word: Span<'_>) -> Result<(&str, Option<usize>, Kind), Mistake> {
    let mut parts = split(word);
    let mut part =
        |what: &str| parts.next().ok_or_else(|| (word.at + word.text.len(), format!("{what} is missing")));
    let name = part("a name")?;
    if name.text.is_empty() {
        return Err((name.at, "a name is missing".into()));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some((at, _)) = name.text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        return Err((name.at + at, "a name has letters, digits, - and _ only".into()));
    }
    let index = part("a byte index (which may be empty, but not its colon)")?;
    let index = if index.text.is_empty() { None } else { Some(number(index, 0, LARGEST)?) };
    let kind = part("a type")?;
    let size = part("the size of the type, or its bit,")?;
    let order = parts.next();
    if let Some(extra) = parts.next() {
        return Err((extra.at, "nothing may follow the byte order".into()));
    }
    Ok((name.text, index, self::kind(kind, size, order)?))
}

fn kind(kind: Span<'_>, size: Span<'_>, order: Option<Span<'_>>) -> Result<Kind, Mistake> {
    let numeric = match kind.text {
        "bool" | "char" => {
            if let Some(order) = order {
                return Err((order.at, format!("{} has no byte order", kind.text)));
            }
            return Ok(match kind.text {
                "bool" => Kind::Bool(number(size, 0, 7)? as u8),
                _ => Kind::Char(number(size, 1, LARGEST)?),
            });
        }
        "float" => NumberKind::Float,
        "uint" => NumberKind::Uint,
        "int" => NumberKind::Int,
        _ => return Err((kind.at, "the type is not bool, char, float, uint or int".into())),
    };
    let bits = number(size, 8, 64)?;
    if numeric == NumberKind::Float && bits != 32 && bits != 64 {
        return Err((size.at, "a float has 32 or 64 bits".into()));
    }
    if bits % 8 != 0 {
        return Err((size.at, "the number of bits is not a multiple of 8".into()));
    }
    let little_endian = match order.map(|order| (order.at, order.text)) {
        None | Some((_, "big-endian")) => false,
        Some((_, "little-endian")) => true,
        Some((at, _)) => return Err((at, "the byte order is not little-endian or big-endian".into())),
    };
    Ok(Kind::Number { number: numeric, bytes: bits / 8, little_endian })
}

fn number(span: Span<'_>, smallest: usize, largest: usize) -> Result<usize, Mistake> {
    let is_digits = !span.text.is_empty() && span.text.bytes().all(|byte| byte.is_ascii_digit());
    let number = span.text.parse().ok().filter(|number| is_digits && (smallest..=largest).contains(number));
    number.ok_or_else(|| (span.at, format!("not a number from {smallest} to {largest}")))
}

/// The parts between white space.
fn words(text: &str) -> impl Iterator<Item = Span<'_>> {
    pieces(Span { at: 0, text }, |c| c.is_ascii_whitespace()).filter(|word| !word.text.is_empty())
}

/// The parts between colons.
fn split(word: Span<'_>) -> impl Iterator<Item = Span<'_>> {
    pieces(word, |c| c == ':')
}

/// `separates` is true of ASCII characters alone.
fn pieces<'a>(whole: Span<'a>, separates: impl Fn(char) -> bool) -> impl Iterator<Item = Span<'a>> {
    let mut at = whole.at;
    whole.text.split(separates).map(move |text| {
        let span = Span { at, text };
        at += text.len() + 1;
        span
    })
}
