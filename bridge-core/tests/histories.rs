//! The pipeline as a whole against any history: uplinks and copies of them, links that come and go, a hub that answers late
//! or asks for a pause, a store that fails, answers late or loses its answer, crashes. What was accepted reaches the hub,
//! devices keep their order, and nothing doubles but what had no known outcome. Time stands still, tasks are polled by
//! hand. Not here: the mux by itself (`src/mux/tests.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bridge_core::dedup::DedupConfig;
use bridge_core::mux::{MuxConfig, Strategy};
use bridge_core::ports::{Clock, Dedup, HubEvents, HubRefusal, LinkId, Outbox, OutboxEntry, Token};
use bridge_core::registrar::Register;
use bridge_core::testing::{Fault, Faulty, ManualClock, MemoryStore, block_on, poll_once};
use bridge_core::{
    ExternalDevice, IdempotencyKey, IntegrationName, Kind, Message, MessageId, Timestamp, Uplink, Verdict,
};
use life::{Accepting, Life, Store};
use proptest::prelude::{Just, ProptestConfig, Strategy as Generate, any, prop, prop_oneof, proptest};

mod life;

/// One uplink of one device, however often it is sent: the device, and its counter.
type Key = (u8, u64);

/// Where in [`Life::tasks`].
const STORE: usize = 0;
const TIMER: usize = 1;
const IDS: usize = 2;

/// One sending of one uplink, not answered yet.
struct Attempt {
    key: Key,
    answer: Accepting,
    /// Accepted before, and nothing since may have made the bridge forget that.
    known: bool,
    /// The store held an answer back while this was under way: it may not have reached the mux yet.
    held: bool,
}

struct World {
    life: Life,
    config: (MuxConfig, DedupConfig),
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    fault: Fault,
    window: usize,
    up: BTreeSet<LinkId>,
    /// Published, without outcome, per link, in order.
    flying: BTreeMap<LinkId, VecDeque<(Token, Key)>>,
    /// In order of arrival.
    attempts: Vec<Attempt>,
    /// All uplinks that there are, in order; each was sent at least once.
    sent: Vec<Key>,
    /// What the hub got, in order.
    hub: Vec<Key>,
    /// Answered as accepted at least once.
    accepted: BTreeSet<Key>,
    /// Accepted, but the id was not written when a crash came.
    forgotten: BTreeSet<Key>,
    /// May be at the hub more than once: see [`World::check`].
    may_double: BTreeSet<Key>,
    /// Their place among the others is the source's doing: told to come again, or sent again after a crash.
    anywhere: BTreeSet<Key>,
    /// The hub put the first behind the second, by refusing it for now while the second was in flight.
    overtaken: BTreeSet<(Key, Key)>,
}

fn uplink((device, number): Key) -> Uplink {
    let name = format!("d{device}");
    let key = IdempotencyKey::from_texts(&[&name, &number.to_string()]);
    let mut uplink = Uplink::new(Some(ExternalDevice::new(&name)), Kind::Telemetry, key);
    uplink.content.data.insert("key".into(), vec![u64::from(device), number].into());
    uplink
}

fn id(key: Key) -> MessageId {
    MessageId::new(&IntegrationName::parse("farm").unwrap(), &uplink(key).key)
}

fn key(message: &Message) -> Key {
    let key = message.content.data["key"].as_array().unwrap();
    (u8::try_from(key[0].as_u64().unwrap()).unwrap(), key[1].as_u64().unwrap())
}

impl World {
    fn new(config: (MuxConfig, DedupConfig), window: usize) -> Self {
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let clock = Arc::new(ManualClock::default());
        Self {
            life: Life::begin(config.clone(), Register::Auto, &store, &clock),
            config,
            store,
            clock,
            fault: Fault::None,
            window,
            up: BTreeSet::new(),
            flying: BTreeMap::new(),
            attempts: Vec::new(),
            sent: Vec::new(),
            hub: Vec::new(),
            accepted: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            may_double: BTreeSet::new(),
            anywhere: BTreeSet::new(),
            overtaken: BTreeSet::new(),
        }
    }

    fn carry_out(&mut self, step: &Step) {
        match *step {
            Step::Uplink(device) => {
                let number = self.sent.iter().filter(|(other, _)| *other == device).count() as u64;
                self.sent.push((device, number + 1));
                self.send((device, number + 1));
            }
            Step::Copy(back) => {
                if let Some(key) = self.sent.iter().rev().nth(back).copied() {
                    // If the one before it got no answer, and not because it waits for one.
                    if !self.accepted.contains(&key) && self.attempts.iter().all(|other| other.key != key) {
                        self.anywhere.insert(key);
                    }
                    self.send(key);
                }
            }
            Step::Answers => self.answers(|_| true),
            Step::Store => self.poll(STORE),
            Step::Fault(fault) => self.set_fault(fault),
            Step::Pass(ms) => {
                self.clock.advance(Duration::from_millis(ms));
                self.poll(TIMER);
                self.poll(IDS);
            }
            Step::Up(link) => self.link_up(LinkId(link)),
            Step::Down(link, received) => self.link_down(LinkId(link), received),
            Step::HubUp => self.life.hub.open_links().into_iter().for_each(|link| self.link_up(link)),
            Step::HubDown(received) => {
                self.up.clone().into_iter().for_each(|link| self.link_down(link, received));
            }
            Step::Acknowledge(link) => drop(self.acknowledge(LinkId(link))),
            Step::Pause(link, nth) => self.pause(LinkId(link), nth),
            Step::Crash(received) => self.crash(received),
        }
        self.look_at_the_hub();
    }

