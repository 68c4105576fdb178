//! The way of a command, with every port in memory, transports that answer when the test says so, and a clock that stands
//! still. Not here: the machine by itself (`src/command/tests.rs`), and any history (`command_histories.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bridge_core::command::queue::Capacity;
use bridge_core::command::{
    Again, Awaits, Cancelled, CauseCode, Command, CommandName, CommandState, Draft, Manner, Priority,
    Reference, ReplaceKey, Report, Reported, RequestKey, Resend, SendOutcome,
};
use bridge_core::commands::{Budget, SubmitError, Submitted, Target, Way};
use bridge_core::ports::{Clock, CommandFilter, Commands};
use bridge_core::testing::{Fault, Faulty, ManualClock, MemoryStore, block_on, poll_once};
use bridge_core::{DeviceId, Kind};
use dispatch::{FakeWay, LIMITS, Life, Mood, Store, flight};
use serde_json::json;

mod dispatch;

struct World {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    life: Life,
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

fn draft(name: &str) -> Draft {
    Draft::new(CommandName::parse(name).unwrap())
}

fn accepted() -> SendOutcome {
    SendOutcome::Accepted { references: vec![] }
}

fn delivered() -> SendOutcome {
    SendOutcome::Delivered { result: Some(json!(1)) }
}

fn refused(code: CauseCode, again: Again) -> SendOutcome {
    SendOutcome::Refused { cause: code.into(), again }
}

impl World {
    fn new() -> Self {
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let clock = Arc::new(ManualClock::default());
        let life = Life::begin(&store, &clock, 1);
        Self { store, clock, life }
    }

    fn try_submit(&self, name: &str, draft: Draft) -> Result<Submitted, SubmitError> {
        block_on(self.life.dispatcher.submit(&device(name), draft))
    }

    fn submit(&self, name: &str, draft: Draft) -> Command {
        match self.try_submit(name, draft) {
            Ok(Submitted::New(command)) => command,
            other => panic!("{other:?}"),
        }
    }

    fn get(&self, command: &Command) -> Command {
        block_on(self.store.inner().get(command.id)).unwrap().unwrap()
    }

    fn state(&self, command: &Command) -> CommandState {
        self.get(command).state()
    }

    fn pass(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.life.settle();
    }

    fn crash(&mut self) {
        self.life = Life::begin(&self.store, &self.clock, 2);
        block_on(self.life.dispatcher.recover()).unwrap();
        self.life.settle();
    }

