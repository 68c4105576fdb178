//! What is in the mailboxes of devices whose cloud asks for commands. Not here: the cloud's rules and answers (`webhook`).

use bridge_core::command::Reference;
use bridge_core::commands::Budget;
use bridge_core::ports::{BoxFuture, Clock, StoreError, StoreResult};
use bridge_core::{ExternalId, IntegrationName, MessageId, Timestamp};
use webhook::connector::Ask;
use webhook::receiver::Mailboxes;

use super::Commands;
use crate::clock::SystemClock;

impl Mailboxes for Commands {
    fn are_of(&self, integration: &IntegrationName) -> bool {
        self.ways.mailbox(integration).is_some()
    }

    fn take<'a>(
        &'a self,
        integration: &'a IntegrationName,
        ask: &'a Ask,
    ) -> BoxFuture<'a, StoreResult<Option<Vec<u8>>>> {
        Box::pin(async move {
            let Some(mailbox) = self.ways.mailbox(integration) else { return Ok(None) };
            let Ok(external) = ExternalId::parse(&ask.device.id) else { return Ok(None) };
            let Some(record) = self.registry.find(integration, &external).await? else { return Ok(None) };
            // A repeated request has the same key.
            let exchange = Reference::parse(&MessageId::new(integration, &ask.key).to_string());
            let exchange = exchange.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let budget = Budget { since: day_of(SystemClock.wall()), most: mailbox.daily_budget() };
            let command = self.dispatcher.take_within(&record.id, &exchange, budget).await?;
            Ok(command.and_then(|command| command.draft.payload).map(|payload| payload.data))
        })
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
