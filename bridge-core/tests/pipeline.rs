//! The way of an uplink, with every port in memory and a clock that stands still: futures are polled by hand, so nothing here
//! depends on time or threads.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bridge_core::dedup::DedupConfig;
use bridge_core::mux::{MuxConfig, Strategy};
use bridge_core::ports::{
    Clock, DeadLetterFilter, DeadLetters, Dedup, DeviceRecord, DeviceState, HubEvents, HubRefusal, LinkId,
    Outbox, OutboxEntry, Registry,
};
use bridge_core::registrar::Register;
use bridge_core::testing::{Fault, Faulty, ManualClock, MemoryStore, block_on, contract, poll_once};
use bridge_core::trace::Step;
use bridge_core::{
    ExternalDevice, IdempotencyKey, Kind, Measurement, Message, Reason, StateMark, Timestamp, Uplink, Verdict,
};
use life::{Accepting, Life, Store};

mod life;

struct World {
    life: Life,
    store: Arc<Store>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new(register: Register) -> Self {
        Self::over(Arc::new(Faulty::new(MemoryStore::default())), register)
    }

    fn over(store: Arc<Store>, register: Register) -> Self {
        let clock = Arc::new(ManualClock::default());
        let dedup = DedupConfig { window: Duration::from_secs(4500), max_in_memory: 8 };
        let mux = MuxConfig {
            strategy: Strategy::Shared { min: 1, max: 1 },
            ack_wait: Duration::from_secs(2),
            disk_first: false,
            max_waiting: 100,
            max_stored: 100,
            drain_rate: None,
        };
        let life = Life::begin((mux, dedup), register, &store, &clock);
        Self { life, store, clock }
    }

    /// Lets every task go as far as it can.
    fn settle(&mut self) {
        for _ in 0..50 {
            self.life.tasks.retain_mut(|task| poll_once(task).is_none());
        }
    }

    fn accept(&self, uplinks: Vec<Uplink>) -> Accepting {
        self.life.accept(uplinks)
    }

    /// Takes uplinks as far as they go without anything else happening.
    fn answer(&mut self, accepting: &mut Accepting) -> Option<Vec<Verdict>> {
        for _ in 0..10 {
            if let Some(verdicts) = poll_once(accepting) {
                return Some(verdicts);
            }
            self.settle();
        }
        None
    }

    fn now(&mut self, uplinks: Vec<Uplink>) -> Vec<Verdict> {
        let mut accepting = self.accept(uplinks);
        self.answer(&mut accepting).expect("answered at once")
    }

    fn link_up(&mut self) {
        self.life.delivery.link_up(LinkId(0), 10);
        self.settle();
    }

    /// Acknowledges all that was published; the messages.
    fn acknowledge(&mut self) -> Vec<Arc<Message>> {
        let published = self.life.hub.take();
        published.iter().for_each(|(_, token, _)| self.life.delivery.acknowledged(&[*token]));
        self.settle();
        published.into_iter().map(|(_, _, message)| message).collect()
    }

    fn letters(&self) -> Vec<Reason> {
        let letters = block_on(DeadLetters::list(&*self.store, &DeadLetterFilter::default(), 0, 99)).unwrap();
        letters.iter().map(|letter| letter.letter.reason).collect()
    }

    fn outbox(&self) -> Vec<OutboxEntry> {
        block_on(self.store.load(0, 99)).unwrap()
    }
}

fn uplink(device: &str, number: u32) -> Uplink {
    let key = IdempotencyKey::from_texts(&[device, &number.to_string()]);
    Uplink::new(Some(ExternalDevice::new(device)), Kind::Telemetry, key)
}

#[test]
fn acknowledged_by_the_hub_is_delivered_and_a_copy_is_a_duplicate() {
    let mut world = World::new(Register::Auto);
    world.link_up();
    let mut accepting = world.accept(vec![uplink("a", 1)]);
    assert_eq!(world.answer(&mut accepting), None, "no answer before the acknowledgement");
    assert_eq!(world.acknowledge().len(), 1);
    assert_eq!(world.answer(&mut accepting), Some(vec![Verdict::Delivered]));
    assert_eq!(world.now(vec![uplink("a", 1)]), [Verdict::Duplicate]);
    assert!(world.life.hub.take().is_empty() && world.outbox().is_empty());
    let trace = &world.life.pipeline.traces.after(&Default::default(), Some(0), 9)[0];
    let steps: Vec<Step> = trace.steps.iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [Step::Received, Step::Resolved, Step::Deduplicated, Step::Queued, Step::Acknowledged]);
}

