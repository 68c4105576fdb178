//! The state of a device as the bridge keeps it: what it reported, what is wanted of it, and what lies between. Other hubs
//! call it a twin or a shadow. Not here: who may change it, stores ([`crate::ports::Twins`]), and how a wish gets to a device.
//!
//! Both halves are changed by merge patches (RFC 7396), as the twins and shadows of the large hubs are: null removes. The
//! version of a half grows by one with each change that changes something.
//!
//! Reports may arrive in any order. Each member of the outermost object remembers when it was reported last, also one that
//! was removed; of a report, the members that are older than that are left out. Its time is the one that the source gives,
//! and never later than its arrival: a clock that is ahead does not shut out what follows.

mod keeper;
mod patch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use keeper::{Reported, TwinError, TwinKeeper, Wish};
pub use patch::{TooLarge, TwinLimits, delta, diff, merge};

use crate::id::MessageId;
use crate::measurement::Measurement;
use crate::time::Timestamp;

/// See the [module](self). The serde form is the bridge's own form at rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Twin {
    /// What is wanted.
    pub desired: Map<String, Value>,
    /// Changes of what is wanted; 0 when nothing ever was.
    pub desired_version: u64,
    /// When it changed last.
    pub desired_at: Option<Timestamp>,
    /// What the device reported.
    pub reported: Map<String, Value>,
    /// Changes of what was reported; 0 when nothing ever was.
    pub reported_version: u64,
    /// When it changed last, by the bridge's clock.
    pub reported_at: Option<Timestamp>,
    /// Commands that carried this desired version to the device.
    pub sends: u32,
    /// When the last of them was handed over.
    pub sent_at: Option<Timestamp>,
    /// Per member of what was reported, and of what was removed lately.
    marks: BTreeMap<String, Mark>,
    /// The last wishes that the hub sent, to know copies of them.
    heard: Vec<String>,
    /// The store's: changes of any kind; 0 when it is in no store yet.
    #[serde(skip)]
    pub version: u64,
}

/// What is known of a reported member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// The time of its last report.
    at: Timestamp,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

/// Removed members whose time is remembered.
const REMOVED: usize = 64;
/// Wishes of the hub that are remembered.
const HEARD: usize = 16;

/// What a report did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// It changed the state.
    Changed,
    /// It said what was known.
    Unchanged,
    /// All of it was older than what is known.
    Stale,
}

impl Twin {
    /// The same at another version of the store.
    #[must_use]
    pub fn at_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// What is wanted and not reported.
    pub fn delta(&self) -> Map<String, Value> {
        delta(&self.desired, &self.reported)
    }

    /// Merges a wish; whether it changed anything.
    ///
    /// # Errors
    /// When more would be wanted than may be; nothing has changed then.
    pub fn desire(
        &mut self,
        patch: &Map<String, Value>,
        now: Timestamp,
        limits: &TwinLimits,
    ) -> Result<bool, TooLarge> {
        let mut desired = self.desired.clone();
        merge(&mut desired, patch);
        if desired == self.desired {
            return Ok(false);
        }
        limits.check(&desired)?;
        self.desired = desired;
        self.desired_version += 1;
        self.desired_at = Some(now);
        (self.sends, self.sent_at) = (0, None);
        Ok(true)
    }

