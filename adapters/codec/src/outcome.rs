//! What goes into every decoder. What comes out is the core's. Not here: a decoder.

use bridge_core::time::Timestamp;

/// A payload and what a decoder may know about it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// As the device sent it.
    pub bytes: &'a [u8],
    /// LoRaWAN port, where the source has ports.
    pub port: Option<u8>,
    /// When the source or the bridge received it; relative times are resolved against it.
    pub received_at: Timestamp,
}
