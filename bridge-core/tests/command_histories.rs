//! Commands against any history: submissions, attempts and their answers, reports in any order and more than once, time,
//! cancellation, a store that fails or loses its answer, a hub that refuses, crashes. A small model beside it knows what the
//! transports were told and said. Time stands still, tasks are polled by hand. Not here: what one order of things must
//! lead to (`src/command/tests.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bridge_core::DeviceId;
use bridge_core::command::queue::{Capacity, place};
use bridge_core::command::{
    Again, AttemptId, Awaits, CauseCode, Command, CommandId, CommandName, CommandState, Draft, Phase,
    Priority, Reference, ReplaceKey, Report, RequestKey, Resend, SendOutcome, StatusEvent,
};
use bridge_core::commands::{SubmitError, Submitted, Target};
use bridge_core::ports::{CommandFilter, Commands};
use bridge_core::testing::{Fault, Faulty, ManualClock, MemoryStore, block_on};
use dispatch::{LIMITS, Life, Mood, Store, flight};
use proptest::prelude::{Just, ProptestConfig, Strategy as Generate, any, prop, prop_oneof, proptest};

mod dispatch;

/// Two that are sent to, two that ask.
const DEVICES: [&str; 4] = ["d1", "d2", "box1", "box2"];
const SENDER: usize = 0;
const ANNOUNCER: usize = 1;
const TIMER: usize = 2;

/// What the model knows of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    resend: Resend,
    /// The transport said that it did not run.
    clear: bool,
}

struct World {
    life: Life,
    lives: u128,
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    capacity: Capacity,
    /// How attempts travel, in turn.
    flights: Vec<(Resend, Awaits)>,
    /// Of every command that ever was, in the order of submission.
    ids: Vec<CommandId>,
    /// As it was after the last step.
    last: BTreeMap<CommandId, Command>,
    /// What was said of attempts.
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Sent at most once: every attempt that a transport saw.
    seen: BTreeSet<AttemptId>,
    /// What each exchange of a device got.
    exchanges: BTreeMap<(usize, u8), CommandId>,
    /// Events of this life.
    told: BTreeSet<(CommandId, u32)>,
    /// Attempts that were begun with the insertion: what comes after them waits.
    firsts: BTreeSet<AttemptId>,
    /// Events of all lives.
    ever_told: BTreeMap<CommandId, Vec<StatusEvent>>,
}

fn device(index: usize) -> DeviceId {
    DeviceId::parse(DEVICES[index]).unwrap()
}

fn rank(state: CommandState, done: bool) -> u8 {
    match state {
        CommandState::Queued => 0,
        CommandState::Sent if !done => 1,
        CommandState::Unknown => 2,
        _ => 3,
    }
}

impl World {
    fn new(capacity: Capacity, flights: Vec<(Resend, Awaits)>) -> Self {
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let clock = Arc::new(ManualClock::default());
        let world = Self {
            life: Life::begin(&store, &clock, 1),
            lives: 1,
            store,
            clock,
            capacity,
            flights,
            ids: Vec::new(),
            last: BTreeMap::new(),
            attempts: BTreeMap::new(),
            seen: BTreeSet::new(),
            firsts: BTreeSet::new(),
            exchanges: BTreeMap::new(),
            told: BTreeSet::new(),
            ever_told: BTreeMap::new(),
        };
        world.set_transports();
        world
    }

    fn set_transports(&self) {
        let mut state = self.life.transports.state.lock().unwrap();
        state.capacity = self.capacity;
        state.flights = self.flights.iter().map(|(resend, awaits)| flight(*resend, *awaits)).collect();
    }

    fn all(&self) -> Vec<Command> {
        let mut all = block_on(self.store.inner().list(&CommandFilter::default(), None, usize::MAX)).unwrap();
        all.reverse();
        all
    }

