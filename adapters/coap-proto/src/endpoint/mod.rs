//! The endpoint: one socket's worth of CoAP, both roles. Its parts are the submodules; here is what the outside sees.

mod client;
mod core;
mod observers;
mod receive;
mod reply;
mod server;
mod snapshots;
mod transfer;
mod uploads;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use crate::echo::Echo;
use crate::event::{Ended, Event, Failure, Handle, Transmit};
use crate::rate::Buckets;
use crate::stream::StreamLimits;
use crate::{Config, Message, Stats};

use self::client::Client;
use self::core::{Core, Owner, Task};
use self::observers::Observers;
use self::receive::Arrival;
use self::server::Server;

/// A CoAP endpoint without I/O.
///
/// - Input: [`handle_datagram`](Self::handle_datagram) and its kin, [`handle_timeout`](Self::handle_timeout).
/// - Output: [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event),
///   [`next_timeout`](Self::next_timeout). Drain the first two after every call; they are bounded by what is handed in.
/// - What the application does: [`respond`](Self::respond), [`notify`](Self::notify), [`request`](Self::request) and
///   others.
///
/// A peer is whatever the caller tells peers apart by: an address, or a DTLS session, in which case a new address of the
/// same session is nothing that this endpoint sees. Times must not run backwards.
pub struct Endpoint<P> {
    core: Core<P>,
    server: Server<P>,
    client: Client<P>,
    observers: Observers<P>,
    echo: Echo<P>,
    rates: Buckets<P>,
    /// What peers behind streams have said that they take.
    streams: HashMap<P, StreamLimits>,
    start: Instant,
}

/// How much an endpoint holds: what its limits are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Message ids remembered.
    pub dedup_entries: usize,
    /// Bytes of answers remembered.
    pub dedup_bytes: usize,
    /// Peers with message ids of ours.
    pub peers: usize,
    /// Messages that wait for an acknowledgement or answer.
    pub in_flight: usize,
    /// Messages that wait for their turn.
    pub queued: usize,
    /// Requests that wait for the application.
    pub pending: usize,
    /// Requests of ours, observations included.
    pub requests: usize,
    /// Tokens of ours.
    pub tokens: usize,
    /// Bodies that arrive in blocks.
    pub uploads: usize,
    /// Their bytes.
    pub upload_bytes: usize,
    /// Bodies that leave in blocks.
    pub snapshots: usize,
    /// Their bytes.
    pub snapshot_bytes: usize,
    /// Observers of ours.
    pub observers: usize,
    /// Verified addresses.
    pub verified: usize,
    /// Peers whose rate is remembered.
    pub rates: usize,
    /// Answers to multicasts that wait for their time.
    pub delayed: usize,
    /// Things that are due at some time.
    pub timers: usize,
}

impl<P: Clone + Eq + Hash> Endpoint<P> {
    /// An endpoint. `random` must not be guessable where anybody can send datagrams: message ids, tokens and Echo values
    /// come from it.
    pub fn new(config: Config, now: Instant, random: impl FnMut() -> u64 + Send + 'static) -> Self {
        let mut core = Core::new(config, Box::new(random));
        let echo = Echo::new(now, &mut core.random);
        Endpoint {
            core,
            server: Server::new(),
            client: Client::new(),
            observers: Observers::new(),
            echo,
            rates: Buckets::new(),
            streams: HashMap::new(),
            start: now,
        }
    }

    /// Takes a datagram of that peer. Whatever it holds, it is answered as the RFCs say, or counted and dropped.
    pub fn handle_datagram(&mut self, now: Instant, peer: P, bytes: &[u8]) {
        self.receive(now, peer, bytes, Arrival::Whole);
        self.settle(now);
    }

    /// Takes the begin of a datagram that was longer than the buffer: a request is answered with 4.13, a response refused.
    pub fn handle_truncated(&mut self, now: Instant, peer: P, bytes: &[u8]) {
        self.receive(now, peer, bytes, Arrival::Truncated);
        self.settle(now);
    }

    /// Takes a datagram that was sent to a group: only successes are answered, later (RFC 7252 section 8).
    pub fn handle_multicast(&mut self, now: Instant, peer: P, bytes: &[u8]) {
        self.receive(now, peer, bytes, Arrival::Multicast);
        self.settle(now);
    }

    /// Takes a message that came over a stream of that peer, when this endpoint is one for [streams](Config::stream).
    pub fn handle_message(&mut self, now: Instant, peer: P, message: Message) {
        self.receive_streamed(now, peer, message);
        self.settle(now);
    }

    /// What that peer takes; 1152 bytes and no BERT when it has not said so (RFC 8323 section 5.3). Forget the peer when its stream
    /// ends.
    pub fn set_stream_limits(&mut self, peer: P, limits: StreamLimits) {
        self.streams.insert(peer, limits);
    }

