//! The mux against a model: any sequence of submissions, acknowledgements, refusals, link losses, slow or failing
//! stores and restarts keeps the order of every lane, loses nothing that was answered, and doubles only what was in
//! flight without an outcome.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generate;

use super::*;
use crate::id::{DeviceId, IdempotencyKey, IntegrationName, MessageId};
use crate::message::{Content, Kind};
use crate::time::Timestamp;

fn message(device: u8, number: u64) -> Arc<Message> {
    let integration = IntegrationName::parse("test").unwrap();
    let mut content = Content::default();
    content.data.insert("n".into(), number.into());
    Arc::new(Message {
        id: MessageId::new(&integration, &IdempotencyKey::from_texts(&[&number.to_string()])),
        device: DeviceId::parse(&format!("d{device}")).ok(),
        source: "test".into(),
        integration,
        kind: Kind::Telemetry,
        time: None,
        received_at: Timestamp::from_seconds(0).unwrap(),
        superseded: false,
        replayed: false,
        corrects: None,
        reply: None,
        content,
    })
}

fn number(message: &Message) -> u64 {
    message.content.data["n"].as_u64().unwrap()
}

fn config() -> MuxConfig {
    MuxConfig {
        strategy: Strategy::Shared { min: 2, max: 4 },
        ack_wait: Duration::from_secs(2),
        disk_first: false,
        max_waiting: 1000,
        max_stored: 1000,
        drain_rate: None,
    }
}

/// The world around a mux: two queues of store commands and link states, a disk, and what the hub got.
struct World {
    mux: Mux,
    config: MuxConfig,
    now: Instant,
    disk: BTreeMap<Seq, Arc<Message>>,
    last_seq: Seq,
    /// Store commands not yet carried out, in order.
    store: VecDeque<Output>,
    /// Published, without outcome, per link, in order.
    flying: BTreeMap<LinkId, VecDeque<(Token, Arc<Message>)>>,
    up: BTreeSet<LinkId>,
    open: BTreeSet<LinkId>,
    hub: Vec<Arc<Message>>,
    answers: BTreeMap<Token, Outcome>,
    sent: BTreeMap<Token, Arc<Message>>,
    next: u64,
    window: usize,
    buried: Vec<u64>,
    unsettled: BTreeSet<u64>,
    late: BTreeSet<MessageId>,
    /// Refused by the hub. After a crash before their burial the hub is asked once more, and may say yes.
    refused: BTreeSet<u64>,
    /// Appends that failed: they are taken back, whether they are there or not.
    failed: BTreeSet<Seq>,
}

impl World {
    fn new(config: MuxConfig) -> Self {
        let now = Instant::now();
        let mut world = Self {
            mux: Mux::new(config.clone(), vec![], 0, now),
            config,
            now,
            disk: BTreeMap::new(),
            last_seq: 0,
            store: VecDeque::new(),
            flying: BTreeMap::new(),
            up: BTreeSet::new(),
            open: BTreeSet::new(),
            hub: vec![],
            answers: BTreeMap::new(),
            sent: BTreeMap::new(),
            next: 0,
            window: 3,
            buried: vec![],
            unsettled: BTreeSet::new(),
            late: BTreeSet::new(),
            refused: BTreeSet::new(),
            failed: BTreeSet::new(),
        };
        world.drive();
        world
    }

    fn drive(&mut self) {
        while let Some(output) = self.mux.poll_output() {
            match output {
                Output::Open { link } => drop(self.open.insert(link)),
                Output::Close { link } => {
                    assert!(
                        self.flying.get(&link).is_none_or(VecDeque::is_empty),
                        "closed with publishes in flight"
                    );
                    self.open.remove(&link);
                    self.up.remove(&link);
                }
                Output::Publish { link, token, message } => {
                    assert!(self.up.contains(&link), "published on a link that is down");
                    let flying = self.flying.entry(link).or_default();
                    flying.push_back((token, message));
                    assert!(flying.len() <= self.window, "more than the window");
                }
                Output::Answer { token, outcome } => {
                    assert!(self.answers.insert(token, outcome).is_none(), "answered twice");
                }
                Output::LateDelivery(id) => drop(self.late.insert(id)),
                store => self.store.push_back(store),
            }
        }
    }

    fn submit(&mut self, device: u8) -> Token {
        self.next += 1;
        let message = message(device, self.next);
        let token = self.mux.submit(message.clone(), self.now);
        self.sent.insert(token, message);
        self.drive();
        token
    }

