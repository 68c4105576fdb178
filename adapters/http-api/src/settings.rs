//! What can change while the API runs: who may speak for whom, and the limits. Not here: tokens of devices, which are in
//! the store.

use std::num::NonZeroU32;
use std::sync::Arc;

use bridge_core::DeviceId;
use bridge_core::registrar::Register;
use bridge_core::seal::SealKeys;
use http_edge::{RateLimit, RateLimits, SecretDigest};

use crate::certificate::ClientCertificates;
use crate::pattern::DevicePattern;

/// How the API treats requests.
pub struct Settings {
    /// Whether it is there at all.
    pub enabled: bool,
    /// What happens to a device that a gateway speaks for and nobody has registered. A device's own token never registers.
    pub register: Register,
    /// The largest body, bytes.
    pub body_limit: usize,
    /// How many requests each device may send; none for no limit.
    pub rate: Option<RateLimits>,
    /// Who may speak for several devices.
    pub gateways: Vec<Gateway>,
    /// Open the keys with which devices sign; none when there are none.
    pub seal_keys: Option<Arc<SealKeys>>,
    /// What is believed about client certificates; none for nothing.
    pub certificates: Option<ClientCertificates>,
    /// Who may use the routes of Azure's stateful bridge: its keys, and the devices that they are for. None: nobody.
    pub stateful: Option<Gateway>,
}

/// Speaks for the devices that its patterns name.
pub struct Gateway {
    /// Its name: for the log, and the user name of Basic credentials.
    pub name: String,
    /// Several are good at once while a secret is being rotated.
    pub secrets: Vec<SecretDigest>,
    /// The same secrets, for requests that are signed with one.
    pub signing: Vec<SigningSecret>,
    /// Fingerprints of its client certificates.
    pub certificates: Vec<[u8; 32]>,
    /// Which devices.
    pub devices: Vec<DevicePattern>,
    /// How many requests it may send; none for no limit.
    pub rate: Option<RateLimit>,
}

impl Gateway {
    /// So many requests per second; none for no limit.
    pub fn limit(requests: Option<u32>) -> Option<RateLimit> {
        requests.and_then(NonZeroU32::new).map(RateLimit::per_second)
    }

    pub(crate) fn speaks_for(&self, device: &DeviceId) -> bool {
        self.devices.iter().any(|pattern| pattern.matches(device))
    }
}

impl Settings {
    /// So many requests per second for each device; none for no limit.
    pub fn limits(requests: Option<u32>) -> Option<RateLimits> {
        requests.and_then(NonZeroU32::new).map(RateLimits::per_second)
    }
}

/// A secret in memory that signs requests; a digest of it would not do. Never printed.
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// Takes a secret into custody.
    pub fn new(secret: &[u8]) -> Self {
        Self(secret.to_vec())
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}
