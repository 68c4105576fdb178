//! The open commands of one device in few words: enough to say which come next and whether there is room. Not here: the
//! commands themselves.

use std::cmp::Reverse;

use bridge_core::command::{Command, CommandId, Phase};
use bridge_core::ports::StoreResult;
use bridge_core::{DeviceId, Timestamp};
use serde_json::{Value, json};

use crate::item::{Item, attributes, number, text};
use crate::keys::{Key, of_device};
use crate::table::FLAG;
use crate::write::Write;

pub(super) const QUEUE: &str = "queue";

/// The queue of a device, as it was read and as it is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Queue {
    version: u64,
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    id: CommandId,
    rank: u8,
    is_flying: bool,
    /// None unless it waits and the bridge sends it by itself.
    not_before: Option<Timestamp>,
}

impl Queue {
    /// Of its item; empty when there is none.
    pub(super) fn read(item: Option<&Item>) -> StoreResult<Self> {
        let Some(item) = item else { return Ok(Self::default()) };
        let places = item.parsed("places", |text| {
            let places: Vec<Value> = serde_json::from_str(text).ok()?;
            places.iter().map(Place::parse).collect()
        });
        Ok(Self { version: item.number("version")?, places: places? })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn ids(&self) -> Vec<CommandId> {
        self.places.iter().map(|place| place.id).collect()
    }

    /// What is in flight, and the first `waiting` that wait.
    pub(super) fn wanted(mut self, waiting: usize) -> Vec<CommandId> {
        self.places.sort_by_key(|place| (Reverse(place.rank), place.id));
        let mut left = waiting;
        self.places.retain(|place| {
            let is_taken = place.is_flying || left > 0;
            left -= usize::from(is_taken && !place.is_flying);
            is_taken
        });
        self.ids()
    }

    /// How many others are in flight.
    pub(super) fn flying_beside(&self, id: CommandId) -> usize {
        self.places.iter().filter(|place| place.is_flying && place.id != id).count()
    }

    /// When the device has something to be sent by the bridge itself and nothing in flight: from when on.
    pub(super) fn ready_from(&self) -> Option<Timestamp> {
        if self.places.iter().any(|place| place.is_flying) {
            return None;
        }
        self.places.iter().filter_map(|place| place.not_before).min()
    }

    /// Takes a command in as it is now, or out when it is over. Whether that changed anything.
    pub(super) fn set(&mut self, command: &Command) -> bool {
        let place = Place::of(command);
        let known = self.places.iter().position(|place| place.id == command.id);
        match (known, place) {
            (None, None) => false,
            (None, Some(place)) => {
                self.places.push(place);
                true
            }
            (Some(at), None) => {
                self.places.remove(at);
                true
            }
            (Some(at), Some(place)) => {
                let is_other = self.places[at] != place;
                self.places[at] = place;
                is_other
            }
        }
    }

    /// Writes it over the one that was read. An empty one goes.
    pub(super) fn write(&self, device: &DeviceId) -> Write {
        let key = queue_key(device);
        let write = if self.places.is_empty() {
            Write::delete(key)
        } else {
            let places: Vec<Value> = self.places.iter().map(Place::to_json).collect();
            let mut item = attributes([
                // Whoever reads a queue that was emptied meanwhile, and filled again, must not take it for the same.
                ("version", number(fastrand::u64(1..=1 << 53))),
                ("places", text(Value::from(places).to_string())),
            ]);
            if self.ready_from().is_some() {
                item.extend(attributes([
                    (FLAG.keys.partition, text(of_device(QUEUE, device))),
                    (FLAG.keys.sort, text(device.as_str())),
                ]));
            }
            Write::put(key, item)
        };
        match self.version {
            0 => write.when_absent(),
            version => write.when("#version = :known").value("known", number(version)),
        }
    }
}

impl Place {
    fn of(command: &Command) -> Option<Self> {
        let (is_flying, not_before) = match command.phase() {
            Phase::Waiting { not_before, pushed } => (false, pushed.then_some(not_before)),
            Phase::Sending { .. } | Phase::Awaiting { .. } => (true, None),
            Phase::Done => return None,
        };
        Some(Self { id: command.id, rank: command.draft.priority.rank(), is_flying, not_before })
    }

    fn to_json(&self) -> Value {
        json!([self.id.to_string(), self.rank, self.is_flying, self.not_before.map(Timestamp::as_millis)])
    }

    fn parse(value: &Value) -> Option<Self> {
        Some(Self {
            id: CommandId::parse(value.get(0)?.as_str()?).ok()?,
            rank: u8::try_from(value.get(1)?.as_u64()?).ok()?,
            is_flying: value.get(2)?.as_bool()?,
            not_before: match value.get(3)? {
                Value::Null => None,
                ms => Some(Timestamp::from_millis(ms.as_i64()?)?),
            },
        })
    }
}

pub(super) fn queue_key(device: &DeviceId) -> Key {
    Key::alone(format!("{QUEUE}#{}", device.as_str()))
}

#[cfg(test)]
mod tests {
    use bridge_core::testing::contract::command;

    use super::*;

    #[test]
    fn a_queue_is_read_as_it_was_written() {
        let mut queue = Queue::default();
        assert!(queue.set(&command(1, "d")) && queue.set(&command(2, "d")));
        assert!(!queue.set(&command(1, "d")), "the same");
        let places: Vec<Value> = queue.places.iter().map(Place::to_json).collect();
        let item =
            Item(attributes([("version", number(7)), ("places", text(Value::from(places).to_string()))]));
        let read = Queue::read(Some(&item)).unwrap();
        assert_eq!((read.version, &read.places), (7, &queue.places));
        assert_eq!(read.ready_from(), queue.ready_from());
        assert!(read.ready_from().is_some());
        assert_eq!(read.clone().wanted(1), [command(1, "d").id]);
        let broken = Item(attributes([("version", number(7)), ("places", text("[[1]]"))]));
        assert!(Queue::read(Some(&broken)).is_err());
    }
}
