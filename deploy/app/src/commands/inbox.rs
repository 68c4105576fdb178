//! Commands from the hub: what came by its command topic becomes a draft. Not here: the subscription (`mqtt-hub`).

use std::sync::Arc;

use bridge_core::command::{CommandName, Draft, Reply, RequestKey};
use bridge_core::commands::SubmitError;
use bridge_core::ports::{Arrival, BoxFuture, Clock, CommandFilter, Deliver, Desired, Inbox, StoreResult};
use bridge_core::{Content, DeviceId, IdempotencyKey, IntegrationName, Kind, Message, MessageId};
use serde_json::Value;

use super::Commands;
use crate::twins::{Refused, Wishes};

/// Takes commands from the hub.
pub(crate) struct HubInbox {
    pub(crate) commands: Commands,
    /// Takes wishes for the state of devices.
    pub(crate) wishes: Wishes,
    pub(crate) delivery: Arc<dyn Deliver>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Stands in events about commands for devices that nobody knows.
    pub(crate) unknown: IntegrationName,
}

/// Commands that are looked through for one that came before.
const LOOKED_THROUGH: usize = 100;

impl Inbox for HubInbox {
    fn take(&self, arrival: Arrival) -> BoxFuture<'_, bool> {
        Box::pin(self.take_as(arrival, None))
    }

    fn desire(&self, desired: Desired) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let device = &desired.device;
            match self.wishes.take(&desired).await {
                Ok(()) => true,
                Err(Refused::Later(error)) => {
                    tracing::warn!(%error, %device, "a wish could not be kept; it comes again");
                    false
                }
                Err(Refused::Never(why)) => {
                    tracing::warn!(why, %device, "a wish for the state of a device was refused");
                    self.tell(device, ("properties", "desired"), 0, &why).await
                }
            }
        })
    }
}

impl HubInbox {
    /// Like [`Inbox::take`]; what comes twice with one key is one command.
    pub(crate) async fn take_as(&self, arrival: Arrival, key: Option<RequestKey>) -> bool {
        match self.try_take(&arrival, key).await {
            Ok(()) => true,
            Err(SubmitError::Store(error)) => {
                tracing::warn!(%error, device = %arrival.device, "a command could not be kept; it comes again");
                false
            }
            Err(SubmitError::Full) => {
                tracing::warn!(device = %arrival.device, "too many commands are waiting; it comes again");
                false
            }
            Err(refused) => {
                tracing::warn!(%refused, device = %arrival.device, name = arrival.name, "a command was refused");
                let what = ("command", arrival.name.as_str());
                self.tell(&arrival.device, what, arrival.packet, &refused.to_string()).await
            }
        }
    }

    async fn try_take(&self, arrival: &Arrival, key: Option<RequestKey>) -> Result<(), SubmitError> {
        let unfit = SubmitError::Unfit;
        let name = CommandName::parse(&arrival.name).map_err(|error| unfit(format!("the name {error}")))?;
        let arguments = match arrival.payload.trim_ascii() {
            [] => Value::Null,
            json => serde_json::from_slice(json).map_err(|_| unfit("the payload is not JSON".into()))?,
        };
        let reply = arrival
            .reply
            .as_ref()
            .map(|(topic, correlation)| Reply { topic: topic.clone(), correlation: correlation.clone() });
        let key = match key {
            Some(key) => key,
            None => {
                let came = format!("hub-{}-{}", arrival.packet, digest(arrival));
                if arrival.redelivered && self.came_before(arrival, &came).await? {
                    return Ok(());
                }
                let key = format!("{came}-{}", self.clock.wall().as_millis());
                RequestKey::parse(&key).map_err(|error| unfit(error.to_string()))?
            }
        };
        let draft = Draft { arguments, reply, key: Some(key), ..Draft::new(name) };
        self.commands.dispatcher.submit(&arrival.device, draft).await.map(drop)
    }

    /// Whether it was taken, and only the acknowledgement did not get through. The hub uses packet identifiers again, so
    /// this is asked of redelivered ones alone.
    async fn came_before(&self, arrival: &Arrival, came: &str) -> StoreResult<bool> {
        let filter = CommandFilter { device: Some(arrival.device.clone()), ..CommandFilter::default() };
        let newest = self.commands.store.list(&filter, None, LOOKED_THROUGH).await?;
        let keys = newest.iter().filter_map(|command| command.draft.key.as_ref());
        Ok(keys
            .map(RequestKey::as_str)
            .any(|key| key.rsplit_once('-').is_some_and(|(before, _)| before == came)))
    }

    /// Tells the hub why something was refused: an event of the device. True when somebody is responsible for it.
    async fn tell(&self, device: &DeviceId, (kind, name): (&str, &str), packet: u16, why: &str) -> bool {
        let now = self.clock.wall();
        let mut content = Content::default();
        content.data.insert(kind.into(), name.into());
        content.data.insert("detail".into(), why.into());
        let parts: [&[u8]; 4] =
            [b"refused", device.as_str().as_bytes(), &now.as_millis().to_be_bytes(), &packet.to_be_bytes()];
        let message = Message {
            id: MessageId::new(&self.unknown, &IdempotencyKey::from_parts(&parts)),
            device: Some(device.clone()),
            source: "bridge".into(),
            integration: self.unknown.clone(),
            kind: Kind::Error,
            time: Some(now),
            received_at: now,
            superseded: false,
            replayed: false,
            corrects: None,
            reply: None,
            content,
        };
        // Whatever becomes of the event: what was refused must not come again.
        let _ = self.delivery.submit(Arc::new(message)).await;
        true
    }
}

/// Tells contents apart.
fn digest(arrival: &Arrival) -> MessageId {
    let integration = IntegrationName::parse("hub");
    let key = IdempotencyKey::from_parts(&[
        arrival.device.as_str().as_bytes(),
        arrival.name.as_bytes(),
        arrival.payload.as_slice(),
    ]);
    match integration {
        Ok(integration) => MessageId::new(&integration, &key),
        // invariant: "hub" is a name that an integration can have.
        Err(_) => MessageId::from_bytes([0; 16]),
    }
}
