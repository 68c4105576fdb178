//! Payload formats that this crate does not know itself. Not here: any of them (`deploy/app` hands them in).

use bridge_core::Timestamp;
use bridge_core::payload::Outcome;

/// What a body is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/senml+json` (RFC 8428 section 5).
    SenmlJson,
    /// `application/senml+cbor` (RFC 8428 section 6).
    SenmlCbor,
    /// `application/cbor` (RFC 8949).
    Cbor,
}

/// Decodes bodies. Pure, bounded in time and memory; what cannot be decoded is an [`Outcome`] with errors.
pub trait Formats: Send + Sync {
    /// Decodes a body that came at this time.
    fn decode(&self, format: Format, bytes: &[u8], received_at: Timestamp) -> Outcome;
}
