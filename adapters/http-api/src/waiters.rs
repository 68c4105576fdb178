//! Requests that wait for something of their device: how many, one for each device, until when. Not here: what they wait
//! for.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::DeviceId;
use bridge_core::ports::Clock;
use http_edge::auth;
use tokio::sync::{Notify, watch};

/// The longest that a request may wait.
const LONGEST: Duration = Duration::from_secs(60);
/// Devices that wait at once.
const MOST: usize = 10_000;
/// What is wrong with a `wait` that [`asked`] does not take.
pub(crate) const BAD_WAIT: &str = "\"wait\" is a number of seconds from 0 to 60, such as 30s.";

/// How long a request asks to wait: `wait=30s` or `wait=30`; not at all without.
pub(crate) fn asked(query: &str) -> Option<Duration> {
    let (values, _) = auth::take_parameter(query, "wait");
    let Some(value) = values.first() else { return Some(Duration::ZERO) };
    let text = std::str::from_utf8(value).ok()?;
    let digits = text.strip_suffix('s').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let wait = Duration::from_secs(digits.parse().ok().filter(|_| is_number)?);
    (values.len() == 1 && wait <= LONGEST).then_some(wait)
}

/// As many devices wait as may.
#[derive(Debug)]
pub(crate) struct Crowded;

/// Those who wait for one kind of thing.
pub(crate) struct Waiters {
    /// One for each device: of two requests the newer one waits, and the older one is answered.
    waiting: Mutex<HashMap<DeviceId, Arc<Notify>>>,
    closing: watch::Sender<bool>,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), closing: watch::Sender::new(false) }
    }

    /// From now on nobody waits.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// A place to wait at.
    ///
    /// # Errors
    /// When too many wait.
    pub(crate) fn enter(&self, device: &DeviceId) -> Result<Place<'_>, Crowded> {
        let displaced = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        if waiting.len() >= MOST && !waiting.contains_key(device) {
            return Err(Crowded);
        }
        if let Some(older) = waiting.insert(device.clone(), displaced.clone()) {
            older.notify_one();
        }
        let closing = self.closing.subscribe();
        Ok(Place { waiters: self, device: device.clone(), displaced, closing })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a request that waits; given back when it ends, however it ends.
pub(crate) struct Place<'w> {
    waiters: &'w Waiters,
    device: DeviceId,
    displaced: Arc<Notify>,
    closing: watch::Receiver<bool>,
}

impl Place<'_> {
    /// Waits for that arrival. False when the waiting is over: at its end, when a newer request of the device waits, and
    /// when the bridge goes down.
    pub(crate) async fn wait(&mut self, arrival: impl Future, until: Instant, clock: &dyn Clock) -> bool {
        tokio::select! {
            biased;
            () = self.displaced.notified() => false,
            _ = self.closing.wait_for(|closing| *closing) => false,
            _ = arrival => true,
            () = clock.sleep_until(until) => false,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting();
        if waiting.get(&self.device).is_some_and(|current| Arc::ptr_eq(current, &self.displaced)) {
            waiting.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds() {
        for (query, wanted) in [
            ("", Some(0)),
            ("wait=30s", Some(30)),
            ("wait=5&x=1", Some(5)),
            ("wait=60s", Some(60)),
            ("wait=61s", None),
            ("wait=", None),
            ("wait=s", None),
            ("wait=-1", None),
            ("wait=+1", None),
            ("wait=1m", None),
            ("wait=1&wait=2", None),
            ("wait=99999999999999999999", None),
        ] {
            assert_eq!(asked(query), wanted.map(Duration::from_secs), "{query}");
        }
    }
}
