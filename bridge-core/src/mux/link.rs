//! What the mux knows of one physical connection to the hub. Not here: the connection (`mqtt-hub`).

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::ports::Token;

/// A link that was opened and not yet closed.
#[derive(Debug)]
pub(super) struct Link {
    /// Publishes that may be in flight; none while the link is down.
    pub(super) window: Option<usize>,
    /// Waiting for the window, in order. Tokens that were settled meanwhile are passed over.
    pub(super) queue: VecDeque<Token>,
    /// Published, outcome unknown.
    pub(super) in_flight: HashSet<Token>,
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
            queue: VecDeque::new(),
            in_flight: HashSet::new(),
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

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }
}
