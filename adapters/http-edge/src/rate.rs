//! A limit for one integration: whoever is over it is limited alone. Counted after authentication, so that a stranger
//! cannot use up an integration's share.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Requests per second, with a burst of one second's worth.
pub struct RateLimit(DefaultDirectRateLimiter);

impl RateLimit {
    /// That many requests per second.
    pub fn per_second(requests: NonZeroU32) -> Self {
        Self(RateLimiter::direct(Quota::per_second(requests)))
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&self) -> Result<(), Duration> {
        self.0.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_bounded() {
        let limit = RateLimit::per_second(NonZeroU32::new(3).unwrap());
        let admitted = (0..10).filter(|_| limit.admit().is_ok()).count();
        assert!((3..=4).contains(&admitted), "{admitted}");
        assert!(limit.admit().unwrap_err() <= Duration::from_secs(1));
    }
}
