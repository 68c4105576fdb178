//! What can change while the API runs: who may speak for whom, and the limits. Not here: tokens of devices, which are in
//! the store.

use std::num::NonZeroU32;

use bridge_core::DeviceId;
use bridge_core::registrar::Register;
use http_edge::{RateLimit, RateLimits, SecretDigest};

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
    /// Who may use the routes of Azure's stateful bridge: its keys, and the devices that they are for. None: nobody.
    pub stateful: Option<Gateway>,
}

/// Speaks for the devices that its patterns name.
pub struct Gateway {
    /// Its name: for the log, and the user name of Basic credentials.
    pub name: String,
    /// Several are good at once while a secret is being rotated.
    pub secrets: Vec<SecretDigest>,
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
