//! Values of the engine as JSON, with bounds: 64 KiB of text, 32 levels. Not here: what an answer must look like
//! ([`super::answer`], [`super::call`]).

use rquickjs::function::This;
use rquickjs::{Array, Error, Function, Object, String as Text, Type, Value};
use serde_json::{Map, Number, Value as Json};

/// The most JSON text that one answer may make, in bytes. Numbers with a fraction count as 18.
const SIZE_LIMIT: usize = 64 * 1024;
const DEPTH_LIMIT: usize = 32;
const FRACTION_SIZE: usize = 18;
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// A getter threw, or the engine gave up; the exception waits in the context.
    Engine,
    /// The value is no answer, for this reason.
    Strange(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            // A null pointer where the engine had no memory for the text.
            Error::Exception | Error::Unknown | Error::Allocation => Self::Engine,
            other => Self::Strange(format!("returned what cannot be read: {other}")),
        }
    }
}

/// What the prelude gives for reading.
pub(super) struct Tools<'a, 'js> {
    pub(super) exotic: &'a Function<'js>,
    pub(super) well_formed: &'a Function<'js>,
    pub(super) object_prototype: &'a Value<'js>,
}

/// Reads one answer; counts over all of it.
pub(super) struct Reader<'a, 'js> {
    tools: Tools<'a, 'js>,
    size: usize,
    /// What was left out, and where.
    pub(super) warnings: Vec<String>,
}

/// Where in the answer a value is; on the stack, as it is wanted for warnings only.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root(&'p str),
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

type ReadItem<'a, 'js> = fn(&mut Reader<'a, 'js>, &Value<'js>, Path<'_>, usize) -> Result<Option<Json>, Stop>;

impl<'a, 'js> Reader<'a, 'js> {
    pub(super) fn new(tools: Tools<'a, 'js>) -> Self {
        Self { tools, size: 0, warnings: Vec::new() }
    }

    /// None for what JSON does not have, with a warning where something is lost.
    pub(super) fn read(
        &mut self,
        value: &Value<'js>,
        path: Path<'_>,
        depth: usize,
    ) -> Result<Option<Json>, Stop> {
        match value.type_of() {
            Type::Undefined | Type::Uninitialized => Ok(None),
            Type::Null => self.counted(4, Json::Null),
            Type::Bool => self.counted(5, Json::Bool(value.as_bool() == Some(true))),
            Type::Int => self.whole(i64::from(value.as_int().unwrap_or(0))),
            Type::Float => self.float(value.as_float().unwrap_or(f64::NAN), path),
            Type::String => self.text(value).map(|text| Some(Json::String(text))),
            Type::BigInt => self.exotic(value, path, depth),
            Type::Array => self.array(value, path, depth).map(|items| Some(Json::Array(items))),
            Type::Object | Type::Exception => self.object_or_exotic(value, path, depth),
            Type::Symbol => self.left_out(path, "is a symbol"),
            Type::Function | Type::Constructor => self.left_out(path, "is a function"),
            Type::Promise => self.left_out(path, "is a promise"),
            Type::Proxy => self.left_out(path, "is a proxy"),
            Type::Module | Type::Unknown => self.left_out(path, "is of an unknown type"),
        }
    }

    /// A list of texts for people; a single text counts as a list.
    pub(super) fn texts(&mut self, value: &Value<'js>, path: Path<'_>) -> Result<Vec<String>, Stop> {
        let read = if value.is_array() {
            Some(Json::Array(self.array_of(value, path, 0, Self::text_item)?))
        } else {
            self.text_item(value, path, 0)?
        };
        Ok(match read {
            None | Some(Json::Null | Json::Bool(false)) => Vec::new(),
            Some(Json::Array(items)) => {
                items.into_iter().filter(|item| !item.is_null()).map(into_text).collect()
            }
            Some(other) => vec![into_text(other)],
        })
    }

    /// `new Error('…')` in a list of texts is its message.
    fn text_item(&mut self, value: &Value<'js>, path: Path<'_>, depth: usize) -> Result<Option<Json>, Stop> {
        match value.as_object().filter(|object| object.is_error()) {
            Some(error) => self.read(&error.get("message")?, path, depth),
            None => self.read(value, path, depth),
        }
    }

    /// Bytes to send: −128 to 255, the negative ones as two's complement.
    pub(super) fn bytes(&mut self, value: &Value<'js>) -> Result<Vec<u8>, Stop> {
        let path = Path::Root("bytes");
        let Some(Json::Array(items)) = self.read(value, path, 0)? else {
            return Err(Stop::Strange(format!("`bytes` is {}, not an array", kind(value))));
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| match item.as_i64() {
                Some(number @ -128..=255) => Ok(number.to_le_bytes()[0]),
                _ => {
                    Err(Stop::Strange(format!("{} is not a whole number from -128 to 255", path.with(index))))
                }
            })
            .collect()
    }

    fn object_or_exotic(
        &mut self,
        value: &Value<'js>,
        path: Path<'_>,
        depth: usize,
    ) -> Result<Option<Json>, Stop> {
        // Proxies do not reach this, so the prototype is read without running the script.
        let plain = value.as_object().is_some_and(|object| match object.get_prototype() {
            Some(prototype) => prototype.as_value() == self.tools.object_prototype,
            None => true,
        });
        if plain { self.object(value, path, depth) } else { self.exotic(value, path, depth) }
    }

    /// Dates, typed arrays, boxed values, big integers, or an object of a class.
    fn exotic(&mut self, value: &Value<'js>, path: Path<'_>, depth: usize) -> Result<Option<Json>, Stop> {
        let replaced: Value<'js> = self.tools.exotic.call((value.clone(),))?;
        if let Some(reason) = replaced.as_string() {
            return self.left_out(path, &reason.to_string()?);
        }
        match replaced.as_array() {
            Some(holder) => self.read(&holder.get(0)?, path, depth),
            None => self.object(value, path, depth),
        }
    }

