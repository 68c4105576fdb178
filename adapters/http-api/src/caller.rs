//! Who a request is from. Not here: what it says.

use std::sync::Arc;

use bridge_core::DeviceId;
use bridge_core::keyring::Keyring;
use bridge_core::ports::StoreResult;
use edge::device_of;
use http::HeaderMap;
use http_edge::{SecretDigest, auth};

use crate::settings::{Gateway, Settings};

/// The challenge of a 401 (RFC 9110 section 11.6.1).
pub(crate) const CHALLENGE: &str = "Bearer realm=\"devices\", Basic realm=\"devices\"";
/// The same where Azure's clients come.
pub(crate) const AZURE_CHALLENGE: &str = "Bearer realm=\"devices\"";
/// Where Azure's clients carry their key.
const AZURE_HEADER: &str = "x-functions-key";
const AZURE_PARAMETER: &str = "code";

/// Who a request is from.
pub(crate) enum Caller {
    /// A device, with its own token.
    Device(DeviceId),
    /// A gateway: its place in the settings.
    Gateway(Arc<Settings>, usize),
    /// Whoever has a key of Azure's stateful bridge.
    Stateful(Arc<Settings>),
}

impl Caller {
    /// The caller of the API's own paths: `Bearer` with a device's token or a gateway's secret, or `Basic` with the
    /// device's id or the gateway's name before it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn of(
        settings: &Arc<Settings>,
        keyring: &Keyring,
        headers: &HeaderMap,
    ) -> StoreResult<Option<Self>> {
        if let Some(token) = auth::bearer(headers) {
            if let Some(gateway) = gateway(settings, |_| true, token) {
                return Ok(Some(gateway));
            }
            return Ok(device_of(keyring, token).await?.map(Self::Device));
        }
        let Some(credentials) = auth::basic(headers) else { return Ok(None) };
        let Some(colon) = credentials.iter().position(|byte| *byte == b':') else { return Ok(None) };
        let (user, password) = (&credentials[..colon], &credentials[colon + 1..]);
        if let Some(gateway) = gateway(settings, |gateway| gateway.name.as_bytes() == user, password) {
            return Ok(Some(gateway));
        }
        let device = device_of(keyring, password).await?;
        Ok(device.filter(|device| device.as_str().as_bytes() == user).map(Self::Device))
    }

    /// The caller of Azure's path: a gateway, with its secret in the query or a header.
    pub(crate) fn of_azure(settings: &Arc<Settings>, headers: &HeaderMap, query: &str) -> Option<Self> {
        let (mut secrets, _) = auth::take_parameter(query, AZURE_PARAMETER);
        secrets.extend(headers.get(AZURE_HEADER).map(|value| value.as_bytes().to_vec()));
        secrets.iter().find_map(|secret| gateway(settings, |_| true, secret))
    }

    pub(crate) fn gateway(&self) -> Option<&Gateway> {
        match self {
            Self::Device(_) => None,
            Self::Gateway(settings, index) => settings.gateways.get(*index),
            Self::Stateful(settings) => settings.stateful.as_ref(),
        }
    }

    pub(crate) fn may_speak_for(&self, device: &DeviceId) -> bool {
        match self {
            Self::Device(own) => own == device,
            Self::Gateway(..) | Self::Stateful(_) => {
                self.gateway().is_some_and(|gateway| gateway.speaks_for(device))
            }
        }
    }
}

/// All secrets of all gateways are compared every time.
fn gateway(settings: &Arc<Settings>, is_meant: impl Fn(&Gateway) -> bool, secret: &[u8]) -> Option<Caller> {
    let proved: Vec<bool> =
        settings.gateways.iter().map(|gateway| SecretDigest::any_of(&gateway.secrets, secret)).collect();
    let index =
        proved.iter().zip(&settings.gateways).position(|(proved, gateway)| *proved && is_meant(gateway))?;
    Some(Caller::Gateway(settings.clone(), index))
}
