//! Payload codecs as the pipeline sees them. Not here: which there are, and what they do.

use super::BoxFuture;
use crate::id::IntegrationName;
use crate::message::{Content, Kind};
use crate::payload::Outcome;
use crate::ports::DeviceRecord;
use crate::time::Timestamp;

/// A payload to be decoded, and all that a codec may know of it.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// By which integration it came.
    pub integration: &'a IntegrationName,
    /// Whose it is.
    pub device: &'a DeviceRecord,
    /// What it is about.
    pub kind: Kind,
    /// The raw bytes and how they were heard.
    pub content: &'a Content,
    /// When the source says that it was sent.
    pub time: Option<Timestamp>,
    /// When the bridge received it.
    pub received_at: Timestamp,
    /// Not what the device said last: an operator had it sent again.
    pub replayed: bool,
}

/// How a decode ends.
pub enum Decoding<'a> {
    /// No codec is meant for this payload: it goes on as it is.
    None,
    /// At once.
    Done(Outcome),
    /// On another thread, within a bounded time.
    Later(BoxFuture<'a, Outcome>),
}

/// Decodes payloads. Pure as far as the caller can see, bounded in time and memory, and never failing as a whole: what
/// cannot be decoded is an [`Outcome`] without samples.
pub trait Codecs: Send + Sync {
    /// Decodes a payload with the codec that is configured for its device or integration.
    fn decode<'a>(&'a self, payload: Payload<'a>) -> Decoding<'a>;
}

/// No codec for anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCodecs;

impl Codecs for NoCodecs {
    fn decode<'a>(&'a self, _payload: Payload<'a>) -> Decoding<'a> {
        Decoding::None
    }
}
