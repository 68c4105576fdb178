//! The hub as the [`mux`](crate::mux) sees it: links that open, publish and close. Not here: topics, payloads, sockets.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::BoxFuture;
use crate::id::DeviceId;
use crate::message::Message;

/// One physical connection to the hub. Shared links are numbered from 0; link 0 carries the bridge's own birth and will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// Names one publish from [`Hub::publish`] to its outcome. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Hashes [`Token`]s, which are numbers given out in turn: one multiplication spreads them (Fibonacci hashing).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenHasher(u64);

/// See [`TokenHasher`].
pub(crate) type TokenHash = BuildHasherDefault<TokenHasher>;

impl Hasher for TokenHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Carries out what the mux decides. Every call returns at once, never blocks, and never calls back into
/// [`HubEvents`] from within itself (the caller holds its lock).
pub trait Hub: Send + Sync {
    /// Connects a link, and keeps connecting it with back-off until [`close`](Self::close). Each time that it is up:
    /// `link_up`; each time that it is lost: `link_down`.
    fn open(&self, link: LinkId);
    /// Publishes with at least once, in order of the calls on one link. Only between `link_up` and `link_down`, and
    /// never more than the link's window at once. Ends in exactly one of `acknowledged`, `refused`, or the `link_down`
    /// of that link (after which the outcome is unknown, and the executor forgets the publish for good).
    fn publish(&self, link: LinkId, token: Token, message: Arc<Message>);
    /// Disconnects a link in good order. `link_down` follows if it was up.
    fn close(&self, link: LinkId);
}

/// What the hub's executor reports.
pub trait HubEvents: Send + Sync {
    /// The link is connected; `window` publishes may be in flight on it (at least 1).
    fn link_up(&self, link: LinkId, window: usize);
    /// The link is lost; all that was in flight on it has an unknown outcome.
    fn link_down(&self, link: LinkId, reason: &str);
    /// The hub has taken responsibility for these publishes, in this order.
    fn acknowledged(&self, tokens: &[Token]);
    /// The hub has said no to this publish; the link stays up.
    fn refused(&self, token: Token, refusal: HubRefusal);
}

/// Something that the hub wants of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Of which device.
    pub device: DeviceId,
    /// What: the name of a command, not checked yet.
    pub name: String,
    /// The arguments as the hub sent them: JSON, or nothing.
    pub payload: Vec<u8>,
    /// Where the answer is waited for, and what makes it belong to this (MQTT 5, section 4.10).
    pub reply: Option<(String, Vec<u8>)>,
    /// Names this one among those that the hub has on the way to the bridge; used again later.
    pub packet: u16,
    /// The same may have come before, with the same `packet`.
    pub redelivered: bool,
}

/// Something that the hub wants the state of a device to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Of which device.
    pub device: DeviceId,
    /// What, as the hub sent it: a JSON object, a merge patch (RFC 7396).
    pub payload: Vec<u8>,
    /// The same may have come before: the hub keeps it for new subscribers, or has had no answer.
    pub is_copy: bool,
}

/// Takes what the hub wants of devices.
pub trait Inbox: Send + Sync {
    /// Takes an arrival, in order. True when it is kept or refused for good, and need not come again. False makes the hub
    /// send it again, later.
    fn take(&self, arrival: Arrival) -> BoxFuture<'_, bool>;
    /// The same for the state of a device.
    fn desire(&self, desired: Desired) -> BoxFuture<'_, bool>;
}

/// Why the hub said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubRefusal {
    /// It will say no again: too large, not authorised for that topic, malformed.
    Never(String),
    /// It may take it later: quota, busy.
    Later(String),
}
