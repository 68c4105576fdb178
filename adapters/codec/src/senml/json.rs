//! Reads SenML JSON (RFC 8428 section 5), field by field and without a tree. Not here: what the fields mean.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::pack::{Entry, Item, Label, Pack};
use super::record::SenmlError;

/// Reads the records, in order.
pub(super) fn read(bytes: &[u8]) -> Result<Pack, SenmlError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    // As for moments: see `outcome`.
    let mut reader = Reader { entries: Vec::with_capacity(1), error: None };
    let read = deserializer.deserialize_any(Records(&mut reader)).and_then(|()| deserializer.end());
    read.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        SenmlError::Malformed(format!(
            "line {line}, column {column}: not JSON that can be read, or nested too deep"
        ))
    })?;
    match reader.error {
        Some(error) => Err(error),
        None => Ok(Pack { entries: reader.entries }),
    }
}

struct Reader {
    entries: Vec<Entry>,
    /// The first one. Reading goes on to the end all the same: what is not JSON is no pack of a wrong kind.
    error: Option<SenmlError>,
}

impl Reader {
    fn fail(&mut self, error: SenmlError) {
        self.error.get_or_insert(error);
    }
}

/// Visits the list of records.
struct Records<'r>(&'r mut Reader);

/// Visits a record.
struct Fields<'r>(&'r mut Reader);

/// Reads a label; none when it may be ignored.
struct LabelSeed<'r>(&'r mut Reader);

/// Reads the value of a field.
struct ItemSeed;

/// The kinds of values that are neither a pack nor a record.
macro_rules! not_a_pack {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: Error>(self, _: $type) -> Result<(), E> {
            self.0.fail(SenmlError::NotAPack);
            Ok(())
        })*

        fn visit_unit<E: Error>(self) -> Result<(), E> {
            self.0.fail(SenmlError::NotAPack);
            Ok(())
        }

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }
    };
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    not_a_pack!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<Value, Value>()?.is_some() {}
        self.0.fail(SenmlError::NotAPack);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while records.next_element_seed(Fields(self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    not_a_pack!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<Value>()?.is_some() {}
        self.0.fail(SenmlError::NotAPack);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut entry = Entry::default();
        while let Some(label) = fields.next_key_seed(LabelSeed(self.0))? {
            let item = fields.next_value_seed(ItemSeed)?;
            if let Some(label) = label
                && let Err(error) = entry.put(label, item)
            {
                self.0.fail(error);
            }
        }
        self.0.entries.push(entry);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for LabelSeed<'_> {
    type Value = Option<Label>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Label>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for LabelSeed<'_> {
    type Value = Option<Label>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<Label>, E> {
        Ok(Label::from_text(text).unwrap_or_else(|error| {
            self.0.fail(error);
            None
        }))
    }
}

impl<'de> DeserializeSeed<'de> for ItemSeed {
    type Value = Item;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Item, E> {
        Ok(Item::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Item, E> {
        Ok(Item::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Item, E> {
        Ok(Item::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Item, E> {
        Ok(Number::from_f64(number).map_or(Item::NotFinite, Item::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Item, E> {
        Ok(Item::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        while items.next_element::<Value>()?.is_some() {}
        Ok(Item::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Item, A::Error> {
        while members.next_entry::<Value, Value>()?.is_some() {}
        Ok(Item::Other)
    }
}
