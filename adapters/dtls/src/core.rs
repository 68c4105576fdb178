//! What all parts of a server share: settings, randomness, counters, and what waits to be fetched. Not here: state of peers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::Config;
use crate::credential::Credential;
use crate::event::{Event, Transmit};
use crate::stats::Stats;

/// Fills a slice with random bytes that nobody can guess.
pub(crate) type Random = Box<dyn FnMut(&mut [u8]) + Send>;

pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) credential: Option<Credential>,
    pub(crate) random: Random,
    pub(crate) stats: Stats,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    last_request: u64,
    /// A time, and what it is since 1970.
    pub(crate) clock: (Instant, Duration),
}

impl Core {
    pub(crate) fn new(config: Config, clock: (Instant, Duration), random: Random) -> Core {
        Core {
            config,
            credential: None,
            random,
            stats: Stats::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            last_request: 0,
            clock,
        }
    }

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }

    pub(crate) fn transmit(&mut self, peer: SocketAddr, datagram: Vec<u8>) {
        self.stats.sent += 1;
        self.transmits.push_back(Transmit { peer, payload: Bytes::from(datagram) });
    }

    /// What time it is since 1970.
    pub(crate) fn unix(&self, now: Instant) -> Duration {
        self.clock.1 + now.saturating_duration_since(self.clock.0)
    }

    /// The name of a question that was not asked before.
    pub(crate) fn request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    /// Bytes of a Connection ID of ours; 0 without.
    pub(crate) fn cid_length(&self) -> usize {
        self.config.connection_ids.map_or(0, |ids| ids.length)
    }
}
