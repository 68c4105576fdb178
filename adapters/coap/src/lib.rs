//! Devices that speak CoAP over UDP or DTLS: telemetry and properties become uplinks. [`CoapApi`] answers requests, [`serve`] and
//! [`serve_secure`] run a socket around an endpoint of `coap-proto`; the other modules are their parts. Not here: DTLS itself
//! (`dtls`), CoAP over TCP and WebSocket,
//! anything towards a device, and what happens to an uplink afterwards (`bridge-core`).

mod answer;
mod api;
mod carrier;
mod psk;
mod random;
mod resource;
mod saved;
mod secure;
mod server;
mod settings;
#[cfg(test)]
mod tests;

pub use api::{CoapApi, Parts};
pub use coap_proto::Stats;
pub use secure::{Associations, SecureStats};
pub use server::{Closing, serve, serve_secure};
pub use settings::Settings;

/// The source of messages that came this way, and the label of its counters and traces.
pub const SOURCE: &str = "coap";
