//! Reported properties: a JSON object, each member a property. Not here: what the hub wants of a device.

use bridge_core::{Content, Kind};
use serde_json::Value;

use crate::body::json;
use crate::fault::Fault;
use crate::item::{Item, Items, named_values};

/// Reads a body in JSON. A property that is null is gone (RFC 7396); it goes on as null.
///
/// # Errors
/// What is wrong with it.
pub fn read(body: &[u8]) -> Result<Items, Fault> {
    let Value::Object(object) = json(body)? else {
        return Err(Fault::at("", "must be an object of properties"));
    };
    if object.is_empty() {
        return Err(Fault::at("", "must hold a property"));
    }
    let content = Content { measurements: named_values(object.into_iter(), "")?, ..Content::default() };
    Ok(Items::one(Kind::Properties, Item { content, ..Item::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_and_nothing_else() {
        let items = read(br#"{"version":"1.2","door":null,"limits":{"low":1}}"#).unwrap();
        let properties = &items.items[0].content.measurements;
        assert_eq!((items.kind, properties.len()), (Kind::Properties, 3));
        assert!(properties[1].value.is_null());
        for body in ["[]", "{}", "7", "{\"\":1}"] {
            assert!(!read(body.as_bytes()).unwrap_err().is_syntax, "{body}");
        }
        assert!(read(b"").unwrap_err().is_syntax);
    }
}