    fn carry_out(&mut self, step: &Step) {
        match step {
            Step::Submit(wish) => self.submit(wish),
            Step::Answer(nth, answer) => self.answer(*nth, answer),
            Step::Take(index, exchange) => self.take(*index, *exchange),
            Step::Report(back, older, report) => self.report(*back, *older, report),
            Step::Cancel(back) => {
                if let Some(id) = self.ids.iter().rev().nth(*back) {
                    // A store that fails may be asked again.
                    let _ = block_on(self.life.dispatcher.cancel(*id, CauseCode::Withdrawn.into()));
                }
            }
            Step::Wake(index) => drop(block_on(self.life.dispatcher.wake(&device(*index)))),
            Step::Run(task) => self.life.poll(*task),
            Step::Pass(ms) => self.clock.advance(Duration::from_millis(*ms)),
            Step::Fault(fault) => self.store.set(*fault),
            Step::Mood(mood) => *self.life.hub.mood.lock().unwrap() = *mood,
            Step::Release => self.life.hub.release(),
            Step::Crash => self.crash(),
        }
        self.look_at_the_transports();
        self.look_at_the_hub();
        self.look_at_the_store();
    }

    fn submit(&mut self, wish: &Wish) {
        let name = CommandName::parse("x").unwrap();
        let draft = Draft {
            key: wish.key.and_then(|key| RequestKey::parse(&key.to_string()).ok()),
            replace: wish.replace.and_then(|key| ReplaceKey::parse(&key.to_string()).ok()),
            priority: [Priority::Low, Priority::Normal, Priority::High][wish.priority],
            max_attempts: wish.max_attempts,
            expires: Some(
                bridge_core::ports::Clock::wall(&*self.clock).plus(Duration::from_secs(wish.lives)),
            ),
            ..Draft::new(name)
        };
        let of = device(wish.device);
        let before = self.all();
        let open = |all: &[Command]| all.iter().filter(|c| !c.is_done()).count();
        let of_device: Vec<&Command> = before.iter().filter(|command| command.device == of).collect();
        let same = of_device.iter().find(|command| draft.key.is_some() && command.draft.key == draft.key);
        let answer = block_on(self.life.dispatcher.submit(&of, draft.clone()));
        let after = self.all();
        let new: Vec<&Command> =
            after.iter().filter(|one| before.iter().all(|old| old.id != one.id)).collect();
        match answer {
            Ok(Submitted::New(command)) => assert_eq!(new.len(), 1, "{command:?} is not stored"),
            Ok(Submitted::Existing { command, .. }) => {
                assert_eq!(Some(command.id), same.map(|same| same.id));
                assert!(new.is_empty());
            }
            Err(SubmitError::DeviceFull(_) | SubmitError::Full) => assert!(new.is_empty()),
            Err(SubmitError::Store(_)) => assert!(new.len() <= 1),
            Err(error) => panic!("{error}"),
        }
        let Some(new) = new.first() else { return };
        assert!(same.is_none(), "one key, two commands");
        self.ids.push(new.id);
        if let Some(first) = new.attempt() {
            assert!(!of_device.iter().any(|other| !other.is_done()), "it was not alone");
            self.firsts.insert(first);
        }
        for older in before.iter().filter(|older| older.device == of && older.draft.replace.is_some()) {
            if older.draft.replace == draft.replace && !older.is_done() {
                let now = after.iter().find(|command| command.id == older.id).unwrap();
                if older.is_in_flight() {
                    assert!(now.is_withdrawn() && now.is_in_flight(), "{now:?}");
                } else {
                    assert_eq!(now.cause().map(|cause| cause.code), Some(CauseCode::Superseded));
                    assert!(now.is_done());
                }
            }
        }
        assert!(open(&after) <= LIMITS.total);
        assert!(after.iter().filter(|c| c.device == of && !c.is_done()).count() <= LIMITS.per_device);
    }

    fn answer(&mut self, nth: usize, answer: &Answer) {
        let cause = || CauseCode::Unavailable.into();
        let outcome = match answer {
            Answer::Accepted => SendOutcome::Accepted { references: vec![] },
            Answer::Delivered => SendOutcome::Delivered { result: None },
            Answer::Refused(again) => SendOutcome::Refused { cause: cause(), again: *again },
            Answer::Unknown => SendOutcome::Unknown { cause: cause() },
        };
        let Some(attempt) = self.life.answer_nth(nth, outcome) else { return };
        if let (Answer::Refused(_), Some(attempt)) = (answer, self.attempts.get_mut(&attempt)) {
            attempt.clear = true;
        }
    }

