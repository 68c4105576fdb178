//! Bodies that leave in blocks (RFC 7959 section 2.4): what the next block is cut from, so that a body that changes does
//! not tear and a handler runs once. Bounded in count, per peer, in bytes and time; the oldest makes room.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

use crate::timers::{TimerKey, Timers};
use crate::{Config, Response};

use super::core::Task;
use super::uploads::Key;

/// What a response answers, beside method and options: names of the request's body and of its Request-Tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) body: Option<u64>,
    pub(crate) tags: Option<u64>,
}

impl Question {
    /// Whether a request for a later block is about this one: what it leaves out, it does not deny.
    fn takes(self, later: Question) -> bool {
        let same = |own: Option<u64>, other: Option<u64>| other.is_none() || own == other;
        same(self.body, later.body) && same(self.tags, later.tags)
    }
}

#[derive(Debug)]
struct Snapshot<P> {
    key: Key<P>,
    question: Question,
    response: Response,
    timer: Option<TimerKey>,
}

#[derive(Debug)]
pub(crate) struct Snapshots<P> {
    by_key: HashMap<Key<P>, u64>,
    snapshots: HashMap<u64, Snapshot<P>>,
    by_age: BTreeSet<u64>,
    by_peer: HashMap<P, BTreeSet<u64>>,
    bytes: usize,
    next: u64,
}

impl<P: Clone + Eq + Hash> Snapshots<P> {
    pub(crate) fn new() -> Self {
        Snapshots {
            by_key: HashMap::new(),
            snapshots: HashMap::new(),
            by_age: BTreeSet::new(),
            by_peer: HashMap::new(),
            bytes: 0,
            next: 0,
        }
    }

    /// Keeps the answer to a request. One that is too long to be kept is not: its next block asks the application.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        (config, timers): (&Config, &mut Timers<Task<P>>),
        key: &Key<P>,
        question: Question,
        response: &Response,
    ) {
        self.forget(timers, key);
        let limits = &config.limits;
        if response.body.len() > limits.snapshot_bytes {
            return;
        }
        while let Some(own) = self.by_peer.get(&key.0).filter(|own| own.len() >= limits.snapshots_per_peer) {
            let Some(&oldest) = own.first() else { break };
            self.remove(timers, oldest);
        }
        while self.snapshots.len() >= limits.snapshots
            || self.bytes + response.body.len() > limits.snapshot_bytes
        {
            let Some(&oldest) = self.by_age.first() else { break };
            self.remove(timers, oldest);
        }
        self.next += 1;
        let name = self.next;
        let timer = Some(timers.schedule(now + config.blockwise.lifetime, Task::DropSnapshot(name)));
        self.bytes += response.body.len();
        self.by_key.insert(key.clone(), name);
        self.by_age.insert(name);
        self.by_peer.entry(key.0.clone()).or_default().insert(name);
        let snapshot = Snapshot { key: key.clone(), question, response: response.clone(), timer };
        self.snapshots.insert(name, snapshot);
    }

    /// The answer that was kept for a request.
    pub(crate) fn get(
        &mut self,
        now: Instant,
        (config, timers): (&Config, &mut Timers<Task<P>>),
        key: &Key<P>,
        question: Question,
    ) -> Option<Response> {
        let name = *self.by_key.get(key)?;
        let snapshot = self.snapshots.get_mut(&name)?;
        if !snapshot.question.takes(question) {
            return None;
        }
        timers.cancel(snapshot.timer);
        snapshot.timer = Some(timers.schedule(now + config.blockwise.lifetime, Task::DropSnapshot(name)));
        Some(snapshot.response.clone())
    }

    pub(crate) fn forget(&mut self, timers: &mut Timers<Task<P>>, key: &Key<P>) {
        if let Some(&name) = self.by_key.get(key) {
            self.remove(timers, name);
        }
    }

    pub(crate) fn remove(&mut self, timers: &mut Timers<Task<P>>, name: u64) {
        let Some(snapshot) = self.snapshots.remove(&name) else { return };
        timers.cancel(snapshot.timer);
        self.bytes -= snapshot.response.body.len();
        self.by_key.remove(&snapshot.key);
        self.by_age.remove(&name);
        let peer = &snapshot.key.0;
        if let Some(own) = self.by_peer.get_mut(peer) {
            own.remove(&name);
            if own.is_empty() {
                self.by_peer.remove(peer);
            }
        }
    }

    pub(crate) fn forget_peer(&mut self, timers: &mut Timers<Task<P>>, peer: &P) {
        for name in self.by_peer.get(peer).cloned().unwrap_or_default() {
            self.remove(timers, name);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.snapshots.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
