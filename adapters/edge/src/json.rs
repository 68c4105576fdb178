//! JSON in which only objects and arrays of objects mean something. Not here: what they mean ([`crate::item`]).

use std::fmt;

use bridge_core::members::Members;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::item::MOST_ITEMS;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// An object.
    Object(Members),
    /// An array; none for an element that is no object. Of more elements than a request may hold, one more is there.
    Array(Vec<Option<Members>>),
    /// Neither.
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Part { is_element: false })
    }
}

/// The whole, or an element of its array: one that is an array itself means nothing.
#[derive(Clone, Copy)]
struct Part {
    is_element: bool,
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_str<E>(self, _: &str) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while !self.is_element && elements.len() <= MOST_ITEMS {
            match array.next_element_seed(Self { is_element: true })? {
                Some(Json::Object(object)) => elements.push(Some(object)),
                Some(Json::Array(_) | Json::Other) => elements.push(None),
                None => return Ok(Json::Array(elements)),
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Array(elements))
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Json, A::Error> {
        Members::read(object).map(Json::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn only_objects_and_arrays_of_them_mean_something() {
        assert!(matches!(read(r#"{"a":1}"#), Json::Object(members) if members.get("a").is_some()));
        let Json::Array(elements) = read(r#"[{"a":1},7,[{"a":1}],"x",null,true,-1,1.5,{}]"#) else {
            panic!()
        };
        let objects: Vec<usize> =
            elements.iter().enumerate().filter(|(_, e)| e.is_some()).map(|(n, _)| n).collect();
        assert_eq!((elements.len(), objects), (9, vec![0, 8]));
        for other in ["7", "-7", "1.5", "\"x\"", "null", "true"] {
            assert_eq!(read(other), Json::Other, "{other}");
        }
    }

    #[test]
    fn elements_that_are_too_many_take_no_room() {
        let Json::Array(elements) = read(&format!("[{}{{}}]", "{},".repeat(5 * MOST_ITEMS))) else {
            panic!()
        };
        assert_eq!(elements.len(), MOST_ITEMS + 1);
        assert!(serde_json::from_str::<Json>(&format!("[{}{{]", "{},".repeat(5 * MOST_ITEMS))).is_err());
    }
}
