//! One call: arguments in the style that the function wants, and its return value as an answer. Not here: the deadline
//! and the state between calls ([`super::realm`]).

use rquickjs::function::Args;
use rquickjs::{Ctx, Object, Type, Value};
use serde_json::{Map, Value as Json};

use super::answer::{Answer, Decoded, Encoded, Normalized};
use super::context::Handles;
use super::input::CallInput;
use super::read::{Path, Reader, Stop, Tools, field, kind};
use super::script::{Entry, Function, Shape, Style};

/// What the prelude's `invoke` takes before the bytes.
const ARGUMENTS: usize = 14;
/// So many bytes go to it as arguments, of which the engine makes an array at once.
const BYTES_APART: usize = 256;

/// Calls `entry` and reads what it returns. `here` says that this is the caller's own thread.
pub(super) fn run<'js>(
    ctx: &Ctx<'js>,
    handles: &Handles<'_, 'js>,
    shape: Shape,
    here: bool,
    entry: Entry,
    function: Function,
    input: &CallInput,
) -> Result<Answer, Stop> {
    let from_data = matches!(function, Function::EncodeDownlink | Function::NormalizeUplink);
    let apart = !from_data && input.bytes.len() <= BYTES_APART;
    let mut args = Args::new(ctx.clone(), ARGUMENTS + if apart { input.bytes.len() } else { 0 });
    args.push_arg(handles.factory())?;
    args.push_arg(shape.place(function))?;
    args.push_arg(shape.wants_module.then_some(entry.name))?;
    args.push_arg(here)?;
    args.push_arg(entry.style as i32)?;
    if apart {
        args.push_arg(handles.missing())?;
    } else if from_data && entry.style != Style::Object {
        args.push_arg(input.data_value(ctx)?)?;
    } else {
        args.push_arg(input.bytes_array(ctx)?)?;
    }
    args.push_arg(input.port_value(ctx))?;
    if entry.style == Style::Object {
        input.push_object(ctx, shape, &mut args)?;
    } else {
        args.push_arg(())?;
        args.push_arg(input.variables_object(ctx)?)?;
        args.push_args([(); 5])?;
    }
    if apart {
        args.push_args(input.bytes.iter().map(|byte| i32::from(*byte)))?;
    }
    let returned: Value<'js> = handles.invoke().call_arg(args)?;
    if &returned == handles.missing() {
        return Err(Stop::Strange(format!("{} is there in some calls and not in others", entry.name)));
    }
    let mut reader = Reader::new(Tools {
        exotic: handles.exotic(),
        well_formed: handles.well_formed(),
        object_prototype: handles.object_prototype(),
    });
    read(&mut reader, &returned, entry, function)
}

fn read<'js>(
    reader: &mut Reader<'_, 'js>,
    returned: &Value<'js>,
    entry: Entry,
    function: Function,
) -> Result<Answer, Stop> {
    let whole = match (entry.style, returned.type_of()) {
        (Style::Object, Type::Object) => Whole::of(reader, returned)?,
        (_, Type::Promise) => {
            return Err(Stop::Strange(format!(
                "{} returned a promise; a codec cannot be asynchronous",
                entry.name
            )));
        }
        (Style::Object, _) => {
            return Err(Stop::Strange(format!("{} returned {}, not an object", entry.name, kind(returned))));
        }
        _ => Whole::default(),
    };
    let (mut warnings, errors) = (whole.warnings, whole.errors);
    let silent = warnings.is_empty() && errors.is_empty();
    let part =
        |name| whole.object.as_ref().map_or_else(|| Ok(returned.clone()), |object| field(object, name));
    match function {
        Function::EncodeDownlink => {
            let value = part("bytes")?;
            let bytes = if errors.is_empty() { reader.bytes(&value)? } else { Vec::new() };
            let port = whole.object.as_ref().map(port).transpose()?.flatten();
            warnings.append(&mut reader.warnings);
            Ok(Answer::Encoded(Encoded { bytes, port, warnings, errors }))
        }
        Function::NormalizeUplink => {
            let value = part("data")?;
            let data = match reader.read(&value, Path::Root("data"), 0)? {
                Some(Json::Object(map)) => vec![map],
                Some(Json::Array(items)) => items.into_iter().map(only_object).collect::<Result<_, _>>()?,
                None | Some(Json::Null) if !silent => Vec::new(),
                _ => return Err(strange_data(entry, &value)),
            };
            warnings.append(&mut reader.warnings);
            Ok(Answer::Normalized(Normalized { data, warnings, errors }))
        }
        Function::DecodeUplink | Function::DecodeDownlink => {
            let value = part("data")?;
            let data = match reader.read(&value, Path::Root("data"), 0)? {
                Some(Json::Object(map)) => map,
                None | Some(Json::Null) if !silent => Map::new(),
                _ => return Err(strange_data(entry, &value)),
            };
            warnings.append(&mut reader.warnings);
            Ok(Answer::Decoded(Decoded { data, warnings, errors }))
        }
    }
}

/// The object that a function of the new style returns.
#[derive(Default)]
struct Whole<'js> {
    object: Option<Object<'js>>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

impl<'js> Whole<'js> {
    fn of(reader: &mut Reader<'_, 'js>, returned: &Value<'js>) -> Result<Self, Stop> {
        let Some(object) = returned.as_object() else { return Ok(Self::default()) };
        let warnings = reader.texts(&field(object, "warnings")?, Path::Root("warnings"))?;
        let errors = reader.texts(&field(object, "errors")?, Path::Root("errors"))?;
        Ok(Self { object: Some(object.clone()), warnings, errors })
    }
}

fn strange_data(entry: Entry, value: &Value<'_>) -> Stop {
    Stop::Strange(match entry.style {
        Style::Object if value.is_undefined() => format!("{} returned an object without `data`", entry.name),
        Style::Object => format!("{} returned `data` that is {}, not an object", entry.name, kind(value)),
        Style::PortFirst | Style::PortLast => {
            format!("{} returned {}, not an object", entry.name, kind(value))
        }
    })
}

fn only_object(item: Json) -> Result<Map<String, Json>, Stop> {
    match item {
        Json::Object(map) => Ok(map),
        _ => Err(Stop::Strange(
            "normalizeUplink returned `data` with something that is not an object".to_owned(),
        )),
    }
}

fn port(object: &Object<'_>) -> Result<Option<u8>, Stop> {
    let value = field(object, "fPort")?;
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    let whole = value.as_number().filter(|number| number.fract() == 0.0 && (0.0..=255.0).contains(number));
    // Whole and within 0 to 255.
    whole
        .map(|number| Some(number as u8))
        .ok_or_else(|| Stop::Strange("`fPort` is not a whole number from 0 to 255".to_owned()))
}
