//! One life of the dispatcher over a store that outlives it: transports whose answers the test gives, a hub that takes or
//! refuses, tasks polled by hand. Not here: when they are polled, and what is asserted.

#![allow(dead_code, reason = "two tests share it")]

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_core::command::queue::Capacity;
use bridge_core::command::{
    AttemptId, Awaits, Command, Draft, DraftLimits, Flight, Manner, Payload, Report, Resend, SendOutcome,
    StatusEvent,
};
use bridge_core::commands::{DispatchConfig, DispatchParts, Dispatcher, Route, StatusSink, Way, Ways};
use bridge_core::ports::{BoxFuture, Clock, QueueLimits, StoreResult};
use bridge_core::testing::{Faulty, ManualClock, MemoryStore, poll_once};
use bridge_core::{DeviceId, IntegrationName};
use futures_channel::oneshot;

pub(crate) type Store = Faulty<MemoryStore>;

/// Devices whose name begins with `box` ask, all others are sent to; `nobody` is unknown.
#[derive(Default)]
pub(crate) struct Transports {
    pub(crate) state: Mutex<TransportState>,
}

#[derive(Default)]
pub(crate) struct TransportState {
    pub(crate) capacity: Capacity,
    /// How the next attempts travel; the last one stays.
    pub(crate) flights: Vec<Flight>,
    /// Sent and not answered.
    pub(crate) pending: Vec<(AttemptId, oneshot::Sender<SendOutcome>)>,
    /// Sent since somebody looked.
    pub(crate) sent: Vec<Command>,
    /// What it says when it is asked to give a command back.
    pub(crate) withdrawal: Option<Report>,
    /// Devices that are not known any more.
    pub(crate) removed: Vec<DeviceId>,
}

pub(crate) fn flight(resend: Resend, awaits: Awaits) -> Flight {
    Flight { resend, awaits, within: Duration::from_secs(40), patience: Duration::from_secs(10) }
}

pub(crate) struct FakeWay(pub(crate) Manner, pub(crate) Arc<Transports>);

impl Way for FakeWay {
    fn manner(&self) -> Manner {
        self.0
    }

    fn capacity(&self) -> Capacity {
        self.1.state.lock().unwrap().capacity
    }

    fn prepare<'a>(
        &'a self,
        _device: &'a DeviceId,
        draft: &'a Draft,
    ) -> BoxFuture<'a, Result<Option<Payload>, String>> {
        let text = draft.arguments.as_str().map(str::to_owned);
        Box::pin(async move {
            match text {
                Some(text) if text.len() > 8 => Err("longer than 8 bytes".into()),
                text => Ok(text.map(|text| Payload { data: text.into_bytes(), port: Some(1) })),
            }
        })
    }

    fn flight(&self, _command: &Command) -> Flight {
        let mut state = self.1.state.lock().unwrap();
        let usual = flight(Resend::Never, Awaits::Acknowledgement);
        if state.flights.len() > 1 {
            state.flights.remove(0)
        } else {
            *state.flights.first().unwrap_or(&usual)
        }
    }

    fn send<'a>(&'a self, command: &'a Command, attempt: AttemptId) -> BoxFuture<'a, SendOutcome> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.1.state.lock().unwrap();
        state.pending.push((attempt, sender));
        state.sent.push(command.clone());
        Box::pin(async move { receiver.await.expect("the test answers, or drops the life") })
    }

    fn withdraw<'a>(&'a self, _command: &'a Command) -> BoxFuture<'a, Option<Report>> {
        let says = self.1.state.lock().unwrap().withdrawal.clone();
        Box::pin(async move { says })
    }
}

struct FakeWays(Arc<Transports>);

impl Ways for FakeWays {
    fn route<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, StoreResult<Route>> {
        let gone = self.0.state.lock().unwrap().removed.contains(device);
        let manner = if device.as_str().starts_with("box") { Manner::Mailbox } else { Manner::Push };
        let route = match device.as_str() {
            _ if gone => Route::UnknownDevice,
            "nobody" => Route::UnknownDevice,
            "deaf" => Route::NoWay("it only talks".into()),
            _ => Route::To {
                integration: IntegrationName::parse("farm").unwrap(),
                way: Arc::new(FakeWay(manner, self.0.clone())),
            },
        };
        Box::pin(async move { Ok(route) })
    }
}

