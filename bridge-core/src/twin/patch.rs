//! JSON merge patch (RFC 7396), what is left to do between two objects, and how large a value is. Not here: versions and
//! times ([`super::Twin`]).

use serde_json::{Map, Value};

/// Applies a patch to an object: a member that is null removes, an object is merged, all else replaces (RFC 7396 section 2).
pub fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(name)),
            Value::Object(patch) => {
                let member = target.entry(name.clone()).or_insert(Value::Null);
                if !member.is_object() {
                    *member = Value::Object(Map::new());
                }
                if let Value::Object(member) = member {
                    merge(member, patch);
                }
            }
            value => drop(target.insert(name.clone(), value.clone())),
        }
    }
}

/// What of `desired` is not in `reported`: the members that are absent there or differ, objects member by member. Numbers
/// are compared by their value: 1 and 1.0 are equal. Merged into `reported` it leaves nothing to do.
pub fn delta(desired: &Map<String, Value>, reported: &Map<String, Value>) -> Map<String, Value> {
    let mut open = Map::new();
    for (name, wanted) in desired {
        match (wanted, reported.get(name)) {
            (Value::Object(wanted), Some(Value::Object(is))) => {
                let inner = delta(wanted, is);
                if !inner.is_empty() {
                    open.insert(name.clone(), Value::Object(inner));
                }
            }
            (wanted, Some(is)) if equal(wanted, is) => {}
            (wanted, _) => drop(open.insert(name.clone(), wanted.clone())),
        }
    }
    open
}

/// The merge patch that makes `to` of `from`: what is new or otherwise, and null for what has gone. Neither holds a null
/// outside of arrays, as nothing does that came about by merging.
pub fn diff(from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let mut patch: Map<String, Value> = gone.collect();
    for (name, value) in to {
        match (from.get(name), value) {
            (Some(Value::Object(from)), Value::Object(to)) => {
                let inner = diff(from, to);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (Some(from), to) if from == to => {}
            (_, to) => drop(patch.insert(name.clone(), to.clone())),
        }
    }
    patch
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| equal(one, other)))
        }
        _ => one == other,
    }
}

/// How large a state may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwinLimits {
    /// Bytes of its JSON.
    pub bytes: usize,
    /// Levels of objects and arrays within the outermost object.
    pub depth: usize,
    /// Members of objects and elements of arrays, at all levels together.
    pub members: usize,
}

impl Default for TwinLimits {
    /// Those of Azure IoT Hub's twins (32 KiB for each half, ten levels), and 1000 members.
    fn default() -> Self {
        Self { bytes: 32 * 1024, depth: 10, members: 1000 }
    }
}

/// A state would be larger than it may be. Its author's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// In bytes.
    #[error("the state would be {0} bytes long; at most {1} are kept")]
    Bytes(usize, usize),
    /// In levels.
    #[error("the state would be nested deeper than {0} levels")]
    Depth(usize),
    /// In members.
    #[error("the state would have {0} members; at most {1} are kept")]
    Members(usize, usize),
}

impl TwinLimits {
    /// Whether an object is within the limits.
    ///
    /// # Errors
    /// The first limit that it breaks.
    pub fn check(&self, object: &Map<String, Value>) -> Result<(), TooLarge> {
        let mut members = 0;
        for value in object.values() {
            self.count(value, 0, &mut members)?;
        }
        if members > self.members {
            return Err(TooLarge::Members(members, self.members));
        }
        // invariant: text keys and finite numbers only, so this cannot fail.
        let bytes = serde_json::to_vec(object).unwrap_or_default().len();
        if bytes > self.bytes { Err(TooLarge::Bytes(bytes, self.bytes)) } else { Ok(()) }
    }

    fn count(&self, value: &Value, depth: usize, members: &mut usize) -> Result<(), TooLarge> {
        *members += 1;
        let is_nested = value.is_object() || value.is_array();
        if is_nested && depth + 1 > self.depth {
            return Err(TooLarge::Depth(self.depth));
        }
        match value {
            Value::Object(object) => {
                object.values().try_for_each(|value| self.count(value, depth + 1, members))
            }
            Value::Array(values) => values.iter().try_for_each(|value| self.count(value, depth + 1, members)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("{value} is no object") };
        object
    }

    /// The function of RFC 7396 section 2, word by word.
    fn reference(target: Value, patch: Value) -> Value {
        let Value::Object(patch) = patch else { return patch };
        let mut target = if let Value::Object(target) = target { target } else { Map::new() };
        for (name, value) in patch {
            if value.is_null() {
                target.shift_remove(&name);
            } else {
                let before = target.get(&name).cloned().unwrap_or(Value::Null);
                target.insert(name, reference(before, value));
            }
        }
        Value::Object(target)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3i64..3).prop_map(Value::from),
            (-3i64..3).prop_map(|n| Value::from(n as f64)),
            "[xy]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::vec(("[abc]", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn patch() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::vec(("[abcd]", value()), 0..5).prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_merge_is_that_of_the_rfc(target in patch(), patch in patch()) {
            let want = reference(target.clone().into(), patch.clone().into());
            let mut merged = target;
            merge(&mut merged, &patch);
            prop_assert_eq!(Value::Object(merged), want);
        }

        #[test]
        fn a_merge_twice_is_a_merge_once(target in patch(), patch in patch()) {
            let mut once = target;
            merge(&mut once, &patch);
            let mut twice = once.clone();
            merge(&mut twice, &patch);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn a_diff_makes_the_one_of_the_other(one in patch(), other in patch()) {
            let (mut from, mut to) = (Map::new(), Map::new());
            merge(&mut from, &one);
            merge(&mut to, &other);
            prop_assert!(diff(&from, &from).is_empty());
            let patch = diff(&from, &to);
            merge(&mut from, &patch);
            prop_assert_eq!(from, to);
        }

        #[test]
        fn a_delta_leaves_nothing_to_do_and_touches_nothing_else(wish in patch(), said in patch()) {
            let (mut desired, mut reported) = (Map::new(), Map::new());
            merge(&mut desired, &wish);
            merge(&mut reported, &said);
            prop_assert!(delta(&desired, &desired).is_empty());
            let open = delta(&desired, &reported);
            let before = reported.clone();
            merge(&mut reported, &open);
            prop_assert!(delta(&desired, &reported).is_empty(), "{:?}", reported);
            for (name, value) in before.iter().filter(|(name, _)| !desired.contains_key(*name)) {
                prop_assert_eq!(reported.get(name), Some(value));
            }
        }
    }

    #[test]
    fn numbers_are_equal_by_value() {
        let open =
            delta(&object(json!({ "a": 1, "b": [2.0], "c": 3 })), &object(json!({ "a": 1.0, "b": [2] })));
        assert_eq!(open, object(json!({ "c": 3 })));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let limits = TwinLimits { bytes: 40, depth: 2, members: 4 };
        limits.check(&object(json!({ "a": { "b": [1] } }))).unwrap();
        assert_eq!(limits.check(&object(json!({ "a": { "b": [[1]] } }))), Err(TooLarge::Depth(2)));
        assert_eq!(limits.check(&object(json!({ "a": [1, 2, 3, 4] }))), Err(TooLarge::Members(5, 4)));
        assert_eq!(limits.check(&object(json!({ "a": "x".repeat(40) }))), Err(TooLarge::Bytes(48, 40)));
    }
}
