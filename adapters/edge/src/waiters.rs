//! Who waits for something of a device: how many, one for each device, until when. Not here: what they wait for.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bridge_core::DeviceId;
use bridge_core::ports::Clock;
use tokio::sync::{Notify, watch};

/// Devices that wait at once.
pub const MOST: usize = 10_000;

/// As many devices wait as may.
#[derive(Debug)]
pub struct Crowded;

/// Why a waiting is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There is something.
    Arrived,
    /// It took too long.
    Late,
    /// A newer request of the device waits.
    Displaced,
    /// The bridge goes down.
    Closing,
}

/// Those who wait for one kind of thing.
pub struct Waiters {
    /// One for each device: of two requests the newer one waits, and the older one is answered.
    waiting: Mutex<HashMap<DeviceId, Arc<Notify>>>,
    closing: watch::Sender<bool>,
}

impl Waiters {
    /// Nobody waits.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), closing: watch::Sender::new(false) })
    }

    /// From now on nobody waits.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// A place to wait at.
    ///
    /// # Errors
    /// When too many wait.
    pub fn enter(self: &Arc<Self>, device: &DeviceId) -> Result<Place, Crowded> {
        let displaced = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        if waiting.len() >= MOST && !waiting.contains_key(device) {
            return Err(Crowded);
        }
        if let Some(older) = waiting.insert(device.clone(), displaced.clone()) {
            older.notify_one();
        }
        let closing = self.closing.subscribe();
        Ok(Place { waiters: self.clone(), device: device.clone(), displaced, closing })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one who waits; given back when that ends, however it ends.
pub struct Place {
    waiters: Arc<Waiters>,
    device: DeviceId,
    displaced: Arc<Notify>,
    closing: watch::Receiver<bool>,
}

impl Place {
    /// Waits for that arrival, until then. What ends the waiting for good is said first.
    pub async fn wait(&mut self, arrival: impl Future, until: Instant, clock: &dyn Clock) -> Woken {
        tokio::select! {
            biased;
            () = self.displaced.notified() => Woken::Displaced,
            _ = self.closing.wait_for(|closing| *closing) => Woken::Closing,
            _ = arrival => Woken::Arrived,
            () = clock.sleep_until(until) => Woken::Late,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting();
        if waiting.get(&self.device).is_some_and(|current| Arc::ptr_eq(current, &self.displaced)) {
            waiting.remove(&self.device);
        }
    }
}