#[test]
fn late_means_stored_and_the_acknowledgement_ends_the_entry() {
    let mut world = World::new(Register::Auto);
    world.link_up();
    let mut accepting = world.accept(vec![uplink("a", 1)]);
    assert_eq!(world.answer(&mut accepting), None);
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.answer(&mut accepting), Some(vec![Verdict::Stored]));
    assert_eq!(world.outbox().len(), 1);
    assert_eq!(world.acknowledge().len(), 1);
    assert!(world.outbox().is_empty());
}

#[test]
fn no_hub_means_disk_and_no_disk_means_retry() {
    let mut world = World::new(Register::Auto);
    assert_eq!(world.now(vec![uplink("a", 1), uplink("b", 1)]), [Verdict::Stored, Verdict::Stored]);
    world.store.set(Fault::Before);
    assert!(matches!(world.now(vec![uplink("a", 2)])[..], [Verdict::Retry(_)]));
    world.store.set(Fault::None);
    assert_eq!(world.now(vec![uplink("a", 2)]), [Verdict::Stored], "refused is not remembered");
    world.link_up();
    let delivered = world.acknowledge();
    let order: Vec<_> = delivered.iter().map(|m| m.device.as_ref().unwrap().as_str()).collect();
    assert_eq!(order, ["a", "b", "a"]);
    assert!(world.outbox().is_empty());
}

#[test]
fn an_append_whose_answer_was_lost_is_told_as_retry_and_taken_back() {
    let mut world = World::new(Register::Auto);
    assert_eq!(world.now(vec![uplink("a", 1)]), [Verdict::Stored]);
    world.store.set(Fault::After);
    assert!(matches!(world.now(vec![uplink("a", 2)])[..], [Verdict::Retry(_)]));
    world.store.set(Fault::None);
    assert_eq!(world.outbox().len(), 2);
    assert_eq!(world.now(vec![uplink("a", 2)]), [Verdict::Stored]);
    let seqs: Vec<_> = world.outbox().iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, [1, 3]);
}

#[test]
fn two_copies_at_once_are_one_message() {
    let mut world = World::new(Register::Auto);
    world.link_up();
    let (mut first, mut second) = (world.accept(vec![uplink("a", 1)]), world.accept(vec![uplink("a", 1)]));
    assert_eq!((world.answer(&mut first), world.answer(&mut second)), (None, None));
    assert_eq!(world.acknowledge().len(), 1);
    assert_eq!(world.answer(&mut first), Some(vec![Verdict::Delivered]));
    assert_eq!(world.answer(&mut second), Some(vec![Verdict::Duplicate]));
    world.clock.advance(Duration::from_secs(1));
    let mut batch = world.accept(vec![uplink("b", 1), uplink("b", 1)]);
    assert_eq!(world.answer(&mut batch), None);
    world.acknowledge();
    assert_eq!(world.answer(&mut batch), Some(vec![Verdict::Delivered, Verdict::Duplicate]));
}

#[test]
fn what_the_hub_will_never_take_is_a_dead_letter() {
    let mut world = World::new(Register::Auto);
    world.link_up();
    let mut accepting = world.accept(vec![uplink("a", 1)]);
    assert_eq!(world.answer(&mut accepting), None);
    let (_, token, _) = world.life.hub.take()[0].clone();
    world.life.delivery.refused(token, HubRefusal::Never("too large".into()));
    assert_eq!(world.answer(&mut accepting), Some(vec![Verdict::Rejected(Reason::RefusedByHub)]));
    assert_eq!(world.letters(), [Reason::RefusedByHub]);
}

#[test]
fn devices_by_rule() {
    let mut off = World::new(Register::Off);
    assert_eq!(off.now(vec![uplink("a", 1)]), [Verdict::Rejected(Reason::UnknownDevice)]);
    let mut park = World::new(Register::Park);
    assert_eq!(park.now(vec![uplink("a", 1)]), [Verdict::Rejected(Reason::Parked)]);
    let mut record: DeviceRecord =
        block_on(Registry::list(&*park.store, &Default::default(), None, 9)).unwrap().remove(0);
    record.state = DeviceState::Active;
    block_on(Registry::update(&*park.store, &record)).unwrap();
    block_on(park.life.pipeline.registrar.refresh()).unwrap();
    assert_eq!(park.now(vec![uplink("a", 1)]), [Verdict::Stored], "what somebody else approved is approved");
    let mut auto = World::new(Register::Auto);
    assert_eq!(auto.now(vec![uplink("Tank 7", 1)]), [Verdict::Stored]);
    assert_eq!(auto.now(vec![uplink("tank/7", 1)]), [Verdict::Rejected(Reason::DeviceIdCollision)]);
    assert_eq!(auto.now(vec![uplink("\u{1}", 1)]), [Verdict::Rejected(Reason::InvalidDeviceId)]);
    let scoped = |scope: &str, number| {
        let mut uplink = uplink("shared", number);
        uplink.device = Some(ExternalDevice { scope: Some(scope.into()), ..ExternalDevice::new("shared") });
        uplink
    };
    assert_eq!(auto.now(vec![scoped("app1", 1)]), [Verdict::Stored]);
    assert_eq!(auto.now(vec![scoped("app2", 2)]), [Verdict::Rejected(Reason::DeviceIdCollision)]);
    assert_eq!(auto.now(vec![uplink("shared", 3)]), [Verdict::Stored], "a masked scope is no other scope");
}

