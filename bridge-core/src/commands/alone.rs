//! Which devices have one open command and no other, as far as this process knows: their queue need not be read. Nothing
//! depends on it: who begins an attempt asks the store whether it may, and what it does not know is found by time. Not
//! here: the commands.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::command::CommandId;
use crate::id::DeviceId;
use crate::recent::Recent;
use crate::signal::lock;

/// Devices in memory.
const KNOWN: usize = 16_384;

/// See the module.
#[derive(Debug)]
pub(super) struct Alone(Mutex<State>);

#[derive(Debug)]
struct State {
    alone: Recent<DeviceId, CommandId>,
    /// Insertions under way. Bounded by their callers.
    arriving: HashMap<DeviceId, Arriving>,
}

#[derive(Debug, Default)]
struct Arriving {
    insertions: usize,
    /// There were several at once: none of them can tell who is alone.
    several: bool,
}

impl Default for Alone {
    fn default() -> Self {
        Self(Mutex::new(State { alone: Recent::new(KNOWN), arriving: HashMap::new() }))
    }
}

impl Alone {
    /// Before an insertion: from here on nobody is alone, whatever becomes of it.
    pub(super) fn arrives(&self, device: &DeviceId) -> Arrival<'_> {
        let mut state = lock(&self.0);
        state.alone.remove(device);
        let arriving = state.arriving.entry(device.clone()).or_default();
        arriving.several |= arriving.insertions > 0;
        arriving.insertions += 1;
        Arrival { all: self, device: device.clone() }
    }

    /// The device's only open command.
    pub(super) fn of(&self, device: &DeviceId) -> Option<CommandId> {
        lock(&self.0).alone.get(device).copied()
    }

    /// A command is over; whether it was alone, and nothing waits behind it.
    pub(super) fn ends(&self, device: &DeviceId, command: CommandId) -> bool {
        let mut state = lock(&self.0);
        let alone = state.alone.get(device) == Some(&command);
        if alone {
            state.alone.remove(device);
        }
        alone
    }

    /// Forgets a device: the store knows better.
    pub(super) fn forget(&self, device: &DeviceId) {
        lock(&self.0).alone.remove(device);
    }
}

/// An insertion under way; dropped when nothing is known of its end.
pub(super) struct Arrival<'a> {
    all: &'a Alone,
    device: DeviceId,
}

impl Arrival<'_> {
    /// The store took this command and found no other one open.
    pub(super) fn came_alone(self, command: CommandId) {
        let mut state = lock(&self.all.0);
        if state.arriving.get(&self.device).is_some_and(|arriving| !arriving.several) {
            state.alone.insert(self.device.clone(), command);
        }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.all.0);
        if let Some(arriving) = state.arriving.get_mut(&self.device) {
            arriving.insertions -= 1;
            if arriving.insertions == 0 {
                state.arriving.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (DeviceId, CommandId, CommandId) {
        let id = |byte| CommandId::from_bytes([byte; 16]);
        (DeviceId::parse("d1").unwrap(), id(1), id(2))
    }

    #[test]
    fn a_command_is_alone_until_the_next_one_is_on_its_way() {
        let (alone, (device, first, second)) = (Alone::default(), ids());
        alone.arrives(&device).came_alone(first);
        assert_eq!(alone.of(&device), Some(first));
        let arrival = alone.arrives(&device);
        assert_eq!(alone.of(&device), None);
        drop(arrival);
        assert_eq!(alone.of(&device), None, "it may have been stored");
        alone.arrives(&device).came_alone(second);
        assert!(!alone.ends(&device, first), "it was not");
        assert!(alone.ends(&device, second) && !alone.ends(&device, second));
    }

    #[test]
    fn of_two_insertions_at_once_neither_is_alone() {
        let (alone, (device, first, second)) = (Alone::default(), ids());
        let (one, other) = (alone.arrives(&device), alone.arrives(&device));
        one.came_alone(first);
        assert_eq!(alone.of(&device), None);
        other.came_alone(second);
        assert_eq!(alone.of(&device), None);
        alone.arrives(&device).came_alone(second);
        assert!(alone.ends(&device, second));
        assert!(lock(&alone.0).arriving.is_empty());
    }
}
