//! Sessions that can be resumed: secrets by session id (RFC 5246 section 7.3). Only those with an extended master secret, as
//! without it one session can be passed off as another (RFC 7627 section 5.3). Not here: the short handshake.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::event::Identity;
use crate::prf::Master;
use crate::suite::CipherSuite;

/// What resumes a session.
#[derive(Clone)]
pub(crate) struct Resumable {
    pub(crate) master: Master,
    pub(crate) suite: CipherSuite,
    pub(crate) identity: Identity,
    pub(crate) since: Instant,
}

/// All of them, bounded in number and time.
#[derive(Default)]
pub(crate) struct Resumables {
    by_id: HashMap<[u8; 32], Resumable>,
    /// Oldest first; may name some that are gone.
    order: VecDeque<[u8; 32]>,
}

impl Resumables {
    pub(crate) fn insert(&mut self, id: [u8; 32], resumable: Resumable, limit: usize) {
        if self.by_id.insert(id, resumable).is_none() {
            self.order.push_back(id);
        }
        while self.by_id.len() > limit || self.order.len() > 2 * limit {
            let Some(oldest) = self.order.pop_front() else { return };
            self.by_id.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: &[u8], now: Instant, life: Duration) -> Option<&Resumable> {
        let id: &[u8; 32] = id.try_into().ok()?;
        self.by_id.get(id).filter(|resumable| now.saturating_duration_since(resumable.since) < life)
    }

    pub(crate) fn remove(&mut self, id: &[u8]) {
        if let Ok(id) = <&[u8; 32]>::try_from(id) {
            self.by_id.remove(id);
        }
    }

    pub(crate) fn forget(&mut self, identity: &Identity) {
        self.by_id.retain(|_, resumable| resumable.identity != *identity);
    }

    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8; 32], &Resumable)> {
        self.order.iter().filter_map(|id| Some((id, self.by_id.get(id)?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
