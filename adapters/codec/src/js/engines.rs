//! The engines of one script: one, and more once its callers have been in each other's way for a while. Not here: what
//! an engine is ([`super::realm`]), how many are kept in all ([`super::host`]).

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::realm::Realm;
use super::scheduler::{lock, try_lock};

/// The most engines that one script has.
const MOST: usize = 4;
/// Callers have had to wait so often before there is one engine more.
const CROWDED: u32 = 1024;
/// When a thread of the host has to wait, it counts as so many callers: it may have to for as long as a call lasts.
const LONG: u32 = 64;

/// Locked while it runs; none when it has to be loaded.
pub(super) type Engine<'s> = MutexGuard<'s, Option<Realm>>;

#[derive(Debug, Default)]
pub(super) struct Engines {
    places: [Mutex<Option<Realm>>; MOST],
    /// How often, in callers, all engines were busy since there was one more.
    crowded: AtomicU32,
    /// Threads of the host that wait.
    waiting: AtomicUsize,
}

impl Engines {
    /// A place for a thread of the host, with an engine or for one; waits while all run. `most` is how many engines
    /// there may be.
    pub(super) fn take_turn(&self, most: usize) -> Engine<'_> {
        // Before an idle one: who was sent here for one more would be sent again.
        if let Some(place) = self.place_for_one_more(most) {
            self.crowded.store(0, Ordering::Relaxed);
            return place;
        }
        if let Some(engine) = self.idle() {
            return engine;
        }
        let places = &self.places[..most.clamp(1, MOST)];
        if places.iter().all(|place| try_lock(place).is_some())
            && let Some(place) = places.iter().find_map(try_lock)
        {
            return place;
        }
        self.crowded.fetch_add(LONG, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let engine = lock(&self.places[0]);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        engine
    }

    /// An engine for another thread, which looks for one for so long. Threads of the host come first: they have a call
    /// that came earlier. Nor does it look when there is to be one more of at most `most`, which such a thread loads.
    pub(super) fn find(&self, time: Duration, most: usize) -> Option<Engine<'_>> {
        if let Some(engine) = self.next() {
            return Some(engine);
        }
        self.crowded.fetch_add(1, Ordering::Relaxed);
        if self.place_for_one_more(most).is_some() {
            return None;
        }
        let start = Instant::now();
        while start.elapsed() < time {
            if let Some(engine) = self.next() {
                return Some(engine);
            }
            std::hint::spin_loop();
        }
        None
    }

    /// How many there are. One that is locked runs at this moment.
    pub(super) fn count(&self) -> usize {
        self.places.iter().filter(|place| try_lock(place).is_none_or(|engine| engine.is_some())).count()
    }

    /// Drops all that do not run. Waiting for the others could be for ever, as they may wait for this thread.
    pub(super) fn drop_idle(&self) {
        for place in &self.places {
            let dropped = try_lock(place).and_then(|mut engine| engine.take());
            drop(dropped);
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Until this is dropped none is idle.
    #[cfg(test)]
    pub(super) fn lock_all(&self) -> Vec<Engine<'_>> {
        self.places.iter().map(lock).collect()
    }

    /// A place without an engine, when there has been too much waiting for those that there are.
    fn place_for_one_more(&self, most: usize) -> Option<Engine<'_>> {
        let crowded = self.crowded.load(Ordering::Relaxed) >= CROWDED;
        let places = &self.places[..most.clamp(1, MOST)];
        crowded.then(|| places.iter().filter_map(try_lock).find(|place| place.is_none())).flatten()
    }

    fn next(&self) -> Option<Engine<'_>> {
        if self.waiting.load(Ordering::Acquire) == 0 { self.idle() } else { None }
    }

    fn idle(&self) -> Option<Engine<'_>> {
        self.places.iter().filter_map(try_lock).find(|engine| engine.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::js::realm::Limits;
    use crate::js::script::{Inner, Shape};

    fn engine() -> Realm {
        let time = Duration::from_secs(1);
        let limits = Limits { heap_bytes: 8 << 20, deadline: time, deadline_here: time };
        Realm::load(&Inner::new(0, "farm.js", "function Decoder() {}"), Shape::default(), limits).unwrap()
    }

    #[test]
    fn there_is_one_more_when_it_was_crowded_for_a_while() {
        let engines = Engines::default();
        *engines.take_turn(2) = Some(engine());
        for _ in 0..CROWDED / LONG {
            let busy = engines.find(Duration::ZERO, 2).unwrap();
            assert!(engines.find(Duration::ZERO, 2).is_none());
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(engines.take_turn(2).is_some()));
                while engines.waiting() == 0 {
                    std::thread::yield_now();
                }
                drop(busy);
            });
        }
        let busy = engines.find(Duration::ZERO, 2).unwrap();
        let mut second = engines.take_turn(2);
        assert!(second.is_none());
        *second = Some(engine());
        drop(second);
        assert!(engines.find(Duration::ZERO, 2).is_some());
        drop(busy);
        assert_eq!(engines.count(), 2);
        engines.drop_idle();
        assert_eq!(engines.count(), 0);
    }
    #[test]
    fn callers_that_wait_often_leave_it_to_the_host_to_load_one_more() {
        let engines = Engines::default();
        *engines.take_turn(2) = Some(engine());
        let busy = engines.find(Duration::ZERO, 2).unwrap();
        for _ in 0..=CROWDED {
            assert!(engines.find(Duration::ZERO, 2).is_none());
        }
        // At once: nobody would have come back in an hour.
        assert!(engines.find(Duration::from_hours(1), 2).is_none());
        *engines.take_turn(2) = Some(engine());
        let second = engines.find(Duration::ZERO, 2).unwrap();
        assert!(engines.find(Duration::ZERO, 2).is_none());
        drop((busy, second));
        assert_eq!(engines.count(), 2);
    }
}
