//! Tells callbacks of devices what has changed: what is wanted of them, and whether they can be reached. What is still to be
//! told is the difference between that state and what the callback confirmed, so that nothing gets lost with a process:
//! after a restart every callback is looked at. Commands to callbacks go by their own life ([`way`]); here it is only known
//! when a callback that failed is tried again. Not here: the routes (`http-api`).

mod agenda;
mod event;
mod line;
mod vault;
mod way;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bridge_core::commands::Dispatcher;
use bridge_core::delivery::Delivery;
use bridge_core::ports::{Clock, Registry, StoreResult, Subscriptions, Twins};
use bridge_core::subscription::{ConnectionStatus, Subscription, SubscriptionKind, Told};
use bridge_core::{DeviceId, IdempotencyKey, IntegrationName, MessageId};
use edge::LogGate;
use http_caller::CallError;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use crate::config::Config;
use crate::store::Store;
use agenda::{Agenda, Done, Key};
use line::Line;
use vault::Vault;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Callbacks(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    /// The callbacks; the same store, with their URLs sealed.
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    /// Whose name stands in the ids of events.
    integration: IntegrationName,
    /// None when nothing is to be called.
    line: RwLock<Option<Arc<Line>>>,
    agenda: Mutex<Agenda>,
    news: Notify,
    log: LogGate,
}

/// Calls at once.
const AT_ONCE: usize = 64;
/// Callbacks that one look at the store takes.
const PAGE: usize = 256;
/// How often all callbacks are looked at, beside when something is known to have changed.
const ROUND: Duration = Duration::from_mins(5);
/// After a start, how long the hub is waited for before its absence is told.
const GRACE: Duration = Duration::from_secs(15);

/// A walk over all callbacks of some kinds.
struct Round {
    kinds: Vec<SubscriptionKind>,
    after: Option<DeviceId>,
}

impl Callbacks {
    /// # Errors
    /// When there is no TLS.
    pub(crate) fn new(
        config: &Config,
        store: &Arc<dyn Store>,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let callbacks = Self(Arc::new(Inner {
            store: store.clone(),
            vault: Arc::new(Vault::new(store.clone())),
            clock: clock.clone(),
            integration: IntegrationName::parse(http_api::INTEGRATION)?,
            line: RwLock::default(),
            agenda: Mutex::default(),
            news: Notify::new(),
            log: LogGate::default(),
        }));
        callbacks.replace(config)?;
        Ok(callbacks)
    }

    /// Takes over secrets and limits of a configuration.
    ///
    /// # Errors
    /// When there is no TLS; nothing has changed then.
    pub(crate) fn replace(&self, config: &Config) -> anyhow::Result<()> {
        let line = config.azure_bridge.as_ref().map(Line::new).transpose()?.map(Arc::new);
        self.0.vault.replace(config.secrets.seal_keys());
        *self.0.line.write().unwrap_or_else(PoisonError::into_inner) = line;
        Ok(())
    }

    /// For the routes.
    pub(crate) fn for_routes(&self) -> http_api::Callbacks {
        let (checking, telling) = (self.clone(), self.clone());
        http_api::Callbacks {
            store: self.0.vault.clone(),
            check: Box::new(move |url| match checking.line() {
                Some(line) => line.check(url),
                None => Err("callbacks are not configured".into()),
            }),
            changed: Box::new(move |device, kind| {
                telling.agenda().want_now(&(device.clone(), kind));
                telling.0.news.notify_one();
            }),
        }
    }

    /// Something new is wanted of these devices.
    pub(crate) fn wished(&self, devices: &[DeviceId]) {
        if self.line().is_none() {
            return;
        }
        let mut agenda = self.agenda();
        for device in devices {
            agenda.want(&(device.clone(), SubscriptionKind::DesiredProperties));
        }
        drop(agenda);
        self.0.news.notify_one();
    }