    fn take(&mut self, index: usize, exchange: u8) {
        let index = 2 + index % 2;
        let reference = Reference::parse(&format!("e{exchange}")).unwrap();
        let before = self.all();
        let taken = block_on(self.life.dispatcher.take(&device(index), Some(&reference)));
        let known = self.exchanges.get(&(index, exchange));
        let Ok(taken) = taken else { return };
        if let Some(known) = known {
            assert_eq!(taken.as_ref().map(|command| command.id), Some(*known), "another answer to a copy");
            return;
        }
        let Some(command) = taken else { return };
        self.exchanges.insert((index, exchange), command.id);
        // An earlier answer may have been lost by the store; then the exchange has its command already.
        let was = before.iter().find(|old| old.id == command.id).unwrap();
        if was.attempts() < command.attempts() {
            self.goes_out(&command);
        }
    }

    fn report(&mut self, back: usize, older: u32, report: &Told) {
        // Those that are under way first.
        let mut begun: Vec<Command> = self.all().into_iter().filter(|one| one.attempts() > 0).collect();
        begun.sort_by_key(|command| (command.is_done(), std::cmp::Reverse(command.id)));
        let Some(command) = begun.into_iter().nth(back) else { return };
        let id = command.id;
        let number = command.attempts().saturating_sub(older);
        if number == 0 {
            return;
        }
        let cause = CauseCode::Rejected.into();
        let report = match report {
            Told::Transmitted => Report::Transmitted,
            Told::Acknowledged => Report::Acknowledged { result: None },
            Told::Failed(again) => Report::Failed { cause, again: *again },
            Told::Withdrawn => Report::Withdrawn,
            Told::Expired => Report::Expired,
            Told::Lost => Report::Lost { cause },
        };
        let attempt = AttemptId { command: id, number };
        let target = if older == 0 { Target::Command(id) } else { Target::Attempt(attempt) };
        let said = block_on(self.life.dispatcher.report(&command.device, &target, report.clone()));
        let after = block_on(self.store.inner().get(id)).unwrap().unwrap();
        let applied = after.changes() > command.changes();
        let Some(known) = self.attempts.get_mut(&attempt) else { return };
        match report {
            Report::Failed { .. } | Report::Withdrawn | Report::Expired if said.is_ok() || applied => {
                known.clear |= older == 0;
            }
            // What contradicts a refusal counts when the bridge believes it.
            Report::Transmitted | Report::Acknowledged { .. } => known.clear &= !applied,
            _ => {}
        }
    }

    /// Memory is gone, the store stays. What a held store answer or event would have said, nobody hears.
    fn crash(&mut self) {
        self.lives += 1;
        self.look_at_the_hub();
        self.store.set(Fault::None);
        self.life = Life::begin(&self.store, &self.clock, self.lives);
        self.set_transports();
        self.told.clear();
        block_on(self.life.dispatcher.recover()).unwrap();
        assert!(block_on(self.store.inner().sending(None, 9)).unwrap().is_empty());
    }

    /// An attempt leaves the bridge.
    fn goes_out(&mut self, command: &Command) {
        let attempt = command.attempt().unwrap();
        assert!(self.seen.insert(attempt), "{attempt} went out twice");
        let stored = block_on(self.store.inner().get(command.id)).unwrap().unwrap();
        assert_eq!(stored.attempts(), command.attempts(), "not on record before it goes out");
        let mut before = command.history().iter().filter(|change| change.attempts < attempt.number);
        assert!(before.all(|change| !change.done), "sent although it was over: {command:?}");
        for number in 1..attempt.number {
            // An attempt that never left (the store failed) is nothing to fear.
            if let Some(earlier) = self.attempts.get(&AttemptId { number, ..attempt }) {
                let harmless = earlier.clear || earlier.resend == Resend::Safe;
                assert!(harmless, "sent again although attempt {number} may have run: {command:?}");
            }
        }
        for other in self.all() {
            let waits = matches!(other.phase(), Phase::Waiting { .. }) && other.device == command.device;
            let later = other.id > command.id && self.firsts.contains(&attempt);
            assert!(!waits || later || place(&other) > place(command), "{other:?} was first");
        }
        let resend = command.flight().unwrap().resend;
        self.attempts.insert(attempt, Attempt { resend, clear: false });
    }

