//! The dispatcher's work for a process that may be stopped for good after every call: one thing after the other, and all
//! of it done when the call completes. Takes the place of `run_sender` and `run_announcer`. Not here: anything in the
//! background.

use super::{BATCH, Dispatcher};
use crate::command::{Command, CommandId};
use crate::id::DeviceId;
use crate::ports::{StoreError, StoreResult};

/// Gives the device back, also when the work on it is dropped half-way.
struct Working<'a>(&'a Dispatcher, Option<DeviceId>);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if let Some(device) = self.1.take() {
            self.0.kicks.done(device);
        }
    }
}

impl Dispatcher {
    /// Sends what the calls before have made ready, and tells of what they have changed. Dropped half-way, the rest is
    /// found by [`tick`](Self::tick) and [`tell_left`](Self::tell_left) of whoever comes next.
    ///
    /// # Errors
    /// When the store failed, or the hub's side took an event neither now nor into the outbox.
    pub async fn work_off(&self) -> StoreResult<()> {
        let mut result = Ok(());
        while let Some(device) = self.kicks.next() {
            let working = Working(self, Some(device.clone()));
            result = result.and(self.dispatch(&device).await);
            drop(working);
        }
        for id in self.announcer.take() {
            if let Some(command) = self.parts.store.get(id).await? {
                self.tell(&command).await?;
            }
        }
        result
    }

    /// Tells of everything that was not told of. Several who do so at once tell it twice, with the same ids.
    ///
    /// # Errors
    /// As [`work_off`](Self::work_off).
    pub async fn tell_left(&self) -> StoreResult<()> {
        let mut after: Option<CommandId> = None;
        loop {
            let left = self.parts.store.unpublished(after, BATCH).await?;
            for command in &left {
                self.tell(command).await?;
            }
            if left.len() < BATCH {
                return Ok(());
            }
            after = left.last().map(|command| command.id);
        }
    }

    /// Tells of one command in order, and notes it.
    async fn tell(&self, command: &Command) -> StoreResult<()> {
        let mut told = command.published;
        let mut result = Ok(());
        for event in command.events(command.published) {
            let number = event.number;
            if !self.parts.sink.publish(event).await {
                let why = "an event of a command was taken neither by the hub nor by the outbox";
                result = Err(StoreError::Unavailable(why.into()));
                break;
            }
            told = number;
        }
        if told > command.published {
            self.parts.store.published(&[(command.id, told)]).await?;
        }
        result
    }
}