    // --- sources ---

    fn send(&mut self, key: Key) {
        // Requests reach the mux in the order in which they came, also when some had to wait for the store before it.
        self.answers(|attempt| attempt.held);
        let known = self.accepted.contains(&key) && !self.forgotten.contains(&key);
        let answer = self.life.accept(vec![uplink(key)]);
        self.attempts.push(Attempt { key, answer, known, held: false });
        let newest = self.attempts.len();
        let mut n = 0;
        self.answers(|_| {
            n += 1;
            n == newest
        });
    }

    /// Polls those attempts; notes their verdicts.
    fn answers(&mut self, mut which: impl FnMut(&Attempt) -> bool) {
        let held = self.fault == Fault::Held;
        for mut attempt in std::mem::take(&mut self.attempts) {
            let verdict = if which(&attempt) { poll_once(&mut attempt.answer) } else { None };
            let Some(verdict) = verdict else {
                attempt.held |= held;
                self.attempts.push(attempt);
                continue;
            };
            let key = attempt.key;
            match verdict[..] {
                [Verdict::Delivered | Verdict::Stored] => {
                    assert!(!attempt.known, "{key:?} was accepted before and is taken for new");
                    self.accepted.insert(key);
                    self.forgotten.remove(&key);
                }
                [Verdict::Duplicate] => drop(self.accepted.insert(key)),
                [Verdict::Retry(_)] => drop(self.anywhere.insert(key)),
                _ => panic!("{key:?}: {verdict:?}, and nobody refused it"),
            }
        }
    }

    // --- the store ---

    fn set_fault(&mut self, fault: Fault) {
        self.fault = fault;
        self.store.set(fault);
    }

    fn outbox(&self) -> Vec<OutboxEntry> {
        block_on(self.store.inner().load(0, usize::MAX)).unwrap()
    }

    fn poll(&mut self, task: usize) {
        assert!(poll_once(&mut self.life.tasks[task]).is_none());
    }

    // --- the hub ---

    fn look_at_the_hub(&mut self) {
        let open = self.life.hub.open_links();
        for (link, token, message) in self.life.hub.take() {
            assert!(self.up.contains(&link), "published on a link that is down");
            let flying = self.flying.entry(link).or_default();
            flying.push_back((token, key(&message)));
            assert!(flying.len() <= self.window, "more than the window");
        }
        for link in self.up.clone().into_iter().filter(|link| !open.contains(link)) {
            assert!(self.flying.get(&link).is_none_or(VecDeque::is_empty), "closed with publishes in flight");
            self.up.remove(&link);
        }
    }

    fn link_up(&mut self, link: LinkId) {
        if self.life.hub.open_links().contains(&link) && self.up.insert(link) {
            self.life.delivery.link_up(link, self.window);
        }
    }

    /// The first `received` of what is in flight reached the hub; nobody will ever know.
    fn link_down(&mut self, link: LinkId, received: usize) {
        if self.up.remove(&link) {
            self.lose(link, received);
            self.life.delivery.link_down(link, "lost");
        }
    }

    fn lose(&mut self, link: LinkId, received: usize) {
        for (_, key) in self.flying.remove(&link).unwrap_or_default().into_iter().take(received) {
            self.hub.push(key);
            self.may_double.insert(key);
        }
    }

    fn acknowledge(&mut self, link: LinkId) -> bool {
        let Some((token, key)) = self.flying.get_mut(&link).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.hub.push(key);
        self.life.delivery.acknowledged(&[token]);
        true
    }

    /// The hub does not take one of them now.
    fn pause(&mut self, link: LinkId, nth: usize) {
        let flying = self.flying.entry(link).or_default();
        if let Some((token, key)) = flying.remove(nth) {
            let behind = flying.iter().skip(nth).map(|(_, other)| (key, *other));
            self.overtaken.extend(behind);
            self.life.delivery.refused(token, HubRefusal::Later("busy".into()));
        }
    }

