//! The handshakes under way: by address, by Connection ID, by question, by timer, and how many of each origin. Not here: what
//! they do.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::event::RequestId;
use crate::handshake::Handshake;

/// Over which time handshakes of an origin are counted.
const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Handshakes {
    by_peer: HashMap<SocketAddr, Handshake>,
    by_cid: HashMap<u64, SocketAddr>,
    requests: HashMap<RequestId, SocketAddr>,
    alarms: BTreeSet<(Instant, SocketAddr)>,
    per_origin: HashMap<IpAddr, usize>,
    /// How many each origin began since then: bounded by what may begin in that time at all.
    begun: (Instant, HashMap<IpAddr, u32>),
}

impl Handshakes {
    pub(super) fn new(now: Instant) -> Handshakes {
        Handshakes {
            by_peer: HashMap::new(),
            by_cid: HashMap::new(),
            requests: HashMap::new(),
            alarms: BTreeSet::new(),
            per_origin: HashMap::new(),
            begun: (now, HashMap::new()),
        }
    }

    /// How many handshakes the origin of that address began in this minute.
    pub(super) fn begun(&mut self, now: Instant, peer: SocketAddr) -> u32 {
        let (since, counts) = &mut self.begun;
        if now.saturating_duration_since(*since) >= MINUTE {
            *since = now;
            counts.clear();
        }
        counts.get(&origin(peer)).copied().unwrap_or(0)
    }

    /// Counts one that begins.
    pub(super) fn begin(&mut self, peer: SocketAddr) {
        *self.begun.1.entry(origin(peer)).or_default() += 1;
    }

    /// Takes a handshake out, from all tables.
    pub(super) fn take(&mut self, peer: SocketAddr) -> Option<Handshake> {
        let handshake = self.by_peer.remove(&peer)?;
        self.alarms.remove(&(handshake.alarm, peer));
        if let Some(cid) = handshake.own_cid {
            self.by_cid.remove(&cid);
        }
        if let Some(request) = handshake.request.or(handshake.answered) {
            self.requests.remove(&request);
        }
        let origin = origin(peer);
        if let Some(count) = self.per_origin.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.per_origin.remove(&origin);
            }
        }
        Some(handshake)
    }

    /// Puts it back, as it is now. There is none at its address.
    pub(super) fn put(&mut self, handshake: Handshake) {
        let peer = handshake.peer;
        self.alarms.insert((handshake.alarm, peer));
        if let Some(cid) = handshake.own_cid {
            self.by_cid.insert(cid, peer);
        }
        if let Some(request) = handshake.request.or(handshake.answered) {
            self.requests.insert(request, peer);
        }
        *self.per_origin.entry(origin(peer)).or_default() += 1;
        self.by_peer.insert(peer, handshake);
    }

    pub(super) fn get(&self, peer: SocketAddr) -> Option<&Handshake> {
        self.by_peer.get(&peer)
    }

    pub(super) fn get_mut(&mut self, peer: SocketAddr) -> Option<&mut Handshake> {
        self.by_peer.get_mut(&peer)
    }

    pub(super) fn with_cid(&self, cid: u64) -> Option<SocketAddr> {
        self.by_cid.get(&cid).copied()
    }

    /// Where the handshake is that has asked this, whether it was answered or not.
    pub(super) fn asked(&self, request: RequestId) -> Option<SocketAddr> {
        self.requests.get(&request).copied()
    }

    /// Where the handshake is that waits for an answer to this.
    pub(super) fn asking(&self, request: RequestId) -> Option<SocketAddr> {
        let waits = |peer: &SocketAddr| self.get(*peer).is_some_and(|one| one.request == Some(request));
        self.asked(request).filter(waits)
    }

    /// The first alarm.
    pub(super) fn alarm(&self) -> Option<(Instant, SocketAddr)> {
        self.alarms.first().copied()
    }

    pub(super) fn of_origin(&self, peer: SocketAddr) -> usize {
        self.per_origin.get(&origin(peer)).copied().unwrap_or(0)
    }

    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }
}

/// Whom a limit is about: an IPv4 address, or the /64 that one subscriber has of IPv6.
fn origin(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip => ip,
    }
}
