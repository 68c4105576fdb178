//! How many links there are: more when senders crowd, fewer when they have not for a while. Not here: which lane is on which.

use std::time::Instant;

use super::link::Link;
use super::{Mux, Output, strategy};
use crate::ports::LinkId;

impl Mux {
    pub(super) fn open_links(&mut self, wanted: u32) {
        let mut next = (0..).map(LinkId);
        while (self.links.len() as u32) < wanted {
            // invariant: the range of ids is endless and `wanted` is a u32.
            let Some(id) = next.find(|id| !self.links.contains_key(id)) else { return };
            self.links.insert(id, Link::new());
            self.outputs.push_back(Output::Open { link: id });
        }
    }

    /// More than a quarter of all windows waits, and not in the outbox: open more links.
    pub(super) fn grow_if_crowded(&mut self, now: Instant) {
        let open = self.links.len() as u32;
        let grown = self.config.strategy.grown(open);
        if grown <= open || self.last_growth.is_some_and(|at| at + strategy::GROW_AFTER > now) {
            return;
        }
        let windows: usize = self.links.values().filter_map(|link| link.window).sum();
        let queued: usize = self.links.values().map(|link| link.fresh.len()).sum();
        if queued > windows / 4 && self.links.values().all(|link| link.window.is_some()) {
            self.last_growth = Some(now);
            self.load_checked = Some(now);
            self.links.values_mut().for_each(|link| link.retiring = false);
            self.open_links(grown);
        }
    }

    /// The last link goes when, for a while, the others could have carried everything with three quarters to spare.
    pub(super) fn shrink_if_idle(&mut self, now: Instant) {
        if self.load_checked.is_some_and(|at| at + strategy::SHRINK_AFTER > now) {
            return;
        }
        self.load_checked = Some(now);
        let peak: usize = self.links.values_mut().map(|link| std::mem::take(&mut link.peak)).sum();
        if self.links.len() <= self.config.strategy.initial() as usize {
            return;
        }
        let Some((&last, _)) = self.links.last_key_value() else { return };
        let others: usize = self.links.range(..last).filter_map(|(_, link)| link.window).sum();
        if peak <= others / 4
            && let Some(link) = self.links.get_mut(&last)
        {
            link.retiring = true;
            self.close_if_retired();
        }
    }

    pub(super) fn close_if_retired(&mut self) {
        let Some((&id, link)) = self.links.last_key_value() else { return };
        if link.retiring && link.is_empty() {
            self.links.remove(&id);
            self.outputs.push_back(Output::Close { link: id });
        }
    }
}