    /// Memory is gone, the store stays.
    fn crash(&mut self, received: usize) {
        for link in std::mem::take(&mut self.up) {
            self.lose(link, received);
        }
        // They will ask again, and nobody knows how far they had come.
        for mut attempt in std::mem::take(&mut self.attempts) {
            self.may_double.insert(attempt.key);
            if let Some([Verdict::Retry(_)]) = poll_once(&mut attempt.answer).as_deref() {
                self.anywhere.insert(attempt.key);
            }
        }
        // The removal of their entry was under way: acknowledged, or told as not stored.
        let left: BTreeSet<MessageId> = self.outbox().iter().map(|entry| entry.id).collect();
        let gone = self.hub.iter().chain(&self.anywhere);
        self.may_double.extend(gone.filter(|key| left.contains(&id(**key))));
        let unwritten: Vec<Key> = self
            .accepted
            .iter()
            .chain(&self.hub)
            .filter(|key| !block_on(self.store.inner().seen(id(**key), Timestamp::EPOCH, None)).unwrap())
            .copied()
            .collect();
        self.forgotten.extend(&unwritten);
        self.may_double.extend(unwritten);
        self.set_fault(Fault::None);
        self.life = Life::begin(self.config.clone(), Register::Auto, &self.store, &self.clock);
    }

    // --- the end ---

    /// Everything works until nothing is left to do.
    fn drain(&mut self) {
        self.set_fault(Fault::None);
        for _ in 0..2000 {
            self.carry_out(&Step::HubUp);
            self.carry_out(&Step::Store);
            self.carry_out(&Step::Answers);
            let mut busy = false;
            for link in self.up.clone() {
                busy |= self.acknowledge(link);
                self.look_at_the_hub();
            }
            if !busy {
                let stats = self.life.delivery.stats();
                if self.attempts.is_empty() && (stats.waiting, stats.in_flight, stats.stored) == (0, 0, 0) {
                    return;
                }
                self.carry_out(&Step::Pass(500));
            }
        }
        panic!("does not end: {:?}", self.life.delivery.stats());
    }

    fn check(&self) {
        let mut first: BTreeMap<Key, usize> = BTreeMap::new();
        for (place, key) in self.hub.iter().enumerate() {
            if first.contains_key(key) {
                assert!(self.may_double.contains(key), "{key:?} doubled although its outcome was known");
            } else {
                first.insert(*key, place);
            }
        }
        for key in &self.accepted {
            assert!(first.contains_key(key), "{key:?} was accepted and is lost");
        }
        for (later, place) in &first {
            for (earlier, _) in first.range((later.0, 0)..*later).filter(|(_, other)| *other > place) {
                let excused = self.anywhere.contains(earlier)
                    || self.anywhere.contains(later)
                    || self.overtaken.contains(&(*earlier, *later));
                assert!(excused, "{earlier:?} came after {later:?}");
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A device's next.
    Uplink(u8),
    /// The same uplink again, counted back from the newest.
    Copy(usize),
    /// Whoever got an answer notices.
    Answers,
    /// The store goes as far as it can.
    Store,
    /// How the store behaves from now on.
    Fault(Fault),
    /// Milliseconds pass; what waits for them goes on.
    Pass(u64),
    Up(u32),
    /// So many of those in flight were received all the same.
    Down(u32, usize),
    HubUp,
    HubDown(usize),
    /// The oldest in flight.
    Acknowledge(u32),
    /// The hub asks to send the n-th in flight again later.
    Pause(u32, usize),
    Crash(usize),
}

fn step() -> impl Generate<Value = Step> {
    prop_oneof![
        14 => (0u8..3).prop_map(Step::Uplink),
        8 => (0usize..12).prop_map(Step::Copy),
        8 => Just(Step::Answers),
        10 => Just(Step::Store),
        3 => prop_oneof![
            3 => Just(Fault::None), 1 => Just(Fault::Before), 1 => Just(Fault::After), 2 => Just(Fault::Held),
        ].prop_map(Step::Fault),
        6 => (1u64..2500).prop_map(Step::Pass),
        3 => (0u32..3).prop_map(Step::Up),
        2 => ((0u32..3), (0usize..4)).prop_map(|(link, received)| Step::Down(link, received)),
        3 => Just(Step::HubUp),
        1 => (0usize..4).prop_map(Step::HubDown),
        12 => (0u32..3).prop_map(Step::Acknowledge),
        1 => ((0u32..3), (0usize..3)).prop_map(|(link, nth)| Step::Pause(link, nth)),
        1 => (0usize..3).prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_history_loses_nothing_keeps_order_and_doubles_only_the_unknown(
        steps in prop::collection::vec(step(), 1..150),
        window in 1usize..5,
        disk_first in any::<bool>(),
        drain_rate in prop::option::of(1u32..50),
        max_in_memory in prop_oneof![Just(8usize), Just(1000)],
    ) {
        let mux = MuxConfig {
            strategy: Strategy::Shared { min: 1, max: 3 },
            ack_wait: Duration::from_secs(2),
            disk_first,
            max_waiting: 20,
            max_stored: 60,
            drain_rate,
        };
        let dedup = DedupConfig { window: Duration::from_hours(2), max_in_memory };
        let mut world = World::new((mux, dedup), window);
        let begun = world.clock.now();
        steps.iter().for_each(|step| world.carry_out(step));
        world.drain();
        // What only a new life finds: entries whose append was told as failed.
        world.carry_out(&Step::Crash(0));
        world.drain();
        assert!(world.outbox().is_empty() && world.clock.now() - begun < dedup.window);
        world.check();
    }
}
