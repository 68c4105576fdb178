//! The mailboxes of devices: what is there for one, now or as soon as it is. Not here: credentials and statuses
//! ([`crate::commands`]), who may wait ([`crate::waiters`]), the life of a command (`bridge-core`).

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::DeviceId;
use bridge_core::command::Command;
use bridge_core::commands::Dispatcher;
use bridge_core::ports::{Clock, StoreResult};
use serde_json::{Value, json};

use crate::waiters::{Crowded, Waiters};

/// Commands in one answer.
const MOST: usize = 8;

/// See the module.
pub(crate) struct Mailbox {
    pub(crate) dispatcher: Arc<Dispatcher>,
    waiters: Waiters,
}

impl Mailbox {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self { dispatcher, waiters: Waiters::new() }
    }

    /// From now on nobody waits.
    pub(crate) fn close(&self) {
        self.waiters.close();
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
        let mut place = self.waiters.enter(device)?;
        loop {
            // Asked for first: what comes between the look and the wait is not missed. The dispatcher forgets nobody who waits.
            let arrival = self.dispatcher.arrival(device);
            match self.offer(device).await {
                Ok(commands) if commands.is_empty() => {}
                other => return Ok(other),
            }
            if !place.wait(arrival, until, clock).await {
                return Ok(Ok(Vec::new()));
            }
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
