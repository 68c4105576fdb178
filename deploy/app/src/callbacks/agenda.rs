//! Which callbacks may have something to be told, and when each is tried: one call at a time for each, a growing rest after
//! each that failed. Time and randomness come in. Not here: the calls. It is all in memory: after a restart every callback
//! is looked at.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bridge_core::DeviceId;
use bridge_core::subscription::SubscriptionKind;

/// A callback.
pub(super) type Key = (DeviceId, SubscriptionKind);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    ready: VecDeque<Key>,
    known: HashMap<Key, Standing>,
}

#[derive(Debug)]
enum Standing {
    Ready {
        failures: u32,
    },
    /// Being called; `again`: something may have changed meanwhile.
    Busy {
        failures: u32,
        again: bool,
    },
    Resting {
        failures: u32,
        until: Instant,
    },
    /// Somebody else calls it, and says how that went.
    HandedOver {
        failures: u32,
    },
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// There is nothing to be told.
    Nothing,
    /// Somebody else calls it, and says so by [`Agenda::failed`] or [`Agenda::succeeded`].
    HandedOver,
    /// It was told; there may be more.
    Told,
    /// It failed; the host may have said when to try again.
    Failed(Option<Duration>),
}

/// Callbacks that are known at once; the others are found when all are looked at again.
const MOST: usize = 100_000;
/// After the first failure.
const FIRST_REST: Duration = Duration::from_secs(1);
/// At most, unless the host asks for more.
const LONGEST_REST: Duration = Duration::from_mins(5);
/// The longest that a host may ask for.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

impl Agenda {
    /// There may be something to be told. Who rests after a failure goes on resting.
    pub(super) fn want(&mut self, key: &Key) {
        let is_full = self.known.len() >= MOST;
        let failures = match self.known.get_mut(key) {
            Some(Standing::Busy { again, .. }) => {
                *again = true;
                return;
            }
            Some(Standing::Ready { .. } | Standing::Resting { .. }) => return,
            Some(Standing::HandedOver { failures }) => *failures,
            None if is_full => return,
            None => 0,
        };
        self.known.insert(key.clone(), Standing::Ready { failures });
        self.ready.push_back(key.clone());
    }

    /// The same, and it is tried at once: it has another address, or somebody asks for it.
    pub(super) fn want_now(&mut self, key: &Key) {
        if let Some(Standing::Resting { .. } | Standing::HandedOver { .. }) = self.known.get(key) {
            self.known.remove(key);
        }
        self.want(key);
    }

    /// The next one to look at, which is busy now; [`done`](Self::done) is called with it afterwards.
    pub(super) fn next(&mut self) -> Option<Key> {
        while let Some(key) = self.ready.pop_front() {
            // One that somebody else's call has sent to rest meanwhile is not ready any more.
            if let Some(Standing::Ready { failures }) = self.known.get(&key) {
                let busy = Standing::Busy { failures: *failures, again: false };
                self.known.insert(key.clone(), busy);
                return Some(key);
            }
        }
        None
    }

    /// Nobody waits to be looked at now.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// What became of it. `random` is between 0 and 1.
    pub(super) fn done(&mut self, key: Key, done: Done, now: Instant, random: f64) {
        // Somebody else's call has said more about it meanwhile.
        let Some(Standing::Busy { failures, again }) = self.known.get(&key) else { return };
        let (failures, again) = (*failures, *again);
        match done {
            Done::Failed(asked) => self.rest(key, failures, asked, now, random),
            Done::HandedOver if !again && failures > 0 => {
                self.known.insert(key, Standing::HandedOver { failures });
            }
            Done::Nothing | Done::HandedOver if !again => drop(self.known.remove(&key)),
            Done::Nothing | Done::HandedOver | Done::Told => {
                self.known.insert(key.clone(), Standing::Ready { failures: 0 });
                self.ready.push_back(key);
            }
        }
    }

    /// A call that somebody else made has failed: it is looked at again after its rest.
    pub(super) fn failed(&mut self, key: Key, asked: Option<Duration>, now: Instant, random: f64) {
        let failures = match self.known.get(&key) {
            Some(
                Standing::Ready { failures }
                | Standing::Resting { failures, .. }
                | Standing::Busy { failures, .. }
                | Standing::HandedOver { failures },
            ) => *failures,
            None if self.known.len() >= MOST => return,
            None => 0,
        };
        self.rest(key, failures, asked, now, random);
    }

    /// A call that somebody else made went well.
    pub(super) fn succeeded(&mut self, key: &Key) {
        if let Some(Standing::Resting { .. } | Standing::HandedOver { .. }) = self.known.get(key) {
            self.known.remove(key);
        }
    }

