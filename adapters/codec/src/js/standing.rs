//! Whether a script may run on its caller's thread: the credit that quick calls earn and slow ones lose. Not here: such
//! a call ([`super::inline`]).

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// A script whose credit is as large may run on its caller's thread.
const ENOUGH: i32 = 32;
const MOST: i32 = 2 * ENOUGH;
/// What a slow call costs. Now and then one is, as its thread had to wait for a processor.
const SLOW: i32 = 16;
/// How many calls a script has lost that had to be thrown out.
const PENALTY: i32 = 1000;
const QUICK: Duration = Duration::from_micros(300);

/// The credit of a script.
#[derive(Debug, Default)]
pub(super) struct Standing(AtomicI32);

impl Standing {
    pub(super) fn is_good(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= ENOUGH
    }

    /// After a call, wherever it ran. A call that is not light is no credit.
    pub(super) fn record(&self, took: Duration, light: bool) {
        let quick = light && took < QUICK;
        self.change(|credit| match credit {
            i32::MIN => credit,
            _ if quick => (credit + 1).min(MOST),
            0.. => (credit - SLOW).max(0),
            _ => credit,
        });
    }

    /// Nothing of it on its caller's thread for so many calls.
    pub(super) fn lose(&self) {
        self.change(|credit| if credit == i32::MIN { credit } else { ENOUGH - PENALTY });
    }

    /// Never again.
    pub(super) fn bar(&self) {
        self.0.store(i32::MIN, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn trust(&self) {
        self.0.store(MOST, Ordering::Relaxed);
    }

    fn change(&self, change: impl Fn(i32) -> i32) {
        let now = self.0.load(Ordering::Relaxed);
        if change(now) != now {
            // invariant: `change` always gives a number.
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |credit| Some(change(credit)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_calls_earn_it_and_slow_ones_lose_it() {
        let (quick, slow) = (Duration::from_micros(20), Duration::from_millis(1));
        let standing = Standing::default();
        for _ in 0..31 {
            standing.record(quick, true);
        }
        assert!(!standing.is_good());
        standing.record(quick, true);
        assert!(standing.is_good());
        // Always slow, or heavy: never.
        for call in [(slow, true), (quick, false)] {
            for _ in 0..8 {
                standing.record(call.0, call.1);
            }
            assert!(!standing.is_good());
        }
        // One in fifty is slow: the machine.
        for call in 0..1000 {
            standing.record(if call % 50 == 49 { slow } else { quick }, true);
        }
        assert!(standing.is_good());
    }

    #[test]
    fn what_was_thrown_out_waits_for_a_thousand_calls() {
        let standing = Standing::default();
        (0..40).for_each(|_| standing.record(Duration::ZERO, true));
        standing.lose();
        (0..999).for_each(|_| standing.record(Duration::ZERO, true));
        assert!(!standing.is_good());
        standing.record(Duration::ZERO, true);
        assert!(standing.is_good());
        standing.bar();
        (0..5000).for_each(|_| standing.record(Duration::ZERO, true));
        standing.lose();
        assert!(!standing.is_good());
    }
}
