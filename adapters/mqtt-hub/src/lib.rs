//! The hub over MQTT 5 and 3.1.1. [`MqttHub`] carries out what the mux decides, one task per link; a [`Dialect`] says what
//! topics and payloads look like. Not here: when and in which order anything is sent.

mod address;
mod backoff;
mod config;
mod connection;
mod dialect;
pub mod dialects;
mod hub;
mod in_flight;
mod keep_alive;
mod link;
mod subscriber;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

pub use address::{AddressError, HubAddress};
pub use config::{Credentials, HubConfig, Pem, Protocol, Secret, TlsPem};
pub use dialect::{Dialect, Origin, Publication};
pub use hub::MqttHub;
pub use tls::TlsError;
