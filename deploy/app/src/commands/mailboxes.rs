//! What is in the mailboxes of devices whose cloud asks for commands. Not here: the cloud's rules and answers (`webhook`).

use std::sync::Arc;

use bridge_core::command::Reference;
use bridge_core::commands::{Budget, Way};
use bridge_core::pipeline::Pipeline;
use bridge_core::ports::{BoxFuture, Clock, DeviceRecord, DeviceState, StoreError, StoreResult};
use bridge_core::{ExternalDevice, ExternalId, IntegrationName, MessageId, Timestamp};
use webhook::connector::Ask;
use webhook::receiver::Mailboxes;

use super::Commands;
use crate::clock::SystemClock;

/// See the module.
pub(crate) struct MailboxesOf {
    pub(crate) commands: Commands,
    /// Knows the device: its uplink has just come.
    pub(crate) pipeline: Arc<Pipeline>,
}

impl Mailboxes for MailboxesOf {
    fn are_of(&self, integration: &IntegrationName) -> bool {
        self.commands.ways.mailbox(integration).is_some()
    }

    fn take<'a>(
        &'a self,
        integration: &'a IntegrationName,
        ask: &'a Ask,
    ) -> BoxFuture<'a, StoreResult<Option<Vec<u8>>>> {
        Box::pin(async move {
            let Some(way) = self.commands.ways.mailbox(integration) else { return Ok(None) };
            let Some(record) = self.device(integration, &ask.device).await? else { return Ok(None) };
            if record.state != DeviceState::Active {
                return Ok(None);
            }
            // A repeated request has the same key.
            let exchange = Reference::parse(&MessageId::new(integration, &ask.key).to_string());
            let exchange = exchange.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let budget = Budget { since: day_of(SystemClock.wall()), most: way.mailbox.daily_budget() };
            let way: Arc<dyn Way> = way;
            let command = self.commands.dispatcher.take_within(&record.id, &way, &exchange, budget).await?;
            Ok(command.and_then(|command| command.draft.payload).map(|payload| payload.data))
        })
    }
}

impl MailboxesOf {
    async fn device(
        &self,
        integration: &IntegrationName,
        device: &ExternalDevice,
    ) -> StoreResult<Option<Arc<DeviceRecord>>> {
        if let Some(record) = self.pipeline.registrar.lately(integration, device) {
            return Ok(Some(record));
        }
        let Ok(external) = ExternalId::parse(&device.id) else { return Ok(None) };
        Ok(self.commands.registry.find(integration, &external).await?.map(Arc::new))
    }
}

/// When the day began, UTC.
fn day_of(now: Timestamp) -> Timestamp {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let ms = now.as_millis();
    Timestamp::from_millis(ms - ms.rem_euclid(DAY)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        for time in ["2026-11-20T00:00:00Z", "2026-11-20T12:34:56Z", "2026-11-20T23:59:59.999Z"] {
            assert_eq!(day_of(at(time)), at("2026-11-20T00:00:00Z"), "{time}");
        }
    }
}