    fn report(&self, name: &str, target: &Target, report: Report) -> Option<Reported> {
        let said = block_on(self.life.dispatcher.report(&device(name), target, report)).unwrap();
        said.map(|(_, reported)| reported)
    }
}

const ACK: Report = Report::Acknowledged { result: None };

#[test]
fn a_command_goes_down_and_its_life_is_told() {
    let mut world = World::new();
    let asked = Draft { arguments: json!("on"), ..draft("lamp") };
    let command = world.submit("d1", asked);
    assert_eq!(command.draft.payload.as_ref().unwrap().data, b"on");
    world.life.settle();
    let attempt = world.life.answer(accepted()).unwrap();
    world.life.settle();
    assert_eq!(world.state(&command), CommandState::Sent);
    assert_eq!(world.report("d2", &Target::Attempt(attempt), ACK), None, "of another device");
    assert_eq!(world.report("d1", &Target::Attempt(attempt), ACK), Some(Reported::Applied));
    assert_eq!(world.report("d1", &Target::Attempt(attempt), ACK), Some(Reported::Late));
    world.life.settle();
    assert_eq!(world.life.hub.states(), ["queued", "sent", "acknowledged"]);
    world.pass(1);
    assert_eq!(world.get(&command).published, 3);
    let last = world.life.hub.taken.lock().unwrap().pop().unwrap().into_messages().remove(0);
    assert_eq!((last.kind, last.device), (Kind::CommandStatus, Some(device("d1"))));
    assert_eq!(last.content.data["command"], command.id.to_string());
}

#[test]
fn one_after_the_other_by_priority_and_age() {
    let mut world = World::new();
    for (name, priority) in [("a", Priority::Normal), ("b", Priority::Normal), ("c", Priority::High)] {
        world.submit("d1", Draft { priority, ..draft(name) });
    }
    world.submit("d2", draft("elsewhere"));
    for want in ["c", "a", "b"] {
        world.life.settle();
        let first = world.life.transports.state.lock().unwrap().sent.remove(0);
        assert_eq!(first.draft.name.as_str(), want);
        assert!(world.life.answer_nth(0, delivered()).is_some());
        if want == "c" {
            let other = world.life.transports.state.lock().unwrap().sent.remove(0);
            assert_eq!(other.draft.name.as_str(), "elsewhere", "devices do not wait for each other");
            world.life.answer_nth(0, delivered());
        }
    }
    world.life.settle();
    assert_eq!(world.life.hub.states().iter().filter(|state| *state == "acknowledged").count(), 4);
}

#[test]
fn what_cannot_go_is_never_queued() {
    let world = World::new();
    type Is = fn(&SubmitError) -> bool;
    let cases: [(&str, Draft, Is); 5] = [
        ("nobody", draft("x"), |error| matches!(error, SubmitError::UnknownDevice(_))),
        ("deaf", draft("x"), |error| matches!(error, SubmitError::NoWay { .. })),
        ("d1", Draft { arguments: json!("123456789"), ..draft("x") }, |error| {
            matches!(error, SubmitError::Unfit(_))
        }),
        ("d1", Draft { arguments: json!("1".repeat(200)), ..draft("x") }, |error| {
            matches!(error, SubmitError::Draft(_))
        }),
        ("d1", Draft { max_attempts: 0, ..draft("x") }, |error| matches!(error, SubmitError::Draft(_))),
    ];
    for (name, draft, wanted) in cases {
        let error = world.try_submit(name, draft).unwrap_err();
        assert!(wanted(&error), "{error}");
    }
    let all = CommandFilter::default();
    assert!(block_on(world.store.list(&all, None, 9)).unwrap().is_empty());
    for _ in 0..LIMITS.per_device {
        world.submit("d1", draft("x"));
    }
    assert!(matches!(world.try_submit("d1", draft("x")), Err(SubmitError::DeviceFull(_))));
    world.store.set(Fault::Before);
    assert!(matches!(world.try_submit("d2", draft("x")), Err(SubmitError::Store(_))));
}

#[test]
fn asking_twice_is_asking_once_and_newer_wishes_replace_older_ones() {
    let mut world = World::new();
    let keyed = |name| Draft { key: RequestKey::parse("k").ok(), ..draft(name) };
    let first = world.submit("d1", keyed("a"));
    let same = Submitted::Existing { command: first.clone(), same: true };
    assert_eq!(world.try_submit("d1", keyed("a")), Ok(same));
    assert_eq!(world.try_submit("d1", keyed("b")), Ok(Submitted::Existing { command: first, same: false }));
    let valve = |name| Draft { replace: ReplaceKey::parse("valve").ok(), ..draft(name) };
    let (open, shut) = (world.submit("d1", valve("open")), world.submit("d1", valve("shut")));
    assert_eq!(world.state(&open), CommandState::Cancelled);
    assert_eq!(world.get(&open).cause().unwrap().code, CauseCode::Superseded);
    world.life.settle();
    world.life.answer(delivered());
    world.life.settle();
    world.life.answer(delivered());
    world.life.settle();
    assert_eq!(world.state(&shut), CommandState::Acknowledged);
    assert_eq!(world.life.sent().get("open"), None);
    assert!(world.life.hub.states().contains(&"cancelled".to_owned()));
}

#[test]
fn a_transport_that_replaces_gets_the_newer_one_at_once() {
    let mut world = World::new();
    world.life.transports.state.lock().unwrap().capacity = Capacity { in_flight: 1, replaces: true };
    let valve = |name| Draft { replace: ReplaceKey::parse("valve").ok(), ..draft(name) };
    let open = world.submit("d1", valve("open"));
    world.life.settle();
    world.life.answer(accepted());
    world.life.settle();
    let shut = world.submit("d1", valve("shut"));
    world.life.settle();
    world.life.answer(accepted());
    world.life.settle();
    assert_eq!((world.state(&open), world.state(&shut)), (CommandState::Unknown, CommandState::Sent));
    assert_eq!(world.report("d1", &Target::Command(open.id), ACK), Some(Reported::Applied), "it had left");
    assert_eq!(world.state(&open), CommandState::Acknowledged);
}

#[test]
fn an_attempt_that_a_crash_cut_short_is_repeated_only_when_that_is_safe() {
    for (resend, want, attempts) in
        [(Resend::Never, CommandState::Unknown, 1), (Resend::Safe, CommandState::Acknowledged, 2)]
    {
        let mut world = World::new();
        world.life.transports.state.lock().unwrap().flights = vec![flight(resend, Awaits::Acknowledgement)];
        let command = world.submit("d1", draft("x"));
        world.life.settle();
        assert_eq!(world.life.sent()["x"], 1);
        assert_eq!(world.get(&command).attempts(), 1, "on record before it goes out");
        world.crash();
        world.pass(10);
        world.life.answer(delivered());
        world.life.settle();
        world.pass(1);
        let now = world.get(&command);
        assert_eq!((now.state(), now.attempts()), (want, attempts), "{resend:?}");
        assert_eq!(now.published, now.changes(), "{resend:?}");
    }
}

#[test]
fn events_that_a_crash_cut_short_come_again_with_their_ids() {
    let mut world = World::new();
    *world.life.hub.mood.lock().unwrap() = Mood::Holds;
    world.submit("d1", draft("x"));
    world.life.settle();
    let first = world.life.hub.taken.lock().unwrap().clone();
    assert_eq!(first.len(), 1, "the second waits for the first");
    world.crash();
    let again = world.life.hub.clone();
    *again.mood.lock().unwrap() = Mood::Holds;
    world.pass(1);
    assert_eq!(again.taken.lock().unwrap()[0], first[0]);
    assert_eq!(again.states(), ["queued", "unknown"]);
    again.release();
}

#[test]
fn a_hub_that_refuses_gets_every_event_later_and_in_order() {
    let mut world = World::new();
    *world.life.hub.mood.lock().unwrap() = Mood::Refuses;
    world.submit("d1", draft("x"));
    world.life.settle();
    world.life.answer(delivered());
    world.pass(5);
    *world.life.hub.mood.lock().unwrap() = Mood::Takes;
    world.pass(5);
    assert_eq!(world.life.hub.states(), ["queued", "acknowledged"]);
}

#[test]
fn a_device_that_is_away_waits_until_it_is_back() {
    let mut world = World::new();
    let command = world.submit("d1", Draft { max_attempts: 1, ..draft("x") });
    for round in 1..=3 {
        world.life.settle();
        world.life.answer(refused(CauseCode::Unreachable, Again::WhenReachable)).unwrap();
        world.pass(5);
        assert_eq!(world.life.sent()["x"], round, "nothing goes by itself");
        block_on(world.life.dispatcher.wake(&device("d1"))).unwrap();
    }
    world.life.settle();
    world.life.answer(delivered());
    world.life.settle();
    assert_eq!(world.state(&command), CommandState::Acknowledged);
    assert_eq!(world.life.hub.states(), ["queued", "queued", "acknowledged"], "told once that it is away");
}

#[test]
fn retries_wait_and_end() {
    let mut world = World::new();
    let command = world.submit("d1", Draft { max_attempts: 3, ..draft("x") });
    for attempt in 1..=3 {
        world.life.settle();
        assert_eq!(world.life.sent()["x"], attempt);
        world.life.answer(refused(CauseCode::Unavailable, Again::Later(None)));
        world.life.settle();
        assert_eq!(world.life.sent()["x"], attempt, "not at once");
        world.pass(25);
    }
    assert_eq!(world.state(&command), CommandState::Failed);
    assert_eq!(world.life.sent()["x"], 3);
}

#[test]
fn a_spent_budget_hands_out_nothing_new() {
    let world = World::new();
    let boxed = device("box1");
    let start = world.clock.wall();
    let take = |world: &World, exchange: &str, since| {
        let exchange = Reference::parse(exchange).unwrap();
        let way: Arc<dyn Way> = Arc::new(FakeWay(Manner::Mailbox, world.life.transports.clone()));
        let budget = Budget { since, most: 2 };
        block_on(world.life.dispatcher.take_within(&boxed, &way, &exchange, budget)).unwrap()
    };
    assert_eq!(take(&world, "e0", start), None);
    let commands = ["a", "b", "c"].map(|name| world.submit("box1", draft(name)));
    for (exchange, command) in ["e1", "e2"].into_iter().zip(&commands) {
        assert_eq!(take(&world, exchange, start).unwrap().id, command.id);
        assert_eq!(world.report("box1", &Target::InFlight, ACK), Some(Reported::Applied));
    }
    assert_eq!(take(&world, "e3", start), None);
    assert_eq!(world.state(&commands[2]), CommandState::Queued, "it waits");
    assert_eq!(take(&world, "e2", start).unwrap().id, commands[1].id, "what was given is given again");
    let tomorrow = start.plus(Duration::from_millis(1));
    assert_eq!(take(&world, "e3", tomorrow).unwrap().id, commands[2].id);
}

#[test]
fn what_was_given_and_not_reported_is_given_again_before_what_is_new() {
    let world = World::new();
    let boxed = device("box1");
    world.life.transports.state.lock().unwrap().capacity = Capacity { in_flight: 2, replaces: false };
    let offer = |world: &World, most| -> Vec<String> {
        let offered = block_on(world.life.dispatcher.offer(&boxed, most)).unwrap();
        offered.iter().map(|command| format!("{} {}", command.draft.name, command.attempts())).collect()
    };
    assert!(offer(&world, 3).is_empty());
    for name in ["a", "b", "c"] {
        world.submit("box1", draft(name));
    }
    assert_eq!(offer(&world, 1), ["a 1"]);
    assert_eq!(offer(&world, 3), ["a 1", "b 1"], "two may be under way");
    assert_eq!(offer(&world, 3), ["a 1", "b 1"]);
    assert_eq!(world.report("box1", &Target::InFlight, ACK), Some(Reported::Applied));
    assert_eq!(offer(&world, 3), ["b 1", "c 1"]);
}

#[test]
fn a_mailbox_is_emptied_by_its_device_and_an_exchange_always_gets_the_same() {
    let mut world = World::new();
    let boxed = device("box1");
    let take = |world: &World, exchange: &str| {
        let exchange = Reference::parse(exchange).ok();
        block_on(world.life.dispatcher.take(&boxed, exchange.as_ref())).unwrap()
    };
    assert_eq!(take(&world, "e0"), None);
    let mut arrival = world.life.dispatcher.arrival(&boxed);
    assert!(poll_once(&mut arrival).is_none());
    let (first, second) = (world.submit("box1", draft("a")), world.submit("box1", draft("b")));
    assert!(poll_once(&mut arrival).is_some());
    world.life.settle();
    assert!(world.life.sent().is_empty(), "nothing is sent by itself");
    let taken = take(&world, "e1").unwrap();
    assert_eq!((taken.id, taken.state()), (first.id, CommandState::Sent));
    assert_eq!(take(&world, "e1").unwrap().id, first.id);
    assert_eq!(take(&world, "e2"), None, "one at a time");
    world.crash();
    assert_eq!(world.state(&first), CommandState::Sent, "its answer went out");
    let mut room = world.life.dispatcher.arrival(&boxed);
    assert!(poll_once(&mut room).is_none());
    assert_eq!(world.report("box1", &Target::InFlight, ACK), Some(Reported::Applied));
    assert!(poll_once(&mut room).is_some(), "there is room for the next one");
    assert_eq!(take(&world, "e2").unwrap().id, second.id);
    assert_eq!(take(&world, "e1").unwrap().id, first.id, "also when it is over");
    let reference = Target::Reference(Reference::parse("e2").unwrap());
    let quota = Report::Failed { cause: CauseCode::Quota.into(), again: Again::Later(None) };
    assert_eq!(world.report("box1", &reference, quota), Some(Reported::Applied));
    world.pass(5);
    assert_eq!(take(&world, "e3").unwrap().id, second.id);
    assert_eq!(
        world.report("box1", &reference, ACK),
        Some(Reported::Applied),
        "the first attempt got through"
    );
}

#[test]
fn cancelling_asks_the_transport() {
    let mut world = World::new();
    let cancel = |world: &World, command: &Command| {
        let cancel = world.life.dispatcher.cancel(command.id, CauseCode::Withdrawn.into());
        block_on(cancel).unwrap().map(|(command, cancelled)| (command.state(), cancelled)).unwrap()
    };
    let (first, waiting) = (world.submit("d1", draft("a")), world.submit("d1", draft("b")));
    world.life.settle();
    world.life.answer(accepted());
    world.life.settle();
    assert_eq!(cancel(&world, &waiting), (CommandState::Cancelled, Cancelled::Done));
    assert_eq!(cancel(&world, &first), (CommandState::Sent, Cancelled::OnItsWay));
    world.life.transports.state.lock().unwrap().withdrawal = Some(Report::Withdrawn);
    assert_eq!(cancel(&world, &first), (CommandState::Cancelled, Cancelled::Done));
    assert_eq!(cancel(&world, &first), (CommandState::Cancelled, Cancelled::TooLate));
}

#[test]
fn commands_of_a_device_that_is_gone_fail() {
    let mut world = World::new();
    let commands = [world.submit("d1", draft("a")), world.submit("d1", draft("b"))];
    world.life.transports.state.lock().unwrap().removed.push(device("d1"));
    world.life.settle();
    for command in &commands {
        assert_eq!(world.get(command).cause().unwrap().code, CauseCode::UnknownDevice);
        assert_eq!(world.state(command), CommandState::Failed);
    }
}

#[test]
fn time_ends_what_nobody_ends() {
    let mut world = World::new();
    let (sent, queued) = (world.submit("d1", draft("a")), world.submit("d1", draft("b")));
    let boxed = world.submit("box1", draft("c"));
    world.life.settle();
    world.life.answer(accepted());
    world.life.settle();
    world.pass(39);
    assert_eq!(world.state(&sent), CommandState::Sent);
    world.pass(2);
    assert_eq!(world.state(&sent), CommandState::Unknown);
    assert_eq!(world.life.sent()["b"], 1, "its place is free");
    world.pass(20);
    assert_eq!(world.state(&queued), CommandState::Unknown, "no answer");
    world.pass(60);
    assert_eq!(world.state(&boxed), CommandState::Expired);
    world.pass(1);
    let gone = block_on(world.store.purge(world.get(&boxed).expires.plus(Duration::from_secs(9)), 0, 9));
    assert_eq!(gone.unwrap(), 3, "all of it was told");
}

#[test]
fn an_outcome_that_the_store_does_not_take_is_kept_until_it_does() {
    let mut world = World::new();
    let command = world.submit("d1", draft("a"));
    world.life.settle();
    world.store.set(Fault::Before);
    world.life.answer(delivered());
    world.pass(3);
    world.store.set(Fault::None);
    world.pass(1);
    assert_eq!(world.state(&command), CommandState::Acknowledged);
}

#[test]
fn a_command_that_comes_alone_is_begun_with_its_insertion() {
    let mut world = World::new();
    world.life.settle();
    let first = world.submit("d1", draft("a"));
    assert_eq!((first.state(), first.attempts(), first.version), (CommandState::Queued, 1, 1));
    assert_eq!(world.get(&first), first, "in one step, before anything goes out");
    assert!(world.life.sent().is_empty());
    let second = world.submit("d1", draft("b"));
    assert_eq!(second.attempts(), 0, "it is not alone");
    world.life.settle();
    assert_eq!(world.life.answer(accepted()), first.attempt());
    world.life.settle();
    assert_eq!(world.report("d1", &Target::Command(first.id), ACK), Some(Reported::Applied));
    world.life.settle();
    assert!(world.life.answer(accepted()).is_some_and(|attempt| attempt.command == second.id));
    world.life.settle();
    assert_eq!(world.state(&second), CommandState::Sent);
    assert_eq!(world.submit("box1", draft("c")).attempts(), 0, "it asks for itself");
}

#[test]
fn what_was_begun_with_its_insertion_is_sent_though_its_asker_has_gone() {
    for fault in [Fault::Held, Fault::After] {
        let mut world = World::new();
        world.life.settle();
        world.store.set(fault);
        let asker = world.life.dispatcher.clone();
        let d1 = device("d1");
        let mut asking = Box::pin(asker.submit(&d1, draft("a")));
        assert!(poll_once(&mut asking).is_none_or(|answer| answer.is_err()));
        drop(asking);
        // One that is held wakes nobody when it goes on.
        if fault == Fault::After {
            world.life.settle();
            assert!(world.life.sent().is_empty(), "what was stored is not known");
        }
        world.store.set(Fault::None);
        world.pass(1);
        assert_eq!(world.life.sent(), [("a".to_owned(), 1)].into());
        world.life.answer(accepted()).unwrap();
        world.life.settle();
        let stored = block_on(world.store.list(&CommandFilter::default(), None, 9)).unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!((stored[0].state(), stored[0].attempts()), (CommandState::Sent, 1));
    }
    // What was not stored is not sent, and its device is nobody's any more.
    let mut world = World::new();
    world.life.settle();
    world.store.set(Fault::Before);
    assert!(matches!(world.try_submit("d1", draft("a")), Err(SubmitError::Store(_))));
    world.store.set(Fault::None);
    world.pass(1);
    assert!(world.life.sent().is_empty());
    world.submit("d1", draft("b"));
    world.life.settle();
    assert_eq!(world.life.sent(), [("b".to_owned(), 1)].into());
}

#[test]
fn what_was_begun_and_taken_back_before_it_left_is_not_sent() {
    let mut world = World::new();
    world.life.settle();
    let command = world.submit("d1", draft("a"));
    let (_, cancelled) =
        block_on(world.life.dispatcher.cancel(command.id, CauseCode::Withdrawn.into())).unwrap().unwrap();
    assert_eq!(cancelled, Cancelled::OnItsWay);
    world.life.settle();
    assert!(world.life.sent().is_empty());
    assert_eq!(world.state(&command), CommandState::Cancelled);
    world.submit("d1", draft("b"));
    world.life.settle();
    assert_eq!(world.life.sent(), [("b".to_owned(), 1)].into());
}

#[test]
fn what_was_begun_and_not_sent_in_its_time_goes_with_an_attempt_of_its_own() {
    let mut world = World::new();
    world.life.settle();
    let command = world.submit("d1", draft("a"));
    // Longer than the patience of its attempt; the sender comes before the timer.
    world.clock.advance(Duration::from_secs(11));
    world.life.poll(0);
    assert!(world.life.sent().is_empty());
    assert_eq!(world.get(&command).cause().map(|cause| cause.code), Some(CauseCode::Interrupted));
    world.pass(10);
    assert_eq!(world.life.sent(), [("a".to_owned(), 1)].into());
    assert_eq!(world.life.answer(accepted()).map(|attempt| attempt.number), Some(2));
    world.life.settle();
    assert_eq!(world.state(&command), CommandState::Sent);
}

#[test]
fn that_it_never_left_is_kept_until_the_store_takes_it() {
    let mut world = World::new();
    world.life.settle();
    let command = world.submit("d1", draft("a"));
    block_on(world.life.dispatcher.cancel(command.id, CauseCode::Withdrawn.into())).unwrap();
    world.store.set(Fault::Before);
    world.pass(1);
    world.store.set(Fault::None);
    world.pass(1);
    assert_eq!(world.state(&command), CommandState::Cancelled);
    assert!(world.life.sent().is_empty());
}