    /// Whether requests of that peer wait for their answers.
    pub fn has_pending(&self, peer: &P) -> bool {
        self.server.has_pending(peer)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.core.dedup.expire(now, &self.core.config);
        while let Some(task) = self.core.timers.pop(now) {
            self.run(now, task);
            self.settle(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let dedup = self.core.dedup.next_expiry(&self.core.config);
        self.core.timers.next().into_iter().chain(dedup).min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit<P>> {
        self.core.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        self.core.events.pop_front()
    }

    /// The network says that nobody is at that peer's address (ICMP): everything of ours that waits for it fails at once.
    pub fn handle_unreachable(&mut self, now: Instant, peer: &P) {
        for owner in self.core.abandon(peer, false) {
            self.on_failed(now, peer, owner, (Failure::Unreachable, Ended::Unreachable));
        }
        self.fail_peer(now, peer, Failure::Unreachable);
        self.settle(now);
    }

    /// The peer is another one from now on, such as a new DTLS session of the same name: nothing that it began goes on.
    pub fn forget_peer(&mut self, now: Instant, peer: &P) {
        self.core.abandon(peer, true);
        self.fail_peer(now, peer, Failure::Unreachable);
        self.end_observations(now, peer, Ended::Replaced);
        self.forget_pending(peer);
        let timers = &mut self.core.timers;
        self.server.uploads.forget_peer(timers, peer);
        self.server.snapshots.forget_peer(timers, peer);
        self.core.dedup.forget_peer(peer);
        self.echo.forget_peer(peer);
        self.rates.forget_peer(peer);
        self.streams.remove(peer);
        self.settle(now);
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        let uploads = self.server.uploads.lost;
        let mut stats = self.core.stats;
        stats.transfers_lost += uploads;
        stats.dedup_evicted = self.core.dedup.evicted;
        stats
    }

    /// What is held. It walks over the peers: for tests and for metrics now and then.
    pub fn held(&self) -> Held {
        Held {
            dedup_entries: self.core.dedup.len(),
            dedup_bytes: self.core.dedup.bytes(),
            peers: self.core.senders(),
            in_flight: self.core.in_flight(),
            queued: self.core.queued(),
            pending: self.server.pending(),
            requests: self.client.len(),
            tokens: self.client.tokens(),
            uploads: self.server.uploads.len(),
            upload_bytes: self.server.uploads.bytes(),
            snapshots: self.server.snapshots.len(),
            snapshot_bytes: self.server.snapshots.bytes(),
            observers: self.observers.len(),
            verified: self.echo.len(),
            rates: self.rates.len(),
            delayed: self.core.delayed,
            timers: self.core.timers.len(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    fn run(&mut self, now: Instant, task: Task<P>) {
        match task {
            Task::Retransmit(peer, mid) => self.on_retransmit(now, &peer, mid),
            Task::FreeSlot(peer, mid) => self.core.free_slot(now, &peer, mid),
            Task::Pump(peer) => self.core.wake(now, &peer),
            Task::SenderIdle(peer) => self.core.check_idle(now, peer),
            Task::Acknowledge(name) => self.acknowledge_pending(name, None),
            Task::GiveUpPending(name) => self.give_up_pending(name),
            Task::Deadline(name) => {
                self.core.stats.timed_out += 1;
                self.fail_leg(now, name, Failure::TimedOut);
            }
            Task::Stale(name) => self.on_stale(name),
            Task::DropUpload(name) => self.server.uploads.drop_upload(&mut self.core.timers, name),
            Task::DropSnapshot(name) => self.server.snapshots.remove(&mut self.core.timers, name),
            Task::Transmit(transmit) => {
                self.core.delayed -= 1;
                self.core.transmit(transmit.peer, transmit.payload);
            }
        }
    }

    fn on_retransmit(&mut self, now: Instant, peer: &P, mut mid: u16) {
        if let Some(Owner::Notification(name)) = self.core.owner(peer, mid) {
            mid = self.refresh_notification(now, name, mid).unwrap_or(mid);
        }
        if let Err(owner) = self.core.retransmit(now, peer.clone(), mid) {
            self.on_failed(now, peer, owner, (Failure::TimedOut, Ended::TimedOut));
        }
    }

    /// A message of ours came to nothing.
    fn on_failed(&mut self, now: Instant, peer: &P, owner: Owner, (failure, ended): (Failure, Ended)) {
        match owner {
            Owner::Request(name) => self.fail_leg(now, name, failure),
            Owner::Notification(name) => self.end(now, name, ended),
            Owner::Ping(name) => {
                let event = Event::Failed { handle: Handle(name), peer: peer.clone(), failure };
                self.core.events.push_back(event);
            }
            Owner::Response => {}
        }
    }

    /// Tells the parts which of their messages have left.
    fn settle(&mut self, now: Instant) {
        for (owner, mid, kind) in std::mem::take(&mut self.core.started) {
            match owner {
                Owner::Request(name) => self.on_request_sent(now, name, mid),
                Owner::Notification(name) => self.on_notification_sent(now, name, mid, kind),
                Owner::Ping(_) | Owner::Response => {}
            }
        }
    }
}