#[test]
fn heard_devices_are_noted_behind() {
    let mut world = World::new(Register::Auto);
    world.now(vec![uplink("a", 1)]);
    world.clock.advance(Duration::from_secs(60));
    world.now(vec![uplink("a", 2)]);
    block_on(world.life.pipeline.registrar.flush()).unwrap();
    let record = block_on(Registry::list(&*world.store, &Default::default(), None, 9)).unwrap().remove(0);
    assert_eq!(record.last_seen, Some(world.clock.wall()));
}

#[test]
fn an_older_report_of_a_state_is_marked() {
    let mut world = World::new(Register::Auto);
    let report = |number, rank| {
        let mut uplink = uplink("a", number);
        uplink.kind = Kind::Connection;
        uplink.state = Some(StateMark { subject: "connection".into(), rank });
        uplink
    };
    world.now(vec![report(1, 10), report(2, 5), report(3, 11)]);
    let superseded: Vec<bool> =
        world.outbox().iter().map(|entry| Message::from_record(&entry.record).unwrap().superseded).collect();
    assert_eq!(superseded, [false, true, false]);
}

#[test]
fn ids_are_remembered_over_a_restart_and_beyond_memory() {
    let store = Arc::new(Faulty::new(MemoryStore::default()));
    let mut world = World::over(store.clone(), Register::Auto);
    for number in 0..30 {
        assert_eq!(world.now(vec![uplink("a", number)]), [Verdict::Stored]);
    }
    block_on(world.life.pipeline.dedup.flush()).unwrap();
    assert_eq!(world.now(vec![uplink("a", 0)]), [Verdict::Duplicate], "memory holds eight, the store all");
    let mut again = World::over(store.clone(), Register::Auto);
    for number in 0..30 {
        assert_eq!(again.now(vec![uplink("a", number)]), [Verdict::Duplicate]);
    }
    let late = again.clock.wall().plus(Duration::from_secs(1));
    let left = || block_on(store.recent(Timestamp::EPOCH, 99)).unwrap().len();
    assert_eq!(left(), 30);
    block_on(store.forget(late)).unwrap();
    assert_eq!(left(), 0);
}

#[test]
fn ids_are_known_before_they_are_written_however_many() {
    let mut world = World::new(Register::Auto);
    for number in 0..30 {
        assert_eq!(world.now(vec![uplink("a", number)]), [Verdict::Stored]);
    }
    assert_eq!(
        world.now(vec![uplink("a", 0)]),
        [Verdict::Duplicate],
        "memory holds eight, the store none yet"
    );
}

#[test]
fn ids_that_could_not_be_written_are_written_later() {
    let mut world = World::new(Register::Auto);
    world.now(vec![uplink("a", 1)]);
    world.store.set(Fault::Before);
    assert!(block_on(world.life.pipeline.dedup.flush()).is_err());
    world.store.set(Fault::None);
    block_on(world.life.pipeline.dedup.flush()).unwrap();
    assert_eq!(block_on(world.store.recent(Timestamp::EPOCH, 9)).unwrap().len(), 1);
}

#[test]
fn a_damaged_record_is_set_aside_and_its_neighbours_go_on() {
    let store = Arc::new(Faulty::new(MemoryStore::default()));
    let mut first = World::over(store.clone(), Register::Auto);
    first.now(vec![uplink("a", 1)]);
    block_on(store.append(&[contract::entry(2, "a")])).unwrap();
    let mut world = World::over(store, Register::Auto);
    world.link_up();
    assert_eq!(world.acknowledge().len(), 1);
    assert_eq!(world.letters(), [Reason::Unreadable]);
    assert!(world.outbox().is_empty());
}

