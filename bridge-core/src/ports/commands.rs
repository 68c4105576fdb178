//! Which commands there are. Not here: their life ([`crate::command`]), and who works them ([`crate::commands`]).

use super::{BoxFuture, StoreResult};
use crate::command::{Command, CommandId, CommandState, Reference};
use crate::id::DeviceId;
use crate::time::Timestamp;

/// How many commands may be open (not over) at once.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Of one device.
    pub per_device: usize,
    /// Of all.
    pub total: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { per_device: 100, total: 100_000 }
    }
}

/// What became of an insertion.
#[derive(Debug, Clone, PartialEq)]
pub enum Inserted {
    /// It is stored; these older ones with its replace key were superseded, or were on their way and are not tried again.
    Stored {
        /// As they are now.
        superseded: Vec<Command>,
        /// Open commands of the device beside it, at least; 0 only when there was none.
        others: usize,
        /// It is stored as it was begun.
        begun: bool,
    },
    /// The device has a command with that idempotency key, open or over. Nothing was stored.
    Exists(Box<Command>),
    /// The device has as many open commands as it may have. Nothing was stored.
    DeviceFull,
    /// There are as many open commands as there may be. Nothing was stored.
    Full,
}

/// Which commands; empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandFilter {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only in this state.
    pub state: Option<CommandState>,
    /// Only those that are over, or only those that are not.
    pub done: Option<bool>,
}

/// What a device that asks may be answered with.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// This exchange had that command before.
    Known(Box<Command>),
    /// It is a new exchange.
    New {
        /// As of [`Commands::open`].
        open: Vec<Command>,
        /// The device's newest commands, open or over; none when none is open.
        newest: Vec<Command>,
    },
}

/// Keeps commands. Every write is durable when it completes. `version` and `published` of a command are filled in by every
/// method that hands one out.
pub trait Commands: Send + Sync {
    /// Adds a command, atomically with three rules: a command of the device with the same idempotency key is kept instead;
    /// open older ones of the device with the same replace key get [`Command::supersede`]; and the limits hold afterwards
    /// (superseded ones do not count). Version 1. When the device had no open command at all, `begun` is stored in its place,
    /// if given: the same command with its first attempt begun.
    fn insert<'a>(
        &'a self,
        command: &'a Command,
        begun: Option<&'a Command>,
        limits: QueueLimits,
    ) -> BoxFuture<'a, StoreResult<Inserted>>;
    /// The command with that id.
    fn get(&self, id: CommandId) -> BoxFuture<'_, StoreResult<Option<Command>>>;
    /// Up to `limit` commands that match, older than `before`, the newest first.
    fn list<'a>(
        &'a self,
        filter: &'a CommandFilter,
        before: Option<CommandId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Command>>>;
    /// The open commands of a device: all in flight, and the first `waiting` that wait, in the order of
    /// [`crate::command::queue::place`].
    fn open<'a>(&'a self, device: &'a DeviceId, waiting: usize) -> BoxFuture<'a, StoreResult<Vec<Command>>>;
    /// Replaces a command when it still has `command.version`, which grows by one; whether it did.
    fn update<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, StoreResult<bool>>;
    /// Like [`update`](Self::update), and only when not more than `others` other commands of its device are in flight: two
    /// who look at one queue at once do not both send from it.
    fn start<'a>(&'a self, command: &'a Command, others: usize) -> BoxFuture<'a, StoreResult<bool>>;
    /// Up to `limit` devices with `id > after` that have a command to be sent by the bridge itself
    /// ([`Phase::Waiting`](crate::command::Phase) with `pushed` and `not_before <= now`) and none in flight, in order.
    fn ready<'a>(
        &'a self,
        now: Timestamp,
        after: Option<&'a DeviceId>,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeviceId>>>;
    /// Up to `limit` commands with [`Command::due`] at or before `now`, the most overdue first.
    fn due(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>>;
    /// Up to `limit` commands with an attempt whose outcome is not recorded and `id > after`, in order.
    fn sending(&self, after: Option<CommandId>, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Command>>>;
    /// The newest command of a device that a transport calls so.
    fn find<'a>(
        &'a self,
        device: &'a DeviceId,
        reference: &'a Reference,
    ) -> BoxFuture<'a, StoreResult<Option<Command>>>;
    /// Everything about a question of a device, in one look: [`find`](Self::find), or else [`open`](Self::open) with one that
    /// waits, and where there is any its newest `limit` ([`list`](Self::list)).
    fn asked<'a>(
        &'a self,
        device: &'a DeviceId,
        exchange: &'a Reference,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Asked>> {
        Box::pin(async move {
            if let Some(known) = self.find(device, exchange).await? {
                return Ok(Asked::Known(Box::new(known)));
            }
            let open = self.open(device, 1).await?;
            if open.is_empty() {
                return Ok(Asked::New { open, newest: Vec::new() });
            }
            let of_device = CommandFilter { device: Some(device.clone()), ..CommandFilter::default() };
            let newest = self.list(&of_device, None, limit).await?;
            Ok(Asked::New { open, newest })
        })
    }
    /// Up to `limit` commands with changes that are not published and `id > after`, in order.
    fn unpublished(&self, after: Option<CommandId>, limit: usize)
    -> BoxFuture<'_, StoreResult<Vec<Command>>>;
    /// Notes up to which change commands are published; never goes back; does not change the version; unknown ones are
    /// ignored.
    fn published<'a>(&'a self, changes: &'a [(CommandId, u32)]) -> BoxFuture<'a, StoreResult<()>>;
    /// Removes up to `limit` commands that were over before `before`, or that are among those over and not of the newest
    /// `keep`; the oldest first, and only with all changes published. How many went.
    fn purge(&self, before: Timestamp, keep: u64, limit: usize) -> BoxFuture<'_, StoreResult<u64>>;
    /// How many are open.
    fn count_open(&self) -> BoxFuture<'_, StoreResult<u64>>;
}
