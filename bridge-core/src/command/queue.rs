//! Which command of a device goes next. Not here: keeping the queue ([`crate::ports::Commands`]).

use std::cmp::Reverse;

use super::{Command, CommandId, Phase};
use crate::time::Timestamp;

/// How much of one device may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Commands in flight.
    pub in_flight: usize,
    /// The transport can put a newer command in the place of an older one that it has not sent: one with the same replace
    /// key need not wait for it.
    pub replaces: bool,
}

impl Default for Capacity {
    /// One after the other.
    fn default() -> Self {
        Self { in_flight: 1, replaces: false }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The bridge, by itself.
    Bridge,
    /// The device: what waits for it to ask may go too.
    Device,
}

/// What to do with a device's queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next<'a> {
    /// Send this one.
    Send(&'a Command),
    /// The first is out of date: [`Command::pass`] it, and look again.
    Expire(&'a Command),
    /// Nothing before this moment; nothing at all until something happens when there is none.
    Wait(Option<Timestamp>),
}

/// The place in the queue: by priority, then by age. Order is strict: the first one holds up the others while it waits for
/// its next attempt, for only so do two settings of one thing arrive in their order.
pub fn place(command: &Command) -> (Reverse<u8>, CommandId) {
    (Reverse(command.draft.priority.rank()), command.id)
}

/// Chooses among the open commands of one device: all that are in flight, and at least the first that waits.
pub fn next(open: &[Command], asker: Asker, capacity: Capacity, now: Timestamp) -> Next<'_> {
    let waiting = open.iter().filter(|command| matches!(command.phase(), Phase::Waiting { .. }));
    let Some(first) = waiting.min_by_key(|command| place(command)) else { return Next::Wait(None) };
    if first.expires <= now {
        return Next::Expire(first);
    }
    let mut flying = open.iter().filter(|command| command.is_in_flight());
    let room = flying.clone().count() < capacity.in_flight;
    let mut replaces = || {
        capacity.replaces && first.draft.replace.is_some() && flying.all(|other| is_replaceable(other, first))
    };
    if !room && !replaces() {
        return Next::Wait(None);
    }
    match first.phase() {
        Phase::Waiting { pushed: false, .. } if asker == Asker::Bridge => Next::Wait(None),
        Phase::Waiting { not_before, .. } if not_before > now => Next::Wait(Some(not_before)),
        _ => Next::Send(first),
    }
}

/// The transport has `older`, and `newer` is to take its place.
pub fn is_replaceable(older: &Command, newer: &Command) -> bool {
    matches!(older.phase(), Phase::Awaiting { .. })
        && older.id < newer.id
        && older.draft.replace == newer.draft.replace
        && newer.draft.replace.is_some()
}
