//! Commands whose first attempt begins with their insertion, on their way from who inserted them to who sends: one durable
//! step instead of two. Not here: the insertion, and the sending.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Dispatcher;
use super::kicks::Kicks;
use super::way::Way;
use crate::command::{AttemptId, Command, Manner};
use crate::signal::lock;
use crate::time::Timestamp;

/// See the module. Bounded by the sender's places.
#[derive(Default)]
pub(super) struct Firsts {
    /// Somebody sends.
    is_served: AtomicBool,
    waiting: Mutex<VecDeque<First>>,
}

/// A command begun with its insertion. Its device is the holder's: of this process, nobody else sends to it.
pub(super) struct First {
    /// As it was given to the store.
    pub(super) command: Command,
    pub(super) attempt: AttemptId,
    pub(super) patience: Duration,
    pub(super) way: Arc<dyn Way>,
    /// The store has said that it has it so.
    pub(super) is_stored: bool,
}

impl Dispatcher {
    /// The command with its first attempt begun, where it may be sent as soon as it is stored.
    pub(super) fn first(
        &self,
        command: &Command,
        way: &Arc<dyn Way>,
        now: Timestamp,
    ) -> Option<Inserting<'_>> {
        if way.manner() != Manner::Push || way.capacity().in_flight == 0 || !self.firsts.is_served() {
            return None;
        }
        let (mut command, flight) = (command.clone(), way.flight(command));
        let attempt = command.begin(flight, now)?;
        if !self.kicks.claim(&command.device, self.config.at_once) {
            return None;
        }
        let (way, patience) = (way.clone(), flight.patience);
        let first = First { command, attempt, patience, way, is_stored: false };
        Some(self.firsts.inserting(&self.kicks, first))
    }
}

/// Says that somebody sends, while it lives.
pub(super) struct Serving<'a>(&'a Firsts);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.is_served.store(false, Relaxed);
    }
}

impl Firsts {
    pub(super) fn serve(&self) -> Serving<'_> {
        self.is_served.store(true, Relaxed);
        Serving(self)
    }

    pub(super) fn is_served(&self) -> bool {
        self.is_served.load(Relaxed)
    }

    pub(super) fn next(&self) -> Option<First> {
        lock(&self.waiting).pop_front()
    }

    /// Holds a first while it is being inserted.
    pub(super) fn inserting<'a>(&'a self, kicks: &'a Kicks, first: First) -> Inserting<'a> {
        Inserting { firsts: self, kicks, first: Some(first) }
    }

    fn pass_on(&self, first: First, kicks: &Kicks) {
        lock(&self.waiting).push_back(first);
        kicks.more.notify();
    }
}

/// An insertion under way. Dropped, for its caller is gone or the store failed, it is passed on as one that may be stored.
pub(super) struct Inserting<'a> {
    firsts: &'a Firsts,
    kicks: &'a Kicks,
    first: Option<First>,
}

impl Inserting<'_> {
    /// As it is to be stored.
    pub(super) fn begun(&self) -> Option<&Command> {
        self.first.as_ref().map(|first| &first.command)
    }

    /// It is stored as begun: to be sent.
    pub(super) fn stored(mut self) {
        if let Some(first) = self.first.take() {
            self.firsts.pass_on(First { is_stored: true, ..first }, self.kicks);
        }
    }

    /// It is not stored as begun.
    pub(super) fn refused(mut self) {
        if let Some(first) = self.first.take() {
            self.kicks.done(first.command.device);
        }
    }
}

impl Drop for Inserting<'_> {
    fn drop(&mut self) {
        if let Some(first) = self.first.take() {
            self.firsts.pass_on(first, self.kicks);
        }
    }
}
