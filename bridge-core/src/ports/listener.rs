//! Whoever wants to know what clouds say about commands and about who is online. Not here: telemetry, which goes to the hub.

use super::{BoxFuture, StoreResult};
use crate::ports::DeviceRecord;
use crate::uplink::Uplink;

/// Hears uplinks of the kinds `command` and `connection` before they are delivered.
pub trait Listener: Send + Sync {
    /// Takes note; what follows from it is durable when this completes.
    fn hear<'a>(&'a self, device: &'a DeviceRecord, uplink: &'a Uplink) -> BoxFuture<'a, StoreResult<()>>;
}
