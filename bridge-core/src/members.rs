//! The members of a JSON object, for what is read once from its first to its last. Not here: an object whose members are
//! looked up again and again ([`serde_json::Map`], which hashes every name).

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::hash::QuickHash;

/// Members in the order in which they came, which is part of what they are. Of equal names the last value counts, in the place of the first, as in
/// [`serde_json::Map`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members(Vec<(String, Value)>);

/// Members that most objects do not have more of.
const USUAL: usize = 8;
/// Up to so many members, to compare a name with all is faster than to look it up.
const FEW: usize = 32;

impl Members {
    /// Reads the object that comes next.
    ///
    /// # Errors
    /// When there is something wrong with it.
    pub fn read<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        // Nothing for an object without members: there can be very many of those.
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut places = Places::default();
        while let Some((name, value)) = object.next_entry::<String, Value>()? {
            let known = match members.len() {
                0..FEW => place(&members, &name),
                _ => places.find(&members, &name),
            };
            if let Some(place) = known {
                members[place].1 = value;
                continue;
            }
            if members.is_empty() {
                members.reserve(USUAL);
            }
            members.push((name, value));
        }
        Ok(Self(members))
    }

    /// The value of the first member of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Takes a member out; the order of the others stays.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let place = place(&self.0, name)?;
        Some(self.0.remove(place).1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn place(members: &[(String, Value)], name: &str) -> Option<usize> {
    members.iter().position(|(other, _)| other == name)
}

/// Where members stand, by the hashes of their names.
#[derive(Default)]
struct Places {
    hash: QuickHash,
    first: HashMap<u64, usize, QuickHash>,
    listed: usize,
}

impl Places {
    fn find(&mut self, members: &[(String, Value)], name: &str) -> Option<usize> {
        for (place, (name, _)) in members.iter().enumerate().skip(self.listed) {
            self.first.entry(self.hash.hash_one(name.as_str())).or_insert(place);
        }
        self.listed = members.len();
        let first = *self.first.get(&self.hash.hash_one(name))?;
        // Two names of one hash: nothing that happens by itself.
        if members[first].0 == name { Some(first) } else { place(members, name) }
    }
}

impl From<Map<String, Value>> for Members {
    fn from(object: Map<String, Value>) -> Self {
        Self(object.into_iter().collect())
    }
}

impl IntoIterator for Members {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Members, A::Error> {
                Members::read(object)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_map_reads() {
        let many = |count: usize, names: usize| {
            let members: Vec<_> = (0..count).map(|n| format!(r#""n{}":{n}"#, n % names)).collect();
            format!("{{{}}}", members.join(","))
        };
        let few = r#"{"b":1,"a":[2],"b":{"c":null}}"#.to_owned();
        for text in ["{}".to_owned(), few, many(31, 31), many(200, 70), many(200, 33), many(500, 500)] {
            let map: Map<String, Value> = serde_json::from_str(&text).unwrap();
            let members: Members = serde_json::from_str(&text).unwrap();
            assert_eq!(members, Members::from(map), "{text}");
        }
        assert!(serde_json::from_str::<Members>("[]").is_err());
    }

    #[test]
    fn what_is_taken_out_is_gone_and_the_others_keep_their_order() {
        let mut members: Members = serde_json::from_str(r#"{"a":1,"b":2,"c":3}"#).unwrap();
        assert_eq!((members.take("b"), members.take("b")), (Some(2.into()), None));
        assert_eq!(members.get("c"), Some(&3.into()));
        let names: Vec<String> = members.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
