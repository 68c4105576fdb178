//! Carries what is wanted of devices of clouds down to them: as a command of the name that their integration has for it,
//! with what is not reported yet as its arguments. Sent when something new is wanted; and again, when the device was heard
//! since and still reports something else, until the budget is spent. Not here: the life of a command, devices that fetch.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bridge_core::command::{Cause, CauseCode, Command, CommandName, Draft, ReplaceKey, RequestKey};
use bridge_core::commands::SubmitError;
use bridge_core::ports::{self, CommandFilter, Registry, StoreResult};
use bridge_core::twin::{Twin, TwinKeeper};
use bridge_core::{DeviceId, IntegrationName};

use crate::callbacks::Callbacks;
use crate::commands::Commands;
use crate::config::Config;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Courier {
    pub(crate) twins: Arc<TwinKeeper>,
    commands: Commands,
    registry: Arc<dyn Registry>,
    callbacks: Callbacks,
    names: Arc<RwLock<HashMap<IntegrationName, CommandName>>>,
}

/// Commands that one desired version is worth, each with attempts of its own.
const BUDGET: u32 = 10;
/// How often devices are looked for that were heard and have not done what is wanted.
const TICK: Duration = Duration::from_secs(10);
/// Devices that one look takes.
const LOOK: usize = 256;
/// Open commands of a device that are looked through.
const OPEN: usize = 1000;
/// The replace key of the commands: a newer wish takes the place of one that waits.
const REPLACE: &str = "desired";

impl Courier {
    pub(crate) fn new(
        config: &Config,
        twins: Arc<TwinKeeper>,
        commands: Commands,
        registry: Arc<dyn Registry>,
        callbacks: Callbacks,
    ) -> Self {
        let courier = Self { twins, commands, registry, callbacks, names: Arc::default() };
        courier.replace(config);
        courier
    }

    /// Takes over the names of a configuration.
    pub(crate) fn replace(&self, config: &Config) {
        let names = config.integrations.iter().filter(|integration| integration.enabled);
        let names = names
            .filter_map(|integration| Some((integration.name.clone(), integration.desired_command.clone()?)));
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names.collect();
    }

    /// Carries for ever. What was wanted while the bridge was away is found by the first look.
    pub(crate) async fn run(self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut after = None;
        loop {
            tokio::select! {
                wished = self.twins.wished() => {
                    self.callbacks.wished(&wished);
                    for device in wished {
                        note(&device, self.carry(&device).await);
                    }
                }
                _ = tick.tick() => {
                    after = self.look(after.as_ref()).await;
                    self.twins.tidy();
                }
            }
        }
    }

    /// Carries what was newly wanted since the last call, for a process without [`run`](Self::run).
    pub(crate) async fn carry_new(&self) -> StoreResult<()> {
        let wished = self.twins.take_wished();
        self.callbacks.wished(&wished);
        for device in wished {
            self.carry(&device).await?;
        }
        Ok(())
    }

    /// Looks at all devices of which something is wanted, once.
    pub(crate) async fn look_at_all(&self) {
        let mut after = None;
        loop {
            after = self.look(after.as_ref()).await;
            if after.is_none() {
                break;
            }
        }
    }

    /// Looks at the devices after that one; where to go on.
    async fn look(&self, after: Option<&DeviceId>) -> Option<DeviceId> {
        if self.names.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return None;
        }
        let pending = match self.twins.pending(after, LOOK).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::warn!(%error, "the states of devices cannot be looked at; it is tried again");
                return after.cloned();
            }
        };
        for device in &pending {
            note(device, self.carry(device).await);
        }
        if pending.len() < LOOK { None } else { pending.last().cloned() }
    }

    async fn carry(&self, device: &DeviceId) -> StoreResult<()> {
        let Some(record) = self.registry.get(device).await? else { return Ok(()) };
        let name =
            self.names.read().unwrap_or_else(PoisonError::into_inner).get(&record.integration).cloned();
        let Some(name) = name else { return Ok(()) };
        let twin = self.twins.get(device).await?;
        let delta = twin.delta();
        let open = self.open(device).await?;
        if delta.is_empty() {
            return self.withdraw(&open).await;
        }
        let was_heard = record.last_seen > twin.sent_at;
        if twin.sends >= BUDGET || (twin.sends > 0 && (!was_heard || !open.is_empty())) {
            return Ok(());
        }
        // invariant: the key is short and visible; without one the command is not the same when it is submitted twice.
        let key = RequestKey::parse(&key(&twin)).ok();
        let draft = Draft {
            arguments: delta.into(),
            key,
            replace: ReplaceKey::parse(REPLACE).ok(),
            idempotent: true,
            ..Draft::new(name)
        };
        match self.commands.dispatcher.submit(device, draft).await {
            Ok(_) => {}
            Err(SubmitError::Store(error)) => return Err(error),
            Err(SubmitError::Full | SubmitError::DeviceFull(_)) => return Ok(()),
            // It counts: what does not fit today will not at the next look.
            Err(refused) => tracing::warn!(%device, %refused, "what is wanted of a device cannot be sent"),
        }
        self.twins.sent(device, twin.desired_version).await
    }

    /// The open commands that carry a wish.
    async fn open(&self, device: &DeviceId) -> StoreResult<Vec<Command>> {
        let filter =
            CommandFilter { device: Some(device.clone()), done: Some(false), ..CommandFilter::default() };
        let mut open = ports::Commands::list(&*self.commands.store, &filter, None, OPEN).await?;
        open.retain(|command| command.draft.replace.as_ref().is_some_and(|key| key.as_str() == REPLACE));
        Ok(open)
    }

    /// Takes back what waits and is not needed any more.
    async fn withdraw(&self, open: &[Command]) -> StoreResult<()> {
        for command in open.iter().filter(|command| !command.is_in_flight()) {
            let cause = Cause::new(CauseCode::Withdrawn, "the device reports what is wanted");
            self.commands.dispatcher.cancel(command.id, cause).await?;
        }
        Ok(())
    }
}

/// The same for the same sending of the same wish, also after a crash in between.
fn key(twin: &Twin) -> String {
    let at = twin.desired_at.map_or(0, bridge_core::Timestamp::as_millis);
    format!("desired-{}-{at}-{}", twin.desired_version, twin.sends + 1)
}

fn note(device: &DeviceId, result: StoreResult<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, %device, "what is wanted of a device cannot be carried now; it is tried again");
    }
}