    fn look_at_the_transports(&mut self) {
        let sent = std::mem::take(&mut self.life.transports.state.lock().unwrap().sent);
        sent.iter().for_each(|command| self.goes_out(command));
    }

    fn look_at_the_hub(&mut self) {
        let taken = std::mem::take(&mut *self.life.hub.taken.lock().unwrap());
        for event in taken {
            assert!(self.told.insert((event.command, event.number)), "told twice in one life: {event:?}");
            let events = self.ever_told.entry(event.command).or_default();
            match events.iter().find(|known| known.number == event.number) {
                Some(known) => assert_eq!(*known, event, "the same change, told in another way"),
                None => {
                    assert_eq!(event.number as usize, events.len() + 1, "out of order");
                    events.push(event);
                }
            }
        }
    }

    fn look_at_the_store(&mut self) {
        let all = self.all();
        for command in &all {
            let history = command.history();
            assert_eq!(history.len(), command.changes() as usize, "history is lost");
            let ranks: Vec<u8> = history.iter().map(|change| rank(change.state, change.done)).collect();
            assert!(ranks.is_sorted(), "a state went back: {command:?}");
            if let Some(before) = self.last.get(&command.id) {
                assert_eq!(history[..before.history().len()], *before.history(), "history was changed");
                assert!(!before.is_done() || command.is_done(), "{command:?}");
            }
            let did_not_run = matches!(
                command.state(),
                CommandState::Expired | CommandState::Cancelled | CommandState::Failed
            );
            for number in (1..=command.attempts()).filter(|_| did_not_run) {
                let attempt = self.attempts.get(&AttemptId { command: command.id, number });
                assert!(
                    attempt.is_none_or(|attempt| attempt.clear),
                    "attempt {number} may have run: {command:?}"
                );
            }
        }
        for index in 0..DEVICES.len() {
            let flying = all.iter().filter(|c| c.device == device(index) && c.is_in_flight()).count();
            // What left after all, although its transport had refused it, takes a place that was given away.
            let late = all
                .iter()
                .filter(|c| c.device == device(index) && c.is_in_flight())
                .filter(|c| {
                    c.history()
                        .iter()
                        .any(|h| h.cause.as_ref().is_some_and(|c| c.code == CauseCode::Transmitted))
                })
                .count();
            assert!(self.capacity.replaces || flying <= self.capacity.in_flight + late);
        }
        self.last = all.into_iter().map(|command| (command.id, command)).collect();
    }

    /// Everything answers, and time passes: every command comes to its end, and every change is told.
    fn drain(&mut self) {
        self.carry_out(&Step::Fault(Fault::None));
        self.carry_out(&Step::Mood(Mood::Takes));
        for round in 0..400 {
            self.carry_out(&Step::Release);
            self.carry_out(&Step::Answer(0, Answer::Accepted));
            [SENDER, ANNOUNCER, TIMER].into_iter().for_each(|task| self.carry_out(&Step::Run(task)));
            let all = self.all();
            if all.iter().all(|command| command.is_done() && command.published == command.changes()) {
                break;
            }
            assert!(round < 399, "does not end: {all:#?}");
            self.carry_out(&Step::Pass(1100));
        }
        for command in self.all() {
            let events: Vec<StatusEvent> = command.events(0).collect();
            assert_eq!(self.ever_told.get(&command.id), Some(&events), "not all was told");
        }
        let never = bridge_core::Timestamp::parse_rfc3339("2100-01-01T00:00:00Z").unwrap();
        let purged = block_on(self.store.purge(never, 0, usize::MAX)).unwrap();
        assert_eq!(purged as usize, self.last.len());
    }
}

#[derive(Debug, Clone)]
struct Wish {
    device: usize,
    key: Option<u8>,
    replace: Option<u8>,
    priority: usize,
    max_attempts: u32,
    /// Seconds.
    lives: u64,
}

