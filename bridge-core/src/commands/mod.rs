//! Works commands: takes them, sends them down their ways, takes reports, lets time pass, tells the hub. It decides
//! nothing about a command's life (that is [`crate::command`]) and keeps nothing that the store does not have: a
//! bridge that is killed anywhere goes on with [`recover`](Dispatcher::recover). Not here: threads, timers of a runtime, any
//! transport.

mod alone;
mod announce;
mod firsts;
mod hub;
mod kicks;
mod mailbox;
mod once;
mod send;
mod way;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;

pub use hub::DeliverySink;
pub use mailbox::Budget;
pub use way::{Route, StatusSink, Way, Ways};

use crate::arrivals::Arrivals;
use crate::command::queue::{Asker, Next, next};
use crate::command::{
    AttemptId, Backoff, Cancelled, Cause, Command, CommandId, CommandIds, CommandState, Draft, DraftError,
    DraftLimits, Reference, Report, Reported,
};
use crate::id::DeviceId;
use crate::ports::{Clock, Commands, Inserted, QueueLimits, StoreError, StoreResult};
use crate::recent::Recent;
use crate::signal::lock;
use alone::Alone;
use announce::Announcer;
use firsts::{Firsts, Inserting};

use kicks::Kicks;

/// The settings of a dispatcher.
#[derive(Debug, Clone)]
pub struct DispatchConfig {
    /// How many commands may be open.
    pub limits: QueueLimits,
    /// How large they may be.
    pub drafts: DraftLimits,
    /// How long a command lives that does not say so.
    pub time_to_live: Duration,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// Devices that are sent to at once.
    pub at_once: usize,
    /// How often time is looked at: the precision of expiry and retries.
    pub tick: Duration,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self {
            limits: QueueLimits::default(),
            drafts: DraftLimits::default(),
            time_to_live: Duration::from_secs(24 * 60 * 60),
            backoff: Backoff::default(),
            at_once: 256,
            tick: Duration::from_secs(1),
        }
    }
}

/// What a dispatcher works with.
pub struct DispatchParts {
    /// Keeps the commands.
    pub store: Arc<dyn Commands>,
    /// Finds the ways down.
    pub ways: Arc<dyn Ways>,
    /// Takes the events.
    pub sink: Arc<dyn StatusSink>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// For ids; of each number, 80 bits count.
    pub random: Box<dyn Fn() -> u128 + Send + Sync>,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// It is stored, and on its way.
    New(Command),
    /// There was one with that idempotency key; this is it.
    Existing {
        /// As it is now.
        command: Command,
        /// Both ask for the same. If not, the asker uses one key for two things.
        same: bool,
    },
}

/// Why a command was not taken. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The asker's fault.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The asker's fault.
    #[error("there is no device {0}")]
    UnknownDevice(DeviceId),
    /// The device cannot get commands.
    #[error("no command can reach {device}: {why}")]
    NoWay {
        /// Which.
        device: DeviceId,
        /// Why.
        why: String,
    },
    /// The asker's fault: it does not fit its way.
    #[error("the command does not fit its transport: {0}")]
    Unfit(String),
    /// Later, when some of them are over.
    #[error("{0} has as many commands waiting as it may have")]
    DeviceFull(DeviceId),
    /// Later.
    #[error("as many commands are waiting as there may be")]
    Full,
    /// The bridge's fault; later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which attempt a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This one: the report carries our own correlation id.
    Attempt(AttemptId),
    /// The last one of this command.
    Command(CommandId),
    /// The one that the transport calls so.
    Reference(Reference),
    /// The last one of the device's oldest command in flight: the transport does not say.
    InFlight,
}

/// See the [module](self).
pub struct Dispatcher {
    config: DispatchConfig,
    parts: DispatchParts,
    ids: Mutex<CommandIds>,
    /// Open commands as they were written last. May be out of date: the store's versions tell.
    recent: Mutex<Recent<CommandId, Arc<Command>>>,
    alone: Alone,
    kicks: Kicks,
    firsts: Firsts,
    announcer: Announcer,
    arrivals: Arrivals,
}

/// How often a change is tried when others change the same command.
const CONTENDED: usize = 32;
/// Commands in memory.
const RECENT: usize = 1024;
/// Commands or devices that one step of a walk takes.
const BATCH: usize = 256;

