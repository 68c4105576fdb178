//! What operators count. Plain atomics; not here: how they are exposed.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::verdict::{Reason, Verdict};

/// Of one integration.
#[derive(Debug, Default)]
pub struct IntegrationCounters {
    /// Requests, whatever became of them.
    pub received: Counter,
    /// Requests refused before decoding, by reason: the place of a reason is its place in `ALL`, which a test checks.
    pub refused: [Counter; Refusal::ALL.len()],
    /// Uplinks that were accepted before.
    pub duplicates: Counter,
    /// Uplinks acknowledged by the hub.
    pub delivered: Counter,
    /// Uplinks answered from the outbox.
    pub stored: Counter,
    /// Payloads that their codec could not decode; they went on raw.
    pub undecoded: Counter,
    /// Uplinks handed back to the source (503).
    pub retried: Counter,
    /// Dead letters, by reason: the place of a reason is its place in `ALL`, which a test checks.
    pub dead: [Counter; Reason::ALL.len()],
    /// Announced API keys that were not taken.
    pub announcements_ignored: Counter,
    /// Requests under way.
    pub in_flight: Gauge,
    /// From the last byte of the request to its answer.
    pub latency: Histogram,
}

impl IntegrationCounters {
    /// Counts a request that went no further.
    pub fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].add(1);
    }

    /// Counts what became of an uplink.
    pub fn count(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Delivered => self.delivered.add(1),
            Verdict::Stored => self.stored.add(1),
            Verdict::Duplicate => self.duplicates.add(1),
            Verdict::Rejected(reason) => self.dead[*reason as usize].add(1),
            Verdict::Retry(_) => self.retried.add(1),
        }
    }
}

/// Why a request went no further. The names are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No or a wrong secret, or a source address that is not allowed.
    Unauthorized,
    /// A method that the connector does not take.
    Method,
    /// The body is over the limit.
    TooLarge,
    /// The body does not parse.
    Malformed,
    /// A content encoding, or a media type, that is not taken.
    Encoding,
    /// The body did not come in time.
    Timeout,
    /// Too many at once, or the integration is over its rate.
    Overload,
    /// The secret is right, but not for this device; or the device waits for approval.
    Forbidden,
    /// The device is not registered, and is not to be.
    UnknownDevice,
    /// The bridge itself could not: its store did not answer.
    Unavailable,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 10] = [
        Self::Unauthorized,
        Self::Method,
        Self::TooLarge,
        Self::Malformed,
        Self::Encoding,
        Self::Timeout,
        Self::Overload,
        Self::Forbidden,
        Self::UnknownDevice,
        Self::Unavailable,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Method => "method",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::Encoding => "encoding",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::Forbidden => "forbidden",
            Self::UnknownDevice => "unknown-device",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more until the guard is dropped.
    pub fn enter(&self) -> GaugeGuard<'_> {
        self.0.fetch_add(1, Relaxed);
        GaugeGuard(self)
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// See [`Gauge::enter`].
#[derive(Debug)]
pub struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Durations in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One per bound of [`Histogram::BOUNDS`], and one for what is longer.
    buckets: [AtomicU64; Histogram::BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Upper bounds in milliseconds.
    pub const BOUNDS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let bucket = Self::BOUNDS.iter().position(|bound| duration <= Duration::from_millis(*bound));
        self.buckets[bucket.unwrap_or(Self::BOUNDS.len())].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many were at most each bound, then how many there were; and their sum in seconds.
    pub fn cumulative(&self) -> ([u64; Self::BOUNDS.len() + 1], f64) {
        let mut total = 0;
        let cumulative = std::array::from_fn(|n| {
            total += self.buckets[n].load(Relaxed);
            total
        });
        (cumulative, self.sum_micros.load(Relaxed) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_index() {
        for (n, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, n);
        }
        for (n, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
        }
    }

    #[test]
    fn buckets_are_cumulative() {
        let histogram = Histogram::default();
        for ms in [0, 1, 3, 60_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let (buckets, sum) = histogram.cumulative();
        assert_eq!((buckets[0], buckets[2], buckets[12], buckets[13]), (2, 3, 3, 4));
        assert!((sum - 60.004).abs() < 1e-9);
    }
}