/// What the hub's side does with an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Takes,
    Refuses,
    /// Takes it, and says so later.
    Holds,
}

/// The hub's side.
#[derive(Default)]
pub(crate) struct Hub {
    pub(crate) mood: Mutex<Mood>,
    pub(crate) taken: Mutex<Vec<StatusEvent>>,
    held: Mutex<Vec<oneshot::Sender<bool>>>,
}

impl Hub {
    /// Says so.
    pub(crate) fn release(&self) {
        for held in self.held.lock().unwrap().drain(..) {
            // A bridge that is gone does not hear it.
            let _ = held.send(true);
        }
    }

    /// `NAME-OF-STATE` of every event taken, in order.
    pub(crate) fn states(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|event| event.body["state"].as_str().unwrap().to_owned()).collect()
    }
}

impl StatusSink for Hub {
    fn publish(&self, event: StatusEvent) -> BoxFuture<'static, bool> {
        let mood = *self.mood.lock().unwrap();
        if mood != Mood::Refuses {
            self.taken.lock().unwrap().push(event);
        }
        if mood == Mood::Holds {
            let (sender, receiver) = oneshot::channel();
            self.held.lock().unwrap().push(sender);
            return Box::pin(async move { receiver.await.unwrap_or(false) });
        }
        Box::pin(async move { mood == Mood::Takes })
    }
}

/// See the module.
pub(crate) struct Life {
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) transports: Arc<Transports>,
    pub(crate) hub: Arc<Hub>,
    /// Sender, announcer, timer: they never end.
    pub(crate) tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

pub(crate) const LIMITS: QueueLimits = QueueLimits { per_device: 6, total: 14 };

impl Life {
    pub(crate) fn begin(store: &Arc<Store>, clock: &Arc<ManualClock>, seed: u128) -> Self {
        let (transports, hub) = (Arc::new(Transports::default()), Arc::new(Hub::default()));
        let config = DispatchConfig {
            limits: LIMITS,
            drafts: DraftLimits { arguments: 100, payload: 20 },
            time_to_live: Duration::from_secs(100),
            ..DispatchConfig::default()
        };
        let random = Mutex::new(seed);
        let parts = DispatchParts {
            store: store.clone(),
            ways: Arc::new(FakeWays(transports.clone())),
            sink: hub.clone(),
            clock: clock.clone() as Arc<dyn Clock>,
            random: Box::new(move || {
                let mut random = random.lock().unwrap();
                *random = random.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(1);
                *random >> 40
            }),
        };
        let dispatcher = Arc::new(Dispatcher::new(config, parts));
        let [sender, announcer, timer] = [(); 3].map(|()| dispatcher.clone());
        Self {
            dispatcher,
            transports,
            hub,
            tasks: vec![
                Box::pin(async move { sender.run_sender().await }),
                Box::pin(async move { announcer.run_announcer().await }),
                Box::pin(async move { timer.run_timer().await }),
            ],
        }
    }

    pub(crate) fn poll(&mut self, task: usize) {
        assert!(poll_once(&mut self.tasks[task]).is_none(), "a task that never ends has ended");
    }

    /// Lets every task go as far as it can.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10 {
            (0..self.tasks.len()).for_each(|task| self.poll(task));
        }
    }

    /// Answers for the oldest attempt that waits for it; which that was.
    pub(crate) fn answer(&self, outcome: SendOutcome) -> Option<AttemptId> {
        self.answer_nth(0, outcome)
    }

    pub(crate) fn answer_nth(&self, nth: usize, outcome: SendOutcome) -> Option<AttemptId> {
        let mut state = self.transports.state.lock().unwrap();
        if nth >= state.pending.len() {
            return None;
        }
        let (attempt, sender) = state.pending.remove(nth);
        drop(state);
        // A bridge that is gone does not hear it.
        let _ = sender.send(outcome);
        Some(attempt)
    }

    /// How many attempts were sent, by command.
    pub(crate) fn sent(&self) -> HashMap<String, u32> {
        let state = self.transports.state.lock().unwrap();
        let mut counts = HashMap::new();
        for command in &state.sent {
            *counts.entry(command.draft.name.to_string()).or_default() += 1;
        }
        counts
    }
}