impl Dispatcher {
    /// A dispatcher. Call [`recover`](Self::recover) before anything else when it is the only one on its store.
    pub fn new(config: DispatchConfig, parts: DispatchParts) -> Self {
        Self {
            config,
            parts,
            ids: Mutex::default(),
            recent: Mutex::new(Recent::new(RECENT)),
            alone: Alone::default(),
            kicks: Kicks::default(),
            firsts: Firsts::default(),
            announcer: Announcer::default(),
            arrivals: Arrivals::default(),
        }
    }

    /// Takes a command for a device. It is durable when this completes.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, device: &DeviceId, mut draft: Draft) -> Result<Submitted, SubmitError> {
        let now = self.parts.clock.wall();
        draft.check(now, &self.config.drafts)?;
        let (integration, way) = match self.parts.ways.route(device).await? {
            Route::To { integration, way } => (integration, way),
            Route::UnknownDevice => return Err(SubmitError::UnknownDevice(device.clone())),
            Route::NoWay(why) => return Err(SubmitError::NoWay { device: device.clone(), why }),
        };
        if let Some(payload) = way.prepare(device, &draft).await.map_err(SubmitError::Unfit)? {
            draft.payload = Some(payload);
            draft.check(now, &self.config.drafts)?;
        }
        let expires = draft.expires.unwrap_or(now.plus(self.config.time_to_live));
        let id = lock(&self.ids).next(now, (self.parts.random)());
        let command = Command::new(id, (device.clone(), integration), draft, way.manner(), now, expires);
        let arrival = self.alone.arrives(device);
        let first = self.first(&command, &way, self.parts.clock.wall());
        let begun = first.as_ref().and_then(Inserting::begun);
        let inserted = self.parts.store.insert(&command, begun, self.config.limits).await?;
        let mut unused = first;
        let result = match inserted {
            Inserted::Stored { superseded, others, begun } => {
                let first = if begun { unused.take() } else { None };
                let stored = first.as_ref().and_then(Inserting::begun).cloned();
                let command = stored.unwrap_or(command).stored(1, 0);
                if others == 0 {
                    arrival.came_alone(id);
                }
                superseded.iter().for_each(|older| self.written(older));
                self.announcer.fresh(&command);
                self.written(&command);
                match first {
                    Some(first) => first.stored(),
                    None => self.kicks.kick(device),
                }
                self.arrivals.wake(device);
                Ok(Submitted::New(command))
            }
            Inserted::Exists(known) => {
                let same = known.draft.asks_the_same(&command.draft);
                Ok(Submitted::Existing { command: *known, same })
            }
            Inserted::DeviceFull => Err(SubmitError::DeviceFull(device.clone())),
            Inserted::Full => Err(SubmitError::Full),
        };
        if let Some(first) = unused {
            first.refused();
        }
        result
    }

    /// Takes a command back; none when there is no such command. When it is on its way, its transport is asked to give it
    /// back, and it is not tried again whatever that says.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn cancel(&self, id: CommandId, cause: Cause) -> StoreResult<Option<(Command, Cancelled)>> {
        let now = self.parts.clock.wall();
        let cancel = |command: &mut Command| {
            let before = command.changes();
            let cancelled = command.cancel(cause.clone(), now);
            (command.changes() > before, cancelled)
        };
        let Some((command, cancelled)) = self.change(id, cancel).await? else { return Ok(None) };
        if cancelled == Cancelled::OnItsWay
            && let Route::To { way, .. } = self.parts.ways.route(&command.device).await?
            && let Some(report) = way.withdraw(&command).await
        {
            self.say(id, Some(command.attempts()), report).await?;
        }
        self.kicks.kick(&command.device);
        let Some(command) = self.parts.store.get(id).await? else { return Ok(None) };
        let cancelled = match cancelled {
            Cancelled::OnItsWay if command.state() == CommandState::Cancelled => Cancelled::Done,
            Cancelled::OnItsWay if command.is_done() => Cancelled::TooLate,
            other => other,
        };
        Ok(Some((command, cancelled)))
    }

    /// Takes a report of a transport about a command of this device; none when there is no such command of it.
    ///
    /// # Errors
    /// When the store failed: the report is not taken, and may come again.
    pub async fn report(
        &self,
        device: &DeviceId,
        target: &Target,
        report: Report,
    ) -> StoreResult<Option<(Command, Reported)>> {
        let store = &self.parts.store;
        let (found, attempt) = match target {
            Target::Attempt(attempt) => (self.look(attempt.command).await?, Some(attempt.number)),
            Target::Command(id) => (self.look(*id).await?, None),
            Target::Reference(reference) => {
                let found = store.find(device, reference).await?.map(Arc::new);
                let attempt = found.as_ref().and_then(|command| command.attempt_of(reference));
                (found, attempt)
            }
            Target::InFlight => {
                let open = store.open(device, 0).await?;
                (open.into_iter().min_by_key(|command| command.id).map(Arc::new), None)
            }
        };
        let Some(command) = found.filter(|command| command.device == *device) else { return Ok(None) };
        self.say(command.id, attempt, report).await
    }

    /// The command for the answer to a device that asks; none when there is none for it now. The attempt is durable when
    /// this completes. The same `exchange` gets the same command again.
    ///
    /// # Errors
    /// When the store failed: the device gets no command.
    pub async fn take(
        &self,
        device: &DeviceId,
        exchange: Option<&Reference>,
    ) -> StoreResult<Option<Command>> {
        let store = &self.parts.store;
        if let Some(exchange) = exchange
            && let Some(known) = store.find(device, exchange).await?
        {
            return Ok(Some(known));
        }
        let only = self.only(device).filter(|only| !only.is_in_flight());
        self.hand_out(device, None, exchange, only.map(|only| vec![only])).await
    }

    /// Hands out the next command by this way, or else the device's. `open` is its queue, where that is known.
    async fn hand_out(
        &self,
        device: &DeviceId,
        way: Option<&Arc<dyn Way>>,
        exchange: Option<&Reference>,
        mut open: Option<Vec<Command>>,
    ) -> StoreResult<Option<Command>> {
        let store = &self.parts.store;
        for _ in 0..CONTENDED {
            // Most devices have none: then nothing else is asked.
            let open = match open.take() {
                Some(open) => open,
                None => store.open(device, 1).await?,
            };
            if open.is_empty() {
                return Ok(None);
            }
            let way = match way {
                Some(way) => way.clone(),
                None => match self.parts.ways.route(device).await? {
                    Route::To { way, .. } => way,
                    Route::UnknownDevice | Route::NoWay(_) => return Ok(None),
                },
            };
            let now = self.parts.clock.wall();
            let mut command = match next(&open, Asker::Device, way.capacity(), now) {
                Next::Send(command) => command.clone(),
                Next::Expire(command) => {
                    self.pass(command.id).await?;
                    continue;
                }
                Next::Wait(_) => {
                    // A copy of this exchange may have been quicker.
                    return match exchange {
                        Some(exchange) => store.find(device, exchange).await,
                        None => Ok(None),
                    };
                }
            };
            let others = open.iter().filter(|other| other.is_in_flight()).count();
            if command.hand_out(way.flight(&command), exchange.cloned(), now).is_some()
                && store.start(&command, others).await?
            {
                command.version += 1;
                self.written(&command);
                return Ok(Some(command));
            }
        }
        Err(contended())
    }

    /// Completes when a command for the device arrives after this call, or one is reported on. Ask for this first, then [`take`](Self::take).
    pub fn arrival(&self, device: &DeviceId) -> oneshot::Receiver<()> {
        self.arrivals.wait(device)
    }

    /// The device can be reached: what waited for that goes.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn wake(&self, device: &DeviceId) -> StoreResult<()> {
        let now = self.parts.clock.wall();
        for command in self.parts.store.open(device, self.config.limits.per_device).await? {
            self.change(command.id, |command| (command.wake(now), ())).await?;
        }
        self.kicks.kick(device);
        Ok(())
    }

    /// The way to a device pushes now: what waited for the device to ask goes by itself.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn push(&self, device: &DeviceId) -> StoreResult<()> {
        let now = self.parts.clock.wall();
        for command in self.parts.store.open(device, self.config.limits.per_device).await? {
            self.change(command.id, |command| (command.push(now), ())).await?;
        }
        self.kicks.kick(device);
        Ok(())
    }

    /// Goes on after a restart: what was being sent is sent again or `unknown`, what was not told is told. Only for the one
    /// dispatcher of a store, and before its sender runs; several of them let time find out ([`tick`](Self::tick)).
    ///
    /// # Errors
    /// When the store failed; call it again.
    pub async fn recover(&self) -> StoreResult<()> {
        let mut after = None;
        loop {
            let sending = self.parts.store.sending(after, BATCH).await?;
            let Some(last) = sending.last() else { break };
            after = Some(last.id);
            let now = self.parts.clock.wall();
            for command in &sending {
                let interrupt = |command: &mut Command| (command.interrupt(now, &self.config.backoff), ());
                self.change(command.id, interrupt).await?;
            }
        }
        self.announcer.look_around();
        self.tick().await
    }

    /// Lets time pass: expires, gives up on outcomes and reports, and has a look at devices with something to send.
    ///
    /// # Errors
    /// When the store failed; the next tick does the rest.
    pub async fn tick(&self) -> StoreResult<()> {
        let now = self.parts.clock.wall();
        loop {
            let due = self.parts.store.due(now, BATCH).await?;
            for command in &due {
                self.pass(command.id).await?;
                self.alone.forget(&command.device);
                self.kicks.kick(&command.device);
            }
            if due.len() < BATCH {
                break;
            }
        }
        let mut after = None;
        loop {
            let ready = self.parts.store.ready(now, after.as_ref(), BATCH).await?;
            for device in &ready {
                // The store knows better.
                self.alone.forget(device);
                self.kicks.kick(device);
            }
            if ready.len() < BATCH {
                break;
            }
            after = ready.last().cloned();
        }
        self.announcer.look_around();
        self.arrivals.tidy();
        Ok(())
    }

    /// Ticks for ever. Run it as one task.
    pub async fn run_timer(&self) {
        loop {
            // The next tick does what this one could not.
            let _ = self.tick().await;
            self.parts.clock.sleep_until(self.parts.clock.now() + self.config.tick).await;
        }
    }

    /// Tells of changes for ever. Run it as one task.
    pub async fn run_announcer(&self) {
        self.announcer.run(&*self.parts.store, &*self.parts.sink, &*self.parts.clock).await;
    }

    async fn pass(&self, id: CommandId) -> StoreResult<()> {
        let now = self.parts.clock.wall();
        self.change(id, |command| (command.pass(now, &self.config.backoff), ())).await.map(drop)
    }

    async fn say(
        &self,
        id: CommandId,
        attempt: Option<u32>,
        report: Report,
    ) -> StoreResult<Option<(Command, Reported)>> {
        let now = self.parts.clock.wall();
        let say = |command: &mut Command| {
            let reported = command.report(attempt, report.clone(), now, &self.config.backoff);
            (reported == Reported::Applied, reported)
        };
        let said = self.change(id, say).await?;
        if let Some((command, Reported::Applied)) = &said
            && !self.ends_alone(command)
        {
            self.kicks.kick(&command.device);
            // What is over makes room for the next one.
            self.arrivals.wake(&command.device);
        }
        Ok(said)
    }

    /// Changes a command by compare-and-set, and has it told. `by` says whether it changed anything.
    async fn change<R>(
        &self,
        id: CommandId,
        by: impl Fn(&mut Command) -> (bool, R),
    ) -> StoreResult<Option<(Command, R)>> {
        let mut known = lock(&self.recent).get(&id).cloned();
        for _ in 0..CONTENDED {
            let remembered = known.is_some();
            let found = match known.take() {
                Some(command) => Some(Arc::unwrap_or_clone(command)),
                None => self.parts.store.get(id).await?,
            };
            let Some(mut command) = found else { return Ok(None) };
            let (changed, result) = by(&mut command);
            if !changed && !remembered {
                return Ok(Some((command, result)));
            }
            if changed && self.parts.store.update(&command).await? {
                command.version += 1;
                self.written(&command);
                return Ok(Some((command, result)));
            }
        }
        Err(contended())
    }

    /// A command has been written as it is here.
    fn written(&self, command: &Command) {
        let shared = Arc::new(command.clone());
        let mut recent = lock(&self.recent);
        if command.is_done() {
            recent.remove(&command.id);
        } else if recent.get(&command.id).is_none_or(|known| known.version < command.version) {
            // Two who have written may come here in the other order.
            recent.insert(command.id, shared.clone());
        }
        drop(recent);
        self.announcer.note(&shared);
    }

    /// The device's only open command as it was lately, where that is known.
    fn only(&self, device: &DeviceId) -> Option<Command> {
        let id = self.alone.of(device)?;
        let known = lock(&self.recent).get(&id).cloned();
        known.map(Arc::unwrap_or_clone)
    }

    /// It is over, and its device has no other.
    fn ends_alone(&self, command: &Command) -> bool {
        command.is_done() && self.alone.ends(&command.device, command.id)
    }

    /// A command as it was lately.
    async fn look(&self, id: CommandId) -> StoreResult<Option<Arc<Command>>> {
        let known = lock(&self.recent).get(&id).cloned();
        match known {
            Some(command) => Ok(Some(command)),
            None => Ok(self.parts.store.get(id).await?.map(Arc::new)),
        }
    }
}

fn contended() -> StoreError {
    StoreError::Unavailable("too many changes of one command at once".into())
}
