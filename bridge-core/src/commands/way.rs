//! How commands go down to devices, and how the hub's side is told: the traits that adapters implement. Not here: any way.

use std::sync::Arc;

use crate::command::queue::Capacity;
use crate::command::{
    Again, AttemptId, Cause, CauseCode, Command, Draft, Flight, Manner, Payload, Report, SendOutcome,
    StatusEvent,
};
use crate::id::{DeviceId, IntegrationName};
use crate::ports::{BoxFuture, StoreResult};

/// How commands of one integration go down. A *push* way sends; a *mailbox* way is asked by the device, and its commands
/// travel in the answer ([`super::Dispatcher::take`]).
pub trait Way: Send + Sync {
    /// Who starts.
    fn manner(&self) -> Manner;

    /// How many commands of a device may be in flight.
    fn capacity(&self) -> Capacity {
        Capacity::default()
    }

    /// Checks that a draft can go this way, and encodes it. What is refused here is never queued.
    ///
    /// # Errors
    /// A text for the asker: too long for the transport, arguments that cannot be encoded, unknown options.
    fn prepare<'a>(
        &'a self,
        device: &'a DeviceId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>>;

    /// How the next attempt travels.
    fn flight(&self, command: &Command) -> Flight;

    /// Carries out an attempt, which is recorded already; within the patience of its [`Flight`], and never twice by itself
    /// when that is not safe. Only of push ways. A future that is dropped counts as an outcome that nobody knows.
    fn send<'a>(&'a self, command: &'a Command, attempt: AttemptId) -> BoxFuture<'a, SendOutcome> {
        let _ = (command, attempt);
        let cause = Cause::from(CauseCode::Unreachable);
        Box::pin(std::future::ready(SendOutcome::Refused { cause, again: Again::WhenReachable }))
    }

    /// Asks the transport to give a command back that is on its way; what it says, or none when it cannot be asked.
    fn withdraw<'a>(&'a self, command: &'a Command) -> BoxFuture<'a, Option<Report>> {
        let _ = command;
        Box::pin(std::future::ready(None))
    }
}

/// Where the way to a device is found.
#[derive(Clone)]
pub enum Route {
    /// This way.
    To {
        /// The integration of the device.
        integration: IntegrationName,
        /// Its way.
        way: Arc<dyn Way>,
    },
    /// There is no such device.
    UnknownDevice,
    /// The device is known and cannot get commands; for people.
    NoWay(String),
}

/// Finds ways: registry and configuration.
pub trait Ways: Send + Sync {
    /// The way to a device.
    fn route<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Route>>;
}

/// Takes the events of commands towards the hub.
pub trait StatusSink: Send + Sync {
    /// Takes an event; it is in its place among others of its device when this returns. Completes with whether somebody is
    /// responsible for it now (the hub, or the outbox). If not, it comes again, with the same id.
    fn publish(&self, event: StatusEvent) -> BoxFuture<'static, bool>;
}
