//! How long to wait before the next try: doubling, with full jitter. Randomness is an argument.

use std::time::Duration;

/// The longest wait.
const MAX: Duration = Duration::from_secs(30);
/// The first step.
const FIRST: Duration = Duration::from_millis(500);
/// A connection that lasted this long was a good one.
pub(crate) const GOOD: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait. `random` is in `0.0..1.0`.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(10)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        // Never nothing: a broker that refuses at once must not be asked in a tight loop.
        (ceiling / 10).max(ceiling.mul_f64(random))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(0.999_999)).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1] + Duration::from_millis(1)));
        assert!(waits[0] < Duration::from_millis(501) && waits[8] <= MAX);
        assert!(backoff.next(0.0) >= Duration::from_secs(3));
        backoff.reset();
        assert!(backoff.next(0.0) < Duration::from_millis(100));
    }
}