    /// Carries out one store command.
    fn store_step(&mut self, ok: bool) -> bool {
        let Some(command) = self.store.pop_front() else { return false };
        match command {
            Output::Append { seq, message, .. } => {
                assert!(seq > self.last_seq, "seq used twice");
                self.last_seq = seq;
                if ok {
                    self.disk.insert(seq, message);
                } else {
                    self.failed.insert(seq);
                }
                self.mux.handle_appended(seq, ok, self.now);
            }
            Output::Remove { seq } => {
                let was_there = self.disk.remove(&seq).is_some();
                assert!(was_there || self.failed.remove(&seq), "removed what is not there");
            }
            Output::Bury { seq, message, .. } => {
                self.buried.push(number(&message));
                self.disk.remove(&seq);
            }
            Output::Load { after, limit } => {
                let entries = self.disk.range(after + 1..).take(limit);
                let entries = entries.map(|(seq, m)| (*seq, m.lane(), m.clone())).collect();
                let retry = (!ok).then(|| self.now + Duration::from_secs(1));
                self.mux.handle_loaded(if ok { entries } else { vec![] }, retry, self.now);
            }
            other => panic!("not a store command: {other:?}"),
        }
        self.drive();
        true
    }

    fn link_up(&mut self, link: LinkId) {
        if self.open.contains(&link) && self.up.insert(link) {
            self.mux.handle_link_up(link, self.window, self.now);
            self.drive();
        }
    }

    /// `received` of the publishes in flight reached the hub all the same.
    fn link_down(&mut self, link: LinkId, received: usize) {
        if self.up.remove(&link) {
            for (n, (_, message)) in self.flying.remove(&link).unwrap_or_default().into_iter().enumerate() {
                if n < received {
                    self.unsettled.insert(number(&message));
                    self.hub.push(message);
                }
            }
            self.mux.handle_link_down(link, self.now);
            self.drive();
        }
    }

    fn acknowledge(&mut self, link: LinkId) {
        if let Some((token, message)) = self.flying.get_mut(&link).and_then(VecDeque::pop_front) {
            self.hub.push(message);
            self.mux.handle_acknowledged(token, self.now);
            self.drive();
        }
    }

