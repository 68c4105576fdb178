//! Devices that speak CoAP over UDP, DTLS, TCP, TLS or WebSocket: telemetry and properties become uplinks, and commands wait for them or are told to
//! those who observe. [`CoapApi`] answers requests, [`serve`], [`serve_secure`] and [`serve_streams`] run sockets
//! around an endpoint of `coap-proto`; the other modules are their parts. Not here: DTLS itself (`dtls`), the life of a command and what happens to an
//! uplink afterwards (`bridge-core`).

mod answer;
mod api;
mod carrier;
mod certificate;
mod commands;
mod identity;
mod keys;
mod observe;
mod random;
mod resource;
mod saved;
mod secure;
mod server;
mod settings;
mod streams;
#[cfg(test)]
mod tests;
mod tick;
mod work;

pub use api::{CarriedStats, CoapApi, Parts};
pub use certificate::CertificateDevice;
pub use coap_proto::Stats;
pub use coap_proto::stream::Framing;
pub use keys::{DtlsKey, DtlsKeyError, DtlsPem, raw_public_key};
pub use secure::{Associations, SecureStats};
pub use server::{Closing, serve, serve_secure};
pub use settings::Settings;
pub use streams::tls::{Tls, TlsError, TlsPem};
pub use streams::{Fate, StreamStats, serve_streams};

/// The source of messages that came this way, and the label of its counters and traces.
pub const SOURCE: &str = "coap";
