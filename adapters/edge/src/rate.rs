//! Limits for one sender: whoever is over it is limited alone. Counted after authentication, so that a stranger cannot
//! use up anybody's share.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::recent::Recent;
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

/// The same limit for each of many senders. Bounded: a sender that was not heard for long begins anew.
pub struct RateLimits {
    each: NonZeroU32,
    senders: Mutex<Recent<Arc<str>, Arc<RateLimit>>>,
}

/// Senders whose rate is known at once.
const SENDERS: usize = 100_000;

impl RateLimits {
    /// That many requests per second for each.
    pub fn per_second(requests: NonZeroU32) -> Self {
        Self { each: requests, senders: Mutex::new(Recent::new(SENDERS)) }
    }

    /// Lets a request of a sender in.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&self, sender: &Arc<str>) -> Result<(), Duration> {
        let limit = {
            let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
            match senders.get(sender) {
                Some(limit) => limit.clone(),
                None => {
                    let limit = Arc::new(RateLimit::per_second(self.each));
                    senders.insert(sender.clone(), limit.clone());
                    limit
                }
            }
        };
        limit.admit()
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
    #[test]
    fn one_sender_does_not_use_up_another_s_share() {
        let limits = RateLimits::per_second(NonZeroU32::new(1).unwrap());
        let (loud, quiet) = (Arc::from("loud"), Arc::from("quiet"));
        assert!((0..10).any(|_| limits.admit(&loud).is_err()));
        assert!(limits.admit(&quiet).is_ok());
    }
}
