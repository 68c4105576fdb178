//! What can change while the API runs. Not here: address and body limit, which belong to the socket, and which device has a
//! certificate, which associations were made by.

use std::num::NonZeroU32;
use std::sync::Arc;

use bridge_core::seal::SealKeys;
use edge::RateLimits;

/// How the API treats requests.
#[derive(Default)]
pub struct Settings {
    /// How many requests each device may send; none for no limit.
    pub rate: Option<RateLimits>,
    /// Opens pre-shared keys, and seals associations; without it nobody can shake hands.
    pub seal_keys: Option<Arc<SealKeys>>,
}

impl Settings {
    /// So many requests per second for each device; none for no limit.
    pub fn limited_to(requests: Option<u32>) -> Self {
        let rate = requests.and_then(NonZeroU32::new).map(RateLimits::per_second);
        Self { rate, ..Self::default() }
    }
}