    /// Tells for ever.
    pub(crate) async fn run(self, dispatcher: Arc<Dispatcher>, delivery: Arc<Delivery>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let started = self.0.clock.now();
        let (mut calls, mut link, mut round_at) = (JoinSet::new(), None, started);
        let mut round = None;
        loop {
            self.begin(&mut calls, &dispatcher, link);
            if calls.len() < AT_ONCE
                && self.agenda().is_idle()
                && let Some(walking) = round.take()
            {
                round = self.look(walking).await;
                continue;
            }
            tokio::select! {
                Some(ended) = calls.join_next(), if !calls.is_empty() => self.ended(ended),
                () = self.0.news.notified() => {}
                _ = tick.tick() => {
                    let now = self.0.clock.now();
                    self.agenda().tick(now);
                    if self.line().is_none() {
                        continue;
                    }
                    let before = link;
                    link = link_of(delivery.stats().links_up > 0, before, now.saturating_duration_since(started));
                    if now >= round_at {
                        round_at = now + ROUND;
                        round = Some(Round { kinds: SubscriptionKind::ALL.to_vec(), after: None });
                    } else if link != before && round.is_none() {
                        round = Some(Round { kinds: vec![SubscriptionKind::ConnectionStatus], after: None });
                    }
                }
            }
        }
    }
}

/// For a process without [`Callbacks::run`]. It holds no link to the hub between events, so that nobody is told of one.
impl Callbacks {
    /// Tells what is known to be new. What fails is found by [`look_at_all`](Self::look_at_all).
    pub(crate) async fn carry_new(&self, dispatcher: &Arc<Dispatcher>) {
        let mut calls = JoinSet::new();
        loop {
            self.begin(&mut calls, dispatcher, None);
            match calls.join_next().await {
                Some(ended) => self.ended(ended),
                None => break,
            }
        }
    }

    /// Looks at all callbacks, once.
    pub(crate) async fn look_at_all(&self, dispatcher: &Arc<Dispatcher>) {
        if self.line().is_none() {
            return;
        }
        self.agenda().tick(self.0.clock.now());
        let mut round = Some(Round { kinds: SubscriptionKind::ALL.to_vec(), after: None });
        while let Some(walking) = round.take() {
            round = self.look(walking).await;
            self.carry_new(dispatcher).await;
        }
    }
}

/// Calls under way.
type Calls = JoinSet<(Key, Done)>;

impl Callbacks {
    /// Begins as many calls as there may be at once.
    fn begin(&self, calls: &mut Calls, dispatcher: &Arc<Dispatcher>, link: Option<bool>) {
        while calls.len() < AT_ONCE
            && let Some(key) = self.next()
        {
            let (telling, dispatcher) = (self.clone(), dispatcher.clone());
            calls.spawn(async move {
                let done = telling.tell(&key, &dispatcher, link).await;
                (key, done)
            });
        }
    }

    fn ended(&self, ended: Result<(Key, Done), JoinError>) {
        match ended {
            Ok((key, done)) => self.agenda().done(key, done, self.0.clock.now(), random()),
            Err(error) => tracing::error!(%error, "a callback could not be brought to its end"),
        }
    }

