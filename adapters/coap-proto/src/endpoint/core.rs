//! The sending half of the message layer (RFC 7252 sections 4.2 to 4.8): message ids, NSTART, retransmission. It knows
//! to whom a message belongs, not what it says. Not here: receiving.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dedup::Dedup;
use crate::event::{Event, SendError, Transmit};
use crate::timers::{TimerKey, Timers};
use crate::{Config, Message, Stats, Type};

/// To whom a message of ours belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Request(u64),
    Response,
    Notification(u64),
    Ping(u64),
}

/// What is due.
#[derive(Debug)]
pub(crate) enum Task<P> {
    Retransmit(P, u16),
    FreeSlot(P, u16),
    Pump(P),
    SenderIdle(P),
    Acknowledge(u64),
    GiveUpPending(u64),
    Deadline(u64),
    Stale(u64),
    DropUpload(u64),
    DropSnapshot(u64),
    Transmit(Transmit<P>),
}

/// A message to send, with its place in the order of things.
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    pub(crate) owner: Owner,
    /// Whether it counts for NSTART.
    pub(crate) counts: bool,
    pub(crate) retransmits: u32,
}

/// What is known about a peer to which messages with ids of ours go.
struct Sender {
    name: u64,
    next_mid: u16,
    /// Message ids used since this time, and in the span of EXCHANGE_LIFETIME before it.
    window: (Instant, u32, u32),
    open: usize,
    queue: VecDeque<Outgoing>,
    last: Instant,
    idle: Option<TimerKey>,
    pump: Option<TimerKey>,
}

struct Sent {
    datagram: Bytes,
    owner: Owner,
    attempt: u32,
    retransmits: u32,
    timeout: Duration,
    timer: Option<TimerKey>,
    open: bool,
}

pub(crate) struct Core<P> {
    pub(crate) config: Config,
    pub(crate) random: Box<dyn FnMut() -> u64 + Send>,
    pub(crate) timers: Timers<Task<P>>,
    pub(crate) transmits: VecDeque<Transmit<P>>,
    pub(crate) events: VecDeque<Event<P>>,
    pub(crate) stats: Stats,
    pub(crate) dedup: Dedup<P>,
    /// Messages that got their id and left since the last look.
    pub(crate) started: Vec<(Owner, u16, Type)>,
    /// Answers to multicasts that wait for their time.
    pub(crate) delayed: usize,
    senders: HashMap<P, Sender>,
    by_age: BTreeMap<u64, P>,
    sent: HashMap<(P, u16), Sent>,
    next: u64,
}

impl<P: Clone + Eq + Hash> Core<P> {
    pub(crate) fn new(config: Config, random: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Core {
            config,
            random,
            timers: Timers::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            dedup: Dedup::new(),
            started: Vec::new(),
            delayed: 0,
            senders: HashMap::new(),
            by_age: BTreeMap::new(),
            sent: HashMap::new(),
            next: 0,
        }
    }

    /// A number that was not given out before.
    pub(crate) fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn transmit(&mut self, peer: P, payload: Bytes) {
        self.stats.sent += 1;
        self.transmits.push_back(Transmit { peer, payload });
    }

    pub(crate) fn transmit_empty(&mut self, peer: P, kind: Type, mid: u16) -> Bytes {
        let datagram = Message::empty(kind, mid).encode();
        self.transmit(peer, datagram.clone());
        datagram
    }

    /// Sends a message with an id of ours as soon as it may.
    pub(crate) fn submit(&mut self, now: Instant, peer: &P, outgoing: Outgoing) -> Result<(), SendError> {
        if let Some(framing) = self.config.stream {
            let Outgoing { message, owner, .. } = outgoing;
            self.started.push((owner, 0, Type::NonConfirmable));
            self.transmit(peer.clone(), framing.encode(&message));
            return Ok(());
        }
        let limit = self.config.limits.queue_per_peer;
        if self.sender(now, peer).is_none_or(|sender| sender.queue.len() >= limit) {
            return Err(SendError::Busy);
        }
        if let Some(sender) = self.senders.get_mut(peer) {
            sender.queue.push_back(outgoing);
        }
        self.pump(now, peer);
        Ok(())
    }

    /// To whom the message with that id belongs, while it waits for an acknowledgement or answer.
    pub(crate) fn owner(&self, peer: &P, mid: u16) -> Option<Owner> {
        self.sent.get(&(peer.clone(), mid)).map(|sent| sent.owner)
    }

    /// The message with that id waits no longer.
    pub(crate) fn resolve(&mut self, now: Instant, peer: &P, mid: u16) {
        let Some(sent) = self.sent.remove(&(peer.clone(), mid)) else { return };
        self.timers.cancel(sent.timer);
        if sent.open {
            self.close(now, peer);
        }
    }

