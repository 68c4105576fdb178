//! The bridge in a process that comes and goes (a function of a cloud): nothing runs in the background; whatever an event
//! brings about is done when [`App::settle`] completes. Not here: events, and the delivery, which the process brings along.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bridge_core::command::RequestKey;
use bridge_core::dedup::Deduplicator;
use bridge_core::ports::{Arrival, Clock, DeadLetters, Deliver, Desired, Inbox, StoreResult};
use mqtt_hub::Dialect;

use crate::App;
use crate::admin::{self, Access};
use crate::assemble::{Ground, dedup_config};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::store::Store;

/// What a function stands on.
pub struct Parts {
    /// Keeps everything but the outbox; others use it at the same time.
    pub store: Arc<dyn Store>,
    /// Carries messages.
    pub delivery: Arc<dyn Deliver>,
}

/// What the hub sent by a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// It is kept, or was refused for good, and the hub was told.
    Taken,
    /// It could not be kept; it may come again.
    Later,
    /// The topic is neither one of commands nor one of desired properties.
    Foreign,
}

impl App {
    /// Opens the bridge without tasks.
    ///
    /// # Errors
    /// When the store cannot be read, or the configuration cannot be used.
    pub async fn open_function(config: &Config, parts: Parts) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let dedup = Deduplicator::shared(dedup_config(config), parts.store.clone(), clock.clone());
        let ground = Ground {
            clock,
            store: parts.store,
            // There is no command line beside a function that could read a token of its own.
            access: Access::new(None, &config.admin.tokens),
            dedup: Arc::new(dedup),
            deliver: parts.delivery,
        };
        Self::open_idle(config, ground).await
    }

    /// Everything that is served over HTTP: operators too, when the configuration has tokens of theirs.
    pub fn function_router(&self) -> Router {
        self.whole_router()
    }

    /// Takes over what others have changed in the store since the last call: devices and tokens.
    ///
    /// # Errors
    /// When the store cannot be read; what is known stays in force.
    pub async fn refresh(&self) -> StoreResult<()> {
        self.pipeline.registrar.refresh().await?;
        self.device_api.keyring().refresh().await
    }

    /// Does everything that the events so far have left to do: commands are sent, the hub is told, message ids are written.
    ///
    /// # Errors
    /// When the store failed. Nothing that was accepted is lost: housekeeping finds commands, and a message that comes again
    /// has the same id.
    pub async fn settle(&self) -> StoreResult<()> {
        self.receiver.tasks().idle().await;
        let ids = self.pipeline.dedup.flush().await;
        let archived = match &self.pipeline.archive {
            Some(archive) => archive.flush().await,
            None => Ok(()),
        };
        let carried = self.courier.carry_new().await;
        self.callbacks.carry_new(&self.commands.dispatcher).await;
        let sent = self.commands.dispatcher.work_off().await;
        ids.and(archived).and(carried).and(sent)
    }

    /// Writes when devices were last heard: from time to time, and before it is known that nothing more comes.
    ///
    /// # Errors
    /// When the store failed; the times are kept for the next call.
    pub async fn note_heard(&self) -> StoreResult<()> {
        self.pipeline.registrar.flush().await
    }

    /// Lets time pass: commands expire and are tried again, what is wanted of devices is carried, marked dead letters are
    /// sent again, what is old goes. False when a part of it failed: the next call does that.
    pub async fn keep_house(&self) -> bool {
        self.courier.look_at_all().await;
        let dispatcher = &self.commands.dispatcher;
        self.callbacks.look_at_all(dispatcher).await;
        let mut done = self.housekeeping.once().await;
        for (what, result) in [
            ("let time pass for commands", dispatcher.tick().await),
            ("send commands", dispatcher.work_off().await),
            ("tell of commands", dispatcher.tell_left().await),
        ] {
            if let Err(error) = result {
                tracing::warn!(%error, what, "housekeeping failed; it is tried again");
                done = false;
            }
        }
        done
    }

    /// Takes a command in the JSON form of `POST /admin/v1/commands` for somebody who may send it. `event` names the event:
    /// when it comes again, it is the same command.
    pub async fn command(&self, body: &[u8], event: &str) -> Response<Body> {
        admin::take(&self.commands, body, RequestKey::parse(&format!("event-{event}")).ok()).await
    }

    /// Takes what the hub sent by a topic: a command, or a wish for the state of a device. `event` as in
    /// [`command`](Self::command).
    pub async fn arrive(&self, topic: &str, payload: Vec<u8>, event: &str) -> Arrived {
        let taken = if let Some(device) = self.dialect.desired(topic) {
            self.inbox.desire(Desired { device, payload, is_copy: true }).await
        } else if let Some((device, name)) = self.dialect.command(topic) {
            let name = name.to_owned();
            let arrival = Arrival { device, name, payload, reply: None, packet: 0, redelivered: false };
            self.inbox.take_as(arrival, RequestKey::parse(&format!("event-{event}")).ok()).await
        } else {
            return Arrived::Foreign;
        };
        if taken { Arrived::Taken } else { Arrived::Later }
    }

    /// Where dead letters go.
    pub fn dead_letters(&self) -> &Arc<dyn DeadLetters> {
        &self.pipeline.dead_letters
    }
}