    /// Merges a report that was made at `at`; null removes.
    ///
    /// # Errors
    /// When more would be reported than is kept; nothing has changed then.
    pub fn report(
        &mut self,
        properties: &[Measurement],
        at: Timestamp,
        now: Timestamp,
        limits: &TwinLimits,
    ) -> Result<Merged, TooLarge> {
        let at = at.min(now);
        let is_new =
            |property: &&Measurement| self.marks.get(&property.name).is_none_or(|mark| mark.at <= at);
        let new: Vec<&Measurement> = properties.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(if properties.is_empty() { Merged::Unchanged } else { Merged::Stale });
        }
        let mut reported = self.reported.clone();
        let patch = new.iter().map(|property| (property.name.clone(), property.value.clone())).collect();
        merge(&mut reported, &patch);
        let unit_of = |name: &str| self.marks.get(name).and_then(|mark| mark.unit.as_deref());
        let changed = reported != self.reported
            || new.iter().any(|property| {
                !property.value.is_null() && unit_of(&property.name) != property.unit.as_deref()
            });
        if changed {
            limits.check(&reported)?;
            self.reported = reported;
            self.reported_version += 1;
            self.reported_at = Some(now);
        }
        for property in new {
            let unit = property.unit.as_ref().map(ToString::to_string);
            self.marks.insert(property.name.clone(), Mark { at, unit });
        }
        self.forget_removed();
        Ok(if changed { Merged::Changed } else { Merged::Unchanged })
    }

    /// All that is reported, in its order.
    pub fn properties(&self) -> Vec<Measurement> {
        let property = |(name, value): (&String, &Value)| {
            let unit = self.marks.get(name).and_then(|mark| mark.unit.clone());
            Measurement { name: name.clone(), value: value.clone(), unit: unit.map(Into::into) }
        };
        self.reported.iter().map(property).collect()
    }

    /// Whether this wish of the hub came before; from now on it did.
    fn hear(&mut self, wish: MessageId) -> bool {
        let wish = wish.to_string();
        if self.heard.contains(&wish) {
            return true;
        }
        self.heard.push(wish);
        let surplus = self.heard.len().saturating_sub(HEARD);
        self.heard.drain(..surplus);
        false
    }

    fn forget_removed(&mut self) {
        let mut removed: Vec<(Timestamp, String)> = self
            .marks
            .iter()
            .filter(|(name, _)| !self.reported.contains_key(*name))
            .map(|(name, mark)| (mark.at, name.clone()))
            .collect();
        removed.sort();
        let surplus = removed.len().saturating_sub(REMOVED);
        for (_, name) in removed.drain(..surplus) {
            self.marks.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn property(name: &str, value: impl Into<Value>) -> Measurement {
        Measurement::new(name, value)
    }

    const LIMITS: TwinLimits = TwinLimits { bytes: 32 * 1024, depth: 10, members: 1000 };

    #[test]
    fn an_older_report_does_not_overwrite_a_newer_one_member_by_member() {
        let mut twin = Twin::default();
        let mut report = |properties: &[Measurement], time| {
            let merged = twin.report(properties, at(time), at(100), &LIMITS).unwrap();
            (merged, Value::Object(twin.reported.clone()), twin.reported_version)
        };
        assert_eq!(report(&[property("a", 2)], 20), (Merged::Changed, json!({ "a": 2 }), 1));
        let mixed = [property("a", 1), property("b", 1)];
        assert_eq!(report(&mixed, 10), (Merged::Changed, json!({ "a": 2, "b": 1 }), 2));
        assert_eq!(report(&mixed, 9), (Merged::Stale, json!({ "a": 2, "b": 1 }), 2));
        assert_eq!(report(&[property("b", Value::Null)], 30), (Merged::Changed, json!({ "a": 2 }), 3));
        assert_eq!(report(&[property("b", 7)], 29).0, Merged::Stale, "a removal is remembered");
        assert_eq!(report(&[property("a", 2)], 40).0, Merged::Unchanged);
        assert_eq!(report(&[property("a", 3)], 39).0, Merged::Stale, "also a report that changed nothing");
        assert_eq!(report(&[property("a", 4)], 5000).0, Merged::Changed);
        assert_eq!(
            report(&[property("a", 5)], 100).0,
            Merged::Changed,
            "a clock that is ahead shuts nothing out"
        );
    }

    #[test]
    fn units_stay_with_their_members() {
        let mut twin = Twin::default();
        let with_unit = property("limit", 5).with_unit("Cel");
        twin.report(std::slice::from_ref(&with_unit), at(1), at(1), &LIMITS).unwrap();
        twin.report(&[property("mode", "on")], at(2), at(2), &LIMITS).unwrap();
        assert_eq!(twin.properties(), [with_unit, property("mode", "on")]);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let limits = TwinLimits { bytes: 20, ..LIMITS };
        let mut twin = Twin::default();
        let long = "x".repeat(20);
        twin.report(&[property("a", long.clone())], at(1), at(1), &limits).unwrap_err();
        twin.desire(json!({ "a": long }).as_object().unwrap(), at(1), &limits).unwrap_err();
        assert_eq!(twin, Twin::default());
    }

    proptest! {
        #[test]
        fn versions_count_the_changes(wishes in prop::collection::vec(("[ab]", prop::option::of(0u8..3)), 0..20)) {
            let mut twin = Twin { sends: 3, ..Twin::default() };
            for (name, value) in wishes {
                let before = twin.clone();
                let patch = [(name, value.map_or(Value::Null, Value::from))].into_iter().collect();
                let changed = twin.desire(&patch, at(1), &LIMITS).unwrap();
                prop_assert_eq!(changed, twin.desired != before.desired);
                prop_assert_eq!(twin.desired_version, before.desired_version + u64::from(changed));
                prop_assert!(!changed || twin.sends == 0);
            }
        }

        #[test]
        fn reports_in_any_order_come_to_the_same_state(
            (inorder, shuffled) in prop::collection::vec(("[abc]", prop::option::of(0u8..9)), 0..12)
                .prop_map(|reports| reports.into_iter().enumerate().collect::<Vec<_>>())
                .prop_flat_map(|reports| (Just(reports.clone()), Just(reports).prop_shuffle())),
        ) {
            let run = |reports: &[(usize, (String, Option<u8>))]| {
                let mut twin = Twin::default();
                for (index, (name, value)) in reports {
                    let value = value.map_or(Value::Null, Value::from);
                    twin.report(&[property(name, value)], at(*index as i64), at(100), &LIMITS).unwrap();
                }
                twin.reported
            };
            prop_assert_eq!(run(&inorder), run(&shuffled));
        }
    }
}
