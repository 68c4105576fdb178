//! JSON fields that may be of a wrong type without failing the whole message, in one pass and without copies. Not
//! here: what a field means, and bodies whose fields are not known beforehand (`fields.rs`).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bridge_core::members::Members;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A field of a known JSON object.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Field<T> {
    /// Not there, or `null`.
    #[default]
    Absent,
    /// There, and of its type.
    Is(T),
    /// There, but of a type that it cannot have.
    Wrong,
}

/// A text field, borrowed where it has no escapes.
pub(super) type Text<'a> = Field<Cow<'a, str>>;

impl<T> Field<T> {
    /// The value, if it is one.
    pub(super) fn get(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The value, if it is one.
    pub(super) fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Whether something is there at all.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Adds a warning when the field is there but of a wrong type.
    pub(super) fn check(&self, name: &str, warnings: &mut Vec<String>) {
        if matches!(self, Self::Wrong) {
            warnings.push(format!("{name} is not of its type and was left out"));
        }
    }
}

impl Field<Cow<'_, str>> {
    /// The text, if there is one and it is not empty.
    pub(super) fn text(&self) -> Option<&str> {
        self.as_ref().map(Cow::as_ref).filter(|text| !text.is_empty())
    }
}

/// A type that a JSON value may be. What is not overridden is a wrong type.
pub(super) trait FromJson<'de>: Sized {
    fn from_bool(_: bool) -> Option<Self> {
        None
    }
    fn from_number(_: Number) -> Option<Self> {
        None
    }
    fn from_text(_: Cow<'de, str>) -> Option<Self> {
        None
    }
    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Option<Self>, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de, T: FromJson<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: FromJson<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }
    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Absent)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Field<T>, E> {
        Ok(T::from_bool(flag).into())
    }
    fn visit_u64<E>(self, number: u64) -> Result<Field<T>, E> {
        Ok(T::from_number(number.into()).into())
    }
    fn visit_i64<E>(self, number: i64) -> Result<Field<T>, E> {
        Ok(T::from_number(number.into()).into())
    }
    fn visit_f64<E>(self, number: f64) -> Result<Field<T>, E> {
        Ok(Number::from_f64(number).and_then(T::from_number).into())
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<T>, E> {
        Ok(T::from_text(Cow::Borrowed(text)).into())
    }
    fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
        Ok(T::from_text(Cow::Owned(text.to_owned())).into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Field<T>, A::Error> {
        T::from_array(array).map(Into::into)
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Field<T>, A::Error> {
        T::from_object(object).map(Into::into)
    }
}

impl<T> From<Option<T>> for Field<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Wrong, Self::Is)
    }
}

/// Makes structs that derive `Deserialize` fields of others.
macro_rules! from_object {
    ($($name:ty),* $(,)?) => {$(
        impl<'de: 'a, 'a> $crate::connectors::lenient::FromJson<'de> for $name {
            fn from_object<A: serde::de::MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
                use serde::de::value::MapAccessDeserializer;
                serde::Deserialize::deserialize(MapAccessDeserializer::new(object)).map(Some)
            }
        }
    )*};
}
pub(super) use from_object;

impl<'de: 'a, 'a> FromJson<'de> for Cow<'a, str> {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl<'de> FromJson<'de> for bool {
    fn from_bool(flag: bool) -> Option<Self> {
        Some(flag)
    }
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        text.parse().ok()
    }
}

impl<'de> FromJson<'de> for f64 {
    fn from_number(number: Number) -> Option<Self> {
        number.as_f64()
    }
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        text.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }
}

macro_rules! unsigned {
    ($($integer:ty),*) => {$(
        impl<'de> FromJson<'de> for $integer {
            fn from_number(number: Number) -> Option<Self> {
                let whole = || super::fields::integer(&Value::Number(number.clone()));
                number.as_u64().or_else(|| u64::try_from(whole()?).ok())?.try_into().ok()
            }
            fn from_text(text: Cow<'de, str>) -> Option<Self> {
                text.trim().parse().ok()
            }
        }
    )*};
}
unsigned!(u8, u32, u64);

