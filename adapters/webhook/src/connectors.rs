//! The table of connectors. Adding a cloud is one folder below this one, its `mod` line, and its line in [`ALL`].

use crate::connector::Connector;

mod body;
mod chirpstack;
#[cfg(test)]
pub(crate) mod conformance;
mod fields;
mod lenient;
mod lora;
mod particle;
mod redact;
mod sigfox;
mod ttn;

/// Every connector.
pub const ALL: &[&dyn Connector] =
    &[&sigfox::Sigfox, &particle::Particle, &ttn::Ttn, &chirpstack::ChirpStack];

/// The connector of that name.
pub fn find(name: &str) -> Option<&'static dyn Connector> {
    ALL.iter().find(|connector| connector.name() == name).copied()
}
