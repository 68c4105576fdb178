//! Which messages came before, and what was answered (RFC 7252 section 4.5). Bounded in count, per peer and in bytes; the
//! oldest makes room. Not here: what to do with a duplicate.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Config;

/// What is known about a message that came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing. It is remembered under this name.
    New(u64),
    /// The id is known, with another content: the peer restarted. Remembered anew under this name.
    Reused(u64),
    /// It came before and has no answer yet.
    Running,
    /// It came before; this was the answer, if there was one.
    Answered(Option<Bytes>),
}

#[derive(Debug)]
struct Entry {
    name: u64,
    digest: u64,
    at: Instant,
    lifetime: Duration,
    answer: Option<Option<Bytes>>,
}

/// The entries of a peer, the oldest and so the smallest name first; the ids once more, to be looked through.
#[derive(Debug, Default)]
struct Log {
    mids: VecDeque<u16>,
    entries: VecDeque<Entry>,
}

impl Log {
    fn find(&self, mid: u16) -> Option<&Entry> {
        self.entries.get(self.mids.iter().position(|other| *other == mid)?)
    }

    fn position(&self, name: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&name, |entry| entry.name).ok()
    }
}

/// All entries by name, which is by age.
#[derive(Debug)]
struct Order<P> {
    /// Without a peer: removed before its time. The first has one.
    entries: VecDeque<(u64, Instant, Option<P>)>,
    living: usize,
}

/// So many removed entries are kept beside as many as there are others.
const REMOVED: usize = 64;

impl<P> Order<P> {
    fn push(&mut self, name: u64, at: Instant, peer: P) {
        self.entries.push_back((name, at, Some(peer)));
        self.living += 1;
    }

    fn remove(&mut self, name: u64) {
        let Ok(place) = self.entries.binary_search_by_key(&name, |(name, ..)| *name) else { return };
        if self.entries[place].2.take().is_some() {
            self.living -= 1;
        }
        self.tidy();
    }

    fn pop(&mut self) -> Option<(u64, P)> {
        let (name, _, peer) = self.entries.pop_front()?;
        self.living -= 1;
        self.tidy();
        Some((name, peer?))
    }

    fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|(_, at, _)| *at)
    }

    fn tidy(&mut self) {
        while self.entries.front().is_some_and(|(.., peer)| peer.is_none()) {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.living + REMOVED {
            self.entries.retain(|(.., peer)| peer.is_some());
        }
        // What a flood needed is given back after it.
        if self.entries.capacity() > 4 * (self.entries.len() + REMOVED) {
            self.entries.shrink_to(2 * (self.entries.len() + REMOVED));
        }
    }
}

#[derive(Debug)]
pub(crate) struct Dedup<P> {
    logs: HashMap<P, Log>,
    order: Order<P>,
    next: u64,
    bytes: usize,
    pub(crate) evicted: u64,
}

impl<P: Clone + Eq + Hash> Dedup<P> {
    pub(crate) fn new() -> Self {
        let order = Order { entries: VecDeque::new(), living: 0 };
        Dedup { logs: HashMap::new(), order, next: 0, bytes: 0, evicted: 0 }
    }

    /// Looks a message up, and remembers it when it is new.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        config: &Config,
        peer: &P,
        (mid, confirmable): (u16, bool),
        datagram: &[u8],
    ) -> Seen {
        let digest = digest(datagram);
        let mut old = None;
        let mut reused = false;
        if let Some(log) = self.logs.get(peer)
            && let Some(entry) = log.find(mid)
        {
            let alive = now < entry.at + entry.lifetime;
            if alive && entry.digest == digest {
                return entry.answer.clone().map_or(Seen::Running, Seen::Answered);
            }
            reused = alive;
            old = Some(entry.name);
        }
        if let Some(name) = old {
            self.remove(peer, name);
        }
        let name = self.next;
        self.next += 1;
        let times = &config.transmission;
        let lifetime = if confirmable { times.exchange_lifetime } else { times.non_lifetime };
        let log = self.logs.entry(peer.clone()).or_default();
        log.mids.push_back(mid);
        log.entries.push_back(Entry { name, digest, at: now, lifetime, answer: None });
        let surplus = log.entries.len() > config.limits.dedup_entries_per_peer;
        let oldest = log.entries.front().map(|entry| entry.name);
        self.order.push(name, now, peer.clone());
        if let Some(oldest) = oldest.filter(|_| surplus) {
            self.remove(peer, oldest);
            self.evicted += 1;
        }
        self.make_room(config);
        if reused { Seen::Reused(name) } else { Seen::New(name) }
    }

    /// Remembers the answer to a message; `None` when it has none.
    pub(crate) fn answer(&mut self, config: &Config, peer: &P, name: u64, answer: Option<Bytes>) {
        let Some(log) = self.logs.get_mut(peer) else { return };
        let Some(entry) = log.position(name).and_then(|at| log.entries.get_mut(at)) else { return };
        self.bytes -= length(entry);
        entry.answer = Some(answer);
        self.bytes += length(entry);
        self.make_room(config);
    }

    /// Forgets a message, so that its repetition is new.
    pub(crate) fn remove(&mut self, peer: &P, name: u64) {
        self.order.remove(name);
        self.remove_logged(peer, name);
    }

    fn remove_logged(&mut self, peer: &P, name: u64) {
        let Some(log) = self.logs.get_mut(peer) else { return };
        if let Some(at) = log.position(name)
            && let Some(entry) = log.entries.remove(at)
        {
            log.mids.remove(at);
            self.bytes -= length(&entry);
        }
        if log.entries.is_empty() {
            self.logs.remove(peer);
        }
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant, config: &Config) {
        while self.next_expiry(config).is_some_and(|at| at <= now) {
            self.remove_oldest();
        }
    }

    /// When there is something to forget.
    pub(crate) fn next_expiry(&self, config: &Config) -> Option<Instant> {
        Some(self.order.oldest()? + config.transmission.exchange_lifetime)
    }

    pub(crate) fn forget_peer(&mut self, peer: &P) {
        for entry in self.logs.remove(peer).unwrap_or_default().entries {
            self.order.remove(entry.name);
            self.bytes -= length(&entry);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.living
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn make_room(&mut self, config: &Config) {
        let limits = &config.limits;
        while self.order.living > limits.dedup_entries || self.bytes > limits.dedup_bytes {
            self.remove_oldest();
            self.evicted += 1;
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((name, peer)) = self.order.pop() {
            self.remove_logged(&peer, name);
        }
    }
}

fn length(entry: &Entry) -> usize {
    entry.answer.as_ref().and_then(Option::as_ref).map_or(0, Bytes::len)
}

/// A short name for a content, not secret.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_before_its_time_takes_little_room() {
        let mut order = Order { entries: VecDeque::new(), living: 0 };
        let now = Instant::now();
        order.push(0, now, "first");
        for name in 1..10_000 {
            order.push(name, now, "forgotten");
            order.remove(name);
            order.remove(name);
            assert_eq!(order.living, 1);
            assert!(order.entries.len() <= 2 + REMOVED);
        }
        assert_eq!(order.pop(), Some((0, "first")));
        assert_eq!((order.pop(), order.oldest(), order.living), (None, None, 0));
        (0..10_000).for_each(|name| order.push(name, now, "flood"));
        while order.pop().is_some() {}
        assert!(order.entries.capacity() <= 4 * REMOVED);
    }
}
