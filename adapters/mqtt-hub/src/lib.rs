//! The hub over MQTT 5 and 3.1.1. [`MqttHub`] carries out what the mux decides, one task per link; a [`Dialect`] says what
//! topics and payloads look like. Not here: when and in which order anything is sent. No type of the MQTT library leaves
//! this crate.

mod address;
mod backoff;
mod client;
mod config;
mod dialect;
pub mod dialects;
mod hub;
mod link;
#[cfg(test)]
mod tests;
mod tls;

pub use address::{AddressError, HubAddress};
pub use config::{Credentials, HubConfig, Pem, Protocol, Secret, TlsPem};
pub use dialect::{Dialect, Publication};
pub use hub::MqttHub;
pub use tls::TlsError;