    /// Takes back what waits in the queue of that peer for that owner.
    pub(crate) fn withdraw(&mut self, peer: &P, owner: Owner) {
        if let Some(sender) = self.senders.get_mut(peer) {
            sender.queue.retain(|queued| queued.owner != owner);
        }
    }

    /// Sends a message once more, or says that it was the last time.
    pub(crate) fn retransmit(&mut self, now: Instant, peer: P, mid: u16) -> Result<(), Owner> {
        let key = (peer, mid);
        let Some(sent) = self.sent.get_mut(&key) else { return Ok(()) };
        sent.timer = None;
        let owner = sent.owner;
        if sent.attempt >= sent.retransmits {
            self.stats.timed_out += 1;
            self.resolve(now, &key.0, mid);
            return Err(owner);
        }
        sent.attempt += 1;
        sent.timeout *= 2;
        let datagram = sent.datagram.clone();
        let task = Task::Retransmit(key.0.clone(), mid);
        sent.timer = Some(self.timers.schedule(now + sent.timeout, task));
        self.stats.retransmitted += 1;
        self.transmit(key.0, datagram);
        Ok(())
    }

    /// Puts a newer message in the place of one that is to be sent again: a new id, the same count of attempts (RFC 7641
    /// section 4.5.2). The old one stays when there is no id left, or no attempt.
    pub(crate) fn replace(&mut self, now: Instant, peer: &P, mid: u16, mut message: Message) -> Option<u16> {
        let old = self.sent.get(&(peer.clone(), mid)).filter(|sent| sent.attempt < sent.retransmits)?;
        let (attempt, timeout, open, owner, retransmits) =
            (old.attempt, old.timeout, old.open, old.owner, old.retransmits);
        let fresh = self.allocate(now, peer)?;
        message.mid = fresh;
        self.sent.remove(&(peer.clone(), mid));
        let datagram = message.encode();
        let sent = Sent { datagram, owner, attempt, retransmits, timeout, timer: None, open };
        self.sent.insert((peer.clone(), fresh), sent);
        Some(fresh)
    }

    /// Lets the next message of a peer's queue go, when it may.
    pub(crate) fn pump(&mut self, now: Instant, peer: &P) {
        loop {
            let nstart = self.config.transmission.nstart.max(1);
            let Some(sender) = self.senders.get_mut(peer) else { return };
            let Some(at) = sender.queue.iter().position(|next| !next.counts || sender.open < nstart) else {
                return;
            };
            let Some(mid) = self.allocate(now, peer) else { return };
            let Some(sender) = self.senders.get_mut(peer) else { return };
            let Some(mut outgoing) = sender.queue.remove(at) else { return };
            sender.open += usize::from(outgoing.counts);
            outgoing.message.mid = mid;
            self.launch(now, peer, outgoing);
        }
    }

    /// A timer says that a message without an answer no longer takes a place.
    pub(crate) fn free_slot(&mut self, now: Instant, peer: &P, mid: u16) {
        if let Some(sent) = self.sent.get_mut(&(peer.clone(), mid)).filter(|sent| sent.open) {
            sent.open = false;
            sent.timer = None;
            self.close(now, peer);
        }
    }

    /// A timer says that a peer's message ids may be free again.
    pub(crate) fn wake(&mut self, now: Instant, peer: &P) {
        if let Some(sender) = self.senders.get_mut(peer) {
            sender.pump = None;
            self.pump(now, peer);
        }
    }

    /// A timer says that a peer may be idle.
    pub(crate) fn check_idle(&mut self, now: Instant, peer: P) {
        let lifetime = self.config.transmission.exchange_lifetime;
        let Some(sender) = self.senders.get_mut(&peer) else { return };
        let idle = sender.open == 0 && sender.queue.is_empty();
        if idle && sender.last + lifetime <= now {
            sender.idle = None;
            self.remove_sender(&peer);
        } else {
            let at = if idle { sender.last + lifetime } else { now + lifetime };
            sender.idle = Some(self.timers.schedule(at, Task::SenderIdle(peer)));
        }
    }