impl<'de> FromJson<'de> for Map<String, Value> {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        let mut map = Self::new();
        while let Some((key, value)) = object.next_entry()? {
            map.insert(key, value);
        }
        Ok(Some(map))
    }
}

impl<'de> FromJson<'de> for Members {
    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        Self::read(object).map(Some)
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for Box<T> {
    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        Ok(T::from_object(object)?.map(Self::new))
    }
}

/// That something other than `null` is there; what it is was never kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Present;

impl<'de> FromJson<'de> for Present {
    fn from_bool(_: bool) -> Option<Self> {
        Some(Self)
    }
    fn from_number(_: Number) -> Option<Self> {
        Some(Self)
    }
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        (!text.is_empty()).then_some(Self)
    }
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(Self))
    }
}

/// A list with a bound; a single value counts as a list of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List<T> {
    /// The first [`List::MAX`] elements of the right type.
    pub(super) items: Vec<T>,
    /// How many are not among them, because of their type or of the bound.
    pub(super) left_out: usize,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), left_out: 0 }
    }
}

impl<T> List<T> {
    /// No cloud that we know sends more than a few dozen of anything.
    pub(super) const MAX: usize = 256;

    fn one(item: Option<T>) -> Option<Self> {
        item.map(|item| Self { items: vec![item], left_out: 0 })
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for List<T> {
    fn from_text(text: Cow<'de, str>) -> Option<Self> {
        Self::one(T::from_text(text))
    }
    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Option<Self>, A::Error> {
        let mut list = Self::default();
        while list.items.len() < Self::MAX {
            match array.next_element()? {
                Some(Field::Is(item)) => list.items.push(item),
                Some(Field::Absent | Field::Wrong) => list.left_out += 1,
                None => return Ok(Some(list)),
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            list.left_out += 1;
        }
        Ok(Some(list))
    }
    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        T::from_object(object).map(Self::one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a, T: FromJson<'a>>(json: &'a str) -> Field<T> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_wrong_type_is_wrong_and_never_an_error() {
        assert_eq!(read::<u8>("7"), Field::Is(7));
        assert_eq!(read::<u8>("\"7\""), Field::Is(7));
        assert_eq!(read::<u8>("7.0"), Field::Is(7));
        assert_eq!(read::<u8>("null"), Field::Absent);
        for wrong in ["256", "-1", "7.5", "true", "[1,[2]]", "{\"a\":{}}", "\"x\"", "1e300"] {
            assert_eq!(read::<u8>(wrong), Field::Wrong, "{wrong}");
        }
        assert_eq!(read::<f64>("\"NaN\""), Field::Wrong);
        assert_eq!(read::<bool>("\"true\""), Field::Is(true));
        assert_eq!(read::<Present>("{\"key\":\"x\"}"), Field::Is(Present));
    }

    #[test]
    fn lists_take_one_or_many_and_are_bounded() {
        let list = read::<List<Cow<'_, str>>>("[\"a\", 1, null, \"b\"]").get().unwrap();
        assert_eq!((list.items.len(), list.left_out), (2, 2));
        assert_eq!(read::<List<Cow<'_, str>>>("\"a\"").get().unwrap().items, ["a"]);
        assert!(matches!(read::<List<u8>>("{}"), Field::Wrong));
        let many = format!("[{}0]", "0,".repeat(1000));
        let list = read::<List<u8>>(&many).get().unwrap();
        assert_eq!((list.items.len(), list.left_out), (256, 745));
    }

    #[test]
    fn text_is_borrowed_unless_escaped() {
        assert!(matches!(read("\"a\""), Field::Is(Cow::Borrowed("a"))));
        assert!(matches!(read::<Cow<'_, str>>("\"\\u0061\""), Field::Is(Cow::Owned(text)) if text == "a"));
        assert_eq!(read::<Cow<'_, str>>("\"\"").text(), None);
    }
}
