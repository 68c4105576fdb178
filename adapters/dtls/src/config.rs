//! What a server may be told: suites, times and limits. Not here: defaults of the bridge.

use std::time::Duration;

use crate::CipherSuite;

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The suites that are taken, the preferred ones first. Those with ECDSA need [`credential`](Self::credential).
    pub suites: Vec<CipherSuite>,
    /// The PSK identity hint; most devices ignore it, and some servers' empty ones broke clients.
    pub psk_hint: Option<String>,
    /// Connection IDs (RFC 9146); none: they are refused.
    pub connection_ids: Option<ConnectionIds>,
    /// Times of handshakes.
    pub timing: Timing,
    /// What is kept at most.
    pub limits: Limits,
    /// The longest datagram of a handshake in bytes; messages are cut to fit. 1,200.
    pub handshake_mtu: usize,
    /// How many bytes a new address gets for each byte that came from it until it is confirmed (RFC 9146 section 6); none:
    /// any number. 3.
    pub unconfirmed_factor: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            suites: CipherSuite::ALL.to_vec(),
            psk_hint: None,
            connection_ids: Some(ConnectionIds::default()),
            timing: Timing::default(),
            limits: Limits::default(),
            handshake_mtu: 1200,
            unconfirmed_factor: Some(3),
        }
    }
}

/// What our Connection IDs look like: the node, then random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionIds {
    /// Bytes of each, 4 to 8; the same for all that reach one socket. 8.
    pub length: usize,
    /// The node whose associations these are: the first byte. See [`node_of`](crate::node_of).
    pub node: u8,
}

impl Default for ConnectionIds {
    fn default() -> Self {
        ConnectionIds { length: 8, node: 0 }
    }
}

/// Times of handshakes and associations.
#[derive(Debug, Clone)]
pub struct Timing {
    /// When a flight is first sent again, 9 s (RFC 7925 section 11); each time after that twice as long.
    pub first_retransmission: Duration,
    /// The longest time between two, 60 s.
    pub longest_retransmission: Duration,
    /// How often a flight is sent again before the handshake is given up, 3.
    pub retransmissions: u32,
    /// How long the application may take for a key or a verdict, 10 s.
    pub lookup: Duration,
    /// How long a client may ask for the last flight again, 240 s: twice the longest life of a segment.
    pub last_flight: Duration,
    /// How long an association lives without a record from its device, 7 days.
    pub idle: Duration,
    /// How long a session can be resumed, 24 h.
    pub resumption: Duration,
    /// The least time between two changes of a device's address, 1 s.
    pub rebind: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Timing {
            first_retransmission: Duration::from_secs(9),
            longest_retransmission: Duration::from_secs(60),
            retransmissions: 3,
            lookup: Duration::from_secs(10),
            last_flight: Duration::from_secs(240),
            idle: 7 * 24 * hour,
            resumption: 24 * hour,
            rebind: Duration::from_secs(1),
        }
    }
}

/// What is kept at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Handshakes at a time, 2,000.
    pub handshakes: usize,
    /// Handshakes at a time of one address, or of one /64 of IPv6; many devices may share one. 50.
    pub handshakes_per_address: usize,
    /// Handshakes that one address may begin in a minute, 600.
    pub handshakes_per_address_minute: u32,
    /// Handshakes begun per second in the long run, and four times as many in a burst. 500.
    pub handshakes_per_second: u32,
    /// Bytes of the client's messages that one handshake holds, 4 KiB.
    pub handshake_bytes: usize,
    /// Associations; over it the one that was silent longest makes room. 200,000.
    pub sessions: usize,
    /// Sessions that can be resumed; 0: none. 100,000.
    pub resumable: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshakes: 2_000,
            handshakes_per_address: 50,
            handshakes_per_address_minute: 600,
            handshakes_per_second: 500,
            handshake_bytes: 4096,
            sessions: 200_000,
            resumable: 100_000,
        }
    }
}

/// Settings that cannot be: the operator's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// See [`ConnectionIds::length`].
    #[error("Connection IDs must have 4 to 8 bytes")]
    ConnectionIdLength,
    /// See [`Config::handshake_mtu`].
    #[error("handshake datagrams must have 128 to 16,000 bytes")]
    HandshakeMtu,
    /// See [`Timing`].
    #[error("times must not be longer than ten years")]
    Times,
}

/// Times that are added to others must not overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.connection_ids.is_some_and(|ids| !(4..=8).contains(&ids.length)) {
            return Err(ConfigError::ConnectionIdLength);
        }
        if !(128..=16_000).contains(&self.handshake_mtu) {
            return Err(ConfigError::HandshakeMtu);
        }
        let timing = &self.timing;
        let times = [
            timing.first_retransmission,
            timing.longest_retransmission,
            timing.lookup,
            timing.last_flight,
            timing.idle,
            timing.resumption,
            timing.rebind,
        ];
        if times.iter().any(|time| *time > LONGEST) {
            return Err(ConfigError::Times);
        }
        Ok(())
    }
}