    fn refuse(&mut self, link: LinkId) {
        if let Some((token, message)) = self.flying.get_mut(&link).and_then(VecDeque::pop_front) {
            self.refused.insert(number(&message));
            self.mux.handle_refused(token, HubRefusal::Never("no".into()), self.now);
            self.drive();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.mux.handle_timeout(self.now);
        self.drive();
    }

    /// A crash: memory is gone, the disk stays; publishes in flight may or may not have arrived.
    fn restart(&mut self, received: usize) {
        for (_, flying) in std::mem::take(&mut self.flying) {
            for (_, message) in flying.into_iter().take(received) {
                self.unsettled.insert(number(&message));
                self.hub.push(message);
            }
        }
        let mut lanes: BTreeMap<String, u64> = BTreeMap::new();
        for message in self.disk.values() {
            *lanes.entry(message.lane().to_string()).or_default() += 1;
        }
        // What the hub has and the disk still holds was acknowledged a moment before the crash.
        let at_hub: BTreeSet<u64> = self.hub.iter().map(|m| number(m)).collect();
        self.unsettled.extend(self.disk.values().map(|m| number(m)).filter(|n| at_hub.contains(n)));
        self.store.clear();
        self.up.clear();
        self.open.clear();
        // Tokens start again at zero: keep the answers of this life apart.
        let base = self.sent.keys().next_back().map_or(0, |t| t.0 + 1_000_000);
        self.mux = Mux::new(self.config.clone(), lanes.into_iter().collect(), self.last_seq, self.now);
        self.mux.next_token = base;
        self.drive();
    }

    /// Everything works again until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            for link in self.open.clone() {
                self.link_up(link);
                self.acknowledge(link);
            }
            let stored = self.store_step(true);
            if !stored && self.flying.values().all(VecDeque::is_empty) {
                if self.disk.is_empty() && self.mux.is_quiet() {
                    return;
                }
                self.pass(Duration::from_secs(3));
            }
        }
        panic!("does not settle: {:?} disk {:?}", self.mux, self.disk.len());
    }

    fn check(&self) {
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        let mut highest: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for message in &self.hub {
            let n = number(message);
            *seen.entry(n).or_default() += 1;
            // Order by first arrival; a repetition is allowed where the outcome was unknown.
            if self.refused.contains(&n) {
                continue;
            }
            if seen[&n] == 1 {
                let highest = highest.entry(message.lane()).or_default();
                assert!(n > *highest, "lane {} got {n} after {highest}", message.lane());
                *highest = n;
            } else {
                assert!(self.unsettled.contains(&n), "{n} doubled although its outcome was known");
            }
        }
        for (token, outcome) in &self.answers {
            let n = number(&self.sent[token]);
            match outcome {
                Outcome::Delivered | Outcome::Stored => {
                    assert!(
                        seen.contains_key(&n) || self.buried.contains(&n),
                        "{n} answered {outcome:?} and lost"
                    );
                }
                Outcome::Refused(_) => {}
                Outcome::Unavailable => {
                    let known = !seen.contains_key(&n)
                        || self.unsettled.contains(&n)
                        || self.late.contains(&self.sent[token].id);
                    assert!(known, "{n} delivered although refused, and nobody knows");
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Submit(u8),
    Acknowledge(u32),
    Refuse(u32),
    Up(u32),
    Down(u32, usize),
    Store(bool),
    Pass(u64),
    Restart(usize),
}

fn step() -> impl Generate<Value = Step> {
    prop_oneof![
        12 => (0u8..4).prop_map(Step::Submit),
        8 => (0u32..4).prop_map(Step::Acknowledge),
        1 => (0u32..4).prop_map(Step::Refuse),
        4 => (0u32..4).prop_map(Step::Up),
        2 => ((0u32..4), (0usize..4)).prop_map(|(link, n)| Step::Down(link, n)),
        10 => prop::bool::weighted(0.9).prop_map(Step::Store),
        3 => (1u64..3000).prop_map(Step::Pass),
        1 => (0usize..3).prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_order_and_loses_nothing(
        steps in prop::collection::vec(step(), 1..120), disk_first in any::<bool>(), rate in prop::option::of(1u32..50)
    ) {
        let mut world = World::new(MuxConfig { disk_first, drain_rate: rate, ..config() });
        for step in steps {
            match step {
                Step::Submit(device) => drop(world.submit(device)),
                Step::Acknowledge(link) => world.acknowledge(LinkId(link)),
                Step::Refuse(link) => world.refuse(LinkId(link)),
                Step::Up(link) => world.link_up(LinkId(link)),
                Step::Down(link, received) => world.link_down(LinkId(link), received),
                Step::Store(ok) => drop(world.store_step(ok)),
                Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
                Step::Restart(received) => world.restart(received),
            }
        }
        world.settle();
        world.check();
        let stats = world.mux.stats();
        prop_assert_eq!((stats.waiting, stats.in_flight, stats.stored, stats.resident), (0, 0, 0, 0));
        prop_assert!(world.mux.lanes.is_empty() && world.mux.live.is_empty() && world.mux.by_seq.is_empty());
    }
}

#[test]
fn the_fast_path_touches_no_disk() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    let token = world.submit(1);
    assert!(world.answers.is_empty() && world.store.is_empty());
    world.acknowledge(LinkId(0));
    assert_eq!(world.answers[&token], Outcome::Delivered);
    assert!(world.store.is_empty());
}

#[test]
fn a_late_acknowledgement_ends_the_entry_that_took_over() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    let (first, second) = (world.submit(1), world.submit(1));
    world.pass(Duration::from_secs(2));
    while world.store_step(true) {}
    assert_eq!((&world.answers[&first], &world.answers[&second]), (&Outcome::Stored, &Outcome::Stored));
    assert_eq!(world.flying[&LinkId(0)].len(), 2, "the publishes in flight go on and no second one was made");
    world.acknowledge(LinkId(0));
    world.acknowledge(LinkId(0));
    while world.store_step(true) {}
    assert!(world.disk.is_empty());
    world.check();
}

#[test]
fn no_link_means_disk_at_once() {
    let mut world = World::new(config());
    let token = world.submit(1);
    world.store_step(true);
    assert_eq!(world.answers[&token], Outcome::Stored);
    world.settle();
    world.check();
}

#[test]
fn a_failing_store_is_told_to_the_sender() {
    let mut world = World::new(config());
    let token = world.submit(1);
    world.store_step(false);
    assert_eq!(world.answers[&token], Outcome::Unavailable);
    world.settle();
    assert!(world.hub.is_empty());
}

#[test]
fn full_means_unavailable_and_others_go_on() {
    let mut world = World::new(MuxConfig { max_waiting: 1, ..config() });
    world.link_up(LinkId(0));
    let (first, second) = (world.submit(1), world.submit(2));
    assert_eq!(world.answers.get(&second), Some(&Outcome::Unavailable));
    world.acknowledge(LinkId(0));
    assert_eq!(world.answers[&first], Outcome::Delivered);
}

#[test]
fn links_grow_under_load_and_shrink_without() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    world.link_up(LinkId(1));
    for n in 0..40 {
        world.submit(n);
    }
    assert_eq!(world.open.len(), 4);
    world.settle();
    world.pass(Duration::from_secs(61));
    world.pass(Duration::from_secs(61));
    world.pass(Duration::from_secs(61));
    assert_eq!(world.open.len(), 2);
    world.check();
}

#[test]
fn links_that_have_just_come_up_may_help_before_there_are_more() {
    let mut world = World::new(MuxConfig { strategy: Strategy::Shared { min: 2, max: 16 }, ..config() });
    world.link_up(LinkId(0));
    world.link_up(LinkId(1));
    let mut devices = 0..;
    let mut crowd = |world: &mut World| {
        for device in devices.by_ref().take(40) {
            world.submit(device);
        }
        world.open.len()
    };
    assert_eq!(crowd(&mut world), 4);
    world.pass(2 * strategy::GROW_AFTER);
    world.link_up(LinkId(2));
    world.link_up(LinkId(3));
    assert_eq!(crowd(&mut world), 4);
    world.pass(strategy::GROW_AFTER);
    assert_eq!(crowd(&mut world), 8);
}

#[test]
fn closing_answers_everything() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    let open = world.submit(1);
    world.mux.close();
    let refused = world.submit(1);
    assert_eq!(world.answers[&refused], Outcome::Unavailable);
    world.mux.close_now();
    world.drive();
    while world.store_step(true) {}
    assert_eq!(world.answers[&open], Outcome::Stored);
}

