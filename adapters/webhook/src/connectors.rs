//! The table of connectors. Adding a cloud is one folder below this one, its `mod` line, and its line in [`ALL`].

use crate::connector::Connector;

mod body;
mod fields;
mod particle;
mod sigfox;

#[cfg(test)]
mod fixture_runner;

/// Every connector.
pub const ALL: &[&dyn Connector] = &[&particle::Particle, &sigfox::Sigfox];

/// The connector of that name.
pub fn find(name: &str) -> Option<&'static dyn Connector> {
    ALL.iter().find(|connector| connector.name() == name).copied()
}
