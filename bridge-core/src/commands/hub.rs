//! Events of commands through the ordinary delivery: to the hub, or to the outbox. Not here: topics (the dialects).

use std::sync::Arc;

use super::StatusSink;
use crate::command::StatusEvent;
use crate::delivery::refused_by_hub;
use crate::mux::Outcome;
use crate::ports::{BoxFuture, Clock, DeadLetters, Deliver};

/// See the module.
pub struct DeliverySink {
    /// Carries the events.
    pub delivery: Arc<dyn Deliver>,
    /// Keeps those that the hub will never take.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl StatusSink for DeliverySink {
    fn publish(&self, event: StatusEvent) -> BoxFuture<'static, bool> {
        let messages = event.into_messages().into_iter().map(Arc::new);
        let submitted: Vec<_> =
            messages.map(|message| (message.clone(), self.delivery.submit(message))).collect();
        let (dead_letters, clock) = (self.dead_letters.clone(), self.clock.clone());
        Box::pin(async move {
            let mut all = true;
            for (message, outcome) in submitted {
                all &= match outcome.await {
                    Ok(Outcome::Delivered | Outcome::Stored) => true,
                    Ok(Outcome::Refused(why)) => {
                        dead_letters.bury(&[refused_by_hub(&message, why, clock.wall())]).await.is_ok()
                    }
                    // A sender dropped without an answer means that the delivery is gone.
                    Ok(Outcome::Unavailable) | Err(_) => false,
                };
            }
            all
        })
    }
}
