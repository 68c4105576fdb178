//! Which messages came before, and what was answered (RFC 7252 section 4.5). Bounded in count, per peer and in bytes; the
//! oldest makes room. Not here: what to do with a duplicate.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    at: Instant,
    lifetime: Duration,
    digest: u64,
    answer: Option<Option<Bytes>>,
}

#[derive(Debug)]
pub(crate) struct Dedup<P> {
    entries: HashMap<(P, u16), Entry>,
    /// All entries by age.
    order: BTreeMap<u64, (P, u16)>,
    /// The entries of a peer by age.
    peers: HashMap<P, BTreeSet<(u64, u16)>>,
    next: u64,
    bytes: usize,
    pub(crate) evicted: u64,
}

impl<P: Clone + Eq + Hash> Dedup<P> {
    pub(crate) fn new() -> Self {
        Dedup {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            peers: HashMap::new(),
            next: 0,
            bytes: 0,
            evicted: 0,
        }
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
        let mut reused = false;
        let key = (peer.clone(), mid);
        if let Some(entry) = self.entries.get(&key) {
            if now < entry.at + entry.lifetime {
                if entry.digest == digest {
                    return entry.answer.clone().map_or(Seen::Running, Seen::Answered);
                }
                reused = true;
            }
            let name = entry.name;
            self.remove(name);
        }
        let name = self.next;
        self.next += 1;
        let times = &config.transmission;
        let lifetime = if confirmable { times.exchange_lifetime } else { times.non_lifetime };
        self.entries.insert(key.clone(), Entry { name, at: now, lifetime, digest, answer: None });
        self.order.insert(name, key);
        self.peers.entry(peer.clone()).or_default().insert((name, mid));
        self.make_room(config, peer);
        if reused { Seen::Reused(name) } else { Seen::New(name) }
    }

    /// Remembers the answer to a message; `None` when it has none.
    pub(crate) fn answer(&mut self, config: &Config, name: u64, answer: Option<Bytes>) {
        let Some(key) = self.order.get(&name) else { return };
        let peer = key.0.clone();
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes -= length(entry);
            entry.answer = Some(answer);
            self.bytes += length(entry);
        }
        self.make_room(config, &peer);
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant, config: &Config) {
        while self.next_expiry(config).is_some_and(|at| at <= now) {
            let Some((&name, _)) = self.order.first_key_value() else { return };
            self.remove(name);
        }
    }

    /// When there is something to forget.
    pub(crate) fn next_expiry(&self, config: &Config) -> Option<Instant> {
        let (_, key) = self.order.first_key_value()?;
        Some(self.entries.get(key)?.at + config.transmission.exchange_lifetime)
    }

    pub(crate) fn forget_peer(&mut self, peer: &P) {
        while let Some(&(name, _)) = self.peers.get(peer).and_then(BTreeSet::first) {
            self.remove(name);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn make_room(&mut self, config: &Config, peer: &P) {
        let limits = &config.limits;
        while let Some(own) = self.peers.get(peer).filter(|own| own.len() > limits.dedup_entries_per_peer) {
            let Some(&(name, _)) = own.first() else { return };
            self.remove(name);
            self.evicted += 1;
        }
        while self.entries.len() > limits.dedup_entries || self.bytes > limits.dedup_bytes {
            let Some((&name, _)) = self.order.first_key_value() else { return };
            self.remove(name);
            self.evicted += 1;
        }
    }

    /// Forgets a message, so that its repetition is new.
    pub(crate) fn remove(&mut self, name: u64) {
        let Some(key) = self.order.remove(&name) else { return };
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= length(&entry);
        }
        let (peer, mid) = key;
        if let Some(own) = self.peers.get_mut(&peer) {
            own.remove(&(name, mid));
            if own.is_empty() {
                self.peers.remove(&peer);
            }
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