#[test]
fn a_refusal_for_now_pauses_the_link_and_keeps_the_message() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    let token = world.submit(1);
    let (publish, _) = world.flying.get_mut(&LinkId(0)).unwrap().pop_front().unwrap();
    world.mux.handle_refused(publish, HubRefusal::Later("quota".into()), world.now);
    world.drive();
    while world.store_step(true) {}
    assert_eq!(world.answers[&token], Outcome::Stored);
    assert!(world.flying[&LinkId(0)].is_empty());
    assert_eq!(world.mux.poll_timeout().map(|(_, why)| why), Some("pause ends"));
    world.pass(PAUSE);
    assert_eq!(world.flying[&LinkId(0)].len(), 1);
    world.settle();
    world.check();
}

#[test]
fn what_was_taken_over_to_another_link_does_not_go_down_with_its_first() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    for device in 0..20 {
        world.submit(device);
    }
    world.link_up(LinkId(1));
    world.pass(Duration::from_secs(2));
    while world.store_step(true) {}
    let elsewhere = world.flying[&LinkId(1)].len();
    assert!(elsewhere > 0, "some were to change to the link that came later");
    world.link_down(LinkId(0), 0);
    assert_eq!(world.mux.stats().in_flight, elsewhere);
    world.settle();
    world.check();
    assert_eq!(world.hub.len(), 20, "nothing that stayed on its link was sent again");
}

#[test]
fn a_refusal_for_now_is_not_overtaken_by_what_waits_behind_it() {
    let mut world = World::new(MuxConfig { disk_first: true, ..config() });
    world.link_up(LinkId(0));
    for _ in 0..4 {
        world.submit(1);
    }
    while world.store_step(true) {}
    assert_eq!(world.flying[&LinkId(0)].len(), 3, "the fourth waits for the window");
    let (publish, _) = world.flying.get_mut(&LinkId(0)).unwrap().pop_back().unwrap();
    world.mux.handle_refused(publish, HubRefusal::Later("quota".into()), world.now);
    world.drive();
    world.settle();
    world.check();
}

#[test]
fn what_is_in_flight_and_sent_again_is_not_published_again() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    let token = world.submit(1);
    world.pass(Duration::from_secs(2));
    world.store_step(false);
    assert_eq!(world.answers.remove(&token), Some(Outcome::Unavailable));
    let again = world.mux.submit(world.sent[&token].clone(), world.now);
    world.drive();
    assert_eq!((again, world.flying[&LinkId(0)].len()), (token, 1));
    world.acknowledge(LinkId(0));
    assert_eq!(world.answers[&token], Outcome::Delivered);
    assert!(world.late.is_empty() && world.mux.disowned.is_empty());
}

#[test]
fn what_is_sent_again_goes_to_the_outbox_when_its_link_is_lost() {
    let mut world = World::new(config());
    world.link_up(LinkId(0));
    let token = world.submit(1);
    world.pass(Duration::from_secs(2));
    world.store_step(false);
    world.answers.clear();
    world.mux.submit(world.sent[&token].clone(), world.now);
    world.link_down(LinkId(0), 0);
    world.store_step(true);
    assert_eq!(world.answers[&token], Outcome::Stored);
    world.settle();
    world.check();
}

#[test]
fn a_failed_append_that_is_there_all_the_same_is_taken_back() {
    let mut world = World::new(config());
    let (token, _) = (world.submit(1), world.submit(1));
    world.store_step(false);
    world.disk.insert(1, world.sent[&token].clone());
    world.store_step(true);
    world.settle();
    world.check();
    assert_eq!(world.hub.iter().map(|m| number(m)).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_failed_append_is_not_taken_for_another_when_it_is_read_back() {
    let mut world = World::new(config());
    world.submit(1);
    world.store_step(true);
    let token = world.submit(1);
    world.store_step(false);
    world.disk.insert(2, world.sent[&token].clone());
    world.settle();
    assert_eq!(world.hub.iter().map(|m| number(m)).collect::<Vec<_>>(), [1]);
}