    /// Lets time pass: who has rested is ready.
    pub(super) fn tick(&mut self, now: Instant) {
        for (key, standing) in &mut self.known {
            if let Standing::Resting { failures, until } = *standing
                && until <= now
            {
                *standing = Standing::Ready { failures };
                self.ready.push_back(key.clone());
            }
        }
    }

    fn rest(&mut self, key: Key, failures: u32, asked: Option<Duration>, now: Instant, random: f64) {
        let doubled = FIRST_REST.saturating_mul(1 << failures.min(16)).min(LONGEST_REST);
        let rest = match asked {
            // Never before the time that was asked for.
            Some(asked) => asked.min(LONGEST_ASKED).mul_f64(1.0 + random / 10.0),
            None => doubled.mul_f64(1.0 - random / 2.0),
        };
        self.known.insert(key, Standing::Resting { failures: failures.saturating_add(1), until: now + rest });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(device: &str) -> Key {
        (DeviceId::parse(device).unwrap(), SubscriptionKind::Methods)
    }

    #[test]
    fn one_call_at_a_time_and_what_changes_meanwhile_is_looked_at_again() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.want(&key("a"));
        agenda.want(&key("a"));
        assert_eq!((agenda.next(), agenda.next()), (Some(key("a")), None));
        agenda.want(&key("a"));
        assert_eq!(agenda.next(), None, "it is busy");
        agenda.done(key("a"), Done::Nothing, now, 0.0);
        assert_eq!(agenda.next(), Some(key("a")));
        agenda.done(key("a"), Done::Told, now, 0.0);
        assert_eq!(agenda.next(), Some(key("a")), "there may be more");
        agenda.done(key("a"), Done::Nothing, now, 0.0);
        assert!(agenda.is_idle() && agenda.known.is_empty());
    }

    #[test]
    fn rests_grow_and_are_those_that_were_asked_for() {
        let (mut agenda, start) = (Agenda::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        agenda.want(&key("a"));
        for (failed, back) in [(0, 1), (1, 3), (3, 7)] {
            assert_eq!(agenda.next(), Some(key("a")));
            agenda.done(key("a"), Done::Failed(None), at(failed), 0.0);
            agenda.want(&key("a"));
            agenda.tick(at(back) - Duration::from_millis(1));
            assert!(agenda.is_idle(), "it rests, whatever is wanted");
            agenda.tick(at(back));
        }
        assert_eq!(agenda.next(), Some(key("a")));
        agenda.done(key("a"), Done::Failed(Some(Duration::from_secs(60))), at(7), 1.0);
        agenda.tick(at(72));
        assert!(agenda.is_idle(), "never before the time that was asked for");
        agenda.want_now(&key("a"));
        assert_eq!(agenda.next(), Some(key("a")), "it has another address");
        agenda.done(key("a"), Done::Told, at(72), 0.0);
        assert_eq!(agenda.next(), Some(key("a")));
        agenda.done(key("a"), Done::Failed(None), at(72), 0.0);
        agenda.tick(at(73));
        assert_eq!(agenda.next(), Some(key("a")), "what went well begins anew");
    }

    #[test]
    fn calls_of_others_count_too() {
        let (mut agenda, start) = (Agenda::default(), Instant::now());
        agenda.failed(key("a"), None, start, 0.0);
        agenda.failed(key("a"), None, start, 0.0);
        agenda.tick(start + Duration::from_secs(1));
        assert!(agenda.is_idle());
        agenda.tick(start + Duration::from_secs(2));
        assert_eq!(agenda.next(), Some(key("a")));
        agenda.done(key("a"), Done::HandedOver, start, 0.0);
        agenda.failed(key("a"), None, start, 0.0);
        agenda.tick(start + Duration::from_secs(3));
        assert!(agenda.is_idle(), "the third in a row");
        agenda.succeeded(&key("a"));
        agenda.tick(start + Duration::from_secs(9));
        assert!(agenda.is_idle());
    }

    #[test]
    fn a_call_of_others_that_fails_at_once_is_not_forgotten() {
        let (mut agenda, start) = (Agenda::default(), Instant::now());
        agenda.want(&key("a"));
        assert_eq!(agenda.next(), Some(key("a")));
        agenda.failed(key("a"), None, start, 0.0);
        agenda.done(key("a"), Done::HandedOver, start, 0.0);
        agenda.tick(start + Duration::from_secs(1));
        agenda.failed(key("a"), None, start, 0.0);
        assert_eq!(agenda.next(), None, "it rests");
        agenda.tick(start + Duration::from_secs(2));
        assert_eq!((agenda.next(), agenda.next()), (Some(key("a")), None));
    }

    #[test]
    fn it_is_bounded() {
        let mut agenda = Agenda::default();
        for n in 0..MOST + 10 {
            agenda.want(&key(&n.to_string()));
        }
        assert_eq!((agenda.known.len(), agenda.ready.len()), (MOST, MOST));
    }
}
