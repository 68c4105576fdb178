//! Finding commands: by device, by time, by what has to be done. What an index names is read again from the table.

use bridge_core::command::{Command, CommandId, Phase, Reference};
use bridge_core::ports::{CommandFilter, Commands, StoreResult};
use bridge_core::{DeviceId, Timestamp};

use super::queue::{QUEUE, Queue};
use super::{COMMAND, DUE, command, reference_partition};
use crate::DynamoStore;
use crate::keys::moment;
use crate::table::{FLAG, OWNER, TIME};
use crate::walk::Range;

impl DynamoStore {
    /// All commands are walked through when no device is named: an operator's question.
    pub(super) async fn list_commands(
        &self,
        filter: &CommandFilter,
        before: Option<CommandId>,
        limit: usize,
    ) -> StoreResult<Vec<Command>> {
        let range = before.map_or(Range::All, |id| Range::Before(id.to_string()));
        let wanted = |command: Command| {
            let is_wanted = filter.device.as_ref().is_none_or(|device| *device == command.device)
                && filter.state.is_none_or(|state| state == command.state())
                && filter.done.is_none_or(|done| done == command.is_done());
            is_wanted.then_some(command)
        };
        match &filter.device {
            Some(device) => {
                let partition = format!("{COMMAND}#{}", device.as_str());
                let walk = self.walk_in(Some(OWNER), vec![partition], range, limit).descending();
                self.hits(walk, limit, |item| Ok(wanted(command(item)?))).await
            }
            None => {
                let walk = self.walk(None, COMMAND, range, limit).descending();
                walk.take(limit, |item| Ok(wanted(command(item)?))).await
            }
        }
    }

    pub(super) async fn ready_devices(
        &self,
        now: Timestamp,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> StoreResult<Vec<DeviceId>> {
        let walk = self.walk(Some(FLAG), QUEUE, Range::after(after), limit);
        self.hits(walk, limit, |item| {
            let is_ready = Queue::read(Some(item))?.ready_from().is_some_and(|from| from <= now);
            is_ready.then(|| item.parsed(FLAG.keys.sort, |text| DeviceId::parse(text).ok())).transpose()
        })
        .await
    }

    pub(super) async fn due_commands(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<Command>> {
        let next = now.plus(std::time::Duration::from_millis(1));
        let walk = self.walk(Some(TIME), DUE, Range::Before(moment(next)), limit);
        let is_due = |command: &Command| command.due().is_some_and(|due| due <= now);
        let mut due = self.hits(walk, limit, |item| Ok(Some(command(item)?).filter(is_due))).await?;
        due.sort_by_key(|command| (command.due(), command.id));
        Ok(due)
    }

    /// Walks through all open commands: asked once, when the bridge starts.
    pub(super) async fn sending_commands(
        &self,
        after: Option<CommandId>,
        limit: usize,
    ) -> StoreResult<Vec<Command>> {
        let walk = self.walk(Some(TIME), DUE, Range::All, 1000);
        let is_sending = |command: &Command| {
            matches!(command.phase(), Phase::Sending { .. }) && after.is_none_or(|after| command.id > after)
        };
        let mut sending =
            self.hits(walk, usize::MAX, |item| Ok(Some(command(item)?).filter(is_sending))).await?;
        sending.sort_by_key(|command| command.id);
        sending.truncate(limit);
        Ok(sending)
    }

    pub(super) async fn command_called(
        &self,
        device: &DeviceId,
        reference: &Reference,
    ) -> StoreResult<Option<Command>> {
        let partition = reference_partition(device, reference);
        let newest = self.walk_in(None, vec![partition], Range::All, 1).descending().next().await?;
        match newest {
            None => Ok(None),
            Some(pointer) => {
                Commands::get(self, pointer.parsed("id", |text| CommandId::parse(text).ok())?).await
            }
        }
    }

    pub(super) async fn untold(&self, after: Option<CommandId>, limit: usize) -> StoreResult<Vec<Command>> {
        let walk = self.walk(Some(FLAG), COMMAND, Range::after(after), limit);
        let is_untold = |command: &Command| command.published < command.changes();
        self.hits(walk, limit, |item| Ok(Some(command(item)?).filter(is_untold))).await
    }
}
