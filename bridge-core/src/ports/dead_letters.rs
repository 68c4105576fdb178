//! What cannot be delivered, kept with its reason. Not here: who decides that ([`crate::pipeline`]).

use super::{BoxFuture, StoreResult};
use crate::id::IntegrationName;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// A dead letter before the store has numbered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// When it died.
    pub at: Timestamp,
    /// The integration that it came in by.
    pub integration: IntegrationName,
    /// The source's name of the device, or the device id, where known.
    pub device: Option<String>,
    /// For counting and filtering.
    pub reason: Reason,
    /// For people.
    pub detail: String,
    /// The request, so that it can be decoded again; without credentials.
    pub request: Option<RawRequest>,
    /// The message ([`crate::Message::to_record`]), where there was one already.
    pub record: Option<Vec<u8>>,
}

/// A stored dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number in this store; increasing.
    pub number: u64,
    /// What it is.
    pub letter: NewDeadLetter,
    /// An operator asked to send it again.
    pub replay: bool,
}

/// A webhook request at rest. Headers are not kept: credentials travel there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawRequest {
    /// `GET`, `POST`, `PUT`.
    pub method: String,
    /// The device named in the URL path.
    pub path_device: Option<String>,
    /// The query without the integration's own token.
    pub query: String,
    /// As received.
    pub content_type: Option<String>,
    /// As received, but for credentials that the connector took out.
    pub body: Vec<u8>,
}

/// Which dead letters; empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only of this integration.
    pub integration: Option<IntegrationName>,
    /// Only of this device (as in [`NewDeadLetter::device`]).
    pub device: Option<String>,
    /// Only for this reason.
    pub reason: Option<Reason>,
    /// Only this number.
    pub number: Option<u64>,
}

/// Keeps what cannot be delivered.
pub trait DeadLetters: Send + Sync {
    /// Stores all or none; durable when it completes.
    fn bury<'a>(&'a self, letters: &'a [NewDeadLetter]) -> BoxFuture<'a, StoreResult<()>>;
    /// Up to `limit` letters with `number > after` that match, in order.
    fn list<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetter>>>;
    /// Marks matching letters to be sent again; how many were newly marked. The running bridge picks them up.
    fn mark_for_replay<'a>(&'a self, filter: &'a DeadLetterFilter) -> BoxFuture<'a, StoreResult<u64>>;
    /// Up to `limit` marked letters, in order.
    fn marked(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<DeadLetter>>>;
    /// Takes the replay mark off again: the attempt failed, and the letter stays with its new detail.
    fn unmark<'a>(&'a self, number: u64, detail: &'a str) -> BoxFuture<'a, StoreResult<()>>;
    /// Removes letters; unknown ones are ignored.
    fn remove<'a>(&'a self, numbers: &'a [u64]) -> BoxFuture<'a, StoreResult<()>>;
    /// Removes up to `limit` matching letters for good, the oldest first; how many went. None when none matches any more.
    fn remove_matching<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        limit: usize,
    ) -> BoxFuture<'a, StoreResult<u64>>;
    /// Removes the oldest beyond `keep`; how many went.
    fn trim(&self, keep: u64) -> BoxFuture<'_, StoreResult<u64>>;
    /// How many there are.
    fn count(&self) -> BoxFuture<'_, StoreResult<u64>>;
}
