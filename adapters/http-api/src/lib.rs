//! What devices and gateways say over HTTP becomes uplinks: telemetry and properties, and the requests that Azure's
//! stateless and stateful device bridges take; and commands wait for them. [`DeviceApi`] answers; the other modules are
//! its parts. Not here: what happens to an uplink afterwards and the life of commands (`bridge-core`), payload codecs
//! (behind [`Formats`]).

mod answer;
mod api;
mod azure;
mod caller;
mod certificate;
mod commands;
mod pattern;
mod route;
mod settings;
mod signed;
mod stateful;
#[cfg(test)]
mod tests;
mod wait;

pub use api::{DeviceApi, Parts};
pub use certificate::{CertificateDevice, CertificateForm, ClientCertificates, fingerprint, pem};
pub use edge::{Format, Formats};
pub use pattern::{DevicePattern, PatternError};
pub use settings::{Gateway, Settings, SigningSecret};
pub use stateful::{Callbacks, Changed, CheckUrl};

/// The integration that devices of this API belong to, and the source of their messages.
pub const INTEGRATION: &str = "http";