    /// Forgets what is on its way to a peer, and says to whom it belonged. With `reuse_ids` the message ids are forgotten
    /// too: only when the peer is another one than before.
    pub(crate) fn abandon(&mut self, peer: &P, reuse_ids: bool) -> Vec<Owner> {
        let mut mids: Vec<u16> =
            self.sent.keys().filter(|(other, _)| other == peer).map(|(_, mid)| *mid).collect();
        // The order of a map is another in every run.
        mids.sort_unstable();
        let mut owners = Vec::new();
        for mid in mids {
            if let Some(sent) = self.sent.remove(&(peer.clone(), mid)) {
                self.timers.cancel(sent.timer);
                owners.push(sent.owner);
            }
        }
        if let Some(sender) = self.senders.get_mut(peer) {
            owners.extend(sender.queue.drain(..).map(|queued| queued.owner));
            sender.open = 0;
        }
        if reuse_ids {
            self.remove_sender(peer);
        }
        owners
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn queued(&self) -> usize {
        self.senders.values().map(|sender| sender.queue.len()).sum()
    }

    pub(crate) fn senders(&self) -> usize {
        self.senders.len()
    }

    fn launch(&mut self, now: Instant, peer: &P, outgoing: Outgoing) {
        let Outgoing { message, owner, counts, retransmits } = outgoing;
        let (mid, kind) = (message.mid, message.kind);
        let datagram = message.encode();
        self.started.push((owner, mid, kind));
        let timeout = self.first_timeout();
        let timer = match kind {
            Type::Confirmable => {
                Some(self.timers.schedule(now + timeout, Task::Retransmit(peer.clone(), mid)))
            }
            _ if counts => {
                let rate = self.config.transmission.probing_rate.max(1);
                let pause = Duration::from_secs(datagram.len() as u64) / rate;
                Some(self.timers.schedule(now + pause, Task::FreeSlot(peer.clone(), mid)))
            }
            _ => None,
        };
        if timer.is_some() {
            let datagram = datagram.clone();
            let sent = Sent { datagram, owner, attempt: 0, retransmits, timeout, timer, open: counts };
            self.sent.insert((peer.clone(), mid), sent);
        }
        self.transmit(peer.clone(), datagram);
    }

    /// Between ACK_TIMEOUT and ACK_TIMEOUT * ACK_RANDOM_FACTOR.
    fn first_timeout(&mut self) -> Duration {
        let times = &self.config.transmission;
        let (base, factor) = (times.ack_timeout, times.ack_random_factor.max(1.0));
        // 53 random bits make a number from 0 up to 1.
        let part = ((self.random)() >> 11) as f64 / (1_u64 << 53) as f64;
        base.mul_f64(1.0 + part * (factor - 1.0))
    }

    fn close(&mut self, now: Instant, peer: &P) {
        if let Some(sender) = self.senders.get_mut(peer) {
            sender.open = sender.open.saturating_sub(1);
            self.pump(now, peer);
        }
    }

    /// The next message id of that peer; `None`, and a timer, when all were used within EXCHANGE_LIFETIME.
    fn allocate(&mut self, now: Instant, peer: &P) -> Option<u16> {
        let lifetime = self.config.transmission.exchange_lifetime;
        let sender = self.senders.get_mut(peer)?;
        let (since, count, before) = &mut sender.window;
        if now >= *since + 2 * lifetime {
            (*since, *count, *before) = (now, 0, 0);
        } else if now >= *since + lifetime {
            (*since, *count, *before) = (*since + lifetime, 0, *count);
        }
        if *count + *before > u32::from(u16::MAX) {
            if sender.pump.is_none() {
                let task = Task::Pump(peer.clone());
                sender.pump = Some(self.timers.schedule(*since + lifetime, task));
            }
            return None;
        }
        *count += 1;
        sender.last = now;
        let mid = sender.next_mid;
        sender.next_mid = mid.wrapping_add(1);
        Some(mid)
    }

    fn sender(&mut self, now: Instant, peer: &P) -> Option<&mut Sender> {
        if !self.senders.contains_key(peer) {
            if self.senders.len() >= self.config.limits.peers && !self.evict_sender() {
                return None;
            }
            let name = self.name();
            let at = now + self.config.transmission.exchange_lifetime;
            let sender = Sender {
                name,
                next_mid: (self.random)() as u16,
                window: (now, 0, 0),
                open: 0,
                queue: VecDeque::new(),
                last: now,
                idle: Some(self.timers.schedule(at, Task::SenderIdle(peer.clone()))),
                pump: None,
            };
            self.by_age.insert(name, peer.clone());
            self.senders.insert(peer.clone(), sender);
        }
        self.senders.get_mut(peer)
    }

    /// Forgets one of the oldest peers with which nothing is open.
    fn evict_sender(&mut self) -> bool {
        let idle = self.by_age.values().take(64).find(|peer| {
            self.senders.get(*peer).is_some_and(|sender| sender.open == 0 && sender.queue.is_empty())
        });
        let Some(peer) = idle.cloned() else { return false };
        self.remove_sender(&peer);
        true
    }

    fn remove_sender(&mut self, peer: &P) {
        if let Some(sender) = self.senders.remove(peer) {
            self.by_age.remove(&sender.name);
            self.timers.cancel(sender.idle);
            self.timers.cancel(sender.pump);
        }
    }
}
