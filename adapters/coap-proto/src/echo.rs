//! Echo values (RFC 9175 section 2) without state: time of issue and a tag over time and peer; and the peers that returned
//! one. Not here: when to ask for one.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::recent::Recent;

const TIME: usize = 4;
const TAG: usize = 8;

pub(crate) struct Echo<P> {
    secret: [u8; 32],
    start: Instant,
    verified: Recent<P, Instant>,
}

impl<P: Clone + Eq + Hash> Echo<P> {
    pub(crate) fn new(start: Instant, mut random: impl FnMut() -> u64) -> Self {
        let mut secret = [0; 32];
        for chunk in secret.chunks_exact_mut(8) {
            chunk.copy_from_slice(&random().to_le_bytes());
        }
        Echo { secret, start, verified: Recent::new() }
    }

    /// A value for that peer.
    pub(crate) fn issue(&self, now: Instant, peer: &P) -> Bytes {
        let seconds = now.saturating_duration_since(self.start).as_secs() as u32;
        let mut value = seconds.to_be_bytes().to_vec();
        value.extend_from_slice(&self.tag(seconds, peer));
        value.into()
    }

    /// How long ago the value was issued to that peer; `None` when it was not.
    pub(crate) fn age(&self, now: Instant, peer: &P, value: &[u8]) -> Option<Duration> {
        let (time, tag) = value.split_first_chunk::<TIME>()?;
        let seconds = u32::from_be_bytes(*time);
        let expected = self.tag(seconds, peer);
        // Every byte is looked at, so that the time says nothing about the tag.
        let equal = tag.len() == TAG && tag.iter().zip(expected).fold(0, |sum, (a, b)| sum | a ^ b) == 0;
        let passed = now.saturating_duration_since(self.start).as_secs() as u32;
        (equal && seconds <= passed).then(|| Duration::from_secs((passed - seconds).into()))
    }

    /// Remembers that the peer receives at its address.
    pub(crate) fn verify(&mut self, now: Instant, peer: &P, limit: usize) {
        self.verified.insert(peer.clone(), now, limit);
    }

    /// Whether the peer returned a value within that time.
    pub(crate) fn is_verified(&self, now: Instant, peer: &P, lifetime: Duration) -> bool {
        self.verified.get(peer).is_some_and(|at| now < *at + lifetime)
    }

    pub(crate) fn forget_peer(&mut self, peer: &P) {
        self.verified.remove(peer);
    }

    pub(crate) fn len(&self) -> usize {
        self.verified.len()
    }

    /// A keyed tag. A secret before the message and eight of 32 bytes behind it leave nothing to extend.
    fn tag(&self, seconds: u32, peer: &P) -> [u8; TAG] {
        let mut hasher = Feed(Sha256::new());
        hasher.write(&self.secret);
        hasher.write_u32(seconds);
        peer.hash(&mut hasher);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&hasher.0.finalize()[..TAG]);
        tag
    }
}

/// Lets a peer write itself into a digest.
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bound_to_peer_and_time() {
        let start = Instant::now();
        let echo = Echo::<u16>::new(start, || 7);
        let later = start + Duration::from_secs(9);
        let value = echo.issue(start + Duration::from_secs(2), &1);
        assert_eq!(echo.age(later, &1, &value), Some(Duration::from_secs(7)));
        assert_eq!(echo.age(later, &2, &value), None);
        assert_eq!(echo.age(start, &1, &value), None);
        for at in 0..value.len() {
            let mut wrong = value.to_vec();
            wrong[at] ^= 1;
            assert_eq!(echo.age(later, &1, &wrong), None, "byte {at}");
            assert_eq!(echo.age(later, &1, &value[..at]), None);
        }
    }

    #[test]
    fn verified_peers_are_bounded_and_expire() {
        let start = Instant::now();
        let mut echo = Echo::<u16>::new(start, || 7);
        for peer in 0..10 {
            echo.verify(start, &peer, 3);
        }
        echo.verify(start, &7, 3);
        echo.verify(start, &10, 3);
        let minute = Duration::from_secs(60);
        let known: Vec<u16> = (0..11).filter(|peer| echo.is_verified(start, peer, minute)).collect();
        assert_eq!(known, [7, 9, 10]);
        assert_eq!(echo.verified.len(), 3);
        assert!(!echo.is_verified(start + minute, &10, minute));
    }
}
