//! Devices whose queue is to be looked at, each worked by one at a time. Not here: the work.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::id::DeviceId;
use crate::signal::{Signal, lock};

/// See the module. Bounded by the devices with open commands.
#[derive(Debug, Default)]
pub(super) struct Kicks {
    state: Mutex<State>,
    pub(super) more: Signal,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<DeviceId>,
    known: HashMap<DeviceId, Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Queued,
    Busy,
    /// Busy, and to be looked at again.
    Again,
}

impl Kicks {
    pub(super) fn kick(&self, device: &DeviceId) {
        let mut state = lock(&self.state);
        match state.known.get_mut(device) {
            None => {
                state.known.insert(device.clone(), Place::Queued);
                state.queue.push_back(device.clone());
            }
            Some(Place::Queued) => return,
            Some(place) => *place = Place::Again,
        }
        drop(state);
        self.more.notify();
    }

    /// Makes an idle device the caller's until [`done`](Self::done), while fewer than `most` are idle no more. Whether it is.
    pub(super) fn claim(&self, device: &DeviceId, most: usize) -> bool {
        let mut state = lock(&self.state);
        let claimed = state.known.len() < most && !state.known.contains_key(device);
        if claimed {
            state.known.insert(device.clone(), Place::Busy);
        }
        claimed
    }

    /// The next device; it is the caller's until [`done`](Self::done).
    pub(super) fn next(&self) -> Option<DeviceId> {
        let mut state = lock(&self.state);
        let device = state.queue.pop_front()?;
        state.known.insert(device.clone(), Place::Busy);
        Some(device)
    }

    pub(super) fn done(&self, device: DeviceId) {
        let mut state = lock(&self.state);
        if state.known.remove(&device) == Some(Place::Again) {
            state.known.insert(device.clone(), Place::Queued);
            state.queue.push_back(device);
            drop(state);
            self.more.notify();
        }
    }
}
