//! How many new requests a peer may send: a bucket of tokens each, so that one that floods is limited alone. Not here:
//! duplicates, which cost nothing, and limits of the whole process.

use std::hash::Hash;
use std::time::Instant;

use crate::config::Rate;
use crate::recent::Recent;

/// What a request over the limit gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is within the limit.
    Pass,
    /// 4.29, with the seconds after which there is room again.
    Refuse(u32),
    /// Nothing: the peer does not heed refusals.
    Drop,
}

#[derive(Debug)]
pub(crate) struct Buckets<P> {
    buckets: Recent<P, (f64, Instant)>,
}

impl<P: Clone + Eq + Hash> Buckets<P> {
    pub(crate) fn new() -> Self {
        Buckets { buckets: Recent::new() }
    }

    /// Takes a request of that peer into account. A bucket that was pushed out by others begins full.
    pub(crate) fn take(&mut self, now: Instant, rate: &Rate, peer: &P, limit: usize) -> Verdict {
        let (burst, per_second) = (f64::from(rate.burst.max(1)), rate.per_second.max(1e-6));
        let filled = match self.buckets.get(peer) {
            None => burst,
            Some((level, at)) => {
                let passed = now.saturating_duration_since(*at).as_secs_f64();
                burst.min(level + passed * per_second)
            }
        };
        let level = (filled - 1.0).max(-burst);
        self.buckets.insert(peer.clone(), (level, now), limit);
        if filled >= 1.0 {
            Verdict::Pass
        } else if filled - 1.0 >= -burst {
            Verdict::Refuse(((1.0 - level) / per_second).ceil() as u32)
        } else {
            Verdict::Drop
        }
    }

    pub(crate) fn forget_peer(&mut self, peer: &P) {
        self.buckets.remove(peer);
    }

    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_fills_and_empties() {
        let start = Instant::now();
        let rate = Rate { per_second: 0.5, burst: 3 };
        let mut buckets = Buckets::<u8>::new();
        let mut at = |seconds, peer| buckets.take(start + Duration::from_secs(seconds), &rate, &peer, 10);
        assert_eq!([at(0, 1), at(0, 1), at(0, 1)], [Verdict::Pass; 3]);
        assert_eq!(
            [at(0, 1), at(0, 1), at(0, 1)],
            [Verdict::Refuse(4), Verdict::Refuse(6), Verdict::Refuse(8)]
        );
        assert_eq!([at(0, 1), at(0, 2)], [Verdict::Drop, Verdict::Pass]);
        assert_eq!([at(8, 1), at(8, 1)], [Verdict::Pass, Verdict::Refuse(4)]);
        assert_eq!(at(1000, 1), Verdict::Pass);
        for peer in 0..50 {
            at(1001, peer);
        }
        assert_eq!(buckets.len(), 10);
    }
}
