//! What a server hands out: names of things, datagrams and events. Not here: how they come about.

use std::net::SocketAddr;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::CipherSuite;

/// An association: what a handshake made, with its keys, until it is closed or replaced. The name is random, never used
/// again, and survives [`shutdown`](crate::Server::shutdown) and [`restore`](crate::Server::restore).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(crate) u64);

impl SessionId {
    /// As a number, to write it down.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

/// A question to the application that a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// Who a device is, as its handshake proved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The PSK identity, as its bytes.
    Psk(Bytes),
    /// A raw public key (RFC 7250), as DER SubjectPublicKeyInfo.
    PublicKey(Bytes),
    /// The DER certificate of the device, whose chain was verified.
    Certificate(Bytes),
}

/// A pre-shared key of 1 to 256 bytes. It is overwritten when dropped and not shown.
#[derive(Clone)]
pub struct Psk(pub(crate) Zeroizing<Vec<u8>>);

impl Psk {
    /// `None` when it is empty or longer than 256 bytes.
    pub fn new(key: &[u8]) -> Option<Psk> {
        (1..=256).contains(&key.len()).then(|| Psk(Zeroizing::new(key.to_vec())))
    }
}

impl std::fmt::Debug for Psk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Psk(..)")
    }
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub peer: SocketAddr,
    /// The datagram.
    pub payload: Bytes,
}

/// What the application should know or do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A handshake needs the key of that identity; answer with [`provide_key`](crate::Server::provide_key), also when there
    /// is none.
    KeyRequest {
        /// The name of the question.
        request: RequestId,
        /// The PSK identity as the device sent it; not proven yet.
        identity: Bytes,
    },
    /// A device proved that it holds the private key of that raw public key or verified certificate; may it come in? Answer
    /// with [`provide_verdict`](crate::Server::provide_verdict).
    VerdictRequest {
        /// The name of the question.
        request: RequestId,
        /// Proven.
        identity: Identity,
    },
    /// A handshake is complete: data can go both ways.
    Connected {
        /// The association.
        session: SessionId,
        /// Where the device is.
        peer: SocketAddr,
        /// Who it is.
        identity: Identity,
        /// The question whose answer let it in; none when an earlier session was resumed.
        request: Option<RequestId>,
        /// What protects the records.
        suite: CipherSuite,
        /// Whether the secret of an earlier session was used.
        resumed: bool,
        /// The association of the same device at the same address that this one replaces: it has ended.
        replaces: Option<SessionId>,
    },
    /// Authenticated data, each record once.
    Data {
        /// The association.
        session: SessionId,
        /// What the device sent.
        data: Bytes,
    },
    /// The device has a new address; what is sent goes there.
    Rebound {
        /// The association.
        session: SessionId,
        /// Where it was.
        from: SocketAddr,
        /// Where it is.
        to: SocketAddr,
    },
    /// The association has ended.
    Closed {
        /// The association.
        session: SessionId,
        /// Why.
        reason: Closed,
    },
}

/// Why an association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// The device said so.
    ByPeer,
    /// The device broke off with this fatal alert (RFC 5246 section 7.2.2).
    Alert(u8),
    /// Nothing came for too long.
    Idle,
    /// It made room for others.
    Evicted,
    /// Another device has its address now, and it had no Connection ID.
    AddressTaken,
}

/// Why data was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no such association, or no longer.
    #[error("the association is gone")]
    Gone,
    /// The application's fault, or the device's wish: it may have asked for shorter records.
    #[error("the data is longer than {0} bytes, the most that the device takes in a record")]
    TooLong(usize),
    /// The device has a new address that may not be its own, and got as much as it may before that is confirmed. Try again
    /// when more came from it or [`confirm_address`](crate::Server::confirm_address) was called.
    #[error("the new address of the device is not confirmed")]
    Unconfirmed,
    /// All sequence numbers are used up; the device must shake hands again.
    #[error("the association has no sequence numbers left")]
    Exhausted,
}
