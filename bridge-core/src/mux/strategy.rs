//! How virtual device connections share physical ones. Not here: the state of links and lanes.
//!
//! Hubs that let one connection speak for many devices (plain MQTT, AWS IoT Core, ThingsBoard) get [`Strategy::Shared`].
//! A hub with one connection per device becomes a second variant: the mux asks only the three questions below.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::ports::LinkId;

/// Which links there are, and which one carries a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// All lanes share `min` to `max` links; their number follows the load.
    Shared {
        /// Opened at start; at least 1.
        min: u32,
        /// Never more than this.
        max: u32,
    },
}

/// How long a link may be under-used before it is given up.
pub(super) const SHRINK_AFTER: Duration = Duration::from_secs(60);
/// How long the mux waits between two steps of growth, so that the links of the first step can help.
pub(super) const GROW_AFTER: Duration = Duration::from_millis(250);

impl Strategy {
    /// The links to open at start.
    pub(super) fn initial(&self) -> u32 {
        match self {
            Self::Shared { min, .. } => (*min).max(1),
        }
    }

    /// How many links there should be when `open` ones cannot keep up: twice as many, within the bounds.
    pub(super) fn grown(&self, open: u32) -> u32 {
        match self {
            Self::Shared { min, max } => open.saturating_mul(2).clamp((*min).max(1), (*max).max(*min).max(1)),
        }
    }

    /// The link for a lane: the highest of the pseudo-random weights of all pairs (rendezvous hashing). It changes
    /// for few lanes when a link comes or goes, and for none otherwise.
    pub(super) fn choose(&self, lane: &str, mut up: impl Iterator<Item = LinkId>) -> Option<LinkId> {
        match self {
            Self::Shared { .. } => {
                let first = up.next()?;
                let Some(second) = up.next() else { return Some(first) };
                // Once: there may be many links.
                let mut hasher = DefaultHasher::new();
                lane.hash(&mut hasher);
                let lane = hasher.finish();
                [first, second].into_iter().chain(up).max_by_key(|link| weight(lane, *link))
            }
        }
    }
}

/// Of a lane, by its hash, and a link: the output function of SplitMix64, whose states are spaced by the golden ratio.
fn weight(lane: u64, link: LinkId) -> u64 {
    let mut mixed = lane.wrapping_add(u64::from(link.0).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_keeps_its_link_until_that_link_goes() {
        let shared = Strategy::Shared { min: 1, max: 8 };
        let links = |without: Option<u32>| (0..8).filter(move |n| Some(*n) != without).map(LinkId);
        let mut used = std::collections::BTreeSet::new();
        for n in 0..200 {
            let lane = format!("device-{n}");
            let home = shared.choose(&lane, links(None)).unwrap();
            used.insert(home);
            let gone = (home.0 + 1) % 8;
            assert_eq!(shared.choose(&lane, links(Some(gone))), Some(home));
            assert_ne!(shared.choose(&lane, links(Some(home.0))), Some(home));
        }
        assert_eq!(used.len(), 8);
        assert_eq!(shared.choose("x", std::iter::empty()), None);
    }

    #[test]
    fn growth_stays_in_bounds() {
        let shared = Strategy::Shared { min: 2, max: 5 };
        assert_eq!((shared.initial(), shared.grown(2), shared.grown(4), shared.grown(5)), (2, 4, 5, 5));
        assert_eq!(Strategy::Shared { min: 0, max: 0 }.initial(), 1);
    }
}
