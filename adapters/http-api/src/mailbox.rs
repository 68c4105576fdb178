//! The mailboxes of devices: what waits for one, waiting for it, what it reports. Not here: credentials and statuses
//! ([`crate::commands`]), the life of a command (`bridge-core`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::DeviceId;
use bridge_core::command::Command;
use bridge_core::commands::Dispatcher;
use bridge_core::ports::{Clock, StoreResult};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

/// Commands in one answer.
const MOST: usize = 8;
/// Devices that wait at once.
const WAITERS: usize = 10_000;

/// See the module.
pub(crate) struct Mailbox {
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// One for each device: of two requests the newer one waits, and the older one is answered.
    waiting: Mutex<HashMap<DeviceId, Arc<Notify>>>,
    closing: watch::Sender<bool>,
}

/// As many devices wait as may.
#[derive(Debug)]
pub(crate) struct Crowded;

impl Mailbox {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self { dispatcher, waiting: Mutex::default(), closing: watch::Sender::new(false) }
    }

    /// From now on nobody waits.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// What there is for a device now. The attempts are durable when this completes.
    ///
    /// # Errors
    /// When the store failed.
    pub(crate) async fn offer(&self, device: &DeviceId) -> StoreResult<Vec<Command>> {
        self.dispatcher.offer(device, MOST).await
    }

    /// What there is for a device as soon as there is something; nothing at the end of the wait, when a newer request of
    /// the device waits, and when the bridge goes down.
    ///
    /// # Errors
    /// When too many wait; within, when the store failed.
    pub(crate) async fn wait(
        &self,
        device: &DeviceId,
        until: Instant,
        clock: &dyn Clock,
    ) -> Result<StoreResult<Vec<Command>>, Crowded> {
        let place = self.enter(device)?;
        let mut closing = self.closing.subscribe();
        loop {
            // Asked for first: what comes between the look and the wait is not missed.
            let arrival = self.dispatcher.arrival(device);
            match self.offer(device).await {
                Ok(commands) if commands.is_empty() => {}
                other => return Ok(other),
            }
            tokio::select! {
                biased;
                () = place.displaced.notified() => return Ok(Ok(Vec::new())),
                _ = closing.wait_for(|closing| *closing) => return Ok(Ok(Vec::new())),
                // The dispatcher forgets nobody who waits.
                _ = arrival => {}
                () = clock.sleep_until(until) => return Ok(Ok(Vec::new())),
            }
        }
    }

    fn enter(&self, device: &DeviceId) -> Result<Place<'_>, Crowded> {
        let displaced = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        if waiting.len() >= WAITERS && !waiting.contains_key(device) {
            return Err(Crowded);
        }
        if let Some(older) = waiting.insert(device.clone(), displaced.clone()) {
            older.notify_one();
        }
        Ok(Place { mailbox: self, device: device.clone(), displaced })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a request that waits; given back when it ends, however it ends.
struct Place<'m> {
    mailbox: &'m Mailbox,
    device: DeviceId,
    displaced: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.mailbox.waiting();
        if waiting.get(&self.device).is_some_and(|current| Arc::ptr_eq(current, &self.displaced)) {
            waiting.remove(&self.device);
        }
    }
}

/// Commands as devices read them.
pub(crate) fn write(commands: &[Command]) -> Value {
    let write = |command: &Command| {
        let mut written = json!({
            "id": command.id.to_string(),
            "name": command.draft.name.as_str(),
            "arguments": command.draft.arguments,
            "expires": command.expires.to_string(),
            "attempt": command.attempts(),
        });
        if let Some(payload) = &command.draft.payload {
            written["payload"] = BASE64_STANDARD.encode(&payload.data).into();
        }
        written
    };
    commands.iter().map(write).collect()
}
