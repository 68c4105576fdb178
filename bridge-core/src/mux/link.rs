//! What the mux knows of one physical connection to the hub. Not here: the connection (`mqtt-hub`).

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::ports::{Token, TokenHash};

/// Where a message on a link comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Straight from its sender, who waits.
    Sender,
    /// From the outbox.
    Outbox,
}

/// A link that was opened and not yet closed.
#[derive(Debug)]
pub(super) struct Link {
    /// Publishes that may be in flight; none while the link is down.
    pub(super) window: Option<usize>,
    /// Waiting for the window, in order: straight from senders, and from the outbox. Tokens that left meanwhile are
    /// passed over.
    pub(super) fresh: VecDeque<Token>,
    pub(super) stored: VecDeque<Token>,
    /// Published, outcome unknown.
    pub(super) in_flight: HashSet<Token, TokenHash>,
    /// How many of them are from the outbox.
    pub(super) stored_in_flight: usize,
    /// The hub asked for a pause.
    pub(super) paused_until: Option<Instant>,
    /// Takes no new lanes; closed when nothing is left on it.
    pub(super) retiring: bool,
    /// Most that was in flight at once since the load was last looked at.
    pub(super) peak: usize,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            window: None,
            fresh: VecDeque::new(),
            stored: VecDeque::new(),
            in_flight: HashSet::default(),
            stored_in_flight: 0,
            paused_until: None,
            retiring: false,
            peak: 0,
        }
    }

    /// Up, and taking lanes.
    pub(super) fn is_routable(&self) -> bool {
        self.window.is_some() && !self.retiring
    }

    /// Whether one more publish fits now.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.window.is_some_and(|window| self.in_flight.len() < window)
            && self.paused_until.is_none_or(|until| until <= now)
    }

    /// The queue whose turn it is. The outbox has a claim on half of the window, senders on the other half; what one
    /// does not use the other may.
    pub(super) fn next_queue(&mut self) -> Option<(&mut VecDeque<Token>, Source)> {
        let share = (self.window.unwrap_or(0) / 2).max(1);
        let stored_first = self.stored_in_flight < share || self.fresh.is_empty();
        if stored_first && !self.stored.is_empty() {
            return Some((&mut self.stored, Source::Outbox));
        }
        (!self.fresh.is_empty()).then_some((&mut self.fresh, Source::Sender))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.stored.is_empty() && self.in_flight.is_empty()
    }
}