#[derive(Debug, Clone)]
enum Answer {
    Accepted,
    Delivered,
    Refused(Again),
    Unknown,
}

#[derive(Debug, Clone)]
enum Told {
    Transmitted,
    Acknowledged,
    Failed(Again),
    Withdrawn,
    Expired,
    Lost,
}

#[derive(Debug, Clone)]
enum Step {
    Submit(Wish),
    /// For the n-th attempt that waits for it.
    Answer(usize, Answer),
    /// A device asks.
    Take(usize, u8),
    /// About a command, those under way first, and an attempt counted back from its last.
    Report(usize, u32, Told),
    Cancel(usize),
    Wake(usize),
    Run(usize),
    Pass(u64),
    Fault(Fault),
    Mood(Mood),
    Release,
    Crash,
}

fn again() -> impl Generate<Value = Again> {
    prop_oneof![
        1 => Just(Again::Never),
        3 => Just(Again::Later(None)),
        1 => Just(Again::Later(Some(Duration::from_secs(3)))),
        1 => Just(Again::WhenReachable),
    ]
}

fn step() -> impl Generate<Value = Step> {
    let wish = (
        0usize..4,
        prop::option::weighted(0.3, 0u8..4),
        prop::option::weighted(0.4, 0u8..2),
        0usize..3,
        1u32..7,
        prop_oneof![1 => 1u64..30, 2 => 30u64..400],
    );
    let wish = wish.prop_map(|(device, key, replace, priority, max_attempts, lives)| {
        Step::Submit(Wish { device, key, replace, priority, max_attempts, lives })
    });
    let answer = prop_oneof![
        4 => Just(Answer::Accepted),
        1 => Just(Answer::Delivered),
        4 => again().prop_map(Answer::Refused),
        2 => Just(Answer::Unknown),
    ];
    let told = prop_oneof![
        3 => Just(Told::Transmitted),
        2 => Just(Told::Acknowledged),
        3 => again().prop_map(Told::Failed),
        1 => Just(Told::Withdrawn),
        1 => Just(Told::Expired),
        1 => Just(Told::Lost),
    ];
    prop_oneof![
        10 => wish,
        12 => (0usize..3, answer).prop_map(|(nth, answer)| Step::Answer(nth, answer)),
        6 => (0usize..2, 0u8..8).prop_map(|(index, exchange)| Step::Take(index, exchange)),
        10 => (0usize..8, prop_oneof![3 => Just(0u32), 1 => Just(1), 1 => Just(2)], told)
            .prop_map(|(back, older, told)| Step::Report(back, older, told)),
        2 => (0usize..8).prop_map(Step::Cancel),
        2 => (0usize..4).prop_map(Step::Wake),
        16 => Just(Step::Run(SENDER)),
        8 => Just(Step::Run(ANNOUNCER)),
        8 => Just(Step::Run(TIMER)),
        8 => prop_oneof![3 => 1u64..1500, 1 => 1500u64..30_000].prop_map(Step::Pass),
        3 => prop_oneof![3 => Just(Fault::None), 1 => Just(Fault::Before), 1 => Just(Fault::After)]
            .prop_map(Step::Fault),
        2 => prop_oneof![2 => Just(Mood::Takes), 1 => Just(Mood::Refuses), 1 => Just(Mood::Holds)].prop_map(Step::Mood),
        2 => Just(Step::Release),
        2 => Just(Step::Crash),
    ]
}

fn flights() -> impl Generate<Value = Vec<(Resend, Awaits)>> {
    let resend = prop_oneof![2 => Just(Resend::Never), 1 => Just(Resend::Safe)];
    let awaits = prop_oneof![
        3 => Just(Awaits::Acknowledgement), 1 => Just(Awaits::Transmission), 1 => Just(Awaits::Nothing),
    ];
    prop::collection::vec((resend, awaits), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_commands_keeps_its_promises(
        steps in prop::collection::vec(step(), 1..160),
        flights in flights(),
        in_flight in 1usize..3,
        replaces in any::<bool>(),
    ) {
        let mut world = World::new(Capacity { in_flight, replaces }, flights);
        steps.iter().for_each(|step| world.carry_out(step));
        world.drain();
    }
}
