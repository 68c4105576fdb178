//! Sigfox (Sigfox backend, UnaBiz): callbacks of every service, by URL or BATCH_URL, in whatever form the user's
//! template gives them, and commands in the answers to BIDIR. Not here: the custom payload grammar (a codec).

mod advanced;
mod alarm;
mod mailbox;
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

use bridge_core::{Decoded, Problem, Verdict};
use http::Method;

use crate::connector::{
    Ask, AuthKind, Connector, Decode, Letter, Malformed, Reply, Request, Setting, SettingError, Settings,
    WayDown,
};
use message::Origin;
use record::Record;
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
        Some(&mailbox::WAY_DOWN)
    }

    fn configure(&self, settings: &Settings) -> Result<Box<dyn Decode>, Vec<SettingError>> {
        Ok(Box::new(Callbacks { settings: SigfoxSettings::read(settings)? }))
    }
}

/// The callbacks of one integration.
struct Callbacks {
    settings: SigfoxSettings,
}

impl Callbacks {
    /// The records of a request, and what it says about each of them.
    ///
    /// # Errors
    /// When the body is not of the form that its content type says.
    fn read<'a>(
        &self,
        request: &Request<'a>,
    ) -> Result<(Vec<Result<Record, Problem>>, Origin<'a>), Malformed> {
        // The end of the URL names a device, or the service: no name of a service is hex.
        let path_service = request.path_device.and_then(Service::parse);
        let origin = Origin {
            service: self.settings.service.or(path_service),
            path_device: request.path_device.filter(|_| path_service.is_none()),
            received_at: request.received_at,
        };
        Ok((request::records(&self.settings, request)?, origin))
    }
}

impl Decode for Callbacks {
    fn decode(&self, request: &Request<'_>) -> Result<Decoded, Malformed> {
        let (records, origin) = self.read(request)?;
        let mut decoded = Decoded::default();
        for record in records {
            match record.and_then(|record| message::uplink(record, &origin)) {
                Ok(uplink) => decoded.push(uplink),
                Err(problem) => decoded.problems.push(problem),
            }
        }
        Ok(decoded)
    }

    fn asks(&self, request: &Request<'_>) -> Vec<Ask> {
        match self.read(request) {
            Ok((records, origin)) => mailbox::asks(records.into_iter().flatten(), &origin),
            Err(_) => Vec::new(),
        }
    }

    fn reply(&self, _: &Request<'_>, _: &[Verdict], letters: &[Letter]) -> Reply {
        if letters.is_empty() { Reply::NoContent } else { Reply::Json(mailbox::answer(letters)) }
    }

    /// Sigfox sends no credentials in bodies.
    fn redact<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(body)
    }
}
