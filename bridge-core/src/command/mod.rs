//! Commands towards devices: what one is, and its life as a state machine without I/O. Not here: where commands are kept
//! ([`crate::ports::Commands`]), how one travels and who calls the machine ([`crate::commands`]).
//!
//! # States
//! `queued → sent → acknowledged`, or `failed`, `expired`, `cancelled`, `unknown`. What each one promises:
//!
//! | state | it means |
//! |---|---|
//! | `queued` | nothing of it is known to have left; an attempt may be under way |
//! | `sent` | a transport took it; reports may follow. Final when none is awaited |
//! | `acknowledged` | the device (or a cloud that waits for the device) said that it ran |
//! | `failed` | the transport or the device refused it for good, or every attempt was refused |
//! | `expired`, `cancelled` | it never ran and never will |
//! | `unknown` | it may have run, and nobody can tell; it is never sent again |
//!
//! # Rules
//! 1. An attempt is recorded ([`begin`](Command::begin), [`hand_out`](Command::hand_out)) before anything goes out. What had
//!    an attempt under way at a crash, or an answer that got lost, is sent again only when that attempt is
//!    [`Resend::Safe`]; else it is `unknown`.
//! 2. A state never goes back: `queued < sent < unknown <` all others. A retry keeps the state and counts attempts.
//! 3. What is over stays as it is, whatever is reported later, but for `unknown`: a late report that tells resolves it. A
//!    `sent` that nobody reports on within its time becomes `unknown`, not `expired`, so that a late acknowledgement counts.
//! 4. An acknowledgement counts in every state that is not over, before the transport's own answer as well as between two
//!    attempts. A failure counts only for the last attempt.
//! 5. When an earlier attempt may have run, an end that would say that it did not (`expired`, `cancelled`, `failed`) is
//!    `unknown` with the same reason.
//! 6. Cancelling and superseding end what waits. What is on its way is not taken back by that, but not tried again either.

mod draft;
mod event;
mod id;
mod life;
mod outcome;
pub mod queue;
mod report;
mod state;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use draft::{Draft, DraftError, DraftLimits, Payload, Priority, Reply};
pub use event::StatusEvent;
pub use id::{AttemptId, CommandId, CommandIds, CommandName, Reference, ReplaceKey, RequestKey};
pub use life::{Backoff, Cancelled, Manner};
pub use outcome::{Again, Awaits, Flight, Report, Reported, Resend, SendOutcome};
pub use state::{Cause, CauseCode, Change, CommandState, Phase};

use crate::id::{DeviceId, IntegrationName};
use crate::time::Timestamp;
use life::Life;

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its id; in the order of age.
    pub id: CommandId,
    /// For which device.
    pub device: DeviceId,
    /// The integration that the device belongs to.
    pub integration: IntegrationName,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it is of no use any more.
    pub expires: Timestamp,
    /// What is asked.
    pub draft: Draft,
    life: Life,
    /// Counts the writes of its record. The store's.
    #[serde(skip)]
    pub version: u64,
    /// How many of its changes the hub's side has taken. The store's.
    #[serde(skip)]
    pub published: u32,
}

impl Command {
    /// What is known of it.
    pub fn state(&self) -> CommandState {
        self.life.state
    }

    /// What is happening to it.
    pub fn phase(&self) -> Phase {
        self.life.phase
    }

    /// Nothing more will be tried.
    pub fn is_done(&self) -> bool {
        self.life.phase == Phase::Done
    }

    /// An attempt is under way or its reports are awaited: it takes up one of the device's places.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.life.phase, Phase::Sending { .. } | Phase::Awaiting { .. })
    }

    /// Attempts begun so far; the number of the last one.
    pub fn attempts(&self) -> u32 {
        self.life.attempts
    }

    /// The last attempt; none before the first.
    pub fn attempt(&self) -> Option<AttemptId> {
        (self.life.attempts > 0).then_some(AttemptId { command: self.id, number: self.life.attempts })
    }

    /// How the last attempt travels; none before the first.
    pub fn flight(&self) -> Option<Flight> {
        self.life.flight
    }

    /// Why it is in its state, where there is something to say.
    pub fn cause(&self) -> Option<&Cause> {
        self.life.history.last().and_then(|change| change.cause.as_ref())
    }

    /// What the device answered.
    pub fn result(&self) -> Option<&Value> {
        self.life.result.as_ref()
    }

    /// What became of it so far, in order. Bounded by the attempts that a draft may ask for.
    pub fn history(&self) -> &[Change] {
        &self.life.history
    }

    /// How many changes there were.
    pub fn changes(&self) -> u32 {
        self.life.changes
    }

    /// When it was over; moves when an `unknown` is resolved.
    pub fn finished(&self) -> Option<Timestamp> {
        self.life.finished
    }

    /// What the transport calls it, with the number of the attempt; the oldest first.
    pub fn references(&self) -> impl Iterator<Item = (&Reference, u32)> {
        self.life.references.iter().map(|(reference, attempt)| (reference, *attempt))
    }

    /// The attempt that the transport calls so.
    pub fn attempt_of(&self, reference: &Reference) -> Option<u32> {
        self.references().find(|(known, _)| *known == reference).map(|(_, attempt)| attempt)
    }

    /// Somebody asked to take it back while it was on its way.
    pub fn is_withdrawn(&self) -> bool {
        self.life.withdrawn.is_some()
    }

    /// Its events after the first `after` changes, in order.
    pub fn events(&self, after: u32) -> impl Iterator<Item = StatusEvent> {
        let changes = self.life.history.iter().filter(move |change| change.number > after);
        changes.map(|change| StatusEvent::new(self, change))
    }

    /// The same with what the store counts. For stores.
    #[must_use]
    pub fn stored(self, version: u64, published: u32) -> Self {
        Self { version, published, ..self }
    }

    /// The form at rest.
    pub fn to_record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(1024);
        // invariant: every map of a command has text keys and every number is finite, so this cannot fail.
        let _ = serde_json::to_writer(&mut record, self);
        record
    }

    /// Reads the form at rest. `version` and `published` are the store's to fill in.
    ///
    /// # Errors
    /// When the record is not a command of this version or an older one.
    pub fn from_record(record: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(record)
    }
}
