//! Sigfox (Sigfox backend, UnaBiz): callbacks of every service, by URL or BATCH_URL, in whatever form the user's
//! template gives them. Not here: the custom payload grammar (a codec), downlinks (every answer is 204).

mod advanced;
mod alarm;
mod message;
mod pattern;
mod record;
mod request;
mod service;
mod settings;
mod upkeep;
mod uplink;
mod variables;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bridge_core::{Decoded, Verdict};
use http::Method;

use crate::connector::{
    AuthKind, Connector, Decode, Malformed, Reply, Request, Setting, SettingError, Settings, WayDown,
};
use message::Origin;
use service::Service;
use settings::SigfoxSettings;

/// The Sigfox cloud.
#[derive(Debug)]
pub(super) struct Sigfox;

impl Connector for Sigfox {
    fn name(&self) -> &'static str {
        "sigfox"
    }

    fn title(&self) -> &'static str {
        "Sigfox"
    }

    fn default_prefix(&self) -> &'static str {
        "sigfox-"
    }

    fn methods(&self) -> &'static [Method] {
        &[Method::GET, Method::POST, Method::PUT]
    }

    /// One message needs less than 8 KiB; the size of a batch is Sigfox's choice.
    fn body_limit(&self) -> usize {
        256 * 1024
    }

    fn auth(&self) -> &'static [AuthKind] {
        AuthKind::ALL
    }

    fn settings(&self) -> &'static [Setting] {
        variables::SETTINGS
    }

    fn downlink(&self) -> Option<&'static WayDown> {
        None
    }
    fn configure(&self, settings: &Settings) -> Result<Box<dyn Decode>, Vec<SettingError>> {
        Ok(Box::new(Callbacks { settings: SigfoxSettings::read(settings)? }))
    }
}

/// The callbacks of one integration.
struct Callbacks {
    settings: SigfoxSettings,
}

impl Decode for Callbacks {
    fn decode(&self, request: &Request<'_>) -> Result<Decoded, Malformed> {
        // The end of the URL names a device, or the service: no name of a service is hex.
        let path_service = request.path_device.and_then(Service::parse);
        let origin = Origin {
            service: self.settings.service.or(path_service),
            path_device: request.path_device.filter(|_| path_service.is_none()),
            received_at: request.received_at,
        };
        let mut decoded = Decoded::default();
        for record in request::records(&self.settings, request)? {
            match record.and_then(|record| message::uplink(record, &origin)) {
                Ok(uplink) => decoded.push(uplink),
                Err(problem) => decoded.problems.push(problem),
            }
        }
        Ok(decoded)
    }

    fn reply(&self, _request: &Request<'_>, _verdicts: &[Verdict]) -> Reply {
        Reply::NoContent
    }

    /// Sigfox sends no credentials in bodies.
    fn redact<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(body)
    }
}
