//! What the mux knows of one lane: a device, or an integration's own events. Order is kept within a lane and nowhere
//! else. Not here: where its messages go ([`super::strategy`]).

use std::collections::VecDeque;

use crate::ports::{LinkId, Token};

/// A lane exists while something of it is in memory or in the outbox.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The link that carries it now. Kept while `on_link` is above zero: two links would break the order.
    pub(super) link: Option<LinkId>,
    /// Messages queued for, or in flight on, that link.
    pub(super) on_link: u32,
    /// Submitted, neither acknowledged nor stored, in order.
    pub(super) fresh: VecDeque<Token>,
    /// Entries in the outbox, or on their way into it.
    pub(super) stored: u64,
    /// Those of `stored` that are in memory too.
    pub(super) resident: u64,
}

impl Lane {
    /// Entries that are in the outbox only.
    pub(super) fn spilled(&self) -> u64 {
        self.stored - self.resident
    }

    /// Nothing left of it.
    pub(super) fn is_idle(&self) -> bool {
        self.on_link == 0 && self.stored == 0 && self.fresh.is_empty()
    }
}