    fn object(&mut self, value: &Value<'js>, path: Path<'_>, depth: usize) -> Result<Option<Json>, Stop> {
        let Some(object) = value.as_object() else { return Ok(None) };
        descend(path, depth)?;
        self.count(2)?;
        // As text of the engine: the wrapper's own way to a String ends at a zero and lets half a surrogate pair in.
        let entries = object.props::<Text<'js>, Value<'js>>();
        let mut map = Map::with_capacity(entries.size_hint().0.min(16));
        for entry in entries {
            let (key, item) = entry?;
            let key = self.text(key.as_value())?;
            self.count(2)?;
            if let Some(read) = self.read(&item, Path::Key(&path, &key), depth + 1)? {
                map.insert(key, read);
            }
        }
        Ok(Some(Json::Object(map)))
    }

    fn array(&mut self, value: &Value<'js>, path: Path<'_>, depth: usize) -> Result<Vec<Json>, Stop> {
        self.array_of(value, path, depth, Self::read)
    }

    fn array_of(
        &mut self,
        value: &Value<'js>,
        path: Path<'_>,
        depth: usize,
        read: ReadItem<'a, 'js>,
    ) -> Result<Vec<Json>, Stop> {
        let Some(array) = value.as_array() else { return Ok(Vec::new()) };
        descend(path, depth)?;
        self.count(2)?;
        let mut items = Vec::new();
        for index in 0..length(array)? {
            let item: Value<'js> = array.get(index)?;
            self.count(1)?;
            match read(self, &item, Path::Index(&path, index), depth + 1)? {
                Some(json) => items.push(json),
                // As JSON.stringify: the places of the others stay.
                None => {
                    self.count(4)?;
                    items.push(Json::Null);
                }
            }
        }
        Ok(items)
    }

    fn float(&mut self, number: f64, path: Path<'_>) -> Result<Option<Json>, Stop> {
        if !number.is_finite() {
            return self.left_out(path, if number.is_nan() { "is not a number" } else { "is infinite" });
        }
        if number.fract() == 0.0 && number.abs() <= EXACT {
            // Whole and within 2^53.
            return self.whole(number as i64);
        }
        self.count(FRACTION_SIZE)?;
        Ok(Number::from_f64(number).map(Json::Number))
    }

    fn whole(&mut self, number: i64) -> Result<Option<Json>, Stop> {
        let digits = number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
        self.counted(digits + 1, Json::from(number))
    }

    fn text(&mut self, value: &Value<'js>) -> Result<String, Stop> {
        let Some(text) = value.as_string() else { return Ok(String::new()) };
        let read = match text.to_string() {
            // Half a surrogate pair.
            Err(Error::Utf8(_)) => self.tools.well_formed.call((This(value.clone()),))?,
            read => read?,
        };
        self.count(text_size(&read))?;
        Ok(read)
    }

    fn left_out(&mut self, path: Path<'_>, reason: &str) -> Result<Option<Json>, Stop> {
        let warning = format!("{path} was left out: it {reason}");
        self.count(warning.len())?;
        self.warnings.push(warning);
        Ok(None)
    }

    fn counted(&mut self, size: usize, json: Json) -> Result<Option<Json>, Stop> {
        self.count(size)?;
        Ok(Some(json))
    }

    fn count(&mut self, size: usize) -> Result<(), Stop> {
        self.size += size;
        if self.size > SIZE_LIMIT {
            return Err(Stop::Strange(format!("returned more than {} KiB", SIZE_LIMIT / 1024)));
        }
        Ok(())
    }
}

/// What a value is, for people: "a string", "nothing".
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value.type_of() {
        Type::Undefined | Type::Uninitialized => "undefined",
        Type::Null => "null",
        Type::Bool => "a boolean",
        Type::Int | Type::Float => "a number",
        Type::BigInt => "a big integer",
        Type::String => "a string",
        Type::Symbol => "a symbol",
        Type::Array => "an array",
        Type::Function | Type::Constructor => "a function",
        Type::Promise => "a promise",
        Type::Object | Type::Exception | Type::Proxy | Type::Module | Type::Unknown => "an object",
    }
}

fn descend(path: Path<'_>, depth: usize) -> Result<(), Stop> {
    if depth < DEPTH_LIMIT {
        return Ok(());
    }
    // The whole path would be as long as the nesting is deep.
    let mut root = path;
    while let Path::Key(up, _) | Path::Index(up, _) = root {
        root = *up;
    }
    Err(Stop::Strange(format!("{root} is cyclic, or nested deeper than {DEPTH_LIMIT} levels")))
}

/// `Array::len` panics above 2^31.
fn length(array: &Array<'_>) -> Result<usize, Stop> {
    let length: f64 = array.as_object().get("length")?;
    // A length is below 2^32.
    Ok(length as usize)
}

fn into_text(json: Json) -> String {
    match json {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// Length as JSON text, quotes included.
fn text_size(text: &str) -> usize {
    2 + text
        .bytes()
        .map(|byte| if byte < 0x20 { 6 } else { 1 + usize::from(matches!(byte, b'"' | b'\\')) })
        .sum::<usize>()
}

impl<'p> Path<'p> {
    fn with(&'p self, index: usize) -> Self {
        Path::Index(self, index)
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Key(up, key) => write!(f, "{up}.{key}"),
            Self::Index(up, index) => write!(f, "{up}[{index}]"),
        }
    }
}

/// The object's own view of a property, or undefined.
pub(super) fn field<'js>(object: &Object<'js>, name: &str) -> Result<Value<'js>, Stop> {
    Ok(object.get(name)?)
}
