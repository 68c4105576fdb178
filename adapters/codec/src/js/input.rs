//! What a script is told, and its way into the engine. Not here: the way back ([`super::read`]).

use std::collections::BTreeMap;

use bridge_core::time::Timestamp;
use rquickjs::function::Args;
use rquickjs::object::Property;
use rquickjs::{Array, Ctx, IntoJs, Object, Result, Value};
use serde_json::{Map, Value as Json};

use super::script::Shape;

/// What a function of a script gets: as one object in the new style (`bytes`, `fPort`, `recvTime`, `variables`,
/// and `device: {id, tags}`, `data`, `radio`, `previous` where present), as separate arguments in the old ones. `device`,
/// `radio` and `previous` are for scripts that speak of them.
#[derive(Debug, Clone, PartialEq)]
pub struct CallInput {
    /// The payload; unused by `normalizeUplink` and `encodeDownlink`.
    pub bytes: Vec<u8>,
    /// LoRaWAN port, where the source has ports.
    pub port: Option<u8>,
    /// When the source or the bridge received it: `recvTime`, a Date.
    pub received_at: Timestamp,
    /// The device's id in the hub.
    pub device: Option<String>,
    /// The device's tags.
    pub tags: BTreeMap<String, String>,
    /// The device's settings for the script; ChirpStack's `variables`.
    pub variables: BTreeMap<String, String>,
    /// How the radio heard it, in the bridge's words.
    pub radio: Option<Json>,
    /// The measurements before these.
    pub previous: Option<Map<String, Json>>,
    /// What `normalizeUplink` and `encodeDownlink` work on.
    pub data: Option<Json>,
}

impl CallInput {
    /// A payload and nothing about its device.
    pub fn new(bytes: Vec<u8>, port: Option<u8>, received_at: Timestamp) -> Self {
        Self {
            bytes,
            port,
            received_at,
            device: None,
            tags: BTreeMap::new(),
            variables: BTreeMap::new(),
            radio: None,
            previous: None,
            data: None,
        }
    }

    /// What the object of the new style has beside bytes and port, in the order of the prelude's `invoke`.
    pub(super) fn push_object<'js>(&self, ctx: &Ctx<'js>, shape: Shape, args: &mut Args<'js>) -> Result<()> {
        // Milliseconds of the years 1970 to 9999 are exact.
        args.push_arg(self.received_at.as_millis() as f64)?;
        args.push_arg(self.variables_object(ctx)?)?;
        args.push_arg(self.data_value(ctx)?)?;
        args.push_arg(self.device.as_deref().filter(|_| shape.wants_device))?;
        args.push_arg(shape.wants_device.then(|| object_of(ctx, &self.tags)).transpose()?)?;
        let radio = self.radio.as_ref().filter(|_| shape.wants_radio);
        args.push_arg(radio.map(|radio| to_js(ctx, radio)).transpose()?)?;
        let previous = self.previous.as_ref().filter(|_| shape.wants_previous);
        args.push_arg(previous.map(|map| object(ctx, map)).transpose()?)
    }

    pub(super) fn bytes_array<'js>(&self, ctx: &Ctx<'js>) -> Result<Array<'js>> {
        let array = Array::new(ctx.clone())?;
        for (index, byte) in self.bytes.iter().enumerate() {
            array.set(index, i32::from(*byte))?;
        }
        Ok(array)
    }

    pub(super) fn port_value<'js>(&self, ctx: &Ctx<'js>) -> Value<'js> {
        match self.port {
            Some(port) => Value::new_int(ctx.clone(), i32::from(port)),
            None => Value::new_undefined(ctx.clone()),
        }
    }

    pub(super) fn data_value<'js>(&self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        self.data.as_ref().map_or_else(|| Ok(Value::new_undefined(ctx.clone())), |data| to_js(ctx, data))
    }

    /// None when there are none; the prelude makes an empty object then.
    pub(super) fn variables_object<'js>(&self, ctx: &Ctx<'js>) -> Result<Option<Object<'js>>> {
        strings(ctx, &self.variables)
    }
}

fn strings<'js>(ctx: &Ctx<'js>, map: &BTreeMap<String, String>) -> Result<Option<Object<'js>>> {
    (!map.is_empty()).then(|| object_of(ctx, map)).transpose()
}

fn object_of<'js>(ctx: &Ctx<'js>, map: &BTreeMap<String, String>) -> Result<Object<'js>> {
    let made = Object::new(ctx.clone())?;
    for (key, value) in map {
        define(&made, key, value.as_str())?;
    }
    Ok(made)
}

fn to_js<'js>(ctx: &Ctx<'js>, json: &Json) -> Result<Value<'js>> {
    match json {
        Json::Null => Ok(Value::new_null(ctx.clone())),
        Json::Bool(value) => Ok(Value::new_bool(ctx.clone(), *value)),
        Json::Number(number) => Ok(Value::new_number(ctx.clone(), number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => text.as_str().into_js(ctx),
        Json::Array(items) => {
            let array = Array::new(ctx.clone())?;
            for (index, item) in items.iter().enumerate() {
                array.set(index, to_js(ctx, item)?)?;
            }
            Ok(array.into_value())
        }
        Json::Object(map) => object(ctx, map).map(Object::into_value),
    }
}

fn object<'js>(ctx: &Ctx<'js>, map: &Map<String, Json>) -> Result<Object<'js>> {
    let made = Object::new(ctx.clone())?;
    for (key, value) in map {
        define(&made, key, to_js(ctx, value)?)?;
    }
    Ok(made)
}

/// Defines instead of assigning: the keys are not ours, and `__proto__` has a setter.
fn define<'js>(object: &Object<'js>, key: &str, value: impl IntoJs<'js>) -> Result<()> {
    object.prop(key, Property::from(value).writable().enumerable().configurable())
}
