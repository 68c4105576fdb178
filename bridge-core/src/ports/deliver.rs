//! What carries messages to the hub: the [`Delivery`](crate::delivery::Delivery) of a process that stays, or one for
//! processes that come and go. Not here: either of them.

use std::sync::Arc;

use futures_channel::oneshot;

use crate::message::Message;
use crate::mux::{Outcome, Stats};

/// Carries messages to the hub, or into the outbox.
pub trait Deliver: Send + Sync {
    /// Takes a message; the answer comes by the receiver. A receiver that is dropped changes nothing. Messages of one lane
    /// ([`Message::lane`]) keep the order of the calls.
    fn submit(&self, message: Arc<Message>) -> oneshot::Receiver<Outcome>;
    /// Counts for operators.
    fn stats(&self) -> Stats;
    /// Messages that became dead letters after they had been stored.
    fn buried(&self) -> u64;
    /// Why the store did not take what was last given to it; none when it did.
    fn store_error(&self) -> Option<String>;
}
