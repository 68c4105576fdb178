//! Particle: webhooks with the form, JSON and query presets or a template of the user's own. Not here: functions,
//! variables and ledgers (calls to Particle's API).

mod envelope;
mod event;
mod function;
mod payload;
mod settings;
mod system;
mod tracker;
mod vitals;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use bridge_core::{Decoded, Verdict};
use http::Method;

use crate::connector::{
    ApiWay, AuthKind, Connector, Decode, Letter, Malformed, Reply, Request, Setting, SettingError, Settings,
    WayDown, one,
};
use envelope::Envelope;
use settings::ParticleSettings;

/// The Particle cloud.
#[derive(Debug)]
pub(super) struct Particle;

impl Connector for Particle {
    fn name(&self) -> &'static str {
        "particle"
    }

    fn title(&self) -> &'static str {
        "Particle"
    }

    fn default_prefix(&self) -> &'static str {
        "particle-"
    }

    fn methods(&self) -> &'static [Method] {
        &[Method::GET, Method::POST, Method::PUT]
    }

    /// Extended publish carries up to 16 KiB, which a template may escape.
    fn body_limit(&self) -> usize {
        64 * 1024
    }

    fn auth(&self) -> &'static [AuthKind] {
        AuthKind::ALL
    }

    fn settings(&self) -> &'static [Setting] {
        settings::SETTINGS
    }

    fn downlink(&self) -> Option<&'static WayDown> {
        Some(&WAY_DOWN)
    }
    fn configure(&self, settings: &Settings) -> Result<Box<dyn Decode>, Vec<SettingError>> {
        Ok(Box::new(Webhooks { settings: ParticleSettings::read(settings)? }))
    }
}

/// The webhooks of one integration.
struct Webhooks {
    settings: ParticleSettings,
}

/// See [`function::Call`].
static WAY_DOWN: WayDown = WayDown::Api(ApiWay {
    default_url: Some("https://api.particle.io"),
    token: "an access token, best that of an API user who may call functions only",
    settings: &[Setting { key: "product", help: "the id or slug of the product that the devices belong to" }],
    announced: None,
    make: |url, settings| {
        let product = one(settings, "product").map(str::to_owned);
        Ok(Arc::new(function::Call { url: url.to_owned(), product }))
    },
});

impl Decode for Webhooks {
    fn decode(&self, request: &Request<'_>) -> Result<Decoded, Malformed> {
        let envelope = match Envelope::read(&self.settings, request)? {
            Ok(envelope) => envelope,
            Err(problem) => return Ok(Decoded { uplinks: Vec::new(), problems: vec![problem] }),
        };
        let default_event = self.settings.event.as_deref();
        Ok(Decoded::one(event::uplink(envelope, default_event, request.received_at)))
    }

    /// Empty: Particle publishes the body of an answer to the device, for data.
    fn reply(&self, _: &Request<'_>, _: &[Verdict], _: &[Letter]) -> Reply {
        Reply::Empty
    }

    /// Particle sends no credentials in bodies.
    fn redact<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(body)
    }
}
