//! Reading the outbox back: how far ahead, from where, at which pace, and what must not overtake what. Not here: publishing
//! what was read.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Link;
use super::{Entry, Live, Mux, Output, Place};
use crate::message::Message;
use crate::ports::{Seq, Token};

/// How many entries of the outbox are read ahead of their turn.
const READ_AHEAD: usize = 512;
/// Failed appends that are taken back. A store that fails more often in a row is down: it does not lose answers.
const MAX_DOUBTFUL: usize = 10_000;
/// How many loads per second a paced outbox is spread over.
const LOADS_PER_SECOND: usize = 10;

/// Reading the outbox back.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Entries that are in the outbox only.
    pub(super) spilled: u64,
    /// Everything up to here is in memory or gone.
    pub(super) cursor: Seq,
    pub(super) loading: Option<Loading>,
    /// Entries that are in memory too.
    pub(super) resident: usize,
    /// Those of them that were read back.
    pub(super) loaded: usize,
    /// The pace: no load before this.
    pub(super) not_before: Option<Instant>,
    /// Appends that the store said had failed. Their answer may have got lost, and they be in the outbox; nothing counts
    /// them, and their senders were told to send again.
    doubtful: BTreeSet<Seq>,
}

impl Drain {
    pub(super) fn doubt(&mut self, seq: Seq) {
        if self.doubtful.len() < MAX_DOUBTFUL {
            self.doubtful.insert(seq);
        }
    }
}

/// A load under way.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) after: Seq,
    /// The highest `seq` when it was asked for: no entry up to here can be missing in the answer.
    pub(super) up_to: Seq,
    /// Removed since; may still turn up in the answer.
    pub(super) removed: HashSet<Seq>,
    /// An entry at or before `after` came back to the outbox: what the answer brings must not overtake it.
    pub(super) stale: bool,
}

impl Mux {
    /// A load ended; `entries` are in order. Empty also when the store failed: `retry_at` then says when to try again.
    pub fn handle_loaded(
        &mut self,
        entries: Vec<(Seq, Arc<str>, Arc<Message>)>,
        retry_at: Option<Instant>,
        now: Instant,
    ) {
        let Some(loading) = self.drain.loading.take() else { return };
        if let Some(at) = retry_at {
            self.drain.not_before = Some(at);
            return;
        }
        if let Some(rate) = self.config.drain_rate {
            self.drain.not_before = Some(now + Duration::from_secs(entries.len() as u64) / rate.max(1));
        }
        if loading.stale {
            return self.load_if_due(now);
        }
        self.drain.cursor = if entries.is_empty() { loading.up_to } else { loading.after };
        for (seq, lane_name, message) in entries {
            if self.drain.doubtful.remove(&seq) {
                self.outputs.push_back(Output::Remove { seq });
                self.drain.cursor = seq;
                continue;
            }
            if self.by_seq.contains_key(&seq) || loading.removed.contains(&seq) {
                self.drain.cursor = seq;
                continue;
            }
            let token = Token(self.next_token);
            self.next_token += 1;
            let live = Live {
                lane: lane_name.clone(),
                message,
                waiting: false,
                entry: Some((seq, Entry::Safe)),
                place: Place::Nowhere,
                loaded: true,
            };
            self.live.insert(token, live);
            if self.queue(token).is_none() {
                // No link is up any more; handle_link_up starts over.
                self.live.remove(&token);
                break;
            }
            self.by_seq.insert(seq, token);
            self.drain.cursor = seq;
            self.drain.spilled = self.drain.spilled.saturating_sub(1);
            self.drain.resident += 1;
            self.drain.loaded += 1;
            if let Some(lane) = self.lanes.get_mut(&lane_name) {
                lane.resident += 1;
                lane.stored = lane.stored.max(lane.resident);
            }
            self.pump_lane(&lane_name, now);
        }
        self.load_if_due(now);
    }

    /// An entry could not be read back and was taken out of the outbox by whoever loaded it.
    pub fn handle_unreadable(&mut self, lane: &Arc<str>) {
        self.drain.spilled = self.drain.spilled.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.stored = lane.stored.saturating_sub(1).max(lane.resident);
        }
        self.forget_if_idle(lane);
    }

    /// Removes what failed appends may have left, now that the store works.
    pub(super) fn take_back_doubtful(&mut self) {
        let doubtful = std::mem::take(&mut self.drain.doubtful);
        if let Some(loading) = &mut self.drain.loading {
            loading.removed.extend(&doubtful);
        }
        self.outputs.extend(doubtful.into_iter().map(|seq| Output::Remove { seq }));
    }

    pub(super) fn rewind(&mut self, to: Seq) {
        self.drain.cursor = self.drain.cursor.min(to);
        if let Some(loading) = &mut self.drain.loading {
            loading.stale |= to < loading.after;
        }
    }

    /// Entries that may stay in memory when they come from senders.
    pub(super) fn keep_limit(&self) -> usize {
        self.windows().saturating_mul(4).max(READ_AHEAD)
    }

    pub(super) fn windows(&self) -> usize {
        self.links.values().filter_map(|link| link.window).sum()
    }

    /// Loads when entries wait in the outbox only, and half of what was read ahead is used up.
    pub(super) fn load_if_due(&mut self, now: Instant) {
        let room = READ_AHEAD.saturating_sub(self.drain.loaded);
        let routable = self.links.values().any(Link::is_routable);
        let paced = self.drain.not_before.is_some_and(|at| at > now);
        let more = self.drain.spilled > 0 && self.drain.cursor < self.last_seq;
        if self.closing
            || self.drain.loading.is_some()
            || !more
            || !routable
            || room < READ_AHEAD / 2
            || paced
        {
            return;
        }
        let pace =
            self.config.drain_rate.map_or(usize::MAX, |rate| (rate as usize / LOADS_PER_SECOND).max(1));
        let limit = room.min(pace);
        let after = self.drain.cursor;
        self.drain.loading =
            Some(Loading { after, up_to: self.last_seq, removed: HashSet::new(), stale: false });
        self.outputs.push_back(Output::Load { after, limit });
    }
}
