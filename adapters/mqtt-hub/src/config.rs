//! The settings of the hub. Not here: reading them from a file (`deploy/app`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::HubAddress;

/// How to reach the hub.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Where it is.
    pub address: HubAddress,
    /// Which MQTT.
    pub protocol: Protocol,
    /// Client ids are `{client_id}-{link}`.
    pub client_id: String,
    /// User and password.
    pub credentials: Option<Credentials>,
    /// For `mqtts`.
    pub tls: TlsPem,
    /// Publishes in flight per link, at most; the broker may grant less (MQTT 5 Receive Maximum).
    pub window: u16,
    /// MQTT keep alive.
    pub keep_alive: Duration,
    /// For TCP, TLS and CONNACK together.
    pub connect_timeout: Duration,
    /// The largest packet, bytes, in both directions; the broker may take less.
    pub max_packet: u32,
}

/// Which MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V311,
}

/// User and password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// PEM texts for TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsPem {
    /// The authorities to trust; none for the system's.
    pub authorities: Option<Pem>,
    /// Certificate chain and key of this client.
    pub client: Option<(Pem, Pem)>,
}

/// A PEM text and where it comes from.
#[derive(Debug, Clone)]
pub struct Pem {
    /// For errors.
    pub origin: PathBuf,
    /// May be a key.
    pub text: Secret,
}

/// A text that does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
