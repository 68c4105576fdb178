//! Commands in this process: the dispatcher, the ways down, what comes from the hub, what clouds report. Not here: the life
//! of a command (`bridge_core::command`), routes.

mod announced;
mod http;
mod inbox;
pub(crate) mod json;
mod mailboxes;
mod ways;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bridge_core::Uplink;
use bridge_core::commands::{DeliverySink, DispatchConfig, DispatchParts, Dispatcher, Target};
use bridge_core::delivery::Delivery;
use bridge_core::ports::{self, BoxFuture, Clock, DeviceRecord, Listener, QueueLimits, StoreResult};
use codec::CodecSet;
use http_caller::{Allow, Caller, CallerConfig};
use webhook::downlink::Heard;

use crate::callbacks::Callbacks;
use crate::config::Config;
use crate::store::Store;

pub(crate) use announced::Announced;
pub(crate) use inbox::HubInbox;
pub(crate) use mailboxes::MailboxesOf;
pub(crate) use ways::CloudWays;

/// Everything about commands. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) ways: Arc<CloudWays>,
    pub(crate) store: Arc<dyn ports::Commands>,
    pub(crate) registry: Arc<dyn ports::Registry>,
    pub(crate) keep: Duration,
}

/// Commands that are over and kept, at most: a bound for the store beside their age.
pub(crate) const KEEP_AT_MOST: u64 = 100_000;

impl Commands {
    /// Puts the parts together.
    ///
    /// # Errors
    /// When an integration's way down cannot be used, or there is no TLS.
    pub(crate) fn new(
        config: &Config,
        store: &Arc<dyn Store>,
        delivery: &Arc<Delivery>,
        codecs: &Arc<CodecSet>,
        clock: &Arc<dyn Clock>,
        callbacks: &Callbacks,
    ) -> anyhow::Result<Self> {
        let settings = &config.commands;
        let allow = if settings.allow_private_addresses { Allow::All } else { Allow::Public };
        let calls = CallerConfig { timeout: settings.call_timeout, allow, ..CallerConfig::default() };
        let announced = Arc::new(Announced::new(store.clone()));
        let caller = Arc::new(Caller::new(calls)?);
        let ways = CloudWays::new(
            store.clone(),
            codecs.clone(),
            caller,
            clock.clone(),
            (announced, callbacks.clone()),
        );
        ways.replace(config)?;
        let ways = Arc::new(ways);
        let dispatch = DispatchConfig {
            limits: QueueLimits { per_device: settings.max_per_device, total: settings.max_open },
            time_to_live: settings.time_to_live,
            ..DispatchConfig::default()
        };
        let sink =
            DeliverySink { delivery: delivery.clone(), dead_letters: store.clone(), clock: clock.clone() };
        let parts = DispatchParts {
            store: store.clone(),
            ways: ways.clone(),
            sink: Arc::new(sink),
            clock: clock.clone(),
            random: Box::new(random),
        };
        let dispatcher = Arc::new(Dispatcher::new(dispatch, parts));
        Ok(Self { dispatcher, ways, store: store.clone(), registry: store.clone(), keep: settings.keep })
    }
}

/// Ids need not be secret, and without the system's randomness the time in them still tells them apart.
fn random() -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

/// Hands what clouds say to the dispatcher. The pipeline holds it before there is a dispatcher.
#[derive(Default)]
pub(crate) struct Hearing(OnceLock<Commands>);

impl Hearing {
    /// From now on. A second call changes nothing.
    pub(crate) fn start(&self, commands: Commands) {
        let _ = self.0.set(commands);
    }
}

impl Listener for Hearing {
    fn hear<'a>(&'a self, device: &'a DeviceRecord, uplink: &'a Uplink) -> BoxFuture<'a, StoreResult<()>> {
        Box::pin(async move {
            let Some(commands) = self.0.get() else { return Ok(()) };
            match commands.ways.heard(device, uplink) {
                Some(Heard::Report(target, report)) => {
                    let said = commands.dispatcher.report(&device.id, &target, report).await?;
                    if said.is_none() && matches!(target, Target::Attempt(_)) {
                        tracing::debug!(device = %device.id, "a report about a command that is not kept any more");
                    }
                    Ok(())
                }
                Some(Heard::Online) => commands.dispatcher.wake(&device.id).await,
                None => Ok(()),
            }
        })
    }
}
