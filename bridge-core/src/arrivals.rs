//! Whoever waits for something of one device (a long poll) is woken when it arrives. Not here: time-outs.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_channel::oneshot;

use crate::id::DeviceId;
use crate::signal::lock;

/// See the module. Bounded by its callers: each of them is a request.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<HashMap<DeviceId, Vec<oneshot::Sender<()>>>>);

impl Arrivals {
    pub(crate) fn wait(&self, device: &DeviceId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.0);
        let of_device = waiting.entry(device.clone()).or_default();
        of_device.retain(|other| !other.is_canceled());
        of_device.push(sender);
        receiver
    }

    pub(crate) fn wake(&self, device: &DeviceId) {
        let woken = lock(&self.0).remove(device);
        for sender in woken.into_iter().flatten() {
            // One that has gone needs no waking.
            let _ = sender.send(());
        }
    }

    /// Forgets those that have gone.
    pub(crate) fn tidy(&self) {
        lock(&self.0).retain(|_, senders| {
            senders.retain(|sender| !sender.is_canceled());
            !senders.is_empty()
        });
    }
}
