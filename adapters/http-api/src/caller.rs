//! Who a request is from. Not here: what it says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::DeviceId;
use bridge_core::counters::Counter;
use bridge_core::keyring::Keyring;
use bridge_core::ports::{Credential, Proof, StoreError, StoreResult};
use edge::device_of;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts as Head;
use http_edge::{SecretDigest, auth};

use crate::certificate::{Shown, Told};
use crate::settings::{Gateway, Settings, SigningSecret};
use crate::signed::{BodyDigest, Replays, Signed, Stale, hex};

/// The challenge of a 401 (RFC 9110 section 11.6.1).
pub(crate) const CHALLENGE: &str =
    "Bearer realm=\"devices\", Basic realm=\"devices\", HMAC-SHA256 realm=\"devices\"";
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

/// What callers are known by.
pub(crate) struct Doorman<'a> {
    pub(crate) settings: &'a Arc<Settings>,
    pub(crate) keyring: &'a Keyring,
    pub(crate) replays: &'a Mutex<Replays>,
    /// Headers about client certificates that came from nobody who is believed.
    pub(crate) ignored: &'a Counter,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// Why nobody is let in.
pub(crate) enum Denied {
    /// No proof, or a wrong one; why, for the log.
    Unproved(&'static str),
    /// It has signed too much: it shall wait.
    TooMany(Duration),
    /// The store did not answer.
    Store(StoreError),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Doorman<'_> {
    /// The caller of the API's own paths: `Bearer` with a device's token or a gateway's secret, `Basic` with the device's id
    /// or the gateway's name before it, `HMAC-SHA256` with a key of either; or, without `Authorization`, a client
    /// certificate. With what the body must be, when that was signed.
    ///
    /// # Errors
    /// See [`Denied`].
    pub(crate) async fn caller(&self, head: &Head) -> Result<(Caller, Option<BodyDigest>), Denied> {
        let told = self.settings.certificates.as_ref().map_or(Told::Nothing, |settings| settings.told(head));
        if told == Told::Ignored {
            self.ignored.add(1);
        }
        if let Some(signed) = Signed::of(head) {
            let signed = signed.map_err(Denied::Unproved)?;
            let caller = self.of_signed(head, &signed).await?;
            return Ok((caller, Some(signed.body())));
        }
        if head.headers.contains_key(AUTHORIZATION) {
            let caller = Caller::of(self.settings, self.keyring, &head.headers).await?;
            return caller.map(|caller| (caller, None)).ok_or(Denied::Unproved("a wrong secret"));
        }
        let caller = match told {
            Told::Shown(Shown::Device(device)) => Some(Caller::Device(device)),
            Told::Shown(Shown::Fingerprint(fingerprint)) => match self.gateway_of(fingerprint) {
                Some(gateway) => Some(gateway),
                None => self.keyring.of_certificate(fingerprint).await?.map(Caller::Device),
            },
            Told::Unreadable(why) => return Err(Denied::Unproved(why)),
            Told::Ignored => return Err(Denied::Unproved("a certificate from nobody who is believed")),
            Told::Nothing => return Err(Denied::Unproved("no secret")),
        };
        caller.map(|caller| (caller, None)).ok_or(Denied::Unproved("a certificate that is nobody's"))
    }

    async fn of_signed(&self, head: &Head, signed: &Signed) -> Result<Caller, Denied> {
        const WRONG: Denied = Denied::Unproved("a wrong signature, or an unknown key");
        let gateway = self.settings.gateways.iter().position(|gateway| gateway.name == signed.key_id);
        let caller = match (gateway, hex(&signed.key_id)) {
            (Some(index), _) => {
                // All secrets are tried every time.
                let secrets = self.settings.gateways.get(index).map_or(&[][..], |gateway| &gateway.signing);
                let tried =
                    secrets.iter().map(SigningSecret::expose).map(|secret| signed.is_by(secret, head));
                let proved = tried.fold(false, |proved, this| proved | this);
                proved.then(|| Caller::Gateway(self.settings.clone(), index)).ok_or(WRONG)?
            }
            (None, Some(id)) => {
                let key = self.keyring.signing_key(id).await?.ok_or(WRONG)?;
                let secret = self.open(&key).map_err(Denied::Unproved)?;
                match signed.is_by(&secret, head) {
                    true => Caller::Device(key.device.clone()),
                    false => return Err(WRONG),
                }
            }
            (None, None) => return Err(WRONG),
        };
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.admit(signed, self.now).map_err(|stale| match stale {
            Stale::Refused(why) => Denied::Unproved(why),
            Stale::TooMany => Denied::TooMany(Duration::from_mins(1)),
        })?;
        Ok(caller)
    }

    fn open(&self, key: &Credential) -> Result<Vec<u8>, &'static str> {
        let Proof::SigningKey(sealed) = &key.proof else { return Err("the key does not sign") };
        let keys = self.settings.seal_keys.as_ref().ok_or("the configuration has no [secrets] keys")?;
        let owner = Credential::owner(&key.digest, &key.device);
        keys.open(sealed, &owner).map_err(|_| "its key cannot be opened: see [secrets] keys")
    }

    fn gateway_of(&self, fingerprint: [u8; 32]) -> Option<Caller> {
        let has = |gateway: &Gateway| gateway.certificates.contains(&fingerprint);
        let index = self.settings.gateways.iter().position(has)?;
        Some(Caller::Gateway(self.settings.clone(), index))
    }
}

impl Caller {
    /// The caller by `Bearer` or `Basic`.
    async fn of(
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
