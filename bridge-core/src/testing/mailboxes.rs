//! A dispatcher whose devices all ask for their commands. Not here: any other way down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use crate::command::queue::Capacity;
use crate::command::{Awaits, Command, Draft, Flight, Manner, Payload, Resend, StatusEvent};
use crate::commands::{DispatchConfig, DispatchParts, Dispatcher, Route, StatusSink, Way, Ways};
use crate::ports::{BoxFuture, Clock, Commands, StoreResult};
use crate::{DeviceId, IntegrationName};

struct Boxes(IntegrationName);
struct MailboxWay;

impl Way for MailboxWay {
    fn manner(&self) -> Manner {
        Manner::Mailbox
    }

    fn capacity(&self) -> Capacity {
        Capacity { in_flight: 2, replaces: false }
    }

    fn prepare<'a>(
        &'a self,
        _: &'a DeviceId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>> {
        let payload = draft.payload.clone();
        Box::pin(async move { Ok(payload) })
    }

    fn flight(&self, _: &Command) -> Flight {
        let within = Duration::from_secs(100);
        Flight { resend: Resend::Safe, awaits: Awaits::Acknowledgement, within, patience: within }
    }
}

impl Ways for Boxes {
    fn route<'a>(&'a self, _: &'a DeviceId) -> BoxFuture<'a, StoreResult<Route>> {
        let integration = self.0.clone();
        Box::pin(async move { Ok(Route::To { integration, way: Arc::new(MailboxWay) }) })
    }
}

impl StatusSink for Boxes {
    fn publish(&self, _: StatusEvent) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// A dispatcher whose devices all belong to that integration and have mailboxes: two commands at once, 100 s to report on one.
pub fn mailboxes(
    integration: &IntegrationName,
    store: Arc<dyn Commands>,
    clock: Arc<dyn Clock>,
) -> Arc<Dispatcher> {
    let counter = AtomicU8::new(0);
    let parts = DispatchParts {
        store,
        ways: Arc::new(Boxes(integration.clone())),
        sink: Arc::new(Boxes(integration.clone())),
        clock,
        random: Box::new(move || counter.fetch_add(1, Relaxed).into()),
    };
    Arc::new(Dispatcher::new(DispatchConfig::default(), parts))
}