#[test]
fn a_drain_answers_everything() {
    let mut world = World::new(Register::Auto);
    world.link_up();
    let mut accepting = world.accept(vec![uplink("a", 1)]);
    assert_eq!(world.answer(&mut accepting), None);
    let delivery = world.life.delivery.clone();
    world.life.tasks.push(Box::pin(async move { delivery.drain(Duration::from_secs(1)).await }));
    world.settle();
    assert!(matches!(world.now(vec![uplink("b", 1)])[..], [Verdict::Retry(_)]), "nothing new is taken");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.answer(&mut accepting), Some(vec![Verdict::Stored]));
}

/// A report of properties, made at a second (none: when it comes).
fn report(number: u32, seconds: Option<i64>, properties: &[(&str, u32)]) -> Uplink {
    let mut report = Uplink { kind: Kind::Properties, ..uplink("a", number) };
    report.time = seconds.and_then(Timestamp::from_seconds);
    properties.iter().for_each(|(name, value)| report.content.measure(Measurement::new(*name, *value)));
    report
}

fn state(message: &Message) -> (Option<u64>, Vec<(String, String)>) {
    let properties = message.content.measurements.iter();
    (message.state_version(), properties.map(|m| (m.name.clone(), m.value.to_string())).collect())
}

fn all(version: u64, properties: &[(&str, &str)]) -> (Option<u64>, Vec<(String, String)>) {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    (Some(version), properties.iter().map(owned).collect())
}

#[test]
fn a_report_goes_to_the_hub_as_the_whole_state_and_once() {
    let mut world = World::new(Register::Auto);
    assert_eq!(world.now(vec![report(1, None, &[("x", 1)])]), [Verdict::Stored]);
    assert_eq!(world.now(vec![report(2, None, &[("y", 2)])]), [Verdict::Stored]);
    assert_eq!(world.now(vec![report(3, None, &[("x", 1)])]), [Verdict::Stored], "known, and not sent again");
    assert_eq!(world.now(vec![report(3, None, &[("x", 1)])]), [Verdict::Duplicate]);
    let sent: Vec<_> = messages(&world).iter().map(state).collect();
    assert_eq!(sent, [all(1, &[("x", "1")]), all(2, &[("x", "1"), ("y", "2")])]);

    let mut again = World::over(world.store.clone(), Register::Auto);
    assert_eq!(again.now(vec![report(4, None, &[("y", 2)])]), [Verdict::Stored]);
    assert_eq!(
        messages(&again).last().map(state),
        Some(all(2, &[("x", "1"), ("y", "2")])),
        "after a restart nobody knows whether the hub has it"
    );
}

#[test]
fn a_report_that_is_too_old_is_an_event_and_no_state() {
    let mut world = World::new(Register::Auto);
    world.clock.advance(Duration::from_secs(1000));
    world.now(vec![report(1, Some(100), &[("x", 2)]), report(2, Some(50), &[("x", 1)])]);
    let messages = messages(&world);
    assert_eq!(state(&messages[0]), all(1, &[("x", "2")]));
    assert!(messages[1].superseded && messages[1].state_version().is_none());
    assert_eq!(messages[1].content.measurements[0].value, 1, "as it was reported");
}

#[test]
fn a_report_that_neither_hub_nor_outbox_took_is_sent_when_it_comes_again() {
    let mut world = World::new(Register::Auto);
    world.link_up();
    let mut accepting = world.accept(vec![report(2, None, &[("x", 2)])]);
    assert_eq!(world.answer(&mut accepting), None, "the state is written, and the hub has not answered");
    world.store.set(Fault::Before);
    world.life.delivery.link_down(LinkId(0), "gone");
    world.clock.advance(Duration::from_secs(2));
    let lost = world.answer(&mut accepting).expect("an answer");
    assert!(matches!(lost[..], [Verdict::Retry(_)]), "{lost:?}");
    world.store.set(Fault::None);
    assert_eq!(world.now(vec![report(2, None, &[("x", 2)])]), [Verdict::Stored]);
    assert_eq!(messages(&world).last().map(state), Some(all(1, &[("x", "2")])));
}

#[test]
fn a_state_that_would_be_too_large_is_a_dead_letter() {
    let mut world = World::new(Register::Auto);
    let mut large = report(1, None, &[]);
    large.content.measure(Measurement::new("x", "y".repeat(40_000)));
    assert_eq!(world.now(vec![large.clone()]), [Verdict::Rejected(Reason::StateTooLarge)]);
    assert_eq!(
        world.now(vec![large]),
        [Verdict::Rejected(Reason::StateTooLarge)],
        "and its id is free again"
    );
}

fn messages(world: &World) -> Vec<Message> {
    world.outbox().iter().map(|entry| Message::from_record(&entry.record).unwrap()).collect()
}
