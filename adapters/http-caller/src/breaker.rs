//! A circuit breaker for each host: after several calls in a row that failed, none is made for a while, then one on trial.
//! Time is an argument. Not here: what counts as a failure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// When a circuit opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row.
    pub failures: u32,
    /// How long no call is made then; doubles with every failed trial.
    pub rest: Duration,
    /// The longest rest.
    pub longest: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, rest: Duration::from_secs(2), longest: Duration::from_mins(1) }
    }
}

/// The circuits.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    hosts: HashMap<String, Circuit>,
}

#[derive(Debug)]
struct Circuit {
    failures: u32,
    rest: Duration,
    /// None while it is closed.
    open_until: Option<Instant>,
}

/// Hosts with failures that are remembered; beyond it those that rest no more are forgotten.
const MOST_HOSTS: usize = 10_000;

impl Breaker {
    /// All circuits closed.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, hosts: HashMap::new() }
    }

    /// Whether a call may be made now.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&mut self, host: &str, now: Instant) -> Result<(), Duration> {
        let Some(circuit) = self.hosts.get_mut(host) else { return Ok(()) };
        match circuit.open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) => {
                // One on trial; the others wait for what becomes of it.
                circuit.open_until = Some(now + circuit.rest);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A call has ended well: the circuit is closed.
    pub fn succeeded(&mut self, host: &str) {
        self.hosts.remove(host);
    }

    /// A call has failed by the host's fault.
    pub fn failed(&mut self, host: &str, now: Instant) {
        let config = self.config;
        if self.hosts.len() >= MOST_HOSTS && !self.hosts.contains_key(host) {
            self.hosts.retain(|_, circuit| circuit.open_until.is_some_and(|until| until > now));
            if self.hosts.len() >= MOST_HOSTS {
                return;
            }
        }
        let circuit = self.hosts.entry(host.to_owned()).or_insert(Circuit {
            failures: 0,
            rest: config.rest,
            open_until: None,
        });
        circuit.failures = circuit.failures.saturating_add(1);
        if circuit.failures == config.failures {
            circuit.open_until = Some(now + circuit.rest);
        } else if circuit.failures > config.failures {
            circuit.rest = (circuit.rest * 2).min(config.longest);
            circuit.open_until = Some(now + circuit.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_and_lets_one_on_trial() {
        let config =
            BreakerConfig { failures: 3, rest: Duration::from_secs(2), longest: Duration::from_secs(5) };
        let (mut breaker, start) = (Breaker::new(config), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(breaker.admit("a", at(0)), Ok(()));
            breaker.failed("a", at(0));
        }
        assert_eq!(breaker.admit("a", at(0)), Err(Duration::from_secs(2)));
        assert_eq!(breaker.admit("b", at(0)), Ok(()), "hosts do not share a circuit");
        assert_eq!(breaker.admit("a", at(2)), Ok(()));
        assert!(breaker.admit("a", at(2)).is_err(), "one at a time on trial");
        breaker.failed("a", at(2));
        assert_eq!(breaker.admit("a", at(2)), Err(Duration::from_secs(4)));
        assert_eq!(breaker.admit("a", at(6)), Ok(()));
        breaker.failed("a", at(6));
        assert_eq!(breaker.admit("a", at(6)), Err(Duration::from_secs(5)), "up to the longest rest");
        assert_eq!(breaker.admit("a", at(11)), Ok(()));
        breaker.succeeded("a");
        breaker.failed("a", at(11));
        assert_eq!(breaker.admit("a", at(11)), Ok(()));
    }

    #[test]
    fn hosts_are_bounded() {
        let (mut breaker, now) = (Breaker::new(BreakerConfig::default()), Instant::now());
        for host in 0..2 * MOST_HOSTS {
            breaker.failed(&host.to_string(), now);
        }
        assert!(breaker.hosts.len() <= MOST_HOSTS);
    }
}
