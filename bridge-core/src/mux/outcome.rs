//! What the mux tells: to senders, to whoever carries its decisions out, to operators.

use std::sync::Arc;

use crate::id::MessageId;
use crate::message::Message;
use crate::ports::{LinkId, Seq, Token};

/// The answer to a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The hub acknowledged it.
    Delivered,
    /// It is in the outbox.
    Stored,
    /// The hub will never take it; the detail is for people.
    Refused(String),
    /// Neither: full, closing, or the store failed. The sender keeps it.
    Unavailable,
}

/// What to carry out, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a link and keep it open.
    Open {
        /// Which.
        link: LinkId,
    },
    /// Close a link.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Publish.
    Publish {
        /// On this link.
        link: LinkId,
        /// Name the outcome by this.
        token: Token,
        /// This.
        message: Arc<Message>,
    },
    /// Append to the outbox; report with `handle_appended`.
    Append {
        /// The place.
        seq: Seq,
        /// The lane.
        lane: Arc<str>,
        /// The message.
        message: Arc<Message>,
    },
    /// Remove from the outbox, if it is there. After every earlier append; try until it is done.
    Remove {
        /// The place.
        seq: Seq,
    },
    /// Keep as a dead letter, then remove from the outbox. Try until it is done.
    Bury {
        /// The place.
        seq: Seq,
        /// The message.
        message: Arc<Message>,
        /// What the hub said.
        detail: String,
    },
    /// Load entries; report with `handle_loaded`. After every earlier append and removal.
    Load {
        /// Only above this.
        after: Seq,
        /// At most so many.
        limit: usize,
    },
    /// Answer a sender.
    Answer {
        /// Which.
        token: Token,
        /// With this.
        outcome: Outcome,
    },
    /// A message was delivered after its sender was told `Unavailable`: when it comes again it is a duplicate.
    LateDelivery(MessageId),
}

/// Counts for operators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Senders that wait.
    pub waiting: usize,
    /// Publishes without an outcome.
    pub in_flight: usize,
    /// Entries in the outbox.
    pub stored: u64,
    /// Those of them that are in memory too.
    pub resident: usize,
    /// Links that should be up.
    pub links_open: usize,
    /// Links that are up.
    pub links_up: usize,
}