    fn line(&self) -> Option<Arc<Line>> {
        self.0.line.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        // The agenda is whole between any two statements that may panic.
        self.0.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Key> {
        self.agenda().next()
    }

    /// One page of a walk; what is left of it.
    async fn look(&self, mut round: Round) -> Option<Round> {
        let kind = *round.kinds.last()?;
        let store: &dyn Subscriptions = &*self.0.vault;
        let page = match store.list(kind, round.after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "callbacks cannot be looked at; it is tried again");
                return None;
            }
        };
        let mut agenda = self.agenda();
        for subscription in &page {
            agenda.want(&(subscription.device.clone(), kind));
        }
        match page.last() {
            Some(last) if page.len() == PAGE => round.after = Some(last.device.clone()),
            _ => {
                round.kinds.pop();
                round.after = None;
            }
        }
        Some(round)
    }

    async fn tell(&self, key: &Key, dispatcher: &Dispatcher, link: Option<bool>) -> Done {
        match self.try_tell(key, dispatcher, link).await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, device = %key.0, "a callback cannot be told now; it is tried again");
                Done::Failed(None)
            }
        }
    }

    async fn try_tell(
        &self,
        (device, kind): &Key,
        dispatcher: &Dispatcher,
        link: Option<bool>,
    ) -> StoreResult<Done> {
        let store: &dyn Subscriptions = &*self.0.vault;
        let (Some(line), Some(subscription)) = (self.line(), store.get(device, *kind).await?) else {
            return Ok(Done::Nothing);
        };
        let news = match kind {
            SubscriptionKind::Methods | SubscriptionKind::C2dMessages => {
                dispatcher.wake(device).await?;
                return Ok(Done::HandedOver);
            }
            SubscriptionKind::DesiredProperties => self.desired(&subscription).await?,
            SubscriptionKind::ConnectionStatus => self.connection(&subscription, link).await?,
        };
        let Some((told, event)) = news else { return Ok(Done::Nothing) };
        let id = self.id(&subscription, told.number);
        let now = self.0.clock.wall();
        let (why, after) = match line.post(&subscription.callback_url, &id, &event, now).await {
            Ok(answer) if answer.status.is_success() => {
                store.tell(&subscription, &told).await?;
                return Ok(Done::Told);
            }
            Ok(answer) => (format!("it answered {}", answer.status.as_u16()), answer.retry_after()),
            Err(CallError::NotSent { reason, after }) => (reason, after),
            Err(error) => (error.to_string(), None),
        };
        self.log(&subscription, &why);
        Ok(Done::Failed(after))
    }

    /// What is wanted and was not told.
    async fn desired(&self, subscription: &Subscription) -> StoreResult<Option<(Told, Value)>> {
        let twins: &dyn Twins = &*self.0.store;
        let twin = twins.get(&subscription.device).await?.unwrap_or_default();
        if twin.desired_version <= subscription.told.number {
            return Ok(None);
        }
        let event = event::desired(&subscription.device, &subscription.told, &twin);
        Ok(Some((Told { number: twin.desired_version, state: twin.desired }, event)))
    }

    /// Whether the device can be reached, when that is something else than was told.
    async fn connection(
        &self,
        subscription: &Subscription,
        link: Option<bool>,
    ) -> StoreResult<Option<(Told, Value)>> {
        let registry: &dyn Registry = &*self.0.store;
        let (Some(is_up), Some(record)) = (link, registry.get(&subscription.device).await?) else {
            return Ok(None);
        };
        let status = ConnectionStatus::of(is_up, record.state);
        let state = status.to_members();
        if state == subscription.told.state {
            return Ok(None);
        }
        let event = event::connection(&subscription.device, status, self.0.clock.wall());
        Ok(Some((Told { number: subscription.told.number + 1, state }, event)))
    }

    /// The same for the same event however often it is sent.
    fn id(&self, subscription: &Subscription, number: u64) -> String {
        let Subscription { device, kind, created, .. } = subscription;
        let (created, number) = (created.as_millis().to_string(), number.to_string());
        let texts = ["callback", kind.as_str(), device.as_str(), &created, &number];
        MessageId::new(&self.0.integration, &IdempotencyKey::from_texts(&texts)).to_string()
    }

    /// A call for a command has failed: its device is woken after a rest.
    fn failed(&self, subscription: &Subscription, why: &str, after: Option<Duration>) {
        self.log(subscription, why);
        let key = (subscription.device.clone(), subscription.kind);
        self.agenda().failed(key, after, self.0.clock.now(), random());
    }

    fn succeeded(&self, subscription: &Subscription) {
        self.agenda().succeeded(&(subscription.device.clone(), subscription.kind));
    }

    /// Never with the URL, which may hold a secret.
    fn log(&self, subscription: &Subscription, why: &str) {
        if let Some(suppressed) = self.0.log.admit(self.0.clock.now()) {
            let (device, kind) = (&subscription.device, subscription.kind.as_str());
            tracing::warn!(%device, kind, why, suppressed, "a callback failed; it is tried again");
        }
    }
}

/// Whether the hub is there, once that is known.
fn link_of(is_up: bool, before: Option<bool>, running: Duration) -> Option<bool> {
    match (is_up, before) {
        (true, _) => Some(true),
        (false, None) if running < GRACE => None,
        (false, _) => Some(false),
    }
}

/// Between 0 and 1; nothing but rests depends on it.
fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_is_not_there_yet_is_not_told_of() {
        let (early, late) = (Duration::from_secs(1), GRACE);
        assert_eq!(link_of(false, None, early), None);
        assert_eq!(link_of(true, None, early), Some(true));
        assert_eq!(link_of(false, None, late), Some(false));
        assert_eq!(link_of(false, Some(true), early), Some(false));
    }
}
