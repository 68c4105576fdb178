//! What became of connections, counted by kind. Not here: names of metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use coap_proto::stream::End;

use crate::api::CarriedStats;

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was made; one of the others follows.
    Opened,
    /// There are as many as there may be.
    Refused,
    /// Its address has as many as it may have.
    RefusedAddress,
    /// TLS or WebSocket came to no agreement.
    HandshakeFailed,
    /// TLS or WebSocket did not come to its agreement in time.
    HandshakeTimedOut,
    /// The peer closed it.
    Closed,
    /// The peer aborted it.
    Aborted,
    /// What came is no CoAP, or no frame that a device may send.
    Malformed,
    /// A message over the limit.
    TooLong,
    /// No settings, or something before them.
    Unsettled,
    /// A signal that must be understood, and is not.
    NotUnderstood,
    /// A message that began did not come to its end in time.
    SlowSender,
    /// The peer does not read what it asked for.
    SlowReader,
    /// The peer did not answer a ping: half open.
    Silent,
    /// There was no room for a long message.
    NoRoom,
    /// The network failed.
    Failed,
    /// The bridge ended it: after a release, or when it went down.
    HungUp,
}

impl Fate {
    /// All of them, in their order.
    pub const ALL: [Fate; 17] = [
        Fate::Opened,
        Fate::Refused,
        Fate::RefusedAddress,
        Fate::HandshakeFailed,
        Fate::HandshakeTimedOut,
        Fate::Closed,
        Fate::Aborted,
        Fate::Malformed,
        Fate::TooLong,
        Fate::Unsettled,
        Fate::NotUnderstood,
        Fate::SlowSender,
        Fate::SlowReader,
        Fate::Silent,
        Fate::NoRoom,
        Fate::Failed,
        Fate::HungUp,
    ];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Opened => "opened",
            Fate::Refused => "refused",
            Fate::RefusedAddress => "refused-address",
            Fate::HandshakeFailed => "handshake-failed",
            Fate::HandshakeTimedOut => "handshake-timed-out",
            Fate::Closed => "closed",
            Fate::Aborted => "aborted",
            Fate::Malformed => "malformed",
            Fate::TooLong => "too-long",
            Fate::Unsettled => "no-settings",
            Fate::NotUnderstood => "not-understood",
            Fate::SlowSender => "slow-sender",
            Fate::SlowReader => "slow-reader",
            Fate::Silent => "silent",
            Fate::NoRoom => "no-room",
            Fate::Failed => "failed",
            Fate::HungUp => "hung-up",
        }
    }
}

impl From<End> for Fate {
    fn from(end: End) -> Self {
        match end {
            End::Aborted => Fate::Aborted,
            End::Malformed(_) => Fate::Malformed,
            End::TooLong => Fate::TooLong,
            End::Unsettled => Fate::Unsettled,
            End::NotUnderstood => Fate::NotUnderstood,
            End::Slow => Fate::SlowSender,
            End::Silent => Fate::Silent,
        }
    }
}

/// What was counted over TCP, TLS and WebSocket.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamStats {
    /// Of CoAP: over TCP, over TLS, and over WebSocket on each of the two.
    pub coap: [CarriedStats; 4],
    /// Connections, by what became of them.
    pub fates: [u64; Fate::ALL.len()],
    /// Connections now.
    pub connections: usize,
}

/// Counts connections of all listeners.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    counts: [AtomicU64; Fate::ALL.len()],
    pub(crate) open: AtomicUsize,
}

impl Fates {
    pub(crate) fn count(&self, fate: Fate) {
        self.counts[fate as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> [u64; Fate::ALL.len()] {
        Fate::ALL.map(|fate| self.counts[fate as usize].load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fate_is_counted_as_itself() {
        let fates = Fates::default();
        fates.count(Fate::HungUp);
        fates.count(Fate::Silent);
        for (at, fate) in Fate::ALL.into_iter().enumerate() {
            assert_eq!(at, fate as usize);
            let counted = matches!(fate, Fate::HungUp | Fate::Silent);
            assert_eq!(fates.counts()[at], u64::from(counted), "{}", fate.as_str());
        }
    }
}
