//! Tells the hub's side of every change, in order for each command: one at a time of one command, many commands at once.
//! What was told is noted in the store behind, in batches; after a crash the last events come again with their ids. Not
//! here: the events themselves ([`StatusEvent`](crate::command::StatusEvent)).

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::command::{Command, CommandId};
use crate::ports::{BoxFuture, Clock, Commands, StoreResult};
use crate::recent::Recent;
use crate::signal::{Signal, lock};

use super::StatusSink;

/// Commands in memory; beyond it they are found again in the store.
const MAX_KNOWN: usize = 10_000;
/// Commands told of at once.
const AT_ONCE: usize = 256;
/// How long notes gather before they are written.
const WRITE_BEHIND: Duration = Duration::from_millis(100);
/// How long a command rests after its event was not taken.
const RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    state: Mutex<State>,
    more: Signal,
}

#[derive(Debug)]
struct State {
    known: HashMap<CommandId, Entry>,
    /// To be worked.
    queue: VecDeque<CommandId>,
    /// Told of, and not noted in the store.
    unnoted: HashMap<CommandId, u32>,
    /// Up to which change commands were told of that are in memory no more: the store need not be asked.
    told: Recent<CommandId, u32>,
    /// There are commands in the store that are not in memory.
    sweep: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            queue: VecDeque::new(),
            unnoted: HashMap::new(),
            told: Recent::new(MAX_KNOWN),
            sweep: false,
        }
    }
}

impl State {
    fn forget(&mut self, id: CommandId) {
        if let Some(told) = self.known.remove(&id).and_then(|entry| entry.told) {
            self.told.insert(id, told);
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// As it was last seen.
    latest: Arc<Command>,
    /// Up to which change it was told of; none until the store was asked.
    told: Option<u32>,
    /// In `queue`, or being worked.
    active: bool,
}

impl Announcer {
    /// A command is new: nothing was told of it.
    pub(super) fn fresh(&self, command: &Command) {
        lock(&self.state).told.insert(command.id, 0);
    }

    /// A command has changed.
    pub(super) fn note(&self, command: &Arc<Command>) {
        let mut state = lock(&self.state);
        let room = state.known.len() < MAX_KNOWN;
        match state.known.get_mut(&command.id) {
            Some(entry) => {
                if command.changes() <= entry.latest.changes() {
                    return;
                }
                entry.latest = command.clone();
                if std::mem::replace(&mut entry.active, true) {
                    return;
                }
                state.queue.push_back(command.id);
            }
            None if room => {
                let told = state.told.get(&command.id).copied();
                let entry = Entry { latest: command.clone(), told, active: true };
                state.known.insert(command.id, entry);
                state.queue.push_back(command.id);
            }
            None => {
                state.sweep = true;
                return;
            }
        }
        drop(state);
        self.more.notify();
    }

    /// The next sweep looks for commands that nobody noted: after a start, and for callers that were dropped half-way.
    pub(super) fn look_around(&self) {
        lock(&self.state).sweep = true;
        self.more.notify();
    }

    /// Works for ever.
    pub(super) async fn run(&self, store: &dyn Commands, sink: &dyn StatusSink, clock: &dyn Clock) {
        let mut telling = FuturesUnordered::new();
        let mut noting: Option<BoxFuture<'_, ()>> = None;
        loop {
            while telling.len() < AT_ONCE
                && let Some(id) = self.next()
            {
                telling.push(self.tell(id, store, sink, clock));
            }
            if noting.is_none() && !lock(&self.state).unnoted.is_empty() {
                noting = Some(Box::pin(self.write_notes(store, clock)));
            }
            if let Some(limit) = self.wants_sweep() {
                // A store that fails now is asked again after the next look around.
                let _ = self.sweep(store, limit).await;
                continue;
            }
            let mut more = pin!(self.more.wait());
            poll_fn(|context| {
                let mut moved = more.as_mut().poll(context).is_ready();
                while let Poll::Ready(Some(())) = telling.poll_next_unpin(context) {
                    moved = true;
                }
                if let Some(writing) = &mut noting
                    && writing.as_mut().poll(context).is_ready()
                {
                    noting = None;
                    moved = true;
                }
                if moved { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    fn next(&self) -> Option<CommandId> {
        lock(&self.state).queue.pop_front()
    }

    /// How many commands to look for. What was forgotten is the oldest: while there is other work, a few will do.
    fn wants_sweep(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        let room = state.known.len() < MAX_KNOWN && std::mem::take(&mut state.sweep);
        room.then_some(if state.known.is_empty() { MAX_KNOWN } else { AT_ONCE })
    }

    /// Tells of one command until there is nothing more to tell.
    async fn tell(&self, id: CommandId, store: &dyn Commands, sink: &dyn StatusSink, clock: &dyn Clock) {
        loop {
            if lock(&self.state).known.get(&id).is_some_and(|entry| entry.told.is_none()) {
                match store.get(id).await {
                    Ok(found) => self.found(id, found),
                    Err(_) => clock.sleep_until(clock.now() + RETRY).await,
                }
                continue;
            }
            let event = {
                let mut state = lock(&self.state);
                let Some(entry) = state.known.get_mut(&id) else { return };
                let event = entry.latest.events(entry.told.unwrap_or(0)).next();
                if event.is_none() {
                    entry.active = false;
                    if !state.unnoted.contains_key(&id) {
                        state.forget(id);
                    }
                    return;
                }
                event
            };
            let Some(event) = event else { return };
            let number = event.number;
            if sink.publish(event).await {
                let mut state = lock(&self.state);
                state.unnoted.insert(id, number);
                if let Some(entry) = state.known.get_mut(&id) {
                    entry.told = Some(number);
                }
                drop(state);
                self.more.notify();
            } else {
                clock.sleep_until(clock.now() + RETRY).await;
            }
        }
    }

    fn found(&self, id: CommandId, found: Option<Command>) {
        let mut state = lock(&self.state);
        match (state.known.get_mut(&id), found) {
            (Some(entry), Some(command)) => {
                entry.told = Some(command.published);
                if command.changes() > entry.latest.changes() {
                    entry.latest = Arc::new(command);
                }
            }
            // Purged: nothing can be told of it any more.
            (_, None) => drop(state.known.remove(&id)),
            (None, Some(_)) => {}
        }
    }

    async fn write_notes(&self, store: &dyn Commands, clock: &dyn Clock) {
        clock.sleep_until(clock.now() + WRITE_BEHIND).await;
        let batch: Vec<(CommandId, u32)> = {
            let state = lock(&self.state);
            state.unnoted.iter().map(|(id, number)| (*id, *number)).collect()
        };
        if store.published(&batch).await.is_err() {
            clock.sleep_until(clock.now() + RETRY).await;
            return;
        }
        let mut state = lock(&self.state);
        for (id, number) in batch {
            if state.unnoted.get(&id).is_some_and(|newer| *newer > number) {
                continue;
            }
            state.unnoted.remove(&id);
            if state.known.get(&id).is_some_and(|entry| !entry.active) {
                state.forget(id);
            }
        }
    }

    /// Takes what the store has into memory, as far as there is room.
    async fn sweep(&self, store: &dyn Commands, limit: usize) -> StoreResult<()> {
        let found = store.unpublished(None, limit).await?;
        found.into_iter().for_each(|command| self.note(&Arc::new(command)));
        Ok(())
    }
}
