//! The traits behind which stores, hubs and clocks stand. Not here: any implementation but the in-memory ones for
//! tests ([`crate::testing`]). `Leases` comes with the features that need it.

mod archive;
mod clock;
mod codecs;
mod commands;
mod credentials;
mod dead_letters;
mod dedup;
mod hub;
mod listener;
mod outbox;
mod registry;
mod subscriptions;
mod twins;
mod vault;

use std::future::Future;
use std::pin::Pin;

pub use archive::{Archive, ArchiveFilter, Archived};
pub use clock::Clock;
pub use codecs::{Codecs, Decoding, NoCodecs, Payload};
pub use commands::{Asked, CommandFilter, Commands, Inserted, QueueLimits};
pub use credentials::{Credential, Credentials, Proof, TokenDigest};
pub use dead_letters::{DeadLetter, DeadLetterFilter, DeadLetters, NewDeadLetter, RawRequest};
pub use dedup::Dedup;
pub(crate) use hub::TokenHash;
pub use hub::{Arrival, Desired, Hub, HubEvents, HubRefusal, Inbox, LinkId, Token};
pub use listener::Listener;
pub use outbox::{Backlog, Outbox, OutboxEntry, Seq};
pub use registry::{DeviceFilter, DeviceRecord, DeviceState, Insert, Registry};
pub use subscriptions::Subscriptions;
pub use twins::Twins;
pub use vault::Vault;

/// A boxed future, so that ports are object-safe and name no runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It may work later: busy, throttled, unreachable, disk full. The bridge's or the operator's fault; retry.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// It will not work later: damaged, or of a newer version. The operator's to mend; do not retry.
    #[error("the store is damaged or not ours: {0}")]
    Damaged(String),
}

/// What a store answers.
pub type StoreResult<T> = Result<T, StoreError>;
