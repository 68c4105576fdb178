//! What devices find when they ask for their commands: a budget of hand-outs, and several commands at once. Not here: one
//! command for one answer ([`Dispatcher::take`]), what is in an answer.

use std::sync::Arc;

use super::{Dispatcher, Way};
use crate::command::queue::place;
use crate::command::{Command, CommandState, Phase, Reference};
use crate::id::DeviceId;
use crate::ports::{Asked, StoreResult};
use crate::time::Timestamp;

/// How often commands may be handed out to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// From this moment on.
    pub since: Timestamp,
    /// This often.
    pub most: usize,
}

/// The newest commands of a device whose hand-outs are counted.
const COUNTED: usize = 256;

impl Dispatcher {
    /// As [`take`](Self::take), by this way, and nothing new once the budget is spent: the command waits. The same `exchange`
    /// gets the same command again all the same. Counts the hand-outs of the device's newest 256 commands.
    ///
    /// # Errors
    /// When the store failed: the device gets no command.
    pub async fn take_within(
        &self,
        device: &DeviceId,
        way: &Arc<dyn Way>,
        exchange: &Reference,
        budget: Budget,
    ) -> StoreResult<Option<Command>> {
        let (open, newest) = match self.parts.store.asked(device, exchange, COUNTED).await? {
            Asked::Known(known) => return Ok(Some(*known)),
            Asked::New { open, newest } => (open, newest),
        };
        let spent: usize = newest.iter().map(|command| hand_outs(command, budget.since)).sum();
        if open.is_empty() || spent >= budget.most {
            return Ok(None);
        }
        self.hand_out(device, Some(way), Some(exchange), Some(open)).await
    }

    /// The commands for the answer to a device that recognises a copy by its id, at most `most`: those that it was given
    /// before and has not reported on, then new ones. In the order in which they are to be carried out.
    ///
    /// # Errors
    /// When the store failed: the device gets no command.
    pub async fn offer(&self, device: &DeviceId, most: usize) -> StoreResult<Vec<Command>> {
        let open = self.parts.store.open(device, 1).await?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let given = |command: &Command| matches!(command.phase(), Phase::Awaiting { .. });
        let mut offered: Vec<Command> =
            open.into_iter().filter(|command| given(command) && !command.is_withdrawn()).collect();
        offered.sort_by_key(|command| command.id);
        offered.truncate(most);
        while offered.len() < most {
            match self.take(device, None).await? {
                Some(command) => offered.push(command),
                None => break,
            }
        }
        offered.sort_by_key(place);
        Ok(offered)
    }
}

/// How often a command was handed out since then. What a hand-out writes is `sent` without a cause.
fn hand_outs(command: &Command, since: Timestamp) -> usize {
    let handed = command
        .history()
        .iter()
        .filter(|change| change.at >= since && change.state == CommandState::Sent && change.cause.is_none());
    handed.count()
}
